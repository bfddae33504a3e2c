//! Interest: which part of the plane a session receives.
//!
//! The plane is cut into square cells, whose edge doubles from level to level (a quadtree's grid). A session covers
//! the cells that its viewport touches plus one ring, at the finest level at which that is a handful of cells; it is
//! computed anew only when the viewport leaves what is covered or has become much smaller than it. Client and server
//! agree on it, because a client must drop what is no longer kept up to date.

use bitcode::{Decode, Encode};

use crate::board_point::{BoardPoint, BoardRect};

/// log2 of a cell's edge at level 0, in 1/16 px: 512 px.
pub const CELL_EDGE_LOG2: u32 = 13;

/// The coarsest level: an edge of 2^31 units, so that four cells hold the whole plane.
pub const LEVEL_MAX: u8 = 18;

/// Cells along the longer side of a viewport, at most.
const CELLS_PER_SIDE: i64 = 4;

/// A rectangle of cells of one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Coverage {
    /// Level of the cells, 0 (finest) to [`LEVEL_MAX`].
    pub level: u8,
    /// Column and row of the first cell.
    pub min: (i32, i32),
    /// Column and row of the last cell.
    pub max: (i32, i32),
}

impl Coverage {
    /// What a session that sees `view` should cover, given what it covers now.
    pub fn of_view(view: BoardRect, current: Option<Self>) -> Self {
        let view = clamp(view);
        let length = |min: i32, max: i32| i64::from(max) - i64::from(min);
        let span = length(view.min.x, view.max.x).max(length(view.min.y, view.max.y));
        let level = (0..LEVEL_MAX)
            .find(|level| span <= CELLS_PER_SIDE << edge_log2(*level))
            .unwrap_or(LEVEL_MAX);
        if let Some(current) = current
            && current.rect().contains_rect(view)
            && current.level <= level + 1
        {
            return current;
        }
        let cell = |v: i32| v >> edge_log2(level);
        Self {
            level,
            min: (cell(view.min.x) - 1, cell(view.min.y) - 1),
            max: (cell(view.max.x) + 1, cell(view.max.y) + 1),
        }
    }

    /// The part of the plane that it covers, cut at the plane's edge.
    pub fn rect(self) -> BoardRect {
        let start = |cell: i32| i64::from(cell) << edge_log2(self.level);
        let cut = |v: i64| {
            v.clamp(
                BoardRect::EVERYTHING.min.x.into(),
                BoardRect::EVERYTHING.max.x.into(),
            ) as i32
        };
        BoardRect {
            min: BoardPoint::new(cut(start(self.min.0)), cut(start(self.min.1))),
            max: BoardPoint::new(
                cut(start(self.max.0 + 1) - 1),
                cut(start(self.max.1 + 1) - 1),
            ),
        }
    }

    /// A level that exists, cells in order, near enough to the plane, and no more of them than [`Coverage::of_view`]
    /// gives: those that a view touches and a ring.
    pub const fn is_valid(self) -> bool {
        let cell_max = 1 << 19;
        let apart_max = CELLS_PER_SIDE + 2;
        self.level <= LEVEL_MAX
            && self.max.0 as i64 - self.min.0 as i64 <= apart_max
            && self.max.1 as i64 - self.min.1 as i64 <= apart_max
            && self.min.0 <= self.max.0
            && self.min.1 <= self.max.1
            && self.min.0 >= -cell_max
            && self.min.1 >= -cell_max
            && self.max.0 <= cell_max
            && self.max.1 <= cell_max
    }
}

const fn edge_log2(level: u8) -> u32 {
    CELL_EDGE_LOG2 + level as u32
}

/// The view within the plane, as a rectangle that holds at least a point.
fn clamp(view: BoardRect) -> BoardRect {
    let all = BoardRect::EVERYTHING;
    let inside = |p: BoardPoint| {
        BoardPoint::new(
            p.x.clamp(all.min.x, all.max.x),
            p.y.clamp(all.min.y, all.max.y),
        )
    };
    BoardRect::from_corners(inside(view.min), inside(view.max))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn px(x0: i32, y0: i32, x1: i32, y1: i32) -> BoardRect {
        BoardRect::from_corners(
            BoardPoint::new(x0 * 16, y0 * 16),
            BoardPoint::new(x1 * 16, y1 * 16),
        )
    }

    proptest! {
        #[test]
        fn a_coverage_holds_the_view_in_few_cells(x0: i32, y0: i32, x1: i32, y1: i32) {
            let view = BoardRect::from_corners(BoardPoint::new(x0, y0), BoardPoint::new(x1, y1));
            let coverage = Coverage::of_view(view, None);
            prop_assert!(coverage.is_valid());
            prop_assert!(coverage.rect().contains_rect(clamp(view)));
            prop_assert!(coverage.max.0 - coverage.min.0 <= 7 && coverage.max.1 - coverage.min.1 <= 7);
            prop_assert_eq!(Coverage::of_view(view, Some(coverage)), coverage);
        }
    }

    #[test]
    fn small_moves_keep_it_and_crossings_move_it() {
        let start = Coverage::of_view(px(0, 0, 1280, 800), None);
        assert_eq!(start.level, 0);
        assert_eq!(
            Coverage::of_view(px(100, 30, 1380, 830), Some(start)),
            start
        );
        let moved = Coverage::of_view(px(1500, 30, 2780, 830), Some(start));
        assert_ne!(moved, start);
        assert!(moved.rect().intersects(start.rect()));
    }

    #[test]
    fn zooming_far_in_gives_a_finer_one() {
        let far = Coverage::of_view(px(0, 0, 60_000, 40_000), None);
        let near = Coverage::of_view(px(0, 0, 600, 400), Some(far));
        assert!(near.level < far.level);
    }

    #[test]
    fn the_whole_plane_is_covered_by_one() {
        assert!(
            Coverage::of_view(BoardRect::EVERYTHING, None)
                .rect()
                .contains_rect(BoardRect::EVERYTHING)
        );
    }
}
