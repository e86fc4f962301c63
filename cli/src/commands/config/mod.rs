//! `hallmark config check`: what the processes would use.

mod doubts;
mod settings;

use crate::config_file;
use crate::failure::Failure;
use crate::output;
use repo_model::config::DEFAULT_FILE;
use repo_model::policy::Policy;
use std::path::{Path, PathBuf};

/// Arguments of `hallmark config`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # Is the file right, and what does it come to with the environment and the defaults?
  hallmark config check /etc/hallmark/hallmark.toml")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print every setting as it would be used; exit code 2 when something is wrong
    #[command(after_help = "\
EXAMPLES:
  # Settings from the environment count too
  HALLMARK_SERVER__LISTEN=0.0.0.0:80 hallmark config check /etc/hallmark/hallmark.toml")]
    Check {
        /// The configuration file
        #[arg(
            value_name = "FILE",
            env = "HALLMARK_CONFIG",
            default_value = DEFAULT_FILE
        )]
        file: PathBuf,
    },
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let Command::Check { file } = &args.command;
    let config = config_file::read(file)?;
    check_policy(&config.server.policy_file)?;
    if config.signer.policy_file != config.server.policy_file {
        check_policy(&config.signer.policy_file)?;
        output::note(
            "warning: server and signer have different policy files; the server's judgement may be refused",
        );
    }
    doubts::of(&config).iter().for_each(output::note);
    if config.repo.is_empty() {
        output::note("warning: no [[repo]] is configured, so no build can be published");
    }
    let text = toml::to_string(&settings::all(&config))
        .map_err(|error| Failure::failed(format!("cannot write TOML: {error}")))?;
    output::raw(text.as_bytes())
}

/// A policy that is there must be right; one on another machine cannot be looked at.
fn check_policy(path: &Path) -> Result<(), Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Policy::from_toml(&text).map(|_| ()).map_err(|source| {
            Failure::usage(BadPolicy {
                path: path.to_owned(),
                source,
            })
        }),
        Err(error) => {
            output::note(format!(
                "warning: the policy {} was not looked at: {error}; server and signer do not start without it",
                path.display()
            ));
            Ok(())
        }
    }
}

/// Which file it was.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
struct BadPolicy {
    path: PathBuf,
    source: repo_model::policy::PolicyError,
}
