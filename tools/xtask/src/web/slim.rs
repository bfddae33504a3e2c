//! What a module of wasm-bindgen's carries for its readers, browsers need not download.
//!
//! wasm-bindgen names each function that crosses between wasm and JavaScript by what it does and a hash, in the wasm and
//! in the script: names that no compressor can do much about. Here they become short ones, alike in both. Classes that
//! a dependency exports and that this page never makes go too, with everything that hangs on them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use walrus::Module;

/// Streams of Leptos's server functions, of which this page has none.
const UNUSED_CLASSES: [&str; 3] = [
    "IntoUnderlyingByteSource",
    "IntoUnderlyingSink",
    "IntoUnderlyingSource",
];

/// How names begin that wasm-bindgen has made up: nobody else knows them.
const OWN_PREFIXES: [&str; 5] = [
    "__wbg_",
    "__wbindgen_",
    "wasm_bindgen__",
    "__externref_",
    "__wasm_bindgen",
];

/// Makes a module and its script smaller; what they do stays the same.
///
/// # Errors
/// When the script does not look like wasm-bindgen's.
pub(super) fn slim(script: &str, wasm: &mut Module) -> Result<String> {
    let script = drop_classes(script, wasm)?;
    walrus::passes::gc::run(wasm);
    let imported: BTreeSet<&str> = wasm
        .imports
        .iter()
        .map(|import| import.name.as_str())
        .collect();
    let script = drop_imports(&drop_notes(&script), &imported);
    let names = short_names(wasm);
    for import in wasm.imports.iter_mut() {
        rename(&mut import.name, &names);
    }
    for export in wasm.exports.iter_mut() {
        rename(&mut export.name, &names);
    }
    Ok(with_names(&script, &names))
}

fn rename(name: &mut String, names: &BTreeMap<String, String>) {
    if let Some(short) = names.get(name) {
        name.clone_from(short);
    }
}

/// Drops the classes that are never made, in the script and in the module's exports.
fn drop_classes(script: &str, wasm: &mut Module) -> Result<String> {
    let mut kept = String::with_capacity(script.len());
    let mut lines = script.lines();
    while let Some(line) = lines.next() {
        let class = UNUSED_CLASSES.iter().find(|class| {
            line.strip_prefix("export class ")
                .and_then(|rest| rest.strip_prefix(**class))
                .is_some_and(|rest| rest.starts_with(' '))
        });
        let registry = UNUSED_CLASSES
            .iter()
            .any(|class| line.starts_with(&format!("const {class}Finalization =")));
        if let Some(class) = class {
            let end = format!("if (Symbol.dispose) {class}.");
            if !lines.any(|line| line.starts_with(&end)) {
                bail!(
                    "the class {class} in wasm-bindgen's script has no end: has its shape changed?"
                );
            }
        } else if registry {
            if !lines.any(|line| line.ends_with(';')) {
                bail!("a registry in wasm-bindgen's script has no end: has its shape changed?");
            }
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    if let Some(class) = UNUSED_CLASSES.iter().find(|class| kept.contains(**class)) {
        bail!("wasm-bindgen's script uses the class {class}, which was taken for unused");
    }
    let is_unused = |name: &str| {
        UNUSED_CLASSES
            .iter()
            .any(|class| name.contains(&format!("{}_", class.to_lowercase())))
    };
    let unused: Vec<_> = wasm
        .exports
        .iter()
        .filter(|export| is_unused(&export.name))
        .map(walrus::Export::id)
        .collect();
    for export in unused {
        wasm.exports.delete(export);
    }
    Ok(kept)
}

/// Drops documentation, comments on lines of their own, and indentation. Neither wasm-bindgen nor the page's own scripts
/// have text that goes over several lines.
pub(super) fn drop_notes(script: &str) -> String {
    let mut kept = String::with_capacity(script.len());
    let mut is_note = false;
    for line in script.lines().map(str::trim) {
        is_note |= line.starts_with("/*");
        if !is_note && !line.is_empty() && !line.starts_with("//") {
            kept.push_str(line);
            kept.push('\n');
        }
        is_note &= !line.ends_with("*/");
    }
    kept
}

/// Drops the functions that the module does not import any more.
fn drop_imports(script: &str, imported: &BTreeSet<&str>) -> String {
    let mut kept = String::with_capacity(script.len());
    let mut is_dropped = false;
    let mut lines = script.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some((name, _)) = line.split_once(": function(")
            && is_own(name)
        {
            is_dropped = !imported.contains(name);
        } else if line == "};" && lines.peek() == Some(&"return {") {
            // The end of all imports.
            is_dropped = false;
        }
        if !is_dropped {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn is_own(name: &str) -> bool {
    OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && name.chars().all(is_name_char)
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$'
}

/// Short names for the module's imports and exports; none that a script of wasm-bindgen's has.
fn short_names(wasm: &Module) -> BTreeMap<String, String> {
    let imports = wasm.imports.iter().map(|import| &import.name);
    let exports = wasm.exports.iter().map(|export| &export.name);
    imports
        .chain(exports)
        .filter(|name| is_own(name))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .enumerate()
        .map(|(index, name)| (name.clone(), format!("${index}")))
        .collect()
}

/// The script with other names for whole words.
fn with_names(script: &str, names: &BTreeMap<String, String>) -> String {
    let mut renamed = String::with_capacity(script.len());
    let mut rest = script;
    while let Some(start) = rest.find(is_name_char) {
        let (before, word) = rest.split_at(start);
        let end = word.find(|c| !is_name_char(c)).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        renamed.push_str(before);
        renamed.push_str(names.get(word).map_or(word, String::as_str));
        rest = after;
    }
    renamed + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_are_renamed() {
        let names = BTreeMap::from([("__wbg_a_1".to_owned(), "$0".to_owned())]);
        assert_eq!(
            with_names(
                "__wbg_a_1: function() { wasm.__wbg_a_1(__wbg_a_12); }",
                &names
            ),
            "$0: function() { wasm.$0(__wbg_a_12); }"
        );
    }

    #[test]
    fn unused_classes_and_imports_go() {
        let mut wasm = Module::default();
        let script = "\nexport class IntoUnderlyingSink {\nfree() {}\n}\nif (Symbol.dispose) IntoUnderlyingSink.x;\n\
                      /**\n * Note.\n */\nexport function start() {}\nconst imports = {\n__wbg_kept_1: function(a) {\n  a();\n},\n\
                      __wbg_gone_2: function() { return handle(function (a) {\nconst b = {\n};\na();\n}, arguments); },\n};\nreturn {\n\
                      const IntoUnderlyingSinkFinalization = x\n? y\n: z;\n";
        let script = drop_classes(script, &mut wasm).expect("the shape is known");
        let script = drop_imports(&drop_notes(&script), &BTreeSet::from(["__wbg_kept_1"]));
        assert_eq!(
            script,
            "export function start() {}\nconst imports = {\n__wbg_kept_1: function(a) {\na();\n},\n};\nreturn {\n"
        );
    }

    #[test]
    fn a_class_that_is_used_is_refused() {
        assert!(drop_classes("new IntoUnderlyingSource();\n", &mut Module::default()).is_err());
    }
}
