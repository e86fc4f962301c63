//! What was built where a tool was installed, as the buildinfos say.

use super::AskError;
use super::page::{After, IN_SCOPE, Items, PACKAGE, PACKAGES_OF_DOCUMENT, Paging, Scope, package};
use crate::db::parsed;
use crate::sbom_index::versions::{Order, Range};
use repo_model::wire::sbom::{BuiltWith, Page};
use rusqlite::{Connection, named_params};
use std::collections::{BTreeMap, HashMap};

/// Packages of the release whose build root had the tool, build by build. Of several versions in one build
/// root the newest that is meant is told.
///
/// * `tool`: name of a package of the build root, such as `gcc`.
/// * `range`: compared in rpm's order, which is right for Debian's versions too but in corner cases.
pub fn built_with(
    connection: &Connection,
    scope: &Scope,
    tool: &str,
    range: &Range,
    paging: Paging,
) -> Result<Page<BuiltWith>, AskError> {
    let After([seen, document, package_id, _]) = paging.after;
    let mut items = Items::new(paging);
    for (buildinfo, (version, arch)) in installed(connection, tool, range)?.range(seen..) {
        let from = if *buildinfo == seen {
            (document, package_id)
        } else {
            (0, 0)
        };
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {PACKAGE}, p.package_id, d.document_id, i.digest FROM documents d
             CROSS JOIN buildinfos i ON i.buildinfo_id = d.buildinfo_id {PACKAGES_OF_DOCUMENT}
             WHERE d.buildinfo_id = :buildinfo AND (d.document_id, p.package_id) > (:document, :after_package) AND {IN_SCOPE}
             ORDER BY d.document_id, p.package_id"
        ))?;
        let mut rows = statement.query(named_params! {
            ":buildinfo": buildinfo, ":document": from.0, ":after_package": from.1,
            ":release": scope.release.0, ":repo": scope.repo(), ":arch": scope.arch(), ":package": scope.package,
        })?;
        while let Some(row) = rows.next()? {
            let at = After([
                *buildinfo,
                row.get("document_id")?,
                row.get("package_id")?,
                0,
            ]);
            let built = BuiltWith {
                package: package(row)?,
                tool: tool.to_owned(),
                version: version.clone(),
                arch: arch.clone(),
                buildinfo: parsed(row, "digest")?,
            };
            if !items.add(at, built) {
                return Ok(items.page(scope.release));
            }
        }
    }
    Ok(items.page(scope.release))
}

/// Version and arch of the tool by buildinfo.
fn installed(
    connection: &Connection,
    tool: &str,
    range: &Range,
) -> Result<BTreeMap<i64, (String, String)>, AskError> {
    let mut statement = connection
        .prepare_cached("SELECT buildinfo_id, version, arch FROM tools WHERE name = ?1")?;
    let mut rows = statement.query([tool])?;
    let mut meant: HashMap<String, bool> = HashMap::new();
    let mut found: BTreeMap<i64, (String, String)> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let version: String = row.get(1)?;
        let is_meant = *meant
            .entry(version.clone())
            .or_insert_with(|| range.contains("rpm", &version));
        if !is_meant {
            continue;
        }
        let known = found.entry(row.get(0)?).or_default();
        if known.0.is_empty() || Order::Rpm.compare(&known.0, &version).is_lt() {
            *known = (version, row.get(2)?);
        }
    }
    Ok(found)
}
