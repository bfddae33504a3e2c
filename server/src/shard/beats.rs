//! When peers speak within their rooms' ticks, and what they are told about that.
//!
//! What comes in just after a step waits nearly a tick for the next. So now and then a shard listens: for the time of a few
//! messages it looks at the network much more often than it must, sees when each peer's come, and tells those that are better
//! sent at another moment by how much to shift them ([`chalkboard_shared::presence::Beat`]). Nobody has to know anybody's
//! clock, nor how long the way is. Nothing here knows sockets or rooms.

use std::time::{Duration, Instant};

/// Between two times of listening, while many were told something the last time, and where nobody was. In between it is a part of
/// the longer one: a half where one of so many was told something, a third where two were.
const PAUSE_MIN: Duration = Duration::from_millis(700);
const PAUSE_MAX: Duration = Duration::from_secs(8);
const UNSETTLED: u32 = 64;
/// How long a shard listens: three messages of whoever moves a cursor. Longer where ticks are longer.
const LISTEN_MIN: Duration = Duration::from_millis(60);
/// How exactly it does: so many looks in a tick.
const LOOKS_PER_TICK: u32 = 20;
/// What messages are to have left before the look that precedes their step: this, and a part of the tick, because ways and
/// timers are not always the same.
const MARGIN: Duration = Duration::from_micros(1500);
const MARGIN_PER_TICK: u32 = 24;
/// What is spent on each connection's packets, so that not all of them come at once: in a tick they spread over that, but
/// never over more than half of it.
const SPREAD_PER_CONNECTION: Duration = Duration::from_micros(6);
/// So much too early is not worth a word.
const SLACK: Duration = Duration::from_millis(1);
/// A peer who was told so often without much effect has a way whose length changes too much, and is let off for so many
/// times of listening.
const STRIKES_MAX: u8 = 8;
const STRIKES_PER_WORD: u8 = 2;
const REST: u8 = 16;

/// When a room goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NextStep {
    /// When it takes what has come in by then.
    pub(crate) at: Instant,
    /// How far apart its steps are, where they keep to that and it is worth keeping to them.
    pub(crate) tick: Option<Duration>,
}

/// When a shard listens.
#[derive(Debug)]
pub(super) struct Listening {
    begins: Instant,
    ends: Instant,
    /// The longest tick that was heard of since it last began.
    tick: Duration,
    /// Counts the times.
    round: u32,
    /// Peers who were heard, and those of them who were told something.
    heard: u32,
    told: u32,
}

impl Listening {
    /// Not yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            begins: now + PAUSE_MIN,
            ends: now + PAUSE_MIN,
            tick: Duration::ZERO,
            round: 0,
            heard: 0,
            told: 0,
        }
    }

    /// A room will go on like this.
    pub(super) fn expect(&mut self, step: NextStep) {
        self.tick = self.tick.max(step.tick.unwrap_or_default());
    }

    /// How long to wait between two looks at the network, if the shard listens now.
    pub(super) fn pause(&mut self, now: Instant) -> Option<Duration> {
        if now < self.begins {
            return None;
        }
        if self.ends <= self.begins && !self.tick.is_zero() {
            self.ends = now + LISTEN_MIN.max(self.tick * 2);
            self.round = self.round.wrapping_add(1);
            (self.heard, self.told) = (0, 0);
        }
        if now < self.ends {
            return Some(self.tick / LOOKS_PER_TICK);
        }
        // Where nobody spoke, somebody may begin to at any time.
        let pause = match (self.told * UNSETTLED).checked_div(self.heard) {
            Some(part) => (PAUSE_MAX / (1 + part)).max(PAUSE_MIN),
            None => PAUSE_MIN,
        };
        self.begins = now + pause;
        self.ends = self.begins;
        self.tick = Duration::ZERO;
        None
    }

    /// The time of listening that this is.
    pub(super) const fn round(&self) -> u32 {
        self.round
    }

    /// A peer was heard, and told something or not.
    pub(super) fn note(&mut self, is_told: bool) {
        self.heard += 1;
        self.told += u32::from(is_told);
    }
}

/// What is known of when a peer speaks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Beat {
    /// When it was listened to last.
    round: u32,
    /// It was told something that holds.
    is_told: bool,
    strikes: u8,
    /// Times of listening until it is told anything again.
    rest: u8,
}

impl Beat {
    /// It is heard for the first time in this time of listening.
    pub(super) fn is_new_in(&mut self, round: u32) -> bool {
        std::mem::replace(&mut self.round, round) != round
    }

    /// The peer's message has come so long before the look that precedes its step, or after it where that has passed. `share`,
    /// from 0 to 1, is its place among `connections` others. By how many microseconds it is to speak later, or earlier where
    /// that is less than 0, or 0 for whenever it likes, if that is worth a word.
    pub(super) fn hear(
        &mut self,
        left: Duration,
        tick: Duration,
        connections: usize,
        share: f64,
    ) -> Option<i32> {
        if self.rest > 0 {
            self.rest -= 1;
            return None;
        }
        let margin = MARGIN + tick / MARGIN_PER_TICK;
        let connections = u32::try_from(connections).unwrap_or(u32::MAX);
        let spread = SPREAD_PER_CONNECTION
            .saturating_mul(connections)
            .min(tick / 2);
        if left >= margin / 2 && left <= margin + spread + SLACK {
            self.strikes = self.strikes.saturating_sub(1);
            return None;
        }
        self.strikes += STRIKES_PER_WORD;
        if self.strikes > STRIKES_MAX {
            self.strikes = 0;
            self.rest = REST;
            return self.let_off();
        }
        self.is_told = true;
        let wanted = margin + spread.mul_f64(share);
        let shift_us = left.as_micros() as i64 - wanted.as_micros() as i64;
        let tick_us = tick.as_micros() as i64;
        // The nearer way round.
        let near_us = (shift_us + tick_us / 2).rem_euclid(tick_us) - tick_us / 2;
        Some(i32::try_from(near_us).unwrap_or(0))
    }

