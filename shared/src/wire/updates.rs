//! What a tick has changed, for those who cover it.
//!
//! # Format
//! `varint tick`, `varint` position of the first op, `u8 flags` (bit 0: stamps, then `u32` the first), `varint` length of
//! the bits, the bits, and then bodies, each behind its length. In bits, per update: 1 for a growth, 00 for the end, 01
//! for an op and 10 for a whole stroke. An op's position is that of the op before, 1, and a gap, Rice(0); its stamp where
//! there are any is 1 bit, and the difference to the one before, adaptive Rice. A growth follows as
//! [`crate::growth`] has it; ops and strokes take the next body.

use bytes::Bytes;

use super::server_message::UPDATES;
use crate::codec::bits::{Adaptive, BitReader, BitWriter, unzigzag, zigzag};
use crate::codec::{DecodeError, Reader, Writer};
use crate::growth::{self, Growth, GrowthCoder};
use crate::id::{Position, Tick};
use crate::limits::SERVER_FRAME_BYTES_MAX;
use crate::op::OpEntry;
use crate::stroke::Stroke;

const FLAG_STAMPS: u8 = 1;
const GAP_K: u32 = 0;
/// Stamps of a tick lie some milliseconds apart.
const STAMP_EXPECTED: u32 = 1024;

/// A change of what a session covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// An op was accepted; with the stamp that its sender has given it.
    Op(OpEntry, Option<u32>),
    /// An op that adds points to a stroke was accepted.
    Growth {
        /// The op's place in the log.
        position: Position,
        /// The stamp that its sender has given it.
        stamp: Option<u32>,
        /// The points, for those who hold the stroke.
        growth: Growth,
    },
    /// A stroke came into the covered area, or back: here it is, whole.
    Stroke(Box<Stroke>),
}

/// Puts the updates of one tick together from what was encoded once and is shared by all who need it.
#[derive(Debug)]
pub struct UpdatesWriter<'a> {
    tick: Tick,
    entries: Vec<Entry<'a>>,
    has_stamps: bool,
    bytes: usize,
}

