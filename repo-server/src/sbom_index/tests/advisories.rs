//! Advisories and VEX statements over packages.

use super::kit::{Kit, Package};
use crate::db;
use crate::sbom_index::osv_import::{ImportError, import};
use crate::sbom_index::questions::{self, Cursor, VulnerabilityQuery};
use crate::sbom_index::vex;
use repo_model::wire::sbom::{Finding, VulnerabilityStatus};
use repo_model::{FileDigest, Timestamp};
use std::io::Write as _;

const GO: &str = r#"{"id":"GO-1","aliases":["CVE-1"],"summary":"bad","affected":[{"package":{"ecosystem":"Go","name":"golang.org/x/net"},
  "ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"0.38.0"}]}]}]}"#;
const RPM: &str = r#"{"id":"ALSA-1","upstream":["CVE-2"],"affected":[{"package":{"ecosystem":"AlmaLinux:9","name":"alpha"},
  "ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1.0-3"}]}]}]}"#;

fn import_records(kit: &Kit, records: &[(&str, &str)], distributions: &[&str]) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("deep")).unwrap();
    for (name, json) in records {
        std::fs::write(folder.path().join("deep").join(name), json).unwrap();
    }
    let names: Vec<String> = distributions
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    let done = kit
        .runtime
        .block_on(import(kit.dir.path(), folder.path(), &names))
        .unwrap();
    done.records
}

fn findings(kit: &Kit, release: u64, limit: u32) -> Vec<Finding> {
    let (mut after, mut all) = (Cursor::default(), Vec::new());
    loop {
        let scope = Kit::scope(release);
        let query = VulnerabilityQuery::default();
        let page = kit.ask(move |db| questions::vulnerabilities(db, &scope, &query, after, limit));
        assert!(page.items.len() <= limit as usize);
        all.extend(page.items);
        match page.next {
            Some(next) => after = next.parse().unwrap(),
            None => return all,
        }
    }
}

fn line(finding: &Finding) -> String {
    let by = finding
        .justification
        .as_deref()
        .or(finding.remark.as_deref());
    format!(
        "{} {} {} {} {}",
        finding.vulnerability,
        finding.status.name(),
        finding.package.nevra.name,
        finding.said_by,
        by.unwrap_or("-")
    )
}

fn lines(kit: &Kit, release: u64) -> Vec<String> {
    let all = findings(kit, release, 1_000);
    assert_eq!(
        findings(kit, release, 1),
        all,
        "one to a page tells the same"
    );
    all.iter().map(line).collect()
}

fn state(kit: &Kit, json: String) -> FileDigest {
    let digest = FileDigest::of(json.as_bytes());
    let document = vex::read(json.as_bytes()).unwrap();
    let done = kit.server.write(move |tx| {
        db::vex::insert(tx, digest, &document, "test", Timestamp::from_unix_secs(1))
    });
    kit.runtime.block_on(done).unwrap();
    digest
}

fn openvex(vulnerability: &str, product: &str, status: &str, more: &str, at: &str) -> String {
    format!(
        r#"{{"@context":"https://openvex.dev/ns/v0.2.0","@id":"x","author":"a","timestamp":"{at}","statements":[
          {{"vulnerability":{{"name":"{vulnerability}"}},"products":[{product}],"status":"{status}"{more}}}]}}"#
    )
}

fn kit() -> Kit {
    let mut kit = Kit::new();
    let net = |version: &str| format!("pkg:golang/golang.org/x/net@v{version}");
    kit.add(Package::new("alpha-1.0-1.x86_64", 1).part(&net("0.37.0"), "go-buildinfo", "/a"));
    kit.add(Package::new("beta-1-1.x86_64", 1).part(&net("0.38.0"), "go-buildinfo", "/b"));
    kit.add(Package::new("gamma-1-1.x86_64", 2).part(&net("0.1.0"), "go-buildinfo", "/c"));
    kit
}

