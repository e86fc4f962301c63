//! Reading `hallmark.toml` with the environment over it.

use crate::failure::Failure;
use repo_model::config::{Config, DEFAULT_FILE};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where the configuration is.
#[derive(Debug, clap::Args)]
pub struct ConfigArg {
    /// The configuration file
    #[arg(
        long,
        value_name = "FILE",
        env = "HALLMARK_CONFIG",
        default_value = DEFAULT_FILE
    )]
    pub config: PathBuf,
}

/// Reads the file and the environment; every failure is a wrong configuration.
pub fn read(path: &Path) -> Result<Config, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let failure = Failure::usage(format!(
            "cannot read the configuration {}: {error}",
            path.display()
        ));
        match error.kind() {
            ErrorKind::NotFound => failure.with_hint(
                "docs/hallmark.example.toml is a file with every setting and its default",
            ),
            ErrorKind::PermissionDenied => {
                failure.with_hint("this user may not read it: run the command as the server's user")
            }
            _ => failure,
        }
    })?;
    // `vars()` would panic on a variable that is not UTF-8; such a one cannot be ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Config::read(&text, environment).map_err(|error| {
        Failure::usage(Located {
            path: path.to_owned(),
            source: error,
        })
    })
}

/// Which file it was.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
struct Located {
    path: PathBuf,
    source: repo_model::config::ConfigError,
}
