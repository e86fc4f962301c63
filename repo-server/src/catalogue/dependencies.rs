//! Dependencies in both directions, among the packages of the newest release.

use super::CURRENT;
use super::senses::{capabilities, kept, satisfies, shown};
use super::write::split;
use crate::db::{DbError, to_json};
use repo_model::rpm::{Dependency, Package};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};

/// Most rows that are looked at for what one package needs.
const MAX_PROVISIONS: u32 = 5_000;
/// Rows of one capability that are looked at for a part of the packages that need it, for each of them.
const ROWS_FOR_ONE: u32 = 4;

/// The kinds of need that are followed, with their lists.
pub fn needs_of(package: &Package) -> [(&'static str, &[Dependency]); 5] {
    [
        ("requires", &package.requires),
        ("recommends", &package.recommends),
        ("suggests", &package.suggests),
        ("supplements", &package.supplements),
        ("enhances", &package.enhances),
    ]
}

/// Names of packages that satisfy each of `needed`, sorted; empty where none does. Packages of another
/// architecture than `arch` are passed over.
pub fn providers(
    connection: &Connection,
    arch: &str,
    needed: &[Dependency],
) -> Result<Vec<BTreeSet<String>>, DbError> {
    // Place in `needed`, capability.
    let wanted: Vec<(usize, &str)> = needed
        .iter()
        .enumerate()
        .flat_map(|(at, need)| {
            capabilities(&need.name)
                .into_iter()
                .map(move |part| (at, part))
        })
        .collect();
    let mut found = vec![BTreeSet::new(); needed.len()];
    let mut statement = connection.prepare_cached(&format!(
        "SELECT w.value ->> 0 AS place, p.name, v.sense, v.version FROM json_each(?1) w
         CROSS JOIN capabilities c ON c.name = w.value ->> 1 CROSS JOIN provides v ON v.capability_id = c.capability_id
         CROSS JOIN server.packages p ON p.package_id = v.package_id
         WHERE (p.arch IN (?2, 'noarch') OR ?2 = 'noarch') AND {CURRENT} LIMIT {MAX_PROVISIONS}"
    ))?;
    let mut rows = statement.query(params![to_json(&wanted, "list")?, arch])?;
    while let Some(row) = rows.next()? {
        let at: usize = row.get("place")?;
        let version: String = row.get("version")?;
        let Some(need) = needed.get(at) else { continue };
        let rich = need.name.starts_with('(');
        if rich || satisfies((row.get("sense")?, &version), kept(need)) {
            found[at].insert(row.get("name")?);
        }
    }
    let paths: Vec<(usize, &str, &str)> = wanted
        .iter()
        .filter_map(|(at, name)| split(name).map(|(directory, base)| (*at, directory, base)))
        .filter(|(_, directory, _)| directory.starts_with('/'))
        .collect();
    let mut statement = connection.prepare_cached(&format!(
        "SELECT w.value ->> 0 AS place, p.name FROM json_each(?1) w CROSS JOIN directories d ON d.path = w.value ->> 1
         CROSS JOIN files f ON f.directory_id = d.directory_id AND f.base = w.value ->> 2
         CROSS JOIN server.packages p ON p.package_id = f.package_id
         WHERE (p.arch IN (?2, 'noarch') OR ?2 = 'noarch') AND {CURRENT} LIMIT {MAX_PROVISIONS}"
    ))?;
    let mut rows = statement.query(params![to_json(&paths, "list")?, arch])?;
    while let Some(row) = rows.next()? {
        if let Some(names) = found.get_mut(row.get::<_, usize>("place")?) {
            names.insert(row.get("name")?);
        }
    }
    Ok(found)
}

/// A need as people write it.
pub fn shown_need(need: &Dependency) -> String {
    let (sense, version) = kept(need);
    shown(&need.name, sense, version)
}

/// A package that needs another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// Its name.
    pub name: String,
    /// What it needs, with the kind of need: `(requires, libx >= 1.2)`.
    pub needs: BTreeSet<(String, String)>,
}

