//! Questions about what is inside the packages: an index of the stored SBOMs, and the answers.
//!
//! The index is a database of its own, `sbom-index.db`, made of stored documents alone: losing it loses
//! nothing, and `hallmark sbom reindex` makes it again. It is keyed by header digest, so a package is
//! read once, whatever releases have it; which release has it is asked of the server's own tables when
//! a question comes.
//!
//! What was looked at last is kept beside what was found there and moves in the same transaction, so
//! the job that fills the index may die anywhere and goes on where it was. When the server's database does not
//! have that row, it is not the one that the index was made of (it was restored from a copy), and the
//! index is made again.

mod fill;
mod kept;
pub mod osv;
pub mod osv_import;
pub mod purl;
pub mod questions;
mod read;
pub mod requirements;
pub mod versions;
pub mod vex;
mod write;

pub use fill::{NAME, catch_up, enqueue, run};

use crate::db::{Db, DbError};
use crate::layout;
use kept::Kept;
use questions::{Differences, Packages};
use repo_model::wire::sbom::LicenceUse;
use repo_model::{FileDigest, HeaderDigest, ReleaseId};
use requirements::Requirements;
use rusqlite::Connection;
use std::collections::HashMap;
use std::path::Path;

const SCHEMA: &str = include_str!("index.sql");
/// Version of `index.sql`: another one is thrown away and made again.
const VERSION: i64 = 2;
/// Most questions at once: each holds a connection and a thread.
const ASKING: usize = 8;
/// Schema name of the server's own tables in questions.
const SERVER: &str = "server";

/// Releases whose licences are kept counted.
const KEPT_LICENCES: usize = 16;
/// Repositories whose requirements are kept; some five megabytes each for 60,000 packages.
const KEPT_REQUIREMENTS: usize = 8;

/// The index. One in a process.
pub struct SbomIndex {
    /// Its database; reads also see the server's tables as `server.…`.
    pub db: Db,
    /// Who fills it holds this.
    turn: tokio::sync::Mutex<()>,
    /// Questions that run side by side.
    pub asking: tokio::sync::Semaphore,
    /// Licences of releases that were counted, by release and state of the index.
    licences: Kept<(ReleaseId, i64), Vec<LicenceUse>>,
    /// Which package needs which, where that was asked lately; by stored object.
    requirements: Kept<FileDigest, Requirements>,
    /// Documents of the packages of a repository, where many were asked about lately; by the stored object of their
    /// requirements and the state of the index. Some six megabytes each for 60,000 packages.
    packages: Kept<(FileDigest, i64), Packages>,
    /// What differs between releases, where that was asked lately.
    differences: Differences,
}

impl SbomIndex {
    /// Opens or makes the index of a data directory. One of another version is thrown away.
    pub fn open(data_dir: &Path) -> Result<Self, DbError> {
        let path = layout::sbom_index(data_dir);
        let joined = || (SERVER, layout::database(data_dir));
        let db = match Db::open_derived(&path, SCHEMA, VERSION, joined()) {
            Err(DbError::Schema { found, .. }) => {
                tracing::warn!(
                    found,
                    "the SBOM index has version {found} and is made again; import advisories again"
                );
                crate::db::remove(&path)?;
                Db::open_derived(&path, SCHEMA, VERSION, joined())?
            }
            other => other?,
        };
        Ok(Self {
            db,
            turn: tokio::sync::Mutex::default(),
            asking: tokio::sync::Semaphore::new(ASKING),
            licences: Kept::new(KEPT_LICENCES),
            requirements: Kept::new(KEPT_REQUIREMENTS),
            packages: Kept::new(KEPT_REQUIREMENTS),
            differences: Differences::default(),
        })
    }
}

/// Package URLs of packages that are indexed.
pub fn purls(
    connection: &Connection,
    headers: &[HeaderDigest],
) -> Result<HashMap<HeaderDigest, String>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT d.header, d.purl FROM json_each(?1) w CROSS JOIN documents d ON d.header = w.value WHERE d.purl <> ''",
    )?;
    let rows = statement.query_map([crate::db::to_json(&headers, "list")?], |row| {
        Ok((crate::db::parsed(row, "header")?, row.get("purl")?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// `hallmark sbom reindex`: empties the index and has the server fill it again, now or at its next
/// start. Advisories stay.
pub async fn reindex(data_dir: &Path) -> Result<(), DbError> {
    let index = SbomIndex::open(data_dir)?;
    index.db.write(write::clear).await?;
    let server = Db::open(&layout::database(data_dir))?;
    server
        .write(|tx| {
            fill::enqueue(tx)?;
            crate::db::audit(
                tx,
                crate::app::now(),
                "local administrator",
                "sbom-reindex",
                "",
                "",
            )
        })
        .await
}

#[cfg(test)]
mod tests;
