//! How many people point where, when there are too many to tell each.

use crate::codec::{DecodeError, Reader, Writer};
use crate::limits::SESSIONS_PER_ROOM_MAX;
use crate::presence::PresenceCell;

/// Squares along a side of a cell's map.
pub const CROWD_SIDE: usize = 16;

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

    /// Writes cell and counts. At most 3 bytes a square, runs of empty squares 2: within a datagram's frame.
    pub fn encode(&self, w: &mut Writer) {
        w.u8(self.cell.level);
        w.zigzag(self.cell.column.into());
        w.zigzag(self.cell.row.into());
        let mut empty = 0u64;
        for &count in self.counts.iter() {
            if count == 0 {
                empty += 1;
                continue;
            }
            if empty > 0 {
                w.varint(0);
                w.varint(empty);
                empty = 0;
            }
            w.varint(count.into());
        }
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
        let mut at = 0;
        while r.remaining() > 0 {
            let count = r.varint_at_most(SESSIONS_PER_ROOM_MAX as u64)? as u16;
            if count == 0 {
                at += r.varint_at_most(map.counts.len() as u64)? as usize;
            } else {
                *map.counts.get_mut(at).ok_or(DecodeError::OutOfRange)? = count;
                at += 1;
            }
        }
        Ok(map)
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

    proptest! {
        #[test]
        fn a_map_survives_and_fits_a_datagram(places in proptest::collection::vec((-10i32..5000, -10i32..5000), 0..2000)) {
            let mut map = CrowdMap::new(CELL);
            for place in &places {
                map.add(*place);
            }
            prop_assert_eq!(map.total() as usize, places.len());
            let mut w = Writer::new();
            map.encode(&mut w);
            prop_assert!(w.len() < DATAGRAM_FRAME_BYTES_MAX);
            prop_assert_eq!(CrowdMap::decode(&mut Reader::new(w.into_bytes())), Ok(map));
        }

        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>) {
            let _ = CrowdMap::decode(&mut Reader::new(bytes.into()));
        }
    }
}
