//! Uploads against a small server that fails on cue.

use super::*;
use crate::testing::{Answer, Server};
use std::cell::Cell;
use std::io::Write as _;
use std::time::Duration;

#[derive(Default)]
struct Count {
    at: Cell<u64>,
    waits: Cell<u32>,
}

impl Watcher for Count {
    fn sent(&self, bytes: u64) {
        self.at.set(self.at.get() + bytes);
    }
    fn lost(&self, bytes: u64) {
        self.at.set(self.at.get() - bytes);
    }
    fn waits(&self, _: &ApiError, _: Duration) {
        self.waits.set(self.waits.get() + 1);
    }
}

const QUICK: Patience = Patience {
    tries: 3,
    first_wait: Duration::from_millis(1),
    longest_wait: Duration::from_millis(1),
};

struct Case {
    file: tempfile::NamedTempFile,
    digest: FileDigest,
    size_bytes: u64,
    count: Count,
}

impl Case {
    fn of(bytes: &[u8]) -> Self {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        Self {
            file,
            digest: FileDigest::of(bytes),
            size_bytes: bytes.len() as u64,
            count: Count::default(),
        }
    }

    fn upload(&self, server: &Server) -> Result<bool, UploadError> {
        let client = Client::new(&server.url(), Some("t0ken".to_owned())).unwrap();
        let blob = Blob {
            path: self.file.path(),
            digest: self.digest,
            size_bytes: self.size_bytes,
        };
        upload(&client, blob, QUICK, &self.count)
    }
}

#[test]
fn a_blob_that_the_server_has_is_not_sent_again() {
    let server = Server::start(|request| {
        assert_eq!(request.method, "HEAD");
        Answer::status(200)
    });
    let case = Case::of(b"abc");
    assert!(!case.upload(&server).unwrap());
    assert_eq!(server.requests().len(), 1);
    assert_eq!(case.count.at.get(), 3);
}

#[test]
fn a_small_blob_goes_in_one_request_with_its_length_and_token() {
    let server =
        Server::start(|request| Answer::status(if request.method == "HEAD" { 404 } else { 201 }));
    let case = Case::of(b"abc");
    assert!(case.upload(&server).unwrap());
    let requests = server.requests();
    let put = &requests[1];
    assert_eq!(
        (put.method.as_str(), put.path.clone()),
        ("PUT", format!("/api/v1/blobs/{}", case.digest))
    );
    assert_eq!(put.body, b"abc");
    assert_eq!(put.header("content-length"), Some("3"));
    assert_eq!(put.header("content-range"), None);
    assert_eq!(put.header("authorization"), Some("Bearer t0ken"));
    assert_eq!(requests.len(), 2);
}

#[test]
fn a_large_blob_goes_in_parts_and_goes_on_where_it_was_cut_off() {
    let bytes: Vec<u8> = (0..PART_BYTES * 2 + 5).map(|n| (n % 251) as u8).collect();
    let total = bytes.len();
    // The second part fails once; the server says that 1,000 bytes of it had arrived.
    let failed = std::sync::atomic::AtomicBool::new(false);
    let server = Server::start(move |request| match request.method.as_str() {
        "HEAD" => Answer::status(404),
        "GET" if failed.load(std::sync::atomic::Ordering::SeqCst) => {
            Answer::json(200, &format!("{{\"offset_bytes\":{}}}", PART_BYTES + 1_000))
        }
        "GET" => Answer::json(
            404,
            "{\"error\":\"no such upload\",\"code\":\"unknown-upload\"}",
        ),
        _ if request
            .header("content-range")
            .unwrap()
            .starts_with(&format!("bytes {PART_BYTES}-")) =>
        {
            failed.store(true, std::sync::atomic::Ordering::SeqCst);
            Answer::status(503)
        }
        _ => Answer::status(202),
    });
    let case = Case::of(&bytes);
    assert!(case.upload(&server).unwrap());
    let puts: Vec<_> = server
        .requests()
        .into_iter()
        .filter(|r| r.method == "PUT")
        .collect();
    let ranges: Vec<_> = puts
        .iter()
        .map(|r| r.header("content-range").unwrap().to_owned())
        .collect();
    let part = PART_BYTES;
    assert_eq!(
        ranges,
        [
            format!("bytes 0-{}/{total}", part - 1),
            format!("bytes {part}-{}/{total}", 2 * part - 1),
            format!("bytes {}-{}/{total}", part + 1_000, total - 1),
        ]
    );
    assert!(
        puts[2].body == bytes[part as usize + 1_000..],
        "wrong bytes after the cut"
    );
    assert_eq!(case.count.at.get(), total as u64);
    assert_eq!(case.count.waits.get(), 1);
}

#[test]
fn a_refused_blob_is_tried_once_and_the_servers_sentence_is_kept() {
    let server = Server::start(|request| match request.method.as_str() {
        "HEAD" => Answer::status(404),
        _ => Answer::json(
            413,
            r#"{"error":"blob is larger than 2 bytes","code":"too-large","hint":"split it"}"#,
        ),
    });
    let error = Case::of(b"abc").upload(&server).unwrap_err();
    let UploadError::Api { source, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(source.to_string(), "blob is larger than 2 bytes");
    assert_eq!(source.hint().as_deref(), Some("split it"));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn patience_with_a_broken_server_ends() {
    let server = Server::start(|_| Answer::status(503));
    let case = Case::of(b"abc");
    let error = case.upload(&server).unwrap_err();
    assert!(
        matches!(
            error,
            UploadError::Api {
                source: ApiError::Broken { status: 503, .. },
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(case.count.waits.get(), 2);
}

#[test]
fn an_upload_that_arrived_though_its_answer_was_lost_is_done() {
    let server = Server::start({
        let seen = std::sync::atomic::AtomicBool::new(false);
        move |request| match request.method.as_str() {
            "HEAD" if seen.load(std::sync::atomic::Ordering::SeqCst) => Answer::status(200),
            "HEAD" => Answer::status(404),
            _ => {
                seen.store(true, std::sync::atomic::Ordering::SeqCst);
                Answer::hang_up()
            }
        }
    });
    let case = Case::of(b"abc");
    assert!(case.upload(&server).unwrap());
    let puts = server
        .requests()
        .iter()
        .filter(|request| request.method == "PUT")
        .count();
    assert_eq!((case.count.at.get(), puts), (3, 1));
}

#[test]
fn a_blob_that_somebody_else_is_uploading_is_waited_for() {
    let polls = std::sync::atomic::AtomicU32::new(0);
    let server = Server::start(move |request| match request.method.as_str() {
        "HEAD" if polls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) >= 2 => {
            Answer::status(200)
        }
        "HEAD" | "GET" => Answer::status(404),
        _ => Answer::json(
            409,
            r#"{"error":"blob is being uploaded by another request","code":"busy"}"#,
        ),
    });
    let case = Case::of(b"abc");
    assert!(case.upload(&server).is_ok());
    assert_eq!((case.count.at.get(), case.count.waits.get()), (3, 2));
}
