//! The time line: how much was done when and by whom, and where the segments begin.
//!
//! # Format
//! `u8 version`; the last moment as `varint` tick, clock and place; `varint position`; `varint authors` and per author
//! name (a length and UTF-8), 3 bytes of colour, `varint ops`, `varint actors` and each as `u64`; `varint segments` and per
//! segment `varint` tick, place and `u32` mark (as `varint`); `varint buckets` and per bucket `varint` pairs, each author
//! and ops.

use bytes::Bytes;

use super::{Moment, VERSION, check_version};
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{ActorId, Position, Tick};
use crate::limits::{NAME_BYTES_MAX, PAST_ACTORS_MAX, PAST_AUTHORS_MAX, PAST_BUCKETS_MAX};

/// Somebody who changed the board, in all their runs of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// Display name; empty where nobody was told it.
    pub name: String,
    /// Colour, 0xRRGGBB.
    pub color: u32,
    /// Ops of theirs.
    pub ops: u64,
    /// Their actors.
    pub actors: Vec<ActorId>,
}

/// Where a segment begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHead {
    /// Its first tick.
    pub tick: Tick,
    /// Place of that on the time line.
    pub at_ms: u64,
    /// Stands for all of the log up to its end, if it is complete: another log has another mark. 0 while it grows.
    pub mark: u32,
}

/// What was done in a part of the time line: pairs of an author, by place in the list (its length for all others), and
/// ops.
pub type Bucket = Vec<(u8, u32)>;

/// When something changed, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Timeline {
    /// The last moment; all zero for a board that nobody changed.
    pub end: Moment,
    /// The last op.
    pub position: Position,
    /// Who changed it, busiest first; at most [`PAST_AUTHORS_MAX`].
    pub authors: Vec<Author>,
    /// Segments, in order.
    pub segments: Vec<SegmentHead>,
    /// The time line in equal parts from 0 to its end.
    pub buckets: Vec<Bucket>,
}

impl Timeline {
    /// Writes it.
    pub fn encode(&self) -> Bytes {
        let mut w = Writer::new();
        w.u8(VERSION);
        w.varint(self.end.tick.0);
        w.varint(self.end.unix_ms);
        w.varint(self.end.at_ms);
        w.varint(self.position.0);
        w.varint(self.authors.len() as u64);
        for author in &self.authors {
            w.slice(author.name.as_bytes());
            w.raw(&author.color.to_be_bytes()[1..]);
            w.varint(author.ops);
            w.varint(author.actors.len() as u64);
            for actor in &author.actors {
                w.u64(actor.0);
            }
        }
        w.varint(self.segments.len() as u64);
        for segment in &self.segments {
            w.varint(segment.tick.0);
            w.varint(segment.at_ms);
            w.varint(segment.mark.into());
        }
        w.varint(self.buckets.len() as u64);
        for bucket in &self.buckets {
            w.varint(bucket.len() as u64);
            for (author, ops) in bucket {
                w.u8(*author);
                w.varint((*ops).into());
            }
        }
        w.into_bytes()
    }

    /// Reads what [`Timeline::encode`] wrote.
    ///
    /// # Errors
    /// Anything else.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let r = &mut Reader::new(bytes);
        check_version(r)?;
        let end = Moment {
            tick: Tick(r.varint()?),
            unix_ms: r.varint()?,
            at_ms: r.varint()?,
        };
        let position = Position(r.varint()?);
        let mut authors = Vec::new();
        let mut actors_left = PAST_ACTORS_MAX as u64;
        for _ in 0..r.varint_at_most(PAST_AUTHORS_MAX as u64)? {
            let name = r.slice(NAME_BYTES_MAX)?;
            let name = String::from_utf8(name.into()).map_err(|_| DecodeError::Malformed)?;
            let color = u32::from(r.u8()?) << 16 | u32::from(r.u8()?) << 8 | u32::from(r.u8()?);
            let ops = r.varint()?;
            let count = r.varint_at_most(actors_left)?;
            actors_left -= count;
            let mut actors = Vec::new();
            for _ in 0..count {
                actors.push(ActorId(r.u64()?));
            }
            authors.push(Author {
                name,
                color,
                ops,
                actors,
            });
        }
        let mut segments = Vec::new();
        for _ in 0..r.varint_at_most(r.remaining() as u64)? {
            segments.push(SegmentHead {
                tick: Tick(r.varint()?),
                at_ms: r.varint()?,
                mark: r.varint_u32()?,
            });
        }
        let mut buckets = Vec::new();
        for _ in 0..r.varint_at_most(PAST_BUCKETS_MAX as u64)? {
            let mut bucket = Bucket::new();
            for _ in 0..r.varint_at_most(authors.len() as u64 + 1)? {
                let author = r.u8()?;
                if usize::from(author) > authors.len() {
                    return Err(DecodeError::OutOfRange);
                }
                bucket.push((author, r.varint_u32()?));
            }
            buckets.push(bucket);
        }
        if r.remaining() > 0 {
            return Err(DecodeError::Trailing);
        }
        Ok(Self {
            end,
            position,
            authors,
            segments,
            buckets,
        })
    }
}
