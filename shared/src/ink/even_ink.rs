//! Finished ink as a chunk brings it: every step takes as many bits as the largest.
//!
//! It is made with a quarter of the instructions that packing takes, and is larger: a stroke of the load has 86 bytes in
//! place of 54. It is never sent or stored: whoever does that packs it. The page has none of it, because there only size
//! counts.

use std::sync::Arc;

use super::{InkPoint, InkStep, channels, whole};
use crate::board_point::BoardPoint;
use crate::codec::bits::{BitReader, BitWriter};

/// What comes before the bits: how many steps there are (2 bytes), by how many bits coordinates are shifted, how many
/// bits each channel of a step takes, and the first point (9 bytes).
const HEAD_BYTES: usize = 15;

/// A non-empty list of points in memory.
#[derive(Clone)]
pub struct EvenInk {
    bytes: Arc<[u8]>,
}

impl EvenInk {
    /// Ink that begins at `first` and goes on in steps, 65,535 at the most, whose coordinates are divided by `2^shift`, and
    /// which lead to no point out of bounds. Goes by way of a buffer that is used again and again.
    pub(crate) fn new(
        first: InkPoint,
        shift: u32,
        steps: &[InkStep],
        buffer: &mut Vec<u8>,
    ) -> Self {
        let mut used = [0; 4];
        for step in steps {
            for c in 0..4 {
                // Negative numbers are as long as those that they are the complements of.
                used[c] |= step[c] ^ (step[c] >> 31);
            }
        }
        // One bit more is the sign.
        let widths = used.map(|used| 33 - used.leading_zeros());
        let masks = widths.map(|width| u32::MAX >> (32 - width));
        let [x, y, pressure, _] = widths;
        buffer.clear();
        buffer.extend_from_slice(&(steps.len() as u16).to_le_bytes());
        buffer.extend([shift, x, y, pressure].map(|v| v as u8));
        buffer.extend_from_slice(&first.at.x.to_le_bytes());
        buffer.extend_from_slice(&first.at.y.to_le_bytes());
        buffer.push(first.pressure);
        let mut bits = BitWriter::new(buffer);
        for step in steps {
            let mut parts = [0; 4];
            for c in 0..4 {
                parts[c] = step[c] as u32 & masks[c];
            }
            if x + y + pressure <= 32 {
                let word = parts[0] | parts[1] << x | parts[2] << (x + y);
                bits.bits(word, x + y + pressure);
            } else {
                bits.bits(parts[0], x);
                bits.bits(parts[1], y);
                bits.bits(parts[2], pressure);
            }
        }
        bits.finish();
        Self {
            bytes: Arc::from(&buffer[..]),
        }
    }

    /// The points.
    pub(crate) fn unpack(&self) -> Vec<InkPoint> {
        let mut points = Vec::new();
        self.unpack_into(&mut points);
        points
    }

    /// Appends the points.
    pub(crate) fn unpack_into(&self, points: &mut Vec<InkPoint>) {
        let count = usize::from(u16::from_le_bytes([self.bytes[0], self.bytes[1]]));
        let shift = u32::from(self.bytes[2]);
        let widths = [self.bytes[3], self.bytes[4], self.bytes[5]].map(u32::from);
        let first = self.first();
        let mut at = channels(&first, shift);
        points.reserve(1 + count);
        points.push(first);
        let mut bits = BitReader::new(&self.bytes[HEAD_BYTES..]);
        for _ in 0..count {
            for (c, width) in widths.into_iter().enumerate() {
                let part = bits.bits(width).expect("all bits were written");
                let unused = 32 - width;
                at[c] = at[c].wrapping_add((part << unused) as i32 >> unused);
            }
            points.push(whole(at, shift));
        }
    }

    fn first(&self) -> InkPoint {
        let number = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&self.bytes[at..at + 4]);
            i32::from_le_bytes(bytes)
        };
        InkPoint::new(number(6), number(10), self.bytes[HEAD_BYTES - 1])
    }

    /// Where it begins.
    pub(crate) fn first_point(&self) -> BoardPoint {
        self.first().at
    }
}

impl core::fmt::Debug for EvenInk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "EvenInk({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::shift_of;
    use super::super::tests::any_points;
    use super::*;

    proptest! {
        #[test]
        fn points_survive(points in any_points(), coarser in 0u32..8) {
            // Any shift by which the coordinates can be divided will do.
            let shift = shift_of(&points).min(coarser);
            let divided: Vec<_> = points.iter().map(|point| channels(point, shift)).collect();
            let steps: Vec<_> = divided
                .windows(2)
                .map(|pair| [0, 1, 2].map(|c| pair[1][c].wrapping_sub(pair[0][c])))
                .map(|[x, y, pressure]| [x, y, pressure, 0])
                .collect();
            let ink = EvenInk::new(points[0], shift, &steps, &mut vec![7; 5]);
            prop_assert_eq!(ink.first_point(), points[0].at);
            let mut unpacked = vec![InkPoint::default()];
            ink.unpack_into(&mut unpacked);
            prop_assert_eq!(&unpacked[1..], &points[..]);
        }
    }
}
