//! Who follows somebody sees exactly where they point and what they see, wherever that is; who presents is seen so by
//! everybody; and it costs little however many do.

use std::collections::BTreeSet;

use chalkboard_client::Event;
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::limits::{FOLLOWED_EXACTLY_MAX, PRESENTERS_MAX};
use chalkboard_shared::presence::{Pace, PresenceStage};
use chalkboard_shared::wire::{FollowNews, ServerMessage};
use chalkboard_shared::{BoardPoint, BoardRect, RejectReason, Rights, SessionId};
use chalkboard_simulation::Input;
use chalkboard_tests::ensemble::{BAD, Ensemble, GOOD, TICK_MS};
use chalkboard_tests::stage::{Stage, join};

/// Far from everybody else.
const FAR: i32 = 40_000_000;

fn px(x: i32, y: i32) -> BoardRect {
    BoardRect::from_corners(
        BoardPoint::new(x * 16, y * 16),
        BoardPoint::new((x + 1000) * 16, (y + 800) * 16),
    )
}

const fn pointing(x: i32, y: i32) -> CursorState {
    CursorState {
        at: BoardPoint::new(x, y),
        tool: CursorTool::Pen,
        pressed: false,
    }
}

const CROWD: Pace = Pace {
    tick_us: 16_667,
    presence: PresenceStage::Crowd,
};

/// Member 0 is far away; 1 and 2 look at the origin.
fn apart(quality: chalkboard_tests::ensemble::LinkQuality) -> Ensemble {
    let mut ensemble = Ensemble::of_editors(0, 7, quality);
    for view in [px(FAR / 16, -FAR / 16), px(0, 0), px(0, 0)] {
        ensemble.add(Rights::Edit, view);
    }
    ensemble.settle();
    ensemble
}

fn session(ensemble: &Ensemble, n: usize) -> SessionId {
    ensemble.members[n].client.session().expect("connected")
}

fn follow(ensemble: &mut Ensemble, n: usize, followed: usize) {
    let followed = session(ensemble, followed);
    ensemble.members[n].client.follow(Some(followed));
    ensemble.settle();
}

/// Member 0 moves by a step of 5 px in each of so many ticks, from `from` on; the places at which a member has seen
/// them.
fn seen_by(ensemble: &mut Ensemble, n: usize, from: i32, ticks: i32) -> BTreeSet<i32> {
    let moving = session(ensemble, 0);
    let mut seen = BTreeSet::new();
    for step in 0..ticks {
        let now = ensemble.now_ms();
        let cursor = pointing(FAR + (from + step) * 80, -FAR);
        ensemble.members[0].client.set_cursor(now, cursor);
        ensemble.step();
        let now = ensemble.now_ms();
        let views = ensemble.members[n].client.cursors().at(now);
        let places: Vec<_> = views.filter(|view| view.session == moving).collect();
        assert!(places.len() <= 1, "a cursor is shown twice");
        seen.extend(places.iter().map(|view| view.x.round() as i32));
    }
    seen
}

#[test]
fn a_follower_at_the_other_end_sees_every_move_even_among_crowds() {
    let mut ensemble = apart(GOOD);
    ensemble.inputs.push(Input::Pace(CROWD));
    follow(&mut ensemble, 1, 0);
    seen_by(&mut ensemble, 1, 0, 20);
    // Whatever the follower looks at meanwhile.
    ensemble.members[1].client.set_view(px(100_000, 0));
    let seen = seen_by(&mut ensemble, 1, 20, 120);
    assert!(seen.len() >= 110, "of 120 moves {} were seen", seen.len());
    let last = seen_by(&mut ensemble, 1, 140, 1);
    ensemble.run(60);
    let now = ensemble.now_ms();
    let view = ensemble.members[1].client.cursors().at(now).next();
    let view = view.expect("it is still told");
    let expect = (FAR + 140 * 80) as f32 / 16.0;
    // f32 of a place 2.5 million px from the origin.
    assert!(
        (view.x - expect).abs() <= 0.5,
        "{view:?}, not {expect}; {last:?}"
    );
    assert!(seen_by(&mut ensemble, 2, 141, 30).is_empty());
}

#[test]
fn lost_datagrams_cost_a_follower_smoothness_and_nothing_else() {
    let mut ensemble = apart(BAD);
    follow(&mut ensemble, 1, 0);
    seen_by(&mut ensemble, 1, 0, 200);
    ensemble.run(120);
    let now = ensemble.now_ms();
    let view = ensemble.members[1].client.cursors().at(now).next();
    let expect = (FAR + 199 * 80) as f32 / 16.0;
    // The last positions may be lost on the way to the room: they are sent twice, and it makes two of 5 px each here.
    assert!(
        view.is_some_and(|view| (view.x - expect).abs() <= 10.5),
        "{view:?}, not {expect}"
    );
    ensemble.quality.loss_percent = 100;
    ensemble.members[0].client.set_view(px(777, 888));
    ensemble.run(120);
    assert_eq!(
        ensemble.members[1].client.followed_view(),
        Some(px(777, 888))
    );
}

