//! `/mirrors`.

use super::{error_page, html, site};
use crate::app::{App, now};
use crate::db::{self, DbError};
use crate::fleet;
use crate::http::error::ApiError;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use repo_model::wire::mirrors::MirrorStatus;
use web::MirrorsView;

/// Arrivals that are read for the plot.
const ARRIVALS: u32 = 5_000;

/// `GET /mirrors`: those that everybody may be sent to.
pub async fn mirrors(State(app): State<App>, headers: HeaderMap) -> Response {
    mirrors_page(&app)
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn mirrors_page(app: &App) -> Result<Response, ApiError> {
    let at = now();
    let (mut mirrors, arrivals) = app
        .db
        .read(move |connection| {
            Ok::<_, DbError>((
                fleet::statuses(connection, at)?,
                db::mirrors::arrivals(connection, ARRIVALS)?,
            ))
        })
        .await?;
    mirrors.retain(MirrorStatus::is_open);
    let said = app.fleet.said();
    html(web::mirrors(&MirrorsView {
        site: &site(app),
        mirrors: &mirrors,
        arrivals: &arrivals,
        said: said.map(|said| (said.issued, said.expires)),
        now: at,
    }))
}
