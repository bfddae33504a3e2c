//! The wall clock, read in one place.
//!
//! Records, new boards and certificates bear its time; what is measured (ticks, waits, buckets) never does, but goes by
//! the clock that only goes forward. So it may jump as it likes, and nothing but what people read changes.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// What is added to the system's clock, in milliseconds.
static SHIFT_MS: AtomicI64 = AtomicI64::new(0);

/// Milliseconds since 1970-01-01 UTC; 0 before that.
pub fn unix_ms() -> u64 {
    let system = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let system = u64::try_from(system.as_millis()).unwrap_or(u64::MAX);
    system.saturating_add_signed(SHIFT_MS.load(Ordering::Relaxed))
}

/// Sets this process's clock off by so many milliseconds, as somebody might set the system's: for tests of just that.
pub fn shift_ms(by: i64) {
    SHIFT_MS.store(by, Ordering::Relaxed);
}
