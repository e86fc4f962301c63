//! `/api/v1/sbom/…` and `/api/v1/vulnerabilities`: questions about what is inside the packages of a
//! release, for anyone. Every answer is a page.

use super::error::ApiError;
use super::params::{Params, bad};
use crate::app::App;
use crate::db::{self, DbError};
use crate::sbom_index::questions::{
    self, AskError, Cursor, Depth, FileDigestQuery, Paging, Scope, VulnerabilityQuery, Wanted,
};
use crate::sbom_index::requirements::{self, RequirementsError};
use crate::sbom_index::versions::Range;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use repo_model::wire::sbom::{
    BuiltWith, Difference, FileHit, Finding, LicenceUse, Needing, Page, ReleaseSbom, Shipped,
    VulnerabilityStatus, Why,
};
use repo_model::{ChannelName, ReleaseId};
use rusqlite::Connection;
use std::collections::BTreeMap;

/// Items in one answer, unless the client wants another number, and the most.
const LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1_000;

type Given = Query<BTreeMap<String, String>>;
type Answer<T> = Result<Json<Page<T>>, ApiError>;

/// `GET /api/v1/sbom/components?component=&version=`: who ships a component.
pub async fn components(State(app): State<App>, Query(given): Given) -> Answer<Shipped> {
    let mut params = Params::new(given);
    let wanted = wanted(&mut params)?;
    let (scope, paging) = (scope(&app, &mut params).await?, paging(&mut params)?);
    params.finish()?;
    ask(&app, move |db| {
        questions::who_ships(db, &scope, &wanted, paging)
    })
    .await
}

/// `GET /api/v1/sbom/why?component=&version=&package=&depth=`: how it came there. With a package, also by
/// what that needs.
pub async fn why(State(app): State<App>, Query(given): Given) -> Answer<Why> {
    let mut params = Params::new(given);
    let wanted = wanted(&mut params)?;
    let depth: Option<Depth> = params.parsed("depth")?;
    let (scope, paging) = (scope(&app, &mut params).await?, paging(&mut params)?);
    params.finish()?;
    if scope.package.is_none() && depth.is_some() {
        let why = "`depth` is from a package on: name one with `package`";
        return Err(bad(why));
    }
    let depth = depth.unwrap_or_default();
    if scope.package.is_none() || depth.steps() == 0 {
        return ask(&app, move |db| questions::why(db, &scope, &wanted, paging)).await;
    }
    let (repo, arch) = (scope.repo.clone(), scope.arch.clone());
    let roads = requirements::roads(&app, scope.release, repo, arch).await?;
    let own = app.clone();
    ask(&app, move |db| {
        questions::why_here(&own.sbom_index, db, &scope, &wanted, &roads, depth, paging)
    })
    .await
}

/// `GET /api/v1/sbom/needs?package=&depth=`: what needs a package, directly or by way of others.
pub async fn needs(State(app): State<App>, Query(given): Given) -> Answer<Needing> {
    let mut params = Params::new(given);
    let depth: Option<Depth> = params.parsed("depth")?;
    let (scope, paging) = (scope(&app, &mut params).await?, paging(&mut params)?);
    params.finish()?;
    if scope.package.is_none() {
        return Err(bad(
            "`package` is missing: name the package that might leave",
        ));
    }
    let (repo, arch) = (scope.repo.clone(), scope.arch.clone());
    let roads = requirements::roads(&app, scope.release, repo, arch).await?;
    let depth = depth.unwrap_or_default();
    ask(&app, move |db| {
        questions::needing(db, &scope, &roads, depth, paging)
    })
    .await
}

/// `GET /api/v1/releases/{release}/sboms`: the documents about each repository of a release as a whole; none
/// before they are made.
pub async fn whole(
    State(app): State<App>,
    Path(release): Path<String>,
) -> Result<Json<Vec<ReleaseSbom>>, ApiError> {
    let release = named(&app, &release).await?;
    Ok(Json(whole_of(&app, release).await?))
}

/// The documents about each repository of a release as a whole.
pub async fn whole_of(app: &App, release: ReleaseId) -> Result<Vec<ReleaseSbom>, ApiError> {
    let rows = app
        .db
        .read(move |connection| db::release_documents::of_release(connection, release))
        .await?;
    let documents = rows.into_iter().filter_map(|row| {
        let format = sbom_gen::format_named(&row.label)?;
        let name = crate::publish::sbom_listing::whole_name(format);
        Some(ReleaseSbom {
            path: format!("/r/{release}/{}/{}/sbom/{name}", row.repo, row.arch),
            repo: row.repo,
            arch: row.arch,
            format: row.label,
            sha256: row.digest,
            size_bytes: row.size_bytes,
            zst_sha256: row.packed,
            zst_size_bytes: row.packed_size_bytes,
        })
    });
    Ok(documents.collect())
}

