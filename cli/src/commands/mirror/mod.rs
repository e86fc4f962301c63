//! `hallmark mirror`: copies of repositories, for any static web server.

mod bucket;
mod fresh;
mod keys;
mod manifest;
pub(super) mod report;
mod sync;
mod sync_all;
mod verify;

use crate::failure::Failure;
pub(super) use fresh::keys as statement_keys;

/// Arguments of `hallmark mirror`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # Copy a repository, and bring the copy up to date later: the same command
  hallmark mirror sync --key RPM-GPG-KEY-example https://packages.example/stable/base/x86_64 /srv/mirror/base

  # Is every byte of it what was signed?
  hallmark mirror verify --key RPM-GPG-KEY-example /srv/mirror")]
pub struct Args {
    #[command(subcommand)]
    command: MirrorCommand,
}

#[derive(Debug, clap::Subcommand)]
enum MirrorCommand {
    /// Copy a repository, ours or anybody's, or bring a copy up to date
    Sync(Box<sync::Args>),
    /// Copy the repositories that a file names
    SyncAll(sync_all::Args),
    /// Check copies offline, from their signatures down to the last package
    Verify(verify::Args),
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        MirrorCommand::Sync(args) => sync::run(args),
        MirrorCommand::SyncAll(args) => sync_all::run(args),
        MirrorCommand::Verify(args) => verify::run(args),
    }
}
