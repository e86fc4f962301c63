//! `hallmark-signer`: makes keys, serves signatures, checks its journal.
//!
//! Exit codes: 0 done; 1 it failed, or the journal is broken; 2 wrong usage or configuration.

mod audit;
mod config_arg;
mod key_command;
mod output;
mod root;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use config_arg::ConfigArg;
use hallmark_signer::client::Client;
use hallmark_signer::desk::OpenError;
use hallmark_signer::server::{ServeError, Server, Stop};
use hallmark_signer::{desk, journal, keys, protect};
use repo_model::config::SignerConfig;
use repo_model::{FileDigest, Timestamp};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
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
Makes the package key, the metadata key, the statement key and the log's key in `signer.state_dir`, unless
`signer.post_quantum` is off also post-quantum ones for packages, metadata and log, and the public halves
beside them (RPM-GPG-KEY-packages.asc, RPM-GPG-KEY-metadata.asc, statement.pub and so on). Prints the
fingerprints, of the log the keys. Run again, it changes nothing. Names and algorithms are in the keys for
good: without a configuration file it refuses.

Examples:
  hallmark-signer init --config /etc/hallmark/hallmark.toml
  HALLMARK_SIGNER__KEY_ALGORITHM=rsa4096 hallmark-signer init     # over /etc/hallmark/hallmark.toml")]
    Init(ConfigArg),
    /// Serve signatures on the Unix socket until SIGTERM or SIGINT; SIGHUP reads the policy again.
    #[command(after_help = "\
Examples:
  hallmark-signer serve --config /etc/hallmark/hallmark.toml
  HALLMARK_LOG=debug HALLMARK_SIGNER__SANDBOX=false hallmark-signer serve

  # The clock was once ahead, is right again, and the signer refuses it: start once with
  hallmark-signer serve --trust-clock")]
    Serve {
        #[command(flatten)]
        config: ConfigArg,
        /// The clock is right although the journal goes further: it was ahead when that was written.
        #[arg(long)]
        trust_clock: bool,
    },
    /// Print the public keys and the policy in use, as JSON.
    #[command(after_help = "\
Asks the running signer; when none runs, reads the files, which needs the signer's user.

Examples:
  hallmark-signer identity
  hallmark-signer identity | jq -r .package_certificate > RPM-GPG-KEY-packages.asc")]
    Identity(ConfigArg),
    /// Look at the keys; stage, rotate, revoke them.
    #[command(
        subcommand,
        after_help = "\
Examples:
  hallmark-signer key status --config /etc/hallmark/hallmark.toml
  hallmark-signer key stage package"
    )]
    Key(key_command::Key),
    /// Look at the audit journal.
    #[command(
        subcommand,
        after_help = "\
Examples:
  hallmark-signer audit verify --config /etc/hallmark/hallmark.toml"
    )]
    Audit(Audit),
    /// Make, sign and check the documents that say which policy holds.
    #[command(
        subcommand,
        after_help = "\
k of n people decide on the policy, with keys that are kept offline. In order: keygen (each), init, policy,
sign (k of them), verify; then `pin` once on the signer's machine. To change the policy: policy, sign (k),
copy the directory to the signer, SIGHUP. To change who decides: rotate, sign.

Examples:
  hallmark-signer root keygen alice.key
  hallmark-signer root init policy --key alice.pub --key bob.pub --key carol.pub --threshold 2
  hallmark-signer root policy policy policy.toml
  hallmark-signer root sign policy --key alice.key
  hallmark-signer root verify policy"
    )]
    Root(root::Root),
}

#[derive(Debug, Subcommand)]
enum Audit {
    /// Check that no line of the journal was changed, dropped or put in.
    #[command(after_help = "\
Prints the number of records and the SHA-256 of the last. Keep that: a later journal must still hold
it. Exits with 1 and names the line when the chain is broken.

Examples:
  hallmark-signer audit verify --config /etc/hallmark/hallmark.toml
  hallmark-signer audit verify --journal /backup/journal.jsonl

