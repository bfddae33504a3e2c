//! Campaigns: many seeds, in threads, for so many or for so long, with progress.
//!
//! The only place of the simulation that reads a clock, and only to know when to stop and how fast it went.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use crate::simulated::trace::Tally;
use crate::simulated::{Failure, simulate};

/// Failures after which a campaign ends: they are most likely of one kind.
const FAILURES_MAX: usize = 16;

/// Results that wait to be counted.
const RESULTS_MAX: usize = 1024;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Campaign {
    /// The first seed.
    pub first: u64,
    /// How many at most.
    pub seeds: u64,
    /// For how long at most.
    pub time_max: Duration,
    /// Threads; at least one is used.
    pub threads: usize,
}

/// How far it has come, or what came of it.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// What was covered.
    pub tally: Tally,
    /// Runs that went wrong, in the order of their seeds when the campaign is over.
    pub failures: Vec<Failure>,
    /// How long it took.
    pub took: Duration,
}

impl Progress {
    /// Seeds that were run.
    pub fn seeds(&self) -> u64 {
        self.tally.runs + self.failures.len() as u64
    }

    /// Seeds a second.
    pub fn rate(&self) -> f64 {
        self.seeds() as f64 / self.took.as_secs_f64().max(0.001)
    }
}

/// Runs a campaign; `tell` is called after each seed.
pub fn run(campaign: Campaign, mut tell: impl FnMut(&Progress)) -> Progress {
    let begun = Instant::now();
    let next = AtomicU64::new(campaign.first);
    let is_over = AtomicBool::new(false);
    let end = campaign.first.saturating_add(campaign.seeds);
    let mut progress = Progress::default();
    std::thread::scope(|scope| {
        let (sender, results) = sync_channel(RESULTS_MAX);
        for _ in 0..campaign.threads.max(1) {
            let (sender, next, is_over) = (sender.clone(), &next, &is_over);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_late = begun.elapsed() >= campaign.time_max;
                    if seed >= end || is_late || is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    if sender.send(simulate(seed)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for result in results {
            match result {
                Ok(tally) => progress.tally.add(&tally),
                Err(failure) => progress.failures.push(failure),
            }
            if progress.failures.len() >= FAILURES_MAX {
                is_over.store(true, Ordering::Relaxed);
            }
            progress.took = begun.elapsed();
            tell(&progress);
        }
    });
    progress.failures.sort_by_key(|failure| failure.seed);
    progress
}
