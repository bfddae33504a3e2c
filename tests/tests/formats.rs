//! What was written once can be read forever, and the wire changes only on purpose.
//!
//! `golden/wire-4.txt` has a line a message: its name and its bytes. It changes only together with
//! `limits::PROTOCOL_VERSION`. `golden/record-1.txt` and `golden/snapshot-1.txt` are what version 1 stored,
//! `golden/snapshot-2.txt` what version 2 does: they must open forever, so a new version adds files and never changes
//! these.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use chalkboard_client::{Client, ClientOptions};
use chalkboard_shared::codec::Writer;
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::growth::{End, Growth};
use chalkboard_shared::interest::Coverage;
use chalkboard_shared::op::{Former, InkRun, Taken};
use chalkboard_shared::presence::{
    CrowdMap, CursorGroup, CursorSample, Pace, PresenceCell, PresenceStage,
};
use chalkboard_shared::stroke::Nib;
use chalkboard_shared::wire::{
    ClientMessage, FollowNews, Hello, InkTail, Participant, PersonChange, Profile, Resume,
    ServerMessage, Update, Welcome,
};
use chalkboard_shared::{
    ActorId, BoardId, BoardPoint, BoardRect, DisconnectReason, InkPoint, Op, OpEntry, OpId,
    Position, RejectReason, Rights, Secret, SessionId, Stroke, StrokeId, StrokeStyle, Tick,
};
use chalkboard_simulation::{LogRecord, Room};
use chalkboard_tests::ensemble::{Ensemble, GOOD};
use chalkboard_tests::stage::{CONFIG, Stage, join, ops};

fn golden(name: &str) -> (PathBuf, String) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name);
    let text = fs::read_to_string(&path).unwrap_or_default();
    (path, text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.trim().bytes().collect();
    let byte = |pair: &[u8]| {
        u8::from_str_radix(core::str::from_utf8(pair).expect("ASCII"), 16).expect("hex")
    };
    digits.chunks(2).map(byte).collect()
}

const ID: OpId = OpId {
    actor: ActorId(0x0102_0304_0506_0708),
    counter: 5,
};
const STYLE: StrokeStyle = StrokeStyle {
    nib: Nib::Highlighter,
    color: 0xff_88_00,
    width: 320,
};

fn ink() -> InkRun {
    InkRun::new(vec![
        InkPoint::new(160, -320, 128),
        InkPoint::new(176, -304, 130),
        InkPoint::new(215, -300, 131),
    ])
}

/// One op of every kind.
fn every_op() -> Vec<Op> {
    let own = StrokeId(OpId { counter: 2, ..ID });
    let strokes = vec![
        own,
        StrokeId(OpId {
            actor: ActorId(9),
            counter: 300,
        }),
    ];
    let take_back = |former| Op::TakeBack {
        taken: strokes
            .iter()
            .map(|&stroke| Taken { stroke, counter: 3 })
            .collect(),
        former,
    };
    vec![
        Op::Begin {
            style: STYLE,
            ink: ink(),
        },
        Op::Extend {
            stroke: own,
            ink: ink(),
        },
        Op::Finish { stroke: own },
        Op::Erase {
            strokes: strokes.clone(),
        },
        Op::Restore {
            strokes: strokes.clone(),
        },
        Op::Restyle {
            strokes: strokes.clone(),
            style: STYLE,
        },
        take_back(Former::Shown),
        take_back(Former::Hidden),
        take_back(Former::Style(STYLE)),
    ]
}

fn stroke() -> Stroke {
    let mut stroke = Stroke::new(StrokeId(ID), Position(9), STYLE);
    stroke.push(ink().points());
    stroke.finish();
    stroke
}

