//! Packages put into a server's database and indexed, then asked for.

use super::dependencies::dependents;
use super::search::{Part, Query, files, names};
use super::{Catalogue, write};
use crate::db::{self, Db, DbError};
use crate::layout;
use repo_model::FileDigest;
use repo_model::rpm::testkit::{Field, Rpm};
use repo_model::rpm::{Head, Package, tag};
use rusqlite::{Connection, params};

struct Kit {
    _dir: tempfile::TempDir,
    server: Db,
    catalogue: Catalogue,
    runtime: tokio::runtime::Runtime,
}

const FIRST: Part = Part {
    offset: 0,
    limit: 20,
};

impl Kit {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Db::open(&layout::database(dir.path())).unwrap();
        Self {
            catalogue: Catalogue::open(dir.path()).unwrap(),
            _dir: dir,
            server,
            runtime: tokio::runtime::Runtime::new().unwrap(),
        }
    }

    /// Puts packages into the server's database, as members of a release, and indexes them; their numbers.
    fn add(&self, packages: Vec<Package>) -> Vec<u64> {
        let rows: Vec<(String, String, String)> = packages
            .iter()
            .map(|p| (p.nevra.to_string(), p.nevra.name.clone(), p.summary.clone()))
            .collect();
        let ids = self.runtime.block_on(self.server.write(move |tx| {
            tx.execute(
                "INSERT OR IGNORE INTO builds VALUES (1, 'm', 'base', 'x-1-1.src', 'x', '', '', NULL, '', 0, 0, 'received', '{\"stage\":\"received\"}')",
                [],
            )?;
            let mut ids = Vec::new();
            for (nevra, name, summary) in rows {
                let digest = FileDigest::of(nevra.as_bytes()).to_hex();
                tx.execute(
                    "INSERT INTO packages (build_id, repo, nevra, name, arch, summary, header_digest, unsigned_file, unsigned_size_bytes, href)
                     VALUES (1, 'base', ?1, ?2, 'noarch', ?3, ?4, ?4, 0, ?1)",
                    params![nevra, name, summary, digest],
                )?;
                let id = tx.last_insert_rowid().unsigned_abs();
                tx.execute("INSERT INTO members VALUES ('base', 'noarch', ?1, 1, NULL)", [id])?;
                ids.push(id);
            }
            Ok::<_, DbError>(ids)
        }));
        let ids = ids.unwrap();
        self.index(&ids, packages);
        ids
    }

    fn index(&self, ids: &[u64], packages: Vec<Package>) {
        let mut touched: Vec<String> = packages.iter().map(|p| p.nevra.name.clone()).collect();
        touched.sort();
        touched.dedup();
        let read = move |connection: &Connection| {
            let touched: Vec<&str> = touched.iter().map(String::as_str).collect();
            db::overview::newest_of_names(connection, &touched)
        };
        let newest = self.runtime.block_on(self.server.read(read)).unwrap();
        let rows: Vec<(u64, Package)> = ids.iter().copied().zip(packages).collect();
        let write = self.catalogue.db.write(move |tx| {
            for (id, package) in &rows {
                write::package(tx, *id, package)?;
            }
            newest.iter().try_for_each(|name| write::name(tx, name))
        });
        self.runtime.block_on(write).unwrap();
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
    ) -> T {
        self.runtime.block_on(self.catalogue.ask(question)).unwrap()
    }

    fn names(&self, text: &str) -> Vec<String> {
        let Some(query) = Query::parse(text) else {
            return Vec::new();
        };
        let found = self.ask(move |db| names(db, &query, FIRST));
        found.hits.into_iter().map(|hit| hit.name).collect()
    }
}

fn package(rpm: Rpm) -> Package {
    Package::for_listing(&Head::parse(&rpm.bytes()).unwrap(), false).unwrap()
}

fn summary(text: &str) -> Field {
    Field::I18n(vec![text.as_bytes().to_vec()])
}

fn needing(name: &str, needs: &[(&str, u32, &str)]) -> Rpm {
    Rpm::binary(name)
        .set(
            tag::REQUIRENAME,
            Field::strings(needs.iter().map(|need| need.0)),
        )
        .set(
            tag::REQUIREFLAGS,
            Field::Int32(needs.iter().map(|need| need.1).collect()),
        )
        .set(
            tag::REQUIREVERSION,
            Field::strings(needs.iter().map(|need| need.2)),
        )
}

#[test]
fn the_very_name_comes_first_then_beginnings_then_words_then_middles() {
    let kit = Kit::new();
    kit.add(vec![
        package(Rpm::binary("openssl").set(tag::SUMMARY, summary("Toolkit for TLS"))),
        package(Rpm::binary("ssl")),
        package(Rpm::binary("ssl-tools")),
        package(Rpm::binary("curl").set(tag::SUMMARY, summary("Transfers with SSL"))),
    ]);
    assert_eq!(kit.names("ssl"), ["ssl", "ssl-tools", "curl", "openssl"]);
    assert_eq!(kit.names("tls tool"), ["openssl"]);
    assert_eq!(kit.names("++ \" *"), [""; 0]);
    assert_eq!(kit.names("   "), [""; 0]);
}

