//! Checking packages that somebody published, on any machine and without a server: the recorded build
//! is made again, and each package is compared with what came out. `hallmark rebuild` is this.

use crate::build::{BuildError, BuiltPackage, Run};
use crate::buildroot::Store;
use crate::compare::{self, CompareError, Comparer, Comparison};
use crate::job;
use crate::plan::{self, SourceError};
use crate::profile::{Profile, ProfileError};
use crate::replay::{self, Rebuilt, ReplayError, Site};
use crate::sandbox::{Cancel, Limits};
use crate::scratch::{self, Scratch};
use repo_model::buildinfo::{BuildInfo, BuildInfoError};
use repo_model::rpm::Head;
use repo_model::verdict::Verdict;
use repo_model::{FileDigest, HeaderDigest, Nevra, Timestamp};
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// Schema of [`Verified`].
pub const SCHEMA: &str = "hallmark-check/1";

/// What to check, and with what.
#[derive(Debug)]
pub struct CheckRequest {
    /// Packages of one build, signed or not.
    pub files: Vec<PathBuf>,
    /// The source package that they were built from.
    pub srpm: PathBuf,
    /// The record of their build.
    pub buildinfo: PathBuf,
    /// Where the build log goes.
    pub log: PathBuf,
    /// What is varied on purpose.
    pub profile: &'static Profile,
    /// What the build may use.
    pub limits: Limits,
    /// Scratch space, emptied afterwards.
    pub work_dir: PathBuf,
    /// User that the build runs as when we are root.
    pub build_uid: u32,
    /// Layers of locked packages.
    pub store: Store,
    /// Compares packages where they can do no harm.
    pub comparer: Comparer,
    /// Stops the build.
    pub cancel: Cancel,
}

/// Nothing can be said about the packages, for or against.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The buildinfo cannot be used. Its maker's fault.
    #[error("{path} cannot be used")]
    BuildInfo {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: BuildInfoError,
    },
    /// One of the files is no package. Whoever gave it is at fault.
    #[error(transparent)]
    Package(#[from] SourceError),
    /// The package was not made by this build: the buildinfo lists another header, or none.
    #[error(
        "{path} is {found}, which the buildinfo does not list: it records the build of {outputs}"
    )]
    OtherBuild {
        /// The file.
        path: PathBuf,
        /// Its name and header.
        found: String,
        /// What the buildinfo lists.
        outputs: String,
    },
    /// The build cannot be made again on this machine; see there what it lacks.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The profile's program is not in the build root.
    #[error("profile `{profile}` cannot be used: {source}")]
    Profile {
        /// Its name.
        profile: &'static str,
        /// What is missing, or does not work.
        source: ProfileError,
    },
    /// The build was stopped; see there whether to retry.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The packages could not be compared.
    #[error(transparent)]
    Compare(#[from] CompareError),
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Whether all packages were confirmed bit for bit.
    pub confirmed: bool,
    /// The source package that was built.
    pub source: Nevra,
    /// Its digest.
    pub source_sha256: FileDigest,
    /// Digest of the buildinfo.
    pub buildinfo_sha256: FileDigest,
    /// Lock of the root that it was built in.
    pub buildroot_lock_sha256: FileDigest,
    /// Name of the profile.
    pub profile: &'static str,
    /// How limits were enforced: `cgroup` or `weak`.
    pub limits: &'static str,
    /// rpmbuild's exit status.
    pub exit_code: i32,
    /// Start of rpmbuild.
    pub started: Timestamp,
    /// Its end.
    pub finished: Timestamp,
    /// One for each file, in the order asked.
    pub packages: Vec<VerifiedPackage>,
}

/// The answer for one file.
#[derive(Debug, Serialize)]
pub struct VerifiedPackage {
    /// The file.
    pub file: PathBuf,
    /// Its identity.
    pub nevra: Nevra,
    /// Its digest, signatures and all.
    pub file_sha256: FileDigest,
    /// Digest of its main header.
    pub header_sha256: HeaderDigest,
    /// Digest of the rebuilt package, if there is one.
    pub rebuilt_sha256: Option<FileDigest>,
    /// Digest of the file's own lead and signatures before the rebuilt header and payload; the file's
    /// own when the rebuild confirms it.
    pub transplanted_sha256: Option<FileDigest>,
    /// Verdict and causes.
    #[serde(flatten)]
    pub comparison: Comparison,
}

/// One of the files to check.
struct Published {
    path: PathBuf,
    nevra: Nevra,
    header: HeaderDigest,
    sha256: FileDigest,
}

