//! The licences of a release.

use super::AskError;
use crate::sbom_index::SbomIndex;
use crate::sbom_index::fill;
use repo_model::ReleaseId;
use repo_model::wire::sbom::LicenceUse;
use rusqlite::Connection;
use std::sync::Arc;

/// Every licence of a release with the number of packages, most frequent first.
///
/// Counted once a release and kept, since a release never changes.
pub fn licences(
    index: &SbomIndex,
    connection: &Connection,
    release: ReleaseId,
) -> Result<Arc<Vec<LicenceUse>>, AskError> {
    let key = (release, fill::seen(connection)?.evidence_id);
    if let Some(counted) = index.licences.get(&key) {
        return Ok(counted);
    }
    let counted = Arc::new(count(connection, release)?);
    index.licences.keep(key, &counted);
    Ok(counted)
}

fn count(connection: &Connection, release: ReleaseId) -> Result<Vec<LicenceUse>, AskError> {
    let mut statement = connection.prepare_cached(
        "SELECT l.raw, l.expression, l.mapped, o.relation, count(DISTINCT o.document_id) AS packages
         FROM (SELECT DISTINCT m.package_id FROM server.members m
               WHERE m.added_release <= ?1 AND (m.removed_release IS NULL OR m.removed_release > ?1)) m
         CROSS JOIN server.packages p ON p.package_id = m.package_id
         CROSS JOIN documents d ON d.header = p.header_digest
         CROSS JOIN occurrences o ON o.document_id = d.document_id AND o.licence_id IS NOT NULL
         CROSS JOIN licences l ON l.licence_id = o.licence_id
         GROUP BY o.licence_id, o.relation ORDER BY packages DESC, l.expression, l.raw, o.relation",
    )?;
    let rows = statement.query_map([release.0], |row| {
        let relation: String = row.get("relation")?;
        let expression: String = row.get("expression")?;
        Ok(LicenceUse {
            raw: row.get("raw")?,
            copyleft: sbom_gen::is_copyleft(&expression),
            expression,
            mapped: row.get("mapped")?,
            of: match relation.as_str() {
                "self" => "package".to_owned(),
                _ => "part".to_owned(),
            },
            packages: row.get("packages")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
