//! What released packages are called, provide, need and hold: an index of their headers for search and for
//! dependencies in both directions.
//!
//! The index is a database of its own, `catalogue.db`, made of stored headers alone: losing it loses
//! nothing. Only packages of releases are in it: what a package that is held back says about itself may be
//! under embargo. Which release has a package is asked of the server's own tables when a question comes.
//!
//! The job that fills it follows releases, so for a moment a new release is out and not yet found here.

pub mod dependencies;
mod fill;
pub mod search;
mod senses;
mod write;

pub use fill::{NAME, enqueue, run};

use crate::db::{Db, DbError};
use crate::layout;
use std::path::Path;

const SCHEMA: &str = include_str!("catalogue.sql");
/// Version of `catalogue.sql`: another one is thrown away and made again.
const VERSION: i64 = 1;
/// Most questions at once: each holds a connection and a thread.
const ASKING: usize = 8;
/// Schema name of the server's own tables in questions.
const SERVER: &str = "server";

/// Condition on `p`, a row of `server.packages`: the newest release has it.
const CURRENT: &str = "EXISTS (SELECT 1 FROM server.members m WHERE m.package_id = p.package_id AND m.removed_release IS NULL)";

/// The index. One in a process.
pub struct Catalogue {
    /// Its database; reads also see the server's tables as `server.…`.
    pub db: Db,
    /// Who fills it holds this.
    turn: tokio::sync::Mutex<()>,
    /// Questions that run side by side.
    asking: tokio::sync::Semaphore,
}

impl Catalogue {
    /// Opens or makes the index of a data directory. One of another version is thrown away.
    pub fn open(data_dir: &Path) -> Result<Self, DbError> {
        let path = layout::catalogue(data_dir);
        let joined = (SERVER, layout::database(data_dir));
        Ok(Self {
            db: Db::open_derived_anew(&path, SCHEMA, VERSION, joined)?,
            turn: tokio::sync::Mutex::default(),
            asking: tokio::sync::Semaphore::new(ASKING),
        })
    }

    /// Runs one question; only so many run side by side, the others wait.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&rusqlite::Connection) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        let _turn = self.asking.acquire().await.map_err(|_| DbError::Closed)?;
        self.db.read(question).await
    }
}

#[cfg(test)]
mod speed;
#[cfg(test)]
mod tests;
