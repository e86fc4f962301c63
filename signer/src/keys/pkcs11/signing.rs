//! Signing with keys that stay in their token.

use super::super::openpgp::{HASH, PrivateHalf};
use super::{ED25519_BYTES, OpenToken};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::ObjectHandle;
use repo_model::dsse::{DsseError, StatementPublicKey, StatementSigner, der_signature};
use sequoia_openpgp as openpgp;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

use openpgp::crypto::{Signer, mpi};
use openpgp::packet::Key;
use openpgp::packet::key::{PublicParts, UnspecifiedRole};
use openpgp::types::HashAlgorithm;

/// A statement key that stays where it is.
pub(super) struct StatementTokenKey {
    pub(super) token: Arc<OpenToken>,
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
        let digest = Sha256::digest(message);
        let made = self.token.with("sign with", |session| {
            session.sign(&Mechanism::Ecdsa, self.handle, &digest)
        });
        let raw = made.map_err(|error| failed(error.into()))?;
        der_signature(&raw).ok_or_else(|| failed("the token gave no P-256 signature".into()))
    }
}

/// A private key that stays where it is.
pub(super) struct TokenKey {
    pub(super) token: Arc<OpenToken>,
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
        let TokenKey { token, handle, .. } = self.0;
        let sign = |mechanism: &Mechanism<'_>, message: &[u8]| {
            token.with("sign with", |session| {
                session.sign(mechanism, *handle, message)
            })
        };
        match self.0.public.mpis() {
            mpi::PublicKey::RSA { .. } => {
                // The token pads but does not name the hash.
                let named = [hash.oid()?, digest].concat();
                let s = sign(&Mechanism::RsaPkcs, &named)?;
                Ok(mpi::Signature::RSA {
                    s: mpi::MPI::new(&s),
                })
            }
            mpi::PublicKey::EdDSA { .. } => {
                let pure = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
                let raw = sign(&pure, digest)?;
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
