//! A recording makes the same room again, hides what it must, and says what is wrong with it.

use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::limits::OPS_PER_TICK_MAX;
use chalkboard_shared::op::InkRun;
use chalkboard_shared::presence::{Pace, PresenceStage};
use chalkboard_shared::stroke::Nib;
use chalkboard_shared::wire::Profile;
use chalkboard_shared::{
    ActorId, BoardPoint, BoardRect, InkPoint, Op, OpId, Rights, Secret, SessionId, StrokeId,
    StrokeStyle,
};

use super::*;
use crate::input::Join;

const CONFIG: RoomConfig = RoomConfig {
    epoch: 3,
    epoch_starts: Vec::new(),
    tick_us: 16_667,
};
const SECRET: Secret = Secret(*b"a secret, hidden");

fn join(session: u32) -> Input {
    Input::Join(Box::new(Join {
        session: SessionId(session),
        actor: ActorId(u64::from(session) * 1000),
        rights: Rights::Edit,
        profile: Profile {
            name: format!("person {session}"),
            color: session,
        },
        view: BoardRect::EVERYTHING,
        view_secret: Some(SECRET),
        resume: None,
    }))
}

fn begin(n: i32) -> Op {
    let point = |step: i32| InkPoint::new(n * 40 + step * 9, step * step, step as u8);
    Op::Begin {
        style: StrokeStyle {
            nib: Nib::Pen,
            color: 0x12_34_56,
            width: 64,
        },
        ink: InkRun::new((0..5).map(point).collect()),
    }
}

fn ops(session: u32, first: u32, ops: Vec<Op>) -> Input {
    Input::Ops {
        session: SessionId(session),
        first,
        stamp: Some(first * 7),
        ops,
    }
}

const fn now(step: u64) -> Now {
    Now {
        unix_ms: 1_700_000_000_000 + step * 17,
        uptime_ms: 5_000 + step as u32 * 17,
    }
}

/// A room in the middle of it: two people, strokes, and more ops waiting than a tick takes.
fn busy_room() -> Room {
    let mut room = Room::new(CONFIG);
    room.step(now(0), [join(1), join(2)]);
    let drawn = (0..20).map(begin).collect();
    room.step(now(1), [ops(1, 1, drawn)]);
    let many = (0..OPS_PER_TICK_MAX as i32 + 100).map(begin).collect();
    let erase = Op::Erase {
        strokes: vec![StrokeId(OpId {
            actor: ActorId(1000),
            counter: 3,
        })],
    };
    room.step(now(2), [ops(2, 1, many), ops(1, 21, vec![erase])]);
    room
}

/// Steps with everything that may come in.
fn steps() -> Vec<Vec<Input>> {
    let cursor = |session, sequence| Input::Cursor {
        session: SessionId(session),
        sequence,
        stamp: None,
        cursor: CursorState {
            at: BoardPoint::new(-77, 3000),
            tool: CursorTool::Eraser,
            pressed: true,
        },
    };
    vec![
        vec![],
        vec![join(3), cursor(1, 9), ops(3, 1, vec![begin(1), begin(2)])],
        vec![
            Input::View {
                session: SessionId(3),
                view: BoardRect::from_corners(BoardPoint::new(0, -5), BoardPoint::new(900, 800)),
            },
            Input::Profile {
                session: SessionId(1),
                profile: Profile {
                    name: "Ängström".into(),
                    color: 0xff_ff_ff,
                },
            },
            Input::CursorsWanted {
                session: SessionId(2),
                group: 65_535,
            },
            Input::NamesWanted {
                session: SessionId(2),
                of: vec![SessionId(1), SessionId(3)],
            },
            Input::Follow {
                session: SessionId(3),
                followed: Some(SessionId(1)),
            },
            Input::Follow {
                session: SessionId(2),
                followed: None,
            },
            Input::Present {
                session: SessionId(1),
                is_presenting: true,
            },
            Input::Pace(Pace {
                tick_us: 33_333,
                presence: PresenceStage::Sparse,
            }),
            Input::Written {
                session: SessionId(1),
                bytes: 70_000,
            },
            Input::Durable(Position(4)),
        ],
        vec![
            Input::Leave(SessionId(2)),
            ops(
                1,
                30,
                vec![Op::Finish {
                    stroke: StrokeId(OpId {
                        actor: ActorId(1000),
                        counter: 1,
                    }),
                }],
            ),
        ],
    ]
}

/// Goes on with the room while that is recorded; answers the file and the records of its log.
fn record(room: &mut Room, steps: Vec<Vec<Input>>) -> (Vec<u8>, Vec<Option<Bytes>>) {
    let mut file = room.begin_recording().to_vec();
    let mut records = Vec::new();
    for (inputs, step) in steps.into_iter().zip(3..) {
        let record = StepRecord::new(room, now(step), &inputs);
        let output = room.step(now(step), inputs);
        file.extend_from_slice(&record.finish(room));
        records.push(output.record.map(|record| record.bytes));
    }
    file.extend_from_slice(&encode_end(RecordingEnd::Time));
    (file, records)
}

