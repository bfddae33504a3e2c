//! Chunks: many strokes in one piece, as joins carry them.
//!
//! What strokes have in common is written once, and everything else in columns, each with a prefix code made for this
//! chunk (`prefix_code`). Points are the errors of a predictor fitted to this chunk (`predictor`). Nothing here
//! knows which strokes belong together or when they are sent.
//!
//! # Format
//! `varint strokes`, `varint z` and `zigzag x, y` that all are at or above, `varint` ratio of counters to places in
//! the log in 1/65536. `varint actors` and for each `u64 id` and the `varint` counter of its first stroke; `varint
//! styles` and each by [`StrokeStyle::encode`]; the predictors of coordinates and of pressure; the prefix codes of all
//! columns in the order of `Column`; then bits, lowest first, in which every number is in its column's code.
//!
//! A stroke is its actor (place in the table), its z as the difference to the stroke before, its counter as the
//! difference to what the ratio predicts from the actor's stroke before, its style (place in the table), flags (1
//! finished, 2 erased, 4 style and 8 erased not as it began: then the op's actor and its counter as difference to the
//! last such), how many points, and the points. Coordinates are divided by `2^shift` as in [`crate::ink`]. The first
//! point is the difference to the chunk's corner, the second to the first, every further one to where the predictor
//! expects it. Signed numbers have their sign in the lowest bit; differences wrap.

mod predictor;
mod prefix_code;

use std::collections::HashMap;

#[cfg(not(target_arch = "wasm32"))]
use crate::board_point::BoardRect;
use crate::codec::bits::{BitReader, BitWriter, unzigzag, zigzag};
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{ActorId, OpId, Position, StrokeId};
#[cfg(not(target_arch = "wasm32"))]
use crate::ink::{EvenInk, InkStep, whole};
use crate::ink::{IS_SMALL, InkPoint, SHIFT_MAX, channels, point_of, shift_of};
use crate::limits::{CHUNK_POINTS_MAX, CHUNK_STROKES_MAX, POINTS_PER_STROKE_MAX};
#[cfg(not(target_arch = "wasm32"))]
use crate::stroke::{Ink, InkHash};
use crate::stroke::{Stroke, StrokeStyle, Written};
use predictor::{Fit, ORDER, Predictor};
use prefix_code::{Census, CodeReader};

/// The columns of a chunk.
#[derive(Debug, Clone, Copy)]
enum Column {
    Actor,
    Z,
    Counter,
    Style,
    Flags,
    Writer,
    WriterCounter,
    Points,
    Shift,
    Start,
    StartPressure,
    FirstStep,
    FirstPressureStep,
    Step,
    PressureStep,
}

const COLUMNS: usize = Column::PressureStep as usize + 1;

const FINISHED: u64 = 1;
const ERASED: u64 = 2;
const RESTYLED: u64 = 4;
const TOUCHED: u64 = 8;

/// Columns of a first step's parts.
const FIRST_STEP: [Column; 3] = [
    Column::FirstStep,
    Column::FirstStep,
    Column::FirstPressureStep,
];

/// Points whose steps predictors are fitted to; more of them change little.
const FIT_POINTS: usize = 3000;

/// Writes strokes, in drawing order if they are to be small: at most [`CHUNK_STROKES_MAX`] of them, with at most
/// [`CHUNK_POINTS_MAX`] points.
pub fn encode<'a>(strokes: impl IntoIterator<Item = &'a Stroke>, w: &mut Writer) {
    let draft = Draft::new(strokes);
    let mut censuses = [const { Census::new() }; COLUMNS];
    draft.visit(|column, v| censuses[column as usize].count(v));
    let codes = censuses.each_ref().map(Census::code);
    draft.encode_tables(w);
    for (code, census) in codes.iter().zip(&censuses) {
        code.describe(census, w);
    }
    let mut bits = BitWriter::new(w.as_mut_vec());
    draft.visit(|column, v| codes[column as usize].write(v, &mut bits));
    bits.finish();
}

