//! What a copy is when no sync is under way: one JSON document a line, the first about the copy, the
//! others each about a file, or about the proofs beside one. Written when all that it tells is on the disk.
//!
//! ```text
//! {"version":2,"repomd":"ab12…","newest":1763600000,"scope":"","validators":{"https://…":{"etag":"\"x\""}}}
//! {"path":"Packages/a-1-1.noarch.rpm","size":8421,"sha256":"cd34…","modified":1763600000123456789}
//! {"path":"Packages/a-1-1.noarch.rpm","proofs":{".tlog-proof":{"size":512,"modified":1763600000123456789}}}
//! ```
//!
//! Before version 2 each proof had a line as any file has.

use super::claim::Claim;
use super::proofs::{SUFFIXES, package_of};
use crate::http::Validators;
use repo_model::FileDigest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

const VERSION: u32 = 2;
/// The first one in which proofs have lines of their own kind.
const VERSION_OF_PROOFS: u32 = 2;

/// What a copy is.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub head: Head,
    /// By path below the copy's directory.
    pub files: HashMap<Box<str>, Row>,
    /// By the path of the package that they lie beside. There are several of each package, so less is known of one than of a
    /// file.
    pub proofs: HashMap<Box<str>, Box<Proofs>>,
}

/// What lies beside a package: of each of [`SUFFIXES`] whether it does, and how it looks.
pub(crate) type Proofs = [Option<Proof>; SUFFIXES.len()];

/// A file that no metadata names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    pub size_bytes: u64,
    /// As of a [`Row`].
    pub modified_ns: i64,
    /// As of a [`Row`].
    pub etag: Option<Box<str>>,
}

/// How a file looked when it was put or read: one that looks otherwise was touched since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look<'a> {
    pub size_bytes: u64,
    modified_ns: i64,
    pub etag: Option<&'a str>,
}

impl Look<'_> {
    /// Whether a file in a directory looks so.
    pub fn is_of(&self, data: &fs::Metadata) -> bool {
        data.is_file() && data.len() == self.size_bytes && modified_ns(data) == self.modified_ns
    }
}

/// About the copy as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub version: u32,
    /// SHA-256 of upstream's `repomd.xml`; none before the first sync has ended.
    pub repomd: Option<FileDigest>,
    /// The newest timestamp in it.
    pub newest: i64,
    /// Which filters, and what they did to the metadata.
    pub scope: String,
    /// Keys that packages were verified with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_by: Option<String>,
    /// Whether files were missing upstream, and the copy does without them.
    #[serde(default)]
    pub incomplete: bool,
    /// Whether proofs of packages are still to be asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proofs_due: bool,
    /// What to ask each upstream with.
    #[serde(default)]
    pub validators: BTreeMap<String, Validators>,
}

/// About one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub size_bytes: u64,
    pub sha256: FileDigest,
    /// What metadata claims of it, where that is no SHA-256.
    pub claim: Option<Box<Claim>>,
    /// When it was last written, nanoseconds since 1970: a file that has another time was touched.
    pub modified_ns: i64,
    /// Where the copy is in a bucket: what the bucket called this content.
    pub etag: Option<Box<str>>,
    /// Since when upstream has dropped it, seconds since 1970.
    pub dropped_at: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct LineOfProofs {
    path: Box<str>,
    /// By what follows the package's name.
    proofs: BTreeMap<Box<str>, LineOfProof>,
}

#[derive(Serialize, Deserialize)]
struct LineOfProof {
    size: u64,
    #[serde(default)]
    modified: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<Box<str>>,
}

#[derive(Serialize, Deserialize)]
struct LineOfFile {
    path: Box<str>,
    size: u64,
    sha256: FileDigest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claim: Option<String>,
    modified: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dropped: Option<i64>,
}

impl Row {
    /// A file as it lies there.
    pub fn of(data: &fs::Metadata, sha256: FileDigest, claim: &Claim) -> Self {
        Self {
            size_bytes: data.len(),
            sha256,
            claim: of_another_kind(claim),
            modified_ns: modified_ns(data),
            etag: None,
            dropped_at: None,
        }
    }

    /// How the file looks.
    pub fn look(&self) -> Look<'_> {
        Look {
            size_bytes: self.size_bytes,
            modified_ns: self.modified_ns,
            etag: self.etag.as_deref(),
        }
    }

    /// Whether the file is still the one that was looked at.
    pub fn is_untouched(&self, data: &fs::Metadata) -> bool {
        self.look().is_of(data)
    }

    /// Whether it is what metadata claims.
    pub fn fulfils(&self, claim: &Claim) -> bool {
        match &self.claim {
            Some(own) => **own == *claim,
            None => claim.sha256() == Some(self.sha256),
        }
    }
}

