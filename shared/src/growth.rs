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

/// Where the pen was, in channels: the last points of the stroke and those that were added to them.
struct Pen {
    way: Vec<[i32; 3]>,
    /// It trembles, so that many points tell better where it is going than two.
    is_unsteady: bool,
}

/// Points through which a parabola is laid, and what each counts for where it goes next, the newest first, in 60ths: the
/// parabola of least squares.
const FIT: [i64; 10] = [54, 30, 11, -3, -12, -16, -15, -9, 2, 18];
const FIT_WHOLE: i64 = 60;
/// Last points by which it is judged whether two or many tell more.
const JUDGED: usize = 8;
/// Last points of a stroke that those behind them are told by.
pub const POINTS_BEHIND: usize = FIT.len() + JUDGED;

fn channels(point: InkPoint, shift: u8) -> [i32; 3] {
    [
        point.at.x >> shift,
        point.at.y >> shift,
        point.pressure.into(),
    ]
}

/// Where two points lead; one stays where it is.
fn straight(way: &[[i32; 3]], c: usize) -> i32 {
    match way {
        [.., before, last] => last[c].wrapping_mul(2).wrapping_sub(before[c]),
        [last] => last[c],
        [] => 0,
    }
}

/// Where the last points of [`FIT`] lead.
fn fitted(way: &[[i32; 3]], c: usize) -> i32 {
    let points = way.iter().rev().zip(FIT);
    let sum: i64 = points.map(|(at, count)| i64::from(at[c]) * count).sum();
    (sum + FIT_WHOLE / 2).div_euclid(FIT_WHOLE) as i32
}

impl Pen {
    /// After these points.
    fn after(points: &[InkPoint], shift: u8) -> Self {
        let known = POINTS_BEHIND;
        let last = points.len().saturating_sub(known);
        let way: Vec<_> = points[last..]
            .iter()
            .map(|&point| channels(point, shift))
            .collect();
        let is_unsteady = way.len() == known && {
            let (mut by_two, mut by_many) = (0, 0);
            for at in FIT.len()..known {
                for c in 0..2 {
                    let miss = |expected: i32| u64::from(way[at][c].abs_diff(expected));
                    by_two += miss(straight(&way[..at], c));
                    by_many += miss(fitted(&way[..at], c));
                }
            }
            by_many < by_two
        };
        Self { way, is_unsteady }
    }

    fn expected(&self) -> [i32; 3] {
        core::array::from_fn(|c| {
            // Pressure is smooth.
            if self.is_unsteady && c < 2 {
                fitted(&self.way, c)
            } else {
                straight(&self.way, c)
            }
        })
    }

    fn moved(&mut self, now: [i32; 3]) {
        self.way.push(now);
    }
}

/// The end of a stroke: no points will come any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Which stroke: its drawing order.
    pub begin: Position,
    /// The low bits of the op's counter.
    counter_low: u8,
}

const fn low(counter: u32) -> u8 {
    (counter & ((1 << COUNTER_BITS) - 1)) as u8
}

impl End {
    /// Of a stroke that still grows, by an op.
    pub const fn new(stroke: &Stroke, id: OpId) -> Self {
        Self {
            begin: stroke.z,
            counter_low: low(id.counter),
        }
    }

    /// The op may have this counter.
    pub const fn may_be(self, counter: u32) -> bool {
        low(counter) == self.counter_low
    }
}

impl Growth {
    /// What `points` of an op add to a stroke as it is before. `None` for a stroke that has no points or is finished.
    pub fn new(stroke: &Stroke, id: OpId, points: &[InkPoint]) -> Option<Self> {
        let points_before = stroke.wet_points()?;
        let mut growth = Self::behind(stroke.z, points_before, points);
        growth.counter_low = low(id.counter);
        Some(growth)
    }

