//! The standard load: where its pointers go, what its pens draw, and the room that it meets in.
//!
//! A function of client number and time alone, so that every load process and every server speaks of the same board
//! without a word between them. Behind the feature `workload`, which nothing asks for but what measures: the server's
//! `--bench`, the load clients and the benchmarks. Not part of the protocol.

use crate::board_point::{BoardPoint, BoardRect, UNITS_PER_PIXEL};
use crate::id::BoardId;
use crate::ink::InkPoint;
use crate::op::{InkRun, Op};
use crate::rights::Secret;
use crate::stroke::{Nib, StrokeStyle};

/// The board of the room `bench`, the same on every server that measures.
pub const BENCH_BOARD: BoardId = BoardId(*b"chalkboard-bench");

/// Whoever holds it edits [`BENCH_BOARD`]. Known to everybody, as that board is to nobody's harm.
pub const BENCH_SECRET: Secret = Secret(*b"bench-edit-right");

/// Side of the canvas in pixels.
pub const CANVAS_PX: i32 = 8192;

/// Samples of a pen a second.
pub const PEN_HZ: u32 = 60;

/// Samples of a pre-filled stroke.
pub const STROKE_SAMPLES: u32 = 30;

/// How far apart the ends of two pre-filled strokes in a row are, in seconds.
const STROKE_APART_S: f64 = 0.37;

/// What the strokes look like.
pub const STYLE: StrokeStyle = StrokeStyle {
    nib: Nib::Pen,
    color: 0x1d_1d_1f,
    width: 64,
};

/// A number from 0 to 1, less than 1, that depends on `n` alone: the fixed hash of the load.
pub fn hash(n: f64) -> f64 {
    let wild = (n * 12.9898).sin() * 43_758.547;
    wild - wild.floor()
}

/// The curve of one client's pointer: what of the formula does not change with time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curve {
    client: f64,
    frequencies: (f64, f64),
    phases: (f64, f64),
}

impl Curve {
    /// Of client `i`.
    pub fn of(i: u32) -> Self {
        let client = f64::from(i);
        let h = |n: f64| hash(7.0 * client + n);
        Self {
            client,
            frequencies: (0.11 + 0.13 * h(1.0), 0.09 + 0.17 * h(2.0)),
            phases: (h(3.0), h(4.0)),
        }
    }

    /// Where the pointer is at `t` seconds, in whole pixels: a Lissajous curve over the canvas, with noise.
    pub fn pixels(&self, t: f64) -> (f64, f64) {
        let turn =
            |frequency: f64, phase: f64| (core::f64::consts::TAU * (frequency * t + phase)).sin();
        let noise = |sign: f64| 8.0 * hash((1000.0 * t).floor() + sign * self.client);
        let x = 4096.0 + 3900.0 * turn(self.frequencies.0, self.phases.0) + noise(1.0);
        let y = 4096.0 + 3900.0 * turn(self.frequencies.1, self.phases.1) + noise(-1.0);
        (x.round(), y.round())
    }

    /// Where the pointer is at `t` seconds, on the board.
    pub fn pointer(&self, t: f64) -> BoardPoint {
        let (x, y) = self.pixels(t);
        BoardPoint::new(x as i32 * UNITS_PER_PIXEL, y as i32 * UNITS_PER_PIXEL)
    }

    /// The pen at `t` seconds: on the pointer's curve, pressure in 8 bits.
    pub fn pen(&self, t: f64) -> InkPoint {
        let at = self.pointer(t);
        let pressure = (400.0 + 300.0 * (9.0 * t + self.client).sin()) / 1023.0 * 255.0;
        InkPoint::new(at.x, at.y, pressure.round() as u8)
    }
}

/// The samples of the `i`-th pre-filled stroke: client `i`'s, at 60 Hz, ending at `0.37 i` seconds.
pub fn stroke_points(i: u32) -> Vec<InkPoint> {
    let (curve, end) = (Curve::of(i), STROKE_APART_S * f64::from(i));
    (0..STROKE_SAMPLES)
        .map(|sample| curve.pen(end - f64::from(STROKE_SAMPLES - 1 - sample) / f64::from(PEN_HZ)))
        .collect()
}

/// An op that begins the `i`-th pre-filled stroke with all of its points.
pub fn begin(i: u32) -> Op {
    Op::Begin {
        style: STYLE,
        ink: InkRun::new(stroke_points(i)),
    }
}

/// The same on one of `canvases` canvases that lie side by side in a square, none of them fuller than a single one would
/// be; strokes go around by their number, and the canvas that clients look at lies in the middle.
pub fn begin_on(i: u32, canvases: u32) -> Op {
    let canvases = canvases.max(1);
    let side = canvases.isqrt() + u32::from(canvases.isqrt().pow(2) < canvases);
    let canvas = i % canvases;
    let off =
        |line: u32, lines: u32| (line as i32 - (lines / 2) as i32) * CANVAS_PX * UNITS_PER_PIXEL;
    let (dx, dy) = (
        off(canvas % side, side),
        off(canvas / side, canvases.div_ceil(side)),
    );
    let mut points = stroke_points(i);
    for point in &mut points {
        point.at = BoardPoint::new(point.at.x + dx, point.at.y + dy);
    }
    Op::Begin {
        style: STYLE,
        ink: InkRun::new(points),
    }
}

/// The canvas as a view: what every client of the load looks at.
pub fn canvas() -> BoardRect {
    let far = CANVAS_PX * UNITS_PER_PIXEL;
    BoardRect::from_corners(BoardPoint::new(0, 0), BoardPoint::new(far, far))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_stay_on_the_canvas_and_move() {
        let canvas = canvas();
        for i in [0, 1, 99, 9_999, u32::MAX] {
            let curve = Curve::of(i);
            let path: Vec<_> = (0..200)
                .map(|step| curve.pointer(f64::from(step) / 20.0))
                .collect();
            assert_eq!(
                canvas.union(BoardRect::around(path.iter().copied())),
                canvas,
                "{i}"
            );
            let moved = path.windows(2).filter(|pair| pair[0] != pair[1]).count();
            assert!(moved > 150, "{i} moved {moved} times");
        }
    }

    #[test]
    fn canvases_lie_around_the_one_that_is_looked_at() {
        let corner_of = |i, canvases| {
            let Op::Begin { ink, .. } = begin_on(i, canvases) else {
                unreachable!("it begins a stroke")
            };
            let (moved, plain) = (ink.points()[0].at, stroke_points(i)[0].at);
            let canvas = CANVAS_PX * UNITS_PER_PIXEL;
            ((moved.x - plain.x) / canvas, (moved.y - plain.y) / canvas)
        };
        assert_eq!(corner_of(7, 1), (0, 0));
        let all: std::collections::HashSet<_> = (0..20).map(|i| corner_of(i, 20)).collect();
        assert_eq!(all.len(), 20);
        assert!(all.contains(&(0, 0)) && all.contains(&(-2, -2)) && all.contains(&(2, 1)));
    }

    #[test]
    fn the_load_never_changes() {
        // A change here makes every figure measured before incomparable.
        assert_eq!(Curve::of(7).pixels(1.25), (4068.0, 473.0));
        let points = stroke_points(3);
        assert_eq!(points.len(), 30);
        assert_eq!(points[29], Curve::of(3).pen(0.37 * 3.0));
    }
}
