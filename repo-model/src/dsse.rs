//! DSSE envelopes (github.com/secure-systems-lab/dsse, `envelope.md` and `protocol.md`), signed with
//! ECDSA P-256 over SHA-256: the one algorithm that stock Sigstore tools, the log and in-toto agree
//! on. Signatures are DER. Those made here are deterministic (RFC 6979), so no randomness is needed; checking
//! is ring's, which takes a fifth of the time, and is done once for each signature: it is most of what judging a
//! package costs.
//!
//! ```json
//! {"payloadType":"application/vnd.in-toto+json","payload":"eyJfdHlwZSI6…","signatures":[{"keyid":"9f…","sig":"MEUC…"}]}
//! ```

mod memo;

use crate::FileDigest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey, VerifyingKey};
use p256::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding,
    SecretDocument,
};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Most signatures of one envelope that are looked at.
const MAX_SIGNATURES: usize = 16;
/// The payload type of an in-toto statement.
pub const IN_TOTO_PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Why an envelope or a key cannot be used. The sender's fault; sending it again fails again.
#[derive(Debug, thiserror::Error)]
pub enum DsseError {
    /// The private or public key text is not what it should be.
    #[error("not a P-256 {kind} key in PEM form")]
    Key {
        /// `private` or `public`.
        kind: &'static str,
    },
    /// The JSON is not an envelope.
    #[error("not a DSSE envelope")]
    Json(#[source] serde_json::Error),
    /// `payload` is not base64.
    #[error("the envelope's payload is not base64")]
    Payload,
    /// The payload is not of the wanted type.
    #[error("the envelope's payload type is `{found}`, not `{wanted}`")]
    PayloadType {
        /// What the envelope says.
        found: String,
        /// What the caller needs.
        wanted: &'static str,
    },
    /// More signatures than anybody needs.
    #[error("the envelope has {count} signatures; the limit is {MAX_SIGNATURES}")]
    TooManySignatures {
        /// In the envelope.
        count: usize,
    },
    /// The JSON is not written as [`Envelope::to_json`] writes it, so its digest would not be the
    /// statement's.
    #[error(
        "the envelope is not in canonical form: one line, no spaces, fields in the order payloadType, payload, signatures"
    )]
    NotCanonical,
    /// The key did not sign: it is in a token that is away, or refuses. Retry when it is back.
    #[error("the statement key did not sign")]
    KeyFailed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No signature in the envelope was made by the given key.
    #[error("no signature of the envelope verifies with key {key_id}")]
    Signature {
        /// The key that was tried.
        key_id: String,
    },
}

/// SHA-256 of the key's SubjectPublicKeyInfo in DER, in hex: the `keyid` of our envelopes.
pub type KeyId = String;

/// Something that signs statements: a key in memory, or one that never leaves its token.
pub trait StatementSigner: fmt::Debug + Send + Sync {
    /// The public half.
    fn public(&self) -> StatementPublicKey;

    /// ECDSA P-256 over the SHA-256 of `message`, in DER.
    fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, DsseError>;

    /// Signs `payload` of `payload_type` into an envelope, and verifies it before it is given out.
    fn envelope(&self, payload_type: &str, payload: &[u8]) -> Result<Envelope, DsseError> {
        let message = pre_authentication_encoding(payload_type, payload);
        let public = self.public();
        let der = self.sign_message(&message)?;
        if !public.verifies(&message, &der) {
            let key_id = public.key_id();
            return Err(DsseError::Signature { key_id });
        }
        let signature = EnvelopeSignature {
            keyid: public.key_id(),
            sig: STANDARD.encode(der),
        };
        Ok(Envelope {
            payload_type: payload_type.to_owned(),
            payload: STANDARD.encode(payload),
            signatures: vec![signature],
        })
    }
}

impl StatementSigner for StatementKey {
    fn public(&self) -> StatementPublicKey {
        StatementKey::public(self)
    }

    fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, DsseError> {
        let signature: DerSignature = self.0.sign(message);
        Ok(signature.as_bytes().to_vec())
    }
}

/// The DER form of a signature that a token gives as two numbers of 32 bytes; `None` when it is none.
pub fn der_signature(raw: &[u8]) -> Option<Vec<u8>> {
    let signature = p256::ecdsa::Signature::from_slice(raw).ok()?;
    Some(signature.to_der().as_bytes().to_vec())
}

