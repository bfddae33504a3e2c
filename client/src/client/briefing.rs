//! Ops that are told in few words: what they leave out is known from the board and the outbox.

use chalkboard_shared::growth::{End, Growth};
use chalkboard_shared::op::InkRun;
use chalkboard_shared::{DecodeError, Op, OpEntry, OpId, Position, Stroke};

use super::Client;
use crate::outbox::Entry;

impl Client {
    /// The op behind a growth, if its stroke is held and this is news.
    pub(super) fn grown(
        &self,
        position: Position,
        growth: &Growth,
    ) -> Result<Option<OpEntry>, DecodeError> {
        let Some(stroke) = self.growing(position, growth.begin) else {
            return Ok(None);
        };
        let Some(points) = growth.points(stroke)? else {
            return Ok(None);
        };
        let ink = InkRun::new(points);
        let op = Op::Extend {
            stroke: stroke.id,
            ink,
        };
        Ok(Some(self.brief(position, stroke, op, |counter| {
            growth.may_be(counter)
        })))
    }

    /// The op that ends a stroke, if it is held and this is news.
    pub(super) fn ended(&self, position: Position, end: End) -> Option<OpEntry> {
        let stroke = self.growing(position, end.begin)?;
        let op = Op::Finish { stroke: stroke.id };
        Some(self.brief(position, stroke, op, |counter| end.may_be(counter)))
    }

    /// A stroke that still grows, if what is at this position is news.
    fn growing(&self, position: Position, begin: Position) -> Option<&Stroke> {
        let is_old = self.place.is_some_and(|(_, last)| position <= last);
        (!is_old).then(|| self.board.confirmed_wet(begin)).flatten()
    }

    /// An op of a stroke's author that was told in few words.
    fn brief(
        &self,
        position: Position,
        stroke: &Stroke,
        op: Op,
        may_be: impl Fn(u32) -> bool,
    ) -> OpEntry {
        let kind = core::mem::discriminant(&op);
        let is_meant = |(counter, entry): &(u32, &Entry)| {
            let is_of_it = match *entry.op {
                Op::Extend { stroke: of, .. } | Op::Finish { stroke: of } => of == stroke.id,
                _ => false,
            };
            let is_alike = core::mem::discriminant(&*entry.op) == kind;
            is_of_it && is_alike && !entry.echoed && may_be(*counter)
        };
        // Of others' ops the number is of no account.
        let counter = if stroke.author() == self.actor {
            let mut waiting = self.outbox.unanswered();
            waiting.find(is_meant).map_or(0, |(counter, _)| counter)
        } else {
            stroke.id.0.counter
        };
        OpEntry {
            position,
            id: OpId {
                actor: stroke.author(),
                counter,
            },
            op,
        }
    }
}
