//! The hand that draws strokes as fast as a native program can.
//!
//! A join is mostly this: a million and a half points for a board of 50,000 strokes. So each stroke is drawn in three
//! short loops, of which each asks little: steps by their codes and predictors, then where they lead, then how they are
//! kept ([`EvenInk`]). Both coordinates share their weights, so they also share each multiplication: x and y lie in
//! the halves of one number ([`Step::along`]). That is right as long as no sum passes 32 bits, which the lengths of steps
//! tell afterwards; a stroke with steps that are too long is read again, each coordinate by itself.

use core::cell::Cell;

use super::predictor::{ORDER, Predictor, Row, WEIGHT_BITS};
use super::prefix_code::{CodeReader, StepCodes};
use crate::board_point::BoardRect;
use crate::codec::DecodeError;
use crate::codec::bits::{BitReader, unzigzag};
use crate::ink::{EvenInk, InkStep, Widths, point_of, whole};
use crate::stroke::{Drawing, Ink, InkHash};

/// A step as predictions are made of it.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    /// `x * 2^32 + y`, both with their signs.
    along: i64,
    pressing: i64,
}

impl Step {
    fn new([x, y, pressure]: [i32; 3]) -> Self {
        Self {
            along: (i64::from(x) << 32).wrapping_add(y.into()),
            pressing: pressure.into(),
        }
    }

    /// Both halves of what [`Step::along`] is, or of a sum of such numbers.
    fn halves(along: i64) -> [i32; 2] {
        let y = along as i32;
        [(along.wrapping_sub(y.into()) >> 32) as i32, y]
    }

    fn parts(self) -> [i32; 3] {
        let [x, y] = Self::halves(self.along);
        [x, y, self.pressing as i32]
    }
}

/// Half a unit of a weighted sum, so that it is rounded and not cut.
const HALF: i64 = 1 << (WEIGHT_BITS - 1);

/// Draws the strokes of one chunk.
pub(super) struct Hand<'a> {
    /// Those of both coordinates and of pressure.
    codes: [&'a CodeReader; 3],
    /// The same codes, for steps that are as small as most are.
    step_codes: StepCodes,
    /// Weights of coordinates and of pressure, by the number of steps before, from 1.
    weights: [[Row; 2]; ORDER],
    predictors: &'a [Predictor; 2],
    /// Steps of fewer bits than this, without their signs, keep all sums within 32 bits.
    bits_max: u32,
    /// Steps of the stroke at hand, behind as many of zero as predictors look back.
    steps: Vec<Step>,
    /// What its ink is put together in.
    buffer: Vec<u8>,
}

