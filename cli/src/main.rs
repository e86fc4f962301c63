//! `hallmark`: the one command that people type. Thin: each subcommand calls one crate or the
//! server's HTTP API; data goes to stdout, everything else to stderr.

mod api;
mod client;
mod commands;
mod config_file;
mod failure;
mod help;
mod logging;
mod output;
mod person_key;
mod progress;
#[cfg(test)]
mod testing;
mod until_signal;
mod verify;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use commands::{
    adopt, bisection, buildinfo, bundle, channels, client as client_command, compare, config,
    createrepo, evidence, export, in_toto, key, mergerepo, mirror, mirrors, modifyrepo, monitor,
    operators, publish, rebuild, rebuilders, repo_check, repofile, sbom, serve, signer_gate,
    status, token, trust, verify as verify_command, vulnerabilities, waiver, witness,
};
use failure::Failure;
use std::process::ExitCode;

/// RPM packages that are published only when independent rebuilders made the same bytes.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "\
EXAMPLES:
  # Run a server, and give a build system a token for it
  hallmark serve --config hallmark.toml
  hallmark token create --config hallmark.toml --name ci --scope publish

  # Build a source package, publish the result, and wait until it is out or held
  hallmark buildinfo hello-2.12-1.src.rpm -o out/
  HALLMARK_TOKEN=... hallmark publish --wait out/

  # Is the package that I downloaded made of these sources?
  hallmark rebuild hello-2.12-1.x86_64.rpm --srpm hello-2.12-1.src.rpm --buildinfo hello.buildinfo.json

  # Was it rebuilt by others, judged, logged and published?
  hallmark verify hello-2.12-1.x86_64.rpm

  # Why is it held?
  hallmark status hello

  # What testers see becomes what everybody sees
  hallmark promote --to stable

EXIT CODES:
  0  done
  1  the job failed or was refused
  2  wrong usage or configuration
  3  the server cannot be reached: try again later
  4  `rebuild` only: this machine cannot tell

ENVIRONMENT:
  HALLMARK_SERVER_URL, HALLMARK_TOKEN   the server to talk to, and the access token
  HALLMARK_CONFIG                       the configuration file
  HALLMARK_LOG, HALLMARK_LOG_FORMAT     filter such as `info`, and `text` or `json`"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Args),
    /// Let a server on another host ask the signer
    SignerGate(signer_gate::Args),
    /// Look at the configuration
    Config(config::Args),
    /// Make, list and revoke access tokens (on the server's machine)
    Token(token::Args),
    /// Build a source package in the sandbox and record how
    Buildinfo(buildinfo::Args),
    /// Build a published package again and tell whether it is the same, bit for bit
    Rebuild(rebuild::Args),
    /// Compare two files of one package
    Compare(compare::Args),
    /// Hand finished builds to the server
    Publish(publish::Args),
    /// Tell where builds are, and why they are held
    Status(status::Args),
    /// Have a held build tried again
    Retry(status::RetryArgs),
    /// Reject a build whose signing has not begun, for good
    Reject(status::RejectArgs),
    /// Show on a build's page which factor makes it differ
    Bisection(bisection::Args),
    /// Let a held build out by the word of two people
    Waiver(waiver::Args),
    /// Tell what the server has still to do, and what fails
    Jobs(operators::JobsArgs),
    /// Tell who changed what, and when
    Audit(operators::AuditArgs),
    /// Look at rebuilders, let them in, give them rest
    Rebuilders(rebuilders::Args),
    /// Tell where each channel points
    Channels(channels::ChannelsArgs),
    /// List the releases
    Releases(channels::ReleasesArgs),
    /// Go on from the signer's last release after a restore
    AdoptRelease(adopt::Args),
    /// Move a channel to a newer release
    Promote(channels::PromoteArgs),
    /// Move a channel back to an older release
    Rollback(channels::RollbackArgs),
    /// Look at the signing keys; make a package of them for clients
    Key(key::Args),
    /// Print the .repo file of a channel
    Repofile(repofile::Args),
    /// Check everything behind a package, with your own keys and policy
    Verify(verify_command::Args),
    /// Verify what a package manager is about to install; plug-ins of dnf5 and dnf call it
    Client(client_command::Args),
    /// Watch the log of a repository, and alarm
    Monitor(monitor::Args),
    /// Cosign the heads of other people's logs, so that they cannot fork unseen
    Witness(witness::Args),
    /// Fetch the keys and the policy that `verify` believes
    Trust(trust::Args),
    /// List or download the SBOMs and statements about packages
    Evidence(evidence::Args),
    /// Evidence for in-toto-verify: a layout and the rebuilders' links
    #[command(subcommand)]
    #[command(after_help = "\
