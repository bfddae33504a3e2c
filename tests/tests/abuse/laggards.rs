//! Laggards: those who do not read, acknowledge or say anything are let go with a reason, and delay nobody.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use chalkboard_client::bridge::TransportKind;
use chalkboard_shared::DisconnectReason;
use chalkboard_shared::InkPoint;
use chalkboard_shared::limits::POINTS_PER_OP_MAX;
use chalkboard_shared::wire::{ClientMessage, ServerMessage};
use chalkboard_tests::dice::Dice;
use chalkboard_tests::waiting::{wait_until, within};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::scene::{KINDS, Scene, begin, expect_alive, expect_close, expect_ending, hello, next};

/// Somebody draws wild ink, which packs badly: 16 x 1.7 KB a message, 6 MB altogether. That is more than a reader who does
/// not read can have in its own window, on the way, and in the server's queue.
async fn draw_a_lot(scene: &Scene, number: u8) {
    let kind = TransportKind::WebTransport;
    let (link, _) = scene.guest(kind, scene.links.edit, number).await;
    let (mut sender, mut receiver) = link.split();
    let (messages, ops_per_message) = (240, 16);
    let drawing = async {
        let mut dice = Dice::new(5);
        for n in 0..messages {
            let mut wild = || {
                let points = (0..POINTS_PER_OP_MAX).map(|_| {
                    let at = dice.point(500);
                    InkPoint::new(at.x, at.y, dice.below(256) as u8)
                });
                begin(&points.collect::<Vec<_>>())
            };
            let ops = (0..ops_per_message).map(|_| wild()).collect();
            let first = 1 + n * ops_per_message;
            let message = ClientMessage::Ops {
                first,
                stamp: None,
                ops,
            };
            sender
                .send(message.encode())
                .await
                .expect("the link is there");
        }
    };
    let reading = async {
        loop {
            let frame = receiver.recv().await.expect("who reads stays");
            if let Ok(ServerMessage::Ack { through, .. }) = ServerMessage::decode(frame)
                && through == messages * ops_per_message
            {
                return;
            }
        }
    };
    within("a lot of ink", async { tokio::join!(drawing, reading) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_who_falls_behind_is_let_go_and_delays_nobody() {
    let scene = Scene::set().await;
    let kind = TransportKind::WebTransport;
    let (mut slow, _) = scene.guest(kind, scene.links.view, 1).await;
    draw_a_lot(&scene, 2).await;
    expect_ending(&mut slow, DisconnectReason::TooSlow, "not reading").await;
    scene.end().await;
}

/// A way to the server that can be made to lose whatever goes there; what comes from there still arrives.
struct Path {
    port: u16,
    is_deaf: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Path {
    async fn to(server: u16) -> Self {
        let inside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let outside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let (inside, outside) = (inside.expect("a port"), outside.expect("a port"));
        let address = outside.local_addr().expect("a bound socket has an address");
        let connected = inside.connect((Ipv4Addr::LOCALHOST, server)).await;
        connected.expect("UDP needs nobody there");
        let is_deaf = Arc::new(AtomicBool::new(false));
        let is_losing = is_deaf.clone();
        let task = tokio::spawn(async move {
            let (mut out, mut back) = ([0; 65_536], [0; 65_536]);
            let mut client = None;
            // What the system does not take is lost, as on any network.
            loop {
                tokio::select! {
                    Ok((length, from)) = outside.recv_from(&mut out) => {
                        client = Some(from);
                        if !is_losing.load(Ordering::Relaxed) {
                            let _ = inside.send(&out[..length]).await;
                        }
                    }
                    Ok(length) = inside.recv(&mut back) => {
                        if let Some(client) = client {
                            let _ = outside.send_to(&back[..length], client).await;
                        }
                    }
                    else => return,
                }
            }
        });
        Self {
            port: address.port(),
            is_deaf,
            task,
        }
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_acknowledges_nothing_is_let_go_and_delays_nobody() {
    let scene = Scene::set().await;
    let kind = TransportKind::WebTransport;
    let path = Path::to(scene.server.quic_port()).await;
    let mut doors = scene.doors.clone();
    doors.web_transport = format!("https://127.0.0.1:{}/session", path.port);
    let mut link = doors.link(kind, None).await.expect("a link");
    link.send(hello(scene.links.id, scene.links.view, 1))
        .await
        .expect("it goes out");
    let welcome = next(&mut link).await;
    assert!(
        matches!(welcome, Ok(ServerMessage::Welcome(_))),
        "{welcome:?}"
    );
    expect_alive(&mut link).await;
    path.is_deaf.store(true, Ordering::Relaxed);
    // Its own packets are lost, not those to it.
    let reading = expect_close(&mut link, DisconnectReason::TooSlow, "silence");
    let others = async {
        draw_a_lot(&scene, 2).await;
        wait_until("the end of the session", async || {
            (scene.count("sessions_too_slow").await == 1).then_some(())
        })
        .await;
        scene.check_bystander("silence").await;
    };
    within("the end of the session", async {
        tokio::join!(others, reading);
    })
    .await;
    wait_until("it to leave the room", async || {
        let board = scene.server.inspect(&scene.links).await.ok()?;
        (board.sessions == 1).then_some(())
    })
    .await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_who_says_nothing_is_told_so_and_let_go() {
    let scene = Scene::set().await;
    let mut silent = Vec::new();
    for kind in KINDS {
        silent.push(scene.link(kind).await);
        let mut link = scene.link(kind).await;
        // The beginning of a frame that never ends.
        if kind == TransportKind::WebTransport {
            link.send_raw(Bytes::from_static(&[200, 0, 0, 0, 1]))
                .await
                .expect("it goes out");
        }
        silent.push(link);
    }
    for link in &mut silent {
        expect_ending(link, DisconnectReason::Timeout, "silence").await;
    }
    scene.end().await;
}
