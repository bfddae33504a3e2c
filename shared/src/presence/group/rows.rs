//! Rows: how one cursor of a group is told, by its stamp and by how far it is from where it was going.
//!
//! The formats of whole frames, of which rows are a part, are those of [`super`].

use super::{APART_MAX, CursorGroup, CursorSample, GroupCursor, KNOWN_MAX, STAMPS_PER_MS};
use crate::codec::DecodeError;
use crate::codec::bits::{Adaptive, BitReader, BitWriter, unzigzag, zigzag};
use crate::id::SessionId;

/// How far positions are extrapolated, in stamps: 400 ms. Farther only makes them worse.
const AHEAD_MAX: i32 = 400 * STAMPS_PER_MS as i32;
/// Steps of the raster from the cell's start, at the most: a cell is 2^13 wide, but [`PresenceCell::EVERYWHERE`] holds
/// the plane, 2^28 of the finest to each side.
pub(super) const STEP_MAX: i32 = 1 << 28;
/// Weights are cut here, in whole numbers, so that sums of products fit: 2^28 x 2^(16 + 8) x 3 < 2^54. Those of places
/// that are next to each other in time are of no use anyway.
const WEIGHT_MAX: i64 = 1 << 8;
/// Weights of known positions are in units of 2^-16.
const WEIGHT_LOG2: u32 = 16;
/// The interval at which clients send cursors when they move, in stamps: 50 ms.
const STAMP_INTERVAL: i32 = 5000;
const SESSION_K: u32 = 2;
const PLACE_K: u32 = 11;
const RESIDUAL_EXPECTED: u32 = 16;
const REST_EXPECTED: u32 = 32;
const FLAG_FINE: u8 = 1;
const FLAG_STATES: u8 = 8;

/// Where a cursor should be by the places that are known.
pub(super) fn extrapolated(cursor: &GroupCursor, stamp: u32, order: u8) -> (i32, i32) {
    let one = 1i64 << WEIGHT_LOG2;
    let CursorSample { x, y, .. } = cursor.sample;
    let [first, second] = cursor.before;
    // Backwards is as good as rest; known places are apart by construction.
    let ahead = (stamp.wrapping_sub(cursor.sample.stamp) as i32).clamp(0, AHEAD_MAX);
    let ahead = i64::from(ahead);
    // A group that comes whole may claim any stamps: within this bound the products below fit.
    let apart = |stamp: u32| {
        let apart = cursor.sample.stamp.wrapping_sub(stamp);
        i64::from(apart.clamp(1, 2 * APART_MAX))
    };
    let (to_first, to_second) = (apart(first.stamp), apart(second.stamp));
    let weights = match order.min(cursor.known - 1) {
        0 => return (x, y),
        1 => [one + ahead * one / to_first, -(ahead * one / to_first), 0],
        // Lagrange's polynomial through the three.
        _ => {
            let between = (to_second - to_first).max(1);
            [
                (ahead + to_first) * (ahead + to_second) * one / (to_first * to_second),
                -(ahead * (ahead + to_second) * one / (to_first * between)),
                ahead * (ahead + to_first) * one / (to_second * between),
            ]
        }
    };
    let sum = |places: [i32; KNOWN_MAX]| {
        let sum: i64 = places
            .iter()
            .zip(weights)
            .map(|(v, w)| i64::from(*v) * w.clamp(-WEIGHT_MAX * one, WEIGHT_MAX * one))
            .sum();
        let max = i64::from(STEP_MAX);
        ((sum + one / 2) >> WEIGHT_LOG2).clamp(-max, max) as i32
    };
    (sum([x, first.x, second.x]), sum([y, first.y, second.y]))
}

/// Rows of changed cursors, in the order in which they travel.
pub(super) struct Coder {
    order: u8,
    residual: Adaptive,
    rest: Adaptive,
    /// Sending intervals that have passed since the keyframe.
    intervals: i32,
    /// Of the rest of stamps.
    unit: i32,
    has_states: bool,
}

impl Coder {
    pub(super) fn new(group: &CursorGroup, ahead_ms: u32, flags: Flags) -> Self {
        let ahead = ahead_ms.min(APART_MAX / STAMPS_PER_MS) * STAMPS_PER_MS;
        Self {
            order: group.order,
            residual: Adaptive::starting_at(RESIDUAL_EXPECTED),
            rest: Adaptive::starting_at(REST_EXPECTED),
            intervals: ahead as i32 / STAMP_INTERVAL,
            unit: if flags.is_fine {
                1
            } else {
                STAMPS_PER_MS as i32
            },
            has_states: flags.has_states,
        }
    }

