//! Runs over a directory of packages: what they write, what they refuse, and what a repository
//! looks like at every moment of them.

mod createrepo_support;

use createrepo_support::*;
use repo_model::Timestamp;
use repo_server::createrepo::*;
use repo_server::repodata::{ChecksumType, Codec, GroupForm};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// So that a file is older than the second in which it is scanned.
fn let_a_second_pass() {
    std::thread::sleep(Duration::from_millis(1_100));
}

#[test]
fn every_codec_and_checksum_makes_a_repository_that_passes_the_check() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 7);
    for codec in [Codec::ZSTD, Codec::Gzip, Codec::Xz, Codec::None] {
        for checksum in [ChecksumType::Sha256, ChecksumType::Sha512] {
            let mut request = with_codec(root.path(), codec);
            request.metadata.checksum = checksum;
            request.metadata.zchunk = true;
            request.metadata.filelists_ext = true;
            assert_eq!(run(&request).unwrap().packages, 7);
            let report = checked(root.path());
            assert!(
                report.passed,
                "{codec:?} {checksum:?}: {:#?}",
                report.findings
            );
            assert_eq!((report.packages, report.packages_read), (7, 7));
            assert_eq!(
                repomd(root.path()).contains("sha512"),
                checksum == ChecksumType::Sha512
            );
        }
    }
}

#[test]
fn equal_input_gives_equal_bytes_whatever_was_there_before() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 5);
    let mut request = request(root.path());
    request.at = Timestamp::from_unix_secs(1_763_632_800);
    run(&request).unwrap();
    let first = repomd(root.path());
    let extra = root.path().join("later.rpm");
    fs::write(&extra, rpm("later", "1")).unwrap();
    run(&request).unwrap();
    assert_ne!(repomd(root.path()), first);
    fs::remove_file(extra).unwrap();
    request.reuse = Reuse::Unchanged;
    run(&request).unwrap();
    assert_eq!(repomd(root.path()), first);
    assert!(first.contains("<revision>1763632800</revision>"));
}

/// Requests of all forms that a run can write.
fn every_form(directory: &Path) -> Vec<Request> {
    let mut forms = Vec::new();
    for codec in [Codec::ZSTD, Codec::Gzip, Codec::Xz, Codec::None] {
        for more in [false, true] {
            let mut request = with_codec(directory, codec);
            request.metadata.zchunk = more;
            request.metadata.filelists_ext = more;
            request.metadata.open_checksums = !more;
            if more {
                request.metadata.checksum = ChecksumType::Sha512;
            }
            request.at = Timestamp::from_unix_secs(1_763_632_800);
            // Files are older than the second of the run then, and known to the next one.
            request.now = request.now.plus_secs(1_000);
            forms.push(request);
        }
    }
    forms
}

#[test]
fn any_sequence_of_updates_gives_the_bytes_of_a_run_from_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (shown, aside) = (root.path().join("shown"), root.path().join("aside"));
    for directory in [&shown, &aside] {
        fs::create_dir(directory).unwrap();
    }
    let name = |number: usize| match number % 50 {
        // A name that tells nothing of what is inside.
        49 => format!("x{number}.rpm"),
        _ => format!("p{number:03}-1.0-{number}.noarch.rpm"),
    };
    for number in 0..200 {
        let bytes = rpm(&format!("p{number:03}"), &number.to_string());
        fs::write(aside.join(name(number)), bytes).unwrap();
    }
    let mut shown_now = [false; 200];
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for step in 0..6 {
        for (number, shown_now) in shown_now.iter_mut().enumerate() {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Many at first, a few from then on.
            if (step == 0 && number % 8 != 0) || random.is_multiple_of(40) {
                let (here, there) = (shown.join(name(number)), aside.join(name(number)));
                match *shown_now {
                    true => fs::rename(here, there).unwrap(),
                    false => fs::rename(there, here).unwrap(),
                }
                *shown_now = !*shown_now;
            }
        }
        for (form, request) in every_form(&shown).into_iter().enumerate() {
            let (grown, fresh) = (
                root.path().join(format!("grown-{form}")),
                root.path().join(format!("fresh-{form}-{step}")),
            );
            let mut update = request.clone();
            update.output = grown.clone();
            update.state = Some(root.path().join(format!("state-{form}")));
            update.reuse = Reuse::Unchanged;
            let read = run(&update).unwrap().read.len();
            let expected = shown_now.iter().filter(|shown| **shown).count();
            assert!(
                step == 0 || read < expected / 2,
                "{read} of {expected} read"
            );
            let mut anew = request;
            anew.output = fresh.clone();
            anew.state = None;
            assert_eq!(run(&anew).unwrap().packages, expected);
            // It has every file's digest, so the files are equal too.
            assert_eq!(repomd(&grown), repomd(&fresh), "form {form}, step {step}");
        }
    }
}

