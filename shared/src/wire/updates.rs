//! What a tick has changed, for those who cover it.
//!
//! # Format
//! `varint tick`, `varint` position of the first op, `u8 flags` (bit 0: stamps, then `u32` the first; bits 4 to 7: low bits
//! of stamps that are left out), `varint` length of the bits, the bits, and then bodies, each behind its length. In bits,
//! per update: 1 for a growth, 00 for the end, 01 for an op, 10 for a whole stroke and 11 for the end of a stroke. An
//! op's position is that of the op before, 1, and a gap, Rice(0). A growth has 1 bit that is set if it follows on the
//! same stroke with the next counter, and has a stamp if the one before has. Where there are stamps and this does not
//! tell it, 1 bit says whether the op has one; a stamp is the difference to the one before, adaptive Rice, of growths
//! that follow the difference to that. A growth goes on as [`crate::growth`] has it; ops and strokes take the next body.

use bytes::Bytes;

use super::server_message::UPDATES;
use crate::codec::bits::{Adaptive, BitReader, BitWriter, unzigzag, zigzag};
use crate::codec::{DecodeError, Reader, Writer};
use crate::growth::{self, End, Growth, GrowthCoder};
use crate::id::{Position, Tick};
use crate::limits::SERVER_FRAME_BYTES_MAX;
use crate::op::OpEntry;
use crate::stroke::Stroke;

const FLAG_STAMPS: u8 = 1;
const SHIFT_AT: u32 = 4;
/// Low bits of stamps that may be left out.
const STAMP_SHIFT_MAX: u32 = 15;
const GAP_K: u32 = 0;
/// Stamps of a tick lie some milliseconds apart.
const STAMP_EXPECTED: u32 = 1024;
/// Those of one stroke are as far apart as its batches.
const STRIDE_EXPECTED: u32 = 64;

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
    /// The op that ends a stroke was accepted.
    End {
        /// The op's place in the log.
        position: Position,
        /// The stamp that its sender has given it.
        stamp: Option<u32>,
        /// Which stroke, for those who hold it.
        end: End,
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
    stamp_shift: u32,
    bytes: usize,
}

