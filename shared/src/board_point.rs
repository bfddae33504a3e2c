//! The plane that boards lie on: fixed-point coordinates without an edge that anybody will reach.

use bitcode::{Decode, Encode};

use crate::limits::COORDINATE_MAX;

/// Fixed-point units in one board pixel (a CSS pixel at 100 %).
pub const UNITS_PER_PIXEL: i32 = 16;

/// A place on the board, in 1/16 of a board pixel; x to the right, y downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord, Encode, Decode)]
pub struct BoardPoint {
    /// To the right, in 1/16 px.
    pub x: i32,
    /// Downwards, in 1/16 px.
    pub y: i32,
}

impl BoardPoint {
    /// A point by its coordinates in 1/16 px.
    pub const fn new(x: i32, y: i32) -> Self {
        Self { x, y }
    }

    /// The nearest point to a place in board pixels, kept within [`COORDINATE_MAX`]. NaN becomes 0.
    pub fn from_pixels(x: f32, y: f32) -> Self {
        let unit = |v: f32| {
            ((v * UNITS_PER_PIXEL as f32).round() as i32).clamp(-COORDINATE_MAX, COORDINATE_MAX)
        };
        Self::new(unit(x), unit(y))
    }

    /// The place in board pixels.
    pub fn to_pixels(self) -> (f32, f32) {
        (
            self.x as f32 / UNITS_PER_PIXEL as f32,
            self.y as f32 / UNITS_PER_PIXEL as f32,
        )
    }

    /// Both coordinates are within [`COORDINATE_MAX`], so that sums and differences never overflow.
    pub const fn is_in_bounds(self) -> bool {
        self.x >= -COORDINATE_MAX
            && self.x <= COORDINATE_MAX
            && self.y >= -COORDINATE_MAX
            && self.y <= COORDINATE_MAX
    }
}

/// An axis-aligned rectangle, both corners included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct BoardRect {
    /// Smallest coordinates.
    pub min: BoardPoint,
    /// Largest coordinates.
    pub max: BoardPoint,
}

impl BoardRect {
    /// The rectangle that holds nothing: the neutral element of [`BoardRect::union`].
    pub const EMPTY: Self = Self {
        min: BoardPoint::new(i32::MAX, i32::MAX),
        max: BoardPoint::new(i32::MIN, i32::MIN),
    };

    /// The whole legal plane.
    pub const EVERYTHING: Self = Self {
        min: BoardPoint::new(-COORDINATE_MAX, -COORDINATE_MAX),
        max: BoardPoint::new(COORDINATE_MAX, COORDINATE_MAX),
    };

    /// The rectangle between two corners given in any order.
    pub fn from_corners(a: BoardPoint, b: BoardPoint) -> Self {
        Self {
            min: BoardPoint::new(a.x.min(b.x), a.y.min(b.y)),
            max: BoardPoint::new(a.x.max(b.x), a.y.max(b.y)),
        }
    }

    /// The smallest rectangle around the points; [`BoardRect::EMPTY`] for none.
    pub fn around(points: impl IntoIterator<Item = BoardPoint>) -> Self {
        points.into_iter().fold(Self::EMPTY, Self::including)
    }

    /// Holds no point.
    pub const fn is_empty(self) -> bool {
        self.min.x > self.max.x || self.min.y > self.max.y
    }

    /// Grown to hold one more point.
    pub fn including(self, p: BoardPoint) -> Self {
        Self {
            min: BoardPoint::new(self.min.x.min(p.x), self.min.y.min(p.y)),
            max: BoardPoint::new(self.max.x.max(p.x), self.max.y.max(p.y)),
        }
    }

    /// Grown to hold another rectangle.
    pub fn union(self, other: Self) -> Self {
        Self {
            min: BoardPoint::new(self.min.x.min(other.min.x), self.min.y.min(other.min.y)),
            max: BoardPoint::new(self.max.x.max(other.max.x), self.max.y.max(other.max.y)),
        }
    }

    /// Grown by a margin on every side, in 1/16 px; saturates. The empty rectangle stays empty.
    pub fn inflate(self, margin: i32) -> Self {
        if self.is_empty() {
            return self;
        }
        Self {
            min: BoardPoint::new(
                self.min.x.saturating_sub(margin),
                self.min.y.saturating_sub(margin),
            ),
            max: BoardPoint::new(
                self.max.x.saturating_add(margin),
                self.max.y.saturating_add(margin),
            ),
        }
    }

    /// What both cover; empty where they have no point in common.
    pub fn intersection(self, other: Self) -> Self {
        let both = Self {
            min: BoardPoint::new(self.min.x.max(other.min.x), self.min.y.max(other.min.y)),
            max: BoardPoint::new(self.max.x.min(other.max.x), self.max.y.min(other.max.y)),
        };
        if both.is_empty() { Self::EMPTY } else { both }
    }

    /// The two have a point in common.
    pub const fn intersects(self, other: Self) -> bool {
        self.min.x <= other.max.x
            && other.min.x <= self.max.x
            && self.min.y <= other.max.y
            && other.min.y <= self.max.y
    }

    /// The point lies within.
    pub const fn contains(self, p: BoardPoint) -> bool {
        self.min.x <= p.x && p.x <= self.max.x && self.min.y <= p.y && p.y <= self.max.y
    }

    /// Every point of the other lies within.
    pub const fn contains_rect(self, other: Self) -> bool {
        other.is_empty() || (self.contains(other.min) && self.contains(other.max))
    }

    /// The middle, rounded down.
    pub fn center(self) -> BoardPoint {
        let middle = |a: i32, b: i32| ((i64::from(a) + i64::from(b)) >> 1) as i32;
        BoardPoint::new(
            middle(self.min.x, self.max.x),
            middle(self.min.y, self.max.y),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_rectangle_is_neutral_and_meets_nothing() {
        let a = BoardRect::from_corners(BoardPoint::new(5, 9), BoardPoint::new(-3, 2));
        assert_eq!(BoardRect::EMPTY.union(a), a);
        assert!(!BoardRect::EMPTY.intersects(a));
        assert!(BoardRect::EMPTY.inflate(10).is_empty());
    }

    #[test]
    fn pixels_outside_of_the_world_are_clamped() {
        let p = BoardPoint::from_pixels(f32::INFINITY, -1e30);
        assert_eq!(p, BoardPoint::new(COORDINATE_MAX, -COORDINATE_MAX));
        assert_eq!(
            BoardPoint::from_pixels(f32::NAN, 0.5),
            BoardPoint::new(0, 8)
        );
        assert!(p.is_in_bounds());
    }
}
