//! Keys that sign notes: Ed25519 of a log (type 0x01), Ed25519 cosignatures of witnesses (0x04) and ML-DSA-44
//! cosignatures (0x06) of witnesses and logs, the last two with a time (C2SP `signed-note`, `tlog-cosignature`).

use super::note::{NoteError, NoteSignature};
use super::{Checkpoint, SignatureKind};
use crate::Timestamp;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, EncodePrivateKey as _, spki::der::pem::LineEnding,
};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use ml_dsa::MlDsa44;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// SubjectPublicKeyInfo of an Ed25519 key up to the key (RFC 8410 §4).
const ED25519_SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// SubjectPublicKeyInfo of an ML-DSA-44 key up to the key (RFC 9881 §4).
const ML_DSA_44_SPKI: [u8; 22] = [
    0x30, 0x82, 0x05, 0x32, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03,
    0x11, 0x03, 0x82, 0x05, 0x21, 0x00,
];
/// PKCS #8 of an ML-DSA-44 key in the form that has only the seed, up to the seed (RFC 9881 §6).
const ML_DSA_44_PKCS8: [u8; 22] = [
    0x30, 0x34, 0x02, 0x01, 0x00, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
    0x03, 0x11, 0x04, 0x22, 0x80, 0x20,
];
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// A public key with its name, in vkey form `NAME+HASH+KEY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: SignatureKind,
    key: PublicKey,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PublicKey {
    Ed25519(VerifyingKey),
    /// 1312 bytes.
    MlDsa44(Box<ml_dsa::EncodedVerifyingKey<MlDsa44>>),
}

impl VerifierKey {
    /// The name in signature lines.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its signatures say.
    pub fn kind(&self) -> SignatureKind {
        self.kind
    }

    /// The bytes of the key: 32, or 1312 for ML-DSA-44.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.key {
            PublicKey::Ed25519(key) => key.as_bytes(),
            PublicKey::MlDsa44(key) => key,
        }
    }

    /// SHA-256 over name, type and key: its first four bytes are the note's key id, the whole is what
    /// Sigstore calls `logId.keyId`.
    pub fn full_id(&self) -> [u8; 32] {
        let mut hasher = Sha256::new_with_prefix(self.name.as_bytes());
        hasher.update([b'\n', self.kind.identifier()]);
        hasher.update(self.as_bytes());
        hasher.finalize().into()
    }

    /// The same in hex, for people.
    pub fn fingerprint(&self) -> String {
        hex::encode(self.full_id())
    }

    /// SubjectPublicKeyInfo in DER.
    pub fn to_spki_der(&self) -> Vec<u8> {
        let start = match &self.key {
            PublicKey::Ed25519(_) => &ED25519_SPKI[..],
            PublicKey::MlDsa44(_) => &ML_DSA_44_SPKI[..],
        };
        [start, self.as_bytes()].concat()
    }

    pub(super) fn id(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.full_id();
        [a, b, c, d]
    }

    /// Whether `signature` is this key's over `text`; the time in it, which a log's own has not.
    pub(super) fn verify(&self, text: &str, signature: &[u8]) -> Option<Option<Timestamp>> {
        let Some((seconds, signed)) = timed(self.kind, signature) else {
            return self
                .is_signature(text.as_bytes(), signature)
                .then_some(None);
        };
        let at = Timestamp::from_unix_secs(i64::try_from(seconds).ok()?);
        let message = cosigned(self.kind, &self.name, seconds, text)?;
        self.is_signature(&message, signed).then_some(Some(at))
    }

    fn is_signature(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            // Strict: no key or signature of small order.
            PublicKey::Ed25519(key) => Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            PublicKey::MlDsa44(key) => {
                ml_dsa::Signature::<MlDsa44>::try_from(signature).is_ok_and(|signature| {
                    let key = ml_dsa::VerifyingKey::<MlDsa44>::decode(key);
                    key.verify_with_context(message, &[], &signature)
                })
            }
        }
    }
}

/// Time and signature of a cosignature; none of a log's own signature or of one cut short.
fn timed(kind: SignatureKind, bytes: &[u8]) -> Option<(u64, &[u8])> {
    if kind == SignatureKind::Log {
        return None;
    }
    let (seconds, signature) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*seconds), signature))
}

