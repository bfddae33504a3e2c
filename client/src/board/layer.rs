//! A stroke as it looks with unanswered ops folded over it, and how two looks differ.

use chalkboard_shared::merge::{self, Strokes};
use chalkboard_shared::{BoardRect, Op, OpId, Position, Stroke, StrokeId, StrokeStyle};

use super::PendingOp;

/// A confirmed stroke (or none) with unanswered ops over it.
#[derive(Debug)]
pub(super) struct Layer {
    /// Counters of the ops, in order.
    pub(super) ops: Vec<u32>,
    /// The result; none where the ops alone make no stroke.
    pub(super) view: Option<Stroke>,
}

impl Layer {
    pub(super) fn over(confirmed: Option<&Stroke>) -> Self {
        Self {
            ops: Vec::new(),
            view: confirmed.cloned(),
        }
    }

    /// Folds one more op over it. What the merge rules refuse is left out: the room will refuse it too.
    pub(super) fn add(&mut self, stroke: StrokeId, id: OpId, pending: &PendingOp) {
        self.ops.push(id.counter);
        let has_it = |s: &Stroke| s.point_count >= pending.ink_end;
        if matches!(*pending.op, Op::Extend { .. }) && self.view.as_ref().is_some_and(has_it) {
            return;
        }
        let mut alone = Alone {
            id: stroke,
            stroke: &mut self.view,
        };
        let _ = merge::apply(&mut alone, id, Position(0), &pending.op);
    }
}

/// A board that holds one stroke at the most.
struct Alone<'a> {
    id: StrokeId,
    stroke: &'a mut Option<Stroke>,
}

impl Strokes for Alone<'_> {
    fn holds(&self, id: StrokeId) -> bool {
        self.get(id).is_some()
    }

    fn get(&self, id: StrokeId) -> Option<&Stroke> {
        self.stroke.as_ref().filter(|stroke| stroke.id == id)
    }

    fn get_mut(&mut self, id: StrokeId) -> Option<&mut Stroke> {
        self.stroke.as_mut().filter(|stroke| stroke.id == id)
    }

    fn insert(&mut self, stroke: Stroke) {
        if stroke.id == self.id {
            *self.stroke = Some(stroke);
        }
    }

    fn count(&self) -> usize {
        0
    }
}

/// All of a stroke that the eye could tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// [`BoardRect::EMPTY`] where it is not visible; then the rest is of no account.
    pub(super) extent: BoardRect,
    z: Position,
    style: Option<StrokeStyle>,
    point_count: u32,
    finished: bool,
}

impl Look {
    pub(super) fn of(stroke: Option<&Stroke>) -> Self {
        match stroke.filter(|stroke| !stroke.erased.value) {
            Some(stroke) => Self {
                extent: stroke.extent(),
                z: stroke.z,
                style: Some(stroke.style.value),
                point_count: stroke.point_count,
                finished: stroke.is_finished(),
            },
            None => Self {
                extent: BoardRect::EMPTY,
                z: Position(0),
                style: None,
                point_count: 0,
                finished: false,
            },
        }
    }

    /// What was drawn of `old` stays right. A stroke that gets its place in the order stays on top only if nothing
    /// confirmed lies above that place.
    pub(super) fn has_only_grown(&self, old: &Self, z_max: Position) -> bool {
        let same_order = self.z == old.z || (old.z == Position(0) && self.z == z_max);
        !old.extent.is_empty()
            && !self.extent.is_empty()
            && same_order
            && self.style == old.style
            && self.point_count >= old.point_count
            && self.finished >= old.finished
    }
}
