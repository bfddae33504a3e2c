//! Ink: points of a pen, and the packed form in which they are sent, logged and kept.
//!
//! # Packed form
//! `varint count`, `u8 shift`, then for the first point `zigzag x`, `zigzag y`, `u8 pressure`, for the second the
//! differences to the first as zigzag varints, and for all further ones the differences of differences of x, y and
//! pressure as adaptive Rice codes ([`crate::codec::bits`]). Coordinates are divided by `2^shift` first, where shift
//! is the number of low bits that are zero in all of them: pointers that deliver whole pixels cost four bits less a
//! coordinate. Differences wrap, so every legal coordinate survives. There is exactly one packed form for a list of
//! points; anything else is refused.

#[cfg(not(target_arch = "wasm32"))]
mod even_ink;

use bytes::Bytes;

use crate::board_point::BoardPoint;
use crate::codec::bits::{Adaptive, BitReader, BitWriter, unzigzag, zigzag};
use crate::codec::{DecodeError, Reader, Writer};
#[cfg(not(target_arch = "wasm32"))]
pub use even_ink::EvenInk;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use even_ink::Widths;

/// One sample of a pen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct InkPoint {
    /// Where.
    pub at: BoardPoint,
    /// How hard: 0 (touching lightly) to 255; 128 for devices that do not measure it.
    pub pressure: u8,
}

impl InkPoint {
    /// A sample by its coordinates in 1/16 px.
    pub const fn new(x: i32, y: i32, pressure: u8) -> Self {
        Self {
            at: BoardPoint::new(x, y),
            pressure,
        }
    }
}

/// Differences of x and y, divided, and of pressure from a point to the next.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) type InkStep = [i32; 3];

/// Shifts beyond this gain nothing: 2^7 units are 8 px.
pub(crate) const SHIFT_MAX: u32 = 7;

/// In the page only size counts, and three codes in one go are half a kilobyte of it.
pub(crate) const IS_SMALL: bool = cfg!(target_arch = "wasm32");

/// A non-empty list of points in packed form, checked when it was made: always decodable, within all limits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PackedInk {
    bytes: Bytes,
}

impl PackedInk {
    /// Packs points.
    ///
    /// # Panics
    /// When there are none: an op without points does not exist.
    pub fn pack(points: &[InkPoint]) -> Self {
        Self::pack_by(points, &mut Vec::new())
    }

    /// As [`PackedInk::pack`], by way of a buffer that is used again and again.
    pub(crate) fn pack_by(points: &[InkPoint], buffer: &mut Vec<u8>) -> Self {
        assert!(!points.is_empty(), "ink has at least one point");
        let shift = shift_of(points);
        buffer.clear();
        let mut w = Writer::from(core::mem::take(buffer));
        w.varint(points.len() as u64);
        w.u8(shift as u8);
        let mut last = channels(&points[0], shift);
        w.zigzag(last[0].into());
        w.zigzag(last[1].into());
        w.u8(points[0].pressure);
        if let Some(second) = points.get(1) {
            let now = channels(second, shift);
            let mut speed = [0; 3];
            for c in 0..3 {
                speed[c] = now[c].wrapping_sub(last[c]);
                w.zigzag(speed[c].into());
            }
            last = now;
            let mut adaptive = initial_adaptive();
            let mut bits = BitWriter::new(w.as_mut_vec());
            for point in &points[2..] {
                let now = channels(point, shift);
                let (mut codes, mut ks) = ([0; 3], [0; 3]);
                for c in 0..3 {
                    let faster = now[c].wrapping_sub(last[c]);
                    let code = zigzag(faster.wrapping_sub(speed[c]));
                    if IS_SMALL {
                        bits.rice(code, adaptive[c].k());
                    } else {
                        (codes[c], ks[c]) = (code, adaptive[c].k());
                    }
                    adaptive[c].learn(code);
                    speed[c] = faster;
                }
                if !IS_SMALL {
                    bits.rice_three(codes, ks);
                }
                last = now;
            }
            bits.finish();
        }
        // A copy holds no spare room, and there may be a million of them.
        let bytes = Bytes::copy_from_slice(w.as_slice());
        *buffer = w.into_vec();
        Self { bytes }
    }

