//! Losses: whether a connection's way loses packets, by what QUIC counts.
//!
//! A few in a short time make a way lossy, and only some time without any makes it sound again, so that the room is not
//! told back and forth. Looks are spaced out: to count costs a little, and nothing is lost by learning it a moment later.

use std::time::{Duration, Instant};

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// So many lost packets within so long a time make a way lossy. One alone may be what a burst of our own has overrun.
const LOST_MIN: u64 = 2;
const LOST_WITHIN: Duration = Duration::from_secs(2);
/// Time without losses after which a way is sound again.
const SOUND_AFTER: Duration = Duration::from_secs(10);

/// What is known of a way.
#[derive(Debug)]
pub(super) struct Losses {
    next_look: Instant,
    /// Packets lost so far, as of the last look.
    lost: u64,
    /// When those that count together began to be lost, and how many they are.
    since: Instant,
    recent: u64,
    /// The last look that found any.
    last: Instant,
    is_lossy: bool,
}

impl Losses {
    /// Of a connection that begins.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            next_look: now,
            lost: 0,
            since: now,
            recent: 0,
            last: now,
            is_lossy: false,
        }
    }

    /// It is time to look again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.next_look
    }

    /// So many packets were lost since the connection began. Answers whether the way is lossy.
    pub(super) fn look(&mut self, lost: u64, now: Instant) -> bool {
        self.next_look = now + LOOK_INTERVAL;
        let news = lost.saturating_sub(self.lost);
        self.lost = lost;
        if news > 0 {
            if now > self.since + LOST_WITHIN {
                self.since = now;
                self.recent = 0;
            }
            self.recent += news;
            self.last = now;
        }
        self.is_lossy = if self.is_lossy {
            now < self.last + SOUND_AFTER
        } else {
            news > 0 && self.recent >= LOST_MIN
        };
        self.is_lossy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds at which the way is found to be lossy, of 60, where these are lost: the second and how many.
    fn lossy_seconds(lost: &[(u64, u64)]) -> Vec<u64> {
        let start = Instant::now();
        let mut losses = Losses::new(start);
        let mut seconds = Vec::new();
        for second in 0..60 {
            let so_far = lost.iter().filter(|(at, _)| *at <= second);
            let now = start + Duration::from_secs(second);
            assert!(losses.is_due(now));
            if losses.look(so_far.map(|(_, count)| count).sum(), now) {
                seconds.push(second);
            }
            assert!(!losses.is_due(now));
        }
        seconds
    }

    #[test]
    fn a_way_is_lossy_from_a_few_losses_until_some_time_without() {
        assert!(lossy_seconds(&[]).is_empty());
        assert!(lossy_seconds(&[(5, 1), (20, 1), (40, 1)]).is_empty());
        let from_to = |range: std::ops::Range<u64>| range.collect::<Vec<_>>();
        assert_eq!(lossy_seconds(&[(5, 2)]), from_to(5..15));
        assert_eq!(lossy_seconds(&[(5, 1), (6, 1)]), from_to(6..16));
        assert_eq!(lossy_seconds(&[(5, 9), (14, 1)]), from_to(5..24));
        assert_eq!(lossy_seconds(&[(5, 1), (8, 1), (9, 1)]), from_to(9..19));
    }
}