impl Proof {
    /// A file as it lies there.
    pub fn of(data: &fs::Metadata) -> Self {
        Self {
            size_bytes: data.len(),
            modified_ns: modified_ns(data),
            etag: None,
        }
    }

    /// How the file looks.
    pub fn look(&self) -> Look<'_> {
        Look {
            size_bytes: self.size_bytes,
            modified_ns: self.modified_ns,
            etag: self.etag.as_deref(),
        }
    }
}

/// The claim, unless the SHA-256 says as much.
pub(super) fn of_another_kind(claim: &Claim) -> Option<Box<Claim>> {
    claim.sha256().is_none().then(|| Box::new(claim.clone()))
}

fn modified_ns(data: &fs::Metadata) -> i64 {
    data.mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(data.mtime_nsec())
}

impl State {
    /// Reads it; the empty state when there is none, or none that can be read: then every file is
    /// looked at again, and nothing else is lost.
    pub fn load(path: &Path) -> io::Result<Self> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        match read(BufReader::new(file)) {
            Ok(state) => Ok(state),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                tracing::warn!("{} is not readable: {error}", path.display());
                Ok(Self::default())
            }
            Err(error) => Err(error),
        }
    }

    /// The same for a copy of a repository, whose proofs older versions wrote down as files.
    pub fn load_copy(path: &Path) -> io::Result<Self> {
        let mut state = Self::load(path)?;
        if state.head.version < VERSION_OF_PROOFS {
            state.part_proofs();
        }
        Ok(state)
    }

    fn part_proofs(&mut self) {
        let files = self.files.keys();
        // A package may be called like the proof of one that is not there: then it is a file like others.
        let all = files.filter(|path| {
            package_of(path).is_some_and(|(package, _)| self.files.contains_key(package))
        });
        let all: Vec<Box<str>> = all.cloned().collect();
        for path in all {
            if let Some((package, number)) = package_of(&path)
                && let Some(row) = self.files.remove(&path)
            {
                let proof = Proof {
                    size_bytes: row.size_bytes,
                    modified_ns: row.modified_ns,
                    etag: row.etag,
                };
                self.proofs.entry(package.into()).or_default()[number] = Some(proof);
            }
        }
        self.files.shrink_to_fit();
    }

    /// Whether a file is there and upstream has it, too.
    pub fn serves(&self, path: &str) -> bool {
        let row = self.files.get(path);
        row.is_some_and(|row| row.dropped_at.is_none())
    }

    /// Counts what came to the proofs of a package; how many there were.
    pub fn add_proofs(&mut self, package: &str, came: Proofs) -> u64 {
        if came.iter().all(Option::is_none) {
            return 0;
        }
        let known = self.proofs.entry(package.into()).or_default();
        let mut count = 0;
        for (slot, proof) in known.iter_mut().zip(came) {
            if proof.is_some() {
                *slot = proof;
                count += 1;
            }
        }
        count
    }

    /// Writes it, durably and in one step.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let fresh = path.with_extension("new");
        let mut out = BufWriter::new(File::create(&fresh)?);
        let head = Head {
            // What has no proofs can be read by older versions.
            version: if self.proofs.is_empty() { 1 } else { VERSION },
            ..self.head.clone()
        };
        serde_json::to_writer(&mut out, &head)?;
        for (path, row) in &self.files {
            out.write_all(b"\n")?;
            serde_json::to_writer(&mut out, &LineOfFile::of(path, row))?;
        }
        for (path, proofs) in &self.proofs {
            out.write_all(b"\n")?;
            serde_json::to_writer(&mut out, &LineOfProofs::of(path, proofs))?;
        }
        out.write_all(b"\n")?;
        out.into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .sync_all()?;
        fs::rename(&fresh, path)?;
        match path.parent() {
            Some(parent) => crate::switch::sync_directory(parent),
            None => Ok(()),
        }
    }
}

impl LineOfFile {
    fn of(path: &str, row: &Row) -> Self {
        Self {
            path: path.into(),
            size: row.size_bytes,
            sha256: row.sha256,
            claim: row.claim.as_deref().map(Claim::to_string),
            modified: row.modified_ns,
            etag: row.etag.clone(),
            dropped: row.dropped_at,
        }
    }

    fn row(self) -> io::Result<(Box<str>, Row)> {
        let claim = match self.claim.map(|claim| claim.parse::<Claim>()) {
            None => None,
            Some(Ok(claim)) => Some(Box::new(claim)),
            Some(Err(())) => return Err(damaged(&"a claim is no checksum")),
        };
        let row = Row {
            size_bytes: self.size,
            sha256: self.sha256,
            claim,
            modified_ns: self.modified,
            etag: self.etag,
            dropped_at: self.dropped,
        };
        Ok((self.path, row))
    }
}

