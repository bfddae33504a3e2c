//! Why an op was refused and why a session ended: codes for programs, sentences for people.

use bitcode::{Decode, Encode};

/// Why the room did not accept an op, or a wish. The session goes on; the op counts as answered and is never retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, thiserror::Error)]
pub enum RejectReason {
    /// The session holds a view link.
    #[error("this link may only view; ask for an edit link to draw here")]
    ReadOnly,
    /// The op extends or finishes somebody else's stroke.
    #[error("that stroke belongs to somebody else; only its author can extend it")]
    NotYours,
    /// The op names a stroke that the board does not hold.
    #[error("the stroke is not on this board; reload to see what is")]
    UnknownStroke,
    /// The stroke was finished before.
    #[error("the stroke is finished; begin a new one")]
    StrokeFinished,
    /// The stroke holds as many points as it may.
    #[error("the stroke has reached its length limit; lift the pen and go on")]
    StrokeFull,
    /// A coordinate, count, width or point list is out of range.
    #[error("a value is out of range; update the client")]
    OutOfRange,
    /// The board holds as many strokes or actors as it may.
    #[error("this board is full; begin a new one")]
    BoardFull,
    /// As many people present as can.
    #[error("eight people present already; ask one of them to stop first")]
    StageFull,
    /// Whoever is to be followed follows oneself, be it by others.
    #[error("they follow you; ask them to stop first")]
    FollowsYou,
}

impl RejectReason {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 9] = [
        Self::ReadOnly,
        Self::NotYours,
        Self::UnknownStroke,
        Self::StrokeFinished,
        Self::StrokeFull,
        Self::OutOfRange,
        Self::BoardFull,
        Self::StageFull,
        Self::FollowsYou,
    ];

    /// The code on the wire and in metrics.
    pub const fn code(self) -> u8 {
        match self {
            Self::ReadOnly => 1,
            Self::NotYours => 2,
            Self::UnknownStroke => 3,
            Self::StrokeFinished => 4,
            Self::StrokeFull => 5,
            Self::OutOfRange => 6,
            Self::BoardFull => 7,
            Self::StageFull => 8,
            Self::FollowsYou => 9,
        }
    }

    /// The reason for a code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

/// Why the server ended a session. Its code is the WebTransport close code and, plus 4000, the WebSocket close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, thiserror::Error)]
pub enum DisconnectReason {
    /// The server is stopping; everything is saved.
    #[error("the server is restarting; the board comes back by itself")]
    Stopping,
    /// The client speaks another version.
    #[error("this page is older or newer than the server; reload it")]
    VersionMismatch,
    /// Bytes that are no message.
    #[error("the server could not read a message; reload the page")]
    Malformed,
    /// A frame above its size limit.
    #[error("a message was larger than the server takes; reload the page")]
    TooLarge,
    /// There is no such board, or the secret is not one of its secrets.
    #[error("this link does not open a board; check that it was copied whole")]
    NoAccess,
    /// More ops in flight than the protocol allows.
    #[error("too many changes at once; wait a moment and reload")]
    Flood,
    /// The client reads more slowly than the board changes.
    #[error("the connection is too slow for what happens on this board; it is tried again")]
    TooSlow,
    /// The room is full.
    #[error("this board has as many visitors as it can hold; try again later")]
    RoomFull,
    /// The first message did not come in time, or the peer went silent.
    #[error("the connection went silent; it is tried again")]
    Timeout,
    /// The board could not be loaded or saved.
    #[error("the server has trouble with its storage; your changes are kept here and tried again")]
    Storage,
    /// The page's origin is not allowed.
    #[error(
        "this page may not connect to this server; its operator can allow it with --allow-origin"
    )]
    Origin,
    /// The same client connected again; this is the older connection.
    #[error("this client has connected again elsewhere")]
    Replaced,
    /// What is stored of the board is damaged. Trying again does not help until that is repaired.
    #[error(
        "this board is damaged on the server, which keeps it as it is; ask its operator to run `chalkboard doctor`, \
         then reload"
    )]
    Damaged,
}

impl DisconnectReason {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 13] = [
        Self::Stopping,
        Self::VersionMismatch,
        Self::Malformed,
        Self::TooLarge,
        Self::NoAccess,
        Self::Flood,
        Self::TooSlow,
        Self::RoomFull,
        Self::Timeout,
        Self::Storage,
        Self::Origin,
        Self::Replaced,
        Self::Damaged,
    ];

    /// The code: WebTransport's close code; WebSocket's is 4000 more.
    pub const fn code(self) -> u32 {
        match self {
            Self::Stopping => 1,
            Self::VersionMismatch => 2,
            Self::Malformed => 3,
            Self::TooLarge => 4,
            Self::NoAccess => 5,
            Self::Flood => 6,
            Self::TooSlow => 7,
            Self::RoomFull => 8,
            Self::Timeout => 9,
            Self::Storage => 10,
            Self::Origin => 11,
            Self::Replaced => 12,
            Self::Damaged => 13,
        }
    }

    /// The reason for a code.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// The client should connect again by itself.
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Stopping | Self::TooSlow | Self::RoomFull | Self::Timeout | Self::Storage
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_fixed() {
        let reject: Vec<u8> = RejectReason::ALL
            .into_iter()
            .map(RejectReason::code)
            .collect();
        assert_eq!(reject, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let close: Vec<u32> = DisconnectReason::ALL
            .into_iter()
            .map(DisconnectReason::code)
            .collect();
        assert_eq!(close, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        assert_eq!(
            DisconnectReason::from_code(7),
            Some(DisconnectReason::TooSlow)
        );
        assert_eq!(DisconnectReason::from_code(0), None);
        assert_eq!(RejectReason::from_code(2), Some(RejectReason::NotYours));
        assert_eq!(RejectReason::from_code(200), None);
    }
}
