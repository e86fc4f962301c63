//! Why a component is on a machine that has a package: because the package holds it, or because one that
//! it needs does.

use super::AskError;
use super::components::{JOINED, PLACE, Place, Wanted};
use super::page::{After, IN_SCOPE, Items, Paging, Scope};
use super::why::explained;
use crate::db::{DbError, parsed, to_json};
use crate::sbom_index::requirements::{Reached, Road};
use crate::sbom_index::{SbomIndex, fill};
use repo_model::wire::sbom::{Page, Step, Why};
use repo_model::{FileDigest, Nevra, RepoName};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use std::collections::{HashMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;

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
    index: &SbomIndex,
    connection: &Connection,
    scope: &Scope,
    wanted: &Wanted,
    roads: &[Road],
    depth: Depth,
    paging: Paging,
) -> Result<Page<Why>, AskError> {
    let components = wanted.rows(connection)?;
    let mut search = Search {
        index,
        connection,
        holders: holders(connection, &components)?,
        after: paging.after,
        told: HashSet::new(),
        items: Items::new(paging),
    };
    for (number, road) in (1..).zip(roads) {
        let start = files(connection, scope, road)?;
        let reached = road.requirements.reached_from(&start, depth.steps());
        search.follow(number, road, &reached)?;
    }
    Ok(search.items.page(scope.release))
}

/// Components by document, sorted.
type Holders = HashMap<i64, Vec<i64>>;

struct Search<'a> {
    index: &'a SbomIndex,
    connection: &'a Connection,
    holders: Holders,
    after: After,
    /// Packages that were met: one for all architectures is in several repositories, and told for the first.
    told: HashSet<FileDigest>,
    items: Items<Why>,
}

impl Search<'_> {
    /// Looks into all that was reached in a repository, until the page is full.
    ///
    /// * `number`: of the repository, from 1.
    fn follow(&mut self, number: i64, road: &Road, reached: &[Reached]) -> Result<(), AskError> {
        let packages = self.packages(road)?;
        let mut names = Names {
            connection: self.connection,
            repo: &road.repo,
            known: HashMap::new(),
        };
        for (rank, one) in (0..).zip(reached) {
            if self.items.is_full() {
                break;
            }
            if self.told.insert(one.file)
                && let Some(package) = packages.get(&one.file)
            {
                let way = |path| names.along(reached, one, path);
                self.look_into(*package, [number, rank], one.before.is_some(), way)?;
            }
        }
        Ok(())
    }

    /// The packages of a repository, by file: all of them, or at least those that hold one of the components.
    fn packages(&self, road: &Road) -> Result<Arc<Packages>, AskError> {
        let key = (road.stored, fill::seen(self.connection)?.evidence_id);
        let kept = &self.index.packages;
        if let Some(known) = kept.get(&key) {
            return Ok(known);
        }
        if self.holders.len() <= FEW {
            return Ok(Arc::new(few(self.connection, &road.repo, &self.holders)?));
        }
        let all = all(self.connection, &road.repo, road.requirements.files())?;
        let all = Arc::new(all);
        kept.keep(key, &all);
        Ok(all)
    }

    /// * `way`: the way to the package, given the way within it.
    fn look_into(
        &mut self,
        package: Holder,
        [number, rank]: [i64; 2],
        is_needed: bool,
        mut way: impl FnMut(Vec<Step>) -> Result<Vec<Step>, DbError>,
    ) -> Result<(), AskError> {
        let Some(components) = self.holders.get(&package.document_id) else {
            return Ok(());
        };
        for component in components {
            let at = After([number, rank, *component, 0]);
            if at <= self.after || self.items.is_full() {
                continue;
            }
            let Some(place) = place(self.connection, package, *component)? else {
                continue;
            };
            let mut why = explained(self.connection, place.shipped(self.connection)?)?;
            if is_needed {
                why.path = way(why.path)?;
            }
            if !self.items.add(at, why) {
                break;
            }
        }
        Ok(())
    }
}

/// Documents in which one of the components is.
fn holders(connection: &Connection, components: &[i64]) -> Result<Holders, DbError> {
    let mut statement =
        connection.prepare_cached("SELECT document_id FROM occurrences WHERE component_id = ?1")?;
    let mut holders = Holders::new();
    let mut components = components.to_vec();
    components.sort_unstable();
    for component in components {
        let mut rows = statement.query([component])?;
        while let Some(row) = rows.next()? {
            holders.entry(row.get(0)?).or_default().push(component);
        }
    }
    Ok(holders)
}

