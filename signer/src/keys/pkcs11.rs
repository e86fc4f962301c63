//! Keys in a PKCS #11 token: made inside it, never extractable; only digests go in.
//!
//! The token holds a key pair under the key's label: `package-key`, `metadata-key`, `statement-key`, and
//! later ones. A token knows no creation time, and an OpenPGP certificate is nothing without one: so the
//! certificate is made once and kept in `state_dir` as `<label>.certificate.asc`. Back it up; without it
//! the same key would get another fingerprint. A statement key needs none.
//!
//! Post-quantum keys are files beside it (see [`super::file`]): no token makes such signatures yet.
//!
//! One session serves all threads, one signature at a time: PKCS #11 sessions are not to be shared.

use super::backend::{KeyBackend, KeyStore, Slot};
use super::files::{create, exists, read_private, read_public};
use super::openpgp::{PrivateHalf as _, SigningKey, bind, library, system_time};
use super::pkcs11_signing::{StatementTokenKey, TokenKey};
use super::pqc::PqcKey;
use super::{KeyError, file};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as TokenFault, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use repo_model::Timestamp;
use repo_model::config::{KeyAlgorithm, KeyBackendName, SignerConfig};
use repo_model::dsse::{StatementPublicKey, StatementSigner};
use repo_model::log::LogKey;
use repo_model::wire::signer::KeyRole;
use sequoia_openpgp as openpgp;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use openpgp::cert::Cert;
use openpgp::packet::Key;
use openpgp::packet::key::{Key4, PrimaryRole, PublicParts};
use openpgp::parse::Parse as _;

pub(super) static BACKEND: KeyBackend = KeyBackend {
    name: KeyBackendName::Pkcs11,
    open: |config| Ok(Box::new(Token::open(config)?)),
};

/// `edwards25519` as a PrintableString in DER (PKCS #11 3.0, section 2.3.10).
const EDWARDS25519: &[u8] = b"\x13\x0cedwards25519";
/// `prime256v1` as an OBJECT IDENTIFIER in DER.
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
/// Bytes of an uncompressed point on that curve.
const P256_POINT_BYTES: usize = 65;
/// Bytes of an Ed25519 public key, and of each half of a signature.
pub(super) const ED25519_BYTES: usize = 32;

struct Token {
    session: Arc<Mutex<Session>>,
    name: String,
    state_dir: PathBuf,
}