/// A stroke on its way into a chunk.
struct Row {
    actor: usize,
    style: usize,
    flags: u64,
    id: StrokeId,
    z: Position,
    /// Ops that wrote its style and its flag, where those are not the one that began it.
    by: [Option<(usize, u32)>; 2],
    shift: u32,
    first: InkPoint,
    /// Its steps: where they begin among all, and how many.
    steps: core::ops::Range<usize>,
    points: usize,
}

/// Everything that is to be written.
struct Draft {
    rows: Vec<Row>,
    actors: Vec<(ActorId, Option<u32>)>,
    styles: Vec<StrokeStyle>,
    z: u64,
    corner: [i32; 2],
    ratio: u64,
    predictors: [Predictor; 2],
    /// What is written of each step.
    errors: Vec<[u32; 3]>,
}

impl Draft {
    fn new<'a>(strokes: impl IntoIterator<Item = &'a Stroke>) -> Self {
        let mut rows = Vec::new();
        let (mut actors, mut actor_places) = (Vec::new(), HashMap::new());
        let (mut styles, mut style_places) = (Vec::new(), HashMap::new());
        let mut steps = [const { Vec::<i32>::new() }; 3];
        let mut points = Vec::new();
        let mut lasts: Vec<Option<(u32, u64)>> = Vec::new();
        let (mut counters, mut places) = (0u64, 0u64);
        for stroke in strokes {
            let mut actor_place = |actor| {
                *actor_places.entry(actor).or_insert_with(|| {
                    actors.push((actor, None));
                    lasts.push(None);
                    actors.len() - 1
                })
            };
            let actor = actor_place(stroke.id.actor());
            let mut place =
                |by: OpId| (by != stroke.id.0).then(|| (actor_place(by.actor), by.counter));
            let by = [place(stroke.style.by), place(stroke.erased.by)];
            let counter = stroke.id.0.counter;
            actors[actor].1.get_or_insert(counter);
            if let Some((last, z)) = lasts[actor].replace((counter, stroke.z.0)) {
                counters += u64::from(counter.saturating_sub(last));
                places = places.saturating_add(stroke.z.0.saturating_sub(z));
            }
            let style = *style_places.entry(stroke.style.value).or_insert_with(|| {
                styles.push(stroke.style.value);
                styles.len() - 1
            });
            points.clear();
            stroke.ink.unpack_into(&mut points);
            let shift = shift_of(&points);
            let start = steps[0].len();
            for pair in points.windows(2) {
                let (from, to) = (channels(&pair[0], shift), channels(&pair[1], shift));
                for c in 0..3 {
                    steps[c].push(to[c].wrapping_sub(from[c]));
                }
            }
            let flag = |is_set, flag| if is_set { flag } else { 0 };
            rows.push(Row {
                actor,
                style,
                flags: flag(stroke.is_finished(), FINISHED)
                    | flag(stroke.erased.value, ERASED)
                    | flag(by[0].is_some(), RESTYLED)
                    | flag(by[1].is_some(), TOUCHED),
                id: stroke.id,
                z: stroke.z,
                by,
                shift,
                first: points.first().copied().unwrap_or_default(),
                steps: start..steps[0].len(),
                points: points.len(),
            });
        }
        let predictors = fit(&rows, &steps);
        let errors = errors(&rows, &steps, &predictors);
        let drawn = || rows.iter().filter(|row| row.points > 0);
        Self {
            z: rows.iter().map(|row| row.z.0).min().unwrap_or_default(),
            corner: [
                drawn().map(|row| row.first.at.x).min().unwrap_or_default(),
                drawn().map(|row| row.first.at.y).min().unwrap_or_default(),
            ],
            ratio: (counters << 16).checked_div(places).unwrap_or_default(),
            rows,
            actors,
            styles,
            predictors,
            errors,
        }
    }

    fn encode_tables(&self, w: &mut Writer) {
        w.varint(self.rows.len() as u64);
        w.varint(self.z);
        w.zigzag(self.corner[0].into());
        w.zigzag(self.corner[1].into());
        w.varint(self.ratio);
        w.varint(self.actors.len() as u64);
        for (actor, counter) in &self.actors {
            w.u64(actor.0);
            w.varint(counter.unwrap_or_default().into());
        }
        w.varint(self.styles.len() as u64);
        for style in &self.styles {
            style.encode(w);
        }
        for predictor in &self.predictors {
            predictor.encode(w);
        }
    }

    /// Every number, in its order.
    fn visit(&self, mut put: impl FnMut(Column, u64)) {
        let mut order = Order::new(
            self.z,
            self.ratio,
            self.actors
                .iter()
                .map(|(_, first)| first.unwrap_or_default()),
        );
        let mut written = 0u32;
        for row in &self.rows {
            put(Column::Actor, row.actor as u64);
            put(Column::Z, row.z.0.wrapping_sub(order.z));
            let expected = order.next(row.actor, row.z.0);
            let counter = row.id.0.counter;
            put(Column::Counter, signed(counter.wrapping_sub(expected)));
            order.saw(row.actor, counter);
            put(Column::Style, row.style as u64);
            put(Column::Flags, row.flags);
            for (actor, counter) in row.by.into_iter().flatten() {
                put(Column::Writer, actor as u64);
                put(Column::WriterCounter, signed(counter.wrapping_sub(written)));
                written = counter;
            }
            put(Column::Points, row.points as u64);
            if row.points == 0 {
                continue;
            }
            put(Column::Shift, row.shift.into());
            let first = channels(&row.first, row.shift);
            for (start, corner) in first.into_iter().zip(self.corner) {
                let start = start.wrapping_sub(corner >> row.shift);
                put(Column::Start, u64::from(start as u32));
            }
            put(Column::StartPressure, first[2] as u64);
            let mut steps = self.errors[row.steps.clone()].iter();
            if let Some(step) = steps.next() {
                put(Column::FirstStep, step[0].into());
                put(Column::FirstStep, step[1].into());
                put(Column::FirstPressureStep, step[2].into());
            }
            for step in steps {
                put(Column::Step, step[0].into());
                put(Column::Step, step[1].into());
                put(Column::PressureStep, step[2].into());
            }
        }
    }
}

