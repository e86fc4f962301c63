//! What goes into the index, and what cannot.

use super::kit::{Kit, Package, in_order, read_error};
use super::{brief, two_with_net, who_ships};
use crate::db::DbError;
use crate::sbom_index::{SbomIndex, fill, write};

#[test]
fn the_same_document_again_changes_nothing_and_another_replaces_it() {
    let mut kit = two_with_net();
    let before = brief(&who_ships(&kit, 2, "golang.org/x/net", None));
    let package = Package::new("alpha-1.0-1.x86_64", 1);
    let document = write::NewDocument {
        header: package.header(),
        sbom: repo_model::FileDigest::of(b"sbom"),
        format: "cyclonedx-1.6".to_owned(),
        buildinfo_id: None,
    };
    let put = |kit: &mut Kit, package: Package| {
        let (json, document) = (in_order(&package.document()), document.clone());
        let done = kit
            .index
            .db
            .write(move |tx| fill::store(tx, &document, json.as_bytes()));
        kit.runtime.block_on(done).unwrap();
    };
    let net = "pkg:golang/golang.org/x/net@v0.37.0";
    put(
        &mut kit,
        Package::new("alpha-1.0-1.x86_64", 1).part(net, "go-buildinfo", "/usr/bin/alpha"),
    );
    assert_eq!(brief(&who_ships(&kit, 2, "golang.org/x/net", None)), before);
    put(&mut kit, package);
    assert_eq!(
        brief(&who_ships(&kit, 2, "golang.org/x/net", None)),
        before[1..]
    );
}

#[test]
fn documents_that_are_not_what_they_should_be_leave_a_reason_and_no_facts() {
    let kit = Kit::new();
    let package =
        Package::new("a-1-1.x86_64", 1).part("pkg:cargo/x@1.0.0", "cargo-auditable", "/x");
    let good = in_order(&package.document());
    let other = Package::new("b-1-1.x86_64", 1).header();
    let (cut, about) = (good[..good.len() - 40].to_owned(), package.header());
    let swapped = r#"{"components":[],"metadata":{}}"#.to_owned();
    let done = kit.index.db.write(move |tx| {
        for (document, about, word) in [
            (good.as_str(), other, "is about package"),
            (&cut, about, "no CycloneDX"),
            (&swapped, about, "no CycloneDX"),
            ("", about, "no CycloneDX"),
            (&"[".repeat(100_000), about, "no CycloneDX"),
        ] {
            let error = read_error(tx, document.as_bytes(), about);
            assert!(error.to_string().contains(word), "{error}");
        }
        let document = write::NewDocument {
            header: about,
            sbom: repo_model::FileDigest::of(b"cut"),
            format: "cyclonedx-1.6".to_owned(),
            buildinfo_id: None,
        };
        fill::store(tx, &document, cut.as_bytes())?;
        let sql = "SELECT (SELECT count(*) FROM occurrences), (SELECT count(*) FROM places), (SELECT error FROM documents)";
        let left: (u64, u64, String) = tx
            .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .map_err(DbError::from)?;
        assert_eq!((left.0, left.1), (0, 0));
        assert!(left.2.contains("EOF"), "{}", left.2);
        Ok::<_, crate::jobs::JobError>(())
    });
    kit.runtime.block_on(done).unwrap();
}

#[test]
fn an_index_of_another_version_is_made_again_and_an_emptied_one_starts_from_nothing() {
    let kit = two_with_net();
    let path = kit.dir.path().to_owned();
    kit.runtime.block_on(super::super::reindex(&path)).unwrap();
    assert_eq!(who_ships(&kit, 2, "golang.org/x/net", None), []);
    let jobs: u64 = kit.ask(|db| {
        let sql = "SELECT count(*) FROM server.jobs WHERE name = 'index-sboms'";
        Ok(db.query_row(sql, [], |row| row.get(0))?)
    });
    assert_eq!(jobs, 1);
    let set = kit.index.db.write(|tx| {
        tx.execute_batch("DROP TABLE files")?;
        Ok::<_, DbError>(())
    });
    kit.runtime.block_on(set).unwrap();
    drop(kit.index);
    let raw = rusqlite::Connection::open(crate::layout::sbom_index(&path)).unwrap();
    raw.pragma_update(None, "user_version", 0x7fff).unwrap();
    drop(raw);
    let index = SbomIndex::open(&path).unwrap();
    let seen = kit.runtime.block_on(index.db.read(|db| {
        db.query_row("SELECT count(*) FROM files", [], |row| row.get::<_, u64>(0))?;
        fill::seen(db)
    }));
    assert_eq!(seen.unwrap(), 0);
}
