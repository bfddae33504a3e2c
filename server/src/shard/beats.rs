//! When peers speak within their rooms' ticks, and what they are told about that.
//!
//! What comes in just after a step waits nearly a tick for the next. So now and then a shard listens: for the time of a few
//! messages it looks at the network much more often than it must, sees when each peer's come, and tells those that are better
//! sent at another moment by how much to shift them ([`chalkboard_shared::presence::Beat`]). Nobody has to know anybody's
//! clock, nor how long the way is. Nothing here knows sockets or rooms.

use std::time::{Duration, Instant};

/// Between two times of listening, while many missed the beat the last time, and where nobody did. In between it is a part of
/// the longer one: a half where one of so many did, a third where two did.
const PAUSE_MIN: Duration = Duration::from_millis(700);
const PAUSE_MAX: Duration = Duration::from_secs(8);
const UNSETTLED: u32 = 64;
/// How long a shard listens: three messages of whoever moves a cursor. Longer where ticks are longer.
const LISTEN_MIN: Duration = Duration::from_millis(60);
/// How exactly it does: so many looks in a tick.
const LOOKS_PER_TICK: u32 = 20;
/// So much of a tick is no long time without a look.
const BLUR_PER_TICK: u32 = 16;
/// What messages are to have left before the look that precedes their step, at the least: this, and a part of the tick, because
/// ways and timers are not always the same.
const MARGIN: Duration = Duration::from_micros(750);
const MARGIN_PER_TICK: u32 = 48;
/// What they may have left beyond that: so much too early is not worth a word. Doubled for each level that a peer's way is
/// more uneven, but never more than half of the tick.
const WIDTH: Duration = Duration::from_micros(1750);
/// What is spent on each connection's packets, so that not all of them come at once: in a tick they spread over that, but
/// never over more than half of it.
const SPREAD_PER_CONNECTION: Duration = Duration::from_micros(6);
/// A peer who missed the beat so often has a way whose length changes too much for its level; from the highest it is let off
/// for so many times of listening.
const STRIKES_MAX: u8 = 8;
const STRIKES_PER_MISS: u8 = 2;
const REST: u8 = 16;
/// Times in a row after which a lower level is tried.
const CALM_TIMES: u8 = 64;

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
    /// Peers who were heard, and those of them who did not keep to the beat.
    heard: u32,
    unsettled: u32,
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
            unsettled: 0,
        }
    }

    /// A room will go on like this.
    pub(super) fn expect(&mut self, step: NextStep) {
        self.tick = self.tick.max(step.tick.unwrap_or_default());
    }

    /// How long to wait between two looks at the network, if the shard listens now; begins or ends that when it is time.
    pub(super) fn poll_pause(&mut self, now: Instant) -> Option<Duration> {
        if now < self.begins {
            return None;
        }
        if self.ends <= self.begins && !self.tick.is_zero() {
            self.ends = now + LISTEN_MIN.max(self.tick * 2);
            self.round = self.round.wrapping_add(1);
            (self.heard, self.unsettled) = (0, 0);
        }
        if now < self.ends {
            return Some(self.tick / LOOKS_PER_TICK);
        }
        // Where nobody spoke, somebody may begin to at any time.
        let pause = match (self.unsettled * UNSETTLED).checked_div(self.heard) {
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

    /// A peer was heard.
    pub(super) fn note(&mut self, heard: Heard) {
        self.heard += 1;
        self.unsettled += u32::from(heard != Heard::InTime);
    }
}

/// How long a message had left before the look that preceded its step, or after it where that had passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    /// Seen from the look that found it.
    pub(super) at_look: Duration,
    /// It had come by so much earlier at the most: since the look before.
    pub(super) blur: Duration,
}

/// What a message tells of its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It keeps to the beat.
    InTime,
    /// Not this time; that happens.
    Missed,
    /// It is to speak by so many microseconds later, or earlier where that is less than 0; 0 for whenever it likes.
    Told(i32),
}

/// What is known of when a peer speaks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Beat {
    /// When it was listened to last.
    round: u32,
    /// It was told something that holds.
    is_told: bool,
    /// It missed the beat when it was heard last.
    has_missed: bool,
    /// How uneven its way is: what is early enough, and not too early, spans twice as much with each level.
    level: u8,
    strikes: u8,
    /// Times in a row that it kept to the beat.
    calm: u8,
    /// Times of listening until it is told anything again.
    rest: u8,
}

impl Beat {
    /// It was not heard yet in this time of listening.
    pub(super) fn is_new_in(&self, round: u32) -> bool {
        self.round != round
    }

