//! `publish`: a release of everything that is signed. Content first, names last: metadata, package
//! lists and signatures are stored before one transaction makes the release and moves the channels.
//!
//! What was made is recorded before the signer is asked: a release that may have been signed is those
//! bytes or none, whatever happens in between.

mod carried;
pub mod further;
mod metadata;
mod package_list;
pub mod release_sboms;
pub mod sbom_listing;
mod signing;

use crate::app::{App, now};
use crate::db::builds::PackageRow;
use crate::db::jobs::JobRow;
use crate::db::manifests::ManifestRow;
use crate::db::releases::{
    MadeRelease, MadeRepo, NewRelease, Plan, RepodataFileRow, RepomdSignatures,
};
use crate::db::{self, DbError};
use crate::jobs::JobError;
use crate::repodata::ExtraRecord;
use hallmark_signer::client::ClientError;
use repo_model::config::RepoConfig;
use repo_model::policy::{Reason, Revocation};
use repo_model::release::{PreviousRelease, ReleaseDocument, ReleaseRepo, SCHEMA};
use repo_model::stage::Event;
use repo_model::{Arch, HeaderDigest, ReleaseId, RepoName};
use rusqlite::{Connection, Transaction};
use std::collections::{BTreeMap, HashSet};

/// Name in the database.
pub const NAME: &str = "publish";

/// Runs it.
pub async fn run(app: App, job: JobRow) -> Result<(), JobError> {
    if let Some(plan) = plan(&app).await? {
        let release = plan.release;
        let new = make(&app, plan).await?;
        // All that is said about the release is in the log before anybody can see it.
        crate::log::advance(&app, &[new.envelope]).await?;
        crate::log::demand_quorum(&app, new.envelope).await?;
        if let Some(statement) = crate::log::attach(&app, &new.plan.builds).await?.first() {
            return Err(JobError::Broken(format!(
                "statement {statement} is not in the log, so its package cannot be published"
            )));
        }
        record(&app, new).await?;
        crate::fleet::changed(&app).await;
        tracing::info!(release = release.0, "release {release} is published");
    }
    let configured = configured(&app);
    app.db
        .write(move |tx| finish(tx, job.job_id, &configured))
        .await?;
    Ok(())
}

/// Ends a run. What was signed while the release was in the making asked for the next one, but that request is
/// this very job when it waited just then to be tried again: whatever is still signed is asked for anew.
fn finish(
    tx: &Transaction<'_>,
    job_id: u64,
    configured: &HashSet<RepoName>,
) -> Result<(), DbError> {
    db::jobs::finish(tx, job_id)?;
    if signed_builds(tx, configured)?.is_empty() {
        return Ok(());
    }
    db::jobs::enqueue(tx, NAME, "", None, crate::app::now_millis())
}

/// Builds that a release made now would have. One whose repository was taken out of the configuration waits for
/// its return.
fn signed_builds(
    connection: &Connection,
    configured: &HashSet<RepoName>,
) -> Result<Vec<u64>, DbError> {
    let mut builds = Vec::new();
    for build_id in db::builds::in_stage(connection, "signed")? {
        let build = db::builds::by_id(connection, build_id)?;
        builds.extend(
            build
                .filter(|build| configured.contains(&build.repo))
                .map(|build| build.build_id),
        );
    }
    Ok(builds)
}

fn configured(app: &App) -> HashSet<RepoName> {
    let repos = app.config.repo.iter();
    repos.map(|repo| repo.name.clone()).collect()
}

/// Asks for a release at start, if there is none yet (an empty one lets clients be pointed at the
/// repositories from the first minute), if something signed waits for one, or if the policy has
/// revoked something that is in the newest one.
pub async fn ensure_release(app: &App) -> Result<(), DbError> {
    let revoked = revoked(app);
    app.db
        .write(move |tx| {
            let waiting = !db::builds::in_stage(tx, "signed")?.is_empty();
            let revoked = db::releases::has_any(tx, &revoked)?;
            if waiting || revoked || !newest_has_files(tx)? {
                db::jobs::enqueue(tx, NAME, "", None, crate::app::now_millis())?;
            }
            Ok(())
        })
        .await
}

