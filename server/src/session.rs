//! A session, whatever carries it: the handshake, what comes in, and when it ends.
//!
//! A transport hands over frames as they come and sends what comes through the session's [`Outlet`]; it knows no
//! messages. A session knows no sockets. Reliable messages wait for the room, so that a flood slows down its own
//! connection alone; cursors are dropped when there are too many.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chalkboard_shared::DecodeError;
use chalkboard_shared::reason::DisconnectReason;
use chalkboard_shared::wire::{ClientMessage, Hello, ServerMessage};
use chalkboard_simulation::Input;

use crate::boards::{Boards, Membership};
use crate::origin::OriginPolicy;
use crate::outlet::Outlet;
use crate::room_door::{Message, Refused};
use crate::telemetry::{Counters, ShortBoard};
use crate::token_bucket::TokenBucket;

/// How long a connection may take to say hello.
pub(crate) const HELLO_WAIT: Duration = Duration::from_secs(5);
/// How long the last frames of a session may take.
pub(crate) const GOODBYE_WAIT: Duration = Duration::from_secs(1);
/// Cursor messages a second: two of each frame of a screen.
const CURSORS_PER_SECOND: f64 = 120.0;
/// Views, profiles, pings, questions, follows and ops sent before, a second: clients send a view each 50 ms at the most, and hardly
/// anything else. All of them cost others something: a view a search of the board, a profile a message to everybody.
const CONTROLS_PER_SECOND: f64 = 60.0;
/// How many of those at once.
const CONTROLS_BURST: f64 = 240.0;
/// Datagrams, or cursor messages on the stream, a second, and at once: a few times what a mouse makes. More are not even
/// looked at, so who sends more means no good.
const POINTINGS_PER_SECOND: f64 = 500.0;
const POINTINGS_BURST: f64 = 1000.0;
/// Bytes written after which the room is told: it paces the chunks of a joining session by it.
const WRITTEN_REPORT_BYTES: usize = 32 * 1024;

/// What every session needs; one for the server.
#[derive(Debug)]
pub(crate) struct Reception {
    pub(crate) boards: Arc<Boards>,
    pub(crate) origins: OriginPolicy,
    pub(crate) counters: Arc<Counters>,
    pub(crate) connected: Gauge,
}

/// How many there are at the moment.
#[derive(Debug, Default)]
pub(crate) struct Gauge(Arc<AtomicUsize>);

impl Gauge {
    /// One more, until what is returned is dropped.
    pub(crate) fn enter(&self) -> GaugeGuard {
        self.0.fetch_add(1, Ordering::AcqRel);
        GaugeGuard(self.0.clone())
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// Counts as one.
#[derive(Debug)]
pub(crate) struct GaugeGuard(Arc<AtomicUsize>);

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The server ends it; to be told to the peer.
    Told(DisconnectReason),
    /// The peer has gone.
    Gone,
}

/// What is to be done about a frame that came.
#[derive(Debug)]
pub(crate) enum Received {
    /// Nothing more.
    Nothing,
    /// This is to be sent back.
    Answer(Bytes),
    /// This is to be brought to the room, however long that takes; nothing else is read meanwhile.
    Forward(Input),
}

/// A session that is in a room.
#[derive(Debug)]
pub(crate) struct Session {
    membership: Membership,
    counters: Arc<Counters>,
    cursors: Mutex<TokenBucket>,
    controls: Mutex<TokenBucket>,
    pointings: Mutex<TokenBucket>,
    /// Number of the first op of the last message with ops.
    last_first: AtomicU32,
}

impl Session {
    /// Reads the first frame.
    ///
    /// # Errors
    /// What to tell the peer.
    pub(crate) fn read_hello(
        reception: &Reception,
        frame: Bytes,
    ) -> Result<Hello, DisconnectReason> {
        let is_hello = ClientMessage::is_hello(&frame);
        match ClientMessage::decode(frame) {
            Ok(ClientMessage::Hello(hello)) => Ok(*hello),
            // Of a hello only its version can be unknown.
            Err(DecodeError::UnknownKind(_)) if is_hello => Err(DisconnectReason::VersionMismatch),
            Ok(_) | Err(_) => {
                reception.counters.messages_malformed.increment();
                Err(DisconnectReason::Malformed)
            }
        }
    }

    /// Lets somebody into the room that they want, whose connection came then.
    ///
    /// # Errors
    /// What to tell the peer.
    pub(crate) async fn join(
        reception: &Reception,
        hello: Hello,
        came: Instant,
        outlet: Outlet,
    ) -> Result<Self, DisconnectReason> {
        let membership = reception.boards.join(hello, came, outlet).await?;
        tracing::debug!(board = %ShortBoard(membership.door.board()), session = membership.session.0, "session joined");
        let now = Instant::now();
        let bucket = |burst, per_second| Mutex::new(TokenBucket::new(burst, per_second, now));
        Ok(Self {
            membership,
            counters: reception.counters.clone(),
            cursors: bucket(CURSORS_PER_SECOND, CURSORS_PER_SECOND),
            controls: bucket(CONTROLS_BURST, CONTROLS_PER_SECOND),
            pointings: bucket(POINTINGS_BURST, POINTINGS_PER_SECOND),
            last_first: AtomicU32::new(0),
        })
    }

