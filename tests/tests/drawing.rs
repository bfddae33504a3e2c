//! What a person draws is answered once, in order, and refused only with a reason.

use chalkboard_shared::limits::{OPS_IN_FLIGHT_MAX, OPS_PER_TICK_MAX};
use chalkboard_shared::wire::ServerMessage;
use chalkboard_shared::{
    ActorId, BoardPoint, BoardRect, DisconnectReason, Op, OpId, Position, RejectReason, Rights,
    SessionId, StrokeId,
};
use chalkboard_tests::dice::Dice;
use chalkboard_tests::stage::{Stage, join, ops};

fn begin(seed: u64) -> Op {
    let mut dice = Dice::new(seed);
    Op::Begin {
        style: dice.style(),
        ink: dice.ink(BoardPoint::new(0, 0)),
    }
}

/// Answered through, position, what was refused.
type Ack = (u32, u64, Vec<(u32, RejectReason)>);

fn acks(messages: &[ServerMessage]) -> Vec<Ack> {
    messages
        .iter()
        .filter_map(|message| match message {
            ServerMessage::Ack {
                through,
                position,
                rejected,
            } => Some((*through, position.0, rejected.clone())),
            _ => None,
        })
        .collect()
}

#[test]
fn an_op_sent_twice_counts_once() {
    let mut stage = Stage::default();
    stage.step([
        join(1, Rights::Edit, BoardRect::EVERYTHING),
        ops(1, 1, vec![begin(1), begin(2)]),
    ]);
    let digest = stage.room.digest();
    stage.step([ops(1, 1, vec![begin(1), begin(2), begin(3)])]);
    assert_eq!(
        (stage.room.position(), stage.room.stroke_count()),
        (Position(3), 3)
    );
    assert_ne!(stage.room.digest(), digest);
    assert_eq!(acks(&stage.take(1)), [(2, 2, vec![]), (3, 3, vec![])]);
}

#[test]
fn a_viewer_is_told_why_and_nothing_changes() {
    let mut stage = Stage::default();
    stage.step([
        join(1, Rights::View, BoardRect::EVERYTHING),
        ops(1, 1, vec![begin(1)]),
    ]);
    assert_eq!(
        acks(&stage.take(1)),
        [(1, 0, vec![(1, RejectReason::ReadOnly)])]
    );
    assert_eq!(stage.room.stroke_count(), 0);
    assert!(stage.log.is_empty());
}

#[test]
fn somebody_elses_stroke_cannot_be_drawn_on() {
    let mut stage = Stage::default();
    let stroke = StrokeId(OpId {
        actor: ActorId(1),
        counter: 1,
    });
    let ink = Dice::new(4).ink(BoardPoint::new(0, 0));
    stage.step([
        join(1, Rights::Edit, BoardRect::EVERYTHING),
        join(2, Rights::Edit, BoardRect::EVERYTHING),
        ops(1, 1, vec![begin(1)]),
    ]);
    let digest = stage.room.digest();
    stage.step([ops(
        2,
        1,
        vec![Op::Extend { stroke, ink }, Op::Finish { stroke }],
    )]);
    let refused = vec![(1, RejectReason::NotYours), (2, RejectReason::NotYours)];
    assert_eq!(acks(&stage.take(2)), [(2, 0, refused)]);
    assert_eq!(stage.room.digest(), digest);
}

#[test]
fn a_burst_takes_turns_and_a_flood_is_closed() {
    let mut stage = Stage::default();
    stage.step([
        join(1, Rights::Edit, BoardRect::EVERYTHING),
        join(2, Rights::Edit, BoardRect::EVERYTHING),
    ]);
    let burst: Vec<Op> = (0..OPS_IN_FLIGHT_MAX as u64).map(begin).collect();
    stage.step([ops(1, 1, burst), ops(2, 1, vec![begin(1)])]);
    assert_eq!(
        stage.room.stroke_count(),
        OPS_PER_TICK_MAX + 1,
        "the burst must not delay the other's op"
    );
    assert!(stage.room.has_work());
    stage.settle();
    assert_eq!(stage.room.stroke_count(), OPS_IN_FLIGHT_MAX + 1);
    assert!(stage.closed.is_empty());
    let flood: Vec<Op> = (0..=OPS_IN_FLIGHT_MAX as u64).map(begin).collect();
    stage.step([ops(1, 10_000, flood), ops(2, 2, vec![begin(2)])]);
    assert_eq!(stage.closed, [(SessionId(1), DisconnectReason::Flood)]);
    assert_eq!(
        stage.take(1).last(),
        Some(&ServerMessage::Bye(DisconnectReason::Flood))
    );
    assert_eq!(
        (stage.room.session_count(), stage.room.stroke_count()),
        (1, OPS_IN_FLIGHT_MAX + 2)
    );
}

#[test]
fn saved_is_said_only_after_the_log_has_synced() {
    let mut stage = Stage::default();
    stage.step([
        join(1, Rights::Edit, BoardRect::EVERYTHING),
        ops(1, 1, vec![begin(1), begin(2)]),
    ]);
    stage.step([]);
    let is_durable = |message: &ServerMessage| matches!(message, ServerMessage::Durable(_));
    assert!(!stage.take(1).iter().any(is_durable));
    stage.step([chalkboard_simulation::Input::Durable(Position(1))]);
    assert_eq!(stage.take(1), [ServerMessage::Durable(Position(1))]);
    stage.step([chalkboard_simulation::Input::Durable(Position(2))]);
    assert_eq!(stage.take(1), [ServerMessage::Durable(Position(2))]);
    stage.step([chalkboard_simulation::Input::Durable(Position(2))]);
    assert_eq!(stage.take(1), []);
}

#[test]
fn the_same_client_connecting_again_replaces_its_older_connection() {
    let mut stage = Stage::default();
    let again = |session| {
        let chalkboard_simulation::Input::Join(mut join) =
            join(1, Rights::Edit, BoardRect::EVERYTHING)
        else {
            unreachable!("join makes joins");
        };
        join.session = SessionId(session);
        chalkboard_simulation::Input::Join(join)
    };
    stage.step([again(1)]);
    stage.step([again(2)]);
    assert_eq!(stage.closed, [(SessionId(1), DisconnectReason::Replaced)]);
    assert_eq!(stage.room.session_count(), 1);
}

#[test]
fn a_name_is_cut_and_cleaned_before_others_see_it() {
    use chalkboard_shared::wire::{PersonChange, Profile};
    let mut stage = Stage::default();
    stage.step([
        join(1, Rights::Edit, BoardRect::EVERYTHING),
        join(2, Rights::Edit, BoardRect::EVERYTHING),
    ]);
    stage.take(2);
    let profile = Profile {
        name: format!("\u{7}Ada{}", "x".repeat(5000)),
        color: 0xffff_ffff,
    };
    stage.step([chalkboard_simulation::Input::Profile {
        session: SessionId(1),
        profile,
    }]);
    let messages = stage.take(2);
    let [ServerMessage::People { changes, .. }] = &messages[..] else {
        panic!("{messages:?}")
    };
    let [PersonChange::Here(person)] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert!(person.profile.name.starts_with("Ada") && person.profile.name.len() <= 128);
    assert_eq!(person.profile.color, 0xff_ffff);
}
