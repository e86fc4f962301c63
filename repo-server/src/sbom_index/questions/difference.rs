//! What differs between two releases: packages, what else is other about them, and what is inside them. The cost is that of the change,
//! not of the releases, and is paid for the first page: the list behind it is kept for the next ones.

use super::AskError;
use super::page::{After, Items, Paging};
use crate::db::to_json;
use crate::sbom_index::kept::Kept;
use crate::sbom_index::versions::Order;
use crate::sbom_index::{SbomIndex, fill};
use repo_model::wire::sbom::{Difference, Page};
use repo_model::{Nevra, ReleaseId};
use rusqlite::{Connection, OptionalExtension, named_params, params};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Pairs of releases whose differences are kept.
const KEPT: usize = 10;
/// Longest list that is kept, of packages or of versions of components: as long as all of a distribution; some 14
/// megabytes.
const MOST_KEPT: usize = 70_000;

/// What differs between releases that were compared lately.
pub struct Differences {
    packages: Kept<(ReleaseId, ReleaseId), Vec<ChangedPackage>>,
    /// By the state of the index as well.
    components: Kept<(ReleaseId, ReleaseId, i64), Vec<ChangedName>>,
}

impl Default for Differences {
    fn default() -> Self {
        Self {
            packages: Kept::new(KEPT),
            components: Kept::new(KEPT),
        }
    }
}

/// A difference of packages, and which two rows it is between, if both are there.
struct ChangedPackage {
    difference: Difference,
    pair: Option<[i64; 2]>,
}

/// Packages that one release has and the other has not: rows, and what they are grouped by.
struct Changed {
    package_id: i64,
    nevra: Nevra,
    repo: String,
}

