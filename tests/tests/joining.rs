//! A board of any size comes to whoever joins: what they look at first, and right however it changes meanwhile.

use chalkboard_shared::op::InkRun;
use chalkboard_shared::stroke::{Nib, StrokeStyle};
use chalkboard_shared::wire::ServerMessage;
use chalkboard_shared::{
    ActorId, BoardPoint, BoardRect, InkPoint, Op, OpId, Rights, SessionId, StrokeId,
};
use chalkboard_simulation::Input;
use chalkboard_tests::dice::Dice;
use chalkboard_tests::ensemble::{BAD, Ensemble, GOOD};
use chalkboard_tests::stage::{Stage, chunk_strokes, join, ops};

const STYLE: StrokeStyle = StrokeStyle {
    nib: Nib::Pen,
    color: 0,
    width: 32,
};

/// So many points that wander from a place.
fn scribble(dice: &mut Dice, from: BoardPoint, points: usize) -> Vec<InkPoint> {
    let mut at = from;
    (0..points)
        .map(|_| {
            at = BoardPoint::new(at.x + dice.between(-90, 90), at.y + dice.between(-90, 90));
            InkPoint {
                at,
                pressure: dice.below(256) as u8,
            }
        })
        .collect()
}

const fn stroke(counter: u32) -> StrokeId {
    StrokeId(OpId {
        actor: ActorId(1),
        counter,
    })
}

/// A board with strokes of 100 points within so many pixels of the origin, and nobody but the author in it.
fn drawn(strokes: u32, pixels: i32) -> Stage {
    let mut stage = Stage::default();
    let mut dice = Dice::new(5);
    stage.step([join(1, Rights::Edit, BoardRect::EMPTY)]);
    for first in (1..=strokes).step_by(250) {
        let begin = |_| {
            let from = dice.point(pixels);
            Op::Begin {
                style: STYLE,
                ink: InkRun::new(scribble(&mut dice, from, 100)),
            }
        };
        let count = (strokes + 1 - first).min(250);
        stage.step([ops(1, first, (0..count).map(begin).collect())]);
    }
    stage.settle();
    stage
}

fn px(x0: i32, y0: i32, x1: i32, y1: i32) -> BoardRect {
    BoardRect::from_corners(
        BoardPoint::new(x0 * 16, y0 * 16),
        BoardPoint::new(x1 * 16, y1 * 16),
    )
}

/// Steps until a session has everything, and takes what it got by tick.
fn come_in(stage: &mut Stage, n: u32, view: BoardRect) -> Vec<Vec<ServerMessage>> {
    let mut inputs = vec![join(n, Rights::View, view)];
    let mut ticks = Vec::new();
    loop {
        stage.step(inputs);
        let got = stage.take(n);
        let is_covered = got.contains(&ServerMessage::Covered);
        ticks.push(got);
        assert!(ticks.len() < 1000, "it never has everything");
        if is_covered {
            return ticks;
        }
        inputs = vec![Input::Written {
            session: SessionId(n),
            bytes: 400_000,
        }];
    }
}

#[test]
fn everything_comes_and_what_is_looked_at_comes_first() {
    let mut stage = drawn(3000, 6000);
    let view = px(-500, -400, 500, 400);
    let messages: Vec<_> = come_in(&mut stage, 2, px(-6000, -6000, 6000, 6000)).concat();
    let mut all = chunk_strokes(&messages);
    let sent = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!((sent, all.len()), (3000, 3000), "each once");

    let ticks = come_in(&mut stage, 3, view);
    let chunks = ticks.iter().flatten().filter_map(|message| match message {
        ServerMessage::Chunk(strokes) => Some(strokes),
        _ => None,
    });
    let is_seen = chunks.map(|strokes| strokes.iter().any(|s| s.extent().intersects(view)));
    let is_seen: Vec<bool> = is_seen.collect();
    assert!(is_seen[0], "the first chunk is of what is looked at");
    let last_seen = is_seen.iter().rposition(|&is_seen| is_seen);
    let first_unseen = is_seen.iter().position(|&is_seen| !is_seen);
    if let (Some(last_seen), Some(first_unseen)) = (last_seen, first_unseen) {
        assert!(last_seen < first_unseen, "{is_seen:?}");
    }
}

