//! The rebuilder's side of the worker protocol: each request is signed, each body is bounded, each
//! wait has a limit.

use crate::build::now;
use crate::scratch;
use repo_model::wire::ErrorBody;
use repo_model::wire::rebuilders::{Enrolment, EnrolmentAnswer};
use repo_model::wire::worker::{
    Commit, HEADER, Heartbeat, LeaseRequest, Report, RequestAuth, RequestKey, Target, Task,
    authority,
};
use repo_model::{FileDigest, WorkerName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

/// Largest JSON answer, bytes: a job of 20,000 packages takes 6 MB.
const MAX_JSON: u64 = 32 << 20;
/// Of an error answer, what is read.
const MAX_ERROR: u64 = 16 << 10;
const CONNECT: Duration = Duration::from_secs(10);
/// A connection on which nothing moves for this long is given up.
const STALLED: Duration = Duration::from_secs(60);
/// Answers come at the latest this long after the wait that was asked for.
const GRACE: Duration = Duration::from_secs(30);
/// Longest transfer of one blob.
const TRANSFER: Duration = Duration::from_secs(4 * 3_600);

/// A request to the server did not work.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server cannot be reached or does not answer. Retry later.
    #[error("cannot reach {url}")]
    Unreachable {
        /// The request's address.
        url: String,
        /// What went wrong.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The server is in trouble (5xx) or asks for patience (429). Retry later.
    #[error("{url} answered {status}: {said}")]
    Server {
        /// The request's address.
        url: String,
        /// HTTP status.
        status: u16,
        /// What it said.
        said: String,
    },
    /// The server refuses (4xx). Ours or the operator's fault: the same request is refused again.
    #[error("{url} refused with {status}: {said}")]
    Refused {
        /// The request's address.
        url: String,
        /// HTTP status.
        status: u16,
        /// What it said, and its hint.
        said: String,
    },
    /// The lease is over; somebody else may have the job. Drop it.
    #[error("the lease of job {job} is lost")]
    LeaseLost {
        /// The job.
        job: u64,
    },
    /// The server sent something else than was asked for. The server's fault; retry later.
    #[error("{url} sent {what}")]
    BadAnswer {
        /// The request's address.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// A local file cannot be read or written.
    #[error("cannot {action} {path}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No random bytes for a nonce.
    #[error("the system gives no random bytes")]
    Random,
}

impl ClientError {
    /// Whether the server was not reached or cannot serve now.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Server { .. })
    }
}

/// A connection to one server as one rebuilder.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    server_url: String,
    /// Requests are good for this server only.
    authority: String,
    worker: WorkerName,
    key: RequestKey,
}

