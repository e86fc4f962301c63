//! Reading packages: identity and digests of each, by several threads, without keeping headers.

use super::Watch;
use super::error::{BadPackage, CreaterepoError, PackageError};
use super::scan::{Found, Look};
use super::state::{Known, KnownFiles};
use crate::repodata::{
    Ahead, ChecksumType, Entry, FrameCache, GROUP_PACKAGES_MIN, MetadataError, Options,
    PackageSource, Sha512Digest, SourceError, groups_of,
};
use mirrors::reading::{Algorithm, Tap, drain};
use repo_model::rpm::{Head, HeadLimits, Package, tag};
use repo_model::{FileDigest, Nevra};
use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read};
use std::num::NonZeroUsize;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What reading gave, in the order of the files.
pub(super) struct Outcome {
    pub files: Vec<Known>,
    pub bad: Vec<BadPackage>,
    /// Paths that were really read, the others were known.
    pub read: Vec<String>,
}

/// What is read, and what it is read for.
pub(super) struct Reading<'a> {
    pub root: &'a Path,
    pub found: &'a [Found],
    pub options: &'a Options,
    /// How a package will be listed.
    pub entry: &'a (dyn Fn(&Known) -> Result<Entry, PackageError> + Sync),
    /// Where frames go that can be made on the way.
    pub frames: &'a dyn FrameCache,
    pub workers: NonZeroUsize,
}

/// What came of the files that a worker has read.
#[derive(Default)]
struct Done {
    files: Vec<Known>,
    bad: Vec<BadPackage>,
}

/// Reads the packages that are not known already. Where a whole group of the metadata is read, its
/// frames are made at once.
pub(super) fn read_all(
    reading: &Reading<'_>,
    known: KnownFiles,
    watch: &dyn Watch,
) -> Result<Outcome, CreaterepoError> {
    let found = reading.found;
    watch.packages(found.len() as u64);
    let (mut files, unknown) = known.among(found);
    files.iter().for_each(|_| watch.package_done());
    let batches = batches(found, unknown);
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::<Done>::new()));
    std::thread::scope(|scope| {
        let work = || {
            let mut worker = Worker::new(reading)?;
            while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                worker.read(batch, watch)?;
            }
            done.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(worker.done);
            Ok(())
        };
        let threads: Vec<_> = (0..reading.workers.get().min(batches.len()))
            .map(|_| scope.spawn(work))
            .collect();
        // A panic is a fault of ours and goes on as one.
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads
            .into_iter()
            .try_for_each(join)
            .map_err(CreaterepoError::Metadata)
    })?;
    let none_was_known = files.is_empty();
    let (mut bad, mut read) = (Vec::new(), Vec::new());
    // One worker's after the other, so that its memory goes before the next one's is copied.
    for mut done in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
        read.extend(done.files.iter().map(|known| known.path.clone()));
        read.extend(done.bad.iter().map(|bad| bad.path.clone()));
        bad.append(&mut done.bad);
        match files.is_empty() {
            true => files = done.files,
            false => files.append(&mut done.files),
        }
    }
    bad.sort_by(|a, b| a.path.cmp(&b.path));
    read.sort_unstable();
    match none_was_known {
        // In place; no path is there twice.
        true => files.sort_unstable_by(|a, b| a.path.cmp(&b.path)),
        // Runs that are sorted: what was known, and what each thread has read.
        false => files.sort_by(|a, b| a.path.cmp(&b.path)),
    }
    Ok(Outcome { files, bad, read })
}

/// Files to read one after the other.
#[derive(Debug, PartialEq, Eq)]
struct Batch {
    files: Vec<usize>,
    /// Whether they will be a group of the metadata, by their names.
    is_group: bool,
}

/// Cuts the files that must be read into the groups that all files will form, going by the names of the files;
/// where a name tells nothing or a part of the group is known already, each file is on its own.
fn batches(found: &[Found], unknown: Vec<usize>) -> Vec<Batch> {
    let alone = |file: usize| Batch {
        files: vec![file],
        is_group: false,
    };
    let guess = |found: &Found| {
        let name = found.relative.rsplit('/').next()?;
        Nevra::from_str(name.strip_suffix(".rpm")?).ok()
    };
    // Every package is guessed, since any of them moves borders; but only for the sake of a group.
    if unknown.len() < GROUP_PACKAGES_MIN {
        return unknown.into_iter().map(alone).collect();
    }
    let mut guessed: Vec<(Nevra, usize)> = Vec::with_capacity(found.len());
    let mut batches = Vec::new();
    let mut is_unknown = vec![false; found.len()];
    for file in unknown {
        is_unknown[file] = true;
    }
    for (number, file) in found.iter().enumerate() {
        match guess(file) {
            Some(nevra) => guessed.push((nevra, number)),
            None if is_unknown[number] => batches.push(alone(number)),
            None => {}
        }
    }
    guessed.sort();
    for group in groups_of(guessed.len(), |number| &guessed[number].0.name) {
        let files = guessed[group].iter().map(|(_, number)| *number);
        let (unread, known): (Vec<usize>, Vec<usize>) = files.partition(|file| is_unknown[*file]);
        if known.is_empty() {
            batches.push(Batch {
                files: unread,
                is_group: true,
            });
        } else {
            batches.extend(unread.into_iter().map(alone));
        }
    }
    batches
}

