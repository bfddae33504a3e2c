//! Ink looks as it should, whatever the points: no holes, no spikes, nothing outside of the stroke's extent.

use chalkboard_shared::BoardRect;
use chalkboard_shared::limits::COORDINATE_MAX;
use proptest::prelude::*;

use super::*;

const WIDTH: u16 = 8 * 16;
const PEN: StrokeStyle = StrokeStyle {
    nib: Nib::Pen,
    color: 0,
    width: WIDTH,
};
const MARKER: StrokeStyle = StrokeStyle {
    nib: Nib::Highlighter,
    color: 0,
    width: WIDTH,
};

/// Points in board pixels.
fn ink(points: &[(f32, f32)], pressure: u8) -> Vec<InkPoint> {
    points
        .iter()
        .map(|&(x, y)| InkPoint {
            at: BoardPoint::from_pixels(x, y),
            pressure,
        })
        .collect()
}

fn steps(points: &[InkPoint], style: StrokeStyle) -> Vec<PathStep> {
    let mut out = Vec::new();
    trace(points, style, &mut out);
    out
}

/// The outline as polygons.
fn flatten(steps: &[PathStep]) -> Vec<Vec<Vec2>> {
    let mut figures: Vec<Vec<Vec2>> = Vec::new();
    for step in steps {
        match (*step, figures.last_mut()) {
            (PathStep::Move(to), _) => figures.push(vec![to]),
            (PathStep::Line(to), Some(figure)) => figure.push(to),
            (PathStep::Quad(control, to), Some(figure)) => {
                let from = figure[figure.len() - 1];
                for i in 1..=8 {
                    let t = i as f32 / 8.0;
                    figure.push(from.lerp(control, t).lerp(control.lerp(to, t), t));
                }
            }
            (PathStep::Close, Some(_)) => {}
            (_, None) => panic!("a figure begins with a move"),
        }
    }
    figures
}

/// How often the outline goes round a point.
fn winding(figures: &[Vec<Vec2>], p: Vec2) -> i32 {
    let mut turns = 0;
    for figure in figures {
        for (i, &a) in figure.iter().enumerate() {
            let b = figure[(i + 1) % figure.len()];
            let left_of = (b - a).perp_dot(p - a);
            if a.y <= p.y && b.y > p.y && left_of > 0.0 {
                turns += 1;
            } else if a.y > p.y && b.y <= p.y && left_of < 0.0 {
                turns -= 1;
            }
        }
    }
    turns
}

/// Area of the outlines, all wound the same way round; overlaps count twice.
fn area(figures: &[Vec<Vec2>]) -> f32 {
    let twice = |f: &Vec<Vec2>| {
        (0..f.len())
            .map(|i| f[i].perp_dot(f[(i + 1) % f.len()]))
            .sum::<f32>()
    };
    -figures.iter().map(twice).sum::<f32>() / 2.0
}

fn extent(figures: &[Vec<Vec2>]) -> (Vec2, Vec2) {
    let all = figures.iter().flatten();
    all.fold((Vec2::INFINITY, Vec2::NEG_INFINITY), |(min, max), p| {
        (min.min(*p), max.max(*p))
    })
}

fn line(length: i32, step: i32) -> Vec<(f32, f32)> {
    (0..=length / step)
        .map(|i| ((i * step) as f32, 0.0))
        .collect()
}

#[test]
fn a_tap_is_a_round_dot() {
    for points in [
        vec![(3.0, 4.0)],
        vec![(3.0, 4.0); 5],
        vec![(3.0, 4.0), (3.3, 4.0)],
    ] {
        let dot = flatten(&steps(&ink(&points, 128), PEN));
        let radius = 4.0 * 0.86;
        let expect = core::f32::consts::PI * radius * radius;
        assert!(
            (area(&dot) / expect - 1.0).abs() < 0.15,
            "{points:?}: {} for {expect}",
            area(&dot)
        );
    }
}

#[test]
fn a_straight_highlighter_line_is_as_wide_as_its_nib() {
    let figures = flatten(&steps(&ink(&line(200, 5), 128), MARKER));
    let expect = 200.0 * 8.0 + core::f32::consts::PI * 16.0;
    assert!(
        (area(&figures) / expect - 1.0).abs() < 0.01,
        "{} for {expect}",
        area(&figures)
    );
    let (min, max) = extent(&figures);
    assert!(
        (min + 4.0).abs().max_element() < 0.05
            && (max - Vec2::new(204.0, 4.0)).abs().max_element() < 0.05
    );
}

#[test]
fn pressure_makes_wide_and_speed_makes_slim() {
    let width = |points: &[(f32, f32)], pressure: u8| {
        let figures = flatten(&steps(&ink(points, pressure), PEN));
        area(&figures) / points[points.len() - 1].0
    };
    assert!(width(&line(300, 3), 250) > 1.5 * width(&line(300, 3), 60));
    assert!(width(&line(300, 2), 128) > 1.2 * width(&line(300, 30), 128));
}

#[test]
fn a_sharp_corner_is_reached_and_has_no_spike() {
    let mut points = line(100, 4);
    points.extend((1..25).map(|i| (100.0 - (i * 4) as f32, (i * 2) as f32)));
    let figures = flatten(&steps(&ink(&points, 200), PEN));
    let (_, max) = extent(&figures);
    assert!(max.x > 96.0 && max.x < 104.1, "the tip is at {}", max.x);
    for p in &points[1..points.len() - 1] {
        let near = Vec2::new(p.0.min(97.0), p.1);
        assert_ne!(winding(&figures, near), 0, "a hole at {near}");
    }
}

