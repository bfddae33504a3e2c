//! What a person does to the board: strokes, erasures, undo and redo, each predicted at once.

use std::sync::Arc;

use chalkboard_shared::limits::{
    COORDINATE_MAX, POINTS_PER_OP_MAX, POINTS_PER_STROKE_MAX, STROKES_PER_OP_MAX, WIDTH_MAX,
};
use chalkboard_shared::op::{Former, InkRun, Taken};
use chalkboard_shared::order::sort_by_key;
use chalkboard_shared::past::{Difference, Restyled};
use chalkboard_shared::{InkPoint, Op, OpId, RejectReason, Rights, StrokeId, StrokeStyle};

use super::{Client, Event};
use crate::board::PendingOp;
use crate::history::{Change, Given, Step};

/// Strokes that one person draws at the same time: more than fingers. Beginning another ends the oldest.
const LIVE_MAX: usize = 16;

/// A stroke that is being drawn.
#[derive(Debug)]
pub(super) struct Live {
    /// The stroke that was begun, and those that continued it because it was full; all one to the person.
    parts: Vec<StrokeId>,
    style: StrokeStyle,
    /// Points of the last part.
    points: u32,
    last: InkPoint,
}

impl Live {
    pub(super) fn current(&self) -> StrokeId {
        self.parts[self.parts.len() - 1]
    }

    pub(super) fn rename(&mut self, name: impl Fn(StrokeId) -> StrokeId) {
        for part in &mut self.parts {
            *part = name(*part);
        }
    }
}

impl Client {
    /// Begins a stroke with 1 or more points. It shows at once. Where this person may not draw, or nothing more can
    /// be taken, an event says so, and the answer names no stroke: what is done to it has no effect.
    pub fn begin_stroke(&mut self, style: StrokeStyle, points: &[InkPoint]) -> StrokeId {
        if points.is_empty() || !self.may_change() {
            return StrokeId(self.op_id(0));
        }
        if self.live.len() >= LIVE_MAX {
            let oldest = self.live[0].parts[0];
            self.finish_stroke(oldest);
        }
        let style = within_limits(style);
        let points: Vec<_> = points.iter().map(|p| within_bounds(*p)).collect();
        let (first, rest) = points.split_at(points.len().min(POINTS_PER_OP_MAX));
        let stroke = self.begin_part(style, first);
        self.live.push(Live {
            parts: vec![stroke],
            style,
            points: first.len() as u32,
            last: first[first.len() - 1],
        });
        self.extend_stroke(stroke, rest);
        stroke
    }

    /// Adds points to a stroke that was begun and not finished. A stroke that is full goes on in another one, under
    /// the same name for the caller.
    pub fn extend_stroke(&mut self, stroke: StrokeId, points: &[InkPoint]) {
        let stroke = self.resolve(stroke);
        let Some(at) = self.live.iter().position(|live| live.parts[0] == stroke) else {
            return;
        };
        let points: Vec<_> = points.iter().map(|p| within_bounds(*p)).collect();
        let mut rest = points.as_slice();
        while !rest.is_empty() {
            if self.outbox.is_full() {
                self.notify(Event::OutboxFull);
                return;
            }
            let live = &self.live[at];
            let room = POINTS_PER_STROKE_MAX - live.points as usize;
            if room == 0 {
                // The first point of the next part is the last of this one, so that no gap shows.
                let (current, style, last) = (live.current(), live.style, live.last);
                self.submit(Op::Finish { stroke: current }, 0);
                let next = self.begin_part(style, &[last]);
                self.live[at].parts.push(next);
                self.live[at].points = 1;
                continue;
            }
            let count = rest.len().min(POINTS_PER_OP_MAX).min(room);
            let (now, later) = rest.split_at(count);
            let current = live.current();
            let ink_end = live.points + count as u32;
            self.live[at].points = ink_end;
            self.live[at].last = now[count - 1];
            if let Some((counter, op, ink_end)) = self.outbox.lengthen_last(current, now) {
                let longer = PendingOp { op, ink_end };
                self.board.predict_longer(counter, current, longer);
            } else {
                let ink = InkRun::new(now.to_vec());
                let op = Op::Extend {
                    stroke: current,
                    ink,
                };
                self.submit(op, ink_end);
            }
            rest = later;
        }
    }

