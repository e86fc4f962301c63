//! What was built where a tool was installed, as the buildinfos say.

use super::AskError;
use super::page::{After, IN_SCOPE, Items, PACKAGE, PACKAGES_OF_DOCUMENT, Paging, Scope, package};
use crate::db::parsed;
use crate::sbom_index::versions::{Order, Range};
use repo_model::wire::sbom::{BuiltWith, Page};
use rusqlite::{Connection, Rows, named_params, params};
use std::collections::HashMap;

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
    let mut tools = connection.prepare_cached(
        "SELECT buildinfo_id, version, arch FROM tools WHERE name = ?1 AND buildinfo_id >= ?2
         ORDER BY buildinfo_id",
    )?;
    let mut installed = Installed {
        rows: tools.query(params![tool, seen])?,
        meant: HashMap::new(),
        range,
        ahead: None,
    };
    while let Some(Tool {
        buildinfo,
        version,
        arch,
    }) = installed.next()?
    {
        let from = if buildinfo == seen {
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
                buildinfo,
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

/// The tool in one build root.
struct Tool {
    buildinfo: i64,
    version: String,
    arch: String,
}

/// The tool in one build root after the other, where its version is meant.
struct Installed<'s, 'r> {
    rows: Rows<'s>,
    /// Versions that were compared.
    meant: HashMap<String, bool>,
    range: &'r Range,
    /// Read already, of the next build root.
    ahead: Option<Tool>,
}

impl Installed<'_, '_> {
    /// The newest version that is meant in the next build root that has one.
    fn next(&mut self) -> Result<Option<Tool>, AskError> {
        let mut newest = self.ahead.take();
        while let Some(tool) = self.row()? {
            match &newest {
                Some(known) if known.buildinfo != tool.buildinfo => {
                    self.ahead = Some(tool);
                    break;
                }
                Some(known) if Order::Rpm.compare(&known.version, &tool.version).is_ge() => {}
                _ => newest = Some(tool),
            }
        }
        Ok(newest)
    }

    /// The next row whose version is meant.
    fn row(&mut self) -> Result<Option<Tool>, AskError> {
        while let Some(row) = self.rows.next()? {
            let version = row
                .get_ref("version")?
                .as_str()
                .map_err(rusqlite::Error::from)?;
            let is_meant = match self.meant.get(version) {
                Some(is_meant) => *is_meant,
                None => {
                    let is_meant = self.range.contains("rpm", version);
                    self.meant.insert(version.to_owned(), is_meant);
                    is_meant
                }
            };
            if is_meant {
                return Ok(Some(Tool {
                    buildinfo: row.get("buildinfo_id")?,
                    version: version.to_owned(),
                    arch: row.get("arch")?,
                }));
            }
        }
        Ok(None)
    }
}
