//! What a thin client reads of all that comes on its stream: the room's pace and its beat, because senders keep to them.

use bytes::Bytes;
use chalkboard_shared::wire::ServerMessage;
use chalkboard_shared::wire::frame::HEAD_BYTES;

/// Finds in a stream what tells when to send, and looks at nothing else but the lengths of frames.
#[derive(Debug, Default)]
pub(super) struct TimingFinder {
    /// The length of the next frame, as far as it has come.
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    /// Bytes of the frame that are to come.
    left: usize,
    /// What has come of a frame that is short enough, and of others nothing.
    short: [u8; ServerMessage::TIMING_BYTES_MAX],
    short_bytes: usize,
}

impl TimingFinder {
    /// Reads on, wherever the stream was cut, and takes each pace and beat in it.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut take: impl FnMut(ServerMessage)) {
        while !bytes.is_empty() {
            if self.left == 0 {
                let taken = bytes.len().min(HEAD_BYTES - self.head_bytes);
                self.head[self.head_bytes..][..taken].copy_from_slice(&bytes[..taken]);
                self.head_bytes += taken;
                bytes = &bytes[taken..];
                if self.head_bytes == HEAD_BYTES {
                    self.left = u32::from_le_bytes(self.head) as usize;
                    (self.head_bytes, self.short_bytes) = (0, 0);
                }
                continue;
            }
            let (here, rest) = bytes.split_at(bytes.len().min(self.left));
            bytes = rest;
            if self.short_bytes + self.left <= self.short.len() {
                self.short[self.short_bytes..][..here.len()].copy_from_slice(here);
                self.short_bytes += here.len();
            }
            self.left -= here.len();
            if self.left == 0
                && let Some(message) = self.timing()
            {
                take(message);
            }
        }
    }

    /// What the frame that has come says of when to send.
    fn timing(&self) -> Option<ServerMessage> {
        let frame = &self.short[..self.short_bytes];
        ServerMessage::is_timing(frame)
            .then(|| ServerMessage::decode(Bytes::copy_from_slice(frame)).ok())?
    }
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::presence::{Pace, PresenceStage};
    use chalkboard_shared::wire::frame::head;

    use super::*;

    const fn pace(tick_us: u32, presence: PresenceStage) -> ServerMessage {
        ServerMessage::Pace(Pace { tick_us, presence })
    }

    fn framed(frames: &[Bytes]) -> Vec<u8> {
        let framed = frames
            .iter()
            .map(|frame| [&head(frame)[..], frame].concat());
        framed.collect::<Vec<_>>().concat()
    }

    fn found<'a>(
        finder: &mut TimingFinder,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Vec<ServerMessage> {
        let mut found = Vec::new();
        for piece in pieces {
            finder.read(piece, |message| found.push(message));
        }
        found
    }

    #[test]
    fn all_timing_is_found_wherever_the_stream_is_cut() {
        let mut told: Vec<_> = PresenceStage::ALL.map(|stage| pace(u32::MAX, stage)).into();
        told.extend([i32::MIN, -1, 0, i32::MAX].map(ServerMessage::Beat));
        // Long ones and short ones, also such as look like a pace within.
        let long = Bytes::from(vec![29; 70_000]);
        let pong = ServerMessage::Pong(29).encode();
        let between = [pong.clone(), long, pong, Bytes::from_static(&[28; 16])];
        let mut frames = between.to_vec();
        for message in &told {
            let frame = message.encode();
            assert!(frame.len() <= ServerMessage::TIMING_BYTES_MAX);
            frames.push(frame);
            frames.extend(between.clone());
        }
        let stream = framed(&frames);
        for cut in [1, 2, 3, 5, 7, 16, 1000, stream.len()] {
            let mut finder = TimingFinder::default();
            assert_eq!(
                found(&mut finder, stream.chunks(cut)),
                told,
                "cut into {cut}"
            );
        }
        let short = framed(&[told[2].encode()]);
        for cut in 0..short.len() {
            let mut finder = TimingFinder::default();
            assert_eq!(found(&mut finder, [&short[..cut]]), []);
            assert_eq!(found(&mut finder, [&short[cut..]]), told[2..3]);
        }
    }

    #[test]
    fn what_can_not_be_timing_is_passed_over() {
        let broken = Bytes::from_static(&[29, 255, 255]);
        let long = Bytes::from_static(&[29; ServerMessage::TIMING_BYTES_MAX + 1]);
        let good = pace(20_000, PresenceStage::Slow);
        let stream = framed(&[broken, Bytes::new(), long, good.encode()]);
        assert_eq!(found(&mut TimingFinder::default(), [&stream[..]]), [good]);
    }
}
