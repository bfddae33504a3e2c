//! A Chromium for the tests that need a real browser: found, or installed where that is ours to do.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::step::{Step, Taken};

/// Names the browser for the tests, and for us where it is set from outside.
pub(crate) const VARIABLE: &str = "CHALKBOARD_CHROMIUM";

/// Programs to look for on `PATH`, the distributions' Chromium first.
const PROGRAMS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

const ADVICE: &str = "The tests drive a real browser. Install one, then try again:
  Debian:          apt-get install chromium
  Fedora:          dnf install chromium
  Arch:            pacman -S chromium
  macOS, Ubuntu:   Google Chrome from https://www.google.com/chrome
or set CHALKBOARD_CHROMIUM to the path of a Chromium or Chrome.";

/// Finds Chromium, and installs the distribution's package where there is none and this is root on a Debian-like
/// system.
pub(crate) fn ensure() -> Result<(PathBuf, Taken)> {
    let step = Step::start("chromium");
    if let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        let version = version(&path).with_context(|| {
            format!(
                "{VARIABLE} is {}, which does not work as a browser",
                path.display()
            )
        })?;
        return Ok((path, step.done(&version)));
    }
    if let Some((path, version)) = find() {
        return Ok((path, step.done(&version)));
    }
    if !(Path::new("/etc/debian_version").exists() && is_root()) {
        bail!("there is no Chromium.\n{ADVICE}");
    }
    step.progress("apt-get install chromium");
    apt_get(&["update"])?;
    // With what it recommends: without fonts a page has no text.
    apt_get(&["install", "--yes", "chromium"])?;
    // Ubuntu's package of that name only hands over to snap, which does not run everywhere.
    let Some((path, version)) = find() else {
        bail!("the installed Chromium does not start.\n{ADVICE}")
    };
    Ok((path, step.done(&format!("{version}, installed by apt-get"))))
}

/// The first browser on `PATH` that starts.
fn find() -> Option<(PathBuf, String)> {
    let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
    let mut candidates = PROGRAMS
        .iter()
        .flat_map(|program| folders.iter().map(move |folder| folder.join(program)));
    candidates.find_map(|path| version(&path).ok().map(|version| (path, version)))
}

/// What the browser says that it is: proof that it starts.
fn version(path: &Path) -> Result<String> {
    let output = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        bail!(
            "it answers --version with {}. {}",
            output.status,
            messages.trim()
        );
    }
    let version = String::from_utf8_lossy(&output.stdout);
    Ok(version.lines().next().unwrap_or("").trim().to_owned())
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    let output = command
        .output()
        .with_context(|| format!("apt-get does not start.\n{ADVICE}"))?;
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        bail!(
            "apt-get {} failed:\n{messages}\n{ADVICE}",
            arguments.join(" ")
        );
    }
    Ok(())
}

#[cfg(unix)]
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    // Every process owns its own folder in /proc.
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}
