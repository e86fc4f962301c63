//! Search: package names and summaries, what packages provide, files.

use super::CURRENT;
use super::senses::shown;
use super::write::split;
use crate::db::{DbError, to_json};
use repo_model::wire::search::{CapabilityFound, FileFound, Found, NameFound};
use rusqlite::{Connection, ToSql, named_params, params};
use std::collections::HashSet;

/// Longest question, characters; what is longer is cut.
const MAX_CHARS: usize = 200;
/// Most words that are looked for.
const MAX_WORDS: usize = 10;
/// Behind every text that begins with another.
const LAST: char = '\u{10ffff}';

/// Languages and formats whose capabilities are found without their wrapping: `zlib` finds
/// `pkgconfig(zlib)`.
const WRAPPERS: &[&str] = &[
    "",
    "pkgconfig(",
    "perl(",
    "python3dist(",
    "cmake(",
    "golang(",
    "crate(",
    "rubygem(",
    "npm(",
    "mvn(",
    "config(",
    "bundled(",
    "font(",
];

/// What is looked for.
#[derive(Debug, Clone)]
pub struct Query {
    text: String,
}

/// Which part of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Without the first so many.
    pub offset: u32,
    /// At most so many.
    pub limit: u32,
}

impl Query {
    /// None when there is nothing to look for.
    pub fn parse(text: &str) -> Option<Self> {
        let text: String = text.trim().chars().take(MAX_CHARS).collect();
        (!text.is_empty()).then_some(Self { text })
    }

    /// Words as FTS5 wants them: each the beginning of a word, all of them to be there.
    fn words(&self) -> Option<String> {
        let words: Vec<String> = self
            .text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .take(MAX_WORDS)
            .map(|word| format!("\"{word}\"*"))
            .collect();
        // One letter begins words of nearly everything: names that begin with it will do.
        let enough = self.text.chars().count() > 1 && !words.is_empty();
        enough.then(|| words.join(" "))
    }
}

fn cut<T>(mut hits: Vec<T>, part: Part) -> Found<T> {
    let more = hits.len() > part.limit as usize;
    hits.truncate(part.limit as usize);
    Found { hits, more }
}

/// The very name, then names that begin so, short ones first.
const BEGINNINGS: &str = "SELECT name_id FROM names WHERE folded >= :folded AND folded < :last
    ORDER BY folded <> :folded, length(folded), folded LIMIT :needed";
/// Words of names and summaries, the best fit first; of very many the first ones.
const WORDS: &str = "SELECT name_id FROM
    (SELECT rowid AS name_id, bm25(words, 8.0, 1.0) AS place FROM words WHERE words MATCH :words LIMIT 2000)
    ORDER BY place, name_id LIMIT :needed";
/// Names that hold the text anywhere, short ones first.
const MIDDLES: &str =
    "SELECT name_id FROM names WHERE length(:folded) > 2 AND instr(folded, :folded) > 0
    ORDER BY length(folded), folded LIMIT :needed";

/// Packages by name and summary: the very name, names that begin so, words, names that hold it. What is
/// looked for later is looked for only when what came before does not fill the part.
pub fn names(
    connection: &Connection,
    query: &Query,
    part: Part,
) -> Result<Found<NameFound>, DbError> {
    let folded = query.text.to_lowercase();
    let last = format!("{folded}{LAST}");
    let needed = part.offset.saturating_add(part.limit).saturating_add(1);
    let mut ids: Vec<i64> = Vec::new();
    let mut add = |sql: &str, wanted: &[(&str, &dyn ToSql)]| -> Result<(), DbError> {
        if ids.len() >= needed as usize {
            return Ok(());
        }
        let known: HashSet<i64> = ids.iter().copied().collect();
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(wanted)?;
        while let Some(row) = rows.next()? {
            let id = row.get(0)?;
            if !known.contains(&id) {
                ids.push(id);
            }
        }
        Ok(())
    };
    add(
        BEGINNINGS,
        &[(":folded", &folded), (":last", &last), (":needed", &needed)],
    )?;
    if let Some(words) = query.words() {
        add(WORDS, &[(":words", &words), (":needed", &needed)])?;
    }
    add(MIDDLES, &[(":folded", &folded), (":needed", &needed)])?;
    let more = ids.len() >= needed as usize;
    let shown: Vec<i64> = ids
        .into_iter()
        .skip(part.offset as usize)
        .take(part.limit as usize)
        .collect();
    let mut statement = connection.prepare_cached(
        "SELECT n.name, n.evr, n.summary FROM json_each(?1) w CROSS JOIN names n ON n.name_id = w.value ORDER BY w.key",
    )?;
    let rows = statement.query_map([to_json(&shown, "list")?], |row| {
        Ok(NameFound {
            name: row.get("name")?,
            evr: row.get("evr")?,
            summary: row.get("summary")?,
        })
    })?;
    Ok(Found {
        hits: rows.collect::<Result<_, _>>()?,
        more,
    })
}