    /// Takes a frame that came on the stream.
    ///
    /// # Errors
    /// The session ends for this reason.
    pub(crate) fn receive(&self, frame: Bytes) -> Result<Received, DisconnectReason> {
        let message = ClientMessage::decode(frame).map_err(|_| self.malformed())?;
        let is_control = match &message {
            // What a session has sent need not be sent again, and costs the room no more than a look.
            ClientMessage::Ops { first, .. } => {
                self.last_first.fetch_max(*first, Ordering::Relaxed) >= *first
            }
            ClientMessage::Cursor { .. } => false,
            _ => true,
        };
        let is_cursor = message.is_cursor();
        if (is_control && !take(&self.controls)) || (is_cursor && !take(&self.pointings)) {
            return Err(DisconnectReason::Flood);
        }
        match message {
            ClientMessage::Ping(nonce) => Ok(Received::Answer(ServerMessage::Pong(nonce).encode())),
            message if is_cursor => {
                self.point(message);
                Ok(Received::Nothing)
            }
            message => self
                .input(message)
                .map(Received::Forward)
                .ok_or_else(|| self.malformed()),
        }
    }

    /// Takes a frame that came as a datagram: a cursor, or nothing.
    ///
    /// # Errors
    /// There are so many that the session ends.
    pub(crate) fn receive_datagram(&self, frame: Bytes) -> Result<(), DisconnectReason> {
        if !take(&self.pointings) {
            return Err(DisconnectReason::Flood);
        }
        match ClientMessage::decode(frame) {
            Ok(message) if message.is_cursor() => self.point(message),
            Ok(_) | Err(_) => self.counters.datagrams_ignored.increment(),
        }
        Ok(())
    }

    /// What tells the room that this much has been written, when it is enough to be told.
    pub(crate) fn written(&self, bytes: usize) -> Option<Input> {
        (bytes >= WRITTEN_REPORT_BYTES).then(|| Input::Written {
            session: self.membership.session,
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        })
    }

    /// What tells the room that packets to the peer get lost, or no longer.
    pub(crate) const fn lossy(&self, is_lossy: bool) -> Input {
        Input::Lossy {
            session: self.membership.session,
            is_lossy,
        }
    }

    /// Brings something that took `bytes` on the wire to the room; waits while it has too much to do.
    ///
    /// # Errors
    /// The session ends for this reason.
    pub(crate) async fn send(&self, input: Input, bytes: usize) -> Result<(), DisconnectReason> {
        self.membership
            .door
            .send(Message::Input(input), bytes)
            .await
            // The room tells the reason through the outlet when it closes; this is for when it could not.
            .map_err(|_| DisconnectReason::Storage)
    }

    /// Brings something that took `bytes` on the wire to the room, if it has a place for it.
    ///
    /// # Errors
    /// It has none, or has closed; the room tells the reason for that through the outlet.
    pub(crate) fn offer(&self, input: Input, bytes: usize) -> Result<(), Refused> {
        self.membership.door.offer(input, bytes)
    }

    /// Notes in the log how it ended.
    pub(crate) fn log_ending(&self, ending: Ending) {
        let (board, session) = (
            ShortBoard(self.membership.door.board()),
            self.membership.session.0,
        );
        match ending {
            Ending::Told(reason) => {
                if reason == DisconnectReason::Flood {
                    self.counters.sessions_flooding.increment();
                }
                tracing::debug!(%board, session, reason = ?reason, "session ended");
            }
            Ending::Gone => tracing::debug!(%board, session, "session left"),
        }
    }

    /// What a message is to the room.
    fn input(&self, message: ClientMessage) -> Option<Input> {
        let Membership { session, actor, .. } = self.membership;
        Input::of(message, session, actor)
    }

    fn point(&self, message: ClientMessage) {
        let is_brought = take(&self.cursors)
            && self
                .input(message)
                .is_some_and(|input| self.membership.door.try_send_cursor(input));
        if !is_brought {
            self.counters.cursors_dropped.increment();
        }
    }

    fn malformed(&self) -> DisconnectReason {
        self.counters.messages_malformed.increment();
        DisconnectReason::Malformed
    }
}

fn take(bucket: &Mutex<TokenBucket>) -> bool {
    let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
    bucket.take(Instant::now())
}

/// The reason as the last frame of a session.
pub(crate) fn bye(reason: DisconnectReason) -> Bytes {
    ServerMessage::Bye(reason).encode()
}
