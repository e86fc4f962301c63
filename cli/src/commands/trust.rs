//! `hallmark trust`: whom `hallmark verify` believes.

use crate::api::ServerArgs;
use crate::failure::Failure;
use crate::output;
use crate::verify::fetch_trust;
use std::path::PathBuf;

/// Arguments of `hallmark trust`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # Keys, log and policy of a repository, to be compared and then kept
  hallmark trust fetch --server https://packages.example -o /etc/hallmark/trust")]
pub struct Args {
    #[command(subcommand)]
    command: TrustCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TrustCommand {
    /// Fetch keys, log and policy of a repository
    Fetch(FetchArgs),
}

/// Arguments of `hallmark trust fetch`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints the SHA-256 of each file: compare them, or at least that of 1.root.json, with what the operator
published elsewhere. What is in the folder then is believed; the server is not.

EXAMPLES:
  hallmark trust fetch --server https://packages.example -o trust/
  hallmark verify --trust trust/ hello-2.12-1.x86_64.rpm")]
struct FetchArgs {
    /// The folder
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let TrustCommand::Fetch(args) = &args.command;
    let client = args.server.client()?;
    let files = fetch_trust(&client, &args.output).map_err(Failure::failed)?;
    let rows: Vec<_> = files
        .into_iter()
        .map(|(name, digest)| vec![digest.to_hex(), name])
        .collect();
    output::note(
        "these files are what the server says: compare the digests with what the operator published elsewhere",
    );
    output::raw(output::table(&rows).as_bytes())
}
