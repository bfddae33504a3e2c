//! Growth: points that a stroke gains, told to those who hold the stroke as it was before.
//!
//! Most of what a room sends of ink is this, so it names the stroke by the place of its beginning in the log, and tells
//! the points as differences to where the pen was going. The op itself, which stands for itself, is in the log.

use crate::codec::DecodeError;
use crate::codec::bits::{Adaptive, BitReader, BitWriter, unzigzag, zigzag};
use crate::id::{OpId, Position};
use crate::ink::{InkPoint, SHIFT_MAX};
use crate::limits::POINTS_PER_OP_MAX;
use crate::stroke::Stroke;

/// Low bits of the op's counter that are told: enough for its author to know it among those under way on the stroke.
const COUNTER_BITS: u32 = 2;

/// Points that a stroke gains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// Which stroke: its drawing order.
    pub begin: Position,
    /// The low bits of the op's counter.
    counter_low: u8,
    /// Low bits of coordinates that are zero in all points.
    shift: u8,
    /// Differences of x, y and pressure to the way on: 1 to [`POINTS_PER_OP_MAX`] of them.
    residuals: Vec<[i32; 3]>,
}

/// Where the pen was, and where it was going, in channels.
struct Pen {
    last: [i32; 3],
    speed: [i32; 3],
}

fn channels(point: InkPoint, shift: u8) -> [i32; 3] {
    [
        point.at.x >> shift,
        point.at.y >> shift,
        point.pressure.into(),
    ]
}

impl Pen {
    /// After these, the last point and the one before it.
    fn after((last, before): (InkPoint, InkPoint), shift: u8) -> Self {
        let (last, before) = (channels(last, shift), channels(before, shift));
        let speed = core::array::from_fn(|c| last[c].wrapping_sub(before[c]));
        Self { last, speed }
    }

    fn expected(&self) -> [i32; 3] {
        core::array::from_fn(|c| self.last[c].wrapping_add(self.speed[c]))
    }

    fn moved(&mut self, now: [i32; 3]) {
        self.speed = core::array::from_fn(|c| now[c].wrapping_sub(self.last[c]));
        self.last = now;
    }
}

impl Growth {
    /// What `points` of an op add to a stroke as it is before. `None` for a stroke that has no points or is finished.
    pub fn new(stroke: &Stroke, id: OpId, points: &[InkPoint]) -> Option<Self> {
        let mut growth = Self::after(stroke.z, stroke.last_points()?, points);
        growth.counter_low = (id.counter & ((1 << COUNTER_BITS) - 1)) as u8;
        Some(growth)
    }

    /// What `points`, of whichever ops, add to the stroke that began there, behind these two
    /// ([`Stroke::points_before`]).
    pub fn after(begin: Position, before: (InkPoint, InkPoint), points: &[InkPoint]) -> Self {
        let low = |v: i32| v.trailing_zeros();
        let shift = points.iter().fold(SHIFT_MAX, |shift, point| {
            shift.min(low(point.at.x)).min(low(point.at.y))
        }) as u8;
        let mut pen = Pen::after(before, shift);
        let mut residuals = Vec::with_capacity(points.len());
        for &point in points {
            let (now, expected) = (channels(point, shift), pen.expected());
            residuals.push(core::array::from_fn(|c| now[c].wrapping_sub(expected[c])));
            pen.moved(now);
        }
        Self {
            begin,
            counter_low: 0,
            shift,
            residuals,
        }
    }

    /// The op may have this counter.
    pub const fn may_be(&self, counter: u32) -> bool {
        counter & ((1 << COUNTER_BITS) - 1) == self.counter_low as u32
    }

    /// The points, for a stroke as it was before them. `None` for one that has no points or is finished.
    ///
    /// # Errors
    /// Points that are not on the plane: not of this stroke.
    pub fn points(&self, stroke: &Stroke) -> Result<Option<Vec<InkPoint>>, DecodeError> {
        let before = stroke.last_points();
        before.map(|before| self.points_after(before)).transpose()
    }