/// Files up to this size are read at once.
const WHOLE_MAX_BYTES: u64 = 1 << 20;

/// One thread's work.
struct Worker<'a> {
    reading: &'a Reading<'a>,
    ahead: Ahead<'a>,
    /// The last small file.
    bytes: Vec<u8>,
    done: Done,
}

impl<'a> Worker<'a> {
    fn new(reading: &'a Reading<'a>) -> Result<Self, MetadataError> {
        Ok(Self {
            reading,
            ahead: Ahead::new(reading.options, reading.frames)?,
            bytes: Vec::new(),
            done: Done::default(),
        })
    }

    fn read(&mut self, batch: &Batch, watch: &dyn Watch) -> Result<(), MetadataError> {
        self.ahead.begin_group();
        // Without a bad one it is another group.
        let mut is_group = batch.is_group;
        for number in &batch.files {
            let found = &self.reading.found[*number];
            match self.read_package(found) {
                Ok(known) => self.done.files.push(known),
                Err(error) => {
                    is_group = false;
                    let path = found.relative.clone();
                    self.done.bad.push(BadPackage { path, error });
                }
            }
            watch.package_done();
        }
        if is_group {
            self.ahead.make()?;
        }
        Ok(())
    }

    /// Hashes a whole package, reads its head, and renders it: what cannot be rendered is bad.
    fn read_package(&mut self, found: &Found) -> Result<Known, PackageError> {
        let file =
            File::open(self.reading.root.join(&found.relative)).map_err(PackageError::Read)?;
        let want_sha512 = self.reading.options.checksum == ChecksumType::Sha512;
        let hashed = match found.look.size_bytes <= WHOLE_MAX_BYTES {
            true => self.hash_whole(&file, want_sha512)?,
            false => hash_large(&file, want_sha512)?,
        };
        let package = Package::for_listing(&hashed.head, self.reading.options.filelists_ext)?;
        let (want_bytes, have_bytes) = (announced_size(&hashed.head), hashed.size_bytes);
        if let Some(want_bytes) = want_bytes.filter(|want| have_bytes < *want) {
            return Err(PackageError::Truncated {
                want_bytes,
                have_bytes,
            });
        }
        let look = Look::of(&file.metadata().map_err(PackageError::Read)?);
        if look != found.look || have_bytes != look.size_bytes {
            return Err(PackageError::Changed);
        }
        let known = Known {
            path: found.relative.clone(),
            look,
            file_digest: hashed.file_digest,
            sha512: hashed.sha512,
            header_digest: package.header_digest,
            nevra: Arc::new(package.nevra.clone()),
            built_at: package.build_time.unix_secs(),
        };
        let entry = (self.reading.entry)(&known)?;
        self.ahead.render(entry, &package)?;
        Ok(known)
    }

    fn hash_whole(&mut self, file: &File, want_sha512: bool) -> Result<Hashed, PackageError> {
        self.bytes.clear();
        // One more, so that a file that has grown is not of the size it was found with.
        file.take(WHOLE_MAX_BYTES + 1)
            .read_to_end(&mut self.bytes)
            .map_err(PackageError::Read)?;
        Ok(Hashed {
            head: Head::parse(&self.bytes)?,
            size_bytes: self.bytes.len() as u64,
            file_digest: FileDigest::of(&self.bytes),
            sha512: want_sha512.then(|| Sha512Digest::of(&self.bytes).to_hex()),
        })
    }
}

/// A package file that was read to its end.
struct Hashed {
    head: Head,
    size_bytes: u64,
    file_digest: FileDigest,
    sha512: Option<String>,
}

fn hash_large(file: &File, want_sha512: bool) -> Result<Hashed, PackageError> {
    let (tap, longer) = Tap::new(file, want_sha512.then_some(Algorithm::Sha512), u64::MAX);
    let (tap, meter) = Tap::new(tap, Some(Algorithm::Sha256), u64::MAX);
    let mut reader = BufReader::with_capacity(128 << 10, tap);
    let head = Head::read(&mut reader, &HeadLimits::default())?;
    drain(&mut reader).map_err(PackageError::Read)?;
    let digest = meter.take_hex().unwrap_or_default();
    Ok(Hashed {
        head,
        size_bytes: meter.size_bytes(),
        file_digest: digest.parse().map_err(|_| PackageError::Changed)?,
        sha512: longer.take_hex(),
    })
}

