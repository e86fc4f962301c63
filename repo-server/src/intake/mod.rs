//! Intake: blobs by digest, then a manifest that makes a build of them.

mod check;
mod manifest;
mod upload;

pub use manifest::receive;
pub use upload::{ContentRange, PutOutcome, drop_finished, put_blob, sweep_spool, upload_offset};

use crate::db::DbError;
use crate::store::StoreError;
use repo_model::buildinfo::BuildInfoError;
use repo_model::rpm::{Finding, HeaderError};
use repo_model::{FileDigest, Nevra, RepoName};

/// Why something was not taken in. Nothing is half-stored: no row was written.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The client's fault.
    #[error("upload is {size_bytes} bytes; the limit is {limit_bytes}")]
    TooLarge {
        /// Announced or sent.
        size_bytes: u64,
        /// Configured.
        limit_bytes: u64,
    },
    /// The client's fault: the bytes are not what it named.
    #[error("the uploaded bytes have digest {actual}, not {wanted}; the upload was discarded")]
    WrongDigest {
        /// In the URL.
        wanted: FileDigest,
        /// Of the bytes.
        actual: FileDigest,
    },
    /// The client's: continue where the server is.
    #[error("the part starts at byte {start}, but {have} bytes are here")]
    Gap {
        /// The part's first byte.
        start: u64,
        /// Where to go on.
        have: u64,
    },
    /// The client's fault: length and range disagree.
    #[error("the request's Content-Range is not `bytes START-END/TOTAL` of its body")]
    Range,
    /// Retry later: the same blob is being uploaded by another request.
    #[error("blob {digest} is being uploaded by another request")]
    Busy {
        /// Which.
        digest: FileDigest,
    },
    /// The connection broke; what came is kept, the upload can be resumed.
    #[error("the upload broke off after {have} bytes")]
    CutOff {
        /// Bytes kept.
        have: u64,
    },
    /// The client's fault: upload the blob first.
    #[error("{role} {digest} has not been uploaded")]
    Missing {
        /// `source package`, `package`, `buildinfo`, `provenance`.
        role: &'static str,
        /// Which.
        digest: FileDigest,
    },
    /// The client's fault.
    #[error("there is no repository {repo} here")]
    UnknownRepo {
        /// Named in the manifest.
        repo: RepoName,
    },
    /// The client's fault.
    #[error("the manifest names {count} packages; want 1 to {limit}")]
    PackageCount {
        /// In the manifest.
        count: usize,
        /// Most.
        limit: usize,
    },
    /// The client's fault: not an RPM, truncated, or lying about itself.
    #[error("{role} {digest} is not a readable RPM")]
    Rpm {
        /// `source package` or `package`.
        role: &'static str,
        /// Which.
        digest: FileDigest,
        /// What is wrong, with section, tag and offset.
        #[source]
        source: HeaderError,
    },
    /// The client's fault: the payload is not the one the header names.
    #[error(
        "the payload of {nevra} has SHA-256 {actual}, but its header says {wanted}: the file is damaged or cut off"
    )]
    Payload {
        /// Which package.
        nevra: Nevra,
        /// In PAYLOADSHA256.
        wanted: String,
        /// Of the bytes.
        actual: String,
    },
    /// The client's fault: the package breaks rules that clients depend on.
    #[error("{nevra} is not fit for publication: {}", first_error(.findings))]
    Lint {
        /// Which package.
        nevra: Nevra,
        /// All findings.
        findings: Vec<Finding>,
    },
    /// The client's fault: metadata cannot say what the package says.
    #[error("{nevra} is not fit for metadata")]
    Metadata {
        /// Which package.
        nevra: Nevra,
        /// Which field and why.
        #[source]
        source: crate::repodata::PackageFault,
    },
    /// The client's fault: the pieces do not belong together.
    #[error("{0}")]
    Mismatch(String),
    /// The client's fault.
    #[error("the buildinfo cannot be used")]
    BuildInfo(#[source] BuildInfoError),
    /// The client's fault.
    #[error("the provenance is not a DSSE envelope with an SLSA statement")]
    Provenance,
    /// The client's fault: raise the release number.
    #[error("{nevra} is already here with other bytes (header {by}, build {build})")]
    NevraTaken {
        /// Which package.
        nevra: Nevra,
        /// Header that is there.
        by: repo_model::HeaderDigest,
        /// Build that is there.
        build: u64,
    },
    /// Ours; retry is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Ours; retry is safe.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Ours; retry is safe.
    #[error("the spool failed")]
    Spool(#[from] std::io::Error),
}

fn first_error(findings: &[Finding]) -> String {
    let errors: Vec<_> = findings
        .iter()
        .filter(|finding| finding.is_error())
        .collect();
    let more = match errors.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let first = errors
        .first()
        .map_or("", |finding| finding.message.as_str());
    format!("{first}{more}")
}