    /// Ends a stroke: one undo step, unless a gesture is open that it belongs to.
    pub fn finish_stroke(&mut self, stroke: StrokeId) {
        if let Some(parts) = self.end_live(stroke) {
            // What was erased while it was drawn is no longer shown by this, nor what another has brought back.
            let shown = parts
                .into_iter()
                .filter(|part| self.board.get(*part).is_some());
            let shown = shown.map(|part| self.change(part, Given::Shown(true)));
            let step = shown.filter(|change| change.by > 0).collect();
            self.record(step);
        }
    }

    /// Takes a stroke away that turned out to be none: finishes and erases it, without an undo step.
    pub fn abandon_stroke(&mut self, stroke: StrokeId) {
        if let Some(parts) = self.end_live(stroke) {
            let hidden = |part| self.change(part, Given::Shown(false));
            let step = parts.into_iter().map(hidden).collect();
            self.carry_out(step, false);
        }
    }

    fn end_live(&mut self, stroke: StrokeId) -> Option<Vec<StrokeId>> {
        let stroke = self.resolve(stroke);
        let at = self.live.iter().position(|live| live.parts[0] == stroke)?;
        let live = self.live.remove(at);
        let current = live.current();
        self.submit(Op::Finish { stroke: current }, 0);
        Some(live.parts)
    }

    /// Erases strokes, anybody's; those that are not visible are passed over. One undo step, or a part of the open
    /// gesture's.
    pub fn erase(&mut self, strokes: &[StrokeId]) {
        let mut step: Step = strokes
            .iter()
            .map(|stroke| self.resolve(*stroke))
            .filter(|stroke| self.board.get(*stroke).is_some())
            .map(|stroke| self.change(stroke, Given::Shown(false)))
            .collect();
        sort_by_key(&mut step, |change| change.stroke);
        step.dedup();
        if step.is_empty() || !self.may_change() {
            return;
        }
        let step = self.carry_out(step, false);
        self.record(step);
    }

    /// Makes the board look as at another moment, of which `difference` says how it differs: one undo step, of ops like
    /// any others. Strokes need not be held. False where there is nothing to do, or nothing may be done.
    pub fn bring_back(&mut self, difference: &Difference) -> bool {
        self.end_gesture();
        if difference.is_empty() || !self.may_change() {
            return false;
        }
        let shown = |stroke: &StrokeId| self.change(*stroke, Given::Shown(true));
        let hidden = |stroke: &StrokeId| self.change(*stroke, Given::Shown(false));
        let styled = |Restyled { stroke, from, to }: &Restyled| {
            let (from, to) = (*from, *to);
            self.change(*stroke, Given::Style { from, to })
        };
        let step: Step = difference
            .restore
            .iter()
            .map(shown)
            .chain(difference.erase.iter().map(hidden))
            .chain(difference.restyle.iter().map(styled))
            .collect();
        let step = self.carry_out(step, false);
        self.record(step);
        true
    }

    /// Gives strokes another style, anybody's; those that are not visible are passed over. No undo step.
    pub fn restyle(&mut self, strokes: &[StrokeId], style: StrokeStyle) {
        let mut strokes: Vec<_> = strokes
            .iter()
            .map(|stroke| self.resolve(*stroke))
            .filter(|stroke| self.board.get(*stroke).is_some())
            .collect();
        sort_by_key(&mut strokes, |stroke| *stroke);
        strokes.dedup();
        if strokes.is_empty() || !self.may_change() {
            return;
        }
        let style = within_limits(style);
        for some in strokes.chunks(STROKES_PER_OP_MAX) {
            let strokes = some.to_vec();
            self.submit(Op::Restyle { strokes, style }, 0);
        }
    }

    /// What is drawn and erased from here on is one undo step.
    pub fn begin_gesture(&mut self) {
        self.end_gesture();
        self.gesture = Some(Step::new());
    }

    /// Ends what [`Client::begin_gesture`] began.
    pub fn end_gesture(&mut self) {
        if let Some(step) = self.gesture.take() {
            self.history.record(step);
        }
    }

    /// Takes this person's last change back, as far as nobody else has changed the same since. False when there is
    /// nothing left to take back.
    pub fn undo(&mut self) -> bool {
        self.turn(false)
    }

