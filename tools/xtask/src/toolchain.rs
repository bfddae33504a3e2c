//! The compile target that the web client needs.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::step::{Step, Taken};

/// What the web client is compiled for.
pub(crate) const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Adds the wasm32 target to the toolchain in use, where it is missing. Needs rustup and the network only then.
pub(crate) fn ensure_wasm_target() -> Result<Option<Taken>> {
    if has_wasm_target()? {
        return Ok(None);
    }
    let step = Step::start("wasm32 target");
    step.progress("rustup target add");
    let output = Command::new("rustup")
        .args(["target", "add", WASM_TARGET])
        .output();
    let advice = format!(
        "install the standard library of {WASM_TARGET} for the Rust in use, then try again"
    );
    let output = output.with_context(|| format!("rustup does not start; {advice}"))?;
    if !output.status.success() {
        bail!(
            "rustup target add {WASM_TARGET} failed; {advice}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    if !has_wasm_target()? {
        bail!("rustup added {WASM_TARGET} to another toolchain than the one in use; {advice}");
    }
    Ok(Some(step.done("added by rustup")))
}

/// Looks for the target's standard library rather than asking rustup, which a distribution's Rust comes without.
fn has_wasm_target() -> Result<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--print", "target-libdir", "--target", WASM_TARGET]);
    let output = command
        .output()
        .context("rustc does not start: install Rust from https://rustup.rs")?;
    let folder = String::from_utf8(output.stdout).context("rustc printed no path")?;
    let folder = PathBuf::from(folder.trim());
    Ok(output.status.success() && folder.is_dir() && folder.read_dir()?.next().is_some())
}
