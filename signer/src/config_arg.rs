//! `--config`: which file the signer's settings come from.

use crate::Failure;
use anyhow::Context as _;
use clap::Args;
use repo_model::config::{Config, DEFAULT_FILE, SignerConfig};
use std::io;
use std::path::{Path, PathBuf};

/// Which file to read.
#[derive(Debug, Args)]
pub struct ConfigArg {
    /// Configuration file; without it /etc/hallmark/hallmark.toml, and where that is missing, defaults
    /// and the environment.
    #[arg(long, value_name = "FILE", env = "HALLMARK_CONFIG")]
    config: Option<PathBuf>,
}

impl ConfigArg {
    /// The settings.
    pub fn read(&self) -> Result<SignerConfig, Failure> {
        let found = Found::look(self.config.as_deref(), Path::new(DEFAULT_FILE));
        found
            .and_then(Found::signer)
            .map_err(Failure::Configuration)
    }

    /// The same for what cannot be taken back: names and algorithms go into the keys for good, so they are not made of
    /// defaults that nobody chose.
    pub fn read_for_keys(&self) -> Result<SignerConfig, Failure> {
        let found = Found::look(self.config.as_deref(), Path::new(DEFAULT_FILE));
        found
            .and_then(Found::chosen)
            .and_then(Found::signer)
            .map_err(Failure::Configuration)
    }
}

/// A configuration file as it was found.
#[derive(Debug)]
struct Found {
    path: PathBuf,
    /// `None`: nobody named a file, and the usual one is not there.
    text: Option<String>,
}

impl Found {
    fn look(named: Option<&Path>, usual: &Path) -> anyhow::Result<Self> {
        let path = named.unwrap_or(usual).to_owned();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        Ok(Self { path, text })
    }

    fn chosen(self) -> anyhow::Result<Self> {
        anyhow::ensure!(
            self.text.is_some(),
            "there is no {}: the keys and the log get their names from it for good; write it (`--config /dev/null`: \
             take defaults and the environment)",
            self.path.display()
        );
        Ok(self)
    }

    fn signer(self) -> anyhow::Result<SignerConfig> {
        // `vars()` would panic on a variable that is not UTF-8; such a one cannot be ours.
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let config = Config::read(self.text.as_deref().unwrap_or_default(), environment);
        let config = config.with_context(|| self.path.display().to_string())?;
        Ok(config.signer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_file_is_read_when_none_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (usual, named) = (dir.path().join("usual.toml"), dir.path().join("named.toml"));
        std::fs::write(&usual, "[signer]\nlog_origin = \"log.usual.org\"\n").unwrap();
        std::fs::write(&named, "[signer]\nlog_origin = \"log.named.org\"\n").unwrap();
        let origin = |file: Option<&Path>| {
            let config = Found::look(file, &usual).and_then(Found::signer);
            config.unwrap().log_origin
        };
        assert_eq!(origin(None), "log.usual.org");
        assert_eq!(origin(Some(&named)), "log.named.org");
        std::fs::write(&usual, "[signer]\nkey_backend = \"nonsense\"\n").unwrap();
        let error = Found::look(None, &usual)
            .and_then(Found::signer)
            .unwrap_err();
        assert!(format!("{error:#}").contains("usual.toml"), "{error:#}");
    }

    #[test]
    fn keys_are_not_made_of_defaults_that_nobody_chose() {
        let dir = tempfile::tempdir().unwrap();
        let absent = dir.path().join("absent.toml");
        Found::look(None, &absent)
            .and_then(Found::signer)
            .expect("other commands go by the defaults");
        let error = Found::look(None, &absent)
            .and_then(Found::chosen)
            .unwrap_err();
        assert!(error.to_string().contains("absent.toml"), "{error}");
        assert!(
            Found::look(Some(&absent), &absent).is_err(),
            "a file that was named must be there"
        );
        Found::look(Some(Path::new("/dev/null")), &absent)
            .and_then(Found::chosen)
            .expect("whoever names no settings on purpose has chosen");
    }
}