    /// The points behind these two ([`Stroke::points_before`]).
    ///
    /// # Errors
    /// Points that are not on the plane: not of this stroke.
    pub fn points_after(&self, before: (InkPoint, InkPoint)) -> Result<Vec<InkPoint>, DecodeError> {
        let mut pen = Pen::after(before, self.shift);
        let mut points = Vec::with_capacity(self.residuals.len());
        for residual in &self.residuals {
            let expected = pen.expected();
            let now = core::array::from_fn(|c| expected[c].wrapping_add(residual[c]));
            pen.moved(now);
            let coordinate = |v: i32| {
                v.checked_mul(1 << self.shift)
                    .ok_or(DecodeError::OutOfRange)
            };
            let pressure = u8::try_from(now[2]).map_err(|_| DecodeError::OutOfRange)?;
            let point = InkPoint::new(coordinate(now[0])?, coordinate(now[1])?, pressure);
            if !point.at.is_in_bounds() {
                return Err(DecodeError::OutOfRange);
            }
            points.push(point);
        }
        Ok(points)
    }
}

/// Writes and reads growths one after the other; what they have in common is learned on the way.
#[derive(Debug)]
pub(crate) struct GrowthCoder {
    distance: Adaptive,
    channels: [Adaptive; 3],
    shift: u8,
}

/// Parameter of the number of points: three at a time at 60 samples and 20 batches a second.
const COUNT_K: u32 = 1;
/// Bits of a shift.
const SHIFT_BITS: u32 = 3;

impl GrowthCoder {
    pub(crate) const fn new() -> Self {
        Self {
            distance: Adaptive::starting_at(512),
            channels: [
                Adaptive::starting_at(12),
                Adaptive::starting_at(12),
                Adaptive::starting_at(3),
            ],
            shift: 4,
        }
    }

    /// `position` is the op's own.
    pub(crate) fn write(&mut self, bits: &mut BitWriter<'_>, growth: &Growth, position: Position) {
        // A stroke that began so long ago that the distance escapes is still told whole.
        let distance = position
            .0
            .saturating_sub(growth.begin.0)
            .min(u32::MAX.into()) as u32;
        bits.rice(distance, self.distance.k());
        self.distance.learn(distance);
        bits.bits(growth.counter_low.into(), COUNTER_BITS);
        if growth.shift == self.shift {
            bits.bits(1, 1);
        } else {
            bits.bits(0, 1);
            bits.bits(growth.shift.into(), SHIFT_BITS);
            self.shift = growth.shift;
        }
        bits.rice(growth.residuals.len() as u32 - 1, COUNT_K);
        for residual in &growth.residuals {
            for (adaptive, &v) in self.channels.iter_mut().zip(residual) {
                let code = zigzag(v);
                bits.rice(code, adaptive.k());
                adaptive.learn(code);
            }
        }
    }

    pub(crate) fn read(
        &mut self,
        bits: &mut BitReader<'_>,
        position: Position,
    ) -> Result<Growth, DecodeError> {
        let distance = bits.rice(self.distance.k())?;
        self.distance.learn(distance);
        let begin = position
            .0
            .checked_sub(distance.into())
            .ok_or(DecodeError::OutOfRange)?;
        let counter_low = bits.bits(COUNTER_BITS)? as u8;
        if bits.bits(1)? == 0 {
            self.shift = bits.bits(SHIFT_BITS)? as u8;
        }
        let count = bits.rice(COUNT_K)? as usize + 1;
        if count > POINTS_PER_OP_MAX {
            return Err(DecodeError::OutOfRange);
        }
        let mut residuals = Vec::with_capacity(count);
        for _ in 0..count {
            let mut residual = [0; 3];
            for (adaptive, v) in self.channels.iter_mut().zip(&mut residual) {
                let code = bits.rice(adaptive.k())?;
                adaptive.learn(code);
                *v = unzigzag(code);
            }
            residuals.push(residual);
        }
        Ok(Growth {
            begin: Position(begin),
            counter_low,
            shift: self.shift,
            residuals,
        })
    }
}