/// `GET /api/v1/sbom/built-with?tool=&version=`: what was built where a tool was installed.
pub async fn built_with(State(app): State<App>, Query(given): Given) -> Answer<BuiltWith> {
    let mut params = Params::new(given);
    let tool = params.required("tool")?;
    let range: Option<Range> = params.parsed("version")?;
    let (scope, paging) = (scope(&app, &mut params).await?, paging(&mut params)?);
    params.finish()?;
    let range = match range {
        Some(range) => range,
        None => Range::any(),
    };
    ask(&app, move |db| {
        questions::built_with(db, &scope, &tool, &range, paging)
    })
    .await
}

/// `GET /api/v1/sbom/licences?of=&mapped=&copyleft=`: licences with the number of packages.
pub async fn licences(State(app): State<App>, Query(given): Given) -> Answer<LicenceUse> {
    let mut params = Params::new(given);
    let mapped: Option<bool> = params.parsed("mapped")?;
    let of = one_of(&mut params, "of", &["package", "part"])?;
    let copyleft = one_of(&mut params, "copyleft", &["true", "false", "unknown"])?;
    let release = release(&app, &mut params).await?;
    let paging = paging(&mut params)?;
    params.finish()?;
    let index = app.clone();
    ask(&app, move |db| {
        let all = questions::licences(&index.sbom_index, db, release)?;
        let wanted = all.iter().filter(|licence| {
            mapped.is_none_or(|mapped| licence.mapped == mapped)
                && of.as_ref().is_none_or(|of| licence.of == *of)
                && copyleft.as_ref().is_none_or(|asked| {
                    let known = licence.copyleft.map(|is_so| is_so.to_string());
                    known.as_deref().unwrap_or("unknown") == asked
                })
        });
        Ok(paging.cut(release, wanted.cloned()))
    })
    .await
}

/// `GET /api/v1/sbom/licensed?licence=`: packages that have a licence, or something in them has.
pub async fn licensed(State(app): State<App>, Query(given): Given) -> Answer<Shipped> {
    let mut params = Params::new(given);
    let licence = params.required("licence")?;
    let (scope, paging) = (scope(&app, &mut params).await?, paging(&mut params)?);
    params.finish()?;
    ask(&app, move |db| {
        questions::licensed(db, &scope, &licence, paging)
    })
    .await
}

/// `GET /api/v1/sbom/files?digest=`: packages with a file that has a digest.
pub async fn files(State(app): State<App>, Query(given): Given) -> Answer<FileHit> {
    let mut params = Params::new(given);
    let wanted = FileDigestQuery::parse(&params.required("digest")?)?;
    let (scope, paging) = (scope(&app, &mut params).await?, paging(&mut params)?);
    params.finish()?;
    ask(&app, move |db| {
        questions::files(db, &scope, &wanted, paging)
    })
    .await
}

/// `GET /api/v1/sbom/diff?from=&to=&of=`: what differs between two releases.
pub async fn diff(State(app): State<App>, Query(given): Given) -> Answer<Difference> {
    let mut params = Params::new(given);
    let (from, to) = (params.required("from")?, params.required("to")?);
    let of = one_of(&mut params, "of", &["package", "component"])?;
    let paging = paging(&mut params)?;
    params.finish()?;
    let (from, to) = (named(&app, &from).await?, named(&app, &to).await?);
    let own = app.clone();
    ask(&app, move |db| {
        let index = &own.sbom_index;
        match of.as_deref() {
            Some("component") => questions::component_differences(index, db, from, to, paging),
            _ => questions::package_differences(index, db, from, to, paging),
        }
    })
    .await
}

/// `GET /api/v1/vulnerabilities?vulnerability=&status=`: advisories and VEX statements over a release.
pub async fn vulnerabilities(State(app): State<App>, Query(given): Given) -> Answer<Finding> {
    let mut params = Params::new(given);
    let mut query = VulnerabilityQuery {
        vulnerability: params.text("vulnerability")?,
        ..VulnerabilityQuery::default()
    };
    for name in params
        .text("status")?
        .iter()
        .flat_map(|list| list.split(','))
    {
        let status = VulnerabilityStatus::named(name.trim()).ok_or_else(|| {
            let known = VulnerabilityStatus::ALL.map(VulnerabilityStatus::name);
            bad(format!("`status`: want some of {}", known.join(", ")))
        })?;
        query.status.push(status);
    }
    let scope = scope(&app, &mut params).await?;
    let after = params.text("after")?;
    let after = after.map(|text| text.parse()).transpose()?;
    let limit = limit(&mut params)?;
    params.finish()?;
    ask(&app, move |db| {
        let after: Cursor = after.unwrap_or_default();
        questions::vulnerabilities(db, &scope, &query, after, limit)
    })
    .await
}