    /// Takes packed bytes from outside, decoding them once to check them.
    ///
    /// # Errors
    /// Any form but the one that [`PackedInk::pack`] writes, more than `count_max` points, coordinates out of bounds.
    pub fn check(bytes: Bytes, count_max: usize) -> Result<(Self, Vec<InkPoint>), DecodeError> {
        let mut points = Vec::new();
        decode(&bytes, count_max, &mut points)?;
        Ok((Self { bytes }, points))
    }

    /// The points.
    pub fn unpack(&self) -> Vec<InkPoint> {
        let mut points = Vec::new();
        self.unpack_into(&mut points);
        points
    }

    /// Appends the points.
    pub fn unpack_into(&self, points: &mut Vec<InkPoint>) {
        decode(&self.bytes, usize::MAX, points).expect("packed ink was checked when it was made");
    }

    /// Where it begins.
    pub fn first_point(&self) -> BoardPoint {
        let first = || {
            let mut r = Reader::new(self.bytes.clone());
            r.varint()?;
            let shift = r.u8()?;
            let (x, y) = (r.zigzag_i32()?, r.zigzag_i32()?);
            Ok::<_, DecodeError>(BoardPoint::new(x << shift, y << shift))
        };
        first().expect("packed ink was checked when it was made")
    }

    /// The packed bytes.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl core::fmt::Debug for PackedInk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PackedInk({} bytes)", self.bytes.len())
    }
}

/// Differences of differences of real pens are a few units; pressure changes by less.
const fn initial_adaptive() -> [Adaptive; 3] {
    [
        Adaptive::starting_at(12),
        Adaptive::starting_at(12),
        Adaptive::starting_at(3),
    ]
}

/// A point's coordinates, divided, and its pressure.
#[inline]
pub(crate) fn channels(p: &InkPoint, shift: u32) -> [i32; 3] {
    [p.at.x >> shift, p.at.y >> shift, p.pressure.into()]
}

/// Low bits that are zero in all coordinates.
pub(crate) fn shift_of(points: &[InkPoint]) -> u32 {
    let bits = points.iter().fold(0, |bits, p| bits | p.at.x | p.at.y);
    bits.trailing_zeros().min(SHIFT_MAX)
}

/// The point of these, which is known to be within its bounds.
#[cfg(not(target_arch = "wasm32"))]
#[inline]
pub(crate) const fn whole([x, y, pressure]: [i32; 3], shift: u32) -> InkPoint {
    InkPoint::new(x << shift, y << shift, pressure as u8)
}

/// A point by its divided coordinates and its pressure, where those are within their bounds.
#[inline]
pub(crate) fn point_of([x, y, pressure]: [i32; 3], shift: u32) -> Result<InkPoint, DecodeError> {
    let whole = |v: i32| v.checked_mul(1 << shift).ok_or(DecodeError::OutOfRange);
    let pressure = u8::try_from(pressure).map_err(|_| DecodeError::OutOfRange)?;
    let point = InkPoint::new(whole(x)?, whole(y)?, pressure);
    if point.at.is_in_bounds() {
        Ok(point)
    } else {
        Err(DecodeError::OutOfRange)
    }
}