#[test]
fn what_is_no_more_than_can_come_at_once_is_complete_when_it_is_shown() {
    let mut stage = drawn(4500, 6000);
    let view = px(-5000, -5000, 5000, 5000);
    let all = stage.room.strokes().into_iter();
    let in_view = all.filter(|stroke| stroke.extent().intersects(view));
    let in_view: Vec<StrokeId> = in_view.map(|stroke| stroke.id).collect();
    let messages = come_in(&mut stage, 2, view).concat();
    let is_shown = |message: &ServerMessage| *message == ServerMessage::Shown;
    let shown = messages.iter().position(is_shown).expect("it is told");
    let before = chunk_strokes(&messages[..shown]);
    assert!(before.len() < 4500, "and without what is around it");
    assert!(in_view.iter().all(|stroke| before.contains(stroke)));
    let mut distinct = chunk_strokes(&messages);
    let sent = distinct.len();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), sent, "each once");
}

#[test]
fn who_comes_next_gets_the_same_bytes_and_a_change_renews_only_its_own_cell() {
    let mut stage = drawn(3000, 6000);
    let view = px(-6000, -6000, 6000, 6000);
    let chunks = |stage: &mut Stage, n| -> Vec<ServerMessage> {
        let is_chunk = |message: &ServerMessage| matches!(message, ServerMessage::Chunk(_));
        let all = come_in(stage, n, view).concat();
        all.into_iter().filter(is_chunk).collect()
    };
    let first = chunks(&mut stage, 2);
    assert!(first.len() > 5, "{} chunks", first.len());
    assert_eq!(chunks(&mut stage, 3), first);
    let erase = Op::Erase {
        strokes: vec![stroke(7)],
    };
    stage.step([ops(1, 3001, vec![erase])]);
    let after = chunks(&mut stage, 4);
    let renewed: Vec<_> = after
        .iter()
        .filter(|chunk| !first.contains(chunk))
        .collect();
    assert_eq!(renewed.len(), 1);
    assert!(!chunk_strokes(&after).contains(&stroke(7)));
}

#[test]
fn a_large_board_takes_many_ticks_to_encode_and_none_is_long() {
    let mut stage = drawn(6000, 6000);
    let first = come_in(&mut stage, 2, px(-6000, -6000, 6000, 6000));
    // 600,000 points are some six measures of what is encoded in a tick.
    assert!((5..30).contains(&first.len()), "{} ticks", first.len());
    for tick in &first {
        let points: usize = tick
            .iter()
            .filter_map(|message| match message {
                ServerMessage::Chunk(strokes) => Some(strokes),
                _ => None,
            })
            .flatten()
            .map(|stroke| stroke.point_count as usize)
            .sum();
        assert!(points < 150_000, "{points} points encoded in one tick");
    }
    let again = come_in(&mut stage, 3, px(-6000, -6000, 6000, 6000));
    assert!(again.len() < first.len(), "what is kept costs nothing");
}

#[test]
fn strokes_that_begin_at_the_same_point_are_no_trouble() {
    let mut stage = Stage::default();
    let mut dice = Dice::new(3);
    stage.step([join(1, Rights::Edit, BoardRect::EMPTY)]);
    for first in [1, 251, 501, 751] {
        let begin = |_| {
            let mut points = scribble(&mut dice, BoardPoint::new(0, 0), 200);
            points[0].at = BoardPoint::new(77, -77);
            Op::Begin {
                style: STYLE,
                ink: InkRun::new(points),
            }
        };
        stage.step([ops(1, first, (0..250).map(begin).collect())]);
    }
    stage.settle();
    let messages = come_in(&mut stage, 2, px(-600, -600, 600, 600)).concat();
    assert_eq!(chunk_strokes(&messages).len(), 1000);
}

/// Strokes of a dense board: so many lie above each other at each place of a square, places apart by so many pixels.
const LAYERS: usize = 3;
const SIDE: i32 = 28;
const APART_PX: i32 = 40;

/// A view of all of a dense board, and a part of it that is far from its middle.
const fn dense_view() -> (BoardRect, BoardRect) {
    let end = SIDE * APART_PX * 16;
    let view = BoardRect {
        min: BoardPoint::new(-100, -100),
        max: BoardPoint::new(end, end),
    };
    let corner = BoardRect {
        min: BoardPoint::new(end / 4 * 3, end / 4 * 3),
        max: BoardPoint::new(end, end),
    };
    (view, corner)
}

/// A small piece of ink on the spot.
fn speck(dice: &mut Dice, at: BoardPoint, points: usize) -> Vec<InkPoint> {
    let mut near = |v: i32| v + dice.between(-90, 90);
    (0..points)
        .map(|_| InkPoint::new(near(at.x), near(at.y), 128))
        .collect()
}

