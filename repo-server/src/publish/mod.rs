//! `publish`: a release of everything that is signed. Content first, names last: metadata, package
//! lists and signatures are stored before one transaction makes the release and moves the channels.
//!
//! The plan is recorded before the signer is asked, so that a crash makes the same document again.

mod metadata;
mod package_list;

use crate::app::{App, now};
use crate::db::builds::PackageRow;
use crate::db::jobs::JobRow;
use crate::db::releases::{NewRelease, Plan, ReleaseRepoRow, RepodataFileRow};
use crate::db::{self, DbError};
use crate::jobs::JobError;
use hallmark_signer::client::Client;
use hallmark_signer::verify::{Certificate, verify_detached};
use metadata::Metadata;
use repo_model::config::{MetadataCodec, RepoConfig};
use repo_model::dsse::Envelope;
use repo_model::release::{PreviousRelease, ReleaseDocument, ReleaseRepo, SCHEMA};
use repo_model::stage::Event;
use repo_model::wire::signer::{Base64, ReleaseFiles};
use repo_model::{Arch, FileDigest, ReleaseId};
use std::collections::HashSet;

/// Name in the database.
pub const NAME: &str = "publish";

/// One repository of the release in the making.
struct RepoInRelease {
    config: RepoConfig,
    arch: Arch,
    packages: Vec<PackageRow>,
    added: Vec<u64>,
    metadata: Metadata,
    package_list: String,
}

/// Runs it.
pub async fn run(app: App, job: JobRow) -> Result<(), JobError> {
    if let Some(plan) = plan(&app).await? {
        let release = plan.release;
        let new = make(&app, plan).await?;
        record(&app, new).await?;
        tracing::info!(release = release.0, "release {release} is published");
    }
    app.db
        .write(move |tx| {
            db::jobs::finish(tx, job.job_id)?;
            // What was signed while this release was in the making goes into the next one.
            match db::builds::in_stage(tx, "signed")?.is_empty() {
                true => Ok(()),
                false => db::jobs::enqueue(tx, NAME, "", None, crate::app::now_millis()),
            }
        })
        .await?;
    Ok(())
}

/// Asks for the first, empty release, so that clients can be pointed at the repositories from the
/// first minute.
pub async fn ensure_first_release(app: &App) -> Result<(), DbError> {
    app.db
        .write(|tx| match db::releases::newest(tx)? {
            Some(_) => Ok(()),
            None => db::jobs::enqueue(tx, NAME, "", None, crate::app::now_millis()),
        })
        .await
}

/// The plan that was begun, or a new one; none when there is nothing to publish.
async fn plan(app: &App) -> Result<Option<Plan>, DbError> {
    app.db
        .write(|tx| {
            if let Some(plan) = db::releases::plan(tx)? {
                return Ok(Some(plan));
            }
            let newest = db::releases::newest(tx)?;
            let builds = db::builds::in_stage(tx, "signed")?;
            if builds.is_empty() && newest.is_some() {
                return Ok(None);
            }
            let plan = Plan {
                release: ReleaseId(newest.as_ref().map_or(1, |release| release.release.0 + 1)),
                base: newest.as_ref().map(|release| release.release),
                // Strictly later than the release before, even when the clock was set back.
                issued: newest.map_or(now(), |release| now().max(release.issued.plus_secs(1))),
                builds,
            };
            db::releases::insert_plan(tx, &plan)?;
            Ok(Some(plan))
        })
        .await
}

/// Makes and stores everything the plan names.
async fn make(app: &App, plan: Plan) -> Result<NewRelease, JobError> {
    let mut repos = Vec::new();
    let mut configured: Vec<_> = app.config.repo.clone();
    configured.sort_by(|a, b| a.name.cmp(&b.name));
    for config in configured {
        let mut arches = config.arches.clone();
        arches.sort();
        for arch in arches {
            repos.push(make_repo(app, &plan, config.clone(), arch).await?);
        }
    }
    let document = document(app, &plan, &repos).await?;
    let (signatures, envelope) = sign(app, &document, &repos).await?;
    let mut rows = Vec::new();
    for (made, signature) in repos.into_iter().zip(signatures) {
        rows.push(store(app, made, signature).await?);
    }
    Ok(NewRelease { plan, envelope: app.store.put(envelope.to_json()).await?, repos: rows })
}

async fn make_repo(
    app: &App,
    plan: &Plan,
    config: RepoConfig,
    arch: Arch,
) -> Result<RepoInRelease, JobError> {
    let (mut packages, added) = packages(app, plan, &config, &arch).await?;
    packages.extend(added.iter().cloned());
    let codec = match config.metadata_codec {
        MetadataCodec::Zstd => crate::repodata::Codec::ZSTD,
        MetadataCodec::Gzip => crate::repodata::Codec::Gzip,
    };
    let metadata = metadata::make(app, &packages, codec, plan.issued).await?;
    let package_list = package_list::write(&packages)?;
    Ok(RepoInRelease {
        config,
        arch,
        packages,
        added: added.iter().map(|package| package.package_id).collect(),
        metadata,
        package_list,
    })
}

