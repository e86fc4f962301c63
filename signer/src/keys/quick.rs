//! A statement key in memory that signs with fresh randomness, in a sixth of the time that the repeatable
//! signatures of [`StatementKey`] take: for the two statements about each package.
//!
//! Only there: whoever asks again for the last release must get the very same envelope, because the next
//! release names it by digest.

use super::KeyError;
use repo_model::dsse::{DsseError, StatementKey, StatementPublicKey, StatementSigner};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use std::fmt;

/// The key as ring holds it, for as long as the process lives.
pub(super) struct QuickKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    public: StatementPublicKey,
}

impl QuickKey {
    pub(super) fn new(key: &StatementKey) -> Result<Self, KeyError> {
        let document = key.to_pkcs8().map_err(KeyError::Statement)?;
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_bytes(), &random)
            .map_err(|_| KeyError::Statement(DsseError::Key { kind: "private" }))?;
        Ok(Self {
            pair,
            random,
            public: key.public(),
        })
    }
}

impl fmt::Debug for QuickKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QuickKey({})", self.public.key_id())
    }
}

impl StatementSigner for QuickKey {
    fn public(&self) -> StatementPublicKey {
        self.public.clone()
    }

    fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, DsseError> {
        let signature = self.pair.sign(&self.random, message);
        let signature = signature.map_err(|_| DsseError::KeyFailed("no random bytes".into()))?;
        Ok(signature.as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::dsse::IN_TOTO_PAYLOAD_TYPE;

    #[test]
    fn it_is_the_same_key_and_its_envelopes_open_with_it() {
        let slow = StatementKey::from_seed(&[7; 32]).unwrap();
        let quick = QuickKey::new(&slow).unwrap();
        assert_eq!(quick.public(), slow.public());
        let made = quick.envelope(IN_TOTO_PAYLOAD_TYPE, b"{}").unwrap();
        assert_eq!(made.verified_by(&slow.public()).unwrap(), b"{}");
        assert_eq!(
            made.signatures[0].keyid,
            slow.sign(IN_TOTO_PAYLOAD_TYPE, b"{}").signatures[0].keyid
        );
        assert!(
            !format!("{quick:?}").contains("pair"),
            "nothing secret is shown"
        );
    }
}
