//! Whoever comes back goes on where they left: they get what has changed meanwhile and nothing else, what they drew alone
//! is merged by the rules, and their board is the one that everybody has.

use std::collections::BTreeMap;

use chalkboard_client::bridge::SaveState;
use chalkboard_client::{Client, ClientOptions};
use chalkboard_shared::{BoardId, BoardPoint, BoardRect, Secret, StrokeId};
use chalkboard_tests::dice::seeds;
use chalkboard_tests::ensemble::{BAD, Ensemble, GOOD};

/// Member `n` draws a stroke at a place, wholly.
fn draw(ensemble: &mut Ensemble, n: usize, at: BoardPoint) -> StrokeId {
    let stroke = begin(ensemble, n, at);
    ensemble.members[n].client.finish_stroke(stroke);
    stroke
}

/// Member `n` begins a stroke at a place.
fn begin(ensemble: &mut Ensemble, n: usize, at: BoardPoint) -> StrokeId {
    let style = ensemble.dice.style();
    let ink = ensemble.dice.ink(at);
    ensemble.members[n].client.begin_stroke(style, ink.points())
}

fn extend(ensemble: &mut Ensemble, n: usize, stroke: StrokeId, at: BoardPoint) {
    let ink = ensemble.dice.ink(at);
    ensemble.members[n]
        .client
        .extend_stroke(stroke, ink.points());
}

fn at(x: i32, y: i32) -> BoardPoint {
    BoardPoint::new(x * 16, y * 16)
}

/// A board with `count` strokes by member 0, known to all.
fn drawn(people: usize, count: i32, seed: u64) -> (Ensemble, Vec<StrokeId>) {
    let mut ensemble = Ensemble::of_editors(people, seed, GOOD);
    let strokes = (0..count)
        .map(|n| draw(&mut ensemble, 0, at(n % 40 * 50, n / 40 * 50)))
        .collect();
    ensemble.settle();
    // Who was there for a tick may have had a part of it, and so gets all of the last one again: a small one.
    draw(&mut ensemble, 0, at(0, -100));
    ensemble.settle();
    (ensemble, strokes)
}

/// Bytes that member `n` gets on its way back, and whether it resumed.
fn come_back(ensemble: &mut Ensemble, n: usize) -> (bool, u64) {
    ensemble.connect(n);
    ensemble.settle();
    let load = ensemble.members[n].client.load();
    (load.is_resumed, load.bytes)
}

fn sees(ensemble: &Ensemble, n: usize, stroke: StrokeId) -> bool {
    ensemble.members[n].client.board().get(stroke).is_some()
}

#[test]
fn who_missed_nothing_gets_nothing() {
    let (mut ensemble, _) = drawn(2, 400, 1);
    let anew = ensemble.members[1].client.load();
    ensemble.cut(1);
    ensemble.run(500);
    let (is_resumed, bytes) = come_back(&mut ensemble, 1);
    assert!(
        is_resumed && bytes < 300,
        "{bytes} bytes, at first {anew:?}"
    );
    ensemble.check_agreement();
}

#[test]
fn who_missed_something_gets_that_alone() {
    let (mut ensemble, strokes) = drawn(2, 400, 2);
    let growing = begin(&mut ensemble, 0, at(10, 10));
    let to_end = begin(&mut ensemble, 0, at(20, 20));
    ensemble.settle();
    ensemble.cut(1);
    extend(&mut ensemble, 0, growing, at(300, 300));
    extend(&mut ensemble, 0, to_end, at(300, 200));
    ensemble.run(10);
    extend(&mut ensemble, 0, growing, at(500, 300));
    ensemble.members[0].client.finish_stroke(to_end);
    ensemble.members[0].client.erase(&strokes[3..6]);
    let new = draw(&mut ensemble, 0, at(77, 77));
    ensemble.settle();
    ensemble.members[0].client.undo();
    ensemble.members[0].client.undo();
    ensemble.settle();
    let (is_resumed, bytes) = come_back(&mut ensemble, 1);
    assert!(is_resumed && bytes < 3000, "{bytes} bytes");
    assert!(!sees(&ensemble, 1, new) && sees(&ensemble, 1, strokes[4]));
    // What grows on fits what came.
    extend(&mut ensemble, 0, growing, at(700, 100));
    ensemble.settle();
    ensemble.members[0].client.finish_stroke(growing);
    ensemble.settle();
    ensemble.check_agreement();
}

