//! The outbox: this client's ops from the moment they are made until the server has them on its disk.
//!
//! Ops are numbered without gaps. Each passes through three states: local, answered (the room has applied or refused
//! it), saved (then it leaves). Answered ops are kept until they are saved, because a server that crashes may lose
//! what it had not synced: after a reconnect everything that the room has not answered is sent again, and the
//! numbers make that harmless. It knows nothing of the board or the link.

mod keeping;

use std::collections::VecDeque;
use std::sync::Arc;

use chalkboard_shared::limits::{
    CLIENT_FRAME_BYTES_MAX, OPS_IN_FLIGHT_MAX, OPS_PER_MESSAGE_MAX, POINTS_PER_OP_MAX,
};
use chalkboard_shared::op::InkRun;
#[cfg(feature = "sabotage")]
use chalkboard_shared::sabotage::{Fault, is};
use chalkboard_shared::{ActorId, DecodeError, InkPoint, Op, OpId, Position, StrokeId};

use keeping::{Journaled, SKIPPED};

/// Ops that may wait: points of unsent ops are gathered, so this is days of drawing, and 20 MB or so at the most
/// with [`POINTS_MAX`] beside it.
pub(crate) const OPS_MAX: usize = 65_536;

/// Points in all waiting ops: 10 hours of drawing at 120 samples a second, 50 MB.
pub(crate) const POINTS_MAX: usize = 1 << 22;

/// Saved ops that are kept for whoever keeps account of them, the first ones of many.
const ACCOUNT_MAX: usize = 1 << 18;

/// Bytes of one message's ops: half of what the server takes.
const MESSAGE_BYTES_MAX: usize = CLIENT_FRAME_BYTES_MAX / 2;

/// An op that waits.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) op: Arc<Op>,
    /// See `PendingOp::ink_end`.
    pub(crate) ink_end: u32,
    /// The room has sent it back as accepted.
    pub(crate) echoed: bool,
    /// The room has refused it, now or before a crash. Kept like the others, for the sake of the numbers.
    pub(crate) rejected: bool,
    /// Once answered: it is saved when the log is synced up to here.
    position: Position,
}

/// Ops that wait to be saved.
#[derive(Debug)]
pub(crate) struct Outbox {
    entries: VecDeque<Entry>,
    /// Counter of the first entry, or of the next op when there is none.
    first: u32,
    /// Counter of the last op that the room has answered.
    answered: u32,
    /// Counter of the last op that was sent on this connection.
    sent: u32,
    /// Counter of the last op that was sent on any connection: the room may have it, so it must stay as it is.
    ever_sent: u32,
    /// The log is synced up to here.
    durable: Position,
    points: usize,
    journaled: Journaled,
    /// What was told to be saved since it was asked for last; `None` unless somebody keeps account of it.
    account: Option<Vec<SavedOp>>,
    /// For the account: when the frame came that is being taken.
    now_ms: f64,
}

/// An op that the room has accepted and told to be on its disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SavedOp {
    /// Its number among this client's.
    pub counter: u32,
    /// It stands in the room's log at this position or before it.
    pub through: Position,
    /// When this client learned that it is saved, on the clock of its `now_ms`.
    pub at_ms: f64,
}

