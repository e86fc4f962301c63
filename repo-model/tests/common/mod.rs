//! What the RPM tests share: where real packages are, which tools are there.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The public set of real packages; absent in a plain clone.
pub fn corpus(test: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/rpms");
    if folder.join("MANIFEST.tsv").is_file() {
        return Some(folder);
    }
    eprintln!("SKIPPED {test}: no packages in {}", folder.display());
    None
}

/// Whether a system tool can run; where tests must be complete (CI) its absence is a failure.
pub fn has_tool(test: &str, tool: &str) -> bool {
    if Command::new(tool)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{test}: {tool} is not installed"
    );
    eprintln!("SKIPPED {test}: {tool} is not installed");
    false
}

/// One line of the manifest, as columns; the first is the path.
pub fn rows(folder: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    text.lines()
        .skip(1)
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}
