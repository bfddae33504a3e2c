//! Whether the web client must be built again: a stamp of the contents of everything that it is made from.
//!
//! Contents rather than times, so that a fresh checkout, a branch and back, or a touched file cost nothing. The stamp also
//! names what was built from them, so that a damaged dist folder is made anew.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use xxhash_rust::xxh3::Xxh3;

use super::read;

/// What the web client is made from, below the workspace's root. xtask itself is part of it: it links the page.
const INPUTS: [&str; 8] = [
    "client",
    "shared",
    "assets/web",
    "tools/xtask",
    "Cargo.lock",
    "Cargo.toml",
    "rust-toolchain.toml",
    ".cargo/config.toml",
];

/// Settings from outside that change what comes out.
const VARIABLES: [&str; 2] = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"];

/// In the dist folder; written last, so a build that was cut off is not taken for finished, and the server's build
/// script sees a change that is newer than all files.
const STAMP: &str = ".stamp";

/// Hash of all inputs.
pub(super) fn inputs(root: &Path) -> Result<String> {
    let mut hash = Xxh3::new();
    for input in INPUTS {
        let input = root.join(input);
        let files = if input.is_dir() {
            files_below(&input)?
        } else {
            vec![input]
        };
        for path in files.iter().filter(|path| path.is_file()) {
            add(
                &mut hash,
                path.strip_prefix(root)?.as_os_str().as_encoded_bytes(),
            );
            add(&mut hash, &read(path)?);
        }
    }
    for variable in VARIABLES {
        add(
            &mut hash,
            env::var_os(variable).unwrap_or_default().as_encoded_bytes(),
        );
    }
    Ok(format!("{:032x}", hash.digest128()))
}

/// Whether the dist folder was made from these inputs and is as it was made.
pub(super) fn is_current(dist: &Path, inputs: &str) -> bool {
    let stamp = fs::read_to_string(dist.join(STAMP)).ok();
    stamp.is_some_and(|stamp| content(dist, inputs).is_ok_and(|content| content == stamp))
}

/// Marks the dist folder as made from these inputs.
pub(super) fn write(dist: &Path, inputs: &str) -> Result<()> {
    fs::write(dist.join(STAMP), content(dist, inputs)?)
        .context("the web client's stamp cannot be written")
}

/// The stamp: the inputs' hash, then the files that were made and a hash of their contents.
fn content(dist: &Path, inputs: &str) -> Result<String> {
    let mut lines = vec![inputs.to_owned()];
    for path in files_below(dist)? {
        let name = path.strip_prefix(dist)?.to_string_lossy().into_owned();
        let mut hash = Xxh3::new();
        add(&mut hash, &read(&path)?);
        lines.push(format!("{:016x} {name}", hash.digest()));
    }
    Ok(lines.join("\n"))
}

/// Adds bytes and where they end, so that shifting a border between two pieces makes another hash.
fn add(hash: &mut Xxh3, bytes: &[u8]) {
    hash.update(&(bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// All files below a folder in a fixed order, except hidden ones.
pub(super) fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
        {
            continue;
        }
        if path.is_dir() {
            files.append(&mut files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_a_source_or_of_the_result_makes_the_stamp_stale() {
        let root = tempfile::tempdir().expect("a folder");
        let (source, dist) = (root.path().join("shared/ink.rs"), root.path().join("dist"));
        for folder in ["client", "shared", "assets/web", "tools/xtask", "dist"] {
            fs::create_dir_all(root.path().join(folder)).expect("a folder");
        }
        let put = |path: &Path, content: &str| fs::write(path, content).expect("a file");
        let is_current = || is_current(&dist, &inputs(root.path()).expect("inputs"));

        put(&source, "1");
        put(&dist.join("index.html"), "page");
        assert!(!is_current(), "no stamp yet");
        write(&dist, &inputs(root.path()).expect("inputs")).expect("a stamp");
        assert!(is_current());
        put(&source, "1");
        assert!(is_current(), "the time does not count");
        put(&source, "2");
        assert!(!is_current(), "the content does");
        put(&source, "1");
        put(&dist.join("index.html"), "damaged");
        assert!(!is_current());
    }
}
