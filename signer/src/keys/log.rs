//! The key that signs the heads of the transparency log: Ed25519, with every backend a file (PKCS #8), since
//! its name, `signer.log_origin`, is part of it. It signs nothing else, and no other key signs heads.

use super::KeyError;
use super::files::replace;
use super::vault::Vault;
use repo_model::config::SignerConfig;
use repo_model::log::{LogKey, NoteError, SignatureKind};
use std::path::Path;
use zeroize::Zeroizing;

/// File name of the log's key.
pub const LOG_KEY: &str = "log-key.pem";
/// File name of the log's public key, `NAME+HASH+KEY` (C2SP `signed-note`).
pub const LOG_PUBLIC: &str = "log.pub";

/// Makes the key when there is none; `true` when it was made now.
pub(super) fn make(vault: &impl Vault, config: &SignerConfig) -> Result<bool, KeyError> {
    if vault.has(LOG_KEY)? {
        return Ok(false);
    }
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(KeyError::Random)?;
    let key =
        LogKey::from_seed(&config.log_origin, SignatureKind::Log, &seed).map_err(KeyError::Log)?;
    let pem = Zeroizing::new(key.to_pem().map_err(KeyError::Log)?);
    vault.put(LOG_KEY, pem.as_bytes())
}

/// Opens the key under the configured name.
pub(super) fn load(vault: &impl Vault, config: &SignerConfig) -> Result<LogKey, KeyError> {
    let pem = vault.get(LOG_KEY)?;
    std::str::from_utf8(&pem)
        .map_err(|_| NoteError::Key)
        .and_then(|pem| LogKey::from_pem(&config.log_origin, SignatureKind::Log, pem))
        .map_err(KeyError::Log)
}

/// Writes the public half beside the others.
pub(super) fn write_public(dir: &Path, key: &LogKey) -> Result<(), KeyError> {
    let line = format!("{}\n", key.public());
    replace(dir, LOG_PUBLIC, line.as_bytes(), 0o644)
}
