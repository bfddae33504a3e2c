//! Linking by content: every file gets the hash of its content into its name, and files name each other by
//! placeholders.
//!
//! `{{asset:NAME}}` in a text file (HTML, JS, CSS, SVG, JSON) becomes the address of the file with that name, for example
//! `{{asset:engine.js}}` becomes `/assets/engine-3f2a9c81.js`. NAME is the path below `assets/web/`, or one of `ui.js`,
//! `ui_bg.wasm`, `engine.js`, `engine_bg.wasm`. A file is hashed after its own placeholders were replaced, so a change
//! deep down renames everything on the way up, and an address never stands for two contents. References must not
//! go in circles.
//!
//! Roots keep their names: HTML files, and names that browsers and robots ask for by themselves. What no root leads to
//! cannot be reached (its hashed name is known to nobody) and is left out. Comments in HTML are dropped.
//!
//! It works on contents in memory and knows neither wasm-bindgen nor folders.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use xxhash_rust::xxh3::xxh3_64;

use super::Files;

const OPEN: &str = "{{asset:";
const CLOSE: &str = "}}";

/// Longest name between the braces: longer ones are a forgotten `}}`.
const NAME_CHARS_MAX: usize = 200;

/// Addresses that are asked for without a page that names them.
const WELL_KNOWN: [&str; 2] = ["favicon.ico", "robots.txt"];

/// A page that is ready to be written.
pub(super) struct Bundle {
    /// Contents by path below the page's origin.
    pub(super) files: Files,
    /// Names of sources that no root leads to.
    pub(super) left_out: Vec<String>,
}

/// The placeholder for a name.
pub(super) fn placeholder(name: &str) -> String {
    format!("{OPEN}{name}{CLOSE}")
}

/// Links the files that the roots lead to.
///
/// # Errors
/// When there is no `index.html`, a placeholder names a file that is not there, or references go in circles.
pub(super) fn link(sources: &Files) -> Result<Bundle> {
    if !sources.contains_key("index.html") {
        bail!("assets/web/index.html is missing");
    }
    let mut linker = Linker {
        sources,
        addresses: BTreeMap::new(),
        open: Vec::new(),
        files: Files::new(),
    };
    for name in sources.keys().filter(|name| is_root(name)) {
        linker.address(name)?;
    }
    let left_out = sources
        .keys()
        .filter(|name| !linker.addresses.contains_key(name.as_str()));
    Ok(Bundle {
        left_out: left_out.cloned().collect(),
        files: linker.files,
    })
}

struct Linker<'a> {
    sources: &'a Files,
    /// Addresses of what is linked, by name.
    addresses: BTreeMap<&'a str, String>,
    /// Names that are being linked: a root and what it leads to, down to here.
    open: Vec<&'a str>,
    files: Files,
}

impl<'a> Linker<'a> {
    /// Links a file, after everything that it refers to, and returns its address.
    fn address(&mut self, name: &str) -> Result<String> {
        let Some((name, content)) = self.sources.get_key_value(name) else {
            let known: Vec<&str> = self.sources.keys().map(String::as_str).collect();
            bail!("there is no asset {name}; there are {}", known.join(", "));
        };
        if let Some(address) = self.addresses.get(name.as_str()) {
            return Ok(address.clone());
        }
        if self.open.contains(&name.as_str()) {
            bail!(
                "references go in circles: {} -> {name}",
                self.open.join(" -> ")
            );
        }
        self.open.push(name);
        let content = if is_text(name) {
            self.replace_placeholders(name, content)?.into_bytes()
        } else if content
            .windows(OPEN.len())
            .any(|window| window == OPEN.as_bytes())
        {
            bail!(
                "{name} has a placeholder in it, but is not text: hand it the address from the page's HTML"
            );
        } else {
            content.clone()
        };
        self.open.pop();
        let path = if is_root(name) {
            name.clone()
        } else {
            hashed_path(name, &content)
        };
        let address = format!("/{path}");
        self.files.insert(path, content);
        self.addresses.insert(name, address.clone());
        Ok(address)
    }

    fn replace_placeholders(&mut self, name: &str, content: &[u8]) -> Result<String> {
        let text = str::from_utf8(content).with_context(|| format!("{name} is not UTF-8"))?;
        let without_comments;
        let mut rest = if ending(name) == "html" {
            without_comments = drop_html_comments(text);
            without_comments.as_str()
        } else {
            text
        };
        let mut linked = String::with_capacity(rest.len());
        while let Some((before, after)) = rest.split_once(OPEN) {
            linked.push_str(before);
            let Some((reference, after)) = after
                .split_once(CLOSE)
                .filter(|(name, _)| name.len() <= NAME_CHARS_MAX)
            else {
                bail!("{name}: a placeholder is not closed with {CLOSE}");
            };
            linked.push_str(
                &self
                    .address(reference)
                    .with_context(|| format!("in {name}"))?,
            );
            rest = after;
        }
        linked.push_str(rest);
        Ok(linked)
    }
}

/// `icons/pen.svg` becomes `assets/icons/pen-3f2a9c81.svg`. 32 bits tell the versions of one file apart; they are no
/// defence against anybody, which is not asked of them.
fn hashed_path(name: &str, content: &[u8]) -> String {
    let hash = xxh3_64(content) >> 32;
    let (folder, file) = name
        .rsplit_once('/')
        .map_or(("", name), |(folder, file)| (folder, file));
    let slash = if folder.is_empty() { "" } else { "/" };
    match file.rsplit_once('.') {
        Some((stem, ending)) => format!("assets/{folder}{slash}{stem}-{hash:08x}.{ending}"),
        None => format!("assets/{folder}{slash}{file}-{hash:08x}"),
    }
}

