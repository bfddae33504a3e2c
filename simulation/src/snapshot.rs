//! Snapshots: a whole board at a log position, as it is stored.
//!
//! # Format, version 1
//! `u8 version`, `varint position`, `varint actors` and per actor `u64 id`, `varint` last answered counter; `varint
//! strokes` and each by [`Stroke::encode`] in drawing order, erased ones included; then the CRC-32 of all that.

use bevy_ecs::prelude::*;
use bytes::Bytes;
use chalkboard_shared::codec::{Reader, Writer};
use chalkboard_shared::limits::{ACTORS_PER_BOARD_MAX, STROKES_PER_BOARD_MAX};
use chalkboard_shared::{ActorId, OpId, Position, Stroke};

use crate::ledger::Ledger;
use crate::record::{RecordError, open, seal};
use crate::strokes::Body;

/// The version that is written.
const VERSION: u8 = 1;

/// What a snapshot holds.
pub(crate) struct Snapshot {
    pub(crate) position: Position,
    pub(crate) actors: Vec<OpId>,
    pub(crate) strokes: Vec<Stroke>,
}

pub(crate) fn encode(world: &mut World) -> Bytes {
    let mut w = Writer::new();
    w.u8(VERSION);
    let ledger = world.resource::<Ledger>();
    w.varint(ledger.position.0);
    w.varint(ledger.actors().len() as u64);
    for OpId { actor, counter } in ledger.actors() {
        w.u64(actor.0);
        w.varint(counter.into());
    }
    let mut bodies = world.query::<&Body>();
    let mut strokes: Vec<&Stroke> = bodies.iter(world).map(|body| &body.0).collect();
    strokes.sort_unstable_by_key(|stroke| stroke.z);
    w.varint(strokes.len() as u64);
    for stroke in strokes {
        stroke.encode(&mut w);
    }
    seal(w)
}

pub(crate) fn decode(bytes: &Bytes) -> Result<Snapshot, RecordError> {
    let mut r = Reader::new(open(bytes, VERSION)?);
    r.u8()?;
    let position = Position(r.varint()?);
    let actor_count = r.varint_at_most(ACTORS_PER_BOARD_MAX as u64)?;
    let actors = (0..actor_count)
        .map(|_| {
            Ok(OpId {
                actor: ActorId(r.u64()?),
                counter: r.varint_u32()?,
            })
        })
        .collect::<Result<_, RecordError>>()?;
    let stroke_count = r.varint_at_most(STROKES_PER_BOARD_MAX as u64)?;
    let strokes = (0..stroke_count)
        .map(|_| Stroke::decode(&mut r))
        .collect::<Result<_, _>>()?;
    r.finish()?;
    Ok(Snapshot {
        position,
        actors,
        strokes,
    })
}
