//! What a copy is when no sync is under way: one JSON document a line, the first about the copy, the
//! others each about a file. Written when all that it tells is on the disk.
//!
//! ```text
//! {"version":1,"repomd":"ab12…","newest":1763600000,"scope":"","validators":{"https://…":{"etag":"\"x\""}}}
//! {"path":"Packages/a-1-1.noarch.rpm","size":8421,"sha256":"cd34…","modified":1763600000123456789}
//! ```

use super::claim::Claim;
use crate::http::Validators;
use repo_model::FileDigest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

const VERSION: u32 = 1;

/// What a copy is.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub head: Head,
    /// By path below the copy's directory.
    pub files: HashMap<Box<str>, Row>,
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
    pub claim: Option<Claim>,
    /// When it was last written, nanoseconds since 1970: a file that has another time was touched.
    pub modified_ns: i64,
    /// Where the copy is in a bucket: what the bucket called this content.
    pub etag: Option<Box<str>>,
    /// Since when upstream has dropped it, seconds since 1970.
    pub dropped_at: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct Line {
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
            claim: claim.sha256().is_none().then(|| claim.clone()),
            modified_ns: modified_ns(data),
            etag: None,
            dropped_at: None,
        }
    }

    /// Whether the file is still the one that was looked at.
    pub fn is_untouched(&self, data: &fs::Metadata) -> bool {
        data.is_file() && data.len() == self.size_bytes && modified_ns(data) == self.modified_ns
    }

    /// Whether it is what metadata claims.
    pub fn fulfils(&self, claim: &Claim) -> bool {
        match &self.claim {
            Some(own) => own == claim,
            None => claim.sha256() == Some(self.sha256),
        }
    }
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

    /// Writes it, durably and in one step.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let fresh = path.with_extension("new");
        let mut out = BufWriter::new(File::create(&fresh)?);
        let head = Head {
            version: VERSION,
            ..self.head.clone()
        };
        serde_json::to_writer(&mut out, &head)?;
        for (path, row) in &self.files {
            out.write_all(b"\n")?;
            let line = Line {
                path: path.clone(),
                size: row.size_bytes,
                sha256: row.sha256,
                claim: row.claim.as_ref().map(Claim::to_string),
                modified: row.modified_ns,
                etag: row.etag.clone(),
                dropped: row.dropped_at,
            };
            serde_json::to_writer(&mut out, &line)?;
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

fn read(input: impl io::BufRead) -> io::Result<State> {
    let damaged = |what: &dyn std::fmt::Display| {
        io::Error::new(ErrorKind::InvalidData, format!("it is damaged: {what}"))
    };
    let mut lines = input.lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let head: Head = serde_json::from_str(&first).map_err(|error| damaged(&error))?;
    if head.version != VERSION {
        return Err(damaged(&format!("it has version {}", head.version)));
    }
    let mut files = HashMap::new();
    for line in lines {
        let line: Line = serde_json::from_str(&line?).map_err(|error| damaged(&error))?;
        let claim = match line.claim.map(|claim| claim.parse::<Claim>()) {
            None => None,
            Some(Ok(claim)) => Some(claim),
            Some(Err(())) => return Err(damaged(&"a claim is no checksum")),
        };
        let row = Row {
            size_bytes: line.size,
            sha256: line.sha256,
            claim,
            modified_ns: line.modified,
            etag: line.etag,
            dropped_at: line.dropped,
        };
        files.insert(line.path, row);
    }
    Ok(State { head, files })
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
}
