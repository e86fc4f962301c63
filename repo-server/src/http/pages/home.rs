//! `/`.

use super::glance::glance;
use super::{counts, error_page, html, site};
use crate::app::{App, now};
use crate::db::{self, DbError};
use crate::http::error::ApiError;
use crate::http::keys::repo_file_text;
use crate::log::{CHECKPOINT, directory};
use crate::status;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use repo_model::Timestamp;
use repo_model::wire::status::{ChannelStatus, ReleaseStatus};
use rusqlite::Connection;
use std::time::UNIX_EPOCH;
use web::{ChannelSetup, Command, HomeView, Link, StateView};

/// Releases that are listed.
const NEWEST: u32 = 5;

/// `GET /`.
pub async fn home(State(app): State<App>, headers: HeaderMap) -> Response {
    home_page(&app)
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn home_page(app: &App) -> Result<Response, ApiError> {
    let (channels, releases, pointed) = app.db.read(channels_and_releases).await?;
    let mut setups = Vec::new();
    for name in &app.config.server.channels {
        let Some(channel) = channels.iter().find(|channel| &channel.channel == name) else {
            continue;
        };
        let repos = pointed
            .iter()
            .find(|release| Some(release.id) == channel.release)
            .map_or(&[][..], |release| release.repos.as_slice());
        setups.push((
            channel,
            repos,
            commands(app, name.as_str()),
            repo_file_text(&app.config, name, app.fleet.snapshot().has_mirrors),
        ));
    }
    let setups: Vec<_> = setups
        .iter()
        .map(|(status, repos, commands, repo_file)| ChannelSetup {
            status,
            repos,
            commands,
            repo_file,
        })
        .collect();
    let links = [
        Link {
            href: "/api",
            label: "API",
            about: "everything on these pages as JSON",
        },
        Link {
            href: "/inside",
            label: "What is inside",
            about: "who ships a component, licences",
        },
        Link {
            href: "/keys/RPM-GPG-KEY",
            label: "Signing keys",
            about: "OpenPGP certificates of packages and metadata",
        },
        Link {
            href: "/keys/statement.pub",
            label: "Statement key",
            about: "verifies the signer's statements",
        },
        Link {
            href: "/metrics",
            label: "Metrics",
            about: "for Prometheus",
        },
    ];
    let log = super::log::head(app).await?;
    let seen = glance(app).await?;
    let view = HomeView {
        site: &site(app),
        channels: &setups,
        counts: counts(app).await?,
        state: StateView {
            releases: &releases,
            log: log.as_ref(),
            log_at: head_came_out(app).await,
            mirrors: &seen.mirrors,
            rebuilders: &seen.rebuilders,
            pairs: &seen.pairs,
            now: now(),
        },
        links: &links,
    };
    html(web::home(&view))
}

type Stand = (Vec<ChannelStatus>, Vec<ReleaseStatus>, Vec<ReleaseStatus>);

/// Channels, the newest releases, and those that channels point to.
fn channels_and_releases(connection: &Connection) -> Result<Stand, DbError> {
    let channels = db::channels::all(connection)?;
    let mut pointed = Vec::new();
    for channel in &channels {
        if let Some(release) = channel.release {
            pointed.extend(status::release(connection, release)?);
        }
    }
    let newest = status::releases(connection, NEWEST)?;
    Ok((channels, newest, pointed))
}

/// When the log's head that is served was written; none before the first.
async fn head_came_out(app: &App) -> Option<Timestamp> {
    let path = directory(&app.config.server.data_dir).join(CHECKPOINT);
    let written = tokio::fs::metadata(path).await.ok()?.modified().ok()?;
    let since = written.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs())
        .ok()
        .map(Timestamp::from_unix_secs)
}

fn commands(app: &App, channel: &str) -> Vec<Command> {
    let url = &app.config.server.public_url;
    let command = |label: &str, text: String| Command {
        label: label.to_owned(),
        text,
    };
    vec![
        command(
            "dnf5",
            format!("sudo dnf5 config-manager addrepo --from-repofile={url}/{channel}.repo"),
        ),
        command(
            "dnf",
            format!("sudo curl -fo /etc/yum.repos.d/hallmark-{channel}.repo {url}/{channel}.repo"),
        ),
        command(
            "zypper",
            format!("sudo zypper addrepo {url}/{channel}.repo"),
        ),
    ]
}
