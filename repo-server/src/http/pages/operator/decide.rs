//! Deciding about one build: another try, a waiver, its end.

use super::{desk, done};
use crate::app::{App, now};
use crate::db::operators::{self as rows, AuditFilter};
use crate::http::desk::{Deed, Operator};
use crate::http::error::ApiError;
use crate::http::pages::{error_page, html, site};
use crate::http::waivers;
use crate::{decisions, status};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use repo_model::dsse::{Envelope, IN_TOTO_PAYLOAD_TYPE};
use repo_model::policy::waivers::{WAIVABLE, Waiver};
use repo_model::wire::status::{BuildStatus, MAX_REASON_CHARS};
use repo_model::{OperatorName, Timestamp};
use serde::Deserialize;
use std::collections::BTreeSet;
use web::DecideView;

/// Lines of the audit trail beside a build.
const TRAIL: u32 = 50;
const SECS_OF_DAY: i64 = 86_400;

/// Query of [`decide`].
#[derive(Debug, Deserialize)]
pub struct Done {
    done: Option<String>,
}

/// `GET /operator/builds/{build}`.
pub async fn decide(
    State(app): State<App>,
    Path(build_id): Path<u64>,
    Query(query): Query<Done>,
    operator: Operator,
    headers: HeaderMap,
) -> Response {
    decide_page(&app, &operator, build_id, done(query.done.as_deref()))
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn decide_page(
    app: &App,
    operator: &Operator,
    build_id: u64,
    done: Option<&str>,
) -> Result<Response, ApiError> {
    let build = known(app, build_id).await?;
    let filter = AuditFilter {
        about: Some(format!("build {build_id}")),
        limit: TRAIL,
        ..AuditFilter::default()
    };
    let trail = app
        .db
        .read(move |connection| rows::audit_trail(connection, &filter))
        .await?;
    let signers = app.policy.waiver_signers.iter();
    let people: BTreeSet<&OperatorName> = signers.map(|signer| &signer.person).collect();
    let people: Vec<OperatorName> = people.into_iter().cloned().collect();
    html(web::decide(&DecideView {
        desk: desk(&site(app), operator, done),
        build: &build,
        people: &people,
        max_waiver_days: app.policy.max_waiver_days,
        trail: &trail,
    }))
}

async fn known(app: &App, build_id: u64) -> Result<BuildStatus, ApiError> {
    let found = app
        .db
        .read(move |connection| status::build(connection, build_id))
        .await?;
    found.ok_or_else(|| ApiError::not_found(format!("there is no build {build_id}")))
}

/// `POST /operator/builds/{build}/retry`.
pub async fn retry(
    State(app): State<App>,
    Path(build_id): Path<u64>,
    headers: HeaderMap,
    deed: Deed,
) -> Response {
    let decided = decisions::retry(&app, deed.operator.bearer.name(), build_id).await;
    after(
        &app,
        &headers,
        build_id,
        "retry",
        decided.map_err(ApiError::from),
    )
}

/// `POST /operator/builds/{build}/reject`.
pub async fn reject(
    State(app): State<App>,
    Path(build_id): Path<u64>,
    headers: HeaderMap,
    deed: Deed,
) -> Response {
    let (actor, reason) = (deed.operator.bearer.name(), deed.field("reason"));
    let decided = decisions::reject(&app, actor, build_id, reason).await;
    after(
        &app,
        &headers,
        build_id,
        "reject",
        decided.map_err(ApiError::from),
    )
}

/// `POST /operator/builds/{build}/waiver`: the envelope that two people signed.
pub async fn waive(
    State(app): State<App>,
    Path(build_id): Path<u64>,
    headers: HeaderMap,
    deed: Deed,
) -> Response {
    let (actor, envelope) = (deed.operator.bearer.name(), deed.field("waiver"));
    let taken = waivers::take_in(&app, actor, envelope.as_bytes()).await;
    after(&app, &headers, build_id, "waiver", taken)
}

/// Back to the page of the build, or what was wrong.
fn after(
    app: &App,
    headers: &HeaderMap,
    build_id: u64,
    code: &str,
    outcome: Result<(), ApiError>,
) -> Response {
    match outcome {
        Ok(()) => {
            let page = web::url::operator_build(build_id);
            Redirect::to(&format!("{page}?done={code}")).into_response()
        }
        Err(error) => error_page(app, headers, error),
    }
}

/// `GET /operator/builds/{build}/waiver.json?finding=&reason=&days=`: a waiver for all packages of the build,
/// for two people to sign. Changes nothing.
pub async fn unsigned_waiver(
    State(app): State<App>,
    Path(build_id): Path<u64>,
    Query(query): Query<Vec<(String, String)>>,
    _operator: Operator,
    headers: HeaderMap,
) -> Response {
    let made = async {
        let waiver = waiver(&query, app.policy.max_waiver_days, now())?;
        let build = known(&app, build_id).await?;
        let packages: Vec<_> = build
            .packages
            .into_iter()
            .map(|package| (package.nevra, package.header))
            .collect();
        let payload = serde_json::to_vec(&waiver.statement(&packages))
            .map_err(|error| ApiError::internal(&error))?;
        Ok(Envelope::unsigned(IN_TOTO_PAYLOAD_TYPE, &payload))
    };
    match made.await {
        Ok(envelope) => {
            let file = format!("attachment; filename=\"waiver-{build_id}.json\"");
            let headers = [
                (header::CONTENT_TYPE, "application/json".to_owned()),
                (header::CONTENT_DISPOSITION, file),
            ];
            (headers, envelope.to_json()).into_response()
        }
        Err(error) => error_page(&app, &headers, error),
    }
}

/// The waiver that a query describes.
fn waiver(query: &[(String, String)], max_days: u32, now: Timestamp) -> Result<Waiver, ApiError> {
    let bad = |what: String| {
        ApiError::client(StatusCode::UNPROCESSABLE_ENTITY, "bad-waiver", what)
            .hint("Go back and fill in the form: at least one finding, a reason, and an end.")
    };
    let all = |name: &'static str| {
        let of_name = query.iter().filter(move |(own, _)| own == name);
        of_name.map(|(_, value)| value.trim())
    };
    let findings: BTreeSet<String> = all("finding").map(str::to_owned).collect();
    if let Some(other) = findings
        .iter()
        .find(|code| !WAIVABLE.contains(&code.as_str()))
    {
        let other: String = other.chars().take(80).collect();
        return Err(bad(format!("`{other}` cannot be waived")));
    }
    if findings.is_empty() {
        return Err(bad("no finding is chosen".to_owned()));
    }
    let reason = all("reason").next().unwrap_or_default().to_owned();
    if !(1..=MAX_REASON_CHARS).contains(&reason.chars().count()) {
        return Err(bad(format!(
            "the reason has 1 to {MAX_REASON_CHARS} characters"
        )));
    }
    let days: Option<u32> = all("days").next().and_then(|days| days.parse().ok());
    let days = days.filter(|days| (1..=max_days).contains(days));
    let days = days.ok_or_else(|| bad(format!("it holds for 1 to {max_days} days")))?;
    Ok(Waiver {
        findings,
        reason,
        issued_on: now,
        expires_on: now.plus_secs(i64::from(days) * SECS_OF_DAY),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiver_is_made_of_a_whole_form_and_of_no_other() {
        let now = Timestamp::from_unix_secs(1_000);
        let ask = |text: &str| {
            let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
            let query: Vec<_> = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            waiver(&query, 30, now)
        };
        let made = ask("finding=flaky&finding=rebuild-differs&reason=because&days=7").unwrap();
        assert_eq!(made.findings.len(), 2);
        assert_eq!(made.expires_on, now.plus_secs(7 * SECS_OF_DAY));
        for wrong in [
            "reason=because&days=7",
            "finding=flaky&days=7",
            "finding=flaky&reason= &days=7",
            "finding=flaky&reason=because&days=31",
            "finding=flaky&reason=because&days=0",
            "finding=flaky&reason=because&days=x",
            "finding=revoked&reason=because&days=7",
        ] {
            assert!(ask(wrong).is_err(), "{wrong}");
        }
    }
}
