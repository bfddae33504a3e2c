//! Where strokes lie: a loose grid over the plane, for "what is in this rectangle".
//!
//! Every rectangle is kept in exactly one cell: that of its smallest corner, at the finest level whose cells are at
//! least as large as the rectangle. A search looks at one cell more to the left and above at each level in use, so a
//! stroke of any length costs one entry and moves only when its corner leaves the cell. It knows nothing of strokes
//! but their ids and extents.

use std::collections::HashMap;

use chalkboard_shared::{BoardPoint, BoardRect, StrokeId};

use crate::mirror::StrokeMap;

/// log2 of the finest cell's edge in 1/16 px: 256 px, the size of a word of handwriting.
const EDGE_LOG2_MIN: u32 = 12;

/// Levels: the coarsest has an edge of 2^31 units, as large as the plane.
const LEVELS: usize = 20;

type Cell = (i32, i32);

/// Extents of strokes by place.
#[derive(Debug)]
pub(crate) struct Grid {
    extents: StrokeMap<BoardRect>,
    levels: [HashMap<Cell, Vec<StrokeId>, foldhash::fast::RandomState>; LEVELS],
}

impl Grid {
    pub(crate) fn new() -> Self {
        Self {
            extents: StrokeMap::default(),
            levels: std::array::from_fn(|_| HashMap::default()),
        }
    }

    /// How many rectangles it holds.
    pub(crate) fn len(&self) -> usize {
        self.extents.len()
    }

    /// The smallest rectangle around everything.
    pub(crate) fn bounds(&self) -> BoardRect {
        self.extents
            .values()
            .fold(BoardRect::EMPTY, |all, extent| all.union(*extent))
    }

    /// Puts a stroke where it now lies; an empty extent takes it out.
    pub(crate) fn place(&mut self, id: StrokeId, extent: BoardRect) {
        let slot = slot_of(extent);
        let old = if extent.is_empty() {
            self.extents.remove(&id)
        } else {
            self.extents.insert(id, extent)
        };
        let old_slot = old.and_then(slot_of);
        if old_slot == slot {
            return;
        }
        if let Some((level, cell)) = old_slot {
            self.take_out(level, cell, id);
        }
        if let Some((level, cell)) = slot {
            self.levels[level].entry(cell).or_default().push(id);
        }
    }

    fn take_out(&mut self, level: usize, cell: Cell, id: StrokeId) {
        let Some(ids) = self.levels[level].get_mut(&cell) else {
            return;
        };
        if let Some(at) = ids.iter().position(|other| *other == id) {
            ids.swap_remove(at);
        }
        if ids.is_empty() {
            self.levels[level].remove(&cell);
        }
    }

    /// Calls `visit` with every stroke whose extent has a point in common with `rect`, in no order.
    pub(crate) fn search(&self, rect: BoardRect, mut visit: impl FnMut(StrokeId)) {
        if rect.is_empty() {
            return;
        }
        let mut check = |ids: &[StrokeId]| {
            for id in ids {
                if self.extents.get(id).is_some_and(|e| e.intersects(rect)) {
                    visit(*id);
                }
            }
        };
        for (level, cells) in self.levels.iter().enumerate() {
            if cells.is_empty() {
                continue;
            }
            let (min, max) = (cell_of(rect.min, level), cell_of(rect.max, level));
            // A rectangle may begin up to one cell before the one that it reaches into.
            let (columns, rows) = ((min.0 - 1)..=max.0, (min.1 - 1)..=max.1);
            let side = |from: i32, to: i32| (i64::from(to) - i64::from(from) + 2) as u64;
            let wanted = side(min.0, max.0).saturating_mul(side(min.1, max.1));
            if wanted > cells.len() as u64 {
                for (cell, ids) in cells {
                    if columns.contains(&cell.0) && rows.contains(&cell.1) {
                        check(ids);
                    }
                }
            } else {
                for column in columns {
                    for row in rows.clone() {
                        if let Some(ids) = cells.get(&(column, row)) {
                            check(ids);
                        }
                    }
                }
            }
        }
    }
}

fn cell_of(p: BoardPoint, level: usize) -> Cell {
    let shift = EDGE_LOG2_MIN + level as u32;
    // In 64 bits, because the last level's shift is 31.
    let cell = |v: i32| (i64::from(v) >> shift) as i32;
    (cell(p.x), cell(p.y))
}

fn slot_of(extent: BoardRect) -> Option<(usize, Cell)> {
    if extent.is_empty() {
        return None;
    }
    let length = |min: i32, max: i32| (i64::from(max) - i64::from(min)) as u64;
    let size = length(extent.min.x, extent.max.x).max(length(extent.min.y, extent.max.y));
    let bits = u64::BITS - size.leading_zeros();
    let level = (bits.saturating_sub(EDGE_LOG2_MIN) as usize).min(LEVELS - 1);
    Some((level, cell_of(extent.min, level)))
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::limits::COORDINATE_MAX;
    use chalkboard_shared::{ActorId, OpId};
    use proptest::prelude::*;

    use super::*;

    fn id(counter: u32) -> StrokeId {
        StrokeId(OpId {
            actor: ActorId(1),
            counter,
        })
    }

    fn any_rect() -> impl Strategy<Value = BoardRect> {
        let far = -COORDINATE_MAX..=COORDINATE_MAX;
        let any_place = prop_oneof![(far.clone(), far.clone()), (-9000i32..9000, -9000i32..9000)];
        let any_size = prop_oneof![
            (0i32..300, 0i32..300),
            (0i32..200_000, 0i32..10),
            (0..=COORDINATE_MAX, 0..=COORDINATE_MAX)
        ];
        (any_place, any_size).prop_map(|((x, y), (w, h))| {
            let end = |v: i32, d: i32| v.saturating_add(d).min(COORDINATE_MAX + 5000);
            BoardRect::from_corners(BoardPoint::new(x, y), BoardPoint::new(end(x, w), end(y, h)))
        })
    }

    proptest! {
        #[test]
        fn a_search_finds_what_looking_at_each_finds(
            moves in proptest::collection::vec((0u32..40, any_rect(), any::<bool>()), 1..120),
            windows in proptest::collection::vec(any_rect(), 1..8),
        ) {
            let mut grid = Grid::new();
            let mut plain = std::collections::BTreeMap::new();
            for (n, rect, gone) in moves {
                let rect = if gone { BoardRect::EMPTY } else { rect };
                grid.place(id(n), rect);
                if gone { plain.remove(&id(n)); } else { plain.insert(id(n), rect); }
            }
            prop_assert_eq!(grid.len(), plain.len());
            prop_assert_eq!(grid.bounds(), plain.values().fold(BoardRect::EMPTY, |a, b| a.union(*b)));
            for window in windows.into_iter().chain([BoardRect::EVERYTHING.inflate(5000)]) {
                let mut found = Vec::new();
                grid.search(window, |id| found.push(id));
                found.sort_unstable();
                let expect: Vec<_> = plain.iter().filter(|(_, r)| r.intersects(window)).map(|(id, _)| *id).collect();
                prop_assert_eq!(found, expect);
            }
        }
    }
}