    /// Steps keep to no beat any more. What to tell the peer, if it does not know.
    pub(super) fn let_off(&mut self) -> Option<i32> {
        std::mem::take(&mut self.is_told).then_some(0)
    }
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::presence::Beat as Sender;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_listens_now_and_then_while_rooms_go() {
        let start = Instant::now();
        let mut listening = Listening::new(start);
        assert_eq!(listening.pause(start + ms(5000)), None, "no room goes");
        let step = NextStep {
            at: start,
            tick: Some(ms(24)),
        };
        listening.expect(step);
        let mut from_ms = 10_000;
        // Rounds in so many seconds, in which so many of a hundred are told something.
        let mut rounds_in = |seconds: u64, told: u32, heard: u32| {
            let (mut looks, round) = (0, listening.round());
            for at_ms in from_ms..from_ms + seconds * 1000 {
                listening.expect(step);
                if listening.pause(start + ms(at_ms)).is_some() {
                    looks += 1;
                    (0..heard).for_each(|n| listening.note(n < told));
                }
            }
            from_ms += seconds * 1000;
            let rounds = listening.round() - round;
            assert!(looks <= 60 * rounds + 60, "{looks}: 60 ms each");
            rounds
        };
        assert!((24..=27).contains(&rounds_in(20, 0, 0)), "nobody speaks");
        assert!((2..=4).contains(&rounds_in(20, 0, 100)));
        assert!((8..=12).contains(&rounds_in(20, 5, 100)));
        assert!((24..=27).contains(&rounds_in(20, 40, 100)));
    }

    /// A sender whose messages take so long, told by a room that ticks from 0 on: how long the last messages of ten rounds had left.
    fn settle(
        tick_ms: f64,
        way_ms: impl Fn(u32) -> f64,
        connections: usize,
        share: f64,
    ) -> Vec<f64> {
        let mut sender = Sender::new((tick_ms * 1000.0) as u32);
        let mut beat = Beat::default();
        let mut left = Vec::new();
        let mut from_ms = 777.7;
        for round in 1..=10 {
            assert!(beat.is_new_in(round) && !beat.is_new_in(round));
            let sent_ms = sender.next_ms(from_ms);
            from_ms += 1013.0;
            let came_ms = sent_ms + way_ms(round);
            let left_ms = tick_ms - came_ms.rem_euclid(tick_ms);
            left.push(left_ms);
            let left_for = Duration::from_secs_f64(left_ms / 1000.0);
            let tick = Duration::from_secs_f64(tick_ms / 1000.0);
            if let Some(shift_us) = beat.hear(left_for, tick, connections, share) {
                sender.shift(shift_us, sent_ms);
            }
        }
        left
    }

    #[test]
    fn a_peer_comes_to_speak_shortly_before_steps() {
        for way_ms in [0.2, 9.0, 35.3, 180.0] {
            for (tick_ms, connections, share) in [(16.667, 100, 0.5), (50.0, 2000, 0.9)] {
                let left = settle(tick_ms, |_| way_ms, connections, share);
                let spread_ms = 0.006 * connections as f64 * share;
                let wanted_ms = 1.0 + tick_ms / 32.0 + spread_ms;
                for left_ms in &left[2..] {
                    assert!((left_ms - wanted_ms).abs() < 1.1, "{way_ms} {left:?}");
                }
            }
        }
    }

    #[test]
    fn who_can_not_keep_to_it_is_let_off_and_tried_again() {
        let mut beat = Beat::default();
        let mut words = Vec::new();
        for round in 1..=60u32 {
            // Always somewhere else.
            let left = ms(3 + u64::from(round * 7 % 17));
            if let Some(word) = beat.hear(left, ms(20), 1, 0.0) {
                words.push((round, word == 0));
            }
        }
        let offs: Vec<u32> = words.iter().filter(|w| w.1).map(|w| w.0).collect();
        assert!(offs.len() >= 2, "{words:?}");
        assert!(words.len() < 20, "{words:?}");
        let after = words.iter().find(|w| w.0 > offs[0]).expect("again");
        assert!(after.0 >= offs[0] + u32::from(REST), "{words:?}");
    }

    #[test]
    fn who_was_told_is_let_off_once_where_steps_keep_to_no_beat() {
        let mut beat = Beat::default();
        assert_eq!(beat.let_off(), None);
        assert!(beat.hear(ms(12), ms(20), 1, 0.0).is_some());
        assert_eq!(beat.let_off(), Some(0));
        assert_eq!(beat.let_off(), None, "it knows");
    }
}
