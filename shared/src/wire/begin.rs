//! Beginnings of strokes in a frame of updates, told after each other: what they have in common is told once.
//!
//! # Format
//! In bits: 64 of the actor; the counter's difference to that of the beginning before; 1 if style, shift and number of
//! points are those of the beginning before, or else 0, 1 for the nib, 24 for the color, 16 for the width, 3 for the
//! shift and as many as the largest takes for the number less one. The first point is told by the difference to the first of the beginning
//! before and 8 bits of pressure, the second by the difference to it, those that follow by differences of differences;
//! all divided by `2^shift`, as in [`crate::ink`]. Differences are adaptive Rice codes, counters, places, second and
//! further points each for themselves. Whoever learns of a beginning knows nothing of its author's strokes, so that is all
//! there is in common.

use crate::board_point::BoardPoint;
use crate::codec::DecodeError;
use crate::codec::bits::{BitReader, BitWriter, Steady, unzigzag, zigzag};
use crate::id::{ActorId, OpId, Position};
use crate::ink::{InkPoint, point_of, shift_of};
use crate::limits::POINTS_PER_OP_MAX;
use crate::op::{InkRun, Op, OpEntry};
use crate::stroke::{Nib, StrokeStyle};

const SHIFT_BITS: u32 = 3;
/// Bits of the number of points, less one.
const COUNT_BITS: u32 = (POINTS_PER_OP_MAX - 1).ilog2() + 1;

/// What beginnings in a row most often have in common.
type Habit = (StrokeStyle, u32, usize);

/// Writes and reads beginnings one after the other.
#[derive(Debug)]
pub(super) struct BeginCoder {
    counter: u32,
    habit: Option<Habit>,
    /// Where the last began.
    place: BoardPoint,
    counters: Steady,
    places: Steady,
    /// Of second points, and of those that follow: for places and pressures.
    seconds: [Steady; 2],
    others: [Steady; 2],
}

fn write(bits: &mut BitWriter<'_>, adaptive: &mut Steady, v: i32) {
    let code = zigzag(v);
    bits.rice(code, adaptive.k());
    adaptive.learn(code);
}

// Once in the page, however often they are used.
#[inline(never)]
fn read(bits: &mut BitReader<'_>, adaptive: &mut Steady) -> Result<i32, DecodeError> {
    let code = bits.rice(adaptive.k())?;
    adaptive.learn(code);
    Ok(unzigzag(code))
}

#[inline(never)]
fn plain(bits: &mut BitReader<'_>, count: u32) -> Result<u32, DecodeError> {
    bits.bits(count)
}

impl BeginCoder {
    pub(super) const fn new() -> Self {
        Self {
            counter: 0,
            habit: None,
            place: BoardPoint::new(0, 0),
            counters: Steady::starting_at(64),
            places: Steady::starting_at(8192),
            seconds: [Steady::starting_at(64), Steady::starting_at(8)],
            others: [Steady::starting_at(12), Steady::starting_at(3)],
        }
    }

    pub(super) fn write(
        &mut self,
        bits: &mut BitWriter<'_>,
        id: OpId,
        style: StrokeStyle,
        points: &[InkPoint],
    ) {
        bits.bits(id.actor.0 as u32, 32);
        bits.bits((id.actor.0 >> 32) as u32, 32);
        let later = id.counter.wrapping_sub(self.counter) as i32;
        write(bits, &mut self.counters, later);
        self.counter = id.counter;
        let shift = shift_of(points);
        let habit = Some((style, shift, points.len()));
        bits.bits((habit == self.habit).into(), 1);
        if habit != self.habit {
            bits.bits((style.nib == Nib::Highlighter).into(), 1);
            bits.bits(style.color, 24);
            bits.bits(style.width.into(), 16);
            bits.bits(shift, SHIFT_BITS);
            bits.bits(points.len() as u32 - 1, COUNT_BITS);
            self.habit = habit;
        }
        let mut last = [self.place.x >> shift, self.place.y >> shift, 0];
        let mut speed = [0; 3];
        for (n, point) in points.iter().enumerate() {
            let now = [
                point.at.x >> shift,
                point.at.y >> shift,
                point.pressure.into(),
            ];
            for c in 0..3 {
                let moved = now[c].wrapping_sub(last[c]);
                match self.code(n, c) {
                    Some(adaptive) => write(bits, adaptive, moved.wrapping_sub(speed[c])),
                    None => bits.bits(point.pressure.into(), 8),
                }
                speed[c] = if n == 0 { 0 } else { moved };
            }
            last = now;
        }
        self.place = points.first().map_or(self.place, |point| point.at);
    }

