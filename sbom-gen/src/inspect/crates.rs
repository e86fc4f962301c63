//! Crates of Rust programs without a crate list: panic messages name the source files of the crates
//! that may panic, and those lie in folders named after crate and version:
//! `/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/serde-1.0.200/src/lib.rs`.
//!
//! Crates that cannot panic leave no trace, so what is found is never the whole.

use super::{COMPONENTS_PER_FILE, Findings, Look, Reader, is_elf};
use crate::component::{Component, Technique};
use memchr::memmem;
use std::collections::BTreeSet;

pub(super) const PANIC_PATHS: Reader = Reader {
    name: "rust-panic-paths",
    technique: Technique::BinaryAnalysis,
    confidence_percent: 60,
    wants: is_elf,
    read,
};

/// What precedes a crate's folder, and whether one more folder name (a registry's digits) follows.
static PLACES: &[(&[u8], bool)] = &[
    (b"/index.crates.io-", true),
    (b"/github.com-1ecc6299db9ec823/", false),
    // Where distributions install crates to build from.
    (b"/usr/share/cargo/registry/", false),
];
/// Longest folder name looked at; crates.io allows names of 64.
const FOLDER_BYTES: usize = 128;

fn read(reader: &Reader, look: &Look<'_>, findings: &mut Findings) -> Result<(), String> {
    let mut found = BTreeSet::new();
    for (place, has_digits) in PLACES {
        for at in memmem::find_iter(look.content, place) {
            let rest = &look.content[at + place.len()..];
            let mut start = &rest[..rest.len().min(FOLDER_BYTES)];
            if *has_digits {
                let Some(slash) = start.iter().position(|byte| *byte == b'/') else {
                    continue;
                };
                start = &start[slash + 1..];
            }
            if let Some(named) = named_and_versioned(start) {
                found.insert(named);
            }
            if found.len() > COMPONENTS_PER_FILE {
                return Err(format!("more than {COMPONENTS_PER_FILE} crates"));
            }
        }
    }
    for (name, version) in found {
        let evidence = look.evidence(reader);
        let component = Component::new("cargo", None, name, Some(version), evidence);
        findings.components.extend(component);
    }
    Ok(())
}

/// `serde` and `1.0.200` of `serde-1.0.200/…`: the version is the first part of three numbers.
fn named_and_versioned(start: &[u8]) -> Option<(&str, &str)> {
    let end = start.iter().position(|byte| *byte == b'/')?;
    let folder = std::str::from_utf8(&start[..end]).ok()?;
    let (at, _) = folder.match_indices('-').find(|(at, _)| {
        let mut numbers = folder[at + 1..].splitn(3, '.');
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let two = numbers
            .by_ref()
            .take(2)
            .filter(|text| is_number(text))
            .count()
            == 2;
        two && numbers
            .next()
            .is_some_and(|third| third.starts_with(|c: char| c.is_ascii_digit()))
    })?;
    let (name, version) = (&folder[..at], &folder[at + 1..]);
    let fits = |text: &str, more: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        !text.is_empty() && text.chars().all(fits)
    };
    (fits(name, "-_") && fits(version, ".-+")).then_some((name, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_split_into_name_and_version() {
        let table = [
            ("serde-1.0.200/src", Some(("serde", "1.0.200"))),
            ("md-5-0.10.6/", Some(("md-5", "0.10.6"))),
            ("sha-1-0.10.0-rc.1+x/", Some(("sha-1", "0.10.0-rc.1+x"))),
            ("serde-1.0/src", None),
            ("-1.0.0/", None),
            ("serde-1.0.200", None),
            ("se rde-1.0.200/", None),
            ("serde-1.0.x/", None),
        ];
        for (folder, wanted) in table {
            assert_eq!(named_and_versioned(folder.as_bytes()), wanted, "{folder}");
        }
    }
}
