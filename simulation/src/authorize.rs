//! Authorize: waiting ops become candidates, in the room's order, or are refused.

use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::IntoScheduleConfigs;
use chalkboard_shared::limits::{OPS_PER_TICK_MAX, POINTS_PER_TICK_MAX};
use chalkboard_shared::{Op, OpId, RejectReason, Rights};

use crate::ledger::Ledger;
use crate::people::{OpQueue, People, User, WaitingOp};
use crate::room::{RoomSystems, RoomTick};
use crate::strokes::{Body, StrokeTable};

/// An op that may be applied.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) session: Entity,
    pub(crate) id: OpId,
    pub(crate) stamp: Option<u32>,
    pub(crate) op: Op,
}

/// The ops of this tick, in the order in which they will be applied.
#[derive(Resource, Debug, Default)]
pub(crate) struct Candidates(pub(crate) Vec<Candidate>);

/// Checks rights and takes turns.
pub(crate) struct AuthorizePlugin;

impl Plugin for AuthorizePlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Candidates>();
        app.add_systems(RoomTick, authorize_ops.in_set(RoomSystems::Authorize));
    }
}

/// At most [`OPS_PER_TICK_MAX`] ops and [`POINTS_PER_TICK_MAX`] points a session and tick, so that a burst of one delays nobody else's.
fn authorize_ops(
    people: Res<People>,
    table: Res<StrokeTable>,
    bodies: Query<&Body>,
    mut ledger: ResMut<Ledger>,
    mut queues: Query<(&User, &mut OpQueue)>,
    mut candidates: ResMut<Candidates>,
) {
    // Strokes that grow are told most briefly in the order in which they began; among sessions any order is fair. It
    // follows from the board and what waits, so that a recording that begins here goes on alike.
    let begun = |op: &Op| match op {
        Op::Extend { stroke, .. } | Op::Finish { stroke } => {
            let body = bodies.get(table.entity(*stroke)?).ok()?;
            Some(body.0.z)
        }
        _ => None,
    };
    let mut turns: Vec<_> = people
        .sessions
        .iter()
        .filter_map(|(session, &entity)| {
            let (_, queue) = queues.get(entity).ok()?;
            let first = queue.waiting.front()?;
            Some((begun(&first.op), *session, entity))
        })
        .collect();
    turns.sort_unstable();
    for (_, _, entity) in turns {
        let Ok((User(person), mut queue)) = queues.get_mut(entity) else {
            continue;
        };
        let queue = queue.as_mut();
        queue.is_answered = true;
        let verdict = match person.rights {
            Rights::Edit => ledger.admit(person.actor),
            Rights::View => Err(RejectReason::ReadOnly),
        };
        let mut points = 0;
        let takes_turn = |waiting: &&WaitingOp| {
            points += waiting.op.point_count();
            // The first one always.
            points <= POINTS_PER_TICK_MAX || points == waiting.op.point_count()
        };
        let waiting = queue.waiting.iter().take(OPS_PER_TICK_MAX);
        let count = waiting.take_while(takes_turn).count();
        for WaitingOp { counter, stamp, op } in queue.waiting.drain(..count) {
            let id = OpId {
                actor: person.actor,
                counter,
            };
            queue.answered = counter;
            match verdict {
                Ok(()) => candidates.0.push(Candidate {
                    session: entity,
                    id,
                    stamp,
                    op,
                }),
                Err(reason) => {
                    queue.rejected.push((counter, reason));
                    // A viewer never fills the ledger: nothing of theirs is kept.
                    if person.rights == Rights::Edit {
                        ledger.answer(id);
                    }
                }
            }
        }
    }
}
