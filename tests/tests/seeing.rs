//! Everybody gets what they see, and not more.

use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::interest::Coverage;
use chalkboard_shared::op::InkRun;
use chalkboard_shared::stroke::{Nib, StrokeStyle};
use chalkboard_shared::wire::{ServerMessage, Update};
use chalkboard_shared::{
    ActorId, BoardPoint, BoardRect, InkPoint, Op, OpId, Rights, SessionId, StrokeId,
};
use chalkboard_simulation::Input;
use chalkboard_tests::dice::Dice;
use chalkboard_tests::stage::{Stage, chunk_strokes, join, ops};

const STYLE: StrokeStyle = StrokeStyle {
    nib: Nib::Pen,
    color: 0,
    width: 32,
};

fn px(x0: i32, y0: i32, x1: i32, y1: i32) -> BoardRect {
    BoardRect::from_corners(
        BoardPoint::new(x0 * 16, y0 * 16),
        BoardPoint::new(x1 * 16, y1 * 16),
    )
}

fn line(x0: i32, y0: i32, x1: i32, y1: i32) -> InkRun {
    InkRun::new(vec![
        InkPoint::new(x0 * 16, y0 * 16, 128),
        InkPoint::new(x1 * 16, y1 * 16, 128),
    ])
}

fn begin(x: i32, y: i32) -> Op {
    Op::Begin {
        style: STYLE,
        ink: line(x, y, x + 50, y),
    }
}

const fn stroke(counter: u32) -> StrokeId {
    StrokeId(OpId {
        actor: ActorId(1),
        counter,
    })
}

/// Person 1 draws near the origin, person 2 looks at a place far away.
fn far_apart() -> Stage {
    let mut stage = Stage::default();
    stage.step([
        join(1, Rights::Edit, px(0, 0, 1000, 800)),
        join(2, Rights::Edit, px(50_000, 0, 51_000, 800)),
    ]);
    stage.step([ops(1, 1, vec![begin(100, 100)])]);
    stage
}

fn updates(messages: &[ServerMessage]) -> Vec<&Update> {
    messages
        .iter()
        .filter_map(|message| match message {
            ServerMessage::Updates { updates, .. } => Some(updates),
            _ => None,
        })
        .flatten()
        .collect()
}

#[test]
fn what_is_far_away_is_not_sent() {
    let mut stage = far_apart();
    assert_eq!(updates(&stage.take(1)).len(), 1);
    let messages = stage.take(2);
    assert!(
        updates(&messages).is_empty() && chunk_strokes(&messages).is_empty(),
        "{messages:?}"
    );
}

#[test]
fn who_looks_there_later_gets_it_once() {
    let mut stage = far_apart();
    stage.take(2);
    stage.step([Input::View {
        session: SessionId(2),
        view: px(200, 0, 1200, 800),
    }]);
    let messages = stage.take(2);
    assert_eq!(chunk_strokes(&messages), [stroke(1)]);
    assert!(messages.contains(&ServerMessage::Covered));
    // Within the same coverage, and into one that overlaps it, nothing is sent again.
    stage.step([Input::View {
        session: SessionId(2),
        view: px(250, 0, 1250, 800),
    }]);
    assert_eq!(stage.take(2), []);
    stage.step([Input::View {
        session: SessionId(2),
        view: px(900, 0, 1900, 800),
    }]);
    assert!(chunk_strokes(&stage.take(2)).is_empty());
}

#[test]
fn a_stroke_that_grows_into_view_comes_whole() {
    let mut stage = far_apart();
    stage.take(2);
    let way = [
        Op::Extend {
            stroke: stroke(1),
            ink: line(20_000, 0, 50_500, 400),
        },
        Op::Finish { stroke: stroke(1) },
    ];
    stage.step([ops(1, 2, way.to_vec())]);
    let messages = stage.take(2);
    let [Update::Stroke(whole)] = updates(&messages)[..] else {
        panic!("{messages:?}")
    };
    assert_eq!(
        (whole.id, whole.point_count, whole.is_finished()),
        (stroke(1), 4, true)
    );
    stage.step([ops(
        1,
        4,
        vec![Op::Erase {
            strokes: vec![stroke(1)],
        }],
    )]);
    assert!(matches!(updates(&stage.take(2))[..], [Update::Op(..)]));
}

