//! Reading what `hallmark publish` is given: each file is opened, told apart, measured and hashed as
//! a stream. Nothing is kept in memory but headers and the small JSON documents.

use crate::progress::Progress;
use repo_model::buildinfo::{self, BuildInfo};
use repo_model::dsse::Envelope;
use repo_model::rpm::{Head, HeadLimits, Package};
use repo_model::statement::{PROVENANCE, Provenance, Statement};
use repo_model::{FileDigest, HeaderDigest, Nevra};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// Largest provenance that is read, bytes.
const MAX_PROVENANCE_BYTES: u64 = 16 << 20;

/// A file that was read and hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 of the whole.
    pub digest: FileDigest,
    /// Bytes.
    pub size_bytes: u64,
}

/// A source or binary RPM.
#[derive(Debug, Clone)]
pub struct RpmFile {
    /// The file.
    pub file: InputFile,
    /// Identity.
    pub nevra: Nevra,
    /// Main header.
    pub header: HeaderDigest,
    /// SOURCERPM; none for source packages.
    pub source_rpm: Option<String>,
}

/// A `*.buildinfo.json`.
#[derive(Debug, Clone)]
pub struct BuildInfoFile {
    /// The file.
    pub file: InputFile,
    /// What it says.
    pub info: BuildInfo,
}

/// A `*.provenance.json`.
#[derive(Debug, Clone)]
pub struct ProvenanceFile {
    /// The file.
    pub file: InputFile,
    /// The packages it is about; unverified, for grouping only.
    pub headers: BTreeSet<HeaderDigest>,
}

/// Everything that could be read.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Source packages.
    pub sources: Vec<RpmFile>,
    /// Binary packages.
    pub packages: Vec<RpmFile>,
    /// Buildinfos.
    pub buildinfos: Vec<BuildInfoFile>,
    /// Provenances.
    pub provenances: Vec<ProvenanceFile>,
}

/// A file is not usable. The user's fault.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its name ends in nothing we know.
    #[error("{} is none of *.rpm, *.buildinfo.json, *.provenance.json", path.display())]
    Unknown {
        /// Which.
        path: PathBuf,
    },
    /// A folder without anything to publish.
    #[error("{} holds no *.rpm, *.buildinfo.json or *.provenance.json", path.display())]
    EmptyFolder {
        /// Which.
        path: PathBuf,
    },
    /// Its content is not what its name says.
    #[error("{} is not a usable {what}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// `RPM`, `buildinfo`, `provenance`.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What a file is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `*.rpm`
    Rpm,
    /// `*.buildinfo.json`
    BuildInfo,
    /// `*.provenance.json`
    Provenance,
}

impl Kind {
    /// Told from the file's name.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy();
        let ends = [
            (".rpm", Self::Rpm),
            (".buildinfo.json", Self::BuildInfo),
            (".provenance.json", Self::Provenance),
        ];
        ends.into_iter()
            .find(|(end, _)| name.ends_with(end))
            .map(|(_, kind)| kind)
    }
}

/// The files that `paths` mean, sorted and each once: a folder stands for what is directly in it.
pub fn list(
    paths: &[PathBuf],
    provenances: &[PathBuf],
) -> (BTreeSet<(PathBuf, Kind)>, Vec<InputError>) {
    let mut files = BTreeSet::new();
    let mut errors = Vec::new();
    for path in paths {
        if path.is_dir() {
            match list_folder(path) {
                Ok(found) => files.extend(found),
                Err(error) => errors.push(error),
            }
        } else if let Some(kind) = Kind::of(path) {
            files.insert((path.clone(), kind));
        } else if !is_log(path) {
            errors.push(InputError::Unknown { path: path.clone() });
        }
    }
    files.extend(
        provenances
            .iter()
            .map(|path| (path.clone(), Kind::Provenance)),
    );
    (files, errors)
}

/// `hallmark buildinfo` leaves a log beside the packages, which `out/*` names too.
fn is_log(path: &Path) -> bool {
    name_of(path).ends_with(".build.log")
}

fn list_folder(folder: &Path) -> Result<Vec<(PathBuf, Kind)>, InputError> {
    let fail = |source| InputError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if let Some(kind) = Kind::of(&path).filter(|_| path.is_file()) {
            found.push((path, kind));
        }
    }
    if found.is_empty() {
        return Err(InputError::EmptyFolder {
            path: folder.to_owned(),
        });
    }
    Ok(found)
}

