//! Blobs by digest: spooled, verified, then stored. An upload that breaks off is continued.

use super::IntakeError;
use crate::app::{App, file_digest};
use crate::store::Store;
use futures_util::{Stream, StreamExt as _};
use repo_model::FileDigest;
use std::path::{Path, PathBuf};
use tokio::io::AsyncWriteExt as _;

/// `Content-Range: bytes START-END/TOTAL` of a part, END inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub end: u64,
    /// Size of the whole blob.
    pub total: u64,
}

impl ContentRange {
    /// Reads the header's value.
    pub fn parse(text: &str) -> Result<Self, IntakeError> {
        let read = || {
            let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
            let (start, end) = range.split_once('-')?;
            let range = Self {
                start: start.parse().ok()?,
                end: end.parse().ok()?,
                total: total.parse().ok()?,
            };
            (range.start <= range.end && range.end < range.total).then_some(range)
        };
        read().ok_or(IntakeError::Range)
    }
}

/// What became of a PUT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The blob is stored now.
    Created,
    /// It was stored before.
    Existing,
    /// More parts are to come.
    Partial {
        /// Bytes so far.
        have: u64,
    },
}

/// Takes a blob, whole (`range` none) or the next part of it.
///
/// * `owner`: who uploads; nobody continues another's upload.
/// * Memory: one chunk of the body.
pub async fn put_blob<E>(
    app: &App,
    owner: &str,
    digest: FileDigest,
    range: Option<ContentRange>,
    body: impl Stream<Item = Result<bytes::Bytes, E>> + Send,
) -> Result<PutOutcome, IntakeError> {
    let limit_bytes = app.config.server.max_blob_bytes;
    if let Some(range) = range
        && range.total > limit_bytes
    {
        return Err(IntakeError::TooLarge {
            size_bytes: range.total,
            limit_bytes,
        });
    }
    if app.store.size_bytes(digest).await?.is_some() {
        return Ok(PutOutcome::Existing);
    }
    let part = part_file(app, owner, digest);
    let _guard = Exclusive::take(app, &part).ok_or(IntakeError::Busy { digest })?;
    let start = range.map_or(0, |range| range.start);
    let end = range.map_or(limit_bytes, |range| range.end + 1);
    let have = spool(&part, start, end, body)
        .await
        .map_err(|error| match (error, range) {
            // The limit that was passed is the part's own.
            (IntakeError::TooLarge { .. }, Some(_)) => IntakeError::Range,
            (error, _) => error,
        })?;
    match range {
        Some(range) if have < range.end + 1 => return Err(IntakeError::CutOff { have }),
        Some(range) if have < range.total => return Ok(PutOutcome::Partial { have }),
        Some(_) | None => {}
    }
    let hashed = part.clone();
    let actual = tokio::task::spawn_blocking(move || file_digest(&hashed))
        .await
        .map_err(std::io::Error::other)??;
    if actual != digest {
        tokio::fs::remove_file(&part).await?;
        return Err(IntakeError::WrongDigest {
            wanted: digest,
            actual,
        });
    }
    app.store.put_file(&part, digest).await?;
    tokio::fs::remove_file(&part).await?;
    Ok(PutOutcome::Created)
}

/// How much of an upload is here; `None` when there is none.
pub async fn upload_offset(app: &App, owner: &str, digest: FileDigest) -> Option<u64> {
    let meta = tokio::fs::metadata(part_file(app, owner, digest))
        .await
        .ok()?;
    Some(meta.len())
}

/// Appends the body to the part file and gives its new size. A body longer than `end` is refused;
/// one that breaks off keeps what came.
async fn spool<E>(
    part: &Path,
    start: u64,
    end: u64,
    body: impl Stream<Item = Result<bytes::Bytes, E>> + Send,
) -> Result<u64, IntakeError> {
    let mut file = tokio::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(part)
        .await?;
    let mut have = file.metadata().await?.len();
    if start == 0 {
        file.set_len(0).await?;
        have = 0;
    }
    if start != have {
        return Err(IntakeError::Gap { start, have });
    }
    let mut body = std::pin::pin!(body);
    while let Some(chunk) = body.next().await {
        let Ok(chunk) = chunk else {
            file.flush().await?;
            return Err(IntakeError::CutOff { have });
        };
        let size_bytes = have + chunk.len() as u64;
        if size_bytes > end {
            file.flush().await?;
            return Err(IntakeError::TooLarge {
                size_bytes,
                limit_bytes: end,
            });
        }
        file.write_all(&chunk).await?;
        have = size_bytes;
    }
    file.flush().await?;
    Ok(have)
}

