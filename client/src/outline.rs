//! The look of ink: points of a pen become the closed outline of a line of varying width.
//!
//! `spine` smooths the points and gives each a radius, `ribbon` draws round both sides of that, `svg` writes the
//! result as path data. Everything is deterministic, and causal: points that come later change a line's last few
//! points alone, so that ink does not wobble while it is drawn. Nothing here knows colours or canvases.
//!
//! Outlines are filled with the nonzero rule. They are chains of smooth runs with round ends, all wound the same way
//! round, so that a line that crosses or turns back on itself has no holes.

mod ribbon;
mod spine;
mod svg;

use chalkboard_shared::stroke::Nib;
use chalkboard_shared::{BoardPoint, InkPoint, StrokeStyle};
use glam::Vec2;

use ribbon::{Joint, Tracer};
use spine::Spine;

pub use svg::write_path;

/// One step of an outline, in board pixels from the outline's origin (the stroke's first point).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PathStep {
    /// Begins a closed figure.
    Move(Vec2),
    /// A straight line.
    Line(Vec2),
    /// A quadratic curve: control point and end.
    Quad(Vec2, Vec2),
    /// Ends the figure.
    Close,
}

/// Writes a whole stroke's outline into `out`, which is cleared first. `None` for a stroke without points, else the
/// board point that the steps are relative to.
pub fn trace(
    points: &[InkPoint],
    style: StrokeStyle,
    out: &mut Vec<PathStep>,
) -> Option<BoardPoint> {
    out.clear();
    let mut ink = LiveOutline::new(style);
    ink.push(points);
    ink.tail(out);
    ink.origin()
}

/// The largest radius of a style's ink in board pixels.
pub fn radius_max(style: StrokeStyle) -> f32 {
    f32::from(style.width) / 32.0
}

/// The outline of a stroke that still grows. What has settled is given out once and never changes; the rest is
/// traced anew whenever it is asked for, and is short, so that ink costs the same in its third minute as at its start.
pub struct LiveOutline {
    spine: Spine,
    tracer: Tracer,
    /// Spine points up to this one are given out, and half the way to the next.
    given: Option<usize>,
}

/// Spine points given out together: each lot costs a path object, each point not given out is traced every frame.
const LOT: usize = 32;

impl LiveOutline {
    /// A stroke without points yet.
    pub fn new(style: StrokeStyle) -> Self {
        Self {
            spine: Spine::new(style),
            tracer: Tracer::default(),
            given: None,
        }
    }

    /// Adds points.
    pub fn push(&mut self, points: &[InkPoint]) {
        for point in points {
            self.spine.push(point);
        }
    }

    /// What the outlines are relative to: the first point.
    pub fn origin(&self) -> Option<BoardPoint> {
        self.spine.origin()
    }

    /// Appends what has settled since the last call, in lots; tells whether there was any.
    pub fn settle(&mut self, out: &mut Vec<PathStep>) -> bool {
        let start = self.given.unwrap_or(0);
        let settled = self.spine.settled();
        if settled < start + LOT {
            return false;
        }
        let (from, points) = (self.start(), self.spine.points());
        self.tracer.begin();
        if let Some(middle) = from {
            self.tracer.push(middle);
        }
        points[self.first_open()..=settled]
            .iter()
            .for_each(|p| self.tracer.push(*p));
        self.tracer
            .push(points[settled].middle(&points[settled + 1]));
        let joint = if from.is_some() {
            Joint::Through
        } else {
            Joint::End
        };
        self.tracer.trace(joint, Joint::Through, out);
        self.given = Some(settled);
        true
    }

    /// Appends everything that [`LiveOutline::settle`] has not given out.
    pub fn tail(&mut self, out: &mut Vec<PathStep>) {
        let from = self.start();
        self.tracer.begin();
        if let Some(middle) = from {
            self.tracer.push(middle);
        }
        self.spine
            .for_each_from(self.first_open(), |p| self.tracer.push(p));
        let joint = if from.is_some() {
            Joint::Through
        } else {
            Joint::End
        };
        self.tracer.trace(joint, Joint::End, out);
    }

    /// Where the part that is not given out begins: between two spine points.
    fn start(&self) -> Option<spine::SpinePoint> {
        let points = self.spine.points();
        self.given
            .map(|given| points[given].middle(&points[given + 1]))
    }

    fn first_open(&self) -> usize {
        self.given.map_or(0, |given| given + 1)
    }
}

/// Thins points out to a plain line for views in which ink is a pixel wide: every point at least `spacing` (1/16 px)
/// from the last one kept, and the last. Calls `keep` for each.
pub fn thin_out(points: &[InkPoint], spacing: i32, mut keep: impl FnMut(BoardPoint)) {
    let Some((first, rest)) = points.split_first() else {
        return;
    };
    let mut last = first.at;
    keep(last);
    for (i, point) in rest.iter().enumerate() {
        let far = |a: i32, b: i32| (i64::from(a) - i64::from(b)).abs() >= i64::from(spacing);
        let is_last = i + 1 == rest.len() && point.at != last;
        if is_last || far(point.at.x, last.x) || far(point.at.y, last.y) {
            last = point.at;
            keep(last);
        }
    }
}

const fn is_highlighter(style: StrokeStyle) -> bool {
    matches!(style.nib, Nib::Highlighter)
}

#[cfg(test)]
mod tests;
