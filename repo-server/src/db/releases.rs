//! Releases: plans, members, files. Releases are numbered 1, 2, 3 and form one line; a package is a
//! member from the release that added it to the one that removed it.

use super::builds::{PackageRow, package_columns, package_row};
use super::manifests::{self, ManifestRow};
use super::{DbError, from_json, parsed, parsed_opt, to_json};
use repo_model::wire::signer::LastRelease;
use repo_model::wire::status::ReleaseRepoStatus;
use repo_model::{Arch, FileDigest, HeaderDigest, ReleaseId, RepoName, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A release that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its number.
    pub release: ReleaseId,
    /// The release it builds on.
    pub base: Option<ReleaseId>,
    /// Its publish instant.
    pub issued: Timestamp,
    /// The builds it adds.
    pub builds: Vec<u64>,
}

/// A release.
#[derive(Debug, Clone)]
pub struct ReleaseRow {
    /// Number.
    pub release: ReleaseId,
    /// Publish instant.
    pub issued: Timestamp,
    /// Signed statement.
    pub envelope: FileDigest,
}

/// One repository of a release.
#[derive(Debug, Clone)]
pub struct ReleaseRepoRow {
    /// Repository.
    pub repo: RepoName,
    /// Architecture.
    pub arch: Arch,
    /// `repomd.xml`.
    pub repomd: FileDigest,
    /// `repomd.xml.asc`.
    pub repomd_signature: FileDigest,
    /// Its post-quantum signature, unless the signer makes none.
    pub repomd_post_quantum: Option<FileDigest>,
    /// Package list.
    pub package_list: FileDigest,
    /// Number of packages.
    pub packages: u64,
}

/// A metadata file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RepodataFileRow {
    /// `repodata/…-primary.xml.zst`
    pub name: String,
    /// Stored object.
    pub file: FileDigest,
    /// Bytes.
    pub size_bytes: u64,
}

/// The newest release.
pub fn newest(connection: &Connection) -> Result<Option<ReleaseRow>, DbError> {
    let sql = "SELECT release_id, issued, envelope FROM releases ORDER BY release_id DESC LIMIT 1";
    Ok(connection.query_row(sql, [], release_row).optional()?)
}

/// One release.
pub fn by_id(connection: &Connection, release: ReleaseId) -> Result<Option<ReleaseRow>, DbError> {
    let sql = "SELECT release_id, issued, envelope FROM releases WHERE release_id = ?1";
    Ok(connection
        .query_row(sql, [release.0], release_row)
        .optional()?)
}

/// Releases, newest first.
pub fn list(connection: &Connection, limit: u32) -> Result<Vec<ReleaseRow>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT release_id, issued, envelope FROM releases ORDER BY release_id DESC LIMIT ?1",
    )?;
    let rows = statement.query_map([limit], release_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn release_row(row: &Row<'_>) -> rusqlite::Result<ReleaseRow> {
    Ok(ReleaseRow {
        release: ReleaseId(row.get("release_id")?),
        issued: Timestamp::from_unix_secs(row.get("issued")?),
        envelope: parsed(row, "envelope")?,
    })
}

/// The repositories of a release, sorted.
pub fn repos(connection: &Connection, release: ReleaseId) -> Result<Vec<ReleaseRepoRow>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT repo, arch, repomd, repomd_signature, repomd_post_quantum, package_list, packages FROM release_repos
         WHERE release_id = ?1 ORDER BY repo, arch",
    )?;
    let rows = statement.query_map([release.0], repo_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The repositories of many releases, sorted.
pub fn repos_of(
    connection: &Connection,
    releases: &[ReleaseId],
) -> Result<HashMap<ReleaseId, Vec<ReleaseRepoRow>>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT release_id, repo, arch, repomd, repomd_signature, repomd_post_quantum, package_list, packages
         FROM json_each(?1) w CROSS JOIN release_repos r ON r.release_id = w.value ORDER BY release_id, repo, arch",
    )?;
    let mut rows = statement.query([to_json(&releases, "list")?])?;
    let mut found: HashMap<ReleaseId, Vec<ReleaseRepoRow>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let of = found.entry(ReleaseId(row.get("release_id")?)).or_default();
        of.push(repo_row(row)?);
    }
    Ok(found)
}

/// One repository of a release.
pub fn repo(
    connection: &Connection,
    release: ReleaseId,
    repo: &RepoName,
    arch: &Arch,
) -> Result<Option<ReleaseRepoRow>, DbError> {
    let sql =
        "SELECT repo, arch, repomd, repomd_signature, repomd_post_quantum, package_list, packages FROM release_repos
               WHERE release_id = ?1 AND repo = ?2 AND arch = ?3";
    let found = connection.query_row(
        sql,
        params![release.0, repo.as_str(), arch.as_str()],
        repo_row,
    );
    Ok(found.optional()?)
}

