//! Where the OpenPGP keys live: one row a backend. The statement key is a file in all of them.

use super::openpgp::SigningKey;
use super::{KeyError, file, pkcs11};
use repo_model::Timestamp;
use repo_model::config::{KeyBackendName, SignerConfig};

/// One place for keys.
#[derive(Debug, Clone, Copy)]
pub struct KeyBackend {
    /// Its name in `signer.key_backend`.
    pub name: KeyBackendName,
    /// Opens it as the configuration says.
    pub open: fn(&SignerConfig) -> Result<Box<dyn KeyStore>, KeyError>,
}

/// All of them.
pub static KEY_BACKENDS: &[KeyBackend] = &[file::BACKEND, pkcs11::BACKEND];

/// An open place for keys.
pub trait KeyStore {
    /// Makes the key `name` and its certificate, or whichever of the two is missing; `false` when
    /// both were there. Never replaces a key.
    ///
    /// * `name`: [`super::PACKAGE_KEY`] or [`super::METADATA_KEY`].
    /// * `now`: the key's creation time.
    fn make(
        &self,
        name: &'static str,
        config: &SignerConfig,
        now: Timestamp,
    ) -> Result<bool, KeyError>;

    /// The key `name`, ready to sign.
    fn load(&self, name: &'static str) -> Result<SigningKey, KeyError>;
}

/// Opens the backend that the configuration names.
pub(super) fn open(config: &SignerConfig) -> Result<Box<dyn KeyStore>, KeyError> {
    let row = KEY_BACKENDS
        .iter()
        .find(|row| row.name == config.key_backend);
    let row = row.ok_or(KeyError::NoBackend {
        name: config.key_backend,
    })?;
    (row.open)(config)
}
