//! `/api/v1/jobs`, `/api/v1/audit` and `/api/v1/tokens`: what operators see, and tokens made and revoked.

use super::auth::Bearer;
use super::error::ApiError;
use super::params::Params;
use crate::app::{App, now};
use crate::db::operators::{self as rows, AuditFilter};
use crate::tokens::{self, ListedToken, NewToken, Scope, TokenError};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use repo_model::wire::operator::{
    AuditLine, CreateToken, CreatedToken, JobLine, MAX_TOKEN_DAYS, TokenStatus,
};
use std::collections::BTreeMap;

/// Most lines in one answer.
const MAX_LIMIT: u32 = 1_000;
const SECS_OF_DAY: i64 = 86_400;

/// `GET /api/v1/jobs?limit=`: what is not done, what fails first. Scope `operate`.
pub async fn jobs(
    State(app): State<App>,
    bearer: Bearer,
    Query(given): Query<BTreeMap<String, String>>,
) -> Result<Json<Vec<JobLine>>, ApiError> {
    bearer.may_operate()?;
    let mut params = Params::new(given);
    let limit = params.parsed("limit")?.unwrap_or(100).min(MAX_LIMIT);
    params.finish()?;
    let read = app.db.read(move |connection| rows::jobs(connection, limit));
    Ok(Json(read.await?))
}

/// `GET /api/v1/audit?before=&about=&people=true&limit=`: newest first. Scope `operate`.
pub async fn audit(
    State(app): State<App>,
    bearer: Bearer,
    Query(given): Query<BTreeMap<String, String>>,
) -> Result<Json<Vec<AuditLine>>, ApiError> {
    bearer.may_operate()?;
    let mut params = Params::new(given);
    let filter = AuditFilter {
        before: params.parsed("before")?,
        about: params.text("about")?,
        people: params.parsed("people")?.unwrap_or(false),
        limit: params.parsed("limit")?.unwrap_or(100).min(MAX_LIMIT),
    };
    params.finish()?;
    let read = app
        .db
        .read(move |connection| rows::audit_trail(connection, &filter));
    Ok(Json(read.await?))
}

/// `GET /api/v1/tokens`: by number, without secrets. Scope `operate`.
pub async fn tokens(
    State(app): State<App>,
    bearer: Bearer,
) -> Result<Json<Vec<TokenStatus>>, ApiError> {
    bearer.may_operate()?;
    Ok(Json(all_tokens(&app).await?))
}

/// `POST /api/v1/tokens`: makes one; its secret is in the answer and nowhere else. Scope `tokens`.
pub async fn create_token(
    State(app): State<App>,
    bearer: Bearer,
    Json(wanted): Json<CreateToken>,
) -> Result<(StatusCode, Json<CreatedToken>), ApiError> {
    let created = create(&app, &bearer, wanted).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// `DELETE /api/v1/tokens/{token}`: ends one at once. Scope `tokens`.
pub async fn revoke_token(
    State(app): State<App>,
    bearer: Bearer,
    Path(token_id): Path<u64>,
) -> Result<StatusCode, ApiError> {
    revoke(&app, &bearer, token_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All tokens, without their secrets.
pub async fn all_tokens(app: &App) -> Result<Vec<TokenStatus>, ApiError> {
    let listed = tokens::list_in(&app.db).await?;
    Ok(listed.into_iter().map(status).collect())
}

fn status(token: ListedToken) -> TokenStatus {
    TokenStatus {
        id: token.id,
        name: token.name,
        scopes: token.scopes.iter().map(Scope::to_string).collect(),
        created_at: token.created_at,
        expires_at: token.expires_at,
        revoked_at: token.revoked_at,
    }
}

/// Makes a token for whoever may.
pub async fn create(
    app: &App,
    bearer: &Bearer,
    wanted: CreateToken,
) -> Result<CreatedToken, ApiError> {
    bearer.may_manage_tokens()?;
    let name = wanted.name.trim().to_owned();
    if !(1..=MAX_TOKEN_DAYS).contains(&wanted.days) {
        return Err(refuse(format!("it ends after 1 to {MAX_TOKEN_DAYS} days")));
    }
    let mut scopes: Vec<Scope> = Vec::new();
    for scope in &wanted.scopes {
        let scope: Scope = scope.parse().map_err(|error| refuse(format!("{error}")))?;
        if let Scope::Publish(Some(repo)) = &scope
            && app.config.repo(repo).is_none()
        {
            return Err(refuse(format!("there is no repository {repo}")));
        }
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    if scopes.is_empty() {
        return Err(refuse("it has no scope".to_owned()));
    }
    let expires_at = now().plus_secs(i64::from(wanted.days) * SECS_OF_DAY);
    let new = NewToken {
        name,
        scopes,
        expires_at: Some(expires_at),
    };
    let made = tokens::create_in(&app.db, bearer.name(), new, now()).await?;
    Ok(CreatedToken {
        id: made.id,
        secret: made.secret,
        expires_at,
    })
}

fn refuse(message: String) -> ApiError {
    ApiError::client(StatusCode::UNPROCESSABLE_ENTITY, "bad-token", message)
        .hint("a token has a name, at least one scope, and an end")
}

/// Revokes a token for whoever may.
pub async fn revoke(app: &App, bearer: &Bearer, token_id: u64) -> Result<(), ApiError> {
    bearer.may_manage_tokens()?;
    Ok(tokens::revoke_in(&app.db, bearer.name(), token_id, now()).await?)
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Unknown { .. } => Self::not_found(error.to_string())
                .hint("GET /api/v1/tokens lists them; a revoked one stays revoked"),
            TokenError::BadName => refuse(error.to_string()),
            TokenError::Db(error) => error.into(),
            TokenError::DataDir(_) | TokenError::Random => Self::internal(&error),
        }
    }
}
