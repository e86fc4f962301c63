//! `/api/v1/mirrors`: who mirrors, how each fares; operators decide, mirrors look after themselves.

use super::auth::Bearer;
use super::error::ApiError;
use crate::app::{App, now};
use crate::db::mirrors::{self as rows, Entered};
use crate::db::{self, DbError};
use crate::fleet;
use crate::tokens::{Scope, new_secret, secret_digest};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::IntoResponse;
use mirrors::probing::is_public;
use repo_model::MirrorName;
use repo_model::config::MirrorsConfig;
use repo_model::wire::mirrors::{
    MAX_TEXT_CHARS, MirrorReport, MirrorStatus, Registered, Registration, RegistrationError,
    Reject, Standing,
};
use std::net::IpAddr;

/// `GET /api/v1/mirrors`: everybody sees those that everybody may be sent to, operators all.
pub async fn list(
    State(app): State<App>,
    bearer: Option<Bearer>,
) -> Result<Json<Vec<MirrorStatus>>, ApiError> {
    let all_of_them = bearer.is_some_and(|bearer| bearer.operates());
    let mut all = app
        .db
        .read(|connection| fleet::statuses(connection, now()))
        .await?;
    all.retain(|status| all_of_them || status.is_open());
    Ok(Json(all))
}

/// `GET /mirrors/seen.json`: what was seen of them, signed.
pub async fn seen(State(app): State<App>) -> Result<impl IntoResponse, ApiError> {
    let said = app.fleet.said().ok_or_else(|| {
        ApiError::not_found("nothing is said about mirrors now".to_owned())
            .hint("it is said within minutes of a start, while a mirror is registered and the signer can be reached")
    })?;
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, said.envelope.clone()))
}

/// `GET /api/v1/mirrors/{name}`.
pub async fn one(
    State(app): State<App>,
    bearer: Option<Bearer>,
    Path(name): Path<MirrorName>,
) -> Result<Json<MirrorReport>, ApiError> {
    let whole = bearer.is_some_and(|bearer| bearer.speaks_for(&name));
    let asked = name.clone();
    let report = app
        .db
        .read(move |connection| fleet::report(connection, &asked, now()))
        .await?;
    let mut report = report
        .filter(|report| whole || report.status.is_open())
        .ok_or_else(|| unknown(&name))?;
    report.warning = warning(&app.config.mirrors, &report.status.urls);
    if !whole {
        (report.registration, report.rejected_because) = (None, None);
    }
    Ok(Json(report))
}

/// `POST /api/v1/mirrors`: asks to be listed; an operator's token lets the mirror in at once.
pub async fn register(
    State(app): State<App>,
    bearer: Option<Bearer>,
    Json(registration): Json<Registration>,
) -> Result<(StatusCode, Json<Registered>), ApiError> {
    registration.check().map_err(unfit)?;
    let operator = bearer.filter(Bearer::operates);
    let standing = match operator {
        Some(_) => Standing::Approved,
        None => Standing::Pending,
    };
    let actor = operator.map_or_else(
        || "a mirror's operator".to_owned(),
        |one| one.name().to_owned(),
    );
    let secret = new_secret().map_err(|error| ApiError::internal(&error))?;
    let digest = secret_digest(&secret);
    let warning = warning(&app.config.mirrors, &registration.urls);
    let name = registration.name.clone();
    let scope = Scope::Mirror(name.clone()).to_string();
    let max_pending = app.config.mirrors.max_pending;
    let entered = app
        .db
        .write(move |tx| {
            let entered = rows::enter(tx, &registration, standing, max_pending, now())?;
            if entered == Entered::New {
                let name = registration.name.as_str();
                // Of a namesake that was forgotten.
                db::tokens::revoke_scopes(tx, &scope, now())?;
                db::tokens::insert(tx, name, &scope, digest, None, now())?;
                let subject = format!("mirror {name}");
                db::audit(
                    tx,
                    now(),
                    &actor,
                    "mirror-register",
                    &subject,
                    standing.name(),
                )?;
            }
            Ok::<_, DbError>(entered)
        })
        .await?;
    match entered {
        Entered::New => {
            app.fleet.due.notify_one();
            Ok((
                StatusCode::CREATED,
                Json(Registered {
                    standing,
                    token: secret,
                    warning,
                }),
            ))
        }
        Entered::Taken => {
            let message = format!("there is a mirror {name} already");
            Err(
                ApiError::client(StatusCode::CONFLICT, "mirror-taken", message).hint(
                    "choose another name; an operator changes a mirror with `hallmark mirrors set`",
                ),
            )
        }
        Entered::Full => {
            let message = format!("{max_pending} registrations wait for a decision already");
            Err(
                ApiError::client(StatusCode::TOO_MANY_REQUESTS, "too-many-pending", message)
                    .hint("come back when the operator of this repository has decided some"),
            )
        }
    }
}

/// `POST /api/v1/mirrors/{name}/describe`: describes a mirror anew.
pub async fn describe(
    State(app): State<App>,
    bearer: Bearer,
    Path(name): Path<MirrorName>,
    Json(registration): Json<Registration>,
) -> Result<StatusCode, ApiError> {
    bearer.may_operate()?;
    registration.check().map_err(unfit)?;
    if registration.name != name {
        let why = format!("{}, but the path says {name}", registration.name);
        return Err(unfit(RegistrationError { field: "name", why }));
    }
    change(&app, bearer.name(), &name, "mirror-change", move |tx| {
        rows::describe(tx, &registration)
    })
    .await
}

