//! What a tick has changed, for those who cover it.
//!
//! # Format
//! `varint tick`, `varint` position of the first op, `u8 flags` (bit 0: stamps, then `u32` the first; bits 4 to 7: low bits
//! of stamps that are left out), `varint` length of the bits, the bits, and then bodies, each behind its length. In bits,
//! per update: 1 for a growth that is as usual, 000 for the end, 001 for an op, 010 for a whole stroke, 0110 for another
//! growth and 0111 for the end of a stroke. An op's position is that of the op before, 1, and a gap, Rice(0). A growth
//! that is not as usual has 1 bit that is set if it follows on the same stroke with the next counter. One that is, or
//! follows, has a stamp if the op before has; for others 1 bit says so, where there are stamps. A stamp is the difference to
//! the last of an op that does not follow, adaptive Rice; of growths that follow it is as much later than the one before as
//! the last of those was, and the difference to that. A usual growth has no gap and what
//! [`crate::growth`] expects of it, which says how a growth goes on. Behind an op 1 bit says whether
//! it begins a stroke, which follows (`begin`); other ops and strokes take the next body.

use bytes::Bytes;

use super::begin::BeginCoder;
use super::server_message::UPDATES;
use crate::codec::bits::{BitReader, BitWriter, Steady, unzigzag, zigzag};
use crate::codec::{DecodeError, Reader, Writer};
use crate::growth::{self, End, Form, Growth, GrowthCoder};
use crate::id::{Position, Tick};
use crate::limits::SERVER_FRAME_BYTES_MAX;
use crate::op::{Op, OpEntry};
use crate::stroke::Stroke;

