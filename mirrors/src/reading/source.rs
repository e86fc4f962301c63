//! Where a repository is read from. A directory here; the command line adds HTTP.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A file of a repository cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It is not there. The repository's fault.
    #[error("it does not exist")]
    Missing,
    /// The server refuses it. The repository's or the server's fault.
    #[error("the server answers {status}")]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// The server cannot be reached; retry later.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// It is there and cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[source] io::Error),
}

/// A file of a repository, opened.
pub struct Stream<'a> {
    /// Its bytes.
    pub reader: Box<dyn Read + 'a>,
    /// How many there are, when that is known beforehand.
    pub size_bytes: Option<u64>,
}

/// The files of a repository by their path below its root. Used from several threads.
///
/// Paths are checked before they come here: relative, without `..` and control characters.
pub trait Source: Sync {
    /// Opens a file.
    fn open(&self, path: &str) -> Result<Stream<'_>, SourceError>;

    /// Bytes of a file without reading it; `None` when the source does not tell.
    fn size_bytes(&self, path: &str) -> Result<Option<u64>, SourceError>;

    /// Whether asking for the sizes of all files is cheap.
    fn tells_sizes_cheaply(&self) -> bool;
}

/// A repository in a directory.
#[derive(Debug, Clone)]
pub struct Directory(PathBuf);

impl Directory {
    /// `root`: the directory that holds `repodata`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(Path::new(path))
    }
}

fn from_io(error: io::Error) -> SourceError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SourceError::Missing,
        _ => SourceError::Read(error),
    }
}

impl Source for Directory {
    fn open(&self, path: &str) -> Result<Stream<'_>, SourceError> {
        let file = File::open(self.path(path)).map_err(from_io)?;
        let data = file.metadata().map_err(from_io)?;
        if !data.is_file() {
            return Err(SourceError::Read(io::Error::other("not a regular file")));
        }
        Ok(Stream {
            reader: Box::new(file),
            size_bytes: Some(data.len()),
        })
    }

    fn size_bytes(&self, path: &str) -> Result<Option<u64>, SourceError> {
        let data = std::fs::metadata(self.path(path)).map_err(from_io)?;
        if !data.is_file() {
            return Err(SourceError::Read(io::Error::other("not a regular file")));
        }
        Ok(Some(data.len()))
    }

    fn tells_sizes_cheaply(&self) -> bool {
        true
    }
}

/// A whole file of bounded size.
pub fn read_small(
    source: &dyn Source,
    path: &str,
    limit_bytes: u64,
) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    let stream = source.open(path)?;
    stream
        .reader
        .take(limit_bytes + 1)
        .read_to_end(&mut bytes)
        .map_err(SourceError::Read)?;
    if bytes.len() as u64 > limit_bytes {
        return Err(SourceError::Read(std::io::Error::other(format!(
            "it is larger than {limit_bytes} bytes"
        ))));
    }
    Ok(bytes)
}
