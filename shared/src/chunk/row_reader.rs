//! The strokes of a chunk as they are read, one after another.

#[cfg(not(target_arch = "wasm32"))]
use super::hand::Hand;
use super::order::Order;
use super::predictor::{Past, Predictor};
use super::prefix_code::CodeReader;
use super::{COLUMNS, Column, ERASED, FINISHED, RESTYLED, TOUCHED};
use crate::codec::DecodeError;
use crate::codec::bits::{BitReader, unzigzag};
use crate::id::{ActorId, OpId, Position, StrokeId};
use crate::ink::{SHIFT_MAX, point_of};
use crate::limits::POINTS_PER_STROKE_MAX;
#[cfg(not(target_arch = "wasm32"))]
use crate::stroke::Drawing;
use crate::stroke::{Stroke, StrokeStyle, Written};

/// Columns of a first step's parts.
const FIRST_STEP: [Column; 3] = [
    Column::FirstStep,
    Column::FirstStep,
    Column::FirstPressureStep,
];

/// Reads them.
pub(super) struct RowReader<'a, const IS_SMALL: bool> {
    pub(super) bits: BitReader<'a>,
    pub(super) codes: &'a [CodeReader; COLUMNS],
    pub(super) order: Order,
    pub(super) actors: &'a [(ActorId, u32)],
    pub(super) styles: &'a [StrokeStyle],
    pub(super) predictors: &'a [Predictor; 2],
    pub(super) corner: [i32; 2],
    pub(super) written: u32,
    pub(super) points_left: usize,
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) hand: Hand<'a>,
}

impl<const IS_SMALL: bool> RowReader<'_, IS_SMALL> {
    /// A number, any after the end of the bits: [`RowReader::stroke`] asks whether all were there.
    fn number(&mut self, column: Column) -> u64 {
        let code = &self.codes[column as usize];
        #[cfg(not(target_arch = "wasm32"))]
        if !IS_SMALL {
            return code.read_quickly(&mut self.bits);
        }
        code.read(&mut self.bits)
    }

    /// A number of 32 bits.
    fn word(&mut self, column: Column) -> Result<u32, DecodeError> {
        u32::try_from(self.number(column)).map_err(|_| DecodeError::OutOfRange)
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

    /// Adds the next one.
    pub(super) fn stroke(&mut self, strokes: &mut Vec<Stroke>) -> Result<(), DecodeError> {
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
        let (id, z) = (StrokeId(id), Position(z));
        let erased = Written {
            value: flags & ERASED != 0,
            by: erased_by,
        };
        #[cfg(not(target_arch = "wasm32"))]
        if !IS_SMALL && count > 0 {
            let drawing = self.draw_quickly(count, is_finished)?;
            self.bits.check()?;
            let (value, by) = (style, style_by);
            let style = Written { value, by };
            strokes.push(Stroke::drawn(id, z, style, erased, drawing));
            return Ok(());
        }
        let mut stroke = Stroke::new(id, z, style);
        stroke.style.by = style_by;
        stroke.erased = erased;
        if count > 0 {
            self.ink(&mut stroke, count, is_finished)?;
        } else if is_finished {
            return Err(DecodeError::Malformed);
        }
        self.bits.check()?;
        strokes.push(stroke);
        Ok(())
    }

    /// By how many bits coordinates are shifted, and where a stroke begins.
    #[inline]
    fn start(&mut self) -> Result<(u32, [i32; 3]), DecodeError> {
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
        Ok((shift, start))
    }

    /// So many points of a stroke, at least one.
    fn ink(
        &mut self,
        stroke: &mut Stroke,
        count: usize,
        is_finished: bool,
    ) -> Result<(), DecodeError> {
        let (shift, start) = self.start()?;
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

    /// The same, by a hand that is quick.
    #[cfg(not(target_arch = "wasm32"))]
    #[inline]
    fn draw_quickly(&mut self, count: usize, is_finished: bool) -> Result<Drawing, DecodeError> {
        let (shift, start) = self.start()?;
        let mut first_step = None;
        if count > 1 {
            let mut step = [0; 3];
            for (step, column) in step.iter_mut().zip(FIRST_STEP) {
                *step = unzigzag(self.word(column)?);
            }
            first_step = Some(step);
        }
        let bits = &mut self.bits;
        self.hand
            .draw(bits, start, first_step, shift, count, is_finished)
    }
}
