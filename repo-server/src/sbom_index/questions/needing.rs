//! What needs a package, directly or by way of others: what may break when it leaves.

use super::AskError;
use super::page::{After, Items, PACKAGE, Paging, Scope, package};
use super::why_here::{Depth, files};
use crate::db::DbError;
use crate::sbom_index::requirements::{Reached, Road};
use repo_model::wire::sbom::{Needing, PackageRef, Page, Step};
use repo_model::{FileDigest, RepoName};
use rusqlite::{Connection, params};
use std::collections::{HashMap, HashSet};

/// Packages that need the one that the scope names, the nearest first, each with a shortest way.
///
/// * `roads`: what needs what in each repository of the scope. Where several packages meet a requirement, it
///   leads to one of them.
pub fn needing(
    connection: &Connection,
    scope: &Scope,
    roads: &[Road],
    depth: Depth,
    paging: Paging,
) -> Result<Page<Needing>, AskError> {
    let mut items = Items::new(paging);
    // One for all architectures is in several repositories, and told for the first.
    let mut told = HashSet::new();
    for (number, road) in (1..).zip(roads) {
        let start = files(connection, scope, road)?;
        let reached = road.requirements.needing(&start, depth.steps());
        let mut packages = Packages {
            connection,
            repo: &road.repo,
            known: HashMap::new(),
        };
        for (rank, one) in (0..).zip(&reached) {
            let at = After([number, rank, 0, 0]);
            if one.before.is_none() || !told.insert(one.file) || at <= paging.after {
                continue;
            }
            if items.is_full() {
                break;
            }
            items.add(at, packages.needing(&reached, one)?);
        }
    }
    Ok(items.page(scope.release))
}

/// Packages of a repository, by file.
struct Packages<'a> {
    connection: &'a Connection,
    repo: &'a RepoName,
    known: HashMap<FileDigest, PackageRef>,
}

impl Packages<'_> {
    fn needing(&mut self, reached: &[Reached], from: &Reached) -> Result<Needing, DbError> {
        let mut path = Vec::new();
        let mut at = Some(from);
        while let Some(one) = at {
            let kind = match path.is_empty() {
                true => "package",
                false => "requires",
            };
            path.push(Step {
                kind: kind.to_owned(),
                name: self.of(one.file)?.nevra.to_string(),
            });
            at = one.before.and_then(|number| reached.get(number));
        }
        Ok(Needing {
            package: self.of(from.file)?,
            steps: from.steps,
            path,
        })
    }

    fn of(&mut self, file: FileDigest) -> Result<PackageRef, DbError> {
        if let Some(known) = self.known.get(&file) {
            return Ok(known.clone());
        }
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {PACKAGE} FROM server.packages p CROSS JOIN server.builds b ON b.build_id = p.build_id
             WHERE p.signed_file = ?1 AND p.repo = ?2 LIMIT 1"
        ))?;
        let key = params![file.to_hex(), self.repo.as_str()];
        let found = statement.query_row(key, package)?;
        self.known.insert(file, found.clone());
        Ok(found)
    }
}
