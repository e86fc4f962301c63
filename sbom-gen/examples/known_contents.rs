//! Writes a package whose contents are known, and the list of what a scanner should find there:
//! `known_contents FOLDER` makes `fixture.rpm` and `fixture.purls`. For `tests/lab/sbom-bench.py`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| ".".into()));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("fixture.rpm"), common::fixture())?;
    std::fs::write(
        folder.join("fixture.purls"),
        common::KNOWN.join("\n") + "\n",
    )
}
