//! What the log writer counts. Metrics and health read it at any time; the thread is the only one that writes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts since the start, for metrics. Each is exact; together they may be of slightly different moments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogCounts {
    /// Transactions that appended to logs.
    pub commits: u64,
    /// Batches that are durable.
    pub batches: u64,
    /// Bytes of records that are durable.
    pub bytes: u64,
    /// How long the last commit took, its sync included, microseconds.
    pub last_commit_us: u64,
    /// Attempts to append that failed and were, or will be, repeated.
    pub failures: u64,
    /// Batches that did not fit their board's log and were not written.
    pub refused: u64,
    /// Snapshots that are stored.
    pub snapshots: u64,
    /// Snapshots that could not be stored; the log before them keeps the board recoverable.
    pub snapshot_failures: u64,
    /// Batches and snapshots that wait or are being written.
    pub queued: u64,
    /// Their bytes.
    pub queued_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    commits: AtomicU64,
    batches: AtomicU64,
    bytes: AtomicU64,
    last_commit_us: AtomicU64,
    failures: AtomicU64,
    refused: AtomicU64,
    snapshots: AtomicU64,
    snapshot_failures: AtomicU64,
}

// Relaxed throughout: nothing else is decided by these numbers.
impl Counters {
    pub(super) fn committed(&self, batches: usize, bytes: usize, took: Duration) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.batches.fetch_add(batches as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.last_commit_us.store(micros, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, batches: usize) {
        self.refused.fetch_add(batches as u64, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self, stored: bool) {
        let counter = if stored {
            &self.snapshots
        } else {
            &self.snapshot_failures
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// All but what is queued, which the queue knows.
    pub(super) fn read(&self) -> LogCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LogCounts {
            commits: read(&self.commits),
            batches: read(&self.batches),
            bytes: read(&self.bytes),
            last_commit_us: read(&self.last_commit_us),
            failures: read(&self.failures),
            refused: read(&self.refused),
            snapshots: read(&self.snapshots),
            snapshot_failures: read(&self.snapshot_failures),
            queued: 0,
            queued_bytes: 0,
        }
    }
}
