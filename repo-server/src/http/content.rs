//! Stored objects over HTTP: ETag, conditional requests, one byte range, cache headers.

use super::error::ApiError;
use crate::app::App;
use axum::body::Body;
use axum::http::response::Builder;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use repo_model::{FileDigest, Timestamp};
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long an answer may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// The name means these bytes for ever.
    Immutable,
    /// The name moves: ask again each time.
    Revalidate,
}

impl Caching {
    /// `Cache-Control`.
    pub fn as_header(self) -> &'static str {
        match self {
            Self::Immutable => "public, max-age=31536000, immutable",
            Self::Revalidate => "no-cache",
        }
    }
}

/// A stored object as a client asked for it.
#[derive(Debug, Clone)]
pub struct Object {
    /// What to send.
    pub digest: FileDigest,
    /// Its size.
    pub size_bytes: u64,
    /// `Content-Type`.
    pub media_type: String,
    /// Whether the name moves.
    pub caching: Caching,
    /// When the name got this meaning, if that is known.
    pub modified: Option<Timestamp>,
}

impl Object {
    /// An object whose size is still to be looked up.
    pub async fn find(
        app: &App,
        digest: FileDigest,
        media_type: &str,
        caching: Caching,
    ) -> Result<Self, ApiError> {
        let size_bytes = app.store.size_bytes(digest).await?;
        let size_bytes = size_bytes
            .ok_or_else(|| ApiError::not_found(format!("there is no object {digest}")))?;
        Ok(Self {
            digest,
            size_bytes,
            media_type: media_type.to_owned(),
            caching,
            modified: None,
        })
    }

    fn etag(&self) -> String {
        format!("\"{}\"", self.digest)
    }
}

/// What the conditions and the range of a request ask for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    NotModified,
    PreconditionFailed,
    Unsatisfiable,
}

/// Answers a GET or HEAD.
pub async fn answer(
    app: &App,
    method: &Method,
    request: &HeaderMap,
    object: &Object,
) -> Result<Response, ApiError> {
    let (response, part) = head(method, request, object);
    let body = match part {
        None => Body::empty(),
        Some(part) => {
            let part = (part != (0..object.size_bytes)).then_some(part);
            Body::from_stream(app.store.stream(object.digest, part).await?)
        }
    };
    response
        .body(body)
        .map_err(|error| ApiError::internal(&error))
}

/// An answer without its body, and the part of the object that the body is, unless it is empty.
pub fn head(
    method: &Method,
    request: &HeaderMap,
    object: &Object,
) -> (Builder, Option<Range<u64>>) {
    let wanted = wanted(request, object);
    let mut response = Response::builder()
        .header(header::ETAG, object.etag())
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CACHE_CONTROL, object.caching.as_header());
    if let Some(modified) = object.modified {
        response = response.header(
            header::LAST_MODIFIED,
            httpdate::fmt_http_date(system_time(modified)),
        );
    }
    let total = object.size_bytes;
    let (status, range) = match wanted {
        Wanted::NotModified => (StatusCode::NOT_MODIFIED, None),
        Wanted::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, None),
        Wanted::Unsatisfiable => {
            response = response.header(header::CONTENT_RANGE, format!("bytes */{total}"));
            (StatusCode::RANGE_NOT_SATISFIABLE, None)
        }
        Wanted::All => (StatusCode::OK, Some(0..total)),
        Wanted::Part(range) => {
            let text = format!("bytes {}-{}/{total}", range.start, range.end - 1);
            response = response.header(header::CONTENT_RANGE, text);
            (StatusCode::PARTIAL_CONTENT, Some(range))
        }
    };
    response = response.status(status);
    let Some(range) = range else {
        return (response, None);
    };
    let length = range.end - range.start;
    response = response
        .header(header::CONTENT_LENGTH, length)
        .header(header::CONTENT_TYPE, &object.media_type);
    (
        response,
        (*method != Method::HEAD && length > 0).then_some(range),
    )
}