#[derive(Debug)]
enum Entry<'a> {
    Op(Position, Option<u32>, &'a [u8]),
    Growth(Position, Option<u32>, &'a Growth),
    Stroke(&'a [u8]),
}

impl<'a> UpdatesWriter<'a> {
    /// For the updates of a tick.
    pub const fn new(tick: Tick) -> Self {
        Self {
            tick,
            entries: Vec::new(),
            has_stamps: false,
            bytes: 0,
        }
    }

    /// Adds an accepted op by its [`OpEntry::encode_body`], with its sender's stamp. Ops come by position.
    pub fn op(&mut self, position: Position, stamp: Option<u32>, body: &'a [u8]) {
        self.has_stamps |= stamp.is_some();
        self.bytes += body.len() + 4;
        self.entries.push(Entry::Op(position, stamp, body));
    }

    /// Adds an accepted op that makes a stroke grow. `false`, and nothing is added, for a stroke that is so old that it
    /// can't be named.
    pub fn growth(&mut self, position: Position, stamp: Option<u32>, growth: &'a Growth) -> bool {
        if !growth::is_tellable(growth, position) {
            return false;
        }
        self.has_stamps |= stamp.is_some();
        self.bytes += 16;
        self.entries.push(Entry::Growth(position, stamp, growth));
        true
    }

    /// Adds a whole stroke by its [`Stroke::encode`].
    pub fn stroke(&mut self, body: &'a [u8]) {
        self.bytes += body.len() + 4;
        self.entries.push(Entry::Stroke(body));
    }

    /// Bytes so far, about.
    pub const fn len(&self) -> usize {
        self.bytes
    }

    /// Nothing was added.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The frame.
    pub fn finish(self) -> Bytes {
        let ops = || {
            self.entries.iter().filter_map(|entry| match entry {
                Entry::Op(position, stamp, _) | Entry::Growth(position, stamp, _) => {
                    Some((*position, *stamp))
                }
                Entry::Stroke(_) => None,
            })
        };
        let first = ops().next().map_or(Position(0), |(position, _)| position);
        let stamp = ops().find_map(|(_, stamp)| stamp).unwrap_or(0);
        let mut w = Writer::new();
        w.u8(UPDATES);
        w.varint(self.tick.0);
        w.varint(first.0);
        w.u8(if self.has_stamps { FLAG_STAMPS } else { 0 });
        if self.has_stamps {
            w.raw(&stamp.to_le_bytes());
        }
        let mut packed = Vec::with_capacity(self.entries.len() * 10);
        let mut bits = BitWriter::new(&mut packed);
        let mut coder = Coder::new(first, self.has_stamps, stamp);
        for entry in &self.entries {
            match entry {
                Entry::Growth(position, stamp, growth) => {
                    bits.bits(1, 1);
                    coder.write(&mut bits, *position, *stamp);
                    coder.growths.write(&mut bits, growth, *position);
                }
                Entry::Op(position, stamp, _) => {
                    bits.bits(0b010, 3);
                    coder.write(&mut bits, *position, *stamp);
                }
                Entry::Stroke(_) => bits.bits(0b100, 3),
            }
        }
        bits.bits(0, 3);
        bits.finish();
        w.slice(&packed);
        for entry in &self.entries {
            if let Entry::Op(_, _, body) | Entry::Stroke(body) = entry {
                w.slice(body);
            }
        }
        w.into_bytes()
    }
}

/// Positions and stamps, in the order in which they travel.
struct Coder {
    next: Position,
    has_stamps: bool,
    stamp: u32,
    stamps: Adaptive,
    growths: GrowthCoder,
}

impl Coder {
    const fn new(first: Position, has_stamps: bool, stamp: u32) -> Self {
        Self {
            next: first,
            has_stamps,
            stamp,
            stamps: Adaptive::starting_at(STAMP_EXPECTED),
            growths: GrowthCoder::new(),
        }
    }

    fn write(&mut self, bits: &mut BitWriter<'_>, position: Position, stamp: Option<u32>) {
        bits.rice(position.0.wrapping_sub(self.next.0) as u32, GAP_K);
        self.next = position.next();
        if !self.has_stamps {
            return;
        }
        bits.bits(stamp.is_some().into(), 1);
        if let Some(stamp) = stamp {
            let code = zigzag(stamp.wrapping_sub(self.stamp) as i32);
            bits.rice(code, self.stamps.k());
            self.stamps.learn(code);
            self.stamp = stamp;
        }
    }

    fn read(&mut self, bits: &mut BitReader<'_>) -> Result<(Position, Option<u32>), DecodeError> {
        let position = self
            .next
            .0
            .checked_add(bits.rice(GAP_K)?.into())
            .filter(|position| *position < u64::MAX)
            .ok_or(DecodeError::OutOfRange)?;
        self.next = Position(position + 1);
        let mut stamp = None;
        if self.has_stamps && bits.bits(1)? == 1 {
            let code = bits.rice(self.stamps.k())?;
            self.stamps.learn(code);
            self.stamp = self.stamp.wrapping_add(unzigzag(code) as u32);
            stamp = Some(self.stamp);
        }
        Ok((Position(position), stamp))
    }
}

/// A frame from updates as they are read; what a room sends it puts together with [`UpdatesWriter`].
pub(super) fn encode(tick: Tick, updates: &[Update]) -> Bytes {
    let bodies: Vec<Bytes> = updates
        .iter()
        .map(|update| match update {
            Update::Op(entry, _) => entry.encode_body(),
            Update::Growth { .. } => Bytes::new(),
            Update::Stroke(stroke) => {
                let mut body = Writer::new();
                stroke.encode(&mut body);
                body.into_bytes()
            }
        })
        .collect();
    let mut frame = UpdatesWriter::new(tick);
    for (update, body) in updates.iter().zip(&bodies) {
        match update {
            Update::Op(entry, stamp) => frame.op(entry.position, *stamp, body),
            Update::Growth {
                position,
                stamp,
                growth,
            } => {
                let is_told = frame.growth(*position, *stamp, growth);
                debug_assert!(is_told, "it was told before");
            }
            Update::Stroke(_) => frame.stroke(body),
        }
    }
    frame.finish()
}

/// Reads what follows the kind, to the end.
pub(super) fn decode(r: &mut Reader) -> Result<(Tick, Vec<Update>), DecodeError> {
    let tick = Tick(r.varint()?);
    let first = Position(r.varint()?);
    let has_stamps = match r.u8()? {
        0 => false,
        FLAG_STAMPS => true,
        _ => return Err(DecodeError::Malformed),
    };
    let stamp = if has_stamps {
        u32::from_le_bytes([r.u8()?, r.u8()?, r.u8()?, r.u8()?])
    } else {
        0
    };
    let packed = r.slice(SERVER_FRAME_BYTES_MAX)?;
    let mut bits = BitReader::new(&packed);
    let mut coder = Coder::new(first, has_stamps, stamp);
    let mut updates = Vec::new();
    loop {
        if bits.bits(1)? == 1 {
            let (position, stamp) = coder.read(&mut bits)?;
            let growth = coder.growths.read(&mut bits, position)?;
            updates.push(Update::Growth {
                position,
                stamp,
                growth,
            });
            continue;
        }
        match bits.bits(2)? {
            0b00 => break,
            0b01 => {
                let (position, stamp) = coder.read(&mut bits)?;
                let entry = OpEntry::decode_body(position, r.slice(SERVER_FRAME_BYTES_MAX)?)?;
                updates.push(Update::Op(entry, stamp));
            }
            0b10 => {
                let mut body = Reader::new(r.slice(SERVER_FRAME_BYTES_MAX)?);
                let stroke = Stroke::decode(&mut body)?;
                body.finish()?;
                updates.push(Update::Stroke(Box::new(stroke)));
            }
            _ => return Err(DecodeError::Malformed),
        }
    }
    bits.finish()?;
    Ok((tick, updates))
}
