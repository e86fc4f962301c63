//! Operators on the web pages: who asks, and whether the operator meant it. A page wants [`Operator`], a form
//! [`Deed`], which there is only for a form of a page of ours that sent the session's secret back.

use super::auth::Bearer;
use super::error::ApiError;
use super::pages::error_page;
use super::sessions::{LIFE, Secret};
use super::upload_form;
use crate::app::App;
use axum::Form;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use repo_model::wire::worker::authority;
use std::time::Instant;

/// Where people log in.
const LOG_IN: &str = "/operator/log-in";
/// Where they come out.
pub const HOME: &str = "/operator";

/// Somebody who is logged in, with a token that may operate.
#[derive(Debug, Clone)]
pub struct Operator {
    /// The token.
    pub bearer: Bearer,
    /// What each form has to send back.
    pub csrf: Secret,
}

impl FromRequestParts<App> for Operator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let cookie = cookie(app, &parts.headers).unwrap_or_default();
        let Some(session) = app.sessions.find(cookie, Instant::now()) else {
            return Err(to_log_in(parts));
        };
        let bearer = match Bearer::with_token(app, session.token_id).await {
            Ok(bearer) => bearer,
            Err(error) if error.status() == StatusCode::UNAUTHORIZED => {
                app.sessions.end(cookie);
                return Err(to_log_in(parts));
            }
            Err(error) => return Err(error_page(app, &parts.headers, error)),
        };
        bearer
            .may_operate()
            .map_err(|error| error_page(app, &parts.headers, error))?;
        Ok(Self {
            bearer,
            csrf: session.csrf,
        })
    }
}

/// A form that an operator sent on purpose.
#[derive(Debug)]
pub struct Deed {
    /// Who.
    pub operator: Operator,
    fields: Vec<(String, String)>,
}

impl Deed {
    /// A field; empty when it is not there.
    pub fn field(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// Every value of a field that may be chosen more than once.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let of_name = self.fields.iter().filter(move |(own, _)| own == name);
        of_name.map(|(_, value)| value.as_str())
    }
}

impl FromRequest<App> for Deed {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let headers = parts.headers.clone();
        let refuse = |error: ApiError| error_page(app, &headers, error);
        from_here(app, &headers).map_err(refuse)?;
        let operator = Operator::from_request_parts(&mut parts, app).await?;
        let request = Request::from_parts(parts, body);
        let fields = fields(request, app).await.map_err(refuse)?;
        let deed = Self { operator, fields };
        if !deed.operator.csrf.is(deed.field("csrf")) {
            let error = ApiError::client(
                StatusCode::FORBIDDEN,
                "stale-form",
                "the form is not of this session",
            );
            return Err(refuse(error.hint(
                "Nothing was changed. Go back, load the page again, and send the form anew.",
            )));
        }
        Ok(deed)
    }
}

async fn fields(request: Request, app: &App) -> Result<Vec<(String, String)>, ApiError> {
    let bad = |what: &str| {
        ApiError::client(StatusCode::BAD_REQUEST, "bad-form", what.to_owned())
            .hint("Nothing was changed. Go back, load the page again, and send the form anew.")
    };
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    if !kind.starts_with("multipart/") {
        let form = Form::<Vec<(String, String)>>::from_request(request, app).await;
        return form
            .map(|form| form.0)
            .map_err(|error| bad(&error.to_string()));
    }
    let body = Bytes::from_request(request, app)
        .await
        .map_err(|error| bad(&error.to_string()))?;
    let found = upload_form::fields(&kind, &body).ok_or_else(|| bad("the form does not read"))?;
    let text = |(name, value): (&str, &[u8])| {
        let value = String::from_utf8(value.to_vec());
        value.map(|value| (name.to_owned(), value))
    };
    let texts: Result<Vec<_>, _> = found.into_iter().map(text).collect();
    texts.map_err(|_| bad("the file is not text"))
}

