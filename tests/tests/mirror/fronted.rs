//! `hallmark serve` in front of a repository of others: clients install through it, and go on when upstream is away.

use crate::{BASE, PACKAGE, STORY, clients, text};
use hallmark_tests::clients::Client;
use hallmark_tests::nginx::{NGINX, Nginx};
use hallmark_tests::packages::crafted::binary;
use hallmark_tests::tools::BUILDING;
use hallmark_tests::world::SERVER;
use hallmark_tests::{Options, Repository, World, process, require};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A server before these repositories: name, URL, and a line about keys.
pub(crate) fn front(upstreams: &[(&str, &str, &str)]) -> World {
    let front = World::start(&Options::no_rebuilds());
    assert!(front.process(SERVER).stop().success(), "a clean end");
    let config = std::fs::File::options()
        .append(true)
        .open(front.config_file());
    let mut config = config.expect("it was written");
    for (name, url, keys) in upstreams {
        let table = format!(
            "\n[[upstream]]\nname = \"{name}\"\nurls = [\"{url}\"]\n{keys}\nfresh_secs = 0\n"
        );
        config.write_all(table.as_bytes()).expect("likewise");
    }
    front.start_process(SERVER);
    front.until_ready();
    front
}

#[test]
fn clients_install_through_a_front_and_again_when_upstream_is_gone() {
    require!(BUILDING, NGINX, Client::Dnf5.needs(), Client::Dnf4.needs());
    let story = &*STORY;
    let upstream = story.world.dir().join("fronted");
    story.world.hallmark_ok(&["export", text(&upstream)]);
    let nginx = Nginx::serve(&upstream);

    let url = format!("{}{BASE}", nginx.url());
    let keys = format!("keys = [\"{}\"]", text(&story.keys));
    let front = front(&[("fronted", &url, &keys)]);
    let _watch = front.watch();

    let base = format!("{}/upstream/fronted", front.url());
    for client in clients() {
        story.installs(client, &base, true);
    }
    let package = Repository::new(&story.world.http, BASE)
        .package(PACKAGE)
        .expect("it is published");
    let path = format!("/upstream/fronted/{}", package.href);
    let fetched: Vec<_> = nginx.take_requests();
    let packages = fetched
        .iter()
        .filter(|(path, _)| path.ends_with(&package.href));
    assert_eq!(packages.count(), 1, "{fetched:?}");
    assert_eq!(
        front.http.get("/upstream/fronted/Packages/no.rpm").status,
        404
    );
    assert_eq!(
        front.http.get("/upstream/other/repodata/repomd.xml").status,
        404
    );
    let part = front
        .http
        .send("GET", &path, &[("range", "bytes=0-9")], b"");
    assert_eq!((part.status, part.body.len()), (206, 10));

    drop(nginx);
    let served = front.http.fetch(&path);
    let wanted = std::fs::read(format!("{}{BASE}/{}", upstream.display(), package.href));
    assert!(served == wanted.expect("it was exported"));
    story.installs(Client::Dnf5, &base, true);
    // And after a restart, without upstream all the while.
    assert!(front.process(SERVER).stop().success(), "a clean end");
    front.start_process(SERVER);
    front.until_ready();
    story.installs(Client::Dnf5, &base, true);
}

/// Bytes that wait for the digest of the whole.
const HELD_BACK: usize = 64 << 10;

/// Serves a folder, packages slowly; how many bytes of packages were sent.
fn slow_upstream(root: &Path, first_byte_is_wrong: bool) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let sent = Arc::new(AtomicUsize::new(0));
    let (root, counter) = (root.to_owned(), Arc::clone(&sent));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (root, counter) = (root.clone(), Arc::clone(&counter));
            std::thread::spawn(move || serve_slowly(&stream, &root, first_byte_is_wrong, &counter));
        }
    });
    (url, sent)
}

fn serve_slowly(stream: &TcpStream, root: &Path, wrong: bool, sent: &AtomicUsize) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next()?.ok()?;
    let path = request
        .split(' ')
        .nth(1)?
        .trim_start_matches('/')
        .to_owned();
    lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
    let mut stream = stream;
    let Ok(mut bytes) = std::fs::read(root.join(&path)) else {
        let missing = b"HTTP/1.1 404 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return stream.write_all(missing).ok();
    };
    let length = bytes.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    if !path.ends_with(".rpm") {
        return stream.write_all(&bytes).ok();
    }
    bytes[0] ^= u8::from(wrong);
    for piece in bytes.chunks(32 << 10) {
        stream.write_all(piece).ok()?;
        sent.fetch_add(piece.len(), Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(())
}

/// The body of an answer, as far as it comes; `seen` is told of each piece.
fn body(front: &World, path: &str, mut seen: impl FnMut(usize)) -> Vec<u8> {
    let mut stream = front.http.connect();
    let request = format!("GET {path} HTTP/1.1\r\nhost: front\r\nconnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .expect("the server reads");
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line).expect("a head") > 2 {
        line.clear();
    }
    let mut body = Vec::new();
    let mut piece = vec![0; 16 << 10];
    // A connection that breaks may end with an error.
    while let Ok(count @ 1..) = reader.read(&mut piece) {
        body.extend_from_slice(&piece[..count]);
        seen(body.len());
    }
    body
}

#[test]
fn a_file_is_handed_on_while_it_comes_and_its_end_waits_until_all_is_right() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let package = binary("large", "1.0").payload(&[b'y'; 2 << 20]).bytes();
    std::fs::write(root.path().join("large.rpm"), &package).expect("the folder is ours");
    let mut createrepo = process::command(process::binary("hallmark"));
    process::run(createrepo.arg("createrepo").arg(root.path()));
    let (good, sent) = slow_upstream(root.path(), false);
    let (lying, _) = slow_upstream(root.path(), true);
    let unsigned = "verify_signature = false";
    let front = front(&[("good", &good, unsigned), ("lying", &lying, unsigned)]);
    let _watch = front.watch();

    let mut early = 0;
    let got = body(&front, "/upstream/good/large.rpm", |have| {
        if sent.load(Ordering::SeqCst) < package.len() {
            early = have;
        }
    });
    assert!(got == package, "{} of {} bytes", got.len(), package.len());
    assert!(
        early > package.len() / 2,
        "only {early} bytes came while upstream was sending"
    );
    assert!(
        front.http.fetch("/upstream/good/large.rpm") == package,
        "it is kept"
    );

    for _ in 0..2 {
        let got = body(&front, "/upstream/lying/large.rpm", |_| ());
        assert!(
            got.len() <= package.len() - HELD_BACK,
            "{} bytes",
            got.len()
        );
    }
}
