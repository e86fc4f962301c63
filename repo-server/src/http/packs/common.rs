//! `/{channel}/{repo}/{arch}/evidence.tar.zst`: what the evidence of all packages of a repository has in common, so that
//! copies of it verify without the server ([`mirrors::evidence::beside`]). It moves with each release and with the log, and
//! is made once for each such state, however many ask.

use super::super::content::lists;
use crate::app::App;
use crate::db::{self, DbError};
use crate::http::error::ApiError;
use crate::jobs::JobError;
use crate::layout;
use crate::log::{CHECKPOINT, directory, key};
use crate::status;
use crate::stored::{RELEASES, Stored};
use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use mirrors::evidence::beside::{MEDIA_TYPE, write_common};
use mirrors::evidence::pack::PackError;
use repo_model::{FileDigest, RepoName};
use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::NamedTempFile;
use tokio::sync::Semaphore;
use tokio_util::io::ReaderStream;

/// A request that needs a new one waits this long for its turn.
const TURN_MAX: Duration = Duration::from_secs(20);
/// Seconds after which a client that had no turn may ask again.
const RETRY_AFTER: &str = "10";
/// Bytes that are read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// The packs as they were made last, on disk: memory need not hold the lists of a repository.
#[derive(Debug)]
pub struct CommonPacks {
    /// One is made at a time: it costs a processor, and memory for the lists.
    making: Semaphore,
    kept: Mutex<HashMap<RepoName, Kept>>,
}

impl Default for CommonPacks {
    fn default() -> Self {
        Self {
            making: Semaphore::new(1),
            kept: Mutex::default(),
        }
    }
}

/// One pack; its file goes when the last reader has opened it.
#[derive(Debug, Clone)]
struct Kept {
    state: FileDigest,
    file: Arc<NamedTempFile>,
    size_bytes: u64,
}

impl CommonPacks {
    fn of(&self, repo: &RepoName, state: FileDigest) -> Option<Kept> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(repo).filter(|kept| kept.state == state).cloned()
    }

    fn keep(&self, repo: RepoName, new: Kept) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(repo, new);
    }
}

/// Answers with the pack of this repository.
pub async fn serve(
    app: &App,
    method: &Method,
    request: &HeaderMap,
    repo: &RepoName,
) -> Result<Response, ApiError> {
    let state = state(app).await?;
    let etag = format!("\"{state}\"");
    // Weak: what moves while the pack is being made may be in it.
    let response = Response::builder()
        .header(header::ETAG, format!("W/{etag}"))
        .header(header::CACHE_CONTROL, "no-cache");
    let known = request.get(header::IF_NONE_MATCH);
    let response = if known.is_some_and(|list| lists(list, &etag)) {
        let response = response.status(StatusCode::NOT_MODIFIED);
        response.body(Body::empty())
    } else if method == Method::HEAD {
        let response = response.header(header::CONTENT_TYPE, MEDIA_TYPE);
        response.body(Body::empty())
    } else {
        let kept = match app.common_packs.of(repo, state) {
            Some(kept) => kept,
            None => made(app, repo).await?,
        };
        let file = tokio::fs::File::open(kept.file.path()).await;
        let file = file.map_err(|error| ApiError::internal(&error))?;
        let stream = ReaderStream::with_capacity(file, CHUNK_BYTES);
        let response = response
            .header(header::CONTENT_TYPE, MEDIA_TYPE)
            .header(header::CONTENT_LENGTH, kept.size_bytes);
        response.body(Body::from_stream(stream))
    };
    response.map_err(|error| ApiError::internal(&error))
}

/// All that a pack depends on, beside its repository.
async fn state(app: &App) -> Result<FileDigest, ApiError> {
    let log = directory(&app.config.server.data_dir);
    let parts = app.db.read(move |connection| {
        let releases = status::releases(connection, RELEASES)?;
        let heads = (
            db::log::published_checkpoint(connection)?,
            db::log::witnessed(connection)?,
        );
        // Until there is one it is as good as empty.
        let served = std::fs::read(log.join(CHECKPOINT)).unwrap_or_default();
        Ok::<_, DbError>((releases, heads, served))
    });
    let parts = serde_json::to_vec(&parts.await?);
    Ok(FileDigest::of(
        &parts.map_err(|error| ApiError::internal(&error))?,
    ))
}

/// Makes the pack, unless somebody else just did.
async fn made(app: &App, repo: &RepoName) -> Result<Kept, ApiError> {
    let (app, repo) = (app.clone(), repo.clone());
    // A task of its own: it ends, and gives its turn back, also when the client has gone.
    let making = tokio::spawn(async move {
        let making = app.common_packs.making.acquire();
        let Ok(Ok(_turn)) = tokio::time::timeout(TURN_MAX, making).await else {
            let message = "too many such answers are under way";
            let busy = ApiError::client(StatusCode::SERVICE_UNAVAILABLE, "busy", message);
            return Err(busy
                .hint("ask again in a few seconds")
                .header(header::RETRY_AFTER, RETRY_AFTER));
        };
        let state = state(&app).await?;
        match app.common_packs.of(&repo, state) {
            Some(kept) => Ok(kept),
            None => make(&app, repo, state).await,
        }
    });
    making.await.map_err(|error| ApiError::internal(&error))?
}

