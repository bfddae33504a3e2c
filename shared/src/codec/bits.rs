//! Bits, lowest first, and Rice codes over them.
//!
//! A Rice code writes `v >> k` in unary and the low `k` bits as they are: next to the entropy for the geometric
//! distributions that differences of pen and cursor positions follow. Values far outside of it escape to 32 plain
//! bits, so that no value is ever truncated.

use super::DecodeError;

/// Unary part at which a value escapes to 32 plain bits.
const ESCAPE: u32 = 20;

/// Sign in the lowest bit, so that small magnitudes are small numbers.
pub const fn zigzag(v: i32) -> u32 {
    ((v << 1) ^ (v >> 31)) as u32
}

/// Inverse of [`zigzag`].
pub const fn unzigzag(v: u32) -> i32 {
    (v >> 1) as i32 ^ -((v & 1) as i32)
}

/// Appends bits to a byte vector.
#[derive(Debug)]
pub struct BitWriter<'a> {
    bytes: &'a mut Vec<u8>,
    pending: u64,
    count: u32,
}

impl<'a> BitWriter<'a> {
    /// Appends after what the vector holds.
    pub const fn new(bytes: &'a mut Vec<u8>) -> Self {
        Self {
            bytes,
            pending: 0,
            count: 0,
        }
    }

    /// Bytes in the vector once this is finished.
    pub const fn len(&self) -> usize {
        self.bytes.len() + self.count.div_ceil(8) as usize
    }

    /// Nothing is in the vector, and nothing was written.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The low `count` bits of `v`, 0 to 32 of them.
    #[inline]
    pub fn bits(&mut self, v: u32, count: u32) {
        debug_assert!(count <= 32 && (count == 32 || v >> count == 0));
        self.pending |= u64::from(v) << self.count;
        self.count += count;
        if self.count >= 32 {
            self.bytes
                .extend_from_slice(&(self.pending as u32).to_le_bytes());
            self.pending >>= 32;
            self.count -= 32;
        }
    }

    /// A Rice code with parameter `k`, 0 to 31.
    #[inline]
    pub fn rice(&mut self, v: u32, k: u32) {
        let high = v >> k;
        if high >= ESCAPE {
            self.bits(0, ESCAPE);
            self.bits(v, 32);
        } else if high + 1 + k <= 32 {
            let low = v & ((1u32 << k) - 1);
            self.bits((1 | low << 1) << high, high + 1 + k);
        } else {
            self.bits(1 << high, high + 1);
            self.bits(v & ((1u32 << k) - 1), k);
        }
    }

    /// Three Rice codes, each with its parameter, in one go where they are as short as most are.
    #[inline]
    pub(crate) fn rice_three(&mut self, values: [u32; 3], ks: [u32; 3]) {
        let (mut word, mut count) = (0u64, 0);
        for n in 0..3 {
            let (v, k) = (values[n], ks[n]);
            let high = v >> k;
            let length = high.saturating_add(1 + k);
            if high >= ESCAPE || count + length > 32 {
                for (v, k) in values.into_iter().zip(ks) {
                    self.rice(v, k);
                }
                return;
            }
            let low = u64::from(v) & ((1 << k) - 1);
            word |= ((1 | low << 1) << high) << count;
            count += length;
        }
        self.bits(word as u32, count);
    }

    /// Fills the last byte with zeros.
    pub fn finish(self) {
        let left = self.count.div_ceil(8) as usize;
        self.bytes
            .extend_from_slice(&self.pending.to_le_bytes()[..left]);
    }
}

/// Takes bits from bytes.
#[derive(Debug, Clone, Copy)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits taken so far.
    at: usize,
}

impl<'a> BitReader<'a> {
    /// From the first bit on.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Up to 57 bits from here, zeros after the end.
    #[inline]
    pub(crate) fn peek(&self) -> u64 {
        let start = self.at / 8;
        let word = match self.bytes.get(start..).and_then(<[u8]>::first_chunk) {
            Some(eight) => u64::from_le_bytes(*eight),
            None => peek_at_end(self.bytes, start),
        };
        word >> (self.at % 8)
    }

    /// Takes bits that were looked at with [`BitReader::peek`].
    #[inline]
    pub(crate) fn take(&mut self, count: u32) -> Result<(), DecodeError> {
        self.skip(count);
        self.check()
    }

    /// As [`BitReader::take`], but whether they were there is asked later, by [`BitReader::check`].
    #[inline]
    pub(crate) const fn skip(&mut self, count: u32) {
        self.at += count as usize;
    }

    /// All bits taken so far were there.
    #[inline]
    pub(crate) const fn check(&self) -> Result<(), DecodeError> {
        if self.at > self.bytes.len() * 8 {
            Err(DecodeError::Truncated)
        } else {
            Ok(())
        }
    }

    /// The next `count` bits, 0 to 32 of them.
    #[inline]
    pub fn bits(&mut self, count: u32) -> Result<u32, DecodeError> {
        let v = self.bits_or_zeros(count);
        self.check()?;
        Ok(v)
    }

    /// The same, zeros after the end: whether all were there is asked later, by [`BitReader::check`].
    #[inline]
    pub(crate) fn bits_or_zeros(&mut self, count: u32) -> u32 {
        let v = self.peek() & ((1u64 << count) - 1);
        self.skip(count);
        v as u32
    }

    /// A Rice code with parameter `k`, 0 to 31.
    #[inline]
    pub fn rice(&mut self, k: u32) -> Result<u32, DecodeError> {
        let word = self.peek();
        let high = word.trailing_zeros();
        if high >= ESCAPE || high > u32::MAX >> k {
            return self.escaped(k);
        }
        // 20 + 31 bits are within what a look shows.
        self.take(high + 1 + k)?;
        let low = (word >> (high + 1)) as u32 & ((1u32 << k) - 1);
        Ok(high << k | low)
    }

