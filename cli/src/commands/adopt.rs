//! `hallmark adopt-release`: after a restored database, go on from the signer's last release.

use crate::config_file::{self, ConfigArg};
use crate::failure::{Exit, Failure};
use crate::output;
use repo_server::adopt::{self, AdoptError, Adopted};

/// Arguments of `hallmark adopt-release`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The signer signs only what follows the release that it signed last. A database that was put back from an
older copy does not know that release, and publishing fails with `does not come after release N`. This
command records the signer's last release; its files are lost, and the next release follows it. Builds
that the database does not know have to be published again. Changes nothing when nothing is missing.

EXAMPLES:
  # On the server's machine, as the server's user; the server may be running
  hallmark adopt-release --config /etc/hallmark/hallmark.toml")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let config = config_file::read(&args.config.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    match runtime.block_on(adopt::last_release(&config)) {
        Ok(Adopted::Nothing) => {
            output::note("the database has the signer's last release; nothing was changed");
            Ok(())
        }
        Ok(Adopted::Release(last)) => output::line(format!(
            "release {} of {} is taken over; the next release follows it",
            last.id, last.issued
        )),
        Err(AdoptError::Signer(error)) if error.is_retryable() => {
            Err(Failure::new(Exit::Unreachable, error))
        }
        Err(error) => Err(Failure::failed(error)),
    }
}
