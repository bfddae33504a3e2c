//! Cursors on the wire: keyframes, and deltas against the keyframe.
//!
//! Per area the room sends a keyframe about once a second, on the stream: every cursor in the area with its
//! position, and by its order a dictionary of sessions. In between, datagrams carry deltas **against the keyframe**,
//! never against each other, so that any of them may be lost; the next keyframe heals what a loss left stale.
//! Positions are relative to the area's origin and drop `shift` low bits, which at the area's zoom nobody can see.
//!
//! # Format
//! Keyframe: `varint id`, `zigzag origin x, y`, `u8 shift`, `varint count`, `u8 width` (bits of a coordinate), then per
//! cursor in bits: Rice(1) gap of session numbers, x, y (`width` bits each), 3 bits state.
//! Delta: `varint keyframe`, `varint tick`, `u8 k` (Rice parameter of distances), then in bits the slots of cursors gone
//! (Rice(1) gap + 1 each, ended by 0), then the changed ones by session: for one in the keyframe Rice(1) slot gap + 1,
//! Rice(k) dx and dy; for another 0, a bit 1, Rice(6) session, Rice(12) x and y; then 3 bits state. 0 and a bit 0 end it.

use bytes::Bytes;

use crate::board_point::BoardPoint;
use crate::codec::bits::{BitReader, BitWriter, unzigzag, zigzag};
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{SessionId, Tick};
use crate::interest::Coverage;
use crate::limits::SESSIONS_PER_ROOM_MAX;

/// What a cursor is in the hand of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CursorTool {
    /// Pressure ink.
    Pen,
    /// Translucent ink.
    Highlighter,
    /// Removes strokes.
    Eraser,
    /// Moves the view, or only looks.
    Hand,
}

/// Where somebody points, with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CursorState {
    /// Where.
    pub at: BoardPoint,
    /// With what.
    pub tool: CursorTool,
    /// A button is down or the pen touches.
    pub pressed: bool,
}

impl CursorState {
    /// Tool and button in 3 bits.
    pub const fn state_bits(self) -> u8 {
        let tool = match self.tool {
            CursorTool::Pen => 0,
            CursorTool::Highlighter => 1,
            CursorTool::Eraser => 2,
            CursorTool::Hand => 3,
        };
        tool | (self.pressed as u8) << 2
    }

    /// A cursor from its place and 3 bits.
    pub const fn from_state_bits(at: BoardPoint, bits: u8) -> Self {
        let tool = match bits & 3 {
            0 => CursorTool::Pen,
            1 => CursorTool::Highlighter,
            2 => CursorTool::Eraser,
            _ => CursorTool::Hand,
        };
        Self {
            at,
            tool,
            pressed: bits & 4 != 0,
        }
    }
}

/// Bits of a relative coordinate at the most: 2^31 units over the smallest shift, with room.
const WIDTH_BITS_MAX: u32 = 32;
/// Rice parameter of gaps between session numbers or slots: most are neighbours.
const GAP_K: u32 = 1;
/// Rice parameter of whole session numbers.
const SESSION_K: u32 = 6;
/// Rice parameter of whole positions: an area is some 14 bits wide.
const PLACE_K: u32 = 12;
/// Bytes that one cursor adds to a delta at the most: four codes of 20 + 32 bits and the state.
const ROW_BYTES_MAX: usize = 28;

/// All cursors of an area at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorKeyframe {
    /// Names it to deltas; unique in its room, so that a delta that comes late from another area is never read
    /// against it.
    pub id: u32,
    origin: BoardPoint,
    shift: u8,
    /// By session, positions on the area's raster.
    cursors: Vec<(SessionId, CursorState)>,
}

/// What changed since a keyframe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CursorDelta {
    /// The tick that it tells of.
    pub tick: Tick,
    /// Cursors that left the area or the room.
    pub gone: Vec<SessionId>,
    /// Cursors with their new state, by session.
    pub changed: Vec<(SessionId, CursorState)>,
}

impl CursorKeyframe {
    /// A keyframe of the cursors within an area; positions snap to its raster.
    pub fn new(
        id: u32,
        area: Coverage,
        cursors: impl IntoIterator<Item = (SessionId, CursorState)>,
    ) -> Self {
        let mut keyframe = Self {
            id,
            origin: area.rect().min,
            shift: area.cursor_shift(),
            cursors: Vec::new(),
        };
        keyframe.cursors = cursors
            .into_iter()
            .map(|(session, c)| (session, keyframe.snap(c)))
            .collect();
        keyframe
            .cursors
            .sort_unstable_by_key(|(session, _)| *session);
        keyframe.cursors.dedup_by_key(|(session, _)| *session);
        keyframe
    }