#[test]
fn a_near_cursor_is_shown_once_and_remains_when_following_ends() {
    let mut ensemble = apart(GOOD);
    ensemble.members[1].client.set_view(px(FAR / 16, -FAR / 16));
    ensemble.settle();
    follow(&mut ensemble, 1, 0);
    let seen = seen_by(&mut ensemble, 1, 0, 60);
    assert!(seen.len() > 50, "{seen:?}");
    // All has been told, and is not told again.
    ensemble.run(60);
    ensemble.members[1].client.follow(None);
    ensemble.run(60);
    let now = ensemble.now_ms();
    assert_eq!(ensemble.members[1].client.cursors().at(now).count(), 1);
    assert!(seen_by(&mut ensemble, 1, 60, 60).len() > 30);
}

#[test]
fn the_followed_ones_view_is_told_until_they_leave() {
    let mut ensemble = apart(GOOD);
    follow(&mut ensemble, 1, 0);
    let client = &ensemble.members[1].client;
    assert_eq!(client.followed_view(), Some(px(FAR / 16, -FAR / 16)));
    ensemble.members[0].client.set_view(px(300, 400));
    ensemble.settle();
    assert_eq!(
        ensemble.members[1].client.followed_view(),
        Some(px(300, 400))
    );
    ensemble.cut(0);
    ensemble.settle();
    let client = &ensemble.members[1].client;
    assert_eq!((client.followed(), client.followed_view()), (None, None));
    assert!(!ensemble.room.has_work());
}

#[test]
fn following_goes_on_after_an_interruption() {
    let mut ensemble = apart(GOOD);
    follow(&mut ensemble, 1, 0);
    ensemble.cut(1);
    ensemble.connect(1);
    ensemble.settle();
    assert_eq!(
        ensemble.members[1].client.followed(),
        Some(session(&ensemble, 0))
    );
    assert_eq!(
        ensemble.members[1].client.followed_view(),
        Some(px(FAR / 16, -FAR / 16))
    );
    // Sessions of a room that was loaded anew are other people's.
    ensemble.cut(1);
    ensemble.crash();
    ensemble.connect(1);
    ensemble.settle();
    assert_eq!(ensemble.members[1].client.followed(), None);
}

#[test]
fn nobody_follows_themselves_not_even_by_others() {
    let mut ensemble = apart(GOOD);
    follow(&mut ensemble, 1, 1);
    assert_eq!(ensemble.members[1].client.followed(), None);
    follow(&mut ensemble, 1, 0);
    follow(&mut ensemble, 2, 1);
    ensemble.members[0].events.clear();
    follow(&mut ensemble, 0, 2);
    assert_eq!(ensemble.members[0].client.followed(), None);
    assert!(
        ensemble.members[0]
            .events
            .contains(&Event::Refused(RejectReason::FollowsYou))
    );
    assert_eq!(
        ensemble.members[2].client.followed(),
        Some(session(&ensemble, 1))
    );
}

#[test]
fn presenters_are_seen_by_everybody_and_are_few() {
    let mut ensemble = apart(GOOD);
    ensemble.inputs.push(Input::Pace(CROWD));
    ensemble.members[0].client.present(true);
    ensemble.run(30);
    for n in [1, 2] {
        seen_by(&mut ensemble, n, 0, 20);
        let seen = seen_by(&mut ensemble, n, 20, 60);
        assert!(seen.len() > 50, "{} of 60", seen.len());
        let presenter = session(&ensemble, 0);
        assert_eq!(ensemble.members[n].client.presenters(), [presenter]);
    }
    // Whoever comes later sees it, too.
    let newcomer = ensemble.add(Rights::View, px(0, 0));
    ensemble.run(60);
    assert!(seen_by(&mut ensemble, newcomer, 100, 60).len() > 50);
    ensemble.members[0].client.present(false);
    ensemble.run(60);
    assert!(seen_by(&mut ensemble, newcomer, 200, 30).is_empty());

    for _ in 0..PRESENTERS_MAX {
        let n = ensemble.add(Rights::Edit, px(0, 0));
        ensemble.settle();
        ensemble.members[n].client.present(true);
        ensemble.settle();
    }
    ensemble.members[1].client.present(true);
    ensemble.settle();
    assert!(
        ensemble.members[1]
            .events
            .contains(&Event::Refused(RejectReason::StageFull))
    );
    let client = &ensemble.members[1].client;
    assert_eq!(client.presenters().len(), PRESENTERS_MAX);
    assert!(!client.presenters().contains(&session(&ensemble, 1)));
    // Who may only look has nothing to present.
    ensemble.members[newcomer].client.present(true);
    ensemble.settle();
    let presenting = session(&ensemble, newcomer);
    assert!(
        !ensemble.members[1]
            .client
            .presenters()
            .contains(&presenting)
    );
}

