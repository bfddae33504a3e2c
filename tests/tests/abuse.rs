//! Whatever a peer sends, it is told why it can't stay; everybody else goes on, and memory stays bounded.

mod floods;
mod laggards;
mod measures;
mod returning;
mod scene;

use chalkboard_client::bridge::TransportKind;
use chalkboard_client::native::LinkError;
use chalkboard_shared::limits::{
    CLIENT_FRAME_BYTES_MAX, COORDINATE_MAX, OPS_PER_MESSAGE_MAX, PROTOCOL_VERSION,
};
use chalkboard_shared::op::InkRun;
use chalkboard_shared::stroke::StrokeStyle;
use chalkboard_shared::wire::{ClientMessage, Profile, ServerMessage};
use chalkboard_shared::{ActorId, BoardRect, DisconnectReason, InkPoint, Op, RejectReason};
use chalkboard_tests::dice::Dice;
use chalkboard_tests::waiting::within;
use scene::{
    KINDS, MYSELF, STYLE, Scene, begin, expect_alive, expect_ending, framed, hello, next, stroke,
};

/// What to send, and what comes of it.
type Offence = (&'static str, Vec<u8>, DisconnectReason);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_first_messages_are_answered_with_a_reason() {
    let scene = Scene::set().await;
    let links = scene.links;
    let mut other_version = hello(links.id, links.edit, 1).to_vec();
    other_version[1..3].copy_from_slice(&(PROTOCOL_VERSION + 98).to_le_bytes());
    let good = hello(links.id, links.edit, 1).to_vec();
    let mut other_board = links.id;
    other_board.0[3] ^= 1;
    let mut other_secret = links.edit;
    other_secret.0[15] ^= 1;
    let offences: Vec<Offence> = vec![
        (
            "another version",
            other_version,
            DisconnectReason::VersionMismatch,
        ),
        (
            "a wrong secret",
            hello(links.id, other_secret, 1).to_vec(),
            DisconnectReason::NoAccess,
        ),
        (
            "an unknown board",
            hello(other_board, links.edit, 1).to_vec(),
            DisconnectReason::NoAccess,
        ),
        (
            "half a hello",
            good[..good.len() / 2].to_vec(),
            DisconnectReason::Malformed,
        ),
        (
            "a hello with more",
            [&good[..], &[0]].concat(),
            DisconnectReason::Malformed,
        ),
        (
            "an op instead",
            ClientMessage::Ping(1).encode().to_vec(),
            DisconnectReason::Malformed,
        ),
        ("noise", vec![0xff; 300], DisconnectReason::Malformed),
        ("nothing", vec![], DisconnectReason::Malformed),
        (
            "too much",
            vec![1; CLIENT_FRAME_BYTES_MAX + 1],
            DisconnectReason::TooLarge,
        ),
    ];
    for kind in KINDS {
        for (what, body, expected) in &offences {
            let mut link = scene.link(kind).await;
            // The server may close before it has read everything.
            let _ = link.send_raw(framed(kind, body)).await;
            expect_ending(&mut link, *expected, what).await;
            scene.check_bystander(what).await;
        }
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_messages_of_guests_are_answered_with_a_reason() {
    let scene = Scene::set().await;
    let op = |op: Op| {
        ClientMessage::Ops {
            first: 1,
            stamp: None,
            ops: vec![op],
        }
        .encode()
        .to_vec()
    };
    let far = begin(&[InkPoint::new(COORDINATE_MAX + 1, 0, 1)]);
    let wide = Op::Begin {
        style: StrokeStyle {
            width: u16::MAX,
            ..STYLE
        },
        ink: InkRun::new(vec![InkPoint::new(0, 0, 1)]),
    };
    let whole = op(begin(&[
        InkPoint::new(0, 0, 1),
        InkPoint::new(90, 70, 2),
        InkPoint::new(900, 10, 3),
    ]));
    let finish = Op::Finish {
        stroke: stroke(MYSELF, 1),
    };
    let crowd = ClientMessage::Ops {
        first: 1,
        stamp: None,
        ops: vec![finish.clone(); OPS_PER_MESSAGE_MAX + 1],
    };
    let uncounted = ClientMessage::Ops {
        first: 0,
        stamp: None,
        ops: vec![finish],
    };
    let offences: Vec<Offence> = vec![
        (
            "a second hello",
            hello(scene.links.id, scene.links.edit, 1).to_vec(),
            DisconnectReason::Malformed,
        ),
        (
            "an unknown kind",
            vec![250, 1, 2, 3],
            DisconnectReason::Malformed,
        ),
        (
            "a message of the server",
            ServerMessage::Covered.encode().to_vec(),
            DisconnectReason::Malformed,
        ),
        ("ink far away", op(far), DisconnectReason::Malformed),
        ("a nib too wide", op(wide), DisconnectReason::Malformed),
        (
            "an op cut off",
            whole[..whole.len() - 2].to_vec(),
            DisconnectReason::Malformed,
        ),
        (
            "more ops than allowed",
            crowd.encode().to_vec(),
            DisconnectReason::Malformed,
        ),
        (
            "op number 0",
            uncounted.encode().to_vec(),
            DisconnectReason::Malformed,
        ),
        (
            "too much",
            vec![2; CLIENT_FRAME_BYTES_MAX + 1],
            DisconnectReason::TooLarge,
        ),
    ];
    for kind in KINDS {
        for (what, body, expected) in &offences {
            let (mut link, _) = scene.guest(kind, scene.links.edit, 1).await;
            let _ = link.send_raw(framed(kind, body)).await;
            expect_ending(&mut link, *expected, what).await;
            scene.check_bystander(what).await;
        }
    }
    let strokes = scene
        .server
        .inspect(&scene.links)
        .await
        .expect("an answer")
        .strokes;
    let drawn = 2 * offences.len() as u64;
    assert_eq!(strokes, drawn, "the bystander's strokes and nobody else's");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_that_are_not_allowed_are_refused_and_the_session_goes_on() {
    let scene = Scene::set().await;
    scene.check_bystander("nothing").await;
    let of_bystander = scene
        .bystander
        .with(|client, _| client.board().strokes_in(BoardRect::EVERYTHING)[0].id)
        .await
        .expect("the bystander is there");
    let ink = || InkRun::new(vec![InkPoint::new(5, 5, 5)]);
    for (kind, number) in [(KINDS[0], 1), (KINDS[1], 2)] {
        let (mut link, welcome) = scene.guest(kind, scene.links.edit, number).await;
        let own = stroke(MYSELF, 1);
        let ops = vec![
            begin(&[InkPoint::new(0, 0, 1)]),
            Op::Extend {
                stroke: of_bystander,
                ink: ink(),
            },
            Op::Finish {
                stroke: of_bystander,
            },
            Op::Extend {
                stroke: stroke(MYSELF, 3),
                ink: ink(),
            },
            Op::Erase {
                strokes: vec![stroke(ActorId(12_345), 9)],
            },
            Op::Finish { stroke: own },
            Op::Extend {
                stroke: own,
                ink: ink(),
            },
            begin(&[InkPoint::new(9, 9, 9)]),
        ];
        let last = ops.len() as u32;
        let message = ClientMessage::Ops {
            first: 1,
            stamp: None,
            ops,
        };
        link.send(message.encode())
            .await
            .expect("the link is there");
        let mut refused = Vec::new();
        loop {
            if let ServerMessage::Ack {
                through, rejected, ..
            } = next(&mut link).await.expect("an answer")
            {
                refused.extend(rejected);
                if through == last {
                    break;
                }
            }
        }
        assert_eq!(
            refused,
            [
                (2, RejectReason::NotYours),
                (3, RejectReason::NotYours),
                (4, RejectReason::UnknownStroke),
                (5, RejectReason::UnknownStroke),
                (7, RejectReason::StrokeFinished),
            ],
            "{kind:?} {:?}",
            welcome.rights
        );
        expect_alive(&mut link).await;
        link.close(0, "").await;
    }
    for kind in KINDS {
        let (mut link, _) = scene.guest(kind, scene.links.view, 9).await;
        let ops = vec![
            begin(&[InkPoint::new(0, 0, 1)]),
            Op::Erase {
                strokes: vec![of_bystander],
            },
        ];
        let message = ClientMessage::Ops {
            first: 1,
            stamp: None,
            ops,
        };
        link.send(message.encode())
            .await
            .expect("the link is there");
        let rejected = loop {
            if let ServerMessage::Ack { rejected, .. } = next(&mut link).await.expect("an answer") {
                break rejected;
            }
        };
        assert_eq!(
            rejected,
            [(1, RejectReason::ReadOnly), (2, RejectReason::ReadOnly)]
        );
        expect_alive(&mut link).await;
    }
    let strokes = scene
        .server
        .inspect(&scene.links)
        .await
        .expect("an answer")
        .strokes;
    assert_eq!(strokes, 1 + 2 * 2, "what was allowed and nothing else");
    scene.end().await;
}

/// A frame of a guest, then changed as chance has it.
fn damaged(dice: &mut Dice, counter: u32) -> Vec<u8> {
    let at = dice.point(500);
    let frame = match dice.below(5) {
        0 => ClientMessage::View(dice.view(500)),
        1 => ClientMessage::Profile(Profile {
            name: "Ada".to_owned(),
            color: 5,
        }),
        2 => ClientMessage::Ping(dice.bits()),
        _ => ClientMessage::Ops {
            first: counter,
            stamp: None,
            ops: vec![
                Op::Begin {
                    style: dice.style(),
                    ink: dice.ink(at),
                },
                Op::Finish {
                    stroke: stroke(MYSELF, counter),
                },
            ],
        },
    };
    let mut bytes = frame.encode().to_vec();
    for _ in 0..=dice.below(4) {
        let place = dice.below(bytes.len() as u64) as usize;
        bytes[place] ^= 1 << dice.below(8);
    }
    if dice.chance(30) {
        bytes.truncate(1 + dice.below(bytes.len() as u64) as usize);
    }
    if dice.chance(20) {
        let length = 1 + dice.below(200);
        bytes = (0..length).map(|_| dice.bits() as u8).collect();
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_disturb_nobody_else() {
    let scene = Scene::set().await;
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let kind = KINDS[(seed % 2) as usize];
        let (link, _) = scene.guest(kind, scene.links.edit, 1).await;
        let (mut sender, mut receiver) = link.split();
        let sending = async {
            for n in 0..40 {
                let bytes = damaged(&mut dice, 2 * n + 1);
                if dice.chance(20) && kind == TransportKind::WebTransport {
                    let _ = sender.send_datagram(bytes.clone().into()).await;
                }
                if sender.send(bytes.into()).await.is_err() {
                    return;
                }
            }
            // What was harmless has left the link as it was. A stream that is at its end in the middle of a frame says so.
            let _ = sender.send(vec![0xee; 8].into()).await;
        };
        let receiving = async {
            loop {
                match receiver.recv().await {
                    Ok(frame) => drop(ServerMessage::decode(frame).expect("a readable message")),
                    Err(LinkError::Closed { code, reason }) => return (code, reason),
                    Err(error) => panic!("seed {seed}: no close with a reason: {error}"),
                }
            }
        };
        let (code, words) = within("the end of a link", async {
            tokio::join!(sending, receiving).1
        })
        .await;
        let reason = DisconnectReason::from_code(code);
        assert_eq!(
            reason,
            Some(DisconnectReason::Malformed),
            "seed {seed}: {words}"
        );
        if seed % 10 == 0 {
            scene.check_bystander("noise").await;
        }
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_origins_may_not_connect() {
    let scene = Scene::set().await;
    for kind in KINDS {
        for origin in ["https://evil.example", "null", "http://localhost:1"] {
            match scene.doors.link(kind, Some(origin)).await {
                Ok(mut link) => expect_ending(&mut link, DisconnectReason::Origin, origin).await,
                Err(LinkError::Closed { code, reason }) => {
                    assert_eq!(
                        (code, reason),
                        (
                            DisconnectReason::Origin.code(),
                            DisconnectReason::Origin.to_string()
                        )
                    );
                }
                Err(error) => panic!("{origin} over {kind:?}: {error}"),
            }
        }
        let own = scene.server.url().to_owned();
        let mut link = scene
            .doors
            .link(kind, Some(&own))
            .await
            .expect("our own page may");
        link.send(hello(scene.links.id, scene.links.view, 3))
            .await
            .expect("it goes out");
        let welcome = next(&mut link).await;
        assert!(
            matches!(welcome, Ok(ServerMessage::Welcome(_))),
            "{welcome:?}"
        );
    }
    let answer = scene
        .server
        .request(
            "POST",
            "/api/v1/boards",
            &[("Origin", "https://evil.example")],
            "{}",
        )
        .await
        .expect("an answer");
    assert_eq!(answer.status, 403);
    let error = &answer.json()["error"];
    assert_eq!(error["code"], "origin");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| text.contains("--allow-origin")),
        "{error}"
    );
    scene.end().await;
}
