//! Frames in a directory, so that the first publish after a restart, or the next run of a command,
//! renders only what changed.
//!
//! One file a frame, `{directory}/{first byte of key}/{key}`, in hex:
//!
//! ```text
//! "hm-frame" | SHA-256 of the rest (32) | open size, big-endian (8) | the frame
//! ```
//!
//! A file is written beside its place and renamed, so a reader sees all of it or nothing. It is
//! not synced: what a crash leaves damaged fails its digest, is removed, and is made again.

use super::cache::FrameCache;
use super::codec::Frame;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

const MAGIC: &[u8; 8] = b"hm-frame";
const HEADER_BYTES: usize = 8 + 32 + 8;
/// A use is written down (as the file's time) when the last one noted is older: it only has to
/// tell what went unused for many publishes.
const USE_NOTED_EVERY: Duration = Duration::from_secs(3_600);

/// Frames in a directory, bounded; the longest unused go first. May be used by several processes.
#[derive(Debug)]
pub struct DirectoryFrameCache {
    directory: PathBuf,
    limit_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<[u8; 32], Kept>,
    size_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    size_bytes: u64,
    used: SystemTime,
}

impl DirectoryFrameCache {
    /// Opens the cache in `directory`, which is made when absent; nothing else may live in it.
    /// Holds at most about `limit_bytes` of files.
    ///
    /// Errors: the directory cannot be made or listed.
    pub fn open(directory: &Path, limit_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let cache = Self {
            directory: directory.to_owned(),
            limit_bytes,
            state: Mutex::new(scan(directory)?),
        };
        cache.evict(&mut cache.state());
        Ok(cache)
    }

    /// Bytes of the files known to be there.
    pub fn size_bytes(&self) -> u64 {
        self.state().size_bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves at worst a wrong sum.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, key: &[u8; 32]) -> PathBuf {
        self.directory
            .join(hex::encode(&key[..1]))
            .join(hex::encode(key))
    }

    fn write(&self, key: &[u8; 32], frame: &Frame) -> io::Result<()> {
        let path = self.path(key);
        let parent = path.parent().unwrap_or(&self.directory);
        fs::create_dir_all(parent)?;
        let mut file = tempfile::Builder::new()
            .prefix(".new")
            .tempfile_in(parent)?;
        let size = frame.open_size_bytes.to_be_bytes();
        file.write_all(MAGIC)?;
        file.write_all(&digest(&size, &frame.bytes))?;
        file.write_all(&size)?;
        file.write_all(&frame.bytes)?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Removes the longest unused files until a quarter of the limit is free.
    fn evict(&self, state: &mut State) {
        if state.size_bytes <= self.limit_bytes {
            return;
        }
        let mut by_use: Vec<(SystemTime, [u8; 32])> = state
            .files
            .iter()
            .map(|(key, kept)| (kept.used, *key))
            .collect();
        by_use.sort_unstable();
        for (_, key) in by_use {
            if state.size_bytes <= self.limit_bytes / 4 * 3 {
                break;
            }
            state.forget(&key);
            // Already gone, or not ours to remove: either way it is counted no more.
            let _ = fs::remove_file(self.path(&key));
        }
    }
}

impl FrameCache for DirectoryFrameCache {
    fn get(&self, key: &[u8; 32]) -> Option<Frame> {
        let path = self.path(key);
        let mut file = File::open(&path).ok()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        let Some(frame) = parse(&bytes) else {
            tracing::warn!(path = %path.display(), "a damaged metadata frame is removed and made again");
            let _ = fs::remove_file(&path);
            self.state().forget(key);
            return None;
        };
        let now = SystemTime::now();
        let mut state = self.state();
        let noted = state.files.get(key).map(|kept| kept.used);
        if noted.is_none_or(|noted| {
            now.duration_since(noted)
                .is_ok_and(|age| age > USE_NOTED_EVERY)
        }) {
            // Only the order of eviction after a restart depends on it.
            let _ = file.set_modified(now);
        }
        state.note(*key, bytes.len() as u64, now);
        Some(frame)
    }

    fn put(&self, key: &[u8; 32], frame: &Frame) {
        let size_bytes = (HEADER_BYTES + frame.bytes.len()) as u64;
        if size_bytes > self.limit_bytes {
            return;
        }
        if let Err(error) = self.write(key, frame) {
            let directory = self.directory.display();
            tracing::warn!(%error, %directory, "a metadata frame cannot be cached");
            return;
        }
        let mut state = self.state();
        state.note(*key, size_bytes, SystemTime::now());
        self.evict(&mut state);
    }
}

impl State {
    fn note(&mut self, key: [u8; 32], size_bytes: u64, used: SystemTime) {
        self.forget(&key);
        self.size_bytes += size_bytes;
        self.files.insert(key, Kept { size_bytes, used });
    }

    fn forget(&mut self, key: &[u8; 32]) {
        if let Some(kept) = self.files.remove(key) {
            self.size_bytes -= kept.size_bytes;
        }
    }
}

fn digest(open_size: &[u8], frame: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(open_size)
        .chain_update(frame)
        .finalize()
        .into()
}

fn parse(bytes: &[u8]) -> Option<Frame> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (wanted, rest) = rest.split_first_chunk::<32>()?;
    let (open_size, frame) = rest.split_first_chunk::<8>()?;
    (digest(open_size, frame) == *wanted).then(|| Frame {
        bytes: Bytes::copy_from_slice(frame),
        open_size_bytes: u64::from_be_bytes(*open_size),
    })
}