impl LineOfProofs {
    fn of(path: &str, proofs: &Proofs) -> Self {
        let all = SUFFIXES.iter().zip(proofs);
        let all = all.filter_map(|(suffix, proof)| {
            let proof = proof.as_ref()?;
            let line = LineOfProof {
                size: proof.size_bytes,
                modified: proof.modified_ns,
                etag: proof.etag.clone(),
            };
            Some(((*suffix).into(), line))
        });
        Self {
            path: path.into(),
            proofs: all.collect(),
        }
    }

    /// Kinds that are not known here are fetched anew by a version that knows them.
    fn proofs(mut self) -> (Box<str>, Box<Proofs>) {
        let proofs = SUFFIXES.map(|suffix| {
            let line = self.proofs.remove(suffix)?;
            Some(Proof {
                size_bytes: line.size,
                modified_ns: line.modified,
                etag: line.etag,
            })
        });
        (self.path, Box::new(proofs))
    }
}

fn damaged(what: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("it is damaged: {what}"))
}

fn read(input: impl io::BufRead) -> io::Result<State> {
    let mut lines = input.lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let head: Head = serde_json::from_str(&first).map_err(|error| damaged(&error))?;
    if !(1..=VERSION).contains(&head.version) {
        return Err(damaged(&format!("it has version {}", head.version)));
    }
    let mut state = State {
        head,
        ..State::default()
    };
    for line in lines {
        let line = line?;
        // Inside a text of JSON there would be a backslash before the second quote.
        if line.contains("\"proofs\":{") {
            let line = serde_json::from_str::<LineOfProofs>(&line);
            let (path, proofs) = line.map_err(|error| damaged(&error))?.proofs();
            state.proofs.insert(path, proofs);
        } else {
            let line = serde_json::from_str::<LineOfFile>(&line);
            let (path, row) = line.map_err(|error| damaged(&error))?.row()?;
            state.files.insert(path, row);
        }
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written_and_a_damaged_one_is_empty() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        assert!(State::load(&path).unwrap().files.is_empty());
        let file = directory.path().join("a b.rpm");
        fs::write(&file, b"abc").unwrap();
        let sha1: Claim = "sha1:a9993e364706816aba3e25717850c26c9cd0d89d"
            .parse()
            .unwrap();
        let row = Row::of(&fs::metadata(&file).unwrap(), FileDigest::of(b"abc"), &sha1);
        assert!(row.fulfils(&sha1) && !row.fulfils(&Claim::of(row.sha256)));
        let mut state = State::default();
        state.head.repomd = Some(FileDigest::of(b"r"));
        state.files.insert("a b.rpm".into(), row);
        state.save(&path).unwrap();
        let again = State::load(&path).unwrap();
        assert_eq!(again.files, state.files);
        assert_eq!(again.head.repomd, state.head.repomd);
        let is_untouched = || again.files["a b.rpm"].is_untouched(&fs::metadata(&file).unwrap());
        assert!(is_untouched());

        fs::write(&file, b"abd").unwrap();
        let touched = File::options().write(true).open(&file).unwrap();
        touched
            .set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
        assert!(!is_untouched());

        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 5]).unwrap();
        assert!(State::load(&path).unwrap().files.is_empty());
        assert_eq!(State::load(&path).unwrap().head, Head::default());
    }

    #[test]
    fn proofs_are_read_as_they_were_written_and_from_the_files_of_older_versions() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let mut state = State::default();
        let mut proofs = Box::<Proofs>::default();
        proofs[1] = Some(Proof {
            size_bytes: 7,
            modified_ns: -5,
            etag: Some("\"e\"".into()),
        });
        state.proofs.insert("P/a.rpm".into(), proofs);
        state.save(&path).unwrap();
        let again = State::load_copy(&path).unwrap();
        assert_eq!(again.proofs, state.proofs);

        let digest = FileDigest::of(b"");
        let of = |path: &str, size| {
            format!(
                "{{\"path\":\"{path}\",\"size\":{size},\"sha256\":\"{digest}\",\"modified\":3}}\n"
            )
        };
        let files = of("P/a.rpm", 1) + &of("P/a.rpm.vsa.sigstore.json", 2) + &of("repodata/x", 3);
        let head = "{\"version\":1,\"repomd\":null,\"newest\":0,\"scope\":\"\"}\n";
        fs::write(&path, format!("{head}{files}")).unwrap();
        let as_files = State::load(&path).unwrap();
        assert_eq!((as_files.files.len(), as_files.proofs.len()), (3, 0));
        let parted = State::load_copy(&path).unwrap();
        assert_eq!(parted.files.len(), 2);
        let sizes = parted.proofs["P/a.rpm"].each_ref();
        let sizes = sizes.map(|proof| proof.as_ref().map(|proof| proof.size_bytes));
        assert_eq!(sizes, [None, None, None, Some(2), None]);
        assert!(parted.serves("P/a.rpm") && !parted.serves("P/b.rpm"));
    }
}
