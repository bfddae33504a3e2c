//! Who of a fleet is on the way into the room: a few at a time, and several attempts of each.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use anyhow::{Error, Result};

use crate::address::SessionAddress;

/// Clients that connect at the same time: a server lets some hundred handshakes run at once.
const AT_ONCE_MAX: usize = 32;
/// Attempts of one client, and the pause before the next: a server under load refuses some.
const ATTEMPTS_MAX: u32 = 6;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(300);

/// A client that is to connect.
#[derive(Debug)]
pub(super) struct Newcomer {
    /// Its place among the roles.
    pub(super) place: usize,
    pub(super) address: SessionAddress,
    attempt: u32,
    not_before: Option<Instant>,
}

impl Newcomer {
    /// For the first time.
    pub(super) const fn new(place: usize, address: SessionAddress) -> Self {
        Self {
            place,
            address,
            attempt: 1,
            not_before: None,
        }
    }
}

/// Everybody who is to connect.
#[derive(Debug)]
pub(super) struct Joining {
    waiting: VecDeque<Newcomer>,
    under_way: usize,
    joined: usize,
    /// Who waits to hear how many joined, until they do.
    asker: Option<SyncSender<Result<usize>>>,
}

impl Joining {
    /// Nobody has begun.
    pub(super) fn new(newcomers: Vec<Newcomer>, asker: SyncSender<Result<usize>>) -> Self {
        let mut new = Self {
            waiting: newcomers.into(),
            under_way: 0,
            joined: 0,
            asker: Some(asker),
        };
        new.answer_at_end();
        new
    }

    /// Everybody is in, or it has failed.
    pub(super) const fn is_over(&self) -> bool {
        self.asker.is_none()
    }

    /// The next who may begin.
    pub(super) fn next(&mut self, now: Instant) -> Option<Newcomer> {
        if self.is_over() || self.under_way >= AT_ONCE_MAX {
            return None;
        }
        let is_time = |next: &mut Newcomer| next.not_before.is_none_or(|at| at <= now);
        let next = self.waiting.pop_front_if(is_time)?;
        self.under_way += 1;
        Some(next)
    }

    /// One who had begun is in.
    pub(super) fn entered(&mut self) {
        self.under_way -= 1;
        self.joined += 1;
        self.answer_at_end();
    }

    /// One who had begun came to nothing, and tries again if that may help.
    pub(super) fn failed(
        &mut self,
        mut newcomer: Newcomer,
        error: Error,
        client: u32,
        now: Instant,
    ) {
        self.under_way -= 1;
        if newcomer.attempt < ATTEMPTS_MAX {
            newcomer.not_before = Some(now + ATTEMPT_PAUSE * newcomer.attempt);
            newcomer.attempt += 1;
            self.waiting.push_back(newcomer);
            return;
        }
        self.answer(Err(error.context(format!("client {client} could not join"))));
    }

    fn answer_at_end(&mut self) {
        if self.waiting.is_empty() && self.under_way == 0 {
            self.answer(Ok(self.joined));
        }
    }

    fn answer(&mut self, answer: Result<usize>) {
        if let Some(asker) = self.asker.take() {
            // Whoever asked and does not listen has gone.
            let _ = asker.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{TryRecvError, sync_channel};

    use chalkboard_client::native::Trust;

    use super::*;

    fn newcomers(count: usize) -> Vec<Newcomer> {
        let address = SessionAddress {
            url: "https://127.0.0.1:1/session".to_owned(),
            trust: Trust::Hashes(Vec::new()),
        };
        let newcomer = |place| Newcomer::new(place, address.clone());
        (0..count).map(newcomer).collect()
    }

    #[test]
    fn some_begin_at_once_and_the_answer_comes_when_all_are_in() {
        let (asker, answer) = sync_channel(1);
        let mut joining = Joining::new(newcomers(AT_ONCE_MAX + 1), asker);
        let now = Instant::now();
        let begun = std::iter::from_fn(|| joining.next(now)).count();
        assert_eq!(begun, AT_ONCE_MAX);
        joining.entered();
        assert_eq!(joining.next(now).expect("the last").place, AT_ONCE_MAX);
        for _ in 0..AT_ONCE_MAX {
            assert_eq!(answer.try_recv().err(), Some(TryRecvError::Empty));
            joining.entered();
        }
        let joined = answer.try_recv().expect("an answer").expect("all joined");
        assert_eq!(joined, AT_ONCE_MAX + 1);
        assert!(joining.is_over());
    }

    #[test]
    fn who_fails_tries_again_after_a_pause_and_then_all_has_failed() {
        let (asker, answer) = sync_channel(1);
        let mut joining = Joining::new(newcomers(1), asker);
        let mut now = Instant::now();
        for attempt in 1..=ATTEMPTS_MAX {
            let newcomer = joining.next(now).expect("an attempt");
            assert!(answer.try_recv().is_err());
            joining.failed(newcomer, anyhow::anyhow!("refused"), 7, now);
            if attempt < ATTEMPTS_MAX {
                assert!(joining.next(now).is_none(), "too early");
            }
            now += ATTEMPT_PAUSE * attempt;
        }
        let error = answer
            .try_recv()
            .expect("an answer")
            .expect_err("it failed");
        assert_eq!(format!("{error:#}"), "client 7 could not join: refused");
        assert!(joining.next(now).is_none(), "it is over");
    }

    #[test]
    fn nobody_is_in_at_once() {
        let (asker, answer) = sync_channel(1);
        assert!(Joining::new(Vec::new(), asker).is_over());
        assert_eq!(answer.try_recv().expect("an answer").expect("nobody"), 0);
    }
}
