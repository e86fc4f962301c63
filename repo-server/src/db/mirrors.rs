//! Registered mirrors: who may be listed, and what was seen of each.

use super::{DbError, from_json, parsed, parsed_opt, to_json};
use mirrors::probing::State;
use repo_model::wire::mirrors::{Arrival, Health, Probe, Registration, Standing, Trouble};
use repo_model::{Arch, ChannelName, FileDigest, MirrorName, ReleaseId, RepoName, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use std::collections::HashMap;

/// A registration that nobody decided is forgotten after this time, seconds.
const PENDING_SECS: i64 = 30 * 86_400;

/// One mirror.
#[derive(Debug, Clone)]
pub struct MirrorRow {
    /// As its operator describes it.
    pub registration: Registration,
    /// Whether it may be listed.
    pub standing: Standing,
    /// Why it was turned away.
    pub rejected_because: Option<String>,
    /// What is remembered between looks.
    pub state: State,
    /// Since when its health is what it is.
    pub health_since: Option<Timestamp>,
}

/// One repository of a channel on a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceRow {
    /// Channel.
    pub channel: ChannelName,
    /// Repository.
    pub repo: RepoName,
    /// Architecture.
    pub arch: Arch,
    /// The release it has.
    pub release: Option<ReleaseId>,
    /// The `repomd.xml` whose metadata files were compared.
    pub whole: Option<FileDigest>,
    /// When it was looked at.
    pub checked_at: Timestamp,
    /// What is wrong with it.
    pub trouble: Option<Trouble>,
}

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// It is recorded.
    New,
    /// The name is taken.
    Taken,
    /// Too many wait for a decision.
    Full,
}

const COLUMNS: &str = "registration, standing, rejected_because, health, health_since, bad_in_row, good_in_row, distrusted";

/// Records a registration.
pub fn enter(
    tx: &Transaction<'_>,
    registration: &Registration,
    standing: Standing,
    max_pending: u32,
    now: Timestamp,
) -> Result<Entered, DbError> {
    forget_undecided(tx, now)?;
    let name = registration.name.as_str();
    if by_name(tx, &registration.name)?.is_some() {
        return Ok(Entered::Taken);
    }
    let sql = "SELECT count(*) FROM mirrors WHERE standing = 'pending'";
    let pending: u32 = tx.query_row(sql, [], |row| row.get(0))?;
    if standing == Standing::Pending && pending >= max_pending {
        return Ok(Entered::Full);
    }
    tx.execute(
        "INSERT INTO mirrors (name, registration, standing, registered_at) VALUES (?1, ?2, ?3, ?4)",
        params![
            name,
            to_json(registration, "registration")?,
            standing.name(),
            now.unix_secs()
        ],
    )?;
    Ok(Entered::New)
}

/// Forgets registrations that nobody decided for too long; their tokens end with them.
fn forget_undecided(tx: &Transaction<'_>, now: Timestamp) -> Result<(), DbError> {
    let before = now.plus_secs(-PENDING_SECS).unix_secs();
    let mut statement = tx.prepare_cached(
        "DELETE FROM mirrors WHERE standing = 'pending' AND registered_at < ?1 RETURNING name",
    )?;
    let names = statement.query_map([before], |row| row.get::<_, String>("name"))?;
    for name in names.collect::<Result<Vec<_>, _>>()? {
        super::tokens::revoke_scopes(tx, &format!("mirror:{name}"), now)?;
    }
    Ok(())
}

/// Describes a mirror anew; what was seen of it at other addresses is forgotten. `false`: there is none.
pub fn describe(tx: &Transaction<'_>, registration: &Registration) -> Result<bool, DbError> {
    let Some(before) = by_name(tx, &registration.name)? else {
        return Ok(false);
    };
    let name = registration.name.as_str();
    tx.execute(
        "UPDATE mirrors SET registration = ?2, next_probe_at = 0 WHERE name = ?1",
        params![name, to_json(registration, "registration")?],
    )?;
    if before.registration.urls != registration.urls {
        tx.execute("DELETE FROM mirror_places WHERE mirror = ?1", [name])?;
        tx.execute(
            "UPDATE mirrors SET health = 'new', health_since = NULL, bad_in_row = 0, good_in_row = 0 WHERE name = ?1",
            [name],
        )?;
    }
    Ok(true)
}

