//! `/releases/{release}/changes?from=` and `/components?from=`: the difference between two releases, by the
//! questions that the API answers too.

use super::releases::no_release;
use super::{RELEASES_PER_PAGE, error_page, html, site, turn};
use crate::app::App;
use crate::db::{self, DbError, overview};
use crate::http::error::ApiError;
use crate::sbom_index::SbomIndex;
use crate::sbom_index::questions::{self, AskError, Cursor, Paging, Scope, VulnerabilityQuery};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use repo_model::ReleaseId;
use repo_model::wire::sbom::{Difference, Finding, Page, VulnerabilityStatus};
use rusqlite::Connection;
use serde::Deserialize;
use std::collections::BTreeSet;
use web::{ChangesView, ComponentChangesView};

/// Packages that a page lists.
const PACKAGES: u32 = 2_000;
/// Findings of each release that are compared.
const FINDINGS: u32 = 1_000;

/// Components on one page.
const COMPONENTS: u32 = 200;
/// Where answers begin.
const BEGINNING: &str = "0.0.0.0";

/// Query of [`changes`] and [`component_changes`].
#[derive(Debug, Deserialize)]
pub struct From {
    from: Option<u64>,
    after: Option<String>,
}

/// `GET /releases/{release}/changes?from=`; without `from`, since the release before.
pub async fn changes(
    State(app): State<App>,
    Path(id): Path<u64>,
    Query(query): Query<From>,
    headers: HeaderMap,
) -> Response {
    changes_page(&app, ReleaseId(id), query.from.map(ReleaseId))
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

/// `GET /releases/{release}/components?from=&after=`; without `from`, since the release before.
pub async fn component_changes(
    State(app): State<App>,
    Path(id): Path<u64>,
    Query(query): Query<From>,
    headers: HeaderMap,
) -> Response {
    components_page(&app, ReleaseId(id), query)
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn components_page(app: &App, to: ReleaseId, query: From) -> Result<Response, ApiError> {
    let (from, others) = compared(app, to, query.from.map(ReleaseId)).await?;
    let after = query.after.unwrap_or_else(|| BEGINNING.to_owned());
    let _turn = turn(app).await?;
    let own = app.clone();
    let components = app
        .sbom_index
        .db
        .read(move |connection| {
            let paging = Paging {
                after: after.parse()?,
                limit: COMPONENTS,
            };
            questions::component_differences(&own.sbom_index, connection, from, to, paging)
        })
        .await?;
    html(web::component_changes(&ComponentChangesView {
        site: &site(app),
        to,
        from,
        releases: &others,
        components: &components.items,
        next: components.next.as_deref(),
    }))
}

/// The release to compare with, and all that there are to choose from.
async fn compared(
    app: &App,
    to: ReleaseId,
    from: Option<ReleaseId>,
) -> Result<(ReleaseId, Vec<ReleaseId>), ApiError> {
    let (releases, known) = app
        .db
        .read(move |connection| {
            let releases = overview::release_ids(connection, RELEASES_PER_PAGE)?;
            let from = from.or_else(|| releases.iter().copied().find(|id| *id < to));
            let known =
                |id: ReleaseId| Ok::<_, DbError>(db::releases::by_id(connection, id)?.is_some());
            let from = match from {
                Some(from) if known(from)? => Ok(from),
                from => Err(from),
            };
            Ok::<_, DbError>((releases, known(to)?.then_some(from)))
        })
        .await?;
    let from = known
        .ok_or_else(|| no_release(to))?
        .map_err(|from| match from {
            Some(from) => no_release(from),
            None => ApiError::not_found(format!("there is no release before {to}")),
        })?;
    let others = releases.into_iter().filter(|id| *id != to).collect();
    Ok((from, others))
}

async fn changes_page(
    app: &App,
    to: ReleaseId,
    from: Option<ReleaseId>,
) -> Result<Response, ApiError> {
    let (from, others) = compared(app, to, from).await?;
    let _turn = turn(app).await?;
    let own = app.clone();
    let (packages, [before, now]) = app
        .sbom_index
        .db
        .read(move |connection| compare(&own.sbom_index, connection, from, to))
        .await?;
    html(web::changes(&ChangesView {
        site: &site(app),
        to,
        from,
        releases: &others,
        packages: &packages.items,
        more: packages.next.is_some(),
        came: &only_in(&now, &before),
        went: &only_in(&before, &now),
        many_findings: before.next.is_some() || now.next.is_some(),
    }))
}

type Compared = (Page<Difference>, [Page<Finding>; 2]);

fn compare(
    index: &SbomIndex,
    connection: &Connection,
    from: ReleaseId,
    to: ReleaseId,
) -> Result<Compared, AskError> {
    let paging = Paging {
        after: BEGINNING.parse()?,
        limit: PACKAGES,
    };
    let affected = VulnerabilityQuery {
        status: vec![VulnerabilityStatus::Affected],
        ..VulnerabilityQuery::default()
    };
    let findings = |release: ReleaseId| {
        let scope = Scope {
            release,
            repo: None,
            arch: None,
            package: None,
        };
        questions::vulnerabilities(connection, &scope, &affected, Cursor::default(), FINDINGS)
    };
    let packages = questions::package_differences(index, connection, from, to, paging)?;
    Ok((packages, [findings(from)?, findings(to)?]))
}

/// What is known of packages of one release and not of packages of that name in the other. Nothing when one
/// of the lists is cut: what is missing there may be behind the cut.
fn only_in(these: &Page<Finding>, those: &Page<Finding>) -> Vec<Finding> {
    if these.next.is_some() || those.next.is_some() {
        return Vec::new();
    }
    let key = |finding: &Finding| {
        let name = finding.package.nevra.name.clone();
        (finding.vulnerability.clone(), name)
    };
    let known: BTreeSet<_> = those.items.iter().map(key).collect();
    let new = these
        .items
        .iter()
        .filter(|finding| !known.contains(&key(finding)));
    new.cloned().collect()
}
