//! sqlite databases of the package lists, for clients of yum's age: `primary_db`, `filelists_db`,
//! `other_db`, schema 10 as createrepo_c writes it.
//!
//! A database is made from the XML that was just written, package by package, so that the two
//! cannot disagree. It lies in a file until it is compressed into the metadata; sqlite's own memory
//! is some megabytes. Equal XML gives equal bytes: rows are inserted in the order of the XML, by the
//! sqlite that is part of this program.

mod lists;
mod primary;

use super::error::CreaterepoError;
use super::write::Stage;
use crate::repodata::{Codec, Options, Record, StreamedRecord, write_stream};
use mirrors::reading::{Packed, RecordClaim, XmlError};
use rusqlite::{Connection, Transaction};
use std::fs::{self, File};
use std::io::BufRead;
use std::path::Path;

/// The `dbversion` that clients ask for.
const DATABASE_VERSION: i64 = 10;

/// A database could not be made. Ours or the disk's fault: the XML is what this program wrote.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// sqlite refused; a full disk most of the time.
    #[error("sqlite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The list could not be read back.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// A file could not be read or removed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// One database: the list that it is made of, and how.
struct Database {
    list: &'static str,
    tables: &'static str,
    indexes: &'static str,
    fill: fn(&Transaction<'_>, &mut dyn BufRead) -> Result<(), DatabaseError>,
}

static DATABASES: [Database; 3] = [primary::DATABASE, lists::FILELISTS, lists::OTHER];

/// Whether clients that need a database can decompress it: those that know zstd read XML.
pub(super) fn codec(list_codec: Codec) -> Codec {
    match list_codec {
        Codec::Xz => Codec::Xz,
        Codec::Gzip | Codec::Zstd { .. } | Codec::None => Codec::Gzip,
    }
}

/// Makes the databases of the lists in `records` and puts them into the stage.
pub(super) fn write(
    records: &[Record],
    options: &Options,
    stage: &mut Stage,
) -> Result<Vec<Record>, CreaterepoError> {
    let mut made = Vec::with_capacity(DATABASES.len());
    for database in &DATABASES {
        let Some(list) = records.iter().find(|r| r.record_type == database.list) else {
            continue;
        };
        let record_type = format!("{}_db", database.list);
        let path = stage.directory.join(format!(".{record_type}"));
        let xml = stage.directory.join(stage.name_of(list));
        database
            .make(&xml, &list.checksum_hex(), &path)
            .map_err(|source| CreaterepoError::Database {
                record_type: record_type.clone(),
                source,
            })?;
        let failed = |source| CreaterepoError::Write {
            path: path.clone(),
            source,
        };
        let wanted = StreamedRecord {
            record_type: &record_type,
            stem: &format!("{}.sqlite", database.list),
            codec: codec(options.codec),
            checksum: options.checksum,
        };
        let open = File::open(&path).map_err(failed)?;
        let number = stage.file_count();
        made.push(write_stream(wanted, open, number, stage)?);
        fs::remove_file(&path).map_err(failed)?;
    }
    Ok(made)
}

impl Database {
    fn make(&self, xml: &Path, list_checksum: &str, path: &Path) -> Result<(), DatabaseError> {
        let claim = RecordClaim::unclaimed(self.list);
        let mut list = Packed::new(Box::new(File::open(xml)?), &claim)?;
        let mut connection = Connection::open(path)?;
        // The file is thrown away when anything fails, so nothing need survive a crash.
        connection.execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;",
        )?;
        let transaction = connection.transaction()?;
        transaction.execute_batch("CREATE TABLE db_info (dbversion INTEGER, checksum TEXT);")?;
        transaction.execute_batch(self.tables)?;
        transaction.execute(
            "INSERT INTO db_info (dbversion, checksum) VALUES (?1, ?2)",
            (DATABASE_VERSION, list_checksum),
        )?;
        (self.fill)(&transaction, &mut list)?;
        transaction.execute_batch(self.indexes)?;
        transaction.commit()?;
        connection.close().map_err(|(_, error)| error)?;
        Ok(())
    }
}
