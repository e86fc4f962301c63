//! Is a copy what its channel points to now? By the signer's statement beside it.

use crate::failure::{Failure, chain};
use mirrors::reading::{REPOMD, REPOMD_MAX_BYTES, Source, SourceError, read_small};
use repo_model::dsse::{DsseError, Envelope, StatementPublicKey};
use repo_model::freshness::{self, FILE, FreshnessError, MAX_BYTES};
use repo_model::{Arch, ChannelName, FileDigest, RepoName, Timestamp};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where copies belong, when their directories do not tell.
#[derive(Debug, Default, clap::Args)]
pub struct PlaceArgs {
    /// With --fresh: the channel of each repository [default: by its directory, CHANNEL/REPO/ARCH]
    #[arg(long, value_name = "NAME", requires = "fresh")]
    channel: Option<ChannelName>,
    /// With --fresh: the repository's name [default: by its directory]
    #[arg(long, value_name = "NAME", requires = "fresh")]
    repo: Option<RepoName>,
    /// With --fresh: the repository's architecture [default: by its directory]
    #[arg(long, value_name = "ARCH", requires = "fresh")]
    arch: Option<Arch>,
}

impl PlaceArgs {
    /// Channel, repository and architecture of a copy: what was said, else the last three parts of its path.
    fn of(&self, copy: &Path) -> Result<(ChannelName, RepoName, Arch), StaleError> {
        // The name of `.` is the name of the directory that it is.
        let path = std::path::absolute(copy).map_err(|source| StaleError::Read {
            path: copy.to_owned(),
            source,
        })?;
        let mut parts = path.components().rev();
        let mut part = || parts.next().and_then(|part| part.as_os_str().to_str());
        let arch = named(self.arch.as_ref(), part());
        let repo = named(self.repo.as_ref(), part());
        let channel = named(self.channel.as_ref(), part());
        match (channel, repo, arch) {
            (Some(channel), Some(repo), Some(arch)) => Ok((channel, repo, arch)),
            _ => Err(StaleError::Unplaced {
                path: copy.to_owned(),
            }),
        }
    }
}

fn named<T: Clone + FromStr>(said: Option<&T>, part: Option<&str>) -> Option<T> {
    match said {
        Some(name) => Some(name.clone()),
        None => part?.parse().ok(),
    }
}

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
    /// The caller's to say: a statement is about one repository of one channel.
    #[error("{path} does not end in CHANNEL/REPO/ARCH, so its channel is not known")]
    Unplaced {
        /// The copy.
        path: PathBuf,
    },
    /// The statement does not say so.
    #[error(transparent)]
    Freshness(#[from] FreshnessError),
}

