//! `/api/v1/releases/{release}/evidence.tar.zst`: all evidence about a release in one file, made while it is sent, by
//! the same code and of the same answers as `hallmark evidence RELEASE -o FILE.tar.zst` makes it.
//!
//! A pack is made by a thread that waits for its client, so only a few are made at once, and none waits for long.

pub mod common;
mod here;

use super::content::lists;
use super::error::ApiError;
use crate::app::App;
use crate::db::{self, DbError};
use crate::jobs::chain;
use crate::status;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use futures_util::{Stream, stream};
use here::Here;
use mirrors::evidence::pack::{PackError, write_release};
use repo_model::wire::status::ReleaseStatus;
use repo_model::{FileDigest, ReleaseId};
use std::cell::Cell;
use std::io::{self, BufWriter, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// Most packs that are made at once: each costs a processor and a compressor's window.
pub const PACKING: usize = 2;
/// Seconds after which a client that found no place may ask again.
const RETRY_AFTER: &str = "30";
/// Bytes of a pack that are sent at a time.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that may wait for a slow client.
const PIECES: usize = 4;
/// Longest that a client may let a piece wait.
const PATIENCE: Duration = Duration::from_secs(30);
const MEDIA_TYPE: &str = "application/zstd";

/// `GET /api/v1/releases/{release}/evidence.tar.zst`; `newest` is a release too.
pub async fn get(
    State(app): State<App>,
    method: Method,
    Path(wanted): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (release, state) = find(&app, &wanted).await?;
    let id = release.id;
    // Weak: what is said while the pack is being sent may be in it.
    let etag = format!("\"{state}\"");
    let mut response = Response::builder()
        .header(header::ETAG, format!("W/{etag}"))
        .header(header::CACHE_CONTROL, "no-cache");
    let known = headers.get(header::IF_NONE_MATCH);
    let body = if known.is_some_and(|list| lists(list, &etag)) {
        response = response.status(StatusCode::NOT_MODIFIED);
        Body::empty()
    } else {
        response = response.header(header::CONTENT_TYPE, MEDIA_TYPE).header(
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"release-{id}.tar.zst\""),
        );
        match method == Method::HEAD {
            true => Body::empty(),
            false => packed(&app, release)?,
        }
    };
    response
        .body(body)
        .map_err(|error| ApiError::internal(&error))
}

/// The release, and what a pack of it depends on.
async fn find(app: &App, wanted: &str) -> Result<(ReleaseStatus, FileDigest), ApiError> {
    let missing = || {
        ApiError::not_found(format!("there is no release {wanted}"))
            .hint("GET /api/v1/releases names every release")
    };
    let id = match wanted {
        "newest" => None,
        number => Some(number.parse::<ReleaseId>().map_err(|_| missing())?),
    };
    let found = app
        .db
        .read(move |connection| {
            let release = match id {
                Some(id) => status::release(connection, id)?,
                None => status::releases(connection, 1)?.pop(),
            };
            let head = db::log::published_checkpoint(connection)?;
            let said = db::evidence::moved(connection)?;
            Ok::<_, DbError>(release.map(|release| {
                let state = format!("{} {said:?} {}", release.id, head.unwrap_or_default());
                (release, FileDigest::of(state.as_bytes()))
            }))
        })
        .await?;
    found.ok_or_else(missing)
}

fn packed(app: &App, release: ReleaseStatus) -> Result<Body, ApiError> {
    let place = Arc::clone(&app.packing)
        .try_acquire_owned()
        .map_err(|_| no_place())?;
    let (sender, pieces) = mpsc::channel(PIECES);
    let (whole, is_whole) = oneshot::channel();
    let here = Here::new(app.clone(), release);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let _place = place;
        let id = here.release();
        let sending = Sending::new(sender, runtime, PATIENCE);
        let is_left = Rc::clone(&sending.is_left);
        match write(&here, id, BufWriter::with_capacity(PIECE_BYTES, sending)) {
            // Who has gone needs no answer.
            Ok(()) => {
                let _ = whole.send(Whole);
            }
            Err(_) if is_left.get() => {
                tracing::debug!(
                    "the client of the pack of release {id} has gone, or takes too long"
                );
            }
            Err(error) => {
                let why = chain(&error);
                tracing::error!(error = why, "the pack of release {id} broke off: {why}");
            }
        }
    });
    Ok(Body::from_stream(sent(pieces, is_whole)))
}

/// Said after the last piece: without it, what was sent must not look whole.
struct Whole;

/// The pieces, and an error at the end when they are not the whole pack. Who makes it need not wait until the client
/// comes to that.
fn sent(
    pieces: mpsc::Receiver<Bytes>,
    is_whole: oneshot::Receiver<Whole>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::try_unfold((pieces, is_whole), |(mut pieces, is_whole)| async move {
        if let Some(piece) = pieces.recv().await {
            return Ok(Some((piece, (pieces, is_whole))));
        }
        match is_whole.await {
            Ok(Whole) => Ok(None),
            Err(_) => Err(io::Error::other("the pack broke off")),
        }
    })
}

fn write(here: &Here, id: ReleaseId, out: BufWriter<Sending>) -> Result<(), PackError> {
    let (mut out, _) = write_release(here, Some(id), out, &mut |_| ())?;
    out.flush().map_err(PackError::Out)
}

fn no_place() -> ApiError {
    let message = "as many packs as the server makes at once are under way";
    ApiError::client(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
        .hint("ask again in half a minute, or make the pack yourself: hallmark evidence RELEASE -o pack.tar.zst")
        .header(header::RETRY_AFTER, RETRY_AFTER)
}

/// What is written becomes pieces of an answer. Blocking, but never for longer than its patience.
struct Sending {
    pieces: mpsc::Sender<Bytes>,
    runtime: Handle,
    patience: Duration,
    /// Whether the client has gone or did not take a piece in time: it is not waited for again.
    is_left: Rc<Cell<bool>>,
}

impl Sending {
    fn new(pieces: mpsc::Sender<Bytes>, runtime: Handle, patience: Duration) -> Self {
        Self {
            pieces,
            runtime,
            patience,
            is_left: Rc::default(),
        }
    }
}

impl Write for Sending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_left.get() {
            let piece = Bytes::copy_from_slice(bytes);
            let sending = self.pieces.send_timeout(piece, self.patience);
            match self.runtime.block_on(sending) {
                Ok(()) => return Ok(bytes.len()),
                Err(_) => self.is_left.set(true),
            }
        }
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
