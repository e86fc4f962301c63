//! The freshness statement of a channel: which release it is at, said anew every few hours and valid for days
//! only. It is what a mirror that was frozen, or that somebody holds back, cannot have: everything else that it
//! serves stays rightly signed for ever.
//!
//! An in-toto statement in a DSSE envelope, signed with the statement key, at
//! `/{channel}/{repo}/{arch}/freshness.json` and `/{channel}/freshness.json`. Its subjects are the channel's
//! `repomd.xml` files; its predicate:
//!
//! ```json
//! {"schema":"hallmark-freshness/1","channel":"stable","release":12,"releaseSha256":"5b1f…",
//!  "issued":"2026-11-21T10:00:00Z","expires":"2026-11-23T10:00:00Z"}
//! ```

use crate::dsse::{Envelope, StatementPublicKey};
use crate::release::ReleaseDocument;
use crate::statement::{Statement, StatementError, Subject};
use crate::{Arch, ChannelName, FileDigest, ReleaseId, RepoName, Timestamp};
use serde::{Deserialize, Serialize};

/// Predicate type of [`Freshness`].
pub const FRESHNESS: &str = "https://hallmark.example/attestation/channel-freshness/v0.1";
/// [`Freshness::schema`] of this version.
pub const SCHEMA: &str = "hallmark-freshness/1";
/// Its name beside `repodata/`.
pub const FILE: &str = "freshness.json";
/// Largest envelope that is read, bytes: some hundred for each repository.
pub const MAX_BYTES: u64 = 4 << 20;

/// What the signer says about a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Freshness {
    /// [`SCHEMA`].
    pub schema: String,
    /// The channel.
    pub channel: ChannelName,
    /// Where it points.
    pub release: ReleaseId,
    /// SHA-256 of that release's signed statement.
    pub release_sha256: FileDigest,
    /// When it was said.
    pub issued: Timestamp,
    /// From when on it says nothing any more.
    pub expires: Timestamp,
}

/// Why a copy cannot be called fresh.
#[derive(Debug, thiserror::Error)]
pub enum FreshnessError {
    /// Not a freshness statement by a key that counts: forged, damaged, or of another version.
    #[error("the freshness statement cannot be believed")]
    Statement(#[from] StatementError),
    /// Another version's.
    #[error("the freshness statement's schema is `{0}`, not `{SCHEMA}`")]
    Schema(String),
    /// It is about another channel.
    #[error("the freshness statement is about the channel {found}, not {want}")]
    Channel {
        /// In the statement.
        found: ChannelName,
        /// Looked for.
        want: ChannelName,
    },
    /// Too old: the copy is stale, or somebody holds back news. Bring it up to date, or ask another mirror.
    #[error("the freshness statement ended at {expires}")]
    Expired {
        /// When.
        expires: Timestamp,
    },
    /// From the future: a clock is wrong.
    #[error("the freshness statement was made at {issued}, which is to come")]
    NotYet {
        /// When.
        issued: Timestamp,
    },
    /// The repository is another one than the channel's. Bring it up to date, or ask another mirror.
    #[error(
        "repomd.xml of {place} has SHA-256 {found}; of release {release}, which is current, it is {want}"
    )]
    Other {
        /// Repository and architecture.
        place: String,
        /// What there is.
        found: FileDigest,
        /// What the statement says.
        want: FileDigest,
        /// The current release.
        release: ReleaseId,
    },
    /// The release has no such repository.
    #[error("release {release}, which is current, has no repository {place}")]
    NoRepository {
        /// Repository and architecture.
        place: String,
        /// The current release.
        release: ReleaseId,
    },
}

/// Puts together what the signer signs; `release`: the document that its own statement of the release holds.
pub fn statement(freshness: Freshness, release: &ReleaseDocument) -> Statement<Freshness> {
    let subject = |repo: &crate::release::ReleaseRepo| {
        Subject::file(
            &subject_name(&freshness.channel, &repo.repo, &repo.arch),
            repo.repomd,
        )
    };
    let subjects = release.repos.iter().map(subject).collect();
    Statement::new(FRESHNESS, subjects, freshness)
}

fn subject_name(channel: &ChannelName, repo: &RepoName, arch: &Arch) -> String {
    format!("{channel}/{repo}/{arch}/repodata/repomd.xml")
}

/// A statement that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Fresh(Statement<Freshness>);

