//! Rows of the index.

use super::senses::{capabilities, kept};
use crate::db::overview::NewestOfName;
use crate::db::{DbError, to_json};
use repo_model::rpm::{Dependency, Package};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use std::collections::HashSet;

/// How far the index is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Release that is being read; 0 before the first.
    pub release: u64,
    /// Last package of it that was read; 0 before the first.
    pub package: u64,
    /// SHA-256 of its envelope; empty before the first.
    pub envelope: String,
}

/// How far the index is.
pub fn seen(connection: &Connection) -> Result<Seen, DbError> {
    let sql = "SELECT release_id, package_id, envelope FROM seen";
    Ok(connection.query_row(sql, [], |row| {
        Ok(Seen {
            release: row.get("release_id")?,
            package: row.get("package_id")?,
            envelope: row.get("envelope")?,
        })
    })?)
}

/// Moves on.
pub fn advance(tx: &Transaction<'_>, to: &Seen) -> Result<(), DbError> {
    tx.execute(
        "UPDATE seen SET release_id = ?1, package_id = ?2, envelope = ?3",
        params![to.release, to.package, to.envelope],
    )?;
    Ok(())
}

/// Empties the index.
pub fn clear(tx: &Transaction<'_>) -> Result<(), DbError> {
    tx.execute_batch(
        "DELETE FROM files; DELETE FROM directories; DELETE FROM needs; DELETE FROM provides; DELETE FROM capabilities;
         DELETE FROM names; DELETE FROM indexed; DROP TABLE words;
         CREATE VIRTUAL TABLE words USING fts5 (
             name, summary, content = '', contentless_delete = 1, tokenize = 'unicode61', prefix = '2 3');
         UPDATE seen SET release_id = 0, package_id = 0, envelope = ''",
    )?;
    Ok(())
}

/// What is found under a name; a name that the newest release has no more is not found.
pub fn name(tx: &Transaction<'_>, newest: &NewestOfName) -> Result<(), DbError> {
    let known: Option<i64> = tx
        .prepare_cached("SELECT name_id FROM names WHERE name = ?1")?
        .query_row([&newest.name], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        tx.prepare_cached("DELETE FROM words WHERE rowid = ?1")?
            .execute([id])?;
    }
    let Some((nevra, summary)) = &newest.package else {
        tx.prepare_cached("DELETE FROM names WHERE name = ?1")?
            .execute([&newest.name])?;
        return Ok(());
    };
    let id: i64 = tx
        .prepare_cached(
            "INSERT INTO names (name, folded, evr, summary) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (name) DO UPDATE SET evr = excluded.evr, summary = excluded.summary RETURNING name_id",
        )?
        .query_row(
            params![newest.name, newest.name.to_lowercase(), nevra.evr.to_string(), summary],
            |row| row.get(0),
        )?;
    tx.prepare_cached("INSERT INTO words (rowid, name, summary) VALUES (?1, ?2, ?3)")?
        .execute(params![id, newest.name, summary])?;
    Ok(())
}

/// Which of these packages are indexed.
pub fn known(connection: &Connection, packages: &[u64]) -> Result<HashSet<u64>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT i.package_id FROM json_each(?1) w CROSS JOIN indexed i ON i.package_id = w.value",
    )?;
    let rows = statement.query_map([to_json(&packages, "list")?], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets packages that were removed. That happens seldom, so the rows are looked for one by one.
pub fn forget(tx: &Transaction<'_>, packages: &[u64]) -> Result<(), DbError> {
    if packages.is_empty() {
        return Ok(());
    }
    let packages = to_json(&packages, "list")?;
    for table in ["indexed", "provides", "needs", "files"] {
        tx.execute(
            &format!("DELETE FROM {table} WHERE package_id IN (SELECT value FROM json_each(?1))"),
            [&packages],
        )?;
    }
    Ok(())
}

/// What a package provides, needs and holds; the second time changes nothing.
pub fn package(tx: &Transaction<'_>, package_id: u64, package: &Package) -> Result<(), DbError> {
    let new = tx
        .prepare_cached("INSERT INTO indexed (package_id) VALUES (?1) ON CONFLICT DO NOTHING")?
        .execute([package_id])?;
    if new == 0 {
        return Ok(());
    }
    for provided in &package.provides {
        let (sense, version) = kept(provided);
        let capability = capability(tx, &provided.name, false)?;
        tx.prepare_cached(
            "INSERT INTO provides (capability_id, package_id, sense, version) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        )?
        .execute(params![capability, package_id, sense, version])?;
    }
    for (kind, list) in super::dependencies::needs_of(package) {
        for needed in list {
            need(tx, package_id, &package.nevra.name, kind, needed)?;
        }
    }
    files(tx, package_id, package)
}

fn need(
    tx: &Transaction<'_>,
    package_id: u64,
    name: &str,
    kind: &str,
    needed: &Dependency,
) -> Result<(), DbError> {
    let parts = capabilities(&needed.name);
    let whole = parts.first() == Some(&needed.name.as_str());
    for part in parts {
        let (sense, version) = match whole {
            true => kept(needed),
            false => (0, ""),
        };
        let capability = capability(tx, part, true)?;
        tx.prepare_cached(
            "INSERT INTO needs (capability_id, name, package_id, kind, sense, version, rich) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            capability,
            name,
            package_id,
            kind,
            sense,
            version,
            (!whole).then_some(&needed.name)
        ])?;
    }
    Ok(())
}

fn files(tx: &Transaction<'_>, package_id: u64, package: &Package) -> Result<(), DbError> {
    let mut last: Option<(&str, i64)> = None;
    for file in &package.files {
        let Some((directory, base)) = split(&file.path) else {
            continue;
        };
        let directory_id = match last {
            Some((known, id)) if known == directory => id,
            _ => interned(tx, directory)?,
        };
        last = Some((directory, directory_id));
        tx.prepare_cached(
            "INSERT INTO files (directory_id, base, package_id) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?
        .execute(params![directory_id, base, package_id])?;
    }
    Ok(())
}

/// `/usr/bin/` and `hello` of `/usr/bin/hello`; none without both.
pub fn split(path: &str) -> Option<(&str, &str)> {
    let (directory, base) = path.split_at(path.rfind('/')? + 1);
    (!base.is_empty()).then_some((directory, base))
}

fn interned(tx: &Transaction<'_>, directory: &str) -> Result<i64, DbError> {
    tx.prepare_cached("INSERT INTO directories (path) VALUES (?1) ON CONFLICT DO NOTHING")?
        .execute([directory])?;
    Ok(tx
        .prepare_cached("SELECT directory_id FROM directories WHERE path = ?1")?
        .query_row([directory], |row| row.get(0))?)
}

/// The capability's number. Paths are told apart only when a package needs them.
fn capability(tx: &Transaction<'_>, name: &str, needed: bool) -> Result<i64, DbError> {
    let path = match needed && name.starts_with('/') {
        true => split(name),
        false => None,
    };
    let (directory, base) = path.unzip();
    tx.prepare_cached(
        "INSERT INTO capabilities (name, directory, base) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET directory = excluded.directory, base = excluded.base
         WHERE directory IS NULL AND excluded.directory IS NOT NULL",
    )?
    .execute(params![name, directory, base])?;
    Ok(tx
        .prepare_cached("SELECT capability_id FROM capabilities WHERE name = ?1")?
        .query_row([name], |row| row.get(0))?)
}
