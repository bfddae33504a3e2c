//! How many people point where, when there are too many to tell each.

use crate::codec::bits::{Adaptive, BitReader, BitWriter, unzigzag, zigzag};
use crate::codec::{DecodeError, Reader, Writer};
use crate::limits::SESSIONS_PER_ROOM_MAX;
use crate::presence::PresenceCell;

/// Squares along a side of a cell's map.
pub const CROWD_SIDE: usize = 16;

/// Cursors in a square.
const COUNT_MAX: i32 = SESSIONS_PER_ROOM_MAX as i32;

/// By how much counts of neighbours differ, most often.
const COUNT_EXPECTED: u32 = 4;

/// Cursors in each square of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrowdMap {
    /// The cell.
    pub cell: PresenceCell,
    /// Cursors by square, row by row.
    pub counts: Box<[u16; CROWD_SIDE * CROWD_SIDE]>,
}

impl CrowdMap {
    /// A map with nobody in it.
    pub fn new(cell: PresenceCell) -> Self {
        Self {
            cell,
            counts: Box::new([0; CROWD_SIDE * CROWD_SIDE]),
        }
    }

    /// Counts a cursor by its steps of the cell's raster; those beyond the edge count at the edge.
    pub fn add(&mut self, (x, y): (i32, i32)) {
        let side = self.cell.raster_side() / CROWD_SIDE as i32;
        let square = |v: i32| (v / side).clamp(0, CROWD_SIDE as i32 - 1) as usize;
        let count = &mut self.counts[square(y) * CROWD_SIDE + square(x)];
        *count = count.saturating_add(1);
    }

    /// Cursors in the cell.
    pub fn total(&self) -> u32 {
        self.counts.iter().map(|&count| u32::from(count)).sum()
    }

    /// Writes cell and counts: a bit a row, which is not set if nobody is in it, and each count of the others as the
    /// difference to the middle of those before and above it, adaptive Rice. With as many people as a room may have,
    /// however they are spread, within a datagram's frame.
    pub fn encode(&self, w: &mut Writer) {
        w.u8(self.cell.level);
        w.zigzag(self.cell.column.into());
        w.zigzag(self.cell.row.into());
        let mut bits = BitWriter::new(w.as_mut_vec());
        let mut adaptive = Adaptive::starting_at(COUNT_EXPECTED);
        for (n, row) in self.counts.chunks_exact(CROWD_SIDE).enumerate() {
            let is_anybody = row.iter().any(|&count| count > 0);
            bits.bits(is_anybody.into(), 1);
            if is_anybody {
                for (column, &count) in row.iter().enumerate() {
                    let code = zigzag(i32::from(count) - self.expected(n * CROWD_SIDE + column));
                    bits.rice(code, adaptive.k());
                    adaptive.learn(code);
                }
            }
        }
        bits.finish();
    }

    /// Reads what [`CrowdMap::encode`] wrote, to the end.
    ///
    /// # Errors
    /// Anything else.
    pub fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        let cell = PresenceCell {
            level: r.u8()?,
            column: r.zigzag_i32()?,
            row: r.zigzag_i32()?,
        };
        if !cell.is_valid() {
            return Err(DecodeError::OutOfRange);
        }
        let mut map = Self::new(cell);
        let packed = r.rest();
        let mut bits = BitReader::new(&packed);
        let mut adaptive = Adaptive::starting_at(COUNT_EXPECTED);
        for row in 0..CROWD_SIDE {
            if bits.bits(1)? == 0 {
                continue;
            }
            let mut is_anybody = false;
            for square in row * CROWD_SIDE..(row + 1) * CROWD_SIDE {
                let code = bits.rice(adaptive.k())?;
                adaptive.learn(code);
                let count = map.expected(square).checked_add(unzigzag(code));
                let count = count.filter(|count| (0..=COUNT_MAX).contains(count));
                map.counts[square] = count.ok_or(DecodeError::OutOfRange)? as u16;
                is_anybody |= map.counts[square] > 0;
            }
            if !is_anybody {
                return Err(DecodeError::Malformed);
            }
        }
        bits.finish()?;
        Ok(map)
    }

    /// What a square's count should be by those before and above it.
    fn expected(&self, square: usize) -> i32 {
        let count = |square: usize| i32::from(self.counts[square]);
        match (square % CROWD_SIDE, square / CROWD_SIDE) {
            (0, 0) => 0,
            (0, _) => count(square - CROWD_SIDE),
            (_, 0) => count(square - 1),
            _ => (count(square - 1) + count(square - CROWD_SIDE)) / 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::DATAGRAM_FRAME_BYTES_MAX;

    const CELL: PresenceCell = PresenceCell {
        level: 3,
        column: 2,
        row: -4,
    };

    /// Written, within its bound, and read again.
    fn survived(map: &CrowdMap) -> Result<CrowdMap, DecodeError> {
        let mut w = Writer::new();
        map.encode(&mut w);
        assert!(w.len() < DATAGRAM_FRAME_BYTES_MAX, "{} bytes", w.len());
        CrowdMap::decode(&mut Reader::new(w.into_bytes()))
    }

    proptest! {
        #[test]
        fn a_map_survives_and_fits_a_datagram(places in proptest::collection::vec((-10i32..5000, -10i32..5000), 0..2000)) {
            let mut map = CrowdMap::new(CELL);
            for place in &places {
                map.add(*place);
            }
            prop_assert_eq!(map.total() as usize, places.len());
            prop_assert_eq!(survived(&map), Ok(map));
        }

        #[test]
        fn a_full_room_fits_a_datagram_wherever_it_gathers(heaps in proptest::collection::vec((0usize..256, 1u16..2000), 1..256)) {
            let mut map = CrowdMap::new(CELL);
            let mut left = SESSIONS_PER_ROOM_MAX as u16;
            for &(square, people) in &heaps {
                let people = people.min(left);
                left -= people;
                map.counts[square] += people;
            }
            prop_assert_eq!(survived(&map), Ok(map));
        }

        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>) {
            let _ = CrowdMap::decode(&mut Reader::new(bytes.into()));
        }
    }
    #[test]
    fn a_crowd_of_thousands_costs_five_bits_and_a_half_a_square_and_somebody_alone_some_bytes() {
        let mut map = CrowdMap::new(CELL);
        let side = CELL.raster_side();
        let mut place = 1u32;
        for _ in 0..10_000 {
            place = place.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (x, y) = ((place >> 20) as i32, (place >> 8 & 0xfff) as i32);
            map.add((x * side / 4096, y * side / 4096));
        }
        let bytes = |map: &CrowdMap| {
            let mut w = Writer::new();
            map.encode(&mut w);
            w.len()
        };
        assert!(bytes(&map) <= 176, "{} bytes", bytes(&map));
        let mut map = CrowdMap::new(CELL);
        map.add((700, 900));
        assert!(bytes(&map) <= 10, "{} bytes", bytes(&map));
    }
}
