//! The wire: messages, and how they are framed.
//!
//! A message is one frame: a kind byte and a body. On a WebTransport stream a frame follows its length
//! ([`frame`]), a datagram of the server holds several; a WebSocket message and a client's datagram are one each. Hot messages are written by hand, the others
//! with bitcode. The first message of a client is [`Hello`]; the first of the server is [`Welcome`] or a close.
//!
//! | kind | from | message | may be a datagram |
//! |---|---|---|---|
//! | 1 | client | Hello | |
//! | 2 | client | Ops | |
//! | 3 | client | View | |
//! | 4 | client | Profile | |
//! | 5 | both | Ping, Pong | |
//! | 6 | client | Cursor | yes |
//! | 7 | client | CursorsWanted | |
//! | 8 | client | NamesWanted | |
//! | 16 | server | Welcome | |
//! | 17 | server | Coverage | |
//! | 18 | server | Chunk | |
//! | 19 | server | Covered | |
//! | 20 | server | Updates | |
//! | 21 | server | Ack | |
//! | 22 | server | Durable | |
//! | 23 | server | People | |
//! | 24 | server | CursorGroup | |
//! | 25 | server | CursorDelta | yes |
//! | 26 | server | Bye | |
//! | 27 | server | CursorKeyframe | yes |
//! | 28 | server | Crowd | yes |
//! | 29 | server | Pace | |
//! | 30 | server | Shown | |
//! | 31 | server | Resumed | |
//! | 42 | server | LiveInk | yes |
//! | 43 | client | Follow | |
//! | 44 | client | Present | |
//! | 45 | server | Presenters | |
//! | 46 | server | Followed | yes |
//! | 47 | server | Beat | |

mod begin;
mod client_message;
pub mod frame;
mod live_ink;
mod server_message;
mod updates;

pub use client_message::{ClientMessage, Hello, Resume};
pub use live_ink::InkTail;
pub use server_message::{FollowNews, ServerMessage, Welcome, is_cursor_delta};
pub use updates::{Update, UpdatesWriter};

use bitcode::{Decode, DecodeOwned, Encode};

use crate::codec::DecodeError;
use crate::id::{ActorId, SessionId};
use crate::rights::Rights;

/// Somebody came, changed their profile, or left.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum PersonChange {
    /// Is here now, with this profile.
    Here(Participant),
    /// Left.
    Left(SessionId),
}

/// Somebody who is here.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Participant {
    /// Their connection.
    pub session: SessionId,
    /// Their identity.
    pub actor: ActorId,
    /// What they may do.
    pub rights: Rights,
    /// How they look to others.
    pub profile: Profile,
}

/// How somebody looks to others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Profile {
    /// Display name; see [`Profile::tidied`].
    pub name: String,
    /// 0xRRGGBB.
    pub color: u32,
}

impl Profile {
    /// Control characters become spaces, ends are trimmed, the length is cut to the limit at a character's boundary.
    pub fn tidied(&self) -> Self {
        let clean: String = self
            .name
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let mut name = clean.trim().to_owned();
        while name.len() > crate::limits::NAME_BYTES_MAX {
            name.pop();
        }
        Self {
            name,
            color: self.color & 0xff_ffff,
        }
    }
}

fn from_bitcode<T: DecodeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    bitcode::decode(bytes).map_err(|_| DecodeError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tidied() {
        let profile = |name: &str| {
            Profile {
                name: name.into(),
                color: 0xff12_3456,
            }
            .tidied()
        };
        assert_eq!(profile("  Ada\n\u{7}L ").name, "Ada  L");
        assert_eq!(profile(&"ä".repeat(100)).name.len(), 128);
        assert_eq!(profile("x").color, 0x12_3456);
    }
}
