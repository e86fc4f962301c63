//! `hallmark-signer`: makes keys, serves signatures, checks its journal.
//!
//! Exit codes: 0 done; 1 it failed, or the journal is broken; 2 wrong usage or configuration.

mod output;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use hallmark_signer::client::Client;
use hallmark_signer::desk::OpenError;
use hallmark_signer::server::{self, ServeError, Stop};
use hallmark_signer::{desk, journal, keys};
use repo_model::Timestamp;
use repo_model::config::{Config, SignerConfig};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing_subscriber::EnvFilter;

/// Judges packages by policy and signs those that pass. The only process that holds keys.
#[derive(Debug, Parser)]
#[command(
    name = "hallmark-signer",
    version,
    after_help = "\
Examples:
  hallmark-signer init --config /etc/hallmark/hallmark.toml
  hallmark-signer serve --config /etc/hallmark/hallmark.toml
  hallmark-signer audit verify

Environment: every setting as HALLMARK_SIGNER__KEY; HALLMARK_LOG (filter, default info);
HALLMARK_LOG_FORMAT (text or json).
Exit codes: 0 done; 1 failed, or the journal is broken; 2 wrong usage or configuration."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the keys that are missing; never overwrites one.
    #[command(after_help = "\
Makes the package key, the metadata key and the statement key in `signer.state_dir`, and their
public halves beside them: RPM-GPG-KEY-packages.asc, RPM-GPG-KEY-metadata.asc, statement.pub.
Prints the fingerprints. Run again, it changes nothing.

Examples:
  hallmark-signer init --config /etc/hallmark/hallmark.toml
  HALLMARK_SIGNER__KEY_ALGORITHM=rsa4096 hallmark-signer init")]
    Init(ConfigArg),
    /// Serve signatures on the Unix socket until SIGTERM or SIGINT.
    #[command(after_help = "\
Examples:
  hallmark-signer serve --config /etc/hallmark/hallmark.toml
  HALLMARK_LOG=debug HALLMARK_SIGNER__SANDBOX=false hallmark-signer serve")]
    Serve(ConfigArg),
    /// Print the public keys and the policy in use, as JSON.
    #[command(after_help = "\
Asks the running signer; when none runs, reads the files, which needs the signer's user.

Examples:
  hallmark-signer identity
  hallmark-signer identity | jq -r .package_certificate > RPM-GPG-KEY-packages.asc")]
    Identity(ConfigArg),
    /// Look at the audit journal.
    #[command(
        subcommand,
        after_help = "\
Examples:
  hallmark-signer audit verify --config /etc/hallmark/hallmark.toml"
    )]
    Audit(Audit),
}

#[derive(Debug, Subcommand)]
enum Audit {
    /// Check that no line of the journal was changed, dropped or put in.
    #[command(after_help = "\
Prints the number of records and the SHA-256 of the last. Keep that: a later journal must still hold
it. Exits with 1 and names the line when the chain is broken.

Examples:
  hallmark-signer audit verify --config /etc/hallmark/hallmark.toml
  hallmark-signer audit verify --journal /backup/journal.jsonl")]
    Verify {
        #[command(flatten)]
        config: ConfigArg,
        /// The journal; without it, the one in `signer.state_dir`.
        #[arg(long, value_name = "FILE")]
        journal: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct ConfigArg {
    /// Configuration file; without it, defaults and the environment.
    #[arg(long, value_name = "FILE", env = "HALLMARK_CONFIG")]
    config: Option<PathBuf>,
}

impl ConfigArg {
    fn read(&self) -> Result<SignerConfig, Failure> {
        let text = match &self.config {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))
                .map_err(Failure::Configuration)?,
        };
        let config = Config::read(&text, std::env::vars())
            .map_err(|error| Failure::Configuration(error.into()))?;
        Ok(config.signer)
    }
}

/// How the program ends when it does not end well.
enum Failure {
    /// Exit code 2.
    Configuration(anyhow::Error),
    /// Exit code 1.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(error)) => {
            output::error(&error);
            ExitCode::from(1)
        }
        Err(Failure::Configuration(error)) => {
            output::error(&error);
            ExitCode::from(2)
        }
    }
}

fn start_log() {
    let filter = EnvFilter::try_from_env("HALLMARK_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::env::var("HALLMARK_LOG_FORMAT").is_ok_and(|format| format == "json") {
        log.json().init();
    } else {
        log.init();
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Init(config) => init(&config.read()?),
        Command::Serve(config) => serve(&config.read()?),
        Command::Identity(config) => identity(&config.read()?),
        Command::Audit(Audit::Verify { config, journal }) => match journal {
            Some(journal) => verify(&journal),
            None => verify(&config.read()?.state_dir.join(journal::FILE_NAME)),
        },
    }
}

fn init(config: &SignerConfig) -> Result<(), Failure> {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let secs = i64::try_from(since_1970.as_secs()).context("the clock is wrong")?;
    let outcome =
        keys::init(config, Timestamp::from_unix_secs(secs)).context("cannot make the keys")?;
    let dir = config.state_dir.display();
    if outcome.made.is_empty() {
        output::note(&format!(
            "the keys exist already in {dir}; nothing was changed"
        ));
    } else {
        output::note(&format!("made {} in {dir}", outcome.made.join(", ")));
    }
    output::line(&format!(
        "package key    {}",
        outcome.keys.package.fingerprint()
    ))?;
    output::line(&format!(
        "metadata key   {}",
        outcome.keys.metadata.fingerprint()
    ))?;
    output::line(&format!(
        "statement key  {}",
        outcome.keys.statement.public().key_id()
    ))?;
    Ok(())
}

fn serve(config: &SignerConfig) -> Result<(), Failure> {
    // No core dumps, no tracing by others of the same user: the memory holds keys.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .context("cannot protect the process's memory")?;
    let stop = Stop::default();
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // Asked twice, it ends at once.
        signal_hook::flag::register_conditional_shutdown(signal, 1, stop.flag())
            .and_then(|_| signal_hook::flag::register(signal, stop.flag()))
            .context("cannot listen to signals")?;
    }
    server::run(config, &stop).map_err(|error| match error {
        ServeError::Open(OpenError::Journal(_))
        | ServeError::SocketTaken { .. }
        | ServeError::Socket { .. }
        | ServeError::Sandbox(_) => Failure::Failed(error.into()),
        ServeError::Open(_) | ServeError::NotASocket { .. } => Failure::Configuration(error.into()),
    })
}

fn identity(config: &SignerConfig) -> Result<(), Failure> {
    let asked = Client::connect(&config.socket).and_then(|mut client| client.identity());
    let identity = match asked {
        Ok(identity) => identity,
        Err(_) => desk::identity_from_files(config)
            .map_err(|error| Failure::Configuration(error.into()))?,
    };
    let json = serde_json::to_string_pretty(&identity).context("cannot write JSON")?;
    Ok(output::line(&json)?)
}

fn verify(path: &Path) -> Result<(), Failure> {
    let report = journal::verify(path).map_err(|error| Failure::Failed(error.into()))?;
    if report.torn_bytes > 0 {
        output::note(&format!(
            "the last line is cut short ({} bytes): a crash, or the signer is writing just now",
            report.torn_bytes
        ));
    }
    output::line(&format!("records  {}", report.records))?;
    output::line(&format!("last     {}", report.last))?;
    Ok(())
}