/// Bytes of the whole file by the signature header: main header and payload after it.
fn announced_size(head: &Head) -> Option<u64> {
    let size = [tag::SIG_LONGSIZE, tag::SIG_SIZE]
        .into_iter()
        .find_map(|tag| head.signature().u64s(tag).first().copied())?;
    head.header_range().start.checked_add(size)
}

/// Headers read again from the package files while metadata is rendered.
pub(super) struct Headers<'a> {
    root: &'a Path,
    file_digests: bool,
    files: &'a [Known],
    /// Starts of the files' digests, sorted, and numbers of the files: much less than a table of whole ones. Made when the
    /// first header is asked for, by the thread that asks: where nothing has changed nobody does.
    by_digest: OnceLock<Vec<(u64, u32)>>,
}

impl<'a> Headers<'a> {
    /// * `file_digests`: whether the metadata shows digests of files.
    /// * `files`: all that were read; of equal ones any will do.
    pub fn new(root: &'a Path, file_digests: bool, files: &'a [Known]) -> Self {
        Self {
            root,
            file_digests,
            files,
            by_digest: OnceLock::new(),
        }
    }

    fn known(&self, digest: &FileDigest) -> Option<&'a Known> {
        let by_digest = self.by_digest.get_or_init(|| {
            let starts = self.files.iter().map(|file| start(&file.file_digest));
            let mut numbered: Vec<(u64, u32)> = starts.zip(0..).collect();
            numbered.sort_unstable();
            numbered
        });
        let wanted = start(digest);
        let first = by_digest.partition_point(|(start, _)| *start < wanted);
        by_digest[first..]
            .iter()
            .take_while(|(start, _)| *start == wanted)
            .filter_map(|(_, number)| self.files.get(*number as usize))
            .find(|known| known.file_digest == *digest)
    }
}

/// The first eight bytes of a digest.
fn start(digest: &FileDigest) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

impl PackageSource for Headers<'_> {
    fn load(&self, entry: &Entry) -> Result<Cow<'_, Package>, SourceError> {
        let known = self
            .known(&entry.file_digest)
            .ok_or("it is not among the packages that were read")?;
        let in_file = |error: PackageError| format!("{}: {error}", known.path);
        let file = File::open(self.root.join(&known.path))
            .map_err(|error| in_file(PackageError::Read(error)))?;
        let head = Head::read(BufReader::new(file), &HeadLimits::default())
            .map_err(|error| in_file(error.into()))?;
        if head.header_digest() != known.header_digest {
            return Err(in_file(PackageError::Changed).into());
        }
        let package = Package::for_listing(&head, self.file_digests)
            .map_err(|error| in_file(error.into()))?;
        Ok(Cow::Owned(package))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: impl IntoIterator<Item = String>) -> Vec<Found> {
        let look = Look {
            size_bytes: 1,
            mtime: (0, 0),
            ctime: (0, 0),
        };
        let found = |relative| Found { relative, look };
        names.into_iter().map(found).collect()
    }

    #[test]
    fn files_are_read_by_groups_where_their_names_tell_them_and_nothing_of_a_group_is_known() {
        let named = (0..400).map(|number| format!("sub/p{number:03}-1-1.noarch.rpm"));
        let found = found(named.chain(["odd.rpm".to_owned()]));
        let all = batches(&found, (0..401).collect());
        let (groups, alone): (Vec<Batch>, _) = all.into_iter().partition(|batch| batch.is_group);
        assert_eq!(alone.len(), 1);
        assert_eq!(alone[0].files, [400]);
        let in_groups: Vec<usize> = groups
            .iter()
            .flat_map(|batch| &batch.files)
            .copied()
            .collect();
        assert_eq!(in_groups, (0..400).collect::<Vec<_>>());
        assert!(groups.len() > 1, "{groups:?}");

        let second = groups[1].files.clone();
        let without = |known: usize| (0..401).filter(|file| *file != known).collect();
        let batches = batches(&found, without(second[3]));
        assert!(batches.contains(&groups[0]));
        let others = second.iter().filter(|file| **file != second[3]);
        for file in others {
            let alone = Batch {
                files: vec![*file],
                is_group: false,
            };
            assert!(batches.contains(&alone), "{file}");
        }
    }

    #[test]
    fn a_few_new_files_are_read_one_by_one() {
        let found = found((0..400).map(|number| format!("p{number:03}-1-1.noarch.rpm")));
        let few = batches(&found, vec![7, 9]);
        assert!(
            few.iter()
                .all(|batch| !batch.is_group && batch.files.len() == 1)
        );
        assert_eq!(few.len(), 2);
    }
}
