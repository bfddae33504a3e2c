//! Undo and redo of one person, never of another's work.
//!
//! A step is what one gesture did: strokes that it showed (drew), hid (erased) or gave another style. The inverse is
//! computed when it is asked for, against the board as it then is, and passes over strokes that somebody else has
//! written since. Strokes that the board does not hold (they lie outside of what is covered) count as last written by
//! this person, unless they were seen to be written by another when they went out of sight.

use std::collections::{HashSet, VecDeque};

use chalkboard_shared::{ActorId, Stroke, StrokeId, StrokeStyle};

#[cfg(feature = "sabotage")]
use chalkboard_shared::sabotage::{Fault, is};

use crate::board::Board;

/// Steps kept in each direction.
pub(crate) const STEPS_MAX: usize = 200;

/// Strokes in all kept steps; the oldest steps go first.
const STROKES_MAX: usize = 65_536;

/// What a gesture gave a stroke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    /// It is visible, or not.
    Shown(bool),
    /// Another style.
    Style {
        /// The one before.
        from: StrokeStyle,
        /// The one that it has now.
        to: StrokeStyle,
    },
}

impl Given {
    /// The stroke has it still, and from this person.
    fn is_untouched(self, stroke: &Stroke, me: ActorId) -> bool {
        #[cfg(feature = "sabotage")]
        if is(Fault::GreedyUndo) {
            return true;
        }
        match self {
            Self::Shown(visible) => stroke.erased.by.actor == me && stroke.erased.value != visible,
            Self::Style { to, .. } => stroke.style.by.actor == me && stroke.style.value == to,
        }
    }

    const fn inverse(self) -> Self {
        match self {
            Self::Shown(visible) => Self::Shown(!visible),
            Self::Style { from, to } => Self::Style { from: to, to: from },
        }
    }
}

/// Strokes with what a gesture gave them.
pub(crate) type Step = Vec<(StrokeId, Given)>;

/// What one person can take back and bring back.
#[derive(Debug, Default)]
pub(crate) struct History {
    undo: VecDeque<Step>,
    redo: VecDeque<Step>,
    strokes: usize,
}

impl History {
    pub(crate) fn can_undo(&self) -> bool {
        !self.undo.is_empty()
    }

    pub(crate) fn can_redo(&self) -> bool {
        !self.redo.is_empty()
    }

    /// A gesture changed something: it can be undone, and what was undone before is gone for good.
    pub(crate) fn record(&mut self, step: Step) {
        if step.is_empty() {
            return;
        }
        self.strokes -= self.redo.drain(..).map(|step| step.len()).sum::<usize>();
        self.strokes += step.len();
        self.undo.push_back(step);
        while self.undo.len() > STEPS_MAX || (self.strokes > STROKES_MAX && self.undo.len() > 1) {
            self.strokes -= self.undo.pop_front().map_or(0, |step| step.len());
        }
    }

    /// The changes that take the last step back: strokes with the visibility to give them. Steps of which others
    /// have taken everything are passed over. `None` when nothing is left.
    pub(crate) fn undo(&mut self, board: &Board, me: ActorId) -> Option<Step> {
        Self::turn(&mut self.undo, &mut self.redo, &mut self.strokes, board, me)
    }

    /// The changes that bring back what was undone last.
    pub(crate) fn redo(&mut self, board: &Board, me: ActorId) -> Option<Step> {
        Self::turn(&mut self.redo, &mut self.undo, &mut self.strokes, board, me)
    }

    fn turn(
        from: &mut VecDeque<Step>,
        to: &mut VecDeque<Step>,
        strokes: &mut usize,
        board: &Board,
        me: ActorId,
    ) -> Option<Step> {
        while let Some(step) = from.pop_back() {
            *strokes -= step.len();
            let is_untouched = |(id, given): &(StrokeId, Given)| {
                board
                    .look_up(*id)
                    .is_none_or(|stroke| given.is_untouched(stroke, me))
            };
            let inverse: Step = step
                .into_iter()
                .filter(is_untouched)
                .map(|(id, given)| (id, given.inverse()))
                .collect();
            if !inverse.is_empty() {
                *strokes += inverse.len();
                to.push_back(inverse.clone());
                return Some(inverse);
            }
        }
        None
    }

    /// These strokes are not this person's to change any more, or never came to be.
    pub(crate) fn forget(&mut self, gone: &[StrokeId]) {
        if gone.is_empty() || self.strokes == 0 {
            return;
        }
        let gone: HashSet<_> = gone.iter().collect();
        for steps in [&mut self.undo, &mut self.redo] {
            for step in steps.iter_mut() {
                step.retain(|(id, _)| !gone.contains(id));
            }
            steps.retain(|step| !step.is_empty());
        }
        self.strokes = self.undo.iter().chain(&self.redo).map(Vec::len).sum();
    }

    /// Gives strokes the names that they have since the client knows who it is.
    pub(crate) fn rename(&mut self, name: impl Fn(StrokeId) -> StrokeId) {
        for step in self.undo.iter_mut().chain(&mut self.redo) {
            for (id, _) in step {
                *id = name(*id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::OpId;

    use super::*;

    const ME: ActorId = ActorId(1);

    fn step(counters: std::ops::Range<u32>) -> Step {
        counters
            .map(|counter| (StrokeId(OpId { actor: ME, counter }), Given::Shown(true)))
            .collect()
    }

    #[test]
    fn the_number_of_steps_and_strokes_is_bounded() {
        let mut history = History::default();
        for n in 0..300 {
            history.record(step(n..n + 1));
        }
        let board = Board::new();
        let mut undone = 0;
        while history.undo(&board, ME).is_some() {
            undone += 1;
        }
        assert_eq!(undone, STEPS_MAX);
        for n in 0..5 {
            history.record(step(n * 20_000..(n + 1) * 20_000));
        }
        assert_eq!(history.strokes, 60_000);
        assert!(!history.can_redo());
    }

    #[test]
    fn forgotten_strokes_take_empty_steps_with_them() {
        let mut history = History::default();
        history.record(step(1..2));
        history.record(step(2..4));
        let gone: Vec<_> = step(1..3).into_iter().map(|(id, _)| id).collect();
        history.forget(&gone);
        assert_eq!(history.undo(&Board::new(), ME).map(|s| s.len()), Some(1));
        assert_eq!(history.undo(&Board::new(), ME), None);
    }
}
