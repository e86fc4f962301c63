//! `hallmark serve`: the server process.

use crate::config_file::{self, ConfigArg};
use crate::failure::Failure;
use crate::logging;
use repo_server::ServeError;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Arguments of `hallmark serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # With the configuration in its usual place
  hallmark serve

  # Another file, another port, and logs for a log collector
  HALLMARK_SERVER__LISTEN=0.0.0.0:9000 HALLMARK_LOG_FORMAT=json hallmark serve --config hallmark.toml")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

/// Runs it until SIGTERM or SIGINT.
pub fn run(args: &Args) -> Result<(), Failure> {
    logging::start("info")?;
    let config = config_file::read(&args.config.config)?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    let served = runtime.block_on(async {
        let stop = CancellationToken::new();
        stop_on_signals(&stop)
            .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
        repo_server::serve(config, stop).await.map_err(failure)
    });
    // What did not end in its time is not waited for: it runs again at the next start.
    runtime.shutdown_background();
    served
}

fn failure(error: ServeError) -> Failure {
    match error {
        ServeError::NoRepo | ServeError::PolicyFile { .. } | ServeError::Policy { .. } => {
            Failure::usage(error)
                .with_hint("`hallmark config check` looks at the configuration and the policy")
        }
        ServeError::DataDir { .. }
        | ServeError::InUse { .. }
        | ServeError::Upstream(_)
        | ServeError::Listen { .. }
        | ServeError::Database { .. }
        | ServeError::Db(_)
        | ServeError::Store(_)
        | ServeError::Serve(_) => Failure::failed(error),
    }
}

/// The first signal asks for a clean stop; the process is gone at the second.
pub(super) fn stop_on_signals(stop: &CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = stop.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let name = next().await;
        tracing::info!(signal = name, "{name}: finishing what runs");
        stop.cancel();
        let name = next().await;
        tracing::warn!(signal = name, "{name} again: stopping at once");
        std::process::exit(1);
    });
    Ok(())
}