#[test]
fn an_update_reads_only_what_changed_and_notices_a_change_of_equal_size_and_mtime() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 6);
    let_a_second_pass();
    let mut request = request(root.path());
    assert_eq!(run(&request).unwrap().read.len(), 6);
    request.reuse = Reuse::Unchanged;
    assert!(run(&request).unwrap().read.is_empty());

    fs::write(root.path().join("new.rpm"), rpm("new", "1")).unwrap();
    let swapped = root.path().join("p00-1.noarch.rpm");
    let before = fs::metadata(&swapped).unwrap();
    fs::write(&swapped, rpm("p00", "2")).unwrap();
    let handle = fs::File::options().write(true).open(&swapped).unwrap();
    handle.set_modified(before.modified().unwrap()).unwrap();
    assert_eq!(fs::metadata(&swapped).unwrap().len(), before.len());
    request.now = now();
    assert_eq!(run(&request).unwrap().read, ["new.rpm", "p00-1.noarch.rpm"]);
    assert!(checked(root.path()).passed);

    // With --skip-stat a known path is believed, at the user's own risk.
    fs::write(&swapped, rpm("p00", "3")).unwrap();
    request.reuse = Reuse::KnownPaths;
    assert!(run(&request).unwrap().read.is_empty());
    assert!(codes(&checked(root.path())).contains("package-checksum"));
}

#[test]
fn a_damaged_metadata_file_or_state_costs_a_full_run_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 4);
    let_a_second_pass();
    let mut request = request(root.path());
    run(&request).unwrap();
    let whole = repomd(root.path());
    request.reuse = Reuse::Unchanged;
    let primary = file(root.path(), "-primary.xml.zst");
    let mut bytes = fs::read(&primary).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xFF;
    fs::write(&primary, &bytes).unwrap();
    run(&request).unwrap();
    assert_eq!(repomd(root.path()), whole);
    assert!(checked(root.path()).passed);
    fs::write(state_of(root.path()), b"nonsense").unwrap();
    assert_eq!(run(&request).unwrap().read.len(), 4);
    assert_eq!(repomd(root.path()), whole);
}

#[test]
fn there_is_never_a_moment_without_repomd_xml_and_the_files_it_names() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 3);
    let mut request = request(root.path());
    // All of them: on a busy machine several runs may end between two lines of the reader.
    request.retain.copies = 20;
    run(&request).unwrap();
    let (done, polls) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let text = repomd(root.path());
                assert!(text.ends_with("</repomd>\n"));
                let primary = text.split("href=\"").nth(1).unwrap();
                let href = primary.split('"').next().unwrap();
                // Superseded copies stay, so that what was just read can still be fetched.
                assert!(root.path().join(href).exists(), "{href}");
                polls.fetch_add(1, Ordering::Relaxed);
            }
        });
        for number in 0..20 {
            fs::write(
                root.path().join("turn.rpm"),
                rpm("turn", &format!("{number}")),
            )
            .unwrap();
            request.at = Timestamp::from_unix_secs(1_763_632_800 + number);
            run(&request).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(polls.into_inner() > 100);
}

#[test]
fn a_bad_package_stops_the_run_by_name_and_changes_nothing_unless_skipped() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 3);
    run(&request(root.path())).unwrap();
    let before = repomd(root.path());

    let whole = rpm("cut", "1");
    fs::write(root.path().join("cut-head.rpm"), &whole[..300]).unwrap();
    fs::write(root.path().join("cut-tail.rpm"), &whole[..whole.len() - 1]).unwrap();
    fs::write(root.path().join("html.rpm"), "<html>404</html>".repeat(40)).unwrap();
    let control = repo_model::rpm::testkit::Rpm::binary("control").set(
        repo_model::rpm::tag::SUMMARY,
        repo_model::rpm::testkit::Field::str("a\x1bb"),
    );
    fs::write(root.path().join("control.rpm"), control.bytes()).unwrap();
    std::os::unix::fs::symlink("nowhere", root.path().join("link.rpm")).unwrap();

    let mut request = request(root.path());
    let Err(CreaterepoError::BadPackages(bad)) = run(&request) else {
        panic!("not refused");
    };
    let told: Vec<String> = bad
        .iter()
        .map(|b| format!("{}: {}", b.path, b.error))
        .collect();
    for (told, wanted) in told.iter().zip([
        "control.rpm: summary holds U+001B at byte 1",
        "cut-head.rpm: the ",
        "cut-tail.rpm: it is cut off",
        "html.rpm: not an RPM",
        "link.rpm: it cannot be read",
    ]) {
        assert!(told.starts_with(wanted), "{told}");
    }
    assert!(told[1].contains("offset"), "{}", told[1]);
    assert_eq!(told.len(), 5);
    assert_eq!(repomd(root.path()), before);

    request.bad_packages = BadPackages::Skip;
    let summary = run(&request).unwrap();
    assert_eq!((summary.packages, summary.skipped.len()), (3, 5));
    assert!(checked(root.path()).passed);
}

