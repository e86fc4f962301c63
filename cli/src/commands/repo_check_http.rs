//! A repository behind HTTP, as `hallmark repo check` reads it.

use crate::failure::Failure;
use mirrors::http::{Client, HttpError};
use repo_server::repocheck::{Source, SourceError, Stream};
use std::io;
use std::time::Duration;

/// Longest wait for a server that says nothing.
const STALL: Duration = Duration::from_secs(60);

/// The files below one URL.
pub struct HttpSource(Client);

impl HttpSource {
    /// `url`: `http://` or `https://`, the directory that holds `repodata`.
    pub fn new(url: &str) -> Result<Self, Failure> {
        Client::new(url, STALL).map(Self).map_err(Failure::usage)
    }
}

fn from_http(error: HttpError) -> SourceError {
    match error {
        HttpError::Missing => SourceError::Missing,
        HttpError::Refused { status } => SourceError::Refused { status },
        HttpError::Unusable(why) => SourceError::Read(io::Error::other(why)),
        HttpError::Unreachable(why) => SourceError::Unreachable(why),
    }
}

impl Source for HttpSource {
    fn open(&self, path: &str) -> Result<Stream<'_>, SourceError> {
        let answer = self.0.get(path, 0).map_err(from_http)?;
        Ok(Stream {
            size_bytes: answer.size_bytes,
            reader: answer.body,
        })
    }

    fn size_bytes(&self, path: &str) -> Result<Option<u64>, SourceError> {
        self.0.size_bytes(path).map_err(from_http)
    }

    fn tells_sizes_cheaply(&self) -> bool {
        false
    }
}
