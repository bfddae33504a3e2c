//! The merge rules: what an op does to a board, alike in the room, in mirrors and in replay.
//!
//! Ops come in the room's order, which is the truth; nothing here looks at clocks. Rules:
//! - A stroke's points come from its author alone and only grow; after the end nothing is added.
//! - Erase and restore write one flag, restyle writes the whole style: the last in order wins, and the stroke keeps
//!   the id of the op that wrote each, so that an undo can tell whether somebody else wrote since.
//! - Taking back does the same, but only to strokes whose flag or style was written last by the op that is taken back;
//!   the others are left alone.
//! - Edits of an erased stroke gather beneath and show when it is restored.
//! - An op that names several strokes does what it can: strokes that the board does not hold are passed over, and
//!   only where it holds none of them is the op refused.

use crate::id::{OpId, Position, StrokeId};
use crate::limits::{POINTS_PER_STROKE_MAX, STROKES_PER_BOARD_MAX};
use crate::op::{Former, Op, Taken};
use crate::reason::RejectReason;
#[cfg(feature = "sabotage")]
use crate::sabotage::{Fault, is};
use crate::stroke::{Stroke, Written};

/// A board that ops can be applied to.
pub trait Strokes {
    /// Is it there?
    fn holds(&self, id: StrokeId) -> bool;
    /// A stroke, to look at.
    fn get(&self, id: StrokeId) -> Option<&Stroke>;
    /// A stroke, to change: the caller may note what was touched.
    fn get_mut(&mut self, id: StrokeId) -> Option<&mut Stroke>;
    /// Adds a stroke that was not there.
    fn insert(&mut self, stroke: Stroke);
    /// How many there are, erased ones included.
    fn count(&self) -> usize;
}

/// Applies an accepted op, or says why it can't be; then nothing has changed.
///
/// # Errors
/// The reason to tell the op's author.
pub fn apply(
    board: &mut impl Strokes,
    id: OpId,
    position: Position,
    op: &Op,
) -> Result<(), RejectReason> {
    match op {
        Op::Begin { style, ink } => {
            if board.holds(StrokeId(id)) {
                return Err(RejectReason::OutOfRange);
            }
            if board.count() >= STROKES_PER_BOARD_MAX {
                return Err(RejectReason::BoardFull);
            }
            let mut stroke = Stroke::new(StrokeId(id), position, *style);
            stroke.push(ink.points());
            board.insert(stroke);
            Ok(())
        }
        Op::Extend { stroke, ink } => {
            let current = own(board, id, *stroke)?;
            if current.is_finished() {
                return Err(RejectReason::StrokeFinished);
            }
            if current.point_count as usize + ink.points().len() > POINTS_PER_STROKE_MAX {
                return Err(RejectReason::StrokeFull);
            }
            if let Some(stroke) = board.get_mut(*stroke) {
                #[cfg(feature = "sabotage")]
                if is(Fault::LostPoint) {
                    stroke.push(&ink.points()[1..]);
                    return Ok(());
                }
                stroke.push(ink.points());
            }
            Ok(())
        }
        Op::Finish { stroke } => {
            if own(board, id, *stroke)?.is_finished() {
                return Err(RejectReason::StrokeFinished);
            }
            if let Some(stroke) = board.get_mut(*stroke) {
                stroke.finish();
            }
            Ok(())
        }
        Op::Erase { strokes } => change(board, strokes, |stroke| {
            stroke.erased = Written {
                value: true,
                by: id,
            }
        }),
        Op::Restore { strokes } => change(board, strokes, |stroke| {
            stroke.erased = Written {
                value: false,
                by: id,
            }
        }),
        Op::Restyle { strokes, style } => change(board, strokes, |stroke| {
            #[cfg(feature = "sabotage")]
            if is(Fault::FirstStyleWins) && stroke.style.by != stroke.id.0 {
                return;
            }
            stroke.style = Written {
                value: *style,
                by: id,
            }
        }),
        Op::TakeBack { taken, former } => take_back(board, id, taken, *former),
    }
}

fn take_back(
    board: &mut impl Strokes,
    id: OpId,
    taken: &[Taken],
    former: Former,
) -> Result<(), RejectReason> {
    let mut found = false;
    for &Taken { stroke, counter } in taken {
        let Some(held) = board.get(stroke) else {
            continue;
        };
        found = true;
        let last = match former {
            Former::Shown | Former::Hidden => held.erased.by,
            Former::Style(_) => held.style.by,
        };
        let actor = id.actor;
        let is_last = last == OpId { actor, counter };
        #[cfg(feature = "sabotage")]
        let is_last = is_last || is(Fault::GreedyUndo) || is(Fault::UncheckedUndo);
        if is_last && let Some(stroke) = board.get_mut(stroke) {
            match former {
                Former::Style(value) => stroke.style = Written { value, by: id },
                _ => {
                    let value = former == Former::Hidden;
                    stroke.erased = Written { value, by: id };
                }
            }
        }
    }
    // Where all were written by others since, it was a change that has come to nothing.
    found.then_some(()).ok_or(RejectReason::UnknownStroke)
}

