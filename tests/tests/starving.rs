//! A disk that takes nothing more costs nobody anything but the word "saved", and when it does again, all goes on.
//!
//! How a disk is made to refuse: everywhere by the system's limit on the size of files (each write beyond it fails, the
//! last one half done), which an ordinary user and a container may set; and by a real full file system, a small tmpfs in
//! a mount namespace of the server's own, where the system lets this user have one. What was exercised is printed.

use std::path::PathBuf;
use std::time::Duration;

use chalkboard_client::Client;
use chalkboard_client::bridge::{SaveState, TransportKind};
use chalkboard_client::native::NativeClient;
use chalkboard_shared::stroke::Nib;
use chalkboard_shared::{BoardRect, InkPoint, StrokeStyle};
use chalkboard_tests::server_process::{BoardLinks, ServerOptions, ServerProcess};
use chalkboard_tests::waiting::{PATIENCE, wait_until};

/// Runs the server with the signal ignored that would end it at the limit; writes fail instead.
const SIGNAL_IGNORED: [&str; 4] = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];

/// A disk that can be filled and freed.
enum Disk {
    /// Files end at this many bytes more than the write-ahead log has, or at none at all.
    Limit { room: Option<u64> },
    /// A file system of a few megabytes, mounted where the data folder is.
    Small { ballast: PathBuf },
}

impl Disk {
    fn fill(&self, server: &ServerProcess) {
        match self {
            Self::Limit { room } => {
                let log = server.folder().join("boards.sqlite3-wal");
                let length = std::fs::metadata(log).map_or(0, |file| file.len());
                server.limit_files(Some(room.map_or(0, |room| length + room)));
            }
            Self::Small { ballast } => {
                use std::io::Write;
                let mut file = std::fs::File::create(server.seen(ballast)).expect("a file");
                let mut block: &[u8] = &[7; 64 * 1024];
                loop {
                    if file.write_all(block).is_err() {
                        if block.len() < 2 {
                            break;
                        }
                        block = &block[..block.len() / 2];
                    }
                }
            }
        }
    }

    fn free(&self, server: &ServerProcess) {
        match self {
            Self::Limit { .. } => server.limit_files(None),
            Self::Small { ballast } => {
                std::fs::remove_file(server.seen(ballast)).expect("it is there");
            }
        }
    }
}

async fn enter(server: &ServerProcess, links: &BoardLinks, number: u8) -> NativeClient {
    let kind = if number.is_multiple_of(2) {
        TransportKind::WebTransport
    } else {
        TransportKind::WebSocket
    };
    let doors = server.doors().await.expect("the ways in");
    let client = doors.client(kind, links.id, links.edit, BoardRect::EVERYTHING, number);
    wait_for(&client, Client::is_loaded).await;
    client
}

async fn wait_for(client: &NativeClient, is_so: impl FnMut(&Client) -> bool + Send + 'static) {
    let waited = client.wait_for(PATIENCE, is_so).await;
    waited.expect("it comes to be so");
}

async fn draw(client: &NativeClient, strokes: i32) {
    let style = StrokeStyle {
        nib: Nib::Pen,
        color: 0x20_40_60,
        width: 48,
    };
    let drawn = client.with(move |client, _| {
        for n in 0..strokes {
            let point = |step: i32| InkPoint::new(n * 700 + step * 90, step * step * 7, 99);
            let points: Vec<_> = (0..40).map(point).collect();
            let stroke = client.begin_stroke(style, &points);
            client.finish_stroke(stroke);
        }
    });
    drawn.await.expect("the client is there");
}

async fn wait_for_strokes(client: &NativeClient, count: usize) {
    wait_for(client, move |client| client.board().len() == count).await;
}

async fn wait_for_health(server: &ServerProcess, status: u16) -> String {
    let what = format!("/healthz to answer {status}");
    wait_until(&what, async || {
        let answer = server.get("/healthz", &[]).await.expect("an answer");
        (answer.status == status).then(|| answer.text())
    })
    .await
}

async fn state(client: &NativeClient) -> SaveState {
    let state = client.with(|client, _| client.save_state()).await;
    state.expect("the client is there")
}

/// Two people draw, the disk is full, they draw on, somebody comes in: all see everything, and nothing of the new is told
/// to be saved. Answers how many strokes there are.
async fn draw_on_a_full_disk(
    server: &ServerProcess,
    links: &BoardLinks,
    disk: &Disk,
    (one, other): (&NativeClient, &NativeClient),
) -> usize {
    draw(one, 3).await;
    wait_for(one, |client| client.save_state() == SaveState::Saved).await;
    wait_for_strokes(other, 3).await;
    disk.fill(server);
    // More than one page of the log has room for.
    draw(one, 60).await;
    draw(other, 60).await;
    let why = wait_for_health(server, 503).await;
    assert!(why.contains("board store"), "{why}");
    for client in [one, other] {
        wait_for_strokes(client, 123).await;
        wait_for(client, |client| {
            matches!(client.save_state(), SaveState::Sent { .. })
        })
        .await;
    }
    let newcomer = enter(server, links, 8).await;
    wait_for_strokes(&newcomer, 123).await;
    draw(&newcomer, 1).await;
    wait_for_strokes(one, 124).await;
    let board = server.inspect(links).await.expect("an answer");
    assert!(board.durable < board.position, "{board:?}");
    newcomer.stop().await;
    // However long it lasts: some attempts to write later it is as before.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for client in [one, other] {
        assert!(matches!(state(client).await, SaveState::Sent { .. }));
    }
    124
}

