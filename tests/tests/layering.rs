//! The direction of dependency between the crates, from `cargo metadata`.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Each crate and the crates of ours that it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("repo-model", &[]),
    ("sbom-gen", &["repo-model"]),
    ("hallmark-signer", &["repo-model"]),
    ("hallmark-rebuilder", &["repo-model"]),
    ("mirrors", &["repo-model"]),
    ("web", &["repo-model"]),
    (
        "repo-server",
        &[
            "repo-model",
            "sbom-gen",
            "hallmark-signer",
            "hallmark-rebuilder",
            "mirrors",
            "web",
        ],
    ),
    (
        "hallmark",
        &[
            "repo-model",
            "sbom-gen",
            "hallmark-signer",
            "hallmark-rebuilder",
            "mirrors",
            "web",
            "repo-server",
        ],
    ),
    ("hallmark-tests", &["repo-model"]),
];

fn metadata() -> Value {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--offline",
            "--format-version",
            "1",
            "--manifest-path",
        ])
        .arg(workspace)
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn members(metadata: &Value) -> Vec<&Value> {
    let ids: BTreeSet<_> = array(&metadata["workspace_members"])
        .iter()
        .map(text)
        .collect();
    array(&metadata["packages"])
        .iter()
        .filter(|package| ids.contains(text(&package["id"])))
        .collect()
}

/// Names of what a package depends on; those of its tests left out unless asked for.
fn dependencies(package: &Value, with_tests: bool) -> impl Iterator<Item = &str> {
    let wanted = move |dependency: &&Value| with_tests || dependency["kind"] != "dev";
    array(&package["dependencies"])
        .iter()
        .filter(wanted)
        .map(|dependency| text(&dependency["name"]))
}

/// Everything that ends up in a package, through all its dependencies but those of tests.
fn closure(metadata: &Value, package: &str) -> BTreeSet<String> {
    let names: BTreeMap<_, _> = array(&metadata["packages"])
        .iter()
        .map(|p| (text(&p["id"]), text(&p["name"])))
        .collect();
    let nodes: BTreeMap<_, _> = array(&metadata["resolve"]["nodes"])
        .iter()
        .map(|n| (text(&n["id"]), n))
        .collect();
    let start = names
        .iter()
        .find(|(_, name)| **name == package)
        .expect("a package of ours")
        .0;
    let mut open = vec![*start];
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        for dependency in array(&nodes[id]["deps"]) {
            if array(&dependency["dep_kinds"])
                .iter()
                .any(|kind| kind["kind"] != "dev")
            {
                open.push(text(&dependency["pkg"]));
            }
        }
    }
    seen.into_iter().map(|id| names[id].to_owned()).collect()
}

#[test]
fn each_crate_uses_only_crates_below_it() {
    let metadata = metadata();
    let allowed: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let members = members(&metadata);
    let found: BTreeSet<_> = members
        .iter()
        .map(|package| text(&package["name"]))
        .collect();
    assert_eq!(
        found,
        allowed.keys().copied().collect(),
        "the crates of the workspace"
    );
    for package in members {
        let name = text(&package["name"]);
        // Tests too: a sibling in a test is a sibling all the same.
        let ours: Vec<_> = dependencies(package, true)
            .filter(|other| allowed.contains_key(other))
            .collect();
        for other in ours {
            let is_itself = other == name;
            assert!(
                is_itself || allowed[name].contains(&other),
                "{name} must not use {other}"
            );
        }
    }
}

#[test]
fn only_the_server_speaks_axum_and_sqlite() {
    let metadata = metadata();
    for package in members(&metadata) {
        let name = text(&package["name"]);
        for library in
            dependencies(package, false).filter(|library| ["axum", "rusqlite"].contains(library))
        {
            assert_eq!(name, "repo-server", "{name} must not use {library}");
        }
    }
}

#[test]
fn the_process_with_the_keys_links_no_network_and_no_database() {
    let linked = closure(&metadata(), "hallmark-signer");
    for library in [
        "axum",
        "hyper",
        "ureq",
        "reqwest",
        "tokio",
        "rusqlite",
        "libsqlite3-sys",
        "rustls",
        "object_store",
    ] {
        assert!(!linked.contains(library), "hallmark-signer links {library}");
    }
    assert!(
        linked.contains("sequoia-openpgp"),
        "the closure is read right"
    );
}

#[test]
fn the_model_links_nothing_that_does_input_and_output() {
    let linked = closure(&metadata(), "repo-model");
    for library in [
        "tokio",
        "axum",
        "ureq",
        "rusqlite",
        "object_store",
        "tempfile",
        "rustix",
        "getrandom",
    ] {
        let directly = library == "getrandom";
        assert!(
            directly || !linked.contains(library),
            "repo-model links {library}"
        );
    }
}

#[test]
fn every_crate_forbids_unsafe_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let workspace =
        std::fs::read_to_string(root.join("Cargo.toml")).expect("the workspace's manifest");
    assert!(workspace.contains("unsafe_code = \"forbid\""));
    for package in members(&metadata()) {
        let manifest =
            std::fs::read_to_string(text(&package["manifest_path"])).expect("a manifest");
        let lints = manifest.split("[lints]").nth(1).unwrap_or_default();
        let inherits = lints.trim_start().starts_with("workspace = true");
        assert!(
            inherits,
            "{} does not inherit the workspace's lints",
            text(&package["name"])
        );
    }
}
