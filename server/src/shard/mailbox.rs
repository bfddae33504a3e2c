//! The mailbox of a shard: what rooms have for its sessions, and the answers to those who want to join.
//!
//! Bounded queues and one bell, which rings once until the shard has looked. Rooms put in one [`Delivery`] a tick; when a
//! shard is so far behind that its queue is full, the room waits: its ticks get late, and that is what overload looks
//! like. A shard never waits for a room, so nobody waits in a circle.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chalkboard_shared::reason::DisconnectReason;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::beats::NextStep;
use crate::session::Session;

/// Deliveries that wait: a tick of as many rooms.
const DELIVERIES_MAX: usize = 1024;
/// Answers that wait; each belongs to a connection that does nothing else meanwhile.
const ANSWERS_MAX: usize = 16 * 1024;

/// A connection of a shard. A place is used again; a key never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionKey {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// For whom a frame is.
#[derive(Debug, Clone)]
pub(crate) enum Addressees {
    /// A connection.
    One(ConnectionKey),
    /// Connections that get the same.
    Many(Arc<[ConnectionKey]>),
}

impl Addressees {
    /// Those of the very same list.
    pub(super) fn is_list(&self, list: &Arc<[ConnectionKey]>) -> bool {
        matches!(self, Self::Many(keys) if Arc::ptr_eq(keys, list))
    }
}

/// A frame for connections of one shard.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) to: Addressees,
    /// On the stream; otherwise in a datagram.
    pub(crate) reliable: bool,
    pub(crate) frame: Bytes,
}

/// What a room has for the sessions of one shard after a step.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    /// In order.
    pub(crate) parcels: Vec<Parcel>,
    /// Sessions that end, after what came before.
    pub(crate) closes: Vec<(ConnectionKey, DisconnectReason)>,
    /// When the room was done with it.
    pub(crate) made: Option<Instant>,
    /// When it goes on, if that is known.
    pub(crate) next_step: Option<NextStep>,
}

impl Delivery {
    /// Nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.parcels.is_empty() && self.closes.is_empty()
    }
}

/// What became of a connection's wish to join a room.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) key: ConnectionKey,
    pub(super) joined: Result<Session, DisconnectReason>,
}

/// The outside: for rooms, and whoever else has something for a shard.
#[derive(Debug, Clone)]
pub(crate) struct ShardHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    deliveries: Sender<Delivery>,
    answers: Sender<Answer>,
    is_rung: AtomicBool,
    /// The shard rests between two looks at the network; a ring ends that.
    is_resting: AtomicBool,
    thread: OnceLock<Thread>,
    /// Somebody wants to have what has come on the network.
    is_asked_to_look: AtomicBool,
    is_stopping: AtomicBool,
    /// How long the last delivery took from the room to the network, in microseconds.
    delay_us: AtomicU64,
    made: Instant,
    /// Whatever had come on the network until then has been brought to its room, in microseconds since the mailbox was made.
    heard_us: AtomicU64,
    bell: mio::Waker,
}

/// The inside, which the shard keeps.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) deliveries: Receiver<Delivery>,
    pub(super) answers: Receiver<Answer>,
    shared: Arc<Shared>,
}

impl ShardHandle {
    /// A mailbox that rings this bell.
    pub(super) fn new(bell: mio::Waker) -> (Self, Mailbox) {
        let (deliveries, delivery_queue) = bounded(DELIVERIES_MAX);
        let (answers, answer_queue) = bounded(ANSWERS_MAX);
        let shared = Arc::new(Shared {
            deliveries,
            answers,
            is_rung: AtomicBool::new(false),
            is_resting: AtomicBool::new(false),
            thread: OnceLock::new(),
            is_asked_to_look: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            delay_us: AtomicU64::new(0),
            made: Instant::now(),
            heard_us: AtomicU64::new(0),
            bell,
        });
        let mailbox = Mailbox {
            deliveries: delivery_queue,
            answers: answer_queue,
            shared: shared.clone(),
        };
        (Self(shared), mailbox)
    }

    /// The same shard.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Brings a delivery. Waits while too many wait already; a shard that has ended takes none, and needs none.
    pub(crate) fn deliver(&self, delivery: Delivery) {
        // It fails only when the shard has ended, and its sessions with it.
        let _ = self.0.deliveries.send(delivery);
        self.0.ring();
    }

    /// How long the last delivery took from the room to the network.
    pub(crate) fn delay(&self) -> Duration {
        Duration::from_micros(self.0.delay_us.load(Ordering::Relaxed))
    }

    /// Until when whatever came on the network has been brought to its room.
    pub(crate) fn heard_until(&self) -> Instant {
        self.0.made + Duration::from_micros(self.0.heard_us.load(Ordering::Acquire))
    }

    /// Has the shard look at the network if it rests just now; else it is about to.
    pub(crate) fn ask_to_look(&self) {
        self.0.is_asked_to_look.store(true, Ordering::SeqCst);
        if self.0.is_resting.load(Ordering::SeqCst)
            && let Some(thread) = self.0.thread.get()
        {
            thread.unpark();
        }
    }

    /// Brings an answer. If there is no place for it, whoever it is for waits in vain and is let go in time.
    pub(super) fn answer(&self, answer: Answer) {
        // What is dropped here leaves its room.
        let _ = self.0.answers.try_send(answer);
        self.0.ring();
    }

    /// Asks the shard to end.
    pub(super) fn stop(&self) {
        self.0.is_stopping.store(true, Ordering::Release);
        self.0.ring();
    }
}

impl Shared {
    fn ring(&self) {
        if self.is_rung.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.is_resting.load(Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        } else if let Err(error) = self.bell.wake() {
            tracing::error!(%error, "a shard can't be woken");
        }
    }
}

impl Mailbox {
    /// Rests for a while, or until the bell rings or somebody wants it to look. For one thread only.
    pub(super) fn rest(&self, duration: Duration) {
        self.shared.thread.get_or_init(std::thread::current);
        self.shared.is_resting.store(true, Ordering::SeqCst);
        // Who rings now sees that the shard rests; who rang before is seen here.
        if !self.is_rung() && !self.shared.is_asked_to_look.load(Ordering::SeqCst) {
            std::thread::park_timeout(duration);
        }
        self.shared.is_resting.store(false, Ordering::SeqCst);
    }

    /// Something has come in since the bell was answered.
    pub(super) fn is_rung(&self) -> bool {
        self.shared.is_rung.load(Ordering::SeqCst)
    }

    /// Somebody wants to have what has come on the network, and is told only once.
    pub(super) fn takes_request_to_look(&self) -> bool {
        self.shared.is_asked_to_look.load(Ordering::Relaxed)
            && self.shared.is_asked_to_look.swap(false, Ordering::SeqCst)
    }

    /// Heard; from now on the next thing that comes in rings again. Call it before looking into the queues.
    pub(super) fn answer_bell(&self) {
        self.shared.is_rung.store(false, Ordering::SeqCst);
    }

    /// A delivery has left for the network so long after it was made.
    pub(super) fn note_delay(&self, delay: Duration) {
        let us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.shared.delay_us.store(us, Ordering::Relaxed);
    }

    /// What had come on the network until then is with its room.
    pub(super) fn note_heard(&self, until: Instant) {
        let since = until.saturating_duration_since(self.shared.made);
        let us = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        self.shared.heard_us.store(us, Ordering::Release);
    }

    /// The shard is to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.shared.is_stopping.load(Ordering::Acquire)
    }
}