/// An editor who has filled a screen several times over, more than can come to somebody at once.
fn dense(seed: u64) -> Ensemble {
    let mut ensemble = Ensemble::of_editors(1, seed, GOOD);
    for _ in 0..LAYERS {
        for place in 0..SIDE * SIDE {
            let (column, row) = (place % SIDE, place / SIDE);
            let at = BoardPoint::new(column * APART_PX * 16, row * APART_PX * 16);
            let ink = speck(&mut ensemble.dice, at, 240);
            let client = &mut ensemble.members[0].client;
            let stroke = client.begin_stroke(STYLE, &ink);
            client.finish_stroke(stroke);
            if place % 64 == 0 {
                ensemble.step();
            }
        }
    }
    ensemble.settle();
    ensemble
}

/// Somebody comes in; steps until something is shown to them.
fn come_in_sight(ensemble: &mut Ensemble) -> usize {
    let newcomer = ensemble.add(Rights::Edit, dense_view().0);
    for _ in 0..100 {
        ensemble.step();
        if ensemble.members[newcomer].client.is_shown() {
            return newcomer;
        }
    }
    panic!("nothing is shown");
}

#[test]
fn of_a_dense_board_what_lies_on_top_is_shown_first() {
    let mut ensemble = dense(7);
    let all = ensemble.room.stroke_count();
    assert_eq!(all, LAYERS * (SIDE * SIDE) as usize);
    // From here on strokes lie on top of all others.
    let uppermost = ensemble.room.strokes()[all / LAYERS * (LAYERS - 1)].z;
    let newcomer = come_in_sight(&mut ensemble);
    let client = &ensemble.members[newcomer].client;
    assert!(!client.is_loaded(), "there is more");
    let (view, _) = dense_view();
    let shown = client.board().strokes_in(view);
    let on_top = shown.iter().filter(|stroke| stroke.z >= uppermost).count();
    // With the first cells, that come in the same tick.
    assert!(
        shown.len() < all / 4,
        "{} of {all} strokes came first",
        shown.len()
    );
    assert!(
        on_top > shown.len() * 3 / 4,
        "{on_top} of {} lie on top",
        shown.len()
    );
    let part = SIDE * APART_PX / 4;
    for column in 0..4 {
        for row in 0..4 {
            let (x, y) = (column * part, row * part);
            let seen = client
                .board()
                .strokes_in(px(x, y, x + part - 10, y + part - 10));
            assert!(seen.len() > 8, "{} strokes at {x}, {y}", seen.len());
        }
    }
    ensemble.settle();
    let client = &ensemble.members[newcomer].client;
    assert_eq!(client.board().len(), all);
    assert_eq!(client.digest(), ensemble.room.digest());
    ensemble.check_agreement();
}

#[test]
fn what_becomes_of_a_stroke_between_its_sketch_and_its_cell_is_right() {
    let mut ensemble = dense(8);
    let (_, corner) = dense_view();
    let all_in_corner = ensemble.members[0].client.board().strokes_in(corner).len();
    let ink = speck(&mut ensemble.dice, corner.center(), 3);
    let growing = ensemble.members[0].client.begin_stroke(STYLE, &ink);
    ensemble.settle();
    let newcomer = come_in_sight(&mut ensemble);
    let in_corner = |ensemble: &Ensemble, n: usize| -> Vec<StrokeId> {
        let seen = ensemble.members[n].client.board().strokes_in(corner);
        seen.iter().map(|stroke| stroke.id).collect()
    };
    let sketched = in_corner(&ensemble, newcomer);
    let [erased, own, restyled, ..] = sketched[..] else {
        panic!("only {sketched:?} of the corner are shown")
    };
    assert!(sketched[3..].contains(&growing), "it is the newest");

    let ink = speck(&mut ensemble.dice, corner.center(), 5);
    let author = &mut ensemble.members[0].client;
    author.extend_stroke(growing, &ink);
    author.erase(&[erased]);
    let thick = StrokeStyle { width: 99, ..STYLE };
    author.restyle(&[restyled], thick);
    ensemble.members[newcomer].client.erase(&[own]);
    let is_told = |ensemble: &Ensemble| {
        let board = ensemble.members[newcomer].client.board();
        let is_grown = board.get(growing).is_some_and(|s| s.point_count == 8);
        let is_thick = board.get(restyled).is_some_and(|s| s.style.value == thick);
        is_grown && is_thick && board.get(erased).is_none() && board.get(own).is_none()
    };
    for _ in 0..4 {
        ensemble.step();
    }
    assert!(is_told(&ensemble));
    let held = in_corner(&ensemble, newcomer).len();
    assert!(
        held < all_in_corner / 2,
        "{held} of {all_in_corner} are there before they were told to"
    );
    ensemble.settle();
    assert!(is_told(&ensemble));
    assert_eq!(in_corner(&ensemble, newcomer).len(), all_in_corner + 1 - 2);
    ensemble.check_agreement();
}

