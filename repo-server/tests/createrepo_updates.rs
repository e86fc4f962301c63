//! Runs after runs: what an update writes, what a run leaves behind and where, and changes of records.

mod createrepo_support;

use createrepo_support::*;
use repo_model::Timestamp;
use repo_server::createrepo::*;
use repo_server::repodata::{ChecksumType, Codec};
use std::fs;
use std::time::Duration;

/// So that a file is older than the second in which it is scanned.
fn let_a_second_pass() {
    std::thread::sleep(Duration::from_millis(1_100));
}

#[test]
fn an_update_of_any_form_is_what_a_run_from_nothing_writes_and_reads_only_the_new_package() {
    for (codec, zchunk, database) in [
        (Codec::ZSTD, true, false),
        (Codec::Gzip, true, true),
        (Codec::Xz, true, true),
        (Codec::Xz, false, false),
        (Codec::None, false, false),
    ] {
        let root = tempfile::tempdir().unwrap();
        fill(root.path(), 60);
        let_a_second_pass();
        let mut first = with_codec(root.path(), codec);
        first.at = Timestamp::from_unix_secs(1_763_632_800);
        first.metadata.zchunk = zchunk;
        first.database = database;
        let mut update = first.clone();
        run(&first).unwrap();
        fs::write(root.path().join("new.rpm"), rpm("new", "1")).unwrap();
        update.reuse = Reuse::Unchanged;
        update.keep_additional = true;
        update.now = now();
        assert_eq!(run(&update).unwrap().read, ["new.rpm"], "{codec:?}");
        let updated = repomd(root.path());
        fs::remove_dir_all(root.path().join("repodata")).unwrap();
        run(&first).unwrap();
        assert_eq!(repomd(root.path()), updated, "{codec:?} {zchunk}");
        let report = checked(root.path());
        assert!(report.passed, "{:#?}", report.findings);
    }
}

#[test]
fn nothing_but_repodata_appears_in_the_directory_and_the_state_lies_where_it_is_put() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("repository");
    fill(&directory, 2);
    let names = || -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let mut before = names();
    let mut request = request(&directory);
    let cache = root.path().join("cache/deep");
    request.state = Some(state_file(&cache, &directory, &directory));
    let_a_second_pass();
    request.now = now();
    run(&request).unwrap();
    before.push("repodata".to_owned());
    before.sort();
    assert_eq!(names(), before);
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
    request.reuse = Reuse::Unchanged;
    assert!(run(&request).unwrap().read.is_empty());
    // Another directory has another state, and without any everything is read.
    let other = state_file(&cache, root.path(), &directory);
    assert_ne!(Some(&other), request.state.as_ref());
    request.state = None;
    assert_eq!(run(&request).unwrap().read.len(), 2);
}

#[test]
fn an_update_with_zchunk_gives_carried_records_that_form_too() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 1);
    run(&request(root.path())).unwrap();
    let change = ModifyRequest {
        repository: root.path().to_owned(),
        at: now(),
    };
    let addition = Addition {
        record_type: "updateinfo".to_owned(),
        file_name: "updateinfo.xml".to_owned(),
        bytes: b"<updates/>".to_vec(),
        codec: Codec::Gzip,
        checksum: ChecksumType::Sha256,
        names: FileNames::Unique,
        zchunk: false,
    };
    modifyrepo(&change, vec![Change::Add(addition)]).unwrap();
    let mut request = request(root.path());
    request.keep_additional = true;
    request.metadata.zchunk = true;
    run(&request).unwrap();
    assert!(
        stems(root.path()).contains(&"updateinfo.xml.zck".to_owned()),
        "{:?}",
        stems(root.path())
    );
    let first = repomd(root.path());
    run(&request).unwrap();
    assert_eq!(repomd(root.path()).matches("\"updateinfo_zck\"").count(), 1);
    assert_eq!(first.matches("\"updateinfo_zck\"").count(), 1);
    assert!(checked(root.path()).passed);
}

#[test]
fn several_changes_of_records_are_one_step_or_none() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 1);
    run(&request(root.path())).unwrap();
    let modify = ModifyRequest {
        repository: root.path().to_owned(),
        at: now(),
    };
    let add = |kind: &str, zchunk| {
        Change::Add(Addition {
            record_type: kind.to_owned(),
            file_name: format!("{kind}.xml"),
            bytes: b"<x/>".to_vec(),
            codec: Codec::Gzip,
            checksum: ChecksumType::Sha256,
            names: FileNames::Unique,
            zchunk,
        })
    };
    let before = repomd(root.path());
    let names = stems(root.path());
    let remove = |kind: &str| Change::Remove(kind.to_owned());
    let outcome = modifyrepo(&modify, vec![add("updateinfo", true), remove("productid")]);
    assert!(matches!(outcome, Err(CreaterepoError::NoRecord { .. })));
    assert_eq!(
        (repomd(root.path()), stems(root.path())),
        (before, names.clone())
    );

    modifyrepo(&modify, vec![add("updateinfo", true), add("group", false)]).unwrap();
    let wanted = ["group.xml.gz", "updateinfo.xml.gz", "updateinfo.xml.zck"];
    for name in wanted {
        assert!(stems(root.path()).contains(&name.to_owned()), "{name}");
    }
    assert!(checked(root.path()).passed);
    // What goes takes its zchunk form along, and what comes and goes leaves nothing.
    modifyrepo(
        &modify,
        vec![
            remove("updateinfo"),
            add("odd", false),
            remove("odd"),
            remove("group"),
        ],
    )
    .unwrap();
    assert_eq!(stems(root.path()), names);
}
