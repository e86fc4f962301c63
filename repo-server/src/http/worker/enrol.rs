//! A rebuilder asks to be let in. Nothing but a row that an operator looks at comes of it.

use super::{SMALL, parse, read};
use crate::app::{App, now};
use crate::db::rebuilders::Enrolled;
use crate::db::{self, DbError};
use crate::http::auth::{self, Worker, WorkerClaim};
use crate::http::error::ApiError;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use repo_model::FileDigest;
use repo_model::statement::Statement;
use repo_model::wire::rebuilders::{
    ENROLMENT, Enrolment, EnrolmentAnswer, EnrolmentProof, MAX_CONTACT_CHARS, Standing,
};

/// `POST /api/v1/worker/enrol`: 202 with where it stands.
pub async fn enrol(
    State(app): State<App>,
    request: Request,
) -> Result<(StatusCode, Json<EnrolmentAnswer>), ApiError> {
    let (parts, body) = request.into_parts();
    let claimed = auth::header(&parts.headers)?;
    let bytes = read(body, SMALL).await?;
    let enrolment: Enrolment = parse(&bytes)?;
    check(&enrolment)?;
    // Signed with the key that it brings along: whoever asks has it.
    let worker = Worker {
        name: enrolment.name.clone(),
        operator: enrolment.operator.clone(),
        statement_key: enrolment.statement_key.clone(),
    };
    let claim = WorkerClaim::of(claimed, worker, enrolment.request_key.clone());
    let path = auth::path_and_query(&parts);
    claim
        .prove(&app, parts.method.as_str(), &path, FileDigest::of(&bytes))
        .await?;
    let standing = stand(&app, enrolment).await?;
    Ok((StatusCode::ACCEPTED, Json(EnrolmentAnswer { standing })))
}

fn check(enrolment: &Enrolment) -> Result<(), ApiError> {
    let refuse = |why: String| {
        ApiError::client(StatusCode::UNPROCESSABLE_ENTITY, "bad-enrolment", why)
            .hint("`hallmark-rebuilder enrol` makes the request")
    };
    let contact = &enrolment.contact;
    if contact.chars().count() > MAX_CONTACT_CHARS || contact.chars().any(char::is_control) {
        return Err(refuse(format!(
            "the contact is longer than {MAX_CONTACT_CHARS} characters or has control characters"
        )));
    }
    let proof =
        Statement::<EnrolmentProof>::open(&enrolment.proof, &enrolment.statement_key, ENROLMENT)
            .map_err(|error| refuse(format!("the proof of the statement key: {error}")))?
            .predicate;
    let wanted = EnrolmentProof {
        name: enrolment.name.clone(),
        operator: enrolment.operator.clone(),
        request_key: enrolment.request_key.clone(),
    };
    if proof != wanted {
        return Err(refuse(
            "the proof of the statement key is of another enrolment".to_owned(),
        ));
    }
    Ok(())
}

async fn stand(app: &App, enrolment: Enrolment) -> Result<Standing, ApiError> {
    if let Some(holder) = app.policy.rebuilder(&enrolment.name) {
        if holder.request_key.as_ref() == Some(&enrolment.request_key) {
            return Ok(Standing::Policy);
        }
        let message = format!(
            "the policy lists a rebuilder {} with another key",
            enrolment.name
        );
        return Err(
            ApiError::client(StatusCode::CONFLICT, "name-taken", message)
                .hint("choose another name"),
        );
    }
    let name = enrolment.name.clone();
    let enrolled = app
        .db
        .write(move |tx| {
            let enrolled = db::rebuilders::enrol(tx, &enrolment, now())?;
            if enrolled == Enrolled::Stands(Standing::Pending) {
                let subject = format!("rebuilder {}", enrolment.name);
                let key = enrolment.request_key.to_string();
                db::audit(
                    tx,
                    now(),
                    enrolment.operator.as_str(),
                    "enrol",
                    &subject,
                    &key,
                )?;
            }
            Ok::<_, DbError>(enrolled)
        })
        .await?;
    match enrolled {
        Enrolled::Stands(standing) => {
            tracing::info!(worker = %name, standing = standing.name(), "{name} asks to be let in: {}", standing.name());
            Ok(standing)
        }
        Enrolled::Full => Err(ApiError::client(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-enrolments",
            "too many rebuilders wait for a decision",
        )
        .hint("ask the server's operator to decide with `hallmark rebuilders`, and try again")),
    }
}
