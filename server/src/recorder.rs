//! Recordings of rooms: how what comes into a room gets to whoever records it.
//!
//! Two ends of a bounded queue. The room's thread writes each step's inputs into memory and offers them; whoever records
//! takes them, and ends when time or size is used up. The room never waits: where the queue is full, the recording ends
//! and says so. A room that nobody records pays for one look at an `Option` a step. What a recording is made of is the
//! simulation's (`Room::begin_recording`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chalkboard_simulation::{
    Input, Now, RecordingEnd, Room, StepRecord, encode_recording_end as encode_end,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Steps that wait to be taken: some 50 s of a room at its quickest.
const FRAMES_MAX: usize = 4096;
/// Bytes of those, at which the recording falls behind: a snapshot of a large board fits, and seconds of a flood of ops.
const QUEUED_BYTES_MAX: usize = 128 << 20;

/// How long a recording may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordingLimits {
    pub(crate) time: Duration,
    pub(crate) bytes: u64,
}

#[derive(Debug, Default)]
struct Shared {
    queued_bytes: AtomicUsize,
    is_behind: AtomicBool,
}

/// The room's end.
#[derive(Debug)]
pub(crate) struct Recorder {
    frames: mpsc::Sender<Bytes>,
    shared: Arc<Shared>,
    has_begun: bool,
}

/// The other end: what is written where.
#[derive(Debug)]
pub(crate) struct RecordingReader {
    frames: mpsc::Receiver<Bytes>,
    shared: Arc<Shared>,
    deadline: Instant,
    bytes_left: u64,
    has_ended: bool,
}

/// Both ends of a recording that begins now.
pub(crate) fn recording(limits: RecordingLimits) -> (Recorder, RecordingReader) {
    let (sender, receiver) = mpsc::channel(FRAMES_MAX);
    let shared = Arc::new(Shared::default());
    let recorder = Recorder {
        frames: sender,
        shared: shared.clone(),
        has_begun: false,
    };
    let reader = RecordingReader {
        frames: receiver,
        shared,
        deadline: Instant::now() + limits.time,
        bytes_left: limits.bytes,
        has_ended: false,
    };
    (recorder, reader)
}

impl Recorder {
    /// Nobody takes anything any more.
    pub(crate) fn is_over(&self) -> bool {
        self.frames.is_closed()
    }

    /// Writes down what a step is going to be given; `None` once nobody takes it.
    pub(crate) fn before_step(
        &mut self,
        room: &mut Room,
        now: Now,
        inputs: &[Input],
    ) -> Option<StepRecord> {
        if self.is_over() {
            return None;
        }
        if !self.has_begun {
            self.has_begun = true;
            let head = room.begin_recording();
            if !self.offer(head) {
                return None;
            }
        }
        Some(StepRecord::new(room, now, inputs))
    }

    /// Writes down what came of it; `false` when the recording is over.
    pub(crate) fn after_step(&mut self, record: StepRecord, room: &Room) -> bool {
        self.offer(record.finish(room))
    }

    fn offer(&self, frame: Bytes) -> bool {
        let size = frame.len();
        let queued = self.shared.queued_bytes.fetch_add(size, Ordering::AcqRel);
        if queued > 0 && queued + size > QUEUED_BYTES_MAX {
            self.shared.is_behind.store(true, Ordering::Release);
            return false;
        }
        match self.frames.try_send(frame) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.shared.is_behind.store(true, Ordering::Release);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

impl RecordingReader {
    /// The next bytes of the file; `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        let frame = tokio::time::timeout_at(self.deadline, self.frames.recv()).await;
        let end = match frame {
            Ok(Some(frame)) => {
                self.shared
                    .queued_bytes
                    .fetch_sub(frame.len(), Ordering::AcqRel);
                match self.bytes_left.checked_sub(frame.len() as u64) {
                    Some(left) => {
                        self.bytes_left = left;
                        return Some(frame);
                    }
                    None => RecordingEnd::Size,
                }
            }
            Ok(None) if self.shared.is_behind.load(Ordering::Acquire) => RecordingEnd::Behind,
            Ok(None) => RecordingEnd::Closed,
            Err(_) => RecordingEnd::Time,
        };
        self.has_ended = true;
        self.frames.close();
        Some(encode_end(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chalkboard_simulation::{Replay, RoomConfig};

    const LONG: RecordingLimits = RecordingLimits {
        time: Duration::from_secs(3600),
        bytes: u64::MAX,
    };

    fn room() -> Room {
        Room::new(RoomConfig {
            epoch: 1,
            epoch_starts: Vec::new(),
            tick_us: 16_667,
        })
    }

    fn step(recorder: &mut Recorder, room: &mut Room) -> bool {
        let Some(record) = recorder.before_step(room, Now::default(), &[]) else {
            return false;
        };
        room.step(Now::default(), []);
        recorder.after_step(record, room)
    }

    async fn read(mut reader: RecordingReader) -> (usize, Option<RecordingEnd>) {
        let mut file = Vec::new();
        while let Some(bytes) = reader.next().await {
            file.extend_from_slice(&bytes);
        }
        let mut replay = Replay::open(&file.into()).expect("a recording");
        let mut steps = 0;
        while replay.step().expect("sound").is_some() {
            steps += 1;
        }
        (steps, replay.end())
    }

    #[tokio::test]
    async fn a_room_that_closes_ends_its_recording() {
        let ((mut recorder, reader), mut room) = (recording(LONG), room());
        for _ in 0..3 {
            assert!(step(&mut recorder, &mut room));
        }
        drop(recorder);
        assert_eq!(read(reader).await, (3, Some(RecordingEnd::Closed)));
    }

    #[tokio::test]
    async fn who_is_too_slow_is_left_behind_and_the_room_goes_on() {
        let ((mut recorder, reader), mut room) = (recording(LONG), room());
        let mut steps = 0;
        while step(&mut recorder, &mut room) {
            steps += 1;
        }
        assert_eq!(steps, FRAMES_MAX - 1, "one is the beginning");
        drop(recorder);
        assert_eq!(read(reader).await, (steps, Some(RecordingEnd::Behind)));
    }

    #[tokio::test]
    async fn size_and_time_end_it() {
        let small = RecordingLimits { bytes: 200, ..LONG };
        let ((mut recorder, reader), mut room) = (recording(small), room());
        for _ in 0..100 {
            step(&mut recorder, &mut room);
        }
        let (steps, end) = read(reader).await;
        assert!(steps > 0 && steps < 20, "{steps}");
        assert_eq!(end, Some(RecordingEnd::Size));
        assert!(!step(&mut recorder, &mut room), "nobody takes it");

        let short = RecordingLimits {
            time: Duration::ZERO,
            ..LONG
        };
        let (mut recorder, mut reader) = recording(short);
        let end = reader.next().await.expect("the end");
        assert_eq!(RecordingEnd::of_file(&end), Some(RecordingEnd::Time));
        assert!(!step(&mut recorder, &mut self::room()));
    }
}
