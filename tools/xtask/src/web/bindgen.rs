//! From a compiled wasm crate to an ES module: wasm-bindgen as a library.
//!
//! The module's `init()` without arguments must find its wasm under the hashed name, so the default address in
//! it becomes a placeholder for [`bundle`]; so do the imports of JavaScript snippets that crates bring.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

use super::{Files, bundle, locations, read, slim};

/// `NAME.js` and `NAME_bg.wasm`, and snippets if there are any. The module is an ES module for the page and for
/// module Workers alike.
pub(super) fn bind(name: &str, module: &Path) -> Result<Files> {
    let mut bindgen = Bindgen::new();
    bindgen.input_bytes(name, read(module)?);
    bindgen.web(true)?;
    bindgen.typescript(false);
    bindgen.omit_default_module_path(false);
    bindgen.remove_name_section(true);
    bindgen.remove_producers_section(true);
    let mut output = bindgen
        .generate_output()
        .with_context(|| format!("wasm-bindgen refuses {}", module.display()))?;

    let mut files = Files::new();
    for (package, snippets) in output.snippets() {
        for (index, snippet) in snippets.iter().enumerate() {
            files.insert(
                format!("snippets/{package}/inline{index}.js"),
                snippet.clone().into_bytes(),
            );
        }
    }
    for (path, snippet) in output.local_modules() {
        files.insert(format!("snippets/{path}"), snippet.clone().into_bytes());
    }
    if !output.npm_dependencies().is_empty() {
        bail!("{name} asks for packages from npm, and there is no Node here");
    }

    let wasm_name = format!("{name}_bg.wasm");
    let snippets = files
        .keys()
        .map(|snippet| (format!("'./{snippet}'"), snippet.as_str()));
    let script = address_by_placeholders(output.js(), &wasm_name, snippets)?;
    let wasm = output.wasm_mut();
    let script = slim::slim(&script, wasm)?;
    if locations::blank(wasm) == 0 {
        bail!("{name} has no source locations: has the shape of the compiler's data changed?");
    }
    // Read above; browsers find out by themselves.
    wasm.customs.remove_raw("target_features");
    files.insert(wasm_name, wasm.emit_wasm());
    files.insert(format!("{name}.js"), script.into_bytes());
    Ok(files)
}

/// Replaces the quoted names of the wasm module and of the snippets by quoted placeholders.
fn address_by_placeholders<'a>(
    script: &str,
    wasm_name: &str,
    snippets: impl Iterator<Item = (String, &'a str)>,
) -> Result<String> {
    let default_address = format!("'{wasm_name}'");
    let found = script.matches(&default_address).count();
    if found != 1 {
        bail!(
            "wasm-bindgen's script names {wasm_name} {found} times instead of once: has its shape changed?"
        );
    }
    let mut script = script.replace(
        &default_address,
        &format!("'{}'", bundle::placeholder(wasm_name)),
    );
    for (quoted, snippet) in snippets {
        // Both kinds of quotes have been in use.
        let double_quoted = quoted.replace('\'', "\"");
        let placeholder = format!("'{}'", bundle::placeholder(snippet));
        script = script
            .replace(&quoted, &placeholder)
            .replace(&double_quoted, &placeholder);
    }
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_script_become_placeholders() {
        let script = "import { a } from './snippets/x-1/inline0.js';\nnew URL('ui_bg.wasm', import.meta.url)";
        let snippets = [(
            "'./snippets/x-1/inline0.js'".to_owned(),
            "snippets/x-1/inline0.js",
        )];
        assert_eq!(
            address_by_placeholders(script, "ui_bg.wasm", snippets.into_iter())
                .expect("one address"),
            "import { a } from '{{asset:snippets/x-1/inline0.js}}';\nnew URL('{{asset:ui_bg.wasm}}', import.meta.url)",
        );
    }

    #[test]
    fn a_script_of_another_shape_is_refused() {
        for script in ["", "new URL('other.wasm')", "'ui_bg.wasm' 'ui_bg.wasm'"] {
            assert!(
                address_by_placeholders(script, "ui_bg.wasm", std::iter::empty()).is_err(),
                "{script}"
            );
        }
    }
}
