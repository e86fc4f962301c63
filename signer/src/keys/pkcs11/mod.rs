//! Keys in a PKCS #11 token: made inside it, never extractable; only digests go in.
//!
//! The token holds a key pair under the key's label: `package-key`, `metadata-key`, `statement-key`, and
//! later ones, or under the name that `signer.pkcs11.names` gives it. A key that is there already is taken as it is;
//! so a module that makes no keys for others (siguldry's) serves as well, with keys made by its own tools. A token
//! knows no creation time, and an OpenPGP certificate is nothing without one: so the
//! certificate is made once and kept in `state_dir` as `<label>.certificate.asc`. Back it up; without it
//! the same key would get another fingerprint. A statement key needs none.
//!
//! Post-quantum keys are files beside it (see [`super::file`]): tokens that make such signatures are few, and none is asked
//! for them yet.

mod making;
mod module;
mod signing;

use self::making::{Kind, generate};
use self::module::{Module, OpenToken};
use self::signing::{StatementTokenKey, TokenKey};
use super::backend::{KeyBackend, KeyStore, Slot};
use super::files::{create, exists, read_public};
use super::openpgp::{PrivateHalf as _, SigningKey, bind, library, system_time};
use super::pqc::PqcKey;
use super::{KeyError, file};
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use repo_model::Timestamp;
use repo_model::config::{KeyBackendName, SignerConfig};
use repo_model::dsse::{StatementPublicKey, StatementSigner};
use repo_model::log::LogKey;
use repo_model::wire::signer::KeyRole;
use sequoia_openpgp as openpgp;
use std::path::PathBuf;
use std::sync::Arc;

use openpgp::cert::Cert;
use openpgp::packet::Key;
use openpgp::packet::key::{Key4, PrimaryRole, PublicParts};
use openpgp::parse::Parse as _;

pub(super) static BACKEND: KeyBackend = KeyBackend {
    name: KeyBackendName::Pkcs11,
    open: |config| Ok(Box::new(Tokens::open(config)?)),
};

/// Bytes of an uncompressed point on the curve P-256.
const P256_POINT_BYTES: usize = 65;
/// Bytes of an Ed25519 public key, and of each half of a signature.
const ED25519_BYTES: usize = 32;

struct Tokens {
    module: Module,
    state_dir: PathBuf,
}

impl Tokens {
    fn open(config: &SignerConfig) -> Result<Self, KeyError> {
        let wanted = config.pkcs11.as_ref().ok_or(KeyError::NoTokenSettings)?;
        Ok(Self {
            module: Module::load(wanted)?,
            state_dir: config.state_dir.clone(),
        })
    }

    /// Makes the key in its token unless it is there; whether it was made now.
    fn made_in_token(&self, slot: &Slot, config: &SignerConfig) -> Result<bool, KeyError> {
        let (label, kind) = (
            self.module.key_name(slot),
            Kind::of(slot.role, config.key_algorithm),
        );
        let token = match self.module.token_of(slot) {
            // There is nothing to make it in: the key is the token.
            Err(KeyError::NoToken { name }) if self.module.is_one_token_a_key() => {
                return Err(KeyError::TokenMakesNone {
                    name,
                    label: label.to_owned(),
                    kind: kind.to_string(),
                    why: "the module has no token of that name".to_owned(),
                });
            }
            other => other?,
        };
        if !token.find(label, ObjectClass::PRIVATE_KEY)?.is_empty() {
            return Ok(false);
        }
        generate(&token, label, kind)?;
        Ok(true)
    }

    fn token_key(
        &self,
        slot: &Slot,
        public: Key<PublicParts, openpgp::packet::key::UnspecifiedRole>,
    ) -> Result<TokenKey, KeyError> {
        let token = self.module.token_of(slot)?;
        Ok(TokenKey {
            handle: token.one(self.module.key_name(slot), ObjectClass::PRIVATE_KEY)?,
            token,
            public,
        })
    }

    /// The public half's attributes, as far as the token has them: point, modulus, exponent.
    fn public_parts(&self, slot: &Slot) -> Result<PublicHalf, KeyError> {
        let token = self.module.token_of(slot)?;
        let handle = token.one(self.module.key_name(slot), ObjectClass::PUBLIC_KEY)?;
        let wanted = [
            AttributeType::EcPoint,
            AttributeType::Modulus,
            AttributeType::PublicExponent,
        ];
        let attributes = token.with("read a key of", |session| {
            session.get_attributes(handle, &wanted)
        })?;
        let mut parts = PublicHalf::default();
        for attribute in attributes {
            match attribute {
                Attribute::EcPoint(bytes) => parts.point = Some(bytes),
                Attribute::Modulus(bytes) => parts.modulus = Some(bytes),
                Attribute::PublicExponent(bytes) => parts.exponent = Some(bytes),
                _ => {}
            }
        }
        Ok(parts)
    }

