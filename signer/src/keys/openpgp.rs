//! OpenPGP v4 certificates and signatures, made so that rpm 4.18, rpm 6, gpg, sqv, dnf and zypper
//! all accept them.
//!
//! What that takes, found by trial: one primary key that certifies and signs (no subkeys), legacy
//! EdDSA (algorithm 22) rather than algorithm 27, and no *critical* subpackets for key expiry (9)
//! or primary user id (25), which rpm 4.18's own parser refuses. A certificate that never expires
//! and has one user id needs neither. ECDSA is no choice: rpm 4.18 calls its signatures BAD.

use super::revocation::Revocation;
use repo_model::Timestamp;
use repo_model::config::KeyAlgorithm;
use repo_model::rpm::signature::LegacySlot;
use sequoia_openpgp as openpgp;

use openpgp::armor;
use openpgp::cert::Cert;
use openpgp::crypto::hash::Context;
use openpgp::crypto::{KeyPair, Signer};
use openpgp::packet::key::{Key4, PrimaryRole, SecretParts};
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::{Key, Packet, Signature, UserID};
use openpgp::parse::Parse as _;
use openpgp::serialize::{Marshal as _, MarshalInto as _};
use openpgp::types::{Curve, Features, HashAlgorithm, KeyFlags, PublicKeyAlgorithm, SignatureType};
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// Hash of every OpenPGP signature made here: every rpm since 4.0 and every gpg knows it.
pub const HASH: HashAlgorithm = HashAlgorithm::SHA256;

/// A key cannot be made, read or used. The operator's fault when the key file was touched, ours
/// otherwise; retrying fails again.
#[derive(Debug, thiserror::Error)]
pub enum OpenPgpError {
    /// The library refused; its chain says why.
    #[error("cannot {task}")]
    Library {
        /// What was tried.
        task: &'static str,
        /// The library's words.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Not a private key.
    #[error("the key file holds no private key")]
    NoSecret,
    /// Locked with a passphrase.
    #[error("the private key is locked with a passphrase")]
    Locked,
    /// Our own signature does not verify.
    #[error("the signature just made does not verify")]
    OwnWork,
    /// Not the kind of key that the file must hold.
    #[error("a version {version} {algorithm} key: want version 6 and ML-DSA-65+Ed25519")]
    NotPostQuantum {
        /// OpenPGP version of the key.
        version: u8,
        /// Its algorithm.
        algorithm: PublicKeyAlgorithm,
    },
    /// A key that some client refuses.
    #[error(
        "a version {version} {algorithm} key cannot sign packages: want version 4 and RSA or EdDSA"
    )]
    Unsuitable {
        /// OpenPGP version of the key.
        version: u8,
        /// Its algorithm.
        algorithm: PublicKeyAlgorithm,
    },
}

/// Maps a library error with the task at hand.
pub(crate) fn library(task: &'static str) -> impl FnOnce(openpgp::anyhow::Error) -> OpenPgpError {
    move |source| OpenPgpError::Library {
        task,
        source: source.into(),
    }
}

/// Packets in armour.
pub(crate) fn armored(kind: armor::Kind, packets: &[u8]) -> std::io::Result<String> {
    let mut writer = armor::Writer::new(Vec::new(), kind)?;
    writer.write_all(packets)?;
    Ok(String::from_utf8_lossy(&writer.finalize()?).into_owned())
}

/// The same for plain I/O into memory.
pub(crate) fn memory(task: &'static str) -> impl FnOnce(std::io::Error) -> OpenPgpError {
    move |source| OpenPgpError::Library {
        task,
        source: source.into(),
    }
}

/// The secret half of a key, in memory or elsewhere.
pub(crate) trait PrivateHalf: Send + Sync {
    /// Something to sign with; threads may hold one each.
    fn signer(&self) -> Box<dyn Signer + '_>;
}

impl PrivateHalf for KeyPair {
    fn signer(&self) -> Box<dyn Signer + '_> {
        // Signing needs `&mut`; a clone a signature lets threads sign side by side.
        Box::new(self.clone())
    }
}

