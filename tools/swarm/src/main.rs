//! `chalkboard-swarm`: clients by the thousand, for people who want to see what a server bears, and for harnesses.
//!
//! - The load: [`spec`] says who does what, [`swarm`] runs it on a few threads, a [`role`] for each client: thin ones by
//!   the thousand in a [`fleet`], and a few that look ([`observer`]); [`agenda`], [`schedule`], [`rhythm`] and [`clock`]
//!   keep time, [`pen`] draws, [`address`] finds the server.
//! - What comes of it: [`counts`] and [`sample`]; [`join`] times joins.
//! - Durability: [`kills`] ends servers of its own in the middle of everything and looks for what they promised.
//! - What a server tells of itself: [`metrics`].
//! - For harnesses: [`protocol`]. For people: [`scenario`] and its [`report`]. For the project: [`figures`], which start
//!   an [`own_server`] and a [`load_process`] each.
//!
//! It knows a server only by what travels, by its metrics, and by what the system tells of its process; [`kills`] also reads its store.

mod address;
mod agenda;
mod clock;
mod counts;
mod figures;
mod fleet;
mod join;
mod kills;
mod load_process;
mod metrics;
mod observer;
mod own_server;
mod pen;
mod protocol;
mod report;
mod rhythm;
mod role;
mod sample;
mod scenario;
mod schedule;
mod spec;
mod swarm;
mod walkers;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use scenario::{Scenario, ScenarioOptions};

/// What comes for thousands is kept for a moment and dropped: the system's allocator gives that memory back each time, and a third
/// of the load's time went into having it cleared and handed out again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Clients by the thousand for a Chalkboard server.
#[derive(Debug, Parser)]
#[command(name = "chalkboard-swarm", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A load that a harness commands: BENCH_T0 and BENCH_SPEC in the environment, JSON lines in and out
    Bench,
    /// Everybody moves and one in ten draws, all on one canvas
    Workshop(ScenarioOptions),
    /// One draws, the others watch and seldom move
    Lecture(ScenarioOptions),
    /// Very many, each looking at a screenful, hardly anybody drawing
    Crowd(ScenarioOptions),
    /// Ten draw as fast as they are told, twenty receive
    Ops(ScenarioOptions),
    /// Strangers come one after another, and each waits for the board
    Join(ScenarioOptions),
    /// Kill servers of our own while people draw, and look for everything that was shown as saved
    Kills(kills::KillOptions),
    /// Measure the project's figures, a row each, against servers of its own
    Figures(figures::FigureOptions),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Bench => protocol::run(std::io::stdin().lock(), std::io::stdout().lock()),
        Command::Workshop(options) => scenario::run(Scenario::Workshop, &options),
        Command::Lecture(options) => scenario::run(Scenario::Lecture, &options),
        Command::Crowd(options) => scenario::run(Scenario::Crowd, &options),
        Command::Ops(options) => scenario::run(Scenario::Ops, &options),
        Command::Join(options) => scenario::run(Scenario::Join, &options),
        Command::Kills(options) => kills::run(options),
        Command::Figures(options) => figures::run(options),
    }
}

#[expect(clippy::print_stderr, reason = "the last words of a command line tool")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("chalkboard-swarm: {error:#}");
    ExitCode::FAILURE
}
