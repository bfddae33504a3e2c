//! The door of a loaded room: everything that reaches it from other threads comes through here.
//!
//! Two bounded queues: messages, which wait when it is full and so slow their connection down, and cursors, which are
//! dropped. The first thing that comes in rings the bell of the room's thread, once; a room with nothing to do is never
//! looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chalkboard_shared::wire::{Profile, Resume};
use chalkboard_shared::{ActorId, BoardId, BoardRect, Position, Rights, Secret, SessionId};
use chalkboard_simulation::Input;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::outlet::Outlet;
use crate::recorder::Recorder;
use crate::room_thread::Wake;
use crate::storage::BoardRecord;

/// Messages that wait for a room's next step.
const MESSAGES_MAX: usize = 4096;
/// Bytes of messages, as they came, that wait for a room's next step; decoded they take a few times as much.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Cursors that wait for a room's next step: one of each of the most sessions that a room may have, and some.
const CURSORS_MAX: usize = 16 * 1024;
/// What a message counts at the least.
const MESSAGE_BYTES_MIN: usize = 64;

/// Somebody who wants to come in; the secret has been checked.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) actor: ActorId,
    pub(crate) rights: Rights,
    pub(crate) profile: Profile,
    pub(crate) view: BoardRect,
    pub(crate) view_secret: Option<Secret>,
    pub(crate) resume: Option<Resume>,
    /// When their connection came.
    pub(crate) came: Instant,
    /// Where frames for them go.
    pub(crate) outlet: Outlet,
    /// Told the number of the session. Dropped unsent when the room closes instead.
    pub(crate) answer: oneshot::Sender<SessionId>,
}

/// What a room can say about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inspection {
    pub(crate) position: Position,
    pub(crate) durable: Position,
    pub(crate) digest: String,
    pub(crate) strokes: usize,
    pub(crate) sessions: usize,
}

/// Something for a room.
#[derive(Debug)]
pub(crate) enum Message {
    /// Somebody comes in.
    Guest(Box<Guest>),
    /// Something of a session that is in.
    Input(Input),
    /// Somebody wants to record; answered whether that begins, which it does not while somebody else does.
    Record(Box<Recorder>, oneshot::Sender<bool>),
    /// A question about the board.
    Inspect(oneshot::Sender<Inspection>),
}

/// A message and the place that it takes up, free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) message: Message,
    _place: Option<OwnedSemaphorePermit>,
}

/// The room has closed: it was unloaded or has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoomClosed;

/// An input that was not brought in.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Too much waits already; here it is again.
    Full(Input),
    /// The room has closed.
    Closed,
}

/// The outside of a room.
#[derive(Debug)]
pub(crate) struct RoomDoor {
    record: BoardRecord,
    messages: mpsc::Sender<Envelope>,
    cursors: mpsc::Sender<Input>,
    message_bytes: Arc<Semaphore>,
    durable: AtomicU64,
    /// When the log was synced last, in microseconds since the door was made.
    synced_us: AtomicU64,
    made: Instant,
    is_refused: AtomicBool,
    is_rung: AtomicBool,
    /// Another bell, for the log alone.
    is_durable_rung: AtomicBool,
    thread: crossbeam_channel::Sender<Wake>,
}

/// The inside, which the room's thread keeps.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) messages: mpsc::Receiver<Envelope>,
    pub(crate) cursors: mpsc::Receiver<Input>,
}

impl RoomDoor {
    /// A door of a board's room that rings at `thread`.
    pub(crate) fn new(
        record: BoardRecord,
        thread: crossbeam_channel::Sender<Wake>,
    ) -> (Arc<Self>, Inbox) {
        let (messages, message_queue) = mpsc::channel(MESSAGES_MAX);
        let (cursors, cursor_queue) = mpsc::channel(CURSORS_MAX);
        let door = Self {
            record,
            messages,
            cursors,
            message_bytes: Arc::new(Semaphore::new(MESSAGE_BYTES_MAX)),
            durable: AtomicU64::new(0),
            synced_us: AtomicU64::new(0),
            made: Instant::now(),
            is_refused: AtomicBool::new(false),
            is_rung: AtomicBool::new(false),
            is_durable_rung: AtomicBool::new(false),
            thread,
        };
        let inbox = Inbox {
            messages: message_queue,
            cursors: cursor_queue,
        };
        (Arc::new(door), inbox)
    }

    /// The board, and the hashes of its secrets.
    pub(crate) fn record(&self) -> &BoardRecord {
        &self.record
    }

    /// The board.
    pub(crate) fn board(&self) -> BoardId {
        self.record.id
    }

    /// Brings a message in that took `bytes` on the wire; waits while too much waits already.
    pub(crate) async fn send(&self, message: Message, bytes: usize) -> Result<(), RoomClosed> {
        let places = bytes.clamp(MESSAGE_BYTES_MIN, MESSAGE_BYTES_MAX) as u32;
        let place = tokio::select! {
            // Never closed, so it ends with a place or with the room.
            place = self.message_bytes.clone().acquire_many_owned(places) => place.ok(),
            () = self.messages.closed() => return Err(RoomClosed),
        };
        let envelope = Envelope {
            message,
            _place: place,
        };
        self.messages.send(envelope).await.map_err(|_| RoomClosed)?;
        self.ring();
        Ok(())
    }

