//! The two sides of a middle line: a closed figure of quadratic curves around it.
//!
//! Between the middles of neighbouring points runs one quadratic curve a side, whose control point is where the side's
//! tangents meet; that follows the true offset to about 1 % at turns of 60 degrees. Where the line turns by more than
//! [`SHARP`] it is cut in two: both parts end round there, and together they make a round corner.

use glam::Vec2;

use super::PathStep;
use super::spine::SpinePoint;

/// Cosine of the turn from which a corner is meant: 80 degrees.
const SHARP: f32 = 0.17;

/// What an end of the traced piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joint {
    /// An end of the line, or a corner.
    End,
    /// A place half way between two points: the line goes on in another piece, with the same direction and radius.
    Through,
}

/// A place on a side, and the control point of the curve that leads there from the place before.
#[derive(Clone, Copy)]
struct Knot {
    control: Option<Vec2>,
    at: Vec2,
}

/// Traces pieces of a middle line; keeps its buffers.
#[derive(Default)]
pub(super) struct Tracer {
    points: Vec<SpinePoint>,
    right: Vec<Knot>,
}

impl Tracer {
    pub(super) fn begin(&mut self) {
        self.points.clear();
    }

    /// Adds a point of the piece; one in the same place as the last has no direction and is left out.
    pub(super) fn push(&mut self, point: SpinePoint) {
        match self.points.last() {
            Some(last) if last.at.distance_squared(point.at) < 1e-6 => {}
            _ => self.points.push(point),
        }
    }

    /// Appends the outline of the piece.
    pub(super) fn trace(&mut self, start: Joint, end: Joint, out: &mut Vec<PathStep>) {
        let points = std::mem::take(&mut self.points);
        let last = points.len().saturating_sub(1);
        let mut from = 0;
        for i in 1..last {
            let (before, after) = (direction(&points, i - 1), direction(&points, i));
            if before.dot(after) < SHARP {
                self.run(
                    &points[from..=i],
                    if from == 0 { start } else { Joint::End },
                    Joint::End,
                    out,
                );
                from = i;
            }
        }
        if !points.is_empty() {
            self.run(
                &points[from..],
                if from == 0 { start } else { Joint::End },
                end,
                out,
            );
        }
        self.points = points;
    }

    /// Appends a piece without sharp corners, round at both ends.
    fn run(&mut self, points: &[SpinePoint], start: Joint, end: Joint, out: &mut Vec<PathStep>) {
        let last = points.len() - 1;
        if last == 0 {
            circle(&points[0], out);
            return;
        }
        let right = &mut self.right;
        right.clear();
        let mut side =
            |out: &mut Vec<PathStep>, control: Option<(Vec2, Vec2)>, at: Vec2, offset: Vec2| {
                out.push(match control {
                    Some((q, bend)) => PathStep::Quad(q + bend, at + offset),
                    None => PathStep::Line(at + offset),
                });
                right.push(Knot {
                    control: control.map(|(q, bend)| q - bend),
                    at: at - offset,
                });
            };

        let mut normal = direction(points, 0).perp();
        let first_offset = normal * points[0].radius;
        out.push(PathStep::Move(points[0].at + first_offset));
        if start == Joint::End && last > 1 {
            let middle = points[0].middle(&points[1]);
            side(out, None, middle.at, normal * middle.radius);
        }
        for i in 1..last {
            let next = direction(points, i).perp();
            let bend = (normal + next) * (points[i].radius / (1.0 + normal.dot(next)));
            let goal = if i + 1 == last && end == Joint::Through {
                points[last]
            } else {
                points[i].middle(&points[i + 1])
            };
            side(out, Some((points[i].at, bend)), goal.at, next * goal.radius);
            normal = next;
        }
        let tip = points[last];
        if end == Joint::End || last == 1 {
            side(out, None, tip.at, normal * tip.radius);
        }
        cap(tip.at, normal * tip.radius, out);
        // Back on the other side: each knot's curve leads to the place before it.
        for i in (0..right.len()).rev() {
            let to = if i == 0 {
                points[0].at - first_offset
            } else {
                right[i - 1].at
            };
            out.push(match right[i].control {
                Some(control) => PathStep::Quad(control, to),
                None => PathStep::Line(to),
            });
        }
        cap(points[0].at, -first_offset, out);
        out.push(PathStep::Close);
    }
}

fn direction(points: &[SpinePoint], i: usize) -> Vec2 {
    (points[i + 1].at - points[i].at).normalize_or(Vec2::X)
}

/// cos and tan of an eighth of a turn, and of half of it: a half circle in four curves, true to 0.3 %.
const EIGHTH: Vec2 = Vec2::new(
    core::f32::consts::FRAC_1_SQRT_2,
    -core::f32::consts::FRAC_1_SQRT_2,
);
const TAN_SIXTEENTH: f32 = 0.414_213_57;

/// A half circle about `center` from `center + offset` to `center - offset`, through the direction whose
/// perpendicular `offset` is.
fn cap(center: Vec2, offset: Vec2, out: &mut Vec<PathStep>) {
    arc(center, offset, 4, out);
}

fn arc(center: Vec2, mut spoke: Vec2, eighths: usize, out: &mut Vec<PathStep>) {
    for _ in 0..eighths {
        let tangent = Vec2::new(spoke.y, -spoke.x) * TAN_SIXTEENTH;
        let next = EIGHTH.rotate(spoke);
        out.push(PathStep::Quad(center + spoke + tangent, center + next));
        spoke = next;
    }
}

fn circle(point: &SpinePoint, out: &mut Vec<PathStep>) {
    let spoke = Vec2::new(0.0, point.radius);
    out.push(PathStep::Move(point.at + spoke));
    arc(point.at, spoke, 8, out);
    out.push(PathStep::Close);
}
