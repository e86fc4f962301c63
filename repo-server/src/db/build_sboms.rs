//! SBOMs about builds as a whole: rows of the evidence that belong to no single package.

use super::{DbError, parsed, to_json};
use repo_model::{Arch, FileDigest, Nevra, ReleaseId, RepoName};
use rusqlite::{Connection, OptionalExtension, params};

/// The documents about one build as a whole, and what they are about.
#[derive(Debug, Clone)]
pub struct BuildSbomsRow {
    /// The build.
    pub build_id: u64,
    /// Its source package.
    pub source: Nevra,
    /// File name of that.
    pub source_name: String,
    /// The .src.rpm.
    pub source_file: FileDigest,
    /// The buildinfo.
    pub buildinfo: FileDigest,
    /// The newest of each format: (format, document), sorted by format.
    pub documents: Vec<(String, FileDigest)>,
}

/// Which builds are asked for.
#[derive(Debug, Clone)]
pub enum Builds {
    /// These.
    Numbered(Vec<u64>),
    /// Those made from this .src.rpm that are published.
    PublishedOf(FileDigest),
}

/// The SBOMs of builds as a whole, by number of the build; builds that have none are left out.
pub fn build_sboms(
    connection: &Connection,
    builds: &Builds,
) -> Result<Vec<BuildSbomsRow>, DbError> {
    let (condition, wanted) = match builds {
        Builds::Numbered(ids) => (
            "b.build_id IN (SELECT value FROM json_each(?1))",
            to_json(ids, "list")?,
        ),
        Builds::PublishedOf(source) => (
            "b.source_file = ?1 AND b.stage = 'published'",
            source.to_hex(),
        ),
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT b.build_id, b.source_nevra, b.source_name, b.source_file, b.buildinfo, e.label, e.digest
         FROM builds b CROSS JOIN evidence e ON e.build_id = b.build_id AND coalesce(e.package_id, 0) = 0
           AND e.kind = 'build-sbom'
         WHERE {condition} ORDER BY b.build_id, e.label, e.evidence_id"
    ))?;
    let mut rows = statement.query([wanted])?;
    let mut found: Vec<BuildSbomsRow> = Vec::new();
    while let Some(row) = rows.next()? {
        let build_id = row.get("build_id")?;
        if found.last().is_none_or(|last| last.build_id != build_id) {
            found.push(BuildSbomsRow {
                build_id,
                source: parsed(row, "source_nevra")?,
                source_name: row.get("source_name")?,
                source_file: parsed(row, "source_file")?,
                buildinfo: parsed(row, "buildinfo")?,
                documents: Vec::new(),
            });
        }
        if let Some(last) = found.last_mut() {
            super::evidence::newest_wins(
                &mut last.documents,
                (row.get("label")?, parsed(row, "digest")?),
            );
        }
    }
    Ok(found)
}

/// The build whose SBOM of this format and digest may be had in this repository: one of its packages was there in
/// release `newest` or one before.
pub fn build_sbom_at(
    connection: &Connection,
    repo: &RepoName,
    arch: &Arch,
    format: &str,
    digest: FileDigest,
    newest: ReleaseId,
) -> Result<Option<u64>, DbError> {
    let sql = "SELECT e.build_id FROM evidence e
         WHERE e.digest = ?1 AND e.kind = 'build-sbom' AND e.label = ?2 AND EXISTS (
           SELECT 1 FROM packages p JOIN members m ON m.package_id = p.package_id
           WHERE p.build_id = e.build_id AND m.repo = ?3 AND m.arch = ?4 AND m.added_release <= ?5) LIMIT 1";
    let wanted = params![
        digest.to_hex(),
        format,
        repo.as_str(),
        arch.as_str(),
        newest.0
    ];
    Ok(connection
        .prepare_cached(sql)?
        .query_row(wanted, |row| row.get(0))
        .optional()?)
}

