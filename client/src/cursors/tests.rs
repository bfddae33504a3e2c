//! What is told of cursors, whole, late or lost, shows as pointers that move smoothly or rest.

use chalkboard_shared::codec::Writer;
use chalkboard_shared::{BoardPoint, BoardRect};

use super::*;

const TICK_MS: f64 = 1000.0 / 60.0;

const CELL: PresenceCell = PresenceCell {
    level: 2,
    column: 0,
    row: 0,
};

fn sample(x: i32, y: i32, at_ms: f64) -> CursorSample {
    let cursor = CursorState {
        at: BoardPoint::new(x * 16, y * 16),
        tool: CursorTool::Pen,
        pressed: false,
    };
    CursorSample::new(CELL, cursor, (at_ms * STAMPS_PER_MS) as u32)
}

fn group(number: u16, rows: &[(u32, CursorSample)]) -> CursorGroup {
    let rows = rows.iter().map(|(s, sample)| (SessionId(*s), *sample));
    CursorGroup::new(number, CELL, 0, rows)
}

fn delta(base: &CursorGroup, changed: &[(u32, CursorSample)]) -> Bytes {
    let changed: Vec<_> = changed
        .iter()
        .map(|(s, sample)| (base.slot(SessionId(*s)).expect("in the group"), *sample))
        .collect();
    let mut w = Writer::new();
    base.encode_delta(base.time_ms() + 10, &changed, 1000, &mut w);
    w.into_bytes()
}

/// The next keyframe, with those who stay where they are and those who come.
fn successor(
    base: &CursorGroup,
    stay: &[u32],
    come: &[(u32, CursorSample)],
) -> (CursorGroup, Bytes) {
    let now: Vec<_> = base
        .cursors()
        .iter()
        .map(|cursor| stay.contains(&cursor.session.0).then_some(cursor.sample))
        .collect();
    let come = come.iter().map(|(s, sample)| (SessionId(*s), *sample));
    let next = base.successor(base.time_ms() + 160, &now, come);
    let mut w = Writer::new();
    next.encode_successor(base, &mut w);
    (next, w.into_bytes())
}

fn connected() -> Cursors {
    let mut cursors = Cursors::new(false);
    let pace = Pace {
        tick_us: 16_667,
        presence: PresenceStage::Full,
    };
    cursors.connected(SessionId(0), pace);
    cursors
}

fn place(cursors: &Cursors, session: u32, now_ms: f64) -> Option<(f32, f32)> {
    cursors
        .at(now_ms)
        .find(|view| view.session == SessionId(session))
        .map(|view| (view.x, view.y))
}

fn sessions(cursors: &Cursors, now_ms: f64) -> Vec<u32> {
    let mut sessions: Vec<_> = cursors.at(now_ms).map(|view| view.session.0).collect();
    sessions.sort_unstable();
    sessions
}

#[test]
fn a_moving_cursor_advances_evenly_though_datagrams_are_lost_and_late() {
    let mut cursors = connected();
    let base = group(1, &[(0, sample(5, 5, 0.0)), (1, sample(100, 100, 0.0))]);
    cursors.group(1000.0, base.clone());
    let mut shown = Vec::new();
    for n in 1..90u64 {
        let made = n as f64 * TICK_MS;
        let now = 1000.0 + made;
        // Every seventh is lost; the others come up to 6 ms late.
        if n % 7 != 0 {
            let late = (n * 5 % 7) as f64;
            let moved = (1, sample(100 + 4 * n as i32, 100, made));
            cursors
                .delta(now + late, delta(&base, &[moved]))
                .expect("a delta");
        }
        if n > 20 {
            shown.push(place(&cursors, 1, now + 7.0).expect("is there").0);
        }
    }
    for pair in shown.windows(2) {
        let step = pair[1] - pair[0];
        // 4 px a tick on average; a stall or a leap would show.
        assert!((1.5..=7.0).contains(&step), "{step} of {shown:?}");
    }
    assert_eq!(cursors.len(), 1, "one's own is not shown");
}

#[test]
fn nothing_moves_past_the_last_known_place() {
    let mut cursors = connected();
    let base = group(1, &[(1, sample(100, 100, 0.0))]);
    cursors.group(0.0, base.clone());
    for n in 1..10 {
        let at = f64::from(n) * TICK_MS;
        let moved = (1, sample(100 + 9 * n, 100, at));
        cursors.delta(at, delta(&base, &[moved])).expect("a delta");
    }
    let (x, _) = place(&cursors, 1, 2000.0).expect("is there");
    assert!((x - 181.0).abs() <= 0.5, "{x}");
    assert!(!cursors.is_moving(2000.0));
}

#[test]
fn after_a_rest_the_way_begins_anew_and_long_ways_are_jumped() {
    let mut cursors = connected();
    let base = group(1, &[(1, sample(100, 100, 0.0)), (2, sample(100, 100, 0.0))]);
    cursors.group(0.0, base.clone());
    let now = 3000.0;
    let moved = [(1, sample(140, 100, now)), (2, sample(1100, 100, now))];
    cursors.delta(now, delta(&base, &moved)).expect("a delta");
    let (near, _) = place(&cursors, 1, now).expect("is there");
    assert!((100.0..130.0).contains(&near), "{near}");
    let (far, _) = place(&cursors, 2, now).expect("is there");
    assert!((far - 1100.0).abs() <= 0.5, "{far}");
}

