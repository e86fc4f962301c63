//! C2SP `signed-note`: text with signature lines; Ed25519 signatures of logs (type 0x01) and
//! timestamped cosignatures of witnesses (type 0x04, C2SP `tlog-cosignature`).

use crate::Timestamp;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, EncodePrivateKey as _, spki::der::pem::LineEnding,
};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// Longest note, bytes.
const MAX_BYTES: usize = 64 << 10;
/// Most signatures; the specification asks for at least 16.
const MAX_SIGNATURES: usize = 100;

/// Why a note or a key cannot be used. The sender's fault; the same bytes fail again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not of the shape.
    #[error("not a signed note: {0}")]
    Shape(&'static str),
    /// Not a key in vkey form.
    #[error("not a verifier key: want NAME+HASH+KEY with an Ed25519 key")]
    Key,
    /// The key has signed nothing here.
    #[error("{name} has not signed the note")]
    Unsigned {
        /// The key's name.
        name: String,
    },
    /// The key's line does not verify.
    #[error("the signature of {name} does not verify")]
    Bad {
        /// The key's name.
        name: String,
    },
}

/// What a signature says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureKind {
    /// The log's own.
    Log,
    /// A witness's: it saw the log grow consistently up to here.
    Cosignature,
}

impl SignatureKind {
    fn identifier(self) -> u8 {
        match self {
            Self::Log => 0x01,
            Self::Cosignature => 0x04,
        }
    }
}

/// A public key with its name, in vkey form `NAME+HASH+KEY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: SignatureKind,
    key: VerifyingKey,
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

    /// The 32 bytes of the key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// SHA-256 over name, type and key: its first four bytes are the note's key id, the whole is what
    /// Sigstore calls `logId.keyId`.
    pub fn full_id(&self) -> [u8; 32] {
        let mut hasher = Sha256::new_with_prefix(self.name.as_bytes());
        hasher.update([b'\n', self.kind.identifier()]);
        hasher.update(self.key.as_bytes());
        hasher.finalize().into()
    }

    /// SubjectPublicKeyInfo in DER (RFC 8410 §4): a fixed start, then the key.
    pub fn to_spki_der(&self) -> Vec<u8> {
        let mut der = vec![
            0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
        ];
        der.extend_from_slice(self.as_bytes());
        der
    }

    fn id(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.full_id();
        [a, b, c, d]
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind.identifier()];
        key.extend_from_slice(self.key.as_bytes());
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
            let kind = [SignatureKind::Log, SignatureKind::Cosignature]
                .into_iter()
                .find(|kind| kind.identifier() == *identifier)?;
            let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
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

fn good_name(name: &str) -> Option<&str> {
    let good = !name.is_empty()
        && name.len() <= 255
        && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+');
    good.then_some(name)
}

/// A private key that signs notes. Its `Debug` shows only the name.
#[derive(Clone)]
pub struct LogKey {
    name: String,
    kind: SignatureKind,
    key: SigningKey,
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogKey({})", self.name)
    }
}

impl LogKey {
    /// A key from 32 random bytes that the caller took from the operating system.
    pub fn from_seed(name: &str, kind: SignatureKind, seed: &[u8; 32]) -> Result<Self, NoteError> {
        Ok(Self {
            name: good_name(name).ok_or(NoteError::Key)?.to_owned(),
            kind,
            key: SigningKey::from_bytes(seed),
        })
    }

    /// A key from PKCS #8 PEM.
    pub fn from_pem(name: &str, kind: SignatureKind, pem: &str) -> Result<Self, NoteError> {
        let key = SigningKey::from_pkcs8_pem(pem).map_err(|_| NoteError::Key)?;
        let name = good_name(name).ok_or(NoteError::Key)?.to_owned();
        Ok(Self { name, kind, key })
    }

    /// PKCS #8 PEM; the caller keeps the file readable by its owner only.
    pub fn to_pem(&self) -> Result<String, NoteError> {
        let pem = self.key.to_pkcs8_pem(LineEnding::LF);
        pem.map(|pem| pem.to_string()).map_err(|_| NoteError::Key)
    }

    /// The public half.
    pub fn public(&self) -> VerifierKey {
        VerifierKey {
            name: self.name.clone(),
            kind: self.kind,
            key: self.key.verifying_key(),
        }
    }

    /// A signature line's content over `text`.
    ///
    /// * `at`: when a witness saw it; a log's own signature has no time.
    pub fn sign(&self, text: &str, at: Timestamp) -> NoteSignature {
        let bytes = match self.kind {
            SignatureKind::Log => self.key.sign(text.as_bytes()).to_vec(),
            SignatureKind::Cosignature => {
                let seconds = at.unix_secs().max(0).unsigned_abs();
                let mut bytes = seconds.to_be_bytes().to_vec();
                bytes.extend(self.key.sign(cosigned(seconds, text).as_bytes()).to_vec());
                bytes
            }
        };
        NoteSignature {
            name: self.name.clone(),
            id: self.public().id(),
            bytes,
        }
    }
}

fn cosigned(seconds: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    id: [u8; 4],
    bytes: Vec<u8>,
}

impl fmt::Display for NoteSignature {
    /// The line, with its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut raw = self.id.to_vec();
        raw.extend_from_slice(&self.bytes);
        writeln!(f, "\u{2014} {} {}", self.name, STANDARD.encode(raw))
    }
}

impl FromStr for NoteSignature {
    type Err = NoteError;

    fn from_str(line: &str) -> Result<Self, NoteError> {
        let read = || {
            let rest = line.strip_prefix("\u{2014} ")?;
            let (name, signature) = rest.trim_end_matches('\n').split_once(' ')?;
            let raw = STANDARD.decode(signature).ok()?;
            let (id, bytes) = raw.split_first_chunk::<4>()?;
            let name = good_name(name)?.to_owned();
            Some(Self {
                name,
                id: *id,
                bytes: bytes.to_vec(),
            })
        };
        read().ok_or(NoteError::Shape("a signature line does not read"))
    }
}

