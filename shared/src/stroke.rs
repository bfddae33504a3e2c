//! A stroke: drawn ink with a style, as both the room and its mirrors hold it.
//!
//! Its points only ever grow, until it is finished; everything else is last-writer-wins per group, each group with
//! the id of the op that wrote it, so that an undo can tell whether somebody else wrote since. The rules are in
//! [`crate::merge`].

use std::borrow::Cow;

use crate::board_point::{BoardPoint, BoardRect};
use crate::codec::{DecodeError, Reader, Writer};
use crate::digest::mix;
use crate::id::{ActorId, OpId, Position, StrokeId};
#[cfg(not(target_arch = "wasm32"))]
use crate::ink::EvenInk;
use crate::ink::{InkPoint, PackedInk};
use crate::limits::{POINTS_PER_STROKE_MAX, WIDTH_MAX};

/// What ink looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StrokeStyle {
    /// The kind of nib.
    pub nib: Nib,
    /// 0xRRGGBB as seen on a light board; dark boards turn its lightness round.
    pub color: u32,
    /// Width at full pressure, in 1/16 px: 1 to [`WIDTH_MAX`].
    pub width: u16,
}

/// The kind of nib.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Nib {
    /// Opaque, its width follows the pressure.
    Pen,
    /// Translucent, of constant width.
    Highlighter,
}

impl StrokeStyle {
    /// Every value is within its range.
    pub const fn is_valid(self) -> bool {
        self.width >= 1 && self.width <= WIDTH_MAX && self.color <= 0xff_ffff
    }

    /// Writes 1 + 3 + (1 to 2) bytes.
    pub fn encode(self, w: &mut Writer) {
        w.u8(match self.nib {
            Nib::Pen => 0,
            Nib::Highlighter => 1,
        });
        w.raw(&self.color.to_be_bytes()[1..]);
        w.varint(self.width.into());
    }

    /// Reads what [`StrokeStyle::encode`] wrote.
    ///
    /// # Errors
    /// An unknown nib or a width out of range.
    pub fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        let nib = match r.u8()? {
            0 => Nib::Pen,
            1 => Nib::Highlighter,
            other => return Err(DecodeError::UnknownKind(other)),
        };
        let color = u32::from(r.u8()?) << 16 | u32::from(r.u8()?) << 8 | u32::from(r.u8()?);
        let style = Self {
            nib,
            color,
            width: r.varint_at_most(WIDTH_MAX.into())? as u16,
        };
        if style.is_valid() {
            Ok(style)
        } else {
            Err(DecodeError::OutOfRange)
        }
    }
}

/// A value and the op that wrote it last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written<T> {
    /// The value.
    pub value: T,
    /// The op that wrote it.
    pub by: OpId,
}

/// Points of a stroke: plain while it grows, packed once it is finished. Equal where the points are, wet or not.
#[derive(Debug, Clone)]
pub enum Ink {
    /// Still growing.
    Wet(Vec<InkPoint>),
    /// Finished.
    Dry(PackedInk),
    /// Finished, as a chunk has brought it: packed when it is sent alone.
    #[cfg(not(target_arch = "wasm32"))]
    Even(EvenInk),
}

impl Ink {
    /// No more points will come.
    pub const fn is_finished(&self) -> bool {
        !matches!(self, Self::Wet(_))
    }

    /// The points, unpacked where they are packed.
    pub fn points(&self) -> Cow<'_, [InkPoint]> {
        if let Self::Wet(points) = self {
            return points.into();
        }
        let mut points = Vec::new();
        self.unpack_into(&mut points);
        points.into()
    }

    /// Appends the points.
    pub(crate) fn unpack_into(&self, points: &mut Vec<InkPoint>) {
        match self {
            Self::Wet(wet) => points.extend_from_slice(wet),
            Self::Dry(packed) => packed.unpack_into(points),
            #[cfg(not(target_arch = "wasm32"))]
            Self::Even(even) => even.unpack_into(points),
        }
    }
}

impl PartialEq for Ink {
    fn eq(&self, other: &Self) -> bool {
        self.is_finished() == other.is_finished() && self.points() == other.points()
    }
}

impl Eq for Ink {}

/// Ink and what is known of all of its points.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) struct Drawing {
    pub(crate) ink: Ink,
    pub(crate) point_count: u32,
    /// The smallest rectangle around the points.
    pub(crate) bounds: BoardRect,
    pub(crate) hash: InkHash,
}

