//! Locking bytes with a passphrase: an OpenPGP message as `gpg --symmetric` makes it.

use super::openpgp::{OpenPgpError, library, memory};
use sequoia_openpgp as openpgp;

use openpgp::cert::Cert;
use openpgp::crypto::{Password, SessionKey};
use openpgp::packet::{PKESK, SKESK};
use openpgp::parse::Parse as _;
use openpgp::parse::stream::{
    DecryptionHelper, DecryptorBuilder, MessageStructure, VerificationHelper,
};
use openpgp::policy::StandardPolicy;
use openpgp::serialize::stream::{Armorer, Encryptor, LiteralWriter, Message};
use openpgp::types::SymmetricAlgorithm;
use openpgp::{KeyHandle, anyhow};
use std::io::{Read as _, Write as _};
use zeroize::Zeroizing;

/// Locks `secret`; the result is armoured.
pub(super) fn seal(secret: &[u8], passphrase: &Password) -> Result<Vec<u8>, OpenPgpError> {
    let task = "lock a key";
    let mut sealed = Vec::new();
    let mut lock = || -> anyhow::Result<()> {
        let message = Armorer::new(Message::new(&mut sealed)).build()?;
        let message = Encryptor::with_passwords(message, [passphrase.clone()])
            .symmetric_algo(SymmetricAlgorithm::AES256)
            .build()?;
        let mut writer = LiteralWriter::new(message).build()?;
        writer.write_all(secret)?;
        writer.finalize()
    };
    lock().map_err(library(task))?;
    Ok(sealed)
}

/// What `sealed` holds; an error with another passphrase, or when a byte of it was changed.
pub(super) fn unseal(
    sealed: &[u8],
    passphrase: &Password,
) -> Result<Zeroizing<Vec<u8>>, OpenPgpError> {
    let task = "unlock a key";
    let policy = StandardPolicy::new();
    let mut reader = DecryptorBuilder::from_bytes(sealed)
        .and_then(|builder| builder.with_policy(&policy, None, Opener(passphrase)))
        .map_err(library(task))?;
    let mut secret = Zeroizing::new(Vec::with_capacity(sealed.len()));
    // To the end: only there is it known that nothing was changed.
    reader.read_to_end(&mut secret).map_err(memory(task))?;
    Ok(secret)
}

struct Opener<'a>(&'a Password);

impl VerificationHelper for Opener<'_> {
    fn get_certs(&mut self, _: &[KeyHandle]) -> anyhow::Result<Vec<Cert>> {
        Ok(Vec::new())
    }

    fn check(&mut self, _: MessageStructure<'_>) -> anyhow::Result<()> {
        Ok(())
    }
}

impl DecryptionHelper for Opener<'_> {
    fn decrypt(
        &mut self,
        _: &[PKESK],
        locks: &[SKESK],
        _: Option<SymmetricAlgorithm>,
        decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
    ) -> anyhow::Result<Option<Cert>> {
        for lock in locks {
            if let Ok((algorithm, key)) = lock.decrypt(self.0)
                && decrypt(algorithm, &key)
            {
                return Ok(None);
            }
        }
        Err(anyhow::anyhow!("the passphrase is another one"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_passphrase_opens_what_it_locked_and_only_unchanged() {
        let passphrase = Password::from("correct horse battery staple");
        let sealed = seal(b"secret", &passphrase).unwrap();
        assert!(sealed.starts_with(b"-----BEGIN PGP MESSAGE-----"));
        assert_eq!(*unseal(&sealed, &passphrase).unwrap(), b"secret");
        assert!(unseal(&sealed, &Password::from("another one of that length")).is_err());
        let mut changed = sealed.clone();
        let middle = changed.len() / 2;
        changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
        assert!(unseal(&changed, &passphrase).is_err());
        assert!(unseal(&sealed[..sealed.len() / 2], &passphrase).is_err());
    }
}
