//! `/upstream/{name}/{path}`: a repository of others, verified and kept (`mirrors::pull`).
//!
//! A file that is on its way is handed on as it comes, but its last bytes are held back until all that was sent was found
//! right; where it was not, the connection breaks, and no client takes what it got for the whole.

use super::content::{Caching, Object, head, several};
use super::error::ApiError;
use super::parts;
use crate::app::App;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use futures_util::stream::{self, Stream};
use mirrors::pull::{Arrived, Flight, Found, Progress, Pull, PullError};
use repo_model::{FileDigest, RepoName};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::future::ready;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Requests that look for a file at once, each on a blocking thread: a slow upstream or disk must not take all of
/// those threads, by which everything else is done.
static LOOKING: Semaphore = Semaphore::const_new(128);
/// A further request waits this long for its turn.
const TURN_MAX: Duration = Duration::from_secs(5);
/// Bytes at the end of a file that wait for its digest.
const HELD_BACK_BYTES: u64 = 64 << 10;
/// Read at once, bytes.
const PIECE_BYTES: u64 = 256 << 10;
/// Between two looks at a file that is on its way.
const LOOK_EACH: Duration = Duration::from_millis(20);

/// `GET /upstream/{name}/{path}`.
pub async fn get(
    State(app): State<App>,
    method: Method,
    Path((name, path)): Path<(RepoName, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let pull = app.upstreams.get(&name).cloned().ok_or_else(|| {
        ApiError::not_found(format!("there is no upstream {name}"))
            .hint("[[upstream]] in the configuration names them")
    })?;
    match find(pull, path.clone()).await? {
        Found::Pointer(bytes) => {
            let bytes = Bytes::from(bytes);
            let object = Object {
                digest: FileDigest::of(&bytes),
                size_bytes: bytes.len() as u64,
                media_type: media_type(&path).to_owned(),
                caching: Caching::Revalidate,
                modified: None,
            };
            let (response, part) = head(&method, &headers, &object);
            let cut = |part: Range<u64>| {
                // Both are within the few kilobytes of the text.
                let place = |at: u64| usize::try_from(at).unwrap_or(bytes.len());
                bytes.slice(place(part.start)..place(part.end))
            };
            finish(
                response,
                part.map_or(Body::empty(), |part| cut(part).into()),
            )
        }
        Found::Kept {
            file,
            digest,
            size_bytes,
        } => {
            let arrived = Arrived {
                digest,
                size_bytes,
                file,
            };
            kept(&method, &headers, &path, arrived)
        }
        Found::Coming { flight, size_bytes } => match size_bytes {
            Some(size) if method == Method::GET && !headers.contains_key(header::RANGE) => {
                let response = Response::builder()
                    .header(header::CONTENT_LENGTH, size)
                    .header(header::CONTENT_TYPE, media_type(&path));
                let stream = stream::try_unfold(Along::new(flight, size), Along::next);
                finish(response, Body::from_stream(stream))
            }
            _ => kept(&method, &headers, &path, arrival(&flight).await?),
        },
    }
}

/// Looks for a file in its turn.
async fn find(pull: Arc<Pull>, path: String) -> Result<Found, ApiError> {
    let turn = tokio::time::timeout(TURN_MAX, LOOKING.acquire()).await;
    let Ok(Ok(turn)) = turn else {
        return Err(refusal(PullError::Busy));
    };
    let found = tokio::task::spawn_blocking(move || {
        // Its turn ends with the work, also when the client has gone.
        let _turn = turn;
        pull.find(&path)
    });
    let found = found.await.map_err(|error| ApiError::internal(&error))?;
    found.map_err(refusal)
}

fn finish(response: axum::http::response::Builder, body: Body) -> Result<Response, ApiError> {
    response
        .body(body)
        .map_err(|error| ApiError::internal(&error))
}

fn refusal(error: PullError) -> ApiError {
    match error {
        PullError::Missing { .. } => ApiError::not_found(error.to_string()),
        PullError::Busy => ApiError::client(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "too much is being fetched from upstream",
        )
        .header(header::RETRY_AFTER, "5"),
        PullError::Upstream(_) => {
            ApiError::unavailable("upstream cannot be used; try again later", &error)
                .header(header::RETRY_AFTER, "10")
        }
        PullError::InUse { .. } | PullError::Local { .. } => ApiError::internal(&error),
    }
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("rpm") => "application/x-rpm",
        Some("xml") => "application/xml",
        Some("asc") => "application/pgp-signature",
        Some("zst") => "application/zstd",
        Some("gz") => "application/gzip",
        Some("xz") => "application/x-xz",
        _ => "application/octet-stream",
    }
}