/// The distance of `begin` to `position` can be told.
pub(crate) const fn is_tellable(growth: &Growth, position: Position) -> bool {
    position.0 >= growth.begin.0 && position.0 - growth.begin.0 <= u32::MAX as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::{ActorId, StrokeId};
    use crate::limits::COORDINATE_MAX;
    use crate::stroke::{Nib, StrokeStyle};

    fn any_points(count: core::ops::Range<usize>) -> impl Strategy<Value = Vec<InkPoint>> {
        let far = -COORDINATE_MAX..=COORDINATE_MAX;
        let point = prop_oneof![
            (far.clone(), far, any::<u8>()),
            (-20i32..20, -20i32..20, Just(128u8)).prop_map(|(x, y, p)| (x * 16, y * 16, p)),
        ];
        proptest::collection::vec(point.prop_map(|(x, y, p)| InkPoint::new(x, y, p)), count)
    }

    fn stroke(points: &[InkPoint]) -> Stroke {
        let id = OpId {
            actor: ActorId(1),
            counter: 7,
        };
        let style = StrokeStyle {
            nib: Nib::Pen,
            color: 0,
            width: 32,
        };
        let mut stroke = Stroke::new(StrokeId(id), Position(40), style);
        stroke.push(points);
        stroke
    }

    proptest! {
        #[test]
        fn growths_survive(before in any_points(1..4), added in proptest::collection::vec(any_points(1..9), 1..5)) {
            let stroke = stroke(&before);
            let id = |n: usize| OpId { actor: ActorId(1), counter: 100 + n as u32 };
            let growths: Vec<_> = added.iter().enumerate()
                .map(|(n, points)| Growth::new(&stroke, id(n), points).expect("it grows"))
                .collect();
            let mut bytes = Vec::new();
            let mut bits = BitWriter::new(&mut bytes);
            let mut coder = GrowthCoder::new();
            for growth in &growths {
                coder.write(&mut bits, growth, Position(90));
            }
            bits.finish();
            let mut bits = BitReader::new(&bytes);
            let mut coder = GrowthCoder::new();
            for (n, points) in added.iter().enumerate() {
                let growth = coder.read(&mut bits, Position(90));
                prop_assert_eq!(growth.as_ref(), Ok(&growths[n]));
                prop_assert_eq!(growths[n].points(&stroke), Ok(Some(points.clone())));
                prop_assert!(growths[n].may_be(100 + n as u32) && !growths[n].may_be(101 + n as u32));
            }
        }

        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>, before in any_points(1..4)) {
            let stroke = stroke(&before);
            let mut bits = BitReader::new(&bytes);
            let mut coder = GrowthCoder::new();
            while let Ok(growth) = coder.read(&mut bits, Position(u64::MAX)) {
                let _ = growth.points(&stroke);
            }
        }
    }

    #[test]
    fn three_samples_of_a_pen_cost_about_seven_bytes() {
        let at = |t: f64| {
            let noise = (t * 977.0).sin() * 4.0;
            let (x, y) = (
                (t * 1.1).sin() * 3900.0 + noise,
                (t * 0.9).cos() * 3900.0 - noise,
            );
            let pressure = 100.0 + 70.0 * (9.0 * t).sin();
            InkPoint::new(x as i32 * 16, y as i32 * 16, pressure as u8)
        };
        let mut strokes: Vec<_> = (0..40)
            .map(|n| stroke(&[at(f64::from(n)), at(f64::from(n) + 1.0 / 60.0)]))
            .collect();
        let (mut bytes, mut count) = (0, 0);
        for tick in 0..20 {
            let mut frame = Vec::new();
            let mut bits = BitWriter::new(&mut frame);
            let mut coder = GrowthCoder::new();
            for (n, stroke) in strokes.iter_mut().enumerate() {
                let t = n as f64 + f64::from(tick * 3 + 2) / 60.0;
                let points = [at(t), at(t + 1.0 / 60.0), at(t + 2.0 / 60.0)];
                let growth = Growth::new(stroke, stroke.id.0, &points).expect("it grows");
                stroke.push(&points);
                coder.write(&mut bits, &growth, Position(800));
                count += 1;
            }
            bits.finish();
            bytes += frame.len();
        }
        let each = f64::from(bytes as u32) / f64::from(count);
        assert!(each < 9.0, "{each} bytes");
    }
}
