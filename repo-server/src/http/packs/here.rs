//! The server as a source of evidence: the same answers as over HTTP, without HTTP. Blocking.

use crate::app::App;
use crate::db::{self, DbError};
use crate::http::error::ApiError;
use crate::http::evidence::{bundle_of, media_type};
use crate::http::tree::{Place, Root};
use crate::jobs::chain;
use crate::log;
use crate::status;
use mirrors::evidence::source::{Item, Source, SourceError};
use repo_model::wire::status::ReleaseStatus;
use repo_model::{FileDigest, ReleaseId};
use std::io::{self, Cursor, Read};
use tokio::runtime::Handle;

/// This server, and the release that it is asked about.
pub struct Here {
    app: App,
    release: ReleaseStatus,
    runtime: Handle,
}

/// An answer could not be had. Ours; the message is the cause with its own causes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

fn failed(error: impl std::error::Error) -> SourceError {
    SourceError::Asked(Box::new(Failed(chain(&error))))
}

fn refused(error: &ApiError) -> SourceError {
    SourceError::Asked(Box::new(Failed(error.message().to_owned())))
}

type Found = Result<Option<Box<dyn Read>>, SourceError>;

impl Here {
    /// Must be made inside the runtime.
    pub fn new(app: App, release: ReleaseStatus) -> Self {
        Self {
            app,
            release,
            runtime: Handle::current(),
        }
    }

    /// The release.
    pub fn release(&self) -> ReleaseId {
        self.release.id
    }

    fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&rusqlite::Connection) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, SourceError> {
        self.runtime
            .block_on(self.app.db.read(question))
            .map_err(failed)
    }

    fn object(&self, digest: FileDigest) -> Found {
        let reader = self
            .runtime
            .block_on(self.app.store.blocking_reader(digest))
            .map_err(failed)?;
        Ok(Some(Box::new(reader)))
    }

    fn is_public(&self, digest: FileDigest) -> Result<bool, SourceError> {
        let found = self.read(move |connection| media_type(connection, digest))?;
        Ok(found.is_some())
    }

    fn bundle(&self, statement: FileDigest) -> Found {
        if !self.is_public(statement)? {
            return Ok(None);
        }
        let made = self.runtime.block_on(bundle_of(&self.app, statement));
        Ok(made.map_err(|error| refused(&error))?.and_then(bytes))
    }

    /// A package of the release by its path, as the tree has it.
    fn package(&self, path: &str) -> Found {
        let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        let Some((place, Root::Pinned(release))) =
            Place::parse(&path).map(|place| (place.clone(), place.root))
        else {
            return Ok(None);
        };
        let package = self.read(move |connection| {
            let (repo, arch) = (&place.repo, &place.arch);
            db::releases::package_at(connection, repo, arch, &place.rest, release)
        })?;
        match package.and_then(|package| package.signed) {
            Some(signed) => self.object(signed.file),
            None => Ok(None),
        }
    }
}

fn bytes(bytes: Vec<u8>) -> Option<Box<dyn Read>> {
    Some(Box::new(Cursor::new(bytes)))
}

fn json(list: &impl serde::Serialize) -> Found {
    serde_json::to_vec(list).map(bytes).map_err(failed)
}

/// A file of the log, if it is there.
fn file(read: io::Result<Vec<u8>>) -> Found {
    match read {
        Ok(content) => Ok(bytes(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

impl Source for Here {
    fn open(&self, item: &Item) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        let directory = log::directory(&self.app.config.server.data_dir);
        match item {
            Item::Builds(nevra) => {
                let filter = db::build_list::BuildFilter::of_package(nevra);
                json(&self.read(move |connection| status::builds(connection, &filter))?)
            }
            Item::Releases => json(&[&self.release]),
            Item::Document(digest) => match self.is_public(*digest)? {
                true => self.object(*digest),
                false => Ok(None),
            },
            Item::Bundle(statement) => self.bundle(*statement),
            Item::Checkpoint => file(std::fs::read(directory.join(log::CHECKPOINT))),
            Item::Tile(tile) => file(log::read(&directory, *tile)),
            Item::Head { path, .. } => self.package(path),
        }
    }
}