EXAMPLES:
  hallmark in-toto keygen --out owner.key
  hallmark in-toto export hello-2.12-1.x86_64.rpm --policy policy.toml --owner-key owner.key -o evidence/")]
    InToto(in_toto::InToto),
    /// Make SBOMs of local packages, or ask a server about what is inside its packages
    Sbom(Box<sbom::Args>),
    /// Tell what is known about vulnerabilities in a release
    Vulnerabilities(vulnerabilities::Args),
    /// Upload and list statements about vulnerabilities (OpenVEX, CSAF)
    Vex(vulnerabilities::VexArgs),
    /// Make the metadata of a directory of packages
    Createrepo(Box<createrepo::Args>),
    /// Add records to a repository's metadata, or remove them
    Modifyrepo(modifyrepo::Args),
    /// Make one repository of several, without touching their packages
    Mergerepo(Box<mergerepo::Args>),
    /// Look at repositories, ours or anybody's
    Repo(repo_check::Args),
    /// Copy repositories, for any web server
    Mirror(mirror::Args),
    /// Register mirrors, see how each fares, decide which are listed
    Mirrors(mirrors::Args),
    /// Carry a tree to a machine without a network
    Bundle(bundle::Args),
    /// Write the published tree as plain files (on the server's machine)
    Export(export::Args),
}

fn main() -> ExitCode {
    let matches = help::fitted(Cli::command()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match run(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", failure.message());
            failure.code()
        }
    }
}

fn run(command: &Command) -> Result<(), Failure> {
    if !matches!(
        command,
        Command::Serve(_) | Command::SignerGate(_) | Command::Witness(_)
    ) {
        logging::start("warn")?;
    }
    match command {
        Command::Serve(args) => serve::run(args),
        Command::SignerGate(args) => signer_gate::run(args),
        Command::Config(args) => config::run(args),
        Command::Token(args) => token::run(args),
        Command::Buildinfo(args) => buildinfo::run(args),
        Command::Rebuild(args) => rebuild::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Publish(args) => publish::run(args),
        Command::Status(args) => status::run(args),
        Command::Retry(args) => status::retry(args),
        Command::Reject(args) => status::reject(args),
        Command::Jobs(args) => operators::jobs(args),
        Command::Audit(args) => operators::audit(args),
        Command::Bisection(args) => bisection::run(args),
        Command::Waiver(args) => waiver::run(args),
        Command::Rebuilders(args) => rebuilders::run(args),
        Command::Channels(args) => channels::channels(args),
        Command::Releases(args) => channels::releases(args),
        Command::AdoptRelease(args) => adopt::run(args),
        Command::Promote(args) => channels::promote(args),
        Command::Rollback(args) => channels::rollback(args),
        Command::Key(args) => key::run(args),
        Command::Repofile(args) => repofile::run(args),
        Command::Verify(args) => verify_command::run(args),
        Command::Client(args) => client_command::run(args),
        Command::Monitor(args) => monitor::run(args),
        Command::Witness(args) => witness::run(args),
        Command::Trust(args) => trust::run(args),
        Command::Evidence(args) => evidence::run(args),
        Command::InToto(command) => in_toto::run(command),
        Command::Sbom(args) => sbom::run(args),
        Command::Vulnerabilities(args) => vulnerabilities::run(args),
        Command::Vex(args) => vulnerabilities::vex(args),
        Command::Createrepo(args) => createrepo::run(args),
        Command::Modifyrepo(args) => modifyrepo::run(args),
        Command::Mergerepo(args) => mergerepo::run(args),
        Command::Repo(args) => repo_check::run(args),
        Command::Mirror(args) => mirror::run(args),
        Command::Mirrors(args) => mirrors::run(args),
        Command::Export(args) => export::run(args),
        Command::Bundle(args) => bundle::run(args),
    }
}
