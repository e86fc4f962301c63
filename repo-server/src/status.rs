//! Builds and releases as the API, the CLI and the pages show them.

use crate::db::builds::{BuildFilter, BuildRow};
use crate::db::evidence::Kind;
use crate::db::releases::ReleaseRow;
use crate::db::{self, DbError};
use repo_model::ReleaseId;
use repo_model::wire::status::{
    BuildStatus, ChannelStatus, EvidenceLink, PackageStatus, ReleaseStatus,
};
use rusqlite::Connection;

/// One build; `None` when there is none with this number.
pub fn build(connection: &Connection, build_id: u64) -> Result<Option<BuildStatus>, DbError> {
    match db::builds::by_id(connection, build_id)? {
        Some(row) => Ok(Some(of_row(connection, row)?)),
        None => Ok(None),
    }
}

/// Builds, newest first.
pub fn builds(connection: &Connection, filter: &BuildFilter) -> Result<Vec<BuildStatus>, DbError> {
    let rows = db::builds::list(connection, filter)?;
    rows.into_iter()
        .map(|row| of_row(connection, row))
        .collect()
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
                .map(|row| EvidenceLink {
                    kind: row.kind.clone(),
                    label: row.label.clone(),
                    digest: row.digest,
                })
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
        jobs: db::jobs::of_build(connection, row.build_id)?,
    })
}

/// Releases, newest first.
pub fn releases(connection: &Connection, limit: u32) -> Result<Vec<ReleaseStatus>, DbError> {
    let channels = db::channels::all(connection)?;
    let rows = db::releases::list(connection, limit)?;
    rows.into_iter()
        .map(|row| release_of_row(connection, &channels, row))
        .collect()
}

/// One release; `None` when there is none with this number.
pub fn release(connection: &Connection, id: ReleaseId) -> Result<Option<ReleaseStatus>, DbError> {
    let channels = db::channels::all(connection)?;
    let row = db::releases::by_id(connection, id)?;
    row.map(|row| release_of_row(connection, &channels, row))
        .transpose()
}

fn release_of_row(
    connection: &Connection,
    channels: &[ChannelStatus],
    row: ReleaseRow,
) -> Result<ReleaseStatus, DbError> {
    Ok(ReleaseStatus {
        id: row.release,
        issued: row.issued,
        envelope: row.envelope,
        repos: db::releases::repos(connection, row.release)?
            .into_iter()
            .map(Into::into)
            .collect(),
        channels: channels
            .iter()
            .filter(|channel| channel.release == Some(row.release))
            .map(|channel| channel.channel.clone())
            .collect(),
    })
}

/// The builds that were first published in a release, newest first.
pub fn published_in(connection: &Connection, id: ReleaseId) -> Result<Vec<BuildStatus>, DbError> {
    let rows = db::releases::builds_added(connection, id)?;
    let mut builds = Vec::new();
    for build_id in rows {
        builds.extend(build(connection, build_id)?);
    }
    Ok(builds)
}
