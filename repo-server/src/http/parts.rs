//! Several parts of an object in one body, `multipart/byteranges` (RFC 9110 §14.6): dnf asks so for the chunks of a zchunk
//! file that it lacks.
//!
//! ```text
//! --5e884898da280471
//! Content-Type: application/octet-stream
//! Content-Range: bytes 0-99/8000
//!
//! ... (100 bytes)
//! --5e884898da280471--
//! ```

use super::content::{Object, common};
use axum::body::{Body, Bytes};
use axum::http::response::Builder;
use axum::http::{Method, StatusCode, header};
use futures_util::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use std::future::{Future, ready};
use std::io;
use std::ops::Range;

/// Most parts of one body; a client that wants more gets the whole.
pub const PARTS_MAX: usize = 256;

/// An answer with these parts, in order.
///
/// * `open`: the bytes of a part. What fails there breaks the connection, since the answer has begun.
pub fn answer<F, S>(
    method: &Method,
    object: &Object,
    parts: Vec<Range<u64>>,
    mut open: impl FnMut(Range<u64>) -> F + Send + 'static,
) -> (Builder, Body)
where
    F: Future<Output = io::Result<S>> + Send + 'static,
    S: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    // No file can have its own digest in it, so this divides whatever there is.
    let boundary = &object.digest.to_hex()[..32];
    let head = |part: &Range<u64>| -> Bytes {
        let (first, last, total) = (part.start, part.end.saturating_sub(1), object.size_bytes);
        let kind = &object.media_type;
        format!("\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: bytes {first}-{last}/{total}\r\n\r\n").into()
    };
    let parts: Vec<(Bytes, Range<u64>)> =
        parts.into_iter().map(|part| (head(&part), part)).collect();
    let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    let lengths = parts
        .iter()
        .map(|(head, part)| head.len() as u64 + (part.end - part.start));
    let response = common(object)
        .status(StatusCode::PARTIAL_CONTENT)
        .header(
            header::CONTENT_LENGTH,
            lengths.sum::<u64>() + end.len() as u64,
        )
        .header(
            header::CONTENT_TYPE,
            format!("multipart/byteranges; boundary={boundary}"),
        );
    if *method == Method::HEAD {
        return (response, Body::empty());
    }
    let bodies = stream::iter(parts.into_iter().map(io::Result::Ok))
        .and_then(move |(head, part)| {
            let opened = open(part);
            async move { Ok(stream::once(ready(Ok(head))).chain(opened.await?)) }
        })
        .try_flatten();
    let all = bodies.chain(stream::once(ready(Ok(end))));
    (response, Body::from_stream(all))
}

#[cfg(test)]
mod tests {
    use super::super::content::Caching;
    use super::*;
    use repo_model::FileDigest;

    #[tokio::test]
    async fn each_part_stands_behind_its_range_and_the_length_is_right() {
        let content: Vec<u8> = (0..=255).collect();
        let object = Object {
            digest: FileDigest::of(&content),
            size_bytes: 256,
            media_type: "application/zstd".to_owned(),
            caching: Caching::Immutable,
            modified: None,
        };
        let answered = |method: Method| {
            let bytes = Bytes::from(content.clone());
            let open = move |part: Range<u64>| {
                let part = bytes.slice(part.start as usize..part.end as usize);
                async move { Ok(stream::iter([Ok(part)])) }
            };
            let (response, body) = answer(&method, &object, vec![0..2, 65..68, 255..256], open);
            response.body(body).unwrap()
        };
        let response = answered(Method::GET);
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        let headers = response.headers().clone();
        let kind = headers[header::CONTENT_TYPE].to_str().unwrap();
        let boundary = kind
            .strip_prefix("multipart/byteranges; boundary=")
            .unwrap();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20)
            .await
            .unwrap();
        let head = |range: &str| {
            format!(
                "\r\n--{boundary}\r\nContent-Type: application/zstd\r\nContent-Range: bytes {range}/256\r\n\r\n"
            )
        };
        let expected = [
            head("0-1").as_bytes(),
            &[0, 1],
            head("65-67").as_bytes(),
            b"ABC",
            head("255-255").as_bytes(),
            &[255],
            format!("\r\n--{boundary}--\r\n").as_bytes(),
        ]
        .concat();
        assert_eq!(body, expected);
        assert_eq!(headers[header::CONTENT_LENGTH], expected.len().to_string());
        assert!(headers.contains_key(header::ETAG));
        assert!(!headers.contains_key(header::CONTENT_RANGE));
        // HEAD says the same and sends nothing.
        let head = answered(Method::HEAD);
        assert_eq!(head.headers(), &headers);
        let body = axum::body::to_bytes(head.into_body(), 1).await.unwrap();
        assert!(body.is_empty());
    }

    #[tokio::test]
    async fn a_part_that_cannot_be_opened_breaks_the_body() {
        let object = Object {
            digest: FileDigest::of(b"x"),
            size_bytes: 9,
            media_type: "x/y".to_owned(),
            caching: Caching::Immutable,
            modified: None,
        };
        let open = |part: Range<u64>| async move {
            match part.start {
                0 => Ok(stream::iter([Ok(Bytes::from_static(b"ab"))])),
                _ => Err(io::Error::other("gone")),
            }
        };
        let (_, body) = answer(&Method::GET, &object, vec![0..2, 4..6], open);
        assert!(axum::body::to_bytes(body, 1 << 20).await.is_err());
    }
}
