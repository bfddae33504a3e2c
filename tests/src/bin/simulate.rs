//! `simulate`: seeds of the deterministic simulation, one with its trace or many for a while.
//!
//! What `cargo xtask simulate` runs, built with assertions.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use chalkboard_tests::simulated::campaign::{self, Campaign, Progress};
use chalkboard_tests::simulated::{replay, simulate};
use clap::Parser;

/// Between two lines of progress.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Run the deterministic simulation.
#[derive(Parser)]
struct Cli {
    /// Run this seed alone
    #[arg(long)]
    seed: Option<u64>,
    /// Print what happens, in order
    #[arg(long, requires = "seed")]
    trace: bool,
    /// The first seed of many
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many seeds at most
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// For how many minutes at most
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Threads
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let is_good = match cli.seed {
        Some(seed) => one(seed, cli.trace),
        None => many(&cli),
    };
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn one(seed: u64, is_traced: bool) -> bool {
    let (lines, outcome) = if is_traced {
        replay(seed)
    } else {
        (Vec::new(), simulate(seed))
    };
    for line in lines {
        say(&line);
    }
    match &outcome {
        Ok(tally) => say(&format!("seed {seed} is good: {tally}")),
        Err(failure) => say(&failure.to_string()),
    }
    outcome.is_ok()
}

fn many(cli: &Cli) -> bool {
    let campaign = Campaign {
        first: cli.first,
        seeds: cli.seeds,
        time_max: Duration::from_secs(cli.minutes * 60),
        threads: cli.threads,
    };
    // Failures are told by the campaign; a panic's own message would come in between.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut told, mut failures_told) = (Duration::ZERO, 0);
    let outcome = campaign::run(campaign, |progress| {
        for failure in &progress.failures[failures_told..] {
            say(&failure.to_string());
        }
        failures_told = progress.failures.len();
        if progress.took >= told + TELL_EVERY {
            told = progress.took;
            say(&line(progress));
        }
    });
    say(&format!("seeds {} and on: {}", cli.first, line(&outcome)));
    outcome.failures.is_empty()
}

fn line(progress: &Progress) -> String {
    format!(
        "{} seeds, {} failed, {:.0} s, {:.1} seeds/s: {}",
        progress.seeds(),
        progress.failures.len(),
        progress.took.as_secs_f64(),
        progress.rate(),
        progress.tally
    )
}

fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    // Nobody is left to be told when standard output is closed.
    let _ = writeln!(stdout, "{line}");
}
