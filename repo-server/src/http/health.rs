//! `/healthz`: the process runs. `/readyz`: it can do its work.

use super::error::ApiError;
use super::keys;
use crate::app::App;
use crate::db::{self, DbError};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

/// `GET /healthz`.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 200, or 503 with what is missing. A missing signer does not stop serving, but
/// nothing new can be published then. `policy` tells when the signer judges by another policy than the
/// server: what the server approves may then be refused. `witnesses`: whether the head of the log has its
/// quorum; without it releases wait.
pub async fn readyz(State(app): State<App>) -> Response {
    let database = app.db.read(db::releases::newest).await;
    let signer = keys::seen(&app).await;
    let word = |ok: bool| if ok { "ok" } else { "unreachable" };
    let ready = database.is_ok() && signer.answers;
    let policy = match (signer.answers, signer.other_policy) {
        (false, _) => "unknown".to_owned(),
        (true, None) => "ok".to_owned(),
        (true, Some(version)) => format!(
            "differs: the signer has version {version}, the server version {}",
            app.policy.version
        ),
    };
    let witnesses = crate::log::witnesses_state(&app).await;
    let witnesses = witnesses.map(|state| state.unwrap_or_else(|| "none asked for".to_owned()));
    let body = Json(serde_json::json!({
        "database": word(database.is_ok()),
        "signer": word(signer.answers),
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

/// `GET /metrics`.
pub async fn metrics(State(app): State<App>) -> Result<Response, ApiError> {
    let text = super::metrics::render(&app)
        .await
        .map_err(|error: DbError| ApiError::from(error))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}
