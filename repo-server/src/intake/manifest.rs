//! A manifest makes a build: every piece is read, checked against the others, and then recorded in
//! one transaction together with the work it calls for.

use super::IntakeError;
use super::check::{CheckedRpm, check};
use crate::app::{App, now};
use crate::db::builds::{NewBuild, NewPackage};
use crate::db::evidence::{Kind, NewEvidence};
use crate::db::{self, DbError};
use crate::jobs::{self, rebuilding};
use repo_model::buildinfo::{self, BuildInfo};
use repo_model::config::RepoConfig;
use repo_model::dsse::Envelope;
use repo_model::policy::MadeFrom;
use repo_model::statement::{PROVENANCE, Provenance, Statement};
use repo_model::wire::intake::{BuildManifest, BuildReceipt, MAX_PACKAGES, ReceivedPackage};
use repo_model::{Arch, FileDigest, Timestamp};
use std::collections::BTreeSet;

/// Largest provenance envelope, bytes.
const MAX_PROVENANCE_BYTES: u64 = 16 << 20;

/// What became of a manifest.
#[derive(Debug)]
pub struct Received {
    /// The answer.
    pub receipt: BuildReceipt,
    /// Whether this call made the build.
    pub created: bool,
}

/// Takes a build in; the same manifest again gives the build it made.
///
/// * `uploaded_by`: name of the token, for the audit trail.
pub async fn receive(
    app: &App,
    manifest: &BuildManifest,
    uploaded_by: &str,
) -> Result<Received, IntakeError> {
    let repo = app
        .config
        .repo(&manifest.repo)
        .ok_or_else(|| IntakeError::UnknownRepo {
            repo: manifest.repo.clone(),
        })?;
    let count = manifest.packages.len();
    if !(1..=MAX_PACKAGES).contains(&count) {
        return Err(IntakeError::PackageCount {
            count,
            limit: MAX_PACKAGES,
        });
    }
    let manifest_digest = manifest_digest(manifest);
    if let Some(receipt) = known(app, manifest_digest).await? {
        return Ok(Received {
            receipt,
            created: false,
        });
    }
    let source = read_rpm(app, manifest.source, "source package").await?;
    let mut packages = Vec::with_capacity(count);
    for digest in &manifest.packages {
        packages.push(read_rpm(app, *digest, "package").await?);
    }
    packages.sort_by(|a, b| a.nevra.cmp(&b.nevra));
    let buildinfo = read_buildinfo(app, manifest.buildinfo).await?;
    agree(repo, &source, &packages, &buildinfo)?;
    let provenance = match manifest.provenance {
        Some(digest) => {
            let made_from = MadeFrom {
                source: source.file,
                buildinfo: manifest.buildinfo,
            };
            Some(read_provenance(app, digest, &packages, made_from).await?)
        }
        None => None,
    };
    let warnings = warnings(&packages);
    let build = NewBuild {
        provenance,
        ..new_build(manifest, manifest_digest, &source, packages, uploaded_by)
    };
    record(app, build, &buildinfo, warnings).await
}

/// The manifest's digest does not depend on the order of its packages.
fn manifest_digest(manifest: &BuildManifest) -> FileDigest {
    let mut canonical = manifest.clone();
    canonical.packages.sort();
    canonical.packages.dedup();
    FileDigest::of(&serde_json::to_vec(&canonical).unwrap_or_default())
}

async fn known(app: &App, manifest: FileDigest) -> Result<Option<BuildReceipt>, IntakeError> {
    app.db
        .read(move |connection| {
            let Some(build) = db::builds::by_manifest(connection, manifest)? else {
                return Ok(None);
            };
            let packages = db::builds::packages(connection, build.build_id)?;
            Ok(Some(BuildReceipt {
                build: build.build_id,
                source: build.source,
                stage: build.stage.name().to_owned(),
                packages: packages
                    .into_iter()
                    .map(|p| ReceivedPackage {
                        nevra: p.nevra,
                        file: p.unsigned_file,
                        header: p.header,
                    })
                    .collect(),
                warnings: Vec::new(),
            }))
        })
        .await
        .map_err(|error: DbError| error.into())
}

