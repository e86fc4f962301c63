//! The new metadata on its way to disk: a directory beside `repodata` that nobody reads yet.

use super::error::CreaterepoError;
use super::switch;
use crate::repodata::{Record, Sink};
use repo_model::Timestamp;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, FileTimes};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// How metadata files are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileNames {
    /// `<digest>-primary.xml.zst`: a name never changes its content.
    Unique,
    /// `primary.xml.zst`: clients may mix an old repomd.xml with new files.
    Simple,
}

/// The staging directory. A run removes what of it is left, or after a crash the next run does.
pub(super) struct Stage {
    pub directory: PathBuf,
    names: FileNames,
    /// Written to every file as its mtime.
    stamp: Option<Timestamp>,
    parts: Vec<Option<Part>>,
    /// Final names by number of the file.
    finished: Vec<Option<String>>,
    /// Where the frames of groups stand, by their keys.
    pub placed: HashMap<[u8; 32], Place>,
    taken: HashSet<String>,
    /// Whole files that are not on the disk for certain yet.
    unsynced: Vec<(String, File)>,
    ahead: SyncAhead,
}

/// Where a frame stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Number of the file.
    pub file: usize,
    pub offset: u64,
    pub size_bytes: u64,
}

struct Part {
    path: PathBuf,
    writer: BufWriter<File>,
    size_bytes: u64,
    /// How much of it was given to the disk ahead.
    begun_bytes: u64,
}

/// A file is given to the disk in pieces of this size.
const SYNCED_AHEAD_BYTES: u64 = 2 << 20;
/// Pieces that may wait for the disk; each holds a file open.
const SYNCS_WAITING_MAX: usize = 8;

/// Gives files to the disk while they grow, so that less is waited for at the end.
#[derive(Default)]
struct SyncAhead(Option<(SyncSender<File>, JoinHandle<io::Result<()>>)>);

impl SyncAhead {
    fn begin(&mut self, file: File) {
        let (sender, _) = self.0.get_or_insert_with(|| {
            let (sender, files) = sync_channel::<File>(SYNCS_WAITING_MAX);
            let sync = move || files.into_iter().try_for_each(|file| file.sync_data());
            (sender, std::thread::spawn(sync))
        });
        // It stops at the first failure, which `finish` tells. A disk that is behind has enough to do.
        let _ = sender.try_send(file);
    }