impl Outbox {
    pub(crate) const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            first: 1,
            answered: 0,
            sent: 0,
            ever_sent: 0,
            durable: Position(0),
            points: 0,
            journaled: Journaled::new(),
            account: None,
            now_ms: 0.0,
        }
    }

    /// A frame has come.
    pub(crate) const fn heard(&mut self, now_ms: f64) {
        self.now_ms = now_ms;
    }

    /// What has left as saved since the last call; the first call only begins the account.
    pub(crate) fn take_saved(&mut self) -> Vec<SavedOp> {
        std::mem::take(self.account.get_or_insert_default())
    }

    /// Counter of the next op.
    pub(crate) fn next_counter(&self) -> u32 {
        self.first + self.entries.len() as u32
    }

    /// Ops that only this client has for certain.
    pub(crate) fn unanswered_len(&self) -> u32 {
        self.next_counter() - 1 - self.answered
    }

    /// Ops that the room has but that are not on disk yet.
    pub(crate) fn unsaved_len(&self) -> u32 {
        (self.answered + 1).saturating_sub(self.first)
    }

    /// Counter of the last op that has left because it was saved.
    pub(crate) const fn saved_through(&self) -> u32 {
        self.first - 1
    }

    pub(crate) const fn answered(&self) -> u32 {
        self.answered
    }

    pub(crate) const fn durable(&self) -> Position {
        self.durable
    }

    /// There is something that [`Outbox::next_message`] would send.
    pub(crate) fn has_unsent(&self) -> bool {
        self.sent + 1 < self.next_counter() && self.in_flight() < OPS_IN_FLIGHT_MAX
    }

    fn in_flight(&self) -> usize {
        (self.sent - self.answered) as usize
    }

    /// No further op finds room.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= OPS_MAX
            || self.points >= POINTS_MAX
            || self.next_counter() == u32::MAX
    }

    /// Adds an op; answers its counter. The caller asks [`Outbox::is_full`] before it begins something new, and may
    /// pass the bound to end what it has begun.
    pub(crate) fn push(&mut self, op: Arc<Op>, ink_end: u32) -> u32 {
        self.skip_uncertain();
        let counter = self.next_counter();
        self.points += point_count(&op);
        self.entries.push_back(Entry {
            op,
            ink_end,
            echoed: false,
            rejected: false,
            position: Position(0),
        });
        counter
    }

    /// Adds points to the last op, where that is one of this stroke's, not yet sent, and has room for them.
    /// Answers its counter and the op as it now is.
    pub(crate) fn lengthen_last(
        &mut self,
        stroke: StrokeId,
        points: &[InkPoint],
    ) -> Option<(u32, Arc<Op>, u32)> {
        let counter = self.next_counter() - 1;
        if counter <= self.ever_sent {
            return None;
        }
        let entry = self.entries.back_mut()?;
        let longer = |ink: &InkRun| {
            (ink.points().len() + points.len() <= POINTS_PER_OP_MAX)
                .then(|| InkRun::new([ink.points(), points].concat()))
        };
        let op = match entry.op.as_ref() {
            Op::Begin { style, ink } if stroke.0.counter == counter => Op::Begin {
                style: *style,
                ink: longer(ink)?,
            },
            Op::Extend { stroke: other, ink } if *other == stroke => Op::Extend {
                stroke,
                ink: longer(ink)?,
            },
            _ => return None,
        };
        entry.op = Arc::new(op);
        entry.ink_end += points.len() as u32;
        self.points += points.len();
        self.journaled.changed(counter);
        Some((counter, entry.op.clone(), entry.ink_end))
    }

    /// The next ops to send, with the counter of the first; their strokes carry the client's actor.
    pub(crate) fn next_message(&mut self) -> Option<(u32, Vec<Arc<Op>>)> {
        if !self.has_unsent() {
            return None;
        }
        let first = self.sent + 1;
        let room = OPS_PER_MESSAGE_MAX.min(OPS_IN_FLIGHT_MAX - self.in_flight());
        let mut bytes = 0;
        let mut ops = Vec::new();
        for entry in self.entries.iter().skip((first - self.first) as usize) {
            bytes += encoded_len_max(&entry.op);
            if ops.len() >= room || (bytes > MESSAGE_BYTES_MAX && !ops.is_empty()) {
                break;
            }
            ops.push(entry.op.clone());
        }
        self.sent += ops.len() as u32;
        self.ever_sent = self.ever_sent.max(self.sent);
        Some((first, ops))
    }

    /// The entry of an unsaved op.
    pub(crate) fn get_mut(&mut self, counter: u32) -> Option<&mut Entry> {
        let at = counter.checked_sub(self.first)?;
        self.entries.get_mut(at as usize)
    }

    /// The entry of an unsaved op.
    pub(crate) fn get(&self, counter: u32) -> Option<&Entry> {
        let at = counter.checked_sub(self.first)?;
        self.entries.get(at as usize)
    }

    /// The room has answered ops up to `through`; they are saved once the log is synced up to `position`.
    ///
    /// # Errors
    /// It answers what was not sent.
    pub(crate) fn answer(&mut self, through: u32, position: Position) -> Result<(), DecodeError> {
        if through > self.sent {
            return Err(DecodeError::OutOfRange);
        }
        for counter in self.answered + 1..=through {
            if let Some(entry) = self.get_mut(counter) {
                entry.position = position;
            }
        }
        self.answered = self.answered.max(through);
        self.drop_saved();
        Ok(())
    }

    /// The log is synced up to here.
    pub(crate) fn saved(&mut self, durable: Position) {
        self.durable = durable;
        self.drop_saved();
    }

    fn drop_saved(&mut self) {
        let durable = self.durable;
        #[cfg(feature = "sabotage")]
        let durable = if is(Fault::AnsweredIsSaved) {
            Position(u64::MAX)
        } else {
            durable
        };
        while self.first <= self.answered
            && self.entries.front().is_some_and(|e| e.position <= durable)
        {
            if let Some(entry) = self.entries.pop_front() {
                self.points -= point_count(&entry.op);
                if let Some(account) = &mut self.account
                    && !entry.rejected
                    && account.len() < ACCOUNT_MAX
                {
                    account.push(SavedOp {
                        counter: self.first,
                        through: entry.position,
                        at_ms: self.now_ms,
                    });
                }
            }
            self.first += 1;
        }
    }

    /// A link is gone: nothing is in flight any more.
    pub(crate) const fn disconnected(&mut self) {
        self.sent = self.answered;
    }

    /// A new connection: the room has answered this actor's ops up to `answered`, holds the log up to `position`,
    /// synced up to `durable`. Everything later is sent again.
    ///
    /// # Errors
    /// So many answers are missing that this can't be the board that they were made on.
    pub(crate) fn resume(
        &mut self,
        actor: ActorId,
        answered: u32,
        position: Position,
        durable: Position,
    ) -> Result<(), DecodeError> {
        if answered.checked_add(1).is_none_or(|next| next == u32::MAX) {
            return Err(DecodeError::OutOfRange);
        }
        self.journaled.is_certain();
        if answered >= self.next_counter() {
            if answered - self.next_counter() < SKIPPED {
                // The last ones before this client was restored: they are as safe as the room is.
                self.fill(actor, answered + 1);
            } else {
                // Ops of this key from another life: go on after them.
                self.entries.clear();
                self.points = 0;
                self.first = answered + 1;
            }
        }
        if answered + 1 < self.first {
            // A room that lost the answers to refused ops expects their numbers again. Ops that name a stroke which
            // never was are refused again, and change nothing.
            if (self.first - answered) as usize + self.entries.len() > 2 * OPS_MAX {
                return Err(DecodeError::OutOfRange);
            }
            for counter in (answered + 1..self.first).rev() {
                self.entries.push_front(Entry::filling(actor, counter));
            }
            self.first = answered + 1;
            self.journaled.out_of_date();
        }
        for (entry, counter) in self.entries.iter_mut().zip(self.first..) {
            entry.echoed = false;
            if counter > answered {
                entry.position = Position(0);
            } else if counter > self.answered || entry.position > position {
                entry.position = position;
            }
        }
        self.answered = answered;
        self.sent = answered;
        self.durable = durable;
        self.drop_saved();
        Ok(())
    }

    /// Ops that the room has not answered and has not refused before, with their counters.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = (u32, &Entry)> {
        let answered = self.answered;
        (self.first..)
            .zip(&self.entries)
            .filter(move |(counter, entry)| *counter > answered && !entry.rejected)
    }

    /// Gives ops that were made before the client knew who it is their names: actor 0 becomes `actor`, and their
    /// numbers go on after `answered`.
    pub(crate) fn sign(&mut self, actor: ActorId, answered: u32) {
        for entry in &mut self.entries {
            let mut op = entry.op.as_ref().clone();
            let sign = |stroke: &mut StrokeId| *stroke = signed(*stroke, actor, answered);
            match &mut op {
                Op::Begin { .. } => {}
                Op::Extend { stroke, .. } | Op::Finish { stroke } => sign(stroke),
                Op::Erase { strokes } | Op::Restore { strokes } | Op::Restyle { strokes, .. } => {
                    strokes.iter_mut().for_each(sign);
                }
                Op::TakeBack { taken, .. } => {
                    for taken in taken {
                        sign(&mut taken.stroke);
                        taken.counter = taken.counter.saturating_add(answered);
                    }
                }
            }
            entry.op = Arc::new(op);
        }
        if answered > 0 {
            self.journaled.out_of_date();
        }
        self.first = self.first.saturating_add(answered);
        self.answered = answered;
        self.sent = answered;
    }
}

