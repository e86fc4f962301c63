//! An evidence pack: every answer that was needed to verify some packages, in one zstd-compressed tar, to be
//! asked again years later without any server. It is trusted no more than a server is.

use super::gather::{Common, find, gather, published_head};
use super::source::{Item, Source, SourceError, in_memory};
use mirrors::tar;
use repo_model::release::read_package_list;
use repo_model::wire::status::ReleaseStatus;
use repo_model::{HeaderDigest, Nevra, ReleaseId};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Cursor, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Most bytes of one pack, unpacked; one file of it is read whole and is much smaller.
const MAX_BYTES: u64 = 8 << 30;
/// What may follow the last file, bytes: the archive's end.
const MAX_TRAILER: u64 = 64 << 10;
/// What says which form it is of.
const FORM_FILE: &str = "hallmark-evidence-pack";
const FORM: &[u8] = b"1\n";
/// Folder of the heads.
const HEADS: &str = "heads/";
/// zstd's level: packs are written once and kept.
const LEVEL: i32 = 12;

/// A pack cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Evidence cannot be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// There is nothing to pack.
    #[error("{0}")]
    Missing(String),
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A pack that was read: unpacked into a temporary file, which memory need not hold.
#[derive(Debug)]
pub struct Pack {
    spool: File,
    /// Where each file's content is in it: offset and length.
    places: BTreeMap<String, (u64, usize)>,
}

impl Pack {
    /// Reads a pack.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut archive = zstd::Decoder::new(File::open(path)?)?;
        // Nothing of ours needs more to be unpacked.
        archive.window_log_max(27)?;
        let mut spool = tempfile::tempfile()?;
        let (mut places, mut offset) = (BTreeMap::new(), 0);
        tar::read_files(&mut archive, MAX_BYTES, |name, content| {
            spool.write_all(&content)?;
            places.insert(name, (offset, content.len()));
            offset += content.len() as u64;
            Ok(())
        })?;
        // To its end, where the checksum is.
        if io::copy(&mut archive.by_ref().take(MAX_TRAILER), &mut io::sink())? == MAX_TRAILER {
            let why = "something follows the end of the archive";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let pack = Self { spool, places };
        if pack.file(FORM_FILE)?.as_deref() != Some(FORM) {
            let why =
                format!("it does not say that it is an evidence pack of form 1 ({FORM_FILE})");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(pack)
    }

    fn file(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let Some((offset, length)) = self.places.get(name) else {
            return Ok(None);
        };
        let mut content = vec![0; *length];
        self.spool.read_exact_at(&mut content, *offset)?;
        Ok(Some(content))
    }

    /// The heads of the packages that it is about: what each is called in the pack, and its bytes.
    pub fn heads(&self) -> impl Iterator<Item = io::Result<(&str, Vec<u8>)>> {
        let names = self.places.keys().filter(|name| name.starts_with(HEADS));
        names.map(move |name| {
            let content = self.file(name)?;
            io::Result::Ok((name.as_str(), content.unwrap_or_default()))
        })
    }
}

impl Source for Pack {
    fn open(&self, item: &Item) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        let content = self
            .file(&item.name())
            .map_err(|source| SourceError::Read {
                path: item.name(),
                source,
            })?;
        Ok(content.map(|bytes| Box::new(Cursor::new(bytes)) as Box<dyn Read>))
    }
}

/// Asks another source, and writes every answer into a pack.
struct Recorder<'s> {
    source: &'s dyn Source,
    archive: RefCell<Archive>,
    /// In place of the source's.
    releases: Option<Vec<u8>>,
}

/// A pack that is being written.
struct Archive {
    out: zstd::Encoder<'static, File>,
    written: BTreeSet<String>,
    /// It moves: the last one is the one that counts.
    checkpoint: Option<Vec<u8>>,
}

impl Archive {
    fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        match self.written.insert(name.to_owned()) {
            true => tar::write_file(&mut self.out, name, content),
            false => Ok(()),
        }
    }
}

impl<'s> Recorder<'s> {
    /// Begins a pack in a file beside `path`.
    fn begin(source: &'s dyn Source, path: &Path) -> io::Result<Self> {
        let mut out = zstd::Encoder::new(File::create(beside(path))?, LEVEL)?;
        out.include_checksum(true)?;
        let mut archive = Archive {
            out,
            written: BTreeSet::new(),
            checkpoint: None,
        };
        archive.add(FORM_FILE, FORM)?;
        Ok(Self {
            source,
            archive: RefCell::new(archive),
            releases: None,
        })
    }

    fn keep(&self, item: &Item, bytes: &[u8]) -> io::Result<()> {
        let mut archive = self.archive.borrow_mut();
        if *item == Item::Checkpoint {
            archive.checkpoint = Some(bytes.to_owned());
            return Ok(());
        }
        archive.add(&item.name(), bytes)
    }

