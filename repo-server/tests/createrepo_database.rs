//! sqlite databases against those of createrepo_c, row by row and field by field.

mod createrepo_support;
mod repodata_support;

use createrepo_support::*;
use repo_model::Timestamp;
use repo_server::createrepo::{Duplicates, FileNames};
use repo_server::repodata::{ChecksumType, Codec};
use repodata_support::reference::Reference;
use rusqlite::Connection;
use rusqlite::types::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::Path;

const LISTS: [&str; 3] = ["primary", "filelists", "other"];

/// The database of a list, decompressed, in a file that lives as long as the first of the pair.
fn database(repository: &Path, list: &str) -> (tempfile::NamedTempFile, Connection) {
    let wanted = format!("{list}.sqlite");
    let path = fs::read_dir(repository.join("repodata"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_str().unwrap().contains(&wanted))
        .unwrap_or_else(|| panic!("no {wanted}"));
    let packed = fs::read(&path).unwrap();
    let mut open = Vec::new();
    match path.extension().unwrap().to_str().unwrap() {
        "gz" => flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut open),
        "xz" => liblzma::read::XzDecoder::new(&packed[..]).read_to_end(&mut open),
        "bz2" => bzip2::read::MultiBzDecoder::new(&packed[..]).read_to_end(&mut open),
        other => panic!("{other}"),
    }
    .unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), open).unwrap();
    let connection = Connection::open(file.path()).unwrap();
    (file, connection)
}

fn texts(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap();
    rows.map(Result::unwrap).collect()
}

/// Tables with their columns and types, and the names of indexes and triggers.
fn schema(connection: &Connection) -> BTreeMap<String, Vec<String>> {
    let mut schema = BTreeMap::new();
    for table in texts(
        connection,
        "SELECT name FROM sqlite_master WHERE type = 'table'",
    ) {
        let columns = texts(
            connection,
            &format!(
                "SELECT name || ' ' || type || coalesce(dflt_value, '') FROM pragma_table_info('{table}')"
            ),
        );
        schema.insert(table, columns);
    }
    let others =
        "SELECT type || ' ' || name || ' on ' || tbl_name FROM sqlite_master WHERE type <> 'table'";
    let mut others = texts(connection, others);
    others.sort();
    schema.insert("indexes and triggers".to_owned(), others);
    schema
}

/// The rows of a table, `pkgKey` replaced by the package's id: the order of packages is another.
fn rows(connection: &Connection, table: &str) -> BTreeSet<(String, Vec<(String, String)>)> {
    let sql = match table {
        "packages" => "SELECT pkgId AS id, * FROM packages".to_owned(),
        _ => format!("SELECT p.pkgId AS id, t.* FROM {table} t JOIN packages p USING (pkgKey)"),
    };
    let mut statement = connection.prepare(&sql).unwrap();
    let names: Vec<String> = statement.column_names().map(|n| n.to_owned()).collect();
    let mut found = BTreeSet::new();
    let mut cursor = statement.query([]).unwrap();
    let mut number = 0;
    while let Some(row) = cursor.next().unwrap() {
        let id: String = row.get(0).unwrap();
        let fields: Vec<(String, String)> = names
            .iter()
            .enumerate()
            .skip(1)
            .filter(|(_, name)| *name != "pkgKey")
            .map(|(at, name)| {
                (
                    name.clone(),
                    format!("{:?}", row.get::<_, Value>(at).unwrap()),
                )
            })
            .collect();
        found.insert((id, fields));
        number += 1;
    }
    assert!(number >= found.len());
    found
}

/// Packages whose metadata differs on purpose (decision 0005).
const DELIBERATE: [&str; 4] = ["balicek", "non-utf-8", "Archer", "nosrc"];

