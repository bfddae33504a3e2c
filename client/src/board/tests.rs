//! The board alone: drawing order, what counts as grown, and bounds; its use by the client is tested there.

use chalkboard_shared::op::InkRun;
use chalkboard_shared::stroke::Nib;
use chalkboard_shared::{BoardPoint, InkPoint, Position, StrokeStyle};
use proptest::prelude::*;

use super::*;

const OTHER: ActorId = ActorId(8);

fn entry(position: u64, counter: u32, op: Op) -> OpEntry {
    OpEntry {
        position: Position(position),
        id: OpId {
            actor: OTHER,
            counter,
        },
        op,
    }
}

fn begin(x: i32) -> Op {
    Op::Begin {
        style: StrokeStyle {
            nib: Nib::Pen,
            color: 0,
            width: 32,
        },
        ink: InkRun::new(vec![
            InkPoint::new(x, 0, 128),
            InkPoint::new(x + 160, 0, 128),
        ]),
    }
}

fn predict(board: &mut Board, counter: u32, op: Op, ink_end: u32) {
    let op = Arc::new(op);
    board.predict(counter, PendingOp { op, ink_end });
}

#[test]
fn strokes_come_in_drawing_order_with_predictions_on_top() {
    let mut board = Board::new();
    board.accept(&entry(2, 9, begin(10)));
    predict(&mut board, 1, begin(20), 2);
    predict(&mut board, 2, begin(30), 2);
    board.accept(&entry(3, 1, begin(0)));
    let window = BoardRect::from_corners(BoardPoint::new(0, -9), BoardPoint::new(300, 9));
    let order: Vec<_> = board
        .strokes_in(window)
        .iter()
        .map(|s| (s.id.0.actor.0, s.id.0.counter))
        .collect();
    assert_eq!(order, [(8, 9), (8, 1), (0, 1), (0, 2)]);
}

#[test]
fn a_stroke_that_slides_below_another_must_be_drawn_anew() {
    let mut board = Board::new();
    predict(&mut board, 1, begin(0), 2);
    board.take_changes();
    // Another's stroke was accepted after this one, but is heard of first in this test's room.
    let mut late = Stroke::new(
        StrokeId(OpId {
            actor: OTHER,
            counter: 1,
        }),
        Position(7),
        StrokeStyle {
            nib: Nib::Pen,
            color: 0,
            width: 9,
        },
    );
    late.push(&[InkPoint::new(0, 0, 1)]);
    board.put(late).expect("fits");
    board.take_changes();
    let own = OpEntry {
        position: Position(6),
        id: OpId {
            actor: ActorId(0),
            counter: 1,
        },
        op: begin(0),
    };
    assert!(board.accept(&own));
    let changes = board.take_changes();
    assert_eq!(changes.len(), 1);
    assert!(!changes[0].grown_only);
}

#[test]
fn changes_that_nobody_takes_do_not_pile_up() {
    let mut board = Board::new();
    for n in 0..100u32 {
        board.accept(&entry(u64::from(n) * 2 + 1, n * 2 + 1, begin(0)));
        let strokes = vec![StrokeId(OpId {
            actor: OTHER,
            counter: n * 2 + 1,
        })];
        board.accept(&entry(
            u64::from(n) * 2 + 2,
            n * 2 + 2,
            Op::Erase { strokes },
        ));
    }
    assert!(board.changes.is_empty());
    assert!(board.is_empty());
}

#[test]
fn an_op_that_was_not_told_changes_only_strokes_that_are_not_followed() {
    let mut board = Board::new();
    let stroke = StrokeId(entry(9, 1, begin(0)).id);
    let erase = || Op::Erase {
        strokes: vec![stroke],
    };
    // The room has lost the stroke, passes over what is done to it, and has it from its author afterwards.
    predict(&mut board, 5, erase(), 0);
    board.accept(&entry(9, 1, begin(0)));
    assert!(board.is_empty());
    board.accept_unsent(5, Position(12), BoardRect::EVERYTHING);
    assert_eq!(board.len(), 1);
    // One outside of what is covered was there, and nobody tells of it.
    predict(&mut board, 6, erase(), 0);
    board.accept_unsent(6, Position(13), BoardRect::EMPTY);
    assert!(board.is_empty());
}

