//! Upstreams that attack: nothing is written outside the copy, nothing hangs, nothing fills memory or
//! disk, and the error says what was wrong.

use crate::kit::*;
use crate::server::{Reply, Server};
use mirrors::sync::{SyncError, Upstream};
use std::fs;
use std::time::{Duration, Instant};

/// Syncs into a place whose surroundings are looked at afterwards; the error, which must come soon.
fn attacked(server: &Server) -> SyncError {
    let root = tempfile::tempdir().unwrap();
    let copy = root.path().join("a/copy");
    fs::create_dir(root.path().join("a")).unwrap();
    let start = Instant::now();
    let error = run(&request(&[server.url()], &copy)).unwrap_err();
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{error}: {:?}",
        start.elapsed()
    );
    let outside: Vec<_> = tree(root.path())
        .into_iter()
        .filter(|path| path.is_file())
        .collect();
    assert!(outside.is_empty(), "{error}: {outside:?}");
    let own = tree(&copy.join(".hallmark"));
    let bytes: u64 = own.iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(bytes < 4 << 20, "{error}: {bytes} bytes are left");
    error
}

#[test]
fn paths_that_lead_out_of_the_copy_are_refused_before_anything_is_fetched() {
    for href in [
        "../evil.rpm",
        "a/../../../evil.rpm",
        "/tmp/evil.rpm",
        ".hallmark/state",
        "repodata/repomd.xml",
    ] {
        let upstream = tempfile::tempdir().unwrap();
        let package = Package {
            href: href.to_owned(),
            ..Package::new("evil", 10)
        };
        write_metadata(upstream.path(), &primary(&[package], "sha256"), 100);
        let server = Server::good(upstream.path());
        let error = attacked(&server);
        assert!(
            matches!(error, SyncError::Metadata { .. }),
            "{href}: {error}"
        );
        assert!(
            server
                .take_log()
                .iter()
                .all(|ask| !ask.path.ends_with(".rpm"))
        );
    }
}

#[test]
fn metadata_out_of_place_is_refused_too() {
    for (from, to) in [
        ("href=\"repodata/", "href=\"../repodata/"),
        ("href=\"repodata/", "href=\".hallmark/"),
        ("<checksum type=\"sha256\">", "<checksum type=\"crc\">"),
        ("type=\"primary\"", "type=\"other\""),
    ] {
        let upstream = tempfile::tempdir().unwrap();
        write_repository(upstream.path(), &packages(1), 100);
        let path = upstream.path().join("repodata/repomd.xml");
        let text = fs::read_to_string(&path).unwrap().replace(from, to);
        fs::write(&path, text).unwrap();
        let error = attacked(&Server::good(upstream.path()));
        assert!(matches!(error, SyncError::Metadata { .. }), "{to}: {error}");
    }
}

#[test]
fn endless_lying_silent_and_circling_answers_are_given_up() {
    let upstream = tempfile::tempdir().unwrap();
    write_repository(upstream.path(), &packages(3), 100);
    type Rule = fn() -> Reply;
    let attacks: [(&str, Rule, &str); 6] = [
        ("endless", || Reply::Endless, "more than"),
        ("lying", || Reply::Other(vec![b'x'; 100_000]), "bytes, want"),
        ("short", || Reply::Cut(5), "broke off"),
        ("silent", || Reply::Silence, "cannot be reached"),
        ("trickling", || Reply::Trickle, "too slow"),
        (
            "circling",
            || Reply::Redirect("x.rpm".to_owned()),
            "redirect",
        ),
    ];
    for (name, reply, wanted) in attacks {
        let server = Server::start(upstream.path(), move |ask| {
            match ask.path.ends_with(".rpm") {
                true => reply(),
                false => Reply::Well,
            }
        });
        let error = attacked(&server).to_string();
        assert!(error.contains(wanted), "{name}: {error}");
    }
}

#[test]
fn the_pointer_itself_may_be_endless_or_a_bomb() {
    let bomb = b"<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><repomd>&b;</repomd>";
    type Rule = fn() -> Reply;
    let attacks: [(Rule, &str); 6] = [
        (|| Reply::Trickle, "too slow"),
        (|| Reply::Endless, "more than"),
        (|| Reply::Silence, "cannot be reached"),
        (|| Reply::Status(500), "500"),
        (
            || Reply::Redirect("/repodata/repomd.xml".to_owned()),
            "redirect",
        ),
        (
            || Reply::Redirect("file:///etc/passwd".to_owned()),
            "repomd.xml",
        ),
    ];
    let upstream = tempfile::tempdir().unwrap();
    write_repository(upstream.path(), &packages(1), 100);
    for (reply, wanted) in attacks {
        let start = Instant::now();
        let error = attacked(&Server::start(upstream.path(), move |_| reply())).to_string();
        assert!(start.elapsed() < Duration::from_secs(10), "{wanted}");
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
    let server = Server::start(upstream.path(), |_| Reply::Other(bomb.to_vec()));
    assert!(attacked(&server).to_string().contains("document type"));
}

#[test]
fn primary_that_unpacks_to_more_than_it_says_is_not_unpacked() {
    let upstream = tempfile::tempdir().unwrap();
    // 128 MiB of spaces inside a document, of which repomd.xml says that it has 1,000 bytes.
    let gzip = gzip_of_spaces(128 << 20);
    let digest = repo_model::FileDigest::of(&gzip);
    write(upstream.path(), "repodata/p.xml.gz", &gzip);
    let repomd = format!(
        "<repomd><data type=\"primary\"><checksum type=\"sha256\">{digest}</checksum>\
         <location href=\"repodata/p.xml.gz\"/><size>{}</size><open-size>1000</open-size></data></repomd>",
        gzip.len()
    );
    write(upstream.path(), "repodata/repomd.xml", repomd.as_bytes());
    let error = attacked(&Server::good(upstream.path())).to_string();
    assert!(error.contains("larger than 1000 bytes"), "{error}");
}

fn gzip_of_spaces(count: usize) -> Vec<u8> {
    use std::io::Write as _;
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(b"<metadata>").unwrap();
    let piece = vec![b' '; 1 << 20];
    for _ in 0..count >> 20 {
        out.write_all(&piece).unwrap();
    }
    out.finish().unwrap()
}

#[test]
fn only_web_servers_and_directories_are_upstreams() {
    for bad in [
        "ftp://x/y",
        "file://relative",
        "/srv/repo",
        "rsync://x/y",
        "s3://b",
    ] {
        assert!(Upstream::new(bad, Duration::from_secs(1)).is_err(), "{bad}");
    }
}
