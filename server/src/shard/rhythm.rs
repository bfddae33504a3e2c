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
const PAUSE_MAX: Duration = Duration::from_millis(26);
/// Packets that gather meanwhile: a third of those that the system keeps for a socket, where it was told nothing else.
const GATHERED_MAX: u32 = 192;
/// After many have come at once a pause grows by so much of it with each look.
const PAUSE_GROWTH: u32 = 8;
/// What it takes from a look until a room has what came: the wake, which may be late, and something for each connection; never
/// more than the last of these.
const LEAD_MIN: Duration = Duration::from_micros(500);
const LEAD_PER_CONNECTION: Duration = Duration::from_micros(2);
const LEAD_MAX: Duration = Duration::from_millis(3);
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
    /// How long before a step the last look is that brings it what has come.
    lead: Duration,
    steps: BinaryHeap<Reverse<Instant>>,
}

impl Rhythm {
    /// The network was looked at just now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            looked: now,
            pause_max: PAUSE_MIN,
            lead: LEAD_MIN,
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
        // Peers who keep to the beat come all at once, and after that nobody for a while.
        let longer = self.pause_max + self.pause_max / PAUSE_GROWTH;
        self.pause_max = pause.min(longer).clamp(PAUSE_MIN, PAUSE_MAX);
        self.looked = now;
    }

    /// Steps are to come, so that it is known when to look.
    pub(super) fn is_going(&self) -> bool {
        !self.steps.is_empty()
    }

    /// The last look was the one before a step.
    pub(super) fn is_step_near(&self) -> bool {
        let step = self.steps.peek();
        step.is_some_and(|Reverse(step)| *step > self.looked && *step <= self.looked + self.lead)
    }

    /// There are so many connections.
    pub(super) fn expect_connections(&mut self, connections: usize) {
        let connections = u32::try_from(connections).unwrap_or(u32::MAX);
        let lead = LEAD_MIN + LEAD_PER_CONNECTION.saturating_mul(connections);
        self.lead = lead.min(LEAD_MAX);
    }

    /// How long before a step the last look is that brings it what has come.
    pub(super) fn lead(&self) -> Duration {
        self.lead
    }

    /// How long what has come may wait for an answer at the most.
    pub(super) const PAUSE_MAX: Duration = PAUSE_MAX;

    /// When it was looked at last.
    pub(super) fn looked(&self) -> Instant {
        self.looked
    }

    /// Until when the step after the last look may be waited for.
    pub(super) fn heard_until(&self) -> Instant {
        self.looked + self.lead + LATE_MAX
    }

    /// When to look again; somebody may wait for answers.
    pub(super) fn next_look(&mut self, is_pressing: bool) -> Instant {
        let first = loop {
            match self.steps.peek() {
                None => return self.looked + PAUSE_MIN,
                Some(Reverse(step)) if *step <= self.looked + self.lead => {
                    self.steps.pop();
                }
                Some(Reverse(step)) => break *step - self.lead,
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

    /// Looked at every millisecond, with hardly a packet, until a moment that is returned.
    fn at_ease(start: Instant) -> (Rhythm, Instant) {
        let mut rhythm = Rhythm::new(start);
        let looks = (1..=60).map(|n| start + ms(n));
        for look in looks {
            rhythm.look(look, 1);
        }
        (rhythm, start + ms(60))
    }

    #[test]
    fn it_looks_before_a_step_and_in_equal_parts() {
        let (mut rhythm, now) = at_ease(Instant::now());
        assert_eq!(rhythm.next_look(false), now + PAUSE_MIN, "no room steps");
        rhythm.expect_step(now + ms(40) + LEAD_MIN);
        assert_eq!(rhythm.next_look(true), now + PAUSE_MIN, "somebody waits");
        assert_eq!(rhythm.next_look(false), now + ms(20));
        rhythm.look(now + ms(20), 1);
        assert!(!rhythm.is_step_near());
        assert_eq!(rhythm.next_look(false), now + ms(40));
        rhythm.look(now + ms(40), 1);
        assert!(rhythm.is_step_near());
        assert_eq!(rhythm.next_look(false), now + ms(41), "that one is past");
    }

    #[test]
    fn where_there_are_many_the_last_look_is_earlier() {
        let (mut rhythm, now) = at_ease(Instant::now());
        rhythm.expect_step(now + ms(20));
        rhythm.expect_connections(500);
        assert_eq!(rhythm.lead(), LEAD_MIN + ms(1));
        assert_eq!(rhythm.next_look(false), now + ms(19) - LEAD_MIN);
        rhythm.expect_connections(1_000_000);
        assert_eq!(rhythm.next_look(false), now + ms(20) - LEAD_MAX);
        rhythm.look(now + ms(20) - LEAD_MAX, 1);
        assert!(rhythm.is_step_near());
    }

    #[test]
    fn many_packets_and_many_rooms_shorten_the_pause() {
        let (mut rhythm, now) = at_ease(Instant::now());
        let now = now + ms(4);
        rhythm.look(now, 2 * GATHERED_MAX);
        rhythm.expect_step(now + ms(22) + LEAD_MIN);
        assert_eq!(rhythm.next_look(false), now + ms(2));
        // What comes all at once comes so again at the next step.
        let mut looked = now;
        for _ in 0..4 {
            looked = rhythm.next_look(false);
            rhythm.look(looked, 1);
        }
        assert!(rhythm.next_look(false) < looked + ms(4));
        for us in 1..1000 {
            rhythm.expect_step(looked + LEAD_MIN + Duration::from_micros(us));
        }
        assert_eq!(rhythm.next_look(false), looked + PAUSE_MIN);
        assert!(rhythm.steps.len() <= STEPS_MAX);
    }
}
