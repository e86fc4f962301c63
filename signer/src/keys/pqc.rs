//! Post-quantum signatures: OpenPGP v6 with ML-DSA-65 and Ed25519 together (RFC 9980), so that a forger
//! would have to break both.
//!
//! Few clients can read them yet, and gpg refuses the certificate, so the certificate has a file of
//! its own and the signatures stand beside what they sign. Hashed with SHA-512 after a salt, as
//! version 6 wants it. The keys are files with every backend: no token makes such signatures yet.

use super::openpgp::{
    OpenPgpError, SignatureHasher, armored, armored_certificate, library, memory, system_time,
};
use super::revocation::Revocation;
use repo_model::Timestamp;
use sequoia_openpgp as openpgp;

use openpgp::armor;
use openpgp::cert::Cert;
use openpgp::crypto::KeyPair;
use openpgp::packet::key::{Key6, PrimaryRole, SecretParts};
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::{Key, Packet, Signature, UserID};
use openpgp::parse::Parse as _;
use openpgp::serialize::MarshalInto as _;
use openpgp::types::{Features, HashAlgorithm, KeyFlags, PublicKeyAlgorithm, SignatureType};
use zeroize::Zeroizing;

/// Hash of every signature made here.
pub const HASH: HashAlgorithm = HashAlgorithm::SHA512;
/// The one algorithm.
pub const ALGORITHM: PublicKeyAlgorithm = PublicKeyAlgorithm::MLDSA65_Ed25519;

/// A private key with its certificate. Its `Debug` shows the fingerprint only.
#[derive(Clone)]
pub struct PqcKey {
    certificate: Cert,
    pair: KeyPair,
}

impl std::fmt::Debug for PqcKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PqcKey({})", self.fingerprint())
    }
}

impl PqcKey {
    /// Makes a key with one user id, valid from `now` on and without end.
    pub fn generate(user_id: &str, now: Timestamp) -> Result<Self, OpenPgpError> {
        let mut key: Key6<SecretParts, PrimaryRole> =
            Key6::generate_mldsa65_ed25519().map_err(library("make a key"))?;
        key.set_creation_time(system_time(now))
            .map_err(library("date a key"))?;
        let key = Key::V6(key);
        let mut pair = key
            .clone()
            .into_keypair()
            .map_err(library("use a new key"))?;
        let bare = Cert::from_packets(std::iter::once(Packet::SecretKey(key)))
            .map_err(library("make a certificate"))?;
        let user_id = UserID::from(user_id);
        let properties = |kind| {
            SignatureBuilder::new(kind)
                .set_hash_algo(HASH)
                .set_signature_creation_time(system_time(now))
                .and_then(|s| s.set_key_flags(KeyFlags::empty().set_certification().set_signing()))
                .and_then(|s| s.set_features(Features::empty().set_seipdv1().set_seipdv2()))
                .and_then(|s| s.set_preferred_hash_algorithms(vec![HASH]))
        };
        let direct = properties(SignatureType::DirectKey)
            .and_then(|s| s.sign_direct_key(&mut pair, Some(bare.primary_key().key())))
            .map_err(library("bind a key"))?;
        let binding = properties(SignatureType::PositiveCertification)
            .and_then(|s| user_id.bind(&mut pair, &bare, s))
            .map_err(library("bind a user id"))?;
        let packets = [
            Packet::from(direct),
            Packet::from(user_id),
            Packet::from(binding),
        ];
        let (certificate, _) = bare
            .insert_packets(packets)
            .map_err(library("make a certificate"))?;
        Ok(Self { certificate, pair })
    }

