//! Documents about a repository of a release as a whole, which are made after it; and the digests of files
//! that they tell.

use super::{DbError, parsed, to_json};
use repo_model::{Arch, FileDigest, ReleaseId, RepoName};
use rusqlite::{Connection, Row, Transaction, params};
use std::collections::HashMap;

/// One document. Stored is its compressed form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseDocumentRow {
    /// Repository.
    pub repo: RepoName,
    /// Architecture.
    pub arch: Arch,
    /// Name of the SBOM format, or `requirements`.
    pub label: String,
    /// The document.
    pub digest: FileDigest,
    /// Its bytes.
    pub size_bytes: u64,
    /// The document compressed with zstd: the stored object.
    pub packed: FileDigest,
    /// Its bytes.
    pub packed_size_bytes: u64,
}

/// Records a document; the second of two identical calls changes nothing.
pub fn insert(
    tx: &Transaction<'_>,
    release: ReleaseId,
    row: &ReleaseDocumentRow,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO release_documents (release_id, repo, arch, label, digest, size_bytes, packed, packed_size_bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        params![
            release.0,
            row.repo.as_str(),
            row.arch.as_str(),
            row.label,
            row.digest.to_hex(),
            row.size_bytes,
            row.packed.to_hex(),
            row.packed_size_bytes,
        ],
    )?;
    Ok(())
}

/// All of a release, by repository, architecture and label.
pub fn of_release(
    connection: &Connection,
    release: ReleaseId,
) -> Result<Vec<ReleaseDocumentRow>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT repo, arch, label, digest, size_bytes, packed, packed_size_bytes FROM release_documents
         WHERE release_id = ?1 ORDER BY repo, arch, label",
    )?;
    let rows = statement.query_map([release.0], document)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// All of one repository of a release, by label.
pub fn of_repo(
    connection: &Connection,
    release: ReleaseId,
    repo: &RepoName,
    arch: &Arch,
) -> Result<Vec<ReleaseDocumentRow>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT repo, arch, label, digest, size_bytes, packed, packed_size_bytes FROM release_documents
         WHERE release_id = ?1 AND repo = ?2 AND arch = ?3 ORDER BY label",
    )?;
    let wanted = params![release.0, repo.as_str(), arch.as_str()];
    let rows = statement.query_map(wanted, document)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn document(row: &Row<'_>) -> rusqlite::Result<ReleaseDocumentRow> {
    Ok(ReleaseDocumentRow {
        repo: parsed(row, "repo")?,
        arch: parsed(row, "arch")?,
        label: row.get("label")?,
        digest: parsed(row, "digest")?,
        size_bytes: row.get("size_bytes")?,
        packed: parsed(row, "packed")?,
        packed_size_bytes: row.get("packed_size_bytes")?,
    })
}

/// Whether a stored object is one of these documents.
pub fn is_packed(connection: &Connection, digest: FileDigest) -> Result<bool, DbError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM release_documents WHERE packed = ?1)";
    Ok(connection.query_row(sql, [digest.to_hex()], |row| row.get(0))?)
}

/// Whether clients meet a release: it is the newest, or a channel points to it.
pub fn is_met(connection: &Connection, release: ReleaseId) -> Result<bool, DbError> {
    let sql = "SELECT ?1 IS (SELECT max(release_id) FROM releases)
                   OR EXISTS (SELECT 1 FROM channels WHERE release_id = ?1)";
    Ok(connection.query_row(sql, [release.0], |row| row.get(0))?)
}

/// Releases that clients meet, the newest one and those that channels point to, and that lack what is
/// made after them.
pub fn lacking(connection: &Connection) -> Result<Vec<ReleaseId>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT r.release_id FROM release_repos r
         WHERE (r.release_id = (SELECT max(release_id) FROM releases)
                OR r.release_id IN (SELECT release_id FROM channels WHERE release_id IS NOT NULL))
           AND NOT EXISTS (SELECT 1 FROM release_documents d
                           WHERE d.release_id = r.release_id AND d.repo = r.repo AND d.arch = r.arch)
         ORDER BY r.release_id DESC",
    )?;
    let rows = statement.query_map([], |row| row.get(0).map(ReleaseId))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// SHA-512 of those files for which it was computed.
pub fn sha512s(
    connection: &Connection,
    files: &[FileDigest],
) -> Result<HashMap<FileDigest, String>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT s.file, s.sha512 FROM json_each(?1) w CROSS JOIN file_sha512 s ON s.file = w.value",
    )?;
    let rows = statement.query_map([to_json(&files, "list")?], |row| {
        Ok((parsed(row, "file")?, row.get("sha512")?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Remembers the SHA-512 of a file.
pub fn insert_sha512(tx: &Transaction<'_>, file: FileDigest, sha512: &str) -> Result<(), DbError> {
    tx.prepare_cached(
        "INSERT INTO file_sha512 (file, sha512) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    )?
    .execute(params![file.to_hex(), sha512])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_release_and_those_of_channels_lack_documents_until_each_repository_has_some() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(super::super::SCHEMA).unwrap();
        for added in super::super::ADDED {
            connection.execute_batch(added).unwrap();
        }
        let tx = connection.transaction().unwrap();
        for release in 1..=4 {
            tx.execute_batch(&format!(
                "INSERT INTO releases VALUES ({release}, {release}, 'e{release}');
                 INSERT INTO release_repos VALUES ({release}, 'base', 'x86_64', 'm', 's', NULL, 'l', 0);
                 INSERT INTO release_repos VALUES ({release}, 'base', 'aarch64', 'm', 's', NULL, 'l', 0);"
            ))
            .unwrap();
        }
        tx.execute_batch("INSERT INTO channels VALUES ('stable', 2, 1, 0), ('new', NULL, NULL, 1)")
            .unwrap();
        assert_eq!(lacking(&tx).unwrap(), [ReleaseId(4), ReleaseId(2)]);
        let row = |arch: &str| ReleaseDocumentRow {
            repo: "base".parse().unwrap(),
            arch: arch.parse().unwrap(),
            label: "spdx-2.3".to_owned(),
            digest: FileDigest::of(b"document"),
            size_bytes: 8,
            packed: FileDigest::of(b"packed"),
            packed_size_bytes: 6,
        };
        let met = |release| is_met(&tx, ReleaseId(release)).unwrap();
        assert_eq!([1, 2, 3, 4, 5].map(met), [false, true, false, true, false]);
        insert(&tx, ReleaseId(4), &row("x86_64")).unwrap();
        assert_eq!(lacking(&tx).unwrap(), [ReleaseId(4), ReleaseId(2)]);
        insert(&tx, ReleaseId(4), &row("aarch64")).unwrap();
        insert(&tx, ReleaseId(4), &row("aarch64")).unwrap();
        assert_eq!(lacking(&tx).unwrap(), [ReleaseId(2)]);
        assert_eq!(
            of_release(&tx, ReleaseId(4)).unwrap(),
            [row("aarch64"), row("x86_64")]
        );
        assert!(is_packed(&tx, FileDigest::of(b"packed")).unwrap());
        assert!(!is_packed(&tx, FileDigest::of(b"document")).unwrap());
    }
}
