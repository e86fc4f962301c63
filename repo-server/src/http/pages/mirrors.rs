//! `/mirrors`.

use super::glance::glance;
use super::{error_page, html, site};
use crate::app::{App, now};
use crate::http::error::ApiError;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use web::MirrorsView;

/// `GET /mirrors`: those that everybody may be sent to.
pub async fn mirrors(State(app): State<App>, headers: HeaderMap) -> Response {
    mirrors_page(&app)
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn mirrors_page(app: &App) -> Result<Response, ApiError> {
    let glance = glance(app).await?;
    let said = app.fleet.said();
    html(web::mirrors(&MirrorsView {
        site: &site(app),
        mirrors: &glance.mirrors,
        arrivals: &glance.arrivals,
        said: said.map(|said| (said.issued, said.expires)),
        now: now(),
    }))
}
