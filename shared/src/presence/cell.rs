//! Cells in which presence is told.

use bitcode::{Decode, Encode};

use crate::board_point::{BoardPoint, BoardRect};
use crate::interest::{CELL_EDGE_LOG2, Coverage, LEVEL_MAX};
use crate::limits::COORDINATE_MAX;

/// A presence cell's edge is that of a coverage's cell times 2^2, so that a coverage lies in a few of them.
const LEVELS_ABOVE_COVERAGE: u8 = 2;

/// A square of the plane at a level of detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct PresenceCell {
    /// Level of the quadtree; the edge is 512 px x 2^level.
    pub level: u8,
    /// Which one from left to right; 0 begins at x = 0.
    pub column: i32,
    /// Which one from top to bottom; 0 begins at y = 0.
    pub row: i32,
}

impl PresenceCell {
    /// Of cursors that are told exactly wherever they are: no coverage is told of at this level. Its raster is the finest,
    /// and goes on beyond its edges.
    pub const EVERYWHERE: Self = Self {
        level: 0,
        column: 0,
        row: 0,
    };

    /// The level at which a session with this coverage is told of cursors.
    pub const fn level_of(coverage: Coverage) -> u8 {
        let level = coverage.level + LEVELS_ABOVE_COVERAGE;
        if level < LEVEL_MAX { level } else { LEVEL_MAX }
    }

    /// The cell of a level that holds a point.
    pub const fn at(level: u8, point: BoardPoint) -> Self {
        let edge = CELL_EDGE_LOG2 + level as u32;
        // The coarsest cells are 2^31 wide: a shift that an i32 still takes.
        Self {
            level,
            column: point.x >> edge,
            row: point.y >> edge,
        }
    }

    /// The cells that touch a rectangle, row by row. A coverage touches 9 at the most.
    pub fn touching(level: u8, rect: BoardRect) -> impl Iterator<Item = Self> {
        let (first, last) = (Self::at(level, rect.min), Self::at(level, rect.max));
        (first.row..=last.row).flat_map(move |row| {
            (first.column..=last.column).map(move |column| Self { level, column, row })
        })
    }

    /// The part of the plane that it is, cut at the plane's edge.
    pub fn rect(self) -> BoardRect {
        let edge = CELL_EDGE_LOG2 + u32::from(self.level);
        let cut = |v: i64| v.clamp(-i64::from(COORDINATE_MAX), COORDINATE_MAX.into()) as i32;
        let (x, y) = (i64::from(self.column) << edge, i64::from(self.row) << edge);
        let length = (1i64 << edge) - 1;
        BoardRect {
            min: BoardPoint::new(cut(x), cut(y)),
            max: BoardPoint::new(cut(x + length), cut(y + length)),
        }
    }

    /// The point is in it, or so little outside that a cursor that was in it stays: a 32nd of its edge.
    pub fn keeps(self, point: BoardPoint) -> bool {
        let edge = CELL_EDGE_LOG2 + u32::from(self.level);
        let margin = 1i64 << (edge - 5);
        let is_near = |v: i32, cell: i32| {
            let from_start = i64::from(v) - (i64::from(cell) << edge);
            from_start >= -margin && from_start < (1i64 << edge) + margin
        };
        is_near(point.x, self.column) && is_near(point.y, self.row)
    }

    /// A level that exists, and a place near enough to the plane.
    pub const fn is_valid(self) -> bool {
        let cell_max = 1 << 19;
        self.level <= LEVEL_MAX
            && -cell_max <= self.column
            && self.column <= cell_max
            && -cell_max <= self.row
            && self.row <= cell_max
    }

    /// Low bits of positions that are left out. At the finest level a quarter of a board pixel is kept, for those who
    /// look closely; at others less than a pixel of a screen is lost.
    const fn shift(self) -> u32 {
        if self.level <= LEVELS_ABOVE_COVERAGE {
            2
        } else {
            self.level as u32 + 1
        }
    }

    /// Steps of the raster along a side.
    pub(crate) const fn raster_side(self) -> i32 {
        1 << (CELL_EDGE_LOG2 + self.level as u32 - self.shift())
    }

    /// A point as steps of the raster from the cell's start.
    pub fn raster(self, point: BoardPoint) -> (i32, i32) {
        let edge = CELL_EDGE_LOG2 + u32::from(self.level);
        let step =
            |v: i32, cell: i32| ((i64::from(v) - (i64::from(cell) << edge)) >> self.shift()) as i32;
        (step(point.x, self.column), step(point.y, self.row))
    }

    /// The middle of a step of the raster.
    pub fn place(self, x: i32, y: i32) -> BoardPoint {
        let edge = CELL_EDGE_LOG2 + u32::from(self.level);
        let back = |v: i32, cell: i32| {
            let v = (i64::from(cell) << edge)
                + (i64::from(v) << self.shift())
                + (1i64 << (self.shift() - 1));
            v.clamp(-i64::from(COORDINATE_MAX), COORDINATE_MAX.into()) as i32
        };
        BoardPoint::new(back(x, self.column), back(y, self.row))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_point() -> impl Strategy<Value = BoardPoint> {
        let v = -COORDINATE_MAX..=COORDINATE_MAX;
        (v.clone(), v).prop_map(|(x, y)| BoardPoint::new(x, y))
    }

    proptest! {
        #[test]
        fn a_point_is_in_its_cell_and_next_to_its_step(point in any_point(), level in 0..=LEVEL_MAX) {
            let cell = PresenceCell::at(level, point);
            prop_assert!(cell.is_valid() && cell.keeps(point) && cell.rect().contains(point));
            let (x, y) = cell.raster(point);
            prop_assert!(x >= 0 && y >= 0 && x < 1 << 20 && y < 1 << 20);
            let back = cell.place(x, y);
            let step = 1i64 << cell.shift();
            prop_assert!((i64::from(back.x) - i64::from(point.x)).abs() <= step);
            prop_assert_eq!(cell.raster(back).0, x);
        }

        #[test]
        fn a_coverage_touches_few_cells_and_they_hold_it(a in any_point(), b in any_point()) {
            let coverage = Coverage::of_view(BoardRect::from_corners(a, b), None);
            let level = PresenceCell::level_of(coverage);
            let cells: Vec<_> = PresenceCell::touching(level, coverage.rect()).collect();
            prop_assert!((1..=9).contains(&cells.len()), "{} cells", cells.len());
            for point in [a, b] {
                prop_assert!(cells.contains(&PresenceCell::at(level, point)));
            }
        }
    }
}
