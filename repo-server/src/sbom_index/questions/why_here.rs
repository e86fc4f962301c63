//! Why a component is on a machine that has a package: because the package holds it, or because one that
//! it needs does.

use super::AskError;
use super::components::{JOINED, PLACE, Place, Wanted};
use super::page::{After, IN_SCOPE, Items, Paging, Scope};
use super::why::explained;
use crate::db::{DbError, parsed};
use crate::sbom_index::requirements::{Reached, Road};
use repo_model::wire::sbom::{Page, Step, Why};
use repo_model::{FileDigest, Nevra, RepoName};
use rusqlite::{Connection, OptionalExtension, named_params, params};
use std::collections::{HashMap, HashSet};
use std::str::FromStr;

/// How many packages are gone through from one that needs the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth(u32);

impl Depth {
    const MOST: u32 = 32;

    /// Steps.
    pub fn steps(self) -> u32 {
        self.0
    }
}

impl Default for Depth {
    /// Far enough for nearly all; what is farther is hardly a reason.
    fn default() -> Self {
        Self(8)
    }
}

impl FromStr for Depth {
    type Err = AskError;
    fn from_str(text: &str) -> Result<Self, AskError> {
        let steps = text.parse().ok().filter(|steps| *steps <= Self::MOST);
        let refuse = || AskError::parameter("depth", text, "is no number from 0 to 32");
        steps.map(Self).ok_or_else(refuse)
    }
}

/// Places where the component is, in the package that the scope names or in what that needs, the nearest
/// first, each with a shortest way to it.
///
/// * `roads`: what needs what in each repository of the scope.
pub fn why_here(
    connection: &Connection,
    scope: &Scope,
    wanted: &Wanted,
    roads: &[Road],
    depth: Depth,
    paging: Paging,
) -> Result<Page<Why>, AskError> {
    let mut components = wanted.rows(connection)?;
    components.sort_unstable();
    let holders = holders(connection, &components)?;
    let mut items = Items::new(paging);
    let mut told: HashSet<FileDigest> = HashSet::new();
    for (number, road) in (1..).zip(roads) {
        let start = files(connection, scope, road)?;
        let reached = road.requirements.reached_from(&start, depth.steps());
        let few = few(connection, &road.repo, &holders)?;
        for (rank, one) in (0..).zip(&reached) {
            if items.is_full() {
                break;
            }
            // A package for all architectures is in several repositories, and told for the first.
            if !told.insert(one.file) {
                continue;
            }
            let package = match &few {
                Some(few) => few.get(&one.file).copied(),
                None => package(connection, &road.repo, one.file)?,
            };
            let Some(package) = package else {
                continue;
            };
            if !holders.contains(&package.document_id) {
                continue;
            }
            for component in &components {
                let at = After([number, rank, *component, 0]);
                if at <= paging.after {
                    continue;
                }
                let Some(place) = place(connection, package, *component)? else {
                    continue;
                };
                let mut why = explained(connection, place.shipped(connection)?)?;
                if one.needed_by.is_some() {
                    why.path = along(connection, &road.repo, &reached, one, why.path)?;
                }
                if !items.add(at, why) {
                    break;
                }
            }
        }
    }
    Ok(items.page(scope.release))
}

/// Documents in which one of the components is.
fn holders(connection: &Connection, components: &[i64]) -> Result<HashSet<i64>, DbError> {
    let mut statement =
        connection.prepare_cached("SELECT document_id FROM occurrences WHERE component_id = ?1")?;
    let mut holders = HashSet::new();
    for component in components {
        let mut rows = statement.query([component])?;
        while let Some(row) = rows.next()? {
            holders.insert(row.get(0)?);
        }
    }
    Ok(holders)
}