#[test]
fn a_hidden_stroke_that_grows_into_view_comes_whole() {
    let mut stage = far_apart();
    stage.take(2);
    let erase = Op::Erase {
        strokes: vec![stroke(1)],
    };
    stage.step([ops(1, 2, vec![erase])]);
    let extend = Op::Extend {
        stroke: stroke(1),
        ink: line(20_000, 0, 50_500, 400),
    };
    stage.step([ops(1, 3, vec![extend])]);
    let messages = stage.take(2);
    // Who has just come from elsewhere may hold it as it was there, not hidden yet.
    let [Update::Stroke(whole)] = updates(&messages)[..] else {
        panic!("{messages:?}")
    };
    assert_eq!((whole.erased.value, whole.point_count), (true, 4));
}

#[test]
fn a_restored_stroke_comes_whole() {
    let mut stage = far_apart();
    stage.step([ops(
        1,
        2,
        vec![Op::Erase {
            strokes: vec![stroke(1)],
        }],
    )]);
    stage.step([join(3, Rights::View, px(0, 0, 1000, 800))]);
    assert!(
        chunk_strokes(&stage.take(3)).is_empty(),
        "erased strokes are not sent"
    );
    stage.step([ops(
        1,
        3,
        vec![Op::Restore {
            strokes: vec![stroke(1)],
        }],
    )]);
    let messages = stage.take(3);
    assert!(
        updates(&messages)
            .iter()
            .any(|u| matches!(u, Update::Stroke(whole) if whole.id == stroke(1)))
    );
}

#[test]
fn a_large_board_comes_nearest_first_and_at_the_pace_of_the_connection() {
    let mut stage = Stage::default();
    stage.step([join(1, Rights::Edit, px(0, 0, 1000, 800))]);
    let mut dice = Dice::new(1);
    let long: Vec<InkPoint> = (0..256)
        .map(|i| {
            let at = dice.point(300);
            InkPoint::new(at.x + 2400 * 16, at.y + 1500 * 16, i as u8)
        })
        .collect();
    let mut counter = 1;
    for _ in 0..30 {
        let batch: Vec<Op> = (0..256)
            .map(|_| Op::Begin {
                style: STYLE,
                ink: InkRun::new(long.clone()),
            })
            .collect();
        stage.step([ops(1, counter, batch)]);
        stage.settle();
        counter += 256;
    }
    stage.step([ops(1, counter, vec![begin(3000, 2000)])]);
    stage.settle();
    stage.step([join(2, Rights::View, px(2600, 1600, 3600, 2400))]);
    stage.settle();
    let first = stage.take(2);
    assert!(
        !first.contains(&ServerMessage::Covered),
        "the connection has taken nothing yet"
    );
    let mut all = first;
    for _ in 0..200 {
        stage.step([Input::Written {
            session: SessionId(2),
            bytes: 100_000,
        }]);
        all.extend(stage.take(2));
    }
    let is_shown = |message: &ServerMessage| *message == ServerMessage::Shown;
    let shown = all.iter().position(is_shown).expect("it is shown");
    assert_eq!(
        chunk_strokes(&all[shown..]).first(),
        Some(&stroke(counter)),
        "what is nearest comes first of the cells, behind the sketch of this much"
    );
    let mut got = chunk_strokes(&all);
    got.sort_unstable();
    got.dedup();
    assert_eq!(got.len(), 30 * 256 + 1);
}

#[test]
fn a_claim_to_see_everything_is_one_small_coverage() {
    let coverage = Coverage::of_view(BoardRect::EVERYTHING, None);
    let cells = (coverage.max.0 - coverage.min.0 + 1) * (coverage.max.1 - coverage.min.1 + 1);
    assert!(cells <= 49, "{coverage:?}");
}

#[test]
fn who_is_alone_is_not_told_where_they_point() {
    let mut stage = Stage::default();
    stage.step([join(1, Rights::Edit, px(0, 0, 1000, 800))]);
    stage.settle();
    let point = |stage: &mut Stage, step: u32| {
        let cursor = CursorState {
            at: BoardPoint::new(step as i32 * 16, 320),
            tool: CursorTool::Pen,
            pressed: false,
        };
        stage.step([Input::Cursor {
            session: SessionId(1),
            sequence: step,
            stamp: None,
            cursor,
        }]);
    };
    // For the first second they are: somebody may just have gone.
    for step in 1..100 {
        point(&mut stage, step);
    }
    stage.take(1);
    for step in 100..200 {
        point(&mut stage, step);
    }
    assert_eq!(stage.take(1), []);
    stage.step([join(2, Rights::Edit, px(0, 0, 1000, 800))]);
    point(&mut stage, 200);
    let is_cursors = |message: &ServerMessage| {
        matches!(
            message,
            ServerMessage::CursorGroup(_)
                | ServerMessage::CursorKeyframe { .. }
                | ServerMessage::CursorDelta { .. }
        )
    };
    assert!(stage.take(2).iter().any(is_cursors));
}
