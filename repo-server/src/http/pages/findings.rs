//! What rebuilders found about a build, read from the documents they signed and attached: for its page.

use super::{error_page, html, site};
use crate::app::{App, now};
use crate::db::evidence::{Kind, NewEvidence};
use crate::db::{self, DbError};
use crate::http::auth::Bearer;
use crate::http::error::ApiError;
use crate::status;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use repo_model::bisection::{self, Bisection};
use repo_model::dsse::Envelope;
use repo_model::statement::{REBUILD, Rebuild, Statement};
use repo_model::wire::status::{BuildStatus, EvidenceLink};
use repo_model::{FileDigest, Nevra, WorkerName};
use std::collections::BTreeMap;
use web::{PackageVerdict, REPORT_SUFFIX, ReportView};

/// Statements that are read for one page, and the largest that is.
const STATEMENTS: usize = 60;
const MAX_STATEMENT_BYTES: u64 = 1 << 20;
/// Largest report that is shown, bytes: rebuilders cut theirs at 1 MiB.
const MAX_REPORT_BYTES: u64 = 2 << 20;
/// Label of a bisection; who handed it in stands in the audit trail.
const BISECTION: &str = "bisection.json";

/// What each rebuilder found of each package. Only where somebody objects: where all agree there is nothing
/// to compare. A document that does not read is left out; it is linked all the same.
pub async fn verdicts(app: &App, build: &BuildStatus) -> Vec<PackageVerdict> {
    let objects = |verdict: repo_model::verdict::Verdict| !verdict.confirms();
    if !build.rebuilds.iter().filter_map(|r| r.verdict).any(objects) {
        return Vec::new();
    }
    // The newest statement of each rebuilder about each package.
    let mut newest: BTreeMap<(&Nevra, &str), FileDigest> = BTreeMap::new();
    for package in &build.packages {
        for link in package
            .evidence
            .iter()
            .filter(|link| link.kind == "rebuild")
        {
            newest.insert((&package.nevra, &link.label), link.digest);
        }
    }
    let mut found = Vec::new();
    for ((package, label), digest) in newest.into_iter().take(STATEMENTS) {
        if let Some(rebuild) = rebuild(app, digest).await
            && let Ok(rebuilder) = label.parse::<WorkerName>()
        {
            found.push(PackageVerdict {
                package: package.clone(),
                rebuilder,
                verdict: rebuild.verdict,
                profile: rebuild.profile,
                runs: rebuild.runs,
                causes: rebuild.causes,
            });
        }
    }
    found
}

async fn rebuild(app: &App, digest: FileDigest) -> Option<Rebuild> {
    let json = app.store.get(digest, MAX_STATEMENT_BYTES).await.ok()?;
    let envelope = Envelope::from_json(&json).ok()?;
    // It was verified when it was taken in, and is only shown here.
    let statement = Statement::<Rebuild>::open_unverified(&envelope, REBUILD).ok()?;
    Some(statement.predicate)
}

/// The newest bisection of a build, with its document.
pub async fn bisection(app: &App, build: &BuildStatus) -> Option<(Bisection, FileDigest)> {
    let is_bisection = |link: &&EvidenceLink| link.kind == "attachment" && link.label == BISECTION;
    let digest = build.documents.iter().rev().find(is_bisection)?.digest;
    let json = app
        .store
        .get(digest, bisection::MAX_BYTES as u64)
        .await
        .ok()?;
    let read = Bisection::from_json(&json).ok()?;
    Some((read, digest))
}

/// `POST /api/v1/builds/{build}/bisection`: the body is the report of `hallmark-rebuilder bisect` on the
/// build's source package; answers 204.
pub async fn submit_bisection(
    State(app): State<App>,
    bearer: Bearer,
    Path(build_id): Path<u64>,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    bearer.may_operate()?;
    let refuse = |message: String| {
        ApiError::client(StatusCode::UNPROCESSABLE_ENTITY, "bad-bisection", message)
            .hint("`hallmark-rebuilder bisect` on the source package of this very build makes it")
    };
    if body.len() > bisection::MAX_BYTES {
        let limit = bisection::MAX_BYTES;
        return Err(refuse(format!("a bisection has at most {limit} bytes")));
    }
    let report = Bisection::from_json(&body).map_err(|error| refuse(error.to_string()))?;
    let found = app
        .db
        .read(move |connection| db::builds::by_id(connection, build_id))
        .await?;
    let build =
        found.ok_or_else(|| ApiError::not_found(format!("there is no build {build_id}")))?;
    if build.source_file != report.source_sha256 {
        return Err(refuse(format!(
            "it is about the source package {}, build {build_id} is of {}",
            report.source_sha256, build.source_file
        )));
    }
    let digest = app.store.put(body).await?;
    let actor = bearer.name().to_owned();
    app.db
        .write(move |tx| {
            let new = NewEvidence {
                build_id,
                package_id: None,
                kind: Kind::Attachment,
                label: BISECTION.to_owned(),
                digest,
                media_type: "application/json",
            };
            db::evidence::insert(tx, &new, now())?;
            let subject = format!("build {build_id}");
            db::audit(tx, now(), &actor, "bisection", &subject, &digest.to_hex())
        })
        .await
        .map_err(|error: DbError| ApiError::from(error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /builds/{build}/reports/{digest}`: a rebuilder's report on what differs, in colour.
pub async fn report(
    State(app): State<App>,
    Path((id, digest)): Path<(u64, FileDigest)>,
    headers: HeaderMap,
) -> Response {
    let page = async {
        let missing = || ApiError::not_found(format!("build {id} has no report {digest}"));
        let build = app
            .db
            .read(move |connection| status::build(connection, id))
            .await?
            .ok_or_else(missing)?;
        let is_report = |link: &&EvidenceLink| {
            link.digest == digest
                && link.kind == "attachment"
                && link.label.ends_with(REPORT_SUFFIX)
        };
        let link = build.documents.iter().find(is_report).ok_or_else(missing)?;
        let bytes = app.store.get(digest, MAX_REPORT_BYTES).await?;
        html(web::report(&ReportView {
            site: &site(&app),
            build: id,
            source: &build.source,
            label: &link.label,
            digest,
            text: &String::from_utf8_lossy(&bytes),
        }))
    };
    page.await
        .unwrap_or_else(|error: ApiError| error_page(&app, &headers, error))
}