async fn read_rpm(
    app: &App,
    digest: FileDigest,
    role: &'static str,
) -> Result<CheckedRpm, IntakeError> {
    if app.store.size_bytes(digest).await?.is_none() {
        return Err(IntakeError::Missing { role, digest });
    }
    // A head may have 64 MiB: so many are in memory at once and no more.
    let _place = app.checks.acquire().await;
    let reader = app.store.blocking_reader(digest).await?;
    tokio::task::spawn_blocking(move || check(reader, digest, role))
        .await
        .map_err(std::io::Error::other)?
}

async fn read_buildinfo(app: &App, digest: FileDigest) -> Result<BuildInfo, IntakeError> {
    let role = "buildinfo";
    let Some(size_bytes) = app.store.size_bytes(digest).await? else {
        return Err(IntakeError::Missing { role, digest });
    };
    let limit_bytes = buildinfo::MAX_BYTES as u64;
    if size_bytes > limit_bytes {
        return Err(IntakeError::TooLarge {
            size_bytes,
            limit_bytes,
        });
    }
    let json = app.store.get(digest, limit_bytes).await?;
    BuildInfo::from_json(&json).map_err(IntakeError::BuildInfo)
}

/// The provenance must be about every package, this source package and this buildinfo; whose signature
/// counts is for the policy to say. Gives the digest of the envelope as it is stored: in the one form by
/// whose digest everybody names it.
async fn read_provenance(
    app: &App,
    digest: FileDigest,
    packages: &[CheckedRpm],
    made_from: MadeFrom,
) -> Result<FileDigest, IntakeError> {
    let Some(size_bytes) = app.store.size_bytes(digest).await? else {
        return Err(IntakeError::Missing {
            role: "provenance",
            digest,
        });
    };
    if size_bytes > MAX_PROVENANCE_BYTES {
        return Err(IntakeError::TooLarge {
            size_bytes,
            limit_bytes: MAX_PROVENANCE_BYTES,
        });
    }
    let json = app.store.get(digest, MAX_PROVENANCE_BYTES).await?;
    let envelope = Envelope::from_json(&json).map_err(|_| IntakeError::Provenance)?;
    let statement = Statement::<Provenance>::open_unverified(&envelope, PROVENANCE)
        .map_err(|_| IntakeError::Provenance)?;
    let refuse = |why: String| {
        let why = format!("the provenance is of another build: {why}");
        Err(IntakeError::Mismatch(why))
    };
    if let Some(package) = packages
        .iter()
        .find(|package| !statement.is_about(package.header))
    {
        return refuse(format!(
            "it does not name {} (header {})",
            package.nevra, package.header
        ));
    }
    match statement.predicate.made_from() {
        Some(found) if found == made_from => {}
        Some(found) => {
            return refuse(format!(
                "it names the source package {} and the buildinfo {}, the manifest {} and {}",
                found.source, found.buildinfo, made_from.source, made_from.buildinfo
            ));
        }
        None => {
            return refuse(
                "its external parameters `source` and `buildinfo` are not two SHA-256 digests"
                    .to_owned(),
            );
        }
    }
    Ok(app.store.put(envelope.to_json()).await?)
}

