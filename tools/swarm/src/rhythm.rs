//! When a client of the load sends: its cursor as often as the room tells others of it, and everything shortly before the room's
//! steps.

use chalkboard_shared::presence::{Beat, Pace};

const NS_PER_MS: f64 = 1e6;

/// What a client was told of when to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) pace: Pace,
    pub(crate) beat: Beat,
}

impl Timing {
    /// Of a client that has just come in.
    pub(crate) fn of(pace: Pace) -> Self {
        let beat = Beat::new(pace.tick_us);
        Self { pace, beat }
    }

    /// The best moment, not before this one, to send something.
    pub(crate) fn best_ns(&self, at_ns: i64) -> i64 {
        let at_ms = at_ns as f64 / NS_PER_MS;
        let later_ms = self.beat.next_ms(at_ms) - at_ms;
        at_ns + (later_ms * NS_PER_MS) as i64
    }
}

/// Which of a sender's cursors are worth sending at the room's pace: as the library, which sends the newest one when
/// enough time has passed, but at moments that are given.
#[derive(Debug, Default)]
pub(crate) struct CursorRhythm {
    next_ns: i64,
}

impl CursorRhythm {
    /// The cursor of this moment is to be sent, because enough time has passed on average since the last.
    pub(crate) const fn takes(&mut self, at_ns: i64, pace: Pace) -> bool {
        let interval_ns = pace.cursor_interval_us() as i64 * 1000;
        // What became due at a slower pace does not wait for that any more.
        if self.next_ns > at_ns + interval_ns {
            self.next_ns = at_ns;
        }
        // A tenth early is early enough: whoever moves as often as the room ticks is heard in each tick.
        if at_ns < self.next_ns - interval_ns / 10 {
            return false;
        }
        let late_ns = at_ns - self.next_ns;
        self.next_ns = if late_ns < interval_ns / 2 {
            self.next_ns + interval_ns
        } else {
            at_ns + interval_ns / 2
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::presence::PresenceStage;

    use super::*;

    const fn pace(tick_us: u32, presence: PresenceStage) -> Pace {
        Pace { tick_us, presence }
    }

    /// Cursors a second that are sent of `hz` in 10 s of a pace.
    fn sent(rhythm: &mut CursorRhythm, from_s: i64, hz: i64, pace: Pace) -> f64 {
        let moments = (0..10 * hz).map(|n| from_s * 1_000_000_000 + n * 1_000_000_000 / hz);
        moments.filter(|at| rhythm.takes(*at, pace)).count() as f64 / 10.0
    }

    #[test]
    fn cursors_are_sent_as_often_as_the_pace_has_it() {
        let at = |hz, pace| sent(&mut CursorRhythm::default(), 7, hz, pace);
        let full = |tick_us| pace(tick_us, PresenceStage::Full);
        assert_eq!(at(20, full(33_333)), 20.0);
        assert_eq!(at(20, full(50_000)), 20.0, "as often as it ticks");
        assert!((at(20, full(66_667)) - 15.0).abs() < 0.3);
        assert!((at(20, full(100_000)) - 10.0).abs() < 0.2);
        assert!((at(100, full(12_500)) - 62.5).abs() < 0.5);
        let crowd = pace(100_000, PresenceStage::Crowd);
        assert!((at(20, crowd) - 2.0).abs() < 0.2);
        assert_eq!(at(1, crowd), 1.0);
    }

    #[test]
    fn a_faster_pace_holds_at_once_and_a_rest_saves_nothing_up() {
        let slow = pace(100_000, PresenceStage::Sparse);
        let full = pace(50_000, PresenceStage::Full);
        let mut rhythm = CursorRhythm::default();
        assert!(rhythm.takes(1_000_000_000, slow));
        assert!(!rhythm.takes(1_050_000_000, slow));
        assert!(rhythm.takes(1_100_000_000, full));
        assert!(rhythm.takes(1_150_000_000, full));
        let after_rest = (0..4).map(|n| 60_000_000_000 + n * 10_000_000);
        assert_eq!(after_rest.filter(|at| rhythm.takes(*at, full)).count(), 2);
    }
}