/// A private signing key with its certificate. Its `Debug` shows the fingerprint only.
#[derive(Clone)]
pub struct SigningKey {
    certificate: Cert,
    private: Arc<dyn PrivateHalf>,
    slot: LegacySlot,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.fingerprint())
    }
}

impl SigningKey {
    /// Makes a key with one user id, valid from `now` on and without end.
    ///
    /// Randomness comes from the operating system. RSA-4096 takes seconds to make.
    pub fn generate(
        user_id: &str,
        algorithm: KeyAlgorithm,
        now: Timestamp,
    ) -> Result<Self, OpenPgpError> {
        let mut key: Key4<SecretParts, PrimaryRole> = match algorithm {
            KeyAlgorithm::Ed25519 => Key4::generate_ecc(true, Curve::Ed25519),
            KeyAlgorithm::Rsa3072 => Key4::generate_rsa(3072),
            KeyAlgorithm::Rsa4096 => Key4::generate_rsa(4096),
        }
        .map_err(library("make a key"))?;
        key.set_creation_time(system_time(now))
            .map_err(library("date a key"))?;
        let key = Key::V4(key);
        let mut pair = key
            .clone()
            .into_keypair()
            .map_err(library("use a new key"))?;
        let certificate = bind(Packet::SecretKey(key), &mut pair, user_id, now)?;
        Self::from_cert(certificate)
    }

    /// Reads a private key, armoured or binary, that no passphrase locks.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OpenPgpError> {
        Self::from_cert(Cert::from_bytes(bytes).map_err(library("read a private key"))?)
    }

    fn from_cert(certificate: Cert) -> Result<Self, OpenPgpError> {
        let secret = certificate
            .primary_key()
            .key()
            .clone()
            .parts_into_secret()
            .map_err(|_| OpenPgpError::NoSecret)?;
        if !secret.has_unencrypted_secret() {
            return Err(OpenPgpError::Locked);
        }
        let pair = secret
            .into_keypair()
            .map_err(library("use a private key"))?;
        Self::new(certificate, Arc::new(pair))
    }

    /// * `private`: the secret half of the certificate's primary key.
    pub(crate) fn new(
        certificate: Cert,
        private: Arc<dyn PrivateHalf>,
    ) -> Result<Self, OpenPgpError> {
        let primary = certificate.primary_key().key();
        let (version, algorithm) = (primary.version(), primary.pk_algo());
        let slot = match algorithm {
            PublicKeyAlgorithm::RSAEncryptSign if version == 4 => LegacySlot::Rsa,
            PublicKeyAlgorithm::EdDSA if version == 4 => LegacySlot::Dsa,
            _ => return Err(OpenPgpError::Unsuitable { version, algorithm }),
        };
        Ok(Self {
            certificate,
            private,
            slot,
        })
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

    /// The fingerprint in upper-case hex.
    pub fn fingerprint(&self) -> String {
        self.certificate.fingerprint().to_hex()
    }

    /// Where rpm 4 looks for this key's signatures.
    pub fn slot(&self) -> LegacySlot {
        self.slot
    }

    /// The certificate, for checking what was just signed.
    pub fn certificate(&self) -> &Cert {
        &self.certificate
    }

    /// Signs `message`; returns a binary signature packet.
    pub fn sign(&self, message: &[u8], now: Timestamp) -> Result<Vec<u8>, OpenPgpError> {
        let mut hasher = SignatureHasher::new()?;
        hasher.update(message);
        self.sign_hasher(hasher, now)
    }

    /// The same for a caller who reads back and checks all of what the packet becomes part of.
    pub(crate) fn sign_unchecked(
        &self,
        message: &[u8],
        now: Timestamp,
    ) -> Result<Vec<u8>, OpenPgpError> {
        let mut hasher = SignatureHasher::new()?;
        hasher.update(message);
        packet(self.made(hasher, now)?)
    }

    /// Signs what `hasher` was fed; returns the signature in armour.
    pub fn sign_armored(
        &self,
        hasher: SignatureHasher,
        now: Timestamp,
    ) -> Result<String, OpenPgpError> {
        armored_signatures(&[self.sign_hasher(hasher, now)?])
    }

    /// The same as a binary packet.
    pub fn sign_hasher(
        &self,
        hasher: SignatureHasher,
        now: Timestamp,
    ) -> Result<Vec<u8>, OpenPgpError> {
        packet(self.sign_hashed(hasher, now)?)
    }

    /// The certificate with a statement of this key that it is not to be trusted any more, in armour.
    pub(super) fn revoked_certificate(
        &self,
        revocation: Revocation<'_>,
    ) -> Result<String, OpenPgpError> {
        revocation.of(&self.certificate, &mut *self.private.signer(), HASH)
    }

    /// Signs and checks its own work: a fault in the arithmetic must not leave the process.
    fn sign_hashed(
        &self,
        hasher: SignatureHasher,
        now: Timestamp,
    ) -> Result<Signature, OpenPgpError> {
        let signature = self.made(hasher.clone(), now)?;
        signature
            .verify_hash(self.certificate.primary_key().key(), hasher.0)
            .map_err(library("verify the signature just made"))?;
        Ok(signature)
    }

    fn made(&self, hasher: SignatureHasher, now: Timestamp) -> Result<Signature, OpenPgpError> {
        SignatureBuilder::new(SignatureType::Binary)
            .set_hash_algo(HASH)
            .set_signature_creation_time(system_time(now))
            .and_then(|s| s.sign_hash(&mut *self.private.signer(), hasher.0))
            .map_err(library("sign"))
    }
}