    pub(super) fn read(
        &mut self,
        bits: &mut BitReader<'_>,
        position: Position,
    ) -> Result<OpEntry, DecodeError> {
        let actor = u64::from(plain(bits, 32)?) | u64::from(plain(bits, 32)?) << 32;
        let later = read(bits, &mut self.counters)?;
        self.counter = self.counter.wrapping_add(later as u32);
        if plain(bits, 1)? == 0 {
            let look = plain(bits, 25)?;
            let style = StrokeStyle {
                nib: if look & 1 == 0 {
                    Nib::Pen
                } else {
                    Nib::Highlighter
                },
                color: look >> 1,
                width: plain(bits, 16)? as u16,
            };
            let shift = plain(bits, SHIFT_BITS)?;
            let count = plain(bits, COUNT_BITS)? as usize + 1;
            if !style.is_valid() || count > POINTS_PER_OP_MAX {
                return Err(DecodeError::OutOfRange);
            }
            self.habit = Some((style, shift, count));
        }
        let (style, shift, count) = self.habit.ok_or(DecodeError::Malformed)?;
        let mut last = [self.place.x >> shift, self.place.y >> shift, 0];
        let mut speed = [0; 3];
        let mut points = Vec::new();
        for n in 0..count {
            for c in 0..3 {
                let faster = match self.code(n, c) {
                    Some(adaptive) => read(bits, adaptive)?,
                    None => plain(bits, 8)? as i32,
                };
                speed[c] = faster.wrapping_add(speed[c]);
                last[c] = last[c].wrapping_add(speed[c]);
            }
            let point = point_of(last, shift)?;
            if n == 0 {
                self.place = point.at;
                speed = [0; 3];
            }
            points.push(point);
        }
        Ok(OpEntry {
            position,
            id: OpId {
                actor: ActorId(actor),
                counter: self.counter,
            },
            op: Op::Begin {
                style,
                ink: InkRun::new(points),
            },
        })
    }

    /// What a channel of the n-th point is coded by; the first pressure is told as it is.
    const fn code(&mut self, n: usize, channel: usize) -> Option<&mut Steady> {
        match (n, channel / 2) {
            (0, 0) => Some(&mut self.places),
            (0, _) => None,
            (1, of) => Some(&mut self.seconds[of]),
            (_, of) => Some(&mut self.others[of]),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{COORDINATE_MAX, WIDTH_MAX};

    fn any_begin() -> impl Strategy<Value = (OpId, StrokeStyle, Vec<InkPoint>)> {
        let far = -COORDINATE_MAX..=COORDINATE_MAX;
        let point = prop_oneof![
            (far.clone(), far, any::<u8>()),
            (-20i32..20, -20i32..20, Just(128u8)).prop_map(|(x, y, p)| (x * 16, y * 16, p)),
        ];
        let points =
            proptest::collection::vec(point.prop_map(|(x, y, p)| InkPoint::new(x, y, p)), 1..9);
        let id = (any::<u64>(), any::<u32>()).prop_map(|(actor, counter)| OpId {
            actor: ActorId(actor),
            counter,
        });
        let style = (any::<bool>(), 0u32..2, 1..=WIDTH_MAX).prop_map(|(is_pen, color, width)| {
            let nib = if is_pen { Nib::Pen } else { Nib::Highlighter };
            StrokeStyle {
                nib,
                color: color * 0xff_ffff,
                width,
            }
        });
        (id, style, points)
    }

    proptest! {
        #[test]
        fn beginnings_survive(begins in proptest::collection::vec((any_begin(), 1usize..4), 1..6)) {
            let mut bytes = Vec::new();
            let mut bits = BitWriter::new(&mut bytes);
            let mut coder = BeginCoder::new();
            for ((id, style, points), times) in &begins {
                for _ in 0..*times {
                    coder.write(&mut bits, *id, *style, points);
                }
            }
            bits.finish();
            let mut bits = BitReader::new(&bytes);
            let mut coder = BeginCoder::new();
            for ((id, style, points), times) in begins {
                for _ in 0..times {
                    let entry = OpEntry {
                        position: Position(7),
                        id,
                        op: Op::Begin { style, ink: InkRun::new(points.clone()) },
                    };
                    prop_assert_eq!(coder.read(&mut bits, Position(7)), Ok(entry));
                }
            }
            prop_assert_eq!(bits.finish(), Ok(()));
        }

        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>) {
            let mut bits = BitReader::new(&bytes);
            let mut coder = BeginCoder::new();
            while coder.read(&mut bits, Position(7)).is_ok() {}
        }
    }

    #[test]
    fn beginnings_of_one_look_cost_nineteen_bytes() {
        let style = StrokeStyle {
            nib: Nib::Pen,
            color: 0x1d_1d_1f,
            width: 64,
        };
        let mut bytes = Vec::new();
        let mut bits = BitWriter::new(&mut bytes);
        let mut coder = BeginCoder::new();
        for n in 0..40 {
            let (x, y) = (n * 2707 % 8192, n * 5077 % 8192);
            let at = |px: i32| InkPoint::new((x + px) * 16, (y - px) * 16, 90 + px as u8 / 16);
            let id = OpId {
                actor: ActorId(u64::MAX / (n as u64 + 1)),
                counter: 500 + n as u32 * 7919 % 200,
            };
            coder.write(&mut bits, id, style, &[at(0), at(60), at(125)]);
        }
        bits.finish();
        assert!(bytes.len() <= 40 * 19, "{} bytes", bytes.len());
    }
}
