//! Keys in a PKCS #11 token: made inside it, never extractable; only digests go in.
//!
//! The token holds a key pair under the label `package-key` or `metadata-key`. A token knows no
//! creation time, and an OpenPGP certificate is nothing without one: so the certificate is made once
//! and kept in `state_dir` as `<label>.certificate.asc`. Back it up; without it the same key would get
//! another fingerprint.
//!
//! One session serves all threads, one signature at a time: PKCS #11 sessions are not to be shared.

use super::backend::{KeyBackend, KeyStore};
use super::openpgp::{HASH, PrivateHalf, SigningKey, bind, library, system_time};
use super::{KeyError, create, exists, read_private, read_public};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as TokenFault, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use repo_model::Timestamp;
use repo_model::config::{KeyAlgorithm, KeyBackendName, SignerConfig};
use sequoia_openpgp as openpgp;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use openpgp::cert::Cert;
use openpgp::crypto::{Signer, mpi};
use openpgp::packet::Key;
use openpgp::packet::key::{Key4, PrimaryRole, PublicParts, UnspecifiedRole};
use openpgp::parse::Parse as _;
use openpgp::types::HashAlgorithm;

pub(super) static BACKEND: KeyBackend = KeyBackend {
    name: KeyBackendName::Pkcs11,
    open: |config| Ok(Box::new(Token::open(config)?)),
};

/// `edwards25519` as a PrintableString in DER (PKCS #11 3.0, section 2.3.10).
const EDWARDS25519: &[u8] = b"\x13\x0cedwards25519";
/// Bytes of an Ed25519 public key, and of each half of a signature.
const ED25519_BYTES: usize = 32;

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
    fn find(&self, name: &str, class: ObjectClass) -> Result<Vec<ObjectHandle>, KeyError> {
        let label = Attribute::Label(label(name).as_bytes().to_vec());
        self.with("look for a key in", |session| {
            session.find_objects(&[Attribute::Class(class), label])
        })
    }

    /// The one object of this class under the key's label.
    fn one(&self, name: &'static str, class: ObjectClass) -> Result<ObjectHandle, KeyError> {
        match self.find(name, class)?.as_slice() {
            [one] => Ok(*one),
            all => Err(KeyError::TokenKeys {
                name: self.name.clone(),
                label: label(name),
                found: all.len(),
            }),
        }
    }

    fn generate(&self, name: &'static str, algorithm: KeyAlgorithm) -> Result<(), KeyError> {
        let label = Attribute::Label(label(name).as_bytes().to_vec());
        let mut public = vec![
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Verify(true),
            label.clone(),
        ];
        let mechanism = match algorithm {
            KeyAlgorithm::Ed25519 => {
                public.push(Attribute::EcParams(EDWARDS25519.to_vec()));
                Mechanism::EccEdwardsKeyPairGen
            }
            KeyAlgorithm::Rsa4096 => {
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

    /// The public half as the token has it, dated `made`.
    fn public(
        &self,
        name: &'static str,
        made: Timestamp,
    ) -> Result<Key<PublicParts, PrimaryRole>, KeyError> {
        let handle = self.one(name, ObjectClass::PUBLIC_KEY)?;
        let wanted = [
            AttributeType::EcPoint,
            AttributeType::Modulus,
            AttributeType::PublicExponent,
        ];
        let attributes = self.with("read a key of", |session| {
            session.get_attributes(handle, &wanted)
        })?;
        let (mut point, mut modulus, mut exponent) = (None, None, None);
        for attribute in attributes {
            match attribute {
                Attribute::EcPoint(bytes) => point = Some(bytes),
                Attribute::Modulus(bytes) => modulus = Some(bytes),
                Attribute::PublicExponent(bytes) => exponent = Some(bytes),
                _ => {}
            }
        }
        let made = system_time(made);
        let key = match (&point, modulus, exponent) {
            // DER OCTET STRING; some tokens give the bytes alone.
            (Some(der), ..) if der.len() >= ED25519_BYTES => {
                Key4::import_public_ed25519(&der[der.len() - ED25519_BYTES..], made)
            }
            (_, Some(modulus), Some(exponent)) => {
                Key4::import_public_rsa(&exponent, &modulus, made)
            }
            _ => return Err(KeyError::TokenKeyKind { label: label(name) }),
        };
        key.map(Key::V4).map_err(|error| KeyError::OpenPgp {
            name,
            source: library("read a public key")(error),
        })
    }

    fn certificate_file(name: &str) -> String {
        format!("{}.certificate.asc", label(name))
    }
}

impl KeyStore for Token {
    fn make(
        &self,
        name: &'static str,
        config: &SignerConfig,
        now: Timestamp,
    ) -> Result<bool, KeyError> {
        let file = Self::certificate_file(name);
        if exists(&self.state_dir.join(&file))? {
            return Ok(false);
        }
        // After an earlier run that was cut short, the key is there and only its certificate is not.
        if self.find(name, ObjectClass::PRIVATE_KEY)?.is_empty() {
            self.generate(name, config.key_algorithm)?;
        }
        let public = self.public(name, now)?;
        let private = TokenKey {
            session: Arc::clone(&self.session),
            handle: self.one(name, ObjectClass::PRIVATE_KEY)?,
            public: public.clone().role_into_unspecified(),
        };
        let open_pgp = |source| KeyError::OpenPgp { name, source };
        let certificate =
            bind(public.into(), &mut *private.signer(), &config.user_id, now).map_err(open_pgp)?;
        let key = SigningKey::new(certificate, Arc::new(private)).map_err(open_pgp)?;
        let armored = key.certificate_armor().map_err(open_pgp)?;
        create(&self.state_dir, &file, armored.as_bytes(), 0o600)
    }

    fn load(&self, name: &'static str) -> Result<SigningKey, KeyError> {
        let path = self.state_dir.join(Self::certificate_file(name));
        let open_pgp = |source| KeyError::OpenPgp { name, source };
        let certificate = Cert::from_bytes(&read_public(&path)?)
            .map_err(|error| open_pgp(library("read a certificate")(error)))?;
        let public = certificate.primary_key().key();
        if self.public(name, Timestamp::from_unix_secs(0))?.mpis() != public.mpis() {
            return Err(KeyError::TokenMismatch { path });
        }
        let private = TokenKey {
            session: Arc::clone(&self.session),
            handle: self.one(name, ObjectClass::PRIVATE_KEY)?,
            public: public.clone().role_into_unspecified(),
        };
        SigningKey::new(certificate, Arc::new(private)).map_err(open_pgp)
    }
}

/// `package-key` of `package-key.asc`.
fn label(name: &str) -> &str {
    name.strip_suffix(".asc").unwrap_or(name)
}

/// A private key that stays where it is.
struct TokenKey {
    session: Arc<Mutex<Session>>,
    handle: ObjectHandle,
    public: Key<PublicParts, UnspecifiedRole>,
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