fn packet(signature: Signature) -> Result<Vec<u8>, OpenPgpError> {
    Packet::from(signature)
        .to_vec()
        .map_err(library("write a signature"))
}

/// The public half in armour.
pub(super) fn armored_certificate(certificate: &Cert) -> Result<String, OpenPgpError> {
    let task = "write a certificate";
    let mut writer =
        armor::Writer::new(Vec::new(), armor::Kind::PublicKey).map_err(memory(task))?;
    // `serialize` never writes secret parts.
    certificate.serialize(&mut writer).map_err(library(task))?;
    let armored = writer.finalize().map_err(memory(task))?;
    Ok(String::from_utf8_lossy(&armored).into_owned())
}

/// Signatures of several keys over one message, in one piece of armour, in this order.
pub fn armored_signatures(packets: &[Vec<u8>]) -> Result<String, OpenPgpError> {
    let task = "write a signature";
    let mut writer =
        armor::Writer::new(Vec::new(), armor::Kind::Signature).map_err(memory(task))?;
    for packet in packets {
        writer.write_all(packet).map_err(memory(task))?;
    }
    let armored = writer.finalize().map_err(memory(task))?;
    Ok(String::from_utf8_lossy(&armored).into_owned())
}

/// Makes the certificate of a primary key: one user id, valid from `now` on and without end.
pub(crate) fn bind(
    primary: Packet,
    signer: &mut dyn Signer,
    user_id: &str,
    now: Timestamp,
) -> Result<Cert, OpenPgpError> {
    let bare =
        Cert::from_packets(std::iter::once(primary)).map_err(library("make a certificate"))?;
    let user_id = UserID::from(user_id);
    let binding = SignatureBuilder::new(SignatureType::PositiveCertification)
        .set_hash_algo(HASH)
        .set_signature_creation_time(system_time(now))
        .and_then(|s| s.set_key_flags(KeyFlags::empty().set_certification().set_signing()))
        .and_then(|s| s.set_features(Features::empty().set_seipdv1()))
        .and_then(|s| s.set_preferred_hash_algorithms(vec![HashAlgorithm::SHA512, HASH]))
        .and_then(|s| user_id.bind(signer, &bare, s))
        .map_err(library("bind a user id"))?;
    let (certificate, _) = bare
        .insert_packets([Packet::from(user_id), Packet::from(binding)])
        .map_err(library("make a certificate"))?;
    Ok(certificate)
}

/// Takes in a message piece by piece, for one signature over all of it.
#[derive(Clone)]
pub struct SignatureHasher(Context);

