//! Keys in files of `state_dir` that a passphrase locks: `package-key.asc.pgp`, `statement-key.pem.pgp`.
//!
//! Each is an OpenPGP message encrypted with the passphrase (AES-256), so that `gpg --decrypt` opens it
//! when nothing else is left. The passphrase is read from `signer.passphrase_file`, which belongs on other
//! storage than the keys: a file in memory, or a credential of the service.

use super::KeyError;
use super::backend::KeyBackend;
use super::error::MIN_PASSPHRASE_BYTES;
use super::files::{create, exists, read_private};
use super::openpgp::OpenPgpError;
use super::seal::{seal, unseal};
use super::vault::{Kept, Vault};
use repo_model::config::KeyBackendName;
use sequoia_openpgp::crypto::Password;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

pub(super) static BACKEND: KeyBackend = KeyBackend {
    name: KeyBackendName::EncryptedFile,
    open: |config| {
        let file = config.passphrase_file.as_deref();
        Ok(Box::new(Kept(LockedFiles {
            dir: config.state_dir.clone(),
            passphrase: passphrase(file.ok_or(KeyError::NoPassphraseFile)?)?,
        })))
    },
};

/// The first line of the file.
fn passphrase(path: &Path) -> Result<Password, KeyError> {
    let bytes = read_private(path)?;
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    if line.len() < MIN_PASSPHRASE_BYTES {
        return Err(KeyError::WeakPassphrase {
            path: path.to_owned(),
        });
    }
    Ok(Password::from(line))
}

struct LockedFiles {
    dir: PathBuf,
    /// Kept encrypted in memory by the library.
    passphrase: Password,
}

impl LockedFiles {
    fn path(&self, file: &str) -> PathBuf {
        self.dir.join(format!("{file}.pgp"))
    }

    fn failed(&self, file: &str) -> impl FnOnce(OpenPgpError) -> KeyError + use<> {
        let path = self.path(file);
        move |source| KeyError::Sealed { path, source }
    }
}

impl Vault for LockedFiles {
    fn has(&self, file: &str) -> Result<bool, KeyError> {
        exists(&self.path(file))
    }

    fn put(&self, file: &str, secret: &[u8]) -> Result<bool, KeyError> {
        let sealed = seal(secret, &self.passphrase).map_err(self.failed(file))?;
        create(&self.dir, &format!("{file}.pgp"), &sealed, 0o600)
    }

    fn get(&self, file: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let sealed = read_private(&self.path(file))?;
        unseal(&sealed, &self.passphrase).map_err(self.failed(file))
    }
}