/// Some of the packages that need a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dependents {
    /// By name.
    pub dependents: Vec<Dependent>,
    /// The last name, when there are more behind it.
    pub next: Option<String>,
}

/// Packages of the newest release that need something that `package` provides or holds, by name behind
/// `after`. What the package needs of itself is left out.
pub fn dependents(
    connection: &Connection,
    package_id: u64,
    package: &Package,
    after: &str,
    limit: u32,
) -> Result<Dependents, DbError> {
    let rows_wanted = limit.saturating_add(1).saturating_mul(ROWS_FOR_ONE);
    let mut provided: BTreeMap<&str, Vec<(u32, &str)>> = BTreeMap::new();
    for dependency in &package.provides {
        let versions = provided.entry(dependency.name.as_str()).or_default();
        versions.push(kept(dependency));
    }
    let names: Vec<&str> = provided.keys().copied().collect();
    let mut statement = connection.prepare_cached(&format!(
        "WITH wanted (capability_id, is_path) AS (
             SELECT c.capability_id, 0 FROM json_each(?1) w CROSS JOIN capabilities c ON c.name = w.value
             UNION ALL
             SELECT c.capability_id, 1 FROM capabilities c CROSS JOIN directories d ON d.path = c.directory
             CROSS JOIN files f ON f.directory_id = d.directory_id AND f.base = c.base AND f.package_id = ?2
             WHERE c.directory IS NOT NULL)
         SELECT c.name AS capability, w.is_path, n.name, n.kind, n.sense, n.version, n.rich FROM wanted w
         CROSS JOIN capabilities c ON c.capability_id = w.capability_id
         CROSS JOIN needs n ON n.need_id IN (
             SELECT i.need_id FROM needs i CROSS JOIN server.packages p ON p.package_id = i.package_id
             WHERE i.capability_id = w.capability_id AND i.name > ?3 AND {CURRENT} ORDER BY i.name LIMIT ?4)"
    ))?;
    let mut rows = statement.query(params![
        to_json(&names, "list")?,
        package_id,
        after,
        rows_wanted
    ])?;
    let mut by_name: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    // Rows and last name of each capability: one with as many rows as were asked for may have more.
    let mut seen: BTreeMap<String, (u32, String)> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (capability, name): (String, String) = (row.get("capability")?, row.get("name")?);
        let count = seen.entry(capability.clone()).or_default();
        count.0 += 1;
        if count.1 < name {
            count.1.clone_from(&name);
        }
        let (sense, version): (u32, String) = (row.get("sense")?, row.get("version")?);
        let rich: Option<String> = row.get("rich")?;
        let satisfied = row.get::<_, bool>("is_path")?
            || rich.is_some()
            || provided
                .get(capability.as_str())
                .is_some_and(|all| all.iter().any(|one| satisfies(*one, (sense, &version))));
        if satisfied && name != package.nevra.name {
            let need = rich.unwrap_or_else(|| shown(&capability, sense, &version));
            by_name
                .entry(name)
                .or_default()
                .insert((row.get("kind")?, need));
        }
    }
    let border = seen
        .into_values()
        .filter(|(count, _)| *count >= rows_wanted)
        .map(|(_, last)| last)
        .min();
    Ok(part(by_name, border, limit as usize))
}

/// The first `limit` names up to `border`, behind which rows may be missing.
fn part(
    by_name: BTreeMap<String, BTreeSet<(String, String)>>,
    border: Option<String>,
    limit: usize,
) -> Dependents {
    let mut dependents: Vec<Dependent> = by_name
        .into_iter()
        .map(|(name, needs)| Dependent { name, needs })
        .collect();
    let mut next = None;
    if let Some(border) = border {
        dependents.retain(|dependent| dependent.name <= border);
        next = Some(border);
    }
    if dependents.len() > limit {
        dependents.truncate(limit);
        next = dependents.last().map(|last| last.name.clone());
    }
    Dependents { dependents, next }
}
