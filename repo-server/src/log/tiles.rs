//! Tiles as files below one directory, in the layout that C2SP `tlog-tiles` serves: any static web server
//! or mirror can serve them as they are. Beside each bundle of entries lies, in `statements/`, the SHA-256
//! of each entry's envelope, 32 bytes each: entries do not name the statement that they stand for.

use crate::db::log::LogEntry;
use repo_model::log::{
    HashSource, NodeHash, Tile, leaf_hash, read_bundle, root, tiles_of, write_bundle,
};
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

const HASH_BYTES: usize = 32;
const FULL: u64 = 256;
const FULL_WIDTH: u16 = 256;

/// The envelopes' digests of one bundle of entries: `statements/x001/234` or `statements/000.p/7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementsTile(Tile);

impl StatementsTile {
    /// Beside this bundle of entries.
    pub fn of(bundle: Tile) -> Self {
        Self(bundle)
    }

    /// Reads what follows `statements/` in a path.
    pub fn parse(rest: &str) -> Option<Self> {
        format!("tile/entries/{rest}").parse().ok().map(Self)
    }
}

impl fmt::Display for StatementsTile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.to_string();
        let rest = path.strip_prefix("tile/entries/").unwrap_or_default();
        write!(f, "statements/{rest}")
    }
}

/// The log's files are not what the signed checkpoint says: the disk or somebody changed them.
#[derive(Debug, thiserror::Error)]
pub enum TilesError {
    /// A tile is missing, cut short or cannot be read.
    #[error("cannot read {tile} of the log")]
    Read {
        /// Its path.
        tile: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written; retrying is safe.
    #[error("cannot write {name} of the log")]
    Write {
        /// Its path.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An entry is longer than a bundle can carry.
    #[error("entry {index} of the log is too long")]
    TooLong {
        /// Its place.
        index: u64,
    },
}

/// The tree of `size` entries: tiles on disk, and what was added in memory.
pub struct Tiles<'a> {
    directory: &'a Path,
    /// Entries whose tiles are on disk.
    written: u64,
    size: u64,
    /// Whole content of each tile that differs from disk, by level and index.
    changed: HashMap<(u8, u64), Vec<u8>>,
    entries: Vec<LogEntry>,
    /// Tiles that were read before.
    read: HashMap<(u8, u64), Vec<u8>>,
}

impl<'a> Tiles<'a> {
    /// The tree whose first `written` entries have their tiles in `directory`.
    pub fn open(directory: &'a Path, written: u64) -> Self {
        Self {
            directory,
            written,
            size: written,
            changed: HashMap::new(),
            entries: Vec::new(),
            read: HashMap::new(),
        }
    }

    /// Adds entries in memory; [`Tiles::write`] puts them on disk.
    pub fn extend(&mut self, entries: Vec<LogEntry>) -> Result<(), TilesError> {
        for entry in entries {
            self.push(0, leaf_hash(&entry.entry))?;
            self.entries.push(entry);
            self.size += 1;
        }
        Ok(())
    }

    /// Appends a hash to a level; a tile that becomes full adds one to the level above.
    fn push(&mut self, level: u8, hash: NodeHash) -> Result<(), TilesError> {
        let position = self.size >> (8 * u32::from(level));
        let index = position / FULL;
        if !self.changed.contains_key(&(level, index)) {
            let start = match position % FULL {
                0 => Vec::new(),
                _ => self.tile(level, index)?.to_vec(),
            };
            self.changed.insert((level, index), start);
        }
        let tile = self.changed.entry((level, index)).or_default();
        tile.extend_from_slice(hash.as_bytes());
        if tile.len() < FULL as usize * HASH_BYTES {
            return Ok(());
        }
        let Ok(above) = root(FULL, &mut OneTile(tile));
        self.push(level + 1, above)
    }

    /// Root over all entries.
    pub fn root(&mut self) -> Result<NodeHash, TilesError> {
        root(self.size, self)
    }

    /// Entries in the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn tile(&mut self, level: u8, index: u64) -> Result<&[u8], TilesError> {
        if let Some(tile) = self.changed.get(&(level, index)) {
            return Ok(tile);
        }
        if !self.read.contains_key(&(level, index)) {
            let hashes = self.written >> (8 * u32::from(level));
            let width = hashes.saturating_sub(index * FULL).min(FULL);
            let tile = Tile {
                level: Some(level),
                index,
                width: u16::try_from(width).unwrap_or(256),
            };
            let bytes = read_exactly(self.directory, tile, width as usize * HASH_BYTES)?;
            self.read.insert((level, index), bytes);
        }
        Ok(self.read.get(&(level, index)).map_or(&[], Vec::as_slice))
    }