#[test]
fn a_stroke_that_comes_again_moves_from_where_it_was_seen() {
    let mut board = Board::new();
    let stroke = |x: &[i32]| {
        let mut stroke = Stroke::new(
            StrokeId(entry(9, 1, begin(0)).id),
            Position(9),
            StrokeStyle {
                nib: Nib::Pen,
                color: 0,
                width: 32,
            },
        );
        for x in x {
            stroke.push(&[InkPoint::new(*x, 0, 128)]);
        }
        stroke
    };
    let near = BoardRect::from_corners(BoardPoint::new(0, 0), BoardPoint::new(300, 0));
    board.put(stroke(&[0, 160])).expect("fits");
    let seen = board.bounds();
    board.take_changes();
    // One with fewer points is out of date.
    board.put(stroke(&[7])).expect("fits");
    assert_eq!(board.take_changes(), []);
    assert_eq!(board.strokes_in(near).len(), 1);
    board.put(stroke(&[9000, 90_000, 90_160])).expect("fits");
    let changes = board.take_changes();
    assert_eq!(changes.len(), 1);
    assert_eq!(
        (changes[0].before, changes[0].after),
        (seen, board.bounds())
    );
    assert!(board.strokes_in(near).is_empty());
    assert_eq!(
        (board.len(), board.strokes_in(changes[0].after).len()),
        (1, 1)
    );
}

/// What can become of strokes that come in chunks.
#[derive(Debug, Clone)]
enum Step {
    /// The numbers of strokes, where each lies, how many points it has, and whether it is erased.
    Chunk(Vec<(u32, i32, usize, bool)>),
    Predict(u32),
    EvictLeftOf(i32),
    NewConnection,
    EvictStale,
    Look,
}

fn any_step() -> impl Strategy<Value = Step> {
    let stroke = (0u32..9, 0i32..6, 0usize..4, proptest::bool::weighted(0.2));
    prop_oneof![
        4 => proptest::collection::vec(stroke, 0..9).prop_map(|mut strokes| {
            // A room names each once.
            strokes.sort_unstable();
            strokes.dedup_by_key(|stroke| stroke.0);
            Step::Chunk(strokes)
        }),
        1 => (0u32..9).prop_map(Step::Predict),
        1 => (0i32..6).prop_map(Step::EvictLeftOf),
        1 => Just(Step::NewConnection),
        1 => Just(Step::EvictStale),
        2 => Just(Step::Look),
    ]
}

proptest! {
    #[test]
    fn a_chunk_changes_what_its_strokes_change_one_by_one(
        steps in proptest::collection::vec(any_step(), 1..20),
    ) {
        let (mut together, mut singly) = (Board::new(), Board::new());
        let right_of = |x: i32| {
            BoardRect::from_corners(BoardPoint::new(x * 160, -999), BoardPoint::new(9999, 999))
        };
        let name = |counter| StrokeId(OpId { actor: OTHER, counter });
        for (counter, step) in (1..).zip(steps) {
            match step {
                Step::Chunk(strokes) => {
                    let strokes: Vec<_> = strokes
                        .into_iter()
                        .map(|(n, x, points, is_erased)| {
                            let Op::Begin { style, ink } = begin(x * 160) else {
                                unreachable!("it begins a stroke")
                            };
                            let mut stroke = Stroke::new(name(n), Position(u64::from(n) + 1), style);
                            stroke.push(&ink.points()[..points.min(2)]);
                            if points > 2 {
                                stroke.finish();
                            }
                            stroke.erased.value = is_erased;
                            stroke
                        })
                        .collect();
                    for stroke in strokes.clone() {
                        if stroke.extent().intersects(right_of(1)) || singly.is_confirmed(stroke.id) {
                            singly.put(stroke).expect("there is room");
                        }
                    }
                    together.put_chunk(strokes, right_of(1)).expect("there is room");
                }
                Step::Predict(n) => {
                    for board in [&mut together, &mut singly] {
                        predict(board, counter, Op::Erase { strokes: vec![name(n)] }, 0);
                    }
                }
                Step::EvictLeftOf(x) => {
                    let mut evicted = [&mut together, &mut singly].map(|board| board.evict_outside(right_of(x)));
                    evicted.iter_mut().for_each(|strokes| strokes.sort_by_key(|stroke| stroke.id));
                    prop_assert_eq!(&evicted[0], &evicted[1]);
                }
                Step::NewConnection => [&mut together, &mut singly].map(Board::begin_generation).into_iter().collect(),
                Step::EvictStale => {
                    let counts = [&mut together, &mut singly].map(|board| board.evict_stale().len());
                    prop_assert_eq!(counts[0], counts[1]);
                }
                Step::Look => {
                    let mut changes = [&mut together, &mut singly].map(Board::take_changes);
                    changes.iter_mut().for_each(|changes| changes.sort_by_key(|change| change.id));
                    prop_assert_eq!(&changes[0], &changes[1]);
                }
            }
            prop_assert_eq!(together.digest(), singly.digest());
            prop_assert_eq!(together.confirmed_len(), singly.confirmed_len());
            prop_assert_eq!(together.bounds(), singly.bounds());
            prop_assert_eq!(together.strokes_in(right_of(0)), singly.strokes_in(right_of(0)));
        }
    }
}
