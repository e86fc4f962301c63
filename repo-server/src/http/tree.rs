//! The published tree: `/{channel}/{repo}/{arch}/…` moves with the channel, `/r/{release}/{repo}/{arch}/…`
//! never changes. Only `repomd.xml`, the manifest, their signatures and the metalink are names that move; every
//! other name means the same bytes for ever and is found if any release has it that the channel ever pointed
//! to, so that a client with an old `repomd.xml` never meets a 404.

mod client;
mod packages;
mod place;

pub(super) use client::client_address;
pub use place::{Place, Root};

use super::content::{Caching, Object, answer};
use super::error::ApiError;
use super::pairs::Viewer;
use super::{listing, metalink};
use crate::app::App;
use crate::db::channels::FreshnessRow;
use crate::db::releases::{ReleaseRepoRow, ReleaseRow};
use crate::db::{self, DbError};
use axum::extract::{ConnectInfo, OriginalUri, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use mirrors::evidence::beside::COMMON;
use packages::package_file;
use repo_model::manifest::MANIFEST;
use repo_model::{ChannelName, ReleaseId, Timestamp, freshness};
use rusqlite::Connection;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// The other signature of `repomd.xml`.
const REPOMD_POST_QUANTUM: &str = "repodata/repomd.xml.pqc.asc";

/// Every GET and HEAD that no route has taken.
pub async fn serve(
    State(app): State<App>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return ApiError::client(
            StatusCode::METHOD_NOT_ALLOWED,
            "method",
            "only GET and HEAD are known here",
        )
        .into_response();
    }
    let path = percent_encoding::percent_decode_str(uri.path())
        .decode_utf8_lossy()
        .into_owned();
    let file = (repo_file_channel(&path), freshness_channel(&path));
    let result = match (file, Place::parse(&path)) {
        ((Some(channel), _), _) => super::keys::repo_file(&app, &channel).await,
        ((None, Some(channel)), _) => channel_freshness(&app, &channel).await,
        ((None, None), Some(place)) => {
            let client = client_address(&app.config.server.trusted_proxies, client.ip(), &headers);
            match metalink::from_memory(&app, client, &place, uri.query(), &headers) {
                Some(answer) => answer,
                None => in_place(&app, client, &method, &headers, &place).await,
            }
        }
        ((None, None), None) => Err(without_slash(&path)),
    };
    match result {
        Ok(response) => response,
        Err(error) => super::pages::error_page(&app, &headers, error),
    }
}

fn repo_file_channel(path: &str) -> Option<ChannelName> {
    path.strip_prefix('/')?.strip_suffix(".repo")?.parse().ok()
}

fn freshness_channel(path: &str) -> Option<ChannelName> {
    let (channel, file) = path.strip_prefix('/')?.split_once('/')?;
    (file == freshness::FILE)
        .then(|| channel.parse().ok())
        .flatten()
}

fn without_slash(path: &str) -> ApiError {
    ApiError::not_found(format!("there is nothing at {path}"))
        .hint("repositories are at /CHANNEL/REPO/ARCH/ and /r/RELEASE/REPO/ARCH/")
}

/// The release a place means now, and its repository there.
struct Found {
    release: ReleaseRow,
    repo: ReleaseRepoRow,
    /// Since when the place means it; unknown for a release that a channel has left.
    since: Option<Timestamp>,
}