/// What is there; what a crash left half written is removed.
fn scan(directory: &Path) -> io::Result<State> {
    let mut state = State::default();
    for shard in fs::read_dir(directory)? {
        let shard = shard?;
        if !shard.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(shard.path())? {
            let file = file?;
            // Another process may remove it meanwhile.
            let Ok(metadata) = file.metadata() else {
                continue;
            };
            let mut key = [0; 32];
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if hex::decode_to_slice(file.file_name().as_encoded_bytes(), &mut key).is_ok() {
                state.note(key, metadata.len(), used);
            } else if is_left_over(&file, used) {
                let _ = fs::remove_file(file.path());
            }
        }
    }
    Ok(state)
}

/// Whether nobody can still be writing this file.
fn is_left_over(file: &fs::DirEntry, modified: SystemTime) -> bool {
    let is_ours = file.file_name().as_encoded_bytes().starts_with(b".new");
    is_ours
        && SystemTime::now()
            .duration_since(modified)
            .is_ok_and(|age| age > USE_NOTED_EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(byte: u8, size: usize) -> Frame {
        Frame {
            bytes: vec![byte; size].into(),
            open_size_bytes: 3 * size as u64,
        }
    }

    fn files(directory: &Path) -> Vec<PathBuf> {
        let shards = fs::read_dir(directory).unwrap();
        shards
            .flat_map(|shard| fs::read_dir(shard.unwrap().path()).unwrap())
            .map(|file| file.unwrap().path())
            .collect()
    }

    #[test]
    fn frames_outlive_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let cache = DirectoryFrameCache::open(directory.path(), 1 << 20).unwrap();
        for n in 0..50 {
            cache.put(&[n; 32], &frame(n, 100));
        }
        let size_bytes = cache.size_bytes();
        drop(cache);
        let cache = DirectoryFrameCache::open(directory.path(), 1 << 20).unwrap();
        assert_eq!(cache.size_bytes(), size_bytes);
        for n in 0..50 {
            assert_eq!(cache.get(&[n; 32]), Some(frame(n, 100)));
        }
        assert_eq!(cache.get(&[50; 32]), None);
    }

    #[test]
    fn any_damage_is_noticed_removed_and_healed() {
        let directory = tempfile::tempdir().unwrap();
        let cache = DirectoryFrameCache::open(directory.path(), 1 << 20).unwrap();
        let key = [1; 32];
        cache.put(&key, &frame(7, 40));
        let path = files(directory.path()).remove(0);
        let whole = fs::read(&path).unwrap();
        for damage in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[damage] ^= 0x10;
            for damaged in [&flipped[..], &whole[..damage]] {
                fs::write(&path, damaged).unwrap();
                assert_eq!(cache.get(&key), None, "byte {damage}");
                assert!(!path.exists());
            }
        }
        assert_eq!(cache.size_bytes(), 0);
        cache.put(&key, &frame(7, 40));
        assert_eq!(cache.get(&key), Some(frame(7, 40)));
    }

    #[test]
    fn the_directory_stays_below_its_limit_and_keeps_what_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let cache = DirectoryFrameCache::open(directory.path(), 2_000).unwrap();
        let used = [255; 32];
        cache.put(&used, &frame(1, 100));
        for n in 0..100 {
            cache.put(&[n; 32], &frame(n, 100));
            assert!(cache.size_bytes() <= 2_000);
            assert!(cache.get(&used).is_some(), "after {n}");
        }
        let on_disk: u64 = files(directory.path())
            .iter()
            .map(|file| file.metadata().unwrap().len())
            .sum();
        assert_eq!(on_disk, cache.size_bytes());
        cache.put(&[200; 32], &frame(1, 2_001));
        assert_eq!(cache.get(&[200; 32]), None);
        let smaller = DirectoryFrameCache::open(directory.path(), 500).unwrap();
        assert!(smaller.size_bytes() <= 500);
    }

    #[test]
    fn what_a_crash_left_half_written_is_swept_once_it_is_old() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("00")).unwrap();
        let (old, young) = (
            directory.path().join("00/.newold"),
            directory.path().join("00/.newyoung"),
        );
        for path in [&old, &young] {
            fs::write(path, "half").unwrap();
        }
        let long_ago = SystemTime::now() - Duration::from_secs(100_000);
        File::open(&old).unwrap().set_modified(long_ago).unwrap();
        DirectoryFrameCache::open(directory.path(), 1_000).unwrap();
        assert!(!old.exists() && young.exists());
    }

    #[test]
    fn a_directory_that_cannot_be_written_harms_no_build() {
        let directory = tempfile::tempdir().unwrap();
        let cache = DirectoryFrameCache::open(&directory.path().join("c"), 1_000).unwrap();
        fs::remove_dir(directory.path().join("c")).unwrap();
        fs::write(directory.path().join("c"), "a file in the way").unwrap();
        cache.put(&[1; 32], &frame(1, 10));
        assert_eq!(cache.get(&[1; 32]), None);
    }
}