    /// The system tells a failure once, so one that was met ahead counts.
    fn finish(&mut self) -> io::Result<()> {
        let Some((sender, thread)) = self.0.take() else {
            return Ok(());
        };
        drop(sender);
        // A panic is a fault of ours and goes on as one.
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Stage {
    /// Makes the directory, which must not exist.
    pub fn new(
        directory: PathBuf,
        names: FileNames,
        stamp: Option<Timestamp>,
    ) -> Result<Self, CreaterepoError> {
        fs::create_dir(&directory).map_err(|source| CreaterepoError::Write {
            path: directory.clone(),
            source,
        })?;
        Ok(Self {
            directory,
            names,
            stamp,
            parts: Vec::new(),
            finished: Vec::new(),
            placed: HashMap::new(),
            taken: HashSet::new(),
            unsynced: Vec::new(),
            ahead: SyncAhead::default(),
        })
    }

    /// The files' names by their number; files that were never finished have none.
    pub fn file_names(&self) -> Vec<String> {
        self.finished
            .iter()
            .map(|name| name.clone().unwrap_or_default())
            .collect()
    }

    /// How many files were begun: the number of the next.
    pub fn file_count(&self) -> usize {
        self.parts.len()
    }

    /// The name under which a record's file is stored.
    pub fn name_of(&self, record: &Record) -> String {
        let name = record.name.rsplit('/').next().unwrap_or(&record.name);
        match self.names {
            FileNames::Unique => name.to_owned(),
            FileNames::Simple => without_digest(name).to_owned(),
        }
    }

    /// Whether a name is free in the directory.
    pub fn claim(&mut self, name: &str) -> Result<(), CreaterepoError> {
        if self.taken.insert(name.to_owned()) {
            return Ok(());
        }
        Err(CreaterepoError::NameTaken {
            name: name.to_owned(),
        })
    }

    /// Whether a file of this name was put here.
    pub fn has(&self, name: &str) -> bool {
        self.taken.contains(name)
    }

    /// Writes a whole file.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), CreaterepoError> {
        self.claim(name)?;
        let path = self.directory.join(name);
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(bytes)?;
            self.seal(name.to_owned(), file)
        });
        written.map_err(|source| CreaterepoError::Write { path, source })
    }

    /// Puts the whole directory, which must be complete, in the place of `live`, durably. What was there goes
    /// when the stage is dropped.
    pub fn put_in_place(&mut self, live: &Path) -> Result<(), CreaterepoError> {
        self.sync()?;
        switch::switch(&self.directory, live).map_err(|source| CreaterepoError::Write {
            path: live.to_owned(),
            source,
        })
    }

    /// All files at the same time, since the disk can take them together.
    fn sync(&mut self) -> Result<(), CreaterepoError> {
        let directory = &self.directory;
        self.ahead
            .finish()
            .map_err(|source| CreaterepoError::Write {
                path: directory.clone(),
                source,
            })?;
        let sync = |(name, file): (String, File)| {
            file.sync_all().map_err(|source| CreaterepoError::Write {
                path: directory.join(name),
                source,
            })
        };
        let files: Vec<_> = self.unsynced.drain(..).collect();
        std::thread::scope(|scope| {
            let threads: Vec<_> = files
                .into_iter()
                .map(|file| scope.spawn(move || sync(file)))
                .collect();
            // A panic is a fault of ours and goes on as one.
            threads.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }

    /// Brings a file of the old metadata here, by a link where the file system can.
    pub fn keep(&mut self, from: &Path, name: &str) -> Result<(), CreaterepoError> {
        self.claim(name)?;
        let path = self.directory.join(name);
        fs::hard_link(from, &path)
            .or_else(|_| {
                fs::copy(from, &path)?;
                let modified = fs::metadata(from)?.modified()?;
                let file = File::options().write(true).open(&path)?;
                file.set_modified(modified)?;
                file.sync_all()
            })
            .map_err(|source| CreaterepoError::Write { path, source })
    }

    /// Notes a written file for [`Self::put_in_place`].
    fn seal(&mut self, name: String, file: File) -> io::Result<()> {
        if let Some(stamp) = self.stamp {
            let secs = u64::try_from(stamp.unix_secs()).unwrap_or(0);
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
            file.set_times(FileTimes::new().set_modified(time).set_accessed(time))?;
        }
        self.unsynced.push((name, file));
        Ok(())
    }

    fn part(&mut self, file: usize) -> io::Result<&mut Part> {
        while self.parts.len() <= file {
            self.parts.push(None);
            self.finished.push(None);
        }
        let path = self.directory.join(format!(".part-{file}"));
        let part = match self.parts[file].take() {
            Some(part) => part,
            None => Part {
                writer: BufWriter::new(File::create(&path)?),
                path,
                size_bytes: 0,
                begun_bytes: 0,
            },
        };
        Ok(self.parts[file].insert(part))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // After the switch it is the old metadata; the next run sweeps what cannot be removed.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Sink for Stage {
    fn append(&mut self, file: usize, bytes: &[u8]) -> io::Result<()> {
        let part = self.part(file)?;
        part.writer.write_all(bytes)?;
        part.size_bytes += bytes.len() as u64;
        if part.size_bytes - part.begun_bytes >= SYNCED_AHEAD_BYTES {
            part.begun_bytes = part.size_bytes;
            let file = part.writer.get_ref().try_clone()?;
            self.ahead.begin(file);
        }
        Ok(())
    }

    fn append_frame(&mut self, file: usize, key: &[u8; 32], bytes: &[u8]) -> io::Result<()> {
        let place = Place {
            file,
            offset: self.part(file)?.size_bytes,
            size_bytes: bytes.len() as u64,
        };
        self.placed.insert(*key, place);
        self.append(file, bytes)
    }

    fn finish(&mut self, file: usize, record: &Record) -> io::Result<()> {
        self.part(file)?;
        let Some(part) = self.parts[file].take() else {
            return Err(io::Error::other("the file was never begun"));
        };
        let name = self.name_of(record);
        if !self.taken.insert(name.clone()) {
            let text = format!("two metadata files are called `{name}`");
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        let inner = part
            .writer
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        self.seal(name.clone(), inner)?;
        fs::rename(&part.path, self.directory.join(&name))?;
        self.finished[file] = Some(name);
        Ok(())
    }
}

/// Strips `<hex digest>-`, be it MD5, SHA-1, SHA-2.
pub(super) fn without_digest(name: &str) -> &str {
    match name.split_once('-') {
        Some((digest, rest)) if is_digest(digest) && !rest.is_empty() => rest,
        _ => name,
    }
}

/// Whether a text has the form of a checksum in hex.
pub(super) fn is_digest(text: &str) -> bool {
    [32, 40, 56, 64, 96, 128].contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}
