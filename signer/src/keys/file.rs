//! Keys in files of `state_dir`, readable by their owner only.

use super::KeyError;
use super::backend::KeyBackend;
use super::files::{create, exists, read_private};
use super::vault::{Kept, Vault};
use repo_model::config::KeyBackendName;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

pub(super) static BACKEND: KeyBackend = KeyBackend {
    name: KeyBackendName::File,
    open: |config| Ok(Box::new(store(&config.state_dir))),
};

/// Keys in files of `dir`.
pub(super) fn store(dir: &Path) -> Kept<Files> {
    Kept(Files(dir.to_owned()))
}

pub(super) struct Files(PathBuf);

impl Vault for Files {
    fn has(&self, file: &str) -> Result<bool, KeyError> {
        exists(&self.0.join(file))
    }

    fn put(&self, file: &str, secret: &[u8]) -> Result<bool, KeyError> {
        create(&self.0, file, secret, 0o600)
    }

    fn get(&self, file: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        read_private(&self.0.join(file))
    }
}
