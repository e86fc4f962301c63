//! One upstream that behaves: what a copy is, and what following upstream costs.

use crate::kit::*;
use crate::server::{Reply, Server};
use mirrors::sync::{
    BoxError, FilteredMetadata, Filters, Rewrite, Signatures, SyncError, Unwatched, Verify, survey,
    sync,
};
use repo_model::rpm::Head;
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub struct Lab {
    pub root: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self { root }
    }

    pub fn upstream(&self) -> std::path::PathBuf {
        self.root.path().join("upstream")
    }

    pub fn copy(&self) -> std::path::PathBuf {
        self.root.path().join("copy")
    }
}

#[test]
fn a_copy_is_whole_and_following_an_unchanged_upstream_is_one_request() {
    let lab = Lab::new();
    write_repository(&lab.upstream(), &packages(30), 100);
    let server = Server::good(&lab.upstream());
    let request = request(&[server.url()], &lab.copy());
    let first = run(&request).unwrap();
    assert!(first.changed);
    assert_eq!((first.listed, first.taken, first.fetched), (30, 30, 31));
    assert_eq!(read_copy(&lab.copy()).len(), 30);
    server.take_log();
    let second = run(&request).unwrap();
    assert!(!second.changed, "{second:?}");
    let asked = server.take_log();
    assert_eq!(asked.len(), 1, "{asked:?}");

    // One package more costs itself and the metadata.
    let mut more = packages(30);
    more.push(Package::new("new", 10));
    write_repository(&lab.upstream(), &more, 200);
    let third = run(&request).unwrap();
    assert_eq!((third.fetched, third.had), (2, 30));
    assert_eq!(read_copy(&lab.copy()).len(), 31);
}

#[test]
fn what_was_damaged_or_removed_in_a_copy_is_put_right() {
    let lab = Lab::new();
    write_repository(&lab.upstream(), &packages(5), 100);
    let server = Server::good(&lab.upstream());
    let request = request(&[server.url()], &lab.copy());
    run(&request).unwrap();
    fs::remove_file(lab.copy().join("Packages/p1-1-1.noarch.rpm")).unwrap();
    // The store has the same file under another name, so this damages both.
    fs::write(lab.copy().join("Packages/p2-1-1.noarch.rpm"), b"x").unwrap();
    let told = Told::default();
    sync(&request, Verify::Nothing, None, &told).unwrap();
    assert_eq!(told.of("Packages/p1-1-1.noarch.rpm").0, "Linked");
    assert_eq!(told.of("Packages/p2-1-1.noarch.rpm").0, "Fetched");
    assert_eq!(read_copy(&lab.copy()).len(), 5);
}

#[test]
fn files_of_another_tools_copy_are_taken_over_and_wrong_ones_replaced() {
    let lab = Lab::new();
    let all = packages(4);
    write_repository(&lab.upstream(), &all, 100);
    write(&lab.copy(), &all[0].href, &all[0].bytes);
    write(&lab.copy(), &all[1].href, &vec![0; all[1].bytes.len()]);
    let server = Server::good(&lab.upstream());
    let told = Told::default();
    let request = request(&[server.url()], &lab.copy());
    sync(&request, Verify::Nothing, None, &told).unwrap();
    assert_eq!(told.of(&all[0].href).0, "Adopted");
    assert_eq!(told.of(&all[1].href).0, "Fetched");
    assert_eq!(read_copy(&lab.copy()).len(), 4);
}

#[test]
fn a_moved_package_is_not_fetched_again_whatever_its_checksum() {
    for kind in ["sha256", "sha512"] {
        let lab = Lab::new();
        let mut all = packages(3);
        write_with(&lab.upstream(), &all, 100, kind);
        let server = Server::good(&lab.upstream());
        let request = request(&[server.url()], &lab.copy());
        run(&request).unwrap();
        for package in &mut all {
            package.href = package.href.replace("Packages/", "moved/");
        }
        write_with(&lab.upstream(), &all, 200, kind);
        let moved = run(&request).unwrap();
        assert_eq!((moved.fetched, moved.linked), (1, 3), "{kind}");
        assert_eq!(read_copy(&lab.copy()).len(), 3);
    }
}

