//! Public keys and `.repo` files.

use super::error::ApiError;
use crate::app::App;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use hallmark_signer::client::Client;
use repo_model::ChannelName;
use repo_model::wire::signer::Identity;
use std::fmt::Write as _;
use std::path::Path as FilePath;

/// The signer's public keys as they were seen last, so that clients get them while it is away.
pub fn remembered(data_dir: &FilePath) -> Option<Identity> {
    let json = std::fs::read(data_dir.join("signer-identity.json")).ok()?;
    serde_json::from_slice(&json).ok()
}

/// The signer's public keys: remembered, or asked for.
pub async fn identity(app: &App) -> Result<Identity, ApiError> {
    if let Some(identity) = app
        .identity
        .read()
        .ok()
        .and_then(|identity| identity.clone())
    {
        return Ok(identity);
    }
    refresh(app).await
}

/// Asks the signer and remembers its answer.
pub async fn refresh(app: &App) -> Result<Identity, ApiError> {
    let socket = app.config.server.signer_socket.clone();
    let asked = tokio::task::spawn_blocking(move || Client::connect(&socket)?.identity()).await;
    let identity = asked
        .map_err(|error| ApiError::internal(&error))?
        .map_err(|error| {
            ApiError::unavailable("the signer cannot be reached; try again later", &error)
        })?;
    if let Ok(json) = serde_json::to_vec_pretty(&identity) {
        let path = app.config.server.data_dir.join("signer-identity.json");
        if let Err(error) = tokio::fs::write(&path, json).await {
            tracing::warn!(%error, "cannot remember the signer's keys: {error}");
        }
    }
    if let Ok(mut remembered) = app.identity.write() {
        *remembered = Some(identity.clone());
    }
    Ok(identity)
}

/// `GET /keys/{name}`.
pub async fn key(State(app): State<App>, Path(name): Path<String>) -> Result<Response, ApiError> {
    let identity = identity(&app).await?;
    let text = match name.as_str() {
        // What `gpgkey=` names: clients import every key of the file.
        "RPM-GPG-KEY" => format!(
            "{}{}",
            identity.package_certificate, identity.metadata_certificate
        ),
        "RPM-GPG-KEY-packages" => identity.package_certificate,
        "RPM-GPG-KEY-metadata" => identity.metadata_certificate,
        // Apart from the others: gpg and older rpm cannot read them.
        "RPM-GPG-KEY-packages-pqc" => identity
            .package_pqc_certificate
            .ok_or_else(|| none(&name))?,
        "RPM-GPG-KEY-metadata-pqc" => identity
            .metadata_pqc_certificate
            .ok_or_else(|| none(&name))?,
        "statement.pub" => identity.statement_key,
        _ => return Err(none(&name)),
    };
    Ok(text_answer(text))
}

fn none(name: &str) -> ApiError {
    ApiError::not_found(format!("there is no key {name}")).hint(
        "keys: RPM-GPG-KEY, RPM-GPG-KEY-packages, RPM-GPG-KEY-metadata, statement.pub; the two in the middle with -pqc if the signer makes post-quantum signatures",
    )
}

/// `…/repodata/repomd.xml.key`, which zypper looks for.
pub async fn metadata_key(app: &App) -> Result<Response, ApiError> {
    Ok(text_answer(identity(app).await?.metadata_certificate))
}

/// `GET /{channel}.repo`.
pub async fn repo_file(app: &App, channel: &ChannelName) -> Result<Response, ApiError> {
    if !app.config.server.channels.contains(channel) {
        return Err(ApiError::not_found(format!(
            "there is no channel {channel}"
        )));
    }
    Ok(text_answer(repo_file_text(app, channel)))
}

/// The `.repo` file of a channel: both signatures are checked.
pub fn repo_file_text(app: &App, channel: &ChannelName) -> String {
    let server = &app.config.server;
    let (title, url) = (&server.title, &server.public_url);
    let mut out = String::new();
    for repo in &app.config.repo {
        let name = &repo.name;
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            "[hallmark-{channel}-{name}]\n\
             name={title} {channel} {name}\n\
             baseurl={url}/{channel}/{name}/$basearch/\n\
             enabled=1\n\
             gpgcheck=1\n\
             repo_gpgcheck=1\n\
             gpgkey={url}/keys/RPM-GPG-KEY\n\n"
        );
    }
    out
}

fn text_answer(text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