#[test]
fn ten_thousand_points_cost_ten_times_a_thousand() {
    let spiral: Vec<(f32, f32)> = (0..10_000)
        .map(|i| i as f32 * 0.05)
        .map(|t| (t.cos() * t * 3.0, t.sin() * t * 3.0))
        .collect();
    let (tenth, whole) = (
        steps(&ink(&spiral[..1000], 128), PEN).len(),
        steps(&ink(&spiral, 128), PEN).len(),
    );
    assert!(whole < 25 * 10_000 && tenth < 25 * 1000, "{tenth} {whole}");

    // A live stroke traces a short tail however long it has become.
    let mut live = LiveOutline::new(PEN);
    let (mut settled, mut longest) = (Vec::new(), 0);
    for point in ink(&spiral, 128) {
        live.push(&[point]);
        live.settle(&mut settled);
        let mut tail = Vec::new();
        live.tail(&mut tail);
        longest = longest.max(tail.len());
    }
    assert!(longest < 250, "{longest} steps");
}

#[test]
fn what_has_settled_looks_like_the_finished_stroke() {
    let wave: Vec<(f32, f32)> = (0..600)
        .map(|i| i as f32)
        .map(|t| (t * 2.0, (t * 0.07).sin() * 60.0))
        .collect();
    let points = ink(&wave, 128);
    let whole = area(&flatten(&steps(&points, PEN)));
    let mut live = LiveOutline::new(PEN);
    let mut parts = Vec::new();
    for part in points.chunks(7) {
        live.push(part);
        live.settle(&mut parts);
    }
    live.tail(&mut parts);
    // Pieces overlap by half a nib at each joint.
    let pieces = parts
        .iter()
        .filter(|step| **step == PathStep::Close)
        .count();
    let apart = area(&flatten(&parts)) - whole;
    assert!(
        pieces > 5 && apart > 0.0 && apart < pieces as f32 * 55.0,
        "{pieces} pieces, {apart} apart"
    );
}

#[test]
fn thinning_out_keeps_both_ends() {
    let points = ink(&line(100, 1), 128);
    let mut kept = Vec::new();
    thin_out(&points, 16 * 30, |p| kept.push(p.x / 16));
    assert_eq!(kept, [0, 30, 60, 90, 100]);
}

fn scribble() -> impl Strategy<Value = Vec<InkPoint>> {
    let near = (-600i32..600, -600i32..600, any::<u8>());
    let steps = proptest::collection::vec(
        (
            -60i32..60,
            -60i32..60,
            prop_oneof![Just(128u8), any::<u8>()],
        ),
        1..60,
    );
    prop_oneof![
        proptest::collection::vec(near, 1..60),
        steps.prop_map(|steps| {
            let mut at = (0, 0);
            steps
                .into_iter()
                .map(|(dx, dy, p)| {
                    at = (at.0 + dx, at.1 + dy);
                    (at.0, at.1, p)
                })
                .collect()
        }),
    ]
    .prop_map(|points| {
        points
            .into_iter()
            .map(|(x, y, p)| InkPoint::new(x, y, p))
            .collect()
    })
}

proptest! {
    #[test]
    fn any_scribble_is_filled_along_its_middle_and_stays_in_its_extent(points in scribble(), marker: bool) {
        let style = if marker { MARKER } else { PEN };
        let figures = flatten(&steps(&points, style));
        let mut spine = Spine::new(style);
        points.iter().for_each(|p| spine.push(p));
        let mut middle = Vec::new();
        spine.for_each_from(0, |p| middle.push(p.at));
        for pair in middle.windows(2) {
            let p = pair[0].midpoint(pair[1]) + Vec2::splat(0.001);
            prop_assert!(winding(&figures, p) < 0, "a hole at {p}");
        }
        // The extent by which the board decides what to redraw.
        let origin = points[0].at;
        let (min, max) = extent(&figures);
        let bounds = BoardRect::around(points.iter().map(|p| BoardPoint::new(p.at.x - origin.x, p.at.y - origin.y)));
        let bounds = bounds.inflate(i32::from(WIDTH) / 2 + 1);
        prop_assert!(min.x * 16.0 >= bounds.min.x as f32 - 8.0 && min.y * 16.0 >= bounds.min.y as f32 - 8.0, "{min} {bounds:?}");
        prop_assert!(max.x * 16.0 <= bounds.max.x as f32 + 8.0 && max.y * 16.0 <= bounds.max.y as f32 + 8.0, "{max} {bounds:?}");
    }

    #[test]
    fn settled_ink_never_changes(points in scribble(), more in scribble()) {
        let settled = |all: &[InkPoint]| {
            let mut spine = Spine::new(PEN);
            all.iter().for_each(|p| spine.push(p));
            let settled = spine.settled();
            spine.points()[..=settled].iter().map(|p| (p.at, p.radius)).collect::<Vec<_>>()
        };
        let early = settled(&points);
        let mut all = points;
        all.extend(more);
        let late = settled(&all);
        if early.len() > 1 {
            prop_assert_eq!(&early[..], &late[..early.len()]);
        }
    }

    #[test]
    fn any_legal_points_give_numbers(points in proptest::collection::vec((any::<i32>(), any::<i32>(), any::<u8>()), 0..40), width in 1u16..=8192) {
        let legal = |v: i32| v.clamp(-COORDINATE_MAX, COORDINATE_MAX);
        let points: Vec<_> = points.into_iter().map(|(x, y, p)| InkPoint::new(legal(x), legal(y), p)).collect();
        let steps = steps(&points, StrokeStyle { width, ..PEN });
        prop_assert_eq!(steps.is_empty(), points.is_empty());
        for figure in flatten(&steps) {
            prop_assert!(figure.iter().all(|p| p.is_finite()));
        }
        let mut text = String::new();
        write_path(&steps, &mut text);
        prop_assert!(text.is_ascii());
    }
}
