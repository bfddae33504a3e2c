//! The log writer's thread: waits for work, takes turns, and stops.
//!
//! Owns all waiting: for the next request, between two attempts, for those who were still putting something into the
//! queue when the stop came. What is done in a turn is [`Writing`]'s.

use std::collections::BTreeMap;
use std::time::Duration;

use chalkboard_shared::id::{BoardId, Position};
use crossbeam_channel::{Receiver, RecvTimeoutError, select};

use super::writing::{Turn, Writing};
use super::{Request, StopError, Trouble};
use crate::storage::repo::Repository;

/// Attempts to write that are made after the stop was asked for.
const STOP_ATTEMPTS: u32 = 3;

/// How long a stopping thread waits at a time for a request that was let in and is not in the queue yet: between those
/// two a caller only takes a few instructions.
const STRAGGLER_WAIT: Duration = Duration::from_millis(1);

/// What runs on the thread.
pub(super) struct WriterThread<R, D, T> {
    writing: Writing<R, D, T>,
    stops: Receiver<()>,
    stopping: bool,
}

impl<R: Repository, D: Fn(BoardId, Position), T: Fn(Trouble)> WriterThread<R, D, T> {
    pub(super) const fn new(writing: Writing<R, D, T>, stops: Receiver<()>) -> Self {
        Self {
            writing,
            stops,
            stopping: false,
        }
    }

    pub(super) fn run(mut self) -> Result<(), StopError> {
        let mut attempts_left = STOP_ATTEMPTS;
        loop {
            match self.writing.turn() {
                Turn::Done => attempts_left = STOP_ATTEMPTS,
                Turn::Idle => match self.next() {
                    Some(request) => self.writing.take_up(request),
                    None => break,
                },
                Turn::Failed(pause) => {
                    if self.stopping {
                        attempts_left -= 1;
                        if attempts_left == 0 {
                            return Err(self.give_up());
                        }
                    }
                    self.pause(pause);
                }
            }
        }
        self.writing.checkpoint();
        Ok(())
    }

    /// The next request; `None` when the thread is to stop and every request that was let in has been taken.
    fn next(&mut self) -> Option<Request> {
        let requests = &self.writing.requests;
        if !self.stopping {
            let stops = &self.stops;
            select! {
                recv(requests) -> request => if let Ok(request) = request { return Some(request) },
                recv(stops) -> _ => {}
            }
            self.stopping = true;
        }
        loop {
            match requests.recv_timeout(STRAGGLER_WAIT) {
                Ok(request) => return Some(request),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if self.writing.shared.queued() == 0 => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Waits before the next attempt; a stop ends the first such wait early.
    fn pause(&mut self, pause: Duration) {
        if self.stopping {
            std::thread::sleep(pause);
        } else if self.stops.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            self.stopping = true;
        }
    }

    /// Empties the queue and names everything in it that is not saved.
    fn give_up(mut self) -> StopError {
        let mut unsaved = BTreeMap::new();
        let cause = self.writing.give_up(&mut unsaved);
        while let Some(request) = self.next() {
            self.writing.abandon_request(&mut unsaved, request);
        }
        match cause {
            Some(cause) => StopError::Unsaved { unsaved, cause },
            None => StopError::Died,
        }
    }
}
