//! When a board's next snapshot is due: by what has changed since the last, by the size of the board, and by the time.
//!
//! Snapshots bound what a start has to replay, and a start without any would be no tragedy, so they are made rarely enough
//! to cost little. The room's thread reads the clock.

use std::time::{Duration, Instant};

use chalkboard_shared::Position;

/// Ops between two snapshots, at the least: replaying them takes a few milliseconds.
const INTERVAL_OPS: u64 = 2000;
/// Time from one snapshot to the next at the least: where hundreds draw, each would soon be followed by another of the
/// whole board (measured: three a second and a fifth of the server's time). Of thousands of ops a second what is drawn meanwhile
/// is replayed in some tens of milliseconds; of the most that a room takes, in a few seconds.
const PAUSE: Duration = Duration::from_secs(10);
/// Pause after a snapshot that there was no place for.
const RETRY: Duration = Duration::from_secs(5);

/// When the next one is due.
#[derive(Debug)]
pub(super) struct SnapshotPlan {
    /// Where the last one is, or will be.
    at: Position,
    not_before: Option<Instant>,
}

impl SnapshotPlan {
    /// Of a board whose last one is there.
    pub(super) const fn new(at: Position) -> Self {
        Self {
            at,
            not_before: None,
        }
    }

    /// Something has changed since the last one.
    pub(super) fn has_changed(&self, position: Position) -> bool {
        position != self.at
    }

    /// It is time for one of a board of so many strokes.
    pub(super) fn is_due(&self, position: Position, strokes: usize, now: Instant) -> bool {
        // A large board takes long to fold, so that is done more rarely: the cost per op stays the same.
        let interval = INTERVAL_OPS.max(strokes as u64 / 2);
        position.0 - self.at.0 >= interval && self.not_before.is_none_or(|at| now >= at)
    }

    /// One is made of what there is up to here.
    pub(super) fn made(&mut self, position: Position, now: Instant) {
        self.at = position;
        self.not_before = Some(now + PAUSE);
    }

    /// There was no place for one. That costs time at the next load, nothing else.
    pub(super) fn refused(&mut self, now: Instant) {
        self.not_before = Some(now + RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_comes_with_enough_ops_and_the_next_not_before_its_time() {
        let begin = Instant::now();
        let mut plan = SnapshotPlan::new(Position(500));
        let end = |ops: u64| Position(500 + ops);
        assert!(!plan.has_changed(end(0)));
        assert!(!plan.is_due(end(INTERVAL_OPS - 1), 10, begin));
        assert!(plan.is_due(end(INTERVAL_OPS), 10, begin));
        plan.made(end(INTERVAL_OPS), begin);
        assert!(plan.has_changed(end(INTERVAL_OPS + 1)));
        let many = end(100 * INTERVAL_OPS);
        assert!(!plan.is_due(many, 10, begin + PAUSE - Duration::from_millis(1)));
        assert!(plan.is_due(many, 10, begin + PAUSE));
        assert!(
            !plan.is_due(end(INTERVAL_OPS + 5), 10, begin + PAUSE),
            "a few ops"
        );
    }

    #[test]
    fn a_large_board_waits_for_more_ops_and_who_was_refused_tries_again() {
        let begin = Instant::now();
        let mut plan = SnapshotPlan::new(Position(0));
        assert!(!plan.is_due(Position(49_999), 100_000, begin));
        assert!(plan.is_due(Position(50_000), 100_000, begin));
        plan.refused(begin);
        assert!(!plan.is_due(Position(50_000), 100_000, begin));
        assert!(plan.is_due(Position(50_000), 100_000, begin + RETRY));
    }
}
