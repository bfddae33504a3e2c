//! Capabilities: who holds a secret may do what it stands for.

use core::fmt;
use core::str::FromStr;

use bitcode::{Decode, Encode};

use crate::id::{ParseIdError, format_16, parse_16};

/// What a session may do on its board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Rights {
    /// Sees everything, changes nothing.
    View,
    /// Sees and changes.
    Edit,
}

/// 128 random bits of a capability link. Lives in a URL's fragment, which browsers send to nobody; the server keeps
/// only its hash. Never logged: `Debug` hides it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Secret(pub [u8; 16]);

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_16(&self.0))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl FromStr for Secret {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_16(text).map(Self)
    }
}
