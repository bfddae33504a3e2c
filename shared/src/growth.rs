//! Growth: points that a stroke gains, told to those who hold the stroke as it was before.
//!
//! Most of what a room sends of ink is this, so it names the stroke by the place of its beginning in the log, and tells
//! the points as differences to where the pen was going. The op itself, which stands for itself, is in the log.

use crate::codec::DecodeError;
use crate::codec::bits::{BitReader, BitWriter, Steady, unzigzag, zigzag};
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
    /// What tells best where it is going, for its place and for its pressure.
    place: &'static Lead,
    pressure: &'static Lead,
}

/// What each of the last points counts for where a pen goes next, the newest first, and the whole of that.
type Lead = (&'static [i32], i64);

/// Two points tell where a steady pen is going; through more of one that trembles, or whose pressure comes in whole
/// numbers, a parabola of least squares.
const LEADS: [Lead; 3] = [
    (&[2, -1], 1),
    (&[9, 0, -4, -3, 3], 5),
    (&[33, 21, 11, 3, -3, -7, -9, -9, -7, -3, 3, 11], 44),
];
/// Points of the longest of those.
const LEAD_POINTS_MAX: usize = 12;
/// Last points by which it is judged what tells most.
const JUDGED: usize = 8;
/// Last points of a stroke that those behind them are told by.
pub const POINTS_BEHIND: usize = LEAD_POINTS_MAX + JUDGED;

/// Where a way of two points or more leads that is no shorter than this.
fn led(way: &[[i32; 3]], &(counts, whole): &Lead, c: usize) -> i32 {
    let mut sum = whole / 2;
    for (at, count) in way.iter().rev().zip(counts) {
        sum += i64::from(at[c]) * i64::from(*count);
    }
    sum.div_euclid(whole) as i32
}

/// What would have told most of these channels of the last points of a way.
fn best_lead(way: &[[i32; 3]], channels: core::ops::Range<usize>) -> &'static Lead {
    let mut best = &LEADS[0];
    if way.len() < POINTS_BEHIND {
        return best;
    }
    let mut least = u64::MAX;
    for lead in &LEADS {
        let mut missed = 0;
        for at in way.len() - JUDGED..way.len() {
            for c in channels.clone() {
                missed += u64::from(way[at][c].abs_diff(led(&way[..at], lead, c)));
            }
        }
        if missed < least {
            (least, best) = (missed, lead);
        }
    }
    best
}

fn channels(point: InkPoint, shift: u8) -> [i32; 3] {
    [
        point.at.x >> shift,
        point.at.y >> shift,
        point.pressure.into(),
    ]
}

impl Pen {
    /// After these points, of which there is one at the least.
    fn after(points: &[InkPoint], shift: u8) -> Self {
        let last = points.len().saturating_sub(POINTS_BEHIND);
        let mut way: Vec<_> = points[last..]
            .iter()
            .map(|&point| channels(point, shift))
            .collect();
        if let [only] = way[..] {
            // It rests.
            way.push(only);
        }
        Self {
            place: best_lead(&way, 0..2),
            pressure: best_lead(&way, 2..3),
            way,
        }
    }

    fn expected(&self) -> [i32; 3] {
        let led = |lead, c| led(&self.way, lead, c);
        [
            led(self.place, 0),
            led(self.place, 1),
            led(self.pressure, 2),
        ]
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
    channels: [Steady; 3],
    shift: u8,
    count: usize,
    /// The last growth followed on the same stroke; and whether the one after such a one, and after another, last did.
    was_next: bool,
    is_next_after: [bool; 2],
}

/// How a growth is told, which the reader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// In full.
    Full,
    /// The next op on the stroke of the growth before, whose name it needs not tell.
    Next,
    /// As is to be expected: next where that was so the last time, or else further on, and with as many points.
    Usual,
}

/// Names strokes and ops on them, one after the other. A room lets those who draw act in the order in which their
/// strokes began, so that the next stroke is most often a little further on.
#[derive(Debug)]
struct NameCoder {
    distance: Steady,
    ahead: Steady,
    last: Option<(Position, u8)>,
}

