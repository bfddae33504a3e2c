//! Chunks survive and are small, and damaged ones are refused.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::id::{OpId, Position, StrokeId};
use crate::ink::InkPoint;
use crate::limits::{COORDINATE_MAX, POINTS_PER_STROKE_MAX, WIDTH_MAX};
use crate::stroke::{Ink, Nib};

fn any_op_id() -> impl Strategy<Value = OpId> {
    let actor = prop_oneof![0u64..4, any::<u64>()];
    let counter = prop_oneof![0u32..9, any::<u32>()];
    (actor, counter).prop_map(|(actor, counter)| OpId {
        actor: ActorId(actor),
        counter,
    })
}

fn any_ink() -> impl Strategy<Value = Vec<InkPoint>> {
    let far = -COORDINATE_MAX..=COORDINATE_MAX;
    let point = prop_oneof![
        (far.clone(), far, any::<u8>()),
        (-200i32..200, -200i32..200, any::<u8>()),
        (-20i32..20, -20i32..20, Just(128u8)).prop_map(|(x, y, p)| (x * 16, y * 16, p)),
    ];
    proptest::collection::vec(point.prop_map(|(x, y, p)| InkPoint::new(x, y, p)), 0..60)
}

fn any_stroke() -> impl Strategy<Value = Stroke> {
    let style = (any::<bool>(), 0u32..=0xff_ffff, 1..=WIDTH_MAX);
    let z = prop_oneof![0u64..100, any::<u64>()];
    let by = || proptest::option::of(any_op_id());
    let state = (any::<bool>(), any::<bool>(), by(), by());
    (any_op_id(), z, style, any_ink(), state).prop_map(|(id, z, style, points, state)| {
        let (pen, color, width) = style;
        let nib = if pen { Nib::Pen } else { Nib::Highlighter };
        let style = StrokeStyle { nib, color, width };
        let mut stroke = Stroke::new(StrokeId(id), Position(z), style);
        stroke.push(&points);
        let (finished, erased, restyled, touched) = state;
        if finished {
            stroke.finish();
        }
        stroke.erased.value = erased;
        stroke.style.by = restyled.unwrap_or(id);
        stroke.erased.by = touched.unwrap_or(id);
        stroke
    })
}

fn any_strokes() -> impl Strategy<Value = Vec<Stroke>> {
    proptest::collection::vec(any_stroke(), 0..40)
}

fn encoded(strokes: &[Stroke]) -> Bytes {
    let mut w = Writer::new();
    encode(strokes, &mut w);
    w.into_bytes()
}

/// Both ways to decode take the same and refuse the same.
fn decoded(bytes: impl Into<Bytes>) -> Result<Vec<Stroke>, DecodeError> {
    let bytes = bytes.into();
    let quickly = decode_by::<false>(&mut Reader::new(bytes.clone()));
    let small = decode_by::<true>(&mut Reader::new(bytes));
    assert_eq!(quickly.as_ref().ok(), small.as_ref().ok());
    quickly
}

proptest! {
    #[test]
    fn strokes_survive(strokes in any_strokes()) {
        prop_assert_eq!(decoded(encoded(&strokes)), Ok(strokes));
    }

    #[test]
    fn strokes_of_a_chunk_are_sent_again_as_they_were(strokes in any_strokes()) {
        let bytes = encoded(&strokes);
        let back = decoded(bytes.clone()).expect("own form");
        prop_assert_eq!(encoded(&back), bytes);
        let alone = |stroke: &Stroke| {
            let mut w = Writer::new();
            stroke.encode(&mut w);
            w.into_bytes()
        };
        for (stroke, back) in strokes.iter().zip(&back) {
            prop_assert_eq!(alone(back), alone(stroke));
            prop_assert_eq!(back.digest(), stroke.digest());
            prop_assert_eq!(back.first_point(), stroke.first_point());
        }
    }

    #[test]
    fn a_chunk_that_ends_too_early_is_refused(strokes in any_strokes(), cut: proptest::sample::Index) {
        let bytes = encoded(&strokes);
        prop_assert!(decoded(bytes.slice(..cut.index(bytes.len()))).is_err());
    }

    #[test]
    fn any_bytes_never_panic(bytes: Vec<u8>) {
        let _ = decoded(bytes);
    }

    #[test]
    fn changed_bytes_never_panic(
        strokes in any_strokes(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), 0u8..8), 1..4),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let mut bytes = encoded(&strokes).to_vec();
        for (at, bit) in changes {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(strokes) = decoded(bytes) {
            // What is taken is within all limits, so that it can be passed on.
            prop_assert!(strokes.iter().all(|s| s.point_count as usize <= POINTS_PER_STROKE_MAX));
            prop_assert!(strokes.iter().all(|s| s.points().iter().all(|p| p.at.is_in_bounds())));
        }
    }
}

