//! SQLite behind two doors: `write` runs one closure after the other on the one writer thread, each
//! in a transaction; `read` runs on a small pool of read-only connections.
//!
//! One file a question family: builds, evidence, jobs, rebuilds and their rounds, rebuilders, releases,
//! channels, tokens.

pub mod builds;
pub mod channels;
pub mod evidence;
pub mod jobs;
pub mod leases;
pub mod rebuilders;
pub mod rebuilds;
pub mod releases;
pub mod rounds;
pub mod tokens;

use rusqlite::{Connection, OpenFlags, Row, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, mpsc};

/// Version of `schema.sql`, kept in SQLite's `user_version`.
const SCHEMA_VERSION: i64 = 2;
const SCHEMA: &str = include_str!("schema.sql");

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
    #[error("the database has schema version {found}; this Hallmark knows {SCHEMA_VERSION}")]
    Schema {
        /// Version found.
        found: i64,
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
    idle: Mutex<Vec<Connection>>,
}

impl Db {
    /// Opens or makes the database file.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let mut connection = Connection::open(path)?;
        configure(&connection)?;
        // FULL: what was acknowledged survives a power cut, not only a kill.
        connection.pragma_update(None, "synchronous", "FULL")?;
        migrate(&mut connection)?;
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
            idle: Mutex::default(),
        });
        Ok(Self { writer, readers })
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

fn configure(connection: &Connection) -> Result<(), DbError> {
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}

fn migrate(connection: &mut Connection) -> Result<(), DbError> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found {
        SCHEMA_VERSION => {}
        0 => {
            tx.execute_batch(SCHEMA)?;
            tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        _ => return Err(DbError::Schema { found }),
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
fn parsed<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error| conversion(row, column, error))
}

/// A text column that may be NULL.
fn parsed_opt<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>>
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
fn from_json<T: serde::de::DeserializeOwned>(text: &str, what: &'static str) -> Result<T, DbError> {
    serde_json::from_str(text).map_err(|source| DbError::Stored { what, source })
}

/// A value as JSON text for a column.
fn to_json<T: serde::Serialize>(value: &T, what: &'static str) -> Result<String, DbError> {
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
