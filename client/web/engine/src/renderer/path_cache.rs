//! Outlines of strokes as `Path2D` objects, so that a stroke is traced once however often it is redrawn.

use std::collections::HashMap;

use chalkboard_client::outline::{self, PathStep};
use chalkboard_shared::stroke::Nib;
use chalkboard_shared::{BoardPoint, Stroke, StrokeId};
use web_sys::Path2d;

/// Points of all cached strokes together. A point takes about 100 bytes as a path: 100 MB at the most.
const POINTS_MAX: usize = 1_000_000;

/// Outlines, those not used for longest thrown away first.
#[derive(Default)]
pub(super) struct PathCache {
    paths: HashMap<StrokeId, Cached>,
    points: usize,
    /// Counts uses, to tell the old from the new.
    clock: u64,
    steps: Vec<PathStep>,
    text: String,
}

struct Cached {
    path: Path2d,
    origin: BoardPoint,
    points: u32,
    look: (Nib, u16),
    used: u64,
}

impl PathCache {
    /// The stroke's outline and the board point that it is relative to; `None` for a stroke without points.
    pub(super) fn outline(&mut self, stroke: &Stroke) -> Option<(&Path2d, BoardPoint)> {
        self.clock += 1;
        let style = stroke.style.value;
        let look = (style.nib, style.width);
        let fresh = self
            .paths
            .get(&stroke.id)
            .is_some_and(|cached| cached.points == stroke.point_count && cached.look == look);
        if !fresh {
            let origin = outline::trace(&stroke.points(), style, &mut self.steps)?;
            let path = path(&self.steps, &mut self.text)?;
            let cached = Cached {
                path,
                origin,
                points: stroke.point_count,
                look,
                used: 0,
            };
            self.points += cached.points as usize;
            if let Some(old) = self.paths.insert(stroke.id, cached) {
                self.points -= old.points as usize;
            }
            if self.points > POINTS_MAX {
                self.drop_older_half();
            }
        }
        let cached = self.paths.get_mut(&stroke.id)?;
        cached.used = self.clock;
        Some((&cached.path, cached.origin))
    }

    /// Halving costs one pass for many insertions.
    fn drop_older_half(&mut self) {
        // Uses are counted one by one, so that as many distinct strokes were used since as the clock has moved at most.
        let kept = self.clock.saturating_sub(self.paths.len() as u64 / 2);
        self.paths
            .retain(|_, cached| cached.used > kept || cached.used == 0);
        self.points = self
            .paths
            .values()
            .map(|cached| cached.points as usize)
            .sum();
    }
}

/// Steps as a path; `text` is a buffer. `None` where the browser is out of memory.
pub(super) fn path(steps: &[PathStep], text: &mut String) -> Option<Path2d> {
    text.clear();
    outline::write_path(steps, text);
    Path2d::new_with_path_string(text).ok()
}
