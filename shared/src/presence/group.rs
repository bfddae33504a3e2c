//! Groups of cursors: keyframes, and what is told against them.
//!
//! # Format
//! Times are milliseconds of the room's clock, positions steps of the cell's raster, zigzag. Every frame begins with
//! `u16 group`, `u8 generation`; bits follow bytes.
//! - Whole: cell (`u8 level`, zigzag column, row), `u32 time`, `u8 flags`, `varint count`; then per cursor Rice(2) gap of
//!   session numbers, 2 bits positions known - 1, the newest place Rice(11), 32 bits stamp, 3 bits state, for the
//!   other positions their differences to the next newer, Rice(9), and 32 bits stamp, and 1 bit "goes on" if the three
//!   lie on an even way.
//! - Keyframe: `varint` ms since the one before, `u8 flags`, `varint` gone, `varint` come; then Rice(1) gaps of the slots
//!   gone, per cursor that stays 1 bit "moved" and if so its row, and 1 bit "goes on" if that makes three positions on
//!   an even way; per cursor that comes Rice(2) gap of session numbers, Rice(11) x, y, 32 bits stamp, 3 bits state.
//! - Delta: `varint` ms since the keyframe, `u8 flags`, `varint count`; then per changed cursor Rice(0) gap of slots and
//!   its row.
//!
//! A row is the stamp, the residuals of x and y to the position extrapolated to that stamp, adaptive Rice, and the
//! state where there are any that have changed, 1 bit "as in the keyframe", else 3 bits. A stamp is told by its distance to the keyframe's: in sending
//! intervals less those that have passed, Rice(0), and the rest, adaptive Rice. Flags: bit 0 the rest has units of 10
//! us rather than 1 ms, bits 1 and 2 the order of extrapolation from this keyframe on, bit 3 states have changed.
//!
//! A cursor that goes on is where its [`Course`] has it until a delta tells it otherwise.

mod course;
mod rows;

use crate::codec::bits::{BitReader, BitWriter, unzigzag, zigzag};
use crate::codec::{DecodeError, Reader, Writer};
use crate::cursor::CursorState;
use crate::id::SessionId;
use crate::presence::{GROUP_CURSORS_MAX, PresenceCell};
pub use course::{COURSE_MS_MAX, Course};
use rows::{Coder, Flags, Sessions, extrapolated, is_fine, read_sample, step, write_sample};

/// Positions of a cursor that are kept: as many as quadratic extrapolation takes.
const KNOWN_MAX: usize = 3;
/// Positions further apart than this say nothing about each other, in stamps: 2 s.
const APART_MAX: u32 = 2000 * STAMPS_PER_MS;
/// Stamps in a millisecond.
const STAMPS_PER_MS: u32 = 100;

const HISTORY_K: u32 = 9;
const GONE_K: u32 = 1;
const SLOT_K: u32 = 0;
/// Bytes that a cursor adds to a delta at the most: a gap, a stamp and two residuals of 52 bits each, the state.
const DELTA_ROW_BYTES_MAX: usize = 34;

/// A cursor as its cell's raster holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CursorSample {
    /// Steps from the cell's left edge.
    pub x: i32,
    /// Steps from the cell's top edge.
    pub y: i32,
    /// [`CursorState::state_bits`].
    pub state: u8,
    /// The sender's clock when it was there, in units of 10 us, wrapping.
    pub stamp: u32,
}

impl CursorSample {
    /// As the raster of a cell holds a cursor.
    pub fn new(cell: PresenceCell, cursor: CursorState, stamp: u32) -> Self {
        let (x, y) = cell.raster(cursor.at);
        Self {
            x,
            y,
            state: cursor.state_bits(),
            stamp,
        }
    }

    /// The cursor, at the middle of its step.
    pub fn cursor(self, cell: PresenceCell) -> CursorState {
        CursorState::from_state_bits(cell.place(self.x, self.y), self.state)
    }
}

/// Where a cursor was when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    x: i32,
    y: i32,
    stamp: u32,
}

