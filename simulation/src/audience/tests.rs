//! The tree of covered areas against a search of all of them, and its bounds.

use chalkboard_shared::BoardPoint;
use proptest::prelude::*;

use super::*;

fn rect(x: i32, y: i32, width: i32, height: i32) -> BoardRect {
    BoardRect::from_corners(
        BoardPoint::new(x, y),
        BoardPoint::new(x + width, y + height),
    )
}

/// What the tree must find: each area that meets a rectangle, with who covers it.
fn met(audience: &mut Audience, rects: &[BoardRect]) -> BTreeMap<Coverage, Vec<u32>> {
    let mut found = BTreeMap::new();
    audience.visit_met(rects, |area, numbers| {
        let numbers: Vec<u32> = numbers
            .iter()
            .copied()
            .filter(|&number| rects[number as usize].intersects(area.rect()))
            .collect();
        if !numbers.is_empty() {
            assert_eq!(found.insert(area.coverage, numbers), None, "visited twice");
        }
    });
    found
}

fn views() -> impl Strategy<Value = (u32, Option<(i32, i32, i32)>)> {
    let view = (-200_000..200_000, -200_000..200_000, 1_000..900_000);
    (0..30_u32, proptest::option::of(view))
}

proptest! {
    /// Sessions come, go elsewhere and leave; the tree finds what a search of all areas finds.
    #[test]
    fn those_who_cover_a_place_are_found(
        moves in proptest::collection::vec(views(), 1..120),
        rects in proptest::collection::vec((-300_000..300_000, -300_000..300_000, 0..50_000), 0..20),
    ) {
        let mut audience = Audience::default();
        let mut covered = BTreeMap::new();
        for (session, view) in moves {
            let session = SessionId(session);
            let now = view.map(|(x, y, size)| Coverage::of_view(rect(x, y, size, size / 2), None));
            let before = match now {
                Some(now) => covered.insert(session, now),
                None => covered.remove(&session),
            };
            audience.follow(session, before, now);
        }
        let mut sessions = BTreeMap::<Coverage, Vec<SessionId>>::new();
        for (&session, &coverage) in &covered {
            sessions.entry(coverage).or_default().push(session);
        }
        let rects: Vec<_> = rects.iter().map(|&(x, y, size)| rect(x, y, size, size)).collect();
        let expected: BTreeMap<Coverage, Vec<u32>> = sessions
            .keys()
            .map(|&coverage| {
                let met = (0..rects.len() as u32)
                    .filter(|&number| rects[number as usize].intersects(coverage.rect()));
                (coverage, met.collect::<Vec<_>>())
            })
            .filter(|(_, met)| !met.is_empty())
            .collect();
        prop_assert_eq!(met(&mut audience, &rects), expected);
        audience.visit_met(&[BoardRect::EVERYTHING], |area, _| {
            assert_eq!(Some(area.sessions().to_vec()), sessions.remove(&area.coverage));
        });
        prop_assert!(sessions.is_empty());
    }
}

#[test]
fn what_lies_everywhere_and_what_is_seen_everywhere_is_found_without_noting_each_pair() {
    let mut audience = Audience::default();
    let sessions = 1 << 10;
    for n in 0..sessions {
        let view = rect(n * 100_000, 0, 10_000, 10_000);
        audience.follow(
            SessionId(n as u32),
            None,
            Some(Coverage::of_view(view, None)),
        );
    }
    let rects = vec![BoardRect::EVERYTHING; MEETINGS_MAX / sessions as usize + 1];
    let mut visited = 0;
    audience.visit_met(&rects, |_, numbers| {
        assert_eq!(numbers.len(), rects.len());
        visited += 1;
    });
    assert_eq!(visited, sessions);
}

#[test]
fn the_tree_is_as_large_as_what_is_covered() {
    let mut audience = Audience::default();
    let mut before = None;
    for n in 0..1_000 {
        let now = Some(Coverage::of_view(rect(n * 50_000, 0, 10_000, 10_000), None));
        audience.follow(SessionId(1), before, now);
        before = now;
    }
    assert_eq!(audience.tree.size(), 1);
    // While a session moves, its new area comes to be before the place of the old one is given away again.
    assert!(audience.areas.len() <= 2, "{}", audience.areas.len());
    audience.follow(SessionId(1), before, None);
    assert_eq!(audience.tree.size(), 0);
}
