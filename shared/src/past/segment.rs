//! A segment: the ticks of a part of the log, with their ops.
//!
//! # Format
//! `u8 version`, `varint index`, `u8 complete`, `varint` position before the first op; per tick `varint` differences of
//! tick and place on the time line and a zigzag one of the clock, `varint` ops, and for each a length and
//! [`OpEntry::encode_body`].

use bytes::Bytes;

use super::{Moment, VERSION, check_version};
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{Position, Tick};
use crate::limits::SERVER_FRAME_BYTES_MAX;
use crate::op::OpEntry;

/// A tick that changed something, with what it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastTick {
    /// When.
    pub moment: Moment,
    /// The ops, in order.
    pub entries: Vec<OpEntry>,
}

/// A part of a board's log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Segment {
    /// Which, from 0.
    pub index: u32,
    /// Nothing is ever added to it.
    pub is_complete: bool,
    /// Its ticks, in order.
    pub ticks: Vec<PastTick>,
}

/// Writes a segment tick by tick.
#[derive(Debug)]
pub struct SegmentWriter {
    w: Writer,
    last: Moment,
}

impl SegmentWriter {
    /// A segment without ticks, whose first op comes after `before`.
    pub fn new(index: u32, is_complete: bool, before: Position) -> Self {
        let mut w = Writer::new();
        w.u8(VERSION);
        w.varint(index.into());
        w.u8(is_complete.into());
        w.varint(before.0);
        Self {
            w,
            last: Moment::default(),
        }
    }

    /// Adds a tick: its ops by [`OpEntry::encode_body`].
    pub fn push<'a>(&mut self, moment: Moment, bodies: impl ExactSizeIterator<Item = &'a Bytes>) {
        let Moment {
            tick,
            unix_ms,
            at_ms,
        } = moment;
        self.w.varint(tick.0.wrapping_sub(self.last.tick.0));
        self.w.varint(at_ms.wrapping_sub(self.last.at_ms));
        let since = unix_ms.wrapping_sub(self.last.unix_ms);
        self.w.zigzag(since.cast_signed());
        self.last = moment;
        self.w.varint(bodies.len() as u64);
        for body in bodies {
            self.w.slice(body);
        }
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.w.len()
    }

    /// Never: there is a head.
    pub fn is_empty(&self) -> bool {
        self.w.is_empty()
    }

    /// The segment.
    pub fn finish(self) -> Bytes {
        self.w.into_bytes()
    }
}

impl Segment {
    /// Reads what [`SegmentWriter`] wrote.
    ///
    /// # Errors
    /// Anything else.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        check_version(&mut r)?;
        let index = r.varint_u32()?;
        let is_complete = match r.u8()? {
            0 => false,
            1 => true,
            _ => return Err(DecodeError::Malformed),
        };
        let mut position = r.varint()?;
        let mut last = Moment::default();
        let mut ticks = Vec::new();
        while r.remaining() > 0 {
            last = Moment {
                tick: Tick(last.tick.0.wrapping_add(r.varint()?)),
                at_ms: last.at_ms.wrapping_add(r.varint()?),
                unix_ms: last.unix_ms.wrapping_add(r.zigzag()?.cast_unsigned()),
            };
            let count = r.varint_at_most(r.remaining() as u64)?;
            let entries = (0..count)
                .map(|_| {
                    position = position.checked_add(1).ok_or(DecodeError::OutOfRange)?;
                    OpEntry::decode_body(Position(position), r.slice(SERVER_FRAME_BYTES_MAX)?)
                })
                .collect::<Result<_, DecodeError>>()?;
            ticks.push(PastTick {
                moment: last,
                entries,
            });
        }
        Ok(Self {
            index,
            is_complete,
            ticks,
        })
    }

    /// Writes it.
    pub fn encode(&self) -> Bytes {
        let first = self.ticks.iter().flat_map(|tick| &tick.entries).next();
        let before = first.map_or(0, |entry| entry.position.0 - 1);
        let mut writer = SegmentWriter::new(self.index, self.is_complete, Position(before));
        for tick in &self.ticks {
            let bodies: Vec<_> = tick.entries.iter().map(OpEntry::encode_body).collect();
            writer.push(tick.moment, bodies.iter());
        }
        writer.finish()
    }
}
