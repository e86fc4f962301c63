//! An evidence pack: every answer that was needed to verify some packages, in one zstd-compressed tar, to be
//! asked again years later without any server. It is trusted no more than a server is.
//!
//! What only says how things went (jobs, who leased what, where channels point) is left out: packs that were made
//! while nothing was said about the packages and the log did not grow are equal byte for byte, whoever made them.

use super::gather::{Common, find, gather, published_head};
use super::source::{Item, Source, SourceError, in_memory};
use crate::tar;
use repo_model::release::read_package_list;
use repo_model::wire::status::{BuildStatus, ReleaseStatus};
use repo_model::{FileDigest, HeaderDigest, Nevra, ReleaseId};
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Most bytes of one pack, unpacked; one file of it is read whole and is much smaller.
const MAX_BYTES: u64 = 8 << 30;
/// What may follow the last file, bytes: the archive's end.
const MAX_TRAILER: u64 = 64 << 10;
/// What says which form it is of.
pub(super) const FORM_FILE: &str = "hallmark-evidence-pack";
pub(super) const FORM: &[u8] = b"1\n";
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
    /// It would be larger than a pack of its kind is read. The same content fails again.
    #[error("the pack would have {bytes} bytes; the limit is {limit_bytes}")]
    TooLarge {
        /// What it would have, packed or unpacked.
        bytes: u64,
        /// The most that it may.
        limit_bytes: u64,
    },
    /// Whoever takes the pack does not take it. Retrying may help.
    #[error("cannot write the pack")]
    Out(#[source] io::Error),
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

/// Unpacks a pack, and says whether it is one.
///
/// * `limit_bytes`: of all its files together.
/// * `take`: is given each file.
pub(super) fn unpack(
    packed: impl Read,
    limit_bytes: u64,
    mut take: impl FnMut(String, Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    let mut archive = archive(packed)?;
    let mut is_ours = false;
    tar::read_files(&mut archive, limit_bytes, |name, content| {
        is_ours |= name == FORM_FILE && content == FORM;
        take(name, content)
    })?;
    ended(archive, is_ours)
}

/// The archive in a pack.
pub(super) fn archive<R: Read>(packed: R) -> io::Result<zstd::Decoder<'static, BufReader<R>>> {
    let mut archive = zstd::Decoder::new(packed)?;
    // Nothing of ours needs more to be unpacked.
    archive.window_log_max(27)?;
    Ok(archive)
}

/// Reads on to the pack's end, where the checksum is.
///
/// * `is_ours`: whether it says that it is a pack.
pub(super) fn ended(archive: impl Read, is_ours: bool) -> io::Result<()> {
    let rest = io::copy(&mut archive.take(MAX_TRAILER), &mut io::sink())?;
    let why = match is_ours {
        _ if rest == MAX_TRAILER => "something follows the end of the archive".to_owned(),
        true => return Ok(()),
        false => format!("it does not say that it is an evidence pack of form 1 ({FORM_FILE})"),
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
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
        let mut spool = tempfile::tempfile()?;
        let (mut places, mut offset) = (BTreeMap::new(), 0);
        unpack(File::open(path)?, MAX_BYTES, |name, content| {
            spool.write_all(&content)?;
            places.insert(name, (offset, content.len()));
            offset += content.len() as u64;
            Ok(())
        })?;
        Ok(Self { spool, places })
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
struct Recorder<'s, W: Write> {
    source: &'s dyn Source,
    archive: RefCell<Archive<W>>,
    /// In place of the source's.
    releases: Vec<u8>,
}

/// A pack that is being written.
struct Archive<W: Write> {
    out: zstd::Encoder<'static, W>,
    /// Digests of the names of its files: there may be a million.
    written: BTreeSet<FileDigest>,
    /// It moves: the last one is the one that counts.
    checkpoint: Option<Vec<u8>>,
}

impl<W: Write> Archive<W> {
    fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        match self.written.insert(FileDigest::of(name.as_bytes())) {
            true => tar::write_file(&mut self.out, name, content),
            false => Ok(()),
        }
    }
}

impl<'s, W: Write> Recorder<'s, W> {
    /// Begins a pack that knows no newer release than this one.
    fn begin(
        source: &'s dyn Source,
        release: Option<ReleaseId>,
        out: W,
    ) -> Result<Self, PackError> {
        let releases = chosen_release(source, release)?;
        let begun = || -> io::Result<_> {
            let mut out = zstd::Encoder::new(out, LEVEL)?;
            out.include_checksum(true)?;
            let mut archive = Archive {
                out,
                written: BTreeSet::new(),
                checkpoint: None,
            };
            archive.add(FORM_FILE, FORM)?;
            Ok(archive)
        };
        Ok(Self {
            source,
            archive: RefCell::new(begun().map_err(PackError::Out)?),
            releases,
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

    /// Packs everything about one package.
    fn record(
        &self,
        common: &Common,
        nevra: &Nevra,
        header: Option<HeaderDigest>,
    ) -> Result<(), PackError> {
        let missing = || PackError::Missing(format!("the repository has no package {nevra}"));
        let (build, package) = find(self, nevra, header)?.ok_or_else(missing)?;
        let head = published_head(self, common, &build, &package)?.ok_or_else(missing)?;
        let item = Item::Head {
            header: head.header_digest(),
            path: String::new(),
        };
        self.keep(&item, &head.to_bytes()).map_err(PackError::Out)?;
        gather(self, common, &build, &package)?;
        Ok(())
    }

    /// Ends the pack.
    fn finish(self) -> Result<W, PackError> {
        let mut archive = self.archive.into_inner();
        let end = || -> io::Result<W> {
            if let Some(checkpoint) = archive.checkpoint.take() {
                archive.add(&Item::Checkpoint.name(), &checkpoint)?;
            }
            tar::finish(&mut archive.out)?;
            archive.out.finish()
        };
        end().map_err(PackError::Out)
    }
}

impl<W: Write> Source for Recorder<'_, W> {
    /// Not kept: a head is read from the beginning of a file, and kept by whoever reads it.
    fn open(&self, item: &Item) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        match item {
            Item::Releases => Ok(Some(in_memory(&self.releases))),
            _ => self.source.open(item),
        }
    }

    fn fetch(&self, item: &Item) -> Result<Option<Vec<u8>>, SourceError> {
        let bytes = match item {
            Item::Releases => Some(self.releases.clone()),
            Item::Builds(_) => match self.source.fetch(item)? {
                Some(bytes) => Some(lasting_builds(item, &bytes)?),
                None => None,
            },
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

/// Writes a pack of everything about every package of a release: whoever has it needs neither server nor packages.
///
/// * `release`: none: the newest.
/// * `out`: gets the pack as it is made; what is in it when this fails is no pack.
/// * `done`: told how many packages there are, then of each.
/// * Returns `out` and the number of packages.
pub fn write_release<W: Write>(
    source: &dyn Source,
    release: Option<ReleaseId>,
    out: W,
    done: &mut dyn FnMut(u64),
) -> Result<(W, u64), PackError> {
    let recorder = Recorder::begin(source, release, out)?;
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
        recorder.record(&common, nevra, Some(*header))?;
        done(packages.len() as u64);
    }
    Ok((recorder.finish()?, packages.len() as u64))
}

/// Writes a pack of everything about some packages of the newest release, as [`write_release`] does.
pub fn write_packages<W: Write>(
    source: &dyn Source,
    packages: &[Nevra],
    out: W,
) -> Result<W, PackError> {
    let recorder = Recorder::begin(source, None, out)?;
    let common = Common::ask(&recorder)?;
    for nevra in packages {
        recorder.record(&common, nevra, None)?;
    }
    recorder.finish()
}

/// [`write_release`] into a file, which gets its name when it is whole.
pub fn pack_release(
    source: &dyn Source,
    release: Option<ReleaseId>,
    path: &Path,
    done: &mut dyn FnMut(u64),
) -> Result<u64, PackError> {
    into_file(path, |file| write_release(source, release, file, done))
}

/// [`write_packages`] into a file, which gets its name when it is whole.
pub fn pack_packages(
    source: &dyn Source,
    packages: &[Nevra],
    path: &Path,
) -> Result<(), PackError> {
    into_file(path, |file| {
        Ok((write_packages(source, packages, file)?, ()))
    })
}

fn into_file<T>(
    path: &Path,
    write: impl FnOnce(File) -> Result<(File, T), PackError>,
) -> Result<T, PackError> {
    let failed = |source| PackError::Write {
        path: path.to_owned(),
        source,
    };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let file = File::create(&beside).map_err(failed)?;
    let (file, made) = write(file).map_err(|error| match error {
        PackError::Out(source) => failed(source),
        error => error,
    })?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)?;
    Ok(made)
}

/// The list of releases with the wanted one alone: it is the newest that the pack knows.
fn chosen_release(source: &dyn Source, release: Option<ReleaseId>) -> Result<Vec<u8>, SourceError> {
    let bytes = source.fetch(&Item::Releases)?.unwrap_or_default();
    let mut releases: Vec<ReleaseStatus> = parsed(&Item::Releases, &bytes)?;
    releases.retain(|status| release.is_none_or(|wanted| status.id <= wanted));
    releases.truncate(1);
    for status in &mut releases {
        status.channels.clear();
    }
    written(&Item::Releases, &releases)
}

/// Builds without what only says how things go.
fn lasting_builds(item: &Item, bytes: &[u8]) -> Result<Vec<u8>, SourceError> {
    let mut builds: Vec<BuildStatus> = parsed(item, bytes)?;
    for build in &mut builds {
        build.jobs.clear();
        build.rebuilds.clear();
    }
    written(item, &builds)
}

fn parsed<T: DeserializeOwned>(item: &Item, bytes: &[u8]) -> Result<T, SourceError> {
    serde_json::from_slice(bytes).map_err(|error| shape(item, &error))
}

pub(super) fn written(item: &Item, list: &impl serde::Serialize) -> Result<Vec<u8>, SourceError> {
    serde_json::to_vec(list).map_err(|error| shape(item, &error))
}

fn shape(item: &Item, error: &serde_json::Error) -> SourceError {
    SourceError::Shape {
        path: item.path(),
        why: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers one question.
    struct One(Item, String);

    impl Source for One {
        fn open(&self, item: &Item) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
            Ok((*item == self.0).then(|| in_memory(self.1.as_bytes())))
        }
    }

    fn release(id: u64, channels: &str) -> String {
        let envelope = "0".repeat(64);
        format!(
            "{{\"id\":{id},\"issued\":\"2026-11-20T10:00:00Z\",\"envelope\":\"{envelope}\",\"repos\":[],\"channels\":[{channels}]}}"
        )
    }

    fn list(releases: &[String]) -> One {
        One(Item::Releases, format!("[{}]", releases.join(",")))
    }

    #[test]
    fn a_pack_knows_one_release_and_not_where_channels_point() {
        let all = list(&[release(3, "\"preview\""), release(2, ""), release(1, "")]);
        let moved = list(&[release(3, ""), release(2, "\"preview\""), release(1, "")]);
        for (wanted, id) in [(None, 3), (Some(3), 3), (Some(2), 2), (Some(9), 3)] {
            let chosen = chosen_release(&all, wanted.map(ReleaseId)).unwrap();
            assert_eq!(
                chosen,
                chosen_release(&moved, wanted.map(ReleaseId)).unwrap()
            );
            let chosen: Vec<ReleaseStatus> = serde_json::from_slice(&chosen).unwrap();
            assert_eq!(chosen.len(), 1);
            assert_eq!(chosen[0].id, ReleaseId(id));
        }
        assert_eq!(chosen_release(&all, Some(ReleaseId(0))).unwrap(), b"[]");
        assert!(chosen_release(&One(Item::Releases, "{".to_owned()), None).is_err());
    }

    #[test]
    fn jobs_and_leases_are_no_part_of_a_pack() {
        let digest = "0".repeat(64);
        let build = |rebuilds: &str, jobs: &str| {
            format!(
                "[{{\"build\":7,\"repo\":\"base\",\"source\":\"a-1-1.src\",\"source_file\":\"{digest}\",\"buildinfo\":\"{digest}\",
                \"provenance\":null,\"stage\":\"received\",\"received_at\":\"2026-11-20T10:06:00Z\",
                \"changed_at\":\"2026-11-20T10:07:00Z\",\"packages\":[],\"rebuilds\":[{rebuilds}],\"jobs\":[{jobs}]}}]"
            )
        };
        let busy = build(
            "{\"rebuilder\":\"a\",\"operator\":\"o\",\"state\":\"waiting\",\"attempt\":0,\"verdict\":null,\"causes\":[],\"last_error\":null,\"log\":null}",
            "",
        );
        let idle = build("", "");
        let item = Item::Builds("a-1-1.x86_64".parse().unwrap());
        let kept = |text: &str| lasting_builds(&item, text.as_bytes()).unwrap();
        assert_eq!(kept(&busy), kept(&idle));
        assert!(lasting_builds(&item, b"nonsense").is_err());
    }

    #[test]
    fn what_cannot_be_packed_leaves_no_file_of_that_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pack.tar.zst");
        let missing = pack_release(&list(&[]), None, &path, &mut |_| ()).unwrap_err();
        assert_eq!(missing.to_string(), "there is no such release");
        assert!(!path.exists());
        let nowhere = dir.path().join("no/pack.tar.zst");
        let refused = pack_packages(&list(&[]), &[], &nowhere).unwrap_err();
        assert!(matches!(refused, PackError::Write { .. }), "{refused}");
    }
}