/// All pieces must be of one build.
fn agree(
    repo: &RepoConfig,
    source: &CheckedRpm,
    packages: &[CheckedRpm],
    buildinfo: &BuildInfo,
) -> Result<(), IntakeError> {
    if !source.is_source {
        return refuse(format!(
            "{} is named as the source package but is a binary package",
            source.nevra
        ));
    }
    if buildinfo.source.sha256 != source.file {
        return refuse(format!(
            "the buildinfo is of another build: it names the source package {}, the manifest {}",
            buildinfo.source.sha256, source.file
        ));
    }
    let target = &buildinfo.rpmbuild.target;
    if !repo.arches.iter().any(|arch| arch.as_str() == target) {
        return refuse(format!(
            "the buildinfo's target is `{target}`, but repository {} has {} only: nobody could rebuild it",
            repo.name,
            listed(&repo.arches)
        ));
    }
    for pair in packages.windows(2) {
        if pair[0].nevra == pair[1].nevra {
            return refuse(format!("the manifest names {} twice", pair[0].nevra));
        }
    }
    let source_name = source.nevra.file_name();
    for package in packages {
        belongs(package, &source_name, repo)?;
    }
    same_outputs(packages, buildinfo)
}

fn refuse(why: String) -> Result<(), IntakeError> {
    Err(IntakeError::Mismatch(why))
}

/// A package must be made from this source package, and for an architecture of the repository.
fn belongs(package: &CheckedRpm, source_name: &str, repo: &RepoConfig) -> Result<(), IntakeError> {
    let nevra = &package.nevra;
    if package.is_source {
        return refuse(format!("{nevra} is a source package; name it as `source`"));
    }
    if package.source_rpm.as_deref() != Some(source_name) {
        let from = package.source_rpm.as_deref().unwrap_or("no source package");
        return refuse(format!(
            "{nevra} was built from {from}, not from {source_name}"
        ));
    }
    if nevra.arch != "noarch" && !repo.arches.iter().any(|arch| arch.as_str() == nevra.arch) {
        return refuse(format!(
            "repository {} has no {} (it has {}): {nevra}",
            repo.name,
            nevra.arch,
            listed(&repo.arches)
        ));
    }
    Ok(())
}

/// The packages must be the very outputs of the buildinfo.
fn same_outputs(packages: &[CheckedRpm], buildinfo: &BuildInfo) -> Result<(), IntakeError> {
    let outputs = &buildinfo.outputs;
    let made: BTreeSet<_> = outputs
        .iter()
        .map(|o| (o.header_sha256, o.file_sha256))
        .collect();
    let sent: BTreeSet<_> = packages.iter().map(|p| (p.header, p.file)).collect();
    if let Some(package) = packages
        .iter()
        .find(|p| !made.contains(&(p.header, p.file)))
    {
        return refuse(format!(
            "the buildinfo is of another build: {} (file {}) is not among its outputs",
            package.nevra, package.file
        ));
    }
    match outputs
        .iter()
        .find(|o| !sent.contains(&(o.header_sha256, o.file_sha256)))
    {
        Some(output) => refuse(format!(
            "the buildinfo made {}, but the manifest lacks it",
            output.nevra
        )),
        None => Ok(()),
    }
}

fn listed(arches: &[Arch]) -> String {
    let names: Vec<_> = arches.iter().map(Arch::as_str).collect();
    names.join(", ")
}

fn warnings(packages: &[CheckedRpm]) -> Vec<String> {
    let of = |package: &CheckedRpm| {
        let nevra = package.nevra.clone();
        let findings = package.warnings.clone();
        findings
            .into_iter()
            .map(move |finding| format!("{nevra}: {}", finding.message))
    };
    packages.iter().flat_map(of).collect()
}

fn new_build(
    manifest: &BuildManifest,
    digest: FileDigest,
    source: &CheckedRpm,
    packages: Vec<CheckedRpm>,
    uploaded_by: &str,
) -> NewBuild {
    NewBuild {
        manifest: digest,
        repo: manifest.repo.clone(),
        source: source.nevra.clone(),
        source_name: source.nevra.file_name(),
        source_file: source.file,
        buildinfo: manifest.buildinfo,
        provenance: manifest.provenance,
        uploaded_by: uploaded_by.to_owned(),
        packages: packages
            .into_iter()
            .map(|package| NewPackage {
                nevra: package.nevra,
                summary: package.summary,
                header: package.header,
                file: package.file,
                size_bytes: package.size_bytes,
            })
            .collect(),
    }
}

