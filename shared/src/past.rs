//! The past of a board, as those are told it who look back: when something changed ([`Timeline`]), the ops of a part of
//! the log ([`Segment`]), the board at a segment's start ([`encode_board`]), and how a moment differs from now
//! ([`Difference`]).
//!
//! A board's log falls into segments of about [`SEGMENT_OPS`] ops, cut between ticks. What
//! lies in a segment that is complete never changes, so both halves of it can be kept. Any moment is the board at its
//! segment's start with the segment's ops up to it.
//!
//! Nothing here knows where logs come from or how moments are shown. Every form begins with a version; damage is an
//! error, never more.

mod board;
mod difference;
mod segment;
mod timeline;

pub use board::{decode_board, encode_board};
pub use difference::{Difference, Restyled};
pub use segment::{PastTick, Segment, SegmentWriter};
pub use timeline::{Author, Bucket, SegmentHead, Timeline};

use crate::codec::{DecodeError, Reader};
use crate::id::{Position, Tick};
use crate::limits::{PAST_PAUSE_MS_MAX, SEGMENT_OPS};

/// The version of all forms here.
const VERSION: u8 = 1;

/// A tick that changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// Its number.
    pub tick: Tick,
    /// The server's clock then, in milliseconds since 1970 UTC.
    pub unix_ms: u64,
    /// Its place on the time line, in milliseconds from the first one, pauses shortened.
    pub at_ms: u64,
}

impl Moment {
    /// The moment after this one, from what the log says of it. Ticks grow from moment to moment, whatever the log says:
    /// a number stands for one moment. Clocks may go back; a time line does not.
    pub fn then(self, tick: Tick, unix_ms: u64) -> Self {
        let pause = unix_ms.saturating_sub(self.unix_ms).min(PAST_PAUSE_MS_MAX);
        let is_first = self == Self::default();
        Self {
            tick: tick.max(Tick(self.tick.0 + 1)),
            unix_ms,
            at_ms: if is_first {
                0
            } else {
                self.at_ms + pause.max(1)
            },
        }
    }
}

/// The segment of a tick whose first op has this position, from 0.
pub const fn segment_of(first: Position) -> u32 {
    (first.0.saturating_sub(1) / SEGMENT_OPS) as u32
}

fn check_version(r: &mut Reader) -> Result<(), DecodeError> {
    match r.u8()? {
        VERSION => Ok(()),
        other => Err(DecodeError::UnknownKind(other)),
    }
}

#[cfg(test)]
mod tests;
