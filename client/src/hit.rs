//! What an eraser touches: distances between its path and ink. Exact geometry, no notion of gestures.

use chalkboard_shared::stroke::Stroke;
use chalkboard_shared::{BoardPoint, BoardRect};
use glam::DVec2;

/// Does an eraser of `radius` (1/16 px) that moves straight from one point to another touch the stroke's ink?
pub fn touches(stroke: &Stroke, from: BoardPoint, to: BoardPoint, radius: i32) -> bool {
    let reach = f64::from(radius.max(0)) + f64::from(stroke.style.value.width) / 2.0;
    let swept =
        BoardRect::from_corners(from, to).inflate(reach.ceil().min(f64::from(i32::MAX)) as i32);
    if !swept.intersects(stroke.bounds) {
        return false;
    }
    let (from, to) = (place(from), place(to));
    let points = stroke.points();
    let within = |a: BoardPoint, b: BoardPoint| {
        // Most of a long stroke is far away; four comparisons tell.
        swept.intersects(BoardRect::from_corners(a, b))
            && distance_squared(from, to, place(a), place(b)) <= reach * reach
    };
    match points.as_ref() {
        [] => false,
        [only] => within(only.at, only.at),
        points => points.windows(2).any(|pair| within(pair[0].at, pair[1].at)),
    }
}

fn place(at: BoardPoint) -> DVec2 {
    DVec2::new(at.x.into(), at.y.into())
}

/// Squared distance of the segments a-b and c-d.
fn distance_squared(a: DVec2, b: DVec2, c: DVec2, d: DVec2) -> f64 {
    if cross(a, b, c, d) {
        return 0.0;
    }
    let ends = [
        to_segment(a, c, d),
        to_segment(b, c, d),
        to_segment(c, a, b),
        to_segment(d, a, b),
    ];
    ends.into_iter().fold(f64::INFINITY, f64::min)
}

fn to_segment(p: DVec2, a: DVec2, b: DVec2) -> f64 {
    let along = b - a;
    let length_squared = along.length_squared();
    let t = if length_squared > 0.0 {
        ((p - a).dot(along) / length_squared).clamp(0.0, 1.0)
    } else {
        0.0
    };
    p.distance_squared(a + along * t)
}

fn cross(a: DVec2, b: DVec2, c: DVec2, d: DVec2) -> bool {
    let side = |p: DVec2, q: DVec2, r: DVec2| (q - p).perp_dot(r - p);
    side(a, b, c) * side(a, b, d) < 0.0 && side(c, d, a) * side(c, d, b) < 0.0
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::stroke::Nib;
    use chalkboard_shared::{ActorId, InkPoint, OpId, Position, StrokeId, StrokeStyle};
    use proptest::prelude::*;

    use super::*;

    /// A stroke of width 2 px through points in board pixels.
    fn stroke(points: &[(i32, i32)]) -> Stroke {
        let id = StrokeId(OpId {
            actor: ActorId(1),
            counter: 1,
        });
        let mut stroke = Stroke::new(
            id,
            Position(1),
            StrokeStyle {
                nib: Nib::Pen,
                color: 0,
                width: 32,
            },
        );
        stroke.push(
            &points
                .iter()
                .map(|&(x, y)| InkPoint::new(x * 16, y * 16, 128))
                .collect::<Vec<_>>(),
        );
        stroke.finish();
        stroke
    }

    fn hits(stroke: &Stroke, from: (i32, i32), to: (i32, i32), radius: i32) -> bool {
        touches(
            stroke,
            BoardPoint::new(from.0 * 16, from.1 * 16),
            BoardPoint::new(to.0 * 16, to.1 * 16),
            radius * 16,
        )
    }

    #[test]
    fn a_fast_eraser_does_not_jump_over_a_line() {
        let line = stroke(&[(0, 0), (100, 0)]);
        assert!(hits(&line, (50, -500), (50, 500), 1));
        assert!(!hits(&line, (150, -500), (150, 500), 5));
    }

    #[test]
    fn the_nib_counts_and_the_inside_of_a_loop_does_not() {
        let frame = stroke(&[(0, 0), (100, 0), (100, 100), (0, 100), (0, 0)]);
        assert!(!hits(&frame, (50, 50), (52, 50), 10));
        assert!(
            hits(&frame, (50, 10), (50, 10), 9),
            "1 px of nib and 9 px of eraser"
        );
        assert!(!hits(&frame, (50, 11), (50, 11), 9));
    }

    #[test]
    fn a_dot_can_be_hit() {
        let dot = stroke(&[(7, 7)]);
        assert!(hits(&dot, (0, 7), (5, 7), 1));
        assert!(!hits(&dot, (0, 7), (4, 7), 1));
    }

    proptest! {
        #[test]
        fn any_points_are_measured_alike_from_both_ends(points in proptest::collection::vec((-50i32..50, -50i32..50), 1..12),
                a in (-60i32..60, -60i32..60), b in (-60i32..60, -60i32..60), radius in 0i32..20) {
            let forward = stroke(&points);
            let backward = stroke(&points.iter().copied().rev().collect::<Vec<_>>());
            prop_assert_eq!(hits(&forward, a, b, radius), hits(&backward, b, a, radius));
            let on_it = points[0];
            prop_assert!(hits(&forward, on_it, b, radius));
        }
    }
}
