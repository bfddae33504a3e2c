//! Whoever sends keeps to the beat of the room, where it has one.

use chalkboard_client::Client;
use chalkboard_client::bridge::TransportKind;
use chalkboard_client::native::NativeClient;
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::{BoardPoint, BoardRect};
use chalkboard_tests::server_process::{ServerOptions, ServerProcess};
use chalkboard_tests::waiting::{PATIENCE, wait_until};

/// The least that a room with a beat has; one less, and its steps come early.
const PEOPLE: usize = 17;

/// Everybody moves their cursor. How many keep to a beat?
async fn move_all(people: &[NativeClient], x: &mut i32) -> usize {
    let mut keep = 0;
    *x += 1;
    let at = BoardPoint::new(*x, 0);
    for person in people {
        let moved = person.with(move |client, now_ms| {
            client.set_cursor(
                now_ms,
                CursorState {
                    at,
                    tool: CursorTool::Pen,
                    pressed: false,
                },
            );
            client.beat().is_kept()
        });
        keep += usize::from(moved.await.expect("everybody is there"));
    }
    keep
}

#[tokio::test]
async fn who_sends_is_told_when_and_let_off_when_steps_come_early() {
    let server = ServerProcess::start_with(ServerOptions {
        arguments: vec!["--tick-hz=30".into()],
        ..ServerOptions::default()
    })
    .await;
    let doors = server.doors().await.expect("the ways in");
    let board = server.create_board().await;
    let mut people = Vec::new();
    for number in 0..PEOPLE {
        let kind = TransportKind::WebTransport;
        let view = BoardRect::EVERYTHING;
        let person = doors.client(kind, board.id, board.edit, view, number as u8 + 1);
        let opened = person.wait_for(PATIENCE, Client::is_loaded);
        opened.await.expect("everybody gets in");
        people.push(person);
    }
    let mut x = 0;
    // Some may speak at the right moment by themselves.
    wait_until("most to keep to a beat", async || {
        (move_all(&people, &mut x).await > PEOPLE / 2).then_some(())
    })
    .await;
    let gone = people.pop().expect("somebody");
    gone.stop().await;
    wait_until("all to be let off", async || {
        (move_all(&people, &mut x).await == 0).then_some(())
    })
    .await;
}