#[test]
fn versions_tell_what_is_affected_and_what_is_fixed_in_the_release_asked_about() {
    let kit = kit();
    assert_eq!(
        import_records(&kit, &[("go.json", GO), ("rpm.json", RPM)], &[]),
        1
    );
    assert_eq!(
        lines(&kit, 1),
        ["GO-1 affected alpha osv -", "GO-1 fixed beta osv -"]
    );
    assert_eq!(lines(&kit, 2).len(), 3);
    // The distribution's own advisories count once it is named as ours; rpm's order decides.
    assert_eq!(
        import_records(&kit, &[("go.json", GO), ("rpm.json", RPM)], &["AlmaLinux"]),
        2
    );
    let alpha: Vec<_> = findings(&kit, 1, 100)
        .into_iter()
        .filter(|finding| finding.vulnerability == "ALSA-1")
        .collect();
    assert_eq!(
        alpha.len(),
        1,
        "package and source of one name are told once"
    );
    assert_eq!(
        (
            alpha[0].status,
            alpha[0].fixed_in.as_deref(),
            alpha[0].relation.as_str()
        ),
        (VulnerabilityStatus::Affected, Some("1.0-3"), "self")
    );
}

#[test]
fn what_is_added_after_the_import_is_exposed_too_and_a_new_import_replaces_the_old() {
    let mut kit = Kit::new();
    import_records(&kit, &[("go.json", GO)], &[]);
    let net = "pkg:golang/golang.org/x/net@v0.37.0";
    kit.add(Package::new("alpha-1.0-1.x86_64", 1).part(net, "go-buildinfo", "/a"));
    assert_eq!(lines(&kit, 1), ["GO-1 affected alpha osv -"]);
    let other = GO.replace("GO-1", "GO-2");
    import_records(&kit, &[("go.json", &other), ("bad.json", "{")], &[]);
    assert_eq!(lines(&kit, 1), ["GO-2 affected alpha osv -"]);
}

#[test]
fn where_versions_cannot_tell_it_is_under_investigation_with_the_reason() {
    let mut kit = Kit::new();
    let net = "pkg:golang/golang.org/x/net";
    let old = format!("{net}@v0.37.0");
    kit.add(Package::new("built-1-1.x86_64", 1).scoped_part(
        &old,
        "go-buildinfo",
        "/a",
        "excluded",
    ));
    kit.add(Package::new("itself-1-1.x86_64", 1).upstream(&old));
    kit.add(Package::new("unknown-1-1.x86_64", 1).part(net, "bundled-provide", ""));
    import_records(&kit, &[("go.json", GO)], &[]);
    assert_eq!(
        lines(&kit, 1),
        [
            "GO-1 under_investigation built osv the component took part in the build only",
            "GO-1 under_investigation itself osv the version is affected upstream; the package may carry a fix of its own",
            "GO-1 under_investigation unknown osv the component's version is not known",
        ]
    );
}

#[test]
fn the_latest_vex_statement_about_the_package_or_the_part_decides() {
    let kit = kit();
    import_records(&kit, &[("go.json", GO)], &[]);
    let part = |product: &str| {
        format!(
            r#"{{"@id":"{product}","subcomponents":[{{"@id":"pkg:golang/golang.org/x/net"}}]}}"#
        )
    };
    let not_run = r#","justification":"vulnerable_code_not_in_execute_path""#;
    // About another vulnerability, another package, another part: nothing changes.
    for (name, product) in [
        ("CVE-9", part("pkg:rpm/test/zeta")),
        ("CVE-1", part("pkg:rpm/test/zeta")),
        (
            "CVE-1",
            r#"{"@id":"pkg:rpm/test/alpha","subcomponents":[{"@id":"pkg:golang/other"}]}"#
                .to_owned(),
        ),
    ] {
        state(
            &kit,
            openvex(
                name,
                &product,
                "not_affected",
                not_run,
                "2026-01-01T00:00:00Z",
            ),
        );
    }
    assert_eq!(lines(&kit, 1)[0], "GO-1 affected alpha osv -");
    let first = openvex(
        "CVE-1",
        &part("pkg:rpm/test/alpha"),
        "not_affected",
        not_run,
        "2026-01-02T00:00:00Z",
    );
    let digest = state(&kit, first);
    assert_eq!(
        lines(&kit, 1),
        [
            "GO-1 not_affected alpha vex vulnerable_code_not_in_execute_path",
            "GO-1 fixed beta osv -",
        ]
    );
    assert_eq!(findings(&kit, 1, 10)[0].vex, Some(digest));
    // Later, and by the source package.
    let later = openvex(
        "GO-1",
        r#""pkg:rpm/test/alpha@1.0-1?arch=src""#,
        "under_investigation",
        "",
        "2026-01-03T00:00:00Z",
    );
    let later = state(&kit, later);
    assert_eq!(lines(&kit, 1)[0], "GO-1 under_investigation alpha vex -");
    let withdrawn = kit
        .server
        .write(move |tx| db::vex::withdraw(tx, later, Timestamp::from_unix_secs(9)));
    assert!(kit.runtime.block_on(withdrawn).unwrap());
    assert_eq!(findings(&kit, 1, 10)[0].vex, Some(digest));
}

