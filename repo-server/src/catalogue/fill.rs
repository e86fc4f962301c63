//! `index-packages`: what every release since the last run brought and removed.

use super::write::{self, Seen};
use crate::app::{App, now_millis};
use crate::db::builds::PackageRow;
use crate::db::jobs::JobRow;
use crate::db::{self, DbError};
use crate::jobs::JobError;
use crate::store::Store;
use repo_model::ReleaseId;
use repo_model::rpm::{Head, Package};
use rusqlite::{Connection, Transaction};

/// Name in the database.
pub const NAME: &str = "index-packages";
/// Packages in one transaction.
const BATCH: u32 = 200;

/// Asks for it; asking again before it starts changes nothing.
pub fn enqueue(tx: &Transaction<'_>) -> Result<(), DbError> {
    db::jobs::enqueue(tx, NAME, "", None, now_millis())
}

/// Runs it.
pub async fn run(app: App, job: JobRow) -> Result<(), JobError> {
    catch_up(&app).await?;
    app.db
        .write(move |tx| db::jobs::finish(tx, job.job_id))
        .await?;
    Ok(())
}

/// What is looked at in one transaction.
struct Batch {
    /// Where the index is afterwards.
    reaches: Seen,
    /// Those of them that the newest release has.
    packages: Vec<PackageRow>,
    /// Those that it has no more.
    removed: Vec<u64>,
    /// What the newest release has of each name that is touched.
    names: Vec<db::overview::NewestOfName>,
}

/// Indexes everything that is released by now.
pub async fn catch_up(app: &App) -> Result<(), JobError> {
    let _turn = app.catalogue.turn.lock().await;
    let mut indexed = 0;
    loop {
        let seen = app.catalogue.db.read(write::seen).await?;
        let from = seen.clone();
        let next = app
            .db
            .read(move |connection| next(connection, &from))
            .await?;
        let batch = match next {
            Next::Nothing => break,
            Next::Anew => {
                tracing::warn!("the index of packages is of other releases and is made again");
                app.catalogue.db.write(write::clear).await?;
                continue;
            }
            Next::Batch(batch) => batch,
        };
        let new = unknown(app, batch.packages).await?;
        indexed += new.len();
        let headers = headers(&app.store, &new).await?;
        app.catalogue
            .db
            .write(move |tx| {
                let known = write::known(tx, &batch.removed)?;
                write::forget(tx, &known.into_iter().collect::<Vec<_>>())?;
                for (package_id, header) in &headers {
                    write::package(tx, *package_id, header)?;
                }
                for name in &batch.names {
                    write::name(tx, name)?;
                }
                write::advance(tx, &batch.reaches)
            })
            .await?;
    }
    if indexed > 0 {
        tracing::info!(indexed, "{indexed} packages are indexed");
    }
    Ok(())
}

enum Next {
    /// Everything is indexed.
    Nothing,
    /// The index is of a database that was replaced.
    Anew,
    Batch(Batch),
}

fn next(connection: &Connection, seen: &Seen) -> Result<Next, DbError> {
    if seen.release != 0 {
        let known = db::releases::by_id(connection, ReleaseId(seen.release))?;
        if known.is_none_or(|row| row.envelope.to_hex() != seen.envelope) {
            return Ok(Next::Anew);
        }
    }
    let mut at = seen.clone();
    loop {
        let packages = db::overview::touched(connection, ReleaseId(at.release), at.package, BATCH)?;
        if let Some(last) = packages.last() {
            let mut names: Vec<&str> = packages.iter().map(|p| p.nevra.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let names = db::overview::newest_of_names(connection, &names)?;
            let reaches = Seen {
                package: last.package_id,
                ..at
            };
            let ids: Vec<u64> = packages.iter().map(|p| p.package_id).collect();
            let current = db::overview::current(connection, &ids)?;
            let (packages, removed): (Vec<_>, Vec<_>) = packages
                .into_iter()
                .partition(|package| current.contains(&package.package_id));
            return Ok(Next::Batch(Batch {
                reaches,
                packages,
                removed: removed.into_iter().map(|p| p.package_id).collect(),
                names,
            }));
        }
        match db::overview::release_after(connection, ReleaseId(at.release))? {
            None => return Ok(Next::Nothing),
            Some(release) => {
                at = Seen {
                    release: release.release.0,
                    package: 0,
                    envelope: release.envelope.to_hex(),
                }
            }
        }
    }
}

/// Without those that are indexed: a package that another repository or architecture gets later is touched again.
async fn unknown(app: &App, mut packages: Vec<PackageRow>) -> Result<Vec<PackageRow>, DbError> {
    let ids: Vec<u64> = packages.iter().map(|p| p.package_id).collect();
    let known = app
        .catalogue
        .db
        .read(move |connection| write::known(connection, &ids))
        .await?;
    packages.retain(|package| !known.contains(&package.package_id));
    Ok(packages)
}

/// The headers of signed packages, read from the start of their files.
async fn headers(store: &Store, packages: &[PackageRow]) -> Result<Vec<(u64, Package)>, JobError> {
    let mut heads = Vec::with_capacity(packages.len());
    for package in packages {
        let Some(signed) = &package.signed else {
            continue;
        };
        let bytes = store.get_start(signed.file, signed.head_bytes).await?;
        heads.push((package.package_id, bytes));
    }
    let parse = move || -> Result<Vec<(u64, Package)>, JobError> {
        heads
            .into_iter()
            .map(|(id, bytes)| Ok((id, Package::for_listing(&Head::parse(&bytes)?, false)?)))
            .collect()
    };
    tokio::task::spawn_blocking(parse).await?
}
