//! What is inside one package.

use super::AskError;
use crate::db::from_json;
use repo_model::HeaderDigest;
use repo_model::wire::sbom::Method;
use rusqlite::{Connection, OptionalExtension, params};

/// What is inside one package.
#[derive(Debug, Clone)]
pub struct PackageContents {
    /// Why it could not be read, if it could not.
    pub unreadable: Option<String>,
    /// Components, by ecosystem and name.
    pub components: Vec<Component>,
    /// How many there are.
    pub total: u64,
}

/// A component of a package.
#[derive(Debug, Clone)]
pub struct Component {
    /// Package URL.
    pub purl: String,
    /// Type of the package URL.
    pub ecosystem: String,
    /// Name in its ecosystem.
    pub name: String,
    /// Empty when none is known.
    pub version: String,
    /// `self`, `upstream`, `source` or `part`.
    pub relation: String,
    /// Whether it took part in the build only.
    pub build_only: bool,
    /// How it is known.
    pub evidence: Vec<Method>,
    /// SPDX expression of its licence.
    pub licence: Option<String>,
    /// A file that shows it.
    pub place: Option<String>,
}

/// What an SBOM says is inside a package, by ecosystem and name; at most `limit` components. None when no
/// SBOM of the package is indexed.
pub fn contents(
    connection: &Connection,
    header: HeaderDigest,
    limit: u32,
) -> Result<Option<PackageContents>, AskError> {
    let sql = "SELECT document_id, error FROM documents WHERE header = ?1";
    let found = connection
        .query_row(sql, [header.to_hex()], |row| {
            let document_id: i64 = row.get("document_id")?;
            let contents = PackageContents {
                unreadable: row.get("error")?,
                components: Vec::new(),
                total: 0,
            };
            Ok((document_id, contents))
        })
        .optional()?;
    let Some((document_id, mut contents)) = found else {
        return Ok(None);
    };
    contents.total = connection.query_row(
        "SELECT count(*) FROM occurrences WHERE document_id = ?1",
        [document_id],
        |row| row.get(0),
    )?;
    let mut statement = connection.prepare_cached(
        "SELECT c.purl, n.ecosystem, n.name, c.version, o.relation, o.excluded, o.methods, l.expression,
                (SELECT min(path) FROM places p WHERE p.document_id = o.document_id AND p.component_id = o.component_id) AS place
         FROM occurrences o CROSS JOIN components c ON c.component_id = o.component_id
         CROSS JOIN names n ON n.name_id = c.name_id LEFT JOIN licences l ON l.licence_id = o.licence_id
         WHERE o.document_id = ?1 ORDER BY n.ecosystem, n.name, c.version, c.component_id LIMIT ?2",
    )?;
    let mut rows = statement.query(params![document_id, limit])?;
    while let Some(row) = rows.next()? {
        let methods: String = row.get("methods")?;
        contents.components.push(Component {
            purl: row.get("purl")?,
            ecosystem: row.get("ecosystem")?,
            name: row.get("name")?,
            version: row.get("version")?,
            relation: row.get("relation")?,
            build_only: row.get("excluded")?,
            evidence: from_json(&methods, "list of methods")?,
            licence: row.get("expression")?,
            place: row.get("place")?,
        });
    }
    Ok(Some(contents))
}