impl Token {
    fn open(config: &SignerConfig) -> Result<Self, KeyError> {
        let wanted = config.pkcs11.as_ref().ok_or(KeyError::NoTokenSettings)?;
        let name = wanted.token.clone();
        let fault = |task: &'static str| {
            let name = name.clone();
            move |source| KeyError::Token { task, name, source }
        };
        let module = Pkcs11::new(&wanted.module).map_err(fault("load the module for"))?;
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(TokenFault::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(source) => return Err(fault("start the module for")(source)),
        }
        let mut found = None;
        for slot in module
            .get_slots_with_initialized_token()
            .map_err(fault("look for"))?
        {
            let info = module.get_token_info(slot).map_err(fault("look for"))?;
            if info.label() == name {
                found = Some(slot);
                break;
            }
        }
        let slot = found.ok_or_else(|| KeyError::NoToken { name: name.clone() })?;
        let session = module.open_rw_session(slot).map_err(fault("open"))?;
        let pin = read_private(&wanted.pin_file)?;
        let pin = AuthPin::from(String::from_utf8_lossy(&pin).trim());
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(TokenFault::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(source) => return Err(fault("log in to")(source)),
        }
        Ok(Self {
            session: Arc::new(Mutex::new(session)),
            name,
            state_dir: config.state_dir.clone(),
        })
    }

    /// Does something with the session, alone.
    fn with<T>(
        &self,
        task: &'static str,
        what: impl FnOnce(&Session) -> Result<T, TokenFault>,
    ) -> Result<T, KeyError> {
        let session = self.session.lock().map_err(|_| KeyError::TokenPoisoned)?;
        what(&session).map_err(|source| KeyError::Token {
            task,
            name: self.name.clone(),
            source,
        })
    }

    /// The objects of this class under the key's label.
    fn find(&self, slot: &Slot, class: ObjectClass) -> Result<Vec<ObjectHandle>, KeyError> {
        let label = Attribute::Label(slot.label.as_bytes().to_vec());
        self.with("look for a key in", |session| {
            session.find_objects(&[Attribute::Class(class), label])
        })
    }

    /// The one object of this class under the key's label.
    fn one(&self, slot: &Slot, class: ObjectClass) -> Result<ObjectHandle, KeyError> {
        match self.find(slot, class)?.as_slice() {
            [one] => Ok(*one),
            all => Err(KeyError::TokenKeys {
                name: self.name.clone(),
                label: slot.label.clone(),
                found: all.len(),
            }),
        }
    }

    fn generate(&self, slot: &Slot, algorithm: KeyAlgorithm) -> Result<(), KeyError> {
        let label = Attribute::Label(slot.label.as_bytes().to_vec());
        let mut public = vec![
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Verify(true),
            label.clone(),
        ];
        let mechanism = match (slot.role, algorithm) {
            (KeyRole::Statement, _) => {
                public.push(Attribute::EcParams(P256.to_vec()));
                Mechanism::EccKeyPairGen
            }
            (_, KeyAlgorithm::Ed25519) => {
                public.push(Attribute::EcParams(EDWARDS25519.to_vec()));
                Mechanism::EccEdwardsKeyPairGen
            }
            (_, KeyAlgorithm::Rsa4096) => {
                public.push(Attribute::ModulusBits(4096.into()));
                public.push(Attribute::PublicExponent(vec![1, 0, 1]));
                Mechanism::RsaPkcsKeyPairGen
            }
        };
        let private = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            label,
        ];
        self.with("make a key in", |session| {
            session.generate_key_pair(&mechanism, &public, &private)
        })?;
        Ok(())
    }

    /// The public half's attributes, as far as the token has them: point, modulus, exponent.
    fn public_parts(&self, slot: &Slot) -> Result<PublicHalf, KeyError> {
        let handle = self.one(slot, ObjectClass::PUBLIC_KEY)?;
        let wanted = [
            AttributeType::EcPoint,
            AttributeType::Modulus,
            AttributeType::PublicExponent,
        ];
        let attributes = self.with("read a key of", |session| {
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
        let private = TokenKey {
            session: Arc::clone(&self.session),
            handle: self.one(slot, ObjectClass::PRIVATE_KEY)?,
            public: public.clone().role_into_unspecified(),
        };
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

impl KeyStore for Token {
    fn make(&self, slot: &Slot, config: &SignerConfig, now: Timestamp) -> Result<bool, KeyError> {
        if slot.role.is_post_quantum() {
            return file::store(&self.state_dir).make(slot, config, now);
        }
        let is_statement = slot.role == KeyRole::Statement;
        if !is_statement && exists(&self.state_dir.join(Self::certificate_file(slot)))? {
            return Ok(false);
        }
        // After an earlier run that was cut short, the key is there and only its certificate is not.
        let is_new = self.find(slot, ObjectClass::PRIVATE_KEY)?.is_empty();
        if is_new {
            self.generate(slot, config.key_algorithm)?;
        }
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
        let private = TokenKey {
            session: Arc::clone(&self.session),
            handle: self.one(slot, ObjectClass::PRIVATE_KEY)?,
            public: public.clone().role_into_unspecified(),
        };
        SigningKey::new(certificate, Arc::new(private)).map_err(slot.open_pgp())
    }

    fn statement(&self, slot: &Slot) -> Result<Arc<dyn StatementSigner>, KeyError> {
        Ok(Arc::new(StatementTokenKey {
            session: Arc::clone(&self.session),
            handle: self.one(slot, ObjectClass::PRIVATE_KEY)?,
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