    /// Writes what changed: each file whole, under a name of its own, synced before it gets its real one.
    /// The partial tiles that a full one replaces are removed then: readers take the full one.
    pub fn write(&mut self) -> Result<(), TilesError> {
        let tiles = tiles_of(self.written, self.size);
        let mut directories = Vec::new();
        for tile in &tiles {
            for (name, content) in self.files(*tile)? {
                let path = self.directory.join(&name);
                directories.extend(self.changed_directories(&path));
                write_file(&path, &content).map_err(|source| TilesError::Write { name, source })?;
            }
        }
        directories.sort();
        directories.dedup();
        for directory in directories {
            sync_directory(&directory).map_err(|source| TilesError::Write {
                name: directory.display().to_string(),
                source,
            })?;
        }
        for tile in tiles.into_iter().filter(|tile| tile.width == FULL_WIDTH) {
            self.drop_partial(tile);
        }
        self.written = self.size;
        self.entries.clear();
        Ok(())
    }

    /// The directories that get a new name when this file is written: its own, and those above the first that
    /// is there already. A power cut would take a whole new directory otherwise.
    fn changed_directories(&self, path: &Path) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for directory in path.ancestors().skip(1) {
            changed.push(directory.to_owned());
            if directory.exists() || directory == self.directory.parent().unwrap_or(directory) {
                break;
            }
        }
        changed
    }

    /// Names and contents of a tile's files.
    fn files(&mut self, tile: Tile) -> Result<Vec<(String, Vec<u8>)>, TilesError> {
        let Some(level) = tile.level else {
            let statements = StatementsTile(tile);
            return Ok(vec![
                (tile.to_string(), self.bundle(tile)?),
                (statements.to_string(), self.statements(statements)?),
            ]);
        };
        let whole = self.tile(level, tile.index)?;
        let length = whole.len().min(usize::from(tile.width) * HASH_BYTES);
        Ok(vec![(tile.to_string(), whole[..length].to_vec())])
    }

    /// What stays behind takes room and does no harm.
    fn drop_partial(&self, tile: Tile) {
        let mut names = vec![tile.to_string()];
        if tile.level.is_none() {
            names.push(StatementsTile(tile).to_string());
        }
        for name in names {
            let _ = std::fs::remove_dir_all(self.directory.join(format!("{name}.p")));
        }
    }

    /// A bundle of entries: what is on disk of it, and what was added.
    fn bundle(&self, tile: Tile) -> Result<Vec<u8>, TilesError> {
        let mut bundle = match self.on_disk(tile) {
            None => Vec::new(),
            Some(part) => read_whole(self.directory, part)?,
        };
        for (index, entry) in self.added(tile) {
            let written = write_bundle([entry.entry.as_slice()]);
            bundle.extend(written.ok_or(TilesError::TooLong { index })?);
        }
        Ok(bundle)
    }

    /// The digests of its entries' envelopes.
    fn statements(&self, tile: StatementsTile) -> Result<Vec<u8>, TilesError> {
        let mut digests = match self.on_disk(tile.0) {
            None => Vec::new(),
            Some(part) => {
                let part = StatementsTile(part);
                read_statements(self.directory, part).map_err(|source| TilesError::Read {
                    tile: part.to_string(),
                    source,
                })?
            }
        };
        for (_, entry) in self.added(tile.0) {
            digests.extend_from_slice(entry.statement.as_bytes());
        }
        Ok(digests)
    }

    /// The part of a tile of entries that is on disk.
    fn on_disk(&self, tile: Tile) -> Option<Tile> {
        let width = self.written.saturating_sub(tile.index * FULL).min(FULL);
        let width = u16::try_from(width).ok().filter(|width| *width > 0)?;
        Some(Tile { width, ..tile })
    }

    /// The rest of it, by index.
    fn added(&self, tile: Tile) -> impl Iterator<Item = (u64, &LogEntry)> {
        let first = tile.index * FULL;
        let from = first.max(self.written);
        let to = first + u64::from(tile.width);
        let skip = usize::try_from(from - self.written).unwrap_or(usize::MAX);
        (from..to).zip(self.entries.iter().skip(skip))
    }
}

impl HashSource for Tiles<'_> {
    type Error = TilesError;

    fn hash(&mut self, level: u8, index: u64) -> Result<NodeHash, TilesError> {
        let (tile_level, within) = (level / 8, level % 8);
        let first = index << within;
        let tile = self.tile(tile_level, first / FULL)?;
        let from = (first % FULL) as usize * HASH_BYTES;
        let Some(hashes) = tile.get(from..from + (HASH_BYTES << within)) else {
            let tile = format!("level {tile_level}, tile {}", first / FULL);
            return Err(TilesError::Read {
                tile,
                source: io::ErrorKind::UnexpectedEof.into(),
            });
        };
        let Ok(hash) = root(1 << within, &mut OneTile(hashes));
        Ok(hash)
    }
}