/// Appends the points.
fn decode(bytes: &Bytes, count_max: usize, points: &mut Vec<InkPoint>) -> Result<(), DecodeError> {
    let before = points.len();
    let mut r = Reader::new(bytes.clone());
    let count = r.varint_at_most(count_max as u64)? as usize;
    // Every point after the second takes three bits at the least, so a small message can't ask for a large list.
    if count == 0 || count > 2 + bytes.len() * 8 / 3 {
        return Err(DecodeError::OutOfRange);
    }
    let shift = u32::from(r.u8()?);
    if shift > SHIFT_MAX {
        return Err(DecodeError::Malformed);
    }
    points.reserve(count);
    let mut last = [r.zigzag_i32()?, r.zigzag_i32()?, i32::from(r.u8()?)];
    points.push(point_of(last, shift)?);
    if count > 1 {
        let mut speed = [r.zigzag_i32()?, r.zigzag_i32()?, r.zigzag_i32()?];
        for c in 0..3 {
            last[c] = last[c].wrapping_add(speed[c]);
        }
        points.push(point_of(last, shift)?);
        let mut bits = BitReader::new(r.as_slice());
        let [mut along, mut across, mut pressing] = initial_adaptive();
        let mut next = |adaptive: &mut Adaptive| {
            let code = bits.rice(adaptive.k())?;
            adaptive.learn(code);
            Ok::<_, DecodeError>(unzigzag(code))
        };
        for _ in 2..count {
            let faster = [next(&mut along)?, next(&mut across)?, next(&mut pressing)?];
            for c in 0..3 {
                speed[c] = speed[c].wrapping_add(faster[c]);
                last[c] = last[c].wrapping_add(speed[c]);
            }
            points.push(point_of(last, shift)?);
        }
        bits.finish()?;
    } else {
        r.finish()?;
    }
    if shift == shift_of(&points[before..]) {
        Ok(())
    } else {
        Err(DecodeError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::COORDINATE_MAX;

    pub(super) fn any_points() -> impl Strategy<Value = Vec<InkPoint>> {
        let far = -COORDINATE_MAX..=COORDINATE_MAX;
        let point = prop_oneof![
            (far.clone(), far, any::<u8>()),
            (-200i32..200, -200i32..200, any::<u8>()),
            (-20i32..20, -20i32..20, Just(128u8)).prop_map(|(x, y, p)| (x * 16, y * 16, p)),
        ];
        proptest::collection::vec(point.prop_map(|(x, y, p)| InkPoint::new(x, y, p)), 1..80)
    }

    proptest! {
        #[test]
        fn points_survive_packing(points in any_points()) {
            let packed = PackedInk::pack(&points);
            prop_assert_eq!(packed.unpack(), points.clone());
            prop_assert_eq!(packed.first_point(), points[0].at);
            let (checked, decoded) = PackedInk::check(packed.as_bytes().clone(), 80).expect("own form");
            prop_assert_eq!(checked, packed);
            prop_assert_eq!(decoded, points);
        }

        #[test]
        fn any_bytes_are_refused_or_are_the_one_form(bytes: Vec<u8>) {
            if let Ok((packed, points)) = PackedInk::check(bytes.into(), 1000) {
                prop_assert!(points.len() <= 1000);
                prop_assert_eq!(PackedInk::pack(&points).unpack(), packed.unpack());
            }
        }

        #[test]
        fn changed_bytes_never_panic(points in any_points(), at: proptest::sample::Index, bit in 0u8..8, cut: proptest::sample::Index) {
            let mut bytes = PackedInk::pack(&points).as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            bytes.truncate(cut.index(bytes.len() + 1));
            let _ = PackedInk::check(bytes.into(), 80);
        }
    }

    #[test]
    fn golden_bytes() {
        let points = [
            InkPoint::new(160, -320, 128),
            InkPoint::new(176, -304, 130),
            InkPoint::new(208, -304, 131),
            InkPoint::new(256, -320, 131),
        ];
        let expect = [4, 4, 20, 39, 128, 2, 2, 4, 53, 119, 3];
        assert_eq!(PackedInk::pack(&points).as_bytes()[..], expect);
    }

    #[test]
    fn a_short_message_cannot_claim_a_long_list() {
        let mut w = Writer::new();
        w.varint(1 << 40);
        w.raw(&[0; 8]);
        assert_eq!(
            PackedInk::check(w.into_bytes(), usize::MAX),
            Err(DecodeError::OutOfRange)
        );
    }

    #[test]
    fn a_smooth_stroke_is_small() {
        let points: Vec<_> = (0..30)
            .map(|i| {
                let t = i as f32 / 60.0;
                let (x, y) = ((4.0 * t).sin() * 300.0, (3.0 * t).cos() * 300.0);
                InkPoint::new(
                    (x.round() as i32) * 16,
                    (y.round() as i32) * 16,
                    (128.0 + 90.0 * (5.0 * t).sin()) as u8,
                )
            })
            .collect();
        let size = PackedInk::pack(&points).as_bytes().len();
        assert!(size <= 45, "{size} bytes");
    }
}
