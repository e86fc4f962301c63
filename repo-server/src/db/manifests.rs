//! Signed manifests of the repositories of releases.

use super::{DbError, parsed, parsed_opt};
use repo_model::{Arch, FileDigest, ReleaseId, RepoName};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

/// The manifest of one repository: stored objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestRow {
    /// `SHA256SUMS`.
    pub manifest: FileDigest,
    /// Its OpenPGP signature.
    pub signature: FileDigest,
    /// Its post-quantum signature, unless the signer makes none.
    pub post_quantum: Option<FileDigest>,
}

/// Records a manifest, in the transaction that makes the release.
pub fn insert(
    tx: &Transaction<'_>,
    release: ReleaseId,
    repo: &RepoName,
    arch: &Arch,
    row: &ManifestRow,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO release_manifests (release_id, repo, arch, manifest, signature, post_quantum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            release.0,
            repo.as_str(),
            arch.as_str(),
            row.manifest.to_hex(),
            row.signature.to_hex(),
            row.post_quantum.map(|digest| digest.to_hex()),
        ],
    )?;
    Ok(())
}

/// The manifest of a repository of a release, if it has one.
pub fn of_repo(
    connection: &Connection,
    release: ReleaseId,
    repo: &RepoName,
    arch: &Arch,
) -> Result<Option<ManifestRow>, DbError> {
    let sql = "SELECT manifest, signature, post_quantum FROM release_manifests
               WHERE release_id = ?1 AND repo = ?2 AND arch = ?3";
    let wanted = params![release.0, repo.as_str(), arch.as_str()];
    let found = connection.query_row(sql, wanted, |row| {
        Ok(ManifestRow {
            manifest: parsed(row, "manifest")?,
            signature: parsed(row, "signature")?,
            post_quantum: parsed_opt(row, "post_quantum")?,
        })
    });
    Ok(found.optional()?)
}
