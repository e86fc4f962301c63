//! What lists on pages show: one query a list, however long the list is. Nothing here looks into a build
//! more deeply than a line about it needs.

use super::builds::{PackageRow, package_columns, package_row};
use super::{DbError, from_json, parsed, to_json};
use repo_model::stage::Stage;
use repo_model::{
    Arch, ChannelName, Nevra, OperatorName, ReleaseId, RepoName, Timestamp, WorkerName,
};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use std::collections::{HashMap, HashSet};

use super::releases::ReleaseRow;

/// A build in one line.
#[derive(Debug, Clone)]
pub struct BuildLine {
    /// Number.
    pub build_id: u64,
    /// Repository.
    pub repo: RepoName,
    /// Source package.
    pub source: Nevra,
    /// Where it is.
    pub stage: Stage,
    /// When its stage changed last.
    pub changed_at: Timestamp,
    /// Number of its packages.
    pub packages: u64,
    /// Rebuilders that were asked.
    pub rebuilders: u64,
    /// Rebuilders that made the same bytes.
    pub confirmed: u64,
    /// Rebuilders that made something else.
    pub objecting: u64,
}

/// Columns of [`BuildLine`] of `b`, a row of builds.
pub(super) const LINE: &str = "b.build_id, b.repo, b.source_nevra, b.stage_json, b.changed_at,
    (SELECT count(*) FROM packages p WHERE p.build_id = b.build_id) AS packages,
    (SELECT count(*) FROM rebuilds r WHERE r.build_id = b.build_id) AS rebuilders,
    (SELECT count(*) FROM rebuilds r WHERE r.build_id = b.build_id AND r.verdict IN ('identical', 'identical-unsigned')) AS confirmed,
    (SELECT count(*) FROM rebuilds r WHERE r.build_id = b.build_id
       AND r.verdict NOT IN ('identical', 'identical-unsigned', 'infra-failed')) AS objecting";

pub(super) fn line(row: &Row<'_>) -> Result<BuildLine, DbError> {
    Ok(BuildLine {
        build_id: row.get("build_id")?,
        repo: parsed(row, "repo")?,
        source: parsed(row, "source_nevra")?,
        stage: from_json(&row.get::<_, String>("stage_json")?, "stage")?,
        changed_at: Timestamp::from_unix_secs(row.get("changed_at")?),
        packages: row.get("packages")?,
        rebuilders: row.get("rebuilders")?,
        confirmed: row.get("confirmed")?,
        objecting: row.get("objecting")?,
    })
}

fn lines(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<BuildLine>, DbError> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params, |row| Ok(line(row)))?;
    rows.map(|row| row.map_err(DbError::from)?).collect()
}

/// Builds of a stage, or of a package (name or NEVRA, of the source too), or all; newest first.
pub fn builds(
    connection: &Connection,
    stage: Option<&str>,
    package: Option<&str>,
    offset: u32,
    limit: u32,
) -> Result<Vec<BuildLine>, DbError> {
    let of_package = match package {
        Some(_) => {
            "AND b.build_id IN (SELECT build_id FROM packages WHERE name = :package
                UNION SELECT build_id FROM packages WHERE name = :name AND nevra = :package
                UNION SELECT build_id FROM builds WHERE source_nevra = :package)"
        }
        None => "AND :package IS NULL AND :name IS NULL",
    };
    let name = package
        .and_then(|text| text.parse::<Nevra>().ok())
        .map(|nevra| nevra.name);
    let of_stage = match stage {
        Some(_) => "b.stage = :stage",
        None => ":stage IS NULL",
    };
    let sql = format!(
        "SELECT {LINE} FROM builds b WHERE {of_stage} {of_package} ORDER BY b.build_id DESC LIMIT :limit OFFSET :offset"
    );
    let wanted = named_params! {":stage": stage, ":package": package, ":name": name, ":limit": limit, ":offset": offset};
    lines(connection, &sql, wanted)
}

/// Builds that were first published in a release, by source package, behind build `after`.
pub fn builds_of_release(
    connection: &Connection,
    release: ReleaseId,
    offset: u32,
    limit: u32,
) -> Result<Vec<BuildLine>, DbError> {
    let sql = format!(
        "SELECT {LINE} FROM builds b WHERE b.build_id IN (
             SELECT p.build_id FROM members m CROSS JOIN packages p ON p.package_id = m.package_id WHERE m.added_release = ?1)
         ORDER BY b.source_nevra, b.build_id LIMIT ?2 OFFSET ?3"
    );
    lines(connection, &sql, params![release.0, limit, offset])
}

/// A version of a package.
#[derive(Debug, Clone)]
pub struct VersionLine {
    /// The package.
    pub package: PackageRow,
    /// Its build.
    pub build: BuildLine,
    /// Whether the newest release has it.
    pub current: bool,
    /// Channels whose release has it.
    pub channels: Vec<ChannelName>,
}

