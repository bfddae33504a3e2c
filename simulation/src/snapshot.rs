//! Snapshots: a whole board at a log position, as it is stored.
//!
//! # Format, version 2
//! `u8 version`, `varint position`, `varint tick` of the last record before it, `varint actors` and per actor `u64 id`,
//! `varint` last answered counter; `varint parts` and each, behind its length, a chunk ([`chunk`]) of strokes; then the
//! CRC-32 of all that. Strokes are in drawing order, erased ones included.
//!
//! # Format, version 1
//! As version 2, without the tick, and in place of the parts `varint strokes` and each by [`Stroke::encode`].

use bytes::Bytes;
use chalkboard_shared::codec::{Reader, Writer};
use chalkboard_shared::limits::{
    ACTORS_PER_BOARD_MAX, CHUNK_POINTS_MAX, CHUNK_STROKES_MAX, STROKES_PER_BOARD_MAX,
};
use chalkboard_shared::{ActorId, DecodeError, OpId, Position, Stroke, Tick, chunk};

#[cfg(feature = "sabotage")]
use chalkboard_shared::sabotage::{Fault, is};

use crate::ledger::Ledger;
use crate::record::{RecordError, open, seal};

/// The version that is written.
const VERSION: u8 = 2;

/// Bytes of a part at the most: each point as an escape of every column, and as many for the rest.
const PART_BYTES_MAX: usize = 32 * CHUNK_POINTS_MAX;

/// What a snapshot holds.
pub(crate) struct Snapshot {
    pub(crate) position: Position,
    /// The tick that accepted the op there; `None` in version 1, which did not tell.
    pub(crate) tick: Option<Tick>,
    pub(crate) actors: Vec<OpId>,
    pub(crate) strokes: Vec<Stroke>,
}

/// Writes a board.
pub(crate) fn encode<'a>(ledger: &Ledger, strokes: impl IntoIterator<Item = &'a Stroke>) -> Bytes {
    let mut w = Writer::new();
    w.u8(VERSION);
    w.varint(ledger.position.0);
    w.varint(ledger.tick.0);
    w.varint(ledger.actors().len() as u64);
    for OpId { actor, counter } in ledger.actors() {
        w.u64(actor.0);
        w.varint(counter.into());
    }
    let mut strokes: Vec<&Stroke> = strokes.into_iter().collect();
    strokes.sort_unstable_by_key(|stroke| stroke.z);
    #[cfg(feature = "sabotage")]
    if is(Fault::ShortSnapshot) {
        strokes.pop();
    }
    let parts: Vec<&[&Stroke]> = parts(&strokes).collect();
    w.varint(parts.len() as u64);
    for part in parts {
        let mut encoded = Writer::new();
        chunk::encode(part.iter().copied(), &mut encoded);
        w.slice(encoded.as_slice());
    }
    seal(w)
}

/// Cuts strokes into parts that a chunk may hold.
fn parts<'a, 'b>(mut strokes: &'b [&'a Stroke]) -> impl Iterator<Item = &'b [&'a Stroke]> {
    core::iter::from_fn(move || {
        let mut points = 0;
        let count = strokes
            .iter()
            .take(CHUNK_STROKES_MAX)
            .take_while(|stroke| {
                points += stroke.point_count as usize;
                points <= CHUNK_POINTS_MAX
            })
            .count();
        let (part, rest) = strokes.split_at(count);
        strokes = rest;
        (!part.is_empty()).then_some(part)
    })
}

pub(crate) fn decode(bytes: &Bytes) -> Result<Snapshot, RecordError> {
    let mut r = Reader::new(open(bytes, VERSION)?);
    let version = r.u8()?;
    let position = Position(r.varint()?);
    let tick = (version > 1).then(|| r.varint()).transpose()?.map(Tick);
    let actor_count = r.varint_at_most(ACTORS_PER_BOARD_MAX as u64)?;
    let actors = (0..actor_count)
        .map(|_| {
            Ok(OpId {
                actor: ActorId(r.u64()?),
                counter: r.varint_u32()?,
            })
        })
        .collect::<Result<_, RecordError>>()?;
    let strokes = if version > 1 {
        decode_parts(&mut r)?
    } else {
        let stroke_count = r.varint_at_most(STROKES_PER_BOARD_MAX as u64)?;
        (0..stroke_count)
            .map(|_| Stroke::decode(&mut r))
            .collect::<Result<_, _>>()?
    };
    r.finish()?;
    Ok(Snapshot {
        position,
        tick,
        actors,
        strokes,
    })
}

fn decode_parts(r: &mut Reader) -> Result<Vec<Stroke>, DecodeError> {
    let mut strokes = Vec::new();
    for _ in 0..r.varint_at_most(STROKES_PER_BOARD_MAX as u64)? {
        let mut part = Reader::new(r.slice(PART_BYTES_MAX)?);
        strokes.append(&mut chunk::decode(&mut part)?);
        part.finish()?;
        if strokes.len() > STROKES_PER_BOARD_MAX {
            return Err(DecodeError::OutOfRange);
        }
    }
    Ok(strokes)
}
