//! `cargo xtask ci`: every check, cheapest first, each step timed.
//!
//! The first check that fails ends it. Lints and docs share the metadata of the dependencies; tests share one
//! compilation with the server that they start.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::step::{Step, Taken, say, table};
use crate::suite;
use crate::toolchain::{self, WASM_TARGET};
use crate::workspace::Workspace;

/// Packages that run in browsers, and what they are made of.
const WASM_PACKAGES: [&str; 4] = [
    "chalkboard-shared",
    "chalkboard-client",
    "chalkboard-web-engine",
    "chalkboard-web-ui",
];

/// Runs all checks.
pub(crate) fn check(workspace: &Workspace) -> Result<ExitCode> {
    let mut steps = Vec::new();
    let outcome = all(workspace, &mut steps);
    if let Ok(report) = &outcome {
        say(&report.summary());
    }
    say(&table(&steps));
    outcome.map(|report| {
        say("");
        suite::close(&report)
    })
}

fn all(workspace: &Workspace, steps: &mut Vec<Taken>) -> Result<suite::Report> {
    steps.extend(toolchain::ensure_wasm_target()?);
    let cargo = |arguments: &[&str]| {
        let mut cargo = workspace.cargo();
        cargo.args(arguments);
        cargo
    };

    let format = cargo(&["fmt", "--all", "--check"]);
    steps.push(step("formatting", format, "run `cargo fmt --all`")?);

    let deny_warnings = ["--", "--deny", "warnings"];
    let mut host = cargo(&["clippy", "--workspace", "--all-targets"]);
    host.args(deny_warnings);
    steps.push(step(
        "clippy, host",
        host,
        "see the messages above; `cargo clippy --fix` repairs some",
    )?);

    let mut wasm = cargo(&["clippy", "--target", WASM_TARGET]);
    wasm.args(
        WASM_PACKAGES
            .iter()
            .flat_map(|package| ["--package", package]),
    )
    .args(deny_warnings);
    steps.push(step(
        "clippy, wasm32",
        wasm,
        "these packages run in browsers: no sockets, threads or clocks of std",
    )?);

    let mut docs = cargo(&["doc", "--no-deps", "--workspace"]);
    docs.env("RUSTDOCFLAGS", "--deny warnings");
    steps.push(step(
        "docs",
        docs,
        "see the messages above: mostly links to items that were renamed",
    )?);

    let (report, taken) = suite::run(workspace, &[])?;
    steps.extend(taken);
    Ok(report)
}

/// Runs a command with its output streamed; the advice tells what to do when it fails.
fn step(name: &'static str, mut command: Command, advice: &str) -> Result<Taken> {
    let step = Step::start_streaming(name);
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("{name} does not start"))?;
    if !status.success() {
        bail!("{name} failed: {advice}");
    }
    Ok(step.done("good"))
}
