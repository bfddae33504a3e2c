//! A grid over all cursors, built anew in every tick by counting sort: at tens of thousands of moving points a
//! rebuild costs a fraction of keeping a tree up to date.

use chalkboard_shared::cursor::CursorState;
use chalkboard_shared::{BoardPoint, BoardRect, SessionId};

/// Cells along one side at the most: 64 x 64 counters are 16 KB.
const CELLS_PER_SIDE: i64 = 64;

/// Cursors by cell.
#[derive(Debug, Default)]
pub(crate) struct CursorGrid {
    origin: BoardPoint,
    edge_log2: u32,
    columns: usize,
    rows: usize,
    /// Per cell, where its cursors begin; one more at the end.
    starts: Vec<u32>,
    sorted: Vec<(SessionId, CursorState)>,
}

impl CursorGrid {
    /// Sorts cursors into cells.
    pub(crate) fn build(cursors: &[(SessionId, CursorState)]) -> Self {
        let bounds = BoardRect::around(cursors.iter().map(|(_, cursor)| cursor.at));
        if bounds.is_empty() {
            return Self::default();
        }
        let span = |min: i32, max: i32| i64::from(max) - i64::from(min) + 1;
        let (width, height) = (
            span(bounds.min.x, bounds.max.x),
            span(bounds.min.y, bounds.max.y),
        );
        let mut edge_log2 = 0;
        while width.max(height) > CELLS_PER_SIDE << edge_log2 {
            edge_log2 += 1;
        }
        let cells = |length: i64| (((length - 1) >> edge_log2) + 1) as usize;
        let mut grid = Self {
            origin: bounds.min,
            edge_log2,
            columns: cells(width),
            rows: cells(height),
            starts: Vec::new(),
            sorted: Vec::with_capacity(cursors.len()),
        };
        grid.starts = vec![0; grid.columns * grid.rows + 1];
        let cell_of: Vec<usize> = cursors
            .iter()
            .map(|(_, cursor)| grid.cell(cursor.at))
            .collect();
        for &cell in &cell_of {
            grid.starts[cell + 1] += 1;
        }
        for cell in 1..grid.starts.len() {
            grid.starts[cell] += grid.starts[cell - 1];
        }
        let mut next = grid.starts.clone();
        grid.sorted.resize(cursors.len(), cursors[0]);
        for (cursor, cell) in cursors.iter().zip(cell_of) {
            grid.sorted[next[cell] as usize] = *cursor;
            next[cell] += 1;
        }
        grid
    }

    /// Column or row of a coordinate, which may lie outside.
    fn step(&self, v: i32, origin: i32) -> i64 {
        (i64::from(v) - i64::from(origin)) >> self.edge_log2
    }

    fn cell(&self, at: BoardPoint) -> usize {
        self.step(at.y, self.origin.y) as usize * self.columns
            + self.step(at.x, self.origin.x) as usize
    }

    /// Cursors within a rectangle, by session.
    pub(crate) fn within(&self, rect: BoardRect) -> Vec<(SessionId, CursorState)> {
        let mut found = Vec::new();
        let range = |min: i32, max: i32, origin: i32, count: usize| {
            let first = self.step(min, origin).max(0) as usize;
            let end = (self.step(max, origin) + 1).clamp(0, count as i64) as usize;
            first..end
        };
        let columns = range(rect.min.x, rect.max.x, self.origin.x, self.columns);
        for row in range(rect.min.y, rect.max.y, self.origin.y, self.rows) {
            if columns.is_empty() {
                break;
            }
            let first = self.starts[row * self.columns + columns.start] as usize;
            let end = self.starts[row * self.columns + columns.end] as usize;
            found.extend(
                self.sorted[first..end]
                    .iter()
                    .filter(|(_, cursor)| rect.contains(cursor.at)),
            );
        }
        found.sort_unstable_by_key(|(session, _)| *session);
        found
    }
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::cursor::CursorTool;

    use super::*;

    #[test]
    fn the_grid_finds_what_a_plain_search_finds() {
        let mut seed = 7u32;
        let mut random = |range: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % range
        };
        for size in [0, 1, 5, 400] {
            let cursors: Vec<_> = (0..size)
                .map(|i| {
                    let at = BoardPoint::new(
                        random(90_000) as i32 - 40_000,
                        random(50_000) as i32 - 10_000,
                    );
                    (
                        SessionId(i),
                        CursorState {
                            at,
                            tool: CursorTool::Pen,
                            pressed: false,
                        },
                    )
                })
                .collect();
            let grid = CursorGrid::build(&cursors);
            for _ in 0..50 {
                let corner = |random: &mut dyn FnMut(u32) -> u32| {
                    BoardPoint::new(
                        random(120_000) as i32 - 60_000,
                        random(80_000) as i32 - 30_000,
                    )
                };
                let rect = BoardRect::from_corners(corner(&mut random), corner(&mut random));
                let expect: Vec<_> = cursors
                    .iter()
                    .filter(|(_, c)| rect.contains(c.at))
                    .copied()
                    .collect();
                assert_eq!(grid.within(rect), expect);
            }
            assert_eq!(grid.within(BoardRect::EVERYTHING), cursors);
        }
    }
}