/// Views change every tick while strokes of a large board come, grow, are erased and restored.
fn agree_while_it_comes(seed: u64) {
    let mut ensemble = Ensemble::of_editors(4, seed, BAD);
    for _ in 0..90 {
        for n in 0..4 {
            for _ in 0..3 {
                let from = ensemble.dice.point(3000);
                let ink = scribble(&mut ensemble.dice, from, 200);
                let style = ensemble.dice.style();
                let client = &mut ensemble.members[n].client;
                let stroke = client.begin_stroke(style, &ink);
                client.finish_stroke(stroke);
            }
        }
        ensemble.step();
    }
    ensemble.settle();
    let newcomer = ensemble.add(Rights::Edit, px(-3000, -3000, 3000, 3000));
    let mut drawing = None;
    for _ in 0..120 {
        for n in 0..=newcomer {
            let dice = &mut ensemble.dice;
            let client = &mut ensemble.members[n].client;
            match dice.below(8) {
                0..=2 => client.set_view(dice.view(3000)),
                3 => client.set_view(BoardRect::EVERYTHING),
                4 => {
                    let seen = client.board().strokes_in(dice.view(3000));
                    let chosen: Vec<_> = seen.iter().step_by(9).map(|s| s.id).take(20).collect();
                    if !chosen.is_empty() {
                        client.erase(&chosen);
                    }
                }
                5 => drop(client.undo()),
                _ if n == 0 => {
                    let from = dice.point(3000);
                    let far = scribble(dice, from, 3);
                    match drawing {
                        Some(stroke) => client.extend_stroke(stroke, &far),
                        None => drawing = Some(client.begin_stroke(STYLE, &far)),
                    }
                }
                _ => {}
            }
        }
        if ensemble.dice.chance(2) {
            ensemble.cut(newcomer);
        }
        if ensemble.dice.chance(20) {
            ensemble.connect(newcomer);
        }
        ensemble.step();
    }
    ensemble.connect(newcomer);
    ensemble.settle();
    ensemble.check_agreement();
}

#[test]
fn it_is_right_however_it_changes_while_it_comes() {
    let times = match std::env::var("CHALKBOARD_SEEDS") {
        Ok(times) => times.parse().expect("CHALKBOARD_SEEDS is a number"),
        Err(_) => 1,
    };
    for seed in 0..3 * times {
        agree_while_it_comes(seed);
    }
}

#[test]
fn a_stroke_that_is_finished_elsewhere_while_somebody_comes_in_is_not_missed() {
    let mut stage = drawn(3000, 6000);
    let corner = 5900 * 16;
    let ink = |sign: i32| InkRun::new(vec![InkPoint::new(sign * corner, sign * corner, 128)]);
    let begin = Op::Begin {
        style: STYLE,
        ink: ink(1),
    };
    let late = stroke(3001);
    stage.step([ops(1, 3001, vec![begin])]);
    stage.settle();
    let everywhere = px(-6000, -6000, 6000, 6000);
    stage.step([join(2, Rights::View, everywhere)]);
    let mut got = stage.take(2);
    assert!(!got.contains(&ServerMessage::Covered), "it came in at once");
    assert!(!chunk_strokes(&got).is_empty(), "the middle comes first");
    // Now the stroke's middle is where the newcomer has everything already.
    let extend = Op::Extend {
        stroke: late,
        ink: ink(-1),
    };
    let mut inputs = vec![ops(1, 3002, vec![extend, Op::Finish { stroke: late }])];
    for _ in 0..1000 {
        stage.step(inputs);
        got.extend(stage.take(2));
        if got.contains(&ServerMessage::Covered) {
            break;
        }
        inputs = vec![Input::Written {
            session: SessionId(2),
            bytes: 400_000,
        }];
    }
    assert!(
        got.contains(&ServerMessage::Covered),
        "it never has everything"
    );
    assert!(chunk_strokes(&got).contains(&late));
}
