//! Looking back: how long it takes somebody to get to any moment of a board, from the wish to the board in the client.
//!
//! The real server on a log of single strokes, one op a record, with the snapshots that it would have made; the real
//! client's past, which asks for what it lacks over HTTP, a connection each, and folds what comes. The first look at a
//! board makes the server read its whole log for the time line; it is told apart.
//!
//! ```text
//! cargo build --release -p chalkboard-server
//! cargo bench -p chalkboard-benches --bench history
//! ```

use std::path::Path;
use std::time::{Duration, Instant};

use chalkboard_benches::{extent, log_entry};
use chalkboard_client::past::{Past, Wanted};
use chalkboard_server::storage::repo::Sqlite;
use chalkboard_server::storage::{DataFolder, LogBatch, Repository};
use chalkboard_shared::{BoardId, Position, Tick};
use chalkboard_simulation::{Fold, LogRecord};
use chalkboard_tests::server_process::{BoardLinks, ServerProcess};

/// Records that are appended at a time.
const GROUP: u64 = 4096;
/// Moments that are gone to.
const MOMENTS: u64 = 20;

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Fills a board's log as if it had been drawn, a tick for each op, with snapshots where they fall due.
fn fill(folder: &Path, board: BoardId, ops: u64) {
    let folder = DataFolder::open(folder).expect("the folder opens");
    let mut store = Sqlite::open(&folder).expect("the store opens");
    let mut fold = Fold::default();
    let mut position = 1;
    while position <= ops {
        let batch = |position| LogBatch {
            board,
            first: Position(position),
            last: Position(position),
            record: LogRecord::encode_entries(
                Tick(position),
                1_700_000_000_000 + position * 250,
                &[log_entry(position)],
            ),
        };
        let batches: Vec<LogBatch> = (position..=ops.min(position + GROUP - 1))
            .map(batch)
            .collect();
        store.append(&batches).expect("there is space");
        for batch in &batches {
            fold.follow(&batch.record).expect("own records");
        }
        position += batches.len() as u64;
        if fold.position().0 % (4 * GROUP) == 0 {
            store
                .put_snapshot(board, fold.position(), fold.snapshot())
                .expect("there is space");
        }
    }
}

/// Fetches what a past wants until it is where it was sent; answers how long the first time line took of that.
async fn arrive(past: &mut Past, server: &ServerProcess, links: &BoardLinks) -> Duration {
    let bearer = format!("Bearer {}", links.view);
    let mut of_timeline = Duration::ZERO;
    while !past.is_there() {
        let wanted = past
            .poll_wanted()
            .expect("who is not there wants something");
        let begun = Instant::now();
        let path = format!("/api/v1/boards/{}/{}", links.id, wanted.path());
        let answer = server
            .get(&path, &[("Authorization", &bearer)])
            .await
            .expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        past.fetched(wanted, answer.body.into())
            .expect("the client reads what the server sends");
        if wanted == Wanted::Timeline {
            of_timeline += begun.elapsed();
        }
    }
    of_timeline
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let ops = u64::from(extent(50_000, 6_000));
    say(&format!("Testing history/{ops}"));
    let mut server = ServerProcess::start().await;
    let links = server.create_board().await;
    server.stop().await;
    fill(server.folder(), links.id, ops);
    server.restart().await;

    let mut firsts = Vec::new();
    let mut agains = Vec::new();
    let mut first_timeline = Duration::ZERO;
    for n in 1..=MOMENTS {
        // Every second op finishes a stroke. The order is one in which neighbours do not follow each other.
        let tick = ops * (n * 7 % MOMENTS + 1) / MOMENTS;
        for times in [&mut firsts, &mut agains] {
            let begun = Instant::now();
            let mut past = Past::new(0.0, Some(Tick(tick)));
            let of_timeline = arrive(&mut past, &server, &links).await;
            if first_timeline.is_zero() {
                first_timeline = of_timeline;
            }
            times.push(begun.elapsed());
            assert_eq!(past.state().moment.tick, Tick(tick));
            assert_eq!(past.board().len() as u64, tick.div_ceil(2));
        }
    }
    // The very first of all has waited for the log to be read.
    let very_first = firsts.remove(0);
    for times in [&mut firsts, &mut agains] {
        times.sort();
    }
    say(&format!(
        "history/{ops}: any moment, first look there: median {:.0} ms, worst {:.0} ms; again: median {:.0} ms, worst {:.0} ms; \
         the very first look at the board {:.0} ms, of which {:.0} ms for the time line",
        millis(firsts[firsts.len() / 2]),
        millis(firsts[firsts.len() - 1]),
        millis(agains[agains.len() / 2]),
        millis(agains[agains.len() - 1]),
        millis(very_first),
        millis(first_timeline),
    ));
    server.stop().await;
    say("Success");
}

#[expect(clippy::print_stdout, reason = "figures are what a benchmark is for")]
fn say(line: &str) {
    println!("{line}");
}
