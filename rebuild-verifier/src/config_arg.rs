//! `--config`: which file the rebuilder's settings come from. Part of the program, not of the library.

use clap::Args;
use repo_model::config::{Config, DEFAULT_FILE, RebuilderConfig};
use std::io;
use std::path::{Path, PathBuf};

/// Which file to read.
#[derive(Debug, Args)]
pub struct ConfigArg {
    /// Configuration file; none: /etc/hallmark/hallmark.toml, and where that is missing, defaults and environment
    #[arg(long, value_name = "FILE", env = "HALLMARK_CONFIG")]
    config: Option<PathBuf>,
}

impl ConfigArg {
    /// The settings, or in one line what is wrong with them: the operator's fault.
    pub fn read(&self) -> Result<RebuilderConfig, String> {
        read(self.config.as_deref(), Path::new(DEFAULT_FILE))
    }
}

/// * `usual`: read when no file is named; it may be missing.
fn read(named: Option<&Path>, usual: &Path) -> Result<RebuilderConfig, String> {
    let path = named.unwrap_or(usual);
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    // `vars()` would panic on a variable that is not UTF-8; such a one cannot be ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    match Config::read(&text, environment) {
        Ok(config) => Ok(config.rebuilder),
        Err(error) => {
            let error = anyhow::Error::new(error);
            Err(format!("{}: {error:#}", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_file_is_read_when_none_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (usual, named) = (dir.path().join("usual.toml"), dir.path().join("named.toml"));
        let name = |file: Option<&Path>| {
            read(file, &usual).map(|config| config.name.map(|name| name.to_string()))
        };
        assert_eq!(name(None), Ok(None), "it may be missing");
        assert!(name(Some(&named)).is_err(), "one that was named must not");
        std::fs::write(&usual, "[rebuilder]\nname = \"usual\"\n").unwrap();
        std::fs::write(&named, "[rebuilder]\nname = \"named\"\n").unwrap();
        assert_eq!(name(None), Ok(Some("usual".to_owned())));
        assert_eq!(name(Some(&named)), Ok(Some("named".to_owned())));
        std::fs::write(&usual, "[rebuilder]\nnonsense = 1\n").unwrap();
        let error = name(None).unwrap_err();
        assert!(error.contains("usual.toml: "), "{error}");
        assert!(error.contains("nonsense"), "{error}");
    }
}
