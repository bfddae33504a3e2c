//! Whatever the network does, everybody ends up with the same board, and nothing that was saved is lost.

use chalkboard_client::bridge::SaveState;
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::presence::PresenceCell;
use chalkboard_shared::{BoardRect, Rights, StrokeId};
use chalkboard_tests::dice::seeds;
use chalkboard_tests::ensemble::{BAD, Ensemble, GOOD, LinkQuality};

/// Something that a person does.
fn act(ensemble: &mut Ensemble, n: usize, drawing: &mut Option<StrokeId>) {
    let dice = &mut ensemble.dice;
    let client = &mut ensemble.members[n].client;
    let at = dice.point(3000);
    match dice.below(12) {
        0..=4 => match drawing.take() {
            Some(stroke) if dice.chance(30) => client.finish_stroke(stroke),
            Some(stroke) => {
                client.extend_stroke(stroke, dice.ink(at).points());
                *drawing = Some(stroke);
            }
            None => *drawing = Some(client.begin_stroke(dice.style(), dice.ink(at).points())),
        },
        5 | 6 => {
            let seen: Vec<StrokeId> = client
                .board()
                .strokes_in(BoardRect::EVERYTHING)
                .iter()
                .map(|s| s.id)
                .collect();
            let count = dice.below(4) as usize;
            let chosen: Vec<StrokeId> = (0..count)
                .filter_map(|_| dice.pick(&seen).copied())
                .collect();
            if !chosen.is_empty() {
                client.erase(&chosen);
            }
        }
        7 => drop(client.undo()),
        8 => drop(client.redo()),
        9 => {
            let view = if dice.chance(30) {
                BoardRect::EVERYTHING
            } else {
                dice.view(3000)
            };
            client.set_view(view);
        }
        _ => {
            let now = ensemble.now_ms();
            let cursor = CursorState {
                at,
                tool: CursorTool::Pen,
                pressed: drawing.is_some(),
            };
            ensemble.members[n].client.set_cursor(now, cursor);
        }
    }
}

fn converge(seed: u64, people: usize, quality: LinkQuality, is_rough: bool) {
    let mut ensemble = Ensemble::of_editors(people, seed, quality);
    let mut drawings = vec![None; people];
    for _ in 0..300 {
        for (n, drawing) in drawings.iter_mut().enumerate() {
            if ensemble.dice.chance(60) {
                act(&mut ensemble, n, drawing);
            }
            if is_rough && ensemble.dice.chance(2) {
                ensemble.cut(n);
            }
            if ensemble.dice.chance(10) {
                ensemble.connect(n);
            }
        }
        if is_rough && ensemble.dice.chance(1) {
            ensemble.crash();
        }
        ensemble.step();
    }
    for n in 0..people {
        ensemble.connect(n);
    }
    ensemble.settle();
    assert!(
        ensemble.position().0 > 100,
        "seed {seed}: too little happened"
    );
    for n in 0..people {
        assert_eq!(ensemble.closed_reasons(n), [], "seed {seed}");
        assert_eq!(ensemble.members[n].client.save_state(), SaveState::Saved);
    }
    ensemble.check_agreement();
}

#[test]
fn on_a_good_network() {
    for seed in seeds(0, 20) {
        converge(seed, 4, GOOD, false);
    }
}

#[test]
fn with_delay_and_loss() {
    for seed in seeds(1_000_000, 20) {
        converge(seed, 4, BAD, false);
    }
}

#[test]
fn with_cuts_and_crashes_of_the_server() {
    for seed in seeds(2_000_000, 60) {
        converge(seed, 3, BAD, true);
    }
}

#[test]
fn what_was_shown_as_saved_survives_a_crash_and_the_rest_is_sent_again() {
    let mut ensemble = Ensemble::of_editors(2, 7, GOOD);
    let style = ensemble.dice.style();
    let draw = |ensemble: &mut Ensemble| {
        let ink = ensemble.dice.ink(chalkboard_shared::BoardPoint::new(0, 0));
        let client = &mut ensemble.members[0].client;
        let stroke = client.begin_stroke(style, ink.points());
        client.finish_stroke(stroke);
        stroke
    };
    let saved = draw(&mut ensemble);
    ensemble.settle();
    assert_eq!(ensemble.members[0].client.save_state(), SaveState::Saved);
    ensemble.sync_ticks = 1000;
    let unsaved = draw(&mut ensemble);
    ensemble.run(20);
    assert!(
        ensemble.members[1].client.board().get(unsaved).is_some(),
        "others see it before it is saved"
    );
    assert!(matches!(
        ensemble.members[0].client.save_state(),
        SaveState::Sent { .. }
    ));
    ensemble.crash();
    assert_eq!(
        ensemble.room.stroke_count(),
        1,
        "only what was synced is back"
    );
    ensemble.sync_ticks = 2;
    for n in 0..2 {
        ensemble.connect(n);
    }
    ensemble.settle();
    assert_eq!(ensemble.room.stroke_count(), 2);
    for member in &ensemble.members {
        assert!(
            member.client.board().get(saved).is_some()
                && member.client.board().get(unsaved).is_some()
        );
    }
    ensemble.check_agreement();
}

