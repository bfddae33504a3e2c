//! The hand that draws strokes as fast as a native program can.

use crate::board_point::BoardRect;
use crate::codec::DecodeError;
use crate::ink::{InkStep, point_of, whole};
use crate::stroke::InkHash;

/// The hand that draws a stroke: where it is, and what is to be known of where it has been.
pub(super) struct Hand {
    at: [i32; 3],
    low: [i32; 2],
    high: [i32; 2],
    /// All bits of all pressures.
    pressures: i32,
    shift: u32,
    pub(super) hash: InkHash,
}

impl Hand {
    pub(super) const fn new(shift: u32) -> Self {
        Self {
            at: [0; 3],
            low: [i32::MAX; 2],
            high: [i32::MIN; 2],
            pressures: 0,
            shift,
            hash: InkHash::new(),
        }
    }

    /// Goes to the next point.
    #[inline]
    pub(super) fn goes(&mut self, step: [i32; 3]) -> InkStep {
        for (at, step) in self.at.iter_mut().zip(step) {
            *at = at.wrapping_add(step);
        }
        for c in 0..2 {
            self.low[c] = self.low[c].min(self.at[c]);
            self.high[c] = self.high[c].max(self.at[c]);
        }
        self.pressures |= self.at[2];
        self.hash.add(whole(self.at, self.shift));
        let [x, y, pressure] = step;
        [x, y, pressure, 0]
    }

    /// The smallest rectangle around all points, if they are within the bounds of points: their pressures are where all
    /// of their bits are.
    pub(super) fn bounds(&self) -> Result<BoardRect, DecodeError> {
        let corner = |[x, y]: [i32; 2]| point_of([x, y, self.pressures], self.shift);
        Ok(BoardRect {
            min: corner(self.low)?.at,
            max: corner(self.high)?.at,
        })
    }
}