/// Text and signatures; nothing is verified until [`Note::verified_by`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The signed text, with its final newline.
    pub text: String,
    /// In the order of the lines.
    pub signatures: Vec<NoteSignature>,
}

impl Note {
    /// Reads a note of at most 64 KiB and 100 signatures.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_BYTES {
            return Err(NoteError::Shape("it is longer than 64 KiB"));
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Shape("it is not UTF-8"))?;
        if note.contains(|c: char| c.is_control() && c != '\n' && c.is_ascii()) {
            return Err(NoteError::Shape("it has control characters"));
        }
        let (text, lines) = note
            .rsplit_once("\n\n")
            .ok_or(NoteError::Shape("no empty line sets signatures apart"))?;
        let lines = lines
            .strip_suffix('\n')
            .ok_or(NoteError::Shape("its last line has no end"))?;
        let signatures = lines
            .split('\n')
            .map(str::parse)
            .collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::Shape("it has more than 100 signatures"));
        }
        Ok(Self {
            text: format!("{text}\n"),
            signatures,
        })
    }

    /// The time of the key's signature (a log's own has none), if it has signed and every line of its
    /// name and id verifies.
    pub fn verified_by(&self, key: &VerifierKey) -> Result<Option<Timestamp>, NoteError> {
        let name = || key.name.clone();
        let mut found = None;
        for line in &self.signatures {
            if line.name != key.name || line.id != key.id() {
                continue;
            }
            let at = verify(key, &self.text, &line.bytes).ok_or(NoteError::Bad { name: name() })?;
            found = found.or(Some(at));
        }
        found.ok_or(NoteError::Unsigned { name: name() })
    }
}

fn verify(key: &VerifierKey, text: &str, bytes: &[u8]) -> Option<Option<Timestamp>> {
    let (signed, signature, at) = match key.kind {
        SignatureKind::Log => (text.to_owned(), bytes, None),
        SignatureKind::Cosignature => {
            let (seconds, signature) = bytes.split_first_chunk::<8>()?;
            let seconds = u64::from_be_bytes(*seconds);
            let at = Timestamp::from_unix_secs(i64::try_from(seconds).ok()?);
            (cosigned(seconds, text), signature, Some(at))
        }
    };
    let signature = Signature::from_slice(signature).ok()?;
    // Strict: no key or signature of small order.
    key.key.verify_strict(signed.as_bytes(), &signature).ok()?;
    Some(at)
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| line.fmt(f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification, with its published key.
    const EXAMPLE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\
        \n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    #[test]
    fn the_example_of_the_go_package_verifies() {
        let key: VerifierKey = KEY.parse().unwrap();
        assert_eq!(key.to_string(), KEY);
        let note = Note::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(note.verified_by(&key), Ok(None));
        assert_eq!(note.to_string(), EXAMPLE);
        let changed = EXAMPLE.replace("answer", "cure");
        let note = Note::parse(changed.as_bytes()).unwrap();
        assert!(matches!(note.verified_by(&key), Err(NoteError::Bad { .. })));
    }

    #[test]
    fn the_cosignature_of_the_specification_s_example_reads_and_ours_verify() {
        let line = "\u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
        let read: NoteSignature = line.parse().unwrap();
        assert_eq!(read.to_string(), line);
        assert_eq!(
            u64::from_be_bytes(read.bytes[..8].try_into().unwrap()),
            1_679_315_147
        );

        let key = LogKey::from_seed("w.example", SignatureKind::Cosignature, &[7; 32]).unwrap();
        let at = Timestamp::from_unix_secs(1_700_000_000);
        let text = "log.example\n1\nAAAA\n";
        let mut note = Note {
            text: text.to_owned(),
            signatures: vec![key.sign(text, at)],
        };
        note = Note::parse(note.to_string().as_bytes()).unwrap();
        assert_eq!(note.verified_by(&key.public()), Ok(Some(at)));
        // The time is signed too.
        note.signatures[0].bytes[7] ^= 1;
        assert!(note.verified_by(&key.public()).is_err());
        // A log's key of the same bytes is another key.
        let log = LogKey::from_seed("w.example", SignatureKind::Log, &[7; 32]).unwrap();
        assert!(matches!(
            note.verified_by(&log.public()),
            Err(NoteError::Unsigned { .. })
        ));
    }

    #[test]
    fn hostile_notes_are_refused_in_words() {
        let many = format!("x\n\n{}", "\u{2014} a AAAAAAA=\n".repeat(200));
        let long = format!("{}\n\n\u{2014} a AAAAAAA=\n", "x".repeat(70_000));
        for bad in [
            "",
            "\n\n",
            "text\n",
            "text\n\n",
            "text\n\nno dash\n",
            "t\u{1}\n\n\u{2014} a AAAAAAA=\n",
            &many,
            &long,
            "text\n\n\u{2014} a AAAAAAA=",
            "text\n\n\u{2014} a+b AAAAAAA=\n",
            "text\n\n\u{2014} a !!\n",
        ] {
            assert!(
                Note::parse(bad.as_bytes()).is_err(),
                "{:?}",
                &bad[..bad.len().min(40)]
            );
        }
        assert!(Note::parse(b"\xff\n\n").is_err());
        let damaged = KEY.replace("c74f20a3", "c74f20a4");
        for bad in [
            "",
            "a",
            "a+b",
            &damaged,
            "a b+00000000+AQ==",
            "PeterNeumann+c74f20a3+",
        ] {
            assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
        }
    }
}
