//! Calls of `cargo build`, and the files that came out of them.
//!
//! Cargo itself says where each file is, in its JSON messages: no path below the target folder is assumed.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::step::Step;

/// Lines of cargo's messages kept for the case that it fails: a long error, not a whole build.
const KEPT_LINES_MAX: usize = 400;

/// What becomes of cargo's own messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Messages {
    /// Shown as they come.
    Streamed,
    /// Held back, and shown when the build fails.
    Held,
}

/// A file that was built, or was up to date.
pub(crate) struct Artifact {
    target: String,
    test: bool,
    executable: Option<PathBuf>,
    files: Vec<PathBuf>,
}

/// Runs a cargo command that compiles, and lists its artifacts.
pub(crate) fn compile(
    command: &mut Command,
    step: &Step,
    messages: Messages,
) -> Result<Vec<Artifact>> {
    command
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    if messages == Messages::Held {
        command.stderr(Stdio::piped());
    }
    let mut child = command.spawn().context("cargo does not start")?;
    // Two pipes: the one that is not being read could fill up and stop cargo.
    let held = child
        .stderr
        .take()
        .map(|stderr| thread::spawn(move || last_lines(stderr)));
    let stdout = child
        .stdout
        .take()
        .context("cargo has no standard output")?;

    let mut artifacts = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cargo's messages cannot be read")?;
        if let Some(artifact) = parse(&line) {
            step.progress(&format!("{} {}", artifacts.len() + 1, artifact.target));
            artifacts.push(artifact);
        }
    }
    let status = child.wait().context("cargo cannot be waited for")?;
    let held = held
        .and_then(|reader| reader.join().ok())
        .unwrap_or_default();
    if !status.success() {
        match messages {
            Messages::Streamed => bail!("cargo failed ({status}), see the messages above"),
            Messages::Held => bail!("cargo failed ({status})\n{held}"),
        }
    }
    Ok(artifacts)
}

/// The program of that name.
pub(crate) fn program(artifacts: &[Artifact], name: &str) -> Result<PathBuf> {
    let programs = artifacts
        .iter()
        .filter(|artifact| artifact.target == name && !artifact.test);
    programs
        .filter_map(|artifact| artifact.executable.clone())
        .next_back()
        .with_context(|| format!("cargo built no program {name}"))
}

/// The wasm module of that library.
pub(crate) fn wasm_module(artifacts: &[Artifact], name: &str) -> Result<PathBuf> {
    let libraries = artifacts.iter().filter(|artifact| artifact.target == name);
    let mut files = libraries.flat_map(|artifact| &artifact.files);
    let module = files.find(|file| file.extension().is_some_and(|ending| ending == "wasm"));
    module
        .cloned()
        .with_context(|| format!("cargo built no wasm module {name}: is it a cdylib?"))
}

fn parse(message: &str) -> Option<Artifact> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    let files = message["filenames"].as_array().into_iter().flatten();
    Some(Artifact {
        target: message["target"]["name"].as_str()?.to_owned(),
        test: message["profile"]["test"].as_bool().unwrap_or(false),
        executable: message["executable"].as_str().map(PathBuf::from),
        files: files.filter_map(Value::as_str).map(PathBuf::from).collect(),
    })
}

fn last_lines(stderr: impl Read) -> String {
    let mut lines = VecDeque::new();
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        if lines.len() == KEPT_LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(&line).into_owned());
    }
    lines.make_contiguous().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: [&str; 4] = [
        r#"{"reason":"build-script-executed","package_id":"x"}"#,
        r#"{"reason":"compiler-artifact","target":{"name":"chalkboard","kind":["bin"]},"profile":{"test":true},"filenames":["/t/deps/chalkboard-1"],"executable":"/t/deps/chalkboard-1"}"#,
        r#"{"reason":"compiler-artifact","target":{"name":"chalkboard","kind":["bin"]},"profile":{"test":false},"filenames":["/t/chalkboard"],"executable":"/t/chalkboard"}"#,
        r#"{"reason":"compiler-artifact","target":{"name":"engine","kind":["cdylib"]},"profile":{"test":false},"filenames":["/t/engine.wasm"],"executable":null}"#,
    ];

    #[test]
    fn artifacts_are_found_by_name() {
        let artifacts: Vec<Artifact> = MESSAGES.into_iter().filter_map(parse).collect();
        assert_eq!(
            program(&artifacts, "chalkboard").ok(),
            Some("/t/chalkboard".into()),
            "not the test of it"
        );
        assert_eq!(
            wasm_module(&artifacts, "engine").ok(),
            Some("/t/engine.wasm".into())
        );
        assert!(
            program(&artifacts, "engine").is_err()
                && wasm_module(&artifacts, "chalkboard").is_err()
        );
    }

    #[test]
    fn only_the_end_of_long_messages_is_kept() {
        let text: String = (0..1000).map(|line| format!("{line}\n")).collect();
        let kept = last_lines(text.as_bytes());
        assert_eq!(kept.lines().count(), KEPT_LINES_MAX);
        assert!(kept.ends_with("\n999"));
    }
}