/// Packages of a name, those of later builds first.
pub fn versions(
    connection: &Connection,
    name: &str,
    limit: u32,
) -> Result<Vec<VersionLine>, DbError> {
    let columns = package_columns("p");
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {columns}, {LINE}, EXISTS (SELECT 1 FROM members m WHERE m.package_id = p.package_id AND m.removed_release IS NULL) AS current
         FROM packages p CROSS JOIN builds b ON b.build_id = p.build_id WHERE p.name = ?1 ORDER BY p.package_id DESC LIMIT ?2"
    ))?;
    let mut rows = statement.query(params![name, limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(VersionLine {
            package: package_row(row)?,
            build: line(row)?,
            current: row.get("current")?,
            channels: Vec::new(),
        });
    }
    let ids: Vec<u64> = found
        .iter()
        .map(|version| version.package.package_id)
        .collect();
    let mut channels = channels_with(connection, &ids)?;
    for version in &mut found {
        version.channels = channels
            .remove(&version.package.package_id)
            .unwrap_or_default();
    }
    Ok(found)
}

/// Channels whose release has each package.
fn channels_with(
    connection: &Connection,
    package_ids: &[u64],
) -> Result<HashMap<u64, Vec<ChannelName>>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT m.package_id, c.channel FROM json_each(?1) w CROSS JOIN members m ON m.package_id = w.value
         CROSS JOIN channels c ON c.release_id >= m.added_release
           AND (m.removed_release IS NULL OR c.release_id < m.removed_release) ORDER BY m.package_id, c.channel",
    )?;
    let mut rows = statement.query([to_json(&package_ids, "list")?])?;
    let mut found: HashMap<u64, Vec<ChannelName>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let channels = found.entry(row.get("package_id")?).or_default();
        channels.push(parsed(row, "channel")?);
    }
    Ok(found)
}

/// A package of a release.
#[derive(Debug, Clone)]
pub struct MemberLine {
    /// The package.
    pub nevra: Nevra,
    /// SUMMARY.
    pub summary: String,
    /// Path below the repository's base.
    pub href: String,
    /// Bytes of the signed file.
    pub size_bytes: u64,
    /// The release that brought it.
    pub added: ReleaseId,
}