    /// The cursors, by session.
    pub fn cursors(&self) -> &[(SessionId, CursorState)] {
        &self.cursors
    }

    /// A cursor as the area's raster holds it.
    pub fn snap(&self, cursor: CursorState) -> CursorState {
        let (x, y) = self.raster(cursor.at);
        CursorState {
            at: self.place(x, y),
            ..cursor
        }
    }

    fn raster(&self, at: BoardPoint) -> (i32, i32) {
        let step =
            |v: i32, origin: i32| ((i64::from(v) - i64::from(origin)).max(0) >> self.shift) as i32;
        (step(at.x, self.origin.x), step(at.y, self.origin.y))
    }

    fn place(&self, x: i32, y: i32) -> BoardPoint {
        let back = |v: i32, origin: i32| {
            let max = i64::from(crate::limits::COORDINATE_MAX);
            ((i64::from(v) << self.shift) + i64::from(origin)).clamp(-max, max) as i32
        };
        BoardPoint::new(back(x, self.origin.x), back(y, self.origin.y))
    }

    fn slot(&self, session: SessionId) -> Option<usize> {
        self.cursors
            .binary_search_by_key(&session, |(s, _)| *s)
            .ok()
    }

    /// The bytes of a keyframe, 4 to 6 a cursor.
    pub fn encode(&self, w: &mut Writer) {
        w.varint(self.id.into());
        w.zigzag(self.origin.x.into());
        w.zigzag(self.origin.y.into());
        w.u8(self.shift);
        w.varint(self.cursors.len() as u64);
        let raster: Vec<_> = self
            .cursors
            .iter()
            .map(|(_, c)| self.raster(c.at))
            .collect();
        let largest = raster
            .iter()
            .fold(0, |max, &(x, y)| max | x as u32 | y as u32);
        let width = u32::BITS - largest.leading_zeros();
        w.u8(width as u8);
        let mut bits = BitWriter::new(w.as_mut_vec());
        let mut next = 0;
        for ((session, cursor), (x, y)) in self.cursors.iter().zip(raster) {
            bits.rice(session.0 - next, GAP_K);
            next = session.0 + 1;
            bits.bits(x as u32, width);
            bits.bits(y as u32, width);
            bits.bits(cursor.state_bits().into(), 3);
        }
        bits.finish();
    }

    /// Reads what [`CursorKeyframe::encode`] wrote, to the end of the input.
    ///
    /// # Errors
    /// Anything else.
    pub fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        let id = r.varint_u32()?;
        let origin = BoardPoint::new(r.zigzag_i32()?, r.zigzag_i32()?);
        let shift = r.u8()?;
        let count = r.varint_at_most(SESSIONS_PER_ROOM_MAX as u64)? as usize;
        let width = u32::from(r.u8()?);
        // A row takes 5 bits at the least.
        if !origin.is_in_bounds()
            || shift > 31
            || width > WIDTH_BITS_MAX
            || count > r.remaining() * 8 / 5 + 1
        {
            return Err(DecodeError::OutOfRange);
        }
        let mut keyframe = Self {
            id,
            origin,
            shift,
            cursors: Vec::with_capacity(count),
        };
        let rest = r.rest();
        let mut bits = BitReader::new(&rest);
        let mut next = 0u32;
        for _ in 0..count {
            let session = next
                .checked_add(bits.rice(GAP_K)?)
                .ok_or(DecodeError::OutOfRange)?;
            let (x, y) = (bits.bits(width)?, bits.bits(width)?);
            let at = keyframe.place(raster_step(x)?, raster_step(y)?);
            keyframe.cursors.push((
                SessionId(session),
                CursorState::from_state_bits(at, bits.bits(3)? as u8),
            ));
            next = session.checked_add(1).ok_or(DecodeError::OutOfRange)?;
        }
        bits.finish()?;
        Ok(keyframe)
    }
}

fn raster_step(v: u32) -> Result<i32, DecodeError> {
    i32::try_from(v).map_err(|_| DecodeError::OutOfRange)
}

