//! The system's clock may jump as it likes: nothing is lost, reordered or thrown out by it.

use chalkboard_client::Client;
use chalkboard_client::bridge::{SaveState, TransportKind};
use chalkboard_client::native::NativeClient;
use chalkboard_server::clock;
use chalkboard_server::config::Config;
use chalkboard_server::server::Server;
use chalkboard_server::storage::repo::Sqlite;
use chalkboard_server::storage::{DataFolder, Reader as _};
use chalkboard_shared::stroke::Nib;
use chalkboard_shared::{BoardRect, InkPoint, Position, StrokeStyle};
use chalkboard_simulation::LogRecord;
use chalkboard_tests::server_process::connect::Doors;
use chalkboard_tests::server_process::{BoardLinks, ask_addresses, create_board_at};
use chalkboard_tests::waiting::PATIENCE;

const HOUR_MS: i64 = 3_600_000;

/// Where the clock goes: hours ahead, hours back, before it was ever set, and far ahead at last.
const JUMPS_MS: [i64; 6] = [
    5 * HOUR_MS,
    -10 * HOUR_MS,
    0,
    i64::MIN / 4,
    -1,
    24 * HOUR_MS,
];

async fn enter(port: u16, links: &BoardLinks, kind: TransportKind, number: u8) -> NativeClient {
    let doors = Doors::of(port, &ask_addresses(port).await.expect("addresses"));
    let doors = doors.expect("the ways in");
    let client = doors.client(kind, links.id, links.edit, BoardRect::EVERYTHING, number);
    let entered = client.wait_for(PATIENCE, Client::is_loaded).await;
    entered.expect("it comes in");
    client
}

async fn draw(client: &NativeClient, at: i32) {
    let style = StrokeStyle {
        nib: Nib::Pen,
        color: 0,
        width: 64,
    };
    let drawn = client.with(move |client, _| {
        let stroke = client.begin_stroke(style, &[InkPoint::new(at, at, 80)]);
        client.finish_stroke(stroke);
    });
    drawn.await.expect("the client is there");
    let saved = client.wait_for(PATIENCE, |client| client.save_state() == SaveState::Saved);
    saved.await.expect("it is saved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jumps_of_the_clock_lose_and_reorder_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = Config {
        data: folder.path().join("data"),
        port: 0,
        shards: 1,
        room_threads: 1,
        ..Config::default()
    };
    let start = || Server::start(&config).expect("it starts");
    let mut server = start();
    let links = create_board_at(server.http_address().port()).await;
    let mut digests = Vec::new();
    for (turn, jump) in (0..).zip(JUMPS_MS) {
        let port = server.http_address().port();
        let one = enter(port, &links, TransportKind::WebTransport, 2 * turn).await;
        let other = enter(port, &links, TransportKind::WebSocket, 2 * turn + 1).await;
        draw(&one, 100 * i32::from(turn)).await;
        // In the middle of two sessions, which go on.
        clock::shift_ms(jump);
        draw(&one, 100 * i32::from(turn) + 1000).await;
        draw(&other, 100 * i32::from(turn) + 2000).await;
        let strokes = 3 * (usize::from(turn) + 1);
        for client in [one, other] {
            let seen = client.wait_for(PATIENCE, move |client| client.board().len() == strokes);
            seen.await.expect("everything is seen");
            assert_eq!(client.closed().await, Ok(None));
            let client = client.stop().await.expect("the client comes back");
            digests.push(client.digest());
        }
        // And over a stop and a start, with a certificate that may be of tomorrow.
        let stopped = tokio::task::spawn_blocking(move || server.stop()).await;
        stopped.expect("no panic").expect("everything is saved");
        server = tokio::task::block_in_place(start);
    }
    let port = server.http_address().port();
    let newcomer = enter(port, &links, TransportKind::WebSocket, 99).await;
    let digest = newcomer.with(|client, _| client.digest()).await;
    assert_eq!(digest.ok().as_ref(), digests.last());
    newcomer.stop().await;
    let stopped = tokio::task::spawn_blocking(move || server.stop()).await;
    stopped.expect("no panic").expect("everything is saved");
    clock::shift_ms(0);

    // Ticks name moments in their order, whatever the clock said.
    let folder = DataFolder::open(&config.data).expect("the folder");
    let mut store = Sqlite::open(&folder).expect("the store");
    let log = store
        .load_before(links.id, Position(0))
        .expect("the log is whole");
    let records = log
        .tail
        .iter()
        .map(|batch| LogRecord::decode(&batch.record));
    let records: Vec<_> = records.map(|record| record.expect("sound")).collect();
    assert!(records.windows(2).all(|pair| pair[0].tick < pair[1].tick));
    assert!(
        records
            .windows(2)
            .any(|pair| pair[0].unix_ms > pair[1].unix_ms),
        "the clock has jumped back in between"
    );
}
