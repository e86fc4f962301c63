//! Uploading a build: blobs by digest, then a manifest that names them (as OCI registries do it).
//!
//! * `PUT /api/v1/blobs/{sha256}`: the bytes, whole or by `Content-Range` parts; idempotent.
//! * `POST /api/v1/builds`: a [`BuildManifest`]; answers with a [`BuildReceipt`].

use crate::{FileDigest, HeaderDigest, Nevra, RepoName};
use serde::{Deserialize, Serialize};

/// Most packages that one build may have (texlive has 6,000).
pub const MAX_PACKAGES: usize = 20_000;

/// One build: every digest must have been uploaded before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildManifest {
    /// The repository it goes to.
    pub repo: RepoName,
    /// The .src.rpm.
    pub source: FileDigest,
    /// The binary RPMs, unsigned.
    pub packages: Vec<FileDigest>,
    /// The `rpm-buildinfo/1` document.
    pub buildinfo: FileDigest,
    /// The builder's signed provenance (DSSE JSON).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<FileDigest>,
}

/// The server's answer: the build as it was taken in. Sending the same manifest again gives the
/// same receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildReceipt {
    /// Number of the build on this server.
    pub build: u64,
    /// `hello-2.12-1.src`.
    pub source: Nevra,
    /// Stage's name.
    pub stage: String,
    /// The packages.
    pub packages: Vec<ReceivedPackage>,
    /// What the lint would like to be better; nothing here stops the build.
    pub warnings: Vec<String>,
}

/// One package of a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedPackage {
    /// Identity.
    pub nevra: Nevra,
    /// The unsigned file.
    pub file: FileDigest,
    /// Its main header.
    pub header: HeaderDigest,
}
