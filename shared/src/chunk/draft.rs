//! A chunk as it is written: all strokes are looked at before the first number is, because the tables come first.

use std::collections::HashMap;

use super::order::Order;
use super::predictor::{Fit, ORDER, Past, Predictor};
use super::{Column, ERASED, FINISHED, RESTYLED, TOUCHED};
use crate::codec::Writer;
use crate::codec::bits::zigzag;
use crate::id::{ActorId, OpId, Position, StrokeId};
use crate::ink::{InkPoint, channels, shift_of};
use crate::stroke::{Stroke, StrokeStyle};

/// Points whose steps predictors are fitted to; more of them change little.
const FIT_POINTS: usize = 3000;
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
pub(super) struct Draft {
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
    pub(super) fn new<'a>(strokes: impl IntoIterator<Item = &'a Stroke>) -> Self {
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

    pub(super) fn encode_tables(&self, w: &mut Writer) {
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
    pub(super) fn visit(&self, mut put: impl FnMut(Column, u64)) {
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
