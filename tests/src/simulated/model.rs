//! A second opinion on what ops do to a board: the merge rules written down once more, as plainly as can be.
//!
//! Shares no code with `chalkboard_shared::merge`, so that a rule broken there shows here.

use std::collections::BTreeMap;

use chalkboard_shared::op::Former;
use chalkboard_shared::stroke::StrokeStyle;
use chalkboard_shared::{InkPoint, Op, OpEntry, OpId, Position, Stroke, StrokeId};

/// A stroke as the model has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelStroke {
    begun: Position,
    points: Vec<InkPoint>,
    is_finished: bool,
    style: (StrokeStyle, OpId),
    erased: (bool, OpId),
}

/// A board as the model has it.
#[derive(Debug, Default)]
pub struct Model(BTreeMap<StrokeId, ModelStroke>);

impl Model {
    /// Applies an op of the log, which holds no refused ones.
    ///
    /// # Errors
    /// The op should have been refused.
    pub fn apply(&mut self, entry: &OpEntry) -> Result<(), String> {
        let OpEntry { position, id, op } = entry;
        let refused = |why: &str| Err(format!("the op {id:?} at {} {why}", position.0));
        let board = &mut self.0;
        match op {
            Op::Begin { style, ink } => {
                let stroke = ModelStroke {
                    begun: *position,
                    points: ink.points().to_vec(),
                    is_finished: false,
                    style: (*style, *id),
                    erased: (false, *id),
                };
                if board.insert(StrokeId(*id), stroke).is_some() {
                    return refused("begins a stroke again");
                }
            }
            Op::Extend { stroke, ink } => match board.get_mut(stroke) {
                Some(held) if stroke.actor() == id.actor && !held.is_finished => {
                    held.points.extend(ink.points());
                }
                _ => return refused("adds points where it must not"),
            },
            Op::Finish { stroke } => match board.get_mut(stroke) {
                Some(held) if stroke.actor() == id.actor && !held.is_finished => {
                    held.is_finished = true;
                }
                _ => return refused("finishes what it must not"),
            },
            Op::Erase { strokes } => self.each(strokes, |held| held.erased = (true, *id)),
            Op::Restore { strokes } => self.each(strokes, |held| held.erased = (false, *id)),
            Op::Restyle { strokes, style } => self.each(strokes, |held| held.style = (*style, *id)),
            Op::TakeBack { taken, former } => {
                for taken in taken {
                    let Some(held) = board.get_mut(&taken.stroke) else {
                        continue;
                    };
                    let undone = OpId {
                        actor: id.actor,
                        counter: taken.counter,
                    };
                    match former {
                        Former::Style(style) if held.style.1 == undone => {
                            held.style = (*style, *id);
                        }
                        Former::Shown if held.erased.1 == undone => held.erased = (false, *id),
                        Former::Hidden if held.erased.1 == undone => held.erased = (true, *id),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn each(&mut self, strokes: &[StrokeId], change: impl Fn(&mut ModelStroke)) {
        for stroke in strokes {
            if let Some(held) = self.0.get_mut(stroke) {
                change(held);
            }
        }
    }

    /// Compares with a board in drawing order.
    ///
    /// # Errors
    /// The first difference.
    pub fn check<'a>(&self, strokes: impl IntoIterator<Item = &'a Stroke>) -> Result<(), String> {
        let mut count = 0;
        let mut below = Position(0);
        for stroke in strokes {
            count += 1;
            if stroke.z <= below {
                return Err(format!("stroke {:?} lies out of order", stroke.id));
            }
            below = stroke.z;
            let found = ModelStroke {
                begun: stroke.z,
                points: stroke.points().into_owned(),
                is_finished: stroke.is_finished(),
                style: (stroke.style.value, stroke.style.by),
                erased: (stroke.erased.value, stroke.erased.by),
            };
            match self.0.get(&stroke.id) {
                Some(expect) if *expect == found => {}
                Some(expect) => {
                    return Err(format!(
                        "stroke {:?} is {found:?}, and by its log should be {expect:?}",
                        stroke.id
                    ));
                }
                None => return Err(format!("stroke {:?} is not in the log", stroke.id)),
            }
        }
        if count != self.0.len() {
            return Err(format!("{count} strokes, and the log has {}", self.0.len()));
        }
        Ok(())
    }

    /// Every stroke of the log.
    pub fn ids(&self) -> impl Iterator<Item = StrokeId> {
        self.0.keys().copied()
    }
}
