//! `/healthz`: the process runs. `/readyz`: it can do its work.

use super::error::ApiError;
use super::keys::{self, SignerState};
use crate::app::App;
use crate::db::{self, DbError};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use rustix::fs::{StatVfs, StatVfsMountFlags};
use std::path::Path;

/// `GET /healthz`.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// With less than this free nothing of a usual size can be taken in, bytes.
const LEAST_FREE_BYTES: u64 = 16 << 20;

/// `GET /readyz`: 200, or 503 with what is missing. A missing signer does not stop serving, but
/// nothing new can be published then; nor can it while the signer has no policy in force, or the disk is full.
/// `policy` tells also when the signer judges by another policy than the server: what the server approves may then
/// be refused. `witnesses`: whether the head of the log has its quorum; without it releases wait. Why something is
/// missing is in the server's log: anybody may ask here.
pub async fn readyz(State(app): State<App>) -> Response {
    let database = app.db.read(db::releases::newest).await.is_ok();
    let data_dir = app.config.server.data_dir.clone();
    let storage = tokio::task::spawn_blocking(move || storage(&data_dir)).await;
    let storage = storage.unwrap_or_else(|_| Err("unknown".to_owned()));
    let seen = keys::seen(&app).await;
    let signer = match seen.state {
        SignerState::Signs | SignerState::SignsNothing(_) => "ok",
        SignerState::Refuses(_) => "refuses to be asked; the server's log says why",
        SignerState::Unreachable(_) => "unreachable",
    };
    let policy = match (&seen.state, seen.other_policy) {
        (SignerState::Unreachable(_) | SignerState::Refuses(_), _) => "unknown".to_owned(),
        (SignerState::SignsNothing(_), _) => {
            "none in force: the signer signs nothing; the server's log says why".to_owned()
        }
        (SignerState::Signs, None) => "ok".to_owned(),
        (SignerState::Signs, Some(version)) => format!(
            "differs: the signer has version {version}, the server version {}",
            app.policy.version
        ),
    };
    let witnesses = crate::log::witnesses_state(&app).await;
    let witnesses = witnesses.map(|state| state.unwrap_or_else(|| "none asked for".to_owned()));
    let ready = database && storage.is_ok() && seen.state == SignerState::Signs;
    let body = Json(serde_json::json!({
        "database": if database { "ok" } else { "unreachable" },
        "storage": storage.err().unwrap_or_else(|| "ok".to_owned()),
        "signer": signer,
        "policy": policy,
        "witnesses": witnesses.unwrap_or_else(|_| "unknown".to_owned()),
    }));
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, [(header::CACHE_CONTROL, "no-store")], body).into_response()
}

/// Whether something can be stored in the data directory. Blocking.
fn storage(data_dir: &Path) -> Result<(), String> {
    let found = rustix::fs::statvfs(data_dir).map_err(|error| format!("unusable: {error}"))?;
    judge(&found)
}

fn judge(found: &StatVfs) -> Result<(), String> {
    if found.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err("read-only".to_owned());
    }
    let free_bytes = found.f_bavail.saturating_mul(found.f_frsize);
    if free_bytes < LEAST_FREE_BYTES {
        return Err(format!("full: {free_bytes} bytes are free"));
    }
    // File systems without a table of files say that they have none at all.
    if found.f_files > 0 && found.f_favail == 0 {
        return Err("full: no more files can be made".to_owned());
    }
    Ok(())
}

/// `GET /metrics`.
pub async fn metrics(State(app): State<App>) -> Result<Response, ApiError> {
    let text = super::metrics::render(&app)
        .await
        .map_err(|error: DbError| ApiError::from(error))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
