//! What a sync may believe of the syncs before it: they may have had other keys, another store, or a bad end.

use crate::copies::{Lab, Word, sign};
use crate::kit::*;
use crate::server::Server;
use mirrors::sync::{SyncError, Unwatched, Verify, sync};
use repo_model::FileDigest;
use std::fs;
use std::time::Duration;

#[test]
fn a_copy_made_without_keys_is_verified_by_the_first_sync_that_has_some() {
    for signed in [None, Some(b"evil")] {
        let lab = Lab::new();
        write_repository(&lab.upstream(), &packages(2), 100);
        if let Some(word) = signed {
            sign(&lab.upstream(), word);
        }
        let server = Server::good(&lab.upstream());
        let request = request(&[server.url()], &lab.copy());
        run(&request).unwrap();
        let keys = Word::good();
        let verify = Verify::Repomd(&keys);
        let refused = sync(&request, verify, None, &Unwatched);
        assert!(
            matches!(refused, Err(SyncError::NoMetadata { .. })),
            "{refused:?}"
        );
        sign(&lab.upstream(), b"good");
        sync(&request, verify, None, &Unwatched).unwrap();
        assert!(lab.copy().join("repodata/repomd.xml.asc").is_file());
        server.take_log();
        assert!(!sync(&request, verify, None, &Unwatched).unwrap().changed);
        assert_eq!(server.take_log().len(), 1);
    }
}

#[test]
fn a_package_that_was_dropped_before_packages_were_verified_is_verified_when_it_is_back() {
    let lab = Lab::new();
    let keys = Word::good();
    let strict = Verify::RepomdAndPackages(&keys);
    let server = Server::good(&lab.upstream());
    let request = request(&[server.url()], &lab.copy());
    write_repository(&lab.upstream(), &packages(2), 100);
    run(&request).unwrap();
    write_repository(&lab.upstream(), &[], 200);
    sign(&lab.upstream(), b"good");
    sync(&request, strict, None, &Unwatched).unwrap();
    write_repository(&lab.upstream(), &packages(2), 300);
    sign(&lab.upstream(), b"good");
    let refused = sync(&request, strict, None, &Unwatched);
    assert!(
        matches!(refused, Err(SyncError::Files { count: 2, .. })),
        "{refused:?}"
    );
}

#[test]
fn a_sync_that_was_killed_while_it_wrote_things_down_does_not_open_the_way_back() {
    let lab = Lab::new();
    let server = Server::good(&lab.upstream());
    let request = request(&[server.url()], &lab.copy());
    let kept = lab.copy().join(".hallmark/upstream/repomd.xml");
    let served = lab.upstream().join("repodata/repomd.xml");
    for torn in [true, false] {
        write_repository(&lab.upstream(), &packages(2), 200);
        run(&request).unwrap();
        let mut floor = 200;
        if torn {
            fs::write(&kept, b"<repo").unwrap();
        } else {
            // The next pointer was kept and served, and the state was not written.
            write_repository(&lab.upstream(), &packages(3), 300);
            fs::copy(&served, &kept).unwrap();
            floor = 300;
        }
        write_repository(&lab.upstream(), &packages(1), 100);
        let error = run(&request).unwrap_err();
        assert!(
            matches!(error, SyncError::Older { theirs: 100, ours } if ours == floor),
            "{error}"
        );
    }
}

#[test]
fn an_operators_own_file_at_a_place_of_the_journal_is_not_removed() {
    let lab = Lab::new();
    write_repository(&lab.upstream(), &packages(2), 100);
    let server = Server::good(&lab.upstream());
    let mut request = request(&[server.url()], &lab.copy());
    request.delete_after = Some(Duration::ZERO);
    run(&request).unwrap();
    let stray = FileDigest::of(b"stray");
    write(&lab.copy(), "Packages/own.rpm", b"own");
    write(&lab.copy(), "Packages/stray.rpm", b"stray");
    let journal =
        format!("boot x\nplace {stray} Packages/own.rpm\nplace {stray} Packages/stray.rpm\n");
    write(&lab.copy(), ".hallmark/journal", journal.as_bytes());
    run(&request).unwrap();
    assert!(lab.copy().join("Packages/own.rpm").is_file());
    assert!(!lab.copy().join("Packages/stray.rpm").exists());
}

#[test]
fn a_key_beside_the_metadata_is_served_only_when_it_is_a_pinned_one() {
    for (key, pinned) in [(&b"good"[..], true), (b"evil", false)] {
        let lab = Lab::new();
        write_repository(&lab.upstream(), &packages(1), 100);
        sign(&lab.upstream(), b"good");
        write(&lab.upstream(), "repodata/repomd.xml.key", key);
        let server = Server::good(&lab.upstream());
        let request = request(&[server.url()], &lab.copy());
        let keys = Word::good();
        sync(&request, Verify::Repomd(&keys), None, &Unwatched).unwrap();
        let served = lab.copy().join("repodata/repomd.xml.key");
        assert_eq!(served.exists(), pinned);
    }
}

#[test]
fn an_object_that_was_damaged_in_a_shared_store_is_fetched_again() {
    let lab = Lab::new();
    let all = packages(3);
    write_repository(&lab.upstream(), &all, 100);
    let server = Server::good(&lab.upstream());
    let mut one = request(&[server.url()], &lab.copy());
    one.store = Some(lab.root.path().join("store"));
    run(&one).unwrap();
    let damaged = lab.copy().join(&all[1].href);
    fs::write(damaged, vec![0; all[1].bytes.len()]).unwrap();
    let other = lab.root.path().join("other");
    let mut two = request(&[server.url()], &other);
    two.store = one.store;
    let done = run(&two).unwrap();
    assert_eq!((done.fetched, done.linked), (1, 3));
    assert_eq!(read_copy(&other).len(), 3);
}

#[test]
fn a_copy_goes_on_with_an_empty_store() {
    let lab = Lab::new();
    let mut all = packages(2);
    // The same content under two names.
    let mut twin = all[0].clone();
    twin.href = "twin/p0-1-1.noarch.rpm".to_owned();
    all.push(twin);
    write_repository(&lab.upstream(), &all, 100);
    let server = Server::good(&lab.upstream());
    let mut request = request(&[server.url()], &lab.copy());
    run(&request).unwrap();
    for lost in [false, true] {
        let name = format!("store-{lost}");
        request.store = Some(lab.root.path().join(name));
        if lost {
            fs::remove_file(lab.copy().join(&all[2].href)).unwrap();
        }
        let number = all.len();
        all.push(Package::new(&format!("new{number}"), 10));
        write_repository(&lab.upstream(), &all, 100 + number as i64);
        let done = run(&request).unwrap();
        assert_eq!(done.fetched, 2, "the new one and primary");
        assert_eq!(read_copy(&lab.copy()).len(), all.len());
    }
}
