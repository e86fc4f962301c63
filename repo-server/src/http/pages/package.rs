//! `/packages/{name}`, its versions, their files and who needs them, and the badge.

use super::{build_line, error_page, html, site};
use crate::app::App;
use crate::catalogue::dependencies::{self, Dependents};
use crate::db::builds::PackageRow;
use crate::db::overview::VersionLine;
use crate::db::{self, DbError};
use crate::http::error::ApiError;
use crate::status;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use repo_model::Arch;
use repo_model::rpm::{Dependency, Head, Package};
use repo_model::wire::status::{BuildStatus, PackageStatus};
use serde::Deserialize;
use std::collections::HashSet;
use std::sync::Arc;
use web::{DependentLine, DependentsView, FilesView, NeedLine, PackageView, Shown};

/// Versions that a page lists.
const VERSIONS: u32 = 200;
/// Packages that need a package, on its page and on their own.
const DEPENDENTS: (u32, u32) = (20, 200);
/// Files on one page.
const FILES: usize = 2_000;

/// `GET /packages/{name}`: the newest version that is out, or the newest one.
pub async fn package(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    package_page(&app, &name, None)
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

/// `GET /packages/{name}/{version}`: this one, for good.
pub async fn version(
    State(app): State<App>,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    package_page(&app, &name, Some(&version))
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

/// A version with what there is about it.
pub(super) struct Found {
    versions: Vec<VersionLine>,
    package: PackageRow,
    build: BuildStatus,
    /// None before it is released.
    header: Option<Arc<Package>>,
}

impl Found {
    /// The package in its build.
    pub(super) fn status(&self) -> Result<&PackageStatus, ApiError> {
        let package = self
            .build
            .packages
            .iter()
            .find(|p| p.nevra == self.package.nevra);
        package
            .ok_or_else(|| ApiError::not_found("the build does not have this package".to_owned()))
    }

    /// What the package says about itself; 404 before it is released.
    pub(super) fn header(&self) -> Result<&Arc<Package>, ApiError> {
        self.header.as_ref().ok_or_else(|| {
            ApiError::not_found(format!("no release has {}", self.package.nevra))
                .hint("what a package says about itself is public once it is released")
        })
    }
}

/// The version asked for; without one, the newest that the newest release has, or the newest of all.
fn choose<'a>(versions: &'a [VersionLine], version: Option<&str>) -> Option<&'a VersionLine> {
    let newest = |line: &&VersionLine| {
        let nevra = &line.package.nevra;
        (nevra.evr.clone(), line.build.build_id)
    };
    match version {
        Some(version) => versions.iter().find(|line| {
            let nevra = &line.package.nevra;
            format!("{}.{}", nevra.evr, nevra.arch) == version
        }),
        None => versions
            .iter()
            .filter(|line| line.current)
            .max_by_key(newest)
            .or_else(|| versions.iter().max_by_key(newest)),
    }
}

/// The version asked for, or the newest.
pub(super) async fn find(app: &App, name: &str, version: Option<&str>) -> Result<Found, ApiError> {
    let (asked, wanted) = (name.to_owned(), version.map(str::to_owned));
    let found = app
        .db
        .read(move |connection| {
            let versions = db::overview::versions(connection, &asked, VERSIONS)?;
            let Some(line) = choose(&versions, wanted.as_deref()) else {
                return Ok(None);
            };
            let package = line.package.clone();
            let build = status::build(connection, package.build_id)?;
            Ok::<_, DbError>(build.map(|build| (versions, package, build)))
        })
        .await?;
    let Some((versions, package, build)) = found else {
        let what = match version {
            None => format!("there is no package {name}"),
            Some(version) => format!("there is no version {version} of {name}"),
        };
        return Err(ApiError::not_found(what));
    };
    let header = header(app, &package).await?;
    Ok(Found {
        versions,
        package,
        build,
        header,
    })
}

/// What the package says about itself, read from the start of its file. Before it is released that may be
/// under embargo.
async fn header(app: &App, package: &PackageRow) -> Result<Option<Arc<Package>>, ApiError> {
    let (Some(signed), Some(_)) = (&package.signed, package.added_at) else {
        return Ok(None);
    };
    let bytes = app.store.get_start(signed.file, signed.head_bytes).await?;
    let parse = move || Package::from_head(&Head::parse(&bytes)?);
    let parsed = tokio::task::spawn_blocking(parse)
        .await
        .map_err(|error| ApiError::internal(&error))?;
    Ok(Some(Arc::new(
        parsed.map_err(|error| ApiError::internal(&error))?,
    )))
}

async fn package_page(app: &App, name: &str, version: Option<&str>) -> Result<Response, ApiError> {
    let found = find(app, name, version).await?;
    let (needs, dependents) = match &found.header {
        Some(header) => neighbours(app, found.package.package_id, header).await?,
        None => Default::default(),
    };
    let versions: Vec<web::VersionLine> = found.versions.iter().cloned().map(line).collect();
    let dependent_lines = lines(&dependents);
    let arches: &[Arch] = app
        .config
        .repo(&found.build.repo)
        .map_or(&[], |repo| repo.arches.as_slice());
    html(web::package(&PackageView {
        site: &site(app),
        versions: &versions,
        shown: Shown {
            build: &found.build,
            package: found.status()?,
            arches,
            header: found.header.as_deref(),
            needs: &needs,
            dependents: &dependent_lines,
            more_dependents: dependents.next.is_some(),
        },
        newest: version.is_none(),
    }))
}

