//! The drill's client: draws, and remembers which changes were told to be saved.
//!
//! It speaks the wire over a WebSocket and holds no board: an op is known by its number, and what it says follows from
//! that, so that the same op can be sent again after a crash.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::time::Duration;

use bytes::Bytes;
use chalkboard_shared::ink::InkPoint;
use chalkboard_shared::op::InkRun;
use chalkboard_shared::stroke::{Nib, StrokeStyle};
use chalkboard_shared::wire::{ClientMessage, Hello, Profile, ServerMessage};
use chalkboard_shared::{ActorId, BoardPoint, BoardRect, DisconnectReason, Op, OpId, StrokeId};
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};

use super::server_child::{DrillBoard, ServerChild};

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two messages.
const PAUSE: Duration = Duration::from_millis(4);
/// Ops in a message.
const OPS: u32 = 8;
/// Ops that wait for their answer at the most: well below what the room takes.
const IN_FLIGHT_MAX: u32 = 1024;
/// Of its own client; the room puts the real one in its place.
const SELF: ActorId = ActorId(0);

#[derive(Debug, thiserror::Error)]
pub(super) enum ScribeError {
    #[error("the drill's client lost the server where it should not: {0}")]
    Link(#[from] tungstenite::Error),
    #[error("the drill's client can't connect: {0}")]
    Io(#[from] io::Error),
    #[error("the drill's server does not answer")]
    Silent,
    #[error("the drill's server ended the session: {0}")]
    Ended(DisconnectReason),
    #[error("the drill's server closed the connection")]
    Closed,
}

type Link = WebSocketStream<TcpStream>;

#[derive(Debug)]
pub(super) struct Scribe {
    board: DrillBoard,
    key: [u8; 16],
    actor: Option<ActorId>,
    link: Option<Link>,
    /// Number of the next op.
    next: u32,
    /// The last op that was answered.
    answered: u32,
    /// Ops through this were answered when the log was at that position.
    acks: VecDeque<(u32, u64)>,
    told_saved: u32,
    refused: BTreeSet<u32>,
}

impl Scribe {
    pub(super) fn new(board: DrillBoard, number: u64) -> Self {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&number.to_le_bytes());
        Self {
            board,
            key,
            actor: None,
            link: None,
            next: 1,
            answered: 0,
            acks: VecDeque::new(),
            told_saved: 0,
            refused: BTreeSet::new(),
        }
    }

    /// Ops up to this number were sent.
    pub(super) const fn sent(&self) -> u32 {
        self.next - 1
    }

    /// Ops up to this number were told to be saved.
    pub(super) const fn told_saved(&self) -> u32 {
        self.told_saved
    }

    pub(super) const fn refused(&self) -> &BTreeSet<u32> {
        &self.refused
    }

    pub(super) const fn identity(&self) -> Option<ActorId> {
        self.actor
    }

    /// Comes in, and goes on from the last op that the room knows.
    pub(super) async fn enter(&mut self, server: &ServerChild) -> Result<(), ScribeError> {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).await?;
        stream.set_nodelay(true)?;
        let address = format!("ws://127.0.0.1:{}/api/v1/session", server.port);
        let connecting = tokio_tungstenite::client_async(address, stream);
        let (mut link, _) = timeout(PATIENCE, connecting)
            .await
            .map_err(|_| ScribeError::Silent)??;
        let hello = ClientMessage::Hello(Box::new(Hello {
            board: self.board.id,
            secret: self.board.secret,
            key: self.key,
            profile: Profile {
                name: "Drill".into(),
                color: 0x33_66_99,
            },
            view: BoardRect::from_corners(BoardPoint::new(0, 0), BoardPoint::new(16, 16)),
            resume: None,
        }));
        link.send(Message::Binary(hello.encode())).await?;
        self.link = Some(link);
        self.acks.clear();
        let welcomed = timeout(PATIENCE, async {
            loop {
                if self.hear().await? {
                    return Ok::<_, ScribeError>(());
                }
            }
        });
        welcomed.await.map_err(|_| ScribeError::Silent)?
    }

    /// The server is gone: whatever it has said before is still heard.
    pub(super) async fn forget_link(&mut self) {
        // It ends with an error, and is bounded by what the system has buffered.
        while self.link.is_some() && self.hear().await.is_ok() {}
        self.link = None;
    }

    /// Draws for so long.
    pub(super) async fn draw_for(&mut self, duration: Duration) -> Result<(), ScribeError> {
        let end = Instant::now() + duration;
        let mut pauses = interval(PAUSE);
        pauses.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = sleep_until(end) => return Ok(()),
                heard = self.hear() => drop(heard?),
                _ = pauses.tick() => {
                    if self.sent() - self.answered < IN_FLIGHT_MAX {
                        self.send().await?;
                    }
                }
            }
        }
    }

    async fn send(&mut self) -> Result<(), ScribeError> {
        let first = self.next;
        let ops = (first..first + OPS).map(op).collect();
        let message = ClientMessage::Ops {
            first,
            stamp: None,
            ops,
        };
        self.next += OPS;
        let link = self.link.as_mut().ok_or(ScribeError::Closed)?;
        Ok(link.send(Message::Binary(message.encode())).await?)
    }

    /// Takes one message; `true` if it is the welcome.
    async fn hear(&mut self) -> Result<bool, ScribeError> {
        let link = self.link.as_mut().ok_or(ScribeError::Closed)?;
        let frame: Bytes = match link.next().await {
            Some(Ok(Message::Binary(frame))) => frame,
            Some(Ok(Message::Close(_))) | None => return Err(ScribeError::Closed),
            Some(Ok(_)) => return Ok(false),
            Some(Err(error)) => return Err(error.into()),
        };
        match ServerMessage::decode(frame) {
            Ok(ServerMessage::Welcome(welcome)) => {
                self.actor = Some(welcome.actor);
                self.answered = welcome.answered;
                // What the room does not know is sent again, under its number.
                self.next = welcome.answered + 1;
                return Ok(true);
            }
            Ok(ServerMessage::Ack {
                through,
                position,
                rejected,
            }) => {
                self.answered = through;
                self.refused
                    .extend(rejected.iter().map(|(counter, _)| *counter));
                self.acks.push_back((through, position.0));
            }
            Ok(ServerMessage::Durable(durable)) => {
                while let Some(&(through, position)) = self.acks.front()
                    && position <= durable.0
                {
                    self.told_saved = self.told_saved.max(through);
                    self.acks.pop_front();
                }
            }
            Ok(ServerMessage::Bye(reason)) => return Err(ScribeError::Ended(reason)),
            // Of no account here.
            Ok(_) | Err(_) => {}
        }
        Ok(false)
    }
}

/// An op by its number: a stroke is begun by one, and finished by the next.
fn op(counter: u32) -> Op {
    if counter.is_multiple_of(2) {
        return Op::Finish {
            stroke: StrokeId(OpId {
                actor: SELF,
                counter: counter - 1,
            }),
        };
    }
    let place = |n: u32| (counter.wrapping_mul(n) % 20_000).cast_signed();
    let (x, y) = (place(7919), place(104_729));
    Op::Begin {
        style: StrokeStyle {
            nib: Nib::Pen,
            color: counter & 0xff_ffff,
            width: 48,
        },
        ink: InkRun::new(
            (0..10)
                .map(|n| InkPoint::new(x + 40 * n, y + n * n, 100))
                .collect(),
        ),
    }
}
