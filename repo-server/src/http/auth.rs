//! Who asks: bearer tokens for people and build systems, signed requests for rebuilders.

use super::error::ApiError;
use crate::app::{App, now};
use crate::db::{self, DbError};
use crate::tokens::{Scope, parse_scopes, secret_digest};
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use repo_model::wire::worker::{HEADER, MAX_SKEW_SECS, RequestAuth};
use repo_model::{FileDigest, RepoName, WorkerName};

/// Somebody with a valid token. Extracted before a byte of the body is read.
#[derive(Debug, Clone)]
pub struct Bearer {
    name: String,
    scopes: Vec<Scope>,
}

impl Bearer {
    /// The token's name and number, for the audit trail and for ownership of uploads.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Refuses a token that cannot publish at all.
    pub fn may_upload(&self) -> Result<(), ApiError> {
        let may = self
            .scopes
            .iter()
            .any(|scope| matches!(scope, Scope::Publish(_)));
        self.demand(may, "publish")
    }

    /// Refuses a token that cannot publish to this repository.
    pub fn may_publish(&self, repo: &RepoName) -> Result<(), ApiError> {
        let may = self.scopes.iter().any(|scope| match scope {
            Scope::Publish(only) => only.as_ref().is_none_or(|only| only == repo),
            Scope::Operate | Scope::Read => false,
        });
        self.demand(may, &format!("publish:{repo}"))
    }

    /// Refuses a token that cannot operate.
    pub fn may_operate(&self) -> Result<(), ApiError> {
        self.demand(self.scopes.contains(&Scope::Operate), "operate")
    }

    /// Refuses a token that cannot read what is not public.
    pub fn may_read(&self) -> Result<(), ApiError> {
        self.demand(self.scopes.contains(&Scope::Read), "read")
    }

    fn demand(&self, may: bool, scope: &str) -> Result<(), ApiError> {
        if may {
            return Ok(());
        }
        let message = format!("token {} lacks the scope {scope}", self.name);
        Err(
            ApiError::client(StatusCode::FORBIDDEN, "forbidden", message)
                .hint("`hallmark token create` makes a token with another scope"),
        )
    }
}

impl FromRequestParts<App> for Bearer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let value = parts
            .headers
            .get(header::AUTHORIZATION)
            .ok_or_else(|| ApiError::unauthorized("this needs a token"))?;
        let secret = value
            .to_str()
            .ok()
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or_else(|| {
                ApiError::unauthorized("the Authorization header is not `Bearer TOKEN`")
            })?;
        let digest = secret_digest(secret.trim());
        let row = app
            .db
            .read(move |connection| db::tokens::by_secret(connection, digest))
            .await?
            .ok_or_else(|| ApiError::unauthorized("the token is not known here"))?;
        if row.revoked_at.is_some() {
            return Err(ApiError::unauthorized(format!(
                "token {} was revoked",
                row.name
            )));
        }
        if let Some(expires_at) = row.expires_at
            && expires_at <= now()
        {
            return Err(ApiError::unauthorized(format!(
                "token {} expired at {expires_at}",
                row.name
            )));
        }
        Ok(Self {
            name: format!("{} (token {})", row.name, row.token_id),
            scopes: parse_scopes(&row.scopes),
        })
    }
}

impl OptionalFromRequestParts<App> for Bearer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Option<Self>, ApiError> {
        if parts.headers.contains_key(header::AUTHORIZATION) {
            return <Self as FromRequestParts<App>>::from_request_parts(parts, app)
                .await
                .map(Some);
        }
        Ok(None)
    }
}

/// The rebuilder that signed a request over this method, path and body digest.
pub async fn worker(
    app: &App,
    headers: &HeaderMap,
    method: &str,
    path_and_query: &str,
    body: FileDigest,
) -> Result<WorkerName, ApiError> {
    let refuse = |message: String| {
        ApiError::client(StatusCode::UNAUTHORIZED, "bad-worker-signature", message).hint(
            "compare the rebuilder's name and request key with the server's policy, and its clock",
        )
    };
    let value = headers
        .get(HEADER)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| {
            refuse(format!(
                "this needs a request signed by a rebuilder ({HEADER} header)"
            ))
        })?;
    let auth: RequestAuth = value.parse().map_err(|error| refuse(format!("{error}")))?;
    let key = app
        .policy
        .rebuilder(&auth.worker)
        .and_then(|holder| holder.request_key.as_ref())
        .ok_or_else(|| {
            refuse(format!(
                "the policy has no rebuilder {} with a request key",
                auth.worker
            ))
        })?;
    let at = now();
    auth.verify(key, method, path_and_query, body, at)
        .map_err(|error| refuse(error.to_string()))?;
    let nonce = auth.nonce.clone();
    let fresh = app
        .db
        .write(move |tx| {
            let forget_before = at.plus_secs(-2 * MAX_SKEW_SECS);
            db::rebuilds::remember_nonce(tx, &nonce, at, forget_before)
        })
        .await
        .map_err(|error: DbError| ApiError::from(error))?;
    if fresh {
        Ok(auth.worker)
    } else {
        Err(refuse("this very request was made before".to_owned()))
    }
}
