//! Where strokes lie: a loose grid over the plane, for "what is in this rectangle".
//!
//! Every rectangle is kept in exactly one cell: that of its smallest corner, at the finest level whose cells are at
//! least as large as the rectangle. A search looks at one cell more to the left and above at each level in use, so a
//! stroke of any length costs one entry and moves only when its corner leaves the cell. It knows nothing of strokes
//! but their ids and extents.

use std::collections::HashMap;

use chalkboard_shared::{BoardPoint, BoardRect, StrokeId};

/// log2 of the finest cell's edge in 1/16 px: 256 px, the size of a word of handwriting.
const EDGE_LOG2_MIN: u32 = 12;

/// Levels: the coarsest has an edge of 2^31 units, as large as the plane.
const LEVELS: usize = 20;

type Cell = (i32, i32);

/// The strokes of each cell.
type Level = HashMap<Cell, Vec<(StrokeId, BoardRect)>, foldhash::fast::RandomState>;

/// Extents of strokes by place.
#[derive(Debug)]
pub(crate) struct Grid {
    levels: [Level; LEVELS],
    len: usize,
}

impl Grid {
    pub(crate) fn new() -> Self {
        Self {
            levels: std::array::from_fn(|_| Level::default()),
            len: 0,
        }
    }

    /// How many rectangles it holds.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The smallest rectangle around everything.
    pub(crate) fn bounds(&self) -> BoardRect {
        let cells = self.levels.iter().flat_map(Level::values);
        cells
            .flatten()
            .fold(BoardRect::EMPTY, |all, (_, extent)| all.union(*extent))
    }

    /// Puts a stroke that it holds at `old` where it now lies. An empty extent is that of a stroke that it does not hold.
    pub(crate) fn place(&mut self, id: StrokeId, old: BoardRect, new: BoardRect) {
        let (from, to) = (slot_of(old), slot_of(new));
        if let Some((level, cell)) = from
            && let Some(held) = self.levels[level].get_mut(&cell)
            // What changes is mostly what came last.
            && let Some(at) = held.iter().rposition(|(other, _)| *other == id)
        {
            if from == to {
                held[at].1 = new;
                return;
            }
            held.swap_remove(at);
            if held.is_empty() {
                self.levels[level].remove(&cell);
            }
            self.len -= 1;
        }
        if let Some((level, cell)) = to {
            self.levels[level].entry(cell).or_default().push((id, new));
            self.len += 1;
        }
    }

    /// Calls `visit` with every stroke whose extent has a point in common with `rect`, in no order.
    pub(crate) fn search(&self, rect: BoardRect, mut visit: impl FnMut(StrokeId)) {
        if rect.is_empty() {
            return;
        }
        let mut check = |held: &[(StrokeId, BoardRect)]| {
            for (id, extent) in held {
                if extent.intersects(rect) {
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
                for (cell, held) in cells {
                    if columns.contains(&cell.0) && rows.contains(&cell.1) {
                        check(held);
                    }
                }
            } else {
                for column in columns {
                    for row in rows.clone() {
                        if let Some(held) = cells.get(&(column, row)) {
                            check(held);
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
                let old = if gone { plain.remove(&id(n)) } else { plain.insert(id(n), rect) };
                grid.place(id(n), old.unwrap_or(BoardRect::EMPTY), rect);
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