/// A cursor of a group's keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupCursor {
    /// Whose.
    pub session: SessionId,
    /// At the keyframe.
    pub sample: CursorSample,
    /// Positions known, 1 to 3.
    known: u8,
    /// The places before, the newest first; what is not known repeats the last that is.
    before: [Place; KNOWN_MAX - 1],
    /// It is on an even way, and was on the move when the keyframe was made.
    goes_on: bool,
}

/// A keyframe and what is needed to extrapolate from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorGroup {
    /// Names the group in its room.
    pub number: u16,
    /// Counts its keyframes.
    pub generation: u8,
    /// Where its cursors are.
    pub cell: PresenceCell,
    /// When the keyframe was made.
    time_ms: u32,
    /// Of extrapolation: 0 (rest), 1 (steady) or 2 (accelerated).
    order: u8,
    /// Some stamp is not a whole millisecond.
    is_fine: bool,
    /// By session.
    cursors: Vec<GroupCursor>,
}

/// What a frame about a group is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaHead {
    /// Of the group.
    pub number: u16,
    /// Of the keyframe that it is against; for a keyframe its own.
    pub generation: u8,
}

impl DeltaHead {
    /// Reads the head of a keyframe or delta.
    ///
    /// # Errors
    /// It is cut off.
    pub fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            number: u16::from_le_bytes([r.u8()?, r.u8()?]),
            generation: r.u8()?,
        })
    }

    fn encode(self, w: &mut Writer) {
        w.raw(&self.number.to_le_bytes());
        w.u8(self.generation);
    }
}

/// Cursors that are elsewhere than a group's keyframe says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDelta {
    /// The moment that it tells of.
    pub time_ms: u32,
    /// Slots of cursors in the keyframe and where they are now, by slot.
    pub changed: Vec<(usize, CursorSample)>,
}

impl CursorGroup {
    /// A group's first keyframe. `cursors` by session, each once, at most [`GROUP_CURSORS_MAX`].
    pub fn new(
        number: u16,
        cell: PresenceCell,
        time_ms: u32,
        cursors: impl IntoIterator<Item = (SessionId, CursorSample)>,
    ) -> Self {
        let cursors: Vec<_> = cursors
            .into_iter()
            .map(|(session, sample)| GroupCursor::new(session, sample))
            .collect();
        debug_assert!(cursors.is_sorted_by(|a, b| a.session < b.session));
        Self {
            number,
            generation: 0,
            cell,
            time_ms,
            order: 0,
            is_fine: is_fine(cursors.iter().map(|c| &c.sample)),
            cursors,
        }
    }

    /// Its cursors, by session; their places are their slots.
    pub fn cursors(&self) -> &[GroupCursor] {
        &self.cursors
    }

    /// When the keyframe was made.
    pub const fn time_ms(&self) -> u32 {
        self.time_ms
    }

    /// The slot of a session.
    pub fn slot(&self, session: SessionId) -> Option<usize> {
        self.cursors
            .binary_search_by_key(&session, |cursor| cursor.session)
            .ok()
    }

    const fn head(&self) -> DeltaHead {
        DeltaHead {
            number: self.number,
            generation: self.generation,
        }
    }

    /// The cursor of a slot does not go on: it is known to rest, or was told elsewhere.
    pub fn hold(&mut self, slot: usize) {
        if let Some(cursor) = self.cursors.get_mut(slot) {
            cursor.goes_on = false;
        }
    }

    /// The next keyframe: `now` has a place for each slot, `None` for cursors that are gone; `come` by session, none of
    /// which is in the group. Every cursor on an even way goes on, unless [`CursorGroup::hold`] says otherwise.
    pub fn successor(
        &self,
        time_ms: u32,
        now: &[Option<CursorSample>],
        come: impl IntoIterator<Item = (SessionId, CursorSample)>,
    ) -> Self {
        debug_assert_eq!(now.len(), self.cursors.len());
        let staying = self.cursors.iter().zip(now);
        let mut cursors: Vec<_> = staying
            .filter_map(|(cursor, now)| {
                let mut next = cursor.moved((*now)?);
                next.goes_on = next.sample.stamp != cursor.sample.stamp && next.is_even();
                Some(next)
            })
            .collect();
        cursors.extend(
            come.into_iter()
                .map(|(session, sample)| GroupCursor::new(session, sample)),
        );
        crate::order::sort_by_key(&mut cursors, |cursor| cursor.session);
        Self {
            number: self.number,
            generation: self.generation.wrapping_add(1),
            cell: self.cell,
            time_ms,
            order: self.best_order(now),
            is_fine: is_fine(cursors.iter().map(|c| &c.sample)),
            cursors,
        }
    }