    /// Ends the pack and gives it its name.
    fn finish(self, path: &Path) -> io::Result<()> {
        let mut archive = self.archive.into_inner();
        if let Some(checkpoint) = archive.checkpoint.take() {
            archive.add(&Item::Checkpoint.name(), &checkpoint)?;
        }
        tar::finish(&mut archive.out)?;
        archive.out.finish()?.sync_all()?;
        std::fs::rename(beside(path), path)
    }
}

impl Source for Recorder<'_> {
    /// Not kept: a head is read from the beginning of a file, and kept by whoever reads it.
    fn open(&self, item: &Item) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        match (&self.releases, item) {
            (Some(releases), Item::Releases) => Ok(Some(in_memory(releases))),
            _ => self.source.open(item),
        }
    }

    fn fetch(&self, item: &Item) -> Result<Option<Vec<u8>>, SourceError> {
        let bytes = match (&self.releases, item) {
            (Some(releases), Item::Releases) => Some(releases.clone()),
            _ => self.source.fetch(item)?,
        };
        if let Some(bytes) = &bytes {
            self.keep(item, bytes).map_err(|source| SourceError::Read {
                path: item.name(),
                source,
            })?;
        }
        Ok(bytes)
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Packs everything about every package of a release: whoever has the pack needs neither server nor packages.
///
/// * `release`: none: the newest.
/// * `done`: told how many packages there are, then of each.
/// * Returns the number of packages.
pub fn pack_release(
    source: &dyn Source,
    release: Option<ReleaseId>,
    path: &Path,
    done: &mut dyn FnMut(u64),
) -> Result<u64, PackError> {
    let mut recorder = begin(source, path)?;
    recorder.releases = Some(chosen_release(source, release)?);
    let common = Common::ask(&recorder)?;
    let Some(document) = common.newest() else {
        return Err(PackError::Missing("there is no such release".to_owned()));
    };
    if release.is_some_and(|wanted| wanted != document.id) {
        return Err(PackError::Missing(format!(
            "there is no release {}; the one before it is {}",
            release.unwrap_or(document.id),
            document.id
        )));
    }
    let mut packages: BTreeMap<HeaderDigest, Nevra> = BTreeMap::new();
    for repo in &document.repos {
        let item = Item::Document(repo.package_list);
        let list = recorder.fetch(&item)?;
        let list = list.ok_or_else(|| PackError::Missing(format!("{} is lost", item.path())))?;
        let text = String::from_utf8_lossy(&list);
        let listed = read_package_list(&text).map_err(|error| SourceError::Shape {
            path: item.path(),
            why: error.to_string(),
        })?;
        packages.extend(listed.into_iter().map(|line| (line.header, line.nevra)));
    }
    for (header, nevra) in &packages {
        record(&recorder, &common, nevra, Some(*header))?;
        done(packages.len() as u64);
    }
    write(path, recorder)?;
    Ok(packages.len() as u64)
}

/// Packs everything about some packages of the newest release.
pub fn pack_packages(
    source: &dyn Source,
    packages: &[Nevra],
    path: &Path,
) -> Result<(), PackError> {
    let mut recorder = begin(source, path)?;
    recorder.releases = Some(chosen_release(source, None)?);
    let common = Common::ask(&recorder)?;
    for nevra in packages {
        record(&recorder, &common, nevra, None)?;
    }
    write(path, recorder)
}

/// The list of releases with the wanted one alone: it is the newest that the pack knows.
fn chosen_release(source: &dyn Source, release: Option<ReleaseId>) -> Result<Vec<u8>, SourceError> {
    let bytes = source.fetch(&Item::Releases)?.unwrap_or_default();
    let shape = |error: serde_json::Error| SourceError::Shape {
        path: Item::Releases.path(),
        why: error.to_string(),
    };
    let mut releases: Vec<ReleaseStatus> = serde_json::from_slice(&bytes).map_err(shape)?;
    releases.retain(|status| release.is_none_or(|wanted| status.id <= wanted));
    releases.truncate(1);
    serde_json::to_vec(&releases).map_err(shape)
}

fn begin<'s>(source: &'s dyn Source, path: &Path) -> Result<Recorder<'s>, PackError> {
    Recorder::begin(source, path).map_err(|source| PackError::Write {
        path: path.to_owned(),
        source,
    })
}

fn record(
    recorder: &Recorder<'_>,
    common: &Common,
    nevra: &Nevra,
    header: Option<HeaderDigest>,
) -> Result<(), PackError> {
    let missing = || PackError::Missing(format!("the repository has no package {nevra}"));
    let (build, package) = find(recorder, nevra, header)?.ok_or_else(missing)?;
    let head = published_head(recorder, common, &build, &package)?.ok_or_else(missing)?;
    let item = Item::Head {
        header: head.header_digest(),
        path: String::new(),
    };
    recorder
        .keep(&item, &head.to_bytes())
        .map_err(|source| SourceError::Read {
            path: item.name(),
            source,
        })?;
    gather(recorder, common, &build, &package)?;
    Ok(())
}

fn write(path: &Path, recorder: Recorder<'_>) -> Result<(), PackError> {
    recorder.finish(path).map_err(|source| PackError::Write {
        path: path.to_owned(),
        source,
    })
}
