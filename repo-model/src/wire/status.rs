//! Where builds are, for `hallmark status`, the API and the web pages alike.
//!
//! * `GET /api/v1/builds?package=NAME|NEVRA&stage=held&limit=100`: [`BuildStatus`] list, newest first.
//! * `GET /api/v1/builds/{build}`: one.

use crate::stage::Stage;
use crate::verdict::{Cause, Verdict};
use crate::wire::rebuilders::Mode;
use crate::{
    Arch, ChannelName, FileDigest, HeaderDigest, Nevra, OperatorName, ReleaseId, RepoName,
    Timestamp, WorkerName,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// All about one build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildStatus {
    /// Number.
    pub build: u64,
    /// Repository.
    pub repo: RepoName,
    /// Source package.
    pub source: Nevra,
    /// SHA-256 of the .src.rpm.
    pub source_file: FileDigest,
    /// SHA-256 of the buildinfo.
    pub buildinfo: FileDigest,
    /// SHA-256 of the provenance envelope.
    pub provenance: Option<FileDigest>,
    /// Stage with its reasons.
    #[serde(flatten)]
    pub stage: Stage,
    /// When the manifest was accepted.
    pub received_at: Timestamp,
    /// When the stage last changed.
    pub changed_at: Timestamp,
    /// Its packages, sorted by NEVRA.
    pub packages: Vec<PackageStatus>,
    /// One entry a rebuilder.
    pub rebuilds: Vec<RebuildStatus>,
    /// Rebuilders that have not begun and without whom the build is not judged before a time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<AwaitedRebuilder>,
    /// Work that is waiting, running or stuck.
    pub jobs: Vec<JobStatus>,
    /// Documents about the build as a whole, in the order they were made: the buildinfo, logs and reports of
    /// rebuilders (`attachment`, labelled `REBUILDER: FILE`), commitments.
    #[serde(default)]
    pub documents: Vec<EvidenceLink>,
}

/// One package of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageStatus {
    /// Identity.
    pub nevra: Nevra,
    /// Main header.
    pub header: HeaderDigest,
    /// Unsigned file.
    pub unsigned_file: FileDigest,
    /// Signed file, once there is one.
    pub signed_file: Option<FileDigest>,
    /// Path below the repository's base: `Packages/h/hello-2.12-1.x86_64.rpm`.
    pub href: String,
    /// Bytes of the file as served, or as uploaded before it is signed.
    pub size_bytes: u64,
    /// SUMMARY.
    pub summary: String,
    /// SBOMs and statements, in the order they were made.
    pub evidence: Vec<EvidenceLink>,
}

/// One document about a package: `/evidence/sha256/{digest}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceLink {
    /// `sbom`, `provenance`, `rebuild`, `verification-summary`, `detached-signature`.
    pub kind: String,
    /// Format of an SBOM, name of the rebuilder, ...
    pub label: String,
    /// The document.
    pub digest: FileDigest,
}

/// One rebuilder's work on one build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildStatus {
    /// Who.
    pub rebuilder: WorkerName,
    /// Who runs it.
    pub operator: OperatorName,
    /// `waiting`, `leased`, `committed` (there is an answer, which is told when the others have theirs),
    /// `revealing`, `done`, `failed`.
    pub state: String,
    /// Tries so far.
    pub attempt: u32,
    /// Challenge profile, once given.
    #[serde(default)]
    pub profile: Option<String>,
    /// Worst verdict over the build's packages, once done.
    pub verdict: Option<Verdict>,
    /// Causes of difference.
    pub causes: Vec<Cause>,
    /// Last infrastructure error, if the last try had one.
    pub last_error: Option<String>,
    /// Build log, once uploaded.
    pub log: Option<FileDigest>,
}

/// A rebuilder that a build under way waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitedRebuilder {
    /// Who.
    pub rebuilder: WorkerName,
    /// Whether it gets work.
    #[serde(default)]
    pub mode: Mode,
    /// When it asked for work last; none: it never did.
    pub last_seen: Option<Timestamp>,
    /// From then on the build is judged without it.
    pub until: Timestamp,
}

impl fmt::Display for AwaitedRebuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.rebuilder)?;
        if self.mode != Mode::Active {
            write!(f, "{}, ", self.mode.name())?;
        }
        match self.last_seen {
            Some(at) => write!(f, "last seen {at})")?,
            None => f.write_str("never seen)")?,
        }
        write!(f, " until {}", self.until)
    }
}

/// One job of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// `make-sbom`, `judge`, `sign`, `publish`.
    pub name: String,
    /// `waiting`, `running`, `failed`.
    pub state: String,
    /// Tries so far.
    pub attempt: u32,
    /// When it runs next.
    pub run_at: Timestamp,
    /// Why the last try failed.
    pub last_error: Option<String>,
}

/// `POST /api/v1/builds/{build}/reject`: the build never goes out with these bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejectBuild {
    /// Why, in words; everybody sees it. 1 to [`MAX_REASON_CHARS`] characters.
    pub reason: String,
}

/// Longest reason of a rejection, characters.
pub const MAX_REASON_CHARS: usize = 2_000;

/// `GET /api/v1/channels`: the moving pointers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// Channel.
    pub channel: ChannelName,
    /// Where it points; none before the first release.
    pub release: Option<ReleaseId>,
    /// When it moved last.
    pub moved_at: Option<Timestamp>,
    /// Whether it moves to each new release by itself; one that was moved back does not.
    #[serde(default)]
    pub follows: bool,
}

/// `GET /api/v1/releases`: newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseStatus {
    /// Number.
    pub id: ReleaseId,
    /// Publish instant.
    pub issued: Timestamp,
    /// The signed envelope: `/evidence/sha256/{digest}`.
    pub envelope: FileDigest,
    /// Repositories.
    pub repos: Vec<ReleaseRepoStatus>,
    /// Channels that point here.
    pub channels: Vec<ChannelName>,
}

/// One repository of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRepoStatus {
    /// Repository.
    pub repo: RepoName,
    /// Architecture.
    pub arch: Arch,
    /// Number of packages.
    pub packages: u64,
    /// SHA-256 of repomd.xml.
    pub repomd: FileDigest,
}

/// `POST /api/v1/channels/{channel}/move`: promotion and rollback alike move a pointer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveChannel {
    /// Where it must point now (compare-and-swap); none: nowhere yet.
    pub seen: Option<ReleaseId>,
    /// Where it shall point.
    pub to: ReleaseId,
}