/// Lets a mirror in, or turns it away for a reason; `false`: there is none.
pub fn decide(
    tx: &Transaction<'_>,
    name: &MirrorName,
    rejected_because: Option<&str>,
) -> Result<bool, DbError> {
    let standing = match rejected_because {
        None => Standing::Approved,
        Some(_) => Standing::Rejected,
    };
    let changed = tx.execute(
        "UPDATE mirrors SET standing = ?2, rejected_because = ?3, next_probe_at = 0 WHERE name = ?1",
        params![name.as_str(), standing.name(), rejected_because],
    )?;
    Ok(changed == 1)
}

/// Has a mirror looked at as soon as may be; `false`: there is none that may be.
pub fn hurry(tx: &Transaction<'_>, name: &MirrorName) -> Result<bool, DbError> {
    let sql = "UPDATE mirrors SET next_probe_at = 0 WHERE name = ?1 AND standing = 'approved'";
    Ok(tx.execute(sql, [name.as_str()])? == 1)
}

/// Forgets a mirror and all that was seen of it; `false`: there is none.
pub fn remove(tx: &Transaction<'_>, name: &MirrorName) -> Result<bool, DbError> {
    Ok(tx.execute("DELETE FROM mirrors WHERE name = ?1", [name.as_str()])? == 1)
}

/// One mirror.
pub fn by_name(connection: &Connection, name: &MirrorName) -> Result<Option<MirrorRow>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM mirrors WHERE name = ?1");
    let found = connection.query_row(&sql, [name.as_str()], |row| Ok(mirror_row(row)));
    found.optional()?.transpose()
}

/// All mirrors by name.
pub fn all(connection: &Connection) -> Result<Vec<MirrorRow>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM mirrors ORDER BY name");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([], |row| Ok(mirror_row(row)))?;
    rows.map(|row| row?).collect()
}

fn mirror_row(row: &Row<'_>) -> Result<MirrorRow, DbError> {
    let text = |column: &str| -> Result<String, DbError> { Ok(row.get(column)?) };
    let standing = text("standing")?;
    let health = text("health")?;
    Ok(MirrorRow {
        registration: from_json(&text("registration")?, "registration")?,
        standing: [Standing::Pending, Standing::Approved]
            .into_iter()
            .find(|one| one.name() == standing)
            .unwrap_or(Standing::Rejected),
        rejected_because: row.get("rejected_because")?,
        state: State {
            health: [Health::New, Health::Listed]
                .into_iter()
                .find(|one| one.name() == health)
                .unwrap_or(Health::Dropped),
            bad_in_row: row.get("bad_in_row")?,
            good_in_row: row.get("good_in_row")?,
            distrusted: row.get("distrusted")?,
        },
        health_since: row
            .get::<_, Option<i64>>("health_since")?
            .map(Timestamp::from_unix_secs),
    })
}

/// The approved mirrors whose time has come, the longest overdue first.
pub fn due(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<MirrorRow>, DbError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM mirrors WHERE standing = 'approved' AND next_probe_at <= ?1 ORDER BY next_probe_at LIMIT ?2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![now.unix_secs(), limit], |row| Ok(mirror_row(row)))?;
    rows.map(|row| row?).collect()
}

/// When to look at a mirror next; before it is looked at, so that one that breaks the looking is not
/// looked at without end.
pub fn set_next(tx: &Transaction<'_>, name: &MirrorName, at: Timestamp) -> Result<(), DbError> {
    tx.execute(
        "UPDATE mirrors SET next_probe_at = ?2 WHERE name = ?1 AND next_probe_at < ?2",
        params![name.as_str(), at.unix_secs()],
    )?;
    Ok(())
}

