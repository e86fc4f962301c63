//! The decompressed payload as a stream that counts and knows its limit, and is hashed as it is read.

use super::beside::Feed;
use crate::SbomError;
use std::io::{self, Read};

/// The content of a payload, read strictly forward.
pub(super) struct Plain<'a> {
    inner: Box<dyn Read + 'a>,
    codec: &'static str,
    limit_bytes: u64,
    offset: u64,
    /// A byte read by `at_end` and not yet handed out.
    peeked: Option<u8>,
    feed: &'a Feed,
}

impl<'a> Plain<'a> {
    /// * `codec`: the name to give in errors.
    /// * `feed`: gets everything that is read.
    pub(super) fn new(
        inner: Box<dyn Read + 'a>,
        codec: &'static str,
        limit_bytes: u64,
        feed: &'a Feed,
    ) -> Self {
        Self {
            inner,
            codec,
            limit_bytes,
            offset: 0,
            peeked: None,
            feed,
        }
    }

    /// Whether not a single byte is left.
    pub(super) fn at_end(&mut self) -> Result<bool, SbomError> {
        if self.peeked.is_none() {
            let mut byte = [0];
            if self.read_some(&mut byte)? == 1 {
                self.peeked = Some(byte[0]);
            }
        }
        Ok(self.peeked.is_none())
    }

    /// Fills the buffer; the stream's ending before that is an error.
    pub(super) fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), SbomError> {
        let wanted = buffer.len() as u64;
        if self.offset.saturating_add(wanted) > self.limit_bytes {
            let limit = self.limit_bytes;
            return Err(SbomError::Limit {
                what: "the decompressed payload in bytes",
                limit,
            });
        }
        self.offset += wanted;
        if let Some(byte) = self.peeked.take()
            && let Some((first, rest)) = std::mem::take(&mut buffer).split_first_mut()
        {
            *first = byte;
            buffer = rest;
        }
        while !buffer.is_empty() {
            let read = self.read_some(buffer)?;
            if read == 0 {
                return Err(self.malformed("it ends too early"));
            }
            buffer = &mut buffer[read..];
        }
        Ok(())
    }

    /// Skips to the next multiple of four bytes.
    pub(super) fn skip_padding(&mut self) -> Result<(), SbomError> {
        let odd = (self.offset % 4) as usize;
        match odd {
            0 => Ok(()),
            _ => self.fill(&mut [0; 4][odd..]),
        }
    }

    /// Reads to the end.
    pub(super) fn drain(mut self) -> Result<(), SbomError> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = self.read_some(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            self.offset += read as u64;
            if self.offset > self.limit_bytes {
                let limit = self.limit_bytes;
                return Err(SbomError::Limit {
                    what: "the decompressed payload in bytes",
                    limit,
                });
            }
        }
    }

    pub(super) fn malformed(&self, why: &'static str) -> SbomError {
        SbomError::Archive {
            offset: self.offset,
            why,
        }
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, SbomError> {
        loop {
            match self.inner.read(buffer) {
                Ok(read) => {
                    self.feed.plain(&buffer[..read]);
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let codec = self.codec;
                    return Err(SbomError::Codec {
                        codec,
                        plain_bytes: self.offset,
                        source,
                    });
                }
            }
        }
    }
}
