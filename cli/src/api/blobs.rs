//! Uploading one file by its digest: skip what is there, resume what was cut off, send large files
//! in parts.
//!
//! * `HEAD /api/v1/blobs/{sha256}`: 200 when the server has it.
//! * `GET /api/v1/uploads/{sha256}`: `{"offset_bytes": N}`, what a cut-off upload left; 404: nothing.
//! * `PUT /api/v1/blobs/{sha256}`: the whole; with `Content-Range: bytes FIRST-LAST/TOTAL`: one part.

use super::retry::{Patience, spread};
use super::{ApiError, Client};
use repo_model::FileDigest;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// Files up to this size are sent in one request, larger ones in parts of it.
pub const PART_BYTES: u64 = 16 << 20;

/// A file could not be uploaded.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The file cannot be read here. The user's fault.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server refused it, or stayed away for as long as patience lasted.
    #[error("cannot upload {}", path.display())]
    Api {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ApiError,
    },
}

/// A file to upload, measured before.
#[derive(Debug, Clone, Copy)]
pub struct Blob<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// SHA-256 of it.
    pub digest: FileDigest,
    /// Bytes.
    pub size_bytes: u64,
}

/// What an upload tells while it goes on.
pub trait Watcher {
    /// So many bytes more have been sent.
    fn sent(&self, bytes: u64);
    /// So many of the bytes told before have to be sent again.
    fn lost(&self, bytes: u64);
    /// A try failed; there will be another after `wait`.
    fn waits(&self, error: &ApiError, wait: std::time::Duration);
}

/// Uploads a file; returns false when the server had it already. The watcher is told `size_bytes`
/// in all either way.
pub fn upload(
    client: &Client,
    blob: Blob<'_>,
    patience: Patience,
    watcher: &dyn Watcher,
) -> Result<bool, UploadError> {
    let fail = |source| UploadError::Api {
        path: blob.path.to_owned(),
        source,
    };
    let mut file = File::open(blob.path).map_err(|source| UploadError::Read {
        path: blob.path.to_owned(),
        source,
    })?;
    let mut upload = Upload {
        client,
        blob,
        watcher,
        told: 0,
        failed: 0,
    };
    // Where the server stands: not asked yet, or not known after a failure.
    let mut known: Option<u64> = None;
    let mut looked = false;
    let mut sent = false;
    loop {
        let step = match known {
            Some(offset) => {
                sent = true;
                upload.send_from(&mut file, offset)
            }
            None => upload.look(looked).map_err(StepError::Api),
        };
        match step {
            Ok(Position::Done) => {
                upload.tell(blob.size_bytes);
                return Ok(sent);
            }
            Ok(Position::At(offset)) => {
                if known.is_some_and(|before| before < offset) {
                    upload.failed = 0;
                }
                known = Some(offset);
            }
            Err(StepError::Read(source)) => {
                return Err(UploadError::Read {
                    path: blob.path.to_owned(),
                    source,
                });
            }
            Err(StepError::Api(error)) => {
                upload.pause(error, patience).map_err(fail)?;
                known = None;
            }
        }
        looked = true;
    }
}

/// Where the server stands.
enum Position {
    /// It has the whole.
    Done,
    /// It has so many bytes.
    At(u64),
}

enum StepError {
    Read(io::Error),
    Api(ApiError),
}

#[derive(Deserialize)]
struct Partial {
    offset_bytes: u64,
}

struct Upload<'a> {
    client: &'a Client,
    blob: Blob<'a>,
    watcher: &'a dyn Watcher,
    /// Bytes that the watcher has been told of.
    told: u64,
    /// Failures since the server last took something.
    failed: u32,
}

impl Upload<'_> {
    fn path(&self) -> String {
        format!("/api/v1/blobs/{}", self.blob.digest)
    }

    fn tell(&mut self, position: u64) {
        if position >= self.told {
            self.watcher.sent(position - self.told);
        } else {
            self.watcher.lost(self.told - position);
        }
        self.told = position;
    }

    /// Asks the server what it has. A small file that was never tried has left nothing behind.
    fn look(&self, tried: bool) -> Result<Position, ApiError> {
        if self.client.exists(&self.path())? {
            return Ok(Position::Done);
        }
        if !tried && self.blob.size_bytes <= PART_BYTES {
            return Ok(Position::At(0));
        }
        let partial: Option<Partial> = self
            .client
            .find_json(&format!("/api/v1/uploads/{}", self.blob.digest))?;
        let offset = partial.map_or(0, |partial| partial.offset_bytes);
        // More than there is cannot be ours; one part from the start makes the server start anew.
        Ok(Position::At(if offset < self.blob.size_bytes {
            offset
        } else {
            0
        }))
    }

    /// Sends the next part, or all of a small file.
    fn send_from(&mut self, file: &mut File, offset: u64) -> Result<Position, StepError> {
        let total = self.blob.size_bytes;
        let end = total.min(offset.saturating_add(PART_BYTES));
        let whole = offset == 0 && end == total;
        let range = (!whole).then(|| format!("bytes {offset}-{}/{total}", end - 1));
        file.seek(SeekFrom::Start(offset))
            .map_err(StepError::Read)?;
        self.tell(offset);
        let mut body = Watched {
            inner: file.take(end - offset),
            watcher: self.watcher,
            read: 0,
            failed: None,
        };
        let answer = self
            .client
            .put(&self.path(), range, end - offset, &mut body);
        self.told += body.read;
        if let Some(error) = body.failed {
            return Err(StepError::Read(error));
        }
        answer.map_err(StepError::Api)?;
        Ok(if end == total {
            Position::Done
        } else {
            Position::At(end)
        })
    }

    /// Waits before the next try, or gives the error back when there is none. A part that does not
    /// fit (416) is sent again at once from where the server says it is.
    fn pause(&mut self, error: ApiError, patience: Patience) -> Result<(), ApiError> {
        self.failed += 1;
        if error.refused_with() == Some(416) && self.failed < patience.tries {
            return Ok(());
        }
        match patience.wait_after(self.failed, &error, spread()) {
            Some(wait) => {
                self.watcher.waits(&error, wait);
                std::thread::sleep(wait);
                Ok(())
            }
            None => Err(error),
        }
    }
}

/// Counts what is read and keeps the error that the HTTP client would take for the network's.
struct Watched<'a, R> {
    inner: R,
    watcher: &'a dyn Watcher,
    read: u64,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(count) => {
                self.read += count as u64;
                self.watcher.sent(count as u64);
                Ok(count)
            }
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}

#[cfg(test)]
#[path = "blobs_tests.rs"]
mod tests;
