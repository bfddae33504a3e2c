//! The middle line of ink: samples smoothed, thinned out to what shows, and each with a radius.
//!
//! Samples are smoothed by running averages, which look back and never ahead. Pens bring their pressure; for mice
//! and fingers it is made up from the speed, so that quick strokes are slim.

use chalkboard_shared::board_point::UNITS_PER_PIXEL;
use chalkboard_shared::{BoardPoint, InkPoint, StrokeStyle};
use glam::Vec2;

use super::{is_highlighter, radius_max};

/// What devices report that do not measure pressure.
const UNMEASURED: u8 = 128;
/// Samples after which it is decided for good whether the device measures pressure.
const HEAD: usize = 4;
/// Share of the full radius that the lightest touch leaves.
const THINNEST: f32 = 0.28;
/// Share of the full radius of a dot made without pressure.
const DOT: f32 = 0.86;

/// A point of the middle line.
#[derive(Debug, Clone, Copy)]
pub(super) struct SpinePoint {
    /// Board pixels from the stroke's first point.
    pub(super) at: Vec2,
    /// Board pixels.
    pub(super) radius: f32,
    /// Way along the line from its start, in board pixels.
    run: f32,
}

impl SpinePoint {
    /// Half way to another.
    pub(super) fn middle(&self, other: &Self) -> Self {
        let half = |a: f32, b: f32| (a + b) * 0.5;
        Self {
            at: (self.at + other.at) * 0.5,
            radius: half(self.radius, other.radius),
            run: half(self.run, other.run),
        }
    }
}

/// A middle line that grows.
pub(super) struct Spine {
    radius_max: f32,
    constant: bool,
    origin: Option<BoardPoint>,
    /// The first samples, until it is known whether their pressure means something.
    head: [InkPoint; HEAD],
    count: usize,
    measured: bool,
    /// The newest sample, as it came.
    raw: Vec2,
    /// The running average of samples.
    smooth: Vec2,
    /// The running average of pressure, 0 to 1.
    pressure: f32,
    points: Vec<SpinePoint>,
}

impl Spine {
    pub(super) fn new(style: StrokeStyle) -> Self {
        Self {
            radius_max: radius_max(style),
            constant: is_highlighter(style),
            origin: None,
            head: [InkPoint::default(); HEAD],
            count: 0,
            measured: false,
            raw: Vec2::ZERO,
            smooth: Vec2::ZERO,
            pressure: 0.0,
            points: Vec::new(),
        }
    }

    pub(super) fn origin(&self) -> Option<BoardPoint> {
        self.origin
    }

    pub(super) fn points(&self) -> &[SpinePoint] {
        &self.points
    }

    pub(super) fn push(&mut self, point: &InkPoint) {
        if self.count < HEAD {
            self.head[self.count] = *point;
            if !self.measured && point.pressure != UNMEASURED {
                // The device measures after all: what came so far is taken again with its pressure.
                self.measured = true;
                self.points.clear();
                for i in 0..self.count {
                    let earlier = self.head[i];
                    self.take(&earlier, i == 0);
                }
            }
        }
        self.take(point, self.count == 0);
        self.count = self.count.saturating_add(1);
    }

    fn take(&mut self, point: &InkPoint, first: bool) {
        if first {
            self.origin = Some(point.at);
            self.raw = Vec2::ZERO;
            self.smooth = Vec2::ZERO;
            self.pressure = if self.measured {
                f32::from(point.pressure) / 255.0
            } else {
                0.5
            };
            self.points.push(SpinePoint {
                at: Vec2::ZERO,
                radius: self.radius(),
                run: 0.0,
            });
            return;
        }
        let raw = self.local(point.at);
        let step = raw.distance(self.raw);
        self.raw = raw;
        let width = self.radius_max * 2.0;
        if self.measured {
            self.pressure += (f32::from(point.pressure) / 255.0 - self.pressure) * 0.45;
        } else {
            // Slow is wide. The change takes a way along the line rather than a number of samples, so that a fast
            // mouse and a slow one leave the same ink.
            let speed = (step / (14.0 + width)).min(1.0);
            let rate = (step / (24.0 + 2.0 * width)).min(0.5);
            self.pressure += (0.78 - 0.62 * speed - self.pressure) * rate;
        }
        // Long steps are exact for their length; short ones are mostly the device's grid and a hand's tremble.
        let trust = 0.34 + 0.64 * step / (step + 3.0 + width);
        self.smooth += (raw - self.smooth) * trust;
        let radius = self.radius();
        if let Some(last) = self.points.last() {
            let way = self.smooth.distance(last.at);
            if way >= spacing(radius) {
                let run = last.run + way;
                self.points.push(SpinePoint {
                    at: self.smooth,
                    radius,
                    run,
                });
            }
        }
    }

    fn local(&self, at: BoardPoint) -> Vec2 {
        let origin = self.origin.unwrap_or(at);
        let unit = UNITS_PER_PIXEL as f32;
        // Differences of legal coordinates fit an i32; as integers they keep their precision far from the middle.
        Vec2::new(
            at.x.wrapping_sub(origin.x) as f32 / unit,
            at.y.wrapping_sub(origin.y) as f32 / unit,
        )
    }

    fn radius(&self) -> f32 {
        if self.constant {
            return self.radius_max;
        }
        // A light hand is common, a heavy one rare: most of the range belongs to the light half.
        let eased = self.pressure * (1.6 - 0.6 * self.pressure);
        self.radius_max * (THINNEST + (1.0 - THINNEST) * eased)
    }

    /// Way from the line's end over which it tapers: only where pressure is made up, real pens lift by themselves.
    fn taper(&self) -> f32 {
        if self.constant || self.measured {
            0.0
        } else {
            self.radius_max * 3.0
        }
    }

    /// The last of [`Spine::points`] that further samples, and the taper, will never change.
    pub(super) fn settled(&self) -> usize {
        if self.count < HEAD {
            return 0;
        }
        let Some(last) = self.points.last() else {
            return 0;
        };
        let open = last.run - self.taper();
        // The tail replaces the last point and the one before is needed to bend towards it.
        let mut settled = self.points.len().saturating_sub(4);
        while settled > 0 && self.points[settled + 1].run > open {
            settled -= 1;
        }
        settled
    }

    /// Visits the line from a point on to where the pointer is, tapered.
    pub(super) fn for_each_from(&self, first: usize, mut visit: impl FnMut(SpinePoint)) {
        let Some(last) = self.points.last() else {
            return;
        };
        let radius = last.radius;
        let gap = self.raw.distance(last.at);
        let total = last.run + gap;
        if self.points.len() == 1 && gap < radius * 0.5 {
            let radius = if self.constant || self.measured {
                radius
            } else {
                self.radius_max * DOT
            };
            visit(SpinePoint { radius, ..*last });
            return;
        }
        let taper = self.taper().min(total * 0.5);
        let tapered = |mut p: SpinePoint| {
            let left = total - p.run;
            if left < taper {
                let t = left / taper;
                p.radius *= 0.55 + 0.45 * t * (2.0 - t);
            }
            p
        };
        // A last point that the tail all but falls on would only bend the end.
        let dropped = usize::from(self.points.len() > 1 && gap < spacing(radius) * 0.5);
        let kept = self.points.len() - dropped;
        self.points[first.min(kept)..kept]
            .iter()
            .for_each(|p| visit(tapered(*p)));
        visit(tapered(SpinePoint {
            at: self.raw,
            radius,
            run: total,
        }));
    }
}

/// Nearer together, points of the middle line would show the device's grid on a wide line's edges.
fn spacing(radius: f32) -> f32 {
    0.35 + radius * 0.5
}
