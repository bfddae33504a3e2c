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

/// How many bits the parts of steps take.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Widths {
    /// Bits that are used in any of them, of negative numbers those of their complements, which are as long.
    used: InkStep,
}

impl Widths {
    /// Makes place for a step.
    #[inline]
    pub(crate) fn hold(&mut self, step: InkStep) {
        for (used, part) in self.used.iter_mut().zip(step) {
            *used |= part ^ (part >> 31);
        }
    }

    /// Bits of the longest of the first `parts` parts, without the sign.
    pub(crate) fn longest(&self, parts: usize) -> u32 {
        let used = self.used[..parts].iter().fold(0, |all, used| all | used);
        32 - used.leading_zeros()
    }

    /// Bits of each part, with its sign.
    fn bits(&self) -> [u32; 3] {
        self.used.map(|used| 33 - used.leading_zeros())
    }
}

impl EvenInk {
    /// Ink that begins at `first` and goes on in steps, 65,535 at the most and none wider than `widths`, whose coordinates
    /// are divided by `2^shift`, and which lead to no point out of bounds. Goes by way of a buffer that is used again and
    /// again.
    #[inline]
    pub(crate) fn new(
        first: InkPoint,
        shift: u32,
        widths: Widths,
        steps: impl ExactSizeIterator<Item = InkStep>,
        buffer: &mut Vec<u8>,
    ) -> Self {
        let [x, y, pressure] = widths.bits();
        let mut head = [0; HEAD_BYTES];
        head[..2].copy_from_slice(&(steps.len() as u16).to_le_bytes());
        head[2..6].copy_from_slice(&[shift, x, y, pressure].map(|v| v as u8));
        head[6..10].copy_from_slice(&first.at.x.to_le_bytes());
        head[10..14].copy_from_slice(&first.at.y.to_le_bytes());
        head[14] = first.pressure;
        let masks = [x, y, pressure].map(|width| u64::from(u32::MAX >> (32 - width)));
        let parts = |step: InkStep| {
            let mut parts = [0; 3];
            for c in 0..3 {
                parts[c] = step[c] as u64 & masks[c];
            }
            parts
        };
        let width = x + y + pressure;
        let size = if width <= 32 {
            let size = HEAD_BYTES + (steps.len() * width as usize).div_ceil(8);
            // Whole words are written, the last one across the end. What a former stroke has left there is written over.
            if buffer.len() < size + 3 {
                buffer.resize(size + 3, 0);
            }
            buffer[..HEAD_BYTES].copy_from_slice(&head);
            let mut rest = &mut buffer[HEAD_BYTES..];
            let (mut pending, mut count) = (0, 0);
            for step in steps {
                let [along, across, pressing] = parts(step);
                let word = along | across << x | pressing << (x + y);
                pending |= word << count;
                count += width;
                if count >= 32 {
                    let left = core::mem::take(&mut rest);
                    let Some((place, behind)) = left.split_first_chunk_mut() else {
                        break;
                    };
                    *place = (pending as u32).to_le_bytes();
                    rest = behind;
                    pending >>= 32;
                    count -= 32;
                }
            }
            if let Some(place) = rest.first_chunk_mut()
                && count > 0
            {
                *place = (pending as u32).to_le_bytes();
            }
            size
        } else {
            buffer.clear();
            buffer.extend_from_slice(&head);
            let mut bits = BitWriter::new(buffer);
            for step in steps {
                for (part, width) in parts(step).into_iter().zip([x, y, pressure]) {
                    bits.bits(part as u32, width);
                }
            }
            bits.finish();
            buffer.len()
        };
        Self {
            bytes: Arc::from(&buffer[..size]),
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
                .collect();
            let mut widths = Widths::default();
            steps.iter().for_each(|step| widths.hold(*step));
            let ink = EvenInk::new(points[0], shift, widths, steps.into_iter(), &mut vec![7; 5]);
            prop_assert_eq!(ink.first_point(), points[0].at);
            let mut unpacked = vec![InkPoint::default()];
            ink.unpack_into(&mut unpacked);
            prop_assert_eq!(&unpacked[1..], &points[..]);
        }
    }
}