    /// The peer's message has come in this time of listening, with so much left. `share`, from 0 to 1, is its place among
    /// `connections` others. `None` if nothing can be said of when it came.
    pub(super) fn hear(
        &mut self,
        round: u32,
        left: Left,
        tick: Duration,
        connections: usize,
        share: f64,
    ) -> Option<Heard> {
        let least = MARGIN + tick / MARGIN_PER_TICK;
        // Ticks may have become shorter since.
        let width = ((WIDTH + tick / MARGIN_PER_TICK) * (1 << self.level)).min(tick / 2);
        let connections = u32::try_from(connections).unwrap_or(u32::MAX);
        let spread = SPREAD_PER_CONNECTION
            .saturating_mul(connections)
            .min(tick / 2);
        let is_early = left.at_look > least + width + spread;
        let is_late = left.at_look < least;
        // Where nobody looked for long, it may have come early, or in time.
        let is_blurred = left.blur > width.max(tick / BLUR_PER_TICK);
        if !is_early && is_blurred {
            return None;
        }
        self.round = round;
        if self.rest > 0 {
            self.rest -= 1;
            return Some(Heard::InTime);
        }
        if !is_early && !is_late {
            self.keep();
            return Some(Heard::InTime);
        }
        // Once may be an accident, its own or ours.
        let is_accident = !std::mem::replace(&mut self.has_missed, true) && self.is_told;
        self.calm = 0;
        self.strikes += STRIKES_PER_MISS;
        if self.strikes > STRIKES_MAX {
            self.strikes = 0;
            if width * 2 > tick / 2 {
                self.rest = REST;
                return Some(self.let_off().map_or(Heard::Missed, Heard::Told));
            }
            self.level += 1;
        } else if is_accident {
            return Some(Heard::Missed);
        }
        self.is_told = true;
        self.has_missed = false;
        let wanted = least + width / 3 * 2 + spread.mul_f64(share);
        let blur = if is_blurred {
            left.blur
        } else {
            Duration::ZERO
        };
        let came = left.at_look + blur / 2;
        let shift_us = came.as_micros() as i64 - wanted.as_micros() as i64;
        let tick_us = tick.as_micros() as i64;
        // The nearer way round.
        let near_us = (shift_us + tick_us / 2).rem_euclid(tick_us) - tick_us / 2;
        Some(Heard::Told(i32::try_from(near_us).unwrap_or(0)))
    }

