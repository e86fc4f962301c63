//! HTTP: routes, and what every answer has in common. Handlers extract, call one thing, answer.

pub mod auth;
mod blobs;
mod builds;
mod channels;
mod content;
mod desk;
pub mod error;
mod evidence;
mod evidence_many;
mod health;
pub mod keys;
mod leftover;
pub mod listen;
mod listing;
mod log;
mod metalink;
pub mod metrics;
mod mirrors;
mod openapi;
mod operators;
mod packs;
mod pages;
pub mod pairs;
mod params;
mod parts;
mod rebuilders;
mod sbom;
mod sbom_files;
pub mod sessions;
mod tree;
mod trust;
mod unpack;
mod upload_form;
mod upstream;
mod vex;
mod waivers;
mod worker;
mod worker_blobs;

pub use packs::PACKING;
pub use packs::common::CommonPacks;
pub use pages::{Glanced, Tallied};
pub use unpack::UNPACKING;

use crate::app::App;
use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use pages::operator;
use std::time::Instant;

/// Largest JSON body, bytes: a manifest of 20,000 packages has 1.4 MB.
const MAX_JSON_BYTES: usize = 8 << 20;
/// Below here bodies are blobs, which have a limit of their own.
const BLOBS: &str = "/api/v1/blobs/";

/// All routes.
pub fn router(app: App) -> Router {
    let blob = get(blobs::get)
        .put(blobs::put)
        .layer(DefaultBodyLimit::disable());
    Router::new()
        .route("/", get(pages::home))
        .route("/builds", get(pages::builds))
        .route("/builds/{build}", get(pages::build))
        .route("/builds/{build}/reports/{digest}", get(pages::report))
        .route("/packages/{name}", get(pages::package))
        .route("/packages/{name}/{version}", get(pages::version))
        .route("/packages/{name}/{version}/files", get(pages::files))
        .route(
            "/packages/{name}/{version}/required-by",
            get(pages::dependents),
        )
        .route("/packages/{name}/{version}/inside", get(pages::components))
        .route("/inside", get(pages::inside))
        .route("/releases/{release}/licences", get(pages::licences))
        .route("/rebuilders", get(pages::rebuilders))
        .route("/mirrors", get(pages::mirrors))
        .route("/mirrors/seen.json", get(mirrors::seen))
        .route("/feeds/releases.atom", get(pages::releases_feed))
        .route("/feeds/held.atom", get(pages::held_feed))
        .route("/badge/{file}", get(pages::badge))
        .route("/search", get(pages::search))
        .route("/api", get(openapi::page))
        .route("/api/v1/openapi.json", get(openapi::document))
        .route("/api/v1/search", get(pages::api_search))
        .route("/releases", get(pages::releases))
        .route("/releases/{release}", get(pages::release))
        .route("/releases/{release}/packages", get(pages::contents))
        .route("/releases/{release}/changes", get(pages::changes))
        .route(
            "/releases/{release}/components",
            get(pages::component_changes),
        )
        .route("/assets/{name}", get(pages::asset))
        .route("/upstream/{name}/{*path}", get(upstream::get))
        .route("/keys/{name}", get(keys::key))
        .route("/keys/trust/{name}", get(trust::get))
        .route("/evidence/sha256/{digest}", get(evidence::get))
        .route("/log", get(pages::log))
        .route("/log/checkpoint", get(log::checkpoint))
        .route("/log/tile/{*rest}", get(log::tile))
        .route("/log/statements/{*rest}", get(log::statements))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/api/v1/blobs/{digest}", blob)
        .route("/api/v1/uploads/{digest}", get(blobs::offset))
        .route("/api/v1/builds", get(builds::list).post(builds::create))
        .route("/api/v1/builds/{build}", get(builds::one))
        .route("/api/v1/builds/{build}/retry", post(builds::retry))
        .route("/api/v1/builds/{build}/reject", post(builds::reject))
        .route(
            "/api/v1/builds/{build}/bisection",
            post(pages::submit_bisection),
        )
        .route("/api/v1/evidence/packages", post(evidence_many::packages))
        .route("/api/v1/evidence/documents", post(evidence_many::documents))
        .route("/api/v1/waivers", post(waivers::submit))
        .route("/api/v1/jobs", get(operators::jobs))
        .route("/api/v1/audit", get(operators::audit))
        .route(
            "/api/v1/tokens",
            get(operators::tokens).post(operators::create_token),
        )
        .route("/api/v1/tokens/{token}", delete(operators::revoke_token))
        .route("/api/v1/channels", get(channels::list))
        .route("/api/v1/channels/{channel}/history", get(channels::history))
        .route(
            "/api/v1/channels/{channel}/move",
            post(channels::move_pointer),
        )
        .route("/api/v1/releases", get(channels::releases))
        .route(
            "/api/v1/releases/{release}/evidence.tar.zst",
            get(packs::get),
        )
        .route("/api/v1/worker/lease", post(worker::lease))
        .route(
            "/api/v1/worker/jobs/{job}/heartbeat",
            post(worker::heartbeat),
        )
        .route("/api/v1/worker/jobs/{job}/commit", post(worker::commit))
        .route("/api/v1/worker/jobs/{job}/report", post(worker::report))
        .route("/api/v1/worker/enrol", post(worker::enrol))
        .route("/api/v1/rebuilders", get(rebuilders::list))
        .route(
            "/api/v1/rebuilders/{name}/approve",
            post(rebuilders::approve),
        )
        .route("/api/v1/rebuilders/{name}/reject", post(rebuilders::reject))
        .route("/api/v1/rebuilders/{name}/mode", post(rebuilders::set_mode))
        .merge(mirrors_routes())
        .merge(questions())
        .merge(desk())
        .fallback(tree::serve)
        .layer(DefaultBodyLimit::max(MAX_JSON_BYTES))
        .layer(middleware::from_fn_with_state(app.clone(), common))
        .with_state(app)
}

