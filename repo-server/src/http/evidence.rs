//! `/evidence/sha256/{digest}`: every document about a package, for anyone; with `.sigstore.json` behind
//! the digest of a statement, the same statement as a Sigstore bundle.

use super::content::{Caching, Object, answer};
use super::error::ApiError;
use super::tree::linked;
use crate::app::App;
use crate::db::build_sboms::Builds;
use crate::db::{self, DbError};
use crate::publish::sbom_listing::build_documents;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse as _, Response};
use repo_model::dsse::Envelope;
use repo_model::{FileDigest, bundle};
use rusqlite::Connection;

const STATEMENT: &str = "application/vnd.dsse.envelope.v1+json";
/// Media type of a source package.
const RPM: &str = "application/x-rpm";
/// Documents that one header names: those of a build for each of four architectures.
const MOST_LINKS: usize = 16;
/// Largest statement, bytes.
const MAX_ENVELOPE_BYTES: u64 = 16 << 20;

/// Serves a document that is evidence, a statement that is in the log, a VEX document, a release's envelope or its
/// package list, or, compressed, what was made of a release.
pub async fn get(
    State(app): State<App>,
    method: Method,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let missing = || {
        ApiError::not_found(format!("no public evidence has digest {digest}"))
            .hint("a source package and SBOMs are public once their build is published")
    };
    let (name, bundled) = match digest.strip_suffix(bundle::FILE_SUFFIX) {
        Some(name) => (name, true),
        None => (digest.as_str(), false),
    };
    let wanted: FileDigest = name.parse().map_err(|_| missing())?;
    let media_type = app
        .db
        .read(move |connection| media_type(connection, wanted))
        .await
        .map_err(|error: DbError| ApiError::from(error))?
        .ok_or_else(missing)?;
    if bundled {
        return as_bundle(&app, wanted).await;
    }
    let links = match media_type == RPM {
        true => about_source(&app, wanted).await?,
        false => None,
    };
    let object = Object::find(&app, wanted, &media_type, Caching::Immutable).await?;
    Ok(linked(
        answer(&app, &method, &headers, &object).await?,
        links,
    ))
}

/// `Link` of a source package: the SBOMs about its build, each by digest.
async fn about_source(app: &App, source: FileDigest) -> Result<Option<String>, ApiError> {
    let builds = app
        .db
        .read(move |connection| {
            let builds = Builds::PublishedOf(source);
            db::build_sboms::build_sboms(connection, &builds)
        })
        .await?;
    let links = builds.iter().flat_map(build_documents);
    let links = links.map(|(format, digest, _)| {
        let media_type = format.media_type;
        format!("<{digest}>; rel=\"sbom\"; type=\"{media_type}\"")
    });
    let links: Vec<String> = links.take(MOST_LINKS).collect();
    Ok((!links.is_empty()).then(|| links.join(", ")))
}

/// How a document is served; `None` when it is none that everybody may have.
pub(super) fn media_type(
    connection: &Connection,
    wanted: FileDigest,
) -> Result<Option<String>, DbError> {
    if let Some(media_type) = db::evidence::media_type(connection, wanted)? {
        return Ok(Some(media_type));
    }
    // What the log names can be had from the moment on that it does: the document of a release stands in
    // the log before the release goes out.
    if db::announcements::has(connection, wanted)?
        || db::log::index_of(connection, wanted)?.is_some()
    {
        return Ok(Some(STATEMENT.to_owned()));
    }
    if db::vex::by_digest(connection, wanted)?.is_some() {
        return Ok(Some("application/json".to_owned()));
    }
    if db::release_documents::is_packed(connection, wanted)? {
        return Ok(Some("application/zstd".to_owned()));
    }
    db::releases::media_type(connection, wanted)
}

async fn as_bundle(app: &App, digest: FileDigest) -> Result<Response, ApiError> {
    let bundle = bundle_of(app, digest).await?.ok_or_else(|| {
        ApiError::not_found(format!("{digest} is no statement, so it has no bundle"))
            .hint("bundles are made of provenance, rebuilds and the signer's statements")
    })?;
    // A statement that has just come gets its place within seconds.
    let headers = [
        (header::CONTENT_TYPE, bundle::MEDIA_TYPE),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, bundle).into_response())
}

/// A statement with its place in the log; `None` when the document is no statement.
pub(super) async fn bundle_of(app: &App, digest: FileDigest) -> Result<Option<Vec<u8>>, ApiError> {
    let size_bytes = app.store.size_bytes(digest).await?;
    if size_bytes.is_none_or(|bytes| bytes > MAX_ENVELOPE_BYTES) {
        return Ok(None);
    }
    let json = app.store.get(digest, MAX_ENVELOPE_BYTES).await?;
    let Ok(envelope) = Envelope::from_json(&json) else {
        return Ok(None);
    };
    let bundle = crate::log::bundle(app, digest, envelope).await?;
    Ok(Some(bundle))
}