/// What came and what went from release `low` to the later release `high`.
fn changed(
    connection: &Connection,
    low: ReleaseId,
    high: ReleaseId,
) -> Result<(Vec<Changed>, Vec<Changed>), AskError> {
    let read = |condition: &str| -> Result<Vec<Changed>, AskError> {
        let mut statement = connection.prepare_cached(&format!(
            "SELECT DISTINCT p.package_id, p.nevra, p.repo FROM server.members m
             CROSS JOIN server.packages p ON p.package_id = m.package_id WHERE {condition}"
        ))?;
        let rows = statement.query_map(params![low.0, high.0], |row| {
            Ok(Changed {
                package_id: row.get("package_id")?,
                nevra: crate::db::parsed(row, "nevra")?,
                repo: row.get("repo")?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    Ok((
        read(
            "m.added_release > ?1 AND m.added_release <= ?2 AND (m.removed_release IS NULL OR m.removed_release > ?2)",
        )?,
        read("m.removed_release > ?1 AND m.removed_release <= ?2 AND m.added_release <= ?1")?,
    ))
}

/// The two releases in the order they were made, and whether that is not the order asked for.
fn ordered(from: ReleaseId, to: ReleaseId) -> (ReleaseId, ReleaseId, bool) {
    match from <= to {
        true => (from, to, false),
        false => (to, from, true),
    }
}

/// Packages that release `to` has and `from` has not, and the other way round, sorted by name, place.
pub fn package_differences(
    index: &SbomIndex,
    connection: &Connection,
    from: ReleaseId,
    to: ReleaseId,
    paging: Paging,
) -> Result<Page<Difference>, AskError> {
    let kept = &index.differences.packages;
    let all = match kept.get(&(from, to)) {
        Some(all) => all,
        None => {
            let all = Arc::new(changed_packages(connection, from, to)?);
            if all.len() <= MOST_KEPT {
                kept.keep((from, to), &all);
            }
            all
        }
    };
    let mut items = Items::new(paging);
    // What else differs is looked up for the packages on the page only.
    for (number, changed) in (1..).zip(all.iter()).skip(paging.seen()) {
        let differs = changed.pair.map(|pair| differs(connection, pair));
        let difference = Difference {
            differs: differs.transpose()?.unwrap_or_default(),
            ..changed.difference.clone()
        };
        if !items.add(After([number, 0, 0, 0]), difference) {
            break;
        }
    }
    Ok(items.page(to))
}

/// What is other about the second of two packages than their versions, as far as it is known of both.
fn differs(connection: &Connection, [before, now]: [i64; 2]) -> Result<Vec<String>, AskError> {
    let (before, now) = (Facts::of(connection, before)?, Facts::of(connection, now)?);
    let both_read = before.is_read && now.is_read;
    let signers = before.signer.is_some() && now.signer.is_some();
    let all = [
        ("licence", both_read && before.licence != now.licence),
        ("contents", both_read && before.parts != now.parts),
        ("signer", signers && before.signer != now.signer),
    ];
    let all = all.into_iter().filter(|(_, differs)| *differs);
    Ok(all.map(|(what, _)| what.to_owned()).collect())
}

/// What is known of a package.
#[derive(Default)]
struct Facts {
    /// Its document is in the index.
    is_read: bool,
    licence: Option<i64>,
    /// What is inside, sorted.
    parts: Vec<i64>,
    /// Fingerprint of the certificate; packages that were signed before that was kept have none.
    signer: Option<String>,
}

impl Facts {
    fn of(connection: &Connection, package_id: i64) -> Result<Self, AskError> {
        let mut facts = Self::default();
        let mut statement = connection.prepare_cached(
            "SELECT o.component_id, o.relation, o.licence_id FROM server.packages p
             CROSS JOIN documents d ON d.header = p.header_digest
             CROSS JOIN occurrences o ON o.document_id = d.document_id AND o.relation IN ('self', 'part')
             WHERE p.package_id = ?1 ORDER BY o.component_id",
        )?;
        let mut rows = statement.query([package_id])?;
        while let Some(row) = rows.next()? {
            facts.is_read = true;
            match row.get_ref("relation")?.as_str().unwrap_or_default() {
                "self" => facts.licence = row.get("licence_id")?,
                _ => facts.parts.push(row.get("component_id")?),
            }
        }
        let mut statement = connection.prepare_cached(
            "SELECT certificate FROM server.package_signers WHERE package_id = ?1",
        )?;
        let signer = statement.query_row([package_id], |row| row.get(0));
        facts.signer = signer.optional()?;
        Ok(facts)
    }
}

fn changed_packages(
    connection: &Connection,
    from: ReleaseId,
    to: ReleaseId,
) -> Result<Vec<ChangedPackage>, AskError> {
    let (low, high, backwards) = ordered(from, to);
    let (mut came, mut went) = changed(connection, low, high)?;
    if backwards {
        std::mem::swap(&mut came, &mut went);
    }
    type Key = (String, String, String);
    let key = |row: &Changed| -> Key {
        (
            row.nevra.name.clone(),
            row.repo.clone(),
            row.nevra.arch.clone(),
        )
    };
    let mut groups: BTreeMap<Key, (Vec<Row>, Vec<Row>)> = BTreeMap::new();
    for row in came {
        let group = groups.entry(key(&row)).or_default();
        group.1.push((row.nevra, row.package_id));
    }
    for row in went {
        let group = groups.entry(key(&row)).or_default();
        group.0.push((row.nevra, row.package_id));
    }
    let mut items = Vec::with_capacity(groups.len());
    for ((name, repo, arch), (mut before, mut now)) in groups {
        if before.is_empty() {
            // The old one may have stayed beside the new one.
            before.extend(newest_of(connection, from, (&name, &repo, &arch), &now)?);
        }
        before.sort();
        now.sort();
        let versions = |rows: &[Row]| -> Vec<String> {
            rows.iter()
                .map(|(nevra, _)| nevra.evr.to_string())
                .collect()
        };
        let difference = Difference {
            change: change(&before, &now).to_owned(),
            of: "package".to_owned(),
            name,
            place: Some(format!("{repo}/{arch}")),
            from: versions(&before),
            to: versions(&now),
            differs: Vec::new(),
        };
        let pair = before.last().zip(now.last());
        items.push(ChangedPackage {
            difference,
            pair: pair.map(|(before, now)| [before.1, now.1]),
        });
    }
    Ok(items)
}

/// A package and its row.
type Row = (Nevra, i64);

fn change(before: &[Row], now: &[Row]) -> &'static str {
    let (Some((before, _)), Some((now, _))) = (before.last(), now.last()) else {
        return if now.is_empty() { "removed" } else { "added" };
    };
    let (before, now) = (&before.evr, &now.evr);
    let upstream = Order::Rpm.compare(
        &format!("{}:{}", now.epoch, now.version),
        &format!("{}:{}", before.epoch, before.version),
    );
    match upstream {
        Ordering::Greater => "upgraded",
        Ordering::Less => "downgraded",
        Ordering::Equal => "rebuilt",
    }
}

/// The newest package of this name that a release has, besides those named.
fn newest_of(
    connection: &Connection,
    release: ReleaseId,
    (name, repo, arch): (&str, &str, &str),
    besides: &[Row],
) -> Result<Option<Row>, AskError> {
    let mut statement = connection.prepare_cached(
        "SELECT p.nevra, p.package_id FROM server.packages p CROSS JOIN server.members m ON m.package_id = p.package_id
         WHERE p.name = ?1 AND p.repo = ?2 AND p.arch = ?3 AND m.added_release <= ?4
           AND (m.removed_release IS NULL OR m.removed_release > ?4)",
    )?;
    let rows = statement.query_map(params![name, repo, arch, release.0], |row| {
        Ok((crate::db::parsed(row, "nevra")?, row.get("package_id")?))
    })?;
    let known: Vec<Row> = rows.collect::<Result<_, _>>()?;
    Ok(known
        .into_iter()
        .filter(|row| besides.iter().all(|other| other.0 != row.0))
        .max())
}

/// Components that release `to` has anywhere and `from` has nowhere, and the other way round, sorted by
/// ecosystem and name.
pub fn component_differences(
    index: &SbomIndex,
    connection: &Connection,
    from: ReleaseId,
    to: ReleaseId,
    paging: Paging,
) -> Result<Page<Difference>, AskError> {
    let key = (from, to, fill::seen(connection)?.evidence_id);
    let kept = &index.differences.components;
    let names = match kept.get(&key) {
        Some(names) => names,
        None => {
            let names = Arc::new(changed_names(connection, from, to)?);
            let versions = names.iter().map(|one| one.added.len() + one.removed.len());
            if versions.sum::<usize>() <= MOST_KEPT {
                kept.keep(key, &names);
            }
            names
        }
    };
    let mut items = Items::new(paging);
    // What the other release has is looked up for the names on the page only.
    for (number, changed) in (1..).zip(names.iter()).skip(paging.seen()) {
        let difference = component_difference(connection, changed, from)?;
        if !items.add(After([number, 0, 0, 0]), difference) {
            break;
        }
    }
    Ok(items.page(to))
}

/// A component of which one release has versions that the other has nowhere.
struct ChangedName {
    name: Name,
    added: Vec<String>,
    removed: Vec<String>,
}

/// Sorted by name.
fn changed_names(
    connection: &Connection,
    from: ReleaseId,
    to: ReleaseId,
) -> Result<Vec<ChangedName>, AskError> {
    let (low, high, backwards) = ordered(from, to);
    let (mut came, mut went) = changed(connection, low, high)?;
    if backwards {
        std::mem::swap(&mut came, &mut went);
    }
    let added = only_in(connection, &came, from)?;
    let removed = only_in(connection, &went, to)?;
    let mut names: BTreeMap<Name, (Vec<String>, Vec<String>)> = BTreeMap::new();
    for (name, versions) in added {
        names.entry(name).or_default().0 = versions;
    }
    for (name, versions) in removed {
        names.entry(name).or_default().1 = versions;
    }
    let names = names.into_iter();
    Ok(names
        .map(|(name, (added, removed))| ChangedName {
            name,
            added,
            removed,
        })
        .collect())
}

fn component_difference(
    connection: &Connection,
    changed: &ChangedName,
    from: ReleaseId,
) -> Result<Difference, AskError> {
    let name = &changed.name;
    let order = Order::of(&name.0);
    let (mut now, mut before) = (changed.added.clone(), changed.removed.clone());
    if before.is_empty() {
        before = versions_in(connection, name, from)?;
    }
    now.sort_by(|a, b| order.compare(a, b));
    before.sort_by(|a, b| order.compare(a, b));
    let change = match (before.last(), now.last()) {
        (None, _) => "added",
        (_, None) => "removed",
        (Some(before), Some(now)) if order.compare(now, before).is_lt() => "downgraded",
        _ => "upgraded",
    };
    Ok(Difference {
        change: change.to_owned(),
        of: "component".to_owned(),
        name: format!("{}:{}", name.0, name.1),
        place: None,
        from: before,
        to: now,
        differs: Vec::new(),
    })
}

/// Ecosystem, name, row.
type Name = (String, String, i64);

/// A component that has the same package URL in a package of the release.
const IN_RELEASE: &str =
    "EXISTS (SELECT 1 FROM occurrences o CROSS JOIN documents d ON d.document_id = o.document_id
        CROSS JOIN server.packages p ON p.header_digest = d.header CROSS JOIN server.members m ON m.package_id = p.package_id
        WHERE o.component_id = c.component_id AND o.relation IN ('part', 'upstream') AND m.added_release <= :release
          AND (m.removed_release IS NULL OR m.removed_release > :release))";

/// Components of these packages that no package of the release has: versions by name.
fn only_in(
    connection: &Connection,
    packages: &[Changed],
    release: ReleaseId,
) -> Result<BTreeMap<Name, Vec<String>>, AskError> {
    let ids: Vec<i64> = packages.iter().map(|package| package.package_id).collect();
    let mut statement = connection.prepare_cached(&format!(
        "SELECT n.ecosystem, n.name, n.name_id, c.version FROM
           (SELECT DISTINCT o.component_id FROM json_each(:packages) w
            CROSS JOIN server.packages p ON p.package_id = w.value
            CROSS JOIN documents d ON d.header = p.header_digest
            CROSS JOIN occurrences o ON o.document_id = d.document_id AND o.relation IN ('part', 'upstream')) i
         CROSS JOIN components c ON c.component_id = i.component_id
         CROSS JOIN names n ON n.name_id = c.name_id WHERE NOT {IN_RELEASE}"
    ))?;
    let mut rows = statement
        .query(named_params! {":packages": to_json(&ids, "list")?, ":release": release.0})?;
    let mut found: BTreeMap<Name, Vec<String>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let name = (row.get(0)?, row.get(1)?, row.get(2)?);
        found.entry(name).or_default().push(row.get(3)?);
    }
    Ok(found)
}

/// Versions of a component that a release has.
fn versions_in(
    connection: &Connection,
    name: &Name,
    release: ReleaseId,
) -> Result<Vec<String>, AskError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT c.version FROM components c WHERE c.name_id = :name AND {IN_RELEASE}"
    ))?;
    let rows = statement.query_map(
        named_params! {":name": name.2, ":release": release.0},
        |row| row.get(0),
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}