async fn in_place(
    app: &App,
    client: IpAddr,
    method: &Method,
    headers: &HeaderMap,
    place: &Place,
) -> Result<Response, ApiError> {
    match place.rest.as_str() {
        "repodata/repomd.xml" => {
            let found = find(app, place, None).await?;
            if let Some(viewer) = viewer(client, place) {
                app.handed_out
                    .remember(viewer, found.release.release, Instant::now());
            }
            let object = pointer(app, place, &found, found.repo.repomd, "application/xml").await?;
            let links = super::sbom_files::links(app, found.release.release, &found.repo).await?;
            Ok(linked(answer(app, method, headers, &object).await?, links))
        }
        name @ ("repodata/repomd.xml.asc" | REPOMD_POST_QUANTUM) => {
            let seen =
                viewer(client, place).and_then(|v| app.handed_out.recall(&v, Instant::now()));
            let found = find(app, place, seen).await?;
            let signature = match name {
                REPOMD_POST_QUANTUM => found.repo.repomd_post_quantum.ok_or_else(|| {
                    ApiError::not_found("this release has no post-quantum signatures")
                })?,
                _ => found.repo.repomd_signature,
            };
            let object =
                pointer(app, place, &found, signature, "application/pgp-signature").await?;
            answer(app, method, headers, &object).await
        }
        freshness::FILE => match &place.root {
            Root::Channel(channel) => channel_freshness(app, channel).await,
            Root::Pinned(_) => Err(ApiError::not_found(
                "a pinned release never changes, so nothing is said about its freshness",
            )),
        },
        rest if rest.starts_with(MANIFEST) => {
            let seen = match rest {
                MANIFEST => None,
                _ => viewer(client, place).and_then(|v| app.handed_out.recall(&v, Instant::now())),
            };
            let found = find(app, place, seen).await?;
            if let Some(viewer) = viewer(client, place).filter(|_| rest == MANIFEST) {
                app.handed_out
                    .remember(viewer, found.release.release, Instant::now());
            }
            let object = manifest(app, place, &found).await?;
            answer(app, method, headers, &object).await
        }
        COMMON => {
            if let Root::Pinned(_) = place.root {
                return Err(ApiError::not_found(
                    "a pinned release never changes, and its evidence goes on",
                )
                .hint("ask at a channel: /CHANNEL/REPO/ARCH/evidence.tar.zst"));
            }
            find(app, place, None).await?;
            super::packs::common::serve(app, method, headers, &place.repo).await
        }
        "repodata/repomd.xml.key" => super::keys::metadata_key(app).await,
        "metalink.xml" => {
            let found = find(app, place, None).await?;
            metalink::serve(app, place, &found.release, &found.repo).await
        }
        rest if rest.is_empty() || rest.ends_with('/') => {
            let found = find(app, place, None).await?;
            listing::serve(app, place, found.release.release, &found.repo).await
        }
        rest if super::sbom_files::is_one(rest) => {
            let found = find(app, place, None).await?;
            let (release, repo) = (found.release.release, &found.repo);
            super::sbom_files::serve(app, method, headers, place, release, repo, caching(place))
                .await
        }
        "repodata" | "Packages" | "sbom" => {
            Ok(Redirect::permanent(&format!("{}{}/", place.base(), place.rest)).into_response())
        }
        rest if rest.starts_with("repodata/") => {
            let object = metadata_file(app, place).await?;
            answer(app, method, headers, &object).await
        }
        _ => {
            let (object, links) = package_file(app, place).await?;
            Ok(linked(answer(app, method, headers, &object).await?, links))
        }
    }
}

/// What the signer said last about where a channel points; nothing when that is over, or of a release that the
/// channel no longer points to.
async fn channel_freshness(app: &App, channel: &ChannelName) -> Result<Response, ApiError> {
    let asked = channel.clone();
    let (said, pointed) = app
        .db
        .read(move |connection| {
            let said = db::channels::freshness(connection, &asked)?;
            let pointed = db::channels::pointer(connection, &asked)?.flatten();
            Ok::<_, DbError>((said, pointed))
        })
        .await?;
    let at = crate::app::now();
    let holds = |said: &FreshnessRow| pointed == Some(said.release) && at < said.expires;
    let said = said.filter(holds).ok_or_else(|| {
        ApiError::not_found(format!(
            "nothing is said about the freshness of {channel} as it is now"
        ))
        .hint(
            "the signer says it within moments after a release, unless mirrors.freshness_secs is 0; \
             after a channel was moved back, with its next release",
        )
    })?;
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, said.envelope).into_response())
}

pub(super) fn linked(mut response: Response, links: Option<String>) -> Response {
    if let Some(links) = links.and_then(|links| links.parse().ok()) {
        response.headers_mut().insert(header::LINK, links);
    }
    response
}

fn viewer(client: IpAddr, place: &Place) -> Option<Viewer> {
    match &place.root {
        Root::Channel(channel) => Some(Viewer {
            address: client,
            place: (channel.to_string(), place.repo.clone(), place.arch.clone()),
        }),
        Root::Pinned(_) => None,
    }
}

