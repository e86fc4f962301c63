//! The manifest of one repository of a release: the SHA-256 of each of its files, as `sha256sum -c` reads
//! it, signed by the metadata key. It lies beside `repomd.xml`, so that whoever has a copy, by rsync or on a
//! disk, can check it with stock tools and no network:
//!
//! ```text
//! # hallmark-manifest/1 release=7 repo=base arch=x86_64 issued=2026-11-21T13:00:00Z
//! 5b1f…c9  Packages/h/hello-2.12-1.x86_64.rpm
//! 77a0…1e  repodata/77a0…1e-primary.xml.zst
//! 0d44…90  repodata/repomd.xml
//! 19cd…02  repodata/repomd.xml.asc
//! ```
//!
//! Paths are relative to the directory that holds `repodata`. The signer writes it itself, of what it signs: the
//! package list, `repomd.xml`, and the names of metadata files in that, which hold their digests.

use crate::release::ListedPackage;
use crate::{Arch, FileDigest, Nevra, ReleaseId, RepoName, Timestamp};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Where it lies below the repository's root; signatures have `.asc` and `.pqc.asc` behind the name.
pub const MANIFEST: &str = "repodata/SHA256SUMS";
/// Largest manifest that is read, bytes: a million packages.
pub const MANIFEST_MAX_BYTES: u64 = 256 << 20;
const SCHEMA: &str = "hallmark-manifest/1";

/// Which repository of which release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestOf {
    /// Number of the release.
    pub release: ReleaseId,
    /// Repository.
    pub repo: RepoName,
    /// Architecture.
    pub arch: Arch,
    /// The release's publish instant.
    pub issued: Timestamp,
}

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Which repository.
    pub of: ManifestOf,
    /// SHA-256 of each file, by path below the repository's root.
    pub files: BTreeMap<Box<str>, FileDigest>,
}

/// A manifest cannot be made or read. Whoever made the files is at fault; do not retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// `repomd.xml` is not as our server writes it.
    #[error("`{href}` in repomd.xml is no name of metadata that holds its digest")]
    Href {
        /// The name, cut after 200 characters.
        href: String,
    },
    /// Two files would have one path.
    #[error("{path} is listed twice")]
    Twice {
        /// Which path.
        path: String,
    },
    /// The text is no manifest.
    #[error("line {line} of the manifest is wrong: {why}")]
    Line {
        /// From 1 on.
        line: usize,
        /// What is wrong.
        why: &'static str,
    },
}

/// `Packages/h/hello-2.12-1.x86_64.rpm`: a package's path below the repository's root. The first letter is
/// lowercased; the lint refuses names that could leave the directory.
pub fn package_path(nevra: &Nevra) -> String {
    let first = nevra.name.chars().next().unwrap_or('_').to_lowercase();
    format!("Packages/{first}/{}", nevra.file_name())
}

impl Manifest {
    /// The manifest of what a release has.
    ///
    /// * `repomd`: `repomd.xml` as our server writes it; its names of metadata files are found, not parsed.
    /// * `beside`: further files of `repodata`: name and bytes.
    pub fn of_release(
        of: ManifestOf,
        repomd: &[u8],
        packages: &[ListedPackage],
        beside: &[(&str, &[u8])],
    ) -> Result<Self, ManifestError> {
        let mut files = BTreeMap::new();
        let mut add = |path: String, digest: FileDigest| match files
            .insert(path.clone().into_boxed_str(), digest)
        {
            None => Ok(()),
            Some(_) => Err(ManifestError::Twice { path }),
        };
        for package in packages {
            add(package_path(&package.nevra), package.signed_file)?;
        }
        for (href, digest) in metadata_files(repomd)? {
            add(href, digest)?;
        }
        add("repodata/repomd.xml".to_owned(), FileDigest::of(repomd))?;
        for (name, bytes) in beside {
            add(format!("repodata/{name}"), FileDigest::of(bytes))?;
        }
        Ok(Self { of, files })
    }

    /// Reads a manifest; refuses paths that could leave the repository, and lines that are not sorted.
    pub fn read(text: &str) -> Result<Self, ManifestError> {
        let wrong = |line, why| ManifestError::Line { line, why };
        let mut lines = text.lines();
        let head = lines.next().and_then(read_head);
        let of = head.ok_or(wrong(1, "want `# hallmark-manifest/1 release=N …`"))?;
        let mut files: BTreeMap<Box<str>, FileDigest> = BTreeMap::new();
        for (index, line) in lines.enumerate() {
            let line_number = index + 2;
            let (digest, path) = line
                .split_once("  ")
                .ok_or(wrong(line_number, "want a digest, two spaces and a path"))?;
            let digest = digest
                .parse()
                .map_err(|_| wrong(line_number, "want 64 lowercase hex digits first"))?;
            if !is_plain_path(path) {
                return Err(wrong(line_number, "its path could lead elsewhere"));
            }
            if files
                .last_key_value()
                .is_some_and(|(last, _)| **last >= *path)
            {
                return Err(wrong(line_number, "paths are not sorted"));
            }
            files.insert(path.into(), digest);
        }
        Ok(Self { of, files })
    }
}

impl std::fmt::Display for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ManifestOf {
            release,
            repo,
            arch,
            issued,
        } = &self.of;
        let mut out = String::with_capacity(self.files.len() * 120 + 100);
        // Writing into a String cannot fail.
        let _ = writeln!(
            out,
            "# {SCHEMA} release={release} repo={repo} arch={arch} issued={issued}"
        );
        for (path, digest) in &self.files {
            let _ = writeln!(out, "{digest}  {path}");
        }
        f.write_str(&out)
    }
}

