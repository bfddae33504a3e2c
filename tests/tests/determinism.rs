//! The same inputs give the same bytes and the same digest: in the same tick, after recovery, on any machine.

use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::{
    ActorId, BoardRect, Op, OpId, Position, Rights, SessionId, Stroke, StrokeId,
};
use chalkboard_simulation::{Fold, Input, Now, Room};
use chalkboard_tests::dice::Dice;
use chalkboard_tests::stage::{CONFIG, Stage, join, ops};
use proptest::prelude::*;

const PEOPLE: u32 = 5;

/// A tick's inputs of five people who draw, erase, look around and point.
fn inputs(dice: &mut Dice, counters: &mut [u32], strokes: &mut Vec<StrokeId>) -> Vec<Input> {
    let mut inputs = Vec::new();
    for n in 0..PEOPLE {
        let session = SessionId(n);
        let counter = &mut counters[n as usize];
        match dice.below(6) {
            0 => inputs.push(Input::View {
                session,
                view: dice.view(4000),
            }),
            1 => {
                let cursor = CursorState {
                    at: dice.point(4000),
                    tool: CursorTool::Pen,
                    pressed: dice.chance(50),
                };
                inputs.push(Input::Cursor {
                    session,
                    sequence: *counter,
                    stamp: None,
                    cursor,
                });
            }
            2 => {
                if let Some(&stroke) = dice.pick(strokes) {
                    let op = match dice.below(3) {
                        0 => Op::Erase {
                            strokes: vec![stroke],
                        },
                        1 => Op::Restore {
                            strokes: vec![stroke],
                        },
                        _ => Op::Restyle {
                            strokes: vec![stroke],
                            style: dice.style(),
                        },
                    };
                    *counter += 1;
                    inputs.push(ops(n, *counter, vec![op]));
                }
            }
            _ => {
                let from = dice.point(4000);
                let stroke = StrokeId(OpId {
                    actor: ActorId(n.into()),
                    counter: *counter + 1,
                });
                let mut drawn = vec![
                    Op::Begin {
                        style: dice.style(),
                        ink: dice.ink(from),
                    },
                    Op::Extend {
                        stroke,
                        ink: dice.ink(from),
                    },
                ];
                if dice.chance(85) {
                    drawn.push(Op::Finish { stroke });
                }
                strokes.push(stroke);
                let count = drawn.len() as u32;
                inputs.push(ops(n, *counter + 1, drawn));
                *counter += count;
            }
        }
    }
    inputs
}

/// 200 ticks of five people; every tick's output must be the same in all runs of a seed.
fn run(seed: u64) -> (Stage, Vec<chalkboard_simulation::Output>) {
    run_for(200, seed)
}

fn run_for(ticks: usize, seed: u64) -> (Stage, Vec<chalkboard_simulation::Output>) {
    let mut dice = Dice::new(seed);
    let (mut counters, mut strokes) = (vec![0; PEOPLE as usize], Vec::new());
    let mut stage = Stage::default();
    let mut outputs =
        vec![stage.step((0..PEOPLE).map(|n| join(n, Rights::Edit, BoardRect::EVERYTHING)))];
    for _ in 0..ticks {
        let inputs = inputs(&mut dice, &mut counters, &mut strokes);
        outputs.push(stage.step(inputs));
    }
    (stage, outputs)
}

#[test]
fn two_rooms_with_the_same_inputs_send_the_same_bytes() {
    let (first, first_outputs) = run(11);
    let (second, second_outputs) = run(11);
    assert!(first.room.stroke_count() > 100);
    assert!(
        first.room.visible_stroke_count() < first.room.stroke_count(),
        "something was erased"
    );
    assert_eq!(first_outputs, second_outputs);
    assert_eq!(first.room.digest(), second.room.digest());
    let (other, _) = run(12);
    assert_ne!(first.room.digest(), other.room.digest());
}

#[test]
fn the_log_alone_and_any_snapshot_with_its_tail_give_the_same_board() {
    let (mut live, _) = run(21);
    let records = || live.log.iter().map(|record| record.bytes.clone());
    let mut folded = Room::recover(CONFIG, None, records()).expect("own records");
    assert_eq!(
        (folded.digest(), folded.position()),
        (live.room.digest(), live.room.position())
    );
    let middle = live.log.len() / 2;
    let mut half = Room::recover(CONFIG, None, records().take(middle)).expect("own records");
    let snapshot = (half.position(), half.snapshot());
    for tail_from in [0, middle] {
        let room = Room::recover(CONFIG, Some(snapshot.clone()), records().skip(tail_from))
            .expect("own snapshot");
        assert_eq!(
            (room.digest(), room.position()),
            (live.room.digest(), live.room.position())
        );
    }
    assert_eq!(folded.snapshot(), live.room.snapshot());
}

