//! Every error as an HTTP answer. Status codes stand in one `match` a type, without `_`, so a new
//! variant asks for a decision; a 5xx body tells nothing, the log tells all.

use crate::db::DbError;
use crate::decisions::DecisionError;
use crate::intake::IntakeError;
use crate::jobs::{JobError, chain};
use crate::store::StoreError;
use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{HeaderName, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use repo_model::wire::ErrorBody;
use std::io::{self, ErrorKind};

/// An error on its way to a client.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: Option<String>,
    header: Option<(HeaderName, String)>,
}

impl ApiError {
    /// The client's fault, in one sentence.
    pub fn client(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            hint: None,
            header: None,
        }
    }

    /// Nothing is known under this name.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::client(StatusCode::NOT_FOUND, "not-found", message)
    }

    /// What to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// One header of the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.header = Some((name, value.into()));
        self
    }

    /// No token, or one that does not allow this.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::client(StatusCode::UNAUTHORIZED, "unauthorized", message)
            .hint("send `Authorization: Bearer TOKEN`; `hallmark token create` makes one")
            .header(WWW_AUTHENTICATE, "Bearer realm=\"hallmark\"")
    }

    /// Our fault; the cause goes to the log.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        let cause = chain(error);
        tracing::error!(error = cause, "request failed: {cause}");
        if is_full(error) {
            return Self::client(
                StatusCode::INSUFFICIENT_STORAGE,
                "disk-full",
                "the server's disk is full, so nothing was stored: its operator has to make room, then send it again",
            );
        }
        Self::client(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server could not do it; trying again later is safe",
        )
    }

    /// Another party is not there; the cause goes to the log.
    pub fn unavailable(message: &str, error: &dyn std::error::Error) -> Self {
        let cause = chain(error);
        tracing::warn!(error = cause, "{message}: {cause}");
        Self::client(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do next, if that is known.
    pub fn next(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            error: self.message,
            code: self.code.to_owned(),
            hint: self.hint,
        };
        let mut response = (self.status, Json(body)).into_response();
        if let Some((name, value)) = self.header
            && let Ok(value) = value.parse()
        {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// Whether there was no room, somewhere down the causes.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>().map(io::Error::kind);
        let sqlite = error.downcast_ref::<rusqlite::Error>();
        let sqlite = sqlite.and_then(rusqlite::Error::sqlite_error_code);
        if matches!(io, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
            || sqlite == Some(rusqlite::ErrorCode::DiskFull)
        {
            return true;
        }
        // An I/O error that stands for another is described by that one, and has that one's causes.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .map(|inner| inner as &(dyn std::error::Error + 'static));
        next = inner.or_else(|| error.source());
    }
    false
}

/// A refusal of the framework's own (a number that is none, a body that does not parse or is too long, a
/// method that a path does not have) in the shape that all refusals have.
pub async fn as_json(response: Response) -> Response {
    const MAX_BYTES: usize = 16 << 10;
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), MAX_BYTES)
        .await
        .unwrap_or_default();
    let said = String::from_utf8_lossy(&body).trim().to_owned();
    let (code, hint) = match status {
        StatusCode::METHOD_NOT_ALLOWED => (
            "method",
            "the API's methods are in the protocol reference".to_owned(),
        ),
        StatusCode::PAYLOAD_TOO_LARGE => (
            "too-large",
            format!("JSON bodies may have up to {} bytes", super::MAX_JSON_BYTES),
        ),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (
            "media-type",
            "send `Content-Type: application/json`".to_owned(),
        ),
        _ => (
            "bad-request",
            "the protocol reference has an example of every request".to_owned(),
        ),
    };
    let message = if said.is_empty() {
        status.to_string()
    } else {
        said
    };
    ApiError::client(status, code, message)
        .hint(hint)
        .into_response()
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        if let DbError::Sqlite(rusqlite::Error::ToSqlConversionFailure(_)) = &error {
            // Numbers here end at 2^63; nothing is called by a larger one.
            return Self::not_found("there is nothing with this number");
        }
        Self::internal(&error)
    }
}