/// Reads all files; one that is not usable does not keep the others from being read. The same
/// content under two names counts once.
pub fn read(files: &BTreeSet<(PathBuf, Kind)>, progress: &Progress) -> (Inputs, Vec<InputError>) {
    let mut inputs = Inputs::default();
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (path, kind) in files {
        progress.message(format!("reading {}", name_of(path)));
        match read_one(path, *kind, progress) {
            Ok(read) if !seen.insert(read.digest()) => {}
            Ok(Read1::Rpm(rpm)) if rpm.source_rpm.is_none() => inputs.sources.push(rpm),
            Ok(Read1::Rpm(rpm)) => inputs.packages.push(rpm),
            Ok(Read1::BuildInfo(info)) => inputs.buildinfos.push(*info),
            Ok(Read1::Provenance(provenance)) => inputs.provenances.push(provenance),
            Err(error) => errors.push(error),
        }
    }
    (inputs, errors)
}

/// A path's last part for people.
pub fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}

enum Read1 {
    Rpm(RpmFile),
    BuildInfo(Box<BuildInfoFile>),
    Provenance(ProvenanceFile),
}

impl Read1 {
    fn digest(&self) -> FileDigest {
        match self {
            Self::Rpm(rpm) => rpm.file.digest,
            Self::BuildInfo(info) => info.file.digest,
            Self::Provenance(provenance) => provenance.file.digest,
        }
    }
}

fn read_one(path: &Path, kind: Kind, progress: &Progress) -> Result<Read1, InputError> {
    let fail = |source| InputError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(fail)?;
    match kind {
        Kind::Rpm => {
            let (nevra, header, source_rpm) = read_rpm(path, &file)?;
            let file = hash(path, progress).map_err(fail)?;
            Ok(Read1::Rpm(RpmFile {
                file,
                nevra,
                header,
                source_rpm,
            }))
        }
        Kind::BuildInfo => {
            let json = read_limited(&mut file, buildinfo::MAX_BYTES as u64 + 1).map_err(fail)?;
            progress.add(json.len() as u64);
            let info = BuildInfo::from_json(&json).map_err(content(path, "buildinfo"))?;
            let file = measured(path, &json);
            Ok(Read1::BuildInfo(Box::new(BuildInfoFile { file, info })))
        }
        Kind::Provenance => {
            let json = read_limited(&mut file, MAX_PROVENANCE_BYTES).map_err(fail)?;
            progress.add(json.len() as u64);
            let envelope = Envelope::from_json(&json).map_err(content(path, "provenance"))?;
            let statement = Statement::<Provenance>::open_unverified(&envelope, PROVENANCE)
                .map_err(content(path, "provenance"))?;
            let headers = statement
                .subject
                .iter()
                .filter_map(|subject| subject.header_digest())
                .collect();
            Ok(Read1::Provenance(ProvenanceFile {
                file: measured(path, &json),
                headers,
            }))
        }
    }
}

fn content<E: std::error::Error + Send + Sync + 'static>(
    path: &Path,
    what: &'static str,
) -> impl FnOnce(E) -> InputError + use<E> {
    let path = path.to_owned();
    move |source| InputError::Content {
        path,
        what,
        source: Box::new(source),
    }
}

fn read_rpm(path: &Path, file: &File) -> Result<(Nevra, HeaderDigest, Option<String>), InputError> {
    let head =
        Head::read(BufReader::new(file), &HeadLimits::default()).map_err(content(path, "RPM"))?;
    let package = Package::from_head(&head).map_err(content(path, "RPM"))?;
    if package.is_source {
        return Ok((package.nevra, package.header_digest, None));
    }
    match package.source_rpm {
        Some(source) => Ok((package.nevra, package.header_digest, Some(source))),
        None => Err(InputError::Content {
            path: path.to_owned(),
            what: "RPM",
            source: "it does not say which source package it was built from (tag SOURCERPM)".into(),
        }),
    }
}

fn read_limited(file: &mut File, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn measured(path: &Path, bytes: &[u8]) -> InputFile {
    InputFile {
        path: path.to_owned(),
        digest: FileDigest::of(bytes),
        size_bytes: bytes.len() as u64,
    }
}

fn hash(path: &Path, progress: &Progress) -> io::Result<InputFile> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut size_bytes = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        size_bytes += count as u64;
        progress.add(count as u64);
    }
    let digest = FileDigest::from_bytes(hasher.finalize().into());
    Ok(InputFile {
        path: path.to_owned(),
        digest,
        size_bytes,
    })
}