/// A private key that signs statements. Its `Debug` shows only the key id.
#[derive(Clone)]
pub struct StatementKey(SigningKey);

impl StatementKey {
    /// Makes a key from 32 random bytes that the caller took from the operating system. `None` for
    /// the one in 2^32 seeds outside the group order: draw again.
    pub fn from_seed(seed: &[u8; 32]) -> Option<Self> {
        SigningKey::from_slice(seed).ok().map(Self)
    }

    /// Reads PKCS #8 PEM.
    pub fn from_pem(pem: &str) -> Result<Self, DsseError> {
        SigningKey::from_pkcs8_pem(pem)
            .map(Self)
            .map_err(|_| DsseError::Key { kind: "private" })
    }

    /// Writes PKCS #8 PEM; the caller keeps the file readable by its owner only.
    pub fn to_pem(&self) -> Result<String, DsseError> {
        self.0
            .to_pkcs8_pem(LineEnding::LF)
            .map(|pem| pem.to_string())
            .map_err(|_| DsseError::Key { kind: "private" })
    }

    /// PKCS #8 in DER with the public half in it, for another library to sign with. Wiped when dropped.
    pub fn to_pkcs8(&self) -> Result<SecretDocument, DsseError> {
        self.0
            .to_pkcs8_der()
            .map_err(|_| DsseError::Key { kind: "private" })
    }

    /// The public half.
    pub fn public(&self) -> StatementPublicKey {
        StatementPublicKey(*self.0.verifying_key())
    }

    /// Signs `payload` of `payload_type` into an envelope.
    pub fn sign(&self, payload_type: &str, payload: &[u8]) -> Envelope {
        let signature: DerSignature = self
            .0
            .sign(&pre_authentication_encoding(payload_type, payload));
        Envelope {
            payload_type: payload_type.to_owned(),
            payload: STANDARD.encode(payload),
            signatures: vec![EnvelopeSignature {
                keyid: self.public().key_id(),
                sig: STANDARD.encode(signature.as_bytes()),
            }],
        }
    }
}

impl StatementKey {
    /// Signs bytes as they are, for formats with a separation of their own; the signature is DER.
    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let signature: DerSignature = self.0.sign(bytes);
        signature.as_bytes().to_vec()
    }
}

impl fmt::Debug for StatementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatementKey({})", self.public().key_id())
    }
}

/// A public key that verifies statements. Text form: SPKI PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct StatementPublicKey(VerifyingKey);

impl StatementPublicKey {
    /// Hex SHA-256 of the SPKI DER.
    pub fn key_id(&self) -> KeyId {
        self.0
            .to_public_key_der()
            .map(|der| FileDigest::of(der.as_bytes()).to_hex())
            .unwrap_or_default()
    }

    /// Reads a point as tokens give it (SEC 1, section 2.3.3).
    pub fn from_sec1(point: &[u8]) -> Result<Self, DsseError> {
        VerifyingKey::from_sec1_bytes(point)
            .map(Self)
            .map_err(|_| DsseError::Key { kind: "public" })
    }

    /// What was found good before is not checked again.
    fn made(&self, signature: &EnvelopeSignature, signed: &[u8]) -> bool {
        let point = self.0.to_encoded_point(false);
        STANDARD.decode(&signature.sig).is_ok_and(|der| {
            memo::verified(point.as_bytes(), signed, &der, || {
                self.verifies(signed, &der)
            })
        })
    }

    /// Whether this key made the DER signature over exactly these bytes.
    pub(crate) fn verifies(&self, bytes: &[u8], der: &[u8]) -> bool {
        let point = self.0.to_encoded_point(false);
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point.as_bytes());
        key.verify(bytes, der).is_ok()
    }

    /// Reads SubjectPublicKeyInfo in DER.
    pub fn from_der(der: &[u8]) -> Result<Self, DsseError> {
        VerifyingKey::from_public_key_der(der)
            .map(Self)
            .map_err(|_| DsseError::Key { kind: "public" })
    }

    /// SubjectPublicKeyInfo, DER.
    pub fn to_der(&self) -> Vec<u8> {
        self.0
            .to_public_key_der()
            .map(|der| der.as_bytes().to_vec())
            .unwrap_or_default()
    }

    /// SPKI PEM with LF line ends.
    pub fn to_pem(&self) -> String {
        self.0.to_public_key_pem(LineEnding::LF).unwrap_or_default()
    }
}