/// What a cosigner signs; none when `text` is no checkpoint, which an ML-DSA-44 cosigner could not put into
/// its message.
fn cosigned(kind: SignatureKind, name: &str, seconds: u64, text: &str) -> Option<Vec<u8>> {
    if kind != SignatureKind::MlDsa44 {
        return Some(format!("cosignature/v1\ntime {seconds}\n{text}").into_bytes());
    }
    let checkpoint: Checkpoint = text.parse().ok()?;
    let mut message = b"subtree/v1\n\0".to_vec();
    message.push(u8::try_from(name.len()).ok()?);
    message.extend_from_slice(name.as_bytes());
    message.extend_from_slice(&seconds.to_be_bytes());
    message.push(u8::try_from(checkpoint.origin.len()).ok()?);
    message.extend_from_slice(checkpoint.origin.as_bytes());
    // A checkpoint is the subtree from the first entry on.
    message.extend_from_slice(&0_u64.to_be_bytes());
    message.extend_from_slice(&checkpoint.size.to_be_bytes());
    message.extend_from_slice(checkpoint.root.as_bytes());
    Some(message)
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind.identifier()];
        key.extend_from_slice(self.as_bytes());
        let id = hex::encode(self.id());
        write!(f, "{}+{id}+{}", self.name, STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let read = || {
            let (name, rest) = text.split_once('+')?;
            let (id, key) = rest.split_once('+')?;
            let raw = STANDARD.decode(key).ok()?;
            let (identifier, key) = raw.split_first()?;
            let kind = SignatureKind::ALL
                .into_iter()
                .find(|kind| kind.identifier() == *identifier)?;
            let key = match kind {
                SignatureKind::Log | SignatureKind::Cosignature => {
                    PublicKey::Ed25519(VerifyingKey::from_bytes(key.try_into().ok()?).ok()?)
                }
                SignatureKind::MlDsa44 => PublicKey::MlDsa44(Box::new(key.try_into().ok()?)),
            };
            let read = Self {
                name: good_name(name)?.to_owned(),
                kind,
                key,
            };
            (hex::encode(read.id()) == id).then_some(read)
        };
        read().ok_or(NoteError::Key)
    }
}

/// Longest name of a key.
pub(super) const MAX_NAME_BYTES: usize = 255;

pub(super) fn good_name(name: &str) -> Option<&str> {
    let good = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+');
    good.then_some(name)
}

/// A private key that signs notes. Its `Debug` shows only the name.
#[derive(Clone)]
pub struct LogKey {
    name: String,
    kind: SignatureKind,
    key: PrivateKey,
}

#[derive(Clone)]
enum PrivateKey {
    Ed25519(Box<SigningKey>),
    MlDsa44(Box<ml_dsa::SigningKey<MlDsa44>>),
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogKey({})", self.name)
    }
}

impl LogKey {
    /// A key from 32 random bytes that the caller took from the operating system.
    pub fn from_seed(name: &str, kind: SignatureKind, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let key = match kind {
            SignatureKind::Log | SignatureKind::Cosignature => {
                PrivateKey::Ed25519(Box::new(SigningKey::from_bytes(seed)))
            }
            SignatureKind::MlDsa44 => {
                PrivateKey::MlDsa44(Box::new(ml_dsa::SigningKey::from_seed(&(*seed).into())))
            }
        };
        Ok(Self {
            name: good_name(name).ok_or(NoteError::Key)?.to_owned(),
            kind,
            key,
        })
    }

    /// A key from PKCS #8 PEM, of the kind's algorithm.
    pub fn from_pem(name: &str, kind: SignatureKind, pem: &str) -> Result<Self, NoteError> {
        let seed = match kind {
            SignatureKind::Log | SignatureKind::Cosignature => SigningKey::from_pkcs8_pem(pem)
                .map_err(|_| NoteError::Key)?
                .to_bytes(),
            SignatureKind::MlDsa44 => ml_dsa_44_seed(pem).ok_or(NoteError::Key)?,
        };
        Self::from_seed(name, kind, &seed)
    }

    /// PKCS #8 PEM; the caller keeps the file readable by its owner only.
    pub fn to_pem(&self) -> Result<String, NoteError> {
        match &self.key {
            PrivateKey::Ed25519(key) => {
                let pem = key.to_pkcs8_pem(LineEnding::LF);
                pem.map(|pem| pem.to_string()).map_err(|_| NoteError::Key)
            }
            PrivateKey::MlDsa44(key) => {
                let der = [&ML_DSA_44_PKCS8[..], key.as_seed()].concat();
                let text = STANDARD.encode(der);
                let (first, rest) = text.split_at(64);
                Ok(format!("{PEM_BEGIN}\n{first}\n{rest}\n{PEM_END}\n"))
            }
        }
    }

    /// The public half.
    pub fn public(&self) -> VerifierKey {
        let key = match &self.key {
            PrivateKey::Ed25519(key) => PublicKey::Ed25519(key.verifying_key()),
            PrivateKey::MlDsa44(key) => {
                PublicKey::MlDsa44(Box::new(key.expanded_key().verifying_key().encode()))
            }
        };
        VerifierKey {
            name: self.name.clone(),
            kind: self.kind,
            key,
        }
    }