/// What one mirror has, sorted.
pub fn places(connection: &Connection, name: &MirrorName) -> Result<Vec<PlaceRow>, DbError> {
    let all = places_where(connection, "mirror = ?1", name.as_str())?;
    Ok(all.into_values().next().unwrap_or_default())
}

/// What every mirror has, sorted, by mirror.
pub fn all_places(connection: &Connection) -> Result<HashMap<MirrorName, Vec<PlaceRow>>, DbError> {
    places_where(connection, "mirror <> ?1", "")
}

fn places_where(
    connection: &Connection,
    condition: &str,
    value: &str,
) -> Result<HashMap<MirrorName, Vec<PlaceRow>>, DbError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT mirror, channel, repo, arch, release_id, whole, checked_at, trouble FROM mirror_places
         WHERE {condition} ORDER BY mirror, channel, repo, arch"
    ))?;
    let mut rows = statement.query([value])?;
    let mut found: HashMap<MirrorName, Vec<PlaceRow>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let place = PlaceRow {
            channel: parsed(row, "channel")?,
            repo: parsed(row, "repo")?,
            arch: parsed(row, "arch")?,
            release: row.get::<_, Option<u64>>("release_id")?.map(ReleaseId),
            whole: parsed_opt(row, "whole")?,
            checked_at: Timestamp::from_unix_secs(row.get("checked_at")?),
            trouble: trouble(row)?,
        };
        found.entry(parsed(row, "mirror")?).or_default().push(place);
    }
    Ok(found)
}

fn trouble(row: &Row<'_>) -> Result<Option<Trouble>, DbError> {
    let json: Option<String> = row.get("trouble")?;
    json.map(|json| from_json(&json, "trouble")).transpose()
}

fn trouble_json(trouble: Option<&Trouble>) -> Result<Option<String>, DbError> {
    trouble
        .map(|trouble| to_json(trouble, "trouble"))
        .transpose()
}

/// What one look found.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Mirror.
    pub mirror: MirrorName,
    /// What is remembered from now on.
    pub state: State,
    /// What it has now; repositories that are not among them it has not.
    pub places: Vec<PlaceRow>,
    /// The look.
    pub probe: Probe,
    /// Releases that it was seen to have in all that it has of a channel, and when the channel moved there.
    pub arrived: Vec<(ChannelName, ReleaseId, Timestamp)>,
    /// When to look again.
    pub next_at: Timestamp,
}

/// Records a look, unless the mirror is gone or was turned away meanwhile; `false` then.
pub fn record(tx: &Transaction<'_>, finding: &Finding) -> Result<bool, DbError> {
    let name = finding.mirror.as_str();
    let before = by_name(tx, &finding.mirror)?;
    let Some(before) = before.filter(|row| row.standing == Standing::Approved) else {
        return Ok(false);
    };
    let (state, at) = (finding.state, finding.probe.at);
    let since = match before
        .health_since
        .filter(|_| before.state.health == state.health)
    {
        Some(since) => since,
        None => at,
    };
    tx.execute(
        "UPDATE mirrors SET health = ?2, health_since = ?3, bad_in_row = ?4, good_in_row = ?5, distrusted = ?6,
         next_probe_at = ?7 WHERE name = ?1",
        params![
            name,
            state.health.name(),
            since.unix_secs(),
            state.bad_in_row,
            state.good_in_row,
            state.distrusted,
            finding.next_at.unix_secs()
        ],
    )?;
    tx.execute("DELETE FROM mirror_places WHERE mirror = ?1", [name])?;
    for place in &finding.places {
        tx.execute(
            "INSERT INTO mirror_places (mirror, channel, repo, arch, release_id, whole, checked_at, trouble)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                name,
                place.channel.as_str(),
                place.repo.as_str(),
                place.arch.as_str(),
                place.release.map(|release| release.0),
                place.whole.map(|digest| digest.to_hex()),
                place.checked_at.unix_secs(),
                trouble_json(place.trouble.as_ref())?
            ],
        )?;
    }
    let probe = &finding.probe;
    tx.execute(
        "INSERT INTO mirror_probes (mirror, at, trouble, releases_behind, latency_millis, bytes_per_sec)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            name,
            probe.at.unix_secs(),
            trouble_json(probe.trouble.as_ref())?,
            probe.releases_behind,
            probe.latency_millis,
            probe.bytes_per_sec
        ],
    )?;
    for (channel, release, moved_at) in &finding.arrived {
        tx.execute(
            "INSERT INTO mirror_arrivals (mirror, channel, release_id, moved_at, seen_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING",
            params![name, channel.as_str(), release.0, moved_at.unix_secs(), at.unix_secs()],
        )?;
    }
    Ok(true)
}