/// The files of the packages that are asked about, as the road's repository has them.
pub(super) fn files(
    connection: &Connection,
    scope: &Scope,
    road: &Road,
) -> Result<Vec<FileDigest>, DbError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT p.signed_file FROM server.packages p
         WHERE p.package_id IN (
             SELECT package_id FROM server.packages WHERE name = :package
             UNION SELECT package_id FROM server.packages WHERE repo = :repo AND nevra = :package AND retired = 0
             UNION SELECT package_id FROM server.packages WHERE header_digest = :package)
           AND p.repo = :repo AND p.retired = 0 AND p.signed_file IS NOT NULL AND {IN_SCOPE}"
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

/// Packages of one repository, by file.
pub type Packages = HashMap<FileDigest, Holder>;

/// Holders that are looked up by themselves; for more it is worth knowing all packages, which is kept.
const FEW: usize = 1_000;
/// Packages that are looked up with one question.
const AT_ONCE: usize = 1_000;

/// The packages of a repository that hold one of the components.
fn few(connection: &Connection, repo: &RepoName, holders: &Holders) -> Result<Packages, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT p.signed_file, p.package_id, d.document_id FROM documents d
         CROSS JOIN server.packages p ON p.header_digest = d.header
         WHERE d.document_id = ?1 AND p.repo = ?2 AND p.signed_file IS NOT NULL",
    )?;
    let mut found = Packages::new();
    for holder in holders.keys() {
        let mut rows = statement.query(params![holder, repo.as_str()])?;
        while let Some(row) = rows.next()? {
            found.insert(parsed(row, "signed_file")?, Holder::read(row)?);
        }
    }
    Ok(found)
}

/// A package and its document.
#[derive(Debug, Clone, Copy)]
pub struct Holder {
    package_id: i64,
    document_id: i64,
}

impl Holder {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            package_id: row.get("package_id")?,
            document_id: row.get("document_id")?,
        })
    }
}

/// All packages of a repository that have a document.
fn all(
    connection: &Connection,
    repo: &RepoName,
    files: &[FileDigest],
) -> Result<Packages, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT w.key, p.package_id, d.document_id FROM json_each(?1) w
         CROSS JOIN server.packages p ON p.signed_file = w.value
         CROSS JOIN documents d ON d.header = p.header_digest WHERE p.repo = ?2",
    )?;
    let mut found = Packages::with_capacity(files.len());
    for some in files.chunks(AT_ONCE) {
        let mut rows = statement.query(params![to_json(&some, "list")?, repo.as_str()])?;
        while let Some(row) = rows.next()? {
            if let Some(file) = some.get(row.get::<_, usize>("key")?) {
                found.insert(*file, Holder::read(row)?);
            }
        }
    }
    Ok(found)
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

/// Names of the packages of a repository, each asked for once.
struct Names<'a> {
    connection: &'a Connection,
    repo: &'a RepoName,
    known: HashMap<FileDigest, String>,
}

impl Names<'_> {
    /// The way to a package, and on within it: the package that was asked about, each that is required on the
    /// way, then what the way within the last one has after its build and itself.
    fn along(
        &mut self,
        reached: &[Reached],
        to: &Reached,
        within: Vec<Step>,
    ) -> Result<Vec<Step>, DbError> {
        let mut chain = vec![to.file];
        let mut at = to;
        while let Some(before) = at.before.and_then(|number| reached.get(number)) {
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
                name: self.nevra(file)?,
            });
        }
        let inside = within.into_iter();
        path.extend(inside.filter(|step| !matches!(step.kind.as_str(), "build" | "package")));
        Ok(path)
    }

    fn nevra(&mut self, file: FileDigest) -> Result<String, DbError> {
        if let Some(known) = self.known.get(&file) {
            return Ok(known.clone());
        }
        let mut statement = self.connection.prepare_cached(
            "SELECT nevra FROM server.packages WHERE signed_file = ?1 AND repo = ?2 LIMIT 1",
        )?;
        let key = params![file.to_hex(), self.repo.as_str()];
        let nevra: Nevra = statement.query_row(key, |row| parsed(row, "nevra"))?;
        let name = nevra.to_string();
        self.known.insert(file, name.clone());
        Ok(name)
    }
}