/// A wrapped difference with its sign in the lowest bit.
fn signed(difference: u32) -> u64 {
    zigzag(difference as i32).into()
}

/// Predictors for coordinates and for pressure, from some of the strokes.
fn fit(rows: &[Row], steps: &[Vec<i32>; 3]) -> [Predictor; 2] {
    let stride = steps[0].len() / FIT_POINTS + 1;
    let mut fits = [Fit::default(), Fit::default()];
    let mut padded = Vec::new();
    for row in rows.iter().step_by(stride) {
        for c in 0..3 {
            padded.clear();
            padded.resize(ORDER, 0);
            padded.extend(steps[c][row.steps.clone()].iter().take(FIT_POINTS));
            fits[c / 2].learn(&padded);
        }
    }
    fits.map(|fit| fit.predictor())
}

/// What predictors get wrong.
fn errors(rows: &[Row], steps: &[Vec<i32>; 3], predictors: &[Predictor; 2]) -> Vec<[u32; 3]> {
    let mut errors = vec![[0; 3]; steps[0].len()];
    for c in 0..3 {
        let predictor = &predictors[c / 2];
        for row in rows {
            let mut past = Past::new();
            for at in row.steps.clone() {
                let step = steps[c][at];
                errors[at][c] = zigzag(step.wrapping_sub(past.expected(predictor)));
                past.push(step);
            }
        }
    }
    errors
}

/// The last steps of one channel.
struct Past {
    steps: [i32; ORDER],
    count: usize,
}

impl Past {
    const fn new() -> Self {
        Self {
            steps: [0; ORDER],
            count: 0,
        }
    }

    /// Nothing is expected of a first step but rest.
    #[inline]
    fn expected(&self, predictor: &Predictor) -> i32 {
        if self.count == 0 {
            0
        } else {
            predictor.next(|n| self.steps[n], self.count)
        }
    }

    #[inline]
    fn push(&mut self, step: i32) {
        for n in 1..ORDER {
            self.steps[n - 1] = self.steps[n];
        }
        self.steps[ORDER - 1] = step;
        self.count += 1;
    }
}