/// Forgets looks from before `before`.
pub fn forget(tx: &Transaction<'_>, before: Timestamp) -> Result<(), DbError> {
    tx.execute(
        "DELETE FROM mirror_probes WHERE at < ?1",
        [before.unix_secs()],
    )?;
    tx.execute(
        "DELETE FROM mirror_arrivals WHERE seen_at < ?1",
        [before.unix_secs()],
    )?;
    Ok(())
}

/// The last look at each mirror.
pub fn last_probes(connection: &Connection) -> Result<HashMap<MirrorName, Probe>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT mirror, at, trouble, releases_behind, latency_millis, bytes_per_sec FROM mirror_probes
         WHERE probe_id IN (SELECT max(probe_id) FROM mirror_probes GROUP BY mirror)",
    )?;
    let mut rows = statement.query([])?;
    let mut found = HashMap::new();
    while let Some(row) = rows.next()? {
        found.insert(parsed(row, "mirror")?, probe_row(row)?);
    }
    Ok(found)
}

/// Looks at one mirror, newest first.
pub fn probes(
    connection: &Connection,
    name: &MirrorName,
    limit: u32,
) -> Result<Vec<Probe>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT at, trouble, releases_behind, latency_millis, bytes_per_sec FROM mirror_probes
         WHERE mirror = ?1 ORDER BY probe_id DESC LIMIT ?2",
    )?;
    let mut rows = statement.query(params![name.as_str(), limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(probe_row(row)?);
    }
    Ok(found)
}

fn probe_row(row: &Row<'_>) -> Result<Probe, DbError> {
    Ok(Probe {
        at: Timestamp::from_unix_secs(row.get("at")?),
        trouble: trouble(row)?,
        releases_behind: row.get("releases_behind")?,
        latency_millis: row.get("latency_millis")?,
        bytes_per_sec: row.get("bytes_per_sec")?,
    })
}

