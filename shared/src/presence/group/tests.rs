//! What one side writes of a group the other reads, and nobody's bytes do harm.

use proptest::prelude::*;

use super::rows::STEP_MAX;
use super::*;
use crate::board_point::BoardPoint;

const CELL: PresenceCell = PresenceCell {
    level: 4,
    column: -1,
    row: 0,
};

fn any_sample() -> impl Strategy<Value = CursorSample> {
    let v = -STEP_MAX..=STEP_MAX;
    (v.clone(), v, 0u8..8, any::<u32>()).prop_map(|(x, y, state, stamp)| CursorSample {
        x,
        y,
        state,
        stamp,
    })
}

fn near(sample: CursorSample, (dx, dy): (i32, i32), later: u32) -> CursorSample {
    CursorSample {
        x: (sample.x + dx).clamp(-STEP_MAX, STEP_MAX),
        y: (sample.y + dy).clamp(-STEP_MAX, STEP_MAX),
        stamp: sample.stamp.wrapping_add(later),
        ..sample
    }
}

fn any_cursors() -> impl Strategy<Value = std::collections::BTreeMap<u32, CursorSample>> {
    proptest::collection::btree_map(0u32..500, any_sample(), 0..40)
}

fn group(cursors: &std::collections::BTreeMap<u32, CursorSample>) -> CursorGroup {
    let rows = cursors.iter().map(|(s, sample)| (SessionId(*s), *sample));
    CursorGroup::new(7, CELL, u32::MAX - 100, rows)
}

/// A change of a group: what becomes of each cursor, by turns, and who comes.
type Change = (
    u32,
    Vec<(u8, (i32, i32), u32)>,
    std::collections::BTreeMap<u32, CursorSample>,
);

fn any_change() -> impl Strategy<Value = Change> {
    let what = (
        0u8..8,
        (-90i32..90, -90i32..90),
        prop_oneof![Just(0), 0u32..20_000, any::<u32>()],
    );
    (
        0u32..5000,
        proptest::collection::vec(what, 1..20),
        proptest::collection::btree_map(500u32..1000, any_sample(), 0..20),
    )
}

fn changed(before: &CursorGroup, (ahead, what, come): &Change) -> CursorGroup {
    let now: Vec<_> = before
        .cursors()
        .iter()
        .zip(what.iter().cycle())
        .map(|(cursor, &(kind, by, later))| match kind {
            0 => None,
            1 | 2 => Some(cursor.sample),
            _ => Some(near(cursor.sample, by, later)),
        })
        .collect();
    let come = come
        .iter()
        .map(|(s, sample)| (SessionId(*s), *sample))
        .filter(|(s, _)| before.slot(*s).is_none());
    before.successor(before.time_ms().wrapping_add(*ahead), &now, come)
}

fn written(write: impl FnOnce(&mut Writer)) -> Reader {
    let mut w = Writer::new();
    write(&mut w);
    Reader::new(w.into_bytes())
}

proptest! {
    #[test]
    fn a_group_survives_whole_and_from_keyframe_to_keyframe(cursors in any_cursors(), changes in proptest::collection::vec(any_change(), 0..6)) {
        let mut ours = group(&cursors);
        let mut theirs = CursorGroup::decode(&mut written(|w| ours.encode(w)));
        prop_assert_eq!(theirs.as_ref(), Ok(&ours));
        for change in changes {
            let next = changed(&ours, &change);
            theirs = theirs.and_then(|t| t.decode_successor(&mut written(|w| next.encode_successor(&ours, w))));
            prop_assert_eq!(theirs.as_ref(), Ok(&next));
            ours = next;
            let whole = CursorGroup::decode(&mut written(|w| ours.encode(w)));
            prop_assert_eq!(whole.as_ref(), Ok(&ours));
        }
    }

    #[test]
    fn a_delta_survives_and_keeps_within_its_budget(cursors in any_cursors(), change in any_change(), ahead in 0u32..3000, skip in 1usize..4, budget in 64usize..300) {
        let group = changed(&group(&cursors), &change);
        let rows: Vec<_> = group.cursors().iter().enumerate().step_by(skip)
            .zip(change.1.iter().cycle())
            .map(|((slot, cursor), (_, by, later))| (slot, near(cursor.sample, *by, *later)))
            .collect();
        let time_ms = group.time_ms().wrapping_add(ahead);
        let mut w = Writer::new();
        let count = group.encode_delta(time_ms, &rows, budget, &mut w);
        prop_assert!(w.len() <= budget, "{} of {}", w.len(), budget);
        prop_assert!(count > 0 || rows.is_empty());
        let expect = GroupDelta { time_ms, changed: rows[..count].to_vec() };
        prop_assert_eq!(group.decode_delta(&mut Reader::new(w.into_bytes())), Ok(expect));
    }

    #[test]
    fn stamps_of_any_distance_are_no_trouble(sample in any_sample(), stamps: [u32; 3], order in 0u8..3) {
        let place = |stamp| Place { x: -sample.x, y: -sample.y, stamp };
        let cursor = GroupCursor {
            session: SessionId(1),
            sample,
            known: KNOWN_MAX as u8,
            before: [place(stamps[0]), place(stamps[1])],
            goes_on: true,
        };
        let (x, y) = extrapolated(&cursor, stamps[2], order);
        prop_assert!(x.abs() <= STEP_MAX && y.abs() <= STEP_MAX);
        let _ = cursor.is_even();
        let _ = cursor.course().map(|course| (course.at(stamps[2]), course.end()));
    }

    #[test]
    fn any_bytes_never_panic(mut bytes: Vec<u8>, cursors in any_cursors(), change in any_change()) {
        let group = changed(&group(&cursors), &change);
        let _ = CursorGroup::decode(&mut Reader::new(bytes.clone().into()));
        // With the right head, so that the rest is looked at.
        for generation in [group.generation, group.generation.wrapping_add(1)] {
            bytes.splice(0..bytes.len().min(3), [7, 0, generation]);
            let _ = group.decode_delta(&mut Reader::new(bytes.clone().into()));
            let _ = group.decode_successor(&mut Reader::new(bytes.clone().into()));
        }
    }
}