async fn check_all_goes_on(
    server: &ServerProcess,
    links: &BoardLinks,
    clients: (&NativeClient, &NativeClient),
    strokes: usize,
) {
    for client in [clients.0, clients.1] {
        wait_for(client, |client| {
            client.is_loaded() && client.save_state() == SaveState::Saved
        })
        .await;
        wait_for_strokes(client, strokes).await;
    }
    wait_for_health(server, 200).await;
    wait_until("everything to be saved", async || {
        let board = server.inspect(links).await.expect("an answer");
        (board.durable == board.position && board.strokes == strokes as u64).then_some(())
    })
    .await;
}

async fn start(wrapper: &[&str], data: Option<PathBuf>) -> ServerProcess {
    let options = ServerOptions {
        wrapper: wrapper.iter().map(Into::into).collect(),
        data,
        ..ServerOptions::default()
    };
    ServerProcess::start_with(options).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_and_all_goes_on_when_there_is_space_again() {
    // Space for half a commit, and a disk that takes not one byte, as one does that was remounted read-only.
    for room in [Some(6000), None] {
        let mut server = start(&SIGNAL_IGNORED, None).await;
        let links = server.create_board().await;
        let disk = Disk::Limit { room };
        let (one, other) = (
            enter(&server, &links, 0).await,
            enter(&server, &links, 1).await,
        );
        let strokes = draw_on_a_full_disk(&server, &links, &disk, (&one, &other)).await;
        disk.free(&server);
        check_all_goes_on(&server, &links, (&one, &other), strokes).await;
        one.set_online(false).await.expect("the client is there");
        other.set_online(false).await.expect("the client is there");
        server.kill_hard().await;
        server.restart().await;
        let newcomer = enter(&server, &links, 9).await;
        wait_for_strokes(&newcomer, strokes).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_on_a_full_disk_keeps_what_was_shown_as_saved() {
    let mut server = start(&SIGNAL_IGNORED, None).await;
    let links = server.create_board().await;
    let disk = Disk::Limit { room: Some(6000) };
    let (one, other) = (
        enter(&server, &links, 0).await,
        enter(&server, &links, 1).await,
    );
    draw_on_a_full_disk(&server, &links, &disk, (&one, &other)).await;
    server.kill_hard().await;
    for client in [&one, &other] {
        client.set_online(false).await.expect("the client is there");
    }
    server.restart().await;
    // Nobody makes up for anything: the three that were shown as saved are there, whatever else is.
    let board = server.inspect(&links).await.expect("an answer");
    assert!(board.strokes >= 3, "{board:?}");
    for client in [&one, &other] {
        client.set_online(true).await.expect("the client is there");
    }
    // Those who had drawn the rest still have it; what only the newcomer had drawn is gone with them, as they were told.
    for client in [&one, &other] {
        wait_for(client, |client| {
            client.is_loaded() && client.save_state() == SaveState::Saved
        })
        .await;
    }
    let newcomer = enter(&server, &links, 9).await;
    wait_for(&newcomer, |client| client.board().len() >= 123).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "what was exercised is told")]
async fn a_file_system_without_space_is_borne_like_any_other() {
    let user: &[&str] = if rustix::process::geteuid().is_root() {
        &["unshare", "--mount"]
    } else {
        &["unshare", "--user", "--map-root-user", "--mount"]
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mount = folder.path().to_str().expect("a plain name");
    let mounting = format!("mount -t tmpfs -o size=3m tmpfs '{mount}'");
    let tried = std::process::Command::new(user[0])
        .args(&user[1..])
        .args(["sh", "-c", &mounting])
        .output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        eprintln!(
            "no mount namespace is to be had here: a full disk was exercised by the limit on files alone"
        );
        return;
    }
    let serving = format!("{mounting} && exec \"$@\"");
    let wrapper = [user, &["sh", "-c", &serving, "sh"]].concat();
    let server = start(&wrapper, Some(folder.path().join("data"))).await;
    let links = server.create_board().await;
    let disk = Disk::Small {
        ballast: folder.path().join("ballast"),
    };
    let (one, other) = (
        enter(&server, &links, 0).await,
        enter(&server, &links, 1).await,
    );
    let strokes = draw_on_a_full_disk(&server, &links, &disk, (&one, &other)).await;
    disk.free(&server);
    check_all_goes_on(&server, &links, (&one, &other), strokes).await;
}
