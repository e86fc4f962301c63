//! Logging in and out.

use crate::app::{App, now};
use crate::db::{self, DbError};
use crate::http::auth::Bearer;
use crate::http::desk::{self, Deed};
use crate::http::error::ApiError;
use crate::http::pages::{error_page, html, site};
use crate::http::tree::client_address;
use axum::Form;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;
use web::LogInView;

/// Query of [`log_in_page`].
#[derive(Debug, Deserialize)]
pub struct Next {
    next: Option<String>,
}

/// What the log-in sends.
#[derive(Deserialize)]
pub struct LogIn {
    token: String,
    #[serde(default)]
    next: String,
}

/// `GET /operator/log-in?next=`.
pub async fn log_in_page(
    State(app): State<App>,
    Query(query): Query<Next>,
    headers: HeaderMap,
) -> Response {
    let next = query.next.unwrap_or_default();
    let view = LogInView {
        site: &site(&app),
        error: None,
        next: desk::after_log_in(&next),
    };
    html(web::log_in(&view)).unwrap_or_else(|error| error_page(&app, &headers, error))
}

/// `POST /operator/log-in`: a token with scope `operate` begins a session.
pub async fn log_in(
    State(app): State<App>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Form(form): Form<LogIn>,
) -> Response {
    if let Err(error) = desk::from_here(&app, &headers) {
        return error_page(&app, &headers, error);
    }
    let client = client_address(&app.config.server.trusted_proxies, client.ip(), &headers);
    let next = desk::after_log_in(&form.next);
    match admit(&app, client, &form.token).await {
        Ok(cookie) => {
            let cookie = [(header::SET_COOKIE, cookie)];
            (cookie, Redirect::to(next)).into_response()
        }
        Err(error) if error.status().is_client_error() => refused(&app, &headers, next, error),
        Err(error) => error_page(&app, &headers, error),
    }
}

/// The cookie of a new session.
async fn admit(app: &App, client: IpAddr, secret: &str) -> Result<String, ApiError> {
    if let Err(wait) = app.sessions.may_try(client, Instant::now()) {
        let minutes = wait.as_secs().div_ceil(60);
        let message = format!("too many wrong tokens came from {client}: wait {minutes} minutes");
        let error = ApiError::client(StatusCode::TOO_MANY_REQUESTS, "too-many-tries", message);
        return Err(error.header(header::RETRY_AFTER, wait.as_secs().to_string()));
    }
    let bearer = match Bearer::with_secret(app, secret).await {
        Ok(bearer) => bearer,
        Err(error) => {
            if error.status().is_client_error() {
                app.sessions.missed(client, Instant::now());
                tracing::warn!(%client, "a log-in from {client} failed: {}", error.message());
            }
            return Err(error);
        }
    };
    bearer.may_operate()?;
    record(app, bearer.name(), "log-in", format!("from {client}")).await?;
    let session = app.sessions.begin(bearer.token_id(), Instant::now())?;
    tracing::info!(%client, "{} logged in from {client}", bearer.name());
    Ok(desk::set_cookie(app, Some(&session)))
}

async fn record(
    app: &App,
    actor: &str,
    action: &'static str,
    detail: String,
) -> Result<(), DbError> {
    let actor = actor.to_owned();
    let write = move |tx: &rusqlite::Transaction<'_>| {
        db::audit(tx, now(), &actor, action, "web pages", &detail)
    };
    app.db.write(write).await
}

fn refused(app: &App, headers: &HeaderMap, next: &str, error: ApiError) -> Response {
    let view = LogInView {
        site: &site(app),
        error: Some(error.message()),
        next,
    };
    match html(web::log_in(&view)) {
        // Without the header that would have browsers ask for a name and a password.
        Ok(mut page) => {
            *page.status_mut() = error.status();
            page
        }
        Err(error) => error_page(app, headers, error),
    }
}

/// `POST /operator/log-out`: ends the session.
pub async fn log_out(State(app): State<App>, headers: HeaderMap, deed: Deed) -> Response {
    desk::end_session(&app, &headers);
    let name = deed.operator.bearer.name();
    if let Err(error) = record(&app, name, "log-out", String::new()).await {
        return error_page(&app, &headers, error.into());
    }
    let cookie = [(header::SET_COOKIE, desk::set_cookie(&app, None))];
    (cookie, Redirect::to("/operator/log-in")).into_response()
}
