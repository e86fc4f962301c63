//! A witness of transparency logs (C2SP `tlog-witness`), for third parties to run: it cosigns the heads of the
//! logs that it was told of, each only when it goes on from the one that it cosigned before.
//!
//! Nothing here belongs to one repository: a witness has its own keys, its own folder, and no part in anything
//! else. What it remembers is one head for each log (`folder.rs`); the rules are `repo_model::log::AddCheckpoint`.

mod folder;
#[cfg(test)]
mod tests;

pub use folder::{Folder, WitnessError, add_log, init};

use crate::app::now;
use crate::http::listen::{self, Limits};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use repo_model::Timestamp;
use repo_model::log::{
    AddCheckpoint, Checkpoint, MAX_REQUEST_BYTES, NodeHash, Refusal, SIZE_MEDIA_TYPE,
};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Connections at once.
const CONNECTIONS: usize = 256;
/// Longest that the body of a request may take.
const BODY_TIME: Duration = Duration::from_secs(10);
const TEXT: &str = "text/plain; charset=utf-8";

/// A witness, ready to answer.
#[derive(Debug)]
pub struct Witness {
    folder: Folder,
    /// By name of the log.
    logs: HashMap<String, Mutex<Log>>,
    /// New heads of one log that are cosigned in a minute, at most.
    per_minute: u32,
}

/// What is known of one log. Locked from the look at a request to the durable head.
#[derive(Debug)]
struct Log {
    cosigned: Option<(u64, NodeHash)>,
    /// Heads that may be cosigned at once, in sixtieths.
    allowance: i64,
    filled_at: Timestamp,
}

/// Why a request was not answered with cosignatures.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The log asks too often; to be tried again later.
    #[error("more than {per_minute} heads of this log in a minute")]
    TooMany {
        /// The limit.
        per_minute: u32,
    },
    /// The witness cannot remember it, so it says nothing. Ours; to be tried again later.
    #[error(transparent)]
    Folder(#[from] WitnessError),
}

impl Witness {
    /// Opens the folder of a witness; nobody else may use it meanwhile.
    ///
    /// * `per_minute`: new heads of one log that are cosigned in a minute at most, as many at once after a pause.
    pub fn open(folder: Folder, per_minute: u32) -> Result<Self, WitnessError> {
        let mut logs = HashMap::new();
        for key in folder.log_keys() {
            let cosigned = folder.head(key.name())?.map(|head| (head.size, head.root));
            let log = Log {
                cosigned,
                allowance: i64::from(per_minute) * 60,
                filled_at: now(),
            };
            logs.insert(key.name().to_owned(), Mutex::new(log));
        }
        Ok(Self {
            folder,
            logs,
            per_minute,
        })
    }

    /// Its folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Answers a request at `now`: the signature lines. Blocking; the head is on disk before this returns.
    ///
    /// Anybody can send the head again that was cosigned last: it costs the log nothing of its allowance, and the
    /// disk no write.
    fn add(&self, body: &[u8], now: Timestamp) -> Result<String, Unanswered> {
        let request = AddCheckpoint::parse(body)?;
        let claimed: Checkpoint = request.checkpoint.text.parse().map_err(Refusal::from)?;
        let origin = claimed.origin;
        let Some(log) = self.logs.get(&origin) else {
            return Err(Refusal::UnknownLog { origin }.into());
        };
        let mut log = locked(log);
        let cosigned = log.cosigned;
        let head = request.judge(self.folder.log_keys(), |_| cosigned)?;
        let is_new = cosigned != Some((head.size, head.root));
        if is_new {
            log.take(self.per_minute, now)?;
            self.folder.keep(&head, &request.checkpoint)?;
            log.cosigned = Some((head.size, head.root));
        }
        drop(log);
        let mut lines = String::new();
        for key in self.folder.keys() {
            let line = key.sign(&request.checkpoint.text, now);
            // Writing into a String cannot fail.
            let _ = write!(lines, "{}", line.map_err(WitnessError::Key)?);
        }
        if is_new {
            tracing::info!(
                log.origin = head.origin,
                log.size = head.size,
                "cosigned {} at {} entries",
                head.origin,
                head.size
            );
        }
        Ok(lines)
    }
}

