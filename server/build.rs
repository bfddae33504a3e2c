//! Embeds the web client: writes a table of the files in the web client's dist folder for `src/assets.rs`.
//!
//! `cargo xtask web` makes that folder, this script only lists it; without it the table is empty and the server still
//! builds. It knows of the folder's layout what both sides agree on: `X.br` and `X.gz` are the compressed forms
//! of `X`, what lies under `assets/` carries its content's hash in its name, and dot files are not for the page.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Overrides where the web client is taken from; for packagers who build it elsewhere.
const DIST_VARIABLE: &str = "CHALKBOARD_WEB_DIST";

/// What is named by its content's hash lies here and never changes under its name.
const HASHED_FOLDER: &str = "assets/";

fn main() -> io::Result<()> {
    let out_dir =
        PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    tell_cargo(&format!("rerun-if-env-changed={DIST_VARIABLE}"));
    tell_cargo("rerun-if-changed=build.rs");

    let dist = if let Some(folder) = env::var_os(DIST_VARIABLE).filter(|folder| !folder.is_empty())
    {
        // Cargo runs build scripts in the package's folder; a relative path would mean something else than it
        // says in the shell, and a typing error would silently build a server without a page.
        let folder = PathBuf::from(folder);
        if !folder.is_absolute() || !folder.join("index.html").is_file() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "{DIST_VARIABLE}={} must be an absolute path with an index.html in it",
                    folder.display()
                ),
            ));
        }
        folder
    } else {
        let folder = build_folder(&out_dir).join("web").join("dist");
        // Cargo takes a watched path that does not exist for changed each time, and would compile the server anew
        // in every build: an empty folder can be watched.
        fs::create_dir_all(&folder)?;
        folder
    };
    tell_cargo(&format!("rerun-if-changed={}", dist.display()));

    let mut files = Vec::new();
    list(&dist, &dist, &mut files)?;
    files.sort();
    fs::write(out_dir.join("web_assets.rs"), table(&files))
}

/// The folder that cargo builds into: the one it marks for backup programs, whatever lies between it and `OUT_DIR`.
fn build_folder(out_dir: &Path) -> PathBuf {
    let marked = out_dir
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file());
    // A target folder that was made by hand has no mark; `<folder>/<profile>/build/<package>/out` is the usual depth.
    let folder = marked
        .or_else(|| out_dir.ancestors().nth(4))
        .unwrap_or(out_dir);
    // With `--target` there is a folder of that name in between, marked as well.
    let triple = env::var_os("TARGET");
    if folder.file_name() == triple.as_deref() {
        folder.parent().unwrap_or(folder).to_path_buf()
    } else {
        folder.to_path_buf()
    }
}

/// A file of the page: its path below the dist folder with `/` between the parts, and where it lies.
type Listed = (String, PathBuf);

/// Collects the files below `folder`, except compressed forms (found again by name) and dot files.
fn list(dist: &Path, folder: &Path, files: &mut Vec<Listed>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            continue;
        }
        if path.is_dir() {
            list(dist, &path, files)?;
            continue;
        }
        if matches!(path.extension().and_then(OsStr::to_str), Some("br" | "gz")) {
            continue;
        }
        let below = path.strip_prefix(dist).map_err(io::Error::other)?;
        let parts: Option<Vec<&str>> = below.iter().map(OsStr::to_str).collect();
        let name = parts
            .ok_or_else(|| io::Error::other(format!("{} is not a UTF-8 name", path.display())))?
            .join("/");
        files.push((name, path));
    }
    Ok(())
}

/// Rust source of the table: an array of `Asset`, sorted by path.
fn table(files: &[Listed]) -> String {
    let mut source = String::from("&[\n");
    for (name, path) in files {
        let include = |path: &Path| format!("include_bytes!({:?})", path.display().to_string());
        let compressed = |ending: &str| {
            let mut path = path.clone().into_os_string();
            path.push(ending);
            let path = PathBuf::from(path);
            if path.is_file() {
                format!("Some({})", include(&path))
            } else {
                "None".to_owned()
            }
        };
        // Writing into a String cannot fail.
        let _ = writeln!(
            source,
            "    Asset {{ path: {name:?}, content_type: {:?}, immutable: {}, raw: {}, brotli: {}, gzip: {} }},",
            content_type(name),
            name.starts_with(HASHED_FOLDER),
            include(path),
            compressed(".br"),
            compressed(".gz"),
        );
    }
    source.push_str("]\n");
    source
}

/// Media type by file ending. Browsers compile wasm while it streams in only under its exact type.
fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        _ => "application/octet-stream",
    }
}

/// Build scripts instruct cargo through their standard output.
fn tell_cargo(instruction: &str) {
    println!("cargo::{instruction}");
}
