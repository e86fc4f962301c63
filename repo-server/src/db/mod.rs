//! SQLite behind two doors: `write` runs one closure after the other on the one writer thread, each
//! in a transaction; `read` runs on a small pool of read-only connections.
//!
//! One file a question family: builds, evidence, jobs, rebuilds and their rounds, rebuilders, releases and
//! their documents, channels, mirrors, tokens; `overview` has what lists on pages show, `operators` what operators see.

pub mod announcements;
pub mod build_list;
pub mod build_sboms;
pub mod builds;
pub mod channels;
pub mod evidence;
pub mod jobs;
pub mod leases;
pub mod log;
pub mod log_lines;
pub mod manifests;
pub mod mirrors;
pub mod operators;
pub mod overview;
pub mod rebuilders;
pub mod rebuilds;
pub mod release_documents;
pub mod releases;
pub mod rounds;
pub mod tokens;
pub mod vex;

use rusqlite::{Connection, OpenFlags, Row, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, mpsc};

/// Version of `schema.sql`, kept in SQLite's `user_version`.
const SCHEMA_VERSION: i64 = 2;
pub(crate) const SCHEMA: &str = include_str!("schema.sql");
/// Tables and indexes that came later; made where they are missing.
const ADDED: &[&str] = &[
    include_str!("questions.sql"),
    include_str!("log.sql"),
    include_str!("mirrors.sql"),
    include_str!("manifests.sql"),
    include_str!("operators.sql"),
];

