//! Where a run finds frames: in the metadata files of the last run, or among those that it has made
//! itself while it read packages.

use super::state::{SavedFrame, Seal};
use super::write::Place;
use crate::repodata::{Frame, FrameCache};
use repo_model::FileDigest;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A frame larger than this is made anew.
const FRAME_MAX_BYTES: u64 = 256 << 20;

/// Frames by key; remembers which of them this run uses.
pub(super) struct OldFrames {
    files: Vec<Option<File>>,
    saved: HashMap<[u8; 32], SavedFrame>,
    made: Mutex<Spool>,
    /// By key: seal and open size of each frame that was used or made.
    used: Mutex<HashMap<[u8; 32], (Seal, u64)>>,
}

/// Frames in a file without a name, so that memory does not grow with the repository.
struct Spool {
    directory: PathBuf,
    file: Option<File>,
    size_bytes: u64,
    /// By key: offset, size, open size.
    places: HashMap<[u8; 32], (u64, usize, u64)>,
}

impl OldFrames {
    /// `repodata`: where the files of the last run are; `scratch`: a directory that a file without a name may
    /// be made in.
    pub fn open(
        repodata: &Path,
        files: &[String],
        frames: Vec<SavedFrame>,
        scratch: &Path,
    ) -> Self {
        let open = |name: &String| {
            let plain = !name.contains('/') && !name.starts_with('.');
            let path: PathBuf = repodata.join(name);
            plain.then(|| File::open(path).ok()).flatten()
        };
        Self {
            files: files.iter().map(open).collect(),
            saved: frames
                .into_iter()
                .map(|frame| (*frame.key.as_bytes(), frame))
                .collect(),
            made: Mutex::new(Spool {
                directory: scratch.to_owned(),
                file: None,
                size_bytes: 0,
                places: HashMap::new(),
            }),
            used: Mutex::default(),
        }
    }

    /// A frame of the last run, and its seal.
    fn saved(&self, key: &[u8; 32]) -> Option<(Frame, Seal)> {
        let saved = self.saved.get(key)?;
        let file = self.files.get(saved.file)?.as_ref()?;
        if saved.size_bytes > FRAME_MAX_BYTES {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(saved.size_bytes).ok()?];
        file.read_exact_at(&mut bytes, saved.offset).ok()?;
        let frame = Frame {
            bytes: bytes.into(),
            open_size_bytes: saved.open_size_bytes,
        };
        (Seal::of(&frame.bytes) == saved.seal).then_some((frame, saved.seal))
    }

    fn note(&self, key: &[u8; 32], seal: Seal, open_size_bytes: u64) {
        locked(&self.used).insert(*key, (seal, open_size_bytes));
    }

    /// The frames of this run, sorted; `placed` tells where they stand.
    pub fn into_saved(self, placed: &HashMap<[u8; 32], Place>) -> Vec<SavedFrame> {
        let used = self
            .used
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let mut saved: Vec<SavedFrame> = used
            .into_iter()
            .filter_map(|(key, (seal, open_size_bytes))| {
                let place = placed.get(&key)?;
                Some(SavedFrame {
                    key: FileDigest::from_bytes(key),
                    seal,
                    file: place.file,
                    offset: place.offset,
                    size_bytes: place.size_bytes,
                    open_size_bytes,
                })
            })
            .collect();
        saved.sort_by_key(|frame| (frame.file, frame.offset));
        saved
    }
}

impl FrameCache for OldFrames {
    fn holds(&self, key: &[u8; 32]) -> bool {
        self.saved.contains_key(key) || locked(&self.made).places.contains_key(key)
    }

    fn get(&self, key: &[u8; 32]) -> Option<Frame> {
        if let Some((frame, seal)) = self.saved(key) {
            self.note(key, seal, frame.open_size_bytes);
            return Some(frame);
        }
        let frame = locked(&self.made).get(key)?;
        self.put(key, &frame);
        Some(frame)
    }

    fn put(&self, key: &[u8; 32], frame: &Frame) {
        self.note(key, Seal::of(&frame.bytes), frame.open_size_bytes);
    }
}

/// Keeps the frames that are put here for a build that reads [`OldFrames`].
pub(super) struct MadeAhead<'a>(pub &'a OldFrames);

impl FrameCache for MadeAhead<'_> {
    fn get(&self, _key: &[u8; 32]) -> Option<Frame> {
        None
    }

    fn put(&self, key: &[u8; 32], frame: &Frame) {
        if let Err(error) = locked(&self.0.made).put(key, frame) {
            tracing::debug!("a frame cannot be kept and will be made again: {error}");
        }
    }
}

impl Spool {
    fn put(&mut self, key: &[u8; 32], frame: &Frame) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.directory)?,
        };
        let file = self.file.insert(file);
        file.write_all_at(&frame.bytes, self.size_bytes)?;
        let place = (self.size_bytes, frame.bytes.len(), frame.open_size_bytes);
        self.size_bytes += frame.bytes.len() as u64;
        self.places.insert(*key, place);
        Ok(())
    }

    fn get(&self, key: &[u8; 32]) -> Option<Frame> {
        let (offset, size, open_size_bytes) = *self.places.get(key)?;
        let mut bytes = vec![0; size];
        self.file.as_ref()?.read_exact_at(&mut bytes, offset).ok()?;
        Some(Frame {
            bytes: bytes.into(),
            open_size_bytes,
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves at worst a frame that is made again.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn frames_in(directory: &Path, saved: Vec<SavedFrame>) -> OldFrames {
        fs::write(directory.join("primary"), b"0123456789").unwrap();
        OldFrames::open(directory, &["primary".to_owned()], saved, directory)
    }

    #[test]
    fn a_damaged_frame_is_as_good_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let saved = |key: &[u8], bytes: &[u8]| SavedFrame {
            key: FileDigest::of(key),
            seal: Seal::of(bytes),
            file: 0,
            offset: 2,
            size_bytes: 3,
            open_size_bytes: 9,
        };
        let frames = frames_in(
            directory.path(),
            vec![saved(b"right", b"234"), saved(b"wrong", b"xxx")],
        );
        let get = |key: &[u8]| frames.get(FileDigest::of(key).as_bytes());
        assert_eq!(&*get(b"right").unwrap().bytes, b"234");
        assert!(get(b"wrong").is_none() && get(b"other").is_none());
    }

    #[test]
    fn what_is_made_ahead_is_found_and_saved_once_it_is_used_and_placed() {
        let directory = tempfile::tempdir().unwrap();
        let frames = frames_in(directory.path(), Vec::new());
        for byte in [1, 2] {
            let frame = Frame {
                bytes: vec![byte; 10].into(),
                open_size_bytes: 100,
            };
            MadeAhead(&frames).put(&[byte; 32], &frame);
        }
        assert_eq!(frames.get(&[2; 32]).unwrap().bytes[..], [2; 10]);
        let place = |file| Place {
            file,
            offset: 7,
            size_bytes: 10,
        };
        let placed = HashMap::from([([1; 32], place(0)), ([2; 32], place(1))]);
        let saved = frames.into_saved(&placed);
        assert_eq!(saved.len(), 1);
        assert_eq!(saved[0].seal, Seal::of(&[2; 10]));
        assert_eq!((saved[0].file, saved[0].offset), (1, 7));
        // Nothing of it has a name.
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
