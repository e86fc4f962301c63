//! The release document: one immutable, numbered statement over several repositories.
//!
//! The document names each repository's `repomd.xml` and package list by digest. A package list is
//! plain text, one package a line, sorted by NEVRA:
//!
//! ```text
//! 5b1f…c9 77a0…1e 0d44…90 hello-2.12-1.x86_64
//! ```
//! header digest, digest of the signed file, digest of the signer's verification summary, NEVRA.

use crate::{Arch, FileDigest, HeaderDigest, Nevra, ReleaseId, RepoName, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt::Write as _;

/// Predicate `schema` of this version.
pub const SCHEMA: &str = "hallmark-release/1";
/// Characters of a digest in hex.
const HEX_CHARS: usize = 64;

/// What the signer signs when a release is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseDocument {
    /// [`SCHEMA`].
    pub schema: String,
    /// Number of the release.
    pub id: ReleaseId,
    /// The release before it.
    pub previous: Option<PreviousRelease>,
    /// The one publish instant of the release; strictly later than the previous one's.
    pub issued: Timestamp,
    /// Sorted by (repo, arch).
    pub repos: Vec<ReleaseRepo>,
}

/// The release before, by number and by the digest of its signed envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousRelease {
    /// Its number.
    pub id: ReleaseId,
    /// SHA-256 of its DSSE envelope.
    pub sha256: FileDigest,
}

/// One repository in a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRepo {
    /// Repository.
    pub repo: RepoName,
    /// Architecture.
    pub arch: Arch,
    /// SHA-256 of `repodata/repomd.xml`.
    pub repomd: FileDigest,
    /// SHA-256 of the package list.
    pub package_list: FileDigest,
    /// Lines in the package list.
    pub packages: u64,
}

/// One line of a package list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPackage {
    /// Identity of the package.
    pub header: HeaderDigest,
    /// The signed file as served.
    pub signed_file: FileDigest,
    /// The signer's verification summary.
    pub summary: FileDigest,
    /// Name for people.
    pub nevra: Nevra,
}

/// A package list is malformed. Whoever made it is at fault; do not retry.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the package list is not `header file summary nevra`, sorted by NEVRA")]
pub struct PackageListError {
    line: usize,
}

/// Writes a package list; `packages` must be sorted by NEVRA and then header digest.
pub fn write_package_list(packages: &[ListedPackage]) -> String {
    let mut out = String::with_capacity(packages.len() * 240);
    for package in packages {
        // Writing into a String cannot fail.
        let _ = writeln!(
            out,
            "{} {} {} {}",
            package.header, package.signed_file, package.summary, package.nevra
        );
    }
    out
}

/// Reads a package list and refuses one that is not sorted.
pub fn read_package_list(text: &str) -> Result<Vec<ListedPackage>, PackageListError> {
    let mut out: Vec<ListedPackage> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let refuse = || PackageListError { line: index + 1 };
        let package = read_line(line).ok_or_else(refuse)?;
        let key = |p: &ListedPackage| (p.nevra.clone(), p.header);
        if out.last().is_some_and(|last| key(last) >= key(&package)) {
            return Err(refuse());
        }
        out.push(package);
    }
    Ok(out)
}

/// Where the packages stand in a list whose digest somebody vouches for: whoever looks for one package after the
/// other reads the list once, and of its lines only those that were looked for.
#[derive(Debug, Clone, Default)]
pub struct PackageListIndex(HashMap<HeaderDigest, LinePlace>);

#[derive(Debug, Clone, Copy)]
struct LinePlace {
    /// From 1.
    line: usize,
    /// Bytes before it.
    offset: usize,
}

impl PackageListIndex {
    /// Reads the beginnings of all lines; one that begins with no header digest is nobody's.
    pub fn of(list: &[u8]) -> Self {
        let mut places = HashMap::new();
        let mut offset = 0;
        for (index, line) in list.split(|byte| *byte == b'\n').enumerate() {
            let place = LinePlace {
                line: index + 1,
                offset,
            };
            offset += line.len() + 1;
            let name = line.get(..HEX_CHARS);
            let header = name.and_then(|hex| std::str::from_utf8(hex).ok()?.parse().ok());
            if let Some(header) = header {
                places.entry(header).or_insert(place);
            }
        }
        Self(places)
    }

    /// The line of one package.
    ///
    /// * `list`: the bytes that the index is of.
    pub fn find(
        &self,
        list: &[u8],
        header: HeaderDigest,
    ) -> Result<Option<ListedPackage>, PackageListError> {
        let Some(place) = self.0.get(&header) else {
            return Ok(None);
        };
        let refuse = || PackageListError { line: place.line };
        let rest = list.get(place.offset..).unwrap_or_default();
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = std::str::from_utf8(line).map_err(|_| refuse())?;
        read_line(line).map(Some).ok_or_else(refuse)
    }
}

fn read_line(line: &str) -> Option<ListedPackage> {
    let mut parts = line.split(' ');
    let package = ListedPackage {
        header: parts.next()?.parse().ok()?,
        signed_file: parts.next()?.parse().ok()?,
        summary: parts.next()?.parse().ok()?,
        nevra: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(nevra: &str) -> ListedPackage {
        ListedPackage {
            header: HeaderDigest::of(nevra.as_bytes()),
            signed_file: FileDigest::of(b"signed"),
            summary: FileDigest::of(b"summary"),
            nevra: nevra.parse().unwrap(),
        }
    }

    #[test]
    fn a_package_list_reads_back_and_must_be_sorted() {
        let list = [
            package("a-1-1.noarch"),
            package("a-1-2.noarch"),
            package("b-1-1.noarch"),
        ];
        assert_eq!(read_package_list(&write_package_list(&list)).unwrap(), list);
        let twisted = [package("b-1-1.noarch"), package("a-1-1.noarch")];
        let error = read_package_list(&write_package_list(&twisted)).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
        assert!(read_package_list("a b c\n").is_err());
        let text = write_package_list(&list);
        let find = |bytes: &[u8], header| PackageListIndex::of(bytes).find(bytes, header);
        for package in &list {
            let found = find(text.as_bytes(), package.header).unwrap();
            assert_eq!(found.as_ref(), Some(package));
        }
        let error = find(&text.as_bytes()[..70], list[0].header).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
        assert_eq!(find(&text.as_bytes()[..60], list[0].header).unwrap(), None);
        let stranger = HeaderDigest::of(b"stranger");
        assert_eq!(find(text.as_bytes(), stranger).unwrap(), None);
        // An index of other bytes finds nothing there, and does not panic.
        let index = PackageListIndex::of(text.as_bytes());
        assert!(index.find(b"", list[1].header).is_err());
    }
}
