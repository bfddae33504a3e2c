//! Whether a step that is due waits a little for those who keep to its beat.
//!
//! They speak shortly before it, so that whoever comes too late waits for a whole tick. Where that is one of them, it is their
//! way's fault. Where a shard has not looked, or far fewer have spoken than always do, something was held up that all of them
//! depend on: the shard, a network, or the machine on which many of them are. Then the step is late rather than they, but
//! never by much. Pure arithmetic; the room's thread reads the clocks.

use std::time::{Duration, Instant};

/// Steps whose messages are remembered.
const STEPS: usize = 4;
/// Of fewer people than that nothing is concluded.
const MANY: usize = 8;
/// Far fewer than always are less than a half of the least.
const FAR_FEWER: usize = 2;
/// How long a step waits at the most: this, and no more than a part of the tick.
const WAIT_MAX: Duration = Duration::from_millis(8);
const WAITS_PER_TICK: u32 = 4;

/// What a step that is due does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It begins. It was due then.
    Begin { due: Instant },
    /// It waits for a shard that has yet to look.
    AwaitShard,
    /// It waits for those who always speak, and shards are to look again.
    AwaitPeople,
}

/// How one room's steps wait.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// When the coming step was due, if it waits.
    since: Option<Instant>,
    /// Messages that the last steps found, in no order.
    found: [usize; STEPS],
    steps: usize,
}

impl Hearing {
    /// When the coming step is due at `due` or was, if it has waited since.
    pub(super) fn due(&self, due: Instant) -> Instant {
        self.since.unwrap_or(due)
    }

    /// A step of a room with this tick is due, or was and has waited. Its shards have looked, or not; so many messages are
    /// there.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        due: Instant,
        tick: Duration,
        have_shards_looked: bool,
        messages: usize,
    ) -> Verdict {
        let due = *self.since.get_or_insert(due);
        let wait_max = WAIT_MAX.min(tick / WAITS_PER_TICK);
        let least = self.found.iter().min().copied().unwrap_or_default();
        if now < due + wait_max {
            if !have_shards_looked {
                return Verdict::AwaitShard;
            }
            if least >= MANY && messages * FAR_FEWER < least {
                return Verdict::AwaitPeople;
            }
        }
        self.since = None;
        self.found[self.steps % STEPS] = messages;
        self.steps = self.steps.wrapping_add(1);
        Verdict::Begin { due }
    }

    /// Steps keep to no beat: none waits.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(50);

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Steps on time, each of which finds so many messages. The due time of the next.
    fn after(hearing: &mut Hearing, start: Instant, found: &[usize]) -> Instant {
        let mut due = start;
        for messages in found {
            let verdict = hearing.judge(due, due, TICK, true, *messages);
            assert_eq!(verdict, Verdict::Begin { due }, "{messages} of {found:?}");
            due += TICK;
        }
        due
    }

    #[test]
    fn a_step_waits_for_shards_but_not_for_ever() {
        let mut hearing = Hearing::default();
        let due = Instant::now();
        let mut now = due;
        while hearing.judge(now, now, TICK, false, 100) == Verdict::AwaitShard {
            now += ms(1);
            assert!(now <= due + WAIT_MAX, "no longer");
        }
        assert_eq!(now, due + WAIT_MAX);
        let next = due + TICK;
        assert_eq!(
            hearing.judge(next, next, TICK, false, 0),
            Verdict::AwaitShard
        );
        let looked = hearing.judge(next + ms(3), next + ms(3), TICK, true, 0);
        assert_eq!(looked, Verdict::Begin { due: next }, "when it was due");
    }

    #[test]
    fn a_step_waits_for_those_who_always_speak() {
        let mut hearing = Hearing::default();
        let due = after(&mut hearing, Instant::now(), &[90, 100, 80, 95]);
        let verdict = hearing.judge(due, due, TICK, true, 39);
        assert_eq!(verdict, Verdict::AwaitPeople);
        let verdict = hearing.judge(due + ms(2), due + ms(1), TICK, true, 40);
        assert_eq!(verdict, Verdict::Begin { due });
    }

    #[test]
    fn it_does_not_wait_for_those_who_speak_now_and_then_or_no_more() {
        let mut hearing = Hearing::default();
        // Of those who move at half the rate of ticks most may do so at every other.
        let due = after(&mut hearing, Instant::now(), &[90, 10, 90, 10, 90, 10]);
        let due = after(&mut hearing, due, &[100, 100, 100, 100]);
        let gone = due + WAIT_MAX;
        assert_eq!(hearing.judge(due, due, TICK, true, 0), Verdict::AwaitPeople);
        let verdict = hearing.judge(gone, gone, TICK, true, 0);
        assert_eq!(verdict, Verdict::Begin { due });
        let due = after(&mut hearing, due + TICK, &[0, 0, 0, 7, 7, 7, 7, 7, 0]);
        hearing.judge(due, due, TICK, false, 0);
        hearing.forget();
        let verdict = hearing.judge(due, due + ms(1), TICK, true, 0);
        assert_eq!(verdict, Verdict::Begin { due: due + ms(1) });
    }
}
