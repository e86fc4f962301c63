//! Who may say what the policy is: k of n people with keys that are kept offline.
//!
//! The form is that of The Update Framework, so that its stock clients verify it too. One directory
//! is a whole TUF repository:
//!
//! | file | says | signed by |
//! |---|---|---|
//! | `1.root.json`, `2.root.json`, ... | whose keys count | the thresholds of the root before *and* of itself |
//! | `targets.json` | size and SHA-256 of `policy.toml` | the newest root's `targets` role |
//! | `snapshot.json`, `timestamp.json` | which version of those is the newest | the newest root; for stock clients |
//! | `policy.toml` | the policy | by its digest in `targets.json` |
//!
//! [`TrustedRoot`] is the only way from these files to a policy that may be used: it begins with a
//! root that somebody compared by other means, follows the chain, and vouches for a file.

pub mod canonical;
pub mod document;

use self::document::{DocumentError, Root, Signed, Targets};
use crate::{FileDigest, Timestamp};

/// File name of the targets document.
pub const TARGETS_FILE: &str = "targets.json";
/// File name of the snapshot document.
pub const SNAPSHOT_FILE: &str = "snapshot.json";
/// File name of the timestamp document.
pub const TIMESTAMP_FILE: &str = "timestamp.json";

/// File name of the root document of this version.
pub fn root_file(version: u64) -> String {
    format!("{version}.root.json")
}

/// The chain from the pinned root to the policy does not hold. The operator's fault, or an attack;
/// reading the same files again fails again.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// One of the files is no usable document.
    #[error("{file} cannot be used")]
    Document {
        /// Which file.
        file: String,
        /// Why.
        #[source]
        source: DocumentError,
    },
    /// Too few of the people who must sign did.
    #[error("{file} has {have} of the {want} signatures that {by} demands")]
    Signatures {
        /// Which file.
        file: String,
        /// Distinct keys whose signature holds.
        have: usize,
        /// The threshold.
        want: u32,
        /// Whose threshold.
        by: String,
    },
    /// A root document under another's name, or one that was left out.
    #[error("{file} has version {found}, not {wanted}")]
    Version {
        /// Which file.
        file: String,
        /// In the document.
        found: u64,
        /// By its name.
        wanted: u64,
    },
    /// It was good once.
    #[error("{file} expired at {expires}: sign a newer one")]
    Expired {
        /// Which file.
        file: String,
        /// When.
        expires: Timestamp,
    },
    /// The file is not the one that was signed.
    #[error("{name} is not the file that {TARGETS_FILE} vouches for: {problem}")]
    Target {
        /// Its name.
        name: String,
        /// What does not fit.
        problem: String,
    },
}

/// A root whose signatures hold.
#[derive(Debug, Clone)]
pub struct TrustedRoot {
    root: Root,
    digest: FileDigest,
}

/// What `targets.json` says, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    /// Version of `targets.json`.
    pub targets_version: u64,
    /// Digest of the file vouched for.
    pub file: FileDigest,
    /// The earlier of the expiries of root and targets: from then on nothing is vouched for.
    pub expires: Timestamp,
}

impl TrustedRoot {
    /// Takes a root document that somebody compared by other means. It must be signed by its own
    /// threshold. Its expiry does not matter: it may be the first of a long chain.
    pub fn pinned(json: &[u8]) -> Result<Self, TrustError> {
        let file = "the root to begin with";
        let (signed, root) = read_root(file, json)?;
        wanted_by(file, &signed, &root, "root", "itself")?;
        Ok(Self {
            digest: digest_of(file, &signed)?,
            root,
        })
    }

    /// Goes on to the next root document: one version higher, signed by the thresholds of both.
    pub fn followed_by(&self, json: &[u8]) -> Result<Self, TrustError> {
        let wanted = self.version().saturating_add(1);
        let file = root_file(wanted);
        let (signed, root) = read_root(&file, json)?;
        if root.version != wanted {
            return Err(TrustError::Version {
                file,
                found: root.version,
                wanted,
            });
        }
        let before = format!("root {}", self.version());
        wanted_by(&file, &signed, &self.root, "root", &before)?;
        wanted_by(&file, &signed, &root, "root", "itself")?;
        Ok(Self {
            digest: digest_of(&file, &signed)?,
            root,
        })
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.root.version
    }

    /// SHA-256 of the canonical form of what was signed: more signatures do not change it.
    pub fn digest(&self) -> FileDigest {
        self.digest
    }

    /// What it says.
    pub fn document(&self) -> &Root {
        &self.root
    }

    /// Vouches for `bytes` under `name` if `targets_json` does and neither has expired.
    ///
    /// This must be the newest root of the chain: no older one may vouch for anything.
    pub fn vouch(
        &self,
        targets_json: &[u8],
        name: &str,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<Vouched, TrustError> {
        let in_file = |source| TrustError::Document {
            file: TARGETS_FILE.to_owned(),
            source,
        };
        let signed = Signed::read(targets_json).map_err(in_file)?;
        let targets: Targets = signed.document("targets").map_err(in_file)?;
        let by = format!("root {}", self.version());
        wanted_by(TARGETS_FILE, &signed, &self.root, "targets", &by)?;
        for (file, expires) in [
            (root_file(self.version()), self.root.expires),
            (TARGETS_FILE.to_owned(), targets.expires),
        ] {
            if expires <= now {
                return Err(TrustError::Expired { file, expires });
            }
        }
        Ok(Vouched {
            targets_version: targets.version,
            file: the_target(&targets, name, bytes)?,
            expires: targets.expires.min(self.root.expires),
        })
    }
}

fn the_target(targets: &Targets, name: &str, bytes: &[u8]) -> Result<FileDigest, TrustError> {
    let refuse = |problem: String| TrustError::Target {
        name: name.to_owned(),
        problem,
    };
    let target = targets
        .targets
        .get(name)
        .ok_or_else(|| refuse("it is not listed".to_owned()))?;
    let found = FileDigest::of(bytes);
    let wanted = target.hashes.get("sha256");
    if target.length != bytes.len() as u64 || wanted != Some(&found.to_hex()) {
        let wanted = wanted.map_or("none", String::as_str);
        return Err(refuse(format!(
            "its SHA-256 is {found}, signed was {wanted}"
        )));
    }
    Ok(found)
}

fn read_root(file: &str, json: &[u8]) -> Result<(Signed, Root), TrustError> {
    let in_file = |source| TrustError::Document {
        file: file.to_owned(),
        source,
    };
    let signed = Signed::read(json).map_err(in_file)?;
    let root: Root = signed.document("root").map_err(in_file)?;
    root.check().map_err(in_file)?;
    Ok((signed, root))
}

fn digest_of(file: &str, signed: &Signed) -> Result<FileDigest, TrustError> {
    canonical::canonical(&signed.signed)
        .map(|bytes| FileDigest::of(&bytes))
        .map_err(|source| TrustError::Document {
            file: file.to_owned(),
            source: source.into(),
        })
}

/// Whether enough of `root`'s voices for `role` signed.
fn wanted_by(
    file: &str,
    signed: &Signed,
    root: &Root,
    role: &str,
    by: &str,
) -> Result<(), TrustError> {
    let voices = root.voices(role);
    let have = signed
        .signed_by(&voices)
        .map_err(|source| TrustError::Document {
            file: file.to_owned(),
            source,
        })?
        .len();
    if (have as u64) < u64::from(voices.threshold) {
        return Err(TrustError::Signatures {
            file: file.to_owned(),
            have,
            want: voices.threshold,
            by: by.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