impl NameCoder {
    /// How far the stroke is behind that of the name before, if it is not in front of it.
    fn ahead(&self, begin: Position) -> Option<u32> {
        let (last, _) = self.last?;
        u32::try_from(begin.0.checked_sub(last.0)?).ok()
    }

    /// The next op on the stroke of the one before.
    fn successor(&self) -> Option<(Position, u8)> {
        let (begin, low) = self.last?;
        Some((begin, self::low(u32::from(low) + 1)))
    }

    /// A usual name is one that is ahead, which is known to the reader.
    fn write(
        &mut self,
        bits: &mut BitWriter<'_>,
        (begin, low): (Position, u8),
        position: Position,
        is_usual: bool,
    ) {
        let ahead = self.ahead(begin);
        if self.last.is_some() && !is_usual {
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
        is_usual: bool,
    ) -> Result<(Position, u8), DecodeError> {
        let begin = match self.last {
            Some((last, _)) if is_usual || bits.bits(1)? == 1 => {
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
                distance: Steady::starting_at(512),
                ahead: Steady::starting_at(8),
                last: None,
            },
            channels: [
                Steady::starting_at(6),
                Steady::starting_at(6),
                Steady::starting_at(1),
            ],
            shift: 4,
            count: 3,
            was_next: false,
            is_next_after: [false; 2],
        }
    }

    /// The next growth should follow on the same stroke.
    const fn expects_next(&self) -> bool {
        self.is_next_after[self.was_next as usize]
    }

    /// The briefest form of a growth.
    pub(crate) fn form(&self, growth: &Growth) -> Form {
        let is_next = self.names.successor() == Some((growth.begin, growth.counter_low));
        let is_alike = (growth.shift, growth.residuals.len()) == (self.shift, self.count);
        let is_ahead = is_next || self.names.ahead(growth.begin).is_some();
        if is_alike && is_ahead && is_next == self.expects_next() {
            Form::Usual
        } else if is_next {
            Form::Next
        } else {
            Form::Full
        }
    }

    /// Whether a growth in this form follows on the same stroke, which is learned.
    fn learn(&mut self, form: Form) -> bool {
        let is_next = match form {
            Form::Full => false,
            Form::Next => true,
            Form::Usual => self.expects_next(),
        };
        self.is_next_after[usize::from(self.was_next)] = is_next;
        self.was_next = is_next;
        is_next
    }

    /// A growth in this form follows on the same stroke.
    pub(crate) fn is_next(&self, form: Form) -> bool {
        form == Form::Next || (form == Form::Usual && self.expects_next())
    }

    /// `position` is the op's own; `form` is known to the reader.
    pub(crate) fn write(
        &mut self,
        bits: &mut BitWriter<'_>,
        growth: &Growth,
        position: Position,
        form: Form,
    ) {
        let is_usual = form == Form::Usual;
        if self.learn(form) {
            self.names.last = self.names.successor();
        } else {
            let name = (growth.begin, growth.counter_low);
            self.names.write(bits, name, position, is_usual);
        }
        let count = growth.residuals.len();
        if is_usual {
            // As many, and as the last.
        } else if (growth.shift, count) == (self.shift, self.count) {
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
        form: Form,
    ) -> Result<Growth, DecodeError> {
        let is_usual = form == Form::Usual;
        let (begin, counter_low) = if self.learn(form) {
            let next = self.names.successor().ok_or(DecodeError::Malformed)?;
            self.names.last = Some(next);
            next
        } else {
            self.names.read(bits, position, is_usual)?
        };
        if !is_usual && bits.bits(1)? == 0 {
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
        let name = (end.begin, end.counter_low);
        self.names.write(bits, name, position, false);
    }

    /// Reads what [`GrowthCoder::write_end`] wrote.
    pub(crate) fn read_end(
        &mut self,
        bits: &mut BitReader<'_>,
        position: Position,
    ) -> Result<End, DecodeError> {
        let (begin, counter_low) = self.names.read(bits, position, false)?;
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

    const FORMS: [Form; 3] = [Form::Full, Form::Next, Form::Usual];

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
        fn growths_survive(before in any_points(1..30), added in proptest::collection::vec(any_points(1..9), 1..5)) {
            let stroke = stroke(&before);
            let id = |n: usize| OpId { actor: ActorId(1), counter: 100 + n as u32 };
            let growths: Vec<_> = added.iter().enumerate()
                .map(|(n, points)| Growth::new(&stroke, id(n), points).expect("it grows"))
                .collect();
            let mut bytes = Vec::new();
            let mut bits = BitWriter::new(&mut bytes);
            let mut coder = GrowthCoder::new();
            for growth in &growths {
                let form = coder.form(growth);
                bits.bits(form as u32, 2);
                coder.write(&mut bits, growth, Position(90), form);
            }
            bits.finish();
            let mut bits = BitReader::new(&bytes);
            let mut coder = GrowthCoder::new();
            for (n, points) in added.iter().enumerate() {
                let form = FORMS[bits.bits(2).expect("it was written") as usize];
                let growth = coder.read(&mut bits, Position(90), form);
                prop_assert_eq!(growth.as_ref(), Ok(&growths[n]));
                prop_assert_eq!(growths[n].points(&stroke), Ok(Some(points.clone())));
                prop_assert!(growths[n].may_be(100 + n as u32) && !growths[n].may_be(101 + n as u32));
            }
        }

        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>, before in any_points(1..30)) {
            let stroke = stroke(&before);
            let mut bits = BitReader::new(&bytes);
            let mut coder = GrowthCoder::new();
            while let Ok(form) = bits.bits(1)
                && let Ok(growth) = coder.read(&mut bits, Position(u64::MAX), FORMS[1 + form as usize])
            {
                let _ = growth.points(&stroke);
            }
        }
    }

    #[test]
    fn an_unsteady_pen_is_foretold_by_many_points_and_a_steady_one_by_two() {
        let bits = |noise: f64, may_fit: bool| {
            let at = |n: i32| {
                let t = f64::from(n) / 60.0;
                let tremble = |seed: f64| ((f64::from(n) * seed).sin() * 43_758.5).fract() * noise;
                let x = (t * 1.3).sin() * 3900.0 + tremble(12.9);
                let y = (t * 0.9).cos() * 3900.0 + tremble(78.2);
                InkPoint::new(x as i32 * 16, y as i32 * 16, 100)
            };
            let mut stroke = stroke(&[at(0), at(1)]);
            let mut bytes = Vec::new();
            let mut bits = BitWriter::new(&mut bytes);
            let mut coder = GrowthCoder::new();
            for n in (2..302).step_by(3) {
                let points = [at(n), at(n + 1), at(n + 2)];
                let id = stroke.id.0;
                let growth = if may_fit {
                    Growth::new(&stroke, id, &points).expect("it grows")
                } else {
                    let before = stroke.wet_points().expect("it has points");
                    Growth::behind(stroke.z, &before[before.len() - 2..], &points)
                };
                coder.write(&mut bits, &growth, Position(800), Form::Usual);
                stroke.push(&points);
            }
            bits.finish();
            bytes.len()
        };
        let (fitted, straight) = (bits(8.0, true), bits(8.0, false));
        assert!(fitted * 10 < straight * 9, "{fitted} and {straight} bytes");
        let (fitted, straight) = (bits(0.0, true), bits(0.0, false));
        assert!(fitted <= straight, "{fitted} and {straight} bytes");
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
                let form = coder.form(&growth);
                coder.write(&mut bits, &growth, Position(800), form);
                count += 1;
            }
            bits.finish();
            bytes += frame.len();
        }
        let each = f64::from(bytes as u32) / f64::from(count);
        assert!(each < 9.0, "{each} bytes");
    }
}
