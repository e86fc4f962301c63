//! What clients are told, made ahead of their asking: for each repository of each channel its `repomd.xml` with
//! those before it, and the mirrors that have one of these.

#[cfg(test)]
mod swapping;

use super::lag;
use crate::app::{App, now};
use crate::db::channels::Move;
use crate::db::mirrors::{self as rows, MirrorRow, PlaceRow};
use crate::db::releases::ReleaseRepoRow;
use crate::db::{self, DbError};
use crate::jobs::JobError;
use mirrors::metalink::{Head, Prepared, Protocol, Repomd};
use mirrors::nearness::{Asker, Spot, order};
use repo_model::wire::mirrors::{Health, Standing};
use repo_model::{Arch, ChannelName, FileDigest, MirrorName, ReleaseId, RepoName, Timestamp};
use rusqlite::Connection;
use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;

const MAX_REPOMD_BYTES: u64 = 4 << 20;
/// Below which preference no mirror falls, so that the server's own address stays behind all of them.
const LEAST_PREFERENCE: u8 = 2;

/// All answers.
#[derive(Debug, Default)]
pub struct Snapshot {
    places: HashMap<ChannelName, HashMap<RepoName, HashMap<Arch, Answers>>>,
    /// Whether any mirror is listed anywhere.
    pub has_mirrors: bool,
}

/// The answers about one repository of one channel.
#[derive(Debug)]
pub struct Answers {
    head: Head,
    /// The server itself: the pinned release, and where it moves.
    origin: Prepared,
    origin_base: String,
    listed: Vec<Listed>,
}

/// A mirror that has it.
#[derive(Debug)]
struct Listed {
    spot: Spot,
    /// Its best address first.
    addresses: Vec<Address>,
}

#[derive(Debug)]
struct Address {
    protocol: Protocol,
    metalink: Prepared,
    base: String,
}

impl Snapshot {
    /// The answers about a repository; none when it is not known yet.
    pub fn answers(&self, channel: &ChannelName, repo: &RepoName, arch: &Arch) -> Option<&Answers> {
        self.places.get(channel)?.get(repo)?.get(arch)
    }
}

/// What a client wants of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// The only protocol of mirrors.
    pub protocol: Option<Protocol>,
    /// Most mirrors.
    pub most: usize,
    /// The server itself comes before all mirrors: for clients that give up when the first address that they
    /// are told does not answer.
    pub origin_first: bool,
}

impl Answers {
    /// The metalink for a client.
    pub fn metalink(&self, asker: &Asker, wish: Wish) -> String {
        let chosen = self.chosen(asker, wish);
        let best = if wish.origin_first { 99 } else { 100 };
        let falling = (LEAST_PREFERENCE..=best).rev();
        let falling = falling.chain(std::iter::repeat(LEAST_PREFERENCE));
        let mirrors = chosen
            .iter()
            .zip(falling)
            .map(|(address, preference)| (&address.metalink, preference));
        match wish.origin_first || chosen.is_empty() {
            true => self
                .head
                .document([(&self.origin, 100)].into_iter().chain(mirrors)),
            false => self.head.document(mirrors.chain([(&self.origin, 1)])),
        }
    }

    /// The same as plain lines: where the repository is, the best first.
    pub fn mirrorlist(&self, asker: &Asker, wish: Wish) -> String {
        let chosen = self.chosen(asker, wish);
        let mut bases: Vec<&String> = chosen.iter().map(|address| &address.base).collect();
        let at = if wish.origin_first { 0 } else { bases.len() };
        bases.insert(at, &self.origin_base);
        bases
            .into_iter()
            .flat_map(|base| [base.as_str(), "\n"])
            .collect()
    }

    fn chosen(&self, asker: &Asker, wish: Wish) -> Vec<&Address> {
        let spots = self.listed.iter().map(|listed| &listed.spot);
        let fits = |address: &&Address| {
            wish.protocol
                .is_none_or(|wanted| address.protocol == wanted)
        };
        order(spots, asker, wish.most)
            .into_iter()
            .filter_map(|index| self.listed.get(index)?.addresses.iter().find(fits))
            .collect()
    }
}

/// One repository of a channel as the database has it.
struct Place {
    channel: ChannelName,
    current: (ReleaseId, Timestamp),
    repo: ReleaseRepoRow,
    /// Release, instant and `repomd.xml` of those before, newest first.
    alternates: Vec<(ReleaseId, Timestamp, FileDigest)>,
}

/// Everything that a snapshot is made of, read at one moment.
struct Read {
    places: Vec<Place>,
    mirrors: Vec<MirrorRow>,
    seen: HashMap<MirrorName, Vec<PlaceRow>>,
}

