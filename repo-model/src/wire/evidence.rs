//! Evidence about many packages in few requests, for who verifies a transaction or a machine.
//!
//! * `POST /api/v1/evidence/packages`, body [`AskPackages`]: the builds of packages, `BuildStatus` as a JSON list, newest
//!   first, each with those of its packages alone that were asked for. What is not in the list is not known.
//! * `POST /api/v1/evidence/documents`, body [`AskDocuments`]: a tar of plain files with the names that [`document_name`],
//!   [`bundle_name`] and [`head_name`] give. What cannot be had, or is larger than [`MAX_FILE_BYTES`], is left out.

use crate::{FileDigest, HeaderDigest, bundle};
use serde::{Deserialize, Serialize};

/// Most names in one request.
pub const MAX_ASKED: usize = 1_000;
/// Largest file in an answer, bytes; a larger one can be had by itself.
pub const MAX_FILE_BYTES: u64 = 1 << 20;
/// Media type of the files.
pub const TAR: &str = "application/x-tar";

/// Asks for the builds of packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskPackages {
    /// Their main headers, 1 to [`MAX_ASKED`].
    pub headers: Vec<HeaderDigest>,
}

/// Asks for files, [`MAX_ASKED`] of all kinds together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskDocuments {
    /// What `/evidence/sha256/DIGEST` has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<FileDigest>,
    /// What `/evidence/sha256/DIGEST.sigstore.json` has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bundles: Vec<FileDigest>,
    /// Packages up to their payloads, by main header.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<HeaderDigest>,
}

impl AskDocuments {
    /// How many files are asked for.
    pub fn count(&self) -> usize {
        self.documents.len() + self.bundles.len() + self.heads.len()
    }
}

/// The name of a document, here and in an evidence pack.
pub fn document_name(digest: FileDigest) -> String {
    format!("documents/{digest}")
}

/// The name of a statement with its place in the log.
pub fn bundle_name(statement: FileDigest) -> String {
    format!("bundles/{statement}{}", bundle::FILE_SUFFIX)
}

/// The name of the beginning of a package.
pub fn head_name(header: HeaderDigest) -> String {
    format!("heads/{header}")
}
