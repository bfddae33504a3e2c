//! What comes out of a tick.

use bevy_ecs::prelude::*;
use bytes::Bytes;
use chalkboard_shared::{DisconnectReason, Position, SessionId, Tick};

/// A frame for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// For whom.
    pub session: SessionId,
    /// On the stream, in order; otherwise a datagram, which may be lost.
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

/// What a tick asks its caller to do.
#[derive(Resource, Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// The tick.
    pub tick: Tick,
    /// Frames, in order for each session.
    pub sends: Vec<Send>,
    /// Accepted ops, if there are any.
    pub record: Option<Record>,
    /// Sessions that the room has already forgotten: tell them why, then close.
    pub closes: Vec<(SessionId, DisconnectReason)>,
}

impl Output {
    pub(crate) fn reliable(&mut self, session: SessionId, frame: Bytes) {
        self.sends.push(Send {
            session,
            reliable: true,
            frame,
        });
    }

    pub(crate) fn datagram(&mut self, session: SessionId, frame: Bytes) {
        self.sends.push(Send {
            session,
            reliable: false,
            frame,
        });
    }
}
