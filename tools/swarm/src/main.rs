//! `chalkboard-swarm`: clients by the thousand, for people who want to see what a server bears, and for harnesses.
//!
//! - The load: [`spec`] says who does what, [`swarm`] runs it on a few threads, each client a [`player`]; [`schedule`]
//!   and [`clock`] keep time, [`pen`] draws, [`address`] finds the server.
//! - What comes of it: [`counts`] and [`sample`] while it runs.
//! - For harnesses: [`protocol`]. For people: [`scenario`] with its [`table`] and [`report`]. For the project: [`figures`].
//!
//! It knows a server only by what travels, and by what the system tells of its process.

mod address;
mod clock;
mod counts;
mod figures;
mod join;
mod load_process;
mod own_server;
mod pen;
mod player;
mod protocol;
mod sample;
mod schedule;
mod spec;
mod swarm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

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
        Command::Figures(options) => figures::run(options),
    }
}

#[expect(clippy::print_stderr, reason = "the last words of a command line tool")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("chalkboard-swarm: {error:#}");
    ExitCode::FAILURE
}
