//! The web client: compiled, bound to JavaScript, linked by hashed names, compressed, measured.
//!
//! The result is a folder that the server's build script embeds as it is:
//!
//! ```text
//! <cargo's build folder>/web/dist/
//!     .stamp                         what it was made from; written last
//!     index.html  .br  .gz           names that must stay, asked for anew each time
//!     assets/engine-3f2a9c81.js ...  names that carry their content's hash, cached for good
//! ```
//!
//! Sources are `assets/web/` and what wasm-bindgen makes of the two wasm crates: `ui.js`, `ui_bg.wasm`,
//! `engine.js`, `engine_bg.wasm`. How they name each other is told in [`bundle`]. Neighbours: [`bindgen`] (wasm to
//! JavaScript module), [`slim`] and [`locations`] (less of it), [`compress`], [`sizes`] (budget), [`stamp`] (is there anything to do?).

mod bindgen;
mod bundle;
mod compress;
mod locations;
mod sizes;
mod slim;
mod stamp;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::compile::{self, Messages};
use crate::step::{Step, Taken};
use crate::toolchain;
use crate::workspace::Workspace;

/// Files of the page by name; a name is the path below `assets/web/` with `/` between the parts.
type Files = BTreeMap<String, Vec<u8>>;

/// The wasm crates and the names that their files take in the page.
const WASM_CRATES: [(&str, &str); 2] = [
    ("chalkboard_web_engine", "engine"),
    ("chalkboard_web_ui", "ui"),
];

/// A web client that was built.
pub(crate) struct WebClient {
    sizes: sizes::Sizes,
    /// How long it took.
    pub(crate) taken: Taken,
}

impl WebClient {
    /// The table of sizes.
    pub(crate) fn table(&self) -> String {
        self.sizes.table()
    }
}

/// Builds the web client, unless nothing that it is made from has changed.
///
/// # Errors
/// When something does not compile or link, and when the page is over its budget.
pub(crate) fn build(workspace: &Workspace) -> Result<WebClient> {
    toolchain::ensure_wasm_target()?;
    let step = Step::start("web client");
    let _lock = lock(&workspace.web_folder())?;
    let dist = workspace.web_folder().join("dist");
    let inputs = stamp::inputs(workspace.root())?;
    if stamp::is_current(&dist, &inputs) {
        let sizes = sizes::Sizes::measure(&dist)?;
        let taken = step.done(&format!("unchanged, {}", sizes.headline()));
        return Ok(WebClient { sizes, taken });
    }

    let mut files = static_files(&workspace.root().join("assets").join("web"))?;
    files.append(&mut compiled_files(workspace, &step)?);
    step.progress("linking");
    let bundle = bundle::link(&files)?;
    step.progress("compressing");
    let fresh = workspace.web_folder().join("dist.new");
    clear(&fresh)?;
    compress::write(&fresh, &bundle.files)?;
    let sizes = sizes::Sizes::measure(&fresh)?;
    sizes.check_budget()?;
    replace(&fresh, &dist)?;
    stamp::write(&dist, &inputs)?;

    let mut detail = sizes.headline();
    if !bundle.left_out.is_empty() {
        detail.push_str(&format!(
            "; left out, since nothing refers to it: {}",
            bundle.left_out.join(", ")
        ));
    }
    Ok(WebClient {
        sizes,
        taken: step.done(&detail),
    })
}

/// Waits until no other xtask works in the folder; the lock ends with the file.
fn lock(folder: &Path) -> Result<fs::File> {
    let open = || {
        fs::create_dir_all(folder)?;
        let file = fs::File::create(folder.join("lock"))?;
        file.lock()?;
        Ok::<_, std::io::Error>(file)
    };
    open().with_context(|| format!("{} cannot be locked", folder.display()))
}

/// Compiles the wasm crates and binds them to JavaScript.
fn compiled_files(workspace: &Workspace, step: &Step) -> Result<Files> {
    let mut cargo = workspace.cargo();
    cargo.args([
        "build",
        "--profile",
        "web",
        "--target",
        toolchain::WASM_TARGET,
    ]);
    cargo.args([
        "--package",
        "chalkboard-web-engine",
        "--package",
        "chalkboard-web-ui",
    ]);
    let artifacts = compile::compile(&mut cargo, step, Messages::Held)?;
    let mut files = Files::new();
    for (library, name) in WASM_CRATES {
        step.progress(&format!("binding {name}"));
        let module = compile::wasm_module(&artifacts, library)?;
        files.append(&mut bindgen::bind(name, &module)?);
    }
    Ok(files)
}

/// Everything in `assets/web/`, except hidden files and notes in Markdown; scripts and styles without
/// their comments.
fn static_files(folder: &Path) -> Result<Files> {
    let mut files = Files::new();
    for path in stamp::files_below(folder)? {
        let below = path.strip_prefix(folder)?;
        let name = below
            .to_str()
            .with_context(|| format!("{} is not a UTF-8 name", path.display()))?;
        if path.extension().is_none_or(|ending| ending != "md") {
            let mut content = read(&path)?;
            if matches!(bundle::ending(name), "js" | "css") {
                let text = String::from_utf8(content)
                    .with_context(|| format!("{} is not UTF-8", path.display()))?;
                content = slim::drop_notes(&text).into_bytes();
            }
            files.insert(name.replace('\\', "/"), content);
        }
    }
    Ok(files)
}

/// Puts a finished folder in the place of another.
fn replace(fresh: &Path, place: &Path) -> Result<()> {
    clear(place)?;
    fs::rename(fresh, place)
        .with_context(|| format!("{} cannot be moved to {}", fresh.display(), place.display()))
}

fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("{} cannot be removed", folder.display()))?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}
