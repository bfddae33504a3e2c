//! What a thin client reads of all that comes on its stream: the room's pace, because senders keep to it.

use bytes::Bytes;
use chalkboard_shared::presence::Pace;
use chalkboard_shared::wire::ServerMessage;
use chalkboard_shared::wire::frame::HEAD_BYTES;

/// Finds in a stream what the room tells of its pace, and looks at nothing else but the lengths of frames.
#[derive(Debug, Default)]
pub(super) struct PaceFinder {
    /// The length of the next frame, as far as it has come.
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    /// Bytes of the frame that are to come.
    left: usize,
    /// What has come of a frame that is short enough to be a pace, and of others nothing.
    short: [u8; ServerMessage::PACE_BYTES_MAX],
    short_bytes: usize,
}

impl PaceFinder {
    /// Reads on, wherever the stream was cut. The last pace in it.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Option<Pace> {
        let mut found = None;
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
            if self.left == 0 {
                found = self.pace().or(found);
            }
        }
        found
    }

    /// The pace in a frame that has come.
    fn pace(&self) -> Option<Pace> {
        let frame = &self.short[..self.short_bytes];
        if !ServerMessage::is_pace(frame) {
            return None;
        }
        match ServerMessage::decode(Bytes::copy_from_slice(frame)) {
            Ok(ServerMessage::Pace(pace)) => Some(pace),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::presence::PresenceStage;
    use chalkboard_shared::wire::frame::head;

    use super::*;

    const fn pace(tick_us: u32, presence: PresenceStage) -> Pace {
        Pace { tick_us, presence }
    }

    fn framed(frames: &[Bytes]) -> Vec<u8> {
        let framed = frames
            .iter()
            .map(|frame| [&head(frame)[..], frame].concat());
        framed.collect::<Vec<_>>().concat()
    }

    #[test]
    fn a_pace_is_found_wherever_the_stream_is_cut() {
        let paces = PresenceStage::ALL.map(|stage| pace(u32::MAX, stage));
        let told = |pace| ServerMessage::Pace(pace).encode();
        // Long ones and short ones, also such as look like a pace within.
        let long = Bytes::from(vec![29; 70_000]);
        let pong = ServerMessage::Pong(29).encode();
        let between = [pong.clone(), long, pong, Bytes::from_static(&[28; 16])];
        let mut frames = between.to_vec();
        for pace in paces {
            let frame = told(pace);
            assert!(frame.len() <= ServerMessage::PACE_BYTES_MAX);
            frames.push(frame);
            frames.extend(between.clone());
        }
        let stream = framed(&frames);
        for cut in [1, 2, 3, 5, 7, 16, 1000, stream.len()] {
            let mut finder = PaceFinder::default();
            let found: Vec<_> = stream.chunks(cut).filter_map(|c| finder.read(c)).collect();
            if cut == stream.len() {
                assert_eq!(found, [paces[3]], "the last of them");
            } else {
                assert_eq!(found, paces, "cut into {cut}");
            }
        }
        let short = framed(&[told(paces[2])]);
        for cut in 0..short.len() {
            let mut finder = PaceFinder::default();
            assert_eq!(finder.read(&short[..cut]), None);
            assert_eq!(finder.read(&short[cut..]), Some(paces[2]));
        }
    }

    #[test]
    fn what_can_not_be_a_pace_is_passed_over() {
        let broken = Bytes::from_static(&[29, 255, 255]);
        let long = Bytes::from_static(&[29; ServerMessage::PACE_BYTES_MAX + 1]);
        let good = pace(20_000, PresenceStage::Slow);
        let told = ServerMessage::Pace(good).encode();
        let stream = framed(&[broken, Bytes::new(), long, told]);
        assert_eq!(PaceFinder::default().read(&stream), Some(good));
    }
}
