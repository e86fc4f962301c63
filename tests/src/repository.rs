//! The published tree, read as a careful client reads it: signature, digest, size, then use.

use crate::http::Http;
use crate::process;
use repo_model::FileDigest;
use std::path::Path;

/// One moving or pinned repository of a server.
#[derive(Debug, Clone)]
pub struct Repository<'a> {
    http: &'a Http,
    /// `/preview/base/x86_64`
    base: String,
}

/// A file that `repomd.xml` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataFile {
    /// `primary`, `filelists`, ...
    pub kind: String,
    /// `repodata/…`
    pub href: String,
    /// SHA-256 of the file.
    pub digest: FileDigest,
    /// Its size.
    pub size_bytes: u64,
}

/// A package that `primary.xml` names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedPackage {
    /// `Packages/…`
    pub href: String,
    /// NAME.
    pub name: String,
    /// SHA-256 of the file.
    pub digest: FileDigest,
    /// Its size.
    pub size_bytes: u64,
}

impl<'a> Repository<'a> {
    /// `base`: `/preview/base/x86_64` without a final slash.
    pub fn new(http: &'a Http, base: &str) -> Self {
        Self {
            http,
            base: base.to_owned(),
        }
    }

    /// Its URL, for package managers.
    pub fn url(&self) -> String {
        self.http.url(&self.base)
    }

    /// The path of something in it.
    pub fn path(&self, href: &str) -> String {
        format!("{}/{href}", self.base)
    }

    /// `repomd.xml`.
    pub fn repomd(&self) -> Vec<u8> {
        self.http.fetch(&self.path("repodata/repomd.xml"))
    }

    /// Names, digests and sizes of all packages, out of a `primary.xml` that was checked.
    ///
    /// # Panics
    /// When something is not what it should be.
    pub fn packages(&self) -> Vec<ListedPackage> {
        let files = metadata_files(&String::from_utf8_lossy(&self.repomd()));
        let primary = files
            .iter()
            .find(|file| file.kind == "primary")
            .expect("repomd.xml names primary.xml");
        listed_packages(&self.open(primary))
    }

    /// The package's place and digest; none when it is not in the metadata.
    pub fn package(&self, name: &str) -> Option<ListedPackage> {
        self.packages()
            .into_iter()
            .find(|package| package.name == name)
    }

    /// Fetches, checks and decompresses a metadata file.
    fn open(&self, file: &MetadataFile) -> String {
        let bytes = self.http.fetch(&self.path(&file.href));
        assert_eq!(bytes.len() as u64, file.size_bytes, "size of {}", file.href);
        assert_eq!(
            FileDigest::of(&bytes),
            file.digest,
            "digest of {}",
            file.href
        );
        let xml = match file.href.rsplit('.').next() {
            Some("zst") => zstd::decode_all(bytes.as_slice()).expect("zstd"),
            Some("gz") => gunzip(&bytes),
            // Groups for yum.
            Some("xml") => bytes.to_vec(),
            other => panic!("{} is compressed as {other:?}", file.href),
        };
        String::from_utf8(xml).expect("XML is UTF-8")
    }

    /// Fetches everything that the repository names and compares digests and sizes.
    ///
    /// Returns the packages, sorted by path.
    ///
    /// # Panics
    /// When something is missing or not what it should be.
    pub fn check_everything(&self) -> Vec<ListedPackage> {
        let files = metadata_files(&String::from_utf8_lossy(&self.repomd()));
        let mut packages = Vec::new();
        for file in &files {
            let xml = self.open(file);
            if file.kind == "primary" {
                packages = listed_packages(&xml);
            }
        }
        for package in &packages {
            let bytes = self.http.fetch(&self.path(&package.href));
            assert_eq!(
                bytes.len() as u64,
                package.size_bytes,
                "size of {}",
                package.href
            );
            assert_eq!(
                FileDigest::of(&bytes),
                package.digest,
                "digest of {}",
                package.href
            );
        }
        packages.sort();
        packages
    }
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("it is ours");
    process::run(
        process::command("gzip")
            .arg("-dc")
            .stdin(file.reopen().expect("it is there")),
    )
    .into_bytes()
}