async fn make(app: &App, repo: RepoName, state: FileDigest) -> Result<Kept, ApiError> {
    let key = key(app).await?;
    let data_dir = app.config.server.data_dir.clone();
    let (of, scratch) = (repo.clone(), app.clone());
    let packed = app.db.read(move |connection| {
        let stored = Stored {
            connection,
            objects: layout::objects(&data_dir),
            log: directory(&data_dir),
            key,
        };
        let packed = write_common(&stored, &of)?;
        let mut file = scratch.scratch_file()?;
        file.write_all(&packed)?;
        Ok::<_, JobError>((file, packed.len() as u64))
    });
    let (file, size_bytes) = match packed.await {
        Ok(packed) => packed,
        Err(JobError::Pack(PackError::Missing(why))) => return Err(ApiError::not_found(why)),
        Err(error) => return Err(error.into()),
    };
    let new = Kept {
        state,
        file: Arc::new(file),
        size_bytes,
    };
    app.common_packs.keep(repo, new.clone());
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::super::tests::app;
    use super::*;
    use axum::body::to_bytes;
    use repo_model::Timestamp;
    use repo_model::dsse::StatementKey;
    use repo_model::log::{LogKey, SignatureKind};
    use repo_model::release::{ReleaseDocument, SCHEMA};
    use repo_model::statement::{RELEASE, Statement, Subject};
    use serde_json::json;

    /// The same server, with the document of its release and the signer's keys.
    async fn whole_app(dir: &std::path::Path) -> App {
        let app = app(dir).await;
        let document = ReleaseDocument {
            schema: SCHEMA.to_owned(),
            id: "1".parse().unwrap(),
            previous: None,
            issued: Timestamp::from_unix_secs(1),
            repos: Vec::new(),
        };
        let subject = vec![Subject::file("packages.list", FileDigest::of(b""))];
        let key = StatementKey::from_seed(&[1; 32]).unwrap();
        let signed = Statement::new(RELEASE, subject, document).sign(&key);
        let envelope = app.store.put(signed.unwrap().to_json()).await.unwrap();
        let set = app.db.write(move |tx| {
            tx.execute("UPDATE releases SET envelope = ?1", [envelope.to_hex()])?;
            Ok::<_, DbError>(())
        });
        set.await.unwrap();
        let log = LogKey::from_seed("log.example", SignatureKind::Log, &[1; 32]).unwrap();
        let identity = json!({
            "package_certificate": "", "metadata_certificate": "", "statement_key": key.public().to_pem(),
            "log_key": log.public().to_string(), "verifier_id": "https://signer.example",
            "policy": FileDigest::of(b""), "policy_version": 1
        });
        *app.identity.write().unwrap() = Some(serde_json::from_value(identity).unwrap());
        app
    }

    /// Status, `ETag` and body.
    async fn ask(app: &App, known: Option<&str>) -> (StatusCode, String, Vec<u8>) {
        let mut request = HeaderMap::new();
        if let Some(known) = known {
            request.insert(header::IF_NONE_MATCH, known.parse().unwrap());
        }
        let repo = "base".parse().unwrap();
        let response = serve(app, &Method::GET, &request, &repo).await.unwrap();
        let (status, etag) = (response.status(), response.headers()[header::ETAG].clone());
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, etag.to_str().unwrap().to_owned(), body.to_vec())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pack_is_made_once_for_each_state_of_the_log_however_many_ask() {
        let dir = tempfile::tempdir().unwrap();
        let app = whole_app(dir.path()).await;
        let (status, etag, packed) = ask(&app, None).await;
        assert_eq!(status, StatusCode::OK);
        assert!(!packed.is_empty());
        // Somebody holds the only turn, and it costs nobody anything.
        let turn = app.common_packs.making.acquire().await.unwrap();
        assert_eq!(
            ask(&app, None).await,
            (status, etag.clone(), packed.clone())
        );
        let (status, again, body) = ask(&app, Some(&etag)).await;
        assert_eq!((status, &again), (StatusCode::NOT_MODIFIED, &etag));
        assert!(body.is_empty());
        drop(turn);

        let log = directory(&app.config.server.data_dir);
        std::fs::create_dir_all(&log).unwrap();
        std::fs::write(log.join(CHECKPOINT), "a head").unwrap();
        let (status, moved, body) = ask(&app, Some(&etag)).await;
        assert_eq!(status, StatusCode::OK);
        assert_ne!(moved, etag);
        assert_ne!(body, packed);
    }
}
