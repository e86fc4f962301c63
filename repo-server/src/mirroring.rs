//! What a sync of the `mirrors` crate does not know by itself: whose signatures count, and how metadata is
//! written.

use crate::createrepo::{Conflicts, FileNames, MergeInput, MergeRequest, Method, mergerepo};
use crate::repodata::{Codec, Options};
use hallmark_signer::verify::{Certificate, verify_any_detached, verify_foreign_signature};
use mirrors::reading::{Directory, REPOMD, Repomd};
use mirrors::sync::{BoxError, Rewrite, Signatures};
use repo_model::Timestamp;
use repo_model::rpm::Head;
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::path::Path;

/// Pinned OpenPGP keys: any of them may have signed the metadata, and they must have made every
/// signature of a package.
#[derive(Debug, Clone)]
pub struct PinnedKeys {
    certificates: Vec<Certificate>,
    id: String,
}

impl PinnedKeys {
    /// In any order.
    pub fn new(certificates: Vec<Certificate>) -> Self {
        let mut fingerprints: Vec<String> =
            certificates.iter().map(Certificate::fingerprint).collect();
        fingerprints.sort();
        fingerprints.dedup();
        let id = hex::encode(Sha256::digest(fingerprints.join("\n")));
        Self { certificates, id }
    }
}

impl Signatures for PinnedKeys {
    fn id(&self) -> &str {
        &self.id
    }

    fn repomd(&self, text: &[u8], signature: &[u8]) -> Result<(), BoxError> {
        Ok(verify_any_detached(text, signature, &self.certificates)?)
    }

    fn is_pinned(&self, key: &[u8]) -> bool {
        let read = Certificate::all_from_bytes(key).unwrap_or_default();
        !read.is_empty() && read.iter().all(|one| self.certificates.contains(one))
    }

    fn package(&self, head: &Head) -> Result<(), BoxError> {
        verify_foreign_signature(head, &self.certificates)?;
        Ok(())
    }
}

/// Writes metadata for a part of a repository's packages: their elements word for word, groups, advisories and
/// modules whole, compressed as upstream does, with upstream's revision and newest timestamp.
#[derive(Debug, Clone, Copy, Default)]
pub struct MetadataWriter;

impl Rewrite for MetadataWriter {
    fn rewrite(
        &self,
        upstream: &Path,
        into: &Path,
        kept: &HashSet<String>,
    ) -> Result<(), BoxError> {
        let repomd = Repomd::parse(&std::fs::read(upstream.join(REPOMD))?)?;
        let newest = repomd.records.iter().filter_map(|record| record.timestamp);
        let at = Timestamp::from_unix_secs(newest.max().unwrap_or(0));
        let primary = repomd.of_type("primary").next();
        let metadata = Options {
            codec: primary.map_or(Codec::Gzip, |primary| codec_of(&primary.href)),
            revision: Some(repomd.revision.clone()).filter(|revision| !revision.is_empty()),
            ..Options::default()
        };
        mergerepo(&MergeRequest {
            inputs: vec![MergeInput {
                label: "upstream".to_owned(),
                base: None,
                source: Box::new(Directory::new(upstream)),
            }],
            output: into.to_owned(),
            method: Method::All,
            conflicts: Conflicts::All,
            architectures: None,
            packages: Some(kept.clone()),
            groups: true,
            advisories: true,
            metadata,
            database: false,
            names: FileNames::Unique,
            at,
        })?;
        Ok(())
    }
}

/// What clients of the repository can read for sure. bzip2 is not written any more, and whoever reads it reads
/// gzip.
fn codec_of(href: &str) -> Codec {
    match href.rsplit('.').next() {
        Some("zst" | "zstd") => Codec::ZSTD,
        Some("xz") => Codec::Xz,
        Some("xml") => Codec::None,
        _ => Codec::Gzip,
    }
}
