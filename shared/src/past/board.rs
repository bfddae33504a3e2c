//! A whole board, erased strokes included, in chunks as joins carry them.

use bytes::Bytes;

use super::{VERSION, check_version};
use crate::chunk;
use crate::codec::{DecodeError, Reader, Writer};
use crate::limits::{CHUNK_POINTS_MAX, CHUNK_STROKES_MAX, PAST_BYTES_MAX, STROKES_PER_BOARD_MAX};
use crate::stroke::Stroke;

/// Writes strokes, in drawing order if they are to be small: `u8 version`, then chunks, each behind its length.
pub fn encode_board(strokes: &[&Stroke]) -> Bytes {
    let mut w = Writer::new();
    w.u8(VERSION);
    let mut rest = strokes;
    while !rest.is_empty() {
        let mut points = 0;
        let fits = |stroke: &&&Stroke| {
            points += stroke.point_count as usize;
            points <= CHUNK_POINTS_MAX
        };
        let count = rest.iter().take(CHUNK_STROKES_MAX).take_while(fits).count();
        // One stroke always fits.
        let (now, later) = rest.split_at(count.max(1));
        let mut chunk = Writer::new();
        chunk::encode(now.iter().copied(), &mut chunk);
        w.slice(chunk.as_slice());
        rest = later;
    }
    w.into_bytes()
}

/// Reads what [`encode_board`] wrote and hands over each stroke.
///
/// # Errors
/// Anything else, and more strokes than a board may have.
pub fn decode_board(bytes: Bytes, mut put: impl FnMut(Stroke)) -> Result<(), DecodeError> {
    let mut r = Reader::new(bytes);
    check_version(&mut r)?;
    let mut count = 0;
    while r.remaining() > 0 {
        let chunk = r.slice(PAST_BYTES_MAX)?;
        let strokes = chunk::decode(&mut Reader::new(chunk))?;
        count += strokes.len();
        if count > STROKES_PER_BOARD_MAX || strokes.is_empty() {
            return Err(DecodeError::OutOfRange);
        }
        strokes.into_iter().for_each(&mut put);
    }
    Ok(())
}
