//! What a run leaves for the next one: which files it read with what result, and which compressed
//! frame of its metadata stands where. A file outside the published directory, unless its owner wants
//! it there ([`state_file`] names it).
//!
//! It only saves work. A file is taken as known when its size, mtime and ctime are those of the
//! time when it was read, and were older than that reading; a frame when its seal is right. A
//! state that is lost, old or damaged costs one full run.

use super::scan::{Found, Look};
use super::state_form;
use repo_model::{FileDigest, HeaderDigest, Nevra};
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file in a cache directory that holds what runs over `directory` into `output` leave.
///
/// Both are made absolute, so that the same directories are meant from wherever a run starts.
pub fn state_file(cache: &Path, directory: &Path, output: &Path) -> PathBuf {
    let mut hash = Sha256::new();
    for path in [directory, output] {
        let whole = fs::canonicalize(path)
            .or_else(|_| std::path::absolute(path))
            .unwrap_or_else(|_| path.to_owned());
        hash.update(whole.as_os_str().as_encoded_bytes());
        hash.update([0]);
    }
    let digest = FileDigest::from_bytes(hash.finalize().into()).to_hex();
    cache.join(format!("createrepo-{}.state", &digest[..32]))
}

/// A package file that was read.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Path below the directory.
    pub path: String,
    pub look: Look,
    pub file_digest: FileDigest,
    /// SHA-512 in hex, when it was wanted.
    pub sha512: Option<String>,
    pub header_digest: HeaderDigest,
    /// Shared with the package's entry in the list.
    pub nevra: Arc<Nevra>,
    /// BUILDTIME, seconds since 1970.
    pub built_at: i64,
}

/// BLAKE3: as hard to deceive as SHA-256, several times faster, and compared only with what the same program wrote on
/// the same machine. A run that changes little would else spend a tenth of its time here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal(pub [u8; 32]);

impl Seal {
    /// The seal of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).into())
    }
}

/// Where a frame stands.
#[derive(Debug, Clone)]
pub(super) struct SavedFrame {
    /// Digest of what went into it, hex.
    pub key: FileDigest,
    /// Of its bytes: what is copied may be signed afterwards, so who can write to the published files must not be able
    /// to bring in a frame of theirs.
    pub seal: Seal,
    /// Number in `State::files`.
    pub file: usize,
    pub offset: u64,
    pub size_bytes: u64,
    pub open_size_bytes: u64,
}

/// The whole state.
#[derive(Debug, Default)]
pub(super) struct State {
    /// When the directory was scanned, seconds since 1970.
    pub scanned_at: i64,
    pub packages: Vec<Known>,
    /// Names of metadata files in `repodata`.
    pub files: Vec<String>,
    pub frames: Vec<SavedFrame>,
}

impl State {
    pub fn new(scanned_at: i64) -> Self {
        Self {
            scanned_at,
            ..Self::default()
        }
    }

    /// Reads the state of an earlier run; an empty one when there is none that can be used.
    pub fn read(path: &Path) -> Self {
        match fs::read(path) {
            Ok(bytes) => state_form::decode(&bytes).unwrap_or_else(|| {
                tracing::warn!("the state of the last run is of another version, or damaged");
                Self::default()
            }),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!("the state of the last run is not usable: {error}");
                }
                Self::default()
            }
        }
    }

    /// Writes it, for its owner's eyes; the old one stays until [`Unfinished::put_in_place`].
    pub fn write<'a>(&self, path: &'a Path) -> io::Result<Unfinished<'a>> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let unfinished = path.with_extension("new");
        // Not synced: what a crash leaves of it fails its digest and costs a full run.
        state_form::encode(self, &mut fs::File::create(&unfinished)?)?;
        Ok(Unfinished { unfinished, path })
    }
}

/// A state on the disk that is not in its place yet.
pub(super) struct Unfinished<'a> {
    unfinished: PathBuf,
    path: &'a Path,
}

impl Unfinished<'_> {
    /// Replaces the old state as a whole.
    pub fn put_in_place(self) -> io::Result<()> {
        fs::rename(self.unfinished, self.path)
    }
}

/// How far what is known about files is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Everything is read.
    Nothing,
    /// What looks unchanged is not read again.
    Unchanged,
    /// What has a known path is not even looked at (`--skip-stat`).
    KnownPaths,
}

/// What the last run knows of the files.
pub(super) struct KnownFiles {
    reuse: Reuse,
    /// Whether a file without SHA-512 must be read again.
    want_sha512: bool,
    scanned_at: i64,
    /// Sorted by path.
    packages: Vec<Known>,
}