fn own(board: &impl Strokes, id: OpId, stroke: StrokeId) -> Result<&Stroke, RejectReason> {
    if stroke.actor() != id.actor {
        return Err(RejectReason::NotYours);
    }
    board.get(stroke).ok_or(RejectReason::UnknownStroke)
}

fn change(
    board: &mut impl Strokes,
    strokes: &[StrokeId],
    edit: impl Fn(&mut Stroke),
) -> Result<(), RejectReason> {
    let mut found = false;
    for &id in strokes {
        if let Some(stroke) = board.get_mut(id) {
            edit(stroke);
            found = true;
        }
    }
    if found {
        Ok(())
    } else {
        Err(RejectReason::UnknownStroke)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::id::ActorId;
    use crate::ink::InkPoint;
    use crate::op::InkRun;
    use crate::stroke::{Nib, StrokeStyle};

    #[derive(Default, Debug, Clone, PartialEq)]
    struct Board(BTreeMap<StrokeId, Stroke>);

    impl Strokes for Board {
        fn holds(&self, id: StrokeId) -> bool {
            self.0.contains_key(&id)
        }
        fn get(&self, id: StrokeId) -> Option<&Stroke> {
            self.0.get(&id)
        }
        fn get_mut(&mut self, id: StrokeId) -> Option<&mut Stroke> {
            self.0.get_mut(&id)
        }
        fn insert(&mut self, stroke: Stroke) {
            self.0.insert(stroke.id, stroke);
        }
        fn count(&self) -> usize {
            self.0.len()
        }
    }

    const STYLE: StrokeStyle = StrokeStyle {
        nib: Nib::Pen,
        color: 0,
        width: 64,
    };

    fn id(actor: u64, counter: u32) -> OpId {
        OpId {
            actor: ActorId(actor),
            counter,
        }
    }

    fn ink() -> InkRun {
        InkRun::new(vec![InkPoint::new(0, 0, 128), InkPoint::new(16, 16, 128)])
    }

    /// Applies ops in order from an empty board that holds stroke 1/1 of two points.
    fn after(ops: &[(OpId, Op)]) -> (Board, Vec<Result<(), RejectReason>>) {
        let mut board = Board::default();
        apply(
            &mut board,
            id(1, 1),
            Position(1),
            &Op::Begin {
                style: STYLE,
                ink: ink(),
            },
        )
        .expect("begin");
        let results = ops
            .iter()
            .zip(2..)
            .map(|((id, op), n)| apply(&mut board, *id, Position(n), op))
            .collect();
        (board, results)
    }

    fn first(board: &Board) -> &Stroke {
        &board.0[&StrokeId(id(1, 1))]
    }

    #[test]
    fn only_the_author_extends_and_only_until_the_end() {
        let stroke = StrokeId(id(1, 1));
        let (board, results) = after(&[
            (id(2, 1), Op::Extend { stroke, ink: ink() }),
            (id(2, 2), Op::Finish { stroke }),
            (id(1, 2), Op::Extend { stroke, ink: ink() }),
            (id(1, 3), Op::Finish { stroke }),
            (id(1, 4), Op::Extend { stroke, ink: ink() }),
            (id(1, 5), Op::Finish { stroke }),
            (
                id(1, 6),
                Op::Extend {
                    stroke: StrokeId(id(1, 99)),
                    ink: ink(),
                },
            ),
        ]);
        use RejectReason::{NotYours, StrokeFinished, UnknownStroke};
        assert_eq!(
            results,
            [
                Err(NotYours),
                Err(NotYours),
                Ok(()),
                Ok(()),
                Err(StrokeFinished),
                Err(StrokeFinished),
                Err(UnknownStroke)
            ]
        );
        assert_eq!(first(&board).point_count, 4);
    }

    #[test]
    fn edits_gather_beneath_an_erased_stroke() {
        let stroke = StrokeId(id(1, 1));
        let red = StrokeStyle {
            color: 0xff0000,
            ..STYLE
        };
        let (board, results) = after(&[
            (
                id(2, 1),
                Op::Erase {
                    strokes: vec![stroke],
                },
            ),
            (id(1, 2), Op::Extend { stroke, ink: ink() }),
            (
                id(3, 1),
                Op::Restyle {
                    strokes: vec![stroke],
                    style: red,
                },
            ),
            (
                id(2, 2),
                Op::Restore {
                    strokes: vec![stroke],
                },
            ),
        ]);
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        let stroke = first(&board);
        assert_eq!(
            (stroke.point_count, stroke.style.value, stroke.style.by),
            (4, red, id(3, 1))
        );
        assert_eq!(
            stroke.erased,
            Written {
                value: false,
                by: id(2, 2)
            }
        );
    }

    fn take_back(counter: u32, former: Former) -> Op {
        let stroke = StrokeId(id(1, 1));
        Op::TakeBack {
            taken: vec![Taken { stroke, counter }],
            former,
        }
    }

    #[test]
    fn only_what_was_written_last_is_taken_back() {
        let strokes = vec![StrokeId(id(1, 1))];
        let erase = || Op::Erase {
            strokes: strokes.clone(),
        };
        let restore = || Op::Restore {
            strokes: strokes.clone(),
        };
        let erased = |ops: &[(OpId, Op)]| {
            let (board, results) = after(ops);
            assert!(results.iter().all(Result::is_ok), "{results:?}");
            first(&board).erased
        };
        let written = |value, by| Written { value, by };
        // The drawing, by its author.
        let drawing = (id(1, 5), take_back(1, Former::Hidden));
        assert_eq!(
            erased(std::slice::from_ref(&drawing)),
            written(true, id(1, 5))
        );
        // The undo itself is what redo takes back.
        let redo = (id(1, 6), take_back(5, Former::Shown));
        assert_eq!(erased(&[drawing.clone(), redo]), written(false, id(1, 6)));
        // Another has erased it since, or erased it and brought it back.
        let others = [(id(2, 1), erase()), (id(2, 2), restore())];
        let once = [others[0].clone(), (id(1, 5), take_back(1, Former::Shown))];
        assert_eq!(erased(&once), written(true, id(2, 1)));
        let [a, b] = others;
        assert_eq!(erased(&[a, b, drawing]), written(false, id(2, 2)));
        // Of another's op of the same number nothing is taken back.
        let others = [(id(2, 3), take_back(1, Former::Hidden))];
        assert_eq!(erased(&others), written(false, id(1, 1)));
        // An older op of one's own is not the last.
        let own = [(id(1, 2), erase()), (id(1, 3), take_back(1, Former::Shown))];
        assert_eq!(erased(&own), written(true, id(1, 2)));
    }

    #[test]
    fn style_and_visibility_are_taken_back_each_by_itself() {
        let stroke = StrokeId(id(1, 1));
        let red = StrokeStyle {
            color: 0xff0000,
            ..STYLE
        };
        let restyle = Op::Restyle {
            strokes: vec![stroke],
            style: red,
        };
        let erase = Op::Erase {
            strokes: vec![stroke],
        };
        let (board, _) = after(&[
            (id(1, 2), restyle),
            (id(2, 1), erase),
            (id(1, 3), take_back(2, Former::Style(STYLE))),
            (id(1, 4), take_back(2, Former::Shown)),
        ]);
        let stroke = first(&board);
        assert_eq!((stroke.style.value, stroke.style.by), (STYLE, id(1, 3)));
        assert_eq!((stroke.erased.value, stroke.erased.by), (true, id(2, 1)));
    }

    #[test]
    fn the_last_style_in_order_wins_whole() {
        let stroke = StrokeId(id(1, 1));
        let wide = StrokeStyle {
            width: 200,
            ..STYLE
        };
        let red = StrokeStyle {
            color: 0xff0000,
            ..STYLE
        };
        let (board, _) = after(&[
            (
                id(2, 1),
                Op::Restyle {
                    strokes: vec![stroke],
                    style: wide,
                },
            ),
            (
                id(3, 1),
                Op::Restyle {
                    strokes: vec![stroke],
                    style: red,
                },
            ),
        ]);
        assert_eq!(
            first(&board).style,
            Written {
                value: red,
                by: id(3, 1)
            }
        );
    }

    #[test]
    fn unknown_strokes_are_passed_over_unless_all_are() {
        let (known, unknown) = (StrokeId(id(1, 1)), StrokeId(id(9, 9)));
        let (board, results) = after(&[
            (
                id(2, 1),
                Op::Erase {
                    strokes: vec![unknown],
                },
            ),
            (
                id(2, 2),
                Op::Erase {
                    strokes: vec![unknown, known],
                },
            ),
        ]);
        assert_eq!(results, [Err(RejectReason::UnknownStroke), Ok(())]);
        assert!(first(&board).erased.value);
    }

    #[test]
    fn a_refused_op_changes_nothing() {
        let stroke = StrokeId(id(1, 1));
        let (mut board, _) = after(&[]);
        let before = board.clone();
        let long = InkRun::new(vec![InkPoint::default(); 256]);
        for n in 0..(POINTS_PER_STROKE_MAX / 256) {
            let op = Op::Extend {
                stroke,
                ink: long.clone(),
            };
            apply(&mut board, id(1, 2 + n as u32), Position(9), &op).expect("fits");
        }
        assert_ne!(board, before);
        let before = board.clone();
        let refused = apply(
            &mut board,
            id(1, 900),
            Position(9),
            &Op::Extend { stroke, ink: long },
        );
        assert_eq!(refused, Err(RejectReason::StrokeFull));
        assert_eq!(
            apply(
                &mut board,
                id(1, 1),
                Position(9),
                &Op::Begin {
                    style: STYLE,
                    ink: ink()
                }
            ),
            Err(RejectReason::OutOfRange)
        );
        assert_eq!(board, before);
    }
}
