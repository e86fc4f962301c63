//! Documents about builds and packages, by digest.

use super::{DbError, parsed};
use repo_model::{Arch, FileDigest, HeaderDigest, ReleaseId, RepoName, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use std::collections::HashMap;

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// CycloneDX, SPDX.
    Sbom,
    /// The same about a whole build.
    BuildSbom,
    /// The builder's statement.
    Provenance,
    /// The buildinfo.
    BuildInfo,
    /// The source package.
    Source,
    /// A rebuilder's statement.
    Rebuild,
    /// A rebuilder's commitment to an answer that it has not told yet.
    Commitment,
    /// What opens a commitment.
    Reveal,
    /// A rebuilder's log or report.
    Attachment,
    /// The signer's judgement.
    VerificationSummary,
    /// The signer's statement over the SBOMs.
    SbomStatement,
    /// OpenPGP signature over the signed file.
    DetachedSignature,
    /// The signer's statement over the signed file.
    ReleaseStatement,
    /// What two people set aside.
    Waiver,
    /// One of the signer's statements, with its place in the log, as cosign reads it.
    SigstoreBundle,
    /// That one of the signer's statements is in the log (C2SP `tlog-proof`).
    LogProof,
    /// All that is said about a package, in one file.
    EvidencePack,
}

impl Kind {
    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sbom => "sbom",
            Self::BuildSbom => "build-sbom",
            Self::Provenance => "provenance",
            Self::BuildInfo => "buildinfo",
            Self::Source => "source",
            Self::Rebuild => "rebuild",
            Self::Commitment => "commitment",
            Self::Reveal => "reveal",
            Self::Attachment => "attachment",
            Self::VerificationSummary => "verification-summary",
            Self::SbomStatement => "sbom-statement",
            Self::DetachedSignature => "detached-signature",
            Self::ReleaseStatement => "release-statement",
            Self::Waiver => "waiver",
            Self::SigstoreBundle => "sigstore-bundle",
            Self::LogProof => "log-proof",
            Self::EvidencePack => "evidence-pack",
        }
    }
}

/// One document.
#[derive(Debug, Clone)]
pub struct EvidenceRow {
    /// The package, unless it is about the whole build.
    pub package_id: Option<u64>,
    /// [`Kind::name`].
    pub kind: String,
    /// Format, rebuilder, ...
    pub label: String,
    /// The document.
    pub digest: FileDigest,
}

/// A document to record.
#[derive(Debug, Clone)]
pub struct NewEvidence {
    /// The build.
    pub build_id: u64,
    /// The package, unless it is about the whole build.
    pub package_id: Option<u64>,
    /// What it is.
    pub kind: Kind,
    /// Format, rebuilder, ...
    pub label: String,
    /// The stored document.
    pub digest: FileDigest,
    /// `application/json`, ...
    pub media_type: &'static str,
}

/// Records a document; the second of two identical calls changes nothing.
pub fn insert(tx: &Transaction<'_>, new: &NewEvidence, now: Timestamp) -> Result<(), DbError> {
    tx.prepare_cached(
        "INSERT INTO evidence (build_id, package_id, kind, label, digest, media_type, made_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
    )?
    .execute(params![
        new.build_id,
        new.package_id,
        new.kind.name(),
        new.label,
        new.digest.to_hex(),
        new.media_type,
        now.unix_secs(),
    ])?;
    Ok(())
}

