//! `foo.rpm.evidence.tar.zst`: all that is said about a package, beside it, so that a copy of the repository answers for
//! a server that is away ([`mirrors::evidence::beside`]). Made when the package's statements have their places in the
//! log, before it is served.

use super::{directory, key};
use crate::app::{App, now};
use crate::beside::PACK;
use crate::db::builds::PackageRow;
use crate::db::evidence::{Kind, NewEvidence};
use crate::db::{self, DbError};
use crate::jobs::{JobError, chain};
use crate::layout;
use crate::stored::Stored;
use mirrors::evidence::beside::{MAX_PACKAGE_BYTES, MEDIA_TYPE, write_package};
use mirrors::evidence::pack::PackError;
use mirrors::evidence::source::SourceError;
use rusqlite::Connection;

/// Makes and records the packs of every package of this build that is proven and lacks one.
pub(super) async fn attach(app: &App, build_id: u64) -> Result<(), JobError> {
    let wanted = app
        .db
        .read(move |connection| wanted(connection, build_id))
        .await?;
    if wanted.is_empty() {
        return Ok(());
    }
    let key = key(app).await?;
    let data_dir = app.config.server.data_dir.clone();
    let mut made = Vec::with_capacity(wanted.len());
    for package in wanted {
        let (key, data_dir) = (key.clone(), data_dir.clone());
        let package_id = package.package_id;
        let packed = app.db.read(move |connection| {
            let stored = Stored {
                connection,
                objects: layout::objects(&data_dir),
                log: directory(&data_dir),
                key,
            };
            Ok::<_, JobError>(write_package(&stored, &package.nevra, package.header)?)
        });
        let packed = match packed.await {
            Err(JobError::Pack(PackError::Source(
                error @ (SourceError::Shape { .. } | SourceError::Digest { .. }),
            ))) => Err(chain(&error)),
            packed => match packed? {
                None => continue,
                Some(packed) if packed.len() as u64 > MAX_PACKAGE_BYTES => {
                    Err(format!("it has {} bytes", packed.len()))
                }
                Some(packed) => Ok(packed),
            },
        };
        let packed = match packed {
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
    Ok(())
}

fn wanted(connection: &Connection, build_id: u64) -> Result<Vec<PackageRow>, DbError> {
    let mut wanted = Vec::new();
    for package in db::builds::packages(connection, build_id)? {
        let newest =
            |kind, label| db::evidence::newest(connection, package.package_id, kind, label);
        let is_proven = newest(Kind::LogProof, super::proofs::RELEASE)?.is_some();
        if is_proven && newest(Kind::EvidencePack, PACK)?.is_none() {
            wanted.push(package);
        }
    }
    Ok(wanted)
}
