//! Checking OpenPGP signatures over packages and files with the signer's certificates: what the
//! server does before it stores anything, and what the signer does with its own work.
//!
//! Stricter than rpm: *every* signature in the signature header must verify with a known
//! certificate (rpm 6 refuses a package with one it cannot check), and there must be one. What rpm
//! takes from other signers is taken here too: versions 4 and 6, SHA-256, SHA-384 and SHA-512. Our
//! own signatures are version 4 with SHA-256.

use crate::keys::openpgp::{OpenPgpError, SignatureHasher, system_time};
use repo_model::Timestamp;
use repo_model::rpm::Head;
use repo_model::rpm::signature::found_signatures;
use repo_model::rpm::tag;
use sequoia_openpgp as openpgp;

use openpgp::cert::Cert;
use openpgp::cert::CertParser;
use openpgp::cert::amalgamation::key::PrimaryKey as _;
use openpgp::packet::{Packet, Signature};
use openpgp::parse::{PacketParser, PacketParserResult, Parse as _};
use openpgp::policy::StandardPolicy;
use openpgp::types::{HashAlgorithm, SignatureType};
use std::io::{self, Read};

/// A signature does not hold. The sender's fault unless it is [`VerifyError::Io`]; do not retry.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is none.
    #[error("there is no OpenPGP signature")]
    Missing,
    /// Not an OpenPGP signature at all.
    #[error("not one OpenPGP signature: {why}")]
    Malformed {
        /// What is wrong.
        why: String,
    },
    /// No given certificate made it, or the message was changed.
    #[error("the signature{place} by {issuer} does not verify with any of the given certificates")]
    Bad {
        /// ` in tag 278` or empty.
        place: String,
        /// Who it says made it.
        issuer: String,
    },
    /// A signature of a kind that is not used here.
    #[error("signature tag {tag} covers header and payload, which is not used since rpm 4")]
    OldStyle {
        /// 1002, 1005 or 1006.
        tag: u32,
    },
    /// Not a certificate.
    #[error("not an OpenPGP certificate")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The library failed.
    #[error(transparent)]
    Library(#[from] OpenPgpError),
    /// Reading the message failed. Retry is safe.
    #[error("cannot read what was signed")]
    Io(#[from] io::Error),
}

/// An OpenPGP certificate (public key) to verify with.
#[derive(Debug, Clone, PartialEq)]
pub struct Certificate(Cert);

impl Certificate {
    /// Reads one certificate, armoured or binary.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VerifyError> {
        Cert::from_bytes(bytes)
            .map(|cert| Self(cert.strip_secret_key_material()))
            .map_err(|error| VerifyError::Certificate(error.into()))
    }

    /// Reads all certificates of a file, armoured or binary, as distributions publish several in one.
    /// Unreadable ones among them are an error.
    pub fn all_from_bytes(bytes: &[u8]) -> Result<Vec<Self>, VerifyError> {
        let certificate = |error: openpgp::anyhow::Error| VerifyError::Certificate(error.into());
        let mut all = Vec::new();
        for block in armored_blocks(bytes) {
            for cert in CertParser::from_bytes(block).map_err(certificate)? {
                all.push(Self(cert.map_err(certificate)?.strip_secret_key_material()));
            }
        }
        match all.is_empty() {
            true => Self::from_bytes(bytes).map(|one| vec![one]),
            false => Ok(all),
        }
    }

    /// The fingerprint in upper-case hex.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint().to_hex()
    }

    pub(crate) fn of(cert: &Cert) -> Self {
        Self(cert.clone().strip_secret_key_material())
    }

    /// Whether a signing key of this certificate made `signature` over what `message` took in.
    ///
    /// The key must have been valid when it signed, by the certificate's own statements.
    fn made(&self, signature: &Signature, message: &SignatureHasher) -> bool {
        let policy = StandardPolicy::new();
        let Some(made_at) = signature.signature_creation_time() else {
            return false;
        };
        self.0
            .keys()
            .with_policy(&policy, made_at)
            .supported()
            .alive()
            .revoked(false)
            .for_signing()
            .any(|key| message.verifies(signature, key.key()))
    }
}

/// Checks every OpenPGP signature of a package's signature header against its main header.
///
/// Returns how many distinct signatures there are: at least one, all made with `certificates`.
pub fn verify_header_signature(
    head: &Head,
    certificates: &[Certificate],
) -> Result<usize, VerifyError> {
    verify_signatures(head, certificates, OldStyle::Refuse)
}

