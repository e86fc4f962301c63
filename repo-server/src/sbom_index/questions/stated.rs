//! What VEX statements say about one component of one package.

use super::AskError;
use crate::db::{DbError, parsed, to_json};
use crate::sbom_index::purl::Purl;
use repo_model::FileDigest;
use repo_model::wire::sbom::{PackageRef, VulnerabilityStatus};
use rusqlite::{Connection, Row};

/// A statement that is in use.
#[derive(Debug, Clone)]
pub(super) struct Stated {
    pub(super) statement_id: i64,
    pub(super) vulnerability: String,
    pub(super) product: Purl,
    subcomponent: Option<Purl>,
    pub(super) status: VulnerabilityStatus,
    pub(super) justification: Option<String>,
    pub(super) remark: Option<String>,
    pub(super) document: FileDigest,
}

const COLUMNS: &str = "s.statement_id, s.vulnerability, s.product, s.subcomponent, s.status, s.justification, s.remark, d.digest";
const IN_USE: &str = "server.vex_statements s CROSS JOIN server.vex_documents d ON d.document_id = s.document_id AND d.withdrawn_at IS NULL";

fn stated(row: &Row<'_>) -> rusqlite::Result<Option<Stated>> {
    let product: String = row.get("product")?;
    let subcomponent: Option<String> = row.get("subcomponent")?;
    let status: String = row.get("status")?;
    let (Some(product), Some(status)) =
        (Purl::parse(&product), VulnerabilityStatus::named(&status))
    else {
        return Ok(None);
    };
    Ok(Some(Stated {
        statement_id: row.get("statement_id")?,
        vulnerability: row.get("vulnerability")?,
        product,
        subcomponent: subcomponent.as_deref().and_then(Purl::parse),
        status,
        justification: row.get("justification")?,
        remark: row.get("remark")?,
        document: parsed(row, "digest")?,
    }))
}

/// Statements about a vulnerability under any of its names, the one that counts first: the latest.
pub(super) fn about(connection: &Connection, names: &[&str]) -> Result<Vec<Stated>, AskError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM {IN_USE} WHERE s.vulnerability IN (SELECT value FROM json_each(?1))
         ORDER BY s.stated_at DESC, s.statement_id DESC"
    ))?;
    let rows = statement.query_map([to_json(&names, "list")?], stated)?;
    let mut found = Vec::new();
    for row in rows {
        found.extend(row?);
    }
    Ok(found)
}

/// Statements from number `from` on.
pub(super) fn each_from(
    connection: &Connection,
    from: i64,
    mut take: impl FnMut(Stated) -> Result<bool, AskError>,
) -> Result<(), AskError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM {IN_USE} WHERE s.statement_id >= ?1 ORDER BY s.statement_id"
    ))?;
    let mut rows = statement.query([from])?;
    while let Some(row) = rows.next()? {
        if let Some(stated) = stated(row).map_err(DbError::from)?
            && !take(stated)?
        {
            break;
        }
    }
    Ok(())
}

/// A component in a package, under the names that statements may use.
pub(super) struct Subject<'a> {
    pub(super) package: &'a PackageRef,
    /// Package URL of the package.
    pub(super) purl: &'a str,
    /// Package URL of the component.
    pub(super) component: &'a str,
}

impl Stated {
    /// What is to be looked for in packages.
    pub(super) fn part_or_product(&self) -> &Purl {
        self.subcomponent.as_ref().unwrap_or(&self.product)
    }

    /// Whether the statement is about it. Its product may be the package, its source package
    /// (`arch=src`), or the component itself.
    pub(super) fn is_about(&self, subject: &Subject<'_>) -> bool {
        let component = Purl::parse(subject.component);
        let names = |pattern: &Purl| component.as_ref().is_some_and(|purl| pattern.names(purl));
        let is_package = || Purl::parse(subject.purl).is_some_and(|purl| self.product.names(&purl));
        match &self.subcomponent {
            Some(part) => names(part) && (is_package() || self.is_source_of(subject)),
            None => is_package() || self.is_source_of(subject) || names(&self.product),
        }
    }

    fn is_source_of(&self, subject: &Subject<'_>) -> bool {
        let source = &subject.package.source;
        let version = self.product.version.as_ref();
        self.product.ecosystem == "rpm"
            && self.product.qualifiers.get("arch").map(String::as_str) == Some("src")
            && self.product.name == source.name
            && version.is_none_or(|version| *version == source.evr.to_string())
    }
}