/// Routes about registered mirrors.
fn mirrors_routes() -> Router<App> {
    Router::new()
        .route(
            "/api/v1/mirrors",
            get(mirrors::list).post(mirrors::register),
        )
        .route(
            "/api/v1/mirrors/{name}",
            get(mirrors::one).delete(mirrors::remove),
        )
        .route("/api/v1/mirrors/{name}/describe", post(mirrors::describe))
        .route("/api/v1/mirrors/{name}/approve", post(mirrors::approve))
        .route("/api/v1/mirrors/{name}/reject", post(mirrors::reject))
        .route("/api/v1/mirrors/{name}/probe", post(mirrors::probe))
}

/// Routes of the questions about what is inside the packages.
fn questions() -> Router<App> {
    Router::new()
        .route("/api/v1/releases/{release}/sboms", get(sbom::whole))
        .route("/api/v1/sbom/components", get(sbom::components))
        .route("/api/v1/sbom/why", get(sbom::why))
        .route("/api/v1/sbom/needs", get(sbom::needs))
        .route("/api/v1/sbom/built-with", get(sbom::built_with))
        .route("/api/v1/sbom/licences", get(sbom::licences))
        .route("/api/v1/sbom/licensed", get(sbom::licensed))
        .route("/api/v1/sbom/files", get(sbom::files))
        .route("/api/v1/sbom/diff", get(sbom::diff))
        .route("/api/v1/vulnerabilities", get(sbom::vulnerabilities))
        .route("/api/v1/vex", get(vex::list).post(vex::create))
        .route("/api/v1/vex/{digest}", delete(vex::withdraw))
}

/// Pages behind the log-in.
fn desk() -> Router<App> {
    Router::new()
        .route("/operator", get(operator::queue))
        .route(
            "/operator/log-in",
            get(operator::log_in_page).post(operator::log_in),
        )
        .route("/operator/log-out", post(operator::log_out))
        .route("/operator/held", get(operator::held))
        .route("/operator/builds/{build}", get(operator::decide))
        .route("/operator/builds/{build}/retry", post(operator::retry))
        .route("/operator/builds/{build}/reject", post(operator::reject))
        .route(
            "/operator/builds/{build}/waiver.json",
            get(operator::unsigned_waiver),
        )
        .route("/operator/builds/{build}/waiver", post(operator::waive))
        .route(
            "/operator/tokens",
            get(operator::tokens).post(operator::create_token),
        )
        .route(
            "/operator/tokens/{token}/revoke",
            post(operator::revoke_token),
        )
        .route("/operator/keys", get(operator::keys))
        .route("/operator/audit", get(operator::audit))
        .layer(middleware::map_response(desk::closed))
}

/// Counts, logs, and sends the headers that keep browsers from guessing.
async fn common(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let too_long = !path.starts_with(BLOBS) && announced_bytes(&request) > MAX_JSON_BYTES as u64;
    let (request, leftover) = leftover::Leftover::of(request);
    let mut response = match too_long {
        true => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        false => next.run(request).await,
    };
    if !response.status().is_success() || path.starts_with(BLOBS) {
        tokio::spawn(leftover.discard());
    }
    if response.status().is_client_error() && path.starts_with("/api/") && !is_json(&response) {
        response = error::as_json(response).await;
    }
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(web::CSP),
    );
    // Pages with forms need a browser that tells where a form came from.
    headers
        .entry(header::REFERRER_POLICY)
        .or_insert(HeaderValue::from_static("no-referrer"));
    let status = response.status().as_u16();
    app.metrics.request_ended(kind(route.as_deref()), status);
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(http.method = %method, http.path = path, http.status = status, millis, "{method} {path}: {status}");
    response
}

fn announced_bytes(request: &Request) -> u64 {
    let length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

fn is_json(response: &Response) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/json")
}

/// A few kinds of routes, so that paths do not flood the metrics.
fn kind(route: Option<&str>) -> &'static str {
    match route {
        None => "tree",
        Some(route) if route.starts_with("/upstream") => "tree",
        Some(route) if route.starts_with("/api/v1/worker") => "worker",
        Some(route) if route.starts_with("/api/v1/blobs") => "blobs",
        Some(route) if route.starts_with("/api/") => "api",
        Some(route) if route.starts_with("/evidence") => "evidence",
        Some(_) => "pages",
    }
}