/// Where in the log and in their actors' counts strokes lie: what comes next is expected where the ratio says.
struct Order {
    z: u64,
    ratio: u64,
    /// By actor: the last counter, and its place once there was one.
    lasts: Vec<(u32, Option<u64>)>,
}

impl Order {
    fn new(z: u64, ratio: u64, first_counters: impl Iterator<Item = u32>) -> Self {
        let lasts = first_counters.map(|counter| (counter, None)).collect();
        Self { z, ratio, lasts }
    }

    /// The counter expected of an actor's stroke at `z`.
    fn next(&mut self, actor: usize, z: u64) -> u32 {
        self.z = z;
        let (counter, last) = &mut self.lasts[actor];
        let since = z.wrapping_sub(last.replace(z).unwrap_or(z));
        counter.wrapping_add((since.wrapping_mul(self.ratio) >> 16) as u32)
    }

    /// The counter that it was.
    fn saw(&mut self, actor: usize, counter: u32) {
        self.lasts[actor].0 = counter;
    }
}

/// Reads all strokes of a chunk.
///
/// # Errors
/// Anything that [`encode`] would not have written; nothing larger than a chunk may be is ever allocated.
pub fn decode(r: &mut Reader) -> Result<Vec<Stroke>, DecodeError> {
    decode_by::<IS_SMALL>(r)
}

/// The same in little code, or in little time.
fn decode_by<const IS_SMALL: bool>(r: &mut Reader) -> Result<Vec<Stroke>, DecodeError> {
    let count = r.varint_at_most(CHUNK_STROKES_MAX as u64)? as usize;
    let z = r.varint()?;
    let corner = [r.zigzag_i32()?, r.zigzag_i32()?];
    let ratio = r.varint()?;
    let actors = (0..r.varint_at_most(3 * CHUNK_STROKES_MAX as u64)?)
        .map(|_| Ok((ActorId(r.u64()?), r.varint_u32()?)))
        .collect::<Result<Vec<_>, DecodeError>>()?;
    let styles = (0..r.varint_at_most(CHUNK_STROKES_MAX as u64)?)
        .map(|_| StrokeStyle::decode(r))
        .collect::<Result<Vec<_>, _>>()?;
    let predictors = [Predictor::decode(r)?, Predictor::decode(r)?];
    let codes = (0..COLUMNS)
        .map(|_| CodeReader::new(r))
        .collect::<Result<Vec<_>, _>>()?;
    let rest = r.rest();
    let mut rows = RowReader::<IS_SMALL> {
        bits: BitReader::new(&rest),
        codes: &codes,
        order: Order::new(z, ratio, actors.iter().map(|(_, first)| *first)),
        actors: &actors,
        styles: &styles,
        predictors: &predictors,
        corner,
        written: 0,
        points_left: CHUNK_POINTS_MAX,
        #[cfg(not(target_arch = "wasm32"))]
        steps: Vec::new(),
        #[cfg(not(target_arch = "wasm32"))]
        buffer: Vec::new(),
    };
    let mut strokes = Vec::with_capacity(count);
    for _ in 0..count {
        strokes.push(rows.stroke()?);
    }
    rows.bits.finish()?;
    Ok(strokes)
}

struct RowReader<'a, const IS_SMALL: bool> {
    bits: BitReader<'a>,
    codes: &'a [CodeReader],
    order: Order,
    actors: &'a [(ActorId, u32)],
    styles: &'a [StrokeStyle],
    predictors: &'a [Predictor; 2],
    corner: [i32; 2],
    written: u32,
    points_left: usize,
    #[cfg(not(target_arch = "wasm32"))]
    /// Steps of the stroke that is being read, behind as many of zero as predictors look back.
    steps: Vec<InkStep>,
    #[cfg(not(target_arch = "wasm32"))]
    /// What its ink is put together in.
    buffer: Vec<u8>,
}