/// One transaction: the build, its packages, its evidence so far, and the work it calls for.
async fn record(
    app: &App,
    build: NewBuild,
    buildinfo: &BuildInfo,
    warnings: Vec<String>,
) -> Result<Received, IntakeError> {
    let arch: Arch = buildinfo.rpmbuild.target.parse().map_err(|_| {
        IntakeError::Mismatch(format!(
            "the buildinfo's target `{}` is no architecture",
            buildinfo.rpmbuild.target
        ))
    })?;
    let at = now();
    let receipt = BuildReceipt {
        build: 0,
        source: build.source.clone(),
        stage: "received".to_owned(),
        packages: build
            .packages
            .iter()
            .map(|p| ReceivedPackage {
                nevra: p.nevra.clone(),
                file: p.file,
                header: p.header,
            })
            .collect(),
        warnings,
    };
    let manifest = build.manifest;
    let app_too = app.clone();
    let inserted = app
        .db
        .write(move |tx| {
            // Another request may have been first with the same manifest.
            if db::builds::by_manifest(tx, manifest)?.is_some() {
                return Ok(None);
            }
            Ok::<_, DbError>(Some(insert(tx, &app_too, &build, &arch, at)?))
        })
        .await?;
    match inserted {
        None => {
            let receipt = known(app, manifest).await?.unwrap_or(receipt);
            Ok(Received {
                receipt,
                created: false,
            })
        }
        Some(Err(taken)) => Err(IntakeError::NevraTaken {
            nevra: taken.nevra,
            by: taken.by,
            build: taken.build_id,
        }),
        Some(Ok(build_id)) => {
            app.jobs_changed.notify_one();
            app.rebuilds_changed.notify_waiters();
            tracing::info!(build = build_id, source = %receipt.source, "received build {build_id}, {}", receipt.source);
            Ok(Received {
                receipt: BuildReceipt {
                    build: build_id,
                    ..receipt
                },
                created: true,
            })
        }
    }
}

fn insert(
    tx: &rusqlite::Transaction<'_>,
    app: &App,
    build: &NewBuild,
    arch: &Arch,
    at: Timestamp,
) -> Result<Result<u64, db::builds::NevraTaken>, DbError> {
    let build_id = match db::builds::insert(tx, build, at)? {
        Ok(build_id) => build_id,
        Err(taken) => return Ok(Err(taken)),
    };
    let about_build = |kind, label: &str, digest, media_type| NewEvidence {
        build_id,
        package_id: None,
        kind,
        label: label.to_owned(),
        digest,
        media_type,
    };
    let mut evidence = vec![
        about_build(
            Kind::Source,
            &build.source_name,
            build.source_file,
            "application/x-rpm",
        ),
        about_build(
            Kind::BuildInfo,
            buildinfo::SCHEMA,
            build.buildinfo,
            "application/json",
        ),
    ];
    evidence.extend(build.provenance.map(|digest| {
        about_build(
            Kind::Provenance,
            "slsa-provenance-v1",
            digest,
            "application/vnd.dsse.envelope.v1+json",
        )
    }));
    for new in &evidence {
        db::evidence::insert(tx, new, at)?;
    }
    let names: Vec<String> = build
        .packages
        .iter()
        .map(|p| p.nevra.name.clone())
        .collect();
    let assignees = rebuilding::assignees(app, tx, &build.source.name, &names)?;
    db::rebuilds::insert(tx, build_id, arch, &assignees, at)?;
    for package in db::builds::packages(tx, build_id)? {
        jobs::enqueue_sbom(tx, build_id, package.package_id)?;
    }
    db::audit(
        tx,
        at,
        &build.uploaded_by,
        "received",
        &format!("build {build_id}"),
        &build.source.to_string(),
    )?;
    Ok(Ok(build_id))
}