/// One message of every kind, with its name.
fn every_message() -> Vec<(&'static str, Bytes)> {
    let profile = Profile {
        name: "Ada".into(),
        color: 0x33_66_99,
    };
    let view = BoardRect::from_corners(BoardPoint::new(0, 0), BoardPoint::new(20_480, 12_800));
    let area = Coverage::of_view(view, None);
    let cursor = CursorState {
        at: BoardPoint::new(1600, 800),
        tool: CursorTool::Eraser,
        pressed: true,
    };
    let cell = PresenceCell::at(PresenceCell::level_of(area), cursor.at);
    let sample = |x: i32, stamp| {
        let at = BoardPoint::new(x, 800);
        CursorSample::new(cell, CursorState { at, ..cursor }, stamp)
    };
    let group = CursorGroup::new(7, cell, 8000, [(SessionId(3), sample(1600, 300))]);
    let next = group.successor(
        8160,
        &[Some(sample(1700, 15_300))],
        [(SessionId(4), sample(9000, 44))],
    );
    let (mut keyframe, mut delta) = (Writer::new(), Writer::new());
    next.encode_successor(&group, &mut keyframe);
    next.encode_delta(8193, &[(1, sample(9100, 5044))], 1000, &mut delta);
    let even = (1..3u32).fold(group.clone(), |group, n| {
        let now = sample(1600 + 100 * n as i32, 300 + 15_000 * n);
        group.successor(8000 + 160 * n, &[Some(now)], [])
    });
    let after = even.successor(8480, &[Some(sample(1900, 45_300))], []);
    let mut going = Writer::new();
    after.encode_successor(&even, &mut going);
    let mut crowd = CrowdMap::new(cell);
    crowd.add((700, 900));
    let entry = |op| {
        let entry = OpEntry {
            position: Position(9),
            id: ID,
            op,
        };
        Update::Op(entry, None)
    };
    let mut wet = Stroke::new(StrokeId(ID), Position(4), STYLE);
    wet.push(ink().points());
    let growth = Update::Growth {
        position: Position(10),
        stamp: Some(70_000),
        growth: Growth::new(&wet, ID, ink().points()).expect("it grows"),
    };
    let next = OpId {
        counter: ID.counter + 1,
        ..ID
    };
    let grown_on = Update::Growth {
        position: Position(11),
        stamp: Some(75_000),
        growth: Growth::new(&wet, next, ink().points()).expect("it grows"),
    };
    let end = Update::End {
        position: Position(12),
        stamp: None,
        end: End::new(&wet, ID),
    };
    let person = Participant {
        session: SessionId(3),
        actor: ActorId(4),
        rights: Rights::Edit,
        profile: profile.clone(),
    };
    let followed = |news| ServerMessage::Followed {
        session: SessionId(300),
        news,
    };
    let client = |name, message: ClientMessage| (name, message.encode());
    let server = |name, message: ServerMessage| (name, message.encode());
    vec![
        client(
            "hello",
            ClientMessage::Hello(Box::new(Hello {
                board: BoardId([1; 16]),
                secret: Secret([2; 16]),
                key: [3; 16],
                profile: profile.clone(),
                view,
                resume: Some(Resume {
                    epoch: 4,
                    position: Position(5),
                    is_ahead: false,
                    coverage: Coverage::of_view(view, None),
                    held: view,
                }),
            })),
        ),
        client(
            "ops",
            ClientMessage::Ops {
                first: 5,
                stamp: None,
                ops: every_op()
                    .into_iter()
                    .map(|op| op.unsigned(ID.actor))
                    .collect(),
            },
        ),
        client("view", ClientMessage::View(view)),
        client("profile", ClientMessage::Profile(profile)),
        client("ping", ClientMessage::Ping(300)),
        client("cursors-wanted", ClientMessage::CursorsWanted(7)),
        client(
            "names-wanted",
            ClientMessage::NamesWanted(vec![SessionId(3), SessionId(300)]),
        ),
        client("follow", ClientMessage::Follow(Some(SessionId(300)))),
        client("follow-nobody", ClientMessage::Follow(None)),
        client("present", ClientMessage::Present(true)),
        client(
            "cursor",
            ClientMessage::Cursor {
                sequence: 6,
                stamp: Some(70_000),
                cursor,
            },
        ),
        server(
            "welcome",
            ServerMessage::Welcome(Box::new(Welcome {
                session: SessionId(3),
                actor: ActorId(4),
                rights: Rights::Edit,
                epoch: 5,
                tick: Tick(6),
                pace: Pace {
                    tick_us: 16_667,
                    presence: PresenceStage::Full,
                },
                position: Position(7),
                durable: Position(6),
                answered: 8,
                view_secret: Some(Secret([9; 16])),
            })),
        ),
        server("coverage", ServerMessage::Coverage(area)),
        server("chunk", ServerMessage::Chunk(vec![stroke()])),
        server("resumed", ServerMessage::Resumed),
        server("shown", ServerMessage::Shown),
        server("covered", ServerMessage::Covered),
        server(
            "updates",
            ServerMessage::Updates {
                tick: Tick(6),
                updates: every_op()
                    .into_iter()
                    .map(entry)
                    .chain([growth, grown_on, end, Update::Stroke(Box::new(stroke()))])
                    .collect(),
            },
        ),
        server(
            "ack",
            ServerMessage::Ack {
                through: 9,
                position: Position(10),
                rejected: vec![(8, RejectReason::NotYours)],
            },
        ),
        server("durable", ServerMessage::Durable(Position(10))),
        server(
            "people",
            ServerMessage::People {
                total: 300,
                changes: vec![PersonChange::Here(person), PersonChange::Left(SessionId(2))],
            },
        ),
        server("cursor-group", ServerMessage::CursorGroup(group)),
        server(
            "cursor-keyframe",
            ServerMessage::CursorKeyframe(keyframe.into_bytes()),
        ),
        server("cursor-group-going", ServerMessage::CursorGroup(even)),
        server(
            "cursor-keyframe-going",
            ServerMessage::CursorKeyframe(going.into_bytes()),
        ),
        server(
            "cursor-delta",
            ServerMessage::CursorDelta(delta.into_bytes()),
        ),
        server("crowd", ServerMessage::Crowd(crowd)),
        server(
            "live-ink",
            ServerMessage::LiveInk(vec![InkTail {
                first: 3,
                growth: Growth::behind(
                    Position(4),
                    ink().points(),
                    &[InkPoint::new(260, -300, 133), InkPoint::new(300, -304, 130)],
                ),
            }]),
        ),
        server(
            "pace",
            ServerMessage::Pace(Pace {
                tick_us: 33_333,
                presence: PresenceStage::Slow,
            }),
        ),
        server(
            "presenters",
            ServerMessage::Presenters {
                group: 300,
                sessions: vec![SessionId(3), SessionId(300)],
            },
        ),
        server("followed", followed(Some(FollowNews { group: 300, view }))),
        server("followed-ended", followed(None)),
        server("beat", ServerMessage::Beat(-300)),
        server("pong", ServerMessage::Pong(300)),
        server("bye", ServerMessage::Bye(DisconnectReason::TooSlow)),
    ]
}