/// What a `repomd.xml` names.
///
/// # Panics
/// When it is not shaped as ours are.
pub fn metadata_files(repomd: &str) -> Vec<MetadataFile> {
    let files = repomd.split("<data type=\"").skip(1);
    files
        .map(|text| {
            let text = text.split("</data>").next().unwrap_or_default();
            MetadataFile {
                kind: text.split('"').next().unwrap_or_default().to_owned(),
                href: between(text, "<location href=\"", "\"").to_owned(),
                digest: between(text, "<checksum type=\"sha256\">", "<")
                    .parse()
                    .expect("a digest"),
                size_bytes: between(text, "<size>", "<").parse().expect("a size"),
            }
        })
        .collect()
}

fn listed_packages(primary: &str) -> Vec<ListedPackage> {
    let packages = primary.split("<package type=\"rpm\">").skip(1);
    packages
        .map(|text| ListedPackage {
            href: between(text, "<location href=\"", "\"").to_owned(),
            name: between(text, "<name>", "<").to_owned(),
            digest: between(text, "<checksum type=\"sha256\" pkgid=\"YES\">", "<")
                .parse()
                .expect("a digest"),
            size_bytes: between(text, "<size package=\"", "\"")
                .parse()
                .expect("a size"),
        })
        .collect()
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let rest = text
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before} in {text}"))
        .1;
    rest.split(after).next().unwrap_or_default()
}

/// Lets gpgv judge a detached signature: its words when it is good, else `Err` with them.
///
/// * `certificates`: armoured.
/// * `scratch`: an empty folder for its files.
///
/// # Panics
/// When GnuPG does not run at all.
pub fn gpgv(
    scratch: &Path,
    certificates: &str,
    signature: &[u8],
    data: &[u8],
) -> Result<String, String> {
    let file = |name: &str, content: &[u8]| {
        let path = scratch.join(name);
        std::fs::write(&path, content).expect("the folder is writable");
        path
    };
    let (armored, keyring) = (
        file("keys.asc", certificates.as_bytes()),
        scratch.join("keys.gpg"),
    );
    let gpg = |program: &str| {
        let mut command = process::command(program);
        command.arg("--homedir").arg(scratch);
        command
    };
    process::run(
        gpg("gpg")
            .args(["--batch", "--yes", "--quiet", "--output"])
            .arg(&keyring)
            .arg("--dearmor")
            .arg(armored),
    );
    let (signature, data) = (file("data.asc", signature), file("data", data));
    let output = gpg("gpgv")
        .arg("--keyring")
        .arg(&keyring)
        .arg(signature)
        .arg(data)
        .output()
        .expect("gpgv runs");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(words)
    } else {
        Err(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repomd_and_primary_name_is_read() {
        let digest = "0".repeat(64);
        let repomd = format!(
            "<repomd><data type=\"primary\"><checksum type=\"sha256\">{digest}</checksum>\
             <location href=\"repodata/x-primary.xml.zst\"/><size>7</size></data></repomd>"
        );
        let files = metadata_files(&repomd);
        assert_eq!(files.len(), 1);
        assert_eq!(
            (files[0].kind.as_str(), files[0].size_bytes),
            ("primary", 7)
        );
        let primary = format!(
            "<metadata><package type=\"rpm\"><name>a</name>\
             <checksum type=\"sha256\" pkgid=\"YES\">{digest}</checksum><size package=\"9\" installed=\"1\"/>\
             <location href=\"Packages/a/a.rpm\"/></package></metadata>"
        );
        assert_eq!(listed_packages(&primary)[0].href, "Packages/a/a.rpm");
    }
}
