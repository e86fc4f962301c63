//! `hallmark channels`, `releases`, `promote`, `rollback`: the moving pointers.

use crate::api::{Client, ServerArgs};
use crate::failure::Failure;
use crate::output;
use repo_model::wire::status::{ChannelStatus, MoveChannel, ReleaseStatus};
use repo_model::{ChannelName, ReleaseId};
use serde::Deserialize;

/// Arguments of `hallmark channels`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # Where each channel points
  hallmark channels

  # The release that clients of `stable` see, for a script
  hallmark channels --json | jq -r '.[] | select(.channel == \"stable\").release'")]
pub struct ChannelsArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `hallmark releases`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # All releases, newest first
  hallmark releases

  # Their signed documents by digest
  hallmark releases --json")]
pub struct ReleasesArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `hallmark promote`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # What clients of `preview` see is shown to clients of `stable` too
  hallmark promote --to stable

  # One certain release
  hallmark promote --to stable --release 12")]
pub struct PromoteArgs {
    /// The channel whose release is taken
    #[arg(
        long,
        default_value = "preview",
        value_name = "CHANNEL",
        conflicts_with = "release"
    )]
    from: ChannelName,
    /// The channel that moves
    #[arg(long, value_name = "CHANNEL")]
    to: ChannelName,
    /// This release instead of the one that --from points to
    #[arg(long, value_name = "N")]
    release: Option<ReleaseId>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `hallmark rollback`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # Back to the release that the channel had before
  hallmark rollback stable

  # Back to one certain release
  hallmark rollback stable --to 9")]
pub struct RollbackArgs {
    /// The channel that moves
    channel: ChannelName,
    /// The release to go back to
    #[arg(long, value_name = "N")]
    to: Option<ReleaseId>,
    #[command(flatten)]
    server: ServerArgs,
}

/// One entry of `GET /api/v1/channels/{channel}/history`, newest first; time and actor are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct PastMove {
    release: ReleaseId,
}

