//! Lists of vendored code that packagers install beside licences: `cargo-vendor.txt` (one
//! `name v1.2.3` a line) and Go's `modules.txt` (`# path v1.2.3`, `# path v1 => other v2`).

use super::{COMPONENTS_PER_FILE, Findings, Look, Reader};
use crate::component::{Component, Technique};

pub(super) const CARGO_VENDOR: Reader = Reader {
    name: "cargo-vendor-list",
    technique: Technique::ManifestAnalysis,
    confidence_percent: 90,
    wants: |path, _| path.ends_with("/cargo-vendor.txt"),
    read: |reader, look, findings| {
        each_line(look, |line| {
            let (name, rest) = line.split_once(" v")?;
            let version = rest.split_whitespace().next()?;
            let component =
                Component::new("cargo", None, name, Some(version), look.evidence(reader));
            findings.components.extend(component);
            Some(())
        })
    },
};

pub(super) const GO_MODULES: Reader = Reader {
    name: "go-modules-list",
    technique: Technique::ManifestAnalysis,
    confidence_percent: 90,
    wants: |path, start| path.ends_with("/modules.txt") && start.starts_with(b"# "),
    read: read_modules,
};

fn read_modules(reader: &Reader, look: &Look<'_>, findings: &mut Findings) -> Result<(), String> {
    each_line(look, |line| {
        let module = line.strip_prefix("# ")?;
        let used = match module.split_once(" => ") {
            // A folder instead of a module has no name of its own, so the old one stays.
            Some((old, new)) if new.starts_with(['.', '/']) => old,
            Some((_, new)) => new,
            None => module,
        };
        let (path, version) = used.split_once(' ')?;
        let component = super::go::component(path, Some(version.trim()), look.evidence(reader));
        findings.components.extend(component);
        Some(())
    })
}

fn each_line(look: &Look<'_>, mut line: impl FnMut(&str) -> Option<()>) -> Result<(), String> {
    let text = std::str::from_utf8(look.content).map_err(|error| error.to_string())?;
    let found = text.lines().filter_map(|text| line(text.trim_end()));
    match found.take(COMPONENTS_PER_FILE + 1).count() {
        count if count > COMPONENTS_PER_FILE => {
            Err(format!("more than {COMPONENTS_PER_FILE} lines"))
        }
        _ => Ok(()),
    }
}
