//! What goes into the index, and what cannot.

use super::kit::{Kit, Package, in_order, read_error};
use super::{brief, two_with_net, who_ships};
use crate::db::DbError;
use crate::db::evidence::{self, EvidenceMark, Kind, NewEvidence};
use crate::sbom_index::{SbomIndex, fill, write};
use repo_model::{FileDigest, Timestamp};

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
    assert_eq!(seen.unwrap().evidence_id, 0);
}

/// Rows of evidence on a server: SBOMs by these bytes, recorded at these times.
fn evidence(kit: &Kit, rows: &[(&'static str, i64)]) {
    let rows = rows.to_vec();
    let written = kit.server.write(move |tx| {
        tx.execute("DELETE FROM evidence", [])?;
        for (document, at) in rows {
            let new = NewEvidence {
                build_id: 1,
                package_id: Some(1),
                kind: Kind::Sbom,
                label: "cyclonedx-1.6".to_owned(),
                digest: FileDigest::of(document.as_bytes()),
                media_type: "application/json",
            };
            evidence::insert(tx, &new, Timestamp::from_unix_secs(at))?;
        }
        Ok::<_, DbError>(())
    });
    kit.runtime.block_on(written).unwrap();
}

/// What the index has to look at next; none when the database is another than it saw.
fn next(kit: &Kit) -> Option<Vec<EvidenceMark>> {
    let seen = kit.runtime.block_on(kit.index.db.read(fill::seen)).unwrap();
    let read = kit
        .server
        .read(move |connection| fill::next(connection, seen));
    let found = kit.runtime.block_on(read).unwrap();
    found.map(|sboms| sboms.into_iter().map(|sbom| sbom.mark).collect())
}

#[test]
fn an_index_that_is_ahead_of_a_restored_database_notices_it_even_when_that_went_on() {
    let kit = two_with_net();
    evidence(&kit, &[("one", 10), ("two", 20), ("three", 30)]);
    let all = next(&kit).unwrap();
    assert_eq!(all.len(), 3);
    // Two of three were looked at.
    let to = all[1];
    let moved = kit.index.db.write(move |tx| {
        assert!(fill::advance(tx, EvidenceMark::default(), to)?);
        // From where it is not any more: somebody else was faster.
        assert!(!fill::advance(tx, EvidenceMark::default(), to)?);
        Ok::<_, DbError>(())
    });
    kit.runtime.block_on(moved).unwrap();
    assert_eq!(next(&kit), Some(vec![all[2]]));
    for (restored, is_other) in [
        // A copy from before, as it was; and from after, with what came since.
        (vec![("one", 10)], true),
        (vec![("one", 10), ("two", 20)], false),
        // It went on, as far as before and farther: another document, or the same one made again.
        (vec![("one", 10), ("other", 40)], true),
        (
            vec![("one", 10), ("two", 40), ("three", 41), ("four", 42)],
            true,
        ),
        (vec![], true),
    ] {
        evidence(&kit, &restored);
        assert_eq!(next(&kit).is_none(), is_other, "{restored:?}");
    }
    // What is made again begins with the first row.
    evidence(&kit, &[("one", 10), ("other", 40)]);
    kit.runtime
        .block_on(kit.index.db.write(write::clear))
        .unwrap();
    assert_eq!(next(&kit).map(|rows| rows.len()), Some(2));
}
