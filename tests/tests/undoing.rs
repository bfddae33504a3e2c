//! An undo or a redo never takes away or brings back what somebody else has changed since, whatever its person sees.

use chalkboard_client::client::Client;
use chalkboard_shared::past::{Difference, Restyled};
use chalkboard_shared::stroke::Nib;
use chalkboard_shared::{BoardPoint, BoardRect, InkPoint, StrokeId, StrokeStyle};
use chalkboard_tests::ensemble::{Ensemble, GOOD};

const STYLE: StrokeStyle = StrokeStyle {
    nib: Nib::Pen,
    color: 0x22_44_66,
    width: 48,
};

/// Where nothing is drawn.
fn elsewhere() -> BoardRect {
    BoardRect::from_corners(
        BoardPoint::new(900_000, 900_000),
        BoardPoint::new(910_000, 910_000),
    )
}

fn draw(client: &mut Client, y: i32) -> StrokeId {
    let points: Vec<_> = (0..20)
        .map(|x| InkPoint::new(x * 100, y * 400, 128))
        .collect();
    let stroke = client.begin_stroke(STYLE, &points);
    client.finish_stroke(stroke);
    stroke
}

/// Two people who look at everything; what the first is about to take back has been drawn by them.
fn two() -> (Ensemble, StrokeId) {
    let mut ensemble = Ensemble::of_editors(2, 11, GOOD);
    let stroke = draw(&mut ensemble.members[0].client, 0);
    ensemble.settle();
    (ensemble, stroke)
}

/// The first person looks away, or back.
fn look(ensemble: &mut Ensemble, at: BoardRect) {
    ensemble.members[0].client.set_view(at);
    ensemble.settle();
}

fn is_visible(ensemble: &mut Ensemble, id: StrokeId) -> bool {
    let strokes = ensemble.room.strokes();
    let stroke = strokes.iter().find(|stroke| stroke.id == id);
    !stroke.expect("it was drawn").erased.value
}

fn times(ensemble: &mut Ensemble, count: usize, turn: impl Fn(&mut Client) -> bool) {
    for _ in 0..count {
        turn(&mut ensemble.members[0].client);
    }
    ensemble.settle();
}

#[test]
fn what_another_erased_out_of_sight_is_not_brought_back() {
    let (mut ensemble, stroke) = two();
    look(&mut ensemble, elsewhere());
    ensemble.members[1].client.erase(&[stroke]);
    ensemble.settle();
    // The client holds nothing of it, so it can't know.
    for _ in 0..3 {
        times(&mut ensemble, 1, Client::undo);
        assert!(!is_visible(&mut ensemble, stroke));
        times(&mut ensemble, 1, Client::redo);
        assert!(!is_visible(&mut ensemble, stroke));
    }
    ensemble.check_agreement();
}

#[test]
fn what_another_brought_back_out_of_sight_is_not_taken_away() {
    let (mut ensemble, stroke) = two();
    ensemble.members[0].client.erase(&[stroke]);
    ensemble.settle();
    look(&mut ensemble, elsewhere());
    let restore = vec![stroke];
    ensemble.members[1].client.bring_back(&Difference {
        restore,
        ..Difference::default()
    });
    ensemble.settle();
    // Both steps are this person's, and the stroke is as another wants it.
    for turns in [1, 2] {
        times(&mut ensemble, turns, Client::undo);
        assert!(is_visible(&mut ensemble, stroke));
        times(&mut ensemble, turns, Client::redo);
        assert!(is_visible(&mut ensemble, stroke));
    }
    look(&mut ensemble, BoardRect::EVERYTHING);
    times(&mut ensemble, 5, Client::undo);
    assert!(is_visible(&mut ensemble, stroke));
    ensemble.check_agreement();
}

#[test]
fn a_style_that_another_gave_out_of_sight_stays() {
    let (mut ensemble, stroke) = two();
    let colored = |color| StrokeStyle { color, ..STYLE };
    let restyle = vec![Restyled {
        stroke,
        from: STYLE,
        to: colored(1),
    }];
    ensemble.members[0].client.bring_back(&Difference {
        restyle,
        ..Difference::default()
    });
    ensemble.settle();
    look(&mut ensemble, elsewhere());
    let color = |ensemble: &mut Ensemble| ensemble.room.strokes()[0].style.value.color;
    times(&mut ensemble, 1, Client::undo);
    assert_eq!(
        color(&mut ensemble),
        STYLE.color,
        "nobody else has changed it"
    );
    times(&mut ensemble, 1, Client::redo);
    assert_eq!(color(&mut ensemble), 1);
    ensemble.members[1].client.restyle(&[stroke], colored(2));
    ensemble.settle();
    times(&mut ensemble, 1, Client::undo);
    times(&mut ensemble, 1, Client::redo);
    assert_eq!(color(&mut ensemble), 2);
}

#[test]
fn ones_own_work_is_undone_and_redone_out_of_sight_in_any_number_of_turns() {
    let (mut ensemble, first) = two();
    let second = draw(&mut ensemble.members[0].client, 1);
    ensemble.members[0].client.erase(&[first]);
    ensemble.settle();
    look(&mut ensemble, elsewhere());
    let state =
        |ensemble: &mut Ensemble| (is_visible(ensemble, first), is_visible(ensemble, second));
    let states = [(false, false), (true, false), (true, true), (false, true)];
    assert_eq!(state(&mut ensemble), states[3]);
    for turns in [1, 2, 3, 2, 3, 1, 3] {
        times(&mut ensemble, turns, Client::undo);
        assert_eq!(state(&mut ensemble), states[3 - turns]);
        times(&mut ensemble, turns, Client::redo);
        assert_eq!(state(&mut ensemble), states[3]);
    }
    // Without waiting for the room in between, and before it has heard of anything.
    ensemble.cut(0);
    for _ in 0..4 {
        for turn in [Client::undo, Client::redo] {
            for _ in 0..3 {
                turn(&mut ensemble.members[0].client);
            }
        }
    }
    ensemble.connect(0);
    ensemble.settle();
    assert_eq!(state(&mut ensemble), states[3]);
    ensemble.check_agreement();
}

#[test]
fn what_was_erased_while_it_was_drawn_stays_so_after_undo_and_redo() {
    let mut ensemble = Ensemble::of_editors(1, 12, GOOD);
    let client = &mut ensemble.members[0].client;
    let stroke = client.begin_stroke(STYLE, &[InkPoint::new(0, 0, 128)]);
    client.erase(&[stroke]);
    client.finish_stroke(stroke);
    ensemble.settle();
    look(&mut ensemble, elsewhere());
    times(&mut ensemble, 2, Client::undo);
    times(&mut ensemble, 2, Client::redo);
    assert!(!is_visible(&mut ensemble, stroke));
}

#[test]
fn undo_before_the_first_connection_is_the_same_afterwards() {
    let mut ensemble = Ensemble::of_editors(1, 13, GOOD);
    let late = ensemble.add(chalkboard_shared::Rights::Edit, BoardRect::EVERYTHING);
    let client = &mut ensemble.members[late].client;
    draw(client, 0);
    draw(client, 1);
    assert!(client.undo() && client.undo() && client.redo());
    ensemble.settle();
    assert_eq!(ensemble.room.visible_stroke_count(), 1);
    assert!(ensemble.members[late].client.redo());
    ensemble.settle();
    assert_eq!(ensemble.room.visible_stroke_count(), 2);
    let client = &mut ensemble.members[late].client;
    assert!(client.undo() && client.undo());
    ensemble.settle();
    assert_eq!(ensemble.room.visible_stroke_count(), 0);
    ensemble.check_agreement();
}
