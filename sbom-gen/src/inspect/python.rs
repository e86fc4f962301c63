//! Python's installed metadata: `*.dist-info/METADATA` and `*.egg-info` (a file, or a directory
//! with `PKG-INFO`). Mail-like headers up to the first empty line (Core Metadata 2.4).

use super::{Findings, Look, Reader};
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

fn is_metadata(path: &str) -> bool {
    path.ends_with(".dist-info/METADATA")
        || path.ends_with(".egg-info/PKG-INFO")
        || path.ends_with(".egg-info")
}

fn read(reader: &Reader, look: &Look<'_>, findings: &mut Findings) -> Result<(), String> {
    let text = String::from_utf8_lossy(&look.content[..look.content.len().min(READ_BYTES)]);
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
    findings.components.push(component);
    Ok(())
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
        assert!(!is_metadata("/usr/share/doc/METADATA"));
    }
}
