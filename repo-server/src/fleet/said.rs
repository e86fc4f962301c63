//! Has the signer say, now and then, what was seen of mirrors: see `repo_model::sightings`. What is said is kept in
//! memory; after a start it is said anew.

use crate::app::{App, now};
use crate::db::{self, DbError};
use crate::jobs::{JobError, chain};
use crate::signer_link;
use crate::store::StoreError;
use repo_model::dsse::Envelope;
use repo_model::sightings::{MAX_AGE_SECS, SeenPlace, Sighting};
use repo_model::wire::mirrors::{Health, MirrorStatus};
use repo_model::wire::signer::SightingsRequest;
use repo_model::{Arch, FileDigest, ReleaseId, RepoName, Timestamp};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};

/// Said anew after this many seconds, and after this many when there was nothing to say or nobody to say it.
const EACH_SECS: i64 = 900;
const RETRY_SECS: i64 = 120;
/// How long it holds, seconds.
const LIFE_SECS: u64 = 3_600;
/// Most releases that are spoken of: the signer takes no more.
const RELEASES_MAX: usize = 200;
/// Largest statement of a release, bytes.
const MAX_RELEASE_BYTES: u64 = 16 << 20;

/// What was said last.
#[derive(Debug, Clone)]
pub struct Said {
    /// The signed envelope, JSON.
    pub envelope: Vec<u8>,
    /// When.
    pub issued: Timestamp,
    /// Until when it holds.
    pub expires: Timestamp,
}

/// Has it said anew when it is time. `next`: when that is; returns when it is again.
pub async fn renew(app: &App, next: Timestamp) -> Timestamp {
    let at = now();
    // A clock that was set back must not keep everybody waiting.
    if at < next && next <= at.plus_secs(EACH_SECS) {
        return next;
    }
    match say(app, at).await {
        Ok(said) => {
            // The first mirror need not wait long.
            let pause = if said.is_some() {
                EACH_SECS
            } else {
                RETRY_SECS
            };
            app.fleet.set_said(said);
            at.plus_secs(pause)
        }
        Err(error) => {
            let error = chain(&error);
            tracing::warn!(error, "nothing new is said about mirrors: {error}");
            at.plus_secs(RETRY_SECS)
        }
    }
}

/// None: no mirror is spoken of.
async fn say(app: &App, at: Timestamp) -> Result<Option<Said>, JobError> {
    let (mirrors, releases) = app.db.read(move |connection| seen(connection, at)).await?;
    if mirrors.is_empty() {
        return Ok(None);
    }
    let mut envelopes = Vec::with_capacity(releases.len());
    for release in releases {
        let json = match app.store.get(release, MAX_RELEASE_BYTES).await {
            Ok(json) => json,
            // Of a release that it is not shown the signer says nothing; of the others it does.
            Err(StoreError::Missing { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let envelope = Envelope::from_json(&json).map_err(|error| {
            JobError::Broken(format!(
                "the statement of a release does not read back: {error}"
            ))
        })?;
        envelopes.push(envelope);
    }
    let request = SightingsRequest {
        mirrors,
        releases: envelopes,
        secs: LIFE_SECS,
    };
    let server = app.config.server.clone();
    let asked =
        tokio::task::spawn_blocking(move || signer_link::connect(&server)?.sign_sightings(request));
    let said = asked
        .await
        .map_err(|error| JobError::Away(error.to_string()))?
        .map_err(JobError::Signer)?;
    let issued = now();
    Ok(Some(Said {
        envelope: said.to_json(),
        issued,
        expires: issued.plus_secs(i64::try_from(LIFE_SECS).unwrap_or(i64::MAX)),
    }))
}

/// Digests of `repomd.xml` by repository and architecture.
type Repomds = BTreeMap<(RepoName, Arch), FileDigest>;

/// What is to be said, and the signed statements of the releases that it is about.
fn seen(
    connection: &Connection,
    at: Timestamp,
) -> Result<(Vec<Sighting>, Vec<FileDigest>), DbError> {
    let mut known: BTreeMap<ReleaseId, (FileDigest, Repomds)> = BTreeMap::new();
    let mut mirrors = Vec::new();
    for status in super::statuses(connection, at)?
        .iter()
        .filter(|status| status.is_open())
    {
        for release in status.places.iter().filter_map(|place| place.release) {
            if !known.contains_key(&release)
                && let Some(row) = db::releases::by_id(connection, release)?
            {
                let repos = db::releases::repos(connection, release)?.into_iter();
                let repos = repos.map(|repo| ((repo.repo, repo.arch), repo.repomd));
                known.insert(release, (row.envelope, repos.collect()));
            }
        }
        mirrors.push(sighting(status, at, &known));
    }
    let newest = keep_newest(&mut mirrors, RELEASES_MAX);
    let releases = known.into_iter();
    let releases = releases.filter(|(release, _)| newest.contains(release));
    Ok((
        mirrors,
        releases.map(|(_, (envelope, _))| envelope).collect(),
    ))
}

/// Leaves nothing but the newest releases that are spoken of: somebody who keeps hundreds of old ones must not silence
/// all the others.
fn keep_newest(mirrors: &mut [Sighting], most: usize) -> BTreeSet<ReleaseId> {
    let places = mirrors.iter().flat_map(|mirror| &mirror.places);
    let all: BTreeSet<ReleaseId> = places.map(|place| place.release).collect();
    let newest: BTreeSet<ReleaseId> = all.into_iter().rev().take(most).collect();
    for mirror in mirrors {
        mirror
            .places
            .retain(|place| newest.contains(&place.release));
    }
    newest
}

fn sighting(
    status: &MirrorStatus,
    at: Timestamp,
    known: &BTreeMap<ReleaseId, (FileDigest, Repomds)>,
) -> Sighting {
    let oldest = at.plus_secs(-MAX_AGE_SECS / 2);
    let places = status
        .places
        .iter()
        .filter(|place| place.checked_at >= oldest);
    let places = places.filter_map(|place| {
        let release = place.release?;
        let (_, repos) = known.get(&release)?;
        let repomd = repos.get(&(place.repo.clone(), place.arch.clone()))?;
        Some(SeenPlace {
            channel: place.channel.clone(),
            repo: place.repo.clone(),
            arch: place.arch.clone(),
            release,
            repomd: *repomd,
            checked: place.checked_at,
            trouble: place.trouble.as_ref().map(ToString::to_string),
        })
    });
    Sighting {
        name: status.name.clone(),
        urls: status.urls.clone(),
        listed: status.health == Health::Listed,
        places: places.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(name: &str, releases: &[u64]) -> Sighting {
        let place = |release: &u64| SeenPlace {
            channel: "stable".parse().unwrap(),
            repo: "base".parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
            release: ReleaseId(*release),
            repomd: FileDigest::of(&release.to_be_bytes()),
            checked: Timestamp::from_unix_secs(0),
            trouble: None,
        };
        Sighting {
            name: name.parse().unwrap(),
            urls: Vec::new(),
            listed: true,
            places: releases.iter().map(place).collect(),
        }
    }

    #[test]
    fn of_too_many_releases_the_newest_are_spoken_of() {
        let mut mirrors = [mirror("hoarder", &[1, 2, 3, 4]), mirror("oslo", &[4, 5])];
        let newest = keep_newest(&mut mirrors, 2);
        assert_eq!(newest, BTreeSet::from([ReleaseId(4), ReleaseId(5)]));
        assert_eq!(mirrors, [mirror("hoarder", &[4]), mirror("oslo", &[4, 5])]);
    }
}
