//! The outbox: frames on their way from a room to one session.
//!
//! The room's thread puts frames in and never waits; the session's task takes them out as fast as its connection
//! carries them. Reliable frames keep their order, and too many of them end the session as too slow. Datagrams are
//! worth something only while they are new: a few are kept, the oldest go first. Knows nothing of transports.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chalkboard_shared::limits::SESSION_QUEUE_BYTES_MAX;
use chalkboard_shared::reason::DisconnectReason;
use tokio::sync::Notify;

/// Reliable frames that may wait: a minute of a frame each tick.
const FRAMES_MAX: usize = 4096;

/// Datagrams that wait at the most: those of a tick or two.
const DATAGRAMS_MAX: usize = 4;

/// Bytes that the session's task takes at a time: one write of the stream.
const BATCH_BYTES_TARGET: usize = 64 * 1024;

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushError {
    /// As much waits as may.
    Full,
    /// The session has ended, or is about to.
    Ended,
}

/// The queue; the room's side and the session's side share it.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// For [`Outbox::next`].
    changed: Notify,
    /// For [`Outbox::overdue`].
    closed: Notify,
}

#[derive(Debug, Default)]
struct State {
    reliable: VecDeque<Bytes>,
    reliable_bytes: usize,
    datagrams: VecDeque<Bytes>,
    end: Option<DisconnectReason>,
    is_abandoned: bool,
}

/// What the session's task has to send.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// In order, on the stream.
    pub(crate) reliable: Vec<Bytes>,
    /// Newest last.
    pub(crate) datagrams: Vec<Bytes>,
    /// More reliable frames wait than fit this batch: the connection is behind.
    pub(crate) is_behind: bool,
    /// When the frames are sent, the session ends.
    pub(crate) end: Option<DisconnectReason>,
}

impl Batch {
    /// Bytes of its reliable frames.
    pub(crate) fn reliable_bytes(&self) -> usize {
        self.reliable.iter().map(Bytes::len).sum()
    }
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a frame that must arrive. A single frame is always taken, whatever its size.
    ///
    /// # Errors
    /// The session reads too slowly, or is no more.
    pub(crate) fn push(&self, frame: Bytes) -> Result<(), PushError> {
        let mut state = self.lock();
        if state.end.is_some() || state.is_abandoned {
            return Err(PushError::Ended);
        }
        let bytes = state.reliable_bytes + frame.len();
        if state.reliable.len() >= FRAMES_MAX
            || (bytes > SESSION_QUEUE_BYTES_MAX && !state.reliable.is_empty())
        {
            return Err(PushError::Full);
        }
        state.reliable_bytes = bytes;
        state.reliable.push_back(frame);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Adds a frame that may be lost; the oldest of too many is.
    pub(crate) fn push_datagram(&self, frame: Bytes) {
        let mut state = self.lock();
        if state.end.is_some() || state.is_abandoned {
            return;
        }
        if state.datagrams.len() >= DATAGRAMS_MAX {
            state.datagrams.pop_front();
        }
        state.datagrams.push_back(frame);
        drop(state);
        self.changed.notify_one();
    }

    /// Ends the session when what waits has been sent. The first reason counts. A session that is too slow gets
    /// nothing more but that reason.
    pub(crate) fn close(&self, reason: DisconnectReason) {
        let mut state = self.lock();
        state.end.get_or_insert(reason);
        state.datagrams.clear();
        if reason == DisconnectReason::TooSlow {
            state.reliable.clear();
            state.reliable_bytes = 0;
        }
        drop(state);
        self.changed.notify_one();
        self.closed.notify_one();
    }

    /// The session's task is gone: nobody takes anything out any more.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.is_abandoned = true;
        state.reliable.clear();
        state.reliable_bytes = 0;
        state.datagrams.clear();
    }