    /// Which order would have been right for what has happened since the keyframe.
    fn best_order(&self, now: &[Option<CursorSample>]) -> u8 {
        let cost = |order: u8| {
            let bits = |v: i32| u64::from((v.unsigned_abs() + 1).ilog2());
            self.cursors
                .iter()
                .zip(now)
                .filter_map(|(cursor, now)| Some((cursor, (*now)?)))
                .filter(|(cursor, now)| *now != cursor.sample)
                .map(|(cursor, now)| {
                    let (x, y) = extrapolated(cursor, now.stamp, order);
                    bits(now.x - x) + bits(now.y - y)
                })
                .sum::<u64>()
        };
        (0..KNOWN_MAX as u8)
            .min_by_key(|order| cost(*order))
            .unwrap_or(0)
    }

    /// Writes everything, for somebody who knows nothing of the group.
    pub fn encode(&self, w: &mut Writer) {
        self.head().encode(w);
        w.u8(self.cell.level);
        w.zigzag(self.cell.column.into());
        w.zigzag(self.cell.row.into());
        w.raw(&self.time_ms.to_le_bytes());
        w.u8(self.flags(false).encode());
        w.varint(self.cursors.len() as u64);
        let mut bits = BitWriter::new(w.as_mut_vec());
        let mut sessions = Sessions(None);
        for cursor in &self.cursors {
            sessions.write(&mut bits, cursor.session);
            bits.bits(u32::from(cursor.known - 1), 2);
            write_sample(&mut bits, cursor.sample);
            let mut last = (cursor.sample.x, cursor.sample.y);
            for place in &cursor.before[..usize::from(cursor.known - 1)] {
                bits.rice(zigzag(place.x - last.0), HISTORY_K);
                bits.rice(zigzag(place.y - last.1), HISTORY_K);
                bits.bits(place.stamp, 32);
                last = (place.x, place.y);
            }
            cursor.write_goes_on(&mut bits);
        }
        bits.finish();
    }

