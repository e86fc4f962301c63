//! `/`.

use super::{RELEASES_PER_PAGE, counts, error_page, html, site};
use crate::app::App;
use crate::db::{self, DbError};
use crate::http::error::ApiError;
use crate::http::keys::repo_file_text;
use crate::status;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use web::{ChannelSetup, Command, HomeView, Link};

/// `GET /`.
pub async fn home(State(app): State<App>, headers: HeaderMap) -> Response {
    home_page(&app)
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn home_page(app: &App) -> Result<Response, ApiError> {
    let (channels, releases) = app
        .db
        .read(|connection| {
            Ok::<_, DbError>((
                db::channels::all(connection)?,
                status::releases(connection, RELEASES_PER_PAGE)?,
            ))
        })
        .await?;
    let mut setups = Vec::new();
    for name in &app.config.server.channels {
        let Some(channel) = channels.iter().find(|channel| &channel.channel == name) else {
            continue;
        };
        let repos = releases
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
            href: "/rebuilders",
            label: "Rebuilders",
            about: "who makes packages again, and who agrees with whom",
        },
        Link {
            href: "/mirrors",
            label: "Mirrors",
            about: "where copies are, and how fresh each is",
        },
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
    let view = HomeView {
        site: &site(app),
        channels: &setups,
        counts: counts(app).await?,
        log: log.as_ref(),
        links: &links,
    };
    html(web::home(&view))
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