#[test]
fn different_packages_of_one_name_are_refused_and_equal_ones_listed_once() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 2);
    fs::write(root.path().join("copy.rpm"), rpm("p00", "1")).unwrap();
    let mut request = request(root.path());
    let summary = run(&request).unwrap();
    assert_eq!(summary.packages, 2);
    assert_eq!(
        summary.same_files,
        [("p00-1.noarch.rpm".to_owned(), "copy.rpm".to_owned())]
    );
    let other = repo_model::rpm::testkit::Rpm::binary("p00").set(
        repo_model::rpm::tag::RELEASE,
        repo_model::rpm::testkit::Field::str("1"),
    );
    fs::write(root.path().join("other.rpm"), other.bytes()).unwrap();
    assert!(matches!(run(&request), Err(CreaterepoError::Duplicates(_))));
    request.duplicates = Duplicates::KeepAll;
    assert_eq!(run(&request).unwrap().packages, 3);
    request.duplicates = Duplicates::KeepLast;
    assert_eq!(run(&request).unwrap().packages, 2);
}

#[test]
fn packages_are_chosen_by_pattern_list_and_links() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 4);
    std::os::unix::fs::symlink("p00-1.noarch.rpm", root.path().join("link.rpm")).unwrap();
    let mut request = request(root.path());
    request.selection.skip_symlinks = true;
    assert!(run(&request).unwrap().same_files.is_empty());
    request.selection.excludes = vec!["sub/*".to_owned()];
    assert_eq!(run(&request).unwrap().packages, 2);
    request.selection.excludes.clear();
    request.selection.only = Some(vec!["./sub/p01-1.noarch.rpm".to_owned()]);
    assert_eq!(run(&request).unwrap().packages, 1);
    // The list of the metadata in place, not what is in the directory.
    request.selection.only = None;
    request.recycle_list = true;
    assert_eq!(run(&request).unwrap().packages, 1);
    request.recycle_list = false;
    request.selection.only = Some(vec!["absent.rpm".to_owned()]);
    assert!(matches!(
        run(&request),
        Err(CreaterepoError::BadPackages(_))
    ));
}

#[test]
fn records_that_are_not_made_from_packages_are_carried_by_an_update_and_named_otherwise() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 2);
    let comps = root.path().join("comps.xml");
    fs::write(&comps, "<comps></comps>").unwrap();
    let mut request = request(root.path());
    request.group_file = Some(GroupFile {
        path: comps.clone(),
        codec: Codec::Gzip,
        form: GroupForm::PlainAndGzip,
    });
    run(&request).unwrap();
    assert!(stems(root.path()).contains(&"comps.xml.gz".to_owned()));
    let modify = ModifyRequest {
        repository: root.path().to_owned(),
        at: now(),
    };
    let addition = |text: &str| Addition {
        record_type: "updateinfo".to_owned(),
        file_name: "updateinfo.xml".to_owned(),
        bytes: text.as_bytes().to_vec(),
        codec: Codec::ZSTD,
        checksum: ChecksumType::Sha256,
        names: FileNames::Unique,
        zchunk: false,
    };
    let add = |text: &str| modifyrepo(&modify, vec![Change::Add(addition(text))]).unwrap();
    add("<updates/>");
    let removal = add("<updates><update/></updates>");
    assert_eq!(removal.files.len(), 1);
    let report = checked(root.path());
    assert!(report.passed, "{:#?}", report.findings);
    assert_eq!(report.files.len(), 6);

    // Signed and annotated by others.
    fs::write(root.path().join("repodata/repomd.xml.asc"), "old").unwrap();
    fs::write(root.path().join("repodata/notes.txt"), "mine").unwrap();
    request.reuse = Reuse::Unchanged;
    request.keep_additional = true;
    request.group_file = None;
    let summary = run(&request).unwrap();
    assert!(summary.signature_dropped && summary.dropped_records.is_empty());
    let names = stems(root.path());
    for kept in [
        "comps.xml",
        "comps.xml.gz",
        "updateinfo.xml.zst",
        "notes.txt",
    ] {
        assert!(names.contains(&kept.to_owned()), "{kept} in {names:?}");
    }
    assert!(!names.contains(&"repomd.xml.asc".to_owned()));
    assert!(checked(root.path()).passed);

    request.keep_additional = false;
    let summary = run(&request).unwrap();
    assert_eq!(summary.dropped_records, ["group", "group_gz", "updateinfo"]);
    assert!(matches!(
        modifyrepo(&modify, vec![Change::Remove("updateinfo".to_owned())]),
        Err(CreaterepoError::NoRecord { .. })
    ));
}