/// The same for packages that anybody has signed: what rpm 4 signed over header and payload is
/// passed over, as long as there is a signature over the header.
pub fn verify_foreign_signature(
    head: &Head,
    certificates: &[Certificate],
) -> Result<usize, VerifyError> {
    verify_signatures(head, certificates, OldStyle::PassOver)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OldStyle {
    Refuse,
    PassOver,
}

fn verify_signatures(
    head: &Head,
    certificates: &[Certificate],
    old_style: OldStyle,
) -> Result<usize, VerifyError> {
    let mut distinct: Vec<Vec<u8>> = Vec::new();
    for found in found_signatures(head) {
        if [tag::SIG_PGP, tag::SIG_GPG, tag::SIG_PGP5].contains(&found.tag) {
            if old_style == OldStyle::PassOver {
                continue;
            }
            return Err(VerifyError::OldStyle { tag: found.tag });
        }
        if distinct.contains(&found.packet) {
            continue;
        }
        let signature = one_signature(&found.packet)?;
        let mut message = SignatureHasher::of(&signature)?;
        message.update(head.main_bytes());
        let place = format!(" in tag {}", found.tag);
        check(&signature, &message, certificates, &place)?;
        distinct.push(found.packet);
    }
    if distinct.is_empty() {
        return Err(VerifyError::Missing);
    }
    Ok(distinct.len())
}

/// Checks one detached signature, armoured or binary, over everything that `message` yields.
pub fn verify_detached(
    message: impl Read,
    signature: &[u8],
    certificate: &Certificate,
) -> Result<(), VerifyError> {
    verify_detached_by_any(message, signature, std::slice::from_ref(certificate))
}

/// The same where any of `certificates` may have made it.
pub fn verify_detached_by_any(
    mut message: impl Read,
    signature: &[u8],
    certificates: &[Certificate],
) -> Result<(), VerifyError> {
    let signature = one_signature(signature)?;
    let mut hasher = SignatureHasher::of(&signature)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match message.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    check(&signature, &hasher, certificates, "")
}

/// Checks a detached message of one signature or several: each must have been made with one of
/// `certificates`, and there must be one. Returns how many there are.
pub fn verify_all_detached(
    message: &[u8],
    signatures: &[u8],
    certificates: &[Certificate],
) -> Result<usize, VerifyError> {
    let found = each_signature(signatures)?;
    for signature in &found {
        let mut hasher = SignatureHasher::of(signature)?;
        hasher.update(message);
        check(signature, &hasher, certificates, "")?;
    }
    Ok(found.len())
}

/// Checks a detached message of one signature or several, of which one must have been made with one
/// of `certificates`: signatures of keys that are not known say nothing, for or against.
pub fn verify_any_detached(
    message: &[u8],
    signatures: &[u8],
    certificates: &[Certificate],
) -> Result<(), VerifyError> {
    let mut last = VerifyError::Missing;
    for signature in &each_signature(signatures)? {
        let mut hasher = SignatureHasher::of(signature)?;
        hasher.update(message);
        match check(signature, &hasher, certificates, "") {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn check(
    signature: &Signature,
    message: &SignatureHasher,
    certificates: &[Certificate],
    place: &str,
) -> Result<(), VerifyError> {
    if certificates
        .iter()
        .any(|certificate| certificate.made(signature, message))
    {
        return Ok(());
    }
    let issuer = signature.get_issuers().first().map(ToString::to_string);
    Err(VerifyError::Bad {
        place: place.to_owned(),
        issuer: issuer.unwrap_or_else(|| "nobody".to_owned()),
    })
}

/// The armoured blocks of a file, each from its begin line on; the whole file when it has none.
fn armored_blocks(bytes: &[u8]) -> Vec<&[u8]> {
    const BEGIN: &[u8] = b"-----BEGIN PGP";
    let mut starts: Vec<usize> = bytes
        .windows(BEGIN.len())
        .enumerate()
        .filter(|(_, window)| *window == BEGIN)
        .map(|(at, _)| at)
        .collect();
    if starts.is_empty() {
        return vec![bytes];
    }
    starts.push(bytes.len());
    starts
        .windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

/// What rpm accepts: SHA-1 and MD5 can be forged, and SHA-224 nobody signs packages with.
fn is_accepted_hash(algorithm: HashAlgorithm) -> bool {
    matches!(
        algorithm,
        HashAlgorithm::SHA256 | HashAlgorithm::SHA384 | HashAlgorithm::SHA512
    )
}

/// Reads exactly one binary-document signature with a hash that is accepted.
fn one_signature(bytes: &[u8]) -> Result<Signature, VerifyError> {
    let mut all = each_signature(bytes)?;
    match (all.pop(), all.is_empty()) {
        (Some(signature), true) => Ok(signature),
        _ => Err(malformed("more than one packet")),
    }
}

/// Most signatures of one message: current key, next key, the one before.
const MAX_SIGNATURES: usize = 8;

/// Reads one such signature or several, and nothing else.
fn each_signature(bytes: &[u8]) -> Result<Vec<Signature>, VerifyError> {
    let library = |error: openpgp::anyhow::Error| malformed(&error.to_string());
    let mut parser = PacketParser::from_bytes(bytes).map_err(library)?;
    let mut all = Vec::new();
    while let PacketParserResult::Some(one) = parser {
        let (packet, rest) = one.next().map_err(library)?;
        let Packet::Signature(signature) = packet else {
            return Err(malformed("the packet is no signature"));
        };
        if all.len() == MAX_SIGNATURES {
            return Err(malformed("too many signatures"));
        }
        all.push(usual(signature)?);
        parser = rest;
    }
    match all.is_empty() {
        true => Err(VerifyError::Missing),
        false => Ok(all),
    }
}

fn usual(signature: Signature) -> Result<Signature, VerifyError> {
    if signature.typ() != SignatureType::Binary {
        return Err(malformed("not over a binary document"));
    }
    if ![4, 6].contains(&signature.version()) {
        let version = signature.version();
        return Err(malformed(&format!(
            "a version {version} signature: want 4 or 6"
        )));
    }
    if !is_accepted_hash(signature.hash_algo()) {
        let hash = signature.hash_algo();
        return Err(malformed(&format!(
            "it is over {hash}: want SHA256, SHA384 or SHA512"
        )));
    }
    Ok(signature)
}

fn malformed(why: &str) -> VerifyError {
    VerifyError::Malformed {
        why: why.to_owned(),
    }
}

/// Whether `certificate` could sign at `now`: alive, not revoked, with a self-signature that
/// today's rules accept.
pub fn can_sign(certificate: &Certificate, now: Timestamp) -> bool {
    let policy = StandardPolicy::new();
    certificate
        .0
        .keys()
        .with_policy(&policy, system_time(now))
        .supported()
        .alive()
        .revoked(false)
        .for_signing()
        .any(|key| key.primary())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::openpgp::SigningKey;
    use crate::keys::pqc::PqcKey;
    use repo_model::config::KeyAlgorithm;

    fn key() -> SigningKey {
        let made = Timestamp::from_unix_secs(1_763_600_000);
        SigningKey::generate("A <a@b.example>", KeyAlgorithm::Ed25519, made).unwrap()
    }

    #[test]
    fn a_detached_signature_holds_for_its_message_key_and_time_only() {
        let (ours, other) = (key(), key());
        let certificate = Certificate::of(ours.certificate());
        let now = Timestamp::from_unix_secs(1_763_600_100);
        let mut hasher = SignatureHasher::new().unwrap();
        hasher.update(b"repomd");
        let armored = ours.sign_armored(hasher, now).unwrap();
        verify_detached(&b"repomd"[..], armored.as_bytes(), &certificate).unwrap();
        for (what, message, signature) in [
            ("changed", &b"repomD"[..], armored.clone().into_bytes()),
            ("other key", b"repomd", other.sign(b"repomd", now).unwrap()),
            ("none", b"repomd", Vec::new()),
            ("junk", b"repomd", b"junk".to_vec()),
            (
                "two",
                b"repomd",
                ours.sign(b"repomd", now).unwrap().repeat(2),
            ),
            (
                "a key",
                b"repomd",
                ours.certificate_armor().unwrap().into_bytes(),
            ),
        ] {
            assert!(
                verify_detached(message, &signature, &certificate).is_err(),
                "{what}"
            );
        }
        let quantum = PqcKey::generate("A <a@b.example>", Timestamp::from_unix_secs(1_763_600_000));
        let quantum = quantum.unwrap();
        let quantum_certificate = Certificate::of(quantum.certificate());
        let packet = quantum.sign(b"repomd", now).unwrap();
        verify_detached(&b"repomd"[..], &packet, &quantum_certificate).unwrap();
        for (what, message, certificate) in [
            ("changed", &b"repomD"[..], &quantum_certificate),
            ("other key", b"repomd", &certificate),
        ] {
            assert!(
                verify_detached(message, &packet, certificate).is_err(),
                "{what}"
            );
        }
        assert!(can_sign(&quantum_certificate, now));
        assert!(can_sign(&certificate, now));
        assert!(!can_sign(
            &certificate,
            Timestamp::from_unix_secs(1_763_500_000)
        ));
    }
}
