//! `hallmark witness`: watches other people's logs, and signs that it saw only one history of each.

use crate::failure::Failure;
use crate::logging;
use crate::output;
use repo_model::log::VerifierKey;
use repo_server::witness::{self, Folder, Witness, WitnessError};
use std::path::{Path, PathBuf};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Arguments of `hallmark witness`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A witness (C2SP tlog-witness) cosigns the head of a log only when it goes on from the head that it cosigned before.
Run one for a repository that you do not run: whoever runs it can then not show one history to some and another to
others, unless you take part.

EXAMPLES:
  # On a machine of your own: keys, the log to watch, and a service behind a web server with TLS
  hallmark witness init --dir /var/lib/hallmark-witness --name witness.example/w1
  curl -fO https://packages.example/keys/log.pub
  hallmark witness add-log --dir /var/lib/hallmark-witness log.pub
  hallmark witness serve --dir /var/lib/hallmark-witness --listen 127.0.0.1:7700

  # For the repository's policy: one of the lines that `init` printed, with the URL
  witness w1 witness.example/w1+6a0d1f4c+BHv... https://witness.example")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make the folder of a new witness, and print its keys
    #[command(after_help = "\
EXAMPLES:
  hallmark witness init --dir /var/lib/hallmark-witness --name witness.example/w1")]
    Init {
        #[command(flatten)]
        dir: Dir,
        /// Its name: a host name of yours and more, without scheme
        #[arg(long, value_name = "NAME")]
        name: String,
    },
    /// Watch a log from the next start on
    #[command(after_help = "\
EXAMPLES:
  curl -fO https://packages.example/keys/log.pub
  hallmark witness add-log --dir /var/lib/hallmark-witness log.pub")]
    AddLog {
        #[command(flatten)]
        dir: Dir,
        /// The file with its key (`/keys/log.pub`), or the key itself
        #[arg(value_name = "LOG")]
        log: String,
    },
    /// Answer the logs, until SIGTERM or SIGINT
    #[command(after_help = "\
EXAMPLES:
  # Behind a web server with TLS, which passes /add-checkpoint on
  hallmark witness serve --dir /var/lib/hallmark-witness --listen 127.0.0.1:7700")]
    Serve {
        #[command(flatten)]
        dir: Dir,
        /// Address and port to listen on
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7700")]
        listen: String,
        /// Heads of one log that are cosigned in a minute, at most
        #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
        per_minute: u32,
    },
}

#[derive(Debug, clap::Args)]
struct Dir {
    /// The witness's folder: keys, logs, and the head of each that it cosigned last
    #[arg(long, value_name = "DIR", default_value = "/var/lib/hallmark-witness")]
    dir: PathBuf,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Init { dir, name } => init(&dir.dir, name),
        Command::AddLog { dir, log } => add_log(&dir.dir, log),
        Command::Serve {
            dir,
            listen,
            per_minute,
        } => serve(&dir.dir, listen, *per_minute),
    }
}

fn init(dir: &Path, name: &str) -> Result<(), Failure> {
    for key in witness::init(dir, name).map_err(failure)? {
        output::line(key)?;
    }
    output::note(
        "these are its public keys, Ed25519 and ML-DSA-44; a log's policy names one of them, or both in a group",
    );
    Ok(())
}

fn add_log(dir: &Path, log: &str) -> Result<(), Failure> {
    let text = match Path::new(log).is_file() {
        true => std::fs::read_to_string(log)
            .map_err(|error| Failure::usage(format!("cannot read {log}: {error}")))?,
        false => log.to_owned(),
    };
    let keys: Vec<VerifierKey> = text
        .lines()
        .map(|line| line.trim().parse())
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::usage(format!("{log}: {error}")))?;
    if keys.is_empty() {
        return Err(Failure::usage(format!("{log} has no key")));
    }
    for key in keys {
        let name = key.name().to_owned();
        match witness::add_log(dir, &key).map_err(failure)? {
            true => output::note(format!("watches {name} from its next start on")),
            false => output::note(format!("watches {name} already")),
        }
    }
    Ok(())
}

fn serve(dir: &Path, listen: &str, per_minute: u32) -> Result<(), Failure> {
    logging::start("info")?;
    let witness = Folder::open(dir)
        .and_then(|folder| Witness::open(folder, per_minute))
        .map_err(failure)?;
    let logs = witness.folder().log_keys().len();
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        super::serve::stop_on_signals(&stop)
            .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|error| Failure::failed(format!("cannot listen on {listen}: {error}")))?;
        tracing::info!(logs, "watches {logs} logs, listens on {listen}");
        witness::serve(witness, listener, stop).await;
        Ok(())
    })
}

fn failure(error: WitnessError) -> Failure {
    match error {
        WitnessError::Exists { .. }
        | WitnessError::InUse { .. }
        | WitnessError::Key(_)
        | WitnessError::NotALog { .. }
        | WitnessError::Read { .. } => Failure::usage(error),
        WitnessError::Write { .. } | WitnessError::Random(_) | WitnessError::Head { .. } => {
            Failure::failed(error)
        }
    }
}
