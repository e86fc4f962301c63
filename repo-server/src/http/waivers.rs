//! `POST /api/v1/waivers`: takes in what two people signed, and has the builds judged again.

use super::auth::Bearer;
use super::error::ApiError;
use crate::app::{App, now};
use crate::db::builds::PackageRow;
use crate::db::evidence::{Kind, NewEvidence};
use crate::db::{self, DbError};
use crate::jobs;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use repo_model::FileDigest;
use repo_model::dsse::Envelope;
use repo_model::policy::waivers::{Valid, examine};
use repo_model::stage::{Event, Stage};
use std::collections::BTreeSet;

const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// Largest waiver, bytes: one of a thousand packages has 150 kB.
const MAX_BYTES: usize = 1 << 20;

/// The body is the envelope. It must count by the policy's own rules, and every package that it names
/// must be of a build that is not out yet; answers 204.
pub async fn submit(
    State(app): State<App>,
    bearer: Bearer,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    bearer.may_operate()?;
    take_in(&app, bearer.name(), &body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes in a signed waiver: its builds are judged again.
///
/// * `actor`: as the audit trail names whoever hands it in.
pub async fn take_in(app: &App, actor: &str, body: &[u8]) -> Result<(), ApiError> {
    let refuse = |message: String| {
        ApiError::client(StatusCode::UNPROCESSABLE_ENTITY, "bad-waiver", message)
            .hint("`hallmark waiver` makes and signs it; the operator's guide says who may")
    };
    if body.len() > MAX_BYTES {
        return Err(refuse(format!("a waiver has at most {MAX_BYTES} bytes")));
    }
    let envelope = Envelope::from_json(body).map_err(|error| refuse(error.to_string()))?;
    let valid = examine(&app.policy, &envelope, now()).map_err(|e| refuse(e.to_string()))?;
    let digest = app.store.put(envelope.to_json()).await?;
    let actor = actor.to_owned();
    let outcome = app
        .db
        .write(move |tx| record(tx, &valid, digest, &actor))
        .await?;
    match outcome {
        Outcome::Taken => {
            app.jobs_changed.notify_one();
            Ok(())
        }
        Outcome::Unknown(name) => Err(ApiError::not_found(format!("there is no package {name}"))),
        Outcome::TooLate(nevra, stage) => Err(ApiError::client(
            StatusCode::CONFLICT,
            "wrong-stage",
            format!("{nevra} is {stage}: a waiver changes nothing any more"),
        )),
    }
}

enum Outcome {
    Taken,
    Unknown(String),
    TooLate(String, Stage),
}

fn record(
    tx: &rusqlite::Transaction<'_>,
    valid: &Valid,
    digest: FileDigest,
    actor: &str,
) -> Result<Outcome, DbError> {
    let mut packages: Vec<PackageRow> = Vec::new();
    for subject in &valid.statement.subject {
        let found = match subject.header_digest() {
            Some(header) => db::builds::with_header(tx, header)?,
            None => Vec::new(),
        };
        if found.is_empty() {
            return Ok(Outcome::Unknown(subject.name.chars().take(200).collect()));
        }
        packages.extend(found);
    }
    let builds: BTreeSet<u64> = packages.iter().map(|package| package.build_id).collect();
    for package in &packages {
        let build = db::builds::by_id(tx, package.build_id)?;
        match build.map(|build| build.stage) {
            Some(Stage::Received | Stage::Approved | Stage::Held { .. }) => {}
            Some(stage) => return Ok(Outcome::TooLate(package.nevra.to_string(), stage)),
            None => return Ok(Outcome::Unknown(package.nevra.to_string())),
        }
    }
    for package in &packages {
        let new = NewEvidence {
            build_id: package.build_id,
            package_id: Some(package.package_id),
            kind: Kind::Waiver,
            label: label(valid),
            digest,
            media_type: ENVELOPE,
        };
        db::evidence::insert(tx, &new, now())?;
    }
    for build_id in builds {
        let held = db::builds::by_id(tx, build_id)?
            .is_some_and(|build| matches!(build.stage, Stage::Held { .. }));
        if held {
            db::builds::advance(tx, build_id, Event::Retried, now())?;
        }
        jobs::enqueue_judge(tx, build_id)?;
        let reason = &valid.statement.predicate.reason;
        let about = format!("build {build_id}");
        db::audit(
            tx,
            now(),
            actor,
            "waiver",
            &about,
            &format!("{}: {reason}", label(valid)),
        )?;
    }
    Ok(Outcome::Taken)
}

/// `rebuild-differs, rebuilds-missing by alice and bob until 2026-11-27T10:06:00Z`.
fn label(valid: &Valid) -> String {
    let waiver = &valid.statement.predicate;
    let findings: Vec<_> = waiver.findings.iter().map(String::as_str).collect();
    let people: Vec<_> = valid.by.iter().map(|person| person.as_str()).collect();
    format!(
        "{} by {} until {}",
        findings.join(", "),
        people.join(" and "),
        waiver.expires_on
    )
}