    fn keep(&mut self) {
        self.has_missed = false;
        self.strikes = self.strikes.saturating_sub(1);
        self.calm += 1;
        if self.calm >= CALM_TIMES {
            self.calm = 0;
            self.level = self.level.saturating_sub(1);
        }
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
        assert_eq!(listening.poll_pause(start + ms(5000)), None, "no room goes");
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
                if listening.poll_pause(start + ms(at_ms)).is_some() {
                    looks += 1;
                    (0..heard).for_each(|n| {
                        listening.note(if n < told {
                            Heard::Missed
                        } else {
                            Heard::InTime
                        });
                    });
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

    /// A sender whose messages take so long, told by a room that ticks from 0 on and looks so often: how long the messages of so
    /// many rounds had left.
    fn settle(
        rounds: u32,
        tick_ms: f64,
        look_ms: f64,
        way_ms: impl Fn(u32) -> f64,
        connections: usize,
        share: f64,
    ) -> Vec<f64> {
        let mut sender = Sender::new((tick_ms * 1000.0) as u32);
        let mut beat = Beat::default();
        let mut left = Vec::new();
        let mut from_ms = 777.7;
        for round in 1..=rounds {
            assert!(beat.is_new_in(round));
            let sent_ms = sender.next_ms(from_ms);
            from_ms += 1013.0;
            let came_ms = sent_ms + way_ms(round);
            left.push(tick_ms - came_ms.rem_euclid(tick_ms));
            let looked_ms = (came_ms / look_ms).ceil() * look_ms;
            let at_look_ms = tick_ms - looked_ms.rem_euclid(tick_ms);
            let seen = Left {
                at_look: Duration::from_secs_f64(at_look_ms / 1000.0),
                blur: Duration::from_secs_f64(look_ms / 1000.0),
            };
            let tick = Duration::from_secs_f64(tick_ms / 1000.0);
            let heard = beat.hear(round, seen, tick, connections, share);
            assert!(heard.is_none() || !beat.is_new_in(round));
            if let Some(Heard::Told(shift_us)) = heard {
                sender.shift(shift_us, sent_ms);
            }
        }
        left
    }

    #[test]
    fn a_peer_comes_to_speak_shortly_before_steps() {
        for way_ms in [0.2, 9.0, 35.3, 180.0] {
            for (tick_ms, connections, share) in [(16.667, 100, 0.5), (50.0, 2000, 0.9)] {
                for looks in [20.0, 200.0] {
                    let look_ms = tick_ms / looks;
                    let left = settle(10, tick_ms, look_ms, |_| way_ms, connections, share);
                    let spread_ms = 0.006 * connections as f64 * share;
                    let wanted_ms = 1.9 + tick_ms / 29.0 + spread_ms;
                    for left_ms in &left[2..] {
                        let off_ms = (left_ms - wanted_ms).abs();
                        assert!(off_ms < 1.6 + look_ms, "{way_ms} {wanted_ms} {left:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn who_comes_while_nobody_looks_is_told_if_it_is_early_for_sure() {
        let tick = ms(50);
        let seen = |at_look, blur| {
            let (at_look, blur) = (ms(at_look), ms(blur));
            Beat::default().hear(1, Left { at_look, blur }, tick, 100, 0.0)
        };
        assert!(matches!(
            seen(30, 10),
            Some(Heard::Told(30_000.. | ..=-15_000))
        ));
        assert_eq!(seen(1, 10), None, "perhaps in time");
        assert_eq!(seen(4, 10), None);
        assert_eq!(seen(4, 1), Some(Heard::InTime));
    }

    #[test]
    fn an_accident_is_no_reason_to_speak_at_another_moment() {
        let held_up = |round| if round % 7 == 5 { 13.0 } else { 2.0 };
        let left = settle(100, 25.0, 1.25, held_up, 100, 0.5);
        let settled = left[3];
        for (n, left_ms) in left.iter().enumerate().skip(4) {
            let late_ms = if n % 7 == 4 { 11.0 } else { 0.0 };
            let came_ms = (left_ms + late_ms).rem_euclid(25.0);
            assert!((came_ms - settled.rem_euclid(25.0)).abs() < 0.2, "{left:?}");
        }
    }

    #[test]
    fn an_uneven_way_is_given_more_time() {
        // From 20 to 28 ms.
        let way_ms = |round: u32| 20.0 + f64::from(round * 7 % 17) / 2.0;
        let left = settle(300, 50.0, 2.5, way_ms, 100, 0.5);
        let late = left[60..].iter().filter(|left| **left > 25.0).count();
        assert!(late <= 6, "{late}: {left:?}");
        let longest = left[60..].iter().filter(|left| **left <= 25.0);
        assert!(longest.fold(0.0f64, |a, b| a.max(*b)) < 22.0, "{left:?}");
    }

    #[test]
    fn what_was_enough_in_a_slow_room_is_not_asked_of_a_fast_one() {
        let mut beat = Beat {
            is_told: true,
            level: 3,
            ..Beat::default()
        };
        let left = Left {
            at_look: ms(19),
            blur: Duration::ZERO,
        };
        assert_eq!(beat.hear(1, left, ms(100), 1, 0.0), Some(Heard::InTime));
        assert_eq!(beat.hear(2, left, ms(25), 1, 0.0), Some(Heard::Missed));
        let told = beat.hear(3, left, ms(25), 1, 0.0);
        assert!(matches!(told, Some(Heard::Told(1..))), "later: {told:?}");
    }

    #[test]
    fn who_can_not_keep_to_it_is_let_off_and_tried_again() {
        let mut beat = Beat::default();
        let mut words = Vec::new();
        for round in 1..=120u32 {
            // Always somewhere else.
            let left = Left {
                at_look: ms(1 + u64::from(round * 7 % 19)),
                blur: Duration::ZERO,
            };
            if let Some(Heard::Told(word)) = beat.hear(round, left, ms(20), 1, 0.0) {
                words.push((round, word == 0));
            }
        }
        let offs: Vec<u32> = words.iter().filter(|w| w.1).map(|w| w.0).collect();
        assert!(offs.len() >= 2, "{words:?}");
        let after = words.iter().find(|w| w.0 > offs[0]).expect("again");
        assert!(after.0 >= offs[0] + u32::from(REST), "{words:?}");
    }

    #[test]
    fn who_was_told_is_let_off_once_where_steps_keep_to_no_beat() {
        let mut beat = Beat::default();
        assert_eq!(beat.let_off(), None);
        let left = Left {
            at_look: ms(12),
            blur: Duration::ZERO,
        };
        assert!(matches!(
            beat.hear(1, left, ms(20), 1, 0.0),
            Some(Heard::Told(_))
        ));
        assert_eq!(beat.let_off(), Some(0));
        assert_eq!(beat.let_off(), None, "it knows");
    }
}
