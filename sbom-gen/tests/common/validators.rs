//! The validators of others, as the scripts in `tests/validators` run them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python environment with the validators (`tests/lab/make-venv.sh` makes it).
pub fn validators(test: &str) -> Option<PathBuf> {
    let venv = match std::env::var_os("HALLMARK_VENV") {
        Some(venv) => PathBuf::from(venv),
        None => match std::env::var_os("HALLMARK_CACHE") {
            Some(cache) => PathBuf::from(cache).join("venv"),
            None => PathBuf::from("/var/cache/hallmark/venv"),
        },
    };
    let python = venv.join("bin/python");
    if python.exists() {
        return Some(python);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "CI has no validators: run tests/lab/make-venv.sh"
    );
    eprintln!("SKIP {test}: no {}", python.display());
    None
}

/// The folder with the validator in JavaScript (`tests/lab/make-node.sh` makes it).
pub fn node_folder(test: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("HALLMARK_CACHE");
    let cache = cache.map_or_else(|| PathBuf::from("/var/cache/hallmark"), PathBuf::from);
    let folder = cache.join("node");
    if folder.join(".hallmark-pins").exists() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "CI has no validator in JavaScript: run tests/lab/make-node.sh"
    );
    eprintln!("SKIP {test}: no {}", folder.display());
    None
}

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/validators");

/// The JSON schema of SPDX 3, as the generator of SPDX makes it of the shapes of the model. Fails when the
/// shapes are not those that the published bindings were made of.
pub fn spdx3_schema(python: &Path, folder: &Path) -> PathBuf {
    let schema = folder.join("spdx-json-schema");
    let mut command = Command::new(python);
    let said = said(
        command
            .args(["-B", "spdx3_shapes.py"])
            .arg(&schema)
            .current_dir(SCRIPTS),
    );
    assert!(
        said.contains("classes that differ after the round trip: none"),
        "{said}"
    );
    schema
}

/// The check of all documents in a folder by what is written in JavaScript: `@cyclonedx` and the JSON schema of SPDX 3.
pub fn in_javascript(node: &Path, folder: &Path, schema: Option<&Path>) -> Command {
    let mut command = Command::new("node");
    command.arg(Path::new(SCRIPTS).join("check.mjs"));
    command.arg(node).arg(folder).args(schema);
    command
}

/// The check of all documents in a folder by what is written in Python.
pub fn in_python(python: &Path, folder: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-B", "check.py"]).arg(folder);
    command.current_dir(SCRIPTS);
    command
}

/// What a validator that is content says.
pub fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    said
}
