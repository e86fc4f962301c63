//! `/{channel}/{repo}/{arch}/metalink.xml`: which `repomd.xml` is current, by SHA-256 and SHA-512, and
//! where it is. The URL never changes: DNF keys its caches by it. What it points to is the pinned path
//! of the release, so a release that comes out between two of a client's requests changes nothing
//! for it.

use super::error::ApiError;
use super::tree::{Place, Root};
use crate::app::App;
use crate::db::releases::{ReleaseRepoRow, ReleaseRow};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use mirrors::metalink::{Metalink, MirrorUrl, Protocol, Repomd, render};

const MAX_REPOMD_BYTES: u64 = 4 << 20;

/// Answers with the metalink of a repository.
pub async fn serve(
    app: &App,
    place: &Place,
    release: &ReleaseRow,
    repo: &ReleaseRepoRow,
) -> Result<Response, ApiError> {
    let repomd = app.store.get(repo.repomd, MAX_REPOMD_BYTES).await?;
    let public_url = &app.config.server.public_url;
    let pinned = Place {
        root: Root::Pinned(release.release),
        ..place.clone()
    };
    let url = format!("{public_url}{}repodata/repomd.xml", pinned.base());
    let metalink = Metalink {
        repomd: Repomd::of(&repomd, release.issued),
        alternates: Vec::new(),
        urls: vec![MirrorUrl {
            protocol: Protocol::of_url(&url).unwrap_or(Protocol::Http),
            url,
            location: None,
            preference: 100,
        }],
    };
    let headers = [
        (header::CONTENT_TYPE, "application/metalink+xml"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, render(&metalink)).into_response())
}
