//! Atom feeds.

use super::{build_line, site};
use crate::app::App;
use crate::db::overview;
use crate::http::error::ApiError;
use crate::status;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use web::BuildLine;

/// Entries of a feed.
const ENTRIES: u32 = 50;

/// `GET /feeds/releases.atom`.
pub async fn releases_feed(State(app): State<App>) -> Result<Response, ApiError> {
    let releases = app
        .db
        .read(|connection| status::releases(connection, ENTRIES))
        .await?;
    Ok(answer(web::releases_feed(&site(&app), &releases)))
}

/// `GET /feeds/held.atom`.
pub async fn held_feed(State(app): State<App>) -> Result<Response, ApiError> {
    let held = app
        .db
        .read(|connection| overview::builds(connection, Some("held"), None, 0, ENTRIES))
        .await?;
    let held: Vec<BuildLine> = held.into_iter().map(build_line).collect();
    Ok(answer(web::held_feed(&site(&app), &held)))
}

fn answer(feed: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, web::FEED_TYPE),
        (header::CACHE_CONTROL, "max-age=60"),
    ];
    (headers, feed).into_response()
}
