//! `/{channel}/{repo}/{arch}/evidence.tar.zst`: what the evidence of all packages of a repository has in common, so that
//! copies of it verify without the server ([`mirrors::evidence::beside`]). It moves with each release and with the log.

use crate::app::App;
use crate::http::error::ApiError;
use crate::jobs::JobError;
use crate::layout;
use crate::log::{directory, key};
use crate::stored::Stored;
use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use mirrors::evidence::beside::{MEDIA_TYPE, write_common};
use mirrors::evidence::pack::PackError;
use repo_model::RepoName;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Such answers that are made at once: each holds the lists of a repository.
static MAKING: Semaphore = Semaphore::const_new(2);
/// A further request waits this long for its turn.
const TURN_MAX: Duration = Duration::from_secs(20);
/// Seconds after which a client that had no turn may ask again.
const RETRY_AFTER: &str = "10";

/// Answers with the pack of this repository.
pub async fn serve(app: &App, method: &Method, repo: &RepoName) -> Result<Response, ApiError> {
    let headers = [
        (header::CONTENT_TYPE, MEDIA_TYPE),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    if method == Method::HEAD {
        return Ok((headers, Body::empty()).into_response());
    }
    let Ok(Ok(_place)) = tokio::time::timeout(TURN_MAX, MAKING.acquire()).await else {
        let message = "too many such answers are under way";
        let busy = ApiError::client(StatusCode::SERVICE_UNAVAILABLE, "busy", message);
        return Err(busy
            .hint("ask again in a few seconds")
            .header(header::RETRY_AFTER, RETRY_AFTER));
    };
    let key = key(app).await?;
    let (data_dir, repo) = (app.config.server.data_dir.clone(), repo.clone());
    let packed = app.db.read(move |connection| {
        let stored = Stored {
            connection,
            objects: layout::objects(&data_dir),
            log: directory(&data_dir),
            key,
        };
        Ok::<_, JobError>(write_common(&stored, &repo)?)
    });
    match packed.await {
        Ok(packed) => Ok((headers, packed).into_response()),
        Err(JobError::Pack(PackError::Missing(why))) => Err(ApiError::not_found(why)),
        Err(error) => Err(error.into()),
    }
}
