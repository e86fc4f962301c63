//! Files of a bucket as bytes that come one after the other, and the bucket as a repository that can be checked.

use super::{Bucket, BucketError, PART_BYTES};
use crate::reading::{Source, SourceError, Stream};
use object_store::{Error as StoreError, GetOptions, GetRange, ObjectStore as _};
use std::io::{self, Read};

/// A file, asked for in pieces. One that is replaced meanwhile ends with an error.
struct Reader<'a> {
    bucket: &'a Bucket,
    path: String,
    size_bytes: u64,
    etag: Option<String>,
    /// Where `piece` ends in the file.
    end: u64,
    piece: bytes::Bytes,
}

impl Bucket {
    /// Opens a file for reading; its size.
    pub(crate) fn open_file(&self, path: &str) -> Result<(impl Read + '_, u64), BucketError> {
        let (listed, _) = self.marks(path)?;
        let size_bytes = listed.size_bytes;
        let reader = Reader {
            bucket: self,
            path: path.to_owned(),
            size_bytes,
            etag: listed.etag.map(String::from),
            end: 0,
            piece: bytes::Bytes::new(),
        };
        Ok((reader, size_bytes))
    }

    /// A whole small file; none when it is not there.
    pub(crate) fn read_small(
        &self,
        path: &str,
        limit_bytes: u64,
    ) -> Result<Option<Vec<u8>>, BucketError> {
        let (reader, size_bytes) = match self.open_file(path) {
            Err(BucketError::Missing { .. }) => return Ok(None),
            opened => opened?,
        };
        if size_bytes > limit_bytes {
            let why = format!("{path} has more than {limit_bytes} bytes");
            return Err(io::Error::other(why).into());
        }
        let mut bytes = Vec::new();
        reader.take(limit_bytes).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

impl Reader<'_> {
    fn next_piece(&mut self) -> Result<(), BucketError> {
        let bucket = self.bucket;
        let until = self.size_bytes.min(self.end + PART_BYTES);
        let options = GetOptions {
            range: Some(GetRange::Bounded(self.end..until)),
            if_match: self.etag.clone(),
            ..GetOptions::default()
        };
        let key = bucket.key(&self.path)?;
        let got = bucket.runtime.block_on(async {
            let got = bucket.store.get_opts(&key, options).await?;
            got.bytes().await
        });
        self.piece = got.map_err(bucket.failed("read", &self.path))?;
        self.end += self.piece.len() as u64;
        Ok(())
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            if self.end >= self.size_bytes {
                return Ok(0);
            }
            self.next_piece().map_err(io::Error::other)?;
            if self.piece.is_empty() {
                let source = "the answer is empty".into();
                let error = StoreError::Generic {
                    store: "S3",
                    source,
                };
                let failed = self.bucket.failed("read", &self.path);
                return Err(io::Error::other(failed(error)));
            }
        }
        let count = into.len().min(self.piece.len());
        into[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

impl From<BucketError> for SourceError {
    fn from(error: BucketError) -> Self {
        match error {
            BucketError::Missing { .. } => Self::Missing,
            BucketError::Unreachable { source, .. } if !is_local(&source) => {
                Self::Unreachable(source.to_string())
            }
            other => Self::Read(io::Error::other(other)),
        }
    }
}

fn is_local(error: &StoreError) -> bool {
    matches!(error, StoreError::NotSupported { .. })
}

impl Source for Bucket {
    fn open(&self, path: &str) -> Result<Stream<'_>, SourceError> {
        let (reader, size_bytes) = self.open_file(path)?;
        Ok(Stream {
            reader: Box::new(reader),
            size_bytes: Some(size_bytes),
        })
    }

    fn size_bytes(&self, path: &str) -> Result<Option<u64>, SourceError> {
        let (listed, _) = self.marks(path)?;
        Ok(Some(listed.size_bytes))
    }

    fn tells_sizes_cheaply(&self) -> bool {
        false
    }
}
