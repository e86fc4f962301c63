//! Where the private keys live: one row a backend.

use super::openpgp::{OpenPgpError, SigningKey};
use super::pqc::PqcKey;
use super::{KeyError, credential, encrypted, file, pkcs11};
use repo_model::Timestamp;
use repo_model::config::{KeyBackendName, SignerConfig};
use repo_model::dsse::StatementSigner;
use repo_model::log::LogKey;
use repo_model::wire::signer::KeyRole;
use std::sync::Arc;

/// One place for keys.
#[derive(Debug, Clone, Copy)]
pub struct KeyBackend {
    /// Its name in `signer.key_backend`.
    pub name: KeyBackendName,
    /// Opens it as the configuration says.
    pub open: fn(&SignerConfig) -> Result<Box<dyn KeyStore>, KeyError>,
}

/// All of them.
pub static KEY_BACKENDS: &[KeyBackend] = &[
    file::BACKEND,
    encrypted::BACKEND,
    credential::BACKEND,
    pkcs11::BACKEND,
];

/// One key: what it is for, and the name it is kept under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// What it signs.
    pub role: KeyRole,
    /// `package-key`, `package-key-2`, ...
    pub label: String,
}

impl Slot {
    /// Maps a library error of this key.
    pub(super) fn open_pgp(&self) -> impl FnOnce(OpenPgpError) -> KeyError + use<> {
        let label = self.label.clone();
        move |source| KeyError::OpenPgp { label, source }
    }
}

/// An open place for keys.
pub trait KeyStore {
    /// Makes the key, or whatever is missing of it; `false` when it was there. Never replaces a key.
    ///
    /// * `now`: the key's creation time.
    fn make(&self, slot: &Slot, config: &SignerConfig, now: Timestamp) -> Result<bool, KeyError>;

    /// A package or metadata key, ready to sign.
    fn open_pgp(&self, slot: &Slot) -> Result<SigningKey, KeyError>;

    /// A statement key, ready to sign.
    fn statement(&self, slot: &Slot) -> Result<Arc<dyn StatementSigner>, KeyError>;

    /// The same key for the statements about packages: quicker, but no signature is like another.
    fn quick_statement(&self, slot: &Slot) -> Result<Arc<dyn StatementSigner>, KeyError> {
        self.statement(slot)
    }

    /// Makes the log's keys; gives the file names of those that were not there. Files with every backend: see
    /// [`super::log`].
    fn make_log(&self, config: &SignerConfig) -> Result<Vec<&'static str>, KeyError>;

    /// The log's keys under the configured name, ready to sign: its own, then the post-quantum one if there is
    /// one.
    fn log(&self, config: &SignerConfig) -> Result<Vec<LogKey>, KeyError>;

    /// A post-quantum package or metadata key, ready to sign.
    fn post_quantum(&self, slot: &Slot) -> Result<PqcKey, KeyError>;
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