#[test]
fn what_was_drawn_alone_is_merged_once_and_brings_nothing_back() {
    let (mut ensemble, strokes) = drawn(2, 60, 3);
    let half = begin(&mut ensemble, 1, at(5, 5));
    ensemble.settle();
    let erased = strokes[7];
    ensemble.cut(1);
    // Twenty minutes, in which the one offline edits what the other deletes.
    let mut offline = Vec::new();
    for n in 0..60 {
        ensemble.run(1200);
        offline.push(draw(&mut ensemble, 1, at(n * 30, 900)));
        extend(&mut ensemble, 1, half, at(n * 30, 1000));
        if n == 20 {
            ensemble.members[0].client.erase(&[erased]);
        }
        if n == 30 {
            ensemble.members[1].client.erase(&[strokes[8]]);
            ensemble.members[1].client.undo();
        }
    }
    ensemble.members[1].client.finish_stroke(half);
    assert!(matches!(
        ensemble.members[1].client.save_state(),
        SaveState::Local { pending } if pending > 100
    ));
    assert!(sees(&ensemble, 1, erased), "it has not heard of it");
    let (is_resumed, _) = come_back(&mut ensemble, 1);
    assert!(is_resumed);
    for n in 0..2 {
        assert!(offline.iter().all(|stroke| sees(&ensemble, n, *stroke)));
        assert!(!sees(&ensemble, n, erased) && sees(&ensemble, n, strokes[8]));
    }
    assert_eq!(ensemble.room.stroke_count(), 61 + 1 + 60);
    ensemble.check_agreement();
}

#[test]
fn a_restart_of_the_server_is_but_a_pause() {
    let (mut ensemble, strokes) = drawn(3, 400, 4);
    let growing = begin(&mut ensemble, 1, at(5, 5));
    ensemble.settle();
    for round in 0..70 {
        ensemble.cut(2);
        extend(&mut ensemble, 1, growing, at(round * 9, 50));
        if round == 3 {
            ensemble.members[0].client.erase(&strokes[..9]);
        }
        ensemble.settle();
        if round % 2 == 0 {
            ensemble.crash();
        } else {
            ensemble.restart();
        }
        // Nobody waits for the server to go on.
        extend(&mut ensemble, 1, growing, at(round * 9, 80));
        for n in 0..3 {
            let (is_resumed, bytes) = come_back(&mut ensemble, n);
            // The growing stroke is small at first.
            assert!(is_resumed && bytes < 6000, "round {round}: {bytes} bytes");
        }
    }
    ensemble.check_agreement();
}

#[test]
fn who_saw_what_the_server_has_lost_begins_anew() {
    let (mut ensemble, _) = drawn(3, 40, 5);
    ensemble.sync_ticks = 100_000;
    let lost = draw(&mut ensemble, 0, at(0, 900));
    ensemble.run(20);
    assert!(sees(&ensemble, 1, lost));
    // Its author never comes back.
    ensemble.crash();
    let (is_resumed, _) = come_back(&mut ensemble, 1);
    assert!(!is_resumed && !sees(&ensemble, 1, lost));
    ensemble.check_agreement();
}

