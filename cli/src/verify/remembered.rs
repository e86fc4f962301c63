//! The head of the log that this machine saw last, kept in a file: whoever shows another history the next time, or
//! an older one, is found out without any witness.
//!
//! The proof that the new head goes on from the old one is made here, of the log's own tiles; nothing is asked of
//! the server that a mirror or a static copy does not have.

use super::source::{Item, Source, SourceError};
use repo_model::log::{
    Checkpoint, HashSource, NodeHash, Note, Tile, VerifierKey, consistency_proof, root,
    verify_consistency,
};
use repo_model::verify::cosigned;
use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

const FULL: u64 = 256;
const HASH_BYTES: usize = 32;

/// The log does not go on from the head that was seen before, or that cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum RememberError {
    /// The file cannot be read or written. The reader's to mend.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds no head of a log that is trusted.
    #[error("{} holds no head of a log that is trusted: {why}", path.display())]
    NoHead {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The server's head is no head of a log that is trusted.
    #[error("the head of the log: {0}")]
    Untrusted(String),
    /// Fewer entries than were seen before: an old state is shown.
    #[error(
        "the log has shrunk: {before} entries were seen before, {now} are shown now; somebody serves an old state"
    )]
    Shrunk {
        /// Then.
        before: u64,
        /// Now.
        now: u64,
    },
    /// Another history than was seen before.
    #[error("the log has forked: its {now} entries do not go on from the {before} seen before")]
    Forked {
        /// Then.
        before: u64,
        /// Now.
        now: u64,
    },
    /// The server or the pack gave no answer, or another one than asked for.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// Checks that the log's head goes on from the one in the file, and keeps the new one in its place.
///
/// * `keys`: of the logs that are trusted; `cosigners`: further keys of theirs, whose signatures a new head must
///   carry. The head in the file counts as it is: it was looked at when it was kept.
///
/// Returns the sizes of the head that was seen before (none the first time) and now.
pub fn remember(
    source: &dyn Source,
    keys: &[VerifierKey],
    cosigners: &[VerifierKey],
    path: &Path,
) -> Result<(Option<u64>, u64), RememberError> {
    let bytes = source.fetch(&Item::Checkpoint)?.unwrap_or_default();
    let (note, head) = open(&bytes, keys).map_err(RememberError::Untrusted)?;
    cosigned(cosigners, &note, &head).map_err(RememberError::Untrusted)?;
    let before = recall(path, keys)?;
    if let Some(before) = &before {
        goes_on(source, before, &head)?;
    }
    if before.as_ref() != Some(&head) {
        keep(path, &note).map_err(|source| RememberError::File {
            path: path.to_owned(),
            source,
        })?;
    }
    Ok((before.map(|before| before.size), head.size))
}

fn open(bytes: &[u8], keys: &[VerifierKey]) -> Result<(Note, Checkpoint), String> {
    let note = Note::parse(bytes).map_err(|error| error.to_string())?;
    let mut problem = "no log is trusted".to_owned();
    for key in keys {
        match Checkpoint::open(&note, key) {
            Ok(head) => return Ok((note, head)),
            Err(error) => problem = error.to_string(),
        }
    }
    Err(problem)
}

fn recall(path: &Path, keys: &[VerifierKey]) -> Result<Option<Checkpoint>, RememberError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|source| RememberError::File {
            path: path.to_owned(),
            source,
        })?,
    };
    match open(&bytes, keys) {
        Ok((_, head)) => Ok(Some(head)),
        Err(why) => Err(RememberError::NoHead {
            path: path.to_owned(),
            why,
        }),
    }
}

fn goes_on(
    source: &dyn Source,
    before: &Checkpoint,
    head: &Checkpoint,
) -> Result<(), RememberError> {
    let (old, new) = (before.size, head.size);
    let forked = RememberError::Forked {
        before: old,
        now: new,
    };
    if before.origin != head.origin {
        return Err(forked);
    }
    if new < old {
        return Err(RememberError::Shrunk {
            before: old,
            now: new,
        });
    }
    let mut tiles = Tiles {
        source,
        size: new,
        read: HashMap::new(),
    };
    let proof = consistency_proof(old, new, &mut tiles)?;
    verify_consistency(old, before.root, new, head.root, &proof).map_err(|_| forked)
}

