//! Build, run, test and check Chalkboard: `cargo xtask run`, `web`, `test`, `simulate`, `ci`.
//!
//! It owns what happens around the compiler: set-up that is missing, the web client's files, the summary of the
//! tests, the order of the checks. It knows nothing of boards. Nothing here updates rustup or a toolchain, and
//! neither Node nor Docker is used.

mod chromium;
mod ci;
mod compile;
mod run;
mod simulate;
mod step;
mod suite;
mod toolchain;
mod web;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::step::say;
use crate::workspace::Workspace;

/// Build, run, test and check Chalkboard.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the web client and the server in release, then start the server
    ///
    /// Adds the wasm32 target with rustup when it is missing. Ctrl-C stops the server.
    Run {
        /// Arguments for `chalkboard serve`
        #[arg(last = true, value_name = "SERVER ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Build the web client that the server embeds, and print its sizes
    Web,
    /// Set up what the tests need and run every test, browsers included
    ///
    /// Installs Chromium with apt where it is missing and this is root on a Debian-like system; otherwise it says
    /// what to install. The last line printed is `N passed, N failed`.
    Test {
        /// Filter and options for the test binaries
        #[arg(last = true, value_name = "TEST ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Run the deterministic simulation: `--seeds N --minutes M --threads T`, or `--seed N --trace`
    ///
    /// A seed decides everything that happens to server, disk, network and people. One that fails is printed with the
    /// command that shows what happened in it.
    #[command(disable_help_flag = true)]
    Simulate {
        /// Arguments for the simulation; `--help` lists them
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGUMENTS"
        )]
        arguments: Vec<OsString>,
    },
    /// Everything that must hold before a change goes in: formatting, lints, docs, tests
    Ci,
}

fn main() -> ExitCode {
    let task = Cli::parse().task;
    let outcome = Workspace::load().and_then(|workspace| match task {
        Task::Run { arguments } => run::run(&workspace, &arguments),
        Task::Web => web::build(&workspace).map(|client| {
            say(&client.table());
            ExitCode::SUCCESS
        }),
        Task::Test { arguments } => suite::test(&workspace, &arguments),
        Task::Simulate { arguments } => simulate::simulate(&workspace, &arguments),
        Task::Ci => ci::check(&workspace),
    });
    outcome.unwrap_or_else(|error| {
        say(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}
