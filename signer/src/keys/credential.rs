//! Keys as credentials of the service: the service manager decrypts them (systemd-creds(1), bound to the
//! machine or its TPM) into memory that only this service can read, and names the directory in
//! `$CREDENTIALS_DIRECTORY`. A credential is called like the key's file: `package-key.asc`.
//!
//! A service cannot make credentials. What `init` and `key stage` make lies in `new-credentials` below
//! `state_dir`, is used from there, and a warning says how to hand it to the service manager until it is
//! gone from there.

use super::KeyError;
use super::backend::KeyBackend;
use super::files::{create, exists, make_state_dir, read_credential, read_private};
use super::vault::{Kept, Vault};
use repo_model::config::KeyBackendName;
use std::path::PathBuf;
use zeroize::Zeroizing;

pub(super) static BACKEND: KeyBackend = KeyBackend {
    name: KeyBackendName::Credential,
    open: |config| {
        Ok(Box::new(Kept(Credentials {
            given: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            new: config.state_dir.join("new-credentials"),
        })))
    },
};

struct Credentials {
    /// By the service manager.
    given: Option<PathBuf>,
    /// Made here, not yet handed over.
    new: PathBuf,
}

impl Credentials {
    fn given(&self, file: &str) -> Result<Option<PathBuf>, KeyError> {
        let Some(dir) = &self.given else {
            return Ok(None);
        };
        let path = dir.join(file);
        Ok(exists(&path)?.then_some(path))
    }
}

impl Vault for Credentials {
    fn has(&self, file: &str) -> Result<bool, KeyError> {
        Ok(self.given(file)?.is_some() || exists(&self.new.join(file))?)
    }

    fn put(&self, file: &str, secret: &[u8]) -> Result<bool, KeyError> {
        make_state_dir(&self.new)?;
        create(&self.new, file, secret, 0o600)
    }

    fn get(&self, file: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        if let Some(path) = self.given(file)? {
            return read_credential(&path);
        }
        let path = self.new.join(file);
        if !exists(&path)? {
            let file = file.to_owned();
            return Err(KeyError::NoCredential { file });
        }
        tracing::warn!(
            "{0} lies on the disk as it is: `systemd-creds encrypt --name={file} {0} \
             /etc/credstore.encrypted/hallmark-signer.{file}`, name it in the service file with \
             LoadCredentialEncrypted={file}:/etc/credstore.encrypted/hallmark-signer.{file}, and remove it",
            path.display()
        );
        read_private(&path)
    }
}
