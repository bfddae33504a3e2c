//! Seeded randomness: one seed reproduces a run.

use chalkboard_shared::op::InkRun;
use chalkboard_shared::stroke::{Nib, StrokeStyle};
use chalkboard_shared::{BoardPoint, BoardRect, InkPoint};

/// A small generator (xorshift64*), the same on every machine.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// From a seed; any number does.
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from 0 to `end` - 1.
    pub const fn below(&mut self, end: u64) -> u64 {
        (self.bits() >> 11) % end
    }

    /// True in `percent` of 100 throws.
    pub const fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A number from `min` to `max`, both included.
    pub const fn between(&mut self, min: i32, max: i32) -> i32 {
        min + self.below((max - min + 1) as u64) as i32
    }

    /// One of the items.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() {
            None
        } else {
            items.get(self.below(items.len() as u64) as usize)
        }
    }

    /// A point within so many pixels of the origin.
    pub const fn point(&mut self, pixels: i32) -> BoardPoint {
        BoardPoint::new(
            self.between(-pixels * 16, pixels * 16),
            self.between(-pixels * 16, pixels * 16),
        )
    }

    /// A view of 200 to 2,000 px a side within so many pixels of the origin.
    pub fn view(&mut self, pixels: i32) -> BoardRect {
        let corner = self.point(pixels);
        let size = BoardPoint::new(
            self.between(200 * 16, 2000 * 16),
            self.between(200 * 16, 2000 * 16),
        );
        BoardRect::from_corners(
            corner,
            BoardPoint::new(corner.x + size.x, corner.y + size.y),
        )
    }

    /// A style.
    pub const fn style(&mut self) -> StrokeStyle {
        let nib = if self.chance(80) {
            Nib::Pen
        } else {
            Nib::Highlighter
        };
        StrokeStyle {
            nib,
            color: self.below(0x100_0000) as u32,
            width: self.between(16, 400) as u16,
        }
    }

    /// 1 to 9 points that wander from a place.
    pub fn ink(&mut self, from: BoardPoint) -> InkRun {
        let mut at = from;
        let points = (0..=self.below(8)).map(|_| {
            at = BoardPoint::new(
                at.x + self.between(-900, 900),
                at.y + self.between(-900, 900),
            );
            InkPoint {
                at,
                pressure: self.below(256) as u8,
            }
        });
        InkRun::new(points.collect())
    }
}

/// Seeds from `first` on: `count` of them, or as many times that as `CHALKBOARD_SEEDS` says.
///
/// # Panics
/// When that is no number.
pub fn seeds(first: u64, count: u64) -> std::ops::Range<u64> {
    let times = match std::env::var("CHALKBOARD_SEEDS") {
        Ok(times) => times.parse().expect("CHALKBOARD_SEEDS is a number"),
        Err(_) => 1,
    };
    first..first + count * times
}
