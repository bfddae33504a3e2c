//! Keeping an outbox beyond the end of its client: what its journal lacks, and an outbox by its journal.

#[cfg(feature = "sabotage")]
use chalkboard_shared::sabotage::{Fault, is};
use chalkboard_shared::{ActorId, Op, OpId, Position, StrokeId};

use super::{Entry, OPS_MAX, Outbox, point_count};
use crate::journal::{self, JournalChange, KeptOp};

/// Numbers left out by a client that was restored and does not know yet how far the room has come with it. What may be
/// missing in the journal is a moment's work.
pub(super) const SKIPPED: u32 = 64;

/// What the journal holds.
#[derive(Debug)]
pub(super) struct Journaled {
    /// Ops up to here are in it as they are.
    through: u32,
    /// Its head; `None` where what is in it is out of date.
    head: Option<(ActorId, u32)>,
    /// Numbers to leave out before the next op: ones that an earlier run of this client may have used last without
    /// having kept them.
    skip: u32,
}

impl Journaled {
    pub(super) const fn new() -> Self {
        Self {
            through: 0,
            head: None,
            skip: 0,
        }
    }

    /// The op of this number has changed.
    pub(super) fn changed(&mut self, counter: u32) {
        self.through = self.through.min(counter - 1);
    }

    /// Numbers have changed.
    pub(super) const fn out_of_date(&mut self) {
        self.head = None;
    }

    /// The room has said how far it has come: no number needs to be left out.
    pub(super) const fn is_certain(&mut self) {
        self.skip = 0;
    }
}

impl Outbox {
    /// The outbox of an earlier run, by its journal: the number of its first op.
    pub(crate) fn restored(actor: ActorId, first: u32) -> Self {
        let mut outbox = Self::new();
        outbox.first = first;
        outbox.answered = first - 1;
        outbox.sent = first - 1;
        outbox.ever_sent = first - 1;
        outbox.journaled = Journaled {
            through: first - 1,
            head: Some((actor, first)),
            skip: SKIPPED,
        };
        outbox
    }

    /// An op of an earlier run, in the order of their numbers. Where one is missing, what was built on it will be refused,
    /// and the others are as good as ever.
    pub(crate) fn restore_op(&mut self, actor: ActorId, counter: u32, kept: KeptOp) {
        let next = self.next_counter();
        if counter < next || counter - next > OPS_MAX as u32 || self.is_full() {
            return;
        }
        self.fill(actor, counter);
        #[cfg(feature = "sabotage")]
        if is(Fault::KeptForgotten) && counter.is_multiple_of(8) {
            return self.fill(actor, counter + 1);
        }
        self.points += point_count(&kept.op);
        self.entries.push_back(Entry {
            op: kept.op,
            ink_end: kept.ink_end,
            echoed: false,
            rejected: kept.is_rejected,
            position: Position(0),
        });
        // The room may have it.
        self.ever_sent = counter;
        self.journaled.through = counter;
    }

    /// Leaves out the numbers that an earlier run may have used.
    pub(super) fn skip_uncertain(&mut self) {
        let skip = std::mem::take(&mut self.journaled.skip);
        #[cfg(feature = "sabotage")]
        let skip = if is(Fault::NumbersAgain) { 0 } else { skip };
        if skip > 0 {
            let (actor, _) = self.journaled.head.unwrap_or((ActorId(0), 0));
            self.fill(actor, self.next_counter().saturating_add(skip));
        }
    }

    /// Uses up all numbers before one, for ops that the room refuses.
    pub(super) fn fill(&mut self, actor: ActorId, until: u32) {
        for counter in self.next_counter()..until {
            self.entries.push_back(Entry::filling(actor, counter));
        }
    }

    /// What the journal lacks.
    pub(crate) fn take_journal(&mut self, actor: ActorId) -> Option<JournalChange> {
        let head = (actor, self.first);
        let last = self.next_counter() - 1;
        if self.journaled.head == Some(head) && self.journaled.through == last {
            return None;
        }
        let is_anew = self.journaled.head.is_none();
        let after = if is_anew { 0 } else { self.journaled.through };
        let first = self.first.max(after + 1);
        let entries = (first..=last).filter_map(|counter| Some((counter, self.get(counter)?)));
        let piece = |(counter, entry): (u32, &Entry)| {
            let kept = KeptOp {
                op: entry.op.clone(),
                ink_end: entry.ink_end,
                is_rejected: entry.rejected,
            };
            (counter, journal::encode_op(actor, counter, &kept))
        };
        let ops = entries.map(piece).collect();
        self.journaled.through = last;
        self.journaled.head = Some(head);
        Some(JournalChange {
            is_anew,
            head: journal::encode_head(actor, self.first),
            first: self.first,
            ops,
        })
    }
}

impl Entry {
    /// Takes up a number: names a stroke that never was, so that the room refuses it and nothing changes.
    pub(super) fn filling(actor: ActorId, counter: u32) -> Self {
        let stroke = StrokeId(OpId { actor, counter });
        Self {
            op: Op::Finish { stroke }.into(),
            ink_end: 0,
            echoed: false,
            rejected: true,
            position: Position(0),
        }
    }
}