/// A stroke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stroke {
    /// Its name: the op that began it.
    pub id: StrokeId,
    /// Place of that op in the log: the drawing order. 0 for one that only its author has (not yet accepted).
    pub z: Position,
    /// What it looks like.
    pub style: Written<StrokeStyle>,
    /// It was erased; edits gather beneath and show when it is restored.
    pub erased: Written<bool>,
    /// Its points.
    pub ink: Ink,
    /// How many there are.
    pub point_count: u32,
    /// The smallest rectangle around the points.
    pub bounds: BoardRect,
    /// Running hash of the points.
    ink_hash: InkHash,
}

impl Stroke {
    /// A stroke that begins, without points yet.
    pub fn new(id: StrokeId, z: Position, style: StrokeStyle) -> Self {
        Self {
            id,
            z,
            style: Written {
                value: style,
                by: id.0,
            },
            erased: Written {
                value: false,
                by: id.0,
            },
            ink: Ink::Wet(Vec::new()),
            point_count: 0,
            bounds: BoardRect::EMPTY,
            ink_hash: InkHash::new(),
        }
    }

    /// Who drew it.
    pub const fn author(&self) -> ActorId {
        self.id.actor()
    }

    /// No more points will come.
    pub const fn is_finished(&self) -> bool {
        self.ink.is_finished()
    }

    /// Adds points to a stroke that still grows; to a finished one, nothing.
    pub fn push(&mut self, points: &[InkPoint]) {
        let Ink::Wet(wet) = &mut self.ink else { return };
        for point in points {
            self.bounds = self.bounds.including(point.at);
            self.ink_hash.add(*point);
        }
        wet.extend_from_slice(points);
        self.point_count = wet.len() as u32;
    }

    /// A stroke that was drawn already, put together in its place.
    #[cfg(not(target_arch = "wasm32"))]
    #[inline]
    pub(crate) fn drawn(
        id: StrokeId,
        z: Position,
        style: Written<StrokeStyle>,
        erased: Written<bool>,
        drawing: Drawing,
    ) -> Self {
        Self {
            id,
            z,
            style,
            erased,
            ink: drawing.ink,
            point_count: drawing.point_count,
            bounds: drawing.bounds,
            ink_hash: drawing.hash,
        }
    }

    /// Packs the points; nothing for a stroke that is finished or has none.
    pub fn finish(&mut self) {
        if let Ink::Wet(points) = &self.ink
            && !points.is_empty()
        {
            self.ink = Ink::Dry(PackedInk::pack(points));
        }
    }

    /// Its points, unpacked where they are packed.
    pub fn points(&self) -> Cow<'_, [InkPoint]> {
        self.ink.points()
    }

    /// The points of a stroke that still grows; `None` for one that has none or is finished.
    pub fn wet_points(&self) -> Option<&[InkPoint]> {
        match &self.ink {
            Ink::Wet(points) if !points.is_empty() => Some(points),
            _ => None,
        }
    }

    /// Where it begins.
    pub fn first_point(&self) -> Option<BoardPoint> {
        match &self.ink {
            Ink::Wet(points) => points.first().map(|point| point.at),
            Ink::Dry(packed) => Some(packed.first_point()),
            #[cfg(not(target_arch = "wasm32"))]
            Ink::Even(even) => Some(even.first_point()),
        }
    }

    /// The rectangle that its ink covers: the points and half the nib around them. Empty for one without points.
    pub fn extent(&self) -> BoardRect {
        self.bounds
            .inflate(i32::from(self.style.value.width) / 2 + 1)
    }

    /// Its share of a board's digest; 0 for an erased stroke, which nobody sees.
    pub fn digest(&self) -> u64 {
        if self.erased.value {
            return 0;
        }
        let style = self.style.value;
        let nib = u64::from(style.nib == Nib::Highlighter);
        let look = u64::from(style.color) << 32
            | u64::from(style.width) << 8
            | nib << 1
            | u64::from(self.is_finished());
        mix(
            mix(
                mix(
                    mix(mix(0, self.id.0.actor.0), self.id.0.counter.into()),
                    self.z.0,
                ),
                look,
            ),
            self.ink_hash.0,
        )
    }

    /// Writes the whole stroke, as chunks of the board and snapshots hold it.
    pub fn encode(&self, w: &mut Writer) {
        w.u64(self.id.0.actor.0);
        w.varint(self.id.0.counter.into());
        w.varint(self.z.0);
        let restyled = self.style.by != self.id.0;
        let touched = self.erased.by != self.id.0;
        w.u8(u8::from(self.is_finished())
            | u8::from(self.erased.value) << 1
            | u8::from(restyled) << 2
            | u8::from(touched) << 3);
        self.style.value.encode(w);
        for by in [
            restyled.then_some(self.style.by),
            touched.then_some(self.erased.by),
        ]
        .into_iter()
        .flatten()
        {
            w.u64(by.actor.0);
            w.varint(by.counter.into());
        }
        match &self.ink {
            Ink::Wet(points) if points.is_empty() => w.slice(&[]),
            Ink::Dry(packed) => w.slice(packed.as_bytes()),
            ink => w.slice(PackedInk::pack(&ink.points()).as_bytes()),
        }
    }

    /// Reads what [`Stroke::encode`] wrote.
    ///
    /// # Errors
    /// Anything that [`Stroke::encode`] would not have written.
    pub fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        let op_id = |r: &mut Reader| {
            Ok(OpId {
                actor: ActorId(r.u64()?),
                counter: r.varint_u32()?,
            })
        };
        let id = StrokeId(op_id(r)?);
        let z = Position(r.varint()?);
        let flags = r.u8()?;
        if flags >= 16 {
            return Err(DecodeError::Malformed);
        }
        let mut stroke = Self::new(id, z, StrokeStyle::decode(r)?);
        if flags & 4 != 0 {
            stroke.style.by = op_id(r)?;
        }
        if flags & 8 != 0 {
            stroke.erased.by = op_id(r)?;
        }
        stroke.erased.value = flags & 2 != 0;
        // 9 bytes a point is the worst that packing writes, with its head.
        let packed = r.slice(POINTS_PER_STROKE_MAX * 16 + 32)?;
        if packed.is_empty() {
            return if flags & 1 == 0 {
                Ok(stroke)
            } else {
                Err(DecodeError::Malformed)
            };
        }
        let (packed, points) = PackedInk::check(packed, POINTS_PER_STROKE_MAX)?;
        stroke.push(&points);
        if flags & 1 != 0 {
            stroke.ink = Ink::Dry(packed);
        }
        Ok(stroke)
    }
}