    /// The public half as OpenPGP has it, dated `made`.
    fn open_pgp_public(
        &self,
        slot: &Slot,
        made: Timestamp,
    ) -> Result<Key<PublicParts, PrimaryRole>, KeyError> {
        let parts = self.public_parts(slot)?;
        let made = system_time(made);
        let key = match (&parts.point, parts.modulus, parts.exponent) {
            (Some(der), ..) if der.len() <= ED25519_BYTES + 2 && der.len() >= ED25519_BYTES => {
                Key4::import_public_ed25519(last(der, ED25519_BYTES), made)
            }
            (_, Some(modulus), Some(exponent)) => {
                Key4::import_public_rsa(&exponent, &modulus, made)
            }
            _ => {
                return Err(KeyError::TokenKeyKind {
                    label: slot.label.clone(),
                    wanted: "RSA or Ed25519",
                });
            }
        };
        key.map(Key::V4)
            .map_err(|error| slot.open_pgp()(library("read a public key")(error)))
    }

    fn statement_public(&self, slot: &Slot) -> Result<StatementPublicKey, KeyError> {
        let parts = self.public_parts(slot)?;
        let point = parts.point.filter(|der| der.len() >= P256_POINT_BYTES);
        let public =
            point.and_then(|der| StatementPublicKey::from_sec1(last(&der, P256_POINT_BYTES)).ok());
        public.ok_or_else(|| KeyError::TokenKeyKind {
            label: slot.label.clone(),
            wanted: "P-256",
        })
    }

    fn make_certificate(
        &self,
        slot: &Slot,
        config: &SignerConfig,
        now: Timestamp,
    ) -> Result<bool, KeyError> {
        let public = self.open_pgp_public(slot, now)?;
        let private = self.token_key(slot, public.clone().role_into_unspecified())?;
        let certificate = bind(public.into(), &mut *private.signer(), &config.user_id, now)
            .map_err(slot.open_pgp())?;
        let key = SigningKey::new(certificate, Arc::new(private)).map_err(slot.open_pgp())?;
        let armored = key.certificate_armor().map_err(slot.open_pgp())?;
        let file = Self::certificate_file(slot);
        create(&self.state_dir, &file, armored.as_bytes(), 0o600)
    }

    fn certificate_file(slot: &Slot) -> String {
        format!("{}.certificate.asc", slot.label)
    }
}

/// What a token tells of a public key.
#[derive(Default)]
struct PublicHalf {
    /// DER OCTET STRING; some tokens give the bytes alone.
    point: Option<Vec<u8>>,
    modulus: Option<Vec<u8>>,
    exponent: Option<Vec<u8>>,
}

fn last(bytes: &[u8], count: usize) -> &[u8] {
    &bytes[bytes.len().saturating_sub(count)..]
}

impl KeyStore for Tokens {
    fn make(&self, slot: &Slot, config: &SignerConfig, now: Timestamp) -> Result<bool, KeyError> {
        if slot.role.is_post_quantum() {
            return file::store(&self.state_dir).make(slot, config, now);
        }
        let is_statement = slot.role == KeyRole::Statement;
        if !is_statement && exists(&self.state_dir.join(Self::certificate_file(slot)))? {
            return Ok(false);
        }
        // After an earlier run that was cut short, or when somebody made it for us, the key is there and only its
        // certificate is not.
        let is_new = self.made_in_token(slot, config)?;
        match is_statement {
            true => Ok(is_new),
            false => self.make_certificate(slot, config, now),
        }
    }

    fn open_pgp(&self, slot: &Slot) -> Result<SigningKey, KeyError> {
        let path = self.state_dir.join(Self::certificate_file(slot));
        let certificate = Cert::from_bytes(&read_public(&path)?)
            .map_err(|error| slot.open_pgp()(library("read a certificate")(error)))?;
        let public = certificate.primary_key().key();
        let at_any_time = Timestamp::from_unix_secs(0);
        if self.open_pgp_public(slot, at_any_time)?.mpis() != public.mpis() {
            return Err(KeyError::TokenMismatch { path });
        }
        let private = self.token_key(slot, public.clone().role_into_unspecified())?;
        SigningKey::new(certificate, Arc::new(private)).map_err(slot.open_pgp())
    }

    fn statement(&self, slot: &Slot) -> Result<Arc<dyn StatementSigner>, KeyError> {
        let token = self.module.token_of(slot)?;
        Ok(Arc::new(StatementTokenKey {
            handle: token.one(self.module.key_name(slot), ObjectClass::PRIVATE_KEY)?,
            token,
            public: self.statement_public(slot)?,
        }))
    }

    fn make_log(&self, config: &SignerConfig) -> Result<Vec<&'static str>, KeyError> {
        file::store(&self.state_dir).make_log(config)
    }

    fn log(&self, config: &SignerConfig) -> Result<Vec<LogKey>, KeyError> {
        file::store(&self.state_dir).log(config)
    }

    fn post_quantum(&self, slot: &Slot) -> Result<PqcKey, KeyError> {
        file::store(&self.state_dir).post_quantum(slot)
    }
}