impl From<DecisionError> for ApiError {
    fn from(error: DecisionError) -> Self {
        let text = error.to_string();
        match error {
            DecisionError::NoBuild(_) => Self::not_found(text),
            DecisionError::Stage(_) => Self::client(StatusCode::CONFLICT, "wrong-stage", text).hint(
                "only builds that are held or under way can be tried again; what was rejected has to be built anew",
            ),
            DecisionError::TooLate { .. } => Self::client(StatusCode::CONFLICT, "wrong-stage", text)
                .hint("what is signed is taken back by a revocation in the policy"),
            DecisionError::BadReason { .. } => {
                Self::client(StatusCode::UNPROCESSABLE_ENTITY, "bad-reason", text)
                    .hint("say in a few words why; everybody sees it")
            }
            DecisionError::Db(error) => error.into(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Missing { digest } => {
                Self::not_found(format!("there is no object {digest}"))
            }
            StoreError::TooLarge { .. } | StoreError::Backend(_) | StoreError::Io(_) => {
                Self::internal(&error)
            }
        }
    }
}

impl From<JobError> for ApiError {
    fn from(error: JobError) -> Self {
        Self::internal(&error)
    }
}

impl From<IntakeError> for ApiError {
    fn from(error: IntakeError) -> Self {
        let text = chain(&error);
        let bad = StatusCode::UNPROCESSABLE_ENTITY;
        match &error {
            IntakeError::TooLarge { .. } => {
                Self::client(StatusCode::PAYLOAD_TOO_LARGE, "too-large", text)
                    .hint("the limit is `server.max_blob_bytes` in the server's configuration")
            }
            IntakeError::WrongDigest { .. } => {
                Self::client(StatusCode::BAD_REQUEST, "wrong-digest", text)
                    .hint("compute the file's SHA-256 anew and upload it again")
            }
            IntakeError::Gap { have, .. } => {
                Self::client(StatusCode::RANGE_NOT_SATISFIABLE, "gap", text)
                    .hint(format!("continue at byte {have}"))
                    .header(HeaderName::from_static("upload-offset"), have.to_string())
            }
            IntakeError::Range => Self::client(StatusCode::BAD_REQUEST, "bad-range", text)
                .hint("send the bytes that the range names, no more and no less"),
            IntakeError::Busy { .. } => Self::client(StatusCode::CONFLICT, "busy", text)
                .hint("wait a moment and ask for the blob again"),
            IntakeError::CutOff { have } => Self::client(StatusCode::BAD_REQUEST, "cut-off", text)
                .hint(format!("continue at byte {have}"))
                .header(HeaderName::from_static("upload-offset"), have.to_string()),
            IntakeError::Missing { digest, .. } => Self::client(bad, "blob-missing", text)
                .hint(format!("PUT it to /api/v1/blobs/{digest} first")),
            IntakeError::UnknownRepo { .. } => {
                Self::client(StatusCode::NOT_FOUND, "unknown-repo", text)
                    .hint("repositories are named in the server's configuration as [[repo]]")
            }
            IntakeError::PackageCount { .. } => Self::client(bad, "package-count", text)
                .hint("name every binary package of the build, and only those"),
            IntakeError::Rpm { .. } => Self::client(bad, "bad-rpm", text)
                .hint("check the file with `rpm -K --nosignature`; build or fetch it again"),
            IntakeError::Payload { .. } => {
                Self::client(bad, "bad-payload", text).hint("build or fetch the package again")
            }
            IntakeError::Lint { findings, .. } => {
                let all: Vec<_> = findings
                    .iter()
                    .filter(|f| f.is_error())
                    .map(|f| f.message.clone())
                    .collect();
                Self::client(bad, "lint", text).hint(all.join("; "))
            }
            IntakeError::Metadata { .. } => Self::client(bad, "bad-metadata", text)
                .hint("correct the field in the spec file and build again"),
            IntakeError::Mismatch(_) => Self::client(bad, "mismatch", text)
                .hint("upload the source package, all its packages and the buildinfo of one build"),
            IntakeError::BuildInfo(_) => Self::client(bad, "bad-buildinfo", text)
                .hint("`hallmark buildinfo` records one around a build"),
            IntakeError::Provenance => Self::client(bad, "bad-provenance", text)
                .hint("`hallmark buildinfo --key` writes one beside the buildinfo"),
            IntakeError::NevraTaken { .. } => Self::client(
                StatusCode::CONFLICT,
                "nevra-taken",
                text,
            )
            .hint(
                "the same name, version and release must not mean other bytes: raise the release",
            ),
            IntakeError::Store(_) | IntakeError::Db(_) | IntakeError::Spool(_) => {
                Self::internal(&error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_as_what_it_is() {
        let full = || io::Error::from_raw_os_error(28);
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        let sqlite = DbError::Sqlite(rusqlite::Error::SqliteFailure(code, None));
        let store = StoreError::Backend(object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(full()),
        });
        for error in [
            ApiError::from(StoreError::Io(full())),
            ApiError::from(store),
            ApiError::from(IntakeError::Spool(io::Error::other(full()))),
            ApiError::from(sqlite),
        ] {
            assert_eq!(
                error.status(),
                StatusCode::INSUFFICIENT_STORAGE,
                "{error:?}"
            );
            assert!(error.message().contains("disk is full"), "{error:?}");
        }
        let other = ApiError::from(StoreError::Io(io::Error::other("it broke")));
        assert_eq!(other.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!other.message().contains("broke"), "{other:?}");
    }
}
