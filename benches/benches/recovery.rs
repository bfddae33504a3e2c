//! Recovery: what a stored board costs in bytes, and how long it takes from what is stored to a room.
//!
//! Boards of single-batch strokes, one op each in the log: as many records as ops, which is the hardest case for a
//! start. Files are real ones, written and synced as the server does.

use std::time::{Duration, Instant};

use bytes::Bytes;
use chalkboard_benches::{extent, log_entry};
use chalkboard_server::loading;
use chalkboard_server::storage::repo::Sqlite;
use chalkboard_server::storage::{
    BoardRecord, DataFolder, LogBatch, LogWriter, Reader, Repository,
};
use chalkboard_shared::op::InkRun;
use chalkboard_shared::{ActorId, BoardId, Op, OpEntry, OpId, Position, StrokeId, Tick, workload};
use chalkboard_simulation::{Fold, LogRecord};

const BOARD: BoardId = BoardId([7; 16]);

/// Records that are appended at a time.
const GROUP: u64 = 4096;

/// Ops between two snapshots that the server makes of a board with so many strokes.
fn interval(strokes: u64) -> u64 {
    2000.max(strokes / 2)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn batch(position: u64) -> LogBatch {
    let unix_ms = 1_700_000_000_000 + position * 16;
    LogBatch {
        board: BOARD,
        first: Position(position),
        last: Position(position),
        record: LogRecord::encode_entries(Tick(position), unix_ms, &[log_entry(position)]),
    }
}

/// Fills a store as the server would: the log, and snapshots where they fall due.
fn fill(store: &mut Sqlite, ops: u64) {
    store
        .create_board(&BoardRecord {
            id: BOARD,
            edit_hash: [1; 32],
            view_hash: [2; 32],
            created_ms: 0,
        })
        .expect("it is new");
    let mut fold = Fold::default();
    let mut snapshot_at = 0;
    let (mut log_bytes, mut longest) = (0, Duration::ZERO);
    let mut position = 1;
    while position <= ops {
        let batches: Vec<LogBatch> = (position..=ops.min(position + GROUP - 1))
            .map(batch)
            .collect();
        store.append(&batches).expect("there is space");
        for batch in &batches {
            log_bytes += batch.record.len();
            fold.follow(&batch.record).expect("own records");
        }
        position += batches.len() as u64;
        let end = fold.position().0;
        if end - snapshot_at >= interval(end / 2) {
            snapshot_at = end;
            let begun = Instant::now();
            let snapshot = fold.snapshot();
            longest = longest.max(begun.elapsed());
            store
                .put_snapshot(BOARD, fold.position(), snapshot)
                .expect("there is space");
        }
    }
    let strokes = fold.strokes().count();
    let snapshot = fold.snapshot().len();
    say(&format!(
        "recovery/{ops}: {:.1} bytes an op in the log ({:.1} a stroke of 30 points with its finish); a snapshot is {:.1} bytes \
         a stroke, and took {:.0} ms to write at the most, beside the room",
        log_bytes as f64 / ops as f64,
        log_bytes as f64 / strokes as f64,
        snapshot as f64 / strokes as f64,
        millis(longest)
    ));
}

/// From opening the folder to a room that can be joined, as a start does.
fn restart(folder: &std::path::Path) -> Duration {
    let begun = Instant::now();
    let folder = DataFolder::open(folder).expect("the folder opens");
    let store = Sqlite::open(&folder).expect("the store opens");
    let writer = LogWriter::start(store, |_, _| {}, |_| {}).expect("it starts");
    let log = writer.handle();
    let opened = log.open_epoch(BOARD).expect("it opens");
    let loaded = loading::load(&log, BOARD, 16_667, opened).expect("it is whole");
    let took = begun.elapsed();
    assert!(loaded.room.position() > Position(0), "there is a board");
    writer.stop().expect("all is saved");
    took
}

/// From a position to the board there, by the nearest snapshot.
fn moment(store: &mut Sqlite, position: u64) -> Duration {
    let begun = Instant::now();
    let stored = store.load_at(BOARD, Position(position)).expect("it loads");
    let records: Vec<Bytes> = stored.tail.into_iter().map(|batch| batch.record).collect();
    let fold = Fold::new(stored.snapshot, records).expect("it is whole");
    let took = begun.elapsed();
    assert_eq!(fold.position(), Position(position));
    took
}

/// What the log holds of strokes as they are drawn: samples go out every few, each batch in a tick of its own.
fn batches() {
    let (mut ops, mut bytes) = (0_u64, 0);
    for stroke in 0..100 {
        let points = workload::stroke_points(stroke);
        let first = ops as u32 + 1;
        let id = StrokeId(OpId {
            actor: ActorId(1),
            counter: first,
        });
        let ink = |points: &[_]| InkRun::new(points.to_vec());
        let style = workload::STYLE;
        let drawn = points.chunks(4).enumerate().map(|(n, points)| match n {
            0 => Op::Begin {
                style,
                ink: ink(points),
            },
            _ => Op::Extend {
                stroke: id,
                ink: ink(points),
            },
        });
        for op in drawn.chain([Op::Finish { stroke: id }]) {
            ops += 1;
            let entry = OpEntry {
                position: Position(ops),
                id: OpId {
                    actor: ActorId(1),
                    counter: ops as u32,
                },
                op,
            };
            let unix_ms = 1_700_000_000_000 + ops * 16;
            bytes += LogRecord::encode_entries(Tick(ops), unix_ms, &[entry]).len();
        }
    }
    say(&format!(
        "recovery/batches: {:.1} bytes an op in the log, of strokes that are drawn in batches of 4 samples",
        bytes as f64 / ops as f64
    ));
}

fn main() {
    say("Testing recovery/batches");
    batches();
    say("Success");
    for ops in [extent(50_000, 500), extent(1_000_000, 5000)].map(u64::from) {
        say(&format!("Testing recovery/{ops}"));
        let root = tempfile::tempdir().expect("a temporary folder");
        {
            let folder = DataFolder::open(root.path()).expect("the folder opens");
            fill(&mut Sqlite::open(&folder).expect("the store opens"), ops);
        }
        let mut restarts: Vec<Duration> = (0..5).map(|_| restart(root.path())).collect();
        restarts.sort();
        let folder = DataFolder::open(root.path()).expect("the folder opens");
        let mut store = Sqlite::open(&folder).expect("the store opens");
        let mut moments: Vec<Duration> = (1..=20)
            .map(|part| moment(&mut store, ops * part / 20))
            .collect();
        moments.sort();
        let size = std::fs::metadata(store.path()).map_or(0, |file| file.len());
        say(&format!(
            "recovery/{ops}: start to a room median {:.0} ms, worst {:.0} ms; any moment median {:.0} ms, worst {:.0} ms; \
             the file has {:.1} MB",
            millis(restarts[2]),
            millis(restarts[4]),
            millis(moments[9]),
            millis(moments[19]),
            size as f64 / 1e6
        ));
        say("Success");
    }
}

#[expect(clippy::print_stdout, reason = "figures are what a benchmark is for")]
fn say(line: &str) {
    println!("{line}");
}