impl StaleError {
    /// Whether the copy may only be at another place than its directory says.
    pub fn is_about_place(&self) -> bool {
        match self {
            Self::Unplaced { .. } => true,
            Self::Freshness(error) => matches!(
                error,
                FreshnessError::Channel { .. } | FreshnessError::NoRepository { .. }
            ),
            Self::Read { .. } | Self::Envelope(_) => false,
        }
    }
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

/// What the statement says, in words, when it holds for the copy's `repomd.xml` at its place.
///
/// * `copy`: its path or URL, which may tell its place; its files come from `source`.
pub fn check(
    source: &dyn Source,
    copy: &Path,
    place: &PlaceArgs,
    keys: &[StatementPublicKey],
    now: Timestamp,
) -> Result<String, StaleError> {
    let (channel, repo, arch) = place.of(copy)?;
    let envelope = Envelope::from_json(&read(source, copy, FILE, MAX_BYTES)?)?;
    let fresh = freshness::open(&envelope, keys, now)?;
    let repomd = read(source, copy, REPOMD, REPOMD_MAX_BYTES)?;
    fresh.check(&channel, &repo, &arch, FileDigest::of(&repomd))?;
    let said = fresh.freshness();
    Ok(format!(
        "fresh: {} is at release {}, said at {}, good until {}",
        said.channel, said.release, said.issued, said.expires
    ))
}

fn read(
    source: &dyn Source,
    copy: &Path,
    path: &str,
    limit_bytes: u64,
) -> Result<Vec<u8>, StaleError> {
    read_small(source, path, limit_bytes).map_err(|error| StaleError::Read {
        path: copy.join(path),
        source: match error {
            SourceError::Read(error) => error,
            other => io::Error::other(other),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mirrors::reading::Directory;
    use repo_model::ReleaseId;
    use repo_model::dsse::StatementKey;
    use repo_model::freshness::{Freshness, SCHEMA, statement};
    use repo_model::release::{self, ReleaseDocument, ReleaseRepo};

    const NOW: i64 = 1_800_000_000;

    /// A copy below `root` with this `repomd.xml`, and a statement that the channel is at `current`.
    fn copy(root: &Path, place: &str, repomd: &[u8], channel: &str, current: &[u8]) -> PathBuf {
        let copy = root.join(place);
        std::fs::create_dir_all(copy.join("repodata")).unwrap();
        std::fs::write(copy.join("repodata/repomd.xml"), repomd).unwrap();
        let document = ReleaseDocument {
            schema: release::SCHEMA.to_owned(),
            id: ReleaseId(7),
            previous: None,
            issued: Timestamp::from_unix_secs(NOW - 10),
            repos: vec![ReleaseRepo {
                repo: "base".parse().unwrap(),
                arch: "x86_64".parse().unwrap(),
                repomd: FileDigest::of(current),
                package_list: FileDigest::of(b""),
                packages: 0,
            }],
        };
        let freshness = Freshness {
            schema: SCHEMA.to_owned(),
            channel: channel.parse().unwrap(),
            release: ReleaseId(7),
            release_sha256: FileDigest::of(b""),
            issued: Timestamp::from_unix_secs(NOW - 10),
            expires: Timestamp::from_unix_secs(NOW + 10),
        };
        let said = statement(freshness, &document).sign(&key()).unwrap();
        std::fs::write(copy.join(FILE), said.to_json()).unwrap();
        copy
    }

    fn key() -> StatementKey {
        StatementKey::from_seed(&[3; 32]).unwrap()
    }

    fn checked(copy: &Path, place: &PlaceArgs) -> Result<String, StaleError> {
        let now = Timestamp::from_unix_secs(NOW);
        check(&Directory::new(copy), copy, place, &[key().public()], now)
    }

    #[test]
    fn a_frozen_copy_of_one_channel_is_not_fresh_with_the_statement_of_another() {
        let root = tempfile::tempdir().unwrap();
        let by_path = PlaceArgs::default();
        let at = |place: &str, repomd: &[u8], channel: &str, current: &[u8]| {
            copy(root.path(), place, repomd, channel, current)
        };
        let place = "preview/base/x86_64";
        checked(&at(place, b"7", "preview", b"7"), &by_path).unwrap();
        // What preview was at before is what stable is at now.
        let error = checked(&at(place, b"6", "stable", b"6"), &by_path).unwrap_err();
        assert!(error.is_about_place(), "{error}");
        let error = checked(&at(place, b"6", "preview", b"7"), &by_path).unwrap_err();
        assert!(!error.is_about_place(), "{error}");
        let error = checked(&at("preview/core/x86_64", b"7", "preview", b"7"), &by_path);
        assert!(error.is_err_and(|error| error.is_about_place()));
    }

    #[test]
    fn a_place_that_the_directory_does_not_tell_has_to_be_said() {
        let root = tempfile::tempdir().unwrap();
        let here = copy(root.path(), "a b/c d/e f", b"7", "preview", b"7");
        let error = checked(&here, &PlaceArgs::default()).unwrap_err();
        assert!(matches!(error, StaleError::Unplaced { .. }), "{error}");
        let said = |channel: &str| PlaceArgs {
            channel: Some(channel.parse().unwrap()),
            repo: Some("base".parse().unwrap()),
            arch: Some("x86_64".parse().unwrap()),
        };
        checked(&here, &said("preview")).unwrap();
        assert!(checked(&here, &said("stable")).is_err());
    }
}