/// Runs one question on the index; only so many run side by side, the others wait.
async fn ask<T: Send + 'static>(
    app: &App,
    question: impl FnOnce(&Connection) -> Result<Page<T>, AskError> + Send + 'static,
) -> Answer<T> {
    let _turn = app
        .sbom_index
        .asking
        .acquire()
        .await
        .map_err(|error| ApiError::internal(&error))?;
    Ok(Json(app.sbom_index.db.read(question).await?))
}

fn wanted(params: &mut Params) -> Result<Wanted, ApiError> {
    let component = params.required("component")?;
    let version = params.text("version")?;
    Ok(Wanted::parse(&component, version.as_deref())?)
}

async fn scope(app: &App, params: &mut Params) -> Result<Scope, ApiError> {
    Ok(Scope {
        release: release(app, params).await?,
        repo: params.parsed("repo")?,
        arch: params.parsed("arch")?,
        package: params.text("package")?,
    })
}

async fn release(app: &App, params: &mut Params) -> Result<ReleaseId, ApiError> {
    match params.text("release")? {
        Some(text) => named(app, &text).await,
        None => {
            let newest = app.db.read(db::releases::newest).await?;
            let newest = newest.ok_or_else(|| ApiError::not_found("there is no release yet"))?;
            Ok(newest.release)
        }
    }
}

/// A release by its number, or the one that a channel points to.
async fn named(app: &App, text: &str) -> Result<ReleaseId, ApiError> {
    let missing = || {
        let text: String = text.chars().take(80).collect();
        ApiError::not_found(format!("there is no release or channel {text}"))
            .hint("GET /api/v1/releases and /api/v1/channels name what there is")
    };
    let (number, channel) = (text.parse::<ReleaseId>(), text.parse::<ChannelName>());
    let found = app.db.read(move |connection| match (number, channel) {
        (Ok(number), _) => {
            let row = db::releases::by_id(connection, number)?;
            Ok::<_, DbError>(row.map(|row| row.release))
        }
        (Err(_), Ok(channel)) => Ok(db::channels::pointer(connection, &channel)?.flatten()),
        (Err(_), Err(_)) => Ok(None),
    });
    found.await?.ok_or_else(missing)
}

fn paging(params: &mut Params) -> Result<Paging, ApiError> {
    Ok(Paging {
        after: params
            .text("after")?
            .map(|text| text.parse())
            .transpose()?
            .unwrap_or_default(),
        limit: limit(params)?,
    })
}

fn limit(params: &mut Params) -> Result<u32, ApiError> {
    let wanted: Option<u32> = params.parsed("limit")?;
    Ok(wanted.unwrap_or(LIMIT).clamp(1, MAX_LIMIT))
}

fn one_of(
    params: &mut Params,
    name: &'static str,
    known: &[&str],
) -> Result<Option<String>, ApiError> {
    let value = params.text(name)?;
    match value {
        Some(value) if !known.contains(&value.as_str()) => {
            Err(bad(format!("`{name}`: want {}", known.join(" or "))))
        }
        value => Ok(value),
    }
}

impl From<RequirementsError> for ApiError {
    fn from(error: RequirementsError) -> Self {
        match error {
            RequirementsError::NotYet { .. } => Self::client(
                StatusCode::SERVICE_UNAVAILABLE,
                "not-yet",
                error.to_string(),
            )
            .hint("ask again in a minute, or with depth=0 for what is in the package itself")
            .header(header::RETRY_AFTER, "5"),
            RequirementsError::NeverMade { .. } => Self::not_found(error.to_string()).hint(
                "ask with depth=0 for what is in the package itself, or ask of the newest release or a channel",
            ),
            RequirementsError::Db(error) => error.into(),
            RequirementsError::Store(error) => error.into(),
            RequirementsError::Damaged { .. } => Self::internal(&error),
        }
    }
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Range(_) => bad(error.to_string())
                .hint("write `>= 1.2, < 2`, `1.2.3` or `vers:golang/>=1.2|<2`"),
            AskError::Purl { .. } => bad(error.to_string())
                .hint("write pkg:TYPE/NAMESPACE/NAME, such as pkg:golang/golang.org/x/net, or a name alone"),
            AskError::Parameter { .. } => bad(error.to_string()),
            AskError::Db(error) => error.into(),
        }
    }
}