    pub(super) fn write(
        &mut self,
        bits: &mut BitWriter<'_>,
        known: &GroupCursor,
        now: CursorSample,
    ) {
        let half = STAMP_INTERVAL / 2;
        let passed = now.stamp.wrapping_sub(known.sample.stamp) as i32;
        let count = passed.wrapping_add(half).div_euclid(STAMP_INTERVAL);
        let rest = passed.wrapping_sub(count.wrapping_mul(STAMP_INTERVAL));
        bits.rice(zigzag(count.wrapping_sub(self.intervals)), 0);
        let rest = zigzag(rest / self.unit);
        bits.rice(rest, self.rest.k());
        self.rest.learn(rest);
        let (x, y) = extrapolated(known, now.stamp, self.order);
        for residual in [now.x - x, now.y - y] {
            let v = zigzag(residual);
            bits.rice(v, self.residual.k());
            self.residual.learn(v);
        }
        if !self.has_states {
            return;
        }
        if now.state == known.sample.state {
            bits.bits(1, 1);
        } else {
            bits.bits(0, 1);
            bits.bits(now.state.into(), 3);
        }
    }

    pub(super) fn read(
        &mut self,
        bits: &mut BitReader<'_>,
        known: &GroupCursor,
    ) -> Result<CursorSample, DecodeError> {
        let count = unzigzag(bits.rice(0)?).wrapping_add(self.intervals);
        let rest = bits.rice(self.rest.k())?;
        self.rest.learn(rest);
        let passed = count
            .wrapping_mul(STAMP_INTERVAL)
            .wrapping_add(unzigzag(rest).wrapping_mul(self.unit));
        let stamp = known.sample.stamp.wrapping_add(passed as u32);
        let (x, y) = extrapolated(known, stamp, self.order);
        let mut residual = || {
            let v = bits.rice(self.residual.k())?;
            self.residual.learn(v);
            Ok(unzigzag(v))
        };
        let (x, y) = (
            step(x.wrapping_add(residual()?))?,
            step(y.wrapping_add(residual()?))?,
        );
        let state = if !self.has_states || bits.bits(1)? == 1 {
            known.sample.state
        } else {
            bits.bits(3)? as u8
        };
        Ok(CursorSample { x, y, state, stamp })
    }
}

pub(super) fn step(v: i32) -> Result<i32, DecodeError> {
    if v.unsigned_abs() <= STEP_MAX as u32 {
        Ok(v)
    } else {
        Err(DecodeError::OutOfRange)
    }
}

/// A cursor of which nothing is known.
pub(super) fn write_sample(bits: &mut BitWriter<'_>, sample: CursorSample) {
    bits.rice(zigzag(sample.x), PLACE_K);
    bits.rice(zigzag(sample.y), PLACE_K);
    bits.bits(sample.stamp, 32);
    bits.bits(sample.state.into(), 3);
}

pub(super) fn read_sample(bits: &mut BitReader<'_>) -> Result<CursorSample, DecodeError> {
    Ok(CursorSample {
        x: step(unzigzag(bits.rice(PLACE_K)?))?,
        y: step(unzigzag(bits.rice(PLACE_K)?))?,
        stamp: bits.bits(32)?,
        state: bits.bits(3)? as u8,
    })
}

pub(super) fn is_fine<'a>(mut samples: impl Iterator<Item = &'a CursorSample>) -> bool {
    samples.any(|sample| !sample.stamp.is_multiple_of(STAMPS_PER_MS))
}

/// Session numbers in growing order as gaps.
pub(super) struct Sessions(pub(super) Option<u32>);

impl Sessions {
    pub(super) fn write(&mut self, bits: &mut BitWriter<'_>, session: SessionId) {
        let gap = session.0.wrapping_sub(self.0.map_or(0, |last| last + 1));
        bits.rice(gap, SESSION_K);
        self.0 = Some(session.0);
    }

    pub(super) fn read(&mut self, bits: &mut BitReader<'_>) -> Result<SessionId, DecodeError> {
        let first = match self.0 {
            None => 0,
            Some(last) => last.checked_add(1).ok_or(DecodeError::OutOfRange)?,
        };
        let session = first
            .checked_add(bits.rice(SESSION_K)?)
            .ok_or(DecodeError::OutOfRange)?;
        self.0 = Some(session);
        Ok(SessionId(session))
    }
}

/// What a frame says of all its rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags {
    pub(super) is_fine: bool,
    pub(super) order: u8,
    pub(super) has_states: bool,
}

impl Flags {
    pub(super) const fn encode(self) -> u8 {
        (self.order << 1)
            | if self.is_fine { FLAG_FINE } else { 0 }
            | if self.has_states { FLAG_STATES } else { 0 }
    }

    pub(super) fn decode(flags: u8) -> Result<Self, DecodeError> {
        let order = (flags & !(FLAG_FINE | FLAG_STATES)) >> 1;
        if usize::from(order) < KNOWN_MAX {
            Ok(Self {
                is_fine: flags & FLAG_FINE != 0,
                order,
                has_states: flags & FLAG_STATES != 0,
            })
        } else {
            Err(DecodeError::OutOfRange)
        }
    }
}