fn repo_row(row: &Row<'_>) -> rusqlite::Result<ReleaseRepoRow> {
    Ok(ReleaseRepoRow {
        repo: parsed(row, "repo")?,
        arch: parsed(row, "arch")?,
        repomd: parsed(row, "repomd")?,
        repomd_signature: parsed(row, "repomd_signature")?,
        repomd_post_quantum: parsed_opt(row, "repomd_post_quantum")?,
        package_list: parsed(row, "package_list")?,
        packages: row.get("packages")?,
    })
}

impl From<ReleaseRepoRow> for ReleaseRepoStatus {
    fn from(row: ReleaseRepoRow) -> Self {
        Self {
            repo: row.repo,
            arch: row.arch,
            packages: row.packages,
            repomd: row.repomd,
        }
    }
}

/// The plan that was begun and not finished.
pub fn plan(connection: &Connection) -> Result<Option<Plan>, DbError> {
    let sql = "SELECT release_id, base, issued, builds FROM release_plans ORDER BY release_id DESC LIMIT 1";
    let found = connection.query_row(sql, [], |row| {
        let builds: String = row.get("builds")?;
        Ok((
            ReleaseId(row.get("release_id")?),
            row.get::<_, Option<u64>>("base")?.map(ReleaseId),
            Timestamp::from_unix_secs(row.get("issued")?),
            builds,
        ))
    });
    let Some((release, base, issued, builds)) = found.optional()? else {
        return Ok(None);
    };
    Ok(Some(Plan {
        release,
        base,
        issued,
        builds: from_json(&builds, "plan")?,
    }))
}

/// Begins a release.
pub fn insert_plan(tx: &Transaction<'_>, plan: &Plan) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO release_plans (release_id, base, issued, builds) VALUES (?1, ?2, ?3, ?4)",
        params![
            plan.release.0,
            plan.base.map(|base| base.0),
            plan.issued.unix_secs(),
            to_json(&plan.builds, "plan")?
        ],
    )?;
    Ok(())
}

/// Packages of a repository in a release.
pub fn members(
    connection: &Connection,
    release: ReleaseId,
    repo: &RepoName,
    arch: &Arch,
) -> Result<Vec<PackageRow>, DbError> {
    let columns = package_columns("p");
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {columns} FROM members m JOIN packages p ON p.package_id = m.package_id
         WHERE m.repo = ?1 AND m.arch = ?2 AND m.added_release <= ?3
           AND (m.removed_release IS NULL OR m.removed_release > ?3)"
    ))?;
    let rows = statement.query_map(
        params![repo.as_str(), arch.as_str(), release.0],
        package_row,
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What a release consists of, stored but not yet signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MadeRelease {
    /// The release document, as the signer gets it.
    pub document: FileDigest,
    /// Its repositories, in the document's order.
    pub repos: Vec<MadeRepo>,
}

/// One repository of a release, stored but not yet signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MadeRepo {
    /// Repository.
    pub repo: RepoName,
    /// Architecture.
    pub arch: Arch,
    /// `repomd.xml`.
    pub repomd: FileDigest,
    /// Package list.
    pub package_list: FileDigest,
    /// Number of packages.
    pub packages: u64,
    /// Metadata files.
    pub files: Vec<RepodataFileRow>,
    /// Packages that the release adds.
    pub added: Vec<u64>,
    /// Packages that the release before had and this one leaves out.
    pub removed: Vec<u64>,
}

/// The detached signatures of one `repomd.xml`.
#[derive(Debug, Clone, Copy)]
pub struct RepomdSignatures {
    /// OpenPGP v4.
    pub classic: FileDigest,
    /// OpenPGP v6, unless the signer makes none.
    pub post_quantum: Option<FileDigest>,
}

/// A signed release, ready to be recorded.
#[derive(Debug, Clone)]
pub struct NewRelease {
    /// The plan it carries out.
    pub plan: Plan,
    /// What it consists of.
    pub made: MadeRelease,
    /// Signed statement.
    pub envelope: FileDigest,
    /// Signatures of each `repomd.xml`, in the document's order.
    pub repomd_signatures: Vec<RepomdSignatures>,
    /// The manifest of each repository, in the document's order; none when the signer makes none.
    pub manifests: Vec<ManifestRow>,
}