#[test]
fn the_same_room_comes_of_it_tick_by_tick() {
    let mut room = busy_room();
    let (file, records) = record(&mut room, steps());
    let mut replay = Replay::open(&file.into()).expect("it opens");
    for record in records {
        let step = replay.step().expect("sound").expect("a step");
        assert!(step.agrees(), "{step:?}");
        assert_eq!(step.output.record.map(|record| record.bytes), record);
    }
    assert!(replay.step().expect("sound").is_none());
    assert_eq!(replay.end(), Some(RecordingEnd::Time));
    assert_eq!(replay.room().digest(), room.digest());
    assert_eq!(replay.room().session_count(), 2);
    // What waited at the beginning, what came since, and nothing twice.
    assert_eq!(
        room.position().0,
        20 + 1 + OPS_PER_TICK_MAX as u64 + 100 + 3
    );
}

#[test]
fn every_input_is_stored_as_it_was() {
    let lossy = [true, false].map(|is_lossy| Input::Lossy {
        session: SessionId(300),
        is_lossy,
    });
    for input in steps().into_iter().flatten().chain(lossy) {
        let mut w = Writer::new();
        stored_input::encode(&input, &mut w);
        let mut r = Reader::new(w.into_bytes());
        let mut expected = input.clone();
        if let Input::Join(join) = &mut expected {
            join.view_secret = None;
        }
        assert_eq!(stored_input::decode(&mut r).as_ref(), Ok(&expected));
        r.finish().expect("nothing more");
    }
}

#[test]
fn secrets_are_not_in_it() {
    let mut room = busy_room();
    let (file, _) = record(&mut room, steps());
    let holds = |what: &[u8]| file.windows(what.len()).any(|window| window == what);
    assert!(holds(b"person 3"));
    assert!(!holds(&SECRET.0));
}

#[test]
fn another_room_is_told_from_the_one_recorded() {
    let mut room = busy_room();
    let mut file = room.begin_recording().to_vec();
    let inputs = vec![ops(1, 22, vec![begin(1)])];
    let record = StepRecord::new(&room, now(3), &inputs);
    // What the room was given is not what was recorded.
    room.step(now(3), [ops(1, 22, vec![begin(2)])]);
    file.extend_from_slice(&record.finish(&room));
    let mut replay = Replay::open(&file.into()).expect("it opens");
    let step = replay.step().expect("sound").expect("a step");
    assert!(!step.agrees());
}

#[test]
fn damage_is_named_and_a_file_that_breaks_off_ends() {
    let mut room = busy_room();
    let (file, _) = record(&mut room, steps());
    let open = |bytes: &[u8]| Replay::open(&Bytes::copy_from_slice(bytes));
    let count = |mut replay: Replay| {
        let mut steps = 0;
        while replay.step()?.is_some() {
            steps += 1;
        }
        Ok::<_, RecordingError>((steps, replay.end()))
    };
    assert_eq!(
        open(b"SQLite format 3").map(|_| ()),
        Err(RecordingError::NotARecording)
    );
    let mut newer = file.clone();
    newer[MAGIC.len()] = VERSION + 1;
    assert_eq!(
        open(&newer).map(|_| ()),
        Err(RecordingError::NewerVersion(VERSION + 1))
    );
    let whole = open(&file).expect("it opens");
    assert_eq!(count(whole), Ok((4, Some(RecordingEnd::Time))));
    let cut = open(&file[..file.len() - 8]).expect("it opens");
    assert_eq!(count(cut), Ok((3, None)));
    let mut damaged = file.clone();
    let at = file.len() - 20;
    damaged[at] ^= 1;
    let error = count(open(&damaged).expect("it opens")).expect_err("damage");
    assert!(matches!(error, RecordingError::Checksum { .. }), "{error}");
    // Nothing that is cut anywhere is taken for more than it is, or panics.
    for length in 0..file.len().min(4000) {
        if let Ok(replay) = open(&file[..length]) {
            let _ = count(replay);
        }
    }
}

/// Hexadecimal digits, as they were written by version 1. It must replay for ever; a new version adds a file.
const VERSION_1: &str = include_str!("golden/recording-1.txt");

#[test]
fn what_was_recorded_once_replays_forever() {
    let digits: Vec<u8> = VERSION_1.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| {
        let text = core::str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(text, 16).expect("hex")
    };
    let file: Bytes = digits.chunks(2).map(byte).collect();
    let mut replay = Replay::open(&file).unwrap_or_else(|error| {
        let mut room = Room::new(CONFIG);
        room.step(now(0), [join(1), join(2)]);
        room.step(now(1), [ops(1, 1, (0..3).map(begin).collect())]);
        let (file, _) = record(&mut room, steps());
        let hex: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{error}; a recording of today is {hex}")
    });
    let mut steps = 0;
    while let Some(step) = replay.step().expect("sound") {
        assert!(step.agrees(), "{step:?}");
        steps += 1;
    }
    assert_eq!((steps, replay.end()), (4, Some(RecordingEnd::Time)));
}
