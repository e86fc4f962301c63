//! Stored compressed, sent as it is: unpacked a little at a time as the client takes it.
//!
//! No thread waits for a client: what is unpacked between two reads of the store is little, so it is done
//! where the answer is written. What a decoder holds is memory, so only so many run side by side.

use super::error::ApiError;
use crate::store::{ByteStream, Store};
use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use futures_util::{TryStreamExt as _, stream};
use repo_model::FileDigest;
use std::io::{self, Write};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most downloads at once: each holds a decoder, with a window of some MiB.
pub const UNPACKING: usize = 32;
/// Compressed bytes that are unpacked at a time.
const FED_BYTES: usize = 4 << 10;
/// Seconds after which a client that found no place may ask again.
const RETRY_AFTER: &str = "5";

/// The content of a stored object as the body of an answer; 503 when there are too many already.
///
/// * `codec`: `zst`, `gz`, or another suffix of what is not compressed.
pub async fn body(
    store: &Store,
    places: &Arc<Semaphore>,
    stored: FileDigest,
    codec: &str,
) -> Result<Body, ApiError> {
    let place = Arc::clone(places)
        .try_acquire_owned()
        .map_err(|_| no_place())?;
    let unpacking = Unpacking {
        packed: store.stream(stored, None).await?,
        chunk: Bytes::new(),
        decoder: Decoder::of(codec)?,
        _place: place,
    };
    let pieces = stream::try_unfold(unpacking, |mut unpacking| async {
        let piece = unpacking.piece().await?;
        Ok::<_, io::Error>(piece.map(|piece| (piece, unpacking)))
    });
    Ok(Body::from_stream(pieces))
}

fn no_place() -> ApiError {
    let message = "too many such downloads are under way";
    ApiError::client(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
        .hint("ask again in a few seconds, or for the compressed file, which is never refused")
        .header(header::RETRY_AFTER, RETRY_AFTER)
}

/// One download.
struct Unpacking {
    packed: ByteStream,
    /// Of what was read, what is not unpacked yet.
    chunk: Bytes,
    decoder: Decoder,
    _place: OwnedSemaphorePermit,
}

impl Unpacking {
    /// What comes next, never empty; none at the end.
    async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.chunk.is_empty() {
                match self.packed.try_next().await? {
                    Some(chunk) => self.chunk = chunk,
                    None => return Ok(None),
                }
            }
            let fed = self.chunk.split_to(FED_BYTES.min(self.chunk.len()));
            let piece = self.decoder.feed(fed)?;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }
}

/// Takes compressed bytes, gives what they hold.
enum Decoder {
    Zstd(Box<zstd::stream::write::Decoder<'static, Vec<u8>>>),
    Gzip(Box<flate2::write::MultiGzDecoder<Vec<u8>>>),
    Plain,
}

impl Decoder {
    fn of(codec: &str) -> Result<Self, ApiError> {
        Ok(match codec {
            "zst" => {
                let decoder = zstd::stream::write::Decoder::new(Vec::new());
                Self::Zstd(Box::new(
                    decoder.map_err(|error| ApiError::internal(&error))?,
                ))
            }
            "gz" => Self::Gzip(Box::new(flate2::write::MultiGzDecoder::new(Vec::new()))),
            _ => Self::Plain,
        })
    }

    fn feed(&mut self, packed: Bytes) -> io::Result<Bytes> {
        let unpacked = match self {
            Self::Zstd(decoder) => {
                decoder.write_all(&packed)?;
                decoder.flush()?;
                std::mem::take(decoder.get_mut())
            }
            Self::Gzip(decoder) => {
                decoder.write_all(&packed)?;
                decoder.flush()?;
                std::mem::take(decoder.get_mut())
            }
            Self::Plain => return Ok(packed),
        };
        Ok(unpacked.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use futures_util::StreamExt as _;

    /// Bytes that no codec makes much shorter.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    #[tokio::test]
    async fn what_is_sent_is_what_was_packed_in_one_frame_or_several() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::local(directory.path()).unwrap();
        let places = Arc::new(Semaphore::new(1));
        let (one, two) = (noise(700_001), vec![b'a'; 3_000_000]);
        let whole = [one.as_slice(), &two].concat();
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
        for (codec, packed) in [
            ("zst", [zstd(&one), zstd(&two)].concat()),
            ("zst", zstd(&whole)),
            ("gz", [gzipped(&one), gzipped(&two)].concat()),
            ("xml", whole.clone()),
        ] {
            let digest = store.put(packed).await.unwrap();
            let body = body(&store, &places, digest, codec).await.unwrap();
            let sent = to_bytes(body, usize::MAX).await.unwrap();
            assert!(sent == whole, "{codec}: {} bytes", sent.len());
        }
        for codec in ["zst", "gz"] {
            let digest = store.put(noise(100)).await.unwrap();
            let body = body(&store, &places, digest, codec).await.unwrap();
            assert!(to_bytes(body, usize::MAX).await.is_err(), "{codec}");
        }
    }

    #[test]
    fn clients_that_do_not_read_on_hold_no_thread_and_one_too_many_is_sent_away() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::local(directory.path()).unwrap();
            let places = Arc::new(Semaphore::new(3));
            let packed = zstd::encode_all(noise(2_000_000).as_slice(), 3).unwrap();
            let digest = store.put(packed).await.unwrap();
            let mut slow = Vec::new();
            for _ in 0..3 {
                let body = body(&store, &places, digest, "zst").await.unwrap();
                let mut pieces = body.into_data_stream();
                assert!(!pieces.next().await.unwrap().unwrap().is_empty());
                slow.push(pieces);
            }
            let refused = body(&store, &places, digest, "zst").await.unwrap_err();
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
            // The only thread for what blocks is free.
            tokio::task::spawn_blocking(|| ()).await.unwrap();
            assert!(store.size_bytes(digest).await.unwrap().is_some());
            slow.pop();
            let _ = body(&store, &places, digest, "zst").await.unwrap();
        });
    }
}
