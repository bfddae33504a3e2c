//! Newcomers who wait for their handshake to begin: handshakes have a share of a shard's time, and no more.
//!
//! A handshake costs as much as some hundred packets. Whoever is in a room has been let in before, and must not notice
//! that others knock, however many; so these wait in a queue, which [`super::admission`] bounds, and take turns.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// One part in so many of the shard's time is for handshakes: some hundreds a second.
const SHARE: u32 = 4;
/// Time that may be used at once, after a while without any: a few handshakes, small against a tick.
const AT_ONCE_MAX: Duration = Duration::from_millis(3);
/// How far over its share a burst of answers may be booked.
const DEBT_MAX: Duration = Duration::from_millis(100);
/// Whoever has waited for so long has given up or tries again: shorter than clients wait for a handshake.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The queue of those who wait, of whatever stands for them, and what the handshakes have cost.
#[derive(Debug)]
pub(super) struct Newcomers<T> {
    waiting: VecDeque<(T, Instant)>,
    /// What handshakes may use, up to `at`.
    credit: Duration,
    debt: Duration,
    at: Instant,
}

/// Who is next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    /// Begin.
    Begin(T),
    /// Forget this one, who has waited too long.
    Late(T),
}

impl<T> Newcomers<T> {
    /// Nobody, and time for a few.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            waiting: VecDeque::new(),
            credit: AT_ONCE_MAX,
            debt: Duration::ZERO,
            at: now,
        }
    }

    /// Somebody who may come in when it is their turn.
    pub(super) fn push(&mut self, newcomer: T, now: Instant) {
        self.waiting.push_back((newcomer, now));
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// A part of a handshake took so long.
    pub(super) fn charge(&mut self, took: Duration) {
        let paid = took.min(self.credit);
        self.credit -= paid;
        self.debt = (self.debt + (took - paid)).min(DEBT_MAX);
    }

    /// The next to begin with, if there is time for that.
    pub(super) fn next(&mut self, now: Instant) -> Option<Next<T>> {
        self.earn(now);
        if self.is_out_of_time() {
            return None;
        }
        let (newcomer, came) = self.waiting.pop_front()?;
        Some(if now.saturating_duration_since(came) > WAIT_MAX {
            Next::Late(newcomer)
        } else {
            Next::Begin(newcomer)
        })
    }

    /// All who wait, none of whom begins.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|(newcomer, _)| newcomer)
    }

    /// When somebody can begin; `None` where nobody waits.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.waiting.is_empty() {
            return None;
        }
        Some(if self.is_out_of_time() {
            self.at + self.debt * SHARE + Duration::from_micros(1) * SHARE
        } else {
            self.at
        })
    }

    fn is_out_of_time(&self) -> bool {
        self.credit.is_zero()
    }

    fn earn(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.at) / SHARE;
        let paid = earned.min(self.debt);
        self.debt -= paid;
        self.credit = (self.credit + (earned - paid)).min(AT_ONCE_MAX);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDSHAKE: Duration = Duration::from_millis(1);

    #[test]
    fn handshakes_get_their_share_of_the_time_and_no_more() {
        let start = Instant::now();
        let mut newcomers = Newcomers::new(start);
        (0..10_000).for_each(|n| newcomers.push(n, start));
        let (mut now, mut begun) = (start, 0);
        while now < start + Duration::from_secs(4) {
            match newcomers.next(now) {
                Some(Next::Begin(n)) => {
                    assert_eq!(n, begun, "in the order in which they came");
                    begun += 1;
                    now += HANDSHAKE;
                    newcomers.charge(HANDSHAKE);
                }
                Some(Next::Late(_)) => unreachable!("nobody has waited for so long"),
                None => {
                    let due = newcomers.due().expect("some wait");
                    assert!(due > now, "a shard that waits for {due:?} at {now:?} spins");
                    now = due;
                }
            }
        }
        assert!((990..=1010).contains(&begun), "{begun} in 4 s");
    }

    #[test]
    fn a_rest_saves_up_time_for_a_few_only() {
        let start = Instant::now();
        let mut newcomers = Newcomers::new(start);
        assert_eq!(newcomers.due(), None);
        let now = start + Duration::from_secs(60);
        (0..100).for_each(|n| newcomers.push(n, now));
        let mut begun = 0;
        while newcomers.next(now).is_some() {
            newcomers.charge(HANDSHAKE);
            begun += 1;
        }
        assert_eq!(begun, 3);
        assert_eq!(newcomers.len(), 97);
    }

    #[test]
    fn who_has_waited_too_long_is_forgotten() {
        let start = Instant::now();
        let mut newcomers = Newcomers::new(start);
        newcomers.push("early", start);
        let now = start + WAIT_MAX + Duration::from_millis(1);
        newcomers.push("late", now);
        assert_eq!(newcomers.next(now), Some(Next::Late("early")));
        assert_eq!(newcomers.next(now), Some(Next::Begin("late")));
        assert_eq!(newcomers.next(now), None);
    }
}