/// Packages of one repository of a release, by name, with names that begin with `prefix`; behind the first
/// `offset`.
pub fn members(
    connection: &Connection,
    release: ReleaseId,
    (repo, arch): (&RepoName, &Arch),
    prefix: &str,
    (offset, limit): (u32, u32),
) -> Result<Vec<MemberLine>, DbError> {
    // With the table of packages first, the index of names gives the order.
    let mut statement = connection.prepare_cached(
        "SELECT p.nevra, p.summary, p.href, coalesce(p.signed_size_bytes, p.unsigned_size_bytes) AS size_bytes, m.added_release
         FROM packages p CROSS JOIN members m ON m.repo = :repo AND m.arch = :arch AND m.package_id = p.package_id
         WHERE p.name >= :prefix AND p.name < :prefix || :last AND m.added_release <= :release
           AND (m.removed_release IS NULL OR m.removed_release > :release)
         ORDER BY p.name, p.package_id LIMIT :limit OFFSET :offset",
    )?;
    let wanted = named_params! {
        ":repo": repo.as_str(), ":arch": arch.as_str(), ":release": release.0, ":prefix": prefix,
        ":last": '\u{10ffff}'.to_string(), ":limit": limit, ":offset": offset,
    };
    let rows = statement.query_map(wanted, |row| {
        Ok(MemberLine {
            nevra: parsed(row, "nevra")?,
            summary: row.get("summary")?,
            href: row.get("href")?,
            size_bytes: row.get("size_bytes")?,
            added: ReleaseId(row.get("added_release")?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One move of a channel.
#[derive(Debug, Clone)]
pub struct MoveLine {
    /// Channel.
    pub channel: ChannelName,
    /// Where it pointed before.
    pub from: Option<ReleaseId>,
    /// Where it points since.
    pub to: ReleaseId,
    /// When.
    pub at: Timestamp,
}

/// Moves of all channels to or from a release, or all moves; newest first.
pub fn moves(
    connection: &Connection,
    release: Option<ReleaseId>,
    limit: u32,
) -> Result<Vec<MoveLine>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT channel, from_release, to_release, moved_at FROM channel_moves
         WHERE ?1 IS NULL OR to_release = ?1 OR from_release = ?1 ORDER BY move_id DESC LIMIT ?2",
    )?;
    let rows = statement.query_map(params![release.map(|id| id.0), limit], |row| {
        Ok(MoveLine {
            channel: parsed(row, "channel")?,
            from: row.get::<_, Option<u64>>("from_release")?.map(ReleaseId),
            to: ReleaseId(row.get("to_release")?),
            at: Timestamp::from_unix_secs(row.get("moved_at")?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How the builds that came with a release had fared with rebuilders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseTally {
    /// The release.
    pub release: ReleaseId,
    /// Its publish instant.
    pub issued: Timestamp,
    /// Builds that came with it.
    pub builds: u64,
    /// Those that every rebuilder who gave a verdict made again bit for bit.
    pub all_agreed: u64,
    /// Those that some rebuilder made differently.
    pub disputed: u64,
}

/// The last `limit` releases that brought builds, oldest first.
pub fn tallies(connection: &Connection, limit: u32) -> Result<Vec<ReleaseTally>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT r.release_id, r.issued, count(*) AS builds, sum(t.confirmed > 0 AND t.objecting = 0) AS all_agreed,
                sum(t.objecting > 0) AS disputed
         FROM (SELECT release_id, issued FROM releases ORDER BY release_id DESC LIMIT ?1) r
         CROSS JOIN (SELECT DISTINCT m.added_release, p.build_id FROM members m
               CROSS JOIN packages p ON p.package_id = m.package_id
               WHERE m.added_release > (SELECT max(release_id) FROM releases) - ?1) a ON a.added_release = r.release_id
         CROSS JOIN (SELECT b.build_id,
               (SELECT count(*) FROM rebuilds x WHERE x.build_id = b.build_id AND x.verdict IN ('identical', 'identical-unsigned')) AS confirmed,
               (SELECT count(*) FROM rebuilds x WHERE x.build_id = b.build_id
                  AND x.verdict NOT IN ('identical', 'identical-unsigned', 'infra-failed')) AS objecting
               FROM builds b) t ON t.build_id = a.build_id
         GROUP BY r.release_id ORDER BY r.release_id",
    )?;
    let rows = statement.query_map([limit], |row| {
        Ok(ReleaseTally {
            release: ReleaseId(row.get("release_id")?),
            issued: Timestamp::from_unix_secs(row.get("issued")?),
            builds: row.get("builds")?,
            all_agreed: row.get("all_agreed")?,
            disputed: row.get("disputed")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// When builds came in that are held or rejected because a rebuilder made something else, oldest first.
pub fn kept_back(connection: &Connection, since: Timestamp) -> Result<Vec<Timestamp>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT b.received_at FROM builds b WHERE b.stage IN ('held', 'rejected') AND b.received_at >= ?1 AND EXISTS (
             SELECT 1 FROM rebuilds r WHERE r.build_id = b.build_id AND r.verdict NOT IN ('identical', 'identical-unsigned', 'infra-failed'))
         ORDER BY b.received_at",
    )?;
    let rows = statement.query_map([since.unix_secs()], |row| {
        Ok(Timestamp::from_unix_secs(row.get(0)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Packages that a release brought or removed, behind package `after`, by number.
pub fn touched(
    connection: &Connection,
    release: ReleaseId,
    after: u64,
    limit: u32,
) -> Result<Vec<PackageRow>, DbError> {
    let columns = package_columns("p");
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {columns} FROM (SELECT package_id FROM members WHERE added_release = ?1 AND package_id > ?2
             UNION SELECT package_id FROM members WHERE removed_release = ?1 AND package_id > ?2 ORDER BY 1 LIMIT ?3) t
         CROSS JOIN packages p ON p.package_id = t.package_id ORDER BY p.package_id"
    ))?;
    let rows = statement.query_map(params![release.0, after, limit], package_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Which of these packages the newest release has.
pub fn current(connection: &Connection, packages: &[u64]) -> Result<HashSet<u64>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT w.value FROM json_each(?1) w WHERE EXISTS (
             SELECT 1 FROM members m WHERE m.package_id = w.value AND m.removed_release IS NULL)",
    )?;
    let rows = statement.query_map([to_json(&packages, "list")?], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Numbers of releases that have something to show, newest first.
pub fn release_ids(connection: &Connection, limit: u32) -> Result<Vec<ReleaseId>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT r.release_id FROM releases r WHERE EXISTS (SELECT 1 FROM release_repos p WHERE p.release_id = r.release_id)
         ORDER BY r.release_id DESC LIMIT ?1",
    )?;
    let rows = statement.query_map([limit], |row| Ok(ReleaseId(row.get(0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The release that came next.
pub fn release_after(
    connection: &Connection,
    release: ReleaseId,
) -> Result<Option<ReleaseRow>, DbError> {
    let sql = "SELECT release_id, issued, envelope FROM releases WHERE release_id > ?1 ORDER BY release_id LIMIT 1";
    Ok(connection
        .query_row(sql, [release.0], |row| {
            Ok(ReleaseRow {
                release: ReleaseId(row.get("release_id")?),
                issued: Timestamp::from_unix_secs(row.get("issued")?),
                envelope: parsed(row, "envelope")?,
            })
        })
        .optional()?)
}

/// What the newest release has under a name.
#[derive(Debug, Clone)]
pub struct NewestOfName {
    /// The name.
    pub name: String,
    /// The newest package of it with its SUMMARY; none when there is none any more.
    pub package: Option<(Nevra, String)>,
}

/// The newest packages of these names.
pub fn newest_of_names(
    connection: &Connection,
    names: &[&str],
) -> Result<Vec<NewestOfName>, DbError> {
    let mut newest: HashMap<String, (Nevra, String)> = HashMap::new();
    let mut statement = connection.prepare_cached(
        "SELECT p.nevra, p.summary FROM json_each(?1) w CROSS JOIN packages p ON p.name = w.value
         WHERE EXISTS (SELECT 1 FROM members m WHERE m.package_id = p.package_id AND m.removed_release IS NULL)",
    )?;
    let mut rows = statement.query([to_json(&names, "list")?])?;
    while let Some(row) = rows.next()? {
        let nevra: Nevra = parsed(row, "nevra")?;
        let summary: String = row.get("summary")?;
        let is_newer = |known: &(Nevra, String)| known.0.evr < nevra.evr;
        if newest.get(&nevra.name).is_none_or(is_newer) {
            newest.insert(nevra.name.clone(), (nevra, summary));
        }
    }
    let named = |name: &&str| NewestOfName {
        name: (*name).to_owned(),
        package: newest.remove(*name),
    };
    Ok(names.iter().map(named).collect())
}

/// What a rebuilder did with the newest builds, counted.
#[derive(Debug, Clone)]
pub struct RebuilderWork {
    /// Name.
    pub name: WorkerName,
    /// Who runs it.
    pub operator: OperatorName,
    /// Builds that wait for it.
    pub waiting: u64,
    /// Builds that it rebuilds now.
    pub leased: u64,
    /// Answers that are sealed.
    pub sealed: u64,
    /// Builds that it confirmed.
    pub confirmed: u64,
    /// Builds that it made differently.
    pub objecting: u64,
    /// Builds that it gave up.
    pub failed: u64,
}

/// The work of each rebuilder on the newest `builds` builds, by name.
pub fn rebuilders(connection: &Connection, builds: u64) -> Result<Vec<RebuilderWork>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT rebuilder, max(operator) AS operator, sum(state = 'waiting') AS waiting, sum(state = 'leased') AS leased,
                sum(state IN ('committed', 'revealing')) AS sealed, sum(state = 'failed') AS failed,
                coalesce(sum(verdict IN ('identical', 'identical-unsigned')), 0) AS confirmed,
                coalesce(sum(verdict NOT IN ('identical', 'identical-unsigned', 'infra-failed')), 0) AS objecting
         FROM rebuilds WHERE build_id > (SELECT coalesce(max(build_id), 0) FROM builds) - ?1 GROUP BY rebuilder ORDER BY rebuilder",
    )?;
    let rows = statement.query_map([builds], |row| {
        Ok(RebuilderWork {
            name: parsed(row, "rebuilder")?,
            operator: parsed(row, "operator")?,
            waiting: row.get("waiting")?,
            leased: row.get("leased")?,
            sealed: row.get("sealed")?,
            confirmed: row.get("confirmed")?,
            objecting: row.get("objecting")?,
            failed: row.get("failed")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Two rebuilders who answered about the same builds.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The first by name.
    pub a: WorkerName,
    /// The other.
    pub b: WorkerName,
    /// Builds that both answered about.
    pub both: u64,
    /// Those that both confirmed or both did not.
    pub agree: u64,
}

/// Every two rebuilders who answered about the same of the newest `builds` builds.
pub fn pairs(connection: &Connection, builds: u64) -> Result<Vec<Pair>, DbError> {
    let mut statement = connection.prepare_cached(
        "WITH answers AS (
             SELECT build_id, rebuilder, verdict IN ('identical', 'identical-unsigned') AS confirms FROM rebuilds
             WHERE build_id > (SELECT coalesce(max(build_id), 0) FROM builds) - ?1 AND verdict <> 'infra-failed')
         SELECT a.rebuilder AS a, b.rebuilder AS b, count(*) AS both, sum(a.confirms = b.confirms) AS agree
         FROM answers a JOIN answers b ON b.build_id = a.build_id AND b.rebuilder > a.rebuilder GROUP BY 1, 2",
    )?;
    let rows = statement.query_map([builds], |row| {
        Ok(Pair {
            a: parsed(row, "a")?,
            b: parsed(row, "b")?,
            both: row.get("both")?,
            agree: row.get("agree")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