impl CursorDelta {
    /// Writes the delta against a keyframe into at most `bytes_max` bytes (64 at the least). Answers how many of
    /// `gone` and `changed` found room: the rest goes into a later delta. Both must be sorted by session.
    pub fn encode(
        &self,
        keyframe: &CursorKeyframe,
        bytes_max: usize,
        w: &mut Writer,
    ) -> (usize, usize) {
        let bytes_max = w.len() + bytes_max;
        w.varint(keyframe.id.into());
        w.varint(self.tick.0);
        let rows: Vec<_> = self
            .changed
            .iter()
            .map(|row| Row::new(keyframe, row))
            .collect();
        let k = rice_parameter(&rows);
        w.u8(k as u8);
        let mut bits = BitWriter::new(w.as_mut_vec());
        let fits = |bits: &BitWriter<'_>| bits.len() + ROW_BYTES_MAX + 2 <= bytes_max;
        let (mut gone_count, mut changed_count) = (0, 0);
        let mut next = 0;
        for session in &self.gone {
            if !fits(&bits) {
                break;
            }
            gone_count += 1;
            if let Some(slot) = keyframe.slot(*session) {
                bits.rice(slot as u32 - next + 1, GAP_K);
                next = slot as u32 + 1;
            }
        }
        bits.rice(0, GAP_K);
        next = 0;
        for (row, (session, _)) in rows.iter().zip(&self.changed) {
            if !fits(&bits) {
                break;
            }
            changed_count += 1;
            match row.known {
                Some((slot, dx, dy)) => {
                    bits.rice(slot - next + 1, GAP_K);
                    next = slot + 1;
                    bits.rice(dx, k);
                    bits.rice(dy, k);
                }
                None => {
                    bits.rice(0, GAP_K);
                    bits.bits(1, 1);
                    bits.rice(session.0, SESSION_K);
                    bits.rice(row.x as u32, PLACE_K);
                    bits.rice(row.y as u32, PLACE_K);
                }
            }
            bits.bits(row.state.into(), 3);
        }
        bits.rice(0, GAP_K);
        bits.bits(0, 1);
        bits.finish();
        (gone_count, changed_count)
    }

    /// The keyframe that a delta refers to.
    ///
    /// # Errors
    /// The delta is too short to say.
    pub fn keyframe_id(delta: &Bytes) -> Result<u32, DecodeError> {
        Reader::new(delta.clone()).varint_u32()
    }

    /// Reads what [`CursorDelta::encode`] wrote against the same keyframe.
    ///
    /// # Errors
    /// Anything else, and a delta against another keyframe.
    pub fn decode(keyframe: &CursorKeyframe, r: &mut Reader) -> Result<Self, DecodeError> {
        if r.varint_u32()? != keyframe.id {
            return Err(DecodeError::Malformed);
        }
        let mut delta = Self {
            tick: Tick(r.varint()?),
            ..Self::default()
        };
        let k = u32::from(r.u8()?);
        if k > 31 {
            return Err(DecodeError::OutOfRange);
        }
        let rest = r.rest();
        let mut bits = BitReader::new(&rest);
        let slot_after = |next: u32, gap: u32| {
            let slot = next as usize + gap as usize - 1;
            keyframe
                .cursors
                .get(slot)
                .map(|row| (slot as u32 + 1, row))
                .ok_or(DecodeError::OutOfRange)
        };
        let mut next = 0;
        loop {
            let gap = bits.rice(GAP_K)?;
            if gap == 0 {
                break;
            }
            let (after, (session, _)) = slot_after(next, gap)?;
            delta.gone.push(*session);
            next = after;
        }
        next = 0;
        loop {
            let gap = bits.rice(GAP_K)?;
            let (session, x, y) = if gap > 0 {
                let (after, (session, cursor)) = slot_after(next, gap)?;
                next = after;
                let (kx, ky) = keyframe.raster(cursor.at);
                let (dx, dy) = (unzigzag(bits.rice(k)?), unzigzag(bits.rice(k)?));
                (*session, kx.wrapping_add(dx), ky.wrapping_add(dy))
            } else if bits.bits(1)? == 0 {
                break;
            } else {
                if delta.changed.len() >= SESSIONS_PER_ROOM_MAX {
                    return Err(DecodeError::OutOfRange);
                }
                let session = SessionId(bits.rice(SESSION_K)?);
                (
                    session,
                    raster_step(bits.rice(PLACE_K)?)?,
                    raster_step(bits.rice(PLACE_K)?)?,
                )
            };
            let state = bits.bits(3)? as u8;
            delta.changed.push((
                session,
                CursorState::from_state_bits(keyframe.place(x, y), state),
            ));
        }
        bits.finish()?;
        Ok(delta)
    }
}

/// A changed cursor as it is written.
struct Row {
    x: i32,
    y: i32,
    state: u8,
    /// Its slot in the keyframe and the distances from there, zigzag.
    known: Option<(u32, u32, u32)>,
}

