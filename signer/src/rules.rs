//! The policy in force and who vouches for it.
//!
//! A signed policy is read from the directory of `signer.policy_file`: the chain of root documents
//! from the one that was pinned in `state_dir`, the targets document, the policy (see
//! [`repo_model::trust`]). What the journal remembers of earlier ones keeps all three from going
//! back. `signer.unsigned_policy` takes the file as it is, for development.

use crate::index::Index;
use crate::journal::PolicyInUse;
use repo_model::config::SignerConfig;
use repo_model::policy::{Policy, PolicyError};
use repo_model::trust::document::MAX_DOCUMENT_BYTES;
use repo_model::trust::{TARGETS_FILE, TrustError, TrustedRoot, Vouched, root_file};
use repo_model::{FileDigest, Timestamp};
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// File name in `state_dir` of the root document that the operator compared by other means.
pub const PINNED_ROOT: &str = "pinned.root.json";
/// Most root documents that are followed in one go: one a month for eighty years.
const MAX_ROOTS: u64 = 1_000;
/// How long before its end a policy is announced loudly, seconds: two weeks.
const EXPIRY_WARNING_SECS: i64 = 14 * 86_400;

/// The policy cannot be used; nothing is signed without one. The operator's fault, or an attack.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Larger than any document of ours.
    #[error("{} is larger than {MAX_DOCUMENT_BYTES} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// Nobody has said yet which root to begin with.
    #[error(
        "no root is pinned: compare 1.root.json with its makers and run `hallmark-signer root pin`"
    )]
    NotPinned,
    /// The chain from the pinned root does not reach the policy.
    #[error("the policy {} is not signed as it must be", path.display())]
    Trust {
        /// The policy.
        path: PathBuf,
        /// Why.
        #[source]
        source: TrustError,
    },
    /// The policy contradicts itself or is no policy.
    #[error("the policy {} cannot be used", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: PolicyError,
    },
    /// Something older than was used before.
    #[error("{what} has version {found}, but version {used} was used before: it may not go back")]
    Rollback {
        /// `the policy`, `the root` or `targets.json`.
        what: &'static str,
        /// In the file.
        found: u64,
        /// In the journal.
        used: u64,
    },
    /// Other content under a version that was used before.
    #[error(
        "{what} of version {version} is not the one that was used before: give it a higher version"
    )]
    Changed {
        /// `the policy` or `the root`.
        what: &'static str,
        /// The version of both.
        version: u64,
    },
    /// A signed policy was in use.
    #[error("`signer.unsigned_policy` is set, but a signed policy was used before")]
    NoLongerSigned,
}

/// The policy in force.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The policy.
    pub policy: Policy,
    /// SHA-256 of its file.
    pub digest: FileDigest,
    /// Who vouches for it; `None` for an unsigned one.
    signed: Option<SignedBy>,
}

#[derive(Debug, Clone)]
struct SignedBy {
    root: TrustedRoot,
    vouched: Vouched,
}

impl Rules {
    /// Reads the policy and, unless the configuration says it is unsigned, all that vouches for it.
    ///
    /// * `index`: what was used before. Nothing older, and no other content under a version that
    ///   was used, is taken.
    /// * `now`: nothing that has expired by then is taken.
    pub fn read(config: &SignerConfig, index: &Index, now: Timestamp) -> Result<Self, RulesError> {
        let rules = Self::verified(config, index, now)?;
        rules.may_follow(index)?;
        Ok(rules)
    }

    fn verified(config: &SignerConfig, index: &Index, now: Timestamp) -> Result<Self, RulesError> {
        let path = &config.policy_file;
        let bytes = read(path)?;
        let digest = FileDigest::of(&bytes);
        let signed = match config.unsigned_policy {
            true => None,
            false => Some(vouched_for(config, &bytes, index, now)?),
        };
        // Only what is vouched for is parsed.
        let refuse = |source| RulesError::Policy {
            path: path.clone(),
            source,
        };
        let text = std::str::from_utf8(&bytes).map_err(|source| RulesError::Read {
            path: path.clone(),
            source: io::Error::new(ErrorKind::InvalidData, source),
        })?;
        Ok(Self {
            policy: Policy::from_toml(text).map_err(refuse)?,
            digest,
            signed,
        })
    }

    /// From then on the policy may not be used any more; `None`: it has no end.
    pub fn expires(&self) -> Option<Timestamp> {
        self.signed.as_ref().map(|signed| signed.vouched.expires)
    }

