//! What was seen of the registered mirrors, said and signed for a short while: for each repository of each mirror the
//! release that it had, when it was looked at, and whether clients are sent to it. So whoever runs a mirror, or picks one,
//! need not believe a web page, and can keep what was said.
//!
//! An in-toto statement in a DSSE envelope, signed with the statement key, at `/mirrors/seen.json`. Its subjects are the
//! `repomd.xml` files that were seen; its predicate:
//!
//! ```json
//! {"schema":"hallmark-sightings/1","issued":"2026-11-21T10:00:00Z","expires":"2026-11-21T11:00:00Z","mirrors":[
//!   {"name":"oslo","urls":["https://oslo.example/hallmark"],"listed":true,"places":[
//!     {"channel":"stable","repo":"base","arch":"x86_64","release":12,"repomd":"5b1f…","checked":"2026-11-21T09:58:00Z"}]}]}
//! ```
//!
//! The server looks; the signer, which has no network, can vouch for less: that each digest is of that release of its own,
//! that no look is older than a day or to come, and when it was said.

use crate::dsse::{Envelope, StatementPublicKey};
use crate::release::ReleaseDocument;
use crate::statement::{Statement, StatementError, Subject};
use crate::{Arch, ChannelName, FileDigest, MirrorName, ReleaseId, RepoName, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Predicate type of [`Sightings`].
pub const SIGHTINGS: &str = "https://hallmark.example/attestation/mirror-sightings/v0.1";
/// [`Sightings::schema`] of this version.
pub const SCHEMA: &str = "hallmark-sightings/1";
/// Where the server has it.
pub const PATH: &str = "/mirrors/seen.json";
/// Largest envelope that is read, bytes.
pub const MAX_BYTES: u64 = 8 << 20;
/// A look that is older is not spoken of, seconds.
pub const MAX_AGE_SECS: i64 = 86_400;
/// Places that are spoken of, of all mirrors together.
pub const PLACES_MAX: usize = 20_000;

/// What was seen of mirrors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sightings {
    /// [`SCHEMA`].
    pub schema: String,
    /// When it was said.
    pub issued: Timestamp,
    /// From when on it says nothing any more.
    pub expires: Timestamp,
    /// Sorted by name.
    pub mirrors: Vec<Sighting>,
}

/// What was seen of one mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sighting {
    /// Its name.
    pub name: MirrorName,
    /// Where it is.
    pub urls: Vec<String>,
    /// Whether clients are sent there.
    pub listed: bool,
    /// Its repositories that had a release of ours.
    pub places: Vec<SeenPlace>,
}

/// One repository of a channel on a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeenPlace {
    /// Channel.
    pub channel: ChannelName,
    /// Repository.
    pub repo: RepoName,
    /// Architecture.
    pub arch: Arch,
    /// The release that it had.
    pub release: ReleaseId,
    /// SHA-256 of that release's `repomd.xml`.
    pub repomd: FileDigest,
    /// When it was looked at.
    pub checked: Timestamp,
    /// What was wrong with it besides; none: nothing was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Why nothing can be said, or what is said cannot be believed.
#[derive(Debug, thiserror::Error)]
pub enum SightingsError {
    /// Not by a key that counts: forged, damaged, or of another version.
    #[error("the statement about mirrors cannot be believed")]
    Statement(#[from] StatementError),
    /// Another version's.
    #[error("the schema of the statement about mirrors is `{0}`, not `{SCHEMA}`")]
    Schema(String),
    /// Too old: ask for the current one.
    #[error("the statement about mirrors ended at {expires}")]
    Expired {
        /// When.
        expires: Timestamp,
    },
    /// From the future: a clock is wrong.
    #[error("the statement about mirrors was made at {issued}, which is to come")]
    NotYet {
        /// When.
        issued: Timestamp,
    },
    /// The server's fault: it speaks of what is no release's.
    #[error(
        "{mirror} is said to have {repomd} at {place} of release {release}, which has another repomd.xml there"
    )]
    NotOurs {
        /// Which mirror.
        mirror: MirrorName,
        /// Repository and architecture.
        place: String,
        /// The release.
        release: ReleaseId,
        /// What it is said to have.
        repomd: FileDigest,
    },
    /// The server's fault: what is too old, or to come, is not spoken of.
    #[error("{mirror} was looked at at {checked}, which is not within the last day")]
    Look {
        /// Which mirror.
        mirror: MirrorName,
        /// When.
        checked: Timestamp,
    },
    /// The server's fault.
    #[error("{count} repositories of mirrors are spoken of, more than {PLACES_MAX}")]
    TooMany {
        /// How many.
        count: usize,
    },
}

impl Sightings {
    /// Whether all that is seen is of these releases, and was seen within the last day: what a signer can tell.
    pub fn check(
        &self,
        releases: &[ReleaseDocument],
        now: Timestamp,
    ) -> Result<(), SightingsError> {
        let count: usize = self.mirrors.iter().map(|mirror| mirror.places.len()).sum();
        if count > PLACES_MAX {
            return Err(SightingsError::TooMany { count });
        }
        let mut known = BTreeMap::new();
        for release in releases {
            for repo in &release.repos {
                known.insert((release.id, &repo.repo, &repo.arch), repo.repomd);
            }
        }
        for mirror in &self.mirrors {
            for place in &mirror.places {
                let own = known.get(&(place.release, &place.repo, &place.arch));
                if own != Some(&place.repomd) {
                    return Err(SightingsError::NotOurs {
                        mirror: mirror.name.clone(),
                        place: format!("{} {}", place.repo, place.arch),
                        release: place.release,
                        repomd: place.repomd,
                    });
                }
                let oldest = now.plus_secs(-MAX_AGE_SECS);
                if place.checked < oldest || place.checked.is_to_come(now) {
                    return Err(SightingsError::Look {
                        mirror: mirror.name.clone(),
                        checked: place.checked,
                    });
                }
            }
        }
        Ok(())
    }