#[test]
fn what_only_a_statement_knows_is_told_too() {
    let kit = kit();
    import_records(&kit, &[("go.json", GO)], &[]);
    let at = "2026-01-01T00:00:00Z";
    state(
        &kit,
        openvex("CVE-7", r#""pkg:rpm/test/beta""#, "fixed", "", at),
    );
    assert_eq!(
        lines(&kit, 1),
        [
            "GO-1 affected alpha osv -",
            "GO-1 fixed beta osv -",
            "CVE-7 fixed beta vex -",
        ]
    );
    let scope = Kit::scope(1);
    let query = VulnerabilityQuery {
        vulnerability: Some("CVE-1".to_owned()),
        status: vec![VulnerabilityStatus::Affected],
    };
    let page =
        kit.ask(move |db| questions::vulnerabilities(db, &scope, &query, Cursor::default(), 10));
    assert_eq!(
        page.items.iter().map(line).collect::<Vec<_>>(),
        ["GO-1 affected alpha osv -"]
    );
    for bad in [
        "",
        "x-1-1-1",
        "a-1",
        "a--1-1-1",
        "a-99999999999999999999-1-1",
    ] {
        assert!(bad.parse::<Cursor>().is_err(), "{bad:?}");
    }
}

#[test]
fn an_answer_tells_what_was_imported_and_when() {
    let kit = kit();
    let asked = || {
        let (scope, query) = (Kit::scope(1), VulnerabilityQuery::default());
        let page = kit
            .ask(move |db| questions::vulnerabilities(db, &scope, &query, Cursor::default(), 10));
        page.advisories.unwrap()
    };
    let none = asked();
    assert_eq!((none.records, none.imported_at), (0, None));
    let before = crate::app::now();
    import_records(
        &kit,
        &[("go.json", GO), ("rpm.json", RPM)],
        &["AlmaLinux:9"],
    );
    let two = asked();
    assert_eq!(two.records, 2);
    assert!(two.imported_at.is_some_and(|at| at >= before), "{two:?}");
    import_records(&kit, &[("go.json", GO)], &[]);
    assert_eq!(asked().records, 1);
    // Imported by an earlier version.
    let forget = |tx: &rusqlite::Transaction<'_>| {
        tx.execute("DELETE FROM state WHERE key <> 'osv_generation'", [])?;
        Ok::<_, db::DbError>(())
    };
    kit.runtime.block_on(kit.index.db.write(forget)).unwrap();
    let one = asked();
    assert_eq!((one.records, one.imported_at), (1, None));
}

#[test]
fn a_zip_is_read_within_limits_and_what_is_none_leaves_the_advisories_in_use() {
    let kit = kit();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.zip");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, json) in [("GO-1.json", GO), ("README.md", "x"), ("bad.json", "[")] {
        zip.start_file(name, options).unwrap();
        zip.write_all(json.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    let run = |path: &std::path::Path| kit.runtime.block_on(import(kit.dir.path(), path, &[]));
    let done = run(&path).unwrap();
    assert_eq!((done.records, done.unreadable_total), (1, 1));
    assert_eq!(lines(&kit, 1).len(), 2);
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(
        run(empty.path()),
        Err(ImportError::Nothing { .. })
    ));
    assert!(matches!(
        run(&kit.dir.path().join("sbom-index.db")),
        Err(ImportError::Zip { .. })
    ));
    assert!(matches!(
        run(&folder.path().join("none")),
        Err(ImportError::Read { .. })
    ));
    assert_eq!(lines(&kit, 1).len(), 2);
}
