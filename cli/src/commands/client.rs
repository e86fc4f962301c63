//! `hallmark client`: on the machine that installs. Its package manager's plug-in asks before a transaction.

use super::client_package;
use super::createrepo::now;
use crate::client::dnf5::{Dnf5, Dnf5Error};
use crate::client::{
    CONFIG_FILE, ClientConfig, Fetched, Outcome, Report, Transaction, check, fetch, read,
};
use crate::failure::{Exit, Failure};
use crate::output;
use std::io::{self, BufReader, Read as _};
use std::path::PathBuf;

/// Most bytes of a transaction on stdin.
const MAX_STDIN_BYTES: u64 = 256 << 20;

/// Arguments of `hallmark client`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # Make the package that brings plug-ins, configuration and trust folder to a machine
  hallmark client package --server https://packages.example --trust trust/ -o client/

  # Keep the evidence of packages for a time without network
  hallmark client fetch hello-2.12-1.x86_64")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Judge a transaction: JSON on stdin, the report as JSON on stdout
    #[command(after_help = "\
EXAMPLES:
  # What the plug-in of dnf asks before a transaction
  echo '{\"repositories\": [{\"id\": \"acme\",
           \"urls\": [\"https://packages.example/stable/base/x86_64/\"]}],
         \"packages\": [{\"nevra\": \"hello-2.12-1.x86_64\", \"repo_id\": \"acme\",
           \"paths\": [\"/tmp/hello-2.12-1.x86_64.rpm\"]}]}' | hallmark client check

EXIT CODES:
  0  the transaction may go on (the report's `message` is not empty when there is something to tell)
  1  it must not
  2  wrong usage, or the configuration cannot be used: it must not either")]
    Check {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Answer an action of libdnf5's actions plug-in (mode=json) in its own words on stdin and stdout
    #[command(after_help = "\
EXAMPLES:
  # The line in /etc/dnf/libdnf5-plugins/actions.d/hallmark.actions
  pre_transaction:::mode=json raise_error=1:/usr/bin/hallmark client dnf5")]
    Dnf5 {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Keep the evidence of packages for a time without network
    #[command(after_help = "\
EXAMPLES:
  # Of files that were downloaded, and of a package by name
  dnf5 download hello && hallmark client fetch hello-*.rpm
  hallmark client fetch hello-2.12-1.x86_64

  # When there is more than one [[repository]] in the configuration
  hallmark client fetch --from https://packages.example hello-2.12-1.x86_64")]
    Fetch {
        /// Files, or NEVRAs of the newest release
        #[arg(required = true, value_name = "PACKAGE")]
        packages: Vec<String>,
        /// The `server_url` of the repository that they are of
        #[arg(long, value_name = "URL")]
        from: Option<String>,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Make the package that brings plug-ins, configuration and trust folder to machines
    Package(client_package::Args),
}

#[derive(Debug, clap::Args)]
struct ConfigArg {
    /// The configuration
    #[arg(long, value_name = "FILE", env = "HALLMARK_CLIENT_CONFIG", default_value = CONFIG_FILE)]
    config: PathBuf,
}

impl ConfigArg {
    fn read(&self) -> Result<ClientConfig, Failure> {
        read(&self.config).map_err(|error| {
            Failure::usage(error)
                .with_hint("docs/src/clients.md tells each setting; without it nothing is verified")
        })
    }
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Check { config } => of_stdin(&config.read()?),
        Command::Dnf5 { config } => of_dnf5(&config.read()?),
        Command::Fetch {
            packages,
            from,
            config,
        } => keep(&config.read()?, from.as_deref(), packages),
        Command::Package(args) => client_package::run(args),
    }
}

fn of_stdin(config: &ClientConfig) -> Result<(), Failure> {
    let stdin = BufReader::new(io::stdin().take(MAX_STDIN_BYTES));
    let transaction: Transaction = serde_json::from_reader(stdin)
        .map_err(|error| Failure::usage(format!("stdin holds no transaction: {error}")))?;
    let report = check(config, &transaction, now());
    output::json(&report)?;
    conclude(&report)
}

fn conclude(report: &Report) -> Result<(), Failure> {
    match report.may_go_on {
        true => Ok(()),
        false => {
            let count = report.count(Outcome::Refused);
            Err(Failure::failed(format!("{count} packages lack evidence")))
        }
    }
}

/// The message of a refusal goes through dnf5, which shows it; that of a warning to stderr.
fn of_dnf5(config: &ClientConfig) -> Result<(), Failure> {
    let failed = |error: Dnf5Error| {
        Failure::new(Exit::Usage, error)
            .with_hint("the action needs mode=json of libdnf5's actions plug-in, 1.4 or newer")
    };
    let mut dnf5 = Dnf5::new(BufReader::new(io::stdin()), output::stream());
    let transaction = dnf5.transaction().map_err(failed)?;
    let report = check(config, &transaction, now());
    if !report.may_go_on {
        return dnf5.refuse(&report.message).map_err(failed);
    }
    if !report.message.is_empty() {
        output::note(&report.message);
        dnf5.log("WARNING", &report.message).map_err(failed)?;
    }
    dnf5.log("INFO", &summary(&report)).map_err(failed)
}

fn summary(report: &Report) -> String {
    let passed: Vec<&str> = report
        .packages
        .iter()
        .filter(|package| package.outcome == Outcome::NotLookedAt)
        .map(|package| package.package.as_str())
        .collect();
    let holds = report.count(Outcome::Holds);
    match passed.len() {
        0 => format!("hallmark: the chains of {holds} packages hold"),
        count => format!(
            "hallmark: the chains of {holds} packages hold; {count} of other repositories were not looked at: {}",
            passed.join(" ")
        ),
    }
}

fn keep(config: &ClientConfig, from: Option<&str>, packages: &[String]) -> Result<(), Failure> {
    let repository = match (from, &config.repositories[..]) {
        (Some(url), all) => all.iter().find(|repository| {
            repository.server_url.trim_end_matches('/') == url.trim_end_matches('/')
        }),
        (None, [one]) => Some(one),
        (None, _) => None,
    };
    let Some(repository) = repository else {
        let known: Vec<_> = config
            .repositories
            .iter()
            .map(|r| r.server_url.as_str())
            .collect();
        return Err(Failure::usage("which repository are they of?")
            .with_hint(format!("say --from with one of: {}", known.join(", "))));
    };
    let fetched = fetch(config, repository, packages, now()).map_err(Failure::failed)?;
    let mut lacking = 0;
    for Fetched { package, problem } in fetched {
        match problem {
            None => output::line(format!("{package}: its evidence is kept, and holds"))?,
            Some(problem) => {
                lacking += 1;
                output::line(format!("{package}: {problem}"))?;
            }
        }
    }
    match lacking {
        0 => Ok(()),
        count => Err(Failure::failed(format!("{count} packages lack evidence"))),
    }
}
