//! A server of a few lines that checks every signature and keeps every blob.

use hallmark_rebuilder::build::Recorded;
use repo_model::buildinfo::BuildInfo;
use repo_model::dsse::Envelope;
use repo_model::wire::worker::{
    Commit, ExpectedPackage, HEADER, Heartbeat, LeaseRequest, RebuildJob, Report, RequestAuth,
    RequestPublicKey, RevealJob, Target, Task, authority,
};
use repo_model::{FileDigest, Timestamp};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the server knows and what it was told.
#[derive(Default)]
pub struct State {
    pub blobs: HashMap<FileDigest, Vec<u8>>,
    pub jobs: Vec<RebuildJob>,
    /// Commitments that were taken, and are to be revealed.
    pub reveals: Vec<RevealJob>,
    pub commitments: Vec<Envelope>,
    /// Blobs that the server had from the start.
    pub offered: HashSet<FileDigest>,
    /// Commitments are answered with this status instead.
    pub refuse_commitments: Option<u16>,
    pub reports: Vec<(String, Report)>,
    pub heartbeats: u32,
    /// Heartbeats are answered with 409 from now on.
    pub lease_is_lost: bool,
    /// So many requests are answered with 503 first.
    pub unavailable: u32,
    pub nonces: HashSet<String>,
    pub complaints: Vec<String>,
}

#[derive(Clone)]
pub struct Server {
    pub state: Arc<Mutex<State>>,
    pub url: String,
}

struct Request {
    method: String,
    path: String,
    auth: String,
    body: Vec<u8>,
}

impl Server {
    pub fn start(key: RequestPublicKey) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self {
            state: Arc::default(),
            url,
        };
        let handler = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (handler, key) = (handler.clone(), key.clone());
                std::thread::spawn(move || handler.serve(stream, &key));
            }
        });
        server
    }

    fn serve(&self, stream: TcpStream, key: &RequestPublicKey) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some(request) = read_request(&mut reader) {
            let (status, body) = self.answer(&request, key);
            let length = if status == 204 {
                String::new()
            } else {
                format!("content-length: {}\r\n", body.len())
            };
            let head = format!("HTTP/1.1 {status} X\r\n{length}\r\n");
            if stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&body))
                .is_err()
            {
                return;
            }
        }
    }

    fn answer(&self, request: &Request, key: &RequestPublicKey) -> (u16, Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let now = Timestamp::from_unix_secs(i64::try_from(now).unwrap());
        let auth: RequestAuth = request.auth.parse().unwrap();
        let authority = authority(&self.url);
        let target = Target {
            authority: &authority,
            method: &request.method,
            path_and_query: &request.path,
            body: FileDigest::of(&request.body),
        };
        let verified = auth.verify(key, &target, now);
        if verified.is_err() || !state.nonces.insert(auth.nonce.clone()) {
            state
                .complaints
                .push(format!("{} {}: {verified:?}", request.method, request.path));
            return (401, b"{}".to_vec());
        }
        if state.unavailable > 0 {
            state.unavailable -= 1;
            return (503, b"{}".to_vec());
        }
        let parts: Vec<&str> = request
            .path
            .trim_start_matches("/api/v1/")
            .split('/')
            .collect();
        match (request.method.as_str(), &parts[..]) {
            ("POST", ["worker", "lease"]) => lease(state, &request.body),
            ("POST", ["worker", "jobs", job, "commit"]) => {
                commit(&mut state, job.parse().unwrap(), &request.body)
            }
            ("POST", ["worker", "jobs", _, "heartbeat"]) => {
                let _: Heartbeat = serde_json::from_slice(&request.body).unwrap();
                state.heartbeats += 1;
                if state.lease_is_lost {
                    (409, b"{}".to_vec())
                } else {
                    (204, Vec::new())
                }
            }
            ("POST", ["worker", "jobs", job, "report"]) => {
                let report = serde_json::from_slice(&request.body).unwrap();
                state.reports.push(((*job).to_owned(), report));
                (204, Vec::new())
            }
            ("GET", ["blobs", digest]) => match state.blobs.get(&digest.parse().unwrap()) {
                Some(bytes) => (200, bytes.clone()),
                None => (
                    404,
                    b"{\"error\":\"no such blob\",\"code\":\"not-found\"}".to_vec(),
                ),
            },
            ("PUT", ["blobs", digest]) => {
                state
                    .blobs
                    .insert(digest.parse().unwrap(), request.body.clone());
                (201, Vec::new())
            }
            other => panic!("{other:?}"),
        }
    }

    /// Offers a recorded build as a job.
    pub fn offer(&self, srpm: &Path, recorded: &Recorded, change: impl FnOnce(&mut BuildInfo)) {
        let mut info = recorded.info.clone();
        change(&mut info);
        let mut state = self.state.lock().unwrap();
        let mut put = |bytes: Vec<u8>| {
            let digest = FileDigest::of(&bytes);
            state.offered.insert(digest);
            state.blobs.insert(digest, bytes);
            digest
        };
        for package in &recorded.packages {
            put(fs::read(package).unwrap());
        }
        let job = RebuildJob {
            job: 7,
            build: 1,
            lease_epoch: 3,
            lease_secs: 2,
            profile: "plain".to_owned(),
            runs: 1,
            source_name: "source.src.rpm".to_owned(),
            source: put(fs::read(srpm).unwrap()),
            buildinfo: put(info.to_json()),
            packages: info
                .outputs
                .iter()
                .map(|output| ExpectedPackage {
                    nevra: output.nevra.clone(),
                    file: output.file_sha256,
                    header: output.header_sha256,
                    size_bytes: output.size_bytes,
                })
                .collect(),
        };
        state.jobs.push(job);
    }

    /// Offers a recorded build under a challenge profile.
    pub fn offer_under(&self, profile: &str, srpm: &Path, recorded: &Recorded) {
        self.offer(srpm, recorded, |_| {});
        self.state.lock().unwrap().jobs[0].profile = profile.to_owned();
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|count| *count > 0)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut auth) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            name if name == HEADER => auth = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path,
        auth,
        body,
    })
}
fn lease(mut state: MutexGuard<'_, State>, body: &[u8]) -> (u16, Vec<u8>) {
    let wanted: LeaseRequest = serde_json::from_slice(body).unwrap();
    assert!(wanted.wait_secs <= 60 && !wanted.profiles.is_empty());
    let mut task = state.reveals.pop().map(Task::Reveal);
    if task.is_none() && !wanted.arches.is_empty() {
        task = state.jobs.pop().map(Task::Rebuild);
    }
    if let Some(task) = task {
        return (200, serde_json::to_vec(&task).unwrap());
    }
    drop(state);
    std::thread::sleep(Duration::from_millis(20));
    (204, Vec::new())
}

fn commit(state: &mut State, job: u64, body: &[u8]) -> (u16, Vec<u8>) {
    if let Some(status) = state.refuse_commitments {
        return (status, b"{}".to_vec());
    }
    let commit: Commit = serde_json::from_slice(body).unwrap();
    let commitment = FileDigest::of(&commit.commitment.to_json());
    let mut round = vec![commitment, FileDigest::of(b"another's")];
    round.sort();
    if !state.commitments.contains(&commit.commitment) {
        assert!(
            state.blobs.keys().all(|blob| state.offered.contains(blob)),
            "something was told before the commitment was taken"
        );
        state.commitments.push(commit.commitment);
        state.reveals.push(RevealJob {
            job,
            build: 1,
            lease_epoch: 3,
            lease_secs: 2,
            commitment,
            round,
        });
    }
    (204, Vec::new())
}
