//! What a past needs from the server.

use chalkboard_shared::Tick;
use chalkboard_shared::limits::PAST_BUCKETS_MAX;

/// Something to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// When something changed, and by whom.
    Timeline,
    /// The ops of a segment, with its mark.
    Segment(u32, u32),
    /// The board at a segment's start, with the segment's mark.
    Board(u32, u32),
    /// What would bring a tick back.
    Difference(Tick),
}

impl Wanted {
    /// Its address below `/api/v1/boards/<board>/`.
    pub fn path(&self) -> String {
        let number = |n: u32| n.to_string();
        // Only what is complete has a mark by which it may be kept.
        let marked = |mark: u32| match mark {
            0 => String::new(),
            mark => ["?mark=", &number(mark)].concat(),
        };
        match *self {
            Self::Timeline => ["timeline?buckets=", &number(PAST_BUCKETS_MAX as u32 / 2)].concat(),
            Self::Segment(index, mark) => ["history/", &number(index), &marked(mark)].concat(),
            Self::Board(index, mark) => {
                ["history/", &number(index), "/board", &marked(mark)].concat()
            }
            Self::Difference(tick) => ["difference?tick=", &tick.0.to_string()].concat(),
        }
    }
}
