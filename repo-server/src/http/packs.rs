//! `/api/v1/releases/{release}/evidence.tar.zst`: all evidence about a release in one file, made while it is sent, by
//! the same code and of the same answers as `hallmark evidence RELEASE -o FILE.tar.zst` makes it.
//!
//! A pack is made by a thread that waits for its client, so only a few are made at once.

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
use futures_util::stream;
use here::Here;
use mirrors::evidence::pack::{PackError, write_release};
use repo_model::wire::status::ReleaseStatus;
use repo_model::{FileDigest, ReleaseId};
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Most packs that are made at once: each costs a processor and a compressor's window.
pub const PACKING: usize = 2;
/// Seconds after which a client that found no place may ask again.
const RETRY_AFTER: &str = "30";
/// Bytes of a pack that are sent at a time.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that may wait for a slow client.
const PIECES: usize = 4;
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
    let here = Here::new(app.clone(), release);
    tokio::task::spawn_blocking(move || {
        let _place = place;
        let id = here.release();
        let out = BufWriter::with_capacity(PIECE_BYTES, Sending(sender.clone()));
        if let Err(error) = write(&here, id, out) {
            if !sender.is_closed() {
                let why = chain(&error);
                tracing::error!(error = why, "the pack of release {id} broke off: {why}");
            }
            // Without this, what was sent would look whole.
            let _ = sender.blocking_send(Err(io::Error::other("the pack broke off")));
        }
    });
    Ok(Body::from_stream(stream::unfold(
        pieces,
        |mut pieces| async {
            let piece = pieces.recv().await?;
            Some((piece, pieces))
        },
    )))
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

/// What is written becomes pieces of an answer. Blocking.
struct Sending(mpsc::Sender<io::Result<Bytes>>);

impl Write for Sending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        match self.0.blocking_send(Ok(piece)) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