/// Whether there is a release that clients can be pointed at, and it is the newest.
fn newest_has_files(connection: &Connection) -> Result<bool, DbError> {
    match db::releases::newest(connection)? {
        Some(newest) => db::releases::has_files(connection, newest.release),
        None => Ok(false),
    }
}

/// The plan that was begun, or a new one; none when there is nothing to publish.
async fn plan(app: &App) -> Result<Option<Plan>, DbError> {
    let (revoked, revocations) = (revoked(app), app.policy.revoked.clone());
    let configured = configured(app);
    app.db
        .write(move |tx| {
            if let Some(plan) = db::releases::plan(tx)? {
                return Ok(Some(plan));
            }
            reject_revoked(tx, &revocations)?;
            let newest = db::releases::newest(tx)?;
            let builds = signed_builds(tx, &configured)?;
            let revokes = db::releases::has_any(tx, &revoked)?;
            if builds.is_empty() && newest_has_files(tx)? && !revokes {
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

/// Signed builds of which the policy has revoked every package since come into no release: they are
/// rejected. Of others the release leaves out what is revoked.
fn reject_revoked(tx: &Transaction<'_>, revocations: &[Revocation]) -> Result<(), DbError> {
    for build_id in db::builds::in_stage(tx, "signed")? {
        let packages = db::builds::packages(tx, build_id)?;
        let of = |package: &PackageRow| {
            revocations
                .iter()
                .find(|revocation| revocation.header_sha256 == package.header)
        };
        let revoked: Vec<_> = packages.iter().filter_map(of).collect();
        if revoked.is_empty() || revoked.len() < packages.len() {
            continue;
        }
        let reason = |revocation: &Revocation| Reason::Revoked {
            reason: revocation.reason.clone(),
        };
        let reasons = revoked.into_iter().map(reason).collect();
        tracing::warn!(
            build = build_id,
            "build {build_id} was revoked before its release: it is rejected"
        );
        db::builds::advance(tx, build_id, Event::Rejected(reasons), now())?;
    }
    Ok(())
}

/// Headers of packages that the policy revokes: the signer signs no release with one of them.
fn revoked(app: &App) -> Vec<HeaderDigest> {
    app.policy
        .revoked
        .iter()
        .map(|revocation| revocation.header_sha256)
        .collect()
}

/// Makes, stores, then has signed everything the plan names.
async fn make(app: &App, plan: Plan) -> Result<NewRelease, JobError> {
    let release = plan.release;
    let before = app
        .db
        .read(move |connection| db::releases::made(connection, release))
        .await?;
    let made = match before {
        Some(made) => made,
        None => {
            let made = content(app, &plan).await?;
            let kept = made.clone();
            app.db
                .write(move |tx| db::releases::set_made(tx, release, &kept))
                .await?;
            made
        }
    };
    let signed = signing::sign(app, &made).await;
    if let Err(JobError::Signer(ClientError::Refused { .. })) = signed {
        // What the signer has signed it signs again, whatever was revoked since. So this was never signed:
        // the next run makes the release anew, without what the policy revokes by then.
        app.db
            .write(move |tx| db::releases::clear_made(tx, release))
            .await?;
    }
    let signed = signed?;
    let mut post_quantum = signed.repomd_post_quantum.into_iter();
    let mut repomd_signatures = Vec::with_capacity(signed.repomd_signatures.len());
    for armored in signed.repomd_signatures {
        repomd_signatures.push(RepomdSignatures {
            classic: app.store.put(armored).await?,
            post_quantum: match post_quantum.next() {
                Some(armored) => Some(app.store.put(armored).await?),
                None => None,
            },
        });
    }
    let mut manifests = Vec::with_capacity(signed.manifests.len());
    for manifest in signed.manifests {
        manifests.push(ManifestRow {
            manifest: app.store.put(manifest.text).await?,
            signature: app.store.put(manifest.armored).await?,
            post_quantum: match manifest.post_quantum {
                Some(armored) => Some(app.store.put(armored).await?),
                None => None,
            },
        });
    }
    let envelope = signed.envelope;
    Ok(NewRelease {
        plan,
        made,
        manifests,
        envelope: app.store.put(envelope.to_json()).await?,
        repomd_signatures,
    })
}

/// Renders and stores all that does not need a signature.
async fn content(app: &App, plan: &Plan) -> Result<MadeRelease, JobError> {
    // A release can be asked about from its first moment.
    crate::sbom_index::catch_up(app).await?;
    let revoked = revoked(app);
    let revokes = app
        .db
        .read(move |connection| db::releases::has_any(connection, &revoked))
        .await?;
    let mut repos = Vec::new();
    let mut configured: Vec<_> = app.config.repo.clone();
    configured.sort_by(|a, b| a.name.cmp(&b.name));
    for config in configured {
        let mut arches = config.arches.clone();
        arches.sort();
        // Read once: a file that is edited meanwhile is the same for all architectures.
        let extras = carried::records(app, plan.base, &config, revokes).await?;
        for arch in arches {
            repos.push(make_repo(app, plan, &config, arch, extras.clone()).await?);
        }
    }
    let document = document(app, plan, &repos).await?;
    let json = serde_json::to_vec(&document).map_err(|error| {
        JobError::Broken(format!("the release document does not serialise: {error}"))
    })?;
    Ok(MadeRelease {
        document: app.store.put(json).await?,
        repos,
    })
}

async fn make_repo(
    app: &App,
    plan: &Plan,
    config: &RepoConfig,
    arch: Arch,
    mut extras: Vec<ExtraRecord>,
) -> Result<MadeRepo, JobError> {
    let Change {
        mut packages,
        added,
        removed,
    } = change(app, plan, config, &arch).await?;
    packages.extend(added.iter().cloned());
    let codec = further::codec(config);
    let listing = sbom_listing::records(app, &config.name, &arch, &packages, codec).await?;
    extras.extend(listing);
    let options = further::options(config, app.config.server.changelog_limit);
    let metadata = metadata::make(app, &packages, extras, options, plan.issued).await?;
    let mut files = Vec::new();
    for file in &metadata.files {
        app.store
            .put_file(file.scratch.path(), file.record.digest)
            .await?;
        files.push(RepodataFileRow {
            name: file.record.name.clone(),
            file: file.record.digest,
            size_bytes: file.record.size_bytes,
        });
    }
    Ok(MadeRepo {
        repo: config.name.clone(),
        arch,
        repomd: app.store.put(metadata.repomd).await?,
        package_list: app.store.put(package_list::write(&packages)?).await?,
        packages: packages.len() as u64,
        files,
        added: added.iter().map(|package| package.package_id).collect(),
        removed,
    })
}

/// What a release does to one repository.
struct Change {
    /// Packages that stay.
    packages: Vec<PackageRow>,
    /// Packages that come.
    added: Vec<PackageRow>,
    /// Packages that go: the policy has revoked them.
    removed: Vec<u64>,
}

/// What an architecture that the release before did not have finds there: the packages that are for all
/// architectures. Empty for one that was there.
fn for_all_arches(
    connection: &rusqlite::Connection,
    base: ReleaseId,
    repo: &RepoName,
    arch: &Arch,
    revoked: &[HeaderDigest],
) -> Result<Vec<PackageRow>, DbError> {
    let mut rows = db::releases::repos(connection, base)?;
    rows.retain(|row| row.repo == *repo);
    if rows.iter().any(|row| row.arch == *arch) {
        return Ok(Vec::new());
    }
    let mut found: BTreeMap<u64, PackageRow> = BTreeMap::new();
    for row in rows {
        let members = db::releases::members(connection, base, repo, &row.arch)?;
        let fit = members
            .into_iter()
            .filter(|p| p.nevra.arch == "noarch" && !revoked.contains(&p.header));
        found.extend(fit.map(|package| (package.package_id, package)));
    }
    Ok(found.into_values().collect())
}

/// What the plan does to one repository.
async fn change(
    app: &App,
    plan: &Plan,
    config: &RepoConfig,
    arch: &Arch,
) -> Result<Change, DbError> {
    let (plan, repo, arch) = (plan.clone(), config.name.clone(), arch.clone());
    let revoked = revoked(app);
    app.db
        .read(move |connection| changed(connection, &plan, &repo, &arch, &revoked))
        .await
}

/// Members of the release before without what the policy revokes, and what the plan's builds add.
///
/// A newer version takes no older one out: which one is the newest is for clients to say, and where there are modules,
/// for each stream of them.
fn changed(
    connection: &Connection,
    plan: &Plan,
    repo: &RepoName,
    arch: &Arch,
    revoked: &[HeaderDigest],
) -> Result<Change, DbError> {
    let members = match plan.base {
        Some(base) => db::releases::members(connection, base, repo, arch)?,
        None => Vec::new(),
    };
    let known: HashSet<u64> = members.iter().map(|package| package.package_id).collect();
    let (gone, packages): (Vec<_>, Vec<_>) = members
        .into_iter()
        .partition(|package| revoked.contains(&package.header));
    let mut added = match plan.base {
        Some(base) => for_all_arches(connection, base, repo, arch, revoked)?,
        None => Vec::new(),
    };
    for build_id in &plan.builds {
        let build = db::builds::by_id(connection, *build_id)?;
        if build.is_none_or(|build| build.repo != *repo) {
            continue;
        }
        let here = |p: &PackageRow| p.nevra.arch == "noarch" || p.nevra.arch == arch.as_str();
        let mut packages = db::builds::packages(connection, *build_id)?;
        packages
            .retain(|p| here(p) && !known.contains(&p.package_id) && !revoked.contains(&p.header));
        for package in &mut packages {
            // One publish instant for all that the release adds.
            package.added_at = package.added_at.or(Some(plan.issued));
        }
        added.extend(packages);
    }
    Ok(Change {
        packages,
        added,
        removed: gone.into_iter().map(|package| package.package_id).collect(),
    })
}

async fn document(app: &App, plan: &Plan, repos: &[MadeRepo]) -> Result<ReleaseDocument, JobError> {
    let previous = match plan.base {
        None => None,
        Some(base) => app
            .db
            .read(move |connection| db::releases::by_id(connection, base))
            .await?
            .map(|row| PreviousRelease {
                id: row.release,
                sha256: row.envelope,
            }),
    };
    Ok(ReleaseDocument {
        schema: SCHEMA.to_owned(),
        id: plan.release,
        previous,
        issued: plan.issued,
        repos: repos
            .iter()
            .map(|made| ReleaseRepo {
                repo: made.repo.clone(),
                arch: made.arch.clone(),
                repomd: made.repomd,
                package_list: made.package_list,
                packages: made.packages,
            })
            .collect(),
    })
}

/// The publish instant: release, members, stages and channels change together, and what is made of the
/// release afterwards is asked for.
async fn record(app: &App, new: NewRelease) -> Result<(), DbError> {
    app.db
        .write(move |tx| {
            db::releases::insert(tx, &new)?;
            let release = new.plan.release;
            for build_id in &new.plan.builds {
                db::builds::advance(tx, *build_id, Event::Published(release), now())?;
            }
            release_sboms::enqueue(tx, release)?;
            crate::catalogue::enqueue(tx)?;
            db::channels::follow(tx, release, now())
        })
        .await
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
