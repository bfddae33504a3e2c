//! Frames on a byte stream: `u32` length, little-endian, then that many bytes.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of the length.
pub const HEAD_BYTES: usize = 4;

/// A frame is empty or longer than its reader takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {len} bytes, where 1 to {max} are allowed")]
pub struct FrameSizeError {
    /// Bytes that it claims.
    pub len: usize,
    /// Bytes allowed.
    pub max: usize,
}

/// The length to write before a frame.
pub fn head(frame: &[u8]) -> [u8; HEAD_BYTES] {
    (frame.len() as u32).to_le_bytes()
}

/// Cuts frames out of a stream as its bytes come. Holds one frame at the most, and what was fed at once.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: BytesMut,
    max: usize,
}

impl FrameDecoder {
    /// For frames of at most `max` bytes.
    pub fn new(max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            max,
        }
    }

    /// Adds bytes as they came; take all frames before adding more.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if it is there.
    ///
    /// # Errors
    /// A length out of range: the stream can't be read any further.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameSizeError> {
        let Some(head) = self.buffer.first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let len = u32::from_le_bytes(*head) as usize;
        if len == 0 || len > self.max {
            return Err(FrameSizeError { len, max: self.max });
        }
        if self.buffer.len() < HEAD_BYTES + len {
            return Ok(None);
        }
        self.buffer.advance(HEAD_BYTES);
        Ok(Some(self.buffer.split_to(len).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_survive_any_cutting(frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..8), cut in 1usize..30) {
            let stream: Vec<u8> = frames.iter().flat_map(|f| [&head(f)[..], f].concat()).collect();
            let mut decoder = FrameDecoder::new(50);
            let mut got = Vec::new();
            for part in stream.chunks(cut) {
                decoder.feed(part);
                while let Some(frame) = decoder.next_frame().expect("within the limit") {
                    got.push(frame.to_vec());
                }
            }
            prop_assert_eq!(got, frames);
        }
    }

    #[test]
    fn sizes_out_of_range_are_refused_by_the_head_alone() {
        for len in [0u32, 51, u32::MAX] {
            let mut decoder = FrameDecoder::new(50);
            decoder.feed(&len.to_le_bytes());
            assert_eq!(
                decoder.next_frame(),
                Err(FrameSizeError {
                    len: len as usize,
                    max: 50
                })
            );
        }
    }
}
