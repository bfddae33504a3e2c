//! The journal: what a platform keeps of a client beyond its end, so that whoever runs it next goes on from there.
//!
//! Two things are kept. The *outbox* is a head and a piece for each op that the server is not known to have on its
//! disk, under the op's number; it belongs to one key, and at any time to one running client. The *board* is the mirror
//! as it was at a position of the room's log; it belongs to whoever opens the board, and a lost one costs nothing but its
//! download. What is in a piece is nobody's business but this module's, and a damaged one is found by its checksum. It knows
//! no store: `client/web/engine` puts the pieces into the browser's.
//!
//! # Formats, version 1
//! Every piece is `u8 version`, what follows, and a checksum of 4 bytes, little-endian.
//! - head: `u64 actor` (0 before the first connection), `varint` number of the first op that is kept or comes next.
//! - op: `varint` its number, `u8` 1 where the room has refused it, `varint ink_end`, and the op as made by actor 0, which
//!   stands for this client.
//! - board: `varint epoch`, `varint position`, the coverage (`u8 level`, 128 more where
//!   strokes may be held as later ops have made them, `zigzag` first and last column and row) and
//!   what of it is held (`zigzag` corners), `varint` count and each stroke by `Stroke::encode`.

use std::sync::Arc;

use bytes::Bytes;
use chalkboard_shared::codec::{Reader, Writer};
use chalkboard_shared::interest::Coverage;
use chalkboard_shared::limits::STROKES_PER_BOARD_MAX;
use chalkboard_shared::{ActorId, BoardPoint, BoardRect, DecodeError, Op, OpId, Position, Stroke};

/// The version that is written.
const VERSION: u8 = 1;

/// Bytes of a stored board: what a platform keeps of several boards must fit where browsers let pages store things. Some
/// 200,000 strokes; of a larger board nothing is kept.
pub const BOARD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What has changed in the outbox since it was asked for last: to be stored as one change, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalChange {
    /// All pieces that were stored so far are out of date.
    pub is_anew: bool,
    /// Takes the place of the head.
    pub head: Vec<u8>,
    /// Pieces of ops with lower numbers are not needed any more.
    pub first: u32,
    /// Pieces to store under their numbers, in the place of what is there.
    pub ops: Vec<(u32, Vec<u8>)>,
}

/// An op that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptOp {
    pub(crate) op: Arc<Op>,
    pub(crate) ink_end: u32,
    pub(crate) is_rejected: bool,
}

/// Beside the level of the coverage: strokes may be held as later ops have made them.
const AHEAD: u8 = 0x80;

/// A mirror that was kept.
#[derive(Debug)]
pub(crate) struct KeptBoard<S> {
    pub(crate) epoch: u64,
    pub(crate) position: Position,
    pub(crate) is_ahead: bool,
    pub(crate) coverage: Coverage,
    pub(crate) held: BoardRect,
    pub(crate) strokes: S,
}

const fn made_by_self(counter: u32) -> OpId {
    OpId {
        actor: ActorId(0),
        counter,
    }
}

pub(crate) fn encode_head(actor: ActorId, first: u32) -> Vec<u8> {
    let mut w = begin();
    w.u64(actor.0);
    w.varint(first.into());
    seal(w)
}

pub(crate) fn decode_head(bytes: &[u8]) -> Result<(ActorId, u32), DecodeError> {
    let mut r = open(bytes)?;
    let head = (ActorId(r.u64()?), r.varint_u32()?);
    r.finish()?;
    if head.1 == 0 {
        return Err(DecodeError::OutOfRange);
    }
    Ok(head)
}

pub(crate) fn encode_op(actor: ActorId, counter: u32, kept: &KeptOp) -> Vec<u8> {
    let mut w = begin();
    w.varint(counter.into());
    w.u8(u8::from(kept.is_rejected));
    w.varint(kept.ink_end.into());
    let op = kept.op.as_ref().clone().unsigned(actor);
    op.encode(made_by_self(counter), &mut w);
    seal(w)
}

