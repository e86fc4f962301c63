//! Upstreams that fail in part, and several of them for one repository.

use crate::kit::*;
use crate::server::{Reply, Server};
use mirrors::sync::{SyncError, Verify, sync};
use std::fs;
use std::time::{Duration, Instant};

const BIG: &str = "Packages/big-1-1.noarch.rpm";

#[test]
fn a_download_that_broke_off_goes_on_where_it_stopped() {
    let root = tempfile::tempdir().unwrap();
    let upstream = root.path().join("upstream");
    write_repository(&upstream, &[Package::new("big", 300_000)], 100);
    let server = Server::start(&upstream, |ask| match (ask.path.as_str(), ask.before) {
        (BIG, 0 | 1) => Reply::Cut(100_000),
        _ => Reply::Well,
    });
    let told = Told::default();
    let copy = root.path().join("copy");
    sync(
        &request(&[server.url()], &copy),
        Verify::Nothing,
        None,
        &told,
    )
    .unwrap();
    let asked = server.take_log();
    let from: Vec<_> = asked
        .iter()
        .filter(|ask| ask.path == BIG)
        .map(|ask| ask.from())
        .collect();
    assert_eq!(from, [None, Some(100_000), Some(200_000)]);
    assert_eq!(told.of(BIG), ("Fetched".to_owned(), Some(300_000)));
    read_copy(&copy);
}

#[test]
fn a_later_sync_goes_on_with_the_part_of_an_earlier_one() {
    let root = tempfile::tempdir().unwrap();
    let upstream = root.path().join("upstream");
    write_repository(&upstream, &[Package::new("big", 300_000)], 100);
    let cut = Server::start(&upstream, |ask| match ask.path.as_str() {
        BIG if ask.from().is_some() => Reply::Status(503),
        BIG => Reply::Cut(100_000),
        _ => Reply::Well,
    });
    let copy = root.path().join("copy");
    let error = run(&request(&[cut.url()], &copy)).unwrap_err();
    assert!(
        matches!(error, SyncError::Files { count: 1, .. }),
        "{error}"
    );
    assert!(!copy.join("repodata").exists());
    let good = Server::good(&upstream);
    let told = Told::default();
    sync(&request(&[good.url()], &copy), Verify::Nothing, None, &told).unwrap();
    assert_eq!(told.of(BIG), ("Fetched".to_owned(), Some(200_000)));

    // A server without ranges, and a part that is not the start of the file, cost a whole fetch.
    for rule in [Reply::NoRange, Reply::Well] {
        let other = root.path().join("other");
        let _ = fs::remove_dir_all(&other);
        let partial = partial(&other, &fs::read(upstream.join(BIG)).unwrap());
        fs::create_dir_all(partial.parent().unwrap()).unwrap();
        fs::write(partial, b"wrong start").unwrap();
        let no_range = matches!(rule, Reply::NoRange);
        let server = Server::start(&upstream, move |_| match no_range {
            true => Reply::NoRange,
            false => Reply::Well,
        });
        run(&request(&[server.url()], &other)).unwrap();
        read_copy(&other);
    }
}

#[test]
fn wrong_files_of_one_upstream_come_from_another_and_the_report_says_so() {
    let root = tempfile::tempdir().unwrap();
    let upstream = root.path().join("upstream");
    write_repository(&upstream, &packages(40), 100);
    let lying = Server::start(&upstream, |ask| match ask.path.ends_with(".rpm") {
        true => Reply::Other(b"lies".to_vec()),
        false => Reply::Well,
    });
    let damaging = Server::start(&upstream, |ask| {
        let Some(name) = ask.path.strip_prefix("Packages/p") else {
            return Reply::Well;
        };
        // The right size, one byte wrong.
        let number: usize = name.split('-').next().unwrap().parse().unwrap();
        let mut bytes = Package::new(&format!("p{number}"), 4_000 + number).bytes;
        bytes[number] ^= 1;
        Reply::Other(bytes)
    });
    let good = Server::good(&upstream);
    let urls = [lying.url(), damaging.url(), good.url()];
    let copy = root.path().join("copy");
    let told = Told::default();
    let done = sync(&request(&urls, &copy), Verify::Nothing, None, &told).unwrap();
    assert_eq!(done.fetched, 41);
    assert_eq!(read_copy(&copy).len(), 40);
    let problems = told.problems.lock().unwrap();
    assert!(
        problems.iter().any(|text| text.contains("has 4 bytes")),
        "{problems:?}"
    );
    assert!(
        problems.iter().any(|text| text.contains("its checksum is")),
        "{problems:?}"
    );
    // Whoever gives wrong files is not asked for all of them.
    let asked = lying.take_log().len() + damaging.take_log().len();
    assert!(asked < 40, "{asked}");
}

