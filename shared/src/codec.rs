//! Reading and writing bytes: varints ([`Writer`], [`Reader`]) and bits ([`bits`]).
//!
//! Hot messages are written by hand with these; everything else goes through bitcode (`wire`).

pub mod bits;

use bytes::Bytes;

/// Bytes that do not hold what they should: the peer's or the file's fault, never ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They end too early.
    #[error("the data ends too early")]
    Truncated,
    /// Something follows that nobody asked for.
    #[error("unexpected data follows the end")]
    Trailing,
    /// A count, size or coordinate beyond its limit.
    #[error("a value is beyond its limit")]
    OutOfRange,
    /// A kind or version that this program does not know.
    #[error("unknown kind or version {0}")]
    UnknownKind(u8),
    /// Not in the one form that the encoder writes.
    #[error("malformed data")]
    Malformed,
}

/// Appends values to a byte vector.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty one.
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// One byte.
    pub fn u8(&mut self, v: u8) {
        self.bytes.push(v);
    }

    /// Seven bits a byte, lowest first: 1 to 10 bytes.
    pub fn varint(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.bytes.push(v as u8 | 0x80);
            v >>= 7;
        }
        self.bytes.push(v as u8);
    }

    /// A signed value with its sign in the lowest bit, so that small magnitudes are short.
    pub fn zigzag(&mut self, v: i64) {
        self.varint(((v << 1) ^ (v >> 63)) as u64);
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self, v: u64) {
        self.bytes.extend_from_slice(&v.to_le_bytes());
    }

    /// Bytes as they are.
    pub fn raw(&mut self, v: &[u8]) {
        self.bytes.extend_from_slice(v);
    }

    /// A length, then the bytes.
    pub fn slice(&mut self, v: &[u8]) {
        self.varint(v.len() as u64);
        self.raw(v);
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What was written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The vector itself, for encoders that append to one.
    pub fn as_mut_vec(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The vector itself, with what was written so far.
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }

    /// What was written, ready to share.
    pub fn into_bytes(self) -> Bytes {
        self.bytes.into()
    }
}

impl From<Vec<u8>> for Writer {
    /// Appends to what the vector holds.
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }
}

/// Takes values from shared bytes; slices of it stay shared.
#[derive(Debug)]
pub struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    /// From the first byte on.
    pub const fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes not yet taken.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        let v = *self.bytes.get(self.at).ok_or(DecodeError::Truncated)?;
        self.at += 1;
        Ok(v)
    }

    /// A varint in its shortest form.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut v = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(DecodeError::OutOfRange);
            }
            v |= part << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 {
                    Err(DecodeError::Malformed)
                } else {
                    Ok(v)
                };
            }
        }
        Err(DecodeError::OutOfRange)
    }

    /// A varint that must not pass `max`.
    pub fn varint_at_most(&mut self, max: u64) -> Result<u64, DecodeError> {
        let v = self.varint()?;
        if v > max {
            Err(DecodeError::OutOfRange)
        } else {
            Ok(v)
        }
    }

    /// A varint that must fit 32 bits.
    pub fn varint_u32(&mut self) -> Result<u32, DecodeError> {
        self.varint_at_most(u64::from(u32::MAX)).map(|v| v as u32)
    }

    /// A signed value.
    pub fn zigzag(&mut self) -> Result<i64, DecodeError> {
        let v = self.varint()?;
        Ok((v >> 1) as i64 ^ -((v & 1) as i64))
    }

    /// A signed value that must fit 32 bits.
    pub fn zigzag_i32(&mut self) -> Result<i32, DecodeError> {
        i32::try_from(self.zigzag()?).map_err(|_| DecodeError::OutOfRange)
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        let raw = self.raw(8)?;
        let mut v = [0; 8];
        v.copy_from_slice(&raw);
        Ok(u64::from_le_bytes(v))
    }

    /// The next bytes, shared with the input.
    pub fn raw(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        if len > self.remaining() {
            return Err(DecodeError::Truncated);
        }
        let v = self.bytes.slice(self.at..self.at + len);
        self.at += len;
        Ok(v)
    }

    /// A length of at most `max`, then the bytes, shared with the input.
    pub fn slice(&mut self, max: usize) -> Result<Bytes, DecodeError> {
        let len = self.varint_at_most(max as u64)? as usize;
        self.raw(len)
    }

    /// What is not yet taken, to look at.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> Bytes {
        let v = self.bytes.slice(self.at..);
        self.at = self.bytes.len();
        v
    }

    /// Nothing may be left.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.remaining() == 0 {
            Ok(())
        } else {
            Err(DecodeError::Trailing)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn values_survive(a: u64, b: i64, c: u64, d in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut w = Writer::new();
            w.varint(a);
            w.zigzag(b);
            w.u64(c);
            w.slice(&d);
            let mut r = Reader::new(w.into_bytes());
            prop_assert_eq!(r.varint(), Ok(a));
            prop_assert_eq!(r.zigzag(), Ok(b));
            prop_assert_eq!(r.u64(), Ok(c));
            prop_assert_eq!(&r.slice(40).expect("slice"), &d);
            prop_assert_eq!(r.finish(), Ok(()));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let mut r = Reader::new(bytes.into());
            while r.varint().is_ok() {}
            let _ = r.slice(10);
            let _ = r.u64();
        }
    }

    #[test]
    fn overlong_varints_are_refused() {
        assert_eq!(
            Reader::new(Bytes::from_static(&[0x80, 0x00])).varint(),
            Err(DecodeError::Malformed)
        );
        assert_eq!(
            Reader::new(Bytes::from_static(&[0xff; 10])).varint(),
            Err(DecodeError::OutOfRange)
        );
        assert_eq!(
            Reader::new(Bytes::from_static(&[0x80])).varint(),
            Err(DecodeError::Truncated)
        );
    }
}
