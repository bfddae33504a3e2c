//! Deterministic simulation: a server, its disk, a network and people, all in virtual time and from one seed.
//!
//! The real room, the real client library, the real writer and loading of boards, over a disk that forgets and a
//! network that parts. Nothing here reads a clock, starts a thread or draws from anything but the seed, so a run that
//! fails is repeated by its number. What must hold is held against it all along and at the end: [`checks`].
//!
//! - [`scenario`]: what a seed makes of everything; [`person`], [`store`], [`link`], [`host`]: who and what takes part.
//! - [`world`]: brings them together, a tick at a time; [`telling`]: what happens there, in words.
//! - [`evidence`], [`model`]: what was promised, and a second opinion on what it comes to.
//! - [`campaign`]: many seeds, in threads, with progress.

pub mod campaign;
pub mod checks;
pub mod evidence;
pub mod host;
pub mod link;
pub mod model;
pub mod person;
pub mod scenario;
pub mod store;
pub mod telling;
pub mod trace;
pub mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use trace::{Tally, Trace};
use world::World;

/// A run that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What was found.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, what } = self;
        write!(
            f,
            "seed {seed} failed: {what}\nwatch it happen: cargo xtask simulate --seed {seed} --trace"
        )
    }
}

/// Runs a seed; answers what it covered.
///
/// # Errors
/// What went wrong. A panic of anything that takes part is one.
pub fn simulate(seed: u64) -> Result<Tally, Failure> {
    run(seed, &Trace::new(false))
}

/// Runs a seed and answers what happened, in order, with how it ended.
pub fn replay(seed: u64) -> (Vec<String>, Result<Tally, Failure>) {
    let trace = Trace::new(true);
    let outcome = run(seed, &trace);
    (trace.lines(), outcome)
}

fn run(seed: u64, trace: &Trace) -> Result<Tally, Failure> {
    let fail = |what| Failure { seed, what };
    match catch_unwind(AssertUnwindSafe(|| World::new(seed, trace.clone())?.run())) {
        Ok(outcome) => outcome.map_err(fail),
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned());
            Err(fail(format!("panic: {}", text.unwrap_or_default())))
        }
    }
}