/// Refuses a form that another site's page sent. Browsers say where a form is from; who does not say it is no
/// browser with a session.
pub fn from_here(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let site_is_ours = text("sec-fetch-site").is_none_or(|site| site == "same-origin");
    let origin = text("origin").unwrap_or_default();
    if site_is_ours && is_origin(origin, &app.config.server.public_url) {
        return Ok(());
    }
    let message = format!(
        "the form was sent by {}, not by a page of {}",
        match origin {
            "" | "null" => "an unknown page",
            other => other,
        },
        app.config.server.public_url
    );
    Err(
        ApiError::client(StatusCode::FORBIDDEN, "other-origin", message).hint(
            "Nothing was changed. Open these pages by the address that `server.public_url` in the configuration names.",
        ),
    )
}

fn is_origin(origin: &str, public_url: &str) -> bool {
    let (Some((own, _)), Some((scheme, _))) =
        (public_url.split_once("://"), origin.split_once("://"))
    else {
        return false;
    };
    own == scheme && authority(origin) == authority(public_url)
}

/// Name of the cookie. With TLS browsers take one of that name from nobody but this host, over TLS.
fn cookie_name(app: &App) -> &'static str {
    match is_secure(app) {
        true => "__Host-hallmark",
        false => "hallmark",
    }
}

fn is_secure(app: &App) -> bool {
    app.config.server.public_url.starts_with("https://")
}

fn cookie<'a>(app: &App, headers: &'a HeaderMap) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).into_iter();
    let mut pairs = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    pairs.find_map(|pair| {
        pair.trim()
            .strip_prefix(cookie_name(app))?
            .strip_prefix('=')
    })
}

/// The cookie of a session that begins, or the end of one.
pub fn set_cookie(app: &App, secret: Option<&Secret>) -> String {
    let name = cookie_name(app);
    let secure = if is_secure(app) { "; Secure" } else { "" };
    let (value, age) = match secret {
        Some(secret) => (secret.reveal(), LIFE.as_secs()),
        None => ("", 0),
    };
    format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}")
}

/// Ends the session that a request came with.
pub fn end_session(app: &App, headers: &HeaderMap) {
    if let Some(secret) = cookie(app, headers) {
        app.sessions.end(secret);
    }
}

fn to_log_in(parts: &Parts) -> Response {
    let wanted = super::auth::path_and_query(parts);
    // What a form was sent to is no page to come back to.
    let next = match parts.method == axum::http::Method::GET {
        true => after_log_in(&wanted),
        false => HOME,
    };
    let to = match next {
        HOME => LOG_IN.to_owned(),
        next => format!("{LOG_IN}?next={}", web::url::segment(next)),
    };
    Redirect::to(&to).into_response()
}

/// Where a log-in leads: a page behind it, or the first of them. Never to another site.
pub fn after_log_in(next: &str) -> &str {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/?=&.-_%".contains(&b);
    let is_ours = next.starts_with("/operator") && next.len() <= 300 && next.bytes().all(is_plain);
    match is_ours && !next.starts_with(LOG_IN) {
        true => next,
        false => HOME,
    }
}

/// What every answer behind the log-in has: nobody keeps it, and browsers tell these pages (and no others)
/// where a form came from.
pub async fn closed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_very_server_are_its_own() {
        let own = "https://packages.example";
        for (origin, want) in [
            ("https://packages.example", true),
            ("https://Packages.example:443", true),
            ("http://packages.example", false),
            ("https://packages.example:8443", false),
            ("https://packages.example.evil.test", false),
            ("https://evil.test/?https://packages.example", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(is_origin(origin, own), want, "{origin}");
        }
        assert!(is_origin("http://127.0.0.1:8080", "http://127.0.0.1:8080"));
    }

    #[test]
    fn a_log_in_leads_to_no_other_site() {
        for (next, want) in [
            ("/operator/builds/17", "/operator/builds/17"),
            (
                "/operator/audit?about=build%2017",
                "/operator/audit?about=build%2017",
            ),
            ("//evil.test", HOME),
            ("/operator/../..//evil.test\\", HOME),
            ("https://evil.test/operator", HOME),
            ("/operator/log-in?next=/operator", HOME),
            ("/builds/17", HOME),
            ("/operator\r\nset-cookie: a", HOME),
            ("", HOME),
        ] {
            assert_eq!(after_log_in(next), want, "{next}");
        }
    }
}
