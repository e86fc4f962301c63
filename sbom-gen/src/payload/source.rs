//! The package's bytes as they come in: hashed on the way, and with the memory of whether it was
//! the source that failed or a codec that disliked what it got.

use crate::hashes::{Hasher, Hashes};
use md5::Md5;
use sha2::{Digest, Sha256, Sha512};
use std::io::{self, Read};

/// The whole file.
pub(crate) struct Source<R> {
    inner: R,
    hasher: Option<Hasher>,
    failure: Option<io::Error>,
}

impl<R: Read> Source<R> {
    pub(crate) fn new(inner: R, hashed: bool) -> Self {
        Self {
            inner,
            hasher: hashed.then(|| Hasher::new(0)),
            failure: None,
        }
    }

    /// The error of the source itself, if there was one.
    pub(crate) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// Digests of the whole file, when they were asked for and everything was read.
    pub(crate) fn finish(self) -> Option<Hashes> {
        self.hasher.map(|hasher| hasher.finish(0).0)
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                if let Some(hasher) = &mut self.hasher {
                    hasher.update(&buffer[..read]);
                }
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failure = Some(error);
                Err(kind.into())
            }
        }
    }
}

/// The compressed payload: from the end of the main header to the end of the file.
pub(super) struct Compressed<'a> {
    inner: &'a mut dyn Read,
    sha256: Sha256,
    content_sha512: Sha512,
    md5: Option<Md5>,
}

/// Digests of the compressed payload, lowercase hex.
pub(super) struct Drained {
    pub(super) sha256: String,
    /// SHA-512 of main header and payload.
    pub(super) content_sha512: String,
    /// MD5 of main header and payload, where it was asked for.
    pub(super) md5: Option<String>,
}

impl<'a> Compressed<'a> {
    /// * `main_header`: its bytes.
    /// * `wants_md5`: SIGMD5 is to be checked.
    pub(super) fn new(inner: &'a mut dyn Read, main_header: &[u8], wants_md5: bool) -> Self {
        Self {
            inner,
            sha256: Sha256::new(),
            content_sha512: Sha512::new_with_prefix(main_header),
            md5: wants_md5.then(|| Md5::new_with_prefix(main_header)),
        }
    }

    /// Reads what the codec left.
    pub(super) fn drain(mut self) -> io::Result<Drained> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(Drained {
            sha256: hex::encode(self.sha256.finalize()),
            content_sha512: hex::encode(self.content_sha512.finalize()),
            md5: self.md5.map(|md5| hex::encode(md5.finalize())),
        })
    }
}

impl Read for Compressed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.sha256.update(&buffer[..read]);
        self.content_sha512.update(&buffer[..read]);
        if let Some(md5) = &mut self.md5 {
            md5.update(&buffer[..read]);
        }
        Ok(read)
    }
}