/// The database could not do it. Ours; retrying is safe, nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// SQLite's error.
    #[error("the database failed")]
    Sqlite(#[from] rusqlite::Error),
    /// The writer thread has ended: the server is shutting down.
    #[error("the database is closed")]
    Closed,
    /// Another Hallmark wrote this database: a newer one, or one from before the first release.
    #[error("the database has schema version {found}; this Hallmark knows {known}")]
    Schema {
        /// Version found.
        found: i64,
        /// Version of this program.
        known: i64,
    },
    /// A database that is to be made again cannot be removed. The operator's to mend.
    #[error("cannot remove {path}")]
    Remove {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A build is in another stage than the caller thought.
    #[error(transparent)]
    Stage(#[from] repo_model::stage::StageError),
    /// Stored JSON does not read back.
    #[error("a stored {what} does not read back")]
    Stored {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

type Write = Box<dyn FnOnce(&mut Connection) + Send>;

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    writer: mpsc::Sender<Write>,
    readers: Arc<Readers>,
}

struct Readers {
    path: PathBuf,
    /// Another database that questions may join, as this schema name.
    joined: Option<(&'static str, PathBuf)>,
    idle: Mutex<Vec<Connection>>,
}

impl Db {
    /// Opens or makes the database file.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let mut connection = Connection::open(path)?;
        configure(&connection)?;
        // FULL: what was acknowledged survives a power cut, not only a kill.
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Digests come in no order: a thousand new ones change a thousand pages of an index of millions, and what a
        // transaction changes should not have to leave memory twice. KiB when negative.
        connection.pragma_update(None, "cache_size", -16_384)?;
        migrate(&mut connection)?;
        Self::start(connection, path, None)
    }

    /// Opens or makes a database of derived facts that can be made again; questions to it may join
    /// another database under the schema name `joined.0`.
    ///
    /// [`DbError::Schema`] when the file has another version of the schema.
    pub fn open_derived(
        path: &Path,
        schema: &str,
        version: i64,
        joined: (&'static str, PathBuf),
    ) -> Result<Self, DbError> {
        let mut connection = Connection::open(path)?;
        configure(&connection)?;
        // After a power cut the last facts are derived again.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        make_schema(&mut connection, schema, version)?;
        Self::start(connection, path, Some(joined))
    }

    /// The same; a database of another version is removed and made again.
    pub fn open_derived_anew(
        path: &Path,
        schema: &str,
        version: i64,
        joined: (&'static str, PathBuf),
    ) -> Result<Self, DbError> {
        match Self::open_derived(path, schema, version, joined.clone()) {
            Err(DbError::Schema { found, .. }) => {
                let shown = path.display();
                tracing::warn!(found, "{shown} has version {found} and is made again");
                remove(path)?;
                Self::open_derived(path, schema, version, joined)
            }
            other => other,
        }
    }

    fn start(
        mut connection: Connection,
        path: &Path,
        joined: Option<(&'static str, PathBuf)>,
    ) -> Result<Self, DbError> {
        let (writer, work) = mpsc::channel::<Write>();
        std::thread::Builder::new()
            .name("db-writer".to_owned())
            .spawn(move || {
                while let Ok(write) = work.recv() {
                    write(&mut connection);
                }
            })
            .map_err(|_| DbError::Closed)?;
        let readers = Arc::new(Readers {
            path: path.to_owned(),
            joined,
            idle: Mutex::default(),
        });
        Ok(Self { writer, readers })
    }

    /// Brings everything into the one file, so that a copy of it is whole: for a clean end. Work that comes
    /// later is done all the same.
    pub async fn settle(&self) {
        let (answer, wait) = tokio::sync::oneshot::channel();
        let settle: Write = Box::new(move |connection| {
            let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
            if let Err(error) = connection.query_row(sql, [], |_| Ok(())) {
                tracing::warn!(%error, "the database stays in two files: {error}");
            }
            let _ = answer.send(());
        });
        if self.writer.send(settle).is_ok() {
            let _ = wait.await;
        }
    }

    /// Runs `work` in a transaction on the writer thread: committed when it gives `Ok`, undone
    /// otherwise.
    pub async fn write<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (answer, wait) = tokio::sync::oneshot::channel();
        let write: Write = Box::new(move |connection| {
            // The receiver is gone only when the request was dropped; the work is done all the same.
            let _ = answer.send(in_transaction(connection, work));
        });
        self.writer.send(write).map_err(|_| DbError::Closed)?;
        wait.await.map_err(|_| DbError::Closed)?
    }

    /// Runs `work` on a read-only connection, off the runtime's threads.
    pub async fn read<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        tokio::task::spawn_blocking(move || {
            let connection = readers.take()?;
            let result = work(&connection);
            readers.put_back(connection);
            result
        })
        .await
        .map_err(|_| DbError::Closed)?
    }
}

impl Readers {
    const MAX_IDLE: usize = 8;

    fn take(&self) -> Result<Connection, DbError> {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        if let Some(connection) = idle {
            return Ok(connection);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        if let Some((name, path)) = &self.joined {
            let path = path.to_string_lossy();
            connection.execute(&format!("ATTACH DATABASE ?1 AS {name}"), [&path])?;
        }
        Ok(connection)
    }

    fn put_back(&self, connection: Connection) {
        if let Ok(mut idle) = self.idle.lock()
            && idle.len() < Self::MAX_IDLE
        {
            idle.push(connection);
        }
    }
}

/// Removes a database and what belongs to it.
pub(crate) fn remove(path: &Path) -> Result<(), DbError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(DbError::Remove {
                    path: name.into(),
                    source: error,
                });
            }
            _ => {}
        }
    }
    Ok(())
}

fn configure(connection: &Connection) -> Result<(), DbError> {
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}

fn migrate(connection: &mut Connection) -> Result<(), DbError> {
    make_schema(connection, SCHEMA, SCHEMA_VERSION)?;
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for added in ADDED {
        tx.execute_batch(added)?;
    }
    tx.commit()?;
    Ok(())
}

fn make_schema(connection: &mut Connection, schema: &str, version: i64) -> Result<(), DbError> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found {
        0 => {
            tx.execute_batch(schema)?;
            tx.pragma_update(None, "user_version", version)?;
        }
        found if found == version => {}
        wrong => {
            return Err(DbError::Schema {
                found: wrong,
                known: version,
            });
        }
    }
    tx.commit()?;
    Ok(())
}

fn in_transaction<T, E: From<DbError>>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let tx = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(DbError::from)?;
    let value = work(&tx)?;
    tx.commit().map_err(DbError::from)?;
    Ok(value)
}

/// A text column as the type it was written from.
pub(crate) fn parsed<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error| conversion(row, column, error))
}

/// A text column that may be NULL.
pub(crate) fn parsed_opt<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|error| conversion(row, column, error)))
        .transpose()
}

fn conversion(
    row: &Row<'_>,
    column: &str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    let index = row.as_ref().column_index(column).unwrap_or(usize::MAX);
    rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
}

/// A JSON column.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(
    text: &str,
    what: &'static str,
) -> Result<T, DbError> {
    serde_json::from_str(text).map_err(|source| DbError::Stored { what, source })
}

/// A value as JSON text for a column.
pub(crate) fn to_json<T: serde::Serialize>(
    value: &T,
    what: &'static str,
) -> Result<String, DbError> {
    serde_json::to_string(value).map_err(|source| DbError::Stored { what, source })
}

/// Leaves an audit line; part of the transaction that changes the state.
pub fn audit(
    tx: &Transaction<'_>,
    at: repo_model::Timestamp,
    actor: &str,
    action: &str,
    subject: &str,
    detail: &str,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO audit (at, actor, action, subject, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
        rusqlite::params![at.unix_secs(), actor, action, subject, detail],
    )?;
    Ok(())
}