/// Running hash of points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InkHash(u64);

impl InkHash {
    /// Of none.
    pub(crate) const fn new() -> Self {
        Self(0)
    }

    /// One round a point, because a board that is joined has millions. The multiplication spreads the pressure over all
    /// bits of the coordinates.
    #[inline]
    pub(crate) const fn add(&mut self, point: InkPoint) {
        let BoardPoint { x, y } = point.at;
        let at = (x as u32 as u64) << 32 | y as u32 as u64;
        let pressure = (point.pressure as u64).wrapping_mul(0xd6e8_feb8_6659_fd93);
        self.0 = mix(self.0, at ^ pressure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stroke() -> Stroke {
        let id = StrokeId(OpId {
            actor: ActorId(7),
            counter: 3,
        });
        let mut stroke = Stroke::new(
            id,
            Position(9),
            StrokeStyle {
                nib: Nib::Pen,
                color: 0x123456,
                width: 64,
            },
        );
        stroke.push(&[
            InkPoint::new(0, 0, 128),
            InkPoint::new(32, 16, 130),
            InkPoint::new(70, 30, 140),
        ]);
        stroke
    }

    fn round_trip(stroke: &Stroke) -> Stroke {
        let mut w = Writer::new();
        stroke.encode(&mut w);
        let mut r = Reader::new(w.into_bytes());
        let back = Stroke::decode(&mut r).expect("own form");
        r.finish().expect("nothing left");
        back
    }

    #[test]
    fn a_stroke_survives_encoding_in_every_state() {
        let mut s = stroke();
        assert_eq!(round_trip(&s), s);
        s.style.by = OpId {
            actor: ActorId(8),
            counter: 1,
        };
        s.erased = Written {
            value: true,
            by: OpId {
                actor: ActorId(9),
                counter: 300,
            },
        };
        assert_eq!(round_trip(&s), s);
        s.finish();
        assert_eq!(round_trip(&s), s);
        assert_eq!(s.points().len(), 3);
    }

    #[test]
    fn the_digest_sees_every_part_that_people_see() {
        let base = stroke();
        let mut seen = std::collections::HashSet::from([base.digest()]);
        let mut expect_new = |change: fn(&mut Stroke)| {
            let mut changed = base.clone();
            change(&mut changed);
            assert!(seen.insert(changed.digest()));
        };
        expect_new(|s| s.push(&[InkPoint::new(1, 1, 1)]));
        expect_new(|s| s.style.value.color = 0);
        expect_new(|s| s.style.value.width = 65);
        expect_new(|s| s.style.value.nib = Nib::Highlighter);
        expect_new(Stroke::finish);
        expect_new(|s| s.z = Position(10));
        expect_new(|s| s.erased.value = true);
    }

    #[test]
    fn points_do_not_grow_after_the_end() {
        let mut s = stroke();
        s.finish();
        let before = s.clone();
        s.push(&[InkPoint::new(1, 1, 1)]);
        assert_eq!(s, before);
    }
}
