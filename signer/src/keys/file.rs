//! Keys in files of `state_dir`, readable by their owner only.

use super::backend::{KeyBackend, KeyStore};
use super::openpgp::SigningKey;
use super::{KeyError, create, exists, read_private};
use repo_model::Timestamp;
use repo_model::config::{KeyBackendName, SignerConfig};
use std::path::PathBuf;

pub(super) static BACKEND: KeyBackend = KeyBackend {
    name: KeyBackendName::File,
    open: |config| Ok(Box::new(Files(config.state_dir.clone()))),
};

#[derive(Debug)]
struct Files(PathBuf);

impl KeyStore for Files {
    fn make(
        &self,
        name: &'static str,
        config: &SignerConfig,
        now: Timestamp,
    ) -> Result<bool, KeyError> {
        if exists(&self.0.join(name))? {
            return Ok(false);
        }
        let open_pgp = |source| KeyError::OpenPgp { name, source };
        let key =
            SigningKey::generate(&config.user_id, config.key_algorithm, now).map_err(open_pgp)?;
        let armored = key.to_secret_armor().map_err(open_pgp)?;
        create(&self.0, name, &armored, 0o600)
    }

    fn load(&self, name: &'static str) -> Result<SigningKey, KeyError> {
        SigningKey::from_bytes(&read_private(&self.0.join(name))?)
            .map_err(|source| KeyError::OpenPgp { name, source })
    }
}
