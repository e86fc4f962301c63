//! `hallmark key`: the signer's keys as the server shows them, and a package of them for clients.

use super::key_package;
use crate::api::ServerArgs;
use crate::failure::Failure;
use crate::output;
use repo_model::Timestamp;
use repo_model::wire::signer::{KeyState, PublishedKey, PublishedLogKey, listed};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the server lists them.
pub(super) const LIST: &str = "/keys/keys.json";
/// Those of the log.
const LOG_LIST: &str = "/keys/log-keys.json";

/// Arguments of `hallmark key`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # Which keys sign, which come next, and is it time for a change?
  hallmark key status

  # A package of the keys and the .repo file, to be published like any other
  hallmark key package --channel stable --output keys/")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the keys, and warn of age, algorithm and expiry
    #[command(after_help = "\
EXAMPLES:
  # For people
  hallmark key status --server https://packages.example

  # For monitoring: exit code 1 when there is anything to warn of
  hallmark key status --strict")]
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Exit with 1 when there is a warning
        #[arg(long)]
        strict: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Make a source package of the keys, and of .repo files, for clients
    Package(key_package::Args),
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Status {
            json,
            strict,
            server,
        } => status(server, *json, *strict),
        Command::Package(args) => key_package::run(args),
    }
}

fn status(server: &ServerArgs, json: bool, strict: bool) -> Result<(), Failure> {
    let client = server.client()?;
    let keys: Vec<PublishedKey> = client.get_json(LIST)?;
    let log_keys: Vec<PublishedLogKey> = match client.get_json(LOG_LIST) {
        // A server from before it told of them.
        Err(error) if error.refused_with() == Some(404) => Vec::new(),
        listed => listed?,
    };
    let now = now();
    let warnings: Vec<String> = keys
        .iter()
        .flat_map(|key| {
            let warnings = key.warnings(now).into_iter();
            warnings.map(|warning| format!("{}: {warning}", key.label))
        })
        .collect();
    match json {
        true => output::json(&listed(&keys, &log_keys))?,
        false => output::raw(table(&keys, &log_keys).as_bytes())?,
    }
    for warning in &warnings {
        output::note(format!("warning: {warning}"));
    }
    if strict && !warnings.is_empty() {
        let count = warnings.len();
        return Err(Failure::failed(format!("{count} warnings about keys")));
    }
    Ok(())
}

fn table(keys: &[PublishedKey], log_keys: &[PublishedLogKey]) -> String {
    let heading = ["ROLE", "STATE", "SINCE", "ALGORITHM", "KEY"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(keys.iter().map(|key| {
        let mut since = key
            .since
            .map_or_else(String::new, |since| since.to_string());
        if let (KeyState::Next, Some(at)) = (key.state, key.may_rotate_at()) {
            since = format!("{since}, may sign from {at} on");
        }
        vec![
            key.role.name().to_owned(),
            key.state.name().to_owned(),
            since,
            key.algorithm.clone(),
            key.fingerprint.clone(),
        ]
    }));
    rows.extend(log_keys.iter().map(|key| {
        let made = key.made.map(|made| made.to_string());
        vec![
            key.role.name().to_owned(),
            key.state.name().to_owned(),
            made.unwrap_or_default(),
            key.algorithm.clone(),
            key.fingerprint.clone(),
        ]
    }));
    output::table(&rows)
}

fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_unix_secs(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
