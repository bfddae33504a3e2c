//! Which snapshots of a board are kept: the newest two, and older ones ever further apart.
//!
//! History itself is never cut; older snapshots only make its moments quick to reach, so those may be thinned out that
//! leave no long way between their neighbours.

use chalkboard_shared::id::Position;

/// The newest, and one to fall back to.
const NEWEST_KEPT: usize = 2;

/// Ops that it may be from a kept snapshot to the next: some 50 ms to fold.
const OPS_BETWEEN: u64 = 32 * 1024;

/// On a long board that is this share of the position, as a divisor: snapshots grow with their position, and so at most
/// two are kept while the board grows by a third. Together they are at most eight times the newest's bytes.
const SHARE_BETWEEN: u64 = 4;

/// Those of `positions` (ascending) that are kept no longer.
pub(super) fn superseded(positions: &[Position]) -> Vec<Position> {
    let mut superseded = Vec::new();
    // The empty board is there without a snapshot.
    let mut kept = Position(0);
    let older = positions.len().saturating_sub(NEWEST_KEPT);
    for (&position, next) in positions
        .iter()
        .zip(&positions[1.min(positions.len())..])
        .take(older)
    {
        let far = OPS_BETWEEN.max(next.0 / SHARE_BETWEEN);
        if next.0.saturating_sub(kept.0) <= far {
            superseded.push(position);
        } else {
            kept = position;
        }
    }
    superseded
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The positions that are kept of a board with a snapshot every `interval` ops up to `end`.
    fn kept(interval: u64, end: u64) -> Vec<u64> {
        let mut kept: Vec<Position> = Vec::new();
        for position in (interval..=end).step_by(interval as usize) {
            kept.push(Position(position));
            let gone = superseded(&kept);
            kept.retain(|position| !gone.contains(position));
        }
        kept.iter().map(|position| position.0).collect()
    }

    #[test]
    fn a_short_board_keeps_the_newest_two() {
        assert_eq!(kept(2000, 20_000), [18_000, 20_000]);
        assert_eq!(kept(1, 1), [1]);
        assert_eq!(superseded(&[]), []);
    }

    #[test]
    fn every_moment_of_a_long_board_is_near_a_snapshot_and_their_bytes_have_a_bound() {
        for (interval, end) in [(2000, 100_000), (2000, 1_000_000), (30_000, 3_000_000)] {
            let kept = kept(interval, end);
            let mut from = 0;
            for &position in &kept {
                let far = OPS_BETWEEN.max(position / SHARE_BETWEEN).max(interval);
                assert!(position - from <= far, "{from} to {position} of {kept:?}");
                from = position;
            }
            assert_eq!(
                kept[kept.len() - 2..],
                [end - end % interval - interval, end - end % interval]
            );
            assert!(kept.iter().sum::<u64>() <= 8 * end, "{kept:?}");
        }
    }
}
