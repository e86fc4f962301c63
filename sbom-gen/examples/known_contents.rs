//! Writes packages whose contents are known, and beside each the list of what a scanner should find there:
//! `known_contents FOLDER` makes `fixture.rpm`, `fixture.purls`, and the same of `nested`. For `tests/lab/sbom-bench.py`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| ".".into()));
    std::fs::create_dir_all(&folder)?;
    let packages = [
        ("fixture", common::fixture(), common::KNOWN),
        ("nested", common::nested(), common::NESTED),
    ];
    for (name, package, known) in packages {
        std::fs::write(folder.join(name).with_extension("rpm"), package)?;
        let list = known.join("\n") + "\n";
        std::fs::write(folder.join(name).with_extension("purls"), list)?;
    }
    Ok(())
}
