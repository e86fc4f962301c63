//! `foo.rpm.evidence.tar.zst`: all that is said about a package, beside it, so that a copy of the repository answers for
//! a server that is away ([`mirrors::evidence::beside`]). Made when the package's statements have their places in the
//! log, before it is served.

use super::{directory, key};
use crate::app::{App, now};
use crate::beside::PACK;
use crate::db::evidence::{Kind, NewEvidence};
use crate::db::{self, DbError};
use crate::jobs::{JobError, chain};
use crate::layout;
use crate::status;
use crate::stored::Stored;
use mirrors::evidence::beside::{MAX_PACKAGE_BYTES, MEDIA_TYPE, write_package};
use mirrors::evidence::pack::PackError;
use mirrors::evidence::source::SourceError;
use repo_model::HeaderDigest;
use repo_model::log::VerifierKey;
use repo_model::wire::status::{BuildStatus, PackageStatus};
use rusqlite::Connection;
use std::collections::HashMap;
use std::sync::Arc;

/// Packs that are recorded together: so many are made again after a crash.
const ROUND: usize = 64;

/// Packages by their numbers.
type Wanted = Vec<(u64, PackageStatus)>;

/// Makes and records the packs of every package of this build that is proven and lacks one.
pub(super) async fn attach(app: &App, build_id: u64) -> Result<(), JobError> {
    let wanted = app
        .db
        .read(move |connection| wanted(connection, build_id))
        .await?;
    let Some((build, wanted)) = wanted else {
        return Ok(());
    };
    let (build, key) = (Arc::new(build), key(app).await?);
    for round in wanted.chunks(ROUND) {
        let mut made = Vec::with_capacity(round.len());
        for (package_id, package) in round {
            let package_id = *package_id;
            let packed = match pack(app, &key, &build, package.clone()).await? {
                Ok(packed) => packed,
                // The package goes out; who wants to verify it asks the server.
                Err(why) => {
                    tracing::warn!(
                        build = build_id,
                        package = package_id,
                        error = why,
                        "no copy will have the evidence about package {package_id} of build {build_id}: {why}"
                    );
                    continue;
                }
            };
            made.push(NewEvidence {
                build_id,
                package_id: Some(package_id),
                kind: Kind::EvidencePack,
                label: PACK.to_owned(),
                digest: app.store.put(packed).await?,
                media_type: MEDIA_TYPE,
            });
        }
        app.db
            .write(move |tx| {
                for new in &made {
                    db::evidence::insert(tx, new, now())?;
                }
                Ok::<_, DbError>(())
            })
            .await?;
    }
    Ok(())
}

/// `Ok(Err)`: there will never be one, and why.
async fn pack(
    app: &App,
    key: &VerifierKey,
    build: &Arc<BuildStatus>,
    package: PackageStatus,
) -> Result<Result<Vec<u8>, String>, JobError> {
    let (key, build) = (key.clone(), Arc::clone(build));
    let data_dir = app.config.server.data_dir.clone();
    let packed = app.db.read(move |connection| {
        let stored = Stored {
            connection,
            objects: layout::objects(&data_dir),
            log: directory(&data_dir),
            key,
        };
        Ok::<_, JobError>(write_package(&stored, &build, &package)?)
    });
    match packed.await {
        Ok(packed) if packed.len() as u64 > MAX_PACKAGE_BYTES => {
            Ok(Err(format!("it has {} bytes", packed.len())))
        }
        Ok(packed) => Ok(Ok(packed)),
        Err(JobError::Pack(PackError::Source(
            error @ (SourceError::Shape { .. } | SourceError::Digest { .. }),
        ))) => Ok(Err(chain(&error))),
        Err(error) => Err(error),
    }
}

/// The build, without its packages, and those of them that are proven and lack a pack, by their numbers; none when there
/// is no such package. Read once: a build can have thousands.
fn wanted(
    connection: &Connection,
    build_id: u64,
) -> Result<Option<(BuildStatus, Wanted)>, DbError> {
    let mut ids = HashMap::<HeaderDigest, u64>::new();
    for package in db::builds::packages(connection, build_id)? {
        let newest =
            |kind, label| db::evidence::newest(connection, package.package_id, kind, label);
        let is_proven = newest(Kind::LogProof, super::proofs::RELEASE)?.is_some();
        if is_proven && newest(Kind::EvidencePack, PACK)?.is_none() {
            ids.insert(package.header, package.package_id);
        }
    }
    if ids.is_empty() {
        return Ok(None);
    }
    Ok(status::build(connection, build_id)?.map(|mut build| {
        let packages = std::mem::take(&mut build.packages);
        let lacks = |package: PackageStatus| Some((ids.remove(&package.header)?, package));
        let wanted = packages.into_iter().filter_map(lacks).collect();
        (build, wanted)
    }))
}
