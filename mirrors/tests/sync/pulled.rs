//! A repository that is fetched when somebody asks for it.

use crate::kit::{Package, packages, request, write, write_repository};
use crate::server::{Ask, Reply, Server};
use mirrors::pull::{Arrived, Found, Progress, Pull, PullError, Settings};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn open_with(urls: &[String], directory: &Path, keep_bytes: u64) -> Arc<Pull> {
    let request = request(urls, directory);
    let settings = Settings {
        directory: directory.to_owned(),
        upstreams: request.upstreams,
        signatures: None,
        key: b"our key".to_vec(),
        fresh: Duration::ZERO,
        keep_bytes,
        keep_for: Duration::from_secs(3600),
        patience: request.patience,
    };
    Arc::new(Pull::open(settings).unwrap())
}

fn open(urls: &[String], directory: &Path) -> Arc<Pull> {
    open_with(urls, directory, 1 << 30)
}

/// A file to its end, whichever way it comes.
fn get(pull: &Arc<Pull>, path: &str) -> Result<Vec<u8>, String> {
    use std::os::unix::fs::FileExt as _;
    let read = |arrived: &Arrived| {
        let mut bytes = vec![0; arrived.size_bytes as usize];
        arrived.file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    match pull.find(path).map_err(|error| error.to_string())? {
        Found::Pointer(bytes) => Ok(bytes),
        Found::Kept {
            file,
            digest,
            size_bytes,
        } => Ok(read(&Arrived {
            digest,
            size_bytes,
            file,
        })),
        Found::Coming { flight, .. } => loop {
            match flight.progress() {
                Progress::Coming => std::thread::sleep(Duration::from_millis(5)),
                Progress::Arrived(arrived) => return Ok(read(&arrived)),
                Progress::Lost { why } => return Err(why),
            }
        },
    }
}

/// Packages that were asked for since the last call.
fn asked(server: &Server) -> usize {
    let log = server.take_log();
    log.iter().filter(|ask| ask.path.ends_with(".rpm")).count()
}

#[test]
fn what_is_asked_for_is_fetched_once_and_served_on_when_upstream_is_gone() {
    let root = tempfile::tempdir().unwrap();
    let (upstream, kept) = (root.path().join("upstream"), root.path().join("kept"));
    let all = packages(3);
    write_repository(&upstream, &all, 100);
    let gone = Arc::new(AtomicBool::new(false));
    let is_gone = Arc::clone(&gone);
    let server = Server::start(&upstream, move |_: &Ask| {
        match is_gone.load(Ordering::SeqCst) {
            true => Reply::Status(503),
            false => Reply::Well,
        }
    });
    let pull = open(&[server.url()], &kept);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(get(&pull, &all[0].href).unwrap(), all[0].bytes));
        }
    });
    assert_eq!(asked(&server), 1, "eight at once, one flight");
    assert_eq!(get(&pull, &all[0].href).unwrap(), all[0].bytes);
    assert_eq!(asked(&server), 0);
    for unknown in ["Packages/other.rpm", "repodata/other.xml", "../x", ""] {
        let found = pull.find(unknown);
        assert!(matches!(found, Err(PullError::Missing { .. })), "{unknown}");
    }
    let repomd = get(&pull, "repodata/repomd.xml").unwrap();
    write(
        &upstream,
        "repodata/repomd.xml.key",
        b"a key that nobody pinned",
    );
    assert_eq!(get(&pull, "repodata/repomd.xml.key").unwrap(), b"our key");

    gone.store(true, Ordering::SeqCst);
    assert_eq!(get(&pull, &all[0].href).unwrap(), all[0].bytes);
    assert!(get(&pull, &all[1].href).is_err());
    drop(pull);
    // A server that starts while upstream is gone.
    let pull = open(&[server.url()], &kept);
    assert_eq!(get(&pull, "repodata/repomd.xml").unwrap(), repomd);
    assert_eq!(get(&pull, &all[0].href).unwrap(), all[0].bytes);
    gone.store(false, Ordering::SeqCst);
    assert_eq!(get(&pull, &all[1].href).unwrap(), all[1].bytes);
}