/// A hand that writes along slow waves, on a grid of `grid` units, with so much noise.
fn waves(n: u32, grid: i32, noise: i32) -> Stroke {
    let id = StrokeId(OpId {
        actor: ActorId(u64::from(n % 7) << 40),
        counter: n / 7 * 3 + 1,
    });
    let style = StrokeStyle {
        nib: Nib::Pen,
        color: 0x1d_1d_1f,
        width: 64,
    };
    let mut stroke = Stroke::new(id, Position(u64::from(n) * 20), style);
    let mut wild = n;
    let mut shaken = |v: f64| {
        wild = wild.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        let shake = (wild >> 9) as i32 % (2 * noise + 1) - noise;
        (v as i32 + shake) / grid * grid
    };
    let points: Vec<_> = (0..30)
        .map(|i| {
            let t = f64::from(i) / 12.0 + f64::from(n);
            let (x, y) = (t.sin() * 4000.0, (1.3 * t).cos() * 4000.0);
            let pressure = (t * 2.0).sin() * 60.0 + 128.0;
            InkPoint::new(shaken(x), shaken(y), pressure as u8)
        })
        .collect();
    stroke.push(&points);
    stroke.finish();
    stroke
}

/// Bytes a stroke, alone in packed form and in a chunk of 700.
fn sizes(grid: i32, noise: i32) -> (f64, f64) {
    let strokes: Vec<_> = (0..700).map(|n| waves(n, grid, noise)).collect();
    let packed = |stroke: &Stroke| match &stroke.ink {
        Ink::Dry(packed) => packed.as_bytes().len(),
        _ => 0,
    };
    let alone: usize = strokes.iter().map(packed).sum();
    let chunk = encoded(&strokes);
    assert_eq!(decoded(chunk.clone()), Ok(strokes));
    (alone as f64 / 700.0, chunk.len() as f64 / 700.0)
}

#[test]
fn a_chunk_with_all_that_belongs_to_strokes_is_smaller_than_their_ink_alone() {
    for (grid, noise) in [(16, 64), (1, 3), (1, 40), (16, 0)] {
        let (alone, chunk) = sizes(grid, noise);
        assert!(
            chunk < 0.9 * alone,
            "grid {grid}, noise {noise}: {chunk:.1} bytes a stroke, {alone:.1} packed"
        );
    }
}

#[test]
fn few_bytes_cannot_claim_many_points() {
    // The same point over and over costs no bit at all, so only the count bounds it.
    let mut stroke = waves(1, 16, 0);
    let points = vec![InkPoint::new(0, 0, 128); POINTS_PER_STROKE_MAX];
    stroke = Stroke::new(stroke.id, stroke.z, stroke.style.value);
    stroke.push(&points);
    stroke.finish();
    let fits = CHUNK_POINTS_MAX / POINTS_PER_STROKE_MAX;
    let strokes = vec![stroke; fits + 1];
    assert!(decoded(encoded(&strokes[..fits])).is_ok());
    assert_eq!(decoded(encoded(&strokes)), Err(DecodeError::OutOfRange));
}