/// The newest published build without documents about it as a whole, for which none are being made; only builds
/// older than `than`, where that is given.
pub fn newest_lacking(connection: &Connection, than: Option<u64>) -> Result<Option<u64>, DbError> {
    let sql = "SELECT b.build_id FROM builds b
         WHERE b.stage = 'published' AND (?1 IS NULL OR b.build_id < ?1)
           AND NOT EXISTS (SELECT 1 FROM evidence e WHERE e.build_id = b.build_id
             AND coalesce(e.package_id, 0) = 0 AND e.kind = 'build-sbom')
           AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.build_id = b.build_id AND j.name = 'make-build-sbom')
         ORDER BY b.build_id DESC LIMIT 1";
    Ok(connection
        .prepare_cached(sql)?
        .query_row([than], |row| row.get(0))
        .optional()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::evidence::{Kind, NewEvidence, insert};
    use repo_model::Timestamp;

    #[test]
    fn builds_have_their_newest_documents_and_a_place_those_whose_packages_it_had() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(crate::db::SCHEMA).unwrap();
        let tx = connection.transaction().unwrap();
        let (source, info) = ("ab".repeat(32), "cd".repeat(32));
        for build in 1..=3 {
            let stage = if build == 2 { "held" } else { "published" };
            tx.execute_batch(&format!(
                "INSERT INTO builds VALUES ({build}, 'm{build}', 'base', 'x-1-{build}.src', 'x-1-{build}.src.rpm',
                   '{source}', '{info}', NULL, '', 0, 0, '{stage}', '{{}}');
                 INSERT INTO packages (package_id, build_id, repo, nevra, name, arch, summary, header_digest,
                   unsigned_file, unsigned_size_bytes, href)
                   VALUES ({build}, {build}, 'base', 'x-1-{build}.noarch', 'x', 'noarch', '', '', '', 1, 'h{build}');
                 INSERT INTO members VALUES ('base', 'x86_64', {build}, {build}, NULL);"
            ))
            .unwrap();
        }
        let add = |build_id, kind, label: &str, document: &str| {
            let new = NewEvidence {
                build_id,
                package_id: None,
                kind,
                label: label.to_owned(),
                digest: FileDigest::of(document.as_bytes()),
                media_type: "application/json",
            };
            insert(&tx, &new, Timestamp::from_unix_secs(0)).unwrap();
        };
        for (build, label, document) in [
            (1, "spdx-2.3", "old"),
            (1, "cyclonedx-1.6", "one"),
            (1, "spdx-2.3", "new"),
            (2, "spdx-2.3", "held"),
        ] {
            add(build, Kind::BuildSbom, label, document);
        }
        add(1, Kind::Sbom, "spdx-2.3", "of a package");
        let brief = |builds: Builds| {
            let rows = build_sboms(&tx, &builds).unwrap();
            let documents = rows.into_iter().map(|row| (row.build_id, row.documents));
            documents.collect::<Vec<_>>()
        };
        let of = |document: &str| FileDigest::of(document.as_bytes());
        let first = vec![
            ("cyclonedx-1.6".to_owned(), of("one")),
            ("spdx-2.3".to_owned(), of("new")),
        ];
        let second = vec![("spdx-2.3".to_owned(), of("held"))];
        assert_eq!(
            brief(Builds::Numbered(vec![1, 2, 3])),
            [(1, first.clone()), (2, second)]
        );
        assert_eq!(
            brief(Builds::PublishedOf(source.parse().unwrap())),
            [(1, first)]
        );
        let at = |format, document, arch: &str, release| {
            let (repo, arch) = ("base".parse().unwrap(), arch.parse().unwrap());
            let newest = ReleaseId(release);
            build_sbom_at(&tx, &repo, &arch, format, of(document), newest).unwrap()
        };
        assert_eq!(at("spdx-2.3", "old", "x86_64", 9), Some(1));
        assert_eq!(at("spdx-2.3", "one", "x86_64", 9), None);
        assert_eq!(at("spdx-2.3", "new", "aarch64", 9), None);
        assert_eq!(at("spdx-2.3", "held", "x86_64", 1), None);
        assert_eq!(at("spdx-2.3", "of a package", "x86_64", 9), None);
    }

    #[test]
    fn published_builds_that_lack_documents_are_found_newest_first() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(crate::db::SCHEMA).unwrap();
        let tx = connection.transaction().unwrap();
        for build in 1..=5 {
            let stage = if build == 2 { "held" } else { "published" };
            let digest = "ab".repeat(32);
            tx.execute_batch(&format!(
                "INSERT INTO builds VALUES ({build}, 'm{build}', 'base', 'x-1-{build}.src', 'x-1-{build}.src.rpm',
                   '{digest}', '{digest}', NULL, '', 0, 0, '{stage}', '{{}}');"
            ))
            .unwrap();
        }
        let lacking = |than| newest_lacking(&tx, than).unwrap();
        assert_eq!((lacking(None), lacking(Some(3))), (Some(5), Some(1)));
        let made = NewEvidence {
            build_id: 5,
            package_id: None,
            kind: Kind::BuildSbom,
            label: "spdx-2.3".to_owned(),
            digest: FileDigest::of(b"made"),
            media_type: "application/json",
        };
        insert(&tx, &made, Timestamp::from_unix_secs(0)).unwrap();
        assert_eq!(lacking(None), Some(4));
        crate::db::jobs::enqueue(&tx, "make-build-sbom", "4", Some(4), 0).unwrap();
        assert_eq!((lacking(None), lacking(Some(1))), (Some(3), None));
    }
}
