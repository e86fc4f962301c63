//! `/api/v1/rebuilders`: the operator looks at rebuilders, lets them in, gives them rest.

use super::auth::Bearer;
use super::error::ApiError;
use crate::app::{App, now};
use crate::db::rebuilders::{Decided, EnrolmentRow};
use crate::db::{self, DbError};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use repo_model::WorkerName;
use repo_model::wire::rebuilders::{Decide, RebuilderStatus, SetMode, Standing};
use rusqlite::Connection;

/// `GET /api/v1/rebuilders`: those of the policy, then those that asked to be let in.
pub async fn list(
    State(app): State<App>,
    bearer: Bearer,
) -> Result<Json<Vec<RebuilderStatus>>, ApiError> {
    bearer.may_operate()?;
    let app_too = app.clone();
    let all = app
        .db
        .read(move |connection| statuses(&app_too, connection))
        .await?;
    Ok(Json(all))
}

fn statuses(app: &App, connection: &Connection) -> Result<Vec<RebuilderStatus>, DbError> {
    let modes = db::rebuilders::modes(connection)?;
    let at_work = db::rebuilders::at_work(connection)?;
    let mut all: Vec<RebuilderStatus> = app
        .policy
        .rebuilders
        .iter()
        .map(|holder| RebuilderStatus {
            name: holder.name.clone(),
            operator: holder.operator.clone(),
            standing: Standing::Policy,
            mode: Default::default(),
            request_key: holder.request_key.clone(),
            statement_key: holder.statement_key.clone(),
            contact: None,
            last_seen: None,
            leased: 0,
            sealed: 0,
        })
        .collect();
    let asking = db::rebuilders::enrolments(connection)?;
    let listed = |row: &EnrolmentRow| {
        let holder = app.policy.rebuilder(&row.name);
        holder.is_some_and(|holder| holder.request_key.as_ref() == Some(&row.request_key))
    };
    all.extend(
        asking
            .into_iter()
            .filter(|row| !listed(row))
            .map(|row| RebuilderStatus {
                name: row.name,
                operator: row.operator,
                standing: row.standing,
                mode: Default::default(),
                request_key: Some(row.request_key),
                statement_key: row.statement_key,
                contact: Some(row.contact),
                last_seen: None,
                leased: 0,
                sealed: 0,
            }),
    );
    for status in &mut all {
        // What is kept under the name is about the one who may work under it.
        if matches!(status.standing, Standing::Pending | Standing::Rejected) {
            continue;
        }
        if let Some(row) = modes.get(&status.name) {
            (status.mode, status.last_seen) = (row.mode, row.last_seen);
        }
        if let Some((leased, sealed)) = at_work.get(&status.name) {
            (status.leased, status.sealed) = (*leased, *sealed);
        }
    }
    Ok(all)
}

/// `POST /api/v1/rebuilders/{name}/approve`.
pub async fn approve(
    State(app): State<App>,
    bearer: Bearer,
    Path(name): Path<WorkerName>,
    Json(body): Json<Decide>,
) -> Result<StatusCode, ApiError> {
    decide(app, bearer, name, body, Standing::Approved).await
}

/// `POST /api/v1/rebuilders/{name}/reject`: also ends an approval.
pub async fn reject(
    State(app): State<App>,
    bearer: Bearer,
    Path(name): Path<WorkerName>,
    Json(body): Json<Decide>,
) -> Result<StatusCode, ApiError> {
    decide(app, bearer, name, body, Standing::Rejected).await
}

async fn decide(
    app: App,
    bearer: Bearer,
    name: WorkerName,
    body: Decide,
    standing: Standing,
) -> Result<StatusCode, ApiError> {
    bearer.may_operate()?;
    if app.policy.rebuilder(&name).is_some() {
        let message = format!("{name} is in the policy, which alone says that it counts");
        return Err(
            ApiError::client(StatusCode::CONFLICT, "in-policy", message).hint(
                "change the policy file; `hallmark rebuilders pause` keeps work from it meanwhile",
            ),
        );
    }
    let (actor, asked) = (bearer.name().to_owned(), name.clone());
    let decided = app
        .db
        .write(move |tx| {
            let key = &body.request_key;
            let decided = db::rebuilders::decide(tx, &asked, key, standing, &actor, now())?;
            if decided == Decided::Now {
                let subject = format!("rebuilder {asked}");
                let key = body.request_key.to_string();
                db::audit(tx, now(), &actor, standing.name(), &subject, &key)?;
            }
            Ok::<_, DbError>(decided)
        })
        .await?;
    match decided {
        Decided::Now | Decided::Before => Ok(StatusCode::NO_CONTENT),
        Decided::Unknown => Err(ApiError::not_found(format!(
            "no rebuilder {name} with this request key asks to be let in"
        ))
        .hint("`hallmark rebuilders list` shows who asks, with which key")),
    }
}

/// `POST /api/v1/rebuilders/{name}/mode`.
pub async fn set_mode(
    State(app): State<App>,
    bearer: Bearer,
    Path(name): Path<WorkerName>,
    Json(body): Json<SetMode>,
) -> Result<StatusCode, ApiError> {
    bearer.may_operate()?;
    let listed = app.policy.rebuilder(&name).is_some();
    let (actor, asked) = (bearer.name().to_owned(), name.clone());
    let known = app
        .db
        .write(move |tx| {
            if !listed && db::rebuilders::approved(tx, &asked)?.is_none() {
                return Ok(false);
            }
            db::rebuilders::set_mode(tx, &asked, body.mode)?;
            // Whom a build need not wait for any more may have been the last it waited for.
            for build_id in db::builds::in_stage(tx, "received")? {
                crate::jobs::enqueue_judge(tx, build_id)?;
            }
            let subject = format!("rebuilder {asked}");
            db::audit(tx, now(), &actor, body.mode.name(), &subject, "")?;
            Ok::<_, DbError>(true)
        })
        .await?;
    if !known {
        return Err(
            ApiError::not_found(format!("there is no rebuilder {name} that may work"))
                .hint("`hallmark rebuilders list` shows all"),
        );
    }
    app.jobs_changed.notify_one();
    app.rebuilds_changed.notify_waiters();
    Ok(StatusCode::NO_CONTENT)
}
