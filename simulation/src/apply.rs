//! Apply: the only place where the board changes.

use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::IntoScheduleConfigs;
use bytes::Bytes;
use chalkboard_shared::growth::{End, Growth};
use chalkboard_shared::merge::Strokes;
use chalkboard_shared::{Op, OpEntry, OpId, Position, Stroke, merge};

use crate::authorize::{Candidate, Candidates};
use crate::authors::{Authors, note_author};
use crate::ledger::Ledger;
use crate::live_ink::{self, LiveInk};
use crate::output::{Output, Record};
use crate::people::OpQueue;
use crate::record::LogRecord;
use crate::room::{Clock, RoomSystems, RoomTick};
use crate::strokes::{Board, StrokeTable};

/// An op that changed the board in this tick.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) position: Position,
    /// When it was made on its sender's clock, if that is to be told.
    pub(crate) stamp: Option<u32>,
    /// As it stands in the log and is told to those who get it whole.
    pub(crate) body: Bytes,
    /// What those are told who hold the stroke, if it begins one, makes it grow or ends it.
    pub(crate) brief: Option<Brief>,
    /// The strokes that it changed, by their places in [`StrokeTable::touched`].
    pub(crate) touched: Vec<u32>,
    /// It does nothing but add to its one stroke, so that a copy of the whole stroke makes it superfluous.
    pub(crate) is_growth: bool,
}

/// An op in few words, for those who hold the stroke as it was before, of which there may be nothing.
#[derive(Debug)]
pub(crate) enum Brief {
    Begin(Box<OpEntry>),
    Growth(Growth),
    End(End),
}

/// Accepted ops of this tick, in order.
#[derive(Resource, Debug, Default)]
pub(crate) struct AcceptedOps(pub(crate) Vec<Accepted>);

/// Applies candidates and writes the log's record.
pub(crate) struct ApplyPlugin;

impl Plugin for ApplyPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<AcceptedOps>();
        app.init_resource::<Authors>();
        app.init_resource::<StrokeTable>();
        app.add_systems(
            RoomTick,
            (apply_ops, record_ops).chain().in_set(RoomSystems::Apply),
        );
    }
}

/// Exclusive: an op must see what the op before it has done.
fn apply_ops(world: &mut World) {
    let mut candidates = core::mem::take(&mut world.resource_mut::<Candidates>().0);
    for Candidate {
        session,
        id,
        stamp,
        op,
    } in candidates.drain(..)
    {
        let position = world.resource::<Ledger>().position.next();
        let brief = brief(world, id, &op);
        let live = live_ink::grown(world, &op);
        let result = merge::apply(&mut Board(world), id, position, &op);
        world.resource_mut::<Ledger>().answer(id);
        let queue = world.get_mut::<OpQueue>(session);
        match result {
            Ok(()) => {
                if let Some(mut queue) = queue {
                    queue.position = position;
                }
                let tick = world.resource::<Clock>().tick;
                let mut ledger = world.resource_mut::<Ledger>();
                ledger.position = position;
                ledger.tick = tick;
                note_author(world, session, id.actor);
                if let Some(live) = live {
                    world.resource_mut::<LiveInk>().note(live);
                }
                let table = world.resource::<StrokeTable>();
                let touched = op
                    .strokes(&id)
                    .filter_map(|stroke| table.touched_slot(stroke))
                    .collect();
                let is_growth = matches!(op, Op::Extend { .. } | Op::Finish { .. });
                let entry = OpEntry { position, id, op };
                let body = entry.encode_body();
                let brief = match entry.op {
                    Op::Begin { .. } => Some(Brief::Begin(Box::new(entry))),
                    _ => brief,
                };
                world.resource_mut::<AcceptedOps>().0.push(Accepted {
                    position,
                    stamp,
                    body,
                    brief,
                    touched,
                    is_growth,
                });
            }
            Err(reason) => {
                if let Some(mut queue) = queue {
                    queue.rejected.push((id.counter, reason));
                }
            }
        }
    }
    world.resource_mut::<Candidates>().0 = candidates;
}

/// What an op is going to do to a stroke that grows.
fn brief(world: &mut World, id: OpId, op: &Op) -> Option<Brief> {
    match op {
        Op::Extend { stroke, ink } => {
            let growth = Growth::new(Board(world).get(*stroke)?, id, ink.points())?;
            Some(Brief::Growth(growth))
        }
        Op::Finish { stroke } => {
            let board = Board(world);
            let stroke: &Stroke = board.get(*stroke)?;
            let grows = stroke.wet_points().is_some();
            grows.then(|| Brief::End(End::new(stroke, id)))
        }
        _ => None,
    }
}

fn record_ops(accepted: Res<AcceptedOps>, clock: Res<Clock>, mut output: ResMut<Output>) {
    let (Some(first), Some(last)) = (accepted.0.first(), accepted.0.last()) else {
        return;
    };
    let bodies = accepted.0.iter().map(|op| &op.body);
    let bytes = LogRecord::encode(clock.tick, clock.now.unix_ms, first.position, bodies);
    output.record = Some(Record {
        first: first.position,
        last: last.position,
        bytes,
    });
}