    /// What is signed.
    pub fn statement(self) -> Statement<Self> {
        let mut subjects = BTreeMap::new();
        for place in self.mirrors.iter().flat_map(|mirror| &mirror.places) {
            let (release, repo, arch) = (place.release, &place.repo, &place.arch);
            let name = format!("r/{release}/{repo}/{arch}/repodata/repomd.xml");
            subjects.insert(name, place.repomd);
        }
        let subjects = subjects.iter();
        let subjects = subjects.map(|(name, digest)| Subject::file(name, *digest));
        Statement::new(SIGHTINGS, subjects.collect(), self)
    }
}

/// Believes a statement that one of the keys signed and that holds now.
pub fn open(
    envelope: &Envelope,
    keys: &[StatementPublicKey],
    now: Timestamp,
) -> Result<Sightings, SightingsError> {
    let mut last = None;
    for key in keys {
        match Statement::<Sightings>::open(envelope, key, SIGHTINGS) {
            Ok(statement) => return holds(statement.predicate, now),
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        Some(error) => error.into(),
        None => {
            let key_id = "none: no key was given".to_owned();
            StatementError::from(crate::dsse::DsseError::Signature { key_id }).into()
        }
    })
}

fn holds(said: Sightings, now: Timestamp) -> Result<Sightings, SightingsError> {
    if said.schema != SCHEMA {
        return Err(SightingsError::Schema(
            said.schema.chars().take(80).collect(),
        ));
    }
    if said.expires <= now {
        return Err(SightingsError::Expired {
            expires: said.expires,
        });
    }
    if said.issued.is_to_come(now) {
        return Err(SightingsError::NotYet {
            issued: said.issued,
        });
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsse::StatementKey;
    use crate::release::{self, ReleaseRepo};
    use crate::timestamp::CLOCK_SKEW_SECS;

    const NOW: i64 = 1_800_000_000;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_unix_secs(NOW + secs)
    }

    fn release() -> ReleaseDocument {
        ReleaseDocument {
            schema: release::SCHEMA.to_owned(),
            id: ReleaseId(7),
            previous: None,
            issued: at(-10),
            repos: vec![ReleaseRepo {
                repo: "base".parse().unwrap(),
                arch: "x86_64".parse().unwrap(),
                repomd: FileDigest::of(b"7"),
                package_list: FileDigest::of(b""),
                packages: 0,
            }],
        }
    }

    fn seen(release: u64, repomd: &[u8], checked: Timestamp) -> Sightings {
        let place = SeenPlace {
            channel: "stable".parse().unwrap(),
            repo: "base".parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
            release: ReleaseId(release),
            repomd: FileDigest::of(repomd),
            checked,
            trouble: None,
        };
        Sightings {
            schema: SCHEMA.to_owned(),
            issued: at(0),
            expires: at(60),
            mirrors: vec![Sighting {
                name: "oslo".parse().unwrap(),
                urls: vec!["https://oslo.example/".to_owned()],
                listed: true,
                places: vec![place],
            }],
        }
    }

    #[test]
    fn only_what_our_own_releases_have_and_what_was_seen_of_late_is_spoken_of() {
        for (said, words) in [
            (seen(7, b"7", at(-5)), None),
            (seen(7, b"6", at(-5)), Some("has another repomd.xml")),
            (seen(6, b"7", at(-5)), Some("has another repomd.xml")),
            (
                seen(7, b"7", at(-MAX_AGE_SECS - 1)),
                Some("within the last day"),
            ),
            (
                seen(7, b"7", at(CLOCK_SKEW_SECS + 1)),
                Some("within the last day"),
            ),
        ] {
            let found = said.check(&[release()], at(0)).err();
            let found = found.map(|error| error.to_string());
            match words {
                None => assert_eq!(found, None),
                Some(words) => assert!(
                    found.as_ref().is_some_and(|it| it.contains(words)),
                    "{found:?}"
                ),
            }
        }
    }

    #[test]
    fn a_statement_holds_for_its_time_and_by_its_key_alone() {
        let key = StatementKey::from_seed(&[3; 32]).unwrap();
        let envelope = seen(7, b"7", at(-5)).statement().sign(&key).unwrap();
        let open = |key: &StatementKey, secs| open(&envelope, &[key.public()], at(secs));
        assert_eq!(open(&key, 59).unwrap().mirrors.len(), 1);
        for (secs, words) in [(60, "ended at"), (-CLOCK_SKEW_SECS - 1, "is to come")] {
            let error = open(&key, secs).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let stranger = StatementKey::from_seed(&[4; 32]).unwrap();
        assert!(matches!(
            open(&stranger, 0),
            Err(SightingsError::Statement(_))
        ));
    }
}