#[test]
fn every_field_of_every_row_is_what_createrepo_c_writes() {
    let Some(from) = real_packages() else { return };
    for reference in Reference::all() {
        if !reference.writes_as_1_2() {
            continue;
        }
        let root = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(from.join("v4")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if !DELIBERATE.iter().any(|word| name.contains(word)) {
                fs::copy(&path, root.path().join(name)).unwrap();
            }
        }
        fs::write(root.path().join("made.rpm"), rpm("made", "1")).unwrap();
        let mut request = request(root.path());
        request.database = true;
        request.duplicates = Duplicates::KeepAll;
        run(&request).unwrap();
        let ours = LISTS.map(|list| database(root.path(), list));
        let mut command = reference.command(
            "createrepo_c",
            root.path(),
            &["--quiet", "--database", "--compress-type=gz", "@"],
        );
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}: {output:?}", reference.label);
        for (list, (_file, ours)) in LISTS.iter().zip(&ours) {
            let (_their_file, theirs) = database(root.path(), list);
            assert_eq!(schema(ours), schema(&theirs), "{} {list}", reference.label);
            let tables = texts(
                ours,
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'db_info'",
            );
            for table in tables {
                let (ours, theirs) = (rows(ours, &table), rows(&theirs, &table));
                let only_ours: Vec<_> = ours.difference(&theirs).take(3).collect();
                let only_theirs: Vec<_> = theirs.difference(&ours).take(3).collect();
                assert!(
                    only_ours.is_empty() && only_theirs.is_empty(),
                    "{} {list} {table}: ours {only_ours:#?} theirs {only_theirs:#?}",
                    reference.label
                );
                assert!(table != "packages" || ours.len() > 35);
            }
        }
    }
}

#[test]
fn a_database_is_described_in_repomd_and_names_its_list() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 60);
    for (codec, suffix, checksum) in [
        (Codec::ZSTD, "gz", ChecksumType::Sha256),
        (Codec::Gzip, "gz", ChecksumType::Sha512),
        (Codec::Xz, "xz", ChecksumType::Sha256),
        (Codec::None, "gz", ChecksumType::Sha256),
    ] {
        let mut request = with_codec(root.path(), codec);
        request.database = true;
        request.metadata.checksum = checksum;
        request.names = FileNames::Simple;
        run(&request).unwrap();
        let report = checked(root.path());
        assert!(report.passed, "{:#?}", report.findings);
        assert_eq!(report.files.len(), 6);
        let repomd = repomd(root.path());
        for list in LISTS {
            let (_file, database) = database(root.path(), list);
            assert_eq!(texts(&database, "PRAGMA integrity_check"), ["ok"]);
            let version: i64 = database
                .query_row("SELECT dbversion FROM db_info", [], |row| row.get(0))
                .unwrap();
            assert_eq!(version, 10);
            let names = texts(&database, "SELECT checksum FROM db_info");
            let record = repomd
                .split(&format!("<data type=\"{list}\">"))
                .nth(1)
                .unwrap();
            let written = record.split("<checksum ").nth(1).unwrap();
            assert!(written.starts_with(&format!("type=\"{}\">{}<", checksum.as_str(), names[0])));
            let record = repomd
                .split(&format!("<data type=\"{list}_db\">"))
                .nth(1)
                .unwrap();
            assert!(
                record.contains(&format!("{list}.sqlite.{suffix}\"/>")),
                "{record}"
            );
            assert!(record.contains("<database_version>10</database_version>"));
        }
    }
}

#[test]
fn equal_packages_give_equal_databases() {
    let made = || {
        let root = tempfile::tempdir().unwrap();
        fill(root.path(), 20);
        let mut request = request(root.path());
        request.database = true;
        request.at = Timestamp::from_unix_secs(1_763_632_800);
        request.latest_file_time = Some(Timestamp::from_unix_secs(1_763_600_000));
        run(&request).unwrap();
        LISTS.map(|list| fs::read(file(root.path(), &format!("{list}.sqlite.gz"))).unwrap())
    };
    assert!(made() == made());
}