    /// A value that is written in 32 plain bits, because it is far too large for its code.
    #[cold]
    fn escaped(&mut self, k: u32) -> Result<u32, DecodeError> {
        if self.peek().trailing_zeros() < ESCAPE {
            return Err(DecodeError::Malformed);
        }
        self.take(ESCAPE)?;
        let v = self.bits(32)?;
        if v >> k >= ESCAPE {
            Ok(v)
        } else {
            Err(DecodeError::Malformed)
        }
    }

    /// Bytes that the bits taken so far lie in.
    pub(crate) const fn bytes_taken(&self) -> usize {
        self.at.div_ceil(8)
    }

    /// Only the zeros that fill the last byte may be left.
    pub fn finish(self) -> Result<(), DecodeError> {
        let left = self.bytes.len() * 8 - self.at;
        if left >= 8 {
            Err(DecodeError::Trailing)
        } else if self.peek() != 0 {
            Err(DecodeError::Malformed)
        } else {
            Ok(())
        }
    }
}

/// The last bytes, of which there are fewer than 8.
#[cold]
fn peek_at_end(bytes: &[u8], start: usize) -> u64 {
    match bytes.last_chunk() {
        // Eight are there, only not from here on.
        Some(eight) => {
            let before = start + 8 - bytes.len();
            let shift = u32::try_from(8 * before).unwrap_or(u32::MAX);
            u64::from_le_bytes(*eight).checked_shr(shift).unwrap_or(0)
        }
        None => {
            let left = bytes.get(start..).unwrap_or_default();
            left.iter().rev().fold(0, |v, &b| v << 8 | u64::from(b))
        }
    }
}

/// Chooses the Rice parameter from the values seen so far, alike on both sides; the last `WINDOW` count, about.
///
/// `WINDOW` is 128 at the most, so that sums stay in range.
#[derive(Debug, Clone, Copy)]
pub struct AdaptiveOver<const WINDOW: u32> {
    sum: u32,
    count: u32,
}

/// For values that change along the way.
pub type Adaptive = AdaptiveOver<16>;

/// For values of many pens, which keep their size.
pub(crate) type Steady = AdaptiveOver<64>;

impl<const WINDOW: u32> AdaptiveOver<WINDOW> {
    /// Starts as if one value of this size had been seen.
    pub const fn starting_at(expected: u32) -> Self {
        Self {
            sum: expected,
            count: 1,
        }
    }

    /// The parameter for the next value: 2^k is about the mean.
    #[inline]
    pub const fn k(self) -> u32 {
        if self.sum < self.count {
            return 0;
        }
        // The length of the whole part of sum / count, without the division: it is this or one less.
        let k = self.sum.ilog2() - self.count.ilog2();
        k - (self.count << k > self.sum) as u32
    }

    /// Learns a value. A stray one counts for at most 2^24, so that sums stay in range.
    #[inline]
    pub fn learn(&mut self, v: u32) {
        self.sum += v.min(1 << 24);
        self.count += 1;
        if self.count >= WINDOW {
            self.sum /= 2;
            self.count /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn small_or_any() -> impl Strategy<Value = u32> {
        prop_oneof![6 => 0u32..8, 2 => 0u32..200, 1 => any::<u32>()]
    }

    proptest! {
        #[test]
        fn codes_survive(values in proptest::collection::vec((any::<u32>(), 0u32..32, 0u32..=32), 0..60)) {
            let mut bytes = vec![7];
            let mut w = BitWriter::new(&mut bytes);
            for &(v, k, n) in &values {
                w.rice(v, k);
                w.bits((u64::from(v) & ((1u64 << n) - 1)) as u32, n);
            }
            w.finish();
            let mut r = BitReader::new(&bytes[1..]);
            for &(v, k, n) in &values {
                prop_assert_eq!(r.rice(k), Ok(v));
                prop_assert_eq!(r.bits(n), Ok((u64::from(v) & ((1u64 << n) - 1)) as u32));
            }
            prop_assert_eq!(r.finish(), Ok(()));
        }

        #[test]
        fn three_codes_are_those_of_each(values in proptest::collection::vec(([small_or_any(), small_or_any(), small_or_any()], [0u32..4, 0u32..32, 0u32..4]), 0..40)) {
            let (mut together, mut apart) = (vec![7], vec![7]);
            let mut w = BitWriter::new(&mut together);
            for &(three, ks) in &values {
                w.rice_three(three, ks);
            }
            let len = w.len();
            w.finish();
            prop_assert_eq!(together.len(), len);
            let mut w = BitWriter::new(&mut apart);
            for &(three, ks) in &values {
                for (v, k) in three.into_iter().zip(ks) {
                    w.rice(v, k);
                }
            }
            w.finish();
            prop_assert_eq!(together, apart);
        }

        #[test]
        fn any_bits_are_read_without_panic(bytes: Vec<u8>, k in 0u32..32) {
            let mut r = BitReader::new(&bytes);
            while r.rice(k).is_ok() {}
            let mut r = BitReader::new(&bytes);
            while r.bits(k + 1).is_ok() {}
        }

        #[test]
        fn zigzag_survives(v: i32) {
            prop_assert_eq!(unzigzag(zigzag(v)), v);
        }
    }

    #[test]
    fn the_parameter_follows_the_values() {
        let mut adaptive = Adaptive::starting_at(4);
        assert_eq!(adaptive.k(), 2);
        for _ in 0..100 {
            adaptive.learn(1000);
        }
        assert!((8..=9).contains(&adaptive.k()));
        for _ in 0..200 {
            adaptive.learn(0);
        }
        assert_eq!(adaptive.k(), 0);
    }
}
