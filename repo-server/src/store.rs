//! Objects by SHA-256: `sha256/ab/ab12…`. Created, never changed.
//!
//! The local backend writes to a temporary name, syncs, renames and syncs the directory, so a
//! stored object survives a crash whole or not at all.

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{
    GetOptions, GetRange, GetResult, GetResultPayload, ObjectStore, ObjectStoreExt as _, PutMode,
    PutOptions, PutPayload, WriteMultipart,
};
use repo_model::FileDigest;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

/// Larger objects go up in parts of this size, bytes.
const PART_BYTES: usize = 8 << 20;

/// The store could not do it. Ours; retrying is safe.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such object.
    #[error("object {digest} is not in the store")]
    Missing {
        /// Its digest.
        digest: FileDigest,
    },
    /// The object is larger than the caller can take.
    #[error("object {digest} has {size_bytes} bytes; at most {limit_bytes} can be read here")]
    TooLarge {
        /// Its digest.
        digest: FileDigest,
        /// Its size.
        size_bytes: u64,
        /// The caller's limit.
        limit_bytes: u64,
    },
    /// The backend failed.
    #[error("the object store failed")]
    Backend(#[from] object_store::Error),
    /// A local file could not be read or made.
    #[error("a scratch file failed")]
    Io(#[from] std::io::Error),
}

/// The object store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store(Arc<dyn ObjectStore>);

/// A stored object's bytes as they come.
pub type ByteStream = futures_util::stream::BoxStream<'static, object_store::Result<Bytes>>;

impl Store {
    /// Objects in a local directory, made if it is not there.
    pub fn local(directory: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(directory)?;
        let backend = LocalFileSystem::new_with_prefix(directory)?.with_fsync(true);
        Ok(Self(Arc::new(backend)))
    }

    /// Removes what uploads left behind that a kill or a power cut ended: the local backend writes to
    /// `NAME#NUMBER` first. Blocking; only names that are older than `age` are touched.
    pub fn sweep_local(directory: &Path, age: std::time::Duration) -> std::io::Result<u64> {
        let mut removed = 0;
        for shelf in std::fs::read_dir(directory.join("sha256"))
            .into_iter()
            .flatten()
        {
            for entry in std::fs::read_dir(shelf?.path())? {
                let entry = entry?;
                if !entry.file_name().as_encoded_bytes().contains(&b'#') {
                    continue;
                }
                let modified = entry.metadata()?.modified()?;
                if modified.elapsed().unwrap_or_default() > age {
                    std::fs::remove_file(entry.path())?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Size of an object in bytes, if it is there.
    pub async fn size_bytes(&self, digest: FileDigest) -> Result<Option<u64>, StoreError> {
        match self.0.head(&key(digest)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Stores bytes under their digest; storing them again changes nothing.
    pub async fn put(&self, bytes: impl Into<Bytes>) -> Result<FileDigest, StoreError> {
        let bytes = bytes.into();
        let digest = FileDigest::of(&bytes);
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        let payload = PutPayload::from_bytes(bytes);
        match self.0.put_opts(&key(digest), payload, options).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(digest),
            Err(error) => Err(error.into()),
        }
    }

    /// Stores a file whose digest the caller has just computed. Memory: a few parts.
    pub async fn put_file(&self, path: &Path, digest: FileDigest) -> Result<(), StoreError> {
        use tokio::io::AsyncReadExt as _;
        if self.size_bytes(digest).await?.is_some() {
            return Ok(());
        }
        let mut file = tokio::fs::File::open(path).await?;
        let upload = self.0.put_multipart(&key(digest)).await?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let mut part = vec![0; PART_BYTES];
        loop {
            let read = match file.read(&mut part).await {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) => {
                    writer.abort().await?;
                    return Err(error.into());
                }
            };
            writer.wait_for_capacity(2).await?;
            writer.write(&part[..read]);
        }
        writer.finish().await?;
        Ok(())
    }

    /// A whole object of at most `limit_bytes`.
    pub async fn get(&self, digest: FileDigest, limit_bytes: u64) -> Result<Bytes, StoreError> {
        let found = self
            .0
            .get(&key(digest))
            .await
            .map_err(|e| missing(digest, e))?;
        let size_bytes = found.meta.size;
        if size_bytes > limit_bytes {
            return Err(StoreError::TooLarge {
                digest,
                size_bytes,
                limit_bytes,
            });
        }
        Ok(found.bytes().await?)
    }

    /// The first `size_bytes` bytes of an object.
    pub async fn get_start(
        &self,
        digest: FileDigest,
        size_bytes: u64,
    ) -> Result<Bytes, StoreError> {
        self.0
            .get_range(&key(digest), 0..size_bytes)
            .await
            .map_err(|e| missing(digest, e))
    }

    /// An object's bytes, or a part of them, as a stream.
    pub async fn stream(
        &self,
        digest: FileDigest,
        range: Option<Range<u64>>,
    ) -> Result<ByteStream, StoreError> {
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let found = self
            .0
            .get_opts(&key(digest), options)
            .await
            .map_err(|e| missing(digest, e))?;
        Ok(in_large_chunks(found).await?)
    }

    /// An object as a blocking reader, for `spawn_blocking`.
    pub async fn blocking_reader(
        &self,
        digest: FileDigest,
    ) -> Result<impl Read + Send + 'static, StoreError> {
        let stream = self
            .stream(digest, None)
            .await?
            .map_err(std::io::Error::from);
        Ok(SyncIoBridge::new(StreamReader::new(stream)))
    }
}

/// Local files are read in chunks of this size; the backend's own are 8 KiB.
const CHUNK_BYTES: usize = 256 << 10;

async fn in_large_chunks(found: GetResult) -> std::io::Result<ByteStream> {
    use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
    let range = found.range.clone();
    match found.payload {
        GetResultPayload::File(file, _) => {
            let mut file = tokio::fs::File::from_std(file);
            file.seek(std::io::SeekFrom::Start(range.start)).await?;
            let part = file.take(range.end - range.start);
            let stream = ReaderStream::with_capacity(part, CHUNK_BYTES);
            let failed = |error| object_store::Error::Generic {
                store: "local",
                source: Box::new(error),
            };
            Ok(stream.map_err(failed).boxed())
        }
        GetResultPayload::Stream(stream) => Ok(stream),
    }
}

/// Where the local backend keeps an object.
pub fn local_path(directory: &Path, digest: FileDigest) -> PathBuf {
    directory.join(key(digest).as_ref())
}

fn key(digest: FileDigest) -> ObjectPath {
    let hex = digest.to_hex();
    ObjectPath::from_iter(["sha256", &hex[..2], &hex])
}

fn missing(digest: FileDigest, error: object_store::Error) -> StoreError {
    match error {
        object_store::Error::NotFound { .. } => StoreError::Missing { digest },
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_object_is_stored_once_and_read_back_whole_or_in_part() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::local(directory.path()).unwrap();
        let digest = store.put("hello world").await.unwrap();
        assert_eq!(store.put("hello world").await.unwrap(), digest);
        assert_eq!(store.size_bytes(digest).await.unwrap(), Some(11));
        assert_eq!(store.get(digest, 11).await.unwrap(), "hello world");
        assert!(matches!(
            store.get(digest, 10).await,
            Err(StoreError::TooLarge { .. })
        ));
        assert_eq!(store.get_start(digest, 5).await.unwrap(), "hello");
        let other = FileDigest::of(b"other");
        assert!(matches!(
            store.get(other, 1).await,
            Err(StoreError::Missing { .. })
        ));
    }

    #[tokio::test]
    async fn half_written_objects_are_swept_and_whole_ones_stay() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::local(directory.path()).unwrap();
        let digest = store.put("whole").await.unwrap();
        let whole = local_path(directory.path(), digest);
        let half = PathBuf::from(format!("{}#3", whole.display()));
        std::fs::write(&half, "wh").unwrap();
        let hour = std::time::Duration::from_secs(3_600);
        assert_eq!(Store::sweep_local(directory.path(), hour).unwrap(), 0);
        let old = std::time::SystemTime::now() - hour * 2;
        std::fs::File::open(&half)
            .unwrap()
            .set_modified(old)
            .unwrap();
        assert_eq!(Store::sweep_local(directory.path(), hour).unwrap(), 1);
        assert!(whole.exists() && !half.exists());
    }

    #[tokio::test]
    async fn a_file_of_several_parts_is_stored_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::local(&directory.path().join("objects")).unwrap();
        let bytes: Vec<u8> = (0..PART_BYTES * 2 + 17).map(|i| (i % 251) as u8).collect();
        let file = directory.path().join("file");
        std::fs::write(&file, &bytes).unwrap();
        let digest = FileDigest::of(&bytes);
        store.put_file(&file, digest).await.unwrap();
        let mut reader = store.blocking_reader(digest).await.unwrap();
        let back = tokio::task::spawn_blocking(move || {
            let mut back = Vec::new();
            reader.read_to_end(&mut back).map(|_| back)
        });
        assert_eq!(back.await.unwrap().unwrap(), bytes);
    }
}
