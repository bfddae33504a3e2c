//! Running every test: set-up, one compilation of everything, the tests streamed, a summary.
//!
//! Compilation is one call for all targets. Tests switch features of dependencies on that the server alone does
//! not need; built apart from them, the server would compile these dependencies a second time.

mod report;

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::compile::{self, Messages};
use crate::step::{Step, Taken, say};
use crate::workspace::Workspace;
use crate::{chromium, toolchain, web};
pub(crate) use report::Report;

/// Names the server's binary for the tests.
const SERVER_VARIABLE: &str = "CHALKBOARD_BIN";

/// Names the load clients' binary for the tests.
const SWARM_VARIABLE: &str = "CHALKBOARD_SWARM";

/// Longest line that is looked at; what tests print beyond that is shown, but not understood.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// `cargo xtask test`: runs the tests, prints the summary, and fails unless all is well.
pub(crate) fn test(workspace: &Workspace, arguments: &[OsString]) -> Result<ExitCode> {
    let (report, _) = run(workspace, arguments)?;
    say(&report.summary());
    Ok(close(&report))
}

/// Prints the closing line, and says with the exit code what it says.
pub(crate) fn close(report: &Report) -> ExitCode {
    say(&report.closing_line());
    if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Sets up what the tests need, compiles everything and runs every test, benchmarks (once each, as a check that they
/// work) and doctests included. The arguments go to the test binaries; with arguments benchmarks are not run,
/// since they understand others.
pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<(Report, Vec<Taken>)> {
    let mut steps = Vec::new();
    steps.extend(toolchain::ensure_wasm_target()?);
    // Before the long steps: whoever must install something should hear of it now.
    let (chromium, taken) = chromium::ensure()?;
    steps.push(taken);
    steps.push(web::build(workspace)?.taken);

    let step = Step::start_streaming("compile");
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--workspace", "--all-targets"]);
    let artifacts = compile::compile(&mut cargo, &step, Messages::Streamed)?;
    let server = compile::program(&artifacts, "chalkboard")?;
    let swarm = compile::program(&artifacts, "chalkboard-swarm")?;
    steps.push(step.done("all targets built"));

    let mut kinds: Vec<&[&str]> = vec![&["--lib", "--bins", "--tests", "--examples"], &["--doc"]];
    if workspace.has_benches() && arguments.is_empty() {
        kinds.push(&["--bench", "*"]);
    }
    let step = Step::start_streaming("tests");
    let mut report = Report::default();
    let environment = Environment {
        server,
        swarm,
        chromium,
    };
    for kind in kinds {
        let mut cargo = workspace.cargo();
        cargo
            .args(["test", "--workspace", "--no-fail-fast"])
            .args(kind)
            .arg("--")
            .args(arguments);
        environment.give(&mut cargo);
        stream(cargo, &mut report)?;
    }
    if arguments.is_empty() {
        // The program with faults put into it, compiled apart from the one that people run.
        let mut cargo = workspace.cargo();
        cargo
            .args(["test", "--package", "chalkboard-tests"])
            .args(["--no-default-features", "--features", "sabotage"])
            .args(["--test", "sabotaged"]);
        stream(cargo, &mut report)?;
    }
    steps.push(step.done(&report.closing_line()));
    Ok((report, steps))
}

/// What the tests are told about their surroundings.
struct Environment {
    server: PathBuf,
    swarm: PathBuf,
    chromium: PathBuf,
}

impl Environment {
    fn give(&self, command: &mut Command) {
        command
            .env(SERVER_VARIABLE, &self.server)
            .env(SWARM_VARIABLE, &self.swarm)
            .env(chromium::VARIABLE, &self.chromium);
    }
}

/// Runs cargo with its output shown as it comes and read along.
fn stream(mut cargo: Command, report: &mut Report) -> Result<()> {
    // One pipe for both: cargo names each binary on standard error, and the binary prints its results on standard
    // output. Through two pipes they could not be put in order again.
    let (mut reader, writer) = io::pipe()?;
    cargo
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = cargo.spawn().context("cargo does not start")?;
    // It holds the writing end, which must be closed for the reading end to come to an end.
    drop(cargo);

    let started = Instant::now();
    let mut stdout = io::stdout().lock();
    let mut buffer = [0; 8 * 1024];
    let mut line = Vec::new();
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("the output of the tests cannot be read"),
        };
        let text = buffer.get(..count).unwrap_or(&[]);
        stdout
            .write_all(text)
            .and_then(|()| stdout.flush())
            .context("standard output is closed")?;
        for &byte in text {
            if byte == b'\n' {
                report.read_line(&String::from_utf8_lossy(&line), started.elapsed());
                line.clear();
            } else if line.len() < LINE_BYTES_MAX {
                line.push(byte);
            }
        }
    }
    let status = child.wait().context("cargo cannot be waited for")?;
    report.end_run(status.success(), started.elapsed());
    Ok(())
}