/// What packages of the newest release provide, by its beginning; what every package provides under its own
/// name is left out.
pub fn capabilities(
    connection: &Connection,
    query: &Query,
    part: Part,
) -> Result<Found<CapabilityFound>, DbError> {
    let beginnings: Vec<String> = WRAPPERS
        .iter()
        .map(|wrapper| format!("{wrapper}{}", query.text))
        .collect();
    let mut statement = connection.prepare_cached(&format!(
        "SELECT DISTINCT c.name AS capability, v.sense, v.version, p.name AS package
         FROM json_each(?1) w CROSS JOIN capabilities c ON c.name >= w.value AND c.name < w.value || ?2
         CROSS JOIN provides v ON v.capability_id = c.capability_id
         CROSS JOIN server.packages p ON p.package_id = v.package_id
         WHERE c.name <> p.name AND substr(c.name, 1, length(p.name) + 1) <> p.name || '(' AND {CURRENT}
         LIMIT ?3 OFFSET ?4"
    ))?;
    let wanted = params![
        to_json(&beginnings, "list")?,
        LAST.to_string(),
        part.limit + 1,
        part.offset
    ];
    let rows = statement.query_map(wanted, |row| {
        let (name, version): (String, String) = (row.get("capability")?, row.get("version")?);
        Ok(CapabilityFound {
            capability: shown(&name, row.get("sense")?, &version),
            package: row.get("package")?,
        })
    })?;
    Ok(cut(rows.collect::<Result<_, _>>()?, part))
}

/// Most files that are looked at for one question.
const MAX_FILES: usize = 20_000;
/// Files that begin so in one directory.
const IN_DIRECTORY: &str =
    "directories d CROSS JOIN files f ON f.directory_id = d.directory_id WHERE d.path = :directory";
/// Files that begin so anywhere.
const ANYWHERE: &str =
    "files f CROSS JOIN directories d ON d.directory_id = f.directory_id WHERE true";

/// Files of packages of the newest release: a path that begins so, or a name that does, in directories whose
/// path ends so. Of very many the first ones are looked at.
pub fn files(
    connection: &Connection,
    query: &Query,
    part: Part,
) -> Result<Found<FileFound>, DbError> {
    let text = query.text.as_str();
    let (directory, base) = match split(text) {
        Some((directory, base)) => (directory, base),
        None if text.ends_with('/') => (text, ""),
        None => ("", text),
    };
    // A whole path names its directory; `bin/ls` only the end of one.
    let is_whole = directory.starts_with('/');
    if !is_whole && base.is_empty() {
        return Ok(cut(Vec::new(), part));
    }
    let from = if is_whole { IN_DIRECTORY } else { ANYWHERE };
    // What does not fit is counted too, so it is a row without a package.
    let mut statement = connection.prepare_cached(&format!(
        "SELECT d.path, f.base, CASE WHEN length(:directory) = 0 OR substr(d.path, -length(:directory)) = :directory
             THEN (SELECT p.name FROM server.packages p WHERE p.package_id = f.package_id AND {CURRENT}) END AS package
         FROM {from} AND f.base >= :base AND f.base < :last ORDER BY f.base LIMIT {MAX_FILES}"
    ))?;
    let last = format!("{base}{LAST}");
    let mut rows =
        statement.query(named_params! { ":base": base, ":last": last, ":directory": directory })?;
    let needed = (part.offset as usize).saturating_add(part.limit as usize + 1);
    let (mut hits, mut seen) = (Vec::new(), HashSet::new());
    while hits.len() < needed
        && let Some(row) = rows.next()?
    {
        let Some(package) = row.get::<_, Option<String>>("package")? else {
            continue;
        };
        let (directory, base): (String, String) = (row.get("path")?, row.get("base")?);
        let path = directory + &base;
        if seen.insert((path.clone(), package.clone())) {
            hits.push(FileFound { path, package });
        }
    }
    Ok(cut(
        hits.split_off((part.offset as usize).min(hits.len())),
        part,
    ))
}