#[test]
fn the_wire_is_what_version_4_says() {
    let (path, expect) = golden("wire-4.txt");
    let got: String = every_message()
        .iter()
        .map(|(name, frame)| format!("{name} {}\n", hex(frame)))
        .collect();
    if std::env::var_os("CHALKBOARD_BLESS").is_some() {
        std::fs::write(&path, &got).expect("the golden file can be written");
    }
    assert_eq!(
        got,
        expect,
        "the wire has changed: raise the protocol's version, and write {} anew with CHALKBOARD_BLESS=1",
        path.display()
    );
}

/// A board with an op of every kind.
fn stage() -> Stage {
    let mut stage = Stage::default();
    let own = |counter| {
        StrokeId(OpId {
            actor: ActorId(1),
            counter,
        })
    };
    let drawn = vec![
        Op::Begin {
            style: STYLE,
            ink: ink(),
        },
        Op::Extend {
            stroke: own(1),
            ink: ink(),
        },
        Op::Finish { stroke: own(1) },
        Op::Begin {
            style: StrokeStyle {
                nib: Nib::Pen,
                ..STYLE
            },
            ink: ink(),
        },
        Op::Erase {
            strokes: vec![own(1)],
        },
        Op::Restore {
            strokes: vec![own(1)],
        },
        Op::Restyle {
            strokes: vec![own(1), own(4)],
            style: StrokeStyle { color: 1, ..STYLE },
        },
        Op::Begin {
            style: STYLE,
            ink: ink(),
        },
        Op::Erase {
            strokes: vec![own(8)],
        },
    ];
    stage.step([
        join(1, Rights::Edit, BoardRect::EVERYTHING),
        ops(1, 1, drawn),
    ]);
    stage
}