#[test]
fn dead_silent_and_stale_upstreams_are_passed_over() {
    let root = tempfile::tempdir().unwrap();
    let (upstream, stale) = (root.path().join("upstream"), root.path().join("stale"));
    write_repository(&stale, &packages(3), 50);
    write_repository(&upstream, &packages(5), 100);
    let good = Server::good(&upstream);
    let stale = Server::good(&stale);
    let silent = Server::start(&upstream, |_| Reply::Silence);
    let urls = [
        "http://127.0.0.1:1/".to_owned(),
        silent.url(),
        stale.url(),
        good.url(),
    ];
    let copy = root.path().join("copy");
    let start = Instant::now();
    run(&request(&urls, &copy)).unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(read_copy(&copy).len(), 5);
}

#[test]
fn a_slow_upstream_is_given_up_for_a_faster_one() {
    let root = tempfile::tempdir().unwrap();
    let upstream = root.path().join("upstream");
    write_repository(&upstream, &packages(2), 100);
    let slow = Server::start(&upstream, |ask| match ask.path.ends_with(".rpm") {
        true => Reply::Trickle,
        false => Reply::Well,
    });
    let good = Server::good(&upstream);
    let copy = root.path().join("copy");
    let start = Instant::now();
    let told = Told::default();
    let request = request(&[slow.url(), good.url()], &copy);
    sync(&request, Verify::Nothing, None, &told).unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    assert!(
        told.problems
            .lock()
            .unwrap()
            .iter()
            .any(|text| text.contains("too slow"))
    );
    read_copy(&copy);
}

#[test]
fn packages_that_nobody_has_leave_the_copy_as_it_was_unless_it_may_go_on() {
    let root = tempfile::tempdir().unwrap();
    let upstream = root.path().join("upstream");
    write_repository(&upstream, &packages(3), 100);
    let server = Server::good(&upstream);
    let copy = root.path().join("copy");
    let mut request = request(&[server.url()], &copy);
    run(&request).unwrap();
    let more = packages(6);
    write_repository(&upstream, &more, 200);
    fs::remove_file(upstream.join(&more[4].href)).unwrap();
    let error = run(&request).unwrap_err();
    let SyncError::Files {
        count: 1, first, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(first, &more[4].href);
    assert_eq!(read_copy(&copy).len(), 3);
    request.skip_missing = true;
    let done = run(&request).unwrap();
    assert!(done.incomplete);
    assert!(copy.join(&more[5].href).is_file() && !copy.join(&more[4].href).exists());
    // It is looked for each time, and found when it is there.
    write_repository(&upstream, &more, 200);
    assert!(!run(&request).unwrap().incomplete);
    assert_eq!(read_copy(&copy).len(), 6);
}

#[test]
fn an_upstream_that_publishes_during_the_sync_is_followed() {
    let root = tempfile::tempdir().unwrap();
    let upstream = root.path().join("upstream");
    write_repository(&upstream, &packages(10), 100);
    let root_of_all = upstream.clone();
    let server = Server::start(&upstream, move |ask| {
        if ask.path.ends_with("p3-1-1.noarch.rpm") && ask.before == 0 {
            // All that was there goes, as with publishers that keep nothing.
            let _ = fs::remove_dir_all(root_of_all.join("Packages"));
            let _ = fs::remove_dir_all(root_of_all.join("repodata"));
            let mut new = packages(12);
            new.drain(0..6);
            new.iter_mut().for_each(|package| package.bytes.push(b'!'));
            write_repository(&root_of_all, &new, 200);
        }
        Reply::Well
    });
    let copy = root.path().join("copy");
    let mut request = request(&[server.url()], &copy);
    request.delete_after = Some(Duration::ZERO);
    let done = run(&request).unwrap();
    assert_eq!(done.revision, "200");
    assert_eq!(read_copy(&copy).len(), 6);
    // What was fetched for the first metadata, and is in the second no more, is not forgotten.
    assert!(done.deleted > 0);
    assert_eq!(tree(&copy.join("Packages")).len(), 6);
}

#[test]
fn when_all_upstreams_go_away_the_sync_ends_soon_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    let upstream = root.path().join("upstream");
    write_repository(&upstream, &packages(500), 100);
    let server = Server::start(&upstream, |ask| match ask.path.ends_with(".rpm") {
        true => Reply::Status(503),
        false => Reply::Well,
    });
    let start = Instant::now();
    let error = run(&request(&[server.url()], &root.path().join("copy"))).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    assert!(server.take_log().len() < 200);
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_directory_is_an_upstream_too() {
    let root = tempfile::tempdir().unwrap();
    let upstream = root.path().join("up stream");
    let odd = Package {
        href: "g/gtk+-1~rc1^git-1.noarch.rpm".to_owned(),
        ..Package::new("odd", 10)
    };
    write_repository(&upstream, std::slice::from_ref(&odd), 100);
    let url = format!("file://{}", upstream.display());
    run(&request(&[url], &root.path().join("a"))).unwrap();
    assert_eq!(read_copy(&root.path().join("a"))[0].0, odd.href);
    let server = Server::good(&upstream);
    run(&request(&[server.url()], &root.path().join("b"))).unwrap();
    assert_eq!(read_copy(&root.path().join("b"))[0].0, odd.href);
}