#[test]
fn keyframes_take_out_who_has_gone_and_a_missed_one_is_asked_for() {
    let mut cursors = connected();
    let first = group(1, &[(1, sample(1, 1, 0.0)), (2, sample(2, 2, 0.0))]);
    cursors.group(0.0, first.clone());
    let (second, body) = successor(&first, &[2], &[(3, sample(3, 3, 160.0))]);
    cursors.keyframe(160.0, body.clone()).expect("follows");
    cursors.keyframe(161.0, body).expect("passed over");
    // One who has left may be on the way into the next group, and is shown for a while.
    assert_eq!(sessions(&cursors, 170.0), [1, 2, 3]);
    assert_eq!(sessions(&cursors, 170.0 + LEAVING_MS), [2, 3]);
    assert_eq!(cursors.take_missed(1000.0), None);

    let (third, _lost) = successor(&second, &[2, 3], &[]);
    let against_third = delta(&third, &[(3, sample(50, 50, 400.0))]);
    cursors
        .delta(400.0, against_third.clone())
        .expect("passed over");
    let late = delta(&second, &[(3, sample(7, 7, 390.0))]);
    cursors.delta(401.0, late).expect("a delta");
    let stale = delta(&first, &[(2, sample(99, 99, 395.0))]);
    cursors.delta(402.0, stale).expect("passed over");
    assert_eq!(cursors.take_missed(410.0), None, "it may be on its way");
    assert_eq!(cursors.take_missed(600.0), Some(1));
    assert_eq!(cursors.take_missed(610.0), None, "was asked for");
    cursors.group(620.0, third);
    cursors.delta(630.0, against_third).expect("a delta");
    assert_eq!(
        place(&cursors, 3, 900.0).map(|(x, _)| x.round()),
        Some(50.0)
    );
    assert_eq!(cursors.take_missed(5000.0), None);
    // One that is never sent is not asked for without end.
    cursors
        .delta(6000.0, late_of_nothing())
        .expect("passed over");
    let asked = (0..100).filter(|n| {
        cursors
            .take_missed(7000.0 + f64::from(*n) * 500.0)
            .is_some()
    });
    assert_eq!(asked.count(), 3);
}

#[test]
fn a_cursor_goes_from_group_to_group_without_a_blink() {
    let mut cursors = connected();
    let one = group(1, &[(1, sample(1, 1, 0.0)), (2, sample(1, 1, 0.0))]);
    let other = group(2, &[(3, sample(3, 3, 0.0))]);
    cursors.group(0.0, one.clone());
    cursors.group(0.0, other.clone());
    let (_, body) = successor(&one, &[2], &[]);
    cursors.keyframe(100.0, body).expect("follows");
    assert_eq!(sessions(&cursors, 150.0), [1, 2, 3]);
    let (_, body) = successor(&other, &[3], &[(1, sample(9, 9, 150.0))]);
    cursors.keyframe(160.0, body).expect("follows");
    assert_eq!(sessions(&cursors, 1000.0), [1, 2, 3]);
}

#[test]
fn a_crowd_stands_in_for_cursors_until_they_are_told_again() {
    let mut cursors = connected();
    cursors.group(0.0, group(1, &[(1, sample(1, 1, 0.0))]));
    let mut map = CrowdMap::new(CELL);
    map.add((5, 5));
    cursors.crowd(map);
    assert!(cursors.is_empty());
    assert_eq!(cursors.crowds().map(CrowdMap::total).sum::<u32>(), 1);
    cursors.group(50.0, group(2, &[(1, sample(1, 1, 50.0))]));
    assert_eq!((cursors.len(), cursors.crowds().count()), (1, 0));
}

#[test]
fn what_is_not_covered_any_more_is_forgotten() {
    let mut cursors = connected();
    cursors.group(0.0, group(1, &[(1, sample(1, 1, 0.0))]));
    let view = |x: i32| {
        let corner = BoardPoint::new(x, 0);
        let other = BoardPoint::new(x + 16_000, 16_000);
        Coverage::of_view(BoardRect::from_corners(corner, other), None)
    };
    cursors.cover(view(0));
    assert_eq!(cursors.len(), 1);
    cursors.cover(view(1_000_000));
    assert!(cursors.is_empty());
}

#[test]
fn a_cursor_that_rests_for_long_fades() {
    let mut cursors = connected();
    cursors.group(0.0, group(1, &[(1, sample(1, 1, 0.0))]));
    let alpha = |at: f64| cursors.at(at).next().map(|v| v.alpha);
    assert_eq!(alpha(1000.0), Some(1.0));
    let faded = alpha(60_000.0).expect("is there");
    assert!((faded - ALPHA_MIN).abs() < 1e-4, "{faded}");
}

/// A delta against a group that nobody has heard of.
fn late_of_nothing() -> Bytes {
    delta(&group(77, &[(9, sample(1, 1, 0.0))]), &[])
}