impl<const IS_SMALL: bool> RowReader<'_, IS_SMALL> {
    /// A number, any after the end of the bits: [`RowReader::stroke`] asks whether all were there.
    fn number(&mut self, column: Column) -> u64 {
        self.codes[column as usize].read(&mut self.bits)
    }

    /// A number of 32 bits.
    fn word(&mut self, column: Column) -> Result<u32, DecodeError> {
        self.codes[column as usize].read_u32(&mut self.bits)
    }

    /// A place in the table of actors.
    fn actor(&mut self, column: Column) -> Result<(usize, ActorId), DecodeError> {
        let place = self.word(column)? as usize;
        let (actor, _) = self.actors.get(place).ok_or(DecodeError::OutOfRange)?;
        Ok((place, *actor))
    }

    /// The op that wrote something last.
    fn writer(&mut self, is_another: bool, id: OpId) -> Result<OpId, DecodeError> {
        if !is_another {
            return Ok(id);
        }
        let (_, actor) = self.actor(Column::Writer)?;
        let difference = unzigzag(self.word(Column::WriterCounter)?);
        self.written = self.written.wrapping_add(difference as u32);
        let counter = self.written;
        Ok(OpId { actor, counter })
    }

    fn stroke(&mut self) -> Result<Stroke, DecodeError> {
        let (place, actor) = self.actor(Column::Actor)?;
        let z = self.order.z.wrapping_add(self.number(Column::Z));
        let difference = unzigzag(self.word(Column::Counter)?);
        let counter = self.order.next(place, z).wrapping_add(difference as u32);
        self.order.saw(place, counter);
        let id = OpId { actor, counter };
        let style = self.word(Column::Style)? as usize;
        let style = *self.styles.get(style).ok_or(DecodeError::OutOfRange)?;
        let flags = self.number(Column::Flags);
        if flags > FINISHED | ERASED | RESTYLED | TOUCHED {
            return Err(DecodeError::Malformed);
        }
        let style_by = self.writer(flags & RESTYLED != 0, id)?;
        let erased_by = self.writer(flags & TOUCHED != 0, id)?;
        let count = self.word(Column::Points)? as usize;
        if count > POINTS_PER_STROKE_MAX.min(self.points_left) {
            return Err(DecodeError::OutOfRange);
        }
        self.points_left -= count;
        let is_finished = flags & FINISHED != 0;
        let mut stroke = Stroke::new(StrokeId(id), Position(z), style);
        stroke.style.by = style_by;
        stroke.erased = Written {
            value: flags & ERASED != 0,
            by: erased_by,
        };
        if count > 0 {
            self.ink(&mut stroke, count, is_finished)?;
        } else if is_finished {
            return Err(DecodeError::Malformed);
        }
        self.bits.check()?;
        Ok(stroke)
    }

    /// So many points of a stroke, at least one.
    fn ink(
        &mut self,
        stroke: &mut Stroke,
        count: usize,
        is_finished: bool,
    ) -> Result<(), DecodeError> {
        let shift = self.word(Column::Shift)?;
        if shift > SHIFT_MAX {
            return Err(DecodeError::OutOfRange);
        }
        let [x, y] = self.corner.map(|corner| corner >> shift);
        let start = [
            x.wrapping_add(self.word(Column::Start)? as i32),
            y.wrapping_add(self.word(Column::Start)? as i32),
            self.word(Column::StartPressure)? as i32,
        ];
        #[cfg(not(target_arch = "wasm32"))]
        if !IS_SMALL {
            return self.draw_quickly(stroke, start, shift, count, is_finished);
        }
        let mut at = start;
        let mut points = vec![point_of(at, shift)?];
        let mut pasts = [const { Past::new() }; 3];
        for n in 1..count {
            let columns = if n == 1 {
                FIRST_STEP
            } else {
                [Column::Step, Column::Step, Column::PressureStep]
            };
            for c in 0..3 {
                let error = unzigzag(self.word(columns[c])?);
                let step = error.wrapping_add(pasts[c].expected(&self.predictors[c / 2]));
                pasts[c].push(step);
                at[c] = at[c].wrapping_add(step);
            }
            points.push(point_of(at, shift)?);
        }
        stroke.push(&points);
        if is_finished {
            stroke.finish();
        }
        Ok(())
    }

    /// The points behind the start: what is asked of each point elsewhere is asked here of all of them.
    #[cfg(not(target_arch = "wasm32"))]
    fn draw_quickly(
        &mut self,
        stroke: &mut Stroke,
        start: [i32; 3],
        shift: u32,
        count: usize,
        is_finished: bool,
    ) -> Result<(), DecodeError> {
        self.steps.resize(ORDER + count - 1, InkStep::default());
        let mut hand = Hand::new(shift);
        hand.goes(start);
        if count > 1 {
            let mut step = [0; 3];
            for (step, column) in step.iter_mut().zip(FIRST_STEP) {
                *step = unzigzag(self.word(column)?);
            }
            self.steps[ORDER] = hand.goes(step);
            hand = self.further_steps(hand)?;
        }
        let bounds = hand.bounds()?;
        let steps = &self.steps[ORDER..];
        let first = whole(start, shift);
        let ink = EvenInk::new(first, shift, steps, &mut self.buffer);
        let ink = if is_finished {
            Ink::Even(ink)
        } else {
            Ink::Wet(ink.unpack())
        };
        stroke.draw(ink, count as u32, bounds, hand.hash);
        Ok(())
    }

    /// All steps behind the first one.
    #[cfg(not(target_arch = "wasm32"))]
    fn further_steps(&mut self, mut hand: Hand) -> Result<Hand, DecodeError> {
        let coordinates = &self.codes[Column::Step as usize];
        let pressures = &self.codes[Column::PressureStep as usize];
        // In a variable of its own, because it changes all the time.
        let mut bits = self.bits;
        for before in 1..self.steps.len() - ORDER {
            let codes = [coordinates, coordinates, pressures];
            let errors = match CodeReader::read_three(codes, &mut bits) {
                Some(errors) => errors,
                None => {
                    let mut errors = [0; 3];
                    for (error, code) in errors.iter_mut().zip(codes) {
                        *error = code.read_u32(&mut bits)?;
                    }
                    errors
                }
            };
            let (past, next) = self.steps.split_at_mut(ORDER + before);
            let past = &past[before..];
            let [x, y, pressure] = errors.map(unzigzag);
            let [along, pressing] = self.predictors;
            next[0] = hand.goes([
                x.wrapping_add(along.next(|n| past[n][0], before)),
                y.wrapping_add(along.next(|n| past[n][1], before)),
                pressure.wrapping_add(pressing.next(|n| past[n][2], before)),
            ]);
        }
        self.bits = bits;
        Ok(hand)
    }
}