/// Removes uploads that made no progress for the configured time.
pub fn sweep_spool(spool: &Path, expiry: std::time::Duration) -> std::io::Result<()> {
    for entry in std::fs::read_dir(spool)? {
        let entry = entry?;
        let idle = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if idle > expiry {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Removes, at start, uploads whose blob is stored: the last server died between the two.
pub async fn drop_finished(spool: &Path, store: &Store) -> Result<(), IntakeError> {
    for entry in std::fs::read_dir(spool)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let digest = name
            .split('-')
            .next()
            .and_then(|digest| digest.parse().ok());
        if let Some(digest) = digest
            && store.size_bytes(digest).await?.is_some()
        {
            tokio::fs::remove_file(&path).await?;
        }
    }
    Ok(())
}

fn part_file(app: &App, owner: &str, digest: FileDigest) -> PathBuf {
    let owner = FileDigest::of(owner.as_bytes()).to_hex();
    crate::layout::spool(&app.config.server.data_dir)
        .join(format!("{digest}-{}.part", &owner[..16]))
}

/// One request at a time writes a part file.
struct Exclusive<'a> {
    app: &'a App,
    part: &'a Path,
}

impl<'a> Exclusive<'a> {
    fn take(app: &'a App, part: &'a Path) -> Option<Self> {
        let mut uploads = app.uploads.lock().ok()?;
        uploads
            .insert(part.to_owned())
            .then_some(Self { app, part })
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        if let Ok(mut uploads) = self.app.uploads.lock() {
            uploads.remove(self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_upload_that_was_stored_leaves_the_spool_at_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        let spool = directory.path().join("spool");
        std::fs::create_dir(&spool).unwrap();
        let store = Store::local(&directory.path().join("objects")).unwrap();
        let stored = store.put(&b"whole"[..]).await.unwrap();
        let half = FileDigest::of(b"half");
        for digest in [stored, half] {
            std::fs::write(spool.join(format!("{digest}-owner.part")), b"x").unwrap();
        }
        drop_finished(&spool, &store).await.unwrap();
        let left: Vec<_> = std::fs::read_dir(&spool)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(
            left,
            [std::ffi::OsString::from(format!("{half}-owner.part"))]
        );
    }

    #[test]
    fn a_content_range_must_make_sense() {
        let range = ContentRange::parse("bytes 0-9/20").unwrap();
        assert_eq!(
            range,
            ContentRange {
                start: 0,
                end: 9,
                total: 20
            }
        );
        for bad in [
            "",
            "bytes 5-4/20",
            "bytes 0-20/20",
            "bytes 0-9/*",
            "0-9/20",
            "bytes -1-2/3",
        ] {
            assert!(ContentRange::parse(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_broken_body_keeps_what_came_and_is_continued() {
        let directory = tempfile::tempdir().unwrap();
        let part = directory.path().join("x.part");
        let broken =
            futures_util::stream::iter(vec![Ok(bytes::Bytes::from("hello ")), Err("gone")]);
        let error = spool(&part, 0, 100, broken).await.unwrap_err();
        assert!(matches!(error, IntakeError::CutOff { have: 6 }), "{error}");
        let rest = || futures_util::stream::iter(vec![Ok::<_, &str>(bytes::Bytes::from("world"))]);
        assert!(matches!(
            spool(&part, 3, 100, rest()).await,
            Err(IntakeError::Gap { have: 6, .. })
        ));
        assert_eq!(spool(&part, 6, 100, rest()).await.unwrap(), 11);
        assert_eq!(std::fs::read(&part).unwrap(), b"hello world");
        assert!(matches!(
            spool(&part, 11, 12, rest()).await,
            Err(IntakeError::TooLarge { .. })
        ));
    }
}
