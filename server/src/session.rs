//! A session, whatever carries it: the handshake, what comes in, and when it ends.
//!
//! A transport hands over frames as they come and sends what the session's [`Outbox`] holds; it knows no messages. A
//! session knows no sockets. Reliable messages wait for the room, so that a flood slows down its own connection alone;
//! cursors are dropped when there are too many.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chalkboard_shared::reason::DisconnectReason;
use chalkboard_shared::wire::{ClientMessage, ServerMessage};
use chalkboard_shared::{DecodeError, Op};
use chalkboard_simulation::Input;

use crate::boards::{Boards, Membership};
use crate::origin::OriginPolicy;
use crate::outbox::{Outbox, PushError};
use crate::room_door::Message;
use crate::telemetry::{Counters, ShortBoard};
use crate::token_bucket::TokenBucket;

/// How long a connection may take to say hello.
pub(crate) const HELLO_WAIT: Duration = Duration::from_secs(5);
/// How long the last frames of a session may take.
pub(crate) const GOODBYE_WAIT: Duration = Duration::from_secs(1);
/// Cursor messages a second: two of each frame of a screen.
const CURSORS_PER_SECOND: f64 = 120.0;
/// Views, profiles and pings a second: clients send a view each 50 ms at the most, and hardly anything else. All of them
/// cost others something: a view a search of the board, a profile a message to everybody.
const CONTROLS_PER_SECOND: f64 = 60.0;
/// How many of those at once.
const CONTROLS_BURST: f64 = 240.0;
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
pub(crate) struct Gauge(AtomicUsize);

impl Gauge {
    /// One more, until what is returned is dropped.
    pub(crate) fn enter(&self) -> GaugeGuard<'_> {
        self.0.fetch_add(1, Ordering::AcqRel);
        GaugeGuard(self)
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// Counts as one.
#[derive(Debug)]
pub(crate) struct GaugeGuard<'a>(&'a Gauge);

impl Drop for GaugeGuard<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
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

/// A session that is in a room.
#[derive(Debug)]
pub(crate) struct Session {
    membership: Membership,
    outbox: Arc<Outbox>,
    counters: Arc<Counters>,
    cursors: Mutex<TokenBucket>,
    controls: Mutex<TokenBucket>,
}

impl Session {
    /// Reads the first frame and lets its sender into the room.
    ///
    /// # Errors
    /// What to tell the peer.
    pub(crate) async fn open(
        reception: &Reception,
        hello: Bytes,
        outbox: Arc<Outbox>,
    ) -> Result<Self, DisconnectReason> {
        let is_hello = ClientMessage::is_hello(&hello);
        let hello = match ClientMessage::decode(hello) {
            Ok(ClientMessage::Hello(hello)) => *hello,
            // Of a hello only its version can be unknown.
            Err(DecodeError::UnknownKind(_)) if is_hello => {
                return Err(DisconnectReason::VersionMismatch);
            }
            Ok(_) | Err(_) => {
                reception.counters.messages_malformed.increment();
                return Err(DisconnectReason::Malformed);
            }
        };
        let membership = reception.boards.join(hello, outbox.clone()).await?;
        tracing::debug!(board = %ShortBoard(membership.door.board()), session = membership.session.0, "session joined");
        Ok(Self {
            membership,
            outbox,
            counters: reception.counters.clone(),
            cursors: Mutex::new(TokenBucket::new(
                CURSORS_PER_SECOND,
                CURSORS_PER_SECOND,
                Instant::now(),
            )),
            controls: Mutex::new(TokenBucket::new(
                CONTROLS_BURST,
                CONTROLS_PER_SECOND,
                Instant::now(),
            )),
        })
    }

    /// Takes a frame that came on the stream. Waits while the room has too much to do.
    ///
    /// # Errors
    /// The session ends for this reason.
    pub(crate) async fn receive(&self, frame: Bytes) -> Result<(), DisconnectReason> {
        let bytes = frame.len();
        let message = ClientMessage::decode(frame).map_err(|_| self.malformed())?;
        let session = self.membership.session;
        let is_control = !matches!(
            message,
            ClientMessage::Ops { .. } | ClientMessage::Cursor { .. }
        );
        if is_control && !take(&self.controls) {
            return Err(DisconnectReason::Flood);
        }
        let input = match message {
            ClientMessage::Hello(_) => return Err(self.malformed()),
            ClientMessage::Ping(nonce) => {
                return match self.outbox.push(ServerMessage::Pong(nonce).encode()) {
                    Ok(()) | Err(PushError::Ended) => Ok(()),
                    Err(PushError::Full) => Err(DisconnectReason::TooSlow),
                };
            }
            ClientMessage::Cursor { .. } => {
                self.point(message);
                return Ok(());
            }
            ClientMessage::Ops { first, stamp, ops } => Input::Ops {
                session,
                first,
                stamp,
                ops: self.sign(ops),
            },
            ClientMessage::CursorsWanted(group) => Input::CursorsWanted { session, group },
            ClientMessage::View(view) => Input::View { session, view },
            ClientMessage::Profile(profile) => Input::Profile { session, profile },
        };
        self.send(input, bytes).await
    }

    /// Takes a frame that came as a datagram: a cursor, or nothing.
    pub(crate) fn receive_datagram(&self, frame: Bytes) {
        match ClientMessage::decode(frame) {
            Ok(message) if message.is_cursor() => self.point(message),
            Ok(_) | Err(_) => self.counters.datagrams_ignored.increment(),
        }
    }

    /// Tells the room how much has been written, in steps. `unreported` is the caller's count.
    ///
    /// # Errors
    /// The session ends for this reason.
    pub(crate) async fn report_written(
        &self,
        unreported: &mut usize,
    ) -> Result<(), DisconnectReason> {
        if *unreported < WRITTEN_REPORT_BYTES {
            return Ok(());
        }
        let bytes = u32::try_from(*unreported).unwrap_or(u32::MAX);
        let session = self.membership.session;
        self.send(Input::Written { session, bytes }, 0).await?;
        *unreported = 0;
        Ok(())
    }

    /// Notes in the log how it ended.
    pub(crate) fn log_ending(&self, ending: Ending) {
        let (board, session) = (
            ShortBoard(self.membership.door.board()),
            self.membership.session.0,
        );
        match ending {
            Ending::Told(reason) => {
                tracing::debug!(%board, session, reason = ?reason, "session ended");
            }
            Ending::Gone => tracing::debug!(%board, session, "session left"),
        }
    }

    async fn send(&self, input: Input, bytes: usize) -> Result<(), DisconnectReason> {
        self.membership
            .door
            .send(Message::Input(input), bytes)
            .await
            // The room tells the reason through the outbox when it closes; this is for when it could not.
            .map_err(|_| DisconnectReason::Storage)
    }

    fn sign(&self, ops: Vec<Op>) -> Vec<Op> {
        let actor = self.membership.actor;
        ops.into_iter().map(|op| op.signed_by(actor)).collect()
    }

    fn point(&self, message: ClientMessage) {
        let ClientMessage::Cursor {
            sequence,
            stamp,
            cursor,
        } = message
        else {
            return;
        };
        let in_time = take(&self.cursors);
        let input = Input::Cursor {
            session: self.membership.session,
            sequence,
            stamp,
            cursor,
        };
        if !in_time || !self.membership.door.try_send_cursor(input) {
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
