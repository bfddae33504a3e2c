//! What comes out of a tick.

use std::sync::Arc;

use bevy_ecs::prelude::*;
use bytes::Bytes;
use chalkboard_shared::wire::Profile;
use chalkboard_shared::{ActorId, DisconnectReason, Position, SessionId, Tick};

/// Whom a frame is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipients {
    /// A session.
    One(SessionId),
    /// Sessions that get the same, each once.
    Many(Arc<[SessionId]>),
}

impl Recipients {
    /// The sessions.
    pub fn as_slice(&self) -> &[SessionId] {
        match self {
            Self::One(session) => core::slice::from_ref(session),
            Self::Many(sessions) => sessions,
        }
    }
}

impl From<SessionId> for Recipients {
    fn from(session: SessionId) -> Self {
        Self::One(session)
    }
}

impl From<Arc<[SessionId]>> for Recipients {
    fn from(sessions: Arc<[SessionId]>) -> Self {
        Self::Many(sessions)
    }
}

/// A frame for sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// For whom.
    pub to: Recipients,
    /// On the stream, in order; otherwise in a datagram, which may be lost: at most
    /// [`chalkboard_shared::limits::DATAGRAM_FRAME_BYTES_MAX`] bytes, and several of a tick may share one.
    pub reliable: bool,
    /// The frame, shared by all who get the same.
    pub frame: Bytes,
}

/// Accepted ops of a tick, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Position of the first op.
    pub first: Position,
    /// Position of the last op.
    pub last: Position,
    /// See [`crate::LogRecord`].
    pub bytes: Bytes,
}

/// What a tick has left out of presence, because sessions had had as much of it as they get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deferred {
    /// Frames, each counted for each session that did not get it.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a tick asks its caller to do.
#[derive(Resource, Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// The tick.
    pub tick: Tick,
    /// Frames, in order for each session.
    pub sends: Vec<Send>,
    /// Accepted ops, if there are any.
    pub record: Option<Record>,
    /// Who has changed the board for the first time in this load, or has another name since.
    pub authors: Vec<(ActorId, Profile)>,
    /// Sessions that the room has already forgotten: tell them why, then close.
    pub closes: Vec<(SessionId, DisconnectReason)>,
    /// What was left out.
    pub deferred: Deferred,
}

impl Output {
    pub(crate) fn reliable(&mut self, to: impl Into<Recipients>, frame: Bytes) {
        self.sends.push(Send {
            to: to.into(),
            reliable: true,
            frame,
        });
    }

    pub(crate) fn datagram(&mut self, to: impl Into<Recipients>, frame: Bytes) {
        self.sends.push(Send {
            to: to.into(),
            reliable: false,
            frame,
        });
    }
}