    /// Says in the log what is in force and until when; louder when the end is near.
    pub fn announce(&self, now: Timestamp) {
        let version = self.policy.version;
        match self.expires() {
            None => tracing::warn!(
                policy.version = version,
                "policy {version} is in force, signed by nobody: `signer.unsigned_policy` is on"
            ),
            Some(end) if end <= now.plus_secs(EXPIRY_WARNING_SECS) => tracing::warn!(
                policy.version = version,
                alarm = "policy-expires",
                "ALARM: policy {version} expires at {end}, and then nothing is signed: have it signed again"
            ),
            Some(end) => tracing::info!(
                policy.version = version,
                "policy {version} is in force until {end}"
            ),
        }
    }

    /// For the journal.
    pub fn in_use(&self) -> PolicyInUse {
        let signed = self.signed.as_ref();
        PolicyInUse {
            digest: self.digest,
            version: self.policy.version,
            root: signed.map(|signed| signed.root.digest()),
            root_version: signed.map(|signed| signed.root.version()),
            targets_version: signed.map(|signed| signed.vouched.targets_version),
        }
    }

    fn may_follow(&self, index: &Index) -> Result<(), RulesError> {
        let Some(last) = index.policy() else {
            return Ok(());
        };
        if self.policy.version < last.version {
            return Err(RulesError::Rollback {
                what: "the policy",
                found: self.policy.version,
                used: last.version,
            });
        }
        if self.policy.version == last.version && self.digest != last.digest {
            return Err(RulesError::Changed {
                what: "the policy",
                version: self.policy.version,
            });
        }
        let Some(used) = last.targets_version else {
            return Ok(());
        };
        let Some(signed) = &self.signed else {
            return Err(RulesError::NoLongerSigned);
        };
        let found = signed.vouched.targets_version;
        if found < used {
            return Err(RulesError::Rollback {
                what: TARGETS_FILE,
                found,
                used,
            });
        }
        Ok(())
    }
}

fn vouched_for(
    config: &SignerConfig,
    policy: &[u8],
    index: &Index,
    now: Timestamp,
) -> Result<SignedBy, RulesError> {
    let pinned = match read(&config.state_dir.join(PINNED_ROOT)) {
        Err(RulesError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return Err(RulesError::NotPinned);
        }
        other => other?,
    };
    let refuse = |source| RulesError::Trust {
        path: config.policy_file.clone(),
        source,
    };
    let dir = config.policy_file.parent().unwrap_or(Path::new("."));
    let root = newest_root(TrustedRoot::pinned(&pinned).map_err(refuse)?, dir, index)
        .map_err(|error| error.or_trust(refuse))?;
    let name = config.policy_file.file_name().unwrap_or_default();
    let vouched = root
        .vouch(
            &read(&dir.join(TARGETS_FILE))?,
            &name.to_string_lossy(),
            policy,
            now,
        )
        .map_err(refuse)?;
    Ok(SignedBy { root, vouched })
}

/// What can go wrong on the way along the chain.
enum ChainError {
    Trust(TrustError),
    Rules(RulesError),
}

impl ChainError {
    fn or_trust(self, refuse: impl FnOnce(TrustError) -> RulesError) -> RulesError {
        match self {
            Self::Trust(error) => refuse(error),
            Self::Rules(error) => error,
        }
    }
}

/// Follows the chain to its end. The root that was used last must be on it.
fn newest_root(pinned: TrustedRoot, dir: &Path, index: &Index) -> Result<TrustedRoot, ChainError> {
    let used = index.policy().and_then(|last| {
        let (version, digest) = (last.root_version?, last.root?);
        Some((version, digest))
    });
    let mut root = pinned;
    for _ in 0..MAX_ROOTS {
        if let Some((version, digest)) = used
            && version == root.version()
            && digest != root.digest()
        {
            let what = "the root";
            return Err(ChainError::Rules(RulesError::Changed { what, version }));
        }
        let next = dir.join(root_file(root.version().saturating_add(1)));
        match read(&next) {
            Ok(json) => root = root.followed_by(&json).map_err(ChainError::Trust)?,
            Err(RulesError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => break,
            Err(error) => return Err(ChainError::Rules(error)),
        }
    }
    match used {
        Some((used, _)) if root.version() < used => Err(ChainError::Rules(RulesError::Rollback {
            what: "the root",
            found: root.version(),
            used,
        })),
        _ => Ok(root),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, RulesError> {
    let failed = |source| RulesError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| {
            file.take(MAX_DOCUMENT_BYTES as u64 + 1)
                .read_to_end(&mut bytes)
        })
        .map_err(failed)?;
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(RulesError::TooLong {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}