fn keep(path: &Path, note: &Note) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(note.to_string().as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// The tree's hashes from the tiles of a log of `size` entries. What they say is checked by the proof.
struct Tiles<'a> {
    source: &'a dyn Source,
    size: u64,
    read: HashMap<(u8, u64), Vec<u8>>,
}

impl Tiles<'_> {
    fn tile(&mut self, level: u8, index: u64) -> Result<&[u8], SourceError> {
        if !self.read.contains_key(&(level, index)) {
            let hashes = self.size >> (8 * u32::from(level));
            let width = hashes.saturating_sub(index * FULL).min(FULL);
            let tile = Tile {
                level: Some(level),
                index,
                width: u16::try_from(width).unwrap_or(256),
            };
            let item = Item::Tile(tile);
            let bytes = self.source.fetch(&item)?.unwrap_or_default();
            if bytes.len() as u64 != width * HASH_BYTES as u64 {
                return Err(SourceError::Shape {
                    path: item.path(),
                    why: format!("{} bytes, want {} hashes", bytes.len(), width),
                });
            }
            self.read.insert((level, index), bytes);
        }
        Ok(self.read.get(&(level, index)).map_or(&[], Vec::as_slice))
    }
}

impl HashSource for Tiles<'_> {
    type Error = SourceError;

    fn hash(&mut self, level: u8, index: u64) -> Result<NodeHash, SourceError> {
        let (tile_level, within) = (level / 8, level % 8);
        let first = index << within;
        let tile = self.tile(tile_level, first / FULL)?;
        let from = usize::try_from(first % FULL).unwrap_or(0) * HASH_BYTES;
        let hashes = tile.get(from..from + (HASH_BYTES << within));
        let leaves = hashes.unwrap_or_default().as_chunks::<HASH_BYTES>().0;
        let Ok(hash) = root(1 << within, &mut Row(leaves));
        Ok(hash)
    }
}

/// Hashes beside each other as the leaves of a tree of their own.
struct Row<'a>(&'a [[u8; HASH_BYTES]]);

