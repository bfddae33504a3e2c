//! What comes into a tick.

use bevy_ecs::prelude::*;
use chalkboard_shared::cursor::CursorState;
use chalkboard_shared::presence::Pace;
use chalkboard_shared::wire::{ClientMessage, Hello, Profile, Resume};
use chalkboard_shared::{ActorId, BoardRect, Op, Position, Rights, Secret, SessionId};

/// The caller's clock at the time of a tick; kept in the log for people who look at history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds since 1970-01-01 UTC.
    pub unix_ms: u64,
    /// Milliseconds on a clock that only goes forward, from any beginning, wrapping.
    pub uptime_ms: u32,
}

/// A session that comes in. The caller has checked its secret and derived its actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Chosen by the caller, never used before in this room.
    pub session: SessionId,
    /// Who it is.
    pub actor: ActorId,
    /// What it may do.
    pub rights: Rights,
    /// How it looks to others.
    pub profile: Profile,
    /// What it sees.
    pub view: BoardRect,
    /// To be passed on to those who may edit.
    pub view_secret: Option<Secret>,
    /// What it holds from an earlier connection.
    pub resume: Option<Resume>,
}

/// Something for a room to take into account in its next tick. Inputs of sessions that are not in the room are
/// passed over: they crossed the session's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A session comes in.
    Join(Box<Join>),
    /// A session is gone.
    Leave(SessionId),
    /// Ops of a session, numbered on from `first`.
    Ops {
        /// Whose.
        session: SessionId,
        /// Counter of the first.
        first: u32,
        /// When they were made on the sender's clock, in units of 10 us, for others to know.
        stamp: Option<u32>,
        /// In order.
        ops: Vec<Op>,
    },
    /// A session looks elsewhere.
    View {
        /// Whose.
        session: SessionId,
        /// What it sees now.
        view: BoardRect,
    },
    /// A session has a new name or colour.
    Profile {
        /// Whose.
        session: SessionId,
        /// How it looks now.
        profile: Profile,
    },
    /// A session points somewhere.
    Cursor {
        /// Whose.
        session: SessionId,
        /// An older one is out of date.
        sequence: u32,
        /// When it was there on the sender's clock, in units of 10 us, for others to know.
        stamp: Option<u32>,
        /// Where and with what.
        cursor: CursorState,
    },
    /// A session has missed a keyframe of a group of cursors.
    CursorsWanted {
        /// Whose.
        session: SessionId,
        /// The group's number.
        group: u16,
    },
    /// A session wants to see what another one sees, or nobody's view any more.
    Follow {
        /// Whose wish.
        session: SessionId,
        /// Whom.
        followed: Option<SessionId>,
    },
    /// A session begins to present, or ends it.
    Present {
        /// Whose wish.
        session: SessionId,
        /// It presents.
        is_presenting: bool,
    },
    /// A session asks who others are.
    NamesWanted {
        /// Whose question.
        session: SessionId,
        /// Of whom.
        of: Vec<SessionId>,
    },
    /// From now on the caller ticks like this, and so much of presence is to be told.
    Pace(Pace),
    /// The transport has taken this many more bytes of a session's reliable frames off its queue. Reported in steps
    /// of its own choice (tens of KB); paces the chunks of a joining session to what its connection carries.
    Written {
        /// Whose.
        session: SessionId,
        /// Bytes since the last report.
        bytes: u32,
    },
    /// A session's way loses packets, or does so no longer: while it does, the session is told live ink twice over.
    Lossy {
        /// Whose.
        session: SessionId,
        /// It does.
        is_lossy: bool,
    },
    /// The log is synced up to here.
    Durable(Position),
}

impl Join {
    /// What a hello asks for, of a session that was given these rights.
    pub fn of(hello: Hello, session: SessionId, actor: ActorId, rights: Rights) -> Self {
        let Hello {
            board: _,
            secret: _,
            key: _,
            profile,
            view,
            resume,
        } = hello;
        Self {
            session,
            actor,
            rights,
            profile,
            view,
            view_secret: None,
            resume,
        }
    }
}

impl Input {
    /// What a message of a session is to its room, if it is anything: a hello is answered by a [`Join`], a ping by the
    /// session itself.
    pub fn of(message: ClientMessage, session: SessionId, actor: ActorId) -> Option<Self> {
        Some(match message {
            ClientMessage::Hello(_) | ClientMessage::Ping(_) => return None,
            ClientMessage::Ops { first, stamp, ops } => Self::Ops {
                session,
                first,
                stamp,
                ops: ops.into_iter().map(|op| op.signed_by(actor)).collect(),
            },
            ClientMessage::View(view) => Self::View { session, view },
            ClientMessage::Profile(profile) => Self::Profile { session, profile },
            ClientMessage::Cursor {
                sequence,
                stamp,
                cursor,
            } => Self::Cursor {
                session,
                sequence,
                stamp,
                cursor,
            },
            ClientMessage::CursorsWanted(group) => Self::CursorsWanted { session, group },
            ClientMessage::NamesWanted(of) => Self::NamesWanted { session, of },
            ClientMessage::Follow(followed) => Self::Follow { session, followed },
            ClientMessage::Present(is_presenting) => Self::Present {
                session,
                is_presenting,
            },
        })
    }
}

/// Inputs of the coming tick.
#[derive(Resource, Debug, Default)]
pub(crate) struct Inbox(pub(crate) Vec<Input>);
