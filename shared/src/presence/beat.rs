//! The beat of a room, as a sender keeps it: the moments shortly before its steps, seen from where the sender is.
//!
//! What comes in just after a step waits nearly a tick for the next one, and what comes just before it waits for nothing.
//! The server, which sees how long the messages of a session wait, tells the session by how much to shift them; neither
//! has to know the other's clock, nor how long the way is.

/// A moment that is so little behind one of the beat's is still that one, in milliseconds: timers are late.
const LATE_MS_MAX: f64 = 1.0;

/// When a sender speaks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beat {
    /// The length of a tick, in milliseconds.
    tick_ms: f64,
    /// One of the moments, on the sender's clock; `None` while any moment is as good.
    at_ms: Option<f64>,
}

impl Beat {
    /// Of a room whose ticks have this length, in microseconds, and of whoever was not told anything yet.
    pub fn new(tick_us: u32) -> Self {
        Self {
            tick_ms: f64::from(tick_us) / 1000.0,
            at_ms: None,
        }
    }

    /// The server wants messages by so many microseconds later, or earlier where that is less than 0, than they come; 0 where
    /// it does not care. The last one was sent at `sent_ms`.
    pub fn shift(&mut self, shift_us: i32, sent_ms: f64) {
        self.at_ms =
            (shift_us != 0).then(|| self.at_ms.unwrap_or(sent_ms) + f64::from(shift_us) / 1000.0);
    }

    /// There are moments that are better than others.
    pub const fn is_kept(&self) -> bool {
        self.at_ms.is_some()
    }

    /// The first moment, not before `ms`, at which to send, in milliseconds on the sender's clock: less than a tick away.
    pub fn next_ms(&self, ms: f64) -> f64 {
        match self.at_ms {
            Some(at_ms) => {
                let ticks = (ms - at_ms) / self.tick_ms;
                // A remainder of floats is a kilobyte of wasm.
                let behind_ms = (ticks - ticks.floor()) * self.tick_ms;
                if behind_ms > LATE_MS_MAX {
                    ms + self.tick_ms - behind_ms
                } else {
                    ms
                }
            }
            None => ms,
        }
    }

    /// When to send again what was sent at `sent_ms`, perhaps a little late, and is worth it after so many milliseconds: at a
    /// moment that is a third of a tick too early at the most.
    pub fn after_ms(&self, sent_ms: f64, interval_ms: f64) -> f64 {
        match self.at_ms {
            Some(_) => {
                let least_ms = interval_ms - self.tick_ms / 3.0;
                self.next_ms(sent_ms + least_ms.max(2.0 * LATE_MS_MAX))
            }
            None => sent_ms + interval_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To the microsecond.
    #[track_caller]
    fn assert_is(ms: f64, expected_ms: f64) {
        assert!((ms - expected_ms).abs() < 1e-3, "{ms}, not {expected_ms}");
    }

    #[test]
    fn a_sender_goes_on_as_it_was_told() {
        let mut beat = Beat::new(20_000);
        assert_is(beat.next_ms(1234.5), 1234.5);
        assert_is(beat.after_ms(1234.5, 50.0), 1284.5);
        beat.shift(-3000, 1000.0);
        assert_is(beat.next_ms(1000.0), 1017.0);
        assert_is(beat.next_ms(1017.0), 1017.0);
        assert_is(beat.next_ms(1017.9), 1017.9);
        assert_is(beat.next_ms(1018.5), 1037.0);
        assert_is(beat.next_ms(50.0), 57.0);
        // Counted from what it keeps to, not from when it happened to send last.
        beat.shift(5000, 4321.0);
        assert_is(beat.next_ms(1018.0), 1022.0);
        beat.shift(0, 1023.5);
        assert!(!beat.is_kept());
        assert_is(beat.next_ms(1023.5), 1023.5);
    }

    #[test]
    fn what_is_sent_again_comes_at_the_next_moment_that_is_worth_it() {
        let mut beat = Beat::new(20_000);
        beat.shift(2000, 1000.0);
        for late_ms in [0.0, 0.8, 5.0] {
            let sent_ms = 1002.0 + late_ms;
            assert_is(beat.after_ms(sent_ms, 0.0), 1022.0);
            assert_is(beat.after_ms(sent_ms, 18.0), 1022.0);
            assert_is(beat.after_ms(sent_ms, 50.0), 1062.0);
        }
        assert_is(beat.after_ms(1002.0, 45.0), 1042.0);
        assert_eq!(beat.after_ms(f64::NEG_INFINITY, 18.0), f64::NEG_INFINITY);
    }
}