#[test]
fn two_copies_with_one_store_fetch_once() {
    let lab = Lab::new();
    write_repository(&lab.upstream(), &packages(6), 100);
    let server = Server::good(&lab.upstream());
    let other = lab.root.path().join("other");
    for (directory, fetched) in [(lab.copy(), 7), (other, 0)] {
        let mut request = request(&[server.url()], &directory);
        request.store = Some(lab.root.path().join("store"));
        assert_eq!(run(&request).unwrap().fetched, fetched);
        assert_eq!(read_copy(&directory).len(), 6);
    }
}

#[test]
fn a_package_that_changed_under_its_name_is_replaced_with_the_metadata() {
    let lab = Lab::new();
    let mut all = packages(3);
    write_repository(&lab.upstream(), &all, 100);
    let server = Server::good(&lab.upstream());
    let request = request(&[server.url()], &lab.copy());
    run(&request).unwrap();
    all[1].bytes = b"signed anew".to_vec();
    write_repository(&lab.upstream(), &all, 200);
    run(&request).unwrap();
    let copy = read_copy(&lab.copy());
    assert_eq!(copy[1].1, b"signed anew");
}

#[test]
fn what_upstream_dropped_stays_for_its_time_and_then_goes() {
    let lab = Lab::new();
    write_repository(&lab.upstream(), &packages(4), 100);
    let server = Server::good(&lab.upstream());
    let mut request = request(&[server.url()], &lab.copy());
    request.delete_after = Some(Duration::from_secs(3_600));
    run(&request).unwrap();
    let old_repomd = fs::read(lab.copy().join("repodata/repomd.xml")).unwrap();
    write(&lab.copy(), "Packages/own.txt", b"the operator's");
    write_repository(&lab.upstream(), &packages(2), 200);
    run(&request).unwrap();
    // A client with the old repomd.xml still finds all that it names.
    assert_eq!(read_named(&lab.copy(), &old_repomd).len(), 4);
    request.now = request.now.plus_secs(3_600);
    let later = run(&request).unwrap();
    assert_eq!(later.deleted, 2, "two packages");
    // Metadata stays a day whatever the time for packages: caches have the old repomd.xml still.
    assert_eq!(
        fs::read_dir(lab.copy().join("repodata")).unwrap().count(),
        3
    );
    request.now = request.now.plus_secs(23 * 3_600);
    assert_eq!(run(&request).unwrap().deleted, 1, "the old primary");
    let left = tree(&lab.copy().join("Packages"));
    assert_eq!(left.len(), 3, "{left:?}");
    assert_eq!(
        fs::read_dir(lab.copy().join("repodata")).unwrap().count(),
        2
    );
    assert_eq!(read_copy(&lab.copy()).len(), 2);
    let objects = tree(&lab.copy().join(".hallmark/store/sha256"));
    assert_eq!(objects.iter().filter(|path| path.is_file()).count(), 3);
}

#[test]
fn metadata_that_goes_back_in_time_is_refused_unless_it_is_asked_for() {
    let lab = Lab::new();
    write_repository(&lab.upstream(), &packages(2), 200);
    let server = Server::good(&lab.upstream());
    let mut request = request(&[server.url()], &lab.copy());
    run(&request).unwrap();
    write_repository(&lab.upstream(), &packages(1), 100);
    let error = run(&request).unwrap_err();
    assert!(matches!(
        error,
        SyncError::Older {
            theirs: 100,
            ours: 200
        }
    ));
    assert_eq!(read_copy(&lab.copy()).len(), 2);
    request.allow_older = true;
    run(&request).unwrap();
    assert_eq!(read_copy(&lab.copy()).len(), 1);
}