/// Makes a snapshot of the database as it is now.
pub async fn make(app: &App) -> Result<Snapshot, JobError> {
    let mirrors = &app.config.mirrors;
    let since = now().plus_secs(-i64::try_from(mirrors.alternates_secs).unwrap_or(i64::MAX));
    let most = mirrors.alternates;
    let read = app
        .db
        .read(move |connection| read(connection, most, since))
        .await?;
    let mut snapshot = Snapshot::default();
    let mut used = HashSet::new();
    for place in &read.places {
        let (release, issued) = place.current;
        let current = measured(app, place.repo.repomd, issued).await?;
        used.insert(place.repo.repomd);
        let mut alternates = Vec::new();
        for (_, issued, digest) in &place.alternates {
            alternates.push(measured(app, *digest, *issued).await?);
            used.insert(*digest);
        }
        let (channel, repo, arch) = (&place.channel, &place.repo.repo, &place.repo.arch);
        let url = &app.config.server.public_url;
        let pinned = format!("{url}/r/{release}/{repo}/{arch}/repodata/repomd.xml");
        let listed = listed(&read, place);
        snapshot.has_mirrors |= !listed.is_empty();
        let answers = Answers {
            head: Head::new(&current, &alternates),
            origin: Prepared::new(
                Protocol::of_url(&pinned).unwrap_or(Protocol::Http),
                None,
                &pinned,
            ),
            origin_base: format!("{url}/{channel}/{repo}/{arch}/"),
            listed,
        };
        let repos = snapshot.places.entry(channel.clone()).or_default();
        repos
            .entry(repo.clone())
            .or_default()
            .insert(arch.clone(), answers);
    }
    let mut kept = app
        .fleet
        .repomds
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    kept.retain(|digest, _| used.contains(digest));
    Ok(snapshot)
}

fn read(connection: &Connection, most: usize, since: Timestamp) -> Result<Read, DbError> {
    let mut places = Vec::new();
    for channel in db::channels::all(connection)? {
        let Some(current) = channel.release else {
            continue;
        };
        let Some(release) = db::releases::by_id(connection, current)? else {
            continue;
        };
        let moves: Vec<Move> = db::channels::history(connection, &channel.channel)?;
        let mut before = Vec::new();
        for id in lag::alternates(&moves, most, since) {
            if let Some(release) = db::releases::by_id(connection, id)? {
                before.push((id, release.issued, db::releases::repos(connection, id)?));
            }
        }
        for repo in db::releases::repos(connection, current)? {
            let same = |row: &&ReleaseRepoRow| row.repo == repo.repo && row.arch == repo.arch;
            let alternates = before
                .iter()
                .filter_map(|(id, issued, rows)| {
                    Some((*id, *issued, rows.iter().find(same)?.repomd))
                })
                .collect();
            places.push(Place {
                channel: channel.channel.clone(),
                current: (current, release.issued),
                repo,
                alternates,
            });
        }
    }
    let mut mirrors = rows::all(connection)?;
    mirrors.retain(|row| row.standing == Standing::Approved && row.state.health == Health::Listed);
    Ok(Read {
        places,
        mirrors,
        seen: rows::all_places(connection)?,
    })
}

/// The mirrors that have a `repomd.xml` which the metalink of this place names.
fn listed(read: &Read, place: &Place) -> Vec<Listed> {
    let (channel, repo, arch) = (&place.channel, &place.repo.repo, &place.repo.arch);
    let mut listed = Vec::new();
    for mirror in &read.mirrors {
        let registration = &mirror.registration;
        let seen = read
            .seen
            .get(&registration.name)
            .map_or(&[][..], Vec::as_slice);
        let here = |row: &&PlaceRow| (&row.channel, &row.repo, &row.arch) == (channel, repo, arch);
        let Some(release) = seen.iter().find(here).and_then(|row| row.release) else {
            continue;
        };
        let current = release == place.current.0;
        if !current && !place.alternates.iter().any(|(id, ..)| *id == release) {
            continue;
        }
        let location = registration.country.map(|country| country.to_string());
        let address = |url: &String| {
            let base = format!("{url}/{channel}/{repo}/{arch}/");
            let protocol = Protocol::of_url(url)?;
            let file = format!("{base}repodata/repomd.xml");
            Some(Address {
                protocol,
                metalink: Prepared::new(protocol, location.as_deref(), &file),
                base,
            })
        };
        listed.push(Listed {
            spot: Spot {
                name: registration.name.to_string(),
                country: registration.country,
                asns: registration.asns.clone(),
                netblocks: registration.netblocks.clone(),
                weight: registration.weight,
                private: registration.private,
                preferred: registration.preferred,
                current,
            },
            addresses: registration.urls.iter().filter_map(address).collect(),
        });
    }
    listed
}

/// Size and digests of a stored `repomd.xml`; read once.
async fn measured(app: &App, digest: FileDigest, issued: Timestamp) -> Result<Repomd, JobError> {
    let known = {
        let kept = app
            .fleet
            .repomds
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kept.get(&digest).cloned()
    };
    if let Some(known) = known {
        return Ok(known);
    }
    let repomd = Repomd::of(&app.store.get(digest, MAX_REPOMD_BYTES).await?, issued);
    let mut kept = app
        .fleet
        .repomds
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    kept.insert(digest, repomd.clone());
    Ok(repomd)
}
