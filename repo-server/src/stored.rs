//! Evidence from the database, the objects and the log's files, as they lie on this machine: for packs that are made
//! while a release is, for exports without a server, for what a repository says about itself. Blocking.
//!
//! Nothing here asks whether a document is public yet: whoever packs what is under embargo keeps it to itself until the
//! build is out.

use crate::db::DbError;
use crate::db::build_list::BuildFilter;
use crate::jobs::chain;
use crate::log;
use crate::status;
use crate::store::local_path;
use mirrors::evidence::source::{Item, Source, SourceError};
use repo_model::FileDigest;
use repo_model::dsse::Envelope;
use repo_model::log::VerifierKey;
use rusqlite::Connection;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::PathBuf;

/// Most releases, newest first: metadata of older ones is old for every reader.
pub(crate) const RELEASES: u32 = 100;
/// Largest statement, bytes.
const MAX_ENVELOPE_BYTES: u64 = 16 << 20;

/// What is here.
pub struct Stored<'c> {
    /// The database.
    pub connection: &'c Connection,
    /// The objects' directory.
    pub objects: PathBuf,
    /// The log's directory.
    pub log: PathBuf,
    /// The log's key.
    pub key: VerifierKey,
}

/// An answer could not be had. Ours; the message is the cause with its own causes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

fn failed(error: impl std::error::Error) -> SourceError {
    SourceError::Asked(Box::new(Failed(chain(&error))))
}

type Found<'s> = Result<Option<Box<dyn Read + 's>>, SourceError>;

fn json(list: &impl serde::Serialize) -> Found<'static> {
    let bytes = serde_json::to_vec(list).map_err(failed)?;
    Ok(Some(Box::new(Cursor::new(bytes))))
}

/// A file, if it is there.
fn there<T>(read: io::Result<T>) -> Result<Option<T>, SourceError> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

impl Stored<'_> {
    fn object(&self, digest: FileDigest) -> Result<Option<File>, SourceError> {
        there(File::open(local_path(&self.objects, digest)))
    }

    fn bundle(&self, statement: FileDigest) -> Result<Option<Vec<u8>>, SourceError> {
        let Some(file) = self.object(statement)? else {
            return Ok(None);
        };
        let mut json = Vec::new();
        let read = file.take(MAX_ENVELOPE_BYTES).read_to_end(&mut json);
        read.map_err(failed)?;
        let Ok(envelope) = Envelope::from_json(&json) else {
            return Ok(None);
        };
        let (connection, key) = (self.connection, &self.key);
        log::bundle_of_files(connection, &self.log, key, statement, &envelope)
            .map(Some)
            .map_err(failed)
    }

    fn asked<T>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, DbError>,
    ) -> Result<T, SourceError> {
        question(self.connection).map_err(failed)
    }
}

impl Source for Stored<'_> {
    fn open(&self, item: &Item) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        let bytes = |bytes| -> Box<dyn Read> { Box::new(Cursor::new(bytes)) };
        match item {
            Item::Builds(nevra) => {
                let filter = BuildFilter::of_package(nevra);
                json(&self.asked(|connection| status::builds(connection, &filter))?)
            }
            Item::Releases => json(&self.asked(|c| status::releases(c, RELEASES))?),
            Item::Document(digest) => {
                let found = self.object(*digest)?;
                Ok(found.map(|file| Box::new(file) as Box<dyn Read>))
            }
            Item::Bundle(statement) => Ok(self.bundle(*statement)?.map(bytes)),
            Item::Checkpoint => {
                let found = there(std::fs::read(self.log.join(log::CHECKPOINT)))?;
                Ok(found.map(bytes))
            }
            Item::Tile(tile) => Ok(there(log::read(&self.log, *tile))?.map(bytes)),
            // The package itself lies beside whatever is made of this.
            Item::Head { .. } => Ok(None),
        }
    }
}