/// What was made for a plan before, if it came that far.
pub fn made(connection: &Connection, release: ReleaseId) -> Result<Option<MadeRelease>, DbError> {
    let sql = "SELECT made FROM release_plans WHERE release_id = ?1";
    let made: Option<String> = connection
        .query_row(sql, [release.0], |row| row.get(0))
        .optional()?
        .flatten();
    made.map(|json| from_json(&json, "release in the making"))
        .transpose()
}

/// Records what was made; from now on the release is this.
pub fn set_made(
    tx: &Transaction<'_>,
    release: ReleaseId,
    made: &MadeRelease,
) -> Result<(), DbError> {
    tx.execute(
        "UPDATE release_plans SET made = ?2 WHERE release_id = ?1",
        params![release.0, to_json(made, "release in the making")?],
    )?;
    Ok(())
}

/// Forgets what was made for a plan, so that it is made anew. Only when the signer said that it never
/// signed these bytes and never will.
pub fn clear_made(tx: &Transaction<'_>, release: ReleaseId) -> Result<(), DbError> {
    tx.execute(
        "UPDATE release_plans SET made = NULL WHERE release_id = ?1",
        [release.0],
    )?;
    Ok(())
}

/// Takes over a release of which only the signer still knows: its number, instant and envelope. Its
/// files are lost, so it has no repositories and no channel can point to it; the next release follows
/// it. Whatever was planned is dropped: its number is taken.
pub fn adopt(tx: &Transaction<'_>, last: LastRelease) -> Result<(), DbError> {
    tx.execute("DELETE FROM release_plans", [])?;
    tx.execute(
        "INSERT INTO releases (release_id, issued, envelope) VALUES (?1, ?2, ?3)",
        params![last.id.0, last.issued.unix_secs(), last.envelope.to_hex()],
    )?;
    Ok(())
}

/// Envelopes of releases that have no place in the log, oldest first.
pub fn unlogged(connection: &Connection) -> Result<Vec<FileDigest>, DbError> {
    let mut statement =
        connection.prepare_cached("SELECT envelope FROM releases ORDER BY release_id")?;
    let rows = statement.query_map([], |row| parsed(row, "envelope"))?;
    let mut unlogged = Vec::new();
    for envelope in rows {
        let envelope = envelope?;
        if super::log::index_of(connection, envelope)?.is_none() {
            unlogged.push(envelope);
        }
    }
    Ok(unlogged)
}

/// Whether a release has anything to show: one that was taken over from the signer has not.
pub fn has_files(connection: &Connection, release: ReleaseId) -> Result<bool, DbError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM release_repos WHERE release_id = ?1)";
    Ok(connection.query_row(sql, [release.0], |row| row.get(0))?)
}

/// Records a release and ends its plan.
pub fn insert(tx: &Transaction<'_>, new: &NewRelease) -> Result<(), DbError> {
    let release = new.plan.release.0;
    tx.execute(
        "INSERT INTO releases (release_id, issued, envelope) VALUES (?1, ?2, ?3)",
        params![release, new.plan.issued.unix_secs(), new.envelope.to_hex()],
    )?;
    for (row, signature) in new.made.repos.iter().zip(&new.repomd_signatures) {
        let (repo, arch) = (row.repo.as_str(), row.arch.as_str());
        tx.execute(
            "INSERT INTO release_repos (release_id, repo, arch, repomd, repomd_signature, repomd_post_quantum, package_list, packages)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                release,
                repo,
                arch,
                row.repomd.to_hex(),
                signature.classic.to_hex(),
                signature.post_quantum.map(|digest| digest.to_hex()),
                row.package_list.to_hex(),
                row.packages
            ],
        )?;
        for file in &row.files {
            tx.execute(
                "INSERT INTO repodata_files (repo, arch, name, file, size_bytes, release_id)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
                params![
                    repo,
                    arch,
                    file.name,
                    file.file.to_hex(),
                    file.size_bytes,
                    release
                ],
            )?;
        }
        for package_id in &row.removed {
            tx.execute(
                "UPDATE members SET removed_release = ?4 WHERE repo = ?1 AND arch = ?2 AND package_id = ?3",
                params![repo, arch, package_id, release],
            )?;
        }
        for package_id in &row.added {
            tx.execute(
                "INSERT INTO members (repo, arch, package_id, added_release) VALUES (?1, ?2, ?3, ?4)",
                params![repo, arch, package_id, release],
            )?;
            tx.execute(
                "UPDATE packages SET added_at = ?2 WHERE package_id = ?1 AND added_at IS NULL",
                params![package_id, new.plan.issued.unix_secs()],
            )?;
        }
    }
    for (row, manifest) in new.made.repos.iter().zip(&new.manifests) {
        manifests::insert(tx, new.plan.release, &row.repo, &row.arch, manifest)?;
    }
    tx.execute("DELETE FROM release_plans WHERE release_id = ?1", [release])?;
    Ok(())
}