fn line(line: VersionLine) -> web::VersionLine {
    let package = line.package;
    web::VersionLine {
        nevra: package.nevra,
        size_bytes: package
            .signed
            .map_or(package.unsigned_size_bytes, |signed| signed.size_bytes),
        build: build_line(line.build),
        channels: line.channels,
    }
}

/// What a package needs, with who provides it, and the first who need it.
async fn neighbours(
    app: &App,
    package_id: u64,
    header: &Arc<Package>,
) -> Result<(Vec<NeedLine>, Dependents), DbError> {
    let header = Arc::clone(header);
    app.catalogue
        .ask(move |connection| {
            // rpmbuild writes some needs twice, with other circumstances.
            let mut known = HashSet::new();
            let mut wanted: Vec<(&'static str, Dependency)> = Vec::new();
            for (kind, list) in dependencies::needs_of(&header) {
                for need in list {
                    if known.insert((kind, &need.name, &need.version)) {
                        wanted.push((kind, need.clone()));
                    }
                }
            }
            let needed: Vec<Dependency> = wanted.iter().map(|(_, need)| need.clone()).collect();
            let providers = dependencies::providers(connection, &header.nevra.arch, &needed)?;
            let needs = wanted
                .iter()
                .zip(providers)
                .map(|((kind, need), providers)| NeedLine {
                    kind,
                    need: dependencies::shown_need(need),
                    providers: providers.into_iter().collect(),
                })
                .collect();
            let dependents =
                dependencies::dependents(connection, package_id, &header, "", DEPENDENTS.0)?;
            Ok((needs, dependents))
        })
        .await
}

fn lines(dependents: &Dependents) -> Vec<DependentLine> {
    let line = |dependent: &dependencies::Dependent| DependentLine {
        name: dependent.name.clone(),
        needs: dependent.needs.iter().cloned().collect(),
    };
    dependents.dependents.iter().map(line).collect()
}

/// Query of [`dependents`].
#[derive(Debug, Deserialize)]
pub struct After {
    after: Option<String>,
}

/// `GET /packages/{name}/{version}/required-by?after=`.
pub async fn dependents(
    State(app): State<App>,
    Path((name, version)): Path<(String, String)>,
    Query(query): Query<After>,
    headers: HeaderMap,
) -> Response {
    let page = async {
        let found = find(&app, &name, Some(&version)).await?;
        let (header, id) = (Arc::clone(found.header()?), found.package.package_id);
        let after = query.after.unwrap_or_default();
        let continued = !after.is_empty();
        let dependents = app
            .catalogue
            .ask(move |connection| {
                dependencies::dependents(connection, id, &header, &after, DEPENDENTS.1)
            })
            .await?;
        html(web::dependents(&DependentsView {
            site: &site(&app),
            nevra: &found.package.nevra,
            dependents: &lines(&dependents),
            continued,
            next: dependents.next.as_deref(),
        }))
    };
    page.await
        .unwrap_or_else(|error: ApiError| error_page(&app, &headers, error))
}

/// Query of [`files`].
#[derive(Debug, Deserialize)]
pub struct Offset {
    offset: Option<usize>,
}

/// `GET /packages/{name}/{version}/files?offset=`.
pub async fn files(
    State(app): State<App>,
    Path((name, version)): Path<(String, String)>,
    Query(query): Query<Offset>,
    headers: HeaderMap,
) -> Response {
    let page = async {
        let found = find(&app, &name, Some(&version)).await?;
        html(web::files(&FilesView {
            site: &site(&app),
            nevra: &found.package.nevra,
            files: &found.header()?.files,
            offset: query.offset.unwrap_or(0),
            limit: FILES,
        }))
    };
    page.await
        .unwrap_or_else(|error: ApiError| error_page(&app, &headers, error))
}

/// `GET /badge/{name}.svg`: how the newest version of a package fared.
pub async fn badge(State(app): State<App>, Path(file): Path<String>) -> Result<Response, ApiError> {
    let missing = || ApiError::not_found(format!("there is no badge {file}"));
    let name = file.strip_suffix(".svg").ok_or_else(missing)?.to_owned();
    let build = app
        .db
        .read(move |connection| {
            let versions = db::overview::versions(connection, &name, VERSIONS)?;
            match choose(&versions, None) {
                Some(line) => status::build(connection, line.package.build_id),
                None => Ok(None),
            }
        })
        .await?;
    let svg = web::badge_svg(&build.ok_or_else(missing)?);
    let headers = [
        (header::CONTENT_TYPE, "image/svg+xml"),
        (header::CACHE_CONTROL, "max-age=300"),
    ];
    Ok((headers, svg).into_response())
}
