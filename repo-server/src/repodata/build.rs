//! Assembling the files of a repository from frames, and `repomd.xml` over them.
//!
//! Workers make the frames of whole groups (from the cache, or by loading, rendering and
//! compressing); the calling thread takes the groups in order, hashes them and hands them to the
//! sink. The open checksum needs the open bytes in order, so cached frames are decompressed for
//! hashing; that is what a publish without changes costs, about a second for 60,000 packages.

use super::assemble::write_package_files;
use super::cache::FrameCache;
use super::checksum::ChecksumType;
use super::entry::{Entry, PackageSource};
use super::error::MetadataError;
use super::extras::write_extras;
use super::options::{ExtraRecord, Options};
use super::repomd::{self, Record, sort_records};
use repo_model::{FileDigest, Timestamp};
use std::cmp::Ordering;
use std::io;
use std::num::NonZeroUsize;

/// What a repository is made of, and the means to make it. Only `entries`, the packages they name,
/// and `extras` reach the output; `cache` and `workers` change its cost alone.
pub struct Inputs<'a> {
    /// The packages, sorted by [`sort`](super::sort).
    pub entries: &'a [Entry],
    /// Where headers come from.
    pub packages: &'a dyn PackageSource,
    /// Further records; their order does not matter.
    pub extras: &'a [ExtraRecord],
    /// Frames of earlier builds.
    pub cache: &'a dyn FrameCache,
    /// Threads that render and compress.
    pub workers: NonZeroUsize,
}

/// Receives the files while they are made, so that no whole file need be in memory.
pub trait Sink {
    /// Adds bytes to the end of file number `file`. Files grow side by side; their numbers count
    /// from 0 without gaps. Called at least once for each file, if with no bytes.
    fn append(&mut self, file: usize, bytes: &[u8]) -> io::Result<()>;

    /// Adds a group's frame to the end of file number `file`; `key` is the one that a cache knows it by.
    /// For sinks that serve as cache later; others need not care.
    fn append_frame(&mut self, file: usize, _key: &[u8; 32], bytes: &[u8]) -> io::Result<()> {
        self.append(file, bytes)
    }

    /// File number `file` is complete; `record` has its name, digest and size.
    fn finish(&mut self, file: usize, record: &Record) -> io::Result<()>;
}

/// `repomd.xml` and what it lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// `repodata/repomd.xml`, to be published last.
    pub repomd: Vec<u8>,
    /// The files it names, in its order.
    pub records: Vec<Record>,
}

/// A repository's metadata in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repodata {
    /// `repodata/repomd.xml`, to be published last.
    pub repomd: Vec<u8>,
    /// The files it names, in its order.
    pub files: Vec<RepodataFile>,
}

/// One metadata file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepodataFile {
    /// Name, digest and sizes.
    pub record: Record,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Makes a repository's metadata in memory: [`build_into`] with a sink that keeps all.
pub fn build(
    inputs: &Inputs<'_>,
    options: &Options,
    at: Timestamp,
) -> Result<Repodata, MetadataError> {
    #[derive(Default)]
    struct Keep {
        bytes: Vec<Vec<u8>>,
        names: Vec<(usize, String)>,
    }
    impl Sink for Keep {
        fn append(&mut self, file: usize, bytes: &[u8]) -> io::Result<()> {
            if self.bytes.len() <= file {
                self.bytes.resize_with(file + 1, Vec::new);
            }
            self.bytes[file].extend_from_slice(bytes);
            Ok(())
        }
        fn finish(&mut self, file: usize, record: &Record) -> io::Result<()> {
            self.names.push((file, record.name.clone()));
            Ok(())
        }
    }

    let mut keep = Keep::default();
    let manifest = build_into(inputs, options, at, &mut keep)?;
    let mut files: Vec<RepodataFile> = Vec::with_capacity(manifest.records.len());
    for record in manifest.records {
        let file = keep.names.iter().position(|(_, name)| *name == record.name);
        let bytes = match file.map(|at| keep.names.swap_remove(at)) {
            Some((file, _)) => std::mem::take(&mut keep.bytes[file]),
            None => Vec::new(),
        };
        files.push(RepodataFile { record, bytes });
    }
    Ok(Repodata {
        repomd: manifest.repomd,
        files,
    })
}

/// Makes a repository's metadata.
///
/// * `inputs.entries`: sorted; an unsorted slice is `Err(Unsorted)`, a repeated file or location
///   is refused too.
/// * `at`: the publish instant, written as every record's timestamp and as the revision unless
///   the options set one. `<time file=>` of packages comes from their entries.
/// * Errors leave the sink with unfinished files, which it must throw away.
///
/// Touches neither disk nor clock: equal input, equal bytes, whatever the cache holds.
pub fn build_into(
    inputs: &Inputs<'_>,
    options: &Options,
    at: Timestamp,
    sink: &mut dyn Sink,
) -> Result<Manifest, MetadataError> {
    check_list(inputs.entries, options.checksum)?;
    let mut records = write_package_files(inputs, options, sink)?;
    write_extras(inputs.extras, options, &mut records, sink)?;
    sort_records(&mut records);
    Ok(Manifest {
        repomd: repomd::render(&records, options, at)?,
        records,
    })
}

fn check_list(entries: &[Entry], checksum: ChecksumType) -> Result<(), MetadataError> {
    for pair in entries.windows(2) {
        if pair[0].order(&pair[1]) == Ordering::Greater {
            return Err(MetadataError::Unsorted {
                first: pair[0].nevra.clone(),
                second: pair[1].nevra.clone(),
            });
        }
    }
    if checksum == ChecksumType::Sha512
        && let Some(entry) = entries.iter().find(|entry| entry.sha512.is_none())
    {
        return Err(MetadataError::NoPkgid {
            nevra: entry.nevra.clone(),
        });
    }
    // Sorted, what repeats stands side by side; the list is nearly in the order of the locations already.
    let mut digests: Vec<(FileDigest, usize)> = (0..entries.len())
        .map(|number| (entries[number].file_digest, number))
        .collect();
    digests.sort_unstable();
    if let Some(pair) = digests.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let entry = &entries[pair[1].1];
        return Err(MetadataError::DuplicateFile {
            digest: entry.file_digest,
            nevra: entry.nevra.clone(),
        });
    }
    let mut hrefs: Vec<&str> = entries.iter().map(|entry| entry.href.as_str()).collect();
    hrefs.sort_unstable();
    if let Some(pair) = hrefs.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(MetadataError::DuplicateHref {
            href: pair[0].to_owned(),
        });
    }
    Ok(())
}