/// Hashes beside each other as the leaves of a tree of their own.
struct OneTile<'a>(&'a [u8]);

impl HashSource for OneTile<'_> {
    type Error = std::convert::Infallible;

    fn hash(&mut self, level: u8, index: u64) -> Result<NodeHash, Self::Error> {
        if level == 0 {
            let from = index as usize * HASH_BYTES;
            let raw = self
                .0
                .get(from..from + HASH_BYTES)
                .and_then(|raw| raw.try_into().ok());
            return Ok(NodeHash::from_bytes(raw.unwrap_or_default()));
        }
        let width = HASH_BYTES << level;
        let from = index as usize * width;
        let half = self.0.get(from..from + width).unwrap_or_default();
        let (left, right) = half.split_at(half.len() / 2);
        let Ok(left) = OneTile(left).hash(level - 1, 0);
        let Ok(right) = OneTile(right).hash(level - 1, 0);
        Ok(repo_model::log::node_hash(left, right))
    }
}

fn read_exactly(directory: &Path, tile: Tile, size: usize) -> Result<Vec<u8>, TilesError> {
    let bytes = read_whole(directory, tile)?;
    if bytes.len() == size {
        return Ok(bytes);
    }
    let source = io::Error::other(format!("it has {} bytes, not {size}", bytes.len()));
    Err(TilesError::Read {
        tile: tile.to_string(),
        source,
    })
}

fn read_whole(directory: &Path, tile: Tile) -> Result<Vec<u8>, TilesError> {
    read(directory, tile).map_err(|source| TilesError::Read {
        tile: tile.to_string(),
        source,
    })
}

/// The bytes of a tile. A partial one that a full one has replaced is the beginning of that.
pub fn read(directory: &Path, tile: Tile) -> io::Result<Vec<u8>> {
    match (std::fs::read(directory.join(tile.to_string())), full(tile)) {
        (Err(error), Some(whole)) if error.kind() == io::ErrorKind::NotFound => {
            let width = usize::from(tile.width);
            let bytes = std::fs::read(directory.join(whole.to_string()))?;
            let part = match tile.level {
                Some(_) => bytes.get(..width * HASH_BYTES).map(<[u8]>::to_vec),
                None => read_bundle(&bytes)
                    .and_then(|entries| write_bundle(entries.into_iter().take(width))),
            };
            part.ok_or_else(|| io::ErrorKind::InvalidData.into())
        }
        (read, _) => read,
    }
}

/// The digests of a bundle's envelopes, 32 bytes each; see [`read`].
pub fn read_statements(directory: &Path, tile: StatementsTile) -> io::Result<Vec<u8>> {
    match (
        std::fs::read(directory.join(tile.to_string())),
        full(tile.0),
    ) {
        (Err(error), Some(whole)) if error.kind() == io::ErrorKind::NotFound => {
            let bytes = std::fs::read(directory.join(StatementsTile(whole).to_string()))?;
            let part = bytes.get(..usize::from(tile.0.width) * HASH_BYTES);
            part.map(<[u8]>::to_vec)
                .ok_or_else(|| io::ErrorKind::InvalidData.into())
        }
        (read, _) => read,
    }
}

/// The full tile in the place of a partial one.
fn full(tile: Tile) -> Option<Tile> {
    (tile.width < FULL_WIDTH).then_some(Tile {
        width: FULL_WIDTH,
        ..tile
    })
}

/// The entry at `index` of a tree of `size` entries, from its bundle on disk.
pub fn read_entry(directory: &Path, index: u64, size: u64) -> Result<Vec<u8>, TilesError> {
    let first = index / FULL * FULL;
    let width = u16::try_from((size - first).min(FULL)).unwrap_or(256);
    let tile = Tile {
        level: None,
        index: index / FULL,
        width,
    };
    let bundle = read_whole(directory, tile)?;
    let damaged = || TilesError::Read {
        tile: tile.to_string(),
        source: io::ErrorKind::InvalidData.into(),
    };
    let entries = read_bundle(&bundle).ok_or_else(damaged)?;
    let entry = entries.get((index - first) as usize).ok_or_else(damaged)?;
    Ok(entry.to_vec())
}

/// Replaces a file: written and synced under another name, then renamed.
pub fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(directory)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable)?;
    file.persist(path)?;
    Ok(())
}

/// Makes the names in a directory survive a power cut.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    std::fs::File::open(directory)?.sync_all()
}

/// Where the log's files are.
pub fn directory(data_dir: &Path) -> PathBuf {
    data_dir.join("log")
}

#[cfg(test)]
#[path = "tiles_tests.rs"]
mod tests;