const FLAG_STAMPS: u8 = 1;
const SHIFT_AT: u32 = 4;
/// Low bits of stamps that may be left out.
const STAMP_SHIFT_MAX: u32 = 15;
const GAP_K: u32 = 0;
/// Stamps of a tick lie some parts of it apart, as finely as they are told.
const STAMP_EXPECTED: u32 = 8;
/// Those of one stroke are as far apart as its batches, and pens batch alike.
const STRIDE_EXPECTED: u32 = 1;

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
    Begin(Option<u32>, &'a OpEntry),
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

    /// Adds an accepted op that begins a stroke, with its sender's stamp. `false`, and nothing is added, for any other.
    pub fn begin(&mut self, stamp: Option<u32>, entry: &'a OpEntry) -> bool {
        if !matches!(entry.op, Op::Begin { .. }) {
            return false;
        }
        self.has_stamps |= stamp.is_some();
        self.bytes += 24 + 8 * entry.op.point_count();
        self.entries.push(Entry::Begin(stamp, entry));
        true
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
                Entry::Begin(stamp, entry) => Some((entry.position, *stamp)),
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
                    coder.write_growth(&mut bits, *position, *stamp, growth);
                }
                Entry::Op(position, stamp, _) => {
                    bits.bits(0b010, 3);
                    coder.write_position(&mut bits, *position);
                    coder.write_stamp(&mut bits, *stamp, Form::Full);
                    bits.bits(0, 1);
                }
                Entry::Begin(stamp, entry) => {
                    bits.bits(0b010, 3);
                    coder.write_position(&mut bits, entry.position);
                    coder.write_stamp(&mut bits, *stamp, Form::Full);
                    bits.bits(1, 1);
                    if let Op::Begin { style, ink } = &entry.op {
                        coder
                            .begins
                            .write(&mut bits, entry.id, *style, ink.points());
                    }
                }
                Entry::End(position, stamp, end) => {
                    bits.bits(0b1110, 4);
                    coder.write_position(&mut bits, *position);
                    coder.write_stamp(&mut bits, *stamp, Form::Full);
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
    /// The last of those that do not follow on the same stroke.
    first_stamp: u32,
    /// The last op had one.
    is_stamped: bool,
    stamps: Steady,
    /// By how much the last stamp of a growth that follows was later.
    stride: u32,
    strides: Steady,
    growths: GrowthCoder,
    begins: BeginCoder,
}

impl Coder {
    const fn new(first: Position, stamp_shift: Option<u32>, stamp: u32) -> Self {
        Self {
            next: first,
            stamp_shift,
            stamp,
            first_stamp: stamp,
            is_stamped: stamp_shift.is_some(),
            stamps: Steady::starting_at(STAMP_EXPECTED),
            stride: 0,
            strides: Steady::starting_at(STRIDE_EXPECTED),
            growths: GrowthCoder::new(),
            begins: BeginCoder::new(),
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

    fn write_growth(
        &mut self,
        bits: &mut BitWriter<'_>,
        position: Position,
        stamp: Option<u32>,
        growth: &Growth,
    ) {
        let has_known_stamp = self.is_stamped == stamp.is_some();
        let form = match self.growths.form(growth) {
            Form::Usual if has_known_stamp && position == self.next => Form::Usual,
            form if has_known_stamp && self.growths.is_next(form) => Form::Next,
            _ => Form::Full,
        };
        if form == Form::Usual {
            bits.bits(1, 1);
            self.next = position.next();
        } else {
            bits.bits(0b0110, 4);
            self.write_position(bits, position);
            bits.bits((form == Form::Next).into(), 1);
        }
        self.write_stamp(bits, stamp, form);
        self.growths.write(bits, growth, position, form);
    }

    fn read_growth(
        &mut self,
        bits: &mut BitReader<'_>,
        is_usual: bool,
    ) -> Result<Update, DecodeError> {
        let (position, form) = if is_usual {
            let position = self.next;
            if position.0 == u64::MAX {
                return Err(DecodeError::OutOfRange);
            }
            self.next = position.next();
            (position, Form::Usual)
        } else {
            let position = self.read_position(bits)?;
            let is_next = bits.bits(1)? == 1;
            (position, if is_next { Form::Next } else { Form::Full })
        };
        let stamp = self.read_stamp(bits, form)?;
        let growth = self.growths.read(bits, position, form)?;
        Ok(Update::Growth {
            position,
            stamp,
            growth,
        })
    }

    fn write_stamp(&mut self, bits: &mut BitWriter<'_>, stamp: Option<u32>, form: Form) {
        let Some(shift) = self.stamp_shift else {
            return;
        };
        let is_next = self.growths.is_next(form);
        if form == Form::Full {
            bits.bits(stamp.is_some().into(), 1);
            self.is_stamped = stamp.is_some();
        }
        if let Some(stamp) = stamp {
            let stamp = stamp >> shift;
            let (expected, adaptive) = self.expectation(is_next);
            let code = zigzag(stamp.wrapping_sub(expected) as i32);
            bits.rice(code, adaptive.k());
            adaptive.learn(code);
            self.stamped(stamp, is_next);
        }
    }

    fn read_stamp(
        &mut self,
        bits: &mut BitReader<'_>,
        form: Form,
    ) -> Result<Option<u32>, DecodeError> {
        let Some(shift) = self.stamp_shift else {
            return Ok(None);
        };
        let is_next = self.growths.is_next(form);
        if form == Form::Full {
            self.is_stamped = bits.bits(1)? == 1;
        }
        if !self.is_stamped {
            return Ok(None);
        }
        let (expected, adaptive) = self.expectation(is_next);
        let code = bits.rice(adaptive.k())?;
        adaptive.learn(code);
        let stamp = expected.wrapping_add(unzigzag(code) as u32);
        self.stamped(stamp, is_next);
        // The middle of what it may have been.
        Ok(Some((stamp << shift) | ((1 << shift) >> 1)))
    }

    /// What the next stamp should be, and how wrong that is.
    const fn expectation(&mut self, is_next: bool) -> (u32, &mut Steady) {
        if is_next {
            (self.stamp.wrapping_add(self.stride), &mut self.strides)
        } else {
            (self.first_stamp, &mut self.stamps)
        }
    }

    fn stamped(&mut self, stamp: u32, is_next: bool) {
        if is_next {
            self.stride = stamp.wrapping_sub(self.stamp);
        } else {
            self.first_stamp = stamp;
        }
        self.stamp = stamp;
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
            Update::Op(entry, stamp) => {
                if !frame.begin(*stamp, entry) {
                    frame.op(entry.position, *stamp, body);
                }
            }
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
            updates.push(coder.read_growth(&mut bits, true)?);
            continue;
        }
        match bits.bits(2)? {
            0b00 => break,
            0b01 => {
                let position = coder.read_position(&mut bits)?;
                let stamp = coder.read_stamp(&mut bits, Form::Full)?;
                let entry = if bits.bits(1)? == 1 {
                    coder.begins.read(&mut bits, position)?
                } else {
                    OpEntry::decode_body(position, r.slice(SERVER_FRAME_BYTES_MAX)?)?
                };
                updates.push(Update::Op(entry, stamp));
            }
            0b10 => {
                let mut body = Reader::new(r.slice(SERVER_FRAME_BYTES_MAX)?);
                let stroke = Stroke::decode(&mut body)?;
                body.finish()?;
                updates.push(Update::Stroke(Box::new(stroke)));
            }
            _ if bits.bits(1)? == 0 => updates.push(coder.read_growth(&mut bits, false)?),
            _ => {
                let position = coder.read_position(&mut bits)?;
                let stamp = coder.read_stamp(&mut bits, Form::Full)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ActorId, OpId, StrokeId};
    use crate::ink::InkPoint;
    use crate::stroke::{Nib, StrokeStyle};

    const STYLE: StrokeStyle = StrokeStyle {
        nib: Nib::Pen,
        color: 0,
        width: 32,
    };

    /// Two batches of three points for each of a hundred straight strokes that began at different times.
    fn a_tick_of_a_hundred_pens() -> Vec<(Position, u32, Growth)> {
        let mut growths = Vec::new();
        for n in 0..100_u32 {
            let id = |counter| OpId {
                actor: ActorId(n.into()),
                counter,
            };
            let at = |point: i32| InkPoint::new(point * 160, n as i32 * 160, 100);
            let begin = Position(u64::from(1000 + 40 * n + n * n % 37));
            let mut stroke = Stroke::new(StrokeId(id(1)), begin, STYLE);
            stroke.push(&[at(0), at(1)]);
            for batch in 0..2_u32 {
                let from = 2 + 3 * batch as i32;
                let points = [at(from), at(from + 1), at(from + 2)];
                let position = Position(6001 + u64::from(2 * n + batch));
                let growth = Growth::new(&stroke, id(7 + batch), &points).expect("it grows");
                let stamp = 1_000_000 + n * 7919 % 5000 + batch * 5000;
                growths.push((position, stamp, growth));
                stroke.push(&points);
            }
        }
        growths
    }

    #[test]
    fn batches_of_a_tick_cost_little_more_than_their_points() {
        let growths = a_tick_of_a_hundred_pens();
        let bytes = |shift: Option<u32>| {
            let mut frame = UpdatesWriter::new(Tick(9), shift.unwrap_or(0));
            for (position, stamp, growth) in &growths {
                assert!(frame.growth(*position, shift.map(|_| *stamp), growth));
            }
            frame.finish().len()
        };
        // The points are 18 bits a pen, its name 7 to 8, and the rest of two batches 4.
        let without = bytes(None);
        assert!(without <= 100 * 31 / 8 + 16, "{without} bytes");
        // To 3 ms of 100.
        let with = bytes(Some(8));
        assert!(with <= without + 100 * 10 / 8, "{without} and {with} bytes");
    }

    #[test]
    fn stamps_come_to_the_middle_of_what_was_left_out() {
        let growths = a_tick_of_a_hundred_pens();
        let mut frame = UpdatesWriter::new(Tick(9), 8);
        for (position, stamp, growth) in &growths {
            assert!(frame.growth(*position, Some(*stamp), growth));
        }
        let mut r = Reader::new(frame.finish());
        assert_eq!(r.u8(), Ok(UPDATES));
        let (_, updates) = decode(&mut r).expect("own form");
        assert_eq!(updates.len(), growths.len());
        for (update, (position, stamp, growth)) in updates.into_iter().zip(growths) {
            let Update::Growth {
                position: at,
                stamp: Some(told),
                growth: grown,
            } = update
            else {
                panic!("a growth: {update:?}");
            };
            assert_eq!((at, &grown), (position, &growth));
            assert!(told.abs_diff(stamp) <= 128, "{told} for {stamp}");
        }
    }
}
