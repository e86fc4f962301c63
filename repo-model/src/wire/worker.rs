//! Rebuilders and the server: lease a task, keep it, commit to an answer, reveal it.
//!
//! * `POST /api/v1/worker/lease`: [`LeaseRequest`]; 200 [`Task`], or 204 after `wait_secs`.
//! * `POST /api/v1/worker/jobs/{job}/heartbeat`: [`Heartbeat`]; 204, or 409 when the lease is lost.
//! * `POST /api/v1/worker/jobs/{job}/commit`: [`Commit`]; 204, or 409 when the lease is lost.
//! * `POST /api/v1/worker/jobs/{job}/report`: [`Report`]; 204, or 409 when the lease is lost.
//! * `POST /api/v1/worker/enrol`: see [`super::rebuilders`].
//! * `GET` and `PUT /api/v1/blobs/{sha256}` as for builds, while a lease is held.
//!
//! A job is leased twice: as [`RebuildJob`], which ends with a commitment (or a failure), and as
//! [`RevealJob`] once the commitments of its round are known, which ends with the statements.
//!
//! Each request carries the header [`HEADER`], see [`RequestAuth`]. Job and lease epoch are in the path
//! and body that are signed, so a request cannot be moved to another job; the server's authority is
//! signed too, so it cannot be relayed to another server; and the nonce stops it from being replayed.

mod auth;

pub use auth::{
    MAX_SKEW_SECS, ParseRequestKeyError, RequestAuth, RequestAuthError, RequestKey,
    RequestPublicKey, Target, authority,
};

use crate::dsse::Envelope;
use crate::statement::Resource;
use crate::{Arch, FileDigest, HeaderDigest, Nevra};
use serde::{Deserialize, Serialize};

/// Name of the HTTP header.
pub const HEADER: &str = "hallmark-worker";
/// Version of this protocol; requests say which they speak.
pub const PROTOCOL: u32 = 2;
/// Most causes of difference in one statement.
pub const MAX_CAUSES: usize = 100;
/// Longest text of a cause, characters.
pub const MAX_CAUSE_CHARS: usize = 400;
/// Largest envelope of a rebuild statement, bytes.
pub const MAX_STATEMENT_BYTES: u64 = 1 << 20;
/// Most attachments of one report.
pub const MAX_ATTACHMENTS: usize = 100;
/// Largest blob that a rebuilder may store, bytes.
pub const MAX_BLOB_BYTES: u64 = 64 << 20;

/// Asks for work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseRequest {
    /// Architectures it can build for.
    pub arches: Vec<Arch>,
    /// Challenge profiles it can build under, by name.
    pub profiles: Vec<String>,
    /// How long the server may wait for work before it answers 204; at most 60.
    pub wait_secs: u32,
}

/// What the server wants done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "kebab-case")]
pub enum Task {
    /// Rebuild, compare, commit.
    Rebuild(RebuildJob),
    /// Tell the answer that was committed to.
    Reveal(RevealJob),
}

/// One build to confirm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RebuildJob {
    /// Number of the job.
    pub job: u64,
    /// Number of the build.
    pub build: u64,
    /// Grows with each lease of the job; reports of an older lease are refused.
    pub lease_epoch: u64,
    /// The lease ends this long after the last heartbeat.
    pub lease_secs: u32,
    /// Challenge profile to build under.
    pub profile: String,
    /// How often to build it; each run has its verdict.
    pub runs: u32,
    /// The source package's file name.
    pub source_name: String,
    /// The source package.
    pub source: FileDigest,
    /// The buildinfo to replay.
    pub buildinfo: FileDigest,
    /// What the build made.
    pub packages: Vec<ExpectedPackage>,
}

/// One answer to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevealJob {
    /// Number of the job.
    pub job: u64,
    /// Number of the build.
    pub build: u64,
    /// Grows with each lease of the job.
    pub lease_epoch: u64,
    /// The lease ends this long after the last heartbeat.
    pub lease_secs: u32,
    /// Digest of the commitment's envelope.
    pub commitment: FileDigest,
    /// Digests of all commitments of the round, sorted.
    pub round: Vec<FileDigest>,
}

impl Task {
    /// Number of the job.
    pub fn job(&self) -> u64 {
        match self {
            Self::Rebuild(job) => job.job,
            Self::Reveal(job) => job.job,
        }
    }

    /// The lease's epoch.
    pub fn lease_epoch(&self) -> u64 {
        match self {
            Self::Rebuild(job) => job.lease_epoch,
            Self::Reveal(job) => job.lease_epoch,
        }
    }
}

/// One package that the rebuild should give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedPackage {
    /// Identity.
    pub nevra: Nevra,
    /// Unsigned file.
    pub file: FileDigest,
    /// Main header.
    pub header: HeaderDigest,
    /// Bytes.
    pub size_bytes: u64,
}

/// "Still at it."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Of the lease.
    pub lease_epoch: u64,
}

/// "I have an answer": ends the lease of a [`RebuildJob`]. The same request again is harmless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// Of the lease.
    pub lease_epoch: u64,
    /// A signed [`Commitment`](crate::sealed::Commitment).
    pub commitment: Envelope,
}

/// The result. Statements and attachments must have been uploaded before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Of the lease.
    pub lease_epoch: u64,
    /// What came out.
    pub outcome: Outcome,
    /// Build log and comparison report.
    pub attachments: Vec<Resource>,
}

/// What came out of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Ends a [`RevealJob`]: one signed rebuild statement for each expected package, in the job's
    /// order, as stored DSSE blobs.
    Revealed {
        /// A signed [`Reveal`](crate::sealed::Reveal), which names the statements.
        reveal: Envelope,
    },
    /// Nothing can be said; the server gives the job out again later.
    InfraFailed {
        /// What went wrong, for people.
        message: String,
    },
}