    /// What `points`, of whichever ops, add to the stroke that began there, behind those `before`: all that it has, or
    /// its last [`POINTS_BEHIND`].
    pub fn behind(begin: Position, before: &[InkPoint], points: &[InkPoint]) -> Self {
        let zeros = |v: i32| v.trailing_zeros();
        let shift = points.iter().fold(SHIFT_MAX, |shift, point| {
            shift.min(zeros(point.at.x)).min(zeros(point.at.y))
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
        low(counter) == self.counter_low
    }

    /// The points, for a stroke as it was before them. `None` for one that has no points or is finished.
    ///
    /// # Errors
    /// Points that are not on the plane: not of this stroke.
    pub fn points(&self, stroke: &Stroke) -> Result<Option<Vec<InkPoint>>, DecodeError> {
        let before = stroke.wet_points();
        before.map(|before| self.points_behind(before)).transpose()
    }

    /// The points behind those `before`.
    ///
    /// # Errors
    /// Points that are not on the plane: not of this stroke.
    pub fn points_behind(&self, before: &[InkPoint]) -> Result<Vec<InkPoint>, DecodeError> {
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
    names: NameCoder,
    channels: [Adaptive; 3],
    shift: u8,
    count: usize,
}

/// Names strokes and ops on them, one after the other. A room lets those who draw act in the order in which their
/// strokes began, so that the next stroke is most often a little further on.
#[derive(Debug)]
struct NameCoder {
    distance: Adaptive,
    ahead: Adaptive,
    last: Option<(Position, u8)>,
}

impl NameCoder {
    /// The next op on the stroke of the one before.
    fn successor(&self) -> Option<(Position, u8)> {
        let (begin, low) = self.last?;
        Some((begin, self::low(u32::from(low) + 1)))
    }

    fn write(&mut self, bits: &mut BitWriter<'_>, begin: Position, low: u8, position: Position) {
        let ahead = self.last.and_then(|(last, _)| {
            let ahead = begin.0.checked_sub(last.0)?;
            u32::try_from(ahead).ok()
        });
        if self.last.is_some() {
            bits.bits(ahead.is_some().into(), 1);
        }
        if let Some(ahead) = ahead {
            bits.rice(ahead, self.ahead.k());
            self.ahead.learn(ahead);
        } else {
            // A stroke that began so long ago that the distance escapes is still told whole.
            let distance = position.0.saturating_sub(begin.0).min(u32::MAX.into()) as u32;
            bits.rice(distance, self.distance.k());
            self.distance.learn(distance);
        }
        bits.bits(low.into(), COUNTER_BITS);
        self.last = Some((begin, low));
    }

    fn read(
        &mut self,
        bits: &mut BitReader<'_>,
        position: Position,
    ) -> Result<(Position, u8), DecodeError> {
        let begin = match self.last {
            Some((last, _)) if bits.bits(1)? == 1 => {
                let ahead = bits.rice(self.ahead.k())?;
                self.ahead.learn(ahead);
                last.0.checked_add(ahead.into())
            }
            _ => {
                let distance = bits.rice(self.distance.k())?;
                self.distance.learn(distance);
                position.0.checked_sub(distance.into())
            }
        };
        let begin = begin.filter(|begin| *begin <= position.0);
        let begin = Position(begin.ok_or(DecodeError::OutOfRange)?);
        let low = bits.bits(COUNTER_BITS)? as u8;
        self.last = Some((begin, low));
        Ok((begin, low))
    }
}

/// Parameter of the number of points: three at a time at 60 samples and 20 batches a second.
const COUNT_K: u32 = 1;
/// Bits of a shift.
const SHIFT_BITS: u32 = 3;

impl GrowthCoder {
    pub(crate) const fn new() -> Self {
        Self {
            names: NameCoder {
                distance: Adaptive::starting_at(512),
                ahead: Adaptive::starting_at(64),
                last: None,
            },
            channels: [
                Adaptive::starting_at(12),
                Adaptive::starting_at(12),
                Adaptive::starting_at(3),
            ],
            shift: 4,
            count: 3,
        }
    }

    /// It follows the growth before it on the same stroke.
    pub(crate) fn is_next(&self, growth: &Growth) -> bool {
        self.names.successor() == Some((growth.begin, growth.counter_low))
    }

    /// `position` is the op's own; `is_next` is known to the reader.
    pub(crate) fn write(
        &mut self,
        bits: &mut BitWriter<'_>,
        growth: &Growth,
        position: Position,
        is_next: bool,
    ) {
        if is_next {
            self.names.last = self.names.successor();
        } else {
            let (begin, low) = (growth.begin, growth.counter_low);
            self.names.write(bits, begin, low, position);
        }
        let count = growth.residuals.len();
        if (growth.shift, count) == (self.shift, self.count) {
            bits.bits(1, 1);
        } else {
            bits.bits(0, 1);
            bits.bits(growth.shift.into(), SHIFT_BITS);
            bits.rice(count as u32 - 1, COUNT_K);
            (self.shift, self.count) = (growth.shift, count);
        }
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
        is_next: bool,
    ) -> Result<Growth, DecodeError> {
        let (begin, counter_low) = if is_next {
            let next = self.names.successor().ok_or(DecodeError::Malformed)?;
            self.names.last = Some(next);
            next
        } else {
            self.names.read(bits, position)?
        };
        if bits.bits(1)? == 0 {
            self.shift = bits.bits(SHIFT_BITS)? as u8;
            self.count = bits.rice(COUNT_K)? as usize + 1;
            if self.count > POINTS_PER_OP_MAX {
                return Err(DecodeError::OutOfRange);
            }
        }
        let mut residuals = Vec::with_capacity(self.count);
        for _ in 0..self.count {
            let mut residual = [0; 3];
            for (adaptive, v) in self.channels.iter_mut().zip(&mut residual) {
                let code = bits.rice(adaptive.k())?;
                adaptive.learn(code);
                *v = unzigzag(code);
            }
            residuals.push(residual);
        }
        Ok(Growth {
            begin,
            counter_low,
            shift: self.shift,
            residuals,
        })
    }

    /// The last op on a stroke, which adds nothing.
    pub(crate) fn write_end(&mut self, bits: &mut BitWriter<'_>, end: End, position: Position) {
        self.names.write(bits, end.begin, end.counter_low, position);
    }

    /// Reads what [`GrowthCoder::write_end`] wrote.
    pub(crate) fn read_end(
        &mut self,
        bits: &mut BitReader<'_>,
        position: Position,
    ) -> Result<End, DecodeError> {
        let (begin, counter_low) = self.names.read(bits, position)?;
        Ok(End { begin, counter_low })
    }
}

/// The distance of `begin` to `position` can be told.
pub(crate) const fn is_tellable(begin: Position, position: Position) -> bool {
    position.0 >= begin.0 && position.0 - begin.0 <= u32::MAX as u64
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
                let is_next = coder.is_next(growth);
                bits.bits(is_next.into(), 1);
                coder.write(&mut bits, growth, Position(90), is_next);
            }
            bits.finish();
            let mut bits = BitReader::new(&bytes);
            let mut coder = GrowthCoder::new();
            for (n, points) in added.iter().enumerate() {
                let is_next = bits.bits(1) == Ok(1);
                let growth = coder.read(&mut bits, Position(90), is_next);
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
            while let Ok(is_next) = bits.bits(1)
                && let Ok(growth) = coder.read(&mut bits, Position(u64::MAX), is_next == 1)
            {
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
                coder.write(&mut bits, &growth, Position(800), false);
                count += 1;
            }
            bits.finish();
            bytes += frame.len();
        }
        let each = f64::from(bytes as u32) / f64::from(count);
        assert!(each < 9.0, "{each} bytes");
    }
}