pub(crate) fn decode_op(actor: ActorId, bytes: &[u8]) -> Result<(u32, KeptOp), DecodeError> {
    let mut r = open(bytes)?;
    let counter = r.varint_u32()?;
    let is_rejected = r.u8()? != 0;
    let ink_end = r.varint_u32()?;
    let op = Op::decode(made_by_self(counter), &mut r)?.signed_by(actor);
    r.finish()?;
    let kept = KeptOp {
        op: Arc::new(op),
        ink_end,
        is_rejected,
    };
    Ok((counter, kept))
}

/// `None` where it is larger than may be kept.
pub(crate) fn encode_board<'a>(
    board: &KeptBoard<impl ExactSizeIterator<Item = &'a Stroke> + Clone>,
) -> Option<Vec<u8>> {
    let mut w = begin();
    w.varint(board.epoch);
    w.varint(board.position.0);
    let Coverage { level, min, max } = board.coverage;
    w.u8(level | if board.is_ahead { AHEAD } else { 0 });
    for v in [min.0, min.1, max.0, max.1] {
        w.zigzag(v.into());
    }
    for corner in [board.held.min, board.held.max] {
        w.zigzag(corner.x.into());
        w.zigzag(corner.y.into());
    }
    w.varint(board.strokes.len() as u64);
    for stroke in board.strokes.clone() {
        stroke.encode(&mut w);
        if w.len() > BOARD_BYTES_MAX {
            return None;
        }
    }
    Some(seal(w))
}

pub(crate) fn decode_board(bytes: &[u8]) -> Result<KeptBoard<Vec<Stroke>>, DecodeError> {
    let mut r = open(bytes)?;
    let (epoch, position) = (r.varint()?, Position(r.varint()?));
    let level = r.u8()?;
    let (is_ahead, level) = (level & AHEAD > 0, level & !AHEAD);
    let mut pair = || Ok((r.zigzag_i32()?, r.zigzag_i32()?));
    let coverage = Coverage {
        level,
        min: pair()?,
        max: pair()?,
    };
    let mut corner = || pair().map(|(x, y)| BoardPoint::new(x, y));
    let held = BoardRect {
        min: corner()?,
        max: corner()?,
    };
    let count = r.varint_at_most(STROKES_PER_BOARD_MAX as u64)?;
    let strokes = (0..count)
        .map(|_| Stroke::decode(&mut r))
        .collect::<Result<_, _>>()?;
    r.finish()?;
    if !coverage.is_valid() {
        return Err(DecodeError::OutOfRange);
    }
    Ok(KeptBoard {
        epoch,
        position,
        is_ahead,
        coverage,
        held,
        strokes,
    })
}

fn begin() -> Writer {
    let mut w = Writer::new();
    w.u8(VERSION);
    w
}

fn seal(mut w: Writer) -> Vec<u8> {
    let checksum = checksum(w.as_slice());
    w.raw(&checksum.to_le_bytes());
    w.into_vec()
}

fn open(bytes: &[u8]) -> Result<Reader, DecodeError> {
    let (body, sum) = bytes
        .split_last_chunk::<4>()
        .ok_or(DecodeError::Truncated)?;
    if checksum(body) != u32::from_le_bytes(*sum) {
        return Err(DecodeError::Malformed);
    }
    let mut r = Reader::new(Bytes::copy_from_slice(body));
    match r.u8()? {
        VERSION => Ok(r),
        other => Err(DecodeError::UnknownKind(other)),
    }
}

/// FNV-1a over words of 8 bytes, folded: finds what a disk or a half-written store does to bytes, not forgery.
fn checksum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = words
        .iter()
        .chain([&last])
        .map(|word| u64::from_le_bytes(*word));
    let step = |hash: u64, word: u64| {
        (hash ^ word)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(29)
    };
    let hash = words.fold(0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64, step);
    (hash ^ hash >> 32) as u32
}

#[cfg(test)]
mod tests;
