//! Public keys and `.repo` files.

use super::error::ApiError;
use crate::app::App;
use crate::jobs::chain;
use crate::signer_link;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use hallmark_signer::client::ClientError;
use repo_model::ChannelName;
use repo_model::config::Config;
use repo_model::log::NoteError;
use repo_model::wire::signer::{Identity, KeyRole, KeyState, PublishedKey};
use std::fmt::Write as _;
use std::path::Path as FilePath;
use std::time::{Duration, Instant};

/// File name in the data directory.
const REMEMBERED: &str = "signer-identity.json";

/// The signer's public keys as they were seen last, so that clients get them while it is away.
pub fn remembered(data_dir: &FilePath) -> Option<Identity> {
    let json = std::fs::read(data_dir.join(REMEMBERED)).ok()?;
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
    let asked = ask(app).await.map_err(|error| {
        let message = match &error {
            ClientError::Unreachable { .. } => "the signer cannot be reached; try again later",
            ClientError::BadRequest { .. } => "the signer refuses to be asked by this server",
            ClientError::Refused { .. }
            | ClientError::Failed { .. }
            | ClientError::Protocol { .. }
            | ClientError::Source(_) => "the signer gave no usable answer; try again later",
        };
        ApiError::unavailable(message, &error)
    })?;
    keep(app, asked.identity).await
}

/// What the signer says of itself.
struct Asked {
    identity: Identity,
    /// Why it signs nothing, in its own words.
    trouble: Option<String>,
}

async fn ask(app: &App) -> Result<Asked, ClientError> {
    let server = app.config.server.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let mut client = signer_link::connect(&server)?;
        let identity = client.identity()?;
        // Its keys it shows always. Anything else it answers only while a policy is in force.
        let trouble = match client.last_release() {
            Ok(_) => None,
            Err(ClientError::Failed { message }) => Some(message),
            Err(error) => return Err(error),
        };
        Ok(Asked { identity, trouble })
    });
    asked.await.unwrap_or_else(|error| {
        let message = format!("it was not asked to the end: {error}");
        Err(ClientError::Failed { message })
    })
}

/// Remembers what is new.
async fn keep(app: &App, identity: Identity) -> Result<Identity, ApiError> {
    let known = app.identity.read().ok().and_then(|known| known.clone());
    if known.as_ref() == Some(&identity) {
        return Ok(identity);
    }
    let (dir, new) = (app.config.server.data_dir.clone(), identity.clone());
    let kept = tokio::task::spawn_blocking(move || remember(&dir, &new)).await;
    match kept {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "cannot remember the signer's keys: {error}"),
        Err(error) => return Err(ApiError::internal(&error)),
    }
    if let Ok(mut remembered) = app.identity.write() {
        *remembered = Some(identity.clone());
    }
    Ok(identity)
}

/// Whole or not at all: what is read at the next start was written to its end.
fn remember(data_dir: &FilePath, identity: &Identity) -> std::io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(data_dir)?;
    serde_json::to_writer_pretty(&mut file, identity)?;
    file.as_file().sync_all()?;
    file.persist(data_dir.join(REMEMBERED))?;
    std::fs::File::open(data_dir)?.sync_all()
}

/// How the signer was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    at: Instant,
    /// What it said.
    pub state: SignerState,
    /// Whether it judges by another policy than the server: its version.
    pub other_policy: Option<u64>,
}

impl Seen {
    /// Whether it shows its keys, whatever it signs.
    pub fn answers(&self) -> bool {
        match self.state {
            SignerState::Signs | SignerState::SignsNothing(_) => true,
            SignerState::Refuses(_) | SignerState::Unreachable(_) => false,
        }
    }
}

/// What the signer says when it is asked after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignerState {
    /// It signs.
    Signs,
    /// It answers and signs nothing: why.
    SignsNothing(String),
    /// It answers that it may not be asked, or makes no sense: its words.
    Refuses(String),
    /// It does not answer: why.
    Unreachable(String),
}

impl From<&Result<Asked, ClientError>> for SignerState {
    fn from(asked: &Result<Asked, ClientError>) -> Self {
        match asked {
            Ok(Asked { trouble: None, .. }) => Self::Signs,
            Ok(Asked {
                trouble: Some(why), ..
            }) => Self::SignsNothing(why.clone()),
            Err(error @ ClientError::Unreachable { .. }) => Self::Unreachable(chain(error)),
            Err(error) => Self::Refuses(chain(error)),
        }
    }
}

