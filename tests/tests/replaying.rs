//! What comes into a room of the real server can be recorded, and steps the same room again elsewhere.

use std::path::Path;
use std::sync::Arc;

use chalkboard_client::Client;
use chalkboard_client::bridge::TransportKind;
use chalkboard_client::native::NativeClient;
use chalkboard_shared::{BoardRect, InkPoint};
use chalkboard_tests::dice::Dice;
use chalkboard_tests::server_process::http::Request;
use chalkboard_tests::server_process::{BoardLinks, ServerProcess, binary, command, http};
use chalkboard_tests::waiting::{PATIENCE, wait_until, within};
use serde_json::Value;
use tokio::sync::watch;

async fn enter(server: &ServerProcess, links: &BoardLinks, number: u8) -> NativeClient {
    let kind = if number.is_multiple_of(2) {
        TransportKind::WebTransport
    } else {
        TransportKind::WebSocket
    };
    let doors = server.doors().await.expect("the ways in");
    let client = doors.client(kind, links.id, links.edit, BoardRect::EVERYTHING, number);
    let entered = client.wait_for(PATIENCE, Client::is_loaded).await;
    entered.expect("it comes in");
    client
}

/// Draws strokes, and erases and takes back some of them, until told to stop.
async fn draw_on(client: Arc<NativeClient>, mut dice: Dice, mut stop: watch::Receiver<bool>) {
    let mut frames = tokio::time::interval(std::time::Duration::from_millis(8));
    loop {
        tokio::select! {
            _ = frames.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let (style, at, deed) = (dice.style(), dice.point(1500), dice.below(6));
        let drawn = client.with(move |client, _| {
            let stroke = client.begin_stroke(style, &[InkPoint::new(at.x, at.y, 90)]);
            client.extend_stroke(stroke, &[InkPoint::new(at.x + 50, at.y - 9, 120)]);
            client.finish_stroke(stroke);
            match deed {
                0 => drop(client.undo()),
                1 => client.erase(&[stroke]),
                _ => {}
            }
        });
        drawn.await.expect("the client is there");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain name")
}

async fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut chalkboard = command(&binary());
    let output = within("the command to end", chalkboard.args(arguments).output());
    let output = output.await.expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_room_becomes_the_same_again_at_every_tick() {
    let mut server = ServerProcess::start().await;
    let links = server.create_board().await;
    let mut clients = Vec::new();
    for number in 0..4 {
        clients.push(Arc::new(enter(&server, &links, number).await));
    }
    let (stop, stopped) = watch::channel(false);
    let drawing: Vec<_> = (0..)
        .zip(&clients)
        .map(|(seed, client)| {
            tokio::spawn(draw_on(client.clone(), Dice::new(seed), stopped.clone()))
        })
        .collect();
    // It begins in the middle of it.
    wait_until("strokes", async || {
        let board = server.inspect(&links).await.expect("an answer");
        (board.position > 100).then_some(())
    })
    .await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("room.recording");
    let board = links.id.to_string();
    let (code, _, said) = run(&[
        "record",
        "--data",
        text(server.folder()),
        "--board",
        &board,
        "--seconds=1",
        "--out",
        text(&file),
    ])
    .await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the time that was asked for"), "{said}");
    stop.send(true).expect("people listen");
    for drawing in drawing {
        drawing.await.expect("nobody panics");
    }
    let board = server.inspect(&links).await.expect("an answer");
    server.stop().await;

    let (code, told, said) = run(&["replay", text(&file), "--ops"]).await;
    assert_eq!(code, Some(0), "{told}{said}");
    let last = told.lines().last().expect("a summary");
    assert!(
        last.contains("the same as recorded at every tick"),
        "{last}"
    );
    let ops = told.lines().filter(|line| line.contains(" actor ")).count();
    assert!(ops > 50, "only {ops} ops in a second of drawing");
    assert!(board.position > ops as u64);

    let bytes = std::fs::read(&file).expect("the recording");
    let holds = |what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    assert!(holds(b"person 3"), "names are in it");
    for secret in [links.edit.0, links.view.0] {
        assert!(!holds(&secret), "secrets are not");
    }

    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&file, damaged).expect("it can be written");
    let (code, _, said) = run(&["replay", text(&file)]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("damaged"), "{said}");
}

#[tokio::test]
async fn only_the_owner_of_the_data_folder_records() {
    let mut server = ServerProcess::start().await;
    let links = server.create_board().await;
    let path = server.folder().join("control.json");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let file = std::fs::metadata(&path).expect("the file");
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }
    let control = std::fs::read_to_string(&path).expect("the file");
    let control: Value = serde_json::from_str(&control).expect("JSON");
    let address = control["address"].as_str().expect("an address");
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let ask = async |path: &str, fields: &[(&str, &str)]| {
        let stream = tokio::net::TcpStream::connect(address).await;
        let request = Request {
            method: "GET",
            path,
            host: address,
            fields,
            body: "",
        };
        let asked = http::exchange(stream.expect("it listens"), &request).await;
        asked.expect("an answer").status
    };
    let recording = format!("/recordings/{}?seconds=0&bytes=100000", links.id);
    assert_eq!(ask(&recording, &[]).await, 403);
    let edit = format!("Bearer {}", links.edit);
    assert_eq!(ask(&recording, &[("Authorization", &edit)]).await, 403);
    let token = format!("Bearer {}", control["token"].as_str().expect("a token"));
    let owner = [("Authorization", token.as_str())];
    assert_eq!(ask(&recording, &owner).await, 200);
    let unknown = "/recordings/AAAAAAAAAAAAAAAAAAAAAA?seconds=1&bytes=1";
    assert_eq!(ask(unknown, &owner).await, 404);
    assert_eq!(
        server
            .get(&recording, &owner)
            .await
            .expect("an answer")
            .status,
        404
    );
    server.stop().await;
    assert!(!path.exists(), "a server that stops takes its token along");
    let (code, _, said) = run(&[
        "record",
        "--data",
        text(server.folder()),
        "--board",
        &links.id.to_string(),
        "--out",
        "never-written",
    ])
    .await;
    assert_eq!(code, Some(1));
    assert!(said.contains("names no running server"), "{said}");
}