impl fmt::Debug for StatementPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatementPublicKey({})", self.key_id())
    }
}

impl FromStr for StatementPublicKey {
    type Err = DsseError;
    fn from_str(pem: &str) -> Result<Self, DsseError> {
        VerifyingKey::from_public_key_pem(pem)
            .map(Self)
            .map_err(|_| DsseError::Key { kind: "public" })
    }
}

impl Serialize for StatementPublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_pem())
    }
}

impl<'de> Deserialize<'de> for StatementPublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One DSSE envelope as it travels. Nothing in it is verified until [`Envelope::verified_by`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// What the payload is.
    #[serde(rename = "payloadType")]
    pub payload_type: String,
    /// The payload in standard base64.
    pub payload: String,
    /// Signatures over the pre-authentication encoding; without one it proves nothing.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeSignature {
    /// A hint only; never trusted.
    #[serde(default)]
    pub keyid: String,
    /// DER ECDSA signature in standard base64.
    pub sig: String,
}

impl Envelope {
    /// Reads an envelope's JSON.
    pub fn from_json(json: &[u8]) -> Result<Self, DsseError> {
        serde_json::from_slice(json).map_err(DsseError::Json)
    }

    /// Reads an envelope that is written exactly as [`Envelope::to_json`] writes it: the digest of the
    /// bytes is then the digest by which everybody names the statement.
    pub fn from_canonical_json(json: &[u8]) -> Result<Self, DsseError> {
        let envelope = Self::from_json(json)?;
        match envelope.to_json() == json {
            true => Ok(envelope),
            false => Err(DsseError::NotCanonical),
        }
    }

    /// The JSON that is stored and whose digest names the statement: one line, no final newline.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// An envelope that nobody has signed yet.
    pub fn unsigned(payload_type: &str, payload: &[u8]) -> Self {
        Self {
            payload_type: payload_type.to_owned(),
            payload: STANDARD.encode(payload),
            signatures: Vec::new(),
        }
    }

    /// Adds the signature of one more party, in place of an older one of the same key.
    pub fn add_signature(&mut self, key: &StatementKey) -> Result<(), DsseError> {
        let payload = self.unverified_payload()?;
        let made = key.sign(&self.payload_type, &payload);
        let key_id = key.public().key_id();
        self.signatures.retain(|old| old.keyid != key_id);
        self.signatures.extend(made.signatures);
        Ok(())
    }

    /// The payload, if one of the signatures was made by `key` and the type is in-toto's.
    pub fn verified_by(&self, key: &StatementPublicKey) -> Result<Vec<u8>, DsseError> {
        if self.payload_type != IN_TOTO_PAYLOAD_TYPE {
            return Err(DsseError::PayloadType {
                found: self.payload_type.chars().take(80).collect(),
                wanted: IN_TOTO_PAYLOAD_TYPE,
            });
        }
        let payload = self.unverified_payload()?;
        let signed = pre_authentication_encoding(&self.payload_type, &payload);
        let key_id = key.key_id();
        if self.signatures.len() > MAX_SIGNATURES {
            return Err(DsseError::TooManySignatures {
                count: self.signatures.len(),
            });
        }
        // A hint is not trusted in either direction: other tools name the same key otherwise. It only
        // says which signature to try first.
        let (named, others): (Vec<_>, Vec<_>) = self
            .signatures
            .iter()
            .partition(|signature| signature.keyid == key_id);
        let mut in_turn = named.into_iter().chain(others);
        if in_turn.any(|signature| key.made(signature, &signed)) {
            Ok(payload)
        } else {
            Err(DsseError::Signature { key_id })
        }
    }

    /// The first signature that `key` made, in base64 as it stands in the envelope.
    pub fn signature_of(&self, key: &StatementPublicKey) -> Result<&str, DsseError> {
        let signed = pre_authentication_encoding(&self.payload_type, &self.unverified_payload()?);
        self.signatures
            .iter()
            .find(|signature| key.made(signature, &signed))
            .map(|signature| signature.sig.as_str())
            .ok_or_else(|| DsseError::Signature {
                key_id: key.key_id(),
            })
    }

    /// SHA-256 of what the signatures are over: the pre-authentication encoding.
    pub fn signed_digest(&self) -> Result<[u8; 32], DsseError> {
        let payload = self.unverified_payload()?;
        let signed = pre_authentication_encoding(&self.payload_type, &payload);
        Ok(*FileDigest::of(&signed).as_bytes())
    }

