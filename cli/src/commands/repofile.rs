//! `hallmark repofile`: what a client puts into `/etc/yum.repos.d`.

use crate::api::ServerArgs;
use crate::failure::Failure;
use crate::output;
use repo_model::ChannelName;

/// Arguments of `hallmark repofile`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # Subscribe this machine to a channel
  hallmark repofile stable --server https://packages.example | sudo tee /etc/yum.repos.d/example.repo")]
pub struct Args {
    /// The channel
    channel: ChannelName,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let text = args
        .server
        .client()?
        .get_text(&format!("/{}.repo", args.channel))?;
    output::raw(text.as_bytes())
}
