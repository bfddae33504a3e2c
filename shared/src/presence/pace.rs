//! How often things are told, and how much of presence is, which follows what the server has to do.

use bitcode::{Decode, Encode};

/// How much of presence is told. Board changes are told in every stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
pub enum PresenceStage {
    /// Every cursor in view in every tick in which it has moved, others with each keyframe.
    #[default]
    Full,
    /// All cursors with keyframes only, four times a second.
    Slow,
    /// All cursors with keyframes only, once a second.
    Sparse,
    /// No cursors but those of presenters; how many people are where, twice a second.
    Crowd,
}

impl PresenceStage {
    /// From the fullest to the sparsest.
    pub const ALL: [Self; 4] = [Self::Full, Self::Slow, Self::Sparse, Self::Crowd];

    /// The next sparser one; the sparsest stays.
    pub const fn sparser(self) -> Self {
        match self {
            Self::Full => Self::Slow,
            Self::Slow => Self::Sparse,
            Self::Sparse | Self::Crowd => Self::Crowd,
        }
    }

    /// The next fuller one; the fullest stays.
    pub const fn fuller(self) -> Self {
        match self {
            Self::Full | Self::Slow => Self::Full,
            Self::Sparse => Self::Slow,
            Self::Crowd => Self::Sparse,
        }
    }
}

/// The pace of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Pace {
    /// Length of a tick in microseconds.
    pub tick_us: u32,
    /// How much of presence is told.
    pub presence: PresenceStage,
}