#[test]
fn cursors_are_seen_by_those_who_cover_them_and_heal_after_loss() {
    let mut ensemble = Ensemble::of_editors(3, 9, BAD);
    for step in 0..100 {
        let now = ensemble.now_ms();
        let cursor = CursorState {
            at: ensemble.dice.point(1000),
            tool: CursorTool::Eraser,
            pressed: step % 2 == 0,
        };
        ensemble.members[0].client.set_cursor(now, cursor);
        ensemble.step();
    }
    let now = ensemble.now_ms();
    let rest = CursorState {
        at: chalkboard_shared::BoardPoint::new(1600, -3200),
        tool: CursorTool::Pen,
        pressed: false,
    };
    ensemble.members[0].client.set_cursor(now, rest);
    ensemble.run(400);
    let now = ensemble.now_ms();
    let me = ensemble.members[0].client.session().expect("connected");
    for n in 1..3 {
        let seen: Vec<_> = ensemble.members[n]
            .client
            .cursors()
            .at(now)
            .filter(|view| view.session == me)
            .collect();
        let [view] = &seen[..] else {
            panic!("one cursor, not {seen:?}")
        };
        // The raster of an area that holds everything is coarse.
        let coverage = ensemble.members[n].client.coverage().expect("loaded");
        let raster = 2f32.powi(i32::from(PresenceCell::level_of(coverage)) + 1) / 16.0;
        assert!(
            (view.x - 100.0).abs() <= raster && (view.y + 200.0).abs() <= raster,
            "{view:?} raster {raster}"
        );
        assert_eq!(view.tool, CursorTool::Pen);
    }
    ensemble.cut(0);
    ensemble.run(60);
    let now = ensemble.now_ms();
    assert_eq!(
        ensemble.members[1]
            .client
            .cursors()
            .at(now)
            .filter(|view| view.session == me)
            .count(),
        0
    );
}

#[test]
fn who_has_pointed_where_nobody_looked_is_seen_by_those_who_come() {
    let mut ensemble = Ensemble::of_editors(1, 5, GOOD);
    ensemble.settle();
    let point = |ensemble: &mut Ensemble, step: i32| {
        let now = ensemble.now_ms();
        let cursor = CursorState {
            at: chalkboard_shared::BoardPoint::new(320 * step, 160 * step),
            tool: CursorTool::Pen,
            pressed: false,
        };
        ensemble.members[0].client.set_cursor(now, cursor);
        ensemble.step();
    };
    for step in 0..180 {
        point(&mut ensemble, step);
    }
    ensemble.add(Rights::Edit, BoardRect::EVERYTHING);
    ensemble.run(100);
    let now = ensemble.now_ms();
    let seen: Vec<_> = ensemble.members[1].client.cursors().at(now).collect();
    let me = ensemble.members[0].client.session().expect("connected");
    let view = seen.iter().find(|view| view.session == me);
    let view = view.expect("the newcomer sees who was alone");
    let coverage = ensemble.members[1].client.coverage().expect("loaded");
    let raster = 2f32.powi(i32::from(PresenceCell::level_of(coverage)) + 1) / 16.0;
    assert!(
        (view.x - 3580.0).abs() <= raster && (view.y - 1790.0).abs() <= raster,
        "{view:?} raster {raster}"
    );
}

#[test]
fn a_view_link_sees_everything_and_changes_nothing() {
    let mut ensemble = Ensemble::of_editors(1, 3, GOOD);
    let viewer = ensemble.add(Rights::View, BoardRect::EVERYTHING);
    ensemble.settle();
    let style = ensemble.dice.style();
    let ink = ensemble.dice.ink(chalkboard_shared::BoardPoint::new(0, 0));
    let drawn = ensemble.members[0].client.begin_stroke(style, ink.points());
    let refused = ensemble.members[viewer]
        .client
        .begin_stroke(style, ink.points());
    ensemble.settle();
    assert!(ensemble.members[viewer].client.board().get(drawn).is_some());
    assert!(
        ensemble.members[viewer]
            .client
            .board()
            .get(refused)
            .is_none(),
        "a refused stroke is taken back"
    );
    assert_eq!(ensemble.room.stroke_count(), 1);
    ensemble.check_agreement();
}
