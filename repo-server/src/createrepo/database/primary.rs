//! `primary_db`: packages, their dependencies, and the files that dependencies may use.

use super::{Database, DatabaseError};
use mirrors::reading::{Start, Token, Version, XmlError, XmlReader, each_package, read_version};
use rusqlite::{Transaction, named_params};
use std::io::BufRead;

/// The eight lists, each a table.
const RELATIONS: [&str; 8] = [
    "requires",
    "provides",
    "conflicts",
    "obsoletes",
    "suggests",
    "enhances",
    "recommends",
    "supplements",
];

pub(super) const DATABASE: Database = Database {
    list: "primary",
    tables: "
CREATE TABLE packages (
    pkgKey INTEGER PRIMARY KEY, pkgId TEXT, name TEXT, arch TEXT, version TEXT, epoch TEXT, release TEXT,
    summary TEXT, description TEXT, url TEXT, time_file INTEGER, time_build INTEGER, rpm_license TEXT,
    rpm_vendor TEXT, rpm_group TEXT, rpm_buildhost TEXT, rpm_sourcerpm TEXT, rpm_header_start INTEGER,
    rpm_header_end INTEGER, rpm_packager TEXT, size_package INTEGER, size_installed INTEGER,
    size_archive INTEGER, location_href TEXT, location_base TEXT, checksum_type TEXT);
CREATE TABLE files (name TEXT, type TEXT, pkgKey INTEGER);
CREATE TABLE requires (
    name TEXT, flags TEXT, epoch TEXT, version TEXT, release TEXT, pkgKey INTEGER, pre BOOLEAN DEFAULT FALSE);
CREATE TABLE provides (name TEXT, flags TEXT, epoch TEXT, version TEXT, release TEXT, pkgKey INTEGER);
CREATE TABLE conflicts (name TEXT, flags TEXT, epoch TEXT, version TEXT, release TEXT, pkgKey INTEGER);
CREATE TABLE obsoletes (name TEXT, flags TEXT, epoch TEXT, version TEXT, release TEXT, pkgKey INTEGER);
CREATE TABLE suggests (name TEXT, flags TEXT, epoch TEXT, version TEXT, release TEXT, pkgKey INTEGER);
CREATE TABLE enhances (name TEXT, flags TEXT, epoch TEXT, version TEXT, release TEXT, pkgKey INTEGER);
CREATE TABLE recommends (name TEXT, flags TEXT, epoch TEXT, version TEXT, release TEXT, pkgKey INTEGER);
CREATE TABLE supplements (name TEXT, flags TEXT, epoch TEXT, version TEXT, release TEXT, pkgKey INTEGER);",
    indexes: "
CREATE INDEX packagename ON packages (name);
CREATE INDEX packageId ON packages (pkgId);
CREATE INDEX filenames ON files (name);
CREATE INDEX pkgfiles ON files (pkgKey);
CREATE INDEX pkgrequires ON requires (pkgKey);
CREATE INDEX requiresname ON requires (name);
CREATE INDEX pkgprovides ON provides (pkgKey);
CREATE INDEX providesname ON provides (name);
CREATE INDEX pkgconflicts ON conflicts (pkgKey);
CREATE INDEX pkgobsoletes ON obsoletes (pkgKey);
CREATE INDEX pkgsuggests ON suggests (pkgKey);
CREATE INDEX pkgenhances ON enhances (pkgKey);
CREATE INDEX pkgrecommends ON recommends (pkgKey);
CREATE INDEX pkgsupplements ON supplements (pkgKey);
CREATE TRIGGER removals AFTER DELETE ON packages BEGIN
    DELETE FROM files WHERE pkgKey = old.pkgKey;
    DELETE FROM requires WHERE pkgKey = old.pkgKey;
    DELETE FROM provides WHERE pkgKey = old.pkgKey;
    DELETE FROM conflicts WHERE pkgKey = old.pkgKey;
    DELETE FROM obsoletes WHERE pkgKey = old.pkgKey;
    DELETE FROM suggests WHERE pkgKey = old.pkgKey;
    DELETE FROM enhances WHERE pkgKey = old.pkgKey;
    DELETE FROM recommends WHERE pkgKey = old.pkgKey;
    DELETE FROM supplements WHERE pkgKey = old.pkgKey;
END;",
    fill,
};

