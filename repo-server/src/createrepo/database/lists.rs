//! `filelists_db`: files by directory. `other_db`: changelogs.
//!
//! A row of `filelist` holds a directory, the names in it with `/` between, and a letter for each
//! name's type:
//!
//! ```text
//! 1 | /usr/bin | hello/hello-world | ff
//! ```

use super::{Database, DatabaseError};
use mirrors::reading::{Start, Token, XmlError, XmlReader, each_package};
use rusqlite::{Statement, Transaction};
use std::collections::HashMap;
use std::io::BufRead;

pub(super) const FILELISTS: Database = Database {
    list: "filelists",
    tables: "
CREATE TABLE packages (pkgKey INTEGER PRIMARY KEY, pkgId TEXT);
CREATE TABLE filelist (pkgKey INTEGER, dirname TEXT, filenames TEXT, filetypes TEXT);",
    indexes: "
CREATE INDEX keyfile ON filelist (pkgKey);
CREATE INDEX pkgId ON packages (pkgId);
CREATE INDEX dirnames ON filelist (dirname);
CREATE TRIGGER remove_filelist AFTER DELETE ON packages BEGIN
    DELETE FROM filelist WHERE pkgKey = old.pkgKey;
END;",
    fill: |transaction, list| {
        let rows = transaction.prepare(
            "INSERT INTO filelist (pkgKey, dirname, filenames, filetypes) VALUES (?1, ?2, ?3, ?4)",
        )?;
        let mut rows = FileRows(rows);
        fill(transaction, list, "filelists", |key, xml| {
            let files = files(xml)?;
            Ok(rows.files(key, &files))
        })
    },
};

pub(super) const OTHER: Database = Database {
    list: "other",
    tables: "
CREATE TABLE packages (pkgKey INTEGER PRIMARY KEY, pkgId TEXT);
CREATE TABLE changelog (pkgKey INTEGER, author TEXT, date INTEGER, changelog TEXT);",
    indexes: "
CREATE INDEX keychange ON changelog (pkgKey);
CREATE INDEX pkgId ON packages (pkgId);
CREATE TRIGGER remove_changelogs AFTER DELETE ON packages BEGIN
    DELETE FROM changelog WHERE pkgKey = old.pkgKey;
END;",
    fill: |transaction, list| {
        let mut rows = transaction.prepare(
            "INSERT INTO changelog (pkgKey, author, date, changelog) VALUES (?1, ?2, ?3, ?4)",
        )?;
        fill(transaction, list, "otherdata", |key, xml| {
            let changes = changes(xml)?;
            Ok(changes.iter().try_for_each(|(author, date, text)| {
                rows.execute((key, author, date, text)).map(|_| ())
            }))
        })
    },
};

/// Inserts each package, and what `rest` makes of its children.
fn fill(
    transaction: &Transaction<'_>,
    list: &mut dyn BufRead,
    root: &str,
    mut rest: impl FnMut(
        i64,
        &mut XmlReader<&mut dyn BufRead>,
    ) -> Result<rusqlite::Result<()>, XmlError>,
) -> Result<(), DatabaseError> {
    let mut packages =
        transaction.prepare("INSERT INTO packages (pkgKey, pkgId) VALUES (?1, ?2)")?;
    let mut key = 0_i64;
    let mut outcome = Ok(());
    each_package(list, root, |start, xml| {
        key += 1;
        let id = start.required("pkgid")?;
        let inserted = packages.execute((key, id)).map(|_| ());
        let filled = rest(key, xml)?;
        if outcome.is_ok() {
            outcome = inserted.and(filled);
        }
        Ok(())
    })?;
    Ok(outcome?)
}

/// A path and the letter of its type.
type ListedFile = (String, char);

fn files<R: BufRead>(xml: &mut XmlReader<R>) -> Result<Vec<ListedFile>, XmlError> {
    let mut files = Vec::new();
    each_child(xml, "file", |start, xml| {
        let letter = match start.attribute("type")?.as_deref() {
            Some("dir") => 'd',
            Some("ghost") => 'g',
            _ => 'f',
        };
        files.push((xml.text()?, letter));
        Ok(())
    })?;
    Ok(files)
}

fn changes<R: BufRead>(xml: &mut XmlReader<R>) -> Result<Vec<(String, i64, String)>, XmlError> {
    let mut changes = Vec::new();
    each_child(xml, "changelog", |start, xml| {
        let author = start.attribute("author")?.unwrap_or_default();
        let date = start.attribute("date")?.unwrap_or_default();
        changes.push((author, date.trim().parse().unwrap_or(0), xml.text()?));
        Ok(())
    })?;
    Ok(changes)
}

/// Runs `take` for each child of this name, up to the parent's end; `take` reads to the child's end.
fn each_child<R: BufRead>(
    xml: &mut XmlReader<R>,
    name: &str,
    mut take: impl FnMut(&Start, &mut XmlReader<R>) -> Result<(), XmlError>,
) -> Result<(), XmlError> {
    loop {
        match xml.next()? {
            Token::Start(start) if start.name() == name => take(&start, xml)?,
            Token::Start(_) => xml.skip()?,
            Token::Text(_) => {}
            Token::End | Token::Eof => return Ok(()),
        }
    }
}

/// Inserts rows of `filelist`.
struct FileRows<'a>(Statement<'a>);

impl FileRows<'_> {
    /// One row for each directory, in the order in which they first come.
    fn files(&mut self, key: i64, files: &[ListedFile]) -> rusqlite::Result<()> {
        let mut order: Vec<(&str, String, String)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (path, letter) in files {
            let (directory, name) = parts(path);
            let place = *places.entry(directory).or_insert_with(|| {
                order.push((directory, String::new(), String::new()));
                order.len() - 1
            });
            let (_, names, letters) = &mut order[place];
            if !letters.is_empty() {
                names.push('/');
            }
            names.push_str(name);
            letters.push(*letter);
        }
        for (directory, names, letters) in order {
            self.0.execute((key, directory, names, letters))?;
        }
        Ok(())
    }
}

/// Directory and name as createrepo_c takes a path apart: `.` for a file of a source package, and
/// the root directory is called `/` in `/`.
fn parts(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        None => (".", path),
        Some(("", "")) => ("/", "/"),
        Some(("", name)) => ("/", name),
        Some(both) => both,
    }
}
