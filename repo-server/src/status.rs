//! Builds and releases as the API, the CLI and the pages show them.

use crate::db::build_list::BuildFilter;
use crate::db::builds::BuildRow;
use crate::db::evidence::{EvidenceRow, Kind};
use crate::db::releases::ReleaseRow;
use crate::db::{self, DbError};
use repo_model::wire::status::{BuildStatus, EvidenceLink, PackageStatus, ReleaseStatus};
use repo_model::{HeaderDigest, ReleaseId};
use rusqlite::Connection;
use std::collections::BTreeSet;

/// One build; `None` when there is none with this number.
pub fn build(connection: &Connection, build_id: u64) -> Result<Option<BuildStatus>, DbError> {
    match db::builds::by_id(connection, build_id)? {
        Some(row) => Ok(Some(of_row(connection, row)?)),
        None => Ok(None),
    }
}

/// Builds, newest first.
pub fn builds(connection: &Connection, filter: &BuildFilter) -> Result<Vec<BuildStatus>, DbError> {
    let rows = db::build_list::list(connection, filter)?;
    rows.into_iter()
        .map(|row| of_row(connection, row))
        .collect()
}

/// The builds of packages with these headers, newest first, each with those packages alone.
pub fn of_headers(
    connection: &Connection,
    headers: &BTreeSet<HeaderDigest>,
) -> Result<Vec<BuildStatus>, DbError> {
    let mut builds = BTreeSet::new();
    for header in headers {
        let packages = db::builds::with_header(connection, *header)?;
        builds.extend(packages.iter().map(|package| package.build_id));
    }
    let mut found = Vec::with_capacity(builds.len());
    for build_id in builds.into_iter().rev() {
        if let Some(mut status) = build(connection, build_id)? {
            status
                .packages
                .retain(|package| headers.contains(&package.header));
            found.push(status);
        }
    }
    Ok(found)
}

fn of_row(connection: &Connection, row: BuildRow) -> Result<BuildStatus, DbError> {
    let evidence = db::evidence::ByPackage::new(db::evidence::of_build(connection, row.build_id)?);
    // A rebuilder's word about a package is worth what its commitment is worth: they go together.
    let sealed = [Kind::Commitment, Kind::Reveal].map(Kind::name);
    let about_all: Vec<_> = evidence
        .of_all()
        .iter()
        .filter(|row| sealed.contains(&row.kind.as_str()))
        .collect();
    let packages = db::builds::packages(connection, row.build_id)?
        .into_iter()
        .map(|package| PackageStatus {
            evidence: evidence
                .of(package.package_id)
                .iter()
                .chain(about_all.iter().copied())
                .map(link)
                .collect(),
            nevra: package.nevra,
            header: package.header,
            unsigned_file: package.unsigned_file,
            size_bytes: package
                .signed
                .as_ref()
                .map_or(package.unsigned_size_bytes, |s| s.size_bytes),
            signed_file: package.signed.map(|signed| signed.file),
            href: package.href,
            summary: package.summary,
        })
        .collect();
    Ok(BuildStatus {
        build: row.build_id,
        repo: row.repo,
        source: row.source,
        source_file: row.source_file,
        buildinfo: row.buildinfo,
        provenance: row.provenance,
        stage: row.stage,
        received_at: row.received_at,
        changed_at: row.changed_at,
        packages,
        rebuilds: db::rebuilds::of_build(connection, row.build_id)?,
        // For the policy to say: `jobs::rebuilding::waits_for`.
        waits_for: Vec::new(),
        jobs: db::jobs::of_build(connection, row.build_id)?,
        documents: evidence.of_all().iter().map(link).collect(),
    })
}

fn link(row: &EvidenceRow) -> EvidenceLink {
    EvidenceLink {
        kind: row.kind.clone(),
        label: row.label.clone(),
        digest: row.digest,
    }
}

/// Releases, newest first.
pub fn releases(connection: &Connection, limit: u32) -> Result<Vec<ReleaseStatus>, DbError> {
    let rows = db::releases::list(connection, limit)?;
    releases_of_rows(connection, rows)
}

/// One release; `None` when there is none with this number.
pub fn release(connection: &Connection, id: ReleaseId) -> Result<Option<ReleaseStatus>, DbError> {
    let row = db::releases::by_id(connection, id)?;
    Ok(releases_of_rows(connection, row.into_iter().collect())?.pop())
}

fn releases_of_rows(
    connection: &Connection,
    rows: Vec<ReleaseRow>,
) -> Result<Vec<ReleaseStatus>, DbError> {
    let channels = db::channels::all(connection)?;
    let ids: Vec<ReleaseId> = rows.iter().map(|row| row.release).collect();
    let mut repos = db::releases::repos_of(connection, &ids)?;
    let status = |row: ReleaseRow| ReleaseStatus {
        id: row.release,
        issued: row.issued,
        envelope: row.envelope,
        repos: repos
            .remove(&row.release)
            .unwrap_or_default()
            .into_iter()
            .map(Into::into)
            .collect(),
        channels: channels
            .iter()
            .filter(|channel| channel.release == Some(row.release))
            .map(|channel| channel.channel.clone())
            .collect(),
    };
    Ok(rows.into_iter().map(status).collect())
}