#[test]
fn a_dry_run_counts_bytes_and_writes_nothing() {
    let lab = Lab::new();
    let all = packages(10);
    write_repository(&lab.upstream(), &all, 100);
    let server = Server::good(&lab.upstream());
    let request = request(&[server.url()], &lab.copy());
    let seen = survey(&request, Verify::Nothing, &Unwatched).unwrap();
    let primary = primary(&all, "sha256").len() as u64;
    let bytes: u64 = all.iter().map(|package| package.bytes.len() as u64).sum();
    assert_eq!((seen.files, seen.bytes), (11, bytes + primary));
    assert!(!lab.copy().exists());
    run(&request).unwrap();
    let after = survey(&request, Verify::Nothing, &Unwatched).unwrap();
    assert_eq!(
        (after.files, after.bytes, after.same_metadata),
        (0, 0, true)
    );
}

#[test]
fn the_limit_of_bytes_a_second_holds() {
    let lab = Lab::new();
    write_repository(&lab.upstream(), &[Package::new("big", 200_000)], 100);
    let server = Server::good(&lab.upstream());
    let mut request = request(&[server.url()], &lab.copy());
    request.bytes_per_sec = Some(200_000);
    let start = Instant::now();
    run(&request).unwrap();
    assert!(
        start.elapsed() > Duration::from_millis(800),
        "{:?}",
        start.elapsed()
    );
}

/// Believes signatures that equal a word.
pub struct Word {
    pub word: &'static [u8],
    pub asked: AtomicUsize,
}

impl Signatures for Word {
    fn id(&self) -> &str {
        "word"
    }

    fn repomd(&self, text: &[u8], signature: &[u8]) -> Result<(), BoxError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let wanted = [self.word, text].concat();
        match signature == wanted {
            true => Ok(()),
            false => Err("it is of another text".into()),
        }
    }

    fn is_pinned(&self, key: &[u8]) -> bool {
        key == self.word
    }

    fn package(&self, _head: &Head) -> Result<(), BoxError> {
        Err("nobody signed it".into())
    }
}

impl Word {
    pub fn good() -> Self {
        Self {
            word: b"good",
            asked: AtomicUsize::new(0),
        }
    }
}

pub fn sign(root: &Path, word: &[u8]) {
    let text = fs::read(root.join("repodata/repomd.xml")).unwrap();
    write(root, "repodata/repomd.xml.asc", &[word, &text].concat());
}

#[test]
fn without_a_good_signature_nothing_is_copied() {
    let lab = Lab::new();
    write_repository(&lab.upstream(), &packages(2), 100);
    let server = Server::good(&lab.upstream());
    let request = request(&[server.url()], &lab.copy());
    let keys = Word {
        word: b"good",
        asked: AtomicUsize::new(0),
    };
    let verify = Verify::Repomd(&keys);
    let unsigned = sync(&request, verify, None, &Unwatched).unwrap_err();
    assert!(
        unsigned.to_string().contains("no repomd.xml.asc"),
        "{unsigned}"
    );
    assert!(!unsigned.is_unreachable());
    sign(&lab.upstream(), b"bad");
    let forged = sync(&request, verify, None, &Unwatched).unwrap_err();
    assert!(forged.to_string().contains("another text"), "{forged}");
    assert!(!lab.copy().join("repodata").exists());
    sign(&lab.upstream(), b"good");
    sync(&request, verify, None, &Unwatched).unwrap();
    assert_eq!(read_copy(&lab.copy()).len(), 2);
    assert!(lab.copy().join("repodata/repomd.xml.asc").is_file());

    // The packages' own signatures are another question.
    let strict = sync(&request, Verify::RepomdAndPackages(&keys), None, &Unwatched);
    assert!(
        matches!(strict, Err(SyncError::Files { count: 2, .. })),
        "{strict:?}"
    );
}

#[test]
fn a_signature_that_was_fetched_too_late_is_fetched_again() {
    let lab = Lab::new();
    write_repository(&lab.upstream(), &packages(2), 100);
    sign(&lab.upstream(), b"good");
    let root = lab.upstream();
    let server = Server::start(&lab.upstream(), move |ask| {
        // Upstream publishes between the two requests of the first pair.
        if ask.path.ends_with("repomd.xml.asc") && ask.before == 0 {
            write_repository(&root, &packages(3), 200);
            sign(&root, b"good");
        }
        Reply::Well
    });
    let keys = Word {
        word: b"good",
        asked: AtomicUsize::new(0),
    };
    let request = request(&[server.url()], &lab.copy());
    sync(&request, Verify::Repomd(&keys), None, &Unwatched).unwrap();
    assert_eq!(keys.asked.load(Ordering::SeqCst), 2);
    assert_eq!(read_copy(&lab.copy()).len(), 3);
}

