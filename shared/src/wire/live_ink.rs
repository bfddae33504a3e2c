//! Live ink: points that strokes have gained in the last ticks, for those whose way loses packets.
//!
//! It repeats what the stream tells, in datagrams of which any may be lost: each names the stroke and the number of the
//! first point, and is read behind the points that its reader holds before that one. It changes nothing that lasts.
//!
//! # Format
//! `varint` beginning of the newest of the strokes, then bits, per stroke: 1, the number of the first point as Rice(8),
//! and a growth as [`crate::growth`] has it, its distance from that beginning; at the end 0.

use crate::codec::bits::{BitReader, BitWriter};
use crate::codec::{DecodeError, Reader, Writer};
use crate::growth::{self, Form, Growth, GrowthCoder};
use crate::id::Position;
use crate::limits::DATAGRAM_FRAME_BYTES_MAX;

/// Parameter of the first point's number: strokes that grow have some hundred points.
const FIRST_K: u32 = 8;

/// The points that a stroke has gained lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InkTail {
    /// Number of the first of them among the stroke's points.
    pub first: u32,
    /// The points, and whose they are.
    pub growth: Growth,
}

/// Writes as many of `tails` as fit so many bytes, from the first on, and answers how many.
pub(super) fn encode<'a>(
    tails: impl Iterator<Item = &'a InkTail> + Clone,
    bytes_max: usize,
    w: &mut Writer,
) -> usize {
    let newest = tails.clone().map(|tail| tail.growth.begin).max();
    let newest = newest.unwrap_or(Position(0));
    w.varint(newest.0);
    let start = w.len();
    let mut told = tails.clone().count();
    loop {
        let mut bits = BitWriter::new(w.as_mut_vec());
        let mut growths = GrowthCoder::new();
        let mut fitting = 0;
        for tail in tails.clone().take(told) {
            // Nobody goes on with a stroke for so long that it could not be named.
            if growth::is_tellable(tail.growth.begin, newest) {
                bits.bits(1, 1);
                bits.rice(tail.first, FIRST_K);
                growths.write(&mut bits, &tail.growth, newest, Form::Full);
            }
            // The end takes a bit more.
            if bits.len() + 1 > bytes_max {
                break;
            }
            fitting += 1;
        }
        if fitting == told {
            bits.bits(0, 1);
            bits.finish();
            return told;
        }
        // Once more without those that do not fit; codes depend on nothing that follows.
        told = fitting;
        w.as_mut_vec().truncate(start);
    }
}

/// Reads what follows the kind, to the end.
pub(super) fn decode(r: &mut Reader) -> Result<Vec<InkTail>, DecodeError> {
    let newest = Position(r.varint()?);
    let packed = r.rest();
    // A point takes three bits at the least: some 2,700 at the most.
    if packed.len() > DATAGRAM_FRAME_BYTES_MAX {
        return Err(DecodeError::OutOfRange);
    }
    let mut bits = BitReader::new(&packed);
    let mut growths = GrowthCoder::new();
    let mut tails = Vec::new();
    while bits.bits(1)? == 1 {
        let first = bits.rice(FIRST_K)?;
        let growth = growths.read(&mut bits, newest, Form::Full)?;
        tails.push(InkTail { first, growth });
    }
    bits.finish()?;
    Ok(tails)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ink::InkPoint;
    use crate::limits::COORDINATE_MAX;

    fn any_points(count: core::ops::Range<usize>) -> impl Strategy<Value = Vec<InkPoint>> {
        let far = -COORDINATE_MAX..=COORDINATE_MAX;
        let point = prop_oneof![
            (far.clone(), far, any::<u8>()),
            (-20i32..20, -20i32..20, Just(128u8)).prop_map(|(x, y, p)| (x * 16, y * 16, p)),
        ];
        proptest::collection::vec(point.prop_map(|(x, y, p)| InkPoint::new(x, y, p)), count)
    }

    type Told = (u32, u32, Vec<InkPoint>, Vec<InkPoint>);

    fn any_told() -> impl Strategy<Value = Vec<Told>> {
        let told = (
            0..5000u32,
            1..10_000u32,
            any_points(1..30),
            any_points(1..9),
        );
        proptest::collection::vec(told, 0..30)
    }

    fn tails(told: &[Told]) -> Vec<InkTail> {
        let tail = |(begin, first, before, points): &Told| InkTail {
            first: *first,
            growth: Growth::behind(Position((1 << 40) + u64::from(*begin)), before, points),
        };
        told.iter().map(tail).collect()
    }

    proptest! {
        #[test]
        fn tails_survive_as_many_as_fit(told in any_told(), bytes_max in 20usize..1000) {
            let tails = tails(&told);
            let mut w = Writer::new();
            let count = encode(tails.iter(), bytes_max, &mut w);
            prop_assert!(w.len() <= bytes_max || count == 0);
            let mut r = Reader::new(w.into_bytes());
            let back = decode(&mut r).expect("own form");
            prop_assert_eq!(&back, &tails[..count]);
            for (tail, (_, _, before, points)) in back.iter().zip(&told) {
                let read = tail.growth.points_behind(before);
                prop_assert_eq!(read.as_ref(), Ok(points));
            }
        }

        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>, before in any_points(0..30)) {
            if let Ok(tails) = decode(&mut Reader::new(bytes.into())) {
                for tail in tails {
                    let _ = tail.growth.points_behind(&before);
                }
            }
        }

        #[test]
        fn changed_bytes_never_panic(told in any_told(), at: proptest::sample::Index, bit in 0u8..8, cut: proptest::sample::Index) {
            let mut w = Writer::new();
            encode(tails(&told).iter(), 1000, &mut w);
            let mut bytes = w.into_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            bytes.truncate(cut.index(bytes.len() + 1));
            let _ = decode(&mut Reader::new(bytes.into()));
        }
    }

    #[test]
    fn a_frame_longer_than_a_datagram_is_refused() {
        let bytes = vec![0; DATAGRAM_FRAME_BYTES_MAX + 2];
        assert_eq!(
            decode(&mut Reader::new(bytes.into())),
            Err(DecodeError::OutOfRange)
        );
    }
}
