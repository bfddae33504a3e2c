//! Courses: where a cursor that moves evenly will be, so that nothing needs to be told of it while it does.
//!
//! Both sides draw the line from the same keyframe, whatever deltas were lost. Whether the cursor is still on it, the
//! server alone knows: it says so with each keyframe, and tells the cursor as soon as it leaves the line.

use crate::codec::DecodeError;
use crate::codec::bits::{BitReader, BitWriter};

use super::{CursorSample, GroupCursor, KNOWN_MAX, Place, STAMPS_PER_MS};

/// How long a course goes on from its keyframe's position at the most, in milliseconds: until the next keyframe is
/// shown, which is made after 160 ms or the tick after, and tells a position that is up to a sending interval older.
pub const COURSE_MS_MAX: u32 = 240;
/// Steps of the raster that a cursor may be off its course, each way: with the step in which it is, less than a pixel
/// on the screen of those who are told at this level.
const OFF_STEPS_MAX: u32 = 1;

/// A straight and even way on from a keyframe's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    from: Place,
    /// Steps of the raster.
    way: (i32, i32),
    /// Stamps that they take, at least 1.
    over: u32,
}

impl Course {
    /// The stamp of the keyframe's position.
    pub const fn from_stamp(&self) -> u32 {
        self.from.stamp
    }

    /// Steps of the raster at a stamp; `None` before the keyframe's position and more than [`COURSE_MS_MAX`] behind it.
    pub fn at(&self, stamp: u32) -> Option<(i32, i32)> {
        let ahead = stamp.wrapping_sub(self.from.stamp);
        (ahead <= COURSE_MS_MAX * STAMPS_PER_MS).then(|| self.after(ahead))
    }

    /// Where it ends, [`COURSE_MS_MAX`] behind the keyframe's position.
    pub fn end(&self) -> (i32, i32) {
        self.after(COURSE_MS_MAX * STAMPS_PER_MS)
    }

    fn after(&self, ahead: u32) -> (i32, i32) {
        // All of these operations are exact, or rounded alike everywhere.
        let share = f64::from(ahead) / f64::from(self.over);
        let on =
            |from: i32, way: i32| (f64::from(from) + f64::from(way) * share + 0.5).floor() as i32;
        (on(self.from.x, self.way.0), on(self.from.y, self.way.1))
    }

    /// Somebody who follows it has the cursor where it is at this sample's stamp, to a pixel.
    pub fn tells(&self, now: CursorSample) -> bool {
        self.at(now.stamp).is_some_and(|(x, y)| {
            now.x.abs_diff(x) <= OFF_STEPS_MAX && now.y.abs_diff(y) <= OFF_STEPS_MAX
        })
    }
}

impl GroupCursor {
    /// Where it goes without being told, if it does.
    pub fn course(&self) -> Option<Course> {
        let start = self.before[KNOWN_MAX - 2];
        self.goes_on.then(|| Course {
            from: Place {
                x: self.sample.x,
                y: self.sample.y,
                stamp: self.sample.stamp,
            },
            way: (self.sample.x - start.x, self.sample.y - start.y),
            over: self.sample.stamp.wrapping_sub(start.stamp).max(1),
        })
    }

    /// Nothing needs to be told of it to those who have it on its course: there it is, and nothing else has changed.
    pub fn goes_through(&self, now: CursorSample) -> bool {
        now.state == self.sample.state && self.course().is_some_and(|course| course.tells(now))
    }

    /// It has moved evenly in the three positions that are known: the middle one is on the line between the others.
    pub(super) fn is_even(&self) -> bool {
        let [middle, start] = self.before;
        let since = |stamp: u32| f64::from(stamp.wrapping_sub(start.stamp));
        let (over, part) = (since(self.sample.stamp), since(middle.stamp));
        let is_on = |start: i32, middle: i32, end: i32| {
            let way = |to: i32| f64::from(to - start);
            (way(middle) * over - way(end) * part).abs() <= f64::from(OFF_STEPS_MAX) * over
        };
        usize::from(self.known) == KNOWN_MAX
            && (start.x, start.y) != (self.sample.x, self.sample.y)
            && is_on(start.x, middle.x, self.sample.x)
            && is_on(start.y, middle.y, self.sample.y)
    }

    /// Nothing is said where nothing could go on.
    pub(super) fn write_goes_on(&self, bits: &mut BitWriter<'_>) {
        if self.is_even() {
            bits.bits(self.goes_on.into(), 1);
        }
    }

    pub(super) fn read_goes_on(&mut self, bits: &mut BitReader<'_>) -> Result<(), DecodeError> {
        self.goes_on = self.is_even() && bits.bits(1)? == 1;
        Ok(())
    }
}