    /// Reads what [`CursorGroup::encode`] wrote, to the end.
    ///
    /// # Errors
    /// Anything else.
    pub fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        let head = DeltaHead::decode(r)?;
        let cell = PresenceCell {
            level: r.u8()?,
            column: r.zigzag_i32()?,
            row: r.zigzag_i32()?,
        };
        if !cell.is_valid() {
            return Err(DecodeError::OutOfRange);
        }
        let time_ms = u32::from_le_bytes([r.u8()?, r.u8()?, r.u8()?, r.u8()?]);
        let flags = Flags::decode(r.u8()?)?;
        let count = r.varint_at_most(GROUP_CURSORS_MAX as u64)?;
        let body = r.rest();
        let mut bits = BitReader::new(&body);
        let mut sessions = Sessions(None);
        let mut cursors = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let session = sessions.read(&mut bits)?;
            let known = bits.bits(2)? as u8 + 1;
            if usize::from(known) > KNOWN_MAX {
                return Err(DecodeError::OutOfRange);
            }
            let mut cursor = GroupCursor::new(session, read_sample(&mut bits)?);
            cursor.known = known;
            let mut last = cursor.before[0];
            for at in 0..KNOWN_MAX - 1 {
                if at + 1 < usize::from(known) {
                    let dx = unzigzag(bits.rice(HISTORY_K)?);
                    let dy = unzigzag(bits.rice(HISTORY_K)?);
                    last = Place {
                        x: step(last.x.wrapping_add(dx))?,
                        y: step(last.y.wrapping_add(dy))?,
                        stamp: bits.bits(32)?,
                    };
                }
                cursor.before[at] = last;
            }
            cursor.read_goes_on(&mut bits)?;
            cursors.push(cursor);
        }
        bits.finish()?;
        Ok(Self {
            number: head.number,
            generation: head.generation,
            cell,
            time_ms,
            order: flags.order,
            is_fine: flags.is_fine,
            cursors,
        })
    }

    /// Writes this keyframe for those who have `before`, of which it is the [`CursorGroup::successor`].
    pub fn encode_successor(&self, before: &Self, w: &mut Writer) {
        let ahead_ms = self.time_ms.wrapping_sub(before.time_ms);
        let here: Vec<Option<usize>> = before
            .cursors
            .iter()
            .map(|cursor| self.slot(cursor.session))
            .collect();
        let come: Vec<_> = self
            .cursors
            .iter()
            .filter(|cursor| before.slot(cursor.session).is_none())
            .collect();
        self.head().encode(w);
        w.varint(ahead_ms.into());
        let has_states = before.cursors.iter().zip(&here).any(|(known, slot)| {
            slot.is_some_and(|slot| self.cursors[slot].sample.state != known.sample.state)
        });
        let flags = self.flags(has_states);
        w.u8(flags.encode());
        w.varint(here.iter().filter(|slot| slot.is_none()).count() as u64);
        w.varint(come.len() as u64);
        let mut coder = Coder::new(before, ahead_ms, flags);
        let mut bits = BitWriter::new(w.as_mut_vec());
        let mut next = 0;
        for (slot, _) in here.iter().enumerate().filter(|(_, here)| here.is_none()) {
            bits.rice((slot - next) as u32, GONE_K);
            next = slot + 1;
        }
        for (known, slot) in before.cursors.iter().zip(&here) {
            let Some(slot) = *slot else { continue };
            let cursor = &self.cursors[slot];
            if cursor.sample == known.sample {
                bits.bits(0, 1);
            } else {
                bits.bits(1, 1);
                coder.write(&mut bits, known, cursor.sample);
                cursor.write_goes_on(&mut bits);
            }
        }
        let mut sessions = Sessions(None);
        for cursor in come {
            sessions.write(&mut bits, cursor.session);
            write_sample(&mut bits, cursor.sample);
        }
        bits.finish();
    }

    /// Reads the successor of this keyframe, to the end.
    ///
    /// # Errors
    /// Anything that [`CursorGroup::encode_successor`] would not have written for this keyframe.
    pub fn decode_successor(&self, r: &mut Reader) -> Result<Self, DecodeError> {
        let head = DeltaHead::decode(r)?;
        if head.number != self.number || head.generation != self.generation.wrapping_add(1) {
            return Err(DecodeError::OutOfRange);
        }
        let ahead_ms = r.varint_u32()?;
        let flags = Flags::decode(r.u8()?)?;
        let gone = r.varint_at_most(self.cursors.len() as u64)? as usize;
        let stay = self.cursors.len() - gone;
        let come = r.varint_at_most((GROUP_CURSORS_MAX - stay) as u64)? as usize;
        let body = r.rest();
        let mut bits = BitReader::new(&body);
        let mut is_gone = vec![false; self.cursors.len()];
        let mut next = 0;
        for _ in 0..gone {
            let slot = bits.rice(GONE_K)? as usize + next;
            *is_gone.get_mut(slot).ok_or(DecodeError::OutOfRange)? = true;
            next = slot + 1;
        }
        let mut coder = Coder::new(self, ahead_ms, flags);
        let mut cursors = Vec::with_capacity(stay + come);
        for (known, is_gone) in self.cursors.iter().zip(is_gone) {
            if is_gone {
                continue;
            }
            if bits.bits(1)? == 0 {
                cursors.push(known.moved(known.sample));
            } else {
                let mut cursor = known.moved(coder.read(&mut bits, known)?);
                cursor.read_goes_on(&mut bits)?;
                cursors.push(cursor);
            }
        }
        let mut sessions = Sessions(None);
        for _ in 0..come {
            let session = sessions.read(&mut bits)?;
            if self.slot(session).is_some() && cursors.iter().any(|c| c.session == session) {
                return Err(DecodeError::OutOfRange);
            }
            cursors.push(GroupCursor::new(session, read_sample(&mut bits)?));
        }
        bits.finish()?;
        crate::order::sort_by_key(&mut cursors, |cursor| cursor.session);
        Ok(Self {
            number: self.number,
            generation: head.generation,
            cell: self.cell,
            time_ms: self.time_ms.wrapping_add(ahead_ms),
            order: flags.order,
            is_fine: flags.is_fine,
            cursors,
        })
    }

    /// Writes where cursors are now, by slot, in at most `budget` bytes (64 at least). Answers how many of `changed`
    /// it has written.
    pub fn encode_delta(
        &self,
        time_ms: u32,
        changed: &[(usize, CursorSample)],
        budget: usize,
        w: &mut Writer,
    ) -> usize {
        let start = w.len();
        let ahead_ms = time_ms.wrapping_sub(self.time_ms);
        let flags = Flags {
            is_fine: self.is_fine || is_fine(changed.iter().map(|(_, now)| now)),
            order: 0,
            has_states: changed
                .iter()
                .any(|&(slot, now)| now.state != self.cursors[slot].sample.state),
        };
        self.head().encode(w);
        w.varint(ahead_ms.into());
        w.u8(flags.encode());
        let mut coder = Coder::new(self, ahead_ms, flags);
        let mut body = Vec::new();
        let mut bits = BitWriter::new(&mut body);
        // The count is at most 2 bytes.
        let body_max = budget.saturating_sub(w.len() - start + 2);
        let mut next = 0;
        let mut count = 0;
        for &(slot, now) in changed {
            if bits.len() + DELTA_ROW_BYTES_MAX > body_max {
                break;
            }
            bits.rice((slot - next) as u32, SLOT_K);
            next = slot + 1;
            coder.write(&mut bits, &self.cursors[slot], now);
            count += 1;
        }
        bits.finish();
        w.varint(count as u64);
        w.raw(&body);
        count
    }

    /// Reads a delta against this keyframe, to the end.
    ///
    /// # Errors
    /// Anything that [`CursorGroup::encode_delta`] would not have written for this keyframe.
    pub fn decode_delta(&self, r: &mut Reader) -> Result<GroupDelta, DecodeError> {
        if DeltaHead::decode(r)? != self.head() {
            return Err(DecodeError::OutOfRange);
        }
        let ahead_ms = r.varint_u32()?;
        let flags = Flags::decode(r.u8()?)?;
        let count = r.varint_at_most(self.cursors.len() as u64)?;
        let body = r.rest();
        let mut bits = BitReader::new(&body);
        let mut coder = Coder::new(self, ahead_ms, flags);
        let mut changed = Vec::with_capacity(count as usize);
        let mut next = 0;
        for _ in 0..count {
            let slot = bits.rice(SLOT_K)? as usize + next;
            let known = self.cursors.get(slot).ok_or(DecodeError::OutOfRange)?;
            next = slot + 1;
            changed.push((slot, coder.read(&mut bits, known)?));
        }
        bits.finish()?;
        Ok(GroupDelta {
            time_ms: self.time_ms.wrapping_add(ahead_ms),
            changed,
        })
    }

    const fn flags(&self, has_states: bool) -> Flags {
        Flags {
            is_fine: self.is_fine,
            order: self.order,
            has_states,
        }
    }
}

impl GroupCursor {
    const fn new(session: SessionId, sample: CursorSample) -> Self {
        let CursorSample { x, y, stamp, .. } = sample;
        Self {
            session,
            sample,
            known: 1,
            before: [Place { x, y, stamp }; KNOWN_MAX - 1],
            goes_on: false,
        }
    }

    /// As the next keyframe has it; whether it goes on is another question.
    fn moved(&self, now: CursorSample) -> Self {
        let apart = now.stamp.wrapping_sub(self.sample.stamp);
        if apart > APART_MAX || (apart == 0 && self.known == 1) {
            return Self::new(self.session, now);
        }
        if apart == 0 {
            return Self {
                sample: now,
                goes_on: false,
                ..*self
            };
        }
        let CursorSample { x, y, stamp, .. } = self.sample;
        Self {
            session: self.session,
            sample: now,
            known: (self.known + 1).min(KNOWN_MAX as u8),
            before: [Place { x, y, stamp }, self.before[0]],
            goes_on: false,
        }
    }
}

#[cfg(test)]
mod tests;
