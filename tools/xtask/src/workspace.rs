//! Where things are: the workspace's root, cargo's build folder, and how to call cargo.
//!
//! Everything is asked of cargo itself, so that `CARGO_TARGET_DIR` and configuration files count here as well.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The workspace that xtask was called in.
pub(crate) struct Workspace {
    root: PathBuf,
    build_folder: PathBuf,
    has_benches: bool,
}

impl Workspace {
    /// Asks cargo about the workspace around the current folder.
    pub(crate) fn load() -> Result<Self> {
        let mut command = cargo_command();
        command.args(["metadata", "--format-version=1", "--no-deps"]);
        let output = command.output().context("cargo does not start")?;
        if !output.status.success() {
            bail!(
                "cargo metadata failed:\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let metadata: Value =
            serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
        // The build folder is the target folder unless it was set apart (`build.build-dir`).
        let build_folder = metadata["build_directory"]
            .as_str()
            .or(metadata["target_directory"].as_str());
        let targets = metadata["packages"].as_array().into_iter().flatten();
        let mut targets =
            targets.flat_map(|package| package["targets"].as_array().into_iter().flatten());
        Ok(Self {
            root: metadata["workspace_root"]
                .as_str()
                .context("cargo metadata names no workspace_root")?
                .into(),
            build_folder: build_folder
                .context("cargo metadata names no target_directory")?
                .into(),
            has_benches: targets.any(|target| target["kind"][0] == "bench"),
        })
    }

    /// Root folder of the workspace.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the web client's files go; the server's build script looks there of its own accord.
    pub(crate) fn web_folder(&self) -> PathBuf {
        self.build_folder.join("web")
    }

    /// Whether any package has benchmarks: cargo refuses `--bench '*'` where none is.
    pub(crate) fn has_benches(&self) -> bool {
        self.has_benches
    }

    /// A cargo command that runs at the root.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = cargo_command();
        command.current_dir(&self.root);
        command
    }
}

/// Cargo as the user would call it. `cargo run` tells xtask about xtask's own package by environment variables; build
/// scripts that watch these (ring's does) would run anew, with all that depends on them, at each change between
/// being called from here and from a shell.
fn cargo_command() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let about_xtask = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_")
                || name.starts_with("CARGO_MANIFEST_")
                || name == "CARGO_CRATE_NAME"
        });
        if about_xtask {
            command.env_remove(&name);
        }
    }
    command
}
