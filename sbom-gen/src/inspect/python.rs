//! Python's metadata: `*.dist-info/METADATA`, `*.egg-info` (a file, or a directory with `PKG-INFO`) and
//! `EGG-INFO/PKG-INFO`, installed or in a wheel or egg that lies in the package, as the ones that `ensurepip` and
//! `virtualenv` bring along. Mail-like headers up to the first empty line (Core Metadata 2.4).

use super::zip::{self, Budget};
use super::{COMPONENTS_PER_FILE, Findings, Look, Reader};
use crate::component::{Component, Technique};

/// Metadata longer than this is not read: the headers come first, and are short.
const READ_BYTES: usize = 1 << 20;

pub(super) const METADATA: Reader = Reader {
    name: "python-metadata",
    technique: Technique::ManifestAnalysis,
    confidence_percent: 90,
    wants: |path, _| is_metadata(path),
    read,
};

pub(super) const ARCHIVE: Reader = Reader {
    name: "python-archive",
    technique: Technique::ManifestAnalysis,
    confidence_percent: 90,
    wants: |path, start| {
        let is_named_so = path.ends_with(".whl") || path.ends_with(".egg");
        is_named_so && zip::is_archive(start)
    },
    read: read_archive,
};

fn is_metadata(path: &str) -> bool {
    path.ends_with(".dist-info/METADATA")
        || path.ends_with(".egg-info/PKG-INFO")
        || path.ends_with(".egg-info")
        || path.ends_with("/EGG-INFO/PKG-INFO")
}

fn read(reader: &Reader, look: &Look<'_>, findings: &mut Findings) -> Result<(), String> {
    let read = &look.content[..look.content.len().min(READ_BYTES)];
    findings.components.push(component(reader, look, read)?);
    Ok(())
}

fn read_archive(reader: &Reader, look: &Look<'_>, findings: &mut Findings) -> Result<(), String> {
    let mut budget = Budget::new();
    let entries = zip::entries(look.content).ok_or("not a whole zip archive")?;
    let wanted = entries
        .into_iter()
        .filter(|entry| is_metadata(entry.name) || entry.name == "EGG-INFO/PKG-INFO");
    let mut outcome = Ok(());
    // What cannot be read hides itself, not its neighbours.
    for (number, entry) in wanted.enumerate() {
        if number >= COMPONENTS_PER_FILE {
            return Err(format!("more than {COMPONENTS_PER_FILE} distributions"));
        }
        let name = entry.name;
        let text = zip::content(look.content, &entry, READ_BYTES as u64, &mut budget)
            .ok_or_else(|| format!("{name}: a damaged or too long entry"));
        match text.and_then(|text| component(reader, look, &text)) {
            Ok(component) => findings.components.push(component),
            Err(why) => outcome = outcome.and(Err(why)),
        }
    }
    outcome
}

fn component(reader: &Reader, look: &Look<'_>, metadata: &[u8]) -> Result<Component, String> {
    let text = String::from_utf8_lossy(metadata);
    let head = text
        .lines()
        .map(str::trim_end)
        .take_while(|line| !line.is_empty());
    let fields: Vec<(&str, &str)> = head
        .filter_map(|line| line.split_once(':'))
        .map(|(k, v)| (k, v.trim()))
        .collect();
    let field = |wanted: &str| {
        let mut found = fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found
            .next()
            .map(|(_, value)| *value)
            .filter(|value| !value.is_empty() && *value != "UNKNOWN")
    };
    let name = field("Name").ok_or("no Name")?;
    let evidence = look.evidence(reader);
    let mut component = Component::new("pypi", None, &normalised(name), field("Version"), evidence)
        .ok_or("a name that is none")?;
    component.state_licence(field("License-Expression").or(field("License")));
    Ok(component)
}

/// PEP 503: lower case, runs of `-`, `_` and `.` become one `-`.
pub(crate) fn normalised(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_the_index_compares_them() {
        for name in ["Foo.Bar", "foo_bar", "FOO--bar", "foo-.bar"] {
            assert_eq!(normalised(name), "foo-bar");
        }
    }

    #[test]
    fn only_installed_metadata_is_wanted() {
        assert!(is_metadata(
            "/usr/lib/python3.9/site-packages/six-1.16.dist-info/METADATA"
        ));
        assert!(is_metadata(
            "/usr/lib/python2.7/site-packages/six-1.9.egg-info"
        ));
        assert!(is_metadata(
            "/usr/lib/python3/site-packages/x.egg-info/PKG-INFO"
        ));
        assert!(is_metadata(
            "/usr/lib/python3/site-packages/x-1-py3.9.egg/EGG-INFO/PKG-INFO"
        ));
        assert!(!is_metadata("/usr/share/doc/METADATA"));
    }
}
