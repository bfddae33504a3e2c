//! The house stays tidy: who may depend on whom, what files are called, and that the map shows what is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie in the repository")
        .to_owned()
}

fn dependencies(manifest: &str, tables: &[&str]) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(manifest).join("Cargo.toml")).expect("a manifest");
    let parsed: toml::Table = text.parse().expect("a manifest is TOML");
    tables
        .iter()
        .filter_map(|table| parsed.get(*table)?.as_table())
        .flat_map(|table| table.keys().cloned())
        .collect()
}

fn own(dependencies: &BTreeSet<String>) -> Vec<&str> {
    dependencies
        .iter()
        .map(String::as_str)
        .filter(|name| name.starts_with("chalkboard-"))
        .collect()
}

#[test]
fn server_and_client_meet_only_in_shared() {
    for (package, expect) in [
        ("shared", &[][..]),
        ("simulation", &["chalkboard-shared"]),
        ("server", &["chalkboard-shared", "chalkboard-simulation"]),
        ("client", &["chalkboard-shared"]),
        (
            "client/web/engine",
            &["chalkboard-client", "chalkboard-shared"],
        ),
        // The page speaks with the engine alone, by the bridge.
        ("client/web/ui", &["chalkboard-client"]),
    ] {
        let dependencies = dependencies(package, &["dependencies"]);
        assert_eq!(own(&dependencies), expect, "{package}");
    }
}

#[test]
fn the_core_has_no_io() {
    let banned = [
        "tokio",
        "quinn",
        "rusqlite",
        "axum",
        "getrandom",
        "web-sys",
        "js-sys",
        "tracing",
    ];
    for package in ["shared", "simulation"] {
        let dependencies = dependencies(package, &["dependencies"]);
        for name in banned {
            assert!(
                !dependencies.contains(name),
                "{package} must not depend on {name}"
            );
        }
    }
}

#[test]
fn nothing_is_sabotaged_unless_it_is_asked_for() {
    for package in ["shared", "simulation", "server", "client", "tests"] {
        let path = root().join(package).join("Cargo.toml");
        let text = fs::read_to_string(path).expect("a manifest");
        let parsed: toml::Table = text.parse().expect("a manifest is TOML");
        let features = parsed["features"].as_table().expect("it has features");
        assert!(features.contains_key("sabotage"), "{package}");
        for (feature, enables) in features {
            let is_named = enables.to_string().contains("sabotage");
            assert!(!is_named || feature == "sabotage", "{package}: {feature}");
        }
    }
    // Nor does any dependency switch it on, anywhere.
    let mut manifests = vec![root().join("Cargo.toml")];
    for package in [
        "shared",
        "simulation",
        "server",
        "client",
        "client/web/engine",
        "client/web/ui",
    ] {
        manifests.push(root().join(package).join("Cargo.toml"));
    }
    for package in ["tests", "benches", "tools/swarm", "tools/xtask"] {
        manifests.push(root().join(package).join("Cargo.toml"));
    }
    for manifest in manifests {
        let text = fs::read_to_string(&manifest).expect("a manifest");
        let parsed: toml::Table = text.parse().expect("a manifest is TOML");
        for (table, content) in &parsed {
            let is_dependencies = table.contains("dependencies") || table == "workspace";
            assert!(
                !is_dependencies || !content.to_string().contains("sabotage"),
                "{}: {table}",
                manifest.display()
            );
        }
    }
    let shared = fs::read_to_string(root().join("shared/src/lib.rs")).expect("a source file");
    assert!(shared.contains("#[cfg(feature = \"sabotage\")]\npub mod sabotage;"));
}

/// Every Rust file below a folder.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "data" {
                rust_files(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

#[test]
fn files_are_nouns_and_say_what_they_own() {
    let mut files = Vec::new();
    rust_files(&root(), &mut files);
    assert!(files.len() > 60, "only {} files found", files.len());
    let banned = [
        "mod", "utils", "util", "common", "types", "manager", "helpers", "misc",
    ];
    for file in files {
        let name = file
            .file_stem()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        assert!(
            !banned.contains(&name),
            "{} has a name that says nothing",
            file.display()
        );
        let text = fs::read_to_string(&file).expect("a source file");
        assert!(
            text.starts_with("//!"),
            "{} does not say what it owns",
            file.display()
        );
    }
}

#[test]
fn the_map_shows_what_is_there() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let named: Vec<&str> = map
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| !name.contains([' ', '\n', '*', '{', '<', ':']))
        .filter(|name| name.ends_with(".rs") || name.ends_with('/'))
        .collect();
    assert!(
        named.len() > 20,
        "the map names only {} places",
        named.len()
    );
    for name in named {
        assert!(
            root().join(name).exists(),
            "ARCHITECTURE.md names {name}, which is not there"
        );
    }
}