    /// The payload without any check: for display, never for a decision.
    pub fn unverified_payload(&self) -> Result<Vec<u8>, DsseError> {
        STANDARD
            .decode(&self.payload)
            .map_err(|_| DsseError::Payload)
    }
}

/// `DSSEv1 SP len(type) SP type SP len(body) SP body` (DSSE `protocol.md`).
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    )
    .into_bytes();
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> StatementKey {
        StatementKey::from_seed(&[seed; 32]).unwrap()
    }

    #[test]
    fn the_encoding_is_the_one_of_the_dsse_protocol_page() {
        assert_eq!(
            pre_authentication_encoding("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn only_the_signer_s_key_opens_an_envelope_and_only_unchanged() {
        let envelope = key(1).sign(IN_TOTO_PAYLOAD_TYPE, b"{}");
        let back = Envelope::from_json(&envelope.to_json()).unwrap();
        assert_eq!(back.verified_by(&key(1).public()).unwrap(), b"{}");
        assert!(back.verified_by(&key(2).public()).is_err());
        let mut changed = back.clone();
        changed.payload = STANDARD.encode(b"{ }");
        assert!(changed.verified_by(&key(1).public()).is_err());
        let other_type = key(1).sign("text/plain", b"{}");
        assert!(matches!(
            other_type.verified_by(&key(1).public()),
            Err(DsseError::PayloadType { .. })
        ));
    }

    /// Two implementations: the numbers may be written in one way only, and every changed bit is noticed.
    #[test]
    fn what_checks_agrees_with_what_signs_on_every_damaged_signature() {
        use p256::ecdsa::signature::Verifier as _;
        let (ours, message) = (key(3), b"message".as_slice());
        let good = ours.sign_bytes(message);
        let both = |der: &[u8]| {
            let public = ours.public();
            let other = DerSignature::try_from(der);
            let other = other.is_ok_and(|der| public.0.verify(message, &der).is_ok());
            (public.verifies(message, der), other)
        };
        assert_eq!(both(&good), (true, true));
        for at in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert_eq!(both(&bad), (false, false), "bit {at}");
        }
        for end in 0..good.len() {
            assert_eq!(both(&good[..end]), (false, false), "cut at {end}");
        }
        assert_eq!(both(&[good.as_slice(), &[0]].concat()), (false, false));
        assert!(!key(4).public().verifies(message, &good));
    }

    #[test]
    fn a_hint_neither_grants_nor_denies() {
        let mut envelope = key(1).sign(IN_TOTO_PAYLOAD_TYPE, b"{}");
        for hint in [
            "",
            "SHA256:somebody-elses-way-to-name-it",
            &key(2).public().key_id(),
        ] {
            envelope.signatures[0].keyid = hint.to_owned();
            assert!(envelope.verified_by(&key(1).public()).is_ok(), "{hint}");
            assert!(envelope.verified_by(&key(2).public()).is_err(), "{hint}");
        }
        envelope.signatures = vec![envelope.signatures[0].clone(); 17];
        assert!(matches!(
            envelope.verified_by(&key(1).public()),
            Err(DsseError::TooManySignatures { count: 17 })
        ));
    }

    #[test]
    fn an_envelope_written_otherwise_is_not_canonical() {
        let envelope = key(1).sign(IN_TOTO_PAYLOAD_TYPE, b"{}");
        let json = envelope.to_json();
        assert_eq!(Envelope::from_canonical_json(&json).unwrap(), envelope);
        let mut spaced = json.clone();
        spaced.push(b'\n');
        let pretty = serde_json::to_vec_pretty(&envelope).unwrap();
        for other in [spaced, pretty] {
            assert!(Envelope::from_json(&other).is_ok());
            assert!(matches!(
                Envelope::from_canonical_json(&other),
                Err(DsseError::NotCanonical)
            ));
        }
    }

    #[test]
    fn keys_read_back_from_pem() {
        let pem = key(3).to_pem().unwrap();
        assert_eq!(
            StatementKey::from_pem(&pem).unwrap().public(),
            key(3).public()
        );
        let public = key(3).public().to_pem();
        assert_eq!(
            public.parse::<StatementPublicKey>().unwrap(),
            key(3).public()
        );
        assert!("-----BEGIN".parse::<StatementPublicKey>().is_err());
    }
}