#[test]
fn superseded_files_stay_as_long_as_asked() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 1);
    let mut request = request(root.path());
    let count = |end: &str| {
        stems(root.path())
            .iter()
            .filter(|name| *name == end)
            .count()
    };
    let runs = [(0, 1), (2, 2), (2, 3), (2, 3), (0, 1)];
    for (number, (copies, wanted)) in runs.into_iter().enumerate() {
        request.retain.copies = copies;
        fs::write(
            root.path().join("turn.rpm"),
            rpm("turn", &number.to_string()),
        )
        .unwrap();
        run(&request).unwrap();
        assert_eq!(count("primary.xml.zst"), wanted, "run {number}");
        assert!(checked(root.path()).passed);
    }
    request.retain.age = Some(Duration::from_secs(3600));
    fs::write(root.path().join("turn.rpm"), rpm("turn", "last")).unwrap();
    run(&request).unwrap();
    assert_eq!(count("primary.xml.zst"), 2);
}

#[test]
fn names_locations_times_and_tags_are_written_as_asked() {
    let root = tempfile::tempdir().unwrap();
    fill(&root.path().join("in"), 2);
    let output = root.path().join("out");
    let mut request = request(&root.path().join("in"));
    request.output = output.clone();
    request.names = FileNames::Simple;
    request.location = Location {
        prefix: "../x/".to_owned(),
        cut_dirs: 1,
    };
    // A location that leaves the repository is refused, whoever asks for it.
    assert!(matches!(
        run(&request),
        Err(CreaterepoError::BadPackages(_))
    ));
    request.location.prefix = "Packages/".to_owned();
    request.metadata = repo_server::repodata::Options {
        codec: Codec::None,
        revision: Some("7".to_owned()),
        content_tags: vec!["c".to_owned()],
        ..Default::default()
    };
    request.at = Timestamp::from_unix_secs(7);
    request.latest_file_time = Some(Timestamp::from_unix_secs(5));
    request.stamp_files = true;
    run(&request).unwrap();
    assert_eq!(
        stems(&output),
        ["filelists.xml", "other.xml", "primary.xml", "repomd.xml"]
    );
    let primary = fs::read_to_string(output.join("repodata/primary.xml")).unwrap();
    assert!(primary.contains("href=\"Packages/p00-1.noarch.rpm\""));
    assert!(
        primary.contains("href=\"Packages/p01-1.noarch.rpm\""),
        "{primary}"
    );
    assert!(primary.contains("<time file=\"5\""));
    let text = repomd(&output);
    assert!(text.contains("<revision>7</revision>") && text.contains("<content>c</content>"));
    assert!(text.contains("<timestamp>7</timestamp>"));
    let modified = fs::metadata(output.join("repodata/primary.xml"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(modified, std::time::UNIX_EPOCH + Duration::from_secs(7));
}

#[test]
fn a_run_that_fails_while_it_writes_leaves_nothing_and_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 2);
    run(&request(root.path())).unwrap();
    let before = repomd(root.path());
    let mut failing = request(root.path());
    failing.metadata.revision = Some("a\u{1b}b".to_owned());
    assert!(matches!(run(&failing), Err(CreaterepoError::Metadata(_))));
    failing.metadata.revision = None;
    failing.group_file = Some(GroupFile {
        path: root.path().join("absent.xml"),
        codec: Codec::Gzip,
        form: GroupForm::Compressed,
    });
    assert!(matches!(run(&failing), Err(CreaterepoError::Input { .. })));
    assert_eq!(repomd(root.path()), before);
    let left: Vec<_> = fs::read_dir(root.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".repodata"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_empty_directory_is_a_repository_without_packages() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(run(&request(root.path())).unwrap().packages, 0);
    let report = checked(root.path());
    assert!(report.passed && report.packages == 0);
}
