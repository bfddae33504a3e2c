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

/// Cursor positions are at least this far apart, however often a room ticks: as often as a screen shows them.
const CURSOR_INTERVAL_US_MIN: u32 = 16_000;

impl Pace {
    /// Ticks are so long that it matters when within one a message comes ([`super::Beat`]), and that nothing that is sent at
    /// each of them is sent too often.
    pub const fn has_beat(self) -> bool {
        self.tick_us >= CURSOR_INTERVAL_US_MIN
    }

    /// How far apart a sender's cursor positions are worth sending, in microseconds, at least 16,000: as far apart as
    /// others are told them, because of several only the newest is.
    pub const fn cursor_interval_us(self) -> u32 {
        match self.presence {
            PresenceStage::Full if self.tick_us > CURSOR_INTERVAL_US_MIN => self.tick_us,
            PresenceStage::Full => CURSOR_INTERVAL_US_MIN,
            PresenceStage::Slow => 250_000,
            PresenceStage::Sparse => 1_000_000,
            PresenceStage::Crowd => 500_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_sent_as_often_as_they_are_told() {
        let interval = |tick_us, presence| Pace { tick_us, presence }.cursor_interval_us();
        assert_eq!(interval(12_500, PresenceStage::Full), 16_000);
        assert_eq!(interval(66_667, PresenceStage::Full), 66_667);
        for tick_us in [12_500, 100_000] {
            assert_eq!(interval(tick_us, PresenceStage::Slow), 250_000);
            assert_eq!(interval(tick_us, PresenceStage::Sparse), 1_000_000);
            assert_eq!(interval(tick_us, PresenceStage::Crowd), 500_000);
        }
    }
}