#[test]
fn who_left_in_the_middle_of_everything_comes_back_to_the_same() {
    let mut resumed = 0;
    for seed in seeds(5_000_000, 60) {
        let mut ensemble = Ensemble::of_editors(3, seed, BAD);
        let mut drawing: Vec<Option<StrokeId>> = vec![None; 3];
        for _ in 0..200 {
            for (n, drawing) in drawing.iter_mut().enumerate() {
                let place = ensemble.dice.point(4000);
                match ensemble.dice.below(10) {
                    0..=3 => match drawing.take() {
                        Some(stroke) if ensemble.dice.chance(20) => {
                            ensemble.members[n].client.finish_stroke(stroke);
                        }
                        Some(stroke) => {
                            extend(&mut ensemble, n, stroke, place);
                            *drawing = Some(stroke);
                        }
                        None => *drawing = Some(begin(&mut ensemble, n, place)),
                    },
                    4 => {
                        let board = ensemble.members[n].client.board();
                        let seen: Vec<_> = board.strokes_in(BoardRect::EVERYTHING);
                        let seen: Vec<_> = seen.iter().map(|stroke| stroke.id).collect();
                        if let Some(stroke) = ensemble.dice.pick(&seen).copied() {
                            ensemble.members[n].client.erase(&[stroke]);
                        }
                    }
                    5 => {
                        let _ = ensemble.members[n].client.undo();
                    }
                    // Small views, so that strokes come into them and leave them.
                    6 if ensemble.dice.chance(30) => {
                        let view = BoardRect::from_corners(place, place).inflate(800);
                        ensemble.members[n].client.set_view(view);
                    }
                    7 if ensemble.dice.chance(15) => ensemble.cut(n),
                    8 => {
                        if !ensemble.members[n].is_connected() {
                            let load = ensemble.members[n].client.load();
                            resumed += u32::from(load.is_resumed);
                        }
                        ensemble.connect(n);
                    }
                    _ => {}
                }
            }
            if ensemble.dice.chance(1) {
                ensemble.sync_ticks = ensemble.dice.below(20);
                ensemble.crash();
            }
            ensemble.step();
        }
        for n in 0..3 {
            ensemble.connect(n);
        }
        ensemble.settle();
        ensemble.check_agreement();
    }
    assert!(resumed > 100, "only {resumed} resumed");
}

/// What a platform keeps of a member.
#[derive(Debug, Default, Clone)]
struct Kept {
    head: Vec<u8>,
    ops: BTreeMap<u32, Vec<u8>>,
    board: Option<Vec<u8>>,
}

impl Kept {
    /// Stores what the journal lacks.
    fn keep(&mut self, client: &mut Client) {
        if let Some(change) = client.take_journal() {
            if change.is_anew {
                self.ops.clear();
            }
            self.head = change.head;
            self.ops.retain(|counter, _| *counter >= change.first);
            self.ops.extend(change.ops);
        }
    }

    /// Ends a member, and runs it anew from what was kept.
    fn reopen(&self, ensemble: &mut Ensemble, n: usize) {
        ensemble.cut(n);
        let mut key = [0; 16];
        key[..8].copy_from_slice(&ensemble.members[n].actor().0.to_le_bytes());
        let mut client = Client::new(ClientOptions {
            board: BoardId([1; 16]),
            secret: Secret([2; 16]),
            key,
            name: "again".into(),
            color: 0,
            is_stamping: false,
        });
        client.set_view(BoardRect::EVERYTHING);
        if !self.head.is_empty() {
            let ops = self.ops.values().cloned().collect();
            client.restore(&self.head, ops).expect("its own head");
        }
        if let Some(board) = &self.board {
            client.restore_board(board).expect("its own board");
        }
        ensemble.members[n].client = client;
    }
}

#[test]
fn a_tab_that_was_closed_offline_loses_nothing() {
    let (mut ensemble, strokes) = drawn(2, 100, 8);
    let mut kept = Kept::default();
    kept.keep(&mut ensemble.members[1].client);
    kept.board = ensemble.members[1].client.board_to_keep();
    ensemble.cut(1);
    let mut mine = Vec::new();
    for n in 0..4 {
        mine.push(draw(&mut ensemble, 1, at(n * 40, 700)));
        let client = &mut ensemble.members[1].client;
        client.erase(&[strokes[n as usize]]);
        kept.keep(client);
        // Every time the tab is opened anew, still offline, and everything is there.
        kept.reopen(&mut ensemble, 1);
        assert!(mine.iter().all(|stroke| sees(&ensemble, 1, *stroke)));
        assert!(!sees(&ensemble, 1, strokes[n as usize]) && sees(&ensemble, 1, strokes[9]));
    }
    let (is_resumed, bytes) = come_back(&mut ensemble, 1);
    assert!(is_resumed && bytes < 3000, "{bytes} bytes");
    assert_eq!(ensemble.room.stroke_count(), 101 + 4);
    assert_eq!(ensemble.room.visible_stroke_count(), 101);
    ensemble.check_agreement();
    kept.keep(&mut ensemble.members[1].client);
    assert!(kept.ops.is_empty(), "what is saved need not be kept");
}