/// All there is to know of a board's strokes, in drawing order.
fn strokes(fold: &Fold) -> Vec<Stroke> {
    let mut strokes: Vec<Stroke> = fold.strokes().cloned().collect();
    strokes.sort_by_key(|stroke| stroke.z);
    strokes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_snapshot_anywhere_and_the_log_after_it_are_the_whole_log(
        seed: u64,
        ticks in 1_usize..80,
        cut: prop::sample::Index,
    ) {
        let (mut live, _) = run_for(ticks, seed);
        let records = || live.log.iter().map(|record| record.bytes.clone());
        let whole = Fold::new(None, records()).expect("own records");
        let cut = cut.index(live.log.len() + 1);
        let before = Fold::new(None, records().take(cut)).expect("own records");
        let mut room = Room::recover(CONFIG, None, records().take(cut)).expect("own records");
        let snapshot = before.snapshot();
        prop_assert_eq!(&room.snapshot(), &snapshot);
        let read = Fold::new(Some((before.position(), snapshot.clone())), []).expect("own snapshot");
        prop_assert_eq!(strokes(&read), strokes(&before));

        let continued = Fold::new(Some((before.position(), snapshot)), records().skip(cut))
            .expect("own snapshot");
        prop_assert_eq!(strokes(&continued), strokes(&whole));
        prop_assert_eq!(continued.digest(), live.room.digest());
        prop_assert_eq!(continued.tick(), whole.tick());
        prop_assert_eq!(continued.snapshot(), live.room.snapshot());
        let told: Vec<Stroke> = live.room.strokes().into_iter().cloned().collect();
        prop_assert_eq!(strokes(&whole), told);
    }
}

#[test]
fn ticks_go_on_where_they_were_through_every_load() {
    let (mut live, _) = run_for(20, 61);
    let last = Fold::new(None, live.log.iter().map(|record| record.bytes.clone()))
        .expect("own records")
        .tick();
    let from_log = Room::recover(
        CONFIG,
        None,
        live.log.iter().map(|record| record.bytes.clone()),
    );
    let from_snapshot = Room::recover(
        CONFIG,
        Some((live.room.position(), live.room.snapshot())),
        [],
    );
    for room in [from_log, from_snapshot] {
        let mut stage = Stage::with_room(room.expect("own board"));
        assert_eq!(stage.room.tick(), last);
        let output = stage.step([]);
        assert!(output.tick > last);
    }
}

#[test]
fn a_recovered_room_counts_no_op_twice() {
    let (live, _) = run(31);
    let mut room = Room::recover(
        CONFIG,
        None,
        live.log.iter().map(|record| record.bytes.clone()),
    )
    .expect("own records");
    let (digest, position) = (room.digest(), room.position());
    let again = vec![Op::Begin {
        style: Dice::new(1).style(),
        ink: Dice::new(1).ink(Dice::new(1).point(10)),
    }];
    room.step(
        Now::default(),
        [
            join(1, Rights::Edit, BoardRect::EVERYTHING),
            ops(1, 1, again),
        ],
    );
    assert_eq!((room.digest(), room.position()), (digest, position));
}

#[test]
fn damage_is_found_wherever_it_is() {
    let (mut live, _) = run(41);
    let snapshot = live.room.snapshot();
    let record = live.log[3].bytes.clone();
    let refuse = |bytes: &[u8], is_snapshot: bool| {
        let bytes = bytes::Bytes::copy_from_slice(bytes);
        let result = if is_snapshot {
            Room::recover(CONFIG, Some((live.room.position(), bytes)), [])
        } else {
            let before = live.log[..3].iter().map(|record| record.bytes.clone());
            Room::recover(CONFIG, None, before.chain([bytes]))
        };
        assert!(result.is_err());
    };
    for (bytes, is_snapshot) in [(&snapshot, true), (&record, false)] {
        for at in (0..bytes.len()).step_by(1 + bytes.len() / 97) {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0x10;
            refuse(&damaged, is_snapshot);
            refuse(&bytes[..at], is_snapshot);
        }
    }
    let gap = live.log.iter().skip(1).map(|record| record.bytes.clone());
    let error = Room::recover(CONFIG, None, gap).expect_err("a record is missing");
    assert!(error.to_string().contains("position"), "{error}");
    assert!(Room::recover(CONFIG, Some((Position(1), snapshot)), []).is_err());
}