  # Nothing that was there last month is gone
  hallmark-signer audit verify --holds 5f2c...")]
    Verify {
        #[command(flatten)]
        config: ConfigArg,
        /// The journal; without it, the one in `signer.state_dir`.
        #[arg(long, value_name = "FILE")]
        journal: Option<PathBuf>,
        /// A digest that an earlier `audit verify` printed: the record must still be there. A journal
        /// that was cut at its end is whole by itself; this finds it.
        #[arg(long, value_name = "SHA256")]
        holds: Option<FileDigest>,
    },
    /// Print one record of the journal as JSON.
    #[command(after_help = "\
Checks the whole chain first. Exits with 1 when there is no such record.

Examples:
  hallmark-signer audit show 17 --config /etc/hallmark/hallmark.toml
  hallmark-signer audit show 17 --journal /backup/journal.jsonl | jq .event.inputs")]
    Show {
        /// The record's number.
        seq: u64,
        #[command(flatten)]
        config: ConfigArg,
        /// The journal; without it, the one in `signer.state_dir`.
        #[arg(long, value_name = "FILE")]
        journal: Option<PathBuf>,
    },
    /// Judge a package request again, as of the time it was decided, and compare.
    #[command(after_help = "\
REQUEST is the JSON of a `sign-package` request; the record is the one with its SHA-256. Needs no keys
and no running signer. Prints what was decided then and what the policy decides now from the same
evidence; exits with 1 when they differ.

Examples:
  hallmark-signer audit replay request.json --config /etc/hallmark/hallmark.toml
  hallmark-signer audit replay request.json --policy old-policy.toml --journal /backup/journal.jsonl")]
    Replay {
        /// The request.
        request: PathBuf,
        #[command(flatten)]
        config: ConfigArg,
        /// The policy of that time; without it, `signer.policy_file`.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// The journal; without it, the one in `signer.state_dir`.
        #[arg(long, value_name = "FILE")]
        journal: Option<PathBuf>,
    },
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
    // A file that may not grow is a failed write, not the end of the process.
    signal_hook::flag::register(libc::SIGXFSZ, Arc::default())
        .context("cannot listen to signals")?;
    match command {
        Command::Init(config) => init(&config.read_for_keys()?),
        Command::Serve {
            config,
            trust_clock,
        } => serve(&config.read()?, trust_clock),
        Command::Identity(config) => identity(&config.read()?),
        Command::Key(command) => key_command::run(command, now()?),
        Command::Audit(command) => audit(command),
        Command::Root(command) => root::run(command),
    }
}

fn audit(command: Audit) -> Result<(), Failure> {
    let chosen = |journal: Option<PathBuf>, config: &ConfigArg| match journal {
        Some(journal) => Ok(journal),
        None => Ok::<_, Failure>(config.read()?.state_dir.join(journal::FILE_NAME)),
    };
    match command {
        Audit::Verify {
            config,
            journal,
            holds,
        } => verify(&chosen(journal, &config)?, holds),
        Audit::Show {
            seq,
            config,
            journal,
        } => Ok(audit::show(&chosen(journal, &config)?, seq)?),
        Audit::Replay {
            request,
            config,
            policy,
            journal,
        } => {
            let policy = match policy {
                Some(policy) => policy,
                None => config.read()?.policy_file,
            };
            Ok(audit::replay(
                &chosen(journal, &config)?,
                &policy,
                &request,
            )?)
        }
    }
}

/// The wall clock.
fn now() -> anyhow::Result<Timestamp> {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let secs = i64::try_from(since_1970.as_secs()).context("the clock is wrong")?;
    Ok(Timestamp::from_unix_secs(secs))
}

fn init(config: &SignerConfig) -> Result<(), Failure> {
    let outcome = keys::init(config, now()?).context("cannot make the keys")?;
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
    if let Some(keys) = &outcome.keys.post_quantum {
        output::line(&format!("package-pqc    {}", keys.package.fingerprint()))?;
        output::line(&format!("metadata-pqc   {}", keys.metadata.fingerprint()))?;
    }
    for key in &outcome.keys.log {
        let (public, [a, b, c, d, ..]) = (key.public(), key.public().full_id());
        output::line(&format!(
            "log key        {}+{a:02x}{b:02x}{c:02x}{d:02x}",
            public.name()
        ))?;
    }
    Ok(())
}

fn serve(config: &SignerConfig, trust_clock: bool) -> Result<(), Failure> {
    protect::from_dumps().context("cannot protect the process's memory")?;
    let stop = Stop::default();
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // Asked twice, it ends at once.
        signal_hook::flag::register_conditional_shutdown(signal, 1, stop.flag())
            .and_then(|_| signal_hook::flag::register(signal, stop.flag()))
            .context("cannot listen to signals")?;
    }
    signal_hook::flag::register(libc::SIGHUP, stop.reread_flag())
        .context("cannot listen to signals")?;
    let open = match trust_clock {
        true => Server::open_trusting_clock,
        false => Server::open,
    };
    let served = open(config).and_then(|server| {
        protect::from_swap();
        server.serve(&stop)
    });
    served.map_err(|error| match error {
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
        Err(_) => desk::identity_from_files(config, now()?)
            .map_err(|error| Failure::Configuration(error.into()))?,
    };
    let json = serde_json::to_string_pretty(&identity).context("cannot write JSON")?;
    Ok(output::line(&json)?)
}

fn verify(path: &Path, holds: Option<FileDigest>) -> Result<(), Failure> {
    let mut held = holds.is_none();
    let report = journal::read(path, |record| held |= Some(record.prev) == holds)
        .map_err(|error| Failure::Failed(error.into()))?;
    held |= Some(report.last) == holds;
    if report.torn_bytes > 0 {
        output::note(&format!(
            "the last line is cut short ({} bytes): a crash, or the signer is writing just now",
            report.torn_bytes
        ));
    }
    output::line(&format!("records  {}", report.records))?;
    output::line(&format!("last     {}", report.last))?;
    if !held {
        let wanted = holds.unwrap_or(report.last);
        let error = anyhow::anyhow!("no record {wanted}: the journal was cut, or is another one");
        return Err(Failure::Failed(error));
    }
    Ok(())
}
