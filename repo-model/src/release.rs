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
use std::fmt::Write as _;

/// Predicate `schema` of this version.
pub const SCHEMA: &str = "hallmark-release/1";

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

/// The line of one package in a list whose digest somebody vouches for: the other lines are not read.
pub fn find_in_package_list(
    list: &[u8],
    header: HeaderDigest,
) -> Result<Option<ListedPackage>, PackageListError> {
    let wanted = header.to_hex();
    let mut lines = list.split(|byte| *byte == b'\n').enumerate();
    let Some((index, line)) = lines.find(|(_, line)| line.starts_with(wanted.as_bytes())) else {
        return Ok(None);
    };
    let refuse = || PackageListError { line: index + 1 };
    let line = std::str::from_utf8(line).map_err(|_| refuse())?;
    read_line(line).map(Some).ok_or_else(refuse)
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
        let found = find_in_package_list(text.as_bytes(), list[1].header).unwrap();
        assert_eq!(found.as_ref(), Some(&list[1]));
        let cut = &text.as_bytes()[..70];
        assert!(find_in_package_list(cut, list[0].header).is_err());
        let stranger = HeaderDigest::of(b"stranger");
        assert_eq!(
            find_in_package_list(text.as_bytes(), stranger).unwrap(),
            None
        );
    }
}