/// What one tick in which everybody has moved sends about the followed: exact frames, views, bytes of all of them.
fn cost(stage: &mut Stage, people: u32, tick: u32) -> (usize, usize) {
    let moves = (1..=people).flat_map(|n| {
        let x = (n as i32) * 1000 + tick as i32 * 16;
        [
            Input::Cursor {
                session: SessionId(n),
                sequence: tick,
                stamp: Some(tick * 1667),
                cursor: pointing(x, 0),
            },
            Input::View {
                session: SessionId(n),
                view: px(x / 16, 0),
            },
        ]
    });
    let output = stage.step(moves);
    let mut exact = 0;
    let mut views = 0;
    for send in &output.sends {
        match ServerMessage::decode(send.frame.clone()) {
            Ok(ServerMessage::Followed { news: Some(_), .. }) => views += 1,
            Ok(
                ServerMessage::CursorGroup(_)
                | ServerMessage::CursorDelta(_)
                | ServerMessage::CursorKeyframe(_),
            ) => exact += 1,
            _ => {}
        }
    }
    (exact, views)
}

#[test]
fn what_a_tick_costs_is_bounded_however_many_follow() {
    const PEOPLE: u32 = 400;
    let mut stage = Stage::default();
    stage.step((1..=PEOPLE).map(|n| join(n, Rights::Edit, px(0, 0))));
    stage.step([Input::Pace(CROWD)]);
    cost(&mut stage, PEOPLE, 1);
    stage.settle();
    // 300 people who are followed by one each, and one of them by two more.
    let follow = |(n, followed)| Input::Follow {
        session: SessionId(n),
        followed: Some(SessionId(followed)),
    };
    let each = (101..=PEOPLE).map(|n| (n, n - 100));
    stage.step(each.chain([(1, 300), (2, 300)]).map(follow));
    stage.received.clear();
    let mut exact = Vec::new();
    for tick in 2..80 {
        let (cursors, views) = cost(&mut stage, PEOPLE, tick);
        assert!(
            cursors <= 2 * FOLLOWED_EXACTLY_MAX,
            "{cursors} frames of cursors"
        );
        assert!(views <= 3 * FOLLOWED_EXACTLY_MAX, "{views} views");
        exact.push(cursors);
    }
    assert!(
        exact[60..]
            .iter()
            .all(|count| *count >= FOLLOWED_EXACTLY_MAX),
        "{exact:?}"
    );
    stage.settle();
    let mut exactly = 0;
    for n in (1..=2).chain(101..=PEOPLE) {
        let messages = stage.take(n);
        let news = |message: &ServerMessage| match message {
            ServerMessage::Followed { news, .. } => *news,
            _ => None,
        };
        let seen: Vec<FollowNews> = messages.iter().rev().filter_map(news).collect();
        let followed = if n <= 2 { 300 } else { n as i32 - 100 };
        let last = px((followed * 1000 + 79 * 16) / 16, 0);
        assert_eq!(seen[0].view, last, "the last view of {followed}");
        // Between two places of the turn everybody is told.
        assert!(seen.len() > 10, "{} views of {followed}", seen.len());
        let has_group = seen.iter().any(|news| news.group != 0);
        exactly += usize::from(has_group);
        assert!(
            has_group || n > 2,
            "of three followers those of 300 are first"
        );
    }
    assert!(
        exactly <= FOLLOWED_EXACTLY_MAX + 2,
        "{exactly} follow exactly"
    );
    // All is forgotten with those who leave.
    stage.step((1..=PEOPLE).map(|n| Input::Leave(SessionId(n))));
    stage.settle();
    assert_eq!(stage.room.session_count(), 0);
}

#[test]
fn whoever_toggles_without_end_makes_few_announcements() {
    let mut stage = Stage::default();
    stage.step((1..=100).map(|n| join(n, Rights::Edit, px(0, 0))));
    stage.settle();
    stage.received.clear();
    for tick in 0..100 {
        stage.step([Input::Present {
            session: SessionId(1),
            is_presenting: tick % 2 == 0,
        }]);
    }
    let told = stage.take(2);
    let told = told
        .iter()
        .filter(|message| matches!(message, ServerMessage::Presenters { .. }));
    let ms = 100.0 * TICK_MS;
    assert!(told.count() as f64 <= ms / 125.0 + 1.0);
}