/// Believes a statement that one of the keys signed and that holds now.
pub fn open(
    envelope: &Envelope,
    keys: &[StatementPublicKey],
    now: Timestamp,
) -> Result<Fresh, FreshnessError> {
    let opened = keys
        .iter()
        .map(|key| Statement::open(envelope, key, FRESHNESS));
    // The first that fits; without one, what the last says.
    let mut last = None;
    let mut found = None;
    for outcome in opened {
        match outcome {
            Ok(statement) => {
                found = Some(statement);
                break;
            }
            Err(error) => last = Some(error),
        }
    }
    let statement: Statement<Freshness> = match (found, last) {
        (Some(statement), _) => statement,
        (None, Some(error)) => return Err(error.into()),
        (None, None) => {
            let key_id = "none: no key was given".to_owned();
            return Err(StatementError::from(crate::dsse::DsseError::Signature { key_id }).into());
        }
    };
    let said = &statement.predicate;
    if said.schema != SCHEMA {
        return Err(FreshnessError::Schema(
            said.schema.chars().take(80).collect(),
        ));
    }
    if said.expires <= now {
        return Err(FreshnessError::Expired {
            expires: said.expires,
        });
    }
    if said.issued.is_to_come(now) {
        return Err(FreshnessError::NotYet {
            issued: said.issued,
        });
    }
    Ok(Fresh(statement))
}

impl Fresh {
    /// What it says.
    pub fn freshness(&self) -> &Freshness {
        &self.0.predicate
    }

    /// Whether this is the channel's current `repomd.xml`.
    pub fn check(
        &self,
        channel: &ChannelName,
        repo: &RepoName,
        arch: &Arch,
        repomd: FileDigest,
    ) -> Result<(), FreshnessError> {
        let said = self.freshness();
        if said.channel != *channel {
            return Err(FreshnessError::Channel {
                found: said.channel.clone(),
                want: channel.clone(),
            });
        }
        let (place, release) = (format!("{repo} {arch}"), said.release);
        let name = subject_name(channel, repo, arch);
        let subject = self.0.subject.iter().find(|subject| subject.name == name);
        let digest = subject.and_then(|subject| subject.digest.get("sha256")?.parse().ok());
        match digest {
            Some(want) if want == repomd => Ok(()),
            Some(want) => Err(FreshnessError::Other {
                place,
                found: repomd,
                want,
                release,
            }),
            None => Err(FreshnessError::NoRepository { place, release }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsse::StatementKey;
    use crate::release::ReleaseRepo;

    const NOW: i64 = 1_763_600_000;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_unix_secs(NOW + secs)
    }

    fn signed(key: &StatementKey, issued: i64, expires: i64) -> Envelope {
        let document = ReleaseDocument {
            schema: crate::release::SCHEMA.to_owned(),
            id: ReleaseId(12),
            previous: None,
            issued: at(-100),
            repos: vec![ReleaseRepo {
                repo: "base".parse().unwrap(),
                arch: "x86_64".parse().unwrap(),
                repomd: FileDigest::of(b"repomd 12"),
                package_list: FileDigest::of(b""),
                packages: 0,
            }],
        };
        let freshness = Freshness {
            schema: SCHEMA.to_owned(),
            channel: "stable".parse().unwrap(),
            release: ReleaseId(12),
            release_sha256: FileDigest::of(b"envelope"),
            issued: at(issued),
            expires: at(expires),
        };
        statement(freshness, &document).sign(key).unwrap()
    }

    #[test]
    fn a_statement_holds_for_its_time_its_channel_and_its_bytes() {
        let key = StatementKey::from_seed(&[1; 32]).unwrap();
        let other = StatementKey::from_seed(&[2; 32]).unwrap().public();
        let keys = [other.clone(), key.public()];
        let fresh = open(&signed(&key, -10, 1_000), &keys, at(0)).unwrap();
        let check = |channel: &str, repo: &str, repomd: &[u8]| {
            let digest = FileDigest::of(repomd);
            let arch = "x86_64".parse().unwrap();
            fresh.check(
                &channel.parse().unwrap(),
                &repo.parse().unwrap(),
                &arch,
                digest,
            )
        };
        check("stable", "base", b"repomd 12").unwrap();
        assert!(matches!(
            check("preview", "base", b"repomd 12"),
            Err(FreshnessError::Channel { .. })
        ));
        assert!(matches!(
            check("stable", "extras", b"x"),
            Err(FreshnessError::NoRepository { .. })
        ));
        // The frozen mirror: rightly signed, and not current any more.
        let frozen = check("stable", "base", b"repomd 11")
            .unwrap_err()
            .to_string();
        assert!(
            frozen.contains("of release 12, which is current"),
            "{frozen}"
        );
    }

    #[test]
    fn what_is_forged_or_old_or_to_come_does_not_hold() {
        let key = StatementKey::from_seed(&[1; 32]).unwrap();
        let other = StatementKey::from_seed(&[2; 32]).unwrap();
        let opened = |signer: &StatementKey, issued, expires| {
            open(&signed(signer, issued, expires), &[key.public()], at(0))
        };
        assert!(matches!(
            opened(&other, -10, 10),
            Err(FreshnessError::Statement(_))
        ));
        assert!(matches!(
            opened(&key, -10, 0),
            Err(FreshnessError::Expired { .. })
        ));
        assert!(matches!(
            opened(&key, 601, 9_999),
            Err(FreshnessError::NotYet { .. })
        ));
        assert!(opened(&key, 599, 9_999).is_ok());
        assert!(open(&signed(&key, -1, 9), &[], at(0)).is_err());
    }
}
