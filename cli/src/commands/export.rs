//! `hallmark export`: the published tree as plain files, on the server's machine.

use super::createrepo::now;
use super::mirror::report::Telling;
use crate::config_file::{self, ConfigArg};
use crate::failure::{Failure, chain};
use crate::output;
use mirrors::export::{ExportError, Request, Summary, export};
use repo_model::{ChannelName, ReleaseId};
use repo_server::exporting::{ExportingError, Selection, tree};
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `hallmark export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # All channels, and the releases that they point to; run it again after each release, from a timer
  hallmark export --config /etc/hallmark/hallmark.toml /srv/www

  # One channel, and two releases for good, as they will be served by a CDN
  hallmark export --channel stable --release 12 --release 17 --url https://cdn.example/repo /srv/www

  # Is a copy of it, made by rsync, what the signer signed? Without any network
  hallmark mirror verify --key RPM-GPG-KEY /srv/www

Files are hard links to the server's objects where both are on one file system, and copies elsewhere: nobody may write into
them. The server may run or not. An export that was cut off, at whatever moment, leaves the old tree or the new one and goes
on when it is run again.")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// The directory for a web server, rsync or a CDN
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Only this channel; may be repeated [default: all]
    #[arg(long, value_name = "CHANNEL")]
    channel: Vec<ChannelName>,
    /// This release too, at r/N; may be repeated [those that the channels point to are there in any case]
    #[arg(long, value_name = "N")]
    release: Vec<ReleaseId>,
    /// Where clients will find DIR, for .repo files and metalinks [default: server.public_url]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Remove what the tree has no longer this many hours after it was dropped
    #[arg(long, value_name = "HOURS", default_value = "24")]
    delete_after: u32,
    /// Write what became of each file as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut config = config_file::read(&args.config.config)?;
    if let Some(url) = &args.url {
        config.server.public_url = url.trim_end_matches('/').to_owned();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    let selection = Selection {
        channels: args.channel.clone(),
        releases: args.release.clone(),
    };
    let tree = runtime
        .block_on(tree(&config, selection))
        .map_err(no_tree)?;
    let request = Request {
        directory: args.directory.clone(),
        grace: Duration::from_secs(u64::from(args.delete_after) * 3600),
        now: now(),
    };
    let telling = Telling::new(args.report.as_deref())?;
    let outcome = export(&tree, &request, &telling);
    match &outcome {
        Ok(summary) => telling.finish(summary),
        Err(error) => telling.finish(&serde_json::json!({ "error": chain(error) })),
    }?;
    let summary = outcome.map_err(failure)?;
    output::raw(told(&summary).as_bytes())
}

fn no_tree(error: ExportingError) -> Failure {
    match error {
        ExportingError::NoDatabase { .. } => Failure::usage(error)
            .with_hint("run it on the server's machine, with the server's configuration"),
        ExportingError::NoChannel { .. } | ExportingError::NoRelease { .. } => {
            Failure::usage(error).with_hint("`hallmark channels` and `hallmark releases` list them")
        }
        ExportingError::NoKeys => {
            Failure::failed(error).with_hint("start the server once while the signer runs")
        }
        ExportingError::Object { .. }
        | ExportingError::Repomd { .. }
        | ExportingError::LogKey(_)
        | ExportingError::Evidence { .. }
        | ExportingError::Db(_) => Failure::failed(error),
    }
}

fn failure(error: ExportError) -> Failure {
    match error {
        ExportError::Damaged { .. } => Failure::failed(error)
            .with_hint("put the object back from a backup or a mirror; the tree is as it was"),
        ExportError::Busy { .. } | ExportError::Local { .. } | ExportError::Path { .. } => {
            Failure::failed(error)
        }
    }
}

/// The end of an export, for people.
fn told(summary: &Summary) -> String {
    let Summary {
        files,
        placed,
        copied_bytes,
        switched,
        deleted,
    } = summary;
    if (*placed, *switched, *deleted) == (0, 0, 0) {
        return format!("nothing new: {files} files\n");
    }
    let mut out = format!(
        "{files} files: {placed} placed, {switched} repodata exchanged, {deleted} removed\n"
    );
    if *copied_bytes > 0 {
        let copied = output::bytes(*copied_bytes);
        out.push_str(&format!(
            "note: {copied} were copied: hard links to the objects are not possible there\n"
        ));
    }
    out
}