/// Writes nothing but the names that it was given.
struct Names;

impl Rewrite for Names {
    fn rewrite(
        &self,
        upstream: &Path,
        into: &Path,
        kept: &HashSet<String>,
    ) -> Result<(), BoxError> {
        assert!(upstream.join("repodata/repomd.xml").is_file());
        write(
            into,
            "repodata/repomd.xml",
            format!("{}", kept.len()).as_bytes(),
        );
        write(into, "repodata/primary.xml", b"x");
        Ok(())
    }
}

#[test]
fn filters_leave_packages_out_and_the_metadata_is_kept_or_written_anew() {
    let lab = Lab::new();
    let mut all = packages(6);
    all[0].arch = "src";
    write_repository(&lab.upstream(), &all, 100);
    let server = Server::good(&lab.upstream());
    let mut request = request(&[server.url()], &lab.copy());
    request.filters = Filters {
        source: false,
        exclude: vec!["p5".to_owned()],
        ..Filters::default()
    };
    let kept = run(&request).unwrap();
    assert_eq!((kept.listed, kept.taken), (6, 4));
    let upstream = fs::read(lab.upstream().join("repodata/repomd.xml")).unwrap();
    let served = || fs::read(lab.copy().join("repodata/repomd.xml")).unwrap();
    assert_eq!(served(), upstream);
    assert!(!lab.copy().join(&all[5].href).exists());

    // The same upstream, another form: not "nothing new".
    request.filtered_metadata = FilteredMetadata::Rewrite;
    sync(&request, Verify::Nothing, Some(&Names), &Unwatched).unwrap();
    assert_eq!(served(), b"4");
    server.take_log();
    let again = sync(&request, Verify::Nothing, Some(&Names), &Unwatched).unwrap();
    assert!(!again.changed);
    assert_eq!(server.take_log().len(), 1);

    request.filters = Filters::default();
    run(&request).unwrap();
    assert_eq!(read_copy(&lab.copy()).len(), 6);
}

#[test]
fn a_reader_never_meets_a_torn_copy_while_upstream_publishes_and_we_follow() {
    let lab = Lab::new();
    write_repository(&lab.upstream(), &packages(5), 100);
    let server = Server::good(&lab.upstream());
    let request = request(&[server.url()], &lab.copy());
    run(&request).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !stop.load(Ordering::SeqCst) {
                read_copy(&lab.copy());
                reads += 1;
            }
            reads
        });
        for round in 1..40_usize {
            let mut now = packages(5 + round);
            now.drain(0..round / 2);
            write_repository(&lab.upstream(), &now, 100 + round as i64);
            run(&request).unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        assert!(reader.join().unwrap() > 20);
    });
}

#[test]
fn packages_on_other_sites_stay_listed_in_filtered_metadata() {
    let lab = Lab::new();
    let all = packages(4);
    let text = primary(&all, "sha256").replace(
        &format!("<location href=\"{}\"", all[3].href),
        "<location xml:base=\"http://other.example/\" href=\"p3.rpm\"",
    );
    write_repository(&lab.upstream(), &all, 100);
    write_metadata(&lab.upstream(), &text, 100);
    let server = Server::good(&lab.upstream());
    let mut request = request(&[server.url()], &lab.copy());
    request.filters.exclude = vec!["p0".to_owned()];
    request.filtered_metadata = FilteredMetadata::Rewrite;
    let done = sync(&request, Verify::Nothing, Some(&Names), &Unwatched).unwrap();
    assert_eq!((done.taken, done.elsewhere), (2, 1));
    let listed = fs::read(lab.copy().join("repodata/repomd.xml")).unwrap();
    assert_eq!(listed, b"3");
}