#[test]
fn what_left_the_newest_release_is_found_no_more_and_the_older_version_is() {
    let kit = Kit::new();
    let old = package(Rpm::binary("hello").set(tag::SUMMARY, summary("old")));
    let new = package(
        Rpm::binary("hello")
            .set(tag::VERSION, Field::str("2.0"))
            .set(tag::SUMMARY, summary("young"))
            .file("/usr/bin/hello2", b""),
    );
    let ids = kit.add(vec![old.clone(), new.clone()]);
    assert_eq!(kit.names("young"), ["hello"]);
    let leaves = ids[1];
    let retire = kit.server.write(move |tx| {
        tx.execute(
            "UPDATE members SET removed_release = 2 WHERE package_id = ?1",
            [leaves],
        )?;
        Ok::<_, DbError>(())
    });
    kit.runtime.block_on(retire).unwrap();
    kit.index(&ids, vec![old, new]);
    assert_eq!(kit.names("young"), [""; 0]);
    assert_eq!(kit.names("old"), ["hello"]);
    let query = Query::parse("hello2").unwrap();
    assert!(kit.ask(move |db| files(db, &query, FIRST)).hits.is_empty());
}

#[test]
fn of_a_removed_package_no_row_stays_and_what_is_indexed_is_known() {
    let kit = Kit::new();
    let needs = || needing("gone", &[("lib", 0, "")]).file("/usr/bin/gone", b"");
    let kept = || needing("kept", &[("lib", 0, "")]).file("/usr/bin/kept", b"");
    let ids = kit.add(vec![package(needs()), package(kept())]);
    let (gone, stays) = (ids[0], ids[1]);
    let retire = kit.server.write(move |tx| {
        tx.execute(
            "UPDATE members SET removed_release = 2 WHERE package_id = ?1",
            [gone],
        )?;
        db::overview::current(tx, &[gone, stays, 99])
    });
    let current = kit.runtime.block_on(retire).unwrap();
    assert_eq!(current, [stays].into());
    let forget = kit.catalogue.db.write(move |tx| {
        assert_eq!(write::known(tx, &[gone, stays, 99])?, [gone, stays].into());
        write::forget(tx, &[gone])?;
        assert_eq!(write::known(tx, &[gone, stays, 99])?, [stays].into());
        Ok::<_, DbError>(())
    });
    kit.runtime.block_on(forget).unwrap();
    for table in ["provides", "needs", "files"] {
        let packages = kit.ask(move |connection| {
            let sql = format!("SELECT DISTINCT package_id FROM {table}");
            let mut statement = connection.prepare(&sql)?;
            let rows = statement.query_map([], |row| row.get::<_, u64>(0))?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        });
        assert_eq!(packages, [stays], "{table}");
    }
}

#[test]
fn files_are_found_by_path_by_the_end_of_a_path_and_by_name_part_by_part() {
    let kit = Kit::new();
    let rpm = Rpm::binary("tools")
        .file("/usr/bin/hello", b"")
        .file("/usr/bin/help", b"")
        .file("/usr/share/hello", b"");
    kit.add(vec![package(rpm)]);
    let found = |text: &str, offset: u32, limit: u32| {
        let query = Query::parse(text).unwrap();
        let found = kit.ask(move |db| files(db, &query, Part { offset, limit }));
        let paths: Vec<String> = found.hits.into_iter().map(|hit| hit.path).collect();
        (paths, found.more)
    };
    let all = |text: &str| found(text, 0, 20).0;
    assert_eq!(all("/usr/bin/he"), ["/usr/bin/hello", "/usr/bin/help"]);
    assert_eq!(all("/usr/share/"), ["/usr/share/hello"]);
    assert_eq!(all("bin/he"), ["/usr/bin/hello", "/usr/bin/help"]);
    assert_eq!(all("help"), ["/usr/bin/help"]);
    assert_eq!(all("hel").len(), 3);
    for none in ["bin/", "/bin/hello", "share/help"] {
        assert_eq!(all(none), [""; 0], "{none}");
    }
    assert_eq!(found("hel", 0, 2).0.len(), 2);
    assert!(found("hel", 0, 2).1);
    assert_eq!(
        found("hel", 2, 2),
        (vec!["/usr/bin/help".to_owned()], false)
    );
    assert_eq!(found("hel", 9, 2), (vec![], false));
}

#[test]
fn long_lists_of_dependents_can_be_turned_page_by_page_without_loss() {
    let kit = Kit::new();
    let library = package(Rpm::binary("lib").file("/usr/bin/lib", b""));
    let ids = kit.add(vec![library.clone()]);
    let all: Vec<Package> = (0..100)
        .map(|n| {
            let needs: &[_] = match n % 3 {
                0 => &[("lib", 0, ""), ("/usr/bin/lib", 0, "")],
                1 => &[("lib", 12, "0.5")],
                _ => &[("lib", 2, "0.5")],
            };
            package(needing(&format!("user-{n:03}"), needs))
        })
        .collect();
    kit.add(all);
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let (id, header) = (ids[0], library.clone());
        let page = kit.ask(move |db| dependents(db, id, &header, &after, 7));
        seen.extend(page.dependents.into_iter().map(|one| one.name));
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    let want: Vec<String> = (0..100)
        .filter(|n| n % 3 != 2)
        .map(|n| format!("user-{n:03}"))
        .collect();
    assert_eq!(seen, want);
}
