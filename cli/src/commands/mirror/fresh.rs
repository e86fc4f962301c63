//! Is a copy what its channel points to now? By the signer's statement beside it.

use crate::failure::{Failure, chain};
use repo_model::dsse::{DsseError, Envelope, StatementPublicKey};
use repo_model::freshness::{self, FILE, FreshnessError, MAX_BYTES};
use repo_model::{FileDigest, Timestamp};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Largest `repomd.xml` that is read.
const REPOMD_MAX_BYTES: u64 = 16 << 20;

/// A copy is not known to be fresh.
#[derive(Debug, thiserror::Error)]
pub enum StaleError {
    /// A file of the copy cannot be read; without the statement nothing is known.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The statement is no envelope.
    #[error(transparent)]
    Envelope(#[from] DsseError),
    /// The statement does not say so.
    #[error(transparent)]
    Freshness(#[from] FreshnessError),
}

/// Public keys of statements, from PEM files.
pub fn keys(paths: &[PathBuf]) -> Result<Vec<StatementPublicKey>, Failure> {
    let one = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!("cannot read the key {}: {error}", path.display()))
        })?;
        text.parse().map_err(|error: DsseError| {
            Failure::usage(format!("{}: {}", path.display(), chain(&error)))
                .with_hint("the server has its key at /keys/statement.pub")
        })
    };
    paths.iter().map(one).collect()
}

/// What the statement says, in words, when it holds for the copy's `repomd.xml`.
pub fn check(
    copy: &Path,
    keys: &[StatementPublicKey],
    now: Timestamp,
) -> Result<String, StaleError> {
    let envelope = Envelope::from_json(&read(&copy.join(FILE), MAX_BYTES)?)?;
    let fresh = freshness::open(&envelope, keys, now)?;
    let repomd = read(&copy.join("repodata/repomd.xml"), REPOMD_MAX_BYTES)?;
    fresh.check_any(FileDigest::of(&repomd))?;
    let said = fresh.freshness();
    Ok(format!(
        "fresh: {} is at release {}, said at {}, good until {}",
        said.channel, said.release, said.issued, said.expires
    ))
}

fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, StaleError> {
    let fail = |source| StaleError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(fail)?;
    file.take(limit_bytes)
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    Ok(bytes)
}
