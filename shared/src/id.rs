//! Identifiers: what each names, and its text form where people see it.

use core::fmt;
use core::str::FromStr;

use bitcode::{Decode, Encode};
use data_encoding::BASE64URL_NOPAD;

/// A board: the durable document. 128 random bits, so that an address can't be guessed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct BoardId(pub [u8; 16]);

/// Identity of whoever makes ops: derived by the server from a key that only that client has, so that nobody can
/// speak in another's name. One for each key, and at any time one running client for each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ActorId(pub u64);

/// Name of an op: its actor and that actor's running number, from 1, without gaps. Makes ops idempotent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct OpId {
    /// Who made it.
    pub actor: ActorId,
    /// Running number of the actor's ops, from 1.
    pub counter: u32,
}

/// Name of a stroke: the id of the op that began it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct StrokeId(pub OpId);

/// Place of an accepted op in its board's log, from 1; 0 is before the first. The room's order is the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Position(pub u64);

/// Step number of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Tick(pub u64);

/// One connection of an actor to a room; unique while the room lives, small, never reused within an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct SessionId(pub u32);

/// Where an epoch (one load of a board) began in its log: those who follow the board by epoch and position hold, for
/// each epoch, the same ops up to where the next one began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct EpochStart {
    /// Number of the load, from 1; grows with every load, not always by one.
    pub epoch: u64,
    /// The end of the log when it was opened.
    pub start: Position,
}

impl Position {
    /// The position after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl StrokeId {
    /// Who drew it.
    pub const fn actor(self) -> ActorId {
        self.0.actor
    }
}

/// A text is not the 22 characters of a board id or a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 22 characters of A-Z a-z 0-9 - _; copy the whole link and open it again")]
pub struct ParseIdError;

pub(crate) fn parse_16(text: &str) -> Result<[u8; 16], ParseIdError> {
    let bytes = BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| ParseIdError)?;
    bytes.try_into().map_err(|_| ParseIdError)
}

pub(crate) fn format_16(bytes: &[u8; 16]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

impl fmt::Display for BoardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_16(&self.0))
    }
}

impl fmt::Debug for BoardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BoardId({self})")
    }
}

impl fmt::Debug for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorId({:016x})", self.0)
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}/{}", self.actor.0, self.counter)
    }
}

impl FromStr for BoardId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_16(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_id_survives_its_text_form() {
        let id = BoardId([0, 1, 2, 3, 250, 251, 252, 253, 254, 255, 9, 8, 7, 6, 5, 4]);
        assert_eq!(id.to_string().len(), 22);
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "short",
            "!!!!!!!!!!!!!!!!!!!!!!",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAA=",
        ] {
            assert_eq!(text.parse::<BoardId>(), Err(ParseIdError), "{text}");
        }
    }
}