impl HashSource for Row<'_> {
    type Error = std::convert::Infallible;

    fn hash(&mut self, level: u8, index: u64) -> Result<NodeHash, Self::Error> {
        if level == 0 {
            let raw = usize::try_from(index).ok().and_then(|at| self.0.get(at));
            return Ok(NodeHash::from_bytes(raw.copied().unwrap_or_default()));
        }
        let Ok(left) = self.hash(level - 1, index * 2);
        let Ok(right) = self.hash(level - 1, index * 2 + 1);
        Ok(repo_model::log::node_hash(left, right))
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::in_memory;
    use super::*;
    use repo_model::Timestamp;
    use repo_model::log::{Frontier, LogKey, SignatureKind, leaf_hash, tiles_of};
    use std::io::Read;

    /// A log of so many entries, those from `fork` on told apart by `salt`, as its static files.
    struct Log(HashMap<String, Vec<u8>>);

    impl Source for Log {
        fn open(&self, item: &Item) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
            Ok(self.0.get(&item.path()).map(|bytes| in_memory(bytes)))
        }
    }

    fn key() -> LogKey {
        LogKey::from_seed("log.example", SignatureKind::Log, &[1; 32]).unwrap()
    }

    fn log(size: u64, fork: u64, salt: &str) -> Log {
        let leaf = |n| match n < fork {
            true => leaf_hash(format!("{n}").as_bytes()),
            false => leaf_hash(format!("{salt}{n}").as_bytes()),
        };
        let mut levels = vec![(0..size).map(leaf).collect::<Vec<_>>()];
        while levels[levels.len() - 1].len() >= 256 {
            let below = &levels[levels.len() - 1];
            let above = below.chunks_exact(256).map(|chunk| {
                let mut frontier = Frontier::default();
                chunk.iter().for_each(|hash| frontier.push(*hash));
                frontier.root()
            });
            levels.push(above.collect());
        }
        let mut files = HashMap::new();
        for tile in tiles_of(0, size) {
            let Some(level) = tile.level else { continue };
            let from = tile.index as usize * 256;
            let hashes = &levels[usize::from(level)][from..from + usize::from(tile.width)];
            let bytes = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
            files.insert(Item::Tile(tile).path(), bytes);
        }
        let mut frontier = Frontier::default();
        levels[0].iter().for_each(|hash| frontier.push(*hash));
        let text = format!("log.example\n{size}\n{}\n", frontier.root().to_base64());
        let line = key().sign(&text, Timestamp::from_unix_secs(0)).unwrap();
        let signatures = vec![line];
        let note = Note { text, signatures };
        files.insert(Item::Checkpoint.path(), note.to_string().into_bytes());
        Log(files)
    }

    fn look(log: &Log, path: &Path) -> Result<(Option<u64>, u64), RememberError> {
        remember(log, &[key().public()], &[], path)
    }

    #[test]
    fn a_log_that_grows_is_followed_and_one_that_forks_or_goes_back_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("head");
        assert_eq!(look(&log(3, 9_999, ""), &path).unwrap(), (None, 3));
        for (size, before) in [(3, 3), (255, 3), (256, 255), (700, 256), (700, 700)] {
            let (was, is) = look(&log(size, 9_999, ""), &path).unwrap();
            assert_eq!((was, is), (Some(before), size));
        }
        for (size, fork, salt, words) in [
            (699, 9_999, "", "the log has shrunk: 700 entries"),
            (700, 10, "x", "the log has forked: its 700 entries"),
            (900, 10, "x", "the log has forked: its 900 entries"),
            (900, 699, "x", "the log has forked: its 900 entries"),
        ] {
            let refused = look(&log(size, fork, salt), &path).unwrap_err();
            assert!(refused.to_string().contains(words), "{refused}");
        }
        // Refused heads are not remembered.
        assert_eq!(look(&log(900, 700, "y"), &path).unwrap(), (Some(700), 900));
    }

    #[test]
    fn tiles_cut_short_or_missing_prove_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("head");
        look(&log(300, 9_999, ""), &path).unwrap();
        let whole = log(600, 9_999, "");
        let names: Vec<_> = whole.0.keys().cloned().collect();
        for name in names.iter().filter(|name| name.contains("/tile/")) {
            for cut in [true, false] {
                let mut damaged = log(600, 9_999, "");
                match cut {
                    true => damaged.0.get_mut(name).unwrap().truncate(31),
                    false => drop(damaged.0.remove(name)),
                }
                // A tile that the proof does not need may be missing.
                match look(&damaged, &path) {
                    Ok(_) => look_back(&path),
                    Err(error) => assert!(matches!(error, RememberError::Source(_)), "{error}"),
                }
            }
        }
        let mut unsigned = log(600, 9_999, "");
        let head = Item::Checkpoint.path();
        unsigned.0.insert(head, b"log.example\n0\n\n".to_vec());
        assert!(matches!(
            look(&unsigned, &path),
            Err(RememberError::Untrusted(_))
        ));
        let pqc = LogKey::from_seed("log.example", SignatureKind::MlDsa44, &[1; 32]).unwrap();
        let cosigners = [pqc.public()];
        assert!(matches!(
            remember(&whole, &[key().public()], &cosigners, &path),
            Err(RememberError::Untrusted(_))
        ));
        std::fs::write(&path, "junk").unwrap();
        assert!(matches!(
            look(&whole, &path),
            Err(RememberError::NoHead { .. })
        ));
    }

    fn look_back(path: &Path) {
        std::fs::remove_file(path).unwrap();
        look(&log(300, 9_999, ""), path).unwrap();
    }
}
