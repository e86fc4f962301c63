//! The published JSON Schema, checked by an independent validator against what we really write.

mod common;

use common::{Lab, spec};
use hallmark_rebuilder::build;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Checks the schema itself, then says for each line on stdin whether it is valid.
const VALIDATE: &str = "\
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
for line in sys.stdin: print(jsonschema.Draft202012Validator(schema).is_valid(json.loads(line)))";

#[test]
fn a_recorded_build_is_valid_by_the_schema_and_a_document_with_a_fault_is_not() {
    let test = "a_recorded_build_is_valid_by_the_schema_and_a_document_with_a_fault_is_not";
    if !common::tools(test) {
        return;
    }
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let venv = Command::new("sh")
        .arg(top.join("tests/lab/make-venv.sh"))
        .output()
        .unwrap();
    if !venv.status.success() {
        let why = String::from_utf8_lossy(&venv.stderr).into_owned();
        assert!(std::env::var_os("CI").is_none(), "{test}: {why}");
        eprintln!("SKIPPED {test}: no validator: {why}");
        return;
    }
    let venv = String::from_utf8(venv.stdout).unwrap();

    let lab = Lab::new();
    let srpm = lab.srpm("plain", &spec("plain", "echo data >data"));
    let recorded = build::record(&lab.request(&srpm, "out")).unwrap();
    let host: Value = serde_json::from_slice(&fs::read(recorded.buildinfo).unwrap()).unwrap();
    let hex = "ab".repeat(32);
    let mut layer = host.clone();
    layer["buildroot"]["kind"] = json!("dnf");
    layer["buildroot"]["tree_sha256"] = json!(hex);
    layer["buildroot"]["locked"] = json!([{
        "nevra": "gcc-12-1.x86_64", "sha256": hex, "header_sha256": hex, "size_bytes": 1,
        "urls": ["https://mirror.example/gcc.rpm"], "signer": "AB12",
    }]);
    let with = |path: &str, value: Value| {
        let mut document = layer.clone();
        *document.pointer_mut(path).unwrap() = value;
        document
    };
    let mut without = host.clone();
    without.as_object_mut().unwrap().remove("sandbox");
    let documents = [
        (host, true),
        (layer.clone(), true),
        (without, false),
        (with("/schema", json!("rpm-buildinfo/2")), false),
        (with("/source/sha256", json!("short")), false),
        (with("/buildroot/locked/0/size_bytes", json!(-1)), false),
        (with("/outputs/0/header_sha256", Value::Null), false),
        (with("/machine", json!({})), false),
    ];
    let lines: String = documents
        .iter()
        .map(|(document, _)| format!("{document}\n"))
        .collect();
    fs::write(lab.path("documents"), lines).unwrap();
    let output = Command::new(Path::new(venv.trim()).join("bin/python"))
        .args(["-c", VALIDATE])
        .arg(top.join("docs/schema/rpm-buildinfo-1.json"))
        .stdin(fs::File::open(lab.path("documents")).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let found: Vec<bool> = said.lines().map(|line| line == "True").collect();
    let wanted: Vec<bool> = documents.iter().map(|(_, valid)| *valid).collect();
    assert_eq!(found, wanted, "{}", String::from_utf8_lossy(&output.stderr));
}
