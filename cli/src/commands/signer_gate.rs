//! `hallmark signer-gate`: lets a server on another host ask the signer.

use crate::config_file::{self, ConfigArg};
use crate::failure::Failure;
use crate::logging;
use repo_server::signer_link::gate::{Gate, GateError};
use tokio_util::sync::CancellationToken;

/// Arguments of `hallmark signer-gate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Runs on the signer's host as a user of its own, who is in `signer.allowed_uids`. Listens on `gate.listen`
with TLS 1.3 and passes bytes between there and `signer.socket`; lets in only the certificates whose
SHA-256 `gate.peer_sha256` names. The process with the keys speaks no network at all.

EXAMPLES:
  hallmark signer-gate --config /etc/hallmark/hallmark.toml

  # What to put into gate.peer_sha256
  openssl x509 -in server.pem -outform DER | sha256sum")]
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
    runtime.block_on(async {
        let stop = CancellationToken::new();
        super::serve::stop_on_signals(&stop)
            .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
        let gate = Gate::open(&config).await.map_err(failure)?;
        if let Ok(address) = gate.address() {
            tracing::info!(%address, "the signer's gate is open at {address}");
        }
        gate.serve(stop).await;
        Ok(())
    })
}

fn failure(error: GateError) -> Failure {
    match error {
        GateError::NoGate | GateError::NoPins | GateError::Tls(_) => Failure::usage(error),
        GateError::Listen { .. } => Failure::failed(error),
    }
}
