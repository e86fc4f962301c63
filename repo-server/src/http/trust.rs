//! `/keys/trust/{name}`: the policy, and the documents of the people who vouch for it, for whoever verifies
//! packages. Public: they hold public keys only.

use super::error::ApiError;
use crate::app::App;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use repo_model::trust::document::MAX_DOCUMENT_BYTES;
use repo_model::trust::{SNAPSHOT_FILE, TARGETS_FILE, TIMESTAMP_FILE, root_file};
use std::io::{self, Read as _};
use std::path::PathBuf;

/// Name of the policy in its TUF repository.
const POLICY: &str = "policy.toml";

/// `GET /keys/trust/{name}`: `policy.toml`, `targets.json`, `1.root.json`, ...
pub async fn get(State(app): State<App>, Path(name): Path<String>) -> Result<Response, ApiError> {
    let missing = || {
        ApiError::not_found(format!("there is no {name} here")).hint(
            "policy.toml is always here; targets.json, snapshot.json, timestamp.json and N.root.json \
             when the policy is signed",
        )
    };
    let path = file(&app, &name).ok_or_else(missing)?;
    let read = tokio::task::spawn_blocking(move || read(path)).await;
    match read.map_err(|error| ApiError::internal(&error))? {
        Ok(bytes) => {
            let kind = match name.as_str() {
                POLICY => "text/plain; charset=utf-8",
                _ => "application/json",
            };
            let headers = [
                (header::CONTENT_TYPE, kind),
                (header::CACHE_CONTROL, "no-cache"),
            ];
            Ok((headers, bytes).into_response())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
        Err(error) => Err(ApiError::internal(&error)),
    }
}

/// Only names that mean something become paths.
fn file(app: &App, name: &str) -> Option<PathBuf> {
    let policy = &app.config.server.policy_file;
    if name == POLICY {
        return Some(policy.clone());
    }
    let root = name
        .strip_suffix(".root.json")
        .and_then(|version| version.parse().ok())
        .is_some_and(|version| root_file(version) == name);
    let known = root || [TARGETS_FILE, SNAPSHOT_FILE, TIMESTAMP_FILE].contains(&name);
    known.then(|| policy.with_file_name(name))
}

fn read(path: PathBuf) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_DOCUMENT_BYTES as u64)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
