//! Logs go to stderr: `HALLMARK_LOG` is the filter, `HALLMARK_LOG_FORMAT` is `text` or `json`.

use crate::failure::Failure;
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Starts logging. `default` is the filter when `HALLMARK_LOG` is not set: `info` for a server,
/// `warn` for commands that talk to people themselves.
pub fn start(default: &str) -> Result<(), Failure> {
    let words = std::env::var("HALLMARK_LOG").unwrap_or_else(|_| default.to_owned());
    let filter = EnvFilter::try_new(&words).map_err(|error| {
        Failure::usage(format!("HALLMARK_LOG=`{words}` is not a filter: {error}"))
    })?;
    let builder = tracing_subscriber::fmt()
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match std::env::var("HALLMARK_LOG_FORMAT").as_deref() {
        Ok("json") => builder.json().init(),
        Ok("text") | Err(_) => builder.init(),
        Ok(other) => {
            return Err(Failure::usage(format!(
                "HALLMARK_LOG_FORMAT is `{other}`: want `text` or `json`"
            )));
        }
    }
    Ok(())
}
