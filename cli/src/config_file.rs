//! Reading `hallmark.toml` with the environment over it.

use crate::failure::Failure;
use repo_model::config::Config;
use std::path::{Path, PathBuf};

/// Where the configuration is.
#[derive(Debug, clap::Args)]
pub struct ConfigArg {
    /// The configuration file
    #[arg(
        long,
        value_name = "FILE",
        env = "HALLMARK_CONFIG",
        default_value = "/etc/hallmark/hallmark.toml"
    )]
    pub config: PathBuf,
}

/// Reads the file and the environment; every failure is a wrong configuration.
pub fn read(path: &Path) -> Result<Config, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!(
            "cannot read the configuration {}: {error}",
            path.display()
        ))
        .with_hint("docs/hallmark.example.toml is a file with every setting and its default")
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
