//! What thin clients receive: a task of each thread goes over all of their links now and then, takes what is there and
//! drops it, but for the pace that the room tells, because senders keep to it.
//!
//! Nobody is woken for what comes meanwhile: it waits in QUIC's windows, of which half a second takes a small part.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use chalkboard_client::native::LinkReceiver;
use chalkboard_shared::presence::Pace;
use chalkboard_shared::wire::ServerMessage;
use chalkboard_shared::wire::frame::HEAD_BYTES;
use futures::FutureExt as _;
use tokio::time::{MissedTickBehavior, interval};

use crate::player::Shared;

/// How long it takes to go over all links, in so many parts, so that sending is never held up for long.
const ROUND: Duration = Duration::from_millis(500);
const PARTS: u32 = 20;

/// A thin client's link, as far as it receives.
#[derive(Debug)]
pub(crate) struct ThinLink {
    receiver: LinkReceiver,
    finder: PaceFinder,
    pace: Rc<Cell<Pace>>,
}

impl ThinLink {
    /// After the welcome. The room's pace goes into `pace`.
    pub(crate) fn new(receiver: LinkReceiver, pace: Rc<Cell<Pace>>) -> Self {
        let finder = PaceFinder::default();
        Self {
            receiver,
            finder,
            pace,
        }
    }

    /// Takes what is there. `false` if nothing will come any more. It ends: what comes is put there by this thread.
    fn drain(&mut self) -> bool {
        loop {
            match self.receiver.recv_raw().now_or_never() {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(bytes)) => {
                    if let Some(pace) = self.finder.read(&bytes) {
                        self.pace.set(pace);
                    }
                }
            }
        }
    }
}

/// Goes over the links of a thread for as long as it runs; those that are gone are counted as dead.
pub(crate) async fn drain(shared: Rc<Shared>) {
    let mut parts = interval(ROUND / PARTS);
    parts.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next = 0;
    loop {
        parts.tick().await;
        let mut links = shared.thin.borrow_mut();
        for _ in 0..links.len().div_ceil(PARTS as usize) {
            if next >= links.len() {
                next = 0;
            }
            match links.get_mut(next).map(ThinLink::drain) {
                Some(true) => next += 1,
                Some(false) => {
                    links.swap_remove(next);
                    shared.dead.set(shared.dead.get() + 1);
                }
                None => break,
            }
        }
    }
}

/// Finds in a stream what the room tells of its pace, and looks at nothing else but the lengths of frames.
#[derive(Debug, Default)]
struct PaceFinder {
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
    fn read(&mut self, mut bytes: &[u8]) -> Option<Pace> {
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

/// Which of a sender's cursors are worth sending at the room's pace: as the library, which sends the newest one when
/// enough time has passed, but at moments that are given.
#[derive(Debug, Default)]
pub(crate) struct CursorRhythm {
    next_ns: i64,
}

impl CursorRhythm {
    /// The cursor of this moment is to be sent, because enough time has passed on average since the last.
    pub(crate) const fn takes(&mut self, at_ns: i64, pace: Pace) -> bool {
        let interval_ns = pace.cursor_interval_us() as i64 * 1000;
        // What became due at a slower pace does not wait for that any more.
        if self.next_ns > at_ns + interval_ns {
            self.next_ns = at_ns;
        }
        // A tenth early is early enough: whoever moves as often as the room ticks is heard in each tick.
        if at_ns < self.next_ns - interval_ns / 10 {
            return false;
        }
        let late_ns = at_ns - self.next_ns;
        self.next_ns = if late_ns < interval_ns / 2 {
            self.next_ns + interval_ns
        } else {
            at_ns + interval_ns / 2
        };
        true
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

    /// Cursors a second that are sent of `hz` in 10 s of a pace.
    fn sent(rhythm: &mut CursorRhythm, from_s: i64, hz: i64, pace: Pace) -> f64 {
        let moments = (0..10 * hz).map(|n| from_s * 1_000_000_000 + n * 1_000_000_000 / hz);
        moments.filter(|at| rhythm.takes(*at, pace)).count() as f64 / 10.0
    }

    #[test]
    fn cursors_are_sent_as_often_as_the_pace_has_it() {
        let at = |hz, pace| sent(&mut CursorRhythm::default(), 7, hz, pace);
        let full = |tick_us| pace(tick_us, PresenceStage::Full);
        assert_eq!(at(20, full(33_333)), 20.0);
        assert_eq!(at(20, full(50_000)), 20.0, "as often as it ticks");
        assert!((at(20, full(66_667)) - 15.0).abs() < 0.3);
        assert!((at(20, full(100_000)) - 10.0).abs() < 0.2);
        assert!((at(100, full(12_500)) - 62.5).abs() < 0.5);
        let crowd = pace(100_000, PresenceStage::Crowd);
        assert!((at(20, crowd) - 2.0).abs() < 0.2);
        assert_eq!(at(1, crowd), 1.0);
    }

    #[test]
    fn a_faster_pace_holds_at_once_and_a_rest_saves_nothing_up() {
        let slow = pace(100_000, PresenceStage::Sparse);
        let full = pace(50_000, PresenceStage::Full);
        let mut rhythm = CursorRhythm::default();
        assert!(rhythm.takes(1_000_000_000, slow));
        assert!(!rhythm.takes(1_050_000_000, slow));
        assert!(rhythm.takes(1_100_000_000, full));
        assert!(rhythm.takes(1_150_000_000, full));
        let after_rest = (0..4).map(|n| 60_000_000_000 + n * 10_000_000);
        assert_eq!(after_rest.filter(|at| rhythm.takes(*at, full)).count(), 2);
    }
}