#[derive(Debug)]
enum Entry<'a> {
    Op(Position, Option<u32>, &'a [u8]),
    Growth(Position, Option<u32>, &'a Growth),
    End(Position, Option<u32>, End),
    Stroke(&'a [u8]),
}

impl<'a> UpdatesWriter<'a> {
    /// For the updates of a tick. Of stamps so many low bits are left out, 15 at the most: what they measure takes ticks.
    pub fn new(tick: Tick, stamp_shift: u32) -> Self {
        Self {
            tick,
            entries: Vec::new(),
            has_stamps: false,
            stamp_shift: stamp_shift.min(STAMP_SHIFT_MAX),
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
        if !growth::is_tellable(growth.begin, position) {
            return false;
        }
        self.has_stamps |= stamp.is_some();
        self.bytes += 16;
        self.entries.push(Entry::Growth(position, stamp, growth));
        true
    }

    /// Adds an accepted op that ends a stroke. `false`, and nothing is added, as with [`UpdatesWriter::growth`].
    pub fn end(&mut self, position: Position, stamp: Option<u32>, end: End) -> bool {
        if !growth::is_tellable(end.begin, position) {
            return false;
        }
        self.has_stamps |= stamp.is_some();
        self.bytes += 4;
        self.entries.push(Entry::End(position, stamp, end));
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
                Entry::Op(position, stamp, _)
                | Entry::Growth(position, stamp, _)
                | Entry::End(position, stamp, _) => Some((*position, *stamp)),
                Entry::Stroke(_) => None,
            })
        };
        let first = ops().next().map_or(Position(0), |(position, _)| position);
        let stamp = ops().find_map(|(_, stamp)| stamp).unwrap_or(0);
        let mut w = Writer::new();
        w.u8(UPDATES);
        w.varint(self.tick.0);
        w.varint(first.0);
        let shift = self.stamp_shift;
        let flags = if self.has_stamps {
            FLAG_STAMPS | (shift << SHIFT_AT) as u8
        } else {
            0
        };
        w.u8(flags);
        let stamp = stamp >> shift;
        if self.has_stamps {
            w.raw(&stamp.to_le_bytes());
        }
        let mut packed = Vec::with_capacity(self.entries.len() * 10);
        let mut bits = BitWriter::new(&mut packed);
        let mut coder = Coder::new(first, self.has_stamps.then_some(shift), stamp);
        for entry in &self.entries {
            match entry {
                Entry::Growth(position, stamp, growth) => {
                    bits.bits(1, 1);
                    coder.write_position(&mut bits, *position);
                    let is_next =
                        coder.growths.is_next(growth) && coder.is_stamped == stamp.is_some();
                    bits.bits(is_next.into(), 1);
                    coder.write_stamp(&mut bits, *stamp, is_next);
                    coder.growths.write(&mut bits, growth, *position, is_next);
                }
                Entry::Op(position, stamp, _) => {
                    bits.bits(0b010, 3);
                    coder.write_position(&mut bits, *position);
                    coder.write_stamp(&mut bits, *stamp, false);
                }
                Entry::End(position, stamp, end) => {
                    bits.bits(0b110, 3);
                    coder.write_position(&mut bits, *position);
                    coder.write_stamp(&mut bits, *stamp, false);
                    coder.growths.write_end(&mut bits, *end, *position);
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
    /// Low bits that are left out of stamps, where there are stamps.
    stamp_shift: Option<u32>,
    /// The last stamp, without those bits.
    stamp: u32,
    /// The last op had one.
    is_stamped: bool,
    stamps: Adaptive,
    /// By how much the last stamp of a growth that follows was later.
    stride: u32,
    strides: Adaptive,
    growths: GrowthCoder,
}

impl Coder {
    const fn new(first: Position, stamp_shift: Option<u32>, stamp: u32) -> Self {
        Self {
            next: first,
            stamp_shift,
            stamp,
            is_stamped: false,
            stamps: Adaptive::starting_at(STAMP_EXPECTED),
            stride: 0,
            strides: Adaptive::starting_at(STRIDE_EXPECTED),
            growths: GrowthCoder::new(),
        }
    }

    fn write_position(&mut self, bits: &mut BitWriter<'_>, position: Position) {
        bits.rice(position.0.wrapping_sub(self.next.0) as u32, GAP_K);
        self.next = position.next();
    }

    fn read_position(&mut self, bits: &mut BitReader<'_>) -> Result<Position, DecodeError> {
        let position = self
            .next
            .0
            .checked_add(bits.rice(GAP_K)?.into())
            .filter(|position| *position < u64::MAX)
            .ok_or(DecodeError::OutOfRange)?;
        self.next = Position(position + 1);
        Ok(Position(position))
    }

    fn write_stamp(&mut self, bits: &mut BitWriter<'_>, stamp: Option<u32>, is_next: bool) {
        let Some(shift) = self.stamp_shift else {
            return;
        };
        if !is_next {
            bits.bits(stamp.is_some().into(), 1);
            self.is_stamped = stamp.is_some();
        }
        if let Some(stamp) = stamp {
            let stamp = stamp >> shift;
            let later = stamp.wrapping_sub(self.stamp);
            self.stamp = stamp;
            let (expected, adaptive) = self.expectation(is_next);
            let code = zigzag(later.wrapping_sub(expected) as i32);
            bits.rice(code, adaptive.k());
            adaptive.learn(code);
            if is_next {
                self.stride = later;
            }
        }
    }

    fn read_stamp(
        &mut self,
        bits: &mut BitReader<'_>,
        is_next: bool,
    ) -> Result<Option<u32>, DecodeError> {
        let Some(shift) = self.stamp_shift else {
            return Ok(None);
        };
        if !is_next {
            self.is_stamped = bits.bits(1)? == 1;
        }
        if !self.is_stamped {
            return Ok(None);
        }
        let (expected, adaptive) = self.expectation(is_next);
        let code = bits.rice(adaptive.k())?;
        adaptive.learn(code);
        let later = expected.wrapping_add(unzigzag(code) as u32);
        if is_next {
            self.stride = later;
        }
        self.stamp = self.stamp.wrapping_add(later);
        // The middle of what it may have been.
        Ok(Some((self.stamp << shift) | ((1 << shift) >> 1)))
    }

    /// By how much the next stamp should be later, and how wrong that is.
    fn expectation(&mut self, is_next: bool) -> (u32, &mut Adaptive) {
        if is_next {
            (self.stride, &mut self.strides)
        } else {
            (0, &mut self.stamps)
        }
    }
}

/// A frame from updates as they are read; what a room sends it puts together with [`UpdatesWriter`].
pub(super) fn encode(tick: Tick, updates: &[Update]) -> Bytes {
    let bodies: Vec<Bytes> = updates
        .iter()
        .map(|update| match update {
            Update::Op(entry, _) => entry.encode_body(),
            Update::Growth { .. } | Update::End { .. } => Bytes::new(),
            Update::Stroke(stroke) => {
                let mut body = Writer::new();
                stroke.encode(&mut body);
                body.into_bytes()
            }
        })
        .collect();
    let mut frame = UpdatesWriter::new(tick, 0);
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
            Update::End {
                position,
                stamp,
                end,
            } => {
                let is_told = frame.end(*position, *stamp, *end);
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
    let flags = r.u8()?;
    let stamp_shift = match flags & ((1 << SHIFT_AT) - 1) {
        0 if flags == 0 => None,
        FLAG_STAMPS => Some(u32::from(flags >> SHIFT_AT)),
        _ => return Err(DecodeError::Malformed),
    };
    let stamp = if stamp_shift.is_some() {
        u32::from_le_bytes([r.u8()?, r.u8()?, r.u8()?, r.u8()?])
    } else {
        0
    };
    let packed = r.slice(SERVER_FRAME_BYTES_MAX)?;
    let mut bits = BitReader::new(&packed);
    let mut coder = Coder::new(first, stamp_shift, stamp);
    let mut updates = Vec::new();
    loop {
        if bits.bits(1)? == 1 {
            let position = coder.read_position(&mut bits)?;
            let is_next = bits.bits(1)? == 1;
            let stamp = coder.read_stamp(&mut bits, is_next)?;
            let growth = coder.growths.read(&mut bits, position, is_next)?;
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
                let position = coder.read_position(&mut bits)?;
                let stamp = coder.read_stamp(&mut bits, false)?;
                let entry = OpEntry::decode_body(position, r.slice(SERVER_FRAME_BYTES_MAX)?)?;
                updates.push(Update::Op(entry, stamp));
            }
            0b10 => {
                let mut body = Reader::new(r.slice(SERVER_FRAME_BYTES_MAX)?);
                let stroke = Stroke::decode(&mut body)?;
                body.finish()?;
                updates.push(Update::Stroke(Box::new(stroke)));
            }
            _ => {
                let position = coder.read_position(&mut bits)?;
                let stamp = coder.read_stamp(&mut bits, false)?;
                let end = coder.growths.read_end(&mut bits, position)?;
                updates.push(Update::End {
                    position,
                    stamp,
                    end,
                });
            }
        }
    }
    bits.finish()?;
    Ok((tick, updates))
}