/// Makes the build again and compares. Takes as long as the build.
pub fn check(request: &CheckRequest) -> Result<Verified, CheckError> {
    let json = fs::read(&request.buildinfo).map_err(reading(&request.buildinfo))?;
    let info = BuildInfo::from_json(&json).map_err(|source| CheckError::BuildInfo {
        path: request.buildinfo.clone(),
        source,
    })?;
    let published: Vec<Published> = request
        .files
        .iter()
        .map(|path| published(path, &info))
        .collect::<Result<_, _>>()?;
    let scratch = Scratch::create(&request.work_dir).map_err(reading(&request.work_dir))?;
    let srpm = scratch.dir().join("in.src.rpm");
    scratch::copy_readable(&request.srpm, &srpm).map_err(reading(&request.srpm))?;
    let site = Site {
        work_dir: &request.work_dir,
        build_uid: request.build_uid,
        store: &request.store,
    };
    let mut ready = replay::check(&info, &srpm, &site)?;
    request
        .profile
        .apply(&mut ready.plan, &ready.root, &site)
        .map_err(|source| CheckError::Profile {
            profile: request.profile.name,
            source,
        })?;
    let run = Run {
        scratch: &scratch,
        limits: &request.limits,
        build_uid: request.build_uid,
        cancel: &request.cancel,
    };
    let rebuilt = replay::replay(&ready, &srpm, &run, &request.log)?;
    let context = job::context(&info.machine, &rebuilt, &ready.plan);
    let mut packages = Vec::with_capacity(published.len());
    for package in published {
        packages.push(compare_one(request, package, &info, &rebuilt, &context)?);
    }
    let confirmed = packages
        .iter()
        .all(|package| package.comparison.verdict.confirms());
    rebuilt.tells(confirmed)?;
    Ok(Verified {
        schema: SCHEMA,
        confirmed,
        source: info.source.nevra,
        source_sha256: info.source.sha256,
        buildinfo_sha256: FileDigest::of(&json),
        buildroot_lock_sha256: ready.root.lock.sha256,
        profile: request.profile.name,
        limits: rebuilt.limits,
        exit_code: rebuilt.exit_code,
        started: rebuilt.started,
        finished: rebuilt.finished,
        packages,
    })
}

fn reading(path: &Path) -> impl FnOnce(io::Error) -> CheckError {
    let path = path.to_owned();
    move |source| CheckError::Io { path, source }
}

/// Reads a package's header and makes sure that the buildinfo is about it.
fn published(path: &Path, info: &BuildInfo) -> Result<Published, CheckError> {
    let head = plan::read_head(path)?;
    let package =
        repo_model::rpm::Package::from_head(&head).map_err(|source| SourceError::Header {
            path: path.to_owned(),
            source,
        })?;
    let header = package.header_digest;
    if !info
        .outputs
        .iter()
        .any(|output| output.header_sha256 == header)
    {
        let outputs: Vec<String> = info
            .outputs
            .iter()
            .map(|output| output.nevra.to_string())
            .collect();
        return Err(CheckError::OtherBuild {
            path: path.to_owned(),
            found: format!("{} with header {header}", package.nevra),
            outputs: outputs.join(" "),
        });
    }
    let (sha256, _) = scratch::hash_file(path).map_err(reading(path))?;
    Ok(Published {
        path: path.to_owned(),
        nevra: package.nevra,
        header,
        sha256,
    })
}

fn compare_one(
    request: &CheckRequest,
    package: Published,
    info: &BuildInfo,
    rebuilt: &Rebuilt,
    context: &compare::Context,
) -> Result<VerifiedPackage, CheckError> {
    let counterpart = rebuilt
        .packages
        .iter()
        .find(|built| built.nevra == package.nevra);
    let (comparison, transplanted) = match (&rebuilt.failure, counterpart) {
        (Some(said), _) => (
            unmade(Verdict::BuildFailed, "build-failed", said.clone()),
            None,
        ),
        (None, None) => {
            let names = |list: &mut dyn Iterator<Item = &Nevra>| list.cloned().collect::<Vec<_>>();
            let set = compare::set_cause(
                &names(&mut info.outputs.iter().map(|output| &output.nevra)),
                &names(&mut rebuilt.packages.iter().map(|built| &built.nevra)),
            );
            let comparison = Comparison {
                verdict: Verdict::SetDiffers,
                causes: set.into_iter().collect(),
            };
            (comparison, None)
        }
        (None, Some(built)) => {
            let comparison =
                request
                    .comparer
                    .compare(&package.path, &built.path, context, &request.cancel)?;
            (comparison, Some(transplanted(&package.path, built)?))
        }
    };
    Ok(VerifiedPackage {
        rebuilt_sha256: counterpart.map(|built| built.file),
        transplanted_sha256: transplanted,
        comparison: consistent(comparison, package.sha256, transplanted),
        file: package.path,
        nevra: package.nevra,
        file_sha256: package.sha256,
        header_sha256: package.header,
    })
}

/// A confirming verdict is believed only when the transplant gives the published file again.
fn consistent(
    comparison: Comparison,
    file: FileDigest,
    transplanted: Option<FileDigest>,
) -> Comparison {
    if !comparison.verdict.confirms() || transplanted == Some(file) {
        return comparison;
    }
    let detail =
        "the file's signatures before the rebuilt header and payload give another file".to_owned();
    unmade(Verdict::SameContent, "signature-header", detail)
}

fn unmade(verdict: Verdict, code: &'static str, detail: String) -> Comparison {
    Comparison {
        verdict,
        causes: vec![compare::cause(code, detail)],
    }
}

/// Digest of the published file's lead and signature header before the rebuilt header and payload.
fn transplanted(published: &Path, built: &BuiltPackage) -> Result<FileDigest, CheckError> {
    let (theirs, ours) = (plan::read_head(published)?, plan::read_head(&built.path)?);
    let mut file = File::open(&built.path).map_err(reading(&built.path))?;
    file.seek(SeekFrom::Start(ours.header_range().start))
        .map_err(reading(&built.path))?;
    let whole = before_header(&theirs).chain(file);
    let (digest, _) =
        scratch::copy_hashed(whole, io::sink(), u64::MAX).map_err(reading(&built.path))?;
    Ok(digest)
}

/// Lead, signature header and padding.
fn before_header(head: &Head) -> io::Cursor<Vec<u8>> {
    let mut bytes = head.to_bytes();
    bytes.truncate(usize::try_from(head.header_range().start).unwrap_or(usize::MAX));
    io::Cursor::new(bytes)
}
