//! Concurrent changes merge by the rules, in the room's order.

use chalkboard_shared::{ActorId, BoardPoint, BoardRect, Op, OpId, Rights, StrokeId};
use chalkboard_tests::dice::Dice;
use chalkboard_tests::stage::{Stage, join, ops};

#[test]
fn a_stroke_erased_while_its_author_draws_on_is_whole_when_restored() {
    let mut dice = Dice::new(3);
    let stroke = StrokeId(OpId {
        actor: ActorId(1),
        counter: 1,
    });
    let mut ink = || dice.ink(BoardPoint::new(0, 0));
    let drawing = [
        Op::Begin {
            style: Dice::new(1).style(),
            ink: ink(),
        },
        Op::Extend { stroke, ink: ink() },
        Op::Finish { stroke },
    ];
    let people = [
        join(1, Rights::Edit, BoardRect::EVERYTHING),
        join(2, Rights::Edit, BoardRect::EVERYTHING),
    ];
    let mut undisturbed = Stage::default();
    undisturbed.step(people.clone());
    undisturbed.step([ops(1, 1, drawing.to_vec())]);

    let mut stage = Stage::default();
    stage.step(people);
    stage.step([ops(1, 1, drawing[..1].to_vec())]);
    stage.step([ops(
        2,
        1,
        vec![Op::Erase {
            strokes: vec![stroke],
        }],
    )]);
    stage.step([ops(1, 2, drawing[1..].to_vec())]);
    assert_eq!(stage.room.digest().0, 0, "an erased stroke is not seen");
    stage.step([ops(
        2,
        2,
        vec![Op::Restore {
            strokes: vec![stroke],
        }],
    )]);
    assert_eq!(stage.room.digest(), undisturbed.room.digest());
}
