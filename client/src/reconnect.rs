//! When to try the next connection: exponential backoff with full jitter.
//!
//! Full jitter (a uniform share of the whole delay) spreads the clients of a restarted server best. The platform
//! brings the randomness and waits; this only counts.

/// The first delay's upper bound in milliseconds.
const DELAY_MS_FIRST: f64 = 500.0;

/// No delay is longer than this, in milliseconds.
pub const DELAY_MS_MAX: f64 = 15_000.0;

/// How often it failed in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Nothing failed yet.
    pub const fn new() -> Self {
        Self { failures: 0 }
    }

    /// After a failure: milliseconds to wait before the next try, 0 to [`DELAY_MS_MAX`]. `random` is uniform in
    /// 0..1; anything else is brought into that range.
    pub fn next_delay_ms(&mut self, random: f64) -> f64 {
        // 2^5 x 0.5 s is beyond the longest delay; larger powers add nothing.
        let bound = (DELAY_MS_FIRST * f64::from(1u32 << self.failures.min(5))).min(DELAY_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        bound
            * if random.is_nan() {
                1.0
            } else {
                random.clamp(0.0, 1.0)
            }
    }

    /// It worked: the next failure begins with the shortest delay again.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures since it worked last.
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_begin_anew_after_success() {
        let mut backoff = Backoff::new();
        let delays: Vec<f64> = (0..7).map(|_| backoff.next_delay_ms(1.0)).collect();
        assert_eq!(
            delays,
            [500.0, 1000.0, 2000.0, 4000.0, 8000.0, 15_000.0, 15_000.0]
        );
        backoff.succeeded();
        assert_eq!(backoff.next_delay_ms(0.5), 250.0);
    }

    #[test]
    fn any_random_number_and_any_count_stay_in_range() {
        let mut backoff = Backoff { failures: u32::MAX };
        for random in [0.0, -3.0, 7.0, f64::NAN, f64::INFINITY] {
            let delay = backoff.next_delay_ms(random);
            assert!((0.0..=DELAY_MS_MAX).contains(&delay), "{delay}");
        }
    }
}