async fn find(app: &App, place: &Place, instead: Option<ReleaseId>) -> Result<Found, ApiError> {
    let place = place.clone();
    let base = place.base();
    let found = app
        .db
        .read(move |connection| {
            let (wanted, moved_at) = match &place.root {
                Root::Pinned(release) => (Some(*release), None),
                Root::Channel(channel) => {
                    let pointed = db::channels::pointed(connection, channel)?;
                    let now = pointed.map(|(release, _)| release);
                    let still = instead.is_none() || instead == now;
                    (
                        instead.or(now),
                        pointed.map(|(_, since)| since).filter(|_| still),
                    )
                }
            };
            let Some(wanted) = wanted else {
                return Ok(None);
            };
            let Some(release) = db::releases::by_id(connection, wanted)? else {
                return Ok(None);
            };
            let repo = db::releases::repo(connection, wanted, &place.repo, &place.arch)?;
            let since = match &place.root {
                Root::Pinned(_) => Some(release.issued),
                Root::Channel(_) => moved_at,
            };
            Ok::<_, DbError>(repo.map(|repo| Found {
                release,
                repo,
                since,
            }))
        })
        .await?;
    found.ok_or_else(|| {
        ApiError::not_found(format!("there is no repository at {base}"))
            .hint("GET /api/v1/releases names every repository and release")
    })
}

/// The newest release whose files are found at a place: the pinned one, or the newest that the channel
/// ever pointed to. `None` when there is no such place.
pub(super) fn horizon(connection: &Connection, root: &Root) -> Result<Option<ReleaseId>, DbError> {
    match root {
        Root::Channel(channel) => db::channels::newest_ever(connection, channel),
        Root::Pinned(release) => {
            Ok(db::releases::by_id(connection, *release)?.map(|row| row.release))
        }
    }
}

async fn pointer(
    app: &App,
    place: &Place,
    found: &Found,
    digest: repo_model::FileDigest,
    media_type: &str,
) -> Result<Object, ApiError> {
    let object = Object::find(app, digest, media_type, caching(place)).await?;
    Ok(Object {
        modified: found.since,
        ..object
    })
}

/// The release's manifest of the repository, or one of its signatures.
async fn manifest(app: &App, place: &Place, found: &Found) -> Result<Object, ApiError> {
    let (release, repo, arch) = (
        found.release.release,
        found.repo.repo.clone(),
        found.repo.arch.clone(),
    );
    let row = app
        .db
        .read(move |connection| db::manifests::of_repo(connection, release, &repo, &arch))
        .await?;
    let digest = row.and_then(|row| match place.rest.strip_prefix(MANIFEST)? {
        "" => Some((row.manifest, "text/plain; charset=utf-8")),
        ".asc" => Some((row.signature, "application/pgp-signature")),
        ".pqc.asc" => Some((row.post_quantum?, "application/pgp-signature")),
        _ => None,
    });
    let (digest, media_type) = digest.ok_or_else(|| {
        let rest = &place.rest;
        ApiError::not_found(format!("release {release} has no {rest}"))
            .hint("releases made before manifests were signed have none")
    })?;
    pointer(app, place, found, digest, media_type).await
}

/// How long names that a release gives a meaning to may be kept.
fn caching(place: &Place) -> Caching {
    match place.root {
        Root::Channel(_) => Caching::Revalidate,
        Root::Pinned(_) => Caching::Immutable,
    }
}

async fn metadata_file(app: &App, place: &Place) -> Result<Object, ApiError> {
    let wanted = place.clone();
    let file = app
        .db
        .read(move |connection| match horizon(connection, &wanted.root)? {
            None => Ok(None),
            Some(newest) => db::releases::repodata_file(
                connection,
                &wanted.repo,
                &wanted.arch,
                &wanted.rest,
                newest,
            ),
        })
        .await?
        .ok_or_else(|| {
            ApiError::not_found(format!("there is no {} in this repository", place.rest))
        })?;
    let media_type = match file.name.rsplit('.').next() {
        Some("zst") => "application/zstd",
        Some("gz") => "application/gzip",
        Some("xz") => "application/x-xz",
        Some("xml") => "application/xml",
        _ => "application/octet-stream",
    };
    Ok(Object {
        digest: file.file,
        size_bytes: file.size_bytes,
        media_type: media_type.to_owned(),
        caching: Caching::Immutable,
        modified: None,
    })
}