/// The name that a stroke of actor 0 (made before the client knew who it is) has since.
pub(crate) fn signed(stroke: StrokeId, actor: ActorId, answered: u32) -> StrokeId {
    if stroke.actor() == ActorId(0) {
        StrokeId(OpId {
            actor,
            counter: stroke.0.counter.saturating_add(answered),
        })
    } else {
        stroke
    }
}

fn point_count(op: &Op) -> usize {
    match op {
        Op::Begin { ink, .. } | Op::Extend { ink, .. } => ink.points().len(),
        _ => 0,
    }
}

/// Bytes that an op takes at the most: three codes of 20 + 32 bits a point, 13 bytes a stroke's name, 5 a counter.
fn encoded_len_max(op: &Op) -> usize {
    let strokes = match op {
        Op::Erase { strokes } | Op::Restore { strokes } | Op::Restyle { strokes, .. } => {
            strokes.len()
        }
        Op::TakeBack { taken, .. } => taken.len(),
        Op::Begin { .. } | Op::Extend { .. } | Op::Finish { .. } => 1,
    };
    48 + point_count(op) * 20 + strokes * 18
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: ActorId = ActorId(7);

    fn erase(counter: u32) -> Arc<Op> {
        let stroke = StrokeId(OpId { actor: ME, counter });
        Arc::new(Op::Erase {
            strokes: vec![stroke],
        })
    }

    fn filled(count: u32) -> Outbox {
        let mut outbox = Outbox::new();
        for counter in 1..=count {
            assert_eq!(outbox.push(erase(counter), 0), counter);
        }
        outbox
    }

    fn drain(outbox: &mut Outbox) -> Vec<(u32, usize)> {
        std::iter::from_fn(|| outbox.next_message())
            .map(|(first, ops)| (first, ops.len()))
            .collect()
    }

    #[test]
    fn ops_leave_when_they_are_saved_and_not_before() {
        let mut outbox = filled(3);
        assert_eq!(drain(&mut outbox), [(1, 3)]);
        outbox.answer(2, Position(10)).expect("was sent");
        assert_eq!((outbox.unanswered_len(), outbox.unsaved_len()), (1, 2));
        outbox.saved(Position(9));
        assert_eq!(outbox.unsaved_len(), 2);
        outbox.saved(Position(10));
        assert_eq!((outbox.unanswered_len(), outbox.unsaved_len()), (1, 0));
        assert!(outbox.answer(4, Position(11)).is_err());
    }

    #[test]
    fn an_account_names_what_was_accepted_and_saved() {
        let mut outbox = filled(4);
        assert_eq!(outbox.take_saved(), []);
        drain(&mut outbox);
        outbox.answer(3, Position(10)).expect("was sent");
        outbox.get_mut(2).expect("is there").rejected = true;
        outbox.saved(Position(9));
        assert_eq!(outbox.take_saved(), [], "answered is not saved");
        outbox.heard(70.0);
        outbox.saved(Position(10));
        let saved = |counter| SavedOp {
            counter,
            through: Position(10),
            at_ms: 70.0,
        };
        assert_eq!(outbox.take_saved(), [saved(1), saved(3)]);
        assert_eq!(outbox.take_saved(), []);
    }

    #[test]
    fn a_room_that_lost_unsaved_ops_gets_them_again_in_order() {
        let mut outbox = filled(5);
        drain(&mut outbox);
        outbox.answer(4, Position(40)).expect("was sent");
        outbox.saved(Position(5));
        outbox.disconnected();
        outbox
            .resume(ME, 2, Position(20), Position(20))
            .expect("plausible");
        assert_eq!(drain(&mut outbox), [(3, 3)]);
        assert_eq!((outbox.unanswered_len(), outbox.unsaved_len()), (3, 0));
    }

    #[test]
    fn numbers_of_lost_refusals_are_filled_with_ops_that_change_nothing() {
        let mut outbox = filled(4);
        drain(&mut outbox);
        // 3 and 4 were refused: the last accepted position is saved already, and they leave.
        outbox.answer(4, Position(2)).expect("was sent");
        outbox.saved(Position(2));
        assert_eq!(outbox.next_counter(), 5);
        outbox.push(erase(9), 0);
        outbox
            .resume(ME, 2, Position(2), Position(2))
            .expect("plausible");
        assert_eq!(drain(&mut outbox), [(3, 3)]);
        assert_eq!(outbox.unanswered().map(|(c, _)| c).collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn no_more_are_in_flight_than_the_room_takes() {
        let mut outbox = filled(OPS_IN_FLIGHT_MAX as u32 + 100);
        let sent: usize = drain(&mut outbox).iter().map(|(_, count)| count).sum();
        assert_eq!(sent, OPS_IN_FLIGHT_MAX);
        outbox.answer(50, Position(50)).expect("was sent");
        assert_eq!(drain(&mut outbox), [(OPS_IN_FLIGHT_MAX as u32 + 1, 50)]);
    }

    #[test]
    fn messages_keep_within_the_frame_limit() {
        let mut outbox = Outbox::new();
        // Points as far apart as they can be are the largest that packing writes.
        let far = chalkboard_shared::limits::COORDINATE_MAX;
        let point = |n: i32| {
            let side = if n % 2 == 0 { far - n } else { n - far };
            InkPoint::new(side, -side, (n * 77) as u8)
        };
        let stroke = StrokeId(OpId {
            actor: ActorId(0),
            counter: 1,
        });
        for _ in 0..60 {
            let ink = InkRun::new((0..POINTS_PER_OP_MAX as i32).map(point).collect());
            outbox.push(Arc::new(Op::Extend { stroke, ink }), 0);
        }
        let mut count = 0;
        while let Some((first, ops)) = outbox.next_message() {
            count += ops.len();
            let ops = ops.iter().map(|op| op.as_ref().clone()).collect();
            let frame = chalkboard_shared::wire::ClientMessage::Ops {
                first,
                stamp: None,
                ops,
            }
            .encode();
            assert!(frame.len() <= MESSAGE_BYTES_MAX, "{}", frame.len());
        }
        assert_eq!(count, 60);
    }

    #[test]
    fn points_gather_in_an_op_until_it_is_sent() {
        let mut outbox = Outbox::new();
        let stroke = StrokeId(OpId {
            actor: ME,
            counter: 1,
        });
        let run = |n| vec![InkPoint::new(n, n, 1); 100];
        let ink = InkRun::new(run(1));
        let op = Op::Extend { stroke, ink };
        outbox.push(Arc::new(op), 100);
        let (counter, _, ink_end) = outbox.lengthen_last(stroke, &run(2)).expect("has room");
        assert_eq!((counter, ink_end), (1, 200));
        assert!(outbox.lengthen_last(stroke, &run(3)).is_none());
        drain(&mut outbox);
        // Neither now nor after the link broke: the room may have it.
        assert!(outbox.lengthen_last(stroke, &run(3)[..1]).is_none());
        outbox.disconnected();
        assert!(outbox.lengthen_last(stroke, &run(3)[..1]).is_none());
    }
}