/// All documents about a build and its packages, in the order they were made.
pub fn of_build(connection: &Connection, build_id: u64) -> Result<Vec<EvidenceRow>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT package_id, kind, label, digest FROM evidence WHERE build_id = ?1 ORDER BY evidence_id",
    )?;
    let rows = statement.query_map([build_id], |row| {
        Ok(EvidenceRow {
            package_id: row.get("package_id")?,
            kind: row.get("kind")?,
            label: row.get("label")?,
            digest: parsed(row, "digest")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Documents of a build, sorted out by package once.
#[derive(Debug, Clone, Default)]
pub struct ByPackage {
    about_all: Vec<EvidenceRow>,
    about_one: HashMap<u64, Vec<EvidenceRow>>,
    count: usize,
}

impl ByPackage {
    /// Sorts out the rows of a build.
    pub fn new(rows: Vec<EvidenceRow>) -> Self {
        let mut sorted = Self {
            count: rows.len(),
            ..Self::default()
        };
        for row in rows {
            match row.package_id {
                Some(package_id) => sorted.about_one.entry(package_id).or_default().push(row),
                None => sorted.about_all.push(row),
            }
        }
        sorted
    }

    /// Documents about this package alone, in the order they were made.
    pub fn of(&self, package_id: u64) -> &[EvidenceRow] {
        self.about_one.get(&package_id).map_or(&[], Vec::as_slice)
    }

    /// Documents about the whole build.
    pub fn of_all(&self) -> &[EvidenceRow] {
        &self.about_all
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &EvidenceRow> {
        let about_one = self.about_one.values().flatten();
        self.about_all.iter().chain(about_one)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }
}

/// The media type of a public document; `None` when this digest is not evidence. A source package and SBOMs,
/// which hold what packages say about themselves and their files, and packs with SBOMs in them are public once
/// their build is: a fix may be under embargo until then.
pub fn media_type(connection: &Connection, digest: FileDigest) -> Result<Option<String>, DbError> {
    let sql = "SELECT e.media_type FROM evidence e JOIN builds b ON b.build_id = e.build_id
               WHERE e.digest = ?1 AND (e.kind NOT IN ('source', 'sbom', 'build-sbom', 'evidence-pack') OR b.stage = 'published') LIMIT 1";
    Ok(connection
        .query_row(sql, [digest.to_hex()], |row| row.get(0))
        .optional()?)
}

/// Two numbers, one of which changes whenever a document comes or a build's stage changes.
pub fn moved(connection: &Connection) -> Result<(i64, i64), DbError> {
    let sql = "SELECT (SELECT coalesce(max(evidence_id), 0) FROM evidence),
                      (SELECT coalesce(max(changed_at), 0) FROM builds)";
    Ok(connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// The newest document of this kind and label about a package.
pub fn newest(
    connection: &Connection,
    package_id: u64,
    kind: Kind,
    label: &str,
) -> Result<Option<FileDigest>, DbError> {
    let sql = "SELECT digest FROM evidence WHERE package_id = ?1 AND kind = ?2 AND label = ?3 ORDER BY evidence_id DESC LIMIT 1";
    let found = connection.query_row(sql, params![package_id, kind.name(), label], |row| {
        parsed(row, "digest")
    });
    Ok(found.optional()?)
}

/// A document that lies beside a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BesideRow {
    /// The package's path below the repository's base.
    pub href: String,
    /// [`Kind::name`].
    pub kind: String,
    /// Format, ...
    pub label: String,
    /// The document.
    pub digest: FileDigest,
}

/// The newest document of each kind and label about each package of a repository of a release.
pub fn beside_packages(
    connection: &Connection,
    release: ReleaseId,
    repo: &RepoName,
    arch: &Arch,
) -> Result<Vec<BesideRow>, DbError> {
    // SQLite takes the other columns from the row that has the maximum.
    let mut statement = connection.prepare_cached(
        "SELECT p.href, e.kind, e.label, e.digest, max(e.evidence_id)
         FROM members m JOIN packages p ON p.package_id = m.package_id
         JOIN evidence e ON e.build_id = p.build_id AND coalesce(e.package_id, 0) = p.package_id
         WHERE m.repo = ?1 AND m.arch = ?2 AND m.added_release <= ?3
           AND (m.removed_release IS NULL OR m.removed_release > ?3)
         GROUP BY p.package_id, e.kind, e.label",
    )?;
    let rows = statement.query_map(params![repo.as_str(), arch.as_str(), release.0], |row| {
        Ok(BesideRow {
            href: row.get("href")?,
            kind: row.get("kind")?,
            label: row.get("label")?,
            digest: parsed(row, "digest")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A row of evidence, such that no row of another history is equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvidenceMark {
    /// Number of the row; later ones are larger. 0: before the first.
    pub evidence_id: i64,
    /// The document.
    pub digest: FileDigest,
    /// When it was recorded.
    pub made_at: Timestamp,
}

impl Default for EvidenceMark {
    /// Before the first row.
    fn default() -> Self {
        Self {
            evidence_id: 0,
            digest: FileDigest::from_bytes([0; 32]),
            made_at: Timestamp::from_unix_secs(0),
        }
    }
}

/// An SBOM that was made, with what it is about.
#[derive(Debug, Clone)]
pub struct NewSbom {
    /// The row and the document.
    pub mark: EvidenceMark,
    /// Format.
    pub label: String,
    /// The package's main header.
    pub header: HeaderDigest,
    /// The buildinfo of the package's build.
    pub buildinfo: FileDigest,
}

/// The row of that number, if there is one.
pub fn mark(connection: &Connection, evidence_id: i64) -> Result<Option<EvidenceMark>, DbError> {
    let sql = "SELECT evidence_id, digest, made_at FROM evidence WHERE evidence_id = ?1";
    Ok(connection
        .query_row(sql, [evidence_id], mark_row)
        .optional()?)
}

fn mark_row(row: &Row<'_>) -> rusqlite::Result<EvidenceMark> {
    Ok(EvidenceMark {
        evidence_id: row.get("evidence_id")?,
        digest: parsed(row, "digest")?,
        made_at: Timestamp::from_unix_secs(row.get("made_at")?),
    })
}

/// SBOMs of these formats that were made after row `seen`, in the order they were made.
pub fn sboms_after(
    connection: &Connection,
    seen: i64,
    formats: &[&str],
    limit: u32,
) -> Result<Vec<NewSbom>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT e.evidence_id, e.label, e.digest, e.made_at, p.header_digest, b.buildinfo
         FROM evidence e JOIN packages p ON p.package_id = e.package_id JOIN builds b ON b.build_id = e.build_id
         WHERE e.evidence_id > ?1 AND e.kind = 'sbom' AND e.label IN (SELECT value FROM json_each(?2))
         ORDER BY e.evidence_id LIMIT ?3",
    )?;
    let rows = statement.query_map(
        params![seen, super::to_json(&formats, "list")?, limit],
        |row| {
            Ok(NewSbom {
                mark: mark_row(row)?,
                label: row.get("label")?,
                header: parsed(row, "header_digest")?,
                buildinfo: parsed(row, "buildinfo")?,
            })
        },
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Formats that there are SBOMs of a package in.
pub fn sboms_of(
    connection: &Connection,
    build_id: u64,
    package_id: u64,
) -> Result<Vec<String>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT label FROM evidence WHERE build_id = ?1 AND coalesce(package_id, 0) = ?2 AND kind = 'sbom'",
    )?;
    let rows = statement.query_map([build_id, package_id], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The newest SBOM of each format of many packages: (format, document) by package, sorted by format.
pub fn sboms_of_packages(
    connection: &Connection,
    package_ids: &[u64],
) -> Result<HashMap<u64, Vec<(String, FileDigest)>>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT p.package_id, e.label, e.digest FROM json_each(?1) j CROSS JOIN packages p ON p.package_id = j.value
         CROSS JOIN evidence e ON e.build_id = p.build_id AND coalesce(e.package_id, 0) = p.package_id AND e.kind = 'sbom'
         ORDER BY p.package_id, e.label, e.evidence_id",
    )?;
    let mut rows = statement.query([super::to_json(&package_ids, "list")?])?;
    let mut found: HashMap<u64, Vec<(String, FileDigest)>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let documents = found.entry(row.get("package_id")?).or_default();
        newest_wins(documents, (row.get("label")?, parsed(row, "digest")?));
    }
    Ok(found)
}

/// Rows come in the order in which they were made.
pub(super) fn newest_wins(
    documents: &mut Vec<(String, FileDigest)>,
    document: (String, FileDigest),
) {
    match documents.last_mut().filter(|last| last.0 == document.0) {
        Some(last) => *last = document,
        None => documents.push(document),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_and_sboms_are_public_once_their_build_is_and_all_else_at_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(super::super::SCHEMA).unwrap();
        let tx = connection.transaction().unwrap();
        tx.execute_batch(
            "INSERT INTO builds VALUES (1, 'm', 'base', 'x-1-1.src', 'x', '', '', NULL, '', 0, 0, 'held', '{}')",
        )
        .unwrap();
        let document = |kind: Kind| FileDigest::of(kind.name().as_bytes());
        let kinds = [
            Kind::Source,
            Kind::Sbom,
            Kind::BuildSbom,
            Kind::BuildInfo,
            Kind::Attachment,
            Kind::Rebuild,
        ];
        for kind in kinds {
            let new = NewEvidence {
                build_id: 1,
                package_id: None,
                kind,
                label: String::new(),
                digest: document(kind),
                media_type: "text/plain",
            };
            insert(&tx, &new, Timestamp::from_unix_secs(0)).unwrap();
        }
        let public = || kinds.map(|kind| media_type(&tx, document(kind)).unwrap().is_some());
        for stage in ["received", "held", "rejected", "approved", "signed"] {
            tx.execute("UPDATE builds SET stage = ?1", [stage]).unwrap();
            let expected = [false, false, false, true, true, true];
            assert_eq!(public(), expected, "{stage}");
        }
        tx.execute_batch("UPDATE builds SET stage = 'published'")
            .unwrap();
        assert_eq!(public(), [true; 6]);
    }
}