/// 190 cursors on curves, told every 33 ms, a keyframe every 165 ms.
fn bytes_per_cursor(stamp_unit: u32) -> f64 {
    let at = |i: u32, t_ms: u32| {
        let t = f64::from(t_ms) / 1000.0;
        let (fx, fy) = (
            0.7 + f64::from(i % 13) * 0.06,
            0.6 + f64::from(i % 17) * 0.06,
        );
        let noise = f64::from((i * 7919 + t_ms * 104_729) % 97) / 12.0;
        let x = -4096.0 + 3900.0 * (fx * t + f64::from(i)).sin() + noise;
        let y = 4096.0 + 3900.0 * (fy * t + f64::from(i * 3)).sin() - noise;
        let cursor = CursorState::from_state_bits(BoardPoint::from_pixels(x as f32, y as f32), 0);
        let stamp = (t_ms * 100 + (i * 31 + t_ms) % 29) / stamp_unit * stamp_unit;
        CursorSample::new(CELL, cursor, stamp)
    };
    let sent = |i: u32, t_ms: u32| at(i, t_ms - (t_ms + i * 7) % 50);
    let mut group = CursorGroup::new(
        1,
        CELL,
        10_000,
        (0..190).map(|i| (SessionId(i), sent(i, 10_000))),
    );
    let (mut bytes, mut told) = (0, 0);
    for tick in 1..300u32 {
        let time_ms = 10_000 + tick * 33;
        let mut w = Writer::new();
        if tick % 5 == 0 {
            let now: Vec<_> = (0..190).map(|i| Some(sent(i, time_ms))).collect();
            let next = group.successor(time_ms, &now, []);
            next.encode_successor(&group, &mut w);
            group = next;
        } else {
            let rows: Vec<_> = (0..190u32)
                .filter(|i| sent(*i, time_ms) != sent(*i, time_ms - 33))
                .map(|i| (i as usize, sent(i, time_ms)))
                .collect();
            assert_eq!(group.encode_delta(time_ms, &rows, 1000, &mut w), rows.len());
        }
        if tick > 30 {
            bytes += w.len();
            told += (0..190u32)
                .filter(|i| sent(*i, time_ms) != sent(*i, time_ms - 33))
                .count();
        }
    }
    bytes as f64 / told as f64
}

#[test]
fn a_moving_cursor_costs_about_two_bytes() {
    let (coarse, fine) = (bytes_per_cursor(100), bytes_per_cursor(1));
    assert!(coarse < 2.25, "{coarse:.2} bytes");
    assert!(fine < 2.9, "{fine:.2} bytes");
}

#[test]
fn resting_cursors_cost_a_bit_each() {
    let rows = (0..160u32).map(|i| {
        let sample = CursorSample {
            x: i as i32 * 40,
            y: 7,
            state: 3,
            stamp: 5,
        };
        (SessionId(i), sample)
    });
    let before = CursorGroup::new(1, CELL, 0, rows);
    let now: Vec<_> = before.cursors().iter().map(|c| Some(c.sample)).collect();
    let mut w = Writer::new();
    before
        .successor(250, &now, [])
        .encode_successor(&before, &mut w);
    assert!(w.len() <= 20 + 10, "{} bytes", w.len());
}
