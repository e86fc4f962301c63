use super::*;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

const GOOD: &[u8] = b"what was published";

/// A mirror on a free port of the loopback: some paths are right, others are wrong in every way.
fn mirror() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/tree", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    url
}

fn answer(mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    while lines
        .next()
        .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
    {}
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let (head, body): (&str, Vec<u8>) = match path.as_str() {
        "/tree/good" => ("200 OK", GOOD.to_vec()),
        "/tree/long" => ("200 OK", vec![b'x'; 200_000]),
        "/tree/away" => (
            "302 Found\r\nlocation: http://127.0.0.1:9/inside",
            Vec::new(),
        ),
        "/tree/closed" => ("403 Forbidden", Vec::new()),
        "/tree/cut" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\nwhat was");
            return;
        }
        _ => ("404 Not Found", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&body);
}

fn known(path: &str) -> Known {
    Known {
        path: path.to_owned(),
        digest: FileDigest::of(GOOD),
        size_bytes: GOOD.len() as u64,
    }
}

#[test]
fn each_way_of_being_wrong_has_its_name() {
    let url = mirror();
    let mut look = Look::at(&url, true, 1_000, 1 << 20).unwrap();
    look.compare(&known("good")).unwrap();
    for (path, want) in [
        ("long", "more than the 18 bytes"),
        ("away", "leads elsewhere (status 302)"),
        ("closed", "status 403"),
        ("cut", "broke off after"),
        ("nothing", "is not there"),
    ] {
        let trouble = look.compare(&known(path)).unwrap_err();
        let said = trouble.to_string();
        assert!(
            said.contains(want) && said.contains(&format!("{url}/{path}")),
            "{path}: {said}"
        );
    }
    let same_size = Known {
        digest: FileDigest::of(b"x"),
        ..known("good")
    };
    let trouble = look.compare(&same_size).unwrap_err();
    assert!(matches!(trouble, Trouble::WrongContent { .. }), "{trouble}");
    assert!(look.pace.latency_millis.is_some());
}

#[test]
fn pointers_are_read_and_bytes_are_counted() {
    let mut look = Look::at(&mirror(), true, 1_000, 300_000).unwrap();
    assert_eq!(
        look.pointer("good").unwrap().unwrap().0,
        FileDigest::of(GOOD)
    );
    assert_eq!(look.pointer("nothing").unwrap(), None);
    assert!(look.affords(299_000));
    look.pointer("long").unwrap();
    assert!(!look.affords(100_000));
    assert!(look.pace.bytes_per_sec().is_some());
}

#[test]
fn nothing_more_is_asked_for_once_the_budget_is_spent() {
    let mut look = Look::at(&mirror(), true, 1_000, 300_000).unwrap();
    look.limit(100_000);
    look.limit(200_000);
    assert_eq!(look.left_bytes(), 100_000);
    look.pointer("long").unwrap();
    assert_eq!(look.left_bytes(), 0);
    let trouble = look.pointer("good").unwrap_err().to_string();
    assert!(trouble.contains("is spent"), "{trouble}");
}

#[test]
fn an_address_inside_is_not_asked() {
    let url = mirror();
    let mut look = Look::at(&url, false, 0, 1 << 20).unwrap();
    let trouble = look.compare(&known("good")).unwrap_err().to_string();
    assert!(
        trouble.ends_with("/good cannot be reached: its address 127.0.0.1 is not a public one"),
        "{trouble}"
    );
    // Nor by a name that leads there.
    let named = url.replace("127.0.0.1", "localhost");
    let mut look = Look::at(&named, false, 0, 1 << 20).unwrap();
    let trouble = look.compare(&known("good")).unwrap_err().to_string();
    assert!(trouble.contains("is not a public one"), "{trouble}");
}

#[test]
fn a_mirror_that_crawls_is_too_slow() {
    let look = Look::at("http://127.0.0.1:9", true, 50_000, 0).unwrap();
    let minute = Duration::from_secs(60);
    assert!(look.is_fast_enough("u", Duration::from_secs(10), 1).is_ok());
    assert!(look.is_fast_enough("u", minute, 4_000_000).is_ok());
    let trouble = look.is_fast_enough("u", minute, 600_000).unwrap_err();
    assert!(
        matches!(
            trouble,
            Trouble::TooSlow {
                bytes_per_sec: 10_000,
                ..
            }
        ),
        "{trouble}"
    );
}