fn is_root(name: &str) -> bool {
    ending(name) == "html" || WELL_KNOWN.contains(&name)
}

fn is_text(name: &str) -> bool {
    matches!(
        ending(name),
        "html" | "js" | "mjs" | "css" | "svg" | "json" | "webmanifest" | "txt"
    )
}

/// What follows the last dot of a name.
pub(super) fn ending(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, ending)| ending)
}

fn drop_html_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once("<!--") {
        kept.push_str(before);
        rest = comment.split_once("-->").map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Files {
        pairs
            .iter()
            .map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec()))
            .collect()
    }

    fn text<'a>(bundle: &'a Bundle, path: &str) -> &'a str {
        str::from_utf8(&bundle.files[path]).expect("text")
    }

    /// The only path that starts and ends so.
    fn path<'a>(bundle: &'a Bundle, start: &str, end: &str) -> &'a str {
        let mut found = bundle
            .files
            .keys()
            .filter(|path| path.starts_with(start) && path.ends_with(end));
        let path = found.next().expect("a file of that name");
        assert_eq!(found.next(), None);
        path
    }

    const PAGE: [(&str, &str); 5] = [
        (
            "index.html",
            "<!-- {{asset:NAME}} --><link href=\"{{asset:ui.js}}\"><link href='{{asset:engine_bg.wasm}}'>",
        ),
        ("ui.js", "new Worker('{{asset:worker.js}}')"),
        ("worker.js", "import '{{asset:engine.js}}'"),
        (
            "engine.js",
            "new URL('{{asset:engine_bg.wasm}}', import.meta.url)",
        ),
        ("engine_bg.wasm", "\0asm"),
    ];

    #[test]
    fn references_are_rewritten_all_the_way_up() {
        let bundle = link(&files(&PAGE)).expect("links");
        let wasm = path(&bundle, "assets/engine_bg-", ".wasm");
        let engine = path(&bundle, "assets/engine-", ".js");
        let worker = path(&bundle, "assets/worker-", ".js");
        let ui = path(&bundle, "assets/ui-", ".js");
        assert_eq!(
            text(&bundle, engine),
            format!("new URL('/{wasm}', import.meta.url)")
        );
        assert_eq!(text(&bundle, worker), format!("import '/{engine}'"));
        assert_eq!(text(&bundle, ui), format!("new Worker('/{worker}')"));
        assert_eq!(
            text(&bundle, "index.html"),
            format!("<link href=\"/{ui}\"><link href='/{wasm}'>")
        );
        assert!(bundle.left_out.is_empty());
    }

    #[test]
    fn a_change_deep_down_renames_everything_on_the_way_up() {
        let before = link(&files(&PAGE)).expect("links");
        let mut changed = PAGE;
        changed[4].1 = "\0asm2";
        let after = link(&files(&changed)).expect("links");
        let same: Vec<&String> = before
            .files
            .keys()
            .filter(|path| after.files.contains_key(*path))
            .collect();
        assert_eq!(same, ["index.html"]);
    }

    #[test]
    fn names_carry_eight_digits_of_the_hash_before_the_ending() {
        let hash = format!("{:016x}", xxh3_64(b"x"));
        assert_eq!(
            hashed_path("icons/pen.svg", b"x"),
            format!("assets/icons/pen-{}.svg", &hash[..8])
        );
        assert_eq!(
            hashed_path("LICENCE", b"x"),
            format!("assets/LICENCE-{}", &hash[..8])
        );
    }

    #[test]
    fn what_nothing_refers_to_is_left_out() {
        let bundle = link(&files(&[
            ("index.html", ""),
            ("a.js", "{{asset:b.js}}"),
            ("b.js", ""),
            ("robots.txt", ""),
        ]));
        let bundle = bundle.expect("links");
        assert_eq!(bundle.left_out, ["a.js", "b.js"]);
        assert_eq!(
            bundle.files.keys().collect::<Vec<_>>(),
            ["index.html", "robots.txt"]
        );
    }

    #[track_caller]
    fn check_refused(sources: &[(&str, &str)], reason: &str) {
        let error = link(&files(sources))
            .err()
            .map(|error| format!("{error:#}"))
            .unwrap_or_default();
        assert!(error.contains(reason), "{error:?} does not say {reason:?}");
    }

    #[test]
    fn broken_references_are_refused_with_a_reason() {
        check_refused(&[("a.js", "")], "index.html is missing");
        check_refused(
            &[("index.html", "{{asset:nothing.js}}")],
            "in index.html: there is no asset nothing.js",
        );
        check_refused(&[("index.html", "{{asset:a.js")], "not closed");
        check_refused(
            &[
                ("index.html", "{{asset:a.js}}"),
                ("a.js", "{{asset:b.js}}"),
                ("b.js", "{{asset:a.js}}"),
            ],
            "index.html -> a.js -> b.js -> a.js",
        );
        check_refused(
            &[
                ("index.html", "{{asset:a.wasm}}"),
                ("a.wasm", "{{asset:b}}"),
            ],
            "is not text",
        );
    }
}
