//! The package's bytes as they come in: hashed on the way, and with the memory of whether it was
//! the source that failed or a codec that disliked what it got.

use super::beside::Feed;
use crate::hashes::{Hasher, Hashes};
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
            hasher: hashed.then(Hasher::new),
            failure: None,
        }
    }

    /// The error of the source itself, if there was one.
    pub(crate) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// Digests of the whole file, when they were asked for and everything was read.
    pub(crate) fn finish(self) -> Option<Hashes> {
        self.hasher.map(Hasher::finish)
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
    feed: &'a Feed,
}

impl<'a> Compressed<'a> {
    /// * `feed`: what hashes it.
    pub(super) fn new(inner: &'a mut dyn Read, feed: &'a Feed) -> Self {
        Self { inner, feed }
    }

    /// Reads what the codec left.
    pub(super) fn drain(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink()).map(|_| ())
    }
}

impl Read for Compressed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.feed.packed(&buffer[..read]);
        Ok(read)
    }
}