/// Arrivals of releases at mirrors, the newest releases first.
pub fn arrivals(connection: &Connection, limit: u32) -> Result<Vec<Arrival>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT mirror, channel, release_id, moved_at, seen_at FROM mirror_arrivals
         ORDER BY release_id DESC, channel, mirror LIMIT ?1",
    )?;
    let rows = statement.query_map([limit], |row| {
        let (moved, seen): (i64, i64) = (row.get("moved_at")?, row.get("seen_at")?);
        Ok(Arrival {
            mirror: parsed(row, "mirror")?,
            channel: parsed(row, "channel")?,
            release: ReleaseId(row.get("release_id")?),
            moved_at: Timestamp::from_unix_secs(moved),
            secs: u64::try_from(seen.saturating_sub(moved)).unwrap_or(0),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The release of this channel's repository whose `repomd.xml` this is: the newest that the channel ever
/// pointed to.
pub fn release_of(
    connection: &Connection,
    channel: &ChannelName,
    repo: &RepoName,
    arch: &Arch,
    repomd: FileDigest,
) -> Result<Option<(ReleaseId, FileDigest)>, DbError> {
    let sql = "SELECT release_id, repomd_signature FROM release_repos r
               WHERE repo = ?2 AND arch = ?3 AND repomd = ?4
                 AND EXISTS (SELECT 1 FROM channel_moves WHERE channel = ?1 AND to_release = r.release_id)
               ORDER BY release_id DESC LIMIT 1";
    let found = connection.query_row(
        sql,
        params![
            channel.as_str(),
            repo.as_str(),
            arch.as_str(),
            repomd.to_hex()
        ],
        |row| {
            Ok((
                ReleaseId(row.get("release_id")?),
                parsed(row, "repomd_signature")?,
            ))
        },
    );
    Ok(found.optional()?)
}

/// A package of a repository in a release: the first whose number is `pivot` or more, or the very first.
pub fn some_package(
    connection: &Connection,
    release: ReleaseId,
    repo: &RepoName,
    arch: &Arch,
    pivot: u64,
) -> Result<Option<(String, FileDigest, u64)>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT p.href, p.signed_file, p.signed_size_bytes FROM members m JOIN packages p ON p.package_id = m.package_id
         WHERE m.repo = ?1 AND m.arch = ?2 AND m.added_release <= ?3
           AND (m.removed_release IS NULL OR m.removed_release > ?3)
           AND m.package_id >= ?4 AND p.signed_file IS NOT NULL
         ORDER BY m.package_id LIMIT 1",
    )?;
    for from in [pivot, 0] {
        let found = statement.query_row(
            params![repo.as_str(), arch.as_str(), release.0, from],
            |row| {
                let digest = parsed(row, "signed_file")?;
                Ok((row.get("href")?, digest, row.get("signed_size_bytes")?))
            },
        );
        if let Some(found) = found.optional()? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The greatest number of a package of a repository.
pub fn last_package(connection: &Connection, repo: &RepoName, arch: &Arch) -> Result<u64, DbError> {
    let sql = "SELECT max(package_id) FROM members WHERE repo = ?1 AND arch = ?2";
    let last: Option<u64> =
        connection.query_row(sql, params![repo.as_str(), arch.as_str()], |row| row.get(0))?;
    Ok(last.unwrap_or(0))
}

/// The metadata files of a release's repository. They are found by name only, and names hold digests: what a
/// `repomd.xml` names is looked up there.
pub fn metadata_file(
    connection: &Connection,
    repo: &RepoName,
    arch: &Arch,
    name: &str,
) -> Result<Option<(FileDigest, u64)>, DbError> {
    let sql =
        "SELECT file, size_bytes FROM repodata_files WHERE repo = ?1 AND arch = ?2 AND name = ?3";
    let found = connection.query_row(sql, params![repo.as_str(), arch.as_str(), name], |row| {
        Ok((parsed(row, "file")?, row.get("size_bytes")?))
    });
    Ok(found.optional()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_that_is_forgotten_takes_its_token_along() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(super::super::SCHEMA).unwrap();
        for added in super::super::ADDED {
            connection.execute_batch(added).unwrap();
        }
        let tx = connection.transaction().unwrap();
        let registration = |name: &str| -> Registration {
            serde_json::from_value(serde_json::json!({
                "name": name, "urls": ["http://m.example"], "contact": "c"
            }))
            .unwrap()
        };
        let at = Timestamp::from_unix_secs;
        let enter_at = |name: &str, standing, now| {
            let entered = enter(&tx, &registration(name), standing, 9, now).unwrap();
            assert_eq!(entered, Entered::New, "{name}");
            let digest = FileDigest::of(name.as_bytes());
            super::super::tokens::insert(&tx, name, &format!("mirror:{name}"), digest, None, now)
                .unwrap();
        };
        enter_at("old", Standing::Pending, at(0));
        enter_at("kept", Standing::Approved, at(0));
        enter_at("young", Standing::Pending, at(10));
        enter_at("new", Standing::Pending, at(PENDING_SECS + 5));
        let sql = "SELECT name FROM tokens WHERE revoked_at IS NOT NULL";
        let revoked: Vec<String> = tx
            .prepare(sql)
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(revoked, ["old"]);
        assert!(by_name(&tx, &"old".parse().unwrap()).unwrap().is_none());
        assert!(by_name(&tx, &"young".parse().unwrap()).unwrap().is_some());
    }
}
