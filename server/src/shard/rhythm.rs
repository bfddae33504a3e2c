//! When a shard looks at the network: rarely, and shortly before rooms take what has come.
//!
//! Whatever comes in waits for its room's next step anyway, and each look costs a wake of the thread and passes over
//! connections. So packets gather until a step is near. Only who joins, leaves or takes a lot waits for answers, and while
//! there is somebody like that, or no room goes in steps, the pauses are short. Nothing here knows sockets or rooms.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Between two looks at the least.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// At the most, however far away the next step is: somebody new may have knocked.
const PAUSE_MAX: Duration = Duration::from_millis(13);
/// Packets that gather meanwhile: a third of those that the system keeps for a socket, where it was told nothing else.
const GATHERED_MAX: u32 = 128;
/// What it takes from a look until a room has what came: the wake, and some microseconds for each packet.
const LEAD: Duration = Duration::from_micros(500);
/// How long a step that was near may be late until what was to go out with its frames goes without.
const LATE_MAX: Duration = Duration::from_millis(1);
/// Steps that are known of: more lie too close to each other to matter.
const STEPS_MAX: usize = 64;

/// What is known of the steps to come, and of the last look.
#[derive(Debug)]
pub(super) struct Rhythm {
    looked: Instant,
    /// At this pace not too many packets gather.
    pause_max: Duration,
    steps: BinaryHeap<Reverse<Instant>>,
}

impl Rhythm {
    /// The network was looked at just now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            looked: now,
            pause_max: PAUSE_MIN,
            steps: BinaryHeap::new(),
        }
    }

    /// A room will take what has come for it then.
    pub(super) fn expect_step(&mut self, at: Instant) {
        if self.steps.len() < STEPS_MAX {
            self.steps.push(Reverse(at));
        }
    }

    /// The network is looked at, and so many packets have come.
    pub(super) fn look(&mut self, now: Instant, packets: u32) {
        let span = now.saturating_duration_since(self.looked);
        let pause = span * GATHERED_MAX / packets.max(1);
        self.pause_max = pause.clamp(PAUSE_MIN, PAUSE_MAX);
        self.looked = now;
    }

    /// Steps are to come, so that it is known when to look.
    pub(super) fn is_going(&self) -> bool {
        !self.steps.is_empty()
    }

    /// The last look was the one before a step.
    pub(super) fn is_step_near(&self) -> bool {
        let step = self.steps.peek();
        step.is_some_and(|Reverse(step)| *step > self.looked && *step <= self.looked + LEAD)
    }

    /// Until when the step after the last look may be waited for.
    pub(super) fn heard_until(&self) -> Instant {
        self.looked + LEAD + LATE_MAX
    }

    /// When to look again; somebody may wait for answers.
    pub(super) fn next_look(&mut self, is_pressing: bool) -> Instant {
        let first = loop {
            match self.steps.peek() {
                None => return self.looked + PAUSE_MIN,
                Some(Reverse(step)) if *step <= self.looked + LEAD => {
                    self.steps.pop();
                }
                Some(Reverse(step)) => break *step - LEAD,
            }
        };
        if is_pressing {
            return self.looked + PAUSE_MIN;
        }
        // In equal parts, so that the last one is not a short one.
        let left = first.saturating_duration_since(self.looked);
        let parts = left.as_micros().div_ceil(self.pause_max.as_micros().max(1));
        let pause = left / u32::try_from(parts).unwrap_or(u32::MAX).max(1);
        self.looked + pause.max(PAUSE_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_looks_before_a_step_and_in_equal_parts() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(start);
        rhythm.look(start + ms(1), 0);
        let now = start + ms(2);
        rhythm.look(now, 1);
        assert_eq!(rhythm.next_look(false), now + PAUSE_MIN, "no room steps");
        rhythm.expect_step(now + ms(20) + LEAD);
        assert_eq!(rhythm.next_look(true), now + PAUSE_MIN, "somebody waits");
        assert_eq!(rhythm.next_look(false), now + ms(10));
        rhythm.look(now + ms(10), 1);
        assert!(!rhythm.is_step_near());
        assert_eq!(rhythm.next_look(false), now + ms(20));
        rhythm.look(now + ms(20), 1);
        assert!(rhythm.is_step_near());
        assert_eq!(rhythm.next_look(false), now + ms(21), "that one is past");
    }

    #[test]
    fn many_packets_and_many_rooms_shorten_the_pause() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(start);
        let now = start + ms(4);
        rhythm.look(now, 2 * GATHERED_MAX);
        rhythm.expect_step(now + ms(30) + LEAD);
        assert_eq!(rhythm.next_look(false), now + ms(2));
        for us in 1..1000 {
            rhythm.expect_step(now + LEAD + Duration::from_micros(us));
        }
        assert_eq!(rhythm.next_look(false), now + PAUSE_MIN);
        assert!(rhythm.steps.len() <= STEPS_MAX);
    }
}
