//! Whether `/readyz` tells when nothing can be published.

use super::*;
use hallmark_signer::frame;
use repo_model::config::Config;
use repo_model::wire::signer::{Identity, Request, Response as Answer};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// A server whose signer, if there is one, listens at the path.
async fn app(dir: &Path) -> (App, PathBuf) {
    let policy = dir.join("policy.toml");
    let rules = "version = 1\nmin_rebuilders = 0\nmin_operators = 0\nrequire_provenance = false\nsbom_formats = []\n";
    std::fs::write(&policy, rules).unwrap();
    let socket = dir.join("signer.sock");
    let text = format!(
        "[server]\npublic_url = \"http://127.0.0.1:9\"\ndata_dir = \"{}\"\npolicy_file = \"{}\"\nsigner_socket = \"{}\"\n\n[[repo]]\nname = \"base\"\narches = [\"x86_64\"]\n",
        dir.join("data").display(),
        policy.display(),
        socket.display()
    );
    let config = Config::read(&text, []).unwrap();
    let app = App::open(config, CancellationToken::new()).await.unwrap();
    (app, socket)
}

/// Answers one connection: each request with the answer that `answer` gives.
fn signer(socket: &Path, answer: impl Fn(&Request) -> Answer + Send + 'static) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while let Ok(Some(json)) = frame::receive(&mut stream) {
            let request = serde_json::from_slice(&json).unwrap();
            frame::send(&mut stream, &answer(&request)).unwrap();
        }
    });
}

fn identity(app: &App) -> Identity {
    let json = serde_json::json!({
        "package_certificate": "", "metadata_certificate": "", "statement_key": "", "verifier_id": "https://s.example",
        "policy": app.policy_digest, "policy_version": 1,
    });
    serde_json::from_value(json).unwrap()
}

async fn told(app: &App) -> (StatusCode, serde_json::Value) {
    let answer = readyz(State(app.clone())).await;
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 16)
        .await
        .unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_without_a_policy_is_not_ready_although_it_answers_with_the_right_one() {
    for (last, status, policy) in [
        (Answer::LastRelease { last: None }, StatusCode::OK, "ok"),
        (
            Answer::Failed {
                message: "no policy is in force: targets.json is not there".to_owned(),
            },
            StatusCode::SERVICE_UNAVAILABLE,
            "none in force",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (app, socket) = app(dir.path()).await;
        let identity = identity(&app);
        signer(&socket, move |request| match request {
            Request::Identity => Answer::Identity(identity.clone()),
            _ => last.clone(),
        });
        let (found, parts) = told(&app).await;
        assert_eq!(found, status, "{parts}");
        assert_eq!(parts["signer"], "ok");
        assert_eq!(parts["storage"], "ok");
        let said = parts["policy"].as_str().unwrap();
        assert!(said.starts_with(policy), "{said}");
        assert!(!said.contains("targets.json"), "the log tells why: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_refuses_is_told_from_one_that_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let (app, socket) = app(dir.path()).await;
    signer(&socket, |_| Answer::BadRequest {
        message: "user id 61001 may not ask this signer".to_owned(),
    });
    let (status, parts) = told(&app).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let said = parts["signer"].as_str().unwrap();
    assert!(said.starts_with("refuses"), "{said}");
    assert_eq!(parts["policy"], "unknown");

    let away = tempfile::tempdir().unwrap();
    let (app, _) = self::app(away.path()).await;
    let (status, parts) = told(&app).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(parts["signer"], "unreachable");
}

#[test]
fn a_full_or_closed_disk_is_not_ready() {
    let mut found = rustix::fs::statvfs("/").unwrap();
    found.f_flag = StatVfsMountFlags::empty();
    found.f_frsize = 4_096;
    found.f_bavail = LEAST_FREE_BYTES / 4_096;
    (found.f_files, found.f_favail) = (0, 0);
    assert_eq!(judge(&found), Ok(()));
    found.f_files = 10;
    assert!(judge(&found).unwrap_err().contains("no more files"));
    found.f_favail = 1;
    found.f_bavail -= 1;
    assert!(judge(&found).unwrap_err().starts_with("full: 16773120 "));
    found.f_flag = StatVfsMountFlags::RDONLY;
    assert_eq!(judge(&found).unwrap_err(), "read-only");
}