    /// Reads a private key, armoured or binary, that no passphrase locks.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OpenPgpError> {
        let certificate = Cert::from_bytes(bytes).map_err(library("read a private key"))?;
        let key = certificate.primary_key().key().clone();
        let (version, algorithm) = (key.version(), key.pk_algo());
        if version != 6 || algorithm != ALGORITHM {
            return Err(OpenPgpError::NotPostQuantum { version, algorithm });
        }
        let secret = key
            .parts_into_secret()
            .map_err(|_| OpenPgpError::NoSecret)?;
        if !secret.has_unencrypted_secret() {
            return Err(OpenPgpError::Locked);
        }
        let pair = secret
            .into_keypair()
            .map_err(library("use a private key"))?;
        Ok(Self { certificate, pair })
    }

    /// The private key in armour; the caller keeps it readable by its owner only.
    pub fn to_secret_armor(&self) -> Result<Zeroizing<Vec<u8>>, OpenPgpError> {
        self.certificate
            .as_tsk()
            .armored()
            .to_vec()
            .map(Zeroizing::new)
            .map_err(library("write a private key"))
    }

    /// The certificate (public half) in armour.
    pub fn certificate_armor(&self) -> Result<String, OpenPgpError> {
        armored_certificate(&self.certificate)
    }

    /// The certificate with a statement of this key that it is not to be trusted any more, in armour.
    pub(super) fn revoked_certificate(
        &self,
        revocation: Revocation<'_>,
    ) -> Result<String, OpenPgpError> {
        revocation.of(&self.certificate, &mut self.pair.clone(), HASH)
    }

    /// The certificate, for checking what was just signed.
    pub fn certificate(&self) -> &Cert {
        &self.certificate
    }

    /// The fingerprint in upper-case hex.
    pub fn fingerprint(&self) -> String {
        self.certificate.fingerprint().to_hex()
    }

    /// Signs `message`; returns a binary signature packet.
    pub fn sign(&self, message: &[u8], now: Timestamp) -> Result<Vec<u8>, OpenPgpError> {
        let mut hasher = PqcHasher::new()?;
        hasher.update(message);
        Packet::from(self.sign_hashed(hasher, now)?)
            .to_vec()
            .map_err(library("write a signature"))
    }

    /// Signs what `hasher` was fed; returns the signature in armour.
    pub fn sign_armored(&self, hasher: PqcHasher, now: Timestamp) -> Result<String, OpenPgpError> {
        let packet = Packet::from(self.sign_hashed(hasher, now)?)
            .to_vec()
            .map_err(library("write a signature"))?;
        armored(armor::Kind::Signature, &packet).map_err(memory("write a signature"))
    }

    /// Signs and checks its own work: a fault in the arithmetic must not leave the process.
    fn sign_hashed(&self, hasher: PqcHasher, now: Timestamp) -> Result<Signature, OpenPgpError> {
        let PqcHasher { salt, hasher } = hasher;
        let (builder, _) = SignatureBuilder::new(SignatureType::Binary)
            .set_hash_algo(HASH)
            .set_prefix_salt(salt);
        // Signing needs `&mut`; a clone a signature lets threads sign side by side.
        let signature = builder
            .set_signature_creation_time(system_time(now))
            .and_then(|s| s.sign_hash(&mut self.pair.clone(), hasher.context()))
            .map_err(library("sign"))?;
        if !hasher.verifies(&signature, self.certificate.primary_key().key()) {
            return Err(OpenPgpError::OwnWork);
        }
        Ok(signature)
    }
}

/// Takes in a message piece by piece, for one signature over all of it.
#[derive(Clone)]
pub struct PqcHasher {
    salt: Vec<u8>,
    hasher: SignatureHasher,
}

impl PqcHasher {
    /// An empty message behind a fresh salt.
    pub fn new() -> Result<Self, OpenPgpError> {
        let size = HASH.salt_size().map_err(library("salt a hash"))?;
        let mut salt = vec![0; size];
        getrandom::fill(&mut salt).map_err(|source| OpenPgpError::Library {
            task: "salt a hash",
            source: source.to_string().into(),
        })?;
        Ok(Self {
            hasher: SignatureHasher::salted(&salt)?,
            salt,
        })
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }
}
