//! Floods: whoever sends more than anybody needs is told so, and nobody else notices.

use std::net::SocketAddr;

use bytes::Bytes;
use chalkboard_client::bridge::TransportKind;
use chalkboard_client::native::LinkError;
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::limits::OPS_PER_MESSAGE_MAX;
use chalkboard_shared::wire::{ClientMessage, Profile, ServerMessage};
use chalkboard_shared::{BoardPoint, BoardRect, DisconnectReason, Op, SessionId};
use chalkboard_tests::waiting::within;
use quinn::crypto::rustls::QuicClientConfig;
use web_transport_quinn::proto::ConnectRequest;
use web_transport_quinn::{Session, SessionError, WebTransportError};

use super::scene::{KINDS, MYSELF, Scene, expect_alive, expect_ending, framed, hello, stroke};

/// Sends message after message, from number 0 on, and checks that the sender is told of a flood and nobody else
/// notices.
async fn check_flood(message: impl Fn(u32) -> ClientMessage) {
    let scene = Scene::set().await;
    for (kind, number) in [(KINDS[0], 1), (KINDS[1], 2)] {
        let (link, _) = scene.guest(kind, scene.links.edit, number).await;
        let (mut sender, mut receiver) = link.split();
        let flooding = async {
            for n in 0..5000 {
                if sender.send(message(n).encode()).await.is_err() {
                    return;
                }
            }
        };
        let reading = async {
            loop {
                match receiver.recv().await {
                    Ok(_) => {}
                    Err(LinkError::Closed { code, reason }) => return (code, reason),
                    Err(error) => panic!("no close with a reason: {error}"),
                }
            }
        };
        let (code, words) = within("the end of a flood", async {
            tokio::join!(flooding, reading).1
        })
        .await;
        assert_eq!(
            code,
            DisconnectReason::Flood.code(),
            "{words} over {kind:?}"
        );
        assert_eq!(words, DisconnectReason::Flood.to_string());
        assert_eq!(scene.count("sessions_flooding").await, u64::from(number));
        scene.check_bystander("a flood").await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_ops_ends_the_flooder_alone() {
    // Small ones, so that the network takes more of them than the room can.
    let op = Op::Finish {
        stroke: stroke(MYSELF, 1),
    };
    let ops = vec![op; OPS_PER_MESSAGE_MAX];
    check_flood(|n| ClientMessage::Ops {
        first: 1 + n * OPS_PER_MESSAGE_MAX as u32,
        stamp: None,
        ops: ops.clone(),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_views_ends_the_flooder_alone() {
    check_flood(|n| {
        let far = (n % 1000) as i32 * 1_000_000;
        let view = BoardRect::from_corners(BoardPoint::new(far, 0), BoardPoint::new(far + 99, 99));
        ClientMessage::View(view)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_datagrams_ends_the_flooder_alone() {
    let scene = Scene::set().await;
    let kind = TransportKind::WebTransport;
    let (mut link, _) = scene.guest(kind, scene.links.edit, 1).await;
    // Far more than a burst, at the pace of the network.
    for n in 0..20_000u32 {
        if link.send_datagram(Bytes::from_static(&[1])).await.is_err() {
            break;
        }
        if n % 16 == 0 {
            tokio::task::yield_now().await;
        }
    }
    expect_ending(&mut link, DisconnectReason::Flood, "datagrams").await;
    scene.check_bystander("datagrams").await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_ends_the_flooder_alone() {
    check_flood(|n| ClientMessage::Ping(n.into())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_names_ends_the_flooder_alone() {
    check_flood(|n| {
        ClientMessage::Profile(Profile {
            name: format!("n{n}"),
            color: n,
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_keyframes_endlessly_is_let_go() {
    check_flood(|n| ClientMessage::CursorsWanted(n as u16)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_names_endlessly_is_let_go() {
    check_flood(|n| ClientMessage::NamesWanted(vec![SessionId(n)])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_and_presents_endlessly_is_let_go() {
    check_flood(|n| match n % 2 {
        0 => ClientMessage::Follow(Some(SessionId(n))),
        _ => ClientMessage::Present(n % 4 == 1),
    })
    .await;
}

fn cursor(sequence: u32) -> ClientMessage {
    ClientMessage::Cursor {
        sequence,
        stamp: None,
        cursor: CursorState {
            at: BoardPoint::new((sequence % 999) as i32, 7),
            tool: CursorTool::Pen,
            pressed: false,
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_cursors_on_the_stream_ends_the_flooder_alone() {
    check_flood(cursor).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_sent_again_and_again_end_the_sender_alone() {
    let op = Op::Finish {
        stroke: stroke(MYSELF, 1),
    };
    check_flood(|_| ClientMessage::Ops {
        first: 1,
        stamp: None,
        ops: vec![op.clone()],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursors_beyond_what_a_screen_shows_are_dropped_in_silence() {
    let scene = Scene::set().await;
    for (kind, number) in [(KINDS[0], 1), (KINDS[1], 2)] {
        let before = scene.count("cursors_dropped").await;
        let (mut link, _) = scene.guest(kind, scene.links.edit, number).await;
        // More than a second's worth at once, less than a flood.
        for sequence in 1..=400 {
            let frame = cursor(sequence).encode();
            link.send(frame).await.expect("the link is there");
        }
        expect_alive(&mut link).await;
        let dropped = scene.count("cursors_dropped").await - before;
        assert!((1..400).contains(&dropped), "{dropped} over {kind:?}");
    }
    assert_eq!(scene.count("sessions_flooding").await, 0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_larger_than_the_plane_is_as_good_as_all_of_it() {
    let scene = Scene::set().await;
    scene.check_bystander("nothing").await;
    let (least, most) = (i32::MIN, i32::MAX);
    let views = [
        (least, least, most, most),
        (most, most, most, most),
        (least, most, least, most),
        (least, 0, most, 0),
        (least, least, most, most),
    ];
    for (kind, number) in [(KINDS[0], 1), (KINDS[1], 2)] {
        let (mut link, _) = scene.guest(kind, scene.links.view, number).await;
        for (x0, y0, x1, y1) in views {
            let view = BoardRect::from_corners(BoardPoint::new(x0, y0), BoardPoint::new(x1, y1));
            let frame = ClientMessage::View(view).encode();
            link.send(frame).await.expect("the link is there");
            scene.check_bystander("a view").await;
        }
        let seen = expect_alive(&mut link).await;
        let last = seen.iter().rev().find_map(|message| match message {
            ServerMessage::Coverage(coverage) => Some(coverage.rect()),
            _ => None,
        });
        assert!(
            last.is_some_and(|area| area.contains_rect(BoardRect::EVERYTHING)),
            "{last:?} over {kind:?}"
        );
    }
    scene.end().await;
}

/// A session whose streams are one's own to open.
async fn session(scene: &Scene) -> Session {
    let tls = scene.doors.trust.config(&[b"h3"]).expect("TLS");
    let crypto = QuicClientConfig::try_from(tls).expect("QUIC takes TLS 1.3");
    let mut endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a UDP port");
    endpoint.set_default_client_config(quinn::ClientConfig::new(std::sync::Arc::new(crypto)));
    let address = SocketAddr::from(([127, 0, 0, 1], scene.server.quic_port()));
    let connecting = endpoint.connect(address, "127.0.0.1").expect("an address");
    let connection = within("a connection", connecting)
        .await
        .expect("the server");
    let address = scene.doors.web_transport.parse::<url::Url>();
    let request = ConnectRequest::new(address.expect("an address"));
    within("a session", Session::connect(connection, request))
        .await
        .expect("the server takes sessions")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_without_end_end_their_session_alone() {
    let scene = Scene::set().await;
    for is_in_room in [false, true] {
        for is_one_way in [false, true] {
            let session = session(&scene).await;
            let own = session.open_bi().await;
            let (mut own, _answers) = own.expect("a stream may be opened");
            if is_in_room {
                let first = framed(KINDS[0], &hello(scene.links.id, scene.links.edit, 1));
                own.write_all(&first).await.expect("it goes out");
            }
            // Each with a byte, so that the server learns of it; some are refused before that has gone out.
            let opening = async {
                loop {
                    let opened = if is_one_way {
                        session.open_uni().await
                    } else {
                        session.open_bi().await.map(|(stream, _)| stream)
                    };
                    let Ok(mut stream) = opened else { return };
                    let _ = stream.write_all(&[1]).await;
                    let _ = stream.finish();
                }
            };
            within("the end of a flood", opening).await;
            let end = within("the end of a session", session.closed()).await;
            let code = match end {
                SessionError::WebTransportError(WebTransportError::Closed(code, _)) => code,
                other => panic!("no close with a reason: {other:?}"),
            };
            assert_eq!(code, DisconnectReason::Flood.code());
            scene.check_bystander("streams").await;
        }
    }
    scene.end().await;
}