/// The hand that draws a stroke: where it is, and what is to be known of where it has been.
#[cfg(not(target_arch = "wasm32"))]
struct Hand {
    at: [i32; 3],
    low: [i32; 2],
    high: [i32; 2],
    /// All bits of all pressures.
    pressures: i32,
    shift: u32,
    hash: InkHash,
}

#[cfg(not(target_arch = "wasm32"))]
impl Hand {
    const fn new(shift: u32) -> Self {
        Self {
            at: [0; 3],
            low: [i32::MAX; 2],
            high: [i32::MIN; 2],
            pressures: 0,
            shift,
            hash: InkHash::new(),
        }
    }

    /// Goes to the next point.
    #[inline]
    fn goes(&mut self, step: [i32; 3]) -> InkStep {
        for (at, step) in self.at.iter_mut().zip(step) {
            *at = at.wrapping_add(step);
        }
        for c in 0..2 {
            self.low[c] = self.low[c].min(self.at[c]);
            self.high[c] = self.high[c].max(self.at[c]);
        }
        self.pressures |= self.at[2];
        self.hash.add(whole(self.at, self.shift));
        let [x, y, pressure] = step;
        [x, y, pressure, 0]
    }

    /// The smallest rectangle around all points, if they are within the bounds of points: their pressures are where all
    /// of their bits are.
    fn bounds(&self) -> Result<BoardRect, DecodeError> {
        let corner = |[x, y]: [i32; 2]| point_of([x, y, self.pressures], self.shift);
        Ok(BoardRect {
            min: corner(self.low)?.at,
            max: corner(self.high)?.at,
        })
    }
}

#[cfg(test)]
mod tests;