/// Runs `hallmark channels`.
pub fn channels(args: &ChannelsArgs) -> Result<(), Failure> {
    let channels: Vec<ChannelStatus> = args.server.client()?.get_json("/api/v1/channels")?;
    if args.json {
        return output::json(&channels);
    }
    let mut rows = vec![
        ["CHANNEL", "RELEASE", "SINCE", "NEXT"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(channels.iter().map(|channel| {
        let release = channel
            .release
            .map_or_else(|| "none".to_owned(), |release| release.to_string());
        let since = channel
            .moved_at
            .map_or_else(String::new, |at| at.to_string());
        let next = match channel.follows {
            true => "moves to each new release",
            false => "stays until it is moved",
        };
        vec![channel.channel.to_string(), release, since, next.to_owned()]
    }));
    output::raw(output::table(&rows).as_bytes())
}

/// Runs `hallmark releases`.
pub fn releases(args: &ReleasesArgs) -> Result<(), Failure> {
    let releases: Vec<ReleaseStatus> = args.server.client()?.get_json("/api/v1/releases")?;
    if args.json {
        return output::json(&releases);
    }
    if releases.is_empty() {
        output::note("no releases");
        return Ok(());
    }
    let mut rows = vec![
        ["RELEASE", "ISSUED", "PACKAGES", "CHANNELS"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(releases.iter().map(|release| {
        let packages = release
            .repos
            .iter()
            .map(|repo| format!("{}/{} {}", repo.repo, repo.arch, repo.packages));
        let channels = release.channels.iter().map(ChannelName::to_string);
        vec![
            release.id.to_string(),
            release.issued.to_string(),
            packages.collect::<Vec<_>>().join(", "),
            channels.collect::<Vec<_>>().join(", "),
        ]
    }));
    output::raw(output::table(&rows).as_bytes())
}

/// Runs `hallmark promote`.
pub fn promote(args: &PromoteArgs) -> Result<(), Failure> {
    let client = args.server.client()?;
    let seen = release_of(&client, &args.to)?;
    let to = match args.release {
        Some(release) => release,
        None if args.from == args.to => {
            return Err(Failure::usage(format!("{} would take the release of itself", args.to))
                .with_hint(format!(
                    "name the release: `hallmark promote --to {} --release N`; `hallmark releases` lists them",
                    args.to
                )));
        }
        None => release_of(&client, &args.from)?.ok_or_else(|| {
            Failure::failed(format!("channel {} has no release yet", args.from))
                .with_hint("`hallmark status` tells where builds are")
        })?,
    };
    move_channel(&client, &args.to, seen, to)
}

/// Runs `hallmark rollback`.
pub fn rollback(args: &RollbackArgs) -> Result<(), Failure> {
    let client = args.server.client()?;
    let Some(seen) = release_of(&client, &args.channel)? else {
        return Err(Failure::failed(format!(
            "channel {} has no release yet",
            args.channel
        )));
    };
    let to = match args.to {
        Some(release) => release,
        None => {
            let path = format!("/api/v1/channels/{}/history", args.channel);
            let history: Vec<PastMove> = client.get_json(&path)?;
            before(&history, seen).ok_or_else(|| {
                Failure::failed(format!(
                    "channel {} had no release before {seen}",
                    args.channel
                ))
                .with_hint("`hallmark releases` lists all; name one with --to")
            })?
        }
    };
    if to > seen {
        return Err(Failure::usage(format!(
            "release {to} is newer than {seen}, where {} is",
            args.channel
        ))
        .with_hint(format!(
            "hallmark promote --to {} --release {to}",
            args.channel
        )));
    }
    move_channel(&client, &args.channel, Some(seen), to)
}

/// The last release older than `current` that the channel had. Going by age and not by order alone
/// makes a second rollback go further back instead of forth again.
fn before(history: &[PastMove], current: ReleaseId) -> Option<ReleaseId> {
    history
        .iter()
        .map(|past| past.release)
        .find(|release| *release < current)
}

fn release_of(client: &Client, channel: &ChannelName) -> Result<Option<ReleaseId>, Failure> {
    let channels: Vec<ChannelStatus> = client.get_json("/api/v1/channels")?;
    let names: Vec<_> = channels
        .iter()
        .map(|known| known.channel.to_string())
        .collect();
    match channels.into_iter().find(|known| &known.channel == channel) {
        Some(known) => Ok(known.release),
        None => Err(Failure::failed(format!("there is no channel {channel}"))
            .with_hint(format!("the channels are {}", names.join(", ")))),
    }
}

fn move_channel(
    client: &Client,
    channel: &ChannelName,
    seen: Option<ReleaseId>,
    to: ReleaseId,
) -> Result<(), Failure> {
    let from = seen.map_or_else(
        || "nothing".to_owned(),
        |release| format!("release {release}"),
    );
    if seen == Some(to) {
        output::note(format!("{channel} points to release {to} already"));
        return Ok(());
    }
    let path = format!("/api/v1/channels/{channel}/move");
    match client.post(&path, &MoveChannel { seen, to }) {
        Ok(_) => {
            output::note(format!("{channel} moved from {from} to release {to}"));
            Ok(())
        }
        Err(error) if error.refused_with() == Some(409) => Err(Failure::failed(error).with_hint(
            "somebody else moved the channel; look with `hallmark channels` and decide again",
        )),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;
    use crate::testing::{Answer, Server};

    fn past(releases: &[u64]) -> Vec<PastMove> {
        let entry = |release| PastMove {
            release: ReleaseId(release),
        };
        releases.iter().copied().map(entry).collect()
    }

    #[test]
    fn each_rollback_goes_further_back() {
        assert_eq!(before(&past(&[5, 3, 1]), ReleaseId(5)), Some(ReleaseId(3)));
        assert_eq!(
            before(&past(&[3, 5, 3, 1]), ReleaseId(3)),
            Some(ReleaseId(1))
        );
        assert_eq!(before(&past(&[1]), ReleaseId(1)), None);
        assert_eq!(before(&[], ReleaseId(1)), None);
    }

    fn server(move_status: u16) -> Server {
        Server::start(
            move |request| match (request.method.as_str(), request.path.as_str()) {
                ("GET", "/api/v1/channels") => Answer::json(
                    200,
                    r#"[{"channel":"preview","release":4,"moved_at":"2026-11-20T10:06:00Z"},
                    {"channel":"stable","release":2,"moved_at":"2026-11-20T10:06:00Z"}]"#,
                ),
                ("GET", "/api/v1/channels/stable/history") => Answer::json(
                    200,
                    r#"[{"release":2,"moved_at":"2026-11-20T10:06:00Z"},{"release":1,"moved_at":"2026-11-20T10:00:00Z"}]"#,
                ),
                ("POST", _) => Answer::json(
                    move_status,
                    r#"{"error":"stable points to release 3","code":"moved"}"#,
                ),
                _ => Answer::status(404),
            },
        )
    }

    fn server_args(server: &Server) -> ServerArgs {
        ServerArgs {
            url: server.url(),
            token_file: None,
        }
    }

    fn moves(server: &Server) -> Vec<String> {
        let posts = server
            .requests()
            .into_iter()
            .filter(|request| request.method == "POST");
        posts
            .map(|request| {
                format!(
                    "{} {}",
                    request.path,
                    String::from_utf8_lossy(&request.body)
                )
            })
            .collect()
    }

    fn promote_to(server: &Server, to: &str, release: Option<u64>) -> Result<(), Failure> {
        promote(&PromoteArgs {
            from: "preview".parse().unwrap(),
            to: to.parse().unwrap(),
            release: release.map(ReleaseId),
            server: server_args(server),
        })
    }

    #[test]
    fn promotion_says_what_it_saw_and_where_to_go() {
        let server = server(200);
        promote_to(&server, "stable", None).unwrap();
        assert_eq!(
            moves(&server),
            [r#"/api/v1/channels/stable/move {"seen":2,"to":4}"#]
        );
    }

    #[test]
    fn promotion_to_where_the_channel_is_sends_nothing() {
        let server = server(500);
        promote_to(&server, "stable", Some(2)).unwrap();
        assert!(moves(&server).is_empty());
        let failure = promote_to(&server, "stabel", None).unwrap_err();
        assert!(
            failure
                .message()
                .contains("the channels are preview, stable"),
            "{}",
            failure.message()
        );
    }

    #[test]
    fn the_first_channel_is_moved_on_by_number_and_the_hint_says_so() {
        let server = server(200);
        let failure = promote_to(&server, "preview", None).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(
            failure.message().contains("--release N"),
            "{}",
            failure.message()
        );
        assert!(moves(&server).is_empty());
    }

    #[test]
    fn a_lost_race_is_told_and_not_tried_again() {
        let server = server(409);
        let failure = promote_to(&server, "stable", None).unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert!(
            failure
                .message()
                .starts_with("error: stable points to release 3\nhint: "),
            "{}",
            failure.message()
        );
        assert_eq!(moves(&server).len(), 1);
    }

    #[test]
    fn rollback_finds_the_release_before_and_never_goes_forward() {
        let server = server(200);
        let args = |to: Option<u64>| RollbackArgs {
            channel: "stable".parse().unwrap(),
            to: to.map(ReleaseId),
            server: server_args(&server),
        };
        rollback(&args(None)).unwrap();
        assert_eq!(
            moves(&server),
            [r#"/api/v1/channels/stable/move {"seen":2,"to":1}"#]
        );
        assert_eq!(rollback(&args(Some(4))).unwrap_err().exit, Exit::Usage);
    }
}
