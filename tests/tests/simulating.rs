//! Whatever happens to network, disk, server and clients: the deterministic simulation, a few hundred seeds of it.
//!
//! `cargo xtask simulate` runs more. A seed that once failed is a case of its own here.

use std::time::Duration;

use chalkboard_tests::simulated::campaign::{self, Campaign};
use chalkboard_tests::simulated::{replay, simulate};

/// Seeds that are run here.
const SEEDS: u64 = 320;

#[test]
fn seeds_hold() {
    let campaign = Campaign {
        first: 0,
        seeds: SEEDS,
        time_max: Duration::MAX,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let outcome = campaign::run(campaign, |_| {});
    let failures: Vec<_> = outcome.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let covered = outcome.tally;
    let counts = [
        covered.undos,
        covered.cuts,
        covered.parted,
        covered.dead_links,
        covered.client_crashes,
        covered.absences,
        covered.power_failures,
        covered.kills,
        covered.stops,
        covered.crashes_in_load,
        covered.crashes_in_sync,
        covered.torn,
        covered.forgotten,
        covered.full,
        covered.failed,
        covered.unread,
        covered.unloads,
        covered.snapshots,
        covered.stalls,
    ];
    assert!(
        counts.iter().all(|count| *count >= 10),
        "too little happened: {covered}"
    );
    assert!(covered.saved > 50_000, "too little was saved: {covered}");
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for seed in 0..16 {
        let (first, second) = (replay(seed), replay(seed));
        assert_eq!(first.1, second.1);
        let differs = first.0.iter().zip(&second.0).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.0.len(), second.0.len(), "seed {seed}");
    }
}

#[test]
fn strokes_that_came_whole_are_not_resumed_from_after_their_ops_were_lost() {
    // A stroke came back into view by an op that a crash then lost; its client went on with that state of it.
    for seed in [387, 643] {
        simulate(seed).unwrap_or_else(|failure| panic!("{failure}"));
    }
}