/// An answer is good for so long: whoever asks the server cannot make it ask the signer more often.
const FRESH: Duration = Duration::from_secs(5);

/// How the signer is, or was a few seconds ago. One question at a time.
pub async fn seen(app: &App) -> Seen {
    let mut last = app.signer_seen.lock().await;
    if let Some(seen) = last.clone().filter(|seen| seen.at.elapsed() < FRESH) {
        return seen;
    }
    let asked = ask(app).await;
    let state = SignerState::from(&asked);
    let other = |identity: &Identity| {
        (identity.policy != app.policy_digest).then_some(identity.policy_version)
    };
    let seen = Seen {
        at: Instant::now(),
        state,
        other_policy: asked.as_ref().ok().and_then(|asked| other(&asked.identity)),
    };
    if let Ok(asked) = asked
        && let Err(error) = keep(app, asked.identity).await
    {
        tracing::warn!("the signer's keys are not kept: {}", error.message());
    }
    let before = last.replace(seen.clone());
    tell(app, before.as_ref(), &seen);
    seen
}

/// Logs what is wrong with the signer now and was not, or was another thing, before.
fn tell(app: &App, before: Option<&Seen>, seen: &Seen) {
    let (before_state, before_policy) = match before {
        Some(before) => (Some(&before.state), before.other_policy),
        None => (None, None),
    };
    if before_state != Some(&seen.state) {
        match &seen.state {
            SignerState::Signs => {}
            SignerState::SignsNothing(why) => {
                tracing::error!(signer.why = why, "the signer signs nothing: {why}");
            }
            SignerState::Refuses(why) | SignerState::Unreachable(why) => {
                tracing::error!(signer.why = why, "the signer cannot be used: {why}");
            }
        }
    }
    if let Some(version) = seen.other_policy
        && before_policy != Some(version)
    {
        let ours = app.policy.version;
        tracing::warn!(
            policy.server = ours,
            policy.signer = version,
            "the signer judges by another policy (version {version}) than the server (version {ours}): \
             restart whichever has the old one"
        );
    }
}

/// `GET /keys/{name}`.
pub async fn key(State(app): State<App>, Path(name): Path<String>) -> Result<Response, ApiError> {
    let identity = identity(&app).await?;
    if name == "keys.json" {
        return Ok(Json(identity.keys).into_response());
    }
    if name == "log-keys.json" {
        return Ok(Json(identity.log_keys).into_response());
    }
    let text = match (&*name, &app.policy.witnesses) {
        // What to put beside `log.pub`, if whoever reads it finds these witnesses good enough.
        ("witnesses", Some(policy)) => policy.to_string(),
        _ => key_file(&identity, &name).map_err(|error| ApiError::internal(&error))?,
    };
    if text.is_empty() {
        return Err(ApiError::not_found(format!("there is no key {name}")).hint(
            "keys: RPM-GPG-KEY, RPM-GPG-KEY-packages, RPM-GPG-KEY-metadata, RPM-GPG-KEY-pqc, \
             RPM-GPG-KEY-revoked, RPM-GPG-KEY-revoked-pqc, statement.pub, log.pub, log-pqc.pub, witnesses, \
             trusted_root.json, keys.json and what that lists (LABEL.asc, LABEL.pub), log-keys.json",
        ));
    }
    Ok(text_answer(text))
}

/// Names of the files in `/keys/` that are not named after one key.
pub const KEY_FILES: &[&str] = &[
    "RPM-GPG-KEY",
    "RPM-GPG-KEY-packages",
    "RPM-GPG-KEY-metadata",
    "RPM-GPG-KEY-revoked",
    "RPM-GPG-KEY-packages-pqc",
    "RPM-GPG-KEY-metadata-pqc",
    "RPM-GPG-KEY-pqc",
    "RPM-GPG-KEY-revoked-pqc",
    "statement.pub",
    "log.pub",
    "log-pqc.pub",
    "trusted_root.json",
];

