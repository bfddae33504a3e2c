//! The digest of a board: one number that is equal exactly where two boards look the same.
//!
//! A wrapping sum over the strokes, so that it does not depend on the order in which they are visited and can be
//! kept up to date by subtracting a stroke's old share and adding its new one. It finds divergence, not forgery.

use core::fmt;

use bitcode::{Decode, Encode};

/// Digest of a board.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Encode, Decode)]
pub struct Digest(pub u64);

impl Digest {
    /// Replaces one share by another.
    pub const fn replace(&mut self, old: u64, new: u64) {
        self.0 = self.0.wrapping_sub(old).wrapping_add(new);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Folds a word into a running hash: both halves of a 128-bit product with the golden ratio's bits.
pub(crate) const fn mix(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word ^ 0x9e37_79b9_7f4a_7c15) as u128 * 0xd1b5_4a32_d192_ed03_u128;
    (product as u64) ^ (product >> 64) as u64
}
