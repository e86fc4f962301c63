//! `/log/…`: the transparency log as C2SP `tlog-tiles` lays it out, and which statement each entry is of.

use super::error::ApiError;
use crate::app::App;
use crate::log::{self, CHECKPOINT, StatementsTile, directory};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use repo_model::log::Tile;
use std::io;

/// `GET /log/checkpoint`: the signed head; it moves.
pub async fn checkpoint(State(app): State<App>) -> Result<Response, ApiError> {
    let path = directory(&app.config.server.data_dir).join(CHECKPOINT);
    let note = read(move || std::fs::read(path)).await?.ok_or_else(|| {
        ApiError::not_found("the log has no checkpoint yet").hint("ask again in a few seconds")
    })?;
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=1"),
    ];
    Ok((headers, note).into_response())
}

/// `GET /log/tile/{level}/{index}` and `/log/tile/entries/{index}`: hashes and entries; they stay.
pub async fn tile(State(app): State<App>, Path(rest): Path<String>) -> Result<Response, ApiError> {
    // Only the one spelling of a tile becomes a path.
    let tile: Tile = format!("tile/{rest}").parse().map_err(|_| missing(&rest))?;
    let directory = directory(&app.config.server.data_dir);
    stays(read(move || log::read(&directory, tile)).await?, &rest)
}

/// `GET /log/statements/{index}`: SHA-256 of the envelope of each entry, 32 bytes each; they stay.
pub async fn statements(
    State(app): State<App>,
    Path(rest): Path<String>,
) -> Result<Response, ApiError> {
    let tile = StatementsTile::parse(&rest).ok_or_else(|| missing(&rest))?;
    let directory = directory(&app.config.server.data_dir);
    let read = read(move || log::read_statements(&directory, tile));
    stays(read.await?, &rest)
}

fn missing(rest: &str) -> ApiError {
    ApiError::not_found(format!("the log has no tile {rest}"))
        .hint("a checkpoint's size says which tiles there are (C2SP tlog-tiles)")
}

fn stays(bytes: Option<Vec<u8>>, rest: &str) -> Result<Response, ApiError> {
    let bytes = bytes.ok_or_else(|| missing(rest))?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, bytes).into_response())
}

async fn read(
    task: impl FnOnce() -> io::Result<Vec<u8>> + Send + 'static,
) -> Result<Option<Vec<u8>>, ApiError> {
    let read = tokio::task::spawn_blocking(task).await;
    match read.map_err(|error| ApiError::internal(&error))? {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ApiError::internal(&error)),
    }
}