fn read_head(line: &str) -> Option<ManifestOf> {
    let rest = line.strip_prefix("# ")?.strip_prefix(SCHEMA)?;
    let mut words = rest.strip_prefix(' ')?.split(' ');
    let mut value = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
    let of = ManifestOf {
        release: value("release")?.parse().ok()?,
        repo: value("repo")?.parse().ok()?,
        arch: value("arch")?.parse().ok()?,
        issued: value("issued")?.parse().ok()?,
    };
    words.next().is_none().then_some(of)
}

/// Relative, without `.` and `..`, and without what `sha256sum` would escape.
pub fn is_plain_path(path: &str) -> bool {
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    path.len() <= 4096
        && path.split('/').all(plain)
        && !path.chars().any(|c| c.is_control() || c == '\\')
}

/// Names of metadata files in `repomd.xml`, in its order, with the digest that each holds.
fn metadata_files(repomd: &[u8]) -> Result<Vec<(String, FileDigest)>, ManifestError> {
    let refuse = |href: &str| ManifestError::Href {
        href: href.chars().take(200).collect(),
    };
    let text = String::from_utf8_lossy(repomd);
    let mut found = Vec::new();
    for rest in text.split("href=\"").skip(1) {
        let href = rest.split('"').next().unwrap_or_default();
        let name = href.strip_prefix("repodata/").ok_or_else(|| refuse(href))?;
        let (digest, kind) = name.split_once('-').ok_or_else(|| refuse(href))?;
        let digest = digest.parse().map_err(|_| refuse(href))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if kind.is_empty() || !kind.chars().all(plain) {
            return Err(refuse(href));
        }
        found.push((href.to_owned(), digest));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeaderDigest;

    fn of() -> ManifestOf {
        ManifestOf {
            release: ReleaseId(7),
            repo: "base".parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
            issued: Timestamp::from_unix_secs(1_763_600_000),
        }
    }

    fn package(nevra: &str) -> ListedPackage {
        ListedPackage {
            header: HeaderDigest::of(nevra.as_bytes()),
            signed_file: FileDigest::of(nevra.as_bytes()),
            summary: FileDigest::of(b"summary"),
            nevra: nevra.parse().unwrap(),
        }
    }

    #[test]
    fn a_manifest_lists_every_file_of_the_release_sorted_and_reads_back() {
        let primary = FileDigest::of(b"primary");
        let repomd = format!("<location href=\"repodata/{primary}-primary.xml.zst\"/>");
        let packages = [package("Zoo-1-1.noarch"), package("a+b-2:1~rc-1.x86_64")];
        let signature: (&str, &[u8]) = ("repomd.xml.asc", b"signature");
        let manifest =
            Manifest::of_release(of(), repomd.as_bytes(), &packages, &[signature]).unwrap();
        let text = manifest.to_string();
        let head = "# hallmark-manifest/1 release=7 repo=base arch=x86_64 issued=";
        assert!(text.starts_with(head), "{text}");
        let paths: Vec<_> = manifest.files.keys().map(|path| &**path).collect();
        assert_eq!(
            paths,
            [
                "Packages/a/a+b-1~rc-1.x86_64.rpm",
                "Packages/z/Zoo-1-1.noarch.rpm",
                &format!("repodata/{primary}-primary.xml.zst"),
                "repodata/repomd.xml",
                "repodata/repomd.xml.asc",
            ]
        );
        assert!(text.contains(&format!(
            "\n{primary}  repodata/{primary}-primary.xml.zst\n"
        )));
        assert_eq!(Manifest::read(&text).unwrap(), manifest);
    }

    #[test]
    fn names_that_hold_no_digest_and_paths_met_twice_make_no_manifest() {
        for href in [
            "primary.xml",
            "repodata/primary.xml.zst",
            "repodata/12-primary.xml",
            &format!("repodata/{}-../../x", FileDigest::of(b"")),
            &format!("repodata/{}-", FileDigest::of(b"")),
        ] {
            let repomd = format!("<location href=\"{href}\"/>");
            let made = Manifest::of_release(of(), repomd.as_bytes(), &[], &[]);
            assert!(matches!(made, Err(ManifestError::Href { .. })), "{href}");
        }
        // Two epochs, one file name.
        let twice = [package("a-1:1-1.noarch"), package("a-2:1-1.noarch")];
        let made = Manifest::of_release(of(), b"", &twice, &[]);
        assert!(matches!(made, Err(ManifestError::Twice { .. })));
    }

    #[test]
    fn a_manifest_that_leads_elsewhere_or_is_not_sorted_is_refused_by_line() {
        let text = Manifest::of_release(of(), b"", &[], &[])
            .unwrap()
            .to_string();
        let digest = FileDigest::of(b"");
        let line = |path: &str| format!("{text}{digest}  {path}\n");
        assert!(
            Manifest::read(&line("repodata/a")).is_err(),
            "before repomd.xml"
        );
        assert!(Manifest::read(&line("repodata/z")).is_ok());
        for bad in [
            "/etc/passwd",
            "z/../../x",
            "z//x",
            "z/./x",
            "z\\x",
            "z\u{7}",
            "",
        ] {
            let error = Manifest::read(&line(bad)).unwrap_err();
            assert!(error.to_string().starts_with("line 3"), "{bad}: {error}");
        }
        for bad in [
            "",
            "# other/1",
            "hello",
            &text.replace("release=7", "release=x"),
        ] {
            assert!(Manifest::read(bad).is_err(), "{bad}");
        }
        assert!(Manifest::read(&text[..text.len() - 25]).is_err());
    }
}