    /// A signature line's content over `text`.
    ///
    /// * `at`: when a cosigner saw it; a log's own Ed25519 signature has no time.
    ///
    /// [`NoteError::NoCheckpoint`] for an ML-DSA-44 key when `text` is no checkpoint.
    pub fn sign(&self, text: &str, at: Timestamp) -> Result<NoteSignature, NoteError> {
        let bytes = if self.kind == SignatureKind::Log {
            self.signature(text.as_bytes())?
        } else {
            let seconds = at.unix_secs().max(0).unsigned_abs();
            let message =
                cosigned(self.kind, &self.name, seconds, text).ok_or(NoteError::NoCheckpoint)?;
            let mut bytes = seconds.to_be_bytes().to_vec();
            bytes.extend(self.signature(&message)?);
            bytes
        };
        Ok(NoteSignature {
            name: self.name.clone(),
            id: self.public().id(),
            bytes,
        })
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, NoteError> {
        match &self.key {
            PrivateKey::Ed25519(key) => Ok(key.sign(message).to_vec()),
            PrivateKey::MlDsa44(key) => {
                let signed = key.expanded_key().sign_deterministic(message, &[]);
                signed
                    .map(|signature| signature.encode().to_vec())
                    .map_err(|_| NoteError::Key)
            }
        }
    }
}

/// The seed in a PKCS #8 PEM of ML-DSA-44: only the form that has nothing but the seed, as we and OpenSSL
/// 3.5 can write it.
fn ml_dsa_44_seed(pem: &str) -> Option<[u8; 32]> {
    let body = pem
        .trim()
        .strip_prefix(PEM_BEGIN)?
        .strip_suffix(PEM_END)?
        .replace(['\n', '\r'], "");
    let der = STANDARD.decode(body).ok()?;
    der.strip_prefix(&ML_DSA_44_PKCS8)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Note, leaf_hash};
    use super::*;

    const TEXT: &str = "log.example\n7\n";

    fn key(kind: SignatureKind) -> LogKey {
        LogKey::from_seed("w.example", kind, &[7; 32]).unwrap()
    }

    fn checkpoint() -> String {
        format!("{TEXT}{}\n", leaf_hash(b"root").to_base64())
    }

    #[test]
    fn every_kind_of_key_survives_its_text_forms_and_verifies_its_own_signature_alone() {
        let at = Timestamp::from_unix_secs(1_700_000_000);
        let text = checkpoint();
        for kind in SignatureKind::ALL {
            let key = key(kind);
            let vkey: VerifierKey = key.public().to_string().parse().unwrap();
            assert_eq!(vkey, key.public());
            let pem = key.to_pem().unwrap();
            let again = LogKey::from_pem("w.example", kind, &pem).unwrap();
            assert_eq!(again.public(), vkey);
            let mut note = Note {
                text: text.clone(),
                signatures: vec![again.sign(&text, at).unwrap()],
            };
            let time = (kind != SignatureKind::Log).then_some(at);
            assert_eq!(note.verified_by(&vkey), Ok(time));
            for other in SignatureKind::ALL.into_iter().filter(|k| *k != kind) {
                let stranger = self::key(other).public();
                let name = "w.example".to_owned();
                let unsigned = NoteError::Unsigned { name };
                assert_eq!(note.verified_by(&stranger), Err(unsigned), "{other:?}");
            }
            note.text = text.replace('7', "8");
            assert!(note.verified_by(&vkey).is_err(), "{kind:?}");
            note.text = text.clone();
            note.signatures[0].bytes[7] ^= 1;
            assert!(note.verified_by(&vkey).is_err(), "{kind:?}: time or byte");
            note.signatures[0].bytes.truncate(5);
            assert!(note.verified_by(&vkey).is_err(), "{kind:?}: cut");
        }
    }

    #[test]
    fn an_ml_dsa_44_cosignature_says_what_the_specification_says() {
        let key = key(SignatureKind::MlDsa44);
        let text = checkpoint();
        let message = cosigned(SignatureKind::MlDsa44, "w.example", 5, &text).unwrap();
        let mut wanted = b"subtree/v1\n\0\x09w.example\0\0\0\0\0\0\0\x05\x0blog.example".to_vec();
        wanted.extend([0; 15]);
        wanted.push(7);
        wanted.extend(leaf_hash(b"root").as_bytes());
        assert_eq!(message, wanted);
        let line = key.sign(&text, Timestamp::from_unix_secs(5)).unwrap();
        assert_eq!(line.bytes.len(), 8 + 2420);
        assert_eq!(key.public().as_bytes().len(), 1312);
        assert_eq!(key.public().to_spki_der().len(), 4 + 0x532);
        // It names the log and the size: of a text that has none there is nothing to say.
        let refused = key.sign("no checkpoint\n", Timestamp::from_unix_secs(5));
        assert_eq!(refused, Err(NoteError::NoCheckpoint));
    }

    #[test]
    fn a_key_of_another_algorithm_is_not_taken_for_one() {
        let classic = key(SignatureKind::Cosignature).to_pem().unwrap();
        let quantum = key(SignatureKind::MlDsa44).to_pem().unwrap();
        assert!(LogKey::from_pem("w", SignatureKind::MlDsa44, &classic).is_err());
        assert!(LogKey::from_pem("w", SignatureKind::Log, &quantum).is_err());
        assert!(LogKey::from_pem("a b", SignatureKind::Log, &classic).is_err());
    }
}