impl<'a> Hand<'a> {
    /// For a chunk with these codes of steps.
    pub(super) fn new(
        coordinates: &'a CodeReader,
        pressures: &'a CodeReader,
        predictors: &'a [Predictor; 2],
    ) -> Self {
        Self {
            codes: [coordinates, coordinates, pressures],
            step_codes: StepCodes::new([coordinates, pressures]),
            weights: core::array::from_fn(|before| {
                predictors
                    .each_ref()
                    .map(|predictor| predictor.rows()[before])
            }),
            predictors,
            bits_max: bits_max(&predictors[0]),
            steps: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Draws a stroke from its start over its first step, if it has one, to all further ones: `count` points. Whether all
    /// bits were there is asked later, by [`BitReader::check`].
    #[inline]
    pub(super) fn draw(
        &mut self,
        bits: &mut BitReader<'_>,
        start: [i32; 3],
        first_step: Option<[i32; 3]>,
        shift: u32,
        count: usize,
        is_finished: bool,
    ) -> Result<Drawing, DecodeError> {
        self.steps.resize(ORDER + count - 1, Step::default());
        let mut widths = Widths::default();
        if let Some(step) = first_step {
            self.steps[ORDER] = Step::new(step);
            widths.hold(step);
            let before = *bits;
            widths = self.further_steps(bits, widths)?;
            if widths.longest(2) > self.bits_max {
                *bits = before;
                widths = self.long_steps(bits, step)?;
            }
        }
        let mut walk = Walk::new(start, shift);
        let steps = &self.steps[ORDER..];
        for step in steps {
            walk.go(step.parts());
        }
        let bounds = walk.bounds()?;
        let ink = EvenInk::new(
            whole(start, shift),
            shift,
            widths,
            steps.iter().map(|step| step.parts()),
            &mut self.buffer,
        );
        Ok(Drawing {
            ink: if is_finished {
                Ink::Even(ink)
            } else {
                Ink::Wet(ink.unpack())
            },
            point_count: count as u32,
            bounds,
            hash: walk.hash,
        })
    }

    /// All steps behind the first one, which is in its place.
    #[inline]
    fn further_steps(
        &mut self,
        bits: &mut BitReader<'_>,
        mut widths: Widths,
    ) -> Result<Widths, DecodeError> {
        let [first @ .., last] = &self.weights;
        for (before, weights) in first.iter().enumerate() {
            if let Some(steps) = self.steps.get_mut(1 + before..2 + ORDER + before) {
                run(
                    &self.step_codes,
                    self.codes,
                    weights,
                    steps,
                    bits,
                    &mut widths,
                )?;
            }
        }
        if let Some(steps) = self.steps.get_mut(ORDER..) {
            run(&self.step_codes, self.codes, last, steps, bits, &mut widths)?;
        }
        Ok(widths)
    }

    /// The same as [`Hand::further_steps`], for steps of any length.
    #[cold]
    #[inline(never)]
    fn long_steps(
        &mut self,
        bits: &mut BitReader<'_>,
        first: [i32; 3],
    ) -> Result<Widths, DecodeError> {
        let mut widths = Widths::default();
        widths.hold(first);
        let mut past: [InkStep; ORDER] = [[0; 3]; ORDER];
        past[ORDER - 1] = first;
        for at in ORDER + 1..self.steps.len() {
            let before = at - ORDER;
            let mut step = large_errors(self.codes, bits)?;
            for c in 0..3 {
                let predictor = &self.predictors[c / 2];
                step[c] = step[c].wrapping_add(predictor.next(|n| past[n][c], before));
            }
            past.rotate_left(1);
            past[ORDER - 1] = step;
            widths.hold(step);
            self.steps[at] = Step::new(step);
        }
        Ok(widths)
    }
}

/// Draws all but the first [`ORDER`] of these steps, by the same weights.
fn run(
    step_codes: &StepCodes,
    codes: [&CodeReader; 3],
    [along, pressing]: &[Row; 2],
    steps: &mut [Step],
    bits: &mut BitReader<'_>,
    all_widths: &mut Widths,
) -> Result<(), DecodeError> {
    // In variables of their own, because they change all the time.
    let (mut bits_left, mut widths) = (*bits, *all_widths);
    let mut ahead = bits.peek();
    for past in Cell::from_mut(steps).as_slice_of_cells().windows(ORDER + 1) {
        let [x, y, pressure] = match step_codes.read(&mut bits_left, &mut ahead) {
            Some(errors) => errors,
            None => {
                *bits = bits_left;
                let errors = large_errors(codes, bits)?;
                bits_left = *bits;
                ahead = bits.peek();
                errors
            }
        };
        let mut sum = Step {
            along: (HALF << 32) + HALF,
            pressing: HALF,
        };
        for n in 0..ORDER {
            let step = past[n].get();
            sum.along = sum.along.wrapping_add(along[n].wrapping_mul(step.along));
            sum.pressing += pressing[n] * step.pressing;
        }
        let along_y = sum.along as i32;
        let along_x = sum.along.wrapping_sub(along_y.into()) >> (32 + WEIGHT_BITS);
        let step = [
            x.wrapping_add(along_x as i32),
            y.wrapping_add(along_y >> WEIGHT_BITS),
            pressure.wrapping_add((sum.pressing >> WEIGHT_BITS) as i32),
        ];
        widths.hold(step);
        past[ORDER].set(Step::new(step));
    }
    (*bits, *all_widths) = (bits_left, widths);
    Ok(())
}

/// What predictors got wrong of one step, in numbers of any size.
#[cold]
#[inline(never)]
fn large_errors(
    codes: [&CodeReader; 3],
    bits: &mut BitReader<'_>,
) -> Result<[i32; 3], DecodeError> {
    let mut errors = [0; 3];
    for (error, code) in errors.iter_mut().zip(codes) {
        *error = unzigzag(code.read_u32(bits)?);
    }
    Ok(errors)
}

/// Bits that steps may have, without their signs, so that no weighted sum of them passes 31 bits and its sign.
fn bits_max(predictor: &Predictor) -> u32 {
    let reach = |row: &Row| {
        let weights = row.iter().map(|weight| weight.unsigned_abs());
        weights.sum::<u64>()
    };
    let reach = predictor.rows().iter().map(reach).max().unwrap_or_default();
    // Sums stay below `2^30 + 2^11`. No weight is above 2^18, so there are some bits in any case.
    30 - (u64::BITS - reach.leading_zeros()).min(30)
}

/// The way of a stroke: where it is, and what is to be known of where it has been.
struct Walk {
    at: [i32; 3],
    low: [i32; 2],
    high: [i32; 2],
    /// All bits of all pressures.
    pressures: i32,
    shift: u32,
    hash: InkHash,
}

impl Walk {
    #[inline]
    fn new(start: [i32; 3], shift: u32) -> Self {
        let [x, y, pressures] = start;
        let mut hash = InkHash::new();
        hash.add(whole(start, shift));
        Self {
            at: start,
            low: [x, y],
            high: [x, y],
            pressures,
            shift,
            hash,
        }
    }

    /// Goes to the next point.
    #[inline]
    fn go(&mut self, step: InkStep) {
        for (at, step) in self.at.iter_mut().zip(step) {
            *at = at.wrapping_add(step);
        }
        for c in 0..2 {
            self.low[c] = self.low[c].min(self.at[c]);
            self.high[c] = self.high[c].max(self.at[c]);
        }
        self.pressures |= self.at[2];
        self.hash.add(whole(self.at, self.shift));
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