#[test]
fn a_tab_that_was_never_online_has_its_ink_when_it_comes_again() {
    let mut ensemble = Ensemble::of_editors(2, 9, GOOD);
    let mut kept = Kept::default();
    Kept::default().reopen(&mut ensemble, 1);
    let before = draw(&mut ensemble, 1, at(0, 0));
    kept.keep(&mut ensemble.members[1].client);
    kept.reopen(&mut ensemble, 1);
    assert!(sees(&ensemble, 1, before));
    draw(&mut ensemble, 1, at(90, 0));
    come_back(&mut ensemble, 1);
    assert_eq!(ensemble.room.stroke_count(), 2);
    ensemble.check_agreement();
}

#[test]
fn a_number_that_was_used_but_not_kept_is_not_used_again() {
    let (mut ensemble, _) = drawn(2, 3, 10);
    let mut kept = Kept::default();
    draw(&mut ensemble, 1, at(0, 50));
    kept.keep(&mut ensemble.members[1].client);
    // Sent and answered, but the tab dies before its store has it.
    draw(&mut ensemble, 1, at(0, 90));
    ensemble.settle();
    kept.reopen(&mut ensemble, 1);
    let offline = draw(&mut ensemble, 1, at(0, 140));
    kept.keep(&mut ensemble.members[1].client);
    come_back(&mut ensemble, 1);
    assert_eq!(ensemble.room.stroke_count(), 4 + 3);
    assert!(sees(&ensemble, 0, offline));
    ensemble.check_agreement();
}

#[test]
fn whatever_moment_a_tab_dies_at_its_ops_count_once() {
    for seed in seeds(6_000_000, 40) {
        let mut ensemble = Ensemble::of_editors(2, seed, BAD);
        let mut kept = Kept::default();
        kept.keep(&mut ensemble.members[1].client);
        let mut drawing: Option<StrokeId> = None;
        let mut shown = Vec::new();
        for _ in 0..300 {
            let place = ensemble.dice.point(2000);
            match ensemble.dice.below(8) {
                0..=2 => match drawing.take() {
                    Some(stroke) if ensemble.dice.chance(40) => {
                        ensemble.members[1].client.finish_stroke(stroke);
                        shown.push(stroke);
                    }
                    Some(stroke) => {
                        extend(&mut ensemble, 1, stroke, place);
                        drawing = Some(stroke);
                    }
                    None => drawing = Some(begin(&mut ensemble, 1, place)),
                },
                3 if ensemble.dice.chance(20) => ensemble.cut(1),
                4 => ensemble.connect(1),
                5 if ensemble.dice.chance(30) => {
                    let board = ensemble.members[1].client.board_to_keep();
                    kept.board = board.or(kept.board);
                }
                6 if ensemble.dice.chance(20) => {
                    // A store that is written a moment later than things are sent may lack the last of them.
                    if ensemble.dice.chance(70) {
                        kept.keep(&mut ensemble.members[1].client);
                    } else {
                        shown.clear();
                    }
                    kept.reopen(&mut ensemble, 1);
                    drawing = None;
                }
                7 if ensemble.dice.chance(3) => ensemble.crash(),
                _ => {}
            }
            if ensemble.dice.chance(90) {
                kept.keep(&mut ensemble.members[1].client);
            }
            ensemble.step();
        }
        ensemble.connect(0);
        ensemble.connect(1);
        ensemble.settle();
        for stroke in shown {
            // Names last as soon as there are any.
            let is_lasting = stroke.actor() == ensemble.members[1].actor();
            assert!(
                !is_lasting || sees(&ensemble, 1, stroke),
                "seed {seed}: {stroke:?}"
            );
        }
        ensemble.check_agreement();
    }
}