impl Row {
    fn new(keyframe: &CursorKeyframe, (session, cursor): &(SessionId, CursorState)) -> Self {
        let (x, y) = keyframe.raster(cursor.at);
        let known = keyframe.slot(*session).map(|slot| {
            let (kx, ky) = keyframe.raster(keyframe.cursors[slot].1.at);
            (
                slot as u32,
                zigzag(x.wrapping_sub(kx)),
                zigzag(y.wrapping_sub(ky)),
            )
        });
        Self {
            x,
            y,
            state: cursor.state_bits(),
            known,
        }
    }
}

/// About the mean of the distances is next to the best parameter.
fn rice_parameter(rows: &[Row]) -> u32 {
    let (sum, count) = rows
        .iter()
        .filter_map(|row| row.known)
        .fold((0u64, 0u64), |(sum, count), (_, dx, dy)| {
            (sum + u64::from(dx) + u64::from(dy), count + 2)
        });
    sum.checked_div(count)
        .map_or(0, |mean| mean.max(1).ilog2().min(31))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::board_point::BoardRect;

    fn area() -> Coverage {
        Coverage::of_view(
            BoardRect::from_corners(BoardPoint::new(-8000, 0), BoardPoint::new(20_000, 16_000)),
            None,
        )
    }

    fn any_cursors() -> impl Strategy<Value = Vec<(SessionId, CursorState)>> {
        let row = (0u32..300, -20_000i32..40_000, -20_000i32..40_000, 0u8..8);
        proptest::collection::btree_map(0u32..300, row, 0..60).prop_map(|rows| {
            rows.into_iter()
                .map(|(s, (_, x, y, bits))| {
                    (
                        SessionId(s),
                        CursorState::from_state_bits(BoardPoint::new(x, y), bits),
                    )
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn keyframes_survive(cursors in any_cursors()) {
            let keyframe = CursorKeyframe::new(3, area(), cursors);
            let mut w = Writer::new();
            keyframe.encode(&mut w);
            prop_assert_eq!(CursorKeyframe::decode(&mut Reader::new(w.into_bytes())), Ok(keyframe));
        }

        #[test]
        fn deltas_survive_and_keep_within_their_budget(before in any_cursors(), changed in any_cursors(), budget in 64usize..400) {
            let keyframe = CursorKeyframe::new(9, area(), before.clone());
            let changed: Vec<_> = changed.into_iter().map(|(s, c)| (s, keyframe.snap(c))).collect();
            let gone: Vec<_> = before.iter().map(|(s, _)| *s).filter(|s| changed.iter().all(|(c, _)| c != s)).collect();
            let delta = CursorDelta { tick: Tick(77), gone, changed };
            let mut w = Writer::new();
            let (gone, changed) = delta.encode(&keyframe, budget, &mut w);
            prop_assert!(w.len() <= budget, "{} of {}", w.len(), budget);
            prop_assert!(changed > 0 || delta.changed.is_empty() || gone > 0);
            let expect = CursorDelta { gone: delta.gone[..gone].to_vec(), changed: delta.changed[..changed].to_vec(), ..delta };
            prop_assert_eq!(CursorDelta::decode(&keyframe, &mut Reader::new(w.into_bytes())), Ok(expect));
        }

        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>, cursors in any_cursors()) {
            let keyframe = CursorKeyframe::new(bytes.first().copied().unwrap_or(0).into(), area(), cursors);
            let _ = CursorKeyframe::decode(&mut Reader::new(bytes.clone().into()));
            let _ = CursorDelta::decode(&keyframe, &mut Reader::new(bytes.into()));
        }
    }

    #[test]
    fn a_hundred_moving_cursors_cost_little_more_than_two_bytes_each() {
        let cursor = |i: u32, t: i32| {
            let (x, y) = (
                (i * 7919 % 28_000) as i32 - 8000,
                (i * 104_729 % 16_000) as i32,
            );
            (
                SessionId(i),
                CursorState {
                    at: BoardPoint::new(x + t * 8, y - t * 4),
                    tool: CursorTool::Pen,
                    pressed: false,
                },
            )
        };
        let keyframe = CursorKeyframe::new(1, area(), (0..100).map(|i| cursor(i, 0)));
        let delta = CursorDelta {
            tick: Tick(5),
            gone: vec![],
            changed: (0..100).map(|i| cursor(i, 10)).collect(),
        };
        let mut w = Writer::new();
        assert_eq!(delta.encode(&keyframe, 1000, &mut w), (0, 100));
        assert!(w.len() <= 260, "{} bytes", w.len());
    }
}
