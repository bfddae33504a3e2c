//! `cargo xtask simulate`: long runs of the deterministic simulation, or one seed with what happens in it.
//!
//! It only builds and starts the tests' `simulate`, fast and with assertions; what that does is its own.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// Builds the simulation and runs it with these arguments.
pub(crate) fn simulate(workspace: &Workspace, arguments: &[OsString]) -> Result<ExitCode> {
    let status = workspace
        .cargo()
        .args(["run", "--quiet", "--profile", "simulate"])
        .args(["--package", "chalkboard-tests", "--no-default-features"])
        .args(["--bin", "simulate", "--"])
        .args(arguments)
        .status()
        .context("cargo does not start")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
