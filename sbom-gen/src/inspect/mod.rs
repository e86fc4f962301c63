//! The readers that find components inside a package: one file and one row each.
//!
//! A reader says from a file's path and first bytes whether it wants the file, and then gets its
//! whole content. Content is hostile: a reader that cannot make sense of a file finds nothing
//! there, and never fails the package.

mod auditable;
mod bundled;
mod crates;
mod dotnet;
mod elf;
mod go;
mod java;
mod npm;
mod php;
mod python;
mod ruby;
mod spec;
mod vendored;
mod wheel_sbom;
mod zip;

pub(crate) use bundled::SOURCE as BUNDLED;
pub(crate) use python::normalised as normalised_python;

use crate::component::{Component, Evidence, Technique};
use crate::inventory::NotInspected;
use repo_model::rpm::Package;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// What the readers have found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) components: Vec<Component>,
    /// Build id of the file that is looked into.
    pub(crate) build_id: Option<String>,
    pub(crate) not_inspected: Vec<NotInspected>,
    /// Where a spec says that sources come from, by file name.
    pub(crate) source_urls: BTreeMap<String, String>,
}

/// Components that one file may name; the largest known programs have some thousands.
const COMPONENTS_PER_FILE: usize = 20_000;

/// Longest list of what is installed; the longest known ones have some megabytes. What a parser makes of one takes several
/// times as much.
const JSON_BYTES: usize = 16 << 20;

/// One file of one package.
pub(crate) struct Look<'a> {
    package: &'a Package,
    path: &'a str,
    content: &'a [u8],
}

impl Look<'_> {
    /// The content as JSON.
    fn json<T: DeserializeOwned>(&self) -> Result<T, String> {
        if self.content.len() > JSON_BYTES {
            return Err(format!("longer than {JSON_BYTES} bytes"));
        }
        serde_json::from_slice(self.content).map_err(|error| error.to_string())
    }

    fn evidence(&self, reader: &Reader) -> Evidence {
        Evidence {
            source: reader.name,
            path: Some(self.path.to_owned()),
            technique: reader.technique,
            confidence_percent: reader.confidence_percent,
        }
    }
}

/// One way of finding components in a file.
pub(crate) struct Reader {
    /// Names the reader in evidence.
    name: &'static str,
    technique: Technique,
    confidence_percent: u8,
    /// From path and first bytes.
    wants: fn(&str, &[u8]) -> bool,
    /// Adds what the file shows; `Err` says in one clause why it could not be read.
    read: fn(&Reader, &Look<'_>, &mut Findings) -> Result<(), String>,
}

static READERS: &[Reader] = &[
    elf::PACKAGE_NOTE,
    go::BUILD_INFO,
    auditable::AUDITABLE,
    crates::PANIC_PATHS,
    python::METADATA,
    python::ARCHIVE,
    wheel_sbom::WHEEL_SBOM,
    npm::PACKAGE_JSON,
    npm::INSTALLED,
    java::POM_PROPERTIES,
    ruby::GEMSPEC,
    php::INSTALLED,
    dotnet::DEPS,
    vendored::CARGO_VENDOR,
    vendored::GO_MODULES,
    spec::SOURCES,
];

/// Whether any reader wants the file.
pub(crate) fn wants(path: &str, start: &[u8]) -> bool {
    READERS.iter().any(|reader| (reader.wants)(path, start))
}

/// Shows one file to every reader that wants it.
pub(crate) fn file(package: &Package, path: &str, content: &[u8], findings: &mut Findings) {
    let look = Look {
        package,
        path,
        content,
    };
    for reader in READERS
        .iter()
        .filter(|reader| (reader.wants)(path, content))
    {
        if let Err(why) = (reader.read)(reader, &look, findings) {
            let reason = format!("{}: {why}", reader.name);
            findings.not_inspected.push(NotInspected {
                path: path.to_owned(),
                reason,
            });
        }
    }
}

/// Adds what the package's own header says is inside.
pub(crate) fn header(package: &Package, findings: &mut Findings) {
    findings.components.extend(bundled::components(package));
}

fn is_elf(_path: &str, start: &[u8]) -> bool {
    start.starts_with(b"\x7fELF")
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::rpm::Head;

    /// Any parsed package will do: readers look at it only to tell it from what it holds.
    pub(super) fn some_package() -> Option<Package> {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../shared/rpms/v6/rpm-basic-none.noarch.rpm"
        );
        let Ok(bytes) = std::fs::read(path) else {
            eprintln!("SKIP readers_survive_anything: {path} is not there");
            return None;
        };
        Some(Package::from_head(&Head::parse(&bytes).unwrap()).unwrap())
    }

    #[test]
    fn every_reader_survives_content_that_only_starts_well() {
        let Some(package) = some_package() else {
            return;
        };
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let mut contents = vec![
            b"\x7fELF".to_vec(),
            b"\x7fELF\x02\x01\x01"
                .iter()
                .copied()
                .chain([0xff; 300])
                .collect(),
            b"{\"name\":".to_vec(),
            b"{\"name\":7}".to_vec(),
            b"Name: \nVersion:\n\n".to_vec(),
            vec![0xff; 4096],
            b"PK\x03\x04PK\x05\x06"
                .iter()
                .copied()
                .chain([0xff; 40])
                .collect(),
            b"PK\x03\x04"
                .iter()
                .copied()
                .chain([0; 18])
                .chain(*b"PK\x05\x06\0\0\0\0")
                .chain([7; 14])
                .collect(),
            b"# a\n# b v1 => \nx v\n v1\n".to_vec(),
            b"s.name = \nversion".to_vec(),
            br#"{"packages":{"node_modules/":{"version":"1"},"":{},"x":{"version":"2"}}}"#.to_vec(),
            br#"{"libraries":{"/":{"type":"package"},"x":{"type":"package"}}}"#.to_vec(),
        ];
        // A real executable, cut and scribbled over at many places.
        for step in 1..24 {
            let mut cut = own[..own.len().min(1 << 20) * step / 24].to_vec();
            for i in (step..cut.len().min(4096)).step_by(37) {
                cut[i] = cut[i].wrapping_add(step as u8 * 11);
            }
            contents.push(cut);
        }
        let paths = [
            "/usr/bin/x",
            "/usr/lib/python3.9/site-packages/x-1.dist-info/METADATA",
            "/usr/lib/node_modules/x/node_modules/y/package.json",
        ];
        for content in &contents {
            for path in paths {
                for reader in READERS {
                    let look = Look {
                        package: &package,
                        path,
                        content,
                    };
                    let mut findings = Findings::default();
                    let _ = (reader.read)(reader, &look, &mut findings);
                    for component in &findings.components {
                        assert!(!component.evidence.is_empty(), "{}", reader.name);
                    }
                }
            }
        }
    }

    #[test]
    fn readers_have_distinct_names() {
        let mut names: Vec<_> = READERS.iter().map(|reader| reader.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), READERS.len());
    }
}