impl SignatureHasher {
    /// An empty message.
    pub fn new() -> Result<Self, OpenPgpError> {
        let builder = HASH.context().map_err(library("start a hash"))?;
        Ok(Self(builder.for_signature(4)))
    }

    /// An empty message, hashed as `signature` wants it: version 6 puts its salt before the message.
    pub(crate) fn of(signature: &Signature) -> Result<Self, OpenPgpError> {
        let builder = signature
            .hash_algo()
            .context()
            .map_err(library("start a hash"))?;
        let mut context = builder.for_signature(signature.version());
        if let Signature::V6(signature) = signature {
            context.update(signature.salt());
        }
        Ok(Self(context))
    }

    /// For a version 6 signature with this salt.
    pub(crate) fn salted(salt: &[u8]) -> Result<Self, OpenPgpError> {
        let builder = super::pqc::HASH
            .context()
            .map_err(library("start a hash"))?;
        let mut context = builder.for_signature(6);
        context.update(salt);
        Ok(Self(context))
    }

    /// The state of the hash.
    pub(crate) fn context(&self) -> Context {
        self.0.clone()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// SHA-256 of what was taken in so far: version 4 signatures put nothing before the message.
    pub fn file_digest(&self) -> Result<repo_model::FileDigest, OpenPgpError> {
        let mut raw = [0; 32];
        self.0
            .clone()
            .digest(&mut raw)
            .map_err(library("finish a hash"))?;
        Ok(repo_model::FileDigest::from_bytes(raw))
    }

    /// Checks `signature` over what was taken in against `key`.
    pub(crate) fn verifies<P, R>(&self, signature: &Signature, key: &Key<P, R>) -> bool
    where
        P: openpgp::packet::key::KeyParts,
        R: openpgp::packet::key::KeyRole,
    {
        signature.verify_hash(key, self.0.clone()).is_ok()
    }
}

/// The library's time; before 1970 there are no keys.
pub(crate) fn system_time(time: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(time.unix_secs()).unwrap_or(0))
}

/// The other way round, whole seconds.
pub(crate) fn from_system_time(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_secs(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use openpgp::packet::signature::subpacket::SubpacketTag;

    fn ed25519() -> SigningKey {
        let now = Timestamp::from_unix_secs(1_763_600_000);
        SigningKey::generate("A <a@b.example>", KeyAlgorithm::Ed25519, now).unwrap()
    }

    #[test]
    fn no_certificate_carries_a_critical_expiry_or_primary_user_id() {
        let key = ed25519();
        let signatures: Vec<_> = key
            .certificate()
            .userids()
            .flat_map(|user| user.self_signatures().cloned().collect::<Vec<_>>())
            .collect();
        assert_eq!(signatures.len(), 1);
        for subpacket in signatures[0].hashed_area().iter() {
            let harmless = [SubpacketTag::SignatureCreationTime, SubpacketTag::KeyFlags];
            assert!(
                !subpacket.critical() || harmless.contains(&subpacket.tag()),
                "{subpacket:?}"
            );
        }
    }

    #[test]
    fn a_key_reads_back_and_its_public_file_holds_no_secret() {
        let key = ed25519();
        let back = SigningKey::from_bytes(&key.to_secret_armor().unwrap()).unwrap();
        assert_eq!(back.fingerprint(), key.fingerprint());
        let public = key.certificate_armor().unwrap();
        assert!(public.contains("BEGIN PGP PUBLIC KEY BLOCK"), "{public}");
        assert!(matches!(
            SigningKey::from_bytes(public.as_bytes()),
            Err(OpenPgpError::NoSecret)
        ));
        assert_eq!(
            format!("{key:?}"),
            format!("SigningKey({})", key.fingerprint())
        );
    }

    #[test]
    fn a_hasher_s_file_digest_is_plain_sha256() {
        let mut hasher = SignatureHasher::new().unwrap();
        hasher.update(b"ab");
        hasher.update(b"c");
        assert_eq!(
            hasher.file_digest().unwrap(),
            repo_model::FileDigest::of(b"abc")
        );
    }
}
