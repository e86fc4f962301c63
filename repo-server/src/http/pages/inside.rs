//! `/inside`, licences of a release, components of a package: by the questions that the API answers too.

use super::package::find;
use super::releases::no_release;
use super::{RELEASES_PER_PAGE, error_page, html, site, turn};
use crate::app::App;
use crate::db::{self, overview};
use crate::http::error::ApiError;
use crate::sbom_index::questions::{self, AskError, Paging, Scope, Wanted};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use repo_model::ReleaseId;
use repo_model::wire::sbom::{Page, Shipped};
use rusqlite::Connection;
use serde::Deserialize;
use web::{ComponentLine, ComponentsView, InsideView, LicencesView};

/// Answers on one page.
const ANSWERS: u32 = 100;
/// Components of one package on its page.
const COMPONENTS: u32 = 2_000;

/// Query of [`inside`].
#[derive(Debug, Default, Deserialize)]
pub struct InsideQuery {
    component: Option<String>,
    version: Option<String>,
    licence: Option<String>,
    release: Option<u64>,
    after: Option<String>,
}

impl InsideQuery {
    fn trimmed(text: Option<&String>) -> &str {
        text.map_or("", |text| text.trim())
    }
}

/// `GET /inside?component=&version=&licence=&release=&after=`.
pub async fn inside(
    State(app): State<App>,
    Query(query): Query<InsideQuery>,
    headers: HeaderMap,
) -> Response {
    inside_page(&app, query)
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn inside_page(app: &App, query: InsideQuery) -> Result<Response, ApiError> {
    let releases = app
        .db
        .read(|connection| overview::release_ids(connection, RELEASES_PER_PAGE))
        .await?;
    let release = match query.release.map(ReleaseId) {
        Some(id) if !releases.contains(&id) => return Err(no_release(id)),
        Some(id) => Some(id),
        None => releases.first().copied(),
    };
    let component = InsideQuery::trimmed(query.component.as_ref());
    let version = InsideQuery::trimmed(query.version.as_ref());
    let licence = InsideQuery::trimmed(query.licence.as_ref());
    let asked = !component.is_empty() || !licence.is_empty();
    let found = match release {
        Some(release) if asked => {
            answer(
                app,
                release,
                (component, version, licence),
                query.after.as_deref(),
            )
            .await?
        }
        _ => Ok(None),
    };
    let (page, error) = match found {
        Ok(page) => (page, None),
        Err(message) => (None, Some(message)),
    };
    let items = page.as_ref().map_or(&[][..], |page| page.items.as_slice());
    html(web::inside(&InsideView {
        site: &site(app),
        component,
        version,
        licence,
        release,
        releases: &releases,
        found: items,
        next: page.as_ref().and_then(|page| page.next.as_deref()),
        error: error.as_deref(),
    }))
}

/// What was found, or in words why the question is none.
async fn answer(
    app: &App,
    release: ReleaseId,
    (component, version, licence): (&str, &str, &str),
    after: Option<&str>,
) -> Result<Result<Option<Page<Shipped>>, String>, ApiError> {
    let (component, licence) = (component.to_owned(), licence.to_owned());
    let range = Some(version.to_owned()).filter(|text| !text.is_empty());
    let after = after.unwrap_or("0.0.0.0").to_owned();
    let question = move |connection: &Connection| {
        let paging = Paging {
            after: after.parse()?,
            limit: ANSWERS,
        };
        let scope = Scope {
            release,
            repo: None,
            arch: None,
            package: None,
        };
        if component.is_empty() {
            return questions::licensed(connection, &scope, &licence, paging);
        }
        let wanted = Wanted::parse(&component, range.as_deref())?;
        questions::who_ships(connection, &scope, &wanted, paging)
    };
    let _turn = turn(app).await?;
    match app.sbom_index.db.read(question).await {
        Ok(page) => Ok(Ok(Some(page))),
        Err(AskError::Db(error)) => Err(error.into()),
        Err(error @ (AskError::Range(_) | AskError::Purl { .. } | AskError::Parameter { .. })) => {
            Ok(Err(error.to_string()))
        }
    }
}

/// `GET /releases/{release}/licences`.
pub async fn licences(State(app): State<App>, Path(id): Path<u64>, headers: HeaderMap) -> Response {
    let release = ReleaseId(id);
    let page = async {
        let known = app
            .db
            .read(move |connection| db::releases::has_files(connection, release))
            .await?;
        if !known {
            return Err(no_release(release));
        }
        let index = app.clone();
        let _turn = turn(&app).await?;
        let licences = app
            .sbom_index
            .db
            .read(move |connection| questions::licences(&index.sbom_index, connection, release))
            .await?;
        html(web::licences(&LicencesView {
            site: &site(&app),
            release,
            licences: &licences,
        }))
    };
    page.await
        .unwrap_or_else(|error: ApiError| error_page(&app, &headers, error))
}

/// `GET /packages/{name}/{version}/inside`.
pub async fn components(
    State(app): State<App>,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    components_page(&app, &name, &version)
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn components_page(app: &App, name: &str, version: &str) -> Result<Response, ApiError> {
    let found = find(app, name, Some(version)).await?;
    found.header()?;
    let package = found.status()?;
    let header = package.header;
    let _turn = turn(app).await?;
    let contents = app
        .sbom_index
        .db
        .read(move |connection| questions::contents(connection, header, COMPONENTS))
        .await?;
    let sboms: Vec<_> = package
        .evidence
        .iter()
        .filter(|link| link.kind == "sbom")
        .map(|link| (link.label.clone(), link.digest))
        .collect();
    let (total, unreadable) = contents.as_ref().map_or((0, None), |contents| {
        (contents.total, contents.unreadable.clone())
    });
    let components: Vec<ComponentLine> = contents
        .into_iter()
        .flat_map(|contents| contents.components)
        .map(|component| ComponentLine {
            purl: component.purl,
            ecosystem: component.ecosystem,
            name: component.name,
            version: component.version,
            relation: component.relation,
            build_only: component.build_only,
            found_by: component
                .evidence
                .into_iter()
                .map(|method| method.source)
                .collect(),
            licence: component.licence,
            place: component.place,
        })
        .collect();
    html(web::components(&ComponentsView {
        site: &site(app),
        nevra: &package.nevra,
        components: &components,
        total,
        unreadable: unreadable.as_deref(),
        sboms: &sboms,
    }))
}