/// A file in `/keys/`; empty when there is none of this name.
pub fn key_file(identity: &Identity, name: &str) -> Result<String, NoteError> {
    Ok(match name {
        // What `gpgkey=` names: clients import every key of the file, so that they have the next ones before
        // these sign, and can check what the retired ones signed.
        "RPM-GPG-KEY" => format!(
            "{}{}",
            identity.certificates(KeyRole::Package).concat(),
            identity.certificates(KeyRole::Metadata).concat()
        ),
        "RPM-GPG-KEY-packages" => identity.certificates(KeyRole::Package).concat(),
        "RPM-GPG-KEY-metadata" => identity.certificates(KeyRole::Metadata).concat(),
        "RPM-GPG-KEY-revoked" => revoked(identity, |role| !role.is_post_quantum()),
        // Apart from the others: gpg and older rpm refuse a whole file that has one.
        "RPM-GPG-KEY-packages-pqc" => identity.certificates(KeyRole::PackagePqc).concat(),
        "RPM-GPG-KEY-metadata-pqc" => identity.certificates(KeyRole::MetadataPqc).concat(),
        "RPM-GPG-KEY-pqc" => format!(
            "{}{}",
            identity.certificates(KeyRole::PackagePqc).concat(),
            identity.certificates(KeyRole::MetadataPqc).concat()
        ),
        "RPM-GPG-KEY-revoked-pqc" => revoked(identity, KeyRole::is_post_quantum),
        "statement.pub" => identity.statement_key.clone(),
        "log.pub" if !identity.log_key.is_empty() => format!("{}\n", identity.log_key),
        "log-pqc.pub" => {
            let key = identity.log_cosigner_key.as_ref();
            key.map_or_else(String::new, |key| format!("{key}\n"))
        }
        "trusted_root.json" if !identity.log_key.is_empty() => {
            crate::log::trusted_root(&identity.log_key.parse()?)
        }
        // One key by its label: what a retired one signed is still to be checked.
        other => one_key(identity, other).unwrap_or_default(),
    })
}

fn one_key(identity: &Identity, name: &str) -> Option<String> {
    let (label, kind) = name.rsplit_once('.')?;
    let found = identity.keys.iter().find(|key| key.label == label)?;
    let wanted = match found.role {
        KeyRole::Statement => "pub",
        KeyRole::Package | KeyRole::Metadata | KeyRole::PackagePqc | KeyRole::MetadataPqc => "asc",
    };
    (kind == wanted).then(|| found.public.clone())
}

/// Revoked certificates of these roles; a revoked statement key has nothing that could say so.
fn revoked(identity: &Identity, wanted: impl Fn(KeyRole) -> bool) -> String {
    let is_wanted = |key: &&PublishedKey| {
        key.state == KeyState::Revoked && key.openpgp_version.is_some() && wanted(key.role)
    };
    let all = identity.keys.iter().filter(is_wanted);
    all.map(|key| key.public.as_str()).collect()
}

/// `…/repodata/repomd.xml.key`, which zypper looks for.
pub async fn metadata_key(app: &App) -> Result<Response, ApiError> {
    let identity = identity(app).await?;
    Ok(text_answer(
        identity.certificates(KeyRole::Metadata).concat(),
    ))
}

/// `GET /{channel}.repo`.
pub async fn repo_file(app: &App, channel: &ChannelName) -> Result<Response, ApiError> {
    if !app.config.server.channels.contains(channel) {
        return Err(ApiError::not_found(format!(
            "there is no channel {channel}"
        )));
    }
    Ok(text_answer(repo_file_text(
        &app.config,
        channel,
        app.fleet.snapshot().has_mirrors,
    )))
}

/// The `.repo` file of a channel: both signatures are checked. `by_metalink`: clients are sent to mirrors.
pub fn repo_file_text(config: &Config, channel: &ChannelName, by_metalink: bool) -> String {
    let server = &config.server;
    let (title, url) = (&server.title, &server.public_url);
    let mut out = String::new();
    for repo in &config.repo {
        let name = &repo.name;
        let place = format!("{url}/{channel}/{name}/$basearch");
        let place = match by_metalink {
            // Its URL stays when mirrors come and go: dnf keys its caches by it.
            true => format!("metalink={place}/metalink.xml"),
            false => format!("baseurl={place}/"),
        };
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            "[hallmark-{channel}-{name}]\n\
             name={title} {channel} {name}\n\
             {place}\n\
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