/// The files of the packages that are asked about, as the road's repository has them.
fn files(connection: &Connection, scope: &Scope, road: &Road) -> Result<Vec<FileDigest>, DbError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT p.signed_file FROM server.packages p
         WHERE p.repo = :repo AND p.retired = 0 AND p.signed_file IS NOT NULL
           AND (p.name = :package OR p.nevra = :package OR p.header_digest = :package) AND {IN_SCOPE}"
    ))?;
    let rows = statement.query_map(
        named_params! {
            ":release": scope.release.0, ":repo": road.repo.as_str(), ":arch": road.arch.as_str(),
            ":package": scope.package,
        },
        |row| parsed(row, "signed_file"),
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Holders that are looked up at once; where there are more, a walk soon meets as many as a page has.
const FEW: usize = 1_000;

/// The packages of a repository that hold one of the components, by file; none when they are many.
fn few(
    connection: &Connection,
    repo: &RepoName,
    holders: &HashSet<i64>,
) -> Result<Option<HashMap<FileDigest, Holder>>, DbError> {
    if holders.len() > FEW {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(
        "SELECT p.signed_file, p.package_id, d.document_id FROM documents d
         CROSS JOIN server.packages p ON p.header_digest = d.header
         WHERE d.document_id = ?1 AND p.repo = ?2 AND p.signed_file IS NOT NULL",
    )?;
    let mut found = HashMap::new();
    for holder in holders {
        let mut rows = statement.query(params![holder, repo.as_str()])?;
        while let Some(row) = rows.next()? {
            let holder = Holder {
                package_id: row.get("package_id")?,
                document_id: row.get("document_id")?,
            };
            found.insert(parsed(row, "signed_file")?, holder);
        }
    }
    Ok(Some(found))
}

#[derive(Clone, Copy)]
struct Holder {
    package_id: i64,
    document_id: i64,
}

fn package(
    connection: &Connection,
    repo: &RepoName,
    file: FileDigest,
) -> Result<Option<Holder>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT p.package_id, d.document_id FROM server.packages p CROSS JOIN documents d ON d.header = p.header_digest
         WHERE p.signed_file = ?1 AND p.repo = ?2 LIMIT 1",
    )?;
    let found = statement.query_row(params![file.to_hex(), repo.as_str()], |row| {
        Ok(Holder {
            package_id: row.get("package_id")?,
            document_id: row.get("document_id")?,
        })
    });
    Ok(found.optional()?)
}

fn place(
    connection: &Connection,
    holder: Holder,
    component: i64,
) -> Result<Option<Place>, DbError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {PLACE} FROM occurrences o {JOINED}
         WHERE o.component_id = ?1 AND o.document_id = ?2 AND p.package_id = ?3"
    ))?;
    let key = params![component, holder.document_id, holder.package_id];
    Ok(statement.query_row(key, Place::read).optional()?)
}

/// The way to a package, and on within it: the package that was asked about, each that is required on the
/// way, then what the way within the last one has after its build and itself.
fn along(
    connection: &Connection,
    repo: &RepoName,
    reached: &[Reached],
    to: &Reached,
    within: Vec<Step>,
) -> Result<Vec<Step>, DbError> {
    let mut chain = vec![to.file];
    let mut at = to;
    while let Some(before) = at.needed_by.and_then(|number| reached.get(number)) {
        chain.push(before.file);
        at = before;
    }
    let mut path = Vec::with_capacity(chain.len() + within.len());
    for file in chain.into_iter().rev() {
        let kind = match path.is_empty() {
            true => "package",
            false => "requires",
        };
        path.push(Step {
            kind: kind.to_owned(),
            name: nevra(connection, repo, file)?.to_string(),
        });
    }
    let inside = within.into_iter();
    path.extend(inside.filter(|step| !matches!(step.kind.as_str(), "build" | "package")));
    Ok(path)
}

fn nevra(connection: &Connection, repo: &RepoName, file: FileDigest) -> Result<Nevra, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT nevra FROM server.packages WHERE signed_file = ?1 AND repo = ?2 LIMIT 1",
    )?;
    let key = params![file.to_hex(), repo.as_str()];
    Ok(statement.query_row(key, |row| parsed(row, "nevra"))?)
}
