//! Signing with keys that stay in their token.

use super::KeyError;
use super::openpgp::{HASH, PrivateHalf};
use super::pkcs11::ED25519_BYTES;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use repo_model::dsse::{DsseError, StatementPublicKey, StatementSigner, der_signature};
use sequoia_openpgp as openpgp;
use sha2::{Digest as _, Sha256};
use std::sync::{Arc, Mutex};

use openpgp::crypto::{Signer, mpi};
use openpgp::packet::Key;
use openpgp::packet::key::{PublicParts, UnspecifiedRole};
use openpgp::types::HashAlgorithm;

/// A statement key that stays where it is.
pub(super) struct StatementTokenKey {
    pub(super) session: Arc<Mutex<Session>>,
    pub(super) handle: ObjectHandle,
    pub(super) public: StatementPublicKey,
}

impl std::fmt::Debug for StatementTokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StatementTokenKey({})", self.public.key_id())
    }
}

impl StatementSigner for StatementTokenKey {
    fn public(&self) -> StatementPublicKey {
        self.public.clone()
    }

    fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, DsseError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| DsseError::KeyFailed(error);
        let session = self
            .session
            .lock()
            .map_err(|_| failed(KeyError::TokenPoisoned.into()))?;
        let raw = session
            .sign(&Mechanism::Ecdsa, self.handle, &Sha256::digest(message))
            .map_err(|error| failed(error.into()))?;
        der_signature(&raw).ok_or_else(|| failed("the token gave no P-256 signature".into()))
    }
}

/// A private key that stays where it is.
pub(super) struct TokenKey {
    pub(super) session: Arc<Mutex<Session>>,
    pub(super) handle: ObjectHandle,
    pub(super) public: Key<PublicParts, UnspecifiedRole>,
}

impl PrivateHalf for TokenKey {
    fn signer(&self) -> Box<dyn Signer + '_> {
        Box::new(TokenSigner(self))
    }
}

struct TokenSigner<'a>(&'a TokenKey);

impl Signer for TokenSigner<'_> {
    fn public(&self) -> &Key<PublicParts, UnspecifiedRole> {
        &self.0.public
    }

    fn acceptable_hashes(&self) -> &[HashAlgorithm] {
        &[HASH]
    }

    fn sign(&mut self, hash: HashAlgorithm, digest: &[u8]) -> openpgp::Result<mpi::Signature> {
        let TokenKey {
            session, handle, ..
        } = self.0;
        let session = session
            .lock()
            .map_err(|_| openpgp::anyhow::Error::from(KeyError::TokenPoisoned))?;
        match self.0.public.mpis() {
            mpi::PublicKey::RSA { .. } => {
                // The token pads but does not name the hash.
                let named = [hash.oid()?, digest].concat();
                let s = session.sign(&Mechanism::RsaPkcs, *handle, &named)?;
                Ok(mpi::Signature::RSA {
                    s: mpi::MPI::new(&s),
                })
            }
            mpi::PublicKey::EdDSA { .. } => {
                let pure = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
                let raw = session.sign(&pure, *handle, digest)?;
                let (r, s) = raw.split_at_checked(ED25519_BYTES).unwrap_or((&raw, &[]));
                Ok(mpi::Signature::EdDSA {
                    r: mpi::MPI::new(r),
                    s: mpi::MPI::new(s),
                })
            }
            other => Err(openpgp::anyhow::anyhow!(
                "no such key in a token: {other:?}"
            )),
        }
    }
}