impl KnownFiles {
    pub fn new(reuse: Reuse, want_sha512: bool, scanned_at: i64, mut packages: Vec<Known>) -> Self {
        // As a run writes them; of another program's hand they need not be.
        if !packages.is_sorted_by(|a, b| a.path <= b.path) {
            packages.sort_by(|a, b| a.path.cmp(&b.path));
        }
        Self {
            reuse,
            want_sha512,
            scanned_at,
            packages,
        }
    }

    /// Those of the files, sorted by path, of which what is known still holds, and the numbers of the others.
    pub fn among(self, found: &[Found]) -> (Vec<Known>, Vec<usize>) {
        let (mut known, mut unknown) = (self.packages, Vec::new());
        let mut files = found.iter().enumerate().peekable();
        // In place: it is megabytes, and as a rule nothing or little has changed.
        known.retain(|known| {
            while let Some((number, _)) = files.next_if(|(_, file)| file.relative < known.path) {
                unknown.push(number);
            }
            let Some((number, file)) = files.next_if(|(_, file)| file.relative == known.path)
            else {
                return false;
            };
            let holds = holds(self.reuse, self.want_sha512, self.scanned_at, known, file);
            if !holds {
                unknown.push(number);
            }
            holds
        });
        unknown.extend(files.map(|(number, _)| number));
        (known, unknown)
    }
}

fn holds(reuse: Reuse, want_sha512: bool, scanned_at: i64, known: &Known, found: &Found) -> bool {
    if want_sha512 && known.sha512.is_none() {
        return false;
    }
    // A file written in the second of the scan could have changed again unnoticed.
    let settled = known.look.mtime.0 < scanned_at && known.look.ctime.0 < scanned_at;
    match reuse {
        Reuse::Nothing => false,
        Reuse::Unchanged => settled && known.look == found.look,
        Reuse::KnownPaths => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(ctime: i64) -> (Known, Found) {
        let look = Look {
            size_bytes: 1,
            mtime: (10, 0),
            ctime: (ctime, 0),
        };
        let known = Known {
            path: "a.rpm".to_owned(),
            look,
            file_digest: FileDigest::of(b"a"),
            sha512: None,
            header_digest: HeaderDigest::of(b"a"),
            nevra: Arc::new("a-1-1.noarch".parse().unwrap()),
            built_at: 0,
        };
        let found = Found {
            relative: "a.rpm".to_owned(),
            look,
        };
        (known, found)
    }

    #[test]
    fn a_file_is_known_only_while_it_looks_the_same_and_was_settled_when_read() {
        let (settled, found) = known(20);
        let knows = |known: &Known, reuse, found: &Found| {
            let files = KnownFiles::new(reuse, false, 30, vec![known.clone()]);
            let (known, unknown) = files.among(std::slice::from_ref(found));
            assert_eq!(known.len() + unknown.len(), 1);
            unknown.is_empty()
        };
        assert!(knows(&settled, Reuse::Unchanged, &found));
        assert!(!knows(&settled, Reuse::Nothing, &found));
        let mut touched = found.clone();
        touched.look.ctime.1 = 1;
        assert!(!knows(&settled, Reuse::Unchanged, &touched));
        assert!(knows(&settled, Reuse::KnownPaths, &touched));
        let (fresh, found) = known(30);
        assert!(!knows(&fresh, Reuse::Unchanged, &found));
    }

    #[test]
    fn files_that_come_and_go_leave_the_others_known() {
        let at = |path: &str| {
            let (mut known, mut found) = known(20);
            (known.path, found.relative) = (path.to_owned(), path.to_owned());
            (known, found)
        };
        let packages = ["b", "d", "d", "f"].map(|path| at(path).0).to_vec();
        let found = ["a", "b", "c", "d", "e"].map(|path| at(path).1);
        let (known, unknown) = KnownFiles::new(Reuse::Unchanged, false, 30, packages).among(&found);
        let known: Vec<&str> = known.iter().map(|known| known.path.as_str()).collect();
        assert_eq!(known, ["b", "d"]);
        assert_eq!(unknown, [0, 2, 4]);
    }

    #[test]
    fn a_damaged_state_is_as_good_as_none() {
        let output = tempfile::tempdir().unwrap();
        let path = output.path().join("cache/state.zst");
        assert!(State::read(&path).packages.is_empty());
        let mut state = State::new(30);
        state.packages.push(known(20).0);
        state.write(&path).unwrap().put_in_place().unwrap();
        assert_eq!(State::read(&path).packages.len(), 1);
        fs::write(&path, b"damaged").unwrap();
        assert!(State::read(&path).packages.is_empty());
    }
}
