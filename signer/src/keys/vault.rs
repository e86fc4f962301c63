//! Keys that are bytes in some place: OpenPGP keys in armour, statement keys in PKCS #8. The places
//! differ in how the bytes are kept: as files, as locked files, as credentials of the service.

use super::backend::{KeyStore, Slot};
use super::openpgp::SigningKey;
use super::pqc::PqcKey;
use super::quick::QuickKey;
use super::{KeyError, log};
use repo_model::Timestamp;
use repo_model::config::SignerConfig;
use repo_model::dsse::{DsseError, StatementKey, StatementSigner};
use repo_model::log::LogKey;
use repo_model::wire::signer::KeyRole;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A place that keeps named bytes secret.
pub(super) trait Vault {
    /// Whether it has something under this name.
    fn has(&self, file: &str) -> Result<bool, KeyError>;
    /// Puts something in, readable by the signer only; `false` when the name was taken.
    fn put(&self, file: &str, secret: &[u8]) -> Result<bool, KeyError>;
    /// What is kept under this name.
    fn get(&self, file: &str) -> Result<Zeroizing<Vec<u8>>, KeyError>;
}

/// The key store over a vault.
pub(super) struct Kept<V>(pub(super) V);

/// `package-key.asc`, `package-key-pqc.asc`, `statement-key.pem`.
fn file_name(slot: &Slot) -> String {
    match slot.role {
        KeyRole::Statement => format!("{}.pem", slot.label),
        KeyRole::Package | KeyRole::Metadata | KeyRole::PackagePqc | KeyRole::MetadataPqc => {
            format!("{}.asc", slot.label)
        }
    }
}

impl<V: Vault> Kept<V> {
    fn statement_key(&self, slot: &Slot) -> Result<StatementKey, KeyError> {
        let secret = self.0.get(&file_name(slot))?;
        let pem = std::str::from_utf8(&secret)
            .map_err(|_| KeyError::Statement(DsseError::Key { kind: "private" }))?;
        StatementKey::from_pem(pem).map_err(KeyError::Statement)
    }
}

impl<V: Vault> KeyStore for Kept<V> {
    fn make(&self, slot: &Slot, config: &SignerConfig, now: Timestamp) -> Result<bool, KeyError> {
        let file = file_name(slot);
        if self.0.has(&file)? {
            return Ok(false);
        }
        let secret = match slot.role {
            KeyRole::Package | KeyRole::Metadata => {
                SigningKey::generate(&config.user_id, config.key_algorithm, now)
                    .and_then(|key| key.to_secret_armor())
                    .map_err(slot.open_pgp())?
            }
            KeyRole::PackagePqc | KeyRole::MetadataPqc => PqcKey::generate(&config.user_id, now)
                .and_then(|key| key.to_secret_armor())
                .map_err(slot.open_pgp())?,
            KeyRole::Statement => new_statement_key()?,
        };
        self.0.put(&file, &secret)
    }

    fn open_pgp(&self, slot: &Slot) -> Result<SigningKey, KeyError> {
        let secret = self.0.get(&file_name(slot))?;
        SigningKey::from_bytes(&secret).map_err(slot.open_pgp())
    }

    fn statement(&self, slot: &Slot) -> Result<Arc<dyn StatementSigner>, KeyError> {
        Ok(Arc::new(self.statement_key(slot)?))
    }

    fn quick_statement(&self, slot: &Slot) -> Result<Arc<dyn StatementSigner>, KeyError> {
        Ok(Arc::new(QuickKey::new(&self.statement_key(slot)?)?))
    }

    fn make_log(&self, config: &SignerConfig) -> Result<Vec<&'static str>, KeyError> {
        log::make(&self.0, config)
    }

    fn log(&self, config: &SignerConfig) -> Result<Vec<LogKey>, KeyError> {
        log::load(&self.0, config)
    }

    fn post_quantum(&self, slot: &Slot) -> Result<PqcKey, KeyError> {
        let secret = self.0.get(&file_name(slot))?;
        PqcKey::from_bytes(&secret).map_err(slot.open_pgp())
    }
}

fn new_statement_key() -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let key = loop {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(KeyError::Random)?;
        if let Some(key) = StatementKey::from_seed(&seed) {
            break key;
        }
    };
    let pem = key.to_pem().map_err(KeyError::Statement)?;
    Ok(Zeroizing::new(pem.into_bytes()))
}
