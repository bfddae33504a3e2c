//! Frames on their way: on a byte stream each behind its `u32` length, little-endian; in a server's datagram, which
//! holds one or more, each behind its length as a varint.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::codec::{DecodeError, Reader};

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

    /// What was fed and was not taken as a frame, for whoever goes on without frames being cut.
    pub fn take_rest(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }
}

/// Bytes that a frame of at most 16,383 bytes takes in a datagram.
pub const fn packed_bytes(frame: &[u8]) -> usize {
    frame.len() + if frame.len() < 0x80 { 1 } else { 2 }
}

/// Adds a frame to a datagram. Frames are at most [`crate::limits::DATAGRAM_FRAME_BYTES_MAX`] long.
pub fn pack(frame: &[u8], datagram: &mut BytesMut) {
    debug_assert!(frame.len() < 1 << 14, "a frame of {} bytes", frame.len());
    if frame.len() < 0x80 {
        datagram.put_u8(frame.len() as u8);
    } else {
        datagram.put_u8(frame.len() as u8 & 0x7f | 0x80);
        datagram.put_u8((frame.len() >> 7) as u8);
    }
    datagram.put_slice(frame);
}

/// The frames of a server's datagram. What is behind damage is lost, as all of it may be.
#[derive(Debug)]
pub struct DatagramFrames(Reader);

impl DatagramFrames {
    /// Of a whole datagram.
    pub fn new(datagram: Bytes) -> Self {
        Self(Reader::new(datagram))
    }
}

impl Iterator for DatagramFrames {
    type Item = Result<Bytes, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.0.remaining();
        if left == 0 {
            return None;
        }
        let frame = self.0.slice(left);
        if frame.is_err() {
            self.0.rest();
        }
        Some(frame)
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

        #[test]
        fn the_rest_is_what_follows_the_frames_that_were_taken(taken in proptest::collection::vec(any::<u8>(), 1..50), rest: Vec<u8>) {
            let mut decoder = FrameDecoder::new(50);
            decoder.feed(&[&head(&taken)[..], &taken, &rest].concat());
            prop_assert_eq!(decoder.next_frame(), Ok(Some(taken.into())));
            prop_assert_eq!(decoder.take_rest(), rest);
            prop_assert_eq!(decoder.take_rest(), Bytes::new());
        }
    }

    proptest! {
        #[test]
        fn a_datagram_gives_its_frames_back(frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..5)) {
            let mut datagram = BytesMut::new();
            for frame in &frames {
                let before = datagram.len();
                pack(frame, &mut datagram);
                prop_assert_eq!(datagram.len() - before, packed_bytes(frame));
            }
            let got: Result<Vec<_>, _> = DatagramFrames::new(datagram.freeze()).collect();
            prop_assert_eq!(got, Ok(frames.into_iter().map(Bytes::from).collect()));
        }

        #[test]
        fn any_datagram_ends(bytes: Vec<u8>) {
            prop_assert!(DatagramFrames::new(bytes.clone().into()).count() <= bytes.len());
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
