//! `hallmark bisection`: shows on a build's page which factor makes it differ.

use crate::api::ServerArgs;
use crate::failure::Failure;
use crate::output;
use repo_model::bisection::Bisection;
use std::path::PathBuf;

/// Arguments of `hallmark bisection`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Wants a token with scope `operate`. The report must be about the source package of this very build.

EXAMPLES:
  # On a machine that can build it: once plainly, then with one factor changed at a time
  hallmark-rebuilder bisect clockwork-1.0-1.src.rpm > bisection.json

  # The build's page then draws what depends on what
  HALLMARK_TOKEN=... hallmark bisection 17 bisection.json")]
pub struct Args {
    /// Number of the build, as `hallmark status` shows it
    #[arg(value_name = "BUILD")]
    build: u64,
    /// What `hallmark-rebuilder bisect` printed
    #[arg(value_name = "FILE")]
    report: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let json = std::fs::read(&args.report).map_err(|error| {
        Failure::failed(format!("cannot read {}: {error}", args.report.display()))
    })?;
    let report = Bisection::from_json(&json).map_err(Failure::failed)?;
    let path = format!("/api/v1/builds/{}/bisection", args.build);
    args.server.client()?.post(&path, &report)?;
    output::note(format!("/builds/{} shows it now", args.build));
    Ok(())
}