    /// Brings back what was undone last, under the same rule.
    pub fn redo(&mut self) -> bool {
        self.turn(true)
    }

    fn turn(&mut self, is_redo: bool) -> bool {
        self.end_gesture();
        let can_turn = if is_redo {
            self.history.can_redo()
        } else {
            self.history.can_undo()
        };
        if !can_turn || !self.may_change() {
            return false;
        }
        let step = self.history.pop(is_redo, &self.board, self.actor);
        if step.is_empty() {
            return false;
        }
        let step = self.carry_out(step, true);
        self.history.turned(is_redo, step);
        true
    }

    fn record(&mut self, step: Step) {
        match &mut self.gesture {
            Some(gesture) => gesture.extend(step),
            None => self.history.record(step),
        }
    }

    fn change(&self, stroke: StrokeId, given: Given) -> Change {
        Change::next(&self.board, self.actor, stroke, given)
    }

    /// Gives strokes what a step says, in as few ops as may be; answers the step as it can be taken back. With
    /// `is_turn` only to strokes that were written last by the step's ops.
    fn carry_out(&mut self, mut step: Step, is_turn: bool) -> Step {
        let look = |former| match former {
            Former::Shown => (0, 0, 0, 0),
            Former::Hidden => (1, 0, 0, 0),
            Former::Style(style) => (2, style.color, style.width, style.nib as u8),
        };
        let order = |change: &Change| (look(change.given.former()), change.stroke);
        sort_by_key(&mut step, order);
        for alike in step.chunk_by_mut(|a, b| a.given.former() == b.given.former()) {
            for some in alike.chunks_mut(STROKES_PER_OP_MAX) {
                let former = some[0].given.former();
                let strokes = || some.iter().map(|change| change.stroke).collect();
                let taken = |change: &Change| Taken {
                    stroke: change.stroke,
                    counter: change.by,
                };
                let op = match former {
                    _ if is_turn => Op::TakeBack {
                        taken: some.iter().map(taken).collect(),
                        former,
                    },
                    Former::Shown => Op::Restore { strokes: strokes() },
                    Former::Hidden => Op::Erase { strokes: strokes() },
                    Former::Style(style) => Op::Restyle {
                        strokes: strokes(),
                        style,
                    },
                };
                let counter = self.submit(op, 0);
                for change in some {
                    change.again = std::mem::replace(&mut change.over, change.by);
                    change.by = counter;
                }
            }
        }
        step
    }

    /// May this person change the board, as far as is known, and can a change be taken? Says so if not.
    fn may_change(&mut self) -> bool {
        if self.rights == Some(Rights::View) {
            self.notify(Event::Refused(RejectReason::ReadOnly));
            return false;
        }
        if self.outbox.is_full() {
            self.notify(Event::OutboxFull);
            return false;
        }
        true
    }

    fn begin_part(&mut self, style: StrokeStyle, points: &[InkPoint]) -> StrokeId {
        let ink = InkRun::new(points.to_vec());
        let counter = self.submit(Op::Begin { style, ink }, points.len() as u32);
        StrokeId(self.op_id(counter))
    }

    /// Predicts an op and puts it into the outbox; answers its counter.
    fn submit(&mut self, op: Op, ink_end: u32) -> u32 {
        let op = Arc::new(op);
        let counter = self.outbox.push(op.clone(), ink_end);
        self.board.predict(counter, PendingOp { op, ink_end });
        counter
    }

    pub(super) const fn op_id(&self, counter: u32) -> OpId {
        OpId {
            actor: self.actor,
            counter,
        }
    }
}

const fn within_limits(mut style: StrokeStyle) -> StrokeStyle {
    style.color &= 0xff_ffff;
    if style.width == 0 {
        style.width = 1;
    } else if style.width > WIDTH_MAX {
        style.width = WIDTH_MAX;
    }
    style
}

fn within_bounds(mut point: InkPoint) -> InkPoint {
    point.at.x = point.at.x.clamp(-COORDINATE_MAX, COORDINATE_MAX);
    point.at.y = point.at.y.clamp(-COORDINATE_MAX, COORDINATE_MAX);
    point
}