/// `POST /api/v1/mirrors/{name}/approve`.
pub async fn approve(
    State(app): State<App>,
    bearer: Bearer,
    Path(name): Path<MirrorName>,
) -> Result<StatusCode, ApiError> {
    bearer.may_operate()?;
    let asked = name.clone();
    change(&app, bearer.name(), &name, "mirror-approve", move |tx| {
        rows::decide(tx, &asked, None)
    })
    .await
}

/// `POST /api/v1/mirrors/{name}/reject`: turns a mirror away, also one that was let in.
pub async fn reject(
    State(app): State<App>,
    bearer: Bearer,
    Path(name): Path<MirrorName>,
    Json(body): Json<Reject>,
) -> Result<StatusCode, ApiError> {
    bearer.may_operate()?;
    let chars = body.reason.chars().count();
    if chars == 0 || chars > MAX_TEXT_CHARS {
        let why = format!("{chars} characters: want 1 to {MAX_TEXT_CHARS}");
        return Err(unfit(RegistrationError {
            field: "reason",
            why,
        }));
    }
    let asked = name.clone();
    change(&app, bearer.name(), &name, "mirror-reject", move |tx| {
        rows::decide(tx, &asked, Some(&body.reason))
    })
    .await
}

/// `POST /api/v1/mirrors/{name}/probe`: looks at it as soon as may be.
pub async fn probe(
    State(app): State<App>,
    bearer: Bearer,
    Path(name): Path<MirrorName>,
) -> Result<StatusCode, ApiError> {
    bearer.may_operate()?;
    let asked = name.clone();
    change(&app, bearer.name(), &name, "mirror-probe", move |tx| {
        rows::hurry(tx, &asked)
    })
    .await
}

/// `DELETE /api/v1/mirrors/{name}`: forgets it; its token ends.
pub async fn remove(
    State(app): State<App>,
    bearer: Bearer,
    Path(name): Path<MirrorName>,
) -> Result<StatusCode, ApiError> {
    bearer.must_speak_for(&name)?;
    let asked = name.clone();
    change(&app, bearer.name(), &name, "mirror-remove", move |tx| {
        db::tokens::revoke_scopes(tx, &Scope::Mirror(asked.clone()).to_string(), now())?;
        rows::remove(tx, &asked)
    })
    .await
}

/// Changes a mirror that is there, with an audit line; then clients are told anew.
async fn change(
    app: &App,
    actor: &str,
    name: &MirrorName,
    action: &'static str,
    work: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<bool, DbError> + Send + 'static,
) -> Result<StatusCode, ApiError> {
    let (actor, subject) = (actor.to_owned(), format!("mirror {name}"));
    let changed = app
        .db
        .write(move |tx| {
            let changed = work(tx)?;
            if changed {
                db::audit(tx, now(), &actor, action, &subject, "")?;
            }
            Ok::<_, DbError>(changed)
        })
        .await?;
    if !changed {
        return Err(unknown(name));
    }
    fleet::changed(app).await;
    Ok(StatusCode::NO_CONTENT)
}

fn unknown(name: &MirrorName) -> ApiError {
    ApiError::not_found(format!("there is no mirror {name} here"))
        .hint("`hallmark mirrors list` shows all; one that waits for a decision or is private needs its token")
}

/// What to tell about addresses that are plainly inside, where this server is not to ask. What a name leads to is
/// found out when it is looked at.
fn warning(config: &MirrorsConfig, urls: &[String]) -> Option<String> {
    if config.allow_private_addresses {
        return None;
    }
    let url = urls.iter().find(|url| is_inside(url))?;
    Some(format!(
        "{url} is no public address, so this server does not look at it and sends nobody there, unless its \
         configuration says `mirrors.allow_private_addresses = true`"
    ))
}

fn is_inside(url: &str) -> bool {
    let host = url.parse::<Uri>().ok();
    let host = host.as_ref().and_then(Uri::host).unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) => !is_public(address),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

fn unfit(error: RegistrationError) -> ApiError {
    ApiError::client(
        StatusCode::UNPROCESSABLE_ENTITY,
        "bad-registration",
        error.to_string(),
    )
    .hint("the mirror guide describes each field")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_never_looked_at_is_told_when_it_is_named() {
        let mut config = MirrorsConfig::default();
        let named = |url: &str| vec!["https://m.example/a".to_owned(), url.to_owned()];
        for inside in [
            "http://127.0.0.1:8081/x",
            "https://[::1]/x",
            "http://10.1.2.3",
            "http://LocalHost:80/",
        ] {
            let said = warning(&config, &named(inside)).unwrap_or_default();
            assert!(said.starts_with(inside), "{said}");
            assert!(said.contains("mirrors.allow_private_addresses"), "{said}");
        }
        for outside in ["https://m.example:8443/x", "http://192.88.100.1/x"] {
            assert_eq!(warning(&config, &named(outside)), None);
        }
        config.allow_private_addresses = true;
        assert_eq!(warning(&config, &named("http://127.0.0.1")), None);
    }
}