    /// Nobody takes anything out any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.lock().is_abandoned
    }

    /// Waits for something to send and takes as much of it as one write should have. For one task at a time; nothing is
    /// lost when it stops waiting.
    pub(crate) async fn next(&self) -> Batch {
        loop {
            if let Some(batch) = self.take() {
                return batch;
            }
            self.changed.notified().await;
        }
    }

    /// Waits until the session should have ended `patience` ago, and says why it does. A peer that takes nothing more
    /// can hold up a write for ever; this is when to cut it off. For one task at a time.
    pub(crate) async fn overdue(&self, patience: Duration) -> DisconnectReason {
        loop {
            let end = self.lock().end;
            if let Some(reason) = end {
                tokio::time::sleep(patience).await;
                return reason;
            }
            self.closed.notified().await;
        }
    }

    fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        let mut batch = Batch::default();
        let mut bytes = 0;
        while bytes < BATCH_BYTES_TARGET
            && let Some(frame) = state.reliable.pop_front()
        {
            bytes += frame.len();
            batch.reliable.push(frame);
        }
        state.reliable_bytes -= bytes;
        batch.datagrams.extend(state.datagrams.drain(..));
        batch.is_behind = !state.reliable.is_empty();
        if !batch.is_behind {
            batch.end = state.end;
        }
        let has_any =
            !batch.reliable.is_empty() || !batch.datagrams.is_empty() || batch.end.is_some();
        has_any.then_some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize) -> Bytes {
        vec![7; len].into()
    }

    #[test]
    fn order_is_kept_and_batches_are_bounded() {
        let outbox = Outbox::default();
        for len in 1..=5usize {
            outbox.push(frame(len * 20_000)).expect("there is room");
        }
        outbox.push_datagram(frame(3));
        let first = outbox.take().expect("frames wait");
        let lens: Vec<usize> = first.reliable.iter().map(Bytes::len).collect();
        assert_eq!(lens, [20_000, 40_000, 60_000]);
        assert_eq!(first.datagrams.len(), 1);
        assert!(first.is_behind);
        let second = outbox.take().expect("more frames wait");
        assert_eq!(second.reliable.len(), 1);
        assert!(outbox.take().is_some_and(|third| !third.is_behind));
        assert_eq!(outbox.take(), None);
    }

    #[test]
    fn a_slow_reader_fills_it_up_in_bytes_or_frames() {
        let outbox = Outbox::default();
        assert_eq!(outbox.push(frame(SESSION_QUEUE_BYTES_MAX + 1)), Ok(()));
        assert_eq!(outbox.push(frame(1)), Err(PushError::Full));
        let outbox = Outbox::default();
        for _ in 0..FRAMES_MAX {
            assert_eq!(outbox.push(frame(1)), Ok(()));
        }
        assert_eq!(outbox.push(frame(1)), Err(PushError::Full));
        outbox.take().expect("frames wait");
        assert_eq!(outbox.push(frame(1)), Ok(()), "room again");
    }

    #[test]
    fn of_datagrams_the_newest_stay() {
        let outbox = Outbox::default();
        for len in 1..=10 {
            outbox.push_datagram(frame(len));
        }
        let lens: Vec<usize> = outbox
            .take()
            .expect("datagrams wait")
            .datagrams
            .iter()
            .map(Bytes::len)
            .collect();
        assert_eq!(lens, [7, 8, 9, 10]);
    }

    #[test]
    fn an_end_comes_after_what_waits() {
        let outbox = Outbox::default();
        outbox.push(frame(100_000)).expect("there is room");
        outbox.push(frame(1)).expect("there is room");
        outbox.close(DisconnectReason::Stopping);
        outbox.close(DisconnectReason::Storage);
        assert_eq!(outbox.push(frame(1)), Err(PushError::Ended));
        assert!(outbox.take().is_some_and(|batch| batch.end.is_none()));
        let last = outbox.take().expect("the last frame and the end");
        assert_eq!(last.reliable.len(), 1);
        assert_eq!(last.end, Some(DisconnectReason::Stopping));
    }

    #[test]
    fn too_slow_sends_nothing_more() {
        let outbox = Outbox::default();
        outbox.push(frame(9)).expect("there is room");
        outbox.close(DisconnectReason::TooSlow);
        let batch = outbox.take().expect("the end");
        assert!(batch.reliable.is_empty());
        assert_eq!(batch.end, Some(DisconnectReason::TooSlow));
    }

    #[tokio::test]
    async fn an_end_becomes_overdue_even_while_frames_wait() {
        let outbox = Outbox::default();
        outbox.push(frame(9)).expect("there is room");
        let overdue = outbox.overdue(Duration::ZERO);
        tokio::pin!(overdue);
        assert!(futures::poll!(overdue.as_mut()).is_pending());
        outbox.close(DisconnectReason::Flood);
        assert_eq!(overdue.await, DisconnectReason::Flood);
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let outbox = Outbox::default();
        outbox.push(frame(9)).expect("there is room");
        outbox.abandon();
        assert!(outbox.is_abandoned());
        assert_eq!(outbox.push(frame(1)), Err(PushError::Ended));
        assert_eq!(outbox.take(), None);
    }
}
