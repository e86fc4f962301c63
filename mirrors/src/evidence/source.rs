//! Where evidence comes from: one question, one document, whether it is asked of a server, of a pack, or
//! of the tables behind a server.

use crate::http::encoded;
use repo_model::bundle;
use repo_model::log::Tile;
use repo_model::wire::evidence;
use repo_model::wire::status::BuildStatus;
use repo_model::{FileDigest, HeaderDigest, Nevra};
use std::io::{Cursor, Read};
use std::path::PathBuf;

/// Largest list and document that is fetched whole, bytes.
const MAX_BYTES: u64 = 128 << 20;
/// Largest head of a log, bytes: some cosignatures. Hashes of its tree are smaller.
pub const MAX_CHECKPOINT_BYTES: u64 = 64 << 10;

/// One thing that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// The builds that made a package: `BuildStatus` as JSON, a list.
    Builds(Nevra),
    /// All releases, newest first: `ReleaseStatus` as JSON, a list.
    Releases,
    /// A document by its digest.
    Document(FileDigest),
    /// A statement with its place in the log, by the statement's digest.
    Bundle(FileDigest),
    /// The newest head of the log.
    Checkpoint,
    /// Hashes of the log's tree.
    Tile(Tile),
    /// The beginning of a published package, up to its payload.
    Head {
        /// Its header.
        header: HeaderDigest,
        /// Its path at the server.
        path: String,
    },
}

impl Item {
    /// Longest that it may be, bytes.
    fn max_bytes(&self) -> u64 {
        match self {
            Self::Builds(_) | Self::Releases | Self::Document(_) | Self::Head { .. } => MAX_BYTES,
            Self::Bundle(_) => bundle::MAX_BYTES as u64,
            Self::Checkpoint | Self::Tile(_) => MAX_CHECKPOINT_BYTES,
        }
    }

    /// Its path at a server.
    pub fn path(&self) -> String {
        match self {
            Self::Builds(nevra) => {
                let nevra = encoded(&nevra.to_string());
                format!("/api/v1/builds?limit=100&package={nevra}")
            }
            Self::Releases => "/api/v1/releases".to_owned(),
            Self::Document(digest) => format!("/evidence/sha256/{digest}"),
            Self::Bundle(digest) => format!("/evidence/sha256/{digest}.sigstore.json"),
            Self::Checkpoint => "/log/checkpoint".to_owned(),
            Self::Tile(tile) => format!("/log/{tile}"),
            Self::Head { path, .. } => path.clone(),
        }
    }

    /// Its name in a pack.
    pub fn name(&self) -> String {
        match self {
            // Names can be longer than an archive's.
            Self::Builds(nevra) => {
                let name = FileDigest::of(nevra.to_string().as_bytes());
                format!("builds/{name}.json")
            }
            Self::Releases => "releases.json".to_owned(),
            Self::Document(digest) => evidence::document_name(*digest),
            Self::Bundle(digest) => evidence::bundle_name(*digest),
            Self::Checkpoint => "checkpoint".to_owned(),
            Self::Tile(tile) => tile.to_string(),
            Self::Head { header, .. } => evidence::head_name(*header),
        }
    }
}

/// Why something cannot be had. That it is not there is no error.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Whoever was asked did not answer, or not as it should; the cause says whose fault that is.
    #[error(transparent)]
    Asked(Box<dyn std::error::Error + Send + Sync>),
    /// The answer broke off, or is longer than any document. Retrying may help.
    #[error("cannot read {path}")]
    Read {
        /// What was asked for.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nobody can be asked, and the answer was not kept. Retry when there is a network again.
    #[error("{path} was not fetched before, and now nobody can be asked: {why}")]
    Away {
        /// What was asked for.
        path: String,
        /// What the network said.
        why: String,
    },
    /// The folder of evidence cannot be written: disk full, or rights. Retrying may help.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The document is not the one that was asked for: the server or the pack lies, or is damaged.
    #[error("{path} is sha256 {found}")]
    Digest {
        /// What was asked for.
        path: String,
        /// What came.
        found: FileDigest,
    },
    /// The answer is not what it should be.
    #[error("{path} does not read: {why}")]
    Shape {
        /// What was asked for.
        path: String,
        /// What is wrong.
        why: String,
    },
}

/// Answers questions for evidence.
pub trait Source {
    /// A reader of the bytes; `None` when there is no such thing.
    fn open(&self, item: &Item) -> Result<Option<Box<dyn Read + '_>>, SourceError>;

    /// The builds of packages, each with those packages alone or with all; none: this source is asked one by one.
    fn packages(
        &self,
        _asked: &[(Nevra, HeaderDigest)],
    ) -> Result<Option<Vec<BuildStatus>>, SourceError> {
        Ok(None)
    }

    /// Those of the documents, bundles and heads that can be had together, by [`Item::name`]; documents are checked.
    fn many(&self, _items: &[Item]) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        Ok(Vec::new())
    }

    /// The bytes. A document is checked against its digest.
    fn fetch(&self, item: &Item) -> Result<Option<Vec<u8>>, SourceError> {
        let Some(reader) = self.open(item)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let failed = |source| SourceError::Read {
            path: item.path(),
            source,
        };
        let limit = item.max_bytes();
        let read = reader.take(limit + 1).read_to_end(&mut bytes);
        if read.map_err(failed)? as u64 > limit {
            return Err(SourceError::Shape {
                path: item.path(),
                why: format!("it has more than {limit} bytes"),
            });
        }
        let found = FileDigest::of(&bytes);
        match item {
            Item::Document(wanted) if found != *wanted => Err(SourceError::Digest {
                path: item.path(),
                found,
            }),
            _ => Ok(Some(bytes)),
        }
    }
}

/// Bytes that are in memory.
pub fn in_memory(bytes: &[u8]) -> Box<dyn Read + '_> {
    Box::new(Cursor::new(bytes))
}
