//! `cargo xtask run`: from a clone to a running server.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::compile::{self, Messages};
use crate::step::Step;
use crate::workspace::Workspace;
use crate::{toolchain, web};

/// Builds the web client and the server, then becomes `chalkboard serve` with these arguments.
pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<ExitCode> {
    toolchain::ensure_wasm_target()?;
    web::build(workspace)?;
    let step = Step::start("server");
    let mut cargo = workspace.cargo();
    cargo.args([
        "build",
        "--release",
        "--package",
        "chalkboard-server",
        "--bins",
    ]);
    let artifacts = compile::compile(&mut cargo, &step, Messages::Held)?;
    let server = compile::program(&artifacts, "chalkboard")?;
    step.done("built in release");

    let mut command = Command::new(&server);
    command.arg("serve").args(arguments);
    become_program(command).with_context(|| format!("{} does not start", server.display()))
}

/// Replaces this process, so that signals reach the server itself and its exit code is ours.
#[cfg(unix)]
fn become_program(mut command: Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;
    Err(command.exec().into())
}

/// Waits for the program. The console sends Ctrl-C to every program in it, the server included.
#[cfg(not(unix))]
fn become_program(mut command: Command) -> Result<ExitCode> {
    let code = command
        .status()?
        .code()
        .and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
