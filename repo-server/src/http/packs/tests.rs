//! What the server does when it cannot make a pack.

use super::*;
use crate::db::DbError;
use axum::body::to_bytes;
use repo_model::config::Config;
use tokio_util::sync::CancellationToken;

/// A server with one release whose documents are lost.
pub(super) async fn app(dir: &std::path::Path) -> App {
    let policy = dir.join("policy.toml");
    let rules = "version = 1\nmin_rebuilders = 0\nmin_operators = 0\nrequire_provenance = false\nsbom_formats = []\n";
    std::fs::write(&policy, rules).unwrap();
    let text = format!(
        "[server]\npublic_url = \"http://127.0.0.1:9\"\ndata_dir = \"{}\"\npolicy_file = \"{}\"\n\n[[repo]]\nname = \"base\"\narches = [\"x86_64\"]\n",
        dir.join("data").display(),
        policy.display()
    );
    let config = Config::read(&text, []).unwrap();
    let app = App::open(config, CancellationToken::new()).await.unwrap();
    app.db
        .write(|tx| {
            let digest = FileDigest::of(b"lost").to_hex();
            tx.execute("INSERT INTO releases VALUES (1, 1, ?1)", [digest])?;
            Ok::<_, DbError>(())
        })
        .await
        .unwrap();
    app
}

async fn ask(app: &App, method: Method) -> Result<Response, ApiError> {
    get(
        State(app.clone()),
        method,
        Path("1".to_owned()),
        HeaderMap::new(),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_pack_too_many_is_sent_away_and_told_when_to_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let app = app(dir.path()).await;
    let places = app.packing.acquire_many(PACKING as u32).await.unwrap();
    let refused = ask(&app, Method::GET).await.unwrap_err();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let response = axum::response::IntoResponse::into_response(refused);
    assert_eq!(response.headers()[header::RETRY_AFTER], RETRY_AFTER);
    // What costs nothing is answered.
    let head = ask(&app, Method::HEAD).await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    drop(places);
    assert!(ask(&app, Method::GET).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_breaks_off_does_not_end_as_a_whole_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let app = app(dir.path()).await;
    let response = ask(&app, Method::GET).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(to_bytes(response.into_body(), usize::MAX).await.is_err());
    // Its place is free again.
    let places = app.packing.acquire_many(PACKING as u32).await.unwrap();
    drop(places);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_waited_for_once_and_gets_no_clean_end() {
    let (sender, pieces) = mpsc::channel(1);
    let (whole, is_whole) = oneshot::channel::<Whole>();
    let runtime = Handle::current();
    let writing = tokio::task::spawn_blocking(move || {
        let mut sending = Sending::new(sender, runtime, Duration::from_millis(20));
        let mut write = || sending.write(b"piece").map_err(|error| error.kind());
        let written = [write(), write()];
        let begun = std::time::Instant::now();
        drop(whole);
        sending.patience = Duration::from_secs(3_600);
        let again = sending.write(b"piece").map_err(|error| error.kind());
        (written, again, begun.elapsed())
    });
    let (written, again, waited) = writing.await.unwrap();
    let left: Result<usize, _> = Err(io::ErrorKind::BrokenPipe);
    assert_eq!(written, [Ok(5), left]);
    assert_eq!(again, left);
    assert!(waited < Duration::from_secs(60));
    assert!(
        to_bytes(Body::from_stream(sent(pieces, is_whole)), usize::MAX)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_whole_pack_ends_cleanly() {
    let (sender, pieces) = mpsc::channel(1);
    let (whole, is_whole) = oneshot::channel();
    sender.send(Bytes::from_static(b"piece")).await.unwrap();
    assert!(whole.send(Whole).is_ok());
    drop(sender);
    let body = Body::from_stream(sent(pieces, is_whole));
    assert_eq!(to_bytes(body, usize::MAX).await.unwrap(), "piece");
}
