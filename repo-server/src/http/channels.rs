//! `/api/v1/channels` and `/api/v1/releases`: where the pointers are, and moving them.

use super::auth::Bearer;
use super::error::ApiError;
use crate::app::{App, now};
use crate::db::channels::Move;
use crate::db::{self, DbError};
use crate::publish::release_sboms;
use crate::status;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use repo_model::ChannelName;
use repo_model::wire::status::{ChannelStatus, MoveChannel, ReleaseStatus};

/// Releases in one answer.
const MAX_RELEASES: u32 = 1_000;

/// `GET /api/v1/channels`.
pub async fn list(State(app): State<App>) -> Result<Json<Vec<ChannelStatus>>, ApiError> {
    Ok(Json(app.db.read(db::channels::all).await?))
}

/// `GET /api/v1/releases`.
pub async fn releases(State(app): State<App>) -> Result<Json<Vec<ReleaseStatus>>, ApiError> {
    Ok(Json(
        app.db
            .read(|connection| status::releases(connection, MAX_RELEASES))
            .await?,
    ))
}

/// `GET /api/v1/channels/{channel}/history`: moves, newest first.
pub async fn history(
    State(app): State<App>,
    Path(channel): Path<String>,
) -> Result<Json<Vec<Move>>, ApiError> {
    let channel = parse(&channel)?;
    Ok(Json(
        app.db
            .read(move |connection| db::channels::history(connection, &channel))
            .await?,
    ))
}

enum Moved {
    Done,
    NoChannel,
    NoRelease,
    Revoked,
    NoFiles,
    OtherFirst,
}

/// `POST /api/v1/channels/{channel}/move`: compare-and-swap of the pointer; 409 when it points
/// elsewhere than the caller saw. Promotion and rollback are this.
pub async fn move_pointer(
    State(app): State<App>,
    bearer: Bearer,
    Path(channel): Path<String>,
    Json(request): Json<MoveChannel>,
) -> Result<StatusCode, ApiError> {
    bearer.may_operate()?;
    let channel = parse(&channel)?;
    let (name, actor, to) = (channel.clone(), bearer.name().to_owned(), request.to);
    let revoked: Vec<_> = app.policy.revoked.iter().map(|r| r.header_sha256).collect();
    let first = app.config.server.channels.first() == Some(&channel);
    let moved = app
        .db
        .write(move |tx| {
            if db::channels::pointer(tx, &channel)?.is_none() {
                return Ok(Moved::NoChannel);
            }
            if db::releases::by_id(tx, request.to)?.is_none() {
                return Ok(Moved::NoRelease);
            }
            if db::releases::holds(tx, request.to, &revoked)? {
                return Ok(Moved::Revoked);
            }
            if !db::releases::has_files(tx, request.to)? {
                return Ok(Moved::NoFiles);
            }
            // A channel moved back stays there; at the newest release it follows again.
            let newest = db::releases::newest(tx)?.map(|release| release.release);
            let follows = first && newest == Some(request.to);
            let swapped = db::channels::swap(
                tx,
                &channel,
                request.seen,
                request.to,
                follows,
                &actor,
                now(),
            )?;
            Ok::<_, DbError>(if swapped {
                release_sboms::enqueue_lacking(tx, request.to)?;
                Moved::Done
            } else {
                Moved::OtherFirst
            })
        })
        .await?;
    match moved {
        Moved::Done => {
            app.jobs_changed.notify_one();
            crate::fleet::changed(&app).await;
            tracing::info!(channel = %name, release = to.0, "channel {name} points to release {to}");
            Ok(StatusCode::NO_CONTENT)
        }
        Moved::NoChannel => Err(ApiError::not_found(format!("there is no channel {name}"))),
        Moved::NoRelease => Err(ApiError::not_found(format!("there is no release {to}"))),
        Moved::Revoked => {
            let message = format!("release {to} holds a package that the policy revokes");
            Err(ApiError::client(StatusCode::CONFLICT, "revoked", message)
                .hint("move the channel to a release that was made after the revocation"))
        }
        Moved::NoFiles => {
            let message =
                format!("the files of release {to} are lost: it was taken over from the signer");
            Err(
                ApiError::client(StatusCode::CONFLICT, "release-without-files", message)
                    .hint("choose a release that `hallmark releases` lists with repositories"),
            )
        }
        Moved::OtherFirst => {
            let message = format!("channel {name} was moved by somebody else meanwhile");
            Err(
                ApiError::client(StatusCode::CONFLICT, "moved-meanwhile", message)
                    .hint("look where it points now and decide again"),
            )
        }
    }
}

fn parse(channel: &str) -> Result<ChannelName, ApiError> {
    channel
        .parse()
        .map_err(|error| ApiError::client(StatusCode::BAD_REQUEST, "bad-name", format!("{error}")))
}