/// A `<package>` of primary, whole.
#[derive(Default)]
struct Row {
    name: String,
    arch: String,
    version: Version,
    pkgid: String,
    checksum_type: String,
    summary: String,
    description: String,
    packager: String,
    url: String,
    time_file: i64,
    time_build: i64,
    sizes: [u64; 3],
    href: String,
    base: Option<String>,
    license: String,
    vendor: String,
    group: String,
    build_host: String,
    source_rpm: String,
    header_range: (u64, u64),
    relations: Vec<(&'static str, Relation)>,
    files: Vec<(String, String)>,
}

struct Relation {
    name: String,
    flags: Option<String>,
    epoch: Option<String>,
    version: Option<String>,
    release: Option<String>,
    pre: bool,
}

fn fill(transaction: &Transaction<'_>, list: &mut dyn BufRead) -> Result<(), DatabaseError> {
    let mut key = 0_i64;
    let mut failed = None;
    each_package(list, "metadata", |_, xml| {
        let row = read(xml)?;
        key += 1;
        if failed.is_none() {
            failed = insert(transaction, key, &row).err();
        }
        Ok(())
    })?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

fn read<R: BufRead>(xml: &mut XmlReader<R>) -> Result<Row, XmlError> {
    let mut row = Row::default();
    each_child(xml, |child, xml| {
        match child.name() {
            "name" => row.name = xml.text()?,
            "arch" => row.arch = xml.text()?,
            "version" => row.version = read_version(child)?,
            "checksum" => {
                row.checksum_type = child.required("type")?;
                row.pkgid = xml.text()?;
            }
            "summary" => row.summary = xml.text()?,
            "description" => row.description = xml.text()?,
            "packager" => row.packager = xml.text()?,
            "url" => row.url = xml.text()?,
            "time" => {
                row.time_file = signed(child, "file")?;
                row.time_build = signed(child, "build")?;
            }
            "size" => {
                for (size, name) in row
                    .sizes
                    .iter_mut()
                    .zip(["package", "installed", "archive"])
                {
                    *size = child.number(name)?.unwrap_or(0);
                }
            }
            "location" => {
                row.href = child.required("href")?;
                row.base = child.attribute("xml:base")?;
            }
            "format" => {
                read_format(&mut row, xml)?;
                return Ok(true);
            }
            _ => return Ok(false),
        }
        let has_text = matches!(
            child.name(),
            "name" | "arch" | "checksum" | "summary" | "description" | "packager" | "url"
        );
        Ok(has_text)
    })?;
    Ok(row)
}

fn read_format<R: BufRead>(row: &mut Row, xml: &mut XmlReader<R>) -> Result<(), XmlError> {
    each_child(xml, |child, xml| {
        match child.name() {
            "license" => row.license = xml.text()?,
            "vendor" => row.vendor = xml.text()?,
            "group" => row.group = xml.text()?,
            "buildhost" => row.build_host = xml.text()?,
            "sourcerpm" => row.source_rpm = xml.text()?,
            "header-range" => {
                let range = child.number("start")?.zip(child.number("end")?);
                row.header_range = range.unwrap_or_default();
                return Ok(false);
            }
            "file" => {
                let kind = child.attribute("type")?;
                row.files
                    .push((xml.text()?, kind.unwrap_or_else(|| "file".to_owned())));
            }
            list => {
                let Some(list) = RELATIONS.iter().find(|relation| **relation == list) else {
                    return Ok(false);
                };
                each_child(xml, |entry, _| {
                    row.relations.push((*list, relation(entry)?));
                    Ok(false)
                })?;
            }
        }
        Ok(true)
    })
}

/// Runs `take` for each child of the element whose start was read, up to that element's end.
/// `take` says whether it has read up to the child's end.
fn each_child<R: BufRead>(
    xml: &mut XmlReader<R>,
    mut take: impl FnMut(&Start, &mut XmlReader<R>) -> Result<bool, XmlError>,
) -> Result<(), XmlError> {
    loop {
        match xml.next()? {
            Token::Start(child) => {
                if !take(&child, xml)? {
                    xml.skip()?;
                }
            }
            Token::Text(_) => {}
            Token::End | Token::Eof => return Ok(()),
        }
    }
}

fn relation(entry: &Start) -> Result<Relation, XmlError> {
    let pre = entry.attribute("pre")?;
    Ok(Relation {
        name: entry.required("name")?,
        flags: entry.attribute("flags")?,
        epoch: entry.attribute("epoch")?,
        version: entry.attribute("ver")?,
        release: entry.attribute("rel")?,
        pre: pre.is_some_and(|pre| pre != "0" && !pre.eq_ignore_ascii_case("false")),
    })
}

fn signed(start: &Start, name: &str) -> Result<i64, XmlError> {
    let text = start.attribute(name)?.unwrap_or_default();
    Ok(text.trim().parse().unwrap_or(0))
}

/// createrepo_c stores these texts as NULL when they are empty, and the other texts as they are.
fn nullable(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn insert(transaction: &Transaction<'_>, key: i64, row: &Row) -> rusqlite::Result<()> {
    let [package, installed, archive] = row.sizes;
    transaction
        .prepare_cached(
            "INSERT INTO packages (pkgKey, pkgId, name, arch, version, epoch, release, summary, description, url,
                time_file, time_build, rpm_license, rpm_vendor, rpm_group, rpm_buildhost, rpm_sourcerpm,
                rpm_header_start, rpm_header_end, rpm_packager, size_package, size_installed, size_archive,
                location_href, location_base, checksum_type)
             VALUES (:key, :id, :name, :arch, :version, :epoch, :release, :summary, :description, :url,
                :time_file, :time_build, :license, :vendor, :group, :host, :source,
                :start, :end, :packager, :package, :installed, :archive, :href, :base, :checksum)",
        )?
        .execute(named_params! {
            ":key": key,
            ":id": row.pkgid,
            ":name": row.name,
            ":arch": row.arch,
            ":version": row.version.version,
            ":epoch": row.version.epoch,
            ":release": row.version.release,
            ":summary": nullable(&row.summary),
            ":description": nullable(&row.description),
            ":url": nullable(&row.url),
            ":time_file": row.time_file,
            ":time_build": row.time_build,
            ":license": row.license,
            ":vendor": row.vendor,
            ":group": row.group,
            ":host": row.build_host,
            ":source": row.source_rpm,
            ":start": row.header_range.0,
            ":end": row.header_range.1,
            ":packager": nullable(&row.packager),
            ":package": package,
            ":installed": installed,
            ":archive": archive,
            ":href": row.href,
            ":base": row.base.as_deref(),
            ":checksum": row.checksum_type,
        })?;
    for (list, entry) in &row.relations {
        insert_relation(transaction, key, list, entry)?;
    }
    let mut files =
        transaction.prepare_cached("INSERT INTO files (name, type, pkgKey) VALUES (?1, ?2, ?3)")?;
    for (name, kind) in &row.files {
        files.execute((name, kind, key))?;
    }
    Ok(())
}

/// `list`: one of `RELATIONS`, never text from outside.
fn insert_relation(
    transaction: &Transaction<'_>,
    key: i64,
    list: &str,
    entry: &Relation,
) -> rusqlite::Result<()> {
    let values = (
        &entry.name,
        &entry.flags,
        &entry.epoch,
        &entry.version,
        &entry.release,
        key,
    );
    if list == "requires" {
        let (name, flags, epoch, version, release, key) = values;
        // Texts, as all writers of these files have stored them.
        let pre = if entry.pre { "TRUE" } else { "FALSE" };
        transaction
            .prepare_cached(
                "INSERT INTO requires (name, flags, epoch, version, release, pkgKey, pre)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute((name, flags, epoch, version, release, key, pre))?;
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO {list} (name, flags, epoch, version, release, pkgKey) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
    );
    transaction.prepare_cached(&sql)?.execute(values)?;
    Ok(())
}
