//! Why a component is in a package: from the build down to it.

use super::AskError;
use super::components::{ShippedRow, Wanted, shipped};
use super::page::{Items, Paging, Scope};
use crate::db::DbError;
use repo_model::wire::sbom::{Page, Shipped, Step, Why};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashSet;

/// Longest chain that is followed.
const MAX_STEPS: usize = 32;
/// Readers of lists that say what was copied into a source tree.
const VENDORED: [&str; 2] = ["cargo-vendor-list", "go-modules-list"];

/// Each place where the component is, with the way it came there.
pub fn why(
    connection: &Connection,
    scope: &Scope,
    wanted: &Wanted,
    paging: Paging,
) -> Result<Page<Why>, AskError> {
    let mut items = Items::new(paging);
    shipped(connection, scope, wanted, paging, |at, row| {
        Ok(items.add(at, explained(connection, row)?))
    })?;
    Ok(items.page(scope.release))
}

/// A place with the way from its build down to it.
pub(super) fn explained(connection: &Connection, row: ShippedRow) -> Result<Why, DbError> {
    Ok(Why {
        how: how(&row.shipped).to_owned(),
        path: path(connection, &row)?,
        shipped: row.shipped,
    })
}

/// In one word; of several reasons the one that is seen in the shipped bytes.
fn how(shipped: &Shipped) -> &'static str {
    let any = |is_so: &dyn Fn(&str, &str) -> bool| {
        let mut evidence = shipped.evidence.iter();
        evidence.any(|method| is_so(&method.source, &method.technique))
    };
    match shipped.relation.as_str() {
        "self" => "self",
        "upstream" => "upstream",
        "source" => "source",
        _ if any(&|_, technique| technique == "binary-analysis") => "static",
        _ if any(&|source, _| VENDORED.contains(&source)) => "vendored",
        _ if any(&|source, _| source != "bundled-provide") => "shipped",
        _ => "bundled",
    }
}

fn path(connection: &Connection, row: &ShippedRow) -> Result<Vec<Step>, DbError> {
    let step = |kind: &str, name: String| Step {
        kind: kind.to_owned(),
        name,
    };
    let package = &row.shipped.package;
    let mut path = vec![
        step("build", package.source.to_string()),
        step("package", package.nevra.to_string()),
    ];
    if row.shipped.relation != "part" {
        return Ok(path);
    }
    if let Some(place) = row.shipped.places.first() {
        path.push(step("file", place.clone()));
    }
    let mut chain = vec![row.shipped.component.clone()];
    let mut seen = HashSet::from([row.component_id]);
    let mut at = row.component_id;
    while chain.len() < MAX_STEPS
        && let Some((parent, purl)) = parent(connection, row.document_id, at)?
        && seen.insert(parent)
    {
        chain.push(purl);
        at = parent;
    }
    let chain = chain.into_iter().rev();
    path.extend(chain.map(|purl| step("component", purl)));
    Ok(path)
}

/// The first component that needs this one; the package itself, which holds all, does not count.
fn parent(
    connection: &Connection,
    document_id: i64,
    component_id: i64,
) -> Result<Option<(i64, String)>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT c.component_id, c.purl FROM edges e JOIN components c ON c.component_id = e.from_component
         JOIN occurrences o ON o.component_id = c.component_id AND o.document_id = e.document_id
         WHERE e.document_id = ?1 AND e.to_component = ?2 AND o.relation = 'part' ORDER BY c.purl LIMIT 1",
    )?;
    let found = statement.query_row(params![document_id, component_id], |row| {
        Ok((row.get(0)?, row.get(1)?))
    });
    Ok(found.optional()?)
}