/// Members of the release before, and the packages that the plan's builds add.
async fn packages(
    app: &App,
    plan: &Plan,
    config: &RepoConfig,
    arch: &Arch,
) -> Result<(Vec<PackageRow>, Vec<PackageRow>), DbError> {
    let (plan, repo, arch) = (plan.clone(), config.name.clone(), arch.clone());
    app.db
        .read(move |connection| {
            let members = match plan.base {
                Some(base) => db::releases::members(connection, base, &repo, &arch)?,
                None => Vec::new(),
            };
            let known: HashSet<u64> = members.iter().map(|package| package.package_id).collect();
            let mut added = Vec::new();
            for build_id in &plan.builds {
                let build = db::builds::by_id(connection, *build_id)?;
                if build.is_none_or(|build| build.repo != repo) {
                    continue;
                }
                let here = |p: &PackageRow| p.nevra.arch == "noarch" || p.nevra.arch == arch.as_str();
                let mut packages = db::builds::packages(connection, *build_id)?;
                packages.retain(|p| here(p) && !known.contains(&p.package_id));
                for package in &mut packages {
                    // One publish instant for all that the release adds.
                    package.added_at = package.added_at.or(Some(plan.issued));
                }
                added.extend(packages);
            }
            Ok((members, added))
        })
        .await
}

async fn document(
    app: &App,
    plan: &Plan,
    repos: &[RepoInRelease],
) -> Result<ReleaseDocument, JobError> {
    let previous = match plan.base {
        None => None,
        Some(base) => app
            .db
            .read(move |connection| db::releases::by_id(connection, base))
            .await?
            .map(|row| PreviousRelease { id: row.release, sha256: row.envelope }),
    };
    Ok(ReleaseDocument {
        schema: SCHEMA.to_owned(),
        id: plan.release,
        previous,
        issued: plan.issued,
        repos: repos
            .iter()
            .map(|made| ReleaseRepo {
                repo: made.config.name.clone(),
                arch: made.arch.clone(),
                repomd: FileDigest::of(&made.metadata.repomd),
                package_list: FileDigest::of(made.package_list.as_bytes()),
                packages: made.packages.len() as u64,
            })
            .collect(),
    })
}

/// Signs and verifies before anything is stored.
async fn sign(
    app: &App,
    document: &ReleaseDocument,
    repos: &[RepoInRelease],
) -> Result<(Vec<String>, Envelope), JobError> {
    let json = serde_json::to_vec(document)
        .map_err(|error| JobError::Broken(format!("the release document does not serialise: {error}")))?;
    let files: Vec<ReleaseFiles> = repos
        .iter()
        .map(|made| ReleaseFiles {
            repomd: Base64(made.metadata.repomd.clone()),
            package_list: Base64(made.package_list.clone().into_bytes()),
        })
        .collect();
    let socket = app.config.server.signer_socket.clone();
    let signed = tokio::task::spawn_blocking(move || {
        let mut client = Client::connect(&socket).map_err(JobError::Signer)?;
        let identity = client.identity().map_err(JobError::Signer)?;
        let signed = client.sign_release(&json, &files).map_err(JobError::Signer)?;
        if signed.repomd_signatures.len() != files.len() {
            return Err(JobError::Broken("the signer gave another number of signatures than asked for".to_owned()));
        }
        for (file, armored) in files.iter().zip(&signed.repomd_signatures) {
            Certificate::from_bytes(identity.metadata_certificate.as_bytes())
                .and_then(|key| verify_detached(file.repomd.0.as_slice(), armored.as_bytes(), &key))
                .map_err(|source| JobError::BadSignature { what: "repomd.xml".to_owned(), source })?;
        }
        Ok((signed.repomd_signatures, signed.envelope))
    });
    signed.await?
}

async fn store(
    app: &App,
    made: RepoInRelease,
    signature: String,
) -> Result<(ReleaseRepoRow, Vec<RepodataFileRow>, Vec<u64>), JobError> {
    let mut files = Vec::new();
    for file in &made.metadata.files {
        app.store.put_file(file.scratch.path(), file.record.digest).await?;
        files.push(RepodataFileRow {
            name: file.record.name.clone(),
            file: file.record.digest,
            size_bytes: file.record.size_bytes,
        });
    }
    let row = ReleaseRepoRow {
        repo: made.config.name,
        arch: made.arch,
        repomd: app.store.put(made.metadata.repomd).await?,
        repomd_signature: app.store.put(signature).await?,
        package_list: app.store.put(made.package_list).await?,
        packages: made.packages.len() as u64,
    };
    Ok((row, files, made.added))
}

/// The publish instant: release, members, stages and channels change together.
async fn record(app: &App, new: NewRelease) -> Result<(), DbError> {
    app.db
        .write(move |tx| {
            db::releases::insert(tx, &new)?;
            let release = new.plan.release;
            for build_id in &new.plan.builds {
                db::builds::advance(tx, *build_id, Event::Published(release), now())?;
            }
            db::channels::follow(tx, release, now())
        })
        .await
}
