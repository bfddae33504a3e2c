//! Undo and redo of one person, never of another's work.
//!
//! A step is what one gesture did: strokes that it showed (drew), hid (erased) or gave another style, each with the op
//! that did so. Only where that op is still the last writer it is taken back; the room holds to that by itself
//! ([`Op::TakeBack`](chalkboard_shared::Op::TakeBack)), so that strokes need not be held here. Of those that are, steps
//! that would do nothing any more are passed over. An undo is an op itself: it stands in the place of the op that had
//! written the stroke before what it takes back, wherever a step counts on that one.

use std::collections::{HashSet, VecDeque};

use chalkboard_shared::op::Former;
use chalkboard_shared::order::sort_by_key;
use chalkboard_shared::{ActorId, OpId, Stroke, StrokeId, StrokeStyle};

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
    /// The op that has last given the stroke what this gives.
    const fn writer(self, stroke: &Stroke) -> OpId {
        match self {
            Self::Shown(_) => stroke.erased.by,
            Self::Style { .. } => stroke.style.by,
        }
    }

    /// What a stroke is once it has been given.
    pub(crate) const fn former(self) -> Former {
        match self {
            Self::Shown(true) => Former::Shown,
            Self::Shown(false) => Former::Hidden,
            Self::Style { to, .. } => Former::Style(to),
        }
    }

    const fn inverse(self) -> Self {
        match self {
            Self::Shown(visible) => Self::Shown(!visible),
            Self::Style { from, to } => Self::Style { from: to, to: from },
        }
    }
}

/// What a stroke was given, and by which op. Ops are told by their counters, being all of this person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) stroke: StrokeId,
    pub(crate) given: Given,
    /// The op that has given it.
    pub(crate) by: u32,
    /// The op that had written it before; 0 where that was another's, or is not known.
    pub(crate) over: u32,
    /// If it takes something back: the op that had written the stroke before that, as it is now again.
    pub(crate) again: u32,
}

impl Change {
    /// What is about to be given to a stroke, over what it is now.
    pub(crate) fn next(board: &Board, me: ActorId, stroke: StrokeId, given: Given) -> Self {
        let last = board.look_up(stroke).map(|stroke| given.writer(stroke));
        let own = last.filter(|last| last.actor == me);
        Self {
            stroke,
            given,
            by: own.map_or(0, |own| own.counter),
            over: 0,
            again: 0,
        }
    }

    /// An op, as the writer of the visibility or the style of the stroke.
    const fn writing(&self, op: u32) -> (StrokeId, bool, u32) {
        (self.stroke, matches!(self.given, Given::Style { .. }), op)
    }

    /// Gives it the names that it has since the client knows who it is.
    pub(crate) fn rename(&mut self, name: impl Fn(StrokeId) -> StrokeId, answered: u32) {
        self.stroke = name(self.stroke);
        for counter in [&mut self.by, &mut self.over, &mut self.again] {
            if *counter > 0 {
                *counter = counter.saturating_add(answered);
            }
        }
    }

    /// Nobody else has written it since, as far as is known. Whether it was the very op that is to be taken back is for
    /// the room to say: what is held from outside of what is covered may be out of date.
    fn is_own(&self, board: &Board, me: ActorId) -> bool {
        #[cfg(feature = "sabotage")]
        if is(Fault::GreedyUndo) {
            return true;
        }
        board
            .look_up(self.stroke)
            .is_none_or(|stroke| self.given.writer(stroke).actor == me)
    }
}

/// What a gesture gave strokes.
pub(crate) type Step = Vec<Change>;

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

    /// The changes that take the last step back, or (`is_redo`) bring back what was undone last, each by the op that it
    /// takes back. Steps of which others have taken everything are passed over. Empty when nothing is left.
    pub(crate) fn pop(&mut self, is_redo: bool, board: &Board, me: ActorId) -> Step {
        loop {
            let from = if is_redo {
                &mut self.redo
            } else {
                &mut self.undo
            };
            let Some(mut step) = from.pop_back() else {
                return Step::new();
            };
            self.strokes -= step.len();
            step.retain(|change| change.is_own(board, me));
            if !step.is_empty() {
                for change in &mut step {
                    change.given = change.given.inverse();
                }
                return step;
            }
        }
    }

    /// What [`History::pop`] gave was carried out, and can be taken back itself.
    pub(crate) fn turned(&mut self, is_redo: bool, mut step: Step) {
        let before = |change: &Change| change.writing(change.again);
        sort_by_key(&mut step, before);
        self.each(&mut |change| {
            let writing = change.writing(change.by);
            if let Ok(at) = step.binary_search_by_key(&writing, before) {
                change.by = step[at].by;
            }
        });
        self.strokes += step.len();
        let to = if is_redo {
            &mut self.undo
        } else {
            &mut self.redo
        };
        to.push_back(step);
    }

    /// These strokes are not this person's to change any more, or never came to be.
    pub(crate) fn forget(&mut self, gone: &[StrokeId]) {
        if gone.is_empty() || self.strokes == 0 {
            return;
        }
        let gone: HashSet<_> = gone.iter().collect();
        for steps in [&mut self.undo, &mut self.redo] {
            for step in steps.iter_mut() {
                step.retain(|change| !gone.contains(&change.stroke));
            }
            steps.retain(|step| !step.is_empty());
        }
        self.strokes = self.undo.iter().chain(&self.redo).map(Vec::len).sum();
    }

    /// Everything that is kept.
    pub(crate) fn each(&mut self, visit: &mut dyn FnMut(&mut Change)) {
        for steps in [&mut self.undo, &mut self.redo] {
            for step in steps.iter_mut() {
                step.iter_mut().for_each(&mut *visit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: ActorId = ActorId(1);

    fn step(counters: std::ops::Range<u32>) -> Step {
        counters
            .map(|counter| Change {
                stroke: StrokeId(OpId { actor: ME, counter }),
                given: Given::Shown(true),
                by: counter,
                over: 0,
                again: 0,
            })
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
        while !history.pop(false, &board, ME).is_empty() {
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
        let gone: Vec<_> = step(1..3).into_iter().map(|c| c.stroke).collect();
        history.forget(&gone);
        assert_eq!(history.pop(false, &Board::new(), ME).len(), 1);
        assert_eq!(history.pop(false, &Board::new(), ME), []);
    }
}