    /// Brings an input in that took `bytes` on the wire, unless too much waits already.
    pub(crate) fn offer(&self, input: Input, bytes: usize) -> Result<(), Refused> {
        let places = bytes.clamp(MESSAGE_BYTES_MIN, MESSAGE_BYTES_MAX) as u32;
        let Ok(place) = self.message_bytes.clone().try_acquire_many_owned(places) else {
            return Err(if self.messages.is_closed() {
                Refused::Closed
            } else {
                Refused::Full(input)
            });
        };
        match self.messages.try_reserve() {
            Ok(slot) => slot.send(Envelope {
                message: Message::Input(input),
                _place: Some(place),
            }),
            Err(mpsc::error::TrySendError::Full(())) => return Err(Refused::Full(input)),
            Err(mpsc::error::TrySendError::Closed(())) => return Err(Refused::Closed),
        }
        self.ring();
        Ok(())
    }

    /// Brings a message in if there is room.
    pub(crate) fn try_send(&self, message: Message) -> bool {
        let envelope = Envelope {
            message,
            _place: None,
        };
        let is_sent = self.messages.try_send(envelope).is_ok();
        self.ring();
        is_sent
    }

    /// Brings a cursor in if there is room.
    pub(crate) fn try_send_cursor(&self, cursor: Input) -> bool {
        let is_sent = self.cursors.try_send(cursor).is_ok();
        self.ring();
        is_sent
    }

    /// The log is synced up to here. Rings a bell of its own: also a room that is about to make a step may tell at once.
    pub(crate) fn set_durable(&self, position: Position) {
        let now_us = u64::try_from(self.made.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.synced_us.store(now_us, Ordering::Release);
        self.durable.fetch_max(position.0, Ordering::AcqRel);
        if !self.is_durable_rung.swap(true, Ordering::SeqCst) {
            // As in `ring`.
            let _ = self.thread.try_send(Wake::Durable(self.board()));
        }
    }

    /// Heard that the log has synced something; from now on it rings again. Then look how far.
    pub(crate) fn answer_durable_bell(&self) {
        self.is_durable_rung.store(false, Ordering::SeqCst);
    }

    /// How far the log is synced, as far as was told.
    pub(crate) fn durable(&self) -> Position {
        Position(self.durable.load(Ordering::Acquire))
    }

    /// When the log was synced last.
    pub(crate) fn synced_at(&self) -> Instant {
        self.made + Duration::from_micros(self.synced_us.load(Ordering::Acquire))
    }

    /// The store refuses what this room writes: it must be dropped and loaded again.
    pub(crate) fn set_refused(&self) {
        self.is_refused.store(true, Ordering::Release);
        self.ring();
    }

    /// The store refuses what this room writes.
    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Acquire)
    }

    /// Heard; from now on the next thing that comes in rings again. Call it when the room goes to sleep, and then look into
    /// the inbox once more.
    pub(crate) fn answer_bell(&self) {
        self.is_rung.store(false, Ordering::SeqCst);
    }

    fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::SeqCst) {
            // A room is in its thread's queue once at the most, and that queue has more places than there may be
            // rooms; it is gone only when the process stops.
            let _ = self.thread.try_send(Wake::Ready(self.board()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> (Arc<RoomDoor>, Inbox, crossbeam_channel::Receiver<Wake>) {
        let (sender, receiver) = crossbeam_channel::bounded(4);
        let record = BoardRecord {
            id: BoardId([1; 16]),
            edit_hash: [0; 32],
            view_hash: [0; 32],
            created_ms: 0,
        };
        let (door, inbox) = RoomDoor::new(record, sender);
        (door, inbox, receiver)
    }

    #[test]
    fn the_bell_rings_once_until_it_is_answered() {
        let (door, _inbox, bell) = door();
        for _ in 0..10 {
            assert!(door.try_send(Message::Input(Input::Leave(SessionId(1)))));
        }
        assert_eq!(bell.len(), 1);
        assert!(matches!(bell.try_recv(), Ok(Wake::Ready(board)) if board == door.board()));
        door.answer_bell();
        door.set_durable(Position(3));
        door.set_durable(Position(2));
        assert_eq!(bell.len(), 1);
        assert!(matches!(bell.try_recv(), Ok(Wake::Durable(board)) if board == door.board()));
        assert_eq!(door.durable(), Position(3));
        door.answer_durable_bell();
        door.set_durable(Position(4));
        assert_eq!(bell.len(), 1);
    }

    #[tokio::test]
    async fn messages_wait_for_bytes_to_be_free() {
        let (door, mut inbox, _bell) = door();
        let message = || Message::Input(Input::Leave(SessionId(1)));
        door.send(message(), MESSAGE_BYTES_MAX).await.expect("open");
        let late = door.send(message(), 1);
        tokio::pin!(late);
        let is_waiting = futures::poll!(late.as_mut()).is_pending();
        assert!(is_waiting);
        drop(inbox.messages.try_recv());
        assert_eq!(late.await, Ok(()));
    }

    #[test]
    fn what_is_offered_to_a_full_or_closed_room_comes_back() {
        let (door, mut inbox, _bell) = door();
        let input = || Input::Leave(SessionId(1));
        assert!(door.offer(input(), MESSAGE_BYTES_MAX).is_ok());
        assert!(matches!(door.offer(input(), 1), Err(Refused::Full(_))));
        drop(inbox.messages.try_recv());
        assert!(door.offer(input(), 1).is_ok());
        drop(inbox);
        assert!(matches!(door.offer(input(), 1), Err(Refused::Closed)));
    }

    #[tokio::test]
    async fn a_closed_room_lets_nobody_wait() {
        let (door, inbox, _bell) = door();
        let message = || Message::Input(Input::Leave(SessionId(1)));
        door.send(message(), MESSAGE_BYTES_MAX).await.expect("open");
        let late = door.send(message(), 1);
        tokio::pin!(late);
        assert!(futures::poll!(late.as_mut()).is_pending());
        drop(inbox);
        assert_eq!(late.await, Err(RoomClosed));
    }
}