/// Whether this release has a package with one of these headers.
pub fn holds(
    connection: &Connection,
    release: ReleaseId,
    headers: &[HeaderDigest],
) -> Result<bool, DbError> {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM members m JOIN packages p ON p.package_id = m.package_id
        WHERE m.added_release <= ?2 AND (m.removed_release IS NULL OR m.removed_release > ?2)
          AND p.header_digest IN (SELECT value FROM json_each(?1)))";
    let headers = to_json(&headers, "list")?;
    Ok(connection.query_row(sql, params![headers, release.0], |row| row.get(0))?)
}

/// Whether the newest release has a package with one of these headers.
pub fn has_any(connection: &Connection, headers: &[HeaderDigest]) -> Result<bool, DbError> {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM members m JOIN packages p ON p.package_id = m.package_id
        WHERE m.removed_release IS NULL AND p.header_digest IN (SELECT value FROM json_each(?1)))";
    let headers = to_json(&headers, "list")?;
    Ok(connection.query_row(sql, [headers], |row| row.get(0))?)
}

/// The metadata file of this name, if release `newest` or one before it had it.
pub fn repodata_file(
    connection: &Connection,
    repo: &RepoName,
    arch: &Arch,
    name: &str,
    newest: ReleaseId,
) -> Result<Option<RepodataFileRow>, DbError> {
    let sql = "SELECT name, file, size_bytes FROM repodata_files
               WHERE repo = ?1 AND arch = ?2 AND name = ?3 AND release_id <= ?4";
    let wanted = params![repo.as_str(), arch.as_str(), name, newest.0];
    let found = connection.query_row(sql, wanted, |row| {
        Ok(RepodataFileRow {
            name: row.get("name")?,
            file: parsed(row, "file")?,
            size_bytes: row.get("size_bytes")?,
        })
    });
    Ok(found.optional()?)
}

/// The package at this path, if release `newest` or one before it had it in this repository.
pub fn package_at(
    connection: &Connection,
    repo: &RepoName,
    arch: &Arch,
    href: &str,
    newest: ReleaseId,
) -> Result<Option<PackageRow>, DbError> {
    let columns = package_columns("p");
    let sql = format!(
        "SELECT {columns} FROM packages p JOIN members m ON m.package_id = p.package_id
         WHERE p.repo = ?1 AND p.href = ?3 AND p.retired = 0
           AND m.repo = ?1 AND m.arch = ?2 AND m.added_release <= ?4"
    );
    let wanted = params![repo.as_str(), arch.as_str(), href, newest.0];
    Ok(connection
        .prepare_cached(&sql)?
        .query_row(wanted, package_row)
        .optional()?)
}

/// The media type of a release's own documents; `None` when this digest is none of them.
pub fn media_type(connection: &Connection, digest: FileDigest) -> Result<Option<String>, DbError> {
    let sql = "SELECT 'application/vnd.dsse.envelope.v1+json' FROM releases WHERE envelope = ?1
        UNION SELECT 'text/plain; charset=utf-8' FROM release_repos WHERE package_list = ?1
        UNION SELECT 'application/xml' FROM release_repos WHERE repomd = ?1
        UNION SELECT 'application/pgp-signature' FROM release_repos WHERE repomd_signature = ?1 OR repomd_post_quantum = ?1 LIMIT 1";
    Ok(connection
        .query_row(sql, [digest.to_hex()], |row| row.get(0))
        .optional()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adopted_release_is_the_newest_has_no_files_and_drops_the_plan_for_its_number() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(super::super::SCHEMA).unwrap();
        let tx = connection.transaction().unwrap();
        let plan_of_three = Plan {
            release: ReleaseId(3),
            base: None,
            issued: Timestamp::from_unix_secs(3),
            builds: vec![],
        };
        insert_plan(&tx, &plan_of_three).unwrap();
        let last = LastRelease {
            id: ReleaseId(7),
            issued: Timestamp::from_unix_secs(700),
            document: FileDigest::of(b"document"),
            envelope: FileDigest::of(b"envelope"),
        };
        adopt(&tx, last).unwrap();
        assert!(plan(&tx).unwrap().is_none());
        let newest = newest(&tx).unwrap().unwrap();
        assert_eq!((newest.release, newest.envelope), (last.id, last.envelope));
        assert!(!has_files(&tx, last.id).unwrap());
    }
}
