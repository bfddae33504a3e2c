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

mod draft;
#[cfg(not(target_arch = "wasm32"))]
mod hand;
mod order;
mod predictor;
mod prefix_code;
mod row_reader;

use crate::codec::bits::{BitReader, BitWriter};
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::ActorId;
use crate::ink::IS_SMALL;
use crate::limits::{CHUNK_POINTS_MAX, CHUNK_STROKES_MAX};
use crate::stroke::{Stroke, StrokeStyle};
use draft::Draft;
#[cfg(not(target_arch = "wasm32"))]
use hand::Hand;
use order::Order;
use predictor::Predictor;
use prefix_code::{Census, CodeReader};
use row_reader::RowReader;

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
    // As many as there are columns, so that none is looked for in vain.
    let codes: &[CodeReader; COLUMNS] = codes.as_array().ok_or(DecodeError::Malformed)?;
    let rest = r.rest();
    let mut rows = RowReader::<IS_SMALL> {
        bits: BitReader::new(&rest),
        codes,
        order: Order::new(z, ratio, actors.iter().map(|(_, first)| *first)),
        actors: &actors,
        styles: &styles,
        predictors: &predictors,
        corner,
        written: 0,
        points_left: CHUNK_POINTS_MAX,
        #[cfg(not(target_arch = "wasm32"))]
        hand: Hand::new(
            &codes[Column::Step as usize],
            &codes[Column::PressureStep as usize],
            &predictors,
        ),
    };
    let mut strokes = Vec::with_capacity(count);
    for _ in 0..count {
        rows.stroke(&mut strokes)?;
    }
    rows.bits.finish()?;
    Ok(strokes)
}

#[cfg(test)]
mod tests;
