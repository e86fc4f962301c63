//! Stored objects over HTTP: ETag, conditional requests, byte ranges, cache headers.

use super::error::ApiError;
use super::parts::{self, PARTS_MAX};
use crate::app::App;
use crate::store::StoreError;
use axum::body::Body;
use axum::http::response::Builder;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use futures_util::TryStreamExt as _;
use repo_model::{FileDigest, Timestamp};
use std::io;
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
    /// Several, in order, without overlaps.
    Parts(Vec<Range<u64>>),
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
    let (response, body) = match several(request, object) {
        Some(wanted) => parts_of(app, method, object, wanted).await?,
        None => {
            let (response, part) = head(method, request, object);
            let body = match part {
                None => Body::empty(),
                Some(part) => {
                    let part = (part != (0..object.size_bytes)).then_some(part);
                    Body::from_stream(app.store.stream(object.digest, part).await?)
                }
            };
            (response, body)
        }
    };
    response
        .body(body)
        .map_err(|error| ApiError::internal(&error))
}

async fn parts_of(
    app: &App,
    method: &Method,
    object: &Object,
    wanted: Vec<Range<u64>>,
) -> Result<(Builder, Body), ApiError> {
    let (store, digest) = (app.store.clone(), object.digest);
    // Before the answer has begun.
    if store.size_bytes(digest).await?.is_none() {
        return Err(StoreError::Missing { digest }.into());
    }
    let open = move |part: Range<u64>| {
        let store = store.clone();
        async move {
            let opened = store.stream(digest, Some(part)).await;
            io::Result::Ok(opened.map_err(io::Error::other)?.map_err(io::Error::from))
        }
    };
    Ok(parts::answer(method, object, wanted, open))
}

/// The parts of the object that a request wants, when they are several; then [`parts::answer`] has the answer.
pub fn several(request: &HeaderMap, object: &Object) -> Option<Vec<Range<u64>>> {
    match wanted(request, object) {
        Wanted::Parts(parts) => Some(parts),
        Wanted::All
        | Wanted::Part(_)
        | Wanted::NotModified
        | Wanted::PreconditionFailed
        | Wanted::Unsatisfiable => None,
    }
}

/// What every answer about an object says.
pub(super) fn common(object: &Object) -> Builder {
    let response = Response::builder()
        .header(header::ETAG, object.etag())
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CACHE_CONTROL, object.caching.as_header());
    match object.modified {
        None => response,
        Some(modified) => response.header(
            header::LAST_MODIFIED,
            httpdate::fmt_http_date(system_time(modified)),
        ),
    }
}

/// An answer without its body, and the part of the object that the body is, unless it is empty. Whoever wants several
/// gets the whole, as RFC 9110 §14.2 allows.
pub fn head(
    method: &Method,
    request: &HeaderMap,
    object: &Object,
) -> (Builder, Option<Range<u64>>) {
    let wanted = wanted(request, object);
    let mut response = common(object);
    let total = object.size_bytes;
    let (status, range) = match wanted {
        Wanted::NotModified => (StatusCode::NOT_MODIFIED, None),
        Wanted::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, None),
        Wanted::Unsatisfiable => {
            response = response.header(header::CONTENT_RANGE, format!("bytes */{total}"));
            (StatusCode::RANGE_NOT_SATISFIABLE, None)
        }
        Wanted::All | Wanted::Parts(_) => (StatusCode::OK, Some(0..total)),
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

/// Ranges in order are honoured. What is no byte range, ranges that overlap or stand in another order, and very many give
/// the whole object (RFC 9110 §14.2): such requests cost more than they save.
fn parse_range(text: &str, total: u64) -> Wanted {
    let Some(list) = text.strip_prefix("bytes=") else {
        return Wanted::All;
    };
    let mut parts: Vec<Range<u64>> = Vec::new();
    let mut is_in_order = true;
    for one in list.split(',') {
        let Some(part) = one_range(one, total) else {
            return Wanted::All;
        };
        if part.is_empty() {
            continue;
        }
        is_in_order &= parts.last().is_none_or(|last| last.end <= part.start);
        parts.push(part);
        if parts.len() > PARTS_MAX {
            return Wanted::All;
        }
    }
    match (parts.pop(), parts.is_empty()) {
        (None, _) => Wanted::Unsatisfiable,
        (Some(part), true) => Wanted::Part(part),
        (Some(last), false) if is_in_order => {
            parts.push(last);
            Wanted::Parts(parts)
        }
        (Some(_), false) => Wanted::All,
    }
}

/// `first-last`, `first-` or `-length`; empty when the object has none of it, none when it is no range.
fn one_range(text: &str, total: u64) -> Option<Range<u64>> {
    let (first, last) = text.trim().split_once('-')?;
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = match (first.trim().is_empty(), last.trim().is_empty()) {
        (true, true) => return None,
        (true, false) => total.saturating_sub(number(last)?)..total,
        (false, true) => number(first)?..total,
        (false, false) => {
            let (start, end) = (number(first)?, number(last)?);
            if start > end {
                return None;
            }
            start..end.saturating_add(1).min(total)
        }
    };
    Some(range)
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
            ("bytes=0-1,5-6", Wanted::Parts(vec![0..2, 5..7])),
            (
                "bytes=0-1, 2-6 ,90-",
                Wanted::Parts(vec![0..2, 2..7, 90..100]),
            ),
            ("bytes=0-1,500-600", Wanted::Part(0..2)),
            ("bytes=500-600,-0", Wanted::Unsatisfiable),
            ("bytes=0-1,x", Wanted::All),
            ("bytes=0-1,,5-6", Wanted::All),
            // They would send some bytes twice, or the last ones first.
            ("bytes=0-5,3-9", Wanted::All),
            ("bytes=5-6,0-1", Wanted::All),
            ("lines=0-1", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=0-18446744073709551615", Wanted::Part(0..100)),
        ] {
            assert_eq!(asked(&[(header::RANGE, range)]), expected, "{range}");
        }
    }

    #[test]
    fn very_many_ranges_are_the_whole() {
        let mut large = object();
        large.size_bytes = 1 << 20;
        let asked = |count: u64| {
            let ranges: Vec<String> = (0..count).map(|n| format!("{0}-{0}", 2 * n)).collect();
            let mut headers = HeaderMap::new();
            let text = format!("bytes={}", ranges.join(","));
            headers.insert(header::RANGE, text.parse().unwrap());
            several(&headers, &large).map(|parts| parts.len())
        };
        assert_eq!(asked(PARTS_MAX as u64), Some(PARTS_MAX));
        assert_eq!(asked(PARTS_MAX as u64 + 1), None);
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
        for (tag, expected) in [
            ("\"other\"", Wanted::All),
            (&etag, Wanted::Parts(vec![0..1, 4..5])),
        ] {
            let several = [(header::IF_RANGE, tag), (header::RANGE, "bytes=0-0,4-4")];
            assert_eq!(asked(&several), expected, "{tag}");
        }
        let date = httpdate::fmt_http_date(system_time(Timestamp::from_unix_secs(1_000_000)));
        assert_eq!(
            asked(&[(header::IF_MODIFIED_SINCE, &date)]),
            Wanted::NotModified
        );
    }
}
