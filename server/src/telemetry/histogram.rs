//! How long things take, as counts of durations by size.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in microseconds; one more holds the rest.
pub(crate) const BOUNDS_US: [u64; 16] = [
    50, 100, 250, 500, 1000, 2000, 4000, 8000, 10_000, 16_000, 25_000, 33_000, 66_000, 130_000,
    260_000, 1_000_000,
];

/// Durations by size, and their sum.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts a duration.
    pub(crate) fn record(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Durations up to each bound and in all, cumulative, and their sum in seconds.
    pub(crate) fn cumulative(&self) -> ([u64; BOUNDS_US.len() + 1], f64) {
        let mut sum = 0;
        let counts = std::array::from_fn(|bucket| {
            sum += self.buckets[bucket].load(Ordering::Relaxed);
            sum
        });
        (counts, self.sum_us.load(Ordering::Relaxed) as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_up_to_their_bounds() {
        let histogram = Histogram::default();
        for us in [0, 50, 51, 999, 1_000_000, 5_000_000] {
            histogram.record(Duration::from_micros(us));
        }
        let (counts, sum) = histogram.cumulative();
        assert_eq!(counts[0], 2, "up to 50 us, which is included");
        assert_eq!(counts[1], 3);
        assert_eq!(counts[4], 4, "up to a millisecond");
        assert_eq!(counts[BOUNDS_US.len() - 1], 5);
        assert_eq!(counts[BOUNDS_US.len()], 6, "all");
        assert!((sum - 6.0011).abs() < 1e-6, "{sum}");
    }
}
