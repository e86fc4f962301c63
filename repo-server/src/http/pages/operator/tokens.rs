//! Tokens: listed, made, revoked.

use super::{desk, done};
use crate::app::App;
use crate::http::desk::{Deed, Operator};
use crate::http::error::ApiError;
use crate::http::operators;
use crate::http::pages::{error_page, html, site};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use repo_model::wire::operator::{CreateToken, CreatedToken};
use serde::Deserialize;
use web::TokensView;

/// Query of [`tokens`].
#[derive(Debug, Deserialize)]
pub struct Done {
    done: Option<String>,
}

/// `GET /operator/tokens`.
pub async fn tokens(
    State(app): State<App>,
    Query(query): Query<Done>,
    operator: Operator,
    headers: HeaderMap,
) -> Response {
    page(&app, &operator, None, done(query.done.as_deref()))
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

/// `POST /operator/tokens`: makes one, and shows its secret on this one answer.
pub async fn create_token(State(app): State<App>, headers: HeaderMap, deed: Deed) -> Response {
    let made = async {
        let wanted = CreateToken {
            name: deed.field("name").to_owned(),
            scopes: deed.all("scope").map(str::to_owned).collect(),
            // What is no number is none that is allowed.
            days: deed.field("days").trim().parse().unwrap_or(0),
        };
        let made = operators::create(&app, &deed.operator.bearer, wanted).await?;
        page(&app, &deed.operator, Some(&made), None).await
    };
    made.await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

/// `POST /operator/tokens/{token}/revoke`.
pub async fn revoke_token(
    State(app): State<App>,
    Path(token_id): Path<u64>,
    headers: HeaderMap,
    deed: Deed,
) -> Response {
    match operators::revoke(&app, &deed.operator.bearer, token_id).await {
        Ok(()) => Redirect::to("/operator/tokens?done=revoke").into_response(),
        Err(error) => error_page(&app, &headers, error),
    }
}

async fn page(
    app: &App,
    operator: &Operator,
    made: Option<&CreatedToken>,
    done: Option<&str>,
) -> Result<Response, ApiError> {
    let tokens = operators::all_tokens(app).await?;
    let repos = app.config.repo.iter().map(|repo| repo.name.to_string());
    let repos: Vec<String> = repos.collect();
    html(web::tokens(&TokensView {
        desk: desk(&site(app), operator, done),
        tokens: &tokens,
        may_manage: operator.bearer.manages_tokens(),
        made,
        repos: &repos,
    }))
}