/// Answers with a file that is here; names of the same path may mean another one tomorrow.
fn kept(
    method: &Method,
    headers: &HeaderMap,
    path: &str,
    arrived: Arrived,
) -> Result<Response, ApiError> {
    let object = Object {
        digest: arrived.digest,
        size_bytes: arrived.size_bytes,
        media_type: media_type(path).to_owned(),
        caching: Caching::Revalidate,
        modified: None,
    };
    let file = arrived.file;
    if let Some(wanted) = several(headers, &object) {
        let open = move |part| ready(io::Result::Ok(pieces(Arc::clone(&file), part)));
        let (response, body) = parts::answer(method, &object, wanted, open);
        return finish(response, body);
    }
    let (response, part) = head(method, headers, &object);
    let body = part.map_or(Body::empty(), |part| Body::from_stream(pieces(file, part)));
    finish(response, body)
}

/// A part of a file, as it is read.
fn pieces(file: Arc<File>, part: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(part, move |part| {
        let file = Arc::clone(&file);
        async move {
            let bytes = piece(file, part.start, part.end).await?;
            let next = part.start + bytes.len() as u64..part.end;
            io::Result::Ok((!bytes.is_empty()).then_some((bytes, next)))
        }
    })
}

/// Waits for the end of a flight.
async fn arrival(flight: &Flight) -> Result<Arrived, ApiError> {
    loop {
        match flight.progress() {
            Progress::Coming => tokio::time::sleep(LOOK_EACH).await,
            Progress::Arrived(arrived) => return Ok(arrived),
            Progress::Lost { why } => {
                return Err(ApiError::unavailable(
                    "upstream does not have it as its metadata says; try again later",
                    &io::Error::other(why),
                ));
            }
        }
    }
}

/// The next bytes of a file, some up to `end`; none when it has no more.
async fn piece(file: Arc<File>, start: u64, end: u64) -> io::Result<Bytes> {
    let most = end.saturating_sub(start).min(PIECE_BYTES);
    let read = tokio::task::spawn_blocking(move || {
        // At most PIECE_BYTES.
        let mut bytes = vec![0; usize::try_from(most).unwrap_or(0)];
        let count = file.read_at(&mut bytes, start)?;
        bytes.truncate(count);
        Ok(Bytes::from(bytes))
    });
    read.await.map_err(io::Error::other)?
}

/// A client that gets a file while it comes.
struct Along {
    flight: Arc<Flight>,
    size_bytes: u64,
    sent: u64,
    /// Of what was sent.
    sum: Sha256,
}

impl Along {
    fn new(flight: Arc<Flight>, size_bytes: u64) -> Self {
        Self {
            flight,
            size_bytes,
            sent: 0,
            sum: Sha256::new(),
        }
    }

    async fn next(self) -> io::Result<Option<(Bytes, Self)>> {
        if self.sent == self.size_bytes {
            return Ok(None);
        }
        loop {
            match self.flight.progress() {
                Progress::Coming => {
                    let limit = self.size_bytes.saturating_sub(HELD_BACK_BYTES);
                    let bytes = match File::open(self.flight.partial()) {
                        Ok(file) => piece(Arc::new(file), self.sent, limit).await?,
                        Err(_) => Bytes::new(),
                    };
                    if bytes.is_empty() {
                        tokio::time::sleep(LOOK_EACH).await;
                        continue;
                    }
                    return Ok(Some(self.send(bytes)));
                }
                Progress::Arrived(arrived) => {
                    // What was sent may have come from an upstream that was wrong: it is part of the sum.
                    let bytes = piece(arrived.file, self.sent, self.size_bytes).await?;
                    if bytes.is_empty() {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    let (bytes, next) = self.send(bytes);
                    let is_last = next.sent == next.size_bytes;
                    let found = FileDigest::from_bytes(next.sum.clone().finalize().into());
                    if is_last && found != arrived.digest {
                        return Err(io::Error::other("wrong bytes were sent before"));
                    }
                    return Ok(Some((bytes, next)));
                }
                Progress::Lost { why } => return Err(io::Error::other(why)),
            }
        }
    }

    fn send(mut self, bytes: Bytes) -> (Bytes, Self) {
        self.sum.update(&bytes);
        self.sent += bytes.len() as u64;
        (bytes, self)
    }
}
