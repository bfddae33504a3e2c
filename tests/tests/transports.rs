//! Two people see each other's ink and cursors, whichever transport carries them.

use chalkboard_client::Client;
use chalkboard_client::bridge::{SaveState, TransportKind};
use chalkboard_client::native::NativeClient;
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::presence::PresenceCell;
use chalkboard_shared::{BoardPoint, BoardRect, InkPoint, StrokeId};
use chalkboard_tests::dice::Dice;
use chalkboard_tests::server_process::ServerProcess;
use chalkboard_tests::waiting::{PATIENCE, wait_until};

async fn draw(client: &NativeClient, seed: u64) -> StrokeId {
    let drawn = client.with(move |client, _| {
        let mut dice = Dice::new(seed);
        let stroke = client.begin_stroke(dice.style(), &[InkPoint::new(0, 0, 80)]);
        for n in 1..20 {
            client.extend_stroke(stroke, &[InkPoint::new(n * 160, n * n * 8, 128)]);
        }
        client.finish_stroke(stroke);
    });
    drawn.await.expect("the client is there");
    // Only now does it have its lasting name.
    wait_for(client, |client| client.save_state() == SaveState::Saved).await;
    let newest = client.with(|client, _| {
        let me = client.actor().expect("a client that has drawn");
        let strokes = client.board().strokes_in(BoardRect::EVERYTHING);
        strokes
            .iter()
            .map(|stroke| stroke.id)
            .rfind(|id| id.actor() == me)
    });
    newest
        .await
        .expect("the client is there")
        .expect("what was saved is on the board")
}

async fn wait_for(client: &NativeClient, is_so: impl FnMut(&Client) -> bool + Send + 'static) {
    client
        .wait_for(PATIENCE, is_so)
        .await
        .expect("it comes to be so");
}

async fn see_each_other(first: TransportKind, second: TransportKind) {
    let server = ServerProcess::start().await;
    let doors = server.doors().await.expect("the ways in");
    let links = server.create_board().await;
    let window = BoardRect::from_corners(
        BoardPoint::new(0, -3200),
        BoardPoint::from_pixels(1280.0, 800.0),
    );
    let pair = [
        doors.client(first, links.id, links.edit, window, 1),
        doors.client(second, links.id, links.edit, window, 2),
    ];
    for client in &pair {
        wait_for(client, |client| {
            client.is_loaded() && client.people().len() == 2
        })
        .await;
    }
    for (author, reader, seed) in [(0, 1, 11), (1, 0, 22)] {
        let stroke = draw(&pair[author], seed).await;
        wait_for(&pair[reader], move |client| {
            client
                .board()
                .get(stroke)
                .is_some_and(|stroke| stroke.point_count == 20 && stroke.is_finished())
        })
        .await;
    }
    for (author, reader) in [(0, 1), (1, 0)] {
        let at = BoardPoint::from_pixels(100.0 + 50.0 * author as f32, -40.0);
        let cursor = CursorState {
            at,
            tool: CursorTool::Eraser,
            pressed: true,
        };
        let who = pair[author]
            .with(move |client, now_ms| {
                client.set_cursor(now_ms, cursor);
                client.session()
            })
            .await
            .expect("the client is there")
            .expect("a session");
        wait_until("the other's cursor", async || {
            let seen = pair[reader].with(move |client, now_ms| {
                let level = PresenceCell::level_of(client.coverage()?);
                let raster = 2f32.powi(i32::from(level) + 1) / 16.0;
                let view = client
                    .cursors()
                    .at(now_ms)
                    .find(|view| view.session == who)?;
                let (x, y) = (at.x as f32 / 16.0, at.y as f32 / 16.0);
                let is_there = (view.x - x).abs() <= raster && (view.y - y).abs() <= raster;
                (is_there && view.tool == CursorTool::Eraser && view.pressed).then_some(())
            });
            seen.await.expect("the client is there")
        })
        .await;
    }
    let board = server.inspect(&links).await.expect("an answer");
    assert_eq!((board.strokes, board.sessions), (2, 2));
    assert_eq!(
        board.durable, board.position,
        "all of it was shown as saved"
    );
    for client in pair {
        let client = client.stop().await.expect("a client that worked");
        assert_eq!(client.digest().to_string(), board.digest);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_webtransport() {
    see_each_other(TransportKind::WebTransport, TransportKind::WebTransport).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_websockets() {
    see_each_other(TransportKind::WebSocket, TransportKind::WebSocket).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_one_each() {
    see_each_other(TransportKind::WebTransport, TransportKind::WebSocket).await;
}