/// Nothing that holds the lock can panic.
fn locked(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    fn take(&mut self, per_minute: u32, now: Timestamp) -> Result<(), Unanswered> {
        let per_minute_wide = i64::from(per_minute);
        // A clock that was set back gives nothing and takes nothing.
        let passed = now
            .unix_secs()
            .saturating_sub(self.filled_at.unix_secs())
            .clamp(0, 60);
        self.allowance = (self.allowance + passed * per_minute_wide).min(per_minute_wide * 60);
        self.filled_at = now;
        match self.allowance >= 60 {
            true => {
                self.allowance -= 60;
                Ok(())
            }
            false => Err(Unanswered::TooMany { per_minute }),
        }
    }
}

/// `GET /` and `POST /add-checkpoint`.
pub fn router(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/", get(about))
        .route("/add-checkpoint", post(add_checkpoint))
        .with_state(witness)
}

/// Serves until `stop` is cancelled, then until the last running request has its answer.
pub async fn serve(witness: Witness, listener: TcpListener, stop: CancellationToken) {
    let router = router(Arc::new(witness));
    listen::serve(listener, router, Limits::of(CONNECTIONS), stop).await;
}

/// `GET /`: who this is, for people.
async fn about(State(witness): State<Arc<Witness>>) -> Response {
    let mut text = "A witness of transparency logs (C2SP tlog-witness). Its keys:\n".to_owned();
    for key in witness.folder.keys() {
        let _ = writeln!(text, "{}", key.public());
    }
    let _ = writeln!(text, "It watches {} logs.", witness.logs.len());
    ([(header::CONTENT_TYPE, TEXT)], text).into_response()
}

/// `POST /add-checkpoint`: cosignatures, or why not.
async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: Body) -> Response {
    let read = axum::body::to_bytes(body, MAX_REQUEST_BYTES);
    let body = match tokio::time::timeout(BODY_TIME, read).await {
        Err(_) => return words(StatusCode::REQUEST_TIMEOUT, "the body took too long"),
        Ok(Err(_)) => return words(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long"),
        Ok(Ok(body)) => body,
    };
    let answered = tokio::task::spawn_blocking(move || witness.add(&body, now())).await;
    match answered {
        Ok(Ok(lines)) => ([(header::CONTENT_TYPE, TEXT)], lines).into_response(),
        Ok(Err(unanswered)) => refused(&unanswered),
        Err(error) => {
            tracing::error!(%error, "a request broke off: {error}");
            words(StatusCode::INTERNAL_SERVER_ERROR, "the witness failed")
        }
    }
}

fn refused(unanswered: &Unanswered) -> Response {
    let refusal = match unanswered {
        Unanswered::Refused(refusal) => refusal,
        Unanswered::TooMany { .. } => {
            let retry = [(header::RETRY_AFTER, "10")];
            let words = words(StatusCode::TOO_MANY_REQUESTS, &unanswered.to_string());
            return (retry, words).into_response();
        }
        Unanswered::Folder(error) => {
            let cause = crate::jobs::chain(error);
            tracing::error!(error = cause, "a head is not cosigned: {cause}");
            return words(StatusCode::INTERNAL_SERVER_ERROR, "the witness failed");
        }
    };
    if refusal.is_alarm() {
        tracing::error!(
            alarm = "log-forked",
            "ALARM: a head that its log signed is not cosigned: {refusal}"
        );
    } else {
        tracing::debug!("not cosigned: {refusal}");
    }
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    match refusal.size() {
        Some(size) => {
            let headers = [(header::CONTENT_TYPE, SIZE_MEDIA_TYPE)];
            (status, headers, format!("{size}\n")).into_response()
        }
        None => words(status, &crate::jobs::chain(refusal)),
    }
}

fn words(status: StatusCode, text: &str) -> Response {
    let headers = [(header::CONTENT_TYPE, TEXT)];
    (status, headers, format!("{text}\n")).into_response()
}