/// RFC 9110 §13.2.2: If-Match, If-None-Match, If-Modified-Since, then Range with If-Range.
fn wanted(request: &HeaderMap, object: &Object) -> Wanted {
    let etag = object.etag();
    if let Some(list) = request.get(header::IF_MATCH)
        && !lists(list, &etag)
    {
        return Wanted::PreconditionFailed;
    }
    if let Some(list) = request.get(header::IF_NONE_MATCH) {
        if lists(list, &etag) {
            return Wanted::NotModified;
        }
    } else if let (Some(since), Some(modified)) =
        (date(request, header::IF_MODIFIED_SINCE), object.modified)
        && system_time(modified) <= since
    {
        return Wanted::NotModified;
    }
    let Some(range) = request
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok())
    else {
        return Wanted::All;
    };
    if let Some(condition) = request.get(header::IF_RANGE) {
        let same_date = || {
            let modified = object.modified.map(system_time);
            date(request, header::IF_RANGE).is_some_and(|date| Some(date) == modified)
        };
        if condition.as_bytes() != etag.as_bytes() && !same_date() {
            return Wanted::All;
        }
    }
    parse_range(range, object.size_bytes)
}

/// One range is honoured; several, or what is no byte range, give the whole object (RFC 9110 §14.2).
fn parse_range(text: &str, total: u64) -> Wanted {
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Wanted::All;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = match (first.trim().is_empty(), last.trim().is_empty()) {
        (true, true) => return Wanted::All,
        (true, false) => match number(last) {
            Some(0) => return Wanted::Unsatisfiable,
            Some(suffix) => total.saturating_sub(suffix)..total,
            None => return Wanted::All,
        },
        (false, true) => match number(first) {
            Some(start) => start..total,
            None => return Wanted::All,
        },
        (false, false) => match (number(first), number(last)) {
            (Some(start), Some(end)) if start <= end => start..end.saturating_add(1).min(total),
            _ => return Wanted::All,
        },
    };
    if range.start >= total {
        Wanted::Unsatisfiable
    } else {
        Wanted::Part(range)
    }
}

/// Whether a list of entity tags has this one.
pub fn lists(value: &HeaderValue, etag: &str) -> bool {
    let Ok(text) = value.to_str() else {
        return false;
    };
    text.split(',')
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == "*" || tag == etag)
}

fn date(request: &HeaderMap, name: header::HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(request.get(name)?.to_str().ok()?).ok()
}

fn system_time(time: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.unix_secs().max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Object {
        Object {
            digest: FileDigest::of(b"x"),
            size_bytes: 100,
            media_type: "application/x-rpm".to_owned(),
            caching: Caching::Immutable,
            modified: Some(Timestamp::from_unix_secs(1_000_000)),
        }
    }

    fn asked(pairs: &[(header::HeaderName, &str)]) -> Wanted {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(name, value.parse().unwrap());
        }
        wanted(&headers, &object())
    }

    #[test]
    fn ranges_follow_rfc_9110() {
        for (range, expected) in [
            ("bytes=0-9", Wanted::Part(0..10)),
            ("bytes=90-", Wanted::Part(90..100)),
            ("bytes=-10", Wanted::Part(90..100)),
            ("bytes=-1000", Wanted::Part(0..100)),
            ("bytes=90-1000", Wanted::Part(90..100)),
            ("bytes=100-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=9-0", Wanted::All),
            ("bytes=0-1,5-6", Wanted::All),
            ("lines=0-1", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=0-18446744073709551615", Wanted::Part(0..100)),
        ] {
            assert_eq!(asked(&[(header::RANGE, range)]), expected, "{range}");
        }
    }

    #[test]
    fn conditions_come_before_ranges() {
        let etag = object().etag();
        assert_eq!(
            asked(&[(header::IF_NONE_MATCH, &etag)]),
            Wanted::NotModified
        );
        assert_eq!(asked(&[(header::IF_NONE_MATCH, "\"other\"")]), Wanted::All);
        assert_eq!(
            asked(&[(header::IF_MATCH, "\"other\"")]),
            Wanted::PreconditionFailed
        );
        assert_eq!(
            asked(&[
                (header::IF_RANGE, "\"other\""),
                (header::RANGE, "bytes=0-9")
            ]),
            Wanted::All
        );
        assert_eq!(
            asked(&[(header::IF_RANGE, &etag), (header::RANGE, "bytes=0-9")]),
            Wanted::Part(0..10)
        );
        let date = httpdate::fmt_http_date(system_time(Timestamp::from_unix_secs(1_000_000)));
        assert_eq!(
            asked(&[(header::IF_MODIFIED_SINCE, &date)]),
            Wanted::NotModified
        );
    }
}