#[test]
fn new_metadata_is_followed_older_is_not_and_what_the_last_named_is_still_there() {
    let root = tempfile::tempdir().unwrap();
    let (upstream, kept) = (root.path().join("upstream"), root.path().join("kept"));
    let (old, new) = (packages(1), vec![Package::new("newer", 5_000)]);
    write_repository(&upstream, &old, 100);
    let server = Server::good(&upstream);
    let pull = open(&[server.url()], &kept);
    let first = get(&pull, "repodata/repomd.xml").unwrap();
    write_repository(&upstream, &new, 200);
    let second = get(&pull, "repodata/repomd.xml").unwrap();
    assert_ne!(first, second);
    assert_eq!(get(&pull, &new[0].href).unwrap(), new[0].bytes);
    assert_eq!(get(&pull, &old[0].href).unwrap(), old[0].bytes);
    write_repository(&upstream, &old, 50);
    assert_eq!(get(&pull, "repodata/repomd.xml").unwrap(), second);
}

#[test]
fn wrong_bytes_never_arrive_and_another_upstream_helps() {
    let root = tempfile::tempdir().unwrap();
    let upstream = root.path().join("upstream");
    let all = packages(2);
    write_repository(&upstream, &all, 100);
    let wrong = all[0]
        .bytes
        .iter()
        .map(|byte| byte ^ 1)
        .collect::<Vec<u8>>();
    let lying = Server::start(&upstream, move |ask: &Ask| {
        match ask.path.ends_with(".rpm") {
            true => Reply::Other(wrong.clone()),
            false => Reply::Well,
        }
    });
    let pull = open(&[lying.url()], &root.path().join("one"));
    let error = get(&pull, &all[0].href).unwrap_err();
    assert!(
        error.contains("checksum") || error.contains("SHA-256"),
        "{error}"
    );
    // It is not remembered as lost: the next one who asks tries anew.
    assert!(get(&pull, &all[0].href).is_err());
    assert!(asked(&lying) >= 2);
    let good = Server::good(&upstream);
    let pull = open(&[lying.url(), good.url()], &root.path().join("two"));
    for package in &all {
        assert_eq!(get(&pull, &package.href).unwrap(), package.bytes);
    }
}

#[test]
fn what_was_not_asked_for_the_longest_goes_when_there_is_no_room_and_metadata_stays() {
    let root = tempfile::tempdir().unwrap();
    let (upstream, kept) = (root.path().join("upstream"), root.path().join("kept"));
    let all = packages(4);
    write_repository(&upstream, &all, 100);
    let server = Server::good(&upstream);
    // Room for primary and two packages.
    let primary = std::fs::read_dir(upstream.join("repodata")).unwrap();
    let primary = primary
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .max()
        .unwrap();
    let pull = open_with(&[server.url()], &kept, primary + 9_000);
    for number in [0, 1, 0, 2] {
        assert_eq!(get(&pull, &all[number].href).unwrap(), all[number].bytes);
        // The sweep comes after the last byte.
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(asked(&server), 3);
    assert_eq!(get(&pull, &all[0].href).unwrap(), all[0].bytes);
    assert_eq!(
        asked(&server),
        0,
        "it was asked for later than the one that went"
    );
    assert_eq!(get(&pull, &all[1].href).unwrap(), all[1].bytes);
    assert_eq!(asked(&server), 1);
    let log = server.take_log();
    assert!(
        !log.iter().any(|ask| ask.path.contains("primary")),
        "{log:?}"
    );
}

#[test]
fn metadata_that_leads_elsewhere_or_is_rubbish_is_not_served() {
    let root = tempfile::tempdir().unwrap();
    let (upstream, kept) = (root.path().join("upstream"), root.path().join("kept"));
    write(&upstream, "repodata/repomd.xml", b"<repomd>rubbish");
    let server = Server::good(&upstream);
    let pull = open(&[server.url()], &kept);
    let refused = pull.find("repodata/repomd.xml");
    assert!(matches!(refused, Err(PullError::Upstream(_))));
    let mut evil = packages(1);
    evil[0].href = "../../evil-1-1.noarch.rpm".to_owned();
    crate::kit::write_metadata(&upstream, &crate::kit::primary(&evil, "sha256"), 100);
    let refused = pull.find("repodata/repomd.xml");
    assert!(matches!(refused, Err(PullError::Upstream(_))));
    let second = Pull::open(Settings {
        directory: kept.clone(),
        upstreams: Vec::new(),
        signatures: None,
        key: Vec::new(),
        fresh: Duration::ZERO,
        keep_bytes: 0,
        keep_for: Duration::ZERO,
        patience: request(&[], &kept).patience,
    });
    assert!(matches!(second, Err(PullError::InUse { .. })));
}