enum Payload<'a> {
    None,
    Json(&'a [u8]),
    File(&'a Path, FileDigest),
}

impl Client {
    /// * `server_url`: `https://packages.example`, without the API's path.
    pub fn new(server_url: &str, worker: WorkerName, key: RequestKey) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(STALLED))
            .timeout_per_write(Some(STALLED))
            .user_agent(concat!("hallmark-rebuilder/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self {
            agent,
            server_url: server_url.trim_end_matches('/').to_owned(),
            authority: authority(server_url),
            worker,
            key,
        }
    }

    /// Asks for a task and waits for one as long as the request says; `None` when there is none.
    pub fn lease(&self, request: &LeaseRequest) -> Result<Option<Task>, ClientError> {
        let path = "/api/v1/worker/lease";
        let body = json(request);
        let patience = Duration::from_secs(request.wait_secs.into()) + GRACE;
        let answer = self.send("POST", path, &Payload::Json(&body), patience)?;
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        self.read_json(path, answer).map(Some)
    }

    /// Asks to be let in, or what became of it.
    pub fn enrol(&self, enrolment: &Enrolment) -> Result<EnrolmentAnswer, ClientError> {
        let path = "/api/v1/worker/enrol";
        let answer = self.send("POST", path, &Payload::Json(&json(enrolment)), STALLED)?;
        self.read_json(path, answer)
    }

    fn read_json<T: DeserializeOwned>(
        &self,
        path: &str,
        mut answer: Response<Body>,
    ) -> Result<T, ClientError> {
        let mut text = Vec::new();
        answer
            .body_mut()
            .as_reader()
            .take(MAX_JSON)
            .read_to_end(&mut text)
            .map_err(|error| self.bad(path, &error))?;
        serde_json::from_slice(&text).map_err(|error| self.bad(path, &error))
    }

    /// Keeps the lease of a job.
    pub fn heartbeat(&self, job: u64, lease_epoch: u64) -> Result<(), ClientError> {
        let path = format!("/api/v1/worker/jobs/{job}/heartbeat");
        let body = json(&Heartbeat { lease_epoch });
        self.of_job(job, self.send("POST", &path, &Payload::Json(&body), GRACE))
    }

    /// Commits to an answer.
    pub fn commit(&self, job: u64, commit: &Commit) -> Result<(), ClientError> {
        let path = format!("/api/v1/worker/jobs/{job}/commit");
        self.of_job(
            job,
            self.send("POST", &path, &Payload::Json(&json(commit)), STALLED),
        )
    }

    /// Reports the result.
    pub fn report(&self, job: u64, report: &Report) -> Result<(), ClientError> {
        let path = format!("/api/v1/worker/jobs/{job}/report");
        self.of_job(
            job,
            self.send("POST", &path, &Payload::Json(&json(report)), STALLED),
        )
    }

    fn of_job(
        &self,
        job: u64,
        answer: Result<Response<Body>, ClientError>,
    ) -> Result<(), ClientError> {
        match answer {
            Err(ClientError::Refused { status: 409, .. }) => Err(ClientError::LeaseLost { job }),
            other => other.map(|_| ()),
        }
    }

    /// Fetches a blob to a new file and checks its digest while it comes; the file is removed when it
    /// is not the one that was asked for.
    pub fn download(
        &self,
        blob: FileDigest,
        to: &Path,
        limit_bytes: u64,
    ) -> Result<(), ClientError> {
        let path = format!("/api/v1/blobs/{blob}");
        let mut answer = self.send("GET", &path, &Payload::None, TRANSFER)?;
        let file = File::create_new(to)
            .and_then(|file| {
                use std::os::unix::fs::PermissionsExt as _;
                file.set_permissions(std::fs::Permissions::from_mode(0o644))
                    .map(|()| file)
            })
            .map_err(|source| ClientError::Io {
                action: "write",
                path: to.to_owned(),
                source,
            })?;
        let copied = scratch::copy_hashed(answer.body_mut().as_reader(), file, limit_bytes);
        let problem = match copied {
            Ok((digest, _)) if digest == blob => return Ok(()),
            Ok((digest, bytes)) => format!("{bytes} bytes of digest {digest} instead"),
            Err(error) => error.to_string(),
        };
        let _ = std::fs::remove_file(to);
        Err(ClientError::BadAnswer {
            url: format!("{}{path}", self.server_url),
            what: problem,
        })
    }

    /// Stores a file as a blob and returns its digest.
    pub fn upload_file(&self, file: &Path) -> Result<FileDigest, ClientError> {
        let (digest, _) = scratch::hash_file(file).map_err(|source| ClientError::Io {
            action: "read",
            path: file.to_owned(),
            source,
        })?;
        let path = format!("/api/v1/blobs/{digest}");
        self.send("PUT", &path, &Payload::File(file, digest), TRANSFER)?;
        Ok(digest)
    }

    /// Stores bytes as a blob and returns their digest.
    pub fn upload(&self, bytes: &[u8]) -> Result<FileDigest, ClientError> {
        let digest = FileDigest::of(bytes);
        self.send(
            "PUT",
            &format!("/api/v1/blobs/{digest}"),
            &Payload::Json(bytes),
            STALLED,
        )?;
        Ok(digest)
    }

    /// Signs and sends one request; answers outside 2xx are errors.
    fn send(
        &self,
        method: &str,
        path: &str,
        payload: &Payload<'_>,
        patience: Duration,
    ) -> Result<Response<Body>, ClientError> {
        let url = format!("{}{path}", self.server_url);
        let unreachable = |source| ClientError::Unreachable {
            url: url.clone(),
            source: Box::new(source),
        };
        let body = match payload {
            Payload::None => FileDigest::of(b""),
            Payload::Json(bytes) => FileDigest::of(bytes),
            Payload::File(_, digest) => *digest,
        };
        let auth = self.auth(method, path, body)?.to_string();
        let sent = match payload {
            Payload::None => {
                let request = self.agent.get(&url).header(HEADER, &auth);
                request
                    .config()
                    .timeout_global(Some(patience))
                    .build()
                    .call()
            }
            Payload::Json(bytes) => self.with_body(method, &url, &auth, patience).send(*bytes),
            Payload::File(file, _) => {
                let opened = File::open(file).map_err(|source| ClientError::Io {
                    action: "read",
                    path: (*file).to_owned(),
                    source,
                })?;
                self.with_body(method, &url, &auth, patience).send(opened)
            }
        };
        let answer = sent.map_err(unreachable)?;
        if answer.status().is_success() {
            Ok(answer)
        } else {
            Err(refusal(url, answer))
        }
    }

    fn with_body(
        &self,
        method: &str,
        url: &str,
        auth: &str,
        patience: Duration,
    ) -> ureq::RequestBuilder<ureq::typestate::WithBody> {
        let (request, kind) = match method {
            "PUT" => (self.agent.put(url), "application/octet-stream"),
            _ => (self.agent.post(url), "application/json"),
        };
        let request = request.header(HEADER, auth).header("content-type", kind);
        request.config().timeout_global(Some(patience)).build()
    }

    fn auth(&self, method: &str, path: &str, body: FileDigest) -> Result<RequestAuth, ClientError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|_| ClientError::Random)?;
        let target = Target {
            authority: &self.authority,
            method,
            path_and_query: path,
            body,
        };
        Ok(RequestAuth::sign(
            &self.key,
            &self.worker,
            &target,
            now(),
            nonce,
        ))
    }

    fn bad(&self, path: &str, what: &dyn std::fmt::Display) -> ClientError {
        ClientError::BadAnswer {
            url: format!("{}{path}", self.server_url),
            what: format!("no usable answer: {what}"),
        }
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn refusal(url: String, mut answer: Response<Body>) -> ClientError {
    let status = answer.status();
    let mut text = Vec::new();
    let _ = answer
        .body_mut()
        .as_reader()
        .take(MAX_ERROR)
        .read_to_end(&mut text);
    let said = match serde_json::from_slice::<ErrorBody>(&text) {
        Ok(body) => match body.hint {
            Some(hint) => format!("{} (hint: {hint})", body.error),
            None => body.error,
        },
        Err(_) => String::from_utf8_lossy(&text).chars().take(200).collect(),
    };
    if status.is_client_error()
        && status != StatusCode::TOO_MANY_REQUESTS
        && status != StatusCode::REQUEST_TIMEOUT
    {
        ClientError::Refused {
            url,
            status: status.as_u16(),
            said,
        }
    } else {
        ClientError::Server {
            url,
            status: status.as_u16(),
            said,
        }
    }
}