#[test]
fn a_record_of_version_1_opens_forever() {
    let (_, text) = golden("record-1.txt");
    let bytes = unhex(&text);
    let record = LogRecord::decode(&bytes).expect("version 1");
    assert_eq!(
        (record.tick, record.unix_ms, record.entries.len()),
        (Tick(1), 16, 9)
    );
    let room = Room::recover(CONFIG, None, [bytes.clone()]).expect("version 1");
    assert_eq!(
        (room.digest(), room.position()),
        (stage().room.digest(), Position(9))
    );
    assert_eq!(
        hex(&stage().log[0].bytes),
        hex(&bytes),
        "the format has changed: give it a new version, keep reading this one"
    );
}

#[test]
fn a_snapshot_of_version_1_opens_forever() {
    let (_, text) = golden("snapshot-1.txt");
    let bytes = unhex(&text);
    let room = Room::recover(CONFIG, Some((Position(9), bytes.clone())), []).expect("version 1");
    assert_eq!(
        (room.digest(), room.stroke_count()),
        (stage().room.digest(), 3)
    );
}

#[test]
fn a_snapshot_of_version_2_opens_forever() {
    let (path, text) = golden("snapshot-2.txt");
    let mut stage = stage();
    let written = hex(&stage.room.snapshot());
    if text.is_empty() {
        fs::write(path, written.clone() + "\n").expect("it can be written");
        panic!("a new golden file was written: look at it and commit it");
    }
    let bytes = unhex(&text);
    let mut room = Room::recover(CONFIG, Some((Position(9), bytes)), []).expect("version 2");
    assert_eq!(room.tick(), Tick(1));
    assert_eq!(room.strokes(), stage.room.strokes());
    assert_eq!(
        written,
        text.trim(),
        "the format has changed: give it a new version, keep reading this one"
    );
}

/// A client that knows two strokes, has gone offline, drawn another and erased one of the two.
fn offline() -> Ensemble {
    let mut ensemble = Ensemble::of_editors(1, 4, GOOD);
    let draw = |ensemble: &mut Ensemble| {
        let client = &mut ensemble.members[0].client;
        let stroke = client.begin_stroke(STYLE, ink().points());
        client.finish_stroke(stroke);
        stroke
    };
    let first = draw(&mut ensemble);
    draw(&mut ensemble);
    ensemble.settle();
    ensemble.cut(0);
    draw(&mut ensemble);
    ensemble.members[0].client.erase(&[first]);
    ensemble
}

#[test]
fn what_version_1_kept_of_a_client_opens_forever() {
    let (path, text) = golden("journal-1.txt");
    let mut ensemble = offline();
    let client = &mut ensemble.members[0].client;
    if text.is_empty() {
        let change = client.take_journal().expect("something is to be kept");
        let board = client.board_to_keep().expect("something is held");
        let pieces = [change.head, board].into_iter();
        let pieces = pieces.chain(change.ops.into_iter().map(|(_, op)| op));
        let lines: Vec<String> = pieces.map(|piece| hex(&piece)).collect();
        fs::write(path, lines.join("\n") + "\n").expect("it can be written");
        panic!("a new golden file was written: look at it and commit it");
    }
    let mut pieces = text.lines().map(|line| unhex(line).to_vec());
    let (head, board) = (
        pieces.next().expect("a head"),
        pieces.next().expect("a board"),
    );
    let mut again = Client::new(ClientOptions {
        board: BoardId([1; 16]),
        secret: Secret([2; 16]),
        key: [3; 16],
        name: String::new(),
        color: 0,
        is_stamping: false,
    });
    again.restore(&head, pieces.collect()).expect("version 1");
    again.restore_board(&board).expect("version 1");
    let seen = |client: &Client| -> Vec<Stroke> {
        let strokes = client.board().strokes_in(BoardRect::EVERYTHING);
        strokes.into_iter().cloned().collect()
    };
    assert_eq!(seen(&again).len(), 2);
    assert_eq!(seen(&again), seen(client));
    assert_eq!(again.save_state(), client.save_state());
    assert_eq!(
        (again.actor(), again.position()),
        (client.actor(), client.position())
    );
}
