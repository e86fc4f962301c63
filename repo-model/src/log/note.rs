//! C2SP `signed-note`: text with signature lines. The keys that make them are in `key.rs`.

use super::VerifierKey;
use super::key::{MAX_NAME_BYTES, good_name};
use crate::Timestamp;
use base64::{Engine as _, engine::general_purpose::STANDARD};
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
    #[error("not a key: want NAME+HASH+KEY with an Ed25519 or ML-DSA-44 key, or PKCS #8 in PEM")]
    Key,
    /// An ML-DSA-44 cosignature is of checkpoints only.
    #[error("the text to sign is no checkpoint")]
    NoCheckpoint,
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
    /// The log's own, Ed25519.
    Log,
    /// A witness's, Ed25519: it saw the log grow consistently up to here.
    Cosignature,
    /// The same with ML-DSA-44, which a quantum computer cannot forge; a log may sign so beside its own.
    MlDsa44,
}

impl SignatureKind {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Log, Self::Cosignature, Self::MlDsa44];

    /// The algorithm, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log | Self::Cosignature => "Ed25519",
            Self::MlDsa44 => "ML-DSA-44",
        }
    }

    /// Bytes of a signature line of this kind, with its end.
    ///
    /// * `name_bytes`: length of the key's name.
    fn line_bytes(self, name_bytes: usize) -> usize {
        let signature_bytes = match self {
            Self::Log => 64,
            Self::Cosignature => 8 + 64,
            Self::MlDsa44 => 8 + 2420,
        };
        // Dash, space, name, space, base64 of id and signature, newline.
        "\u{2014} ".len() + name_bytes + 1 + (4_usize + signature_bytes).div_ceil(3) * 4 + 1
    }

    pub(super) fn identifier(self) -> u8 {
        match self {
            Self::Log => 0x01,
            Self::Cosignature => 0x04,
            Self::MlDsa44 => 0x06,
        }
    }
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    pub(super) name: String,
    pub(super) id: [u8; 4],
    pub(super) bytes: Vec<u8>,
}

impl NoteSignature {
    /// Whether name and id are the key's; nothing is verified.
    pub fn is_by(&self, key: &VerifierKey) -> bool {
        self.name == key.name() && self.id == key.id()
    }
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

    /// Whether [`Note::parse`] reads it back: it is within the limits of length and signatures.
    pub fn fits(&self) -> bool {
        self.signatures.len() <= MAX_SIGNATURES && self.to_string().len() <= MAX_BYTES
    }

    /// Whether a checkpoint of any log, signed by the log with both its keys, has room for one line of each of
    /// these cosigners.
    pub(super) fn has_room_for<'a>(cosigners: impl Iterator<Item = &'a VerifierKey>) -> bool {
        // Origin, size, root and the empty line; then the log's own lines.
        let text_bytes = (MAX_NAME_BYTES + 1) + (20 + 1) + (44 + 1) + 1;
        let own = [SignatureKind::Log, SignatureKind::MlDsa44];
        let mut lines = own.len();
        let mut bytes = text_bytes;
        for kind in own {
            bytes += kind.line_bytes(MAX_NAME_BYTES);
        }
        for key in cosigners {
            lines += 1;
            bytes += key.kind().line_bytes(key.name().len());
        }
        lines <= MAX_SIGNATURES && bytes <= MAX_BYTES
    }

    /// The time of the key's signature (a log's own has none), if it has signed and every line of its
    /// name and id verifies.
    pub fn verified_by(&self, key: &VerifierKey) -> Result<Option<Timestamp>, NoteError> {
        let name = || key.name().to_owned();
        let mut found = None;
        for line in &self.signatures {
            if !line.is_by(key) {
                continue;
            }
            let at = key
                .verify(&self.text, &line.bytes)
                .ok_or(NoteError::Bad { name: name() })?;
            found = found.or(Some(at));
        }
        found.ok_or(NoteError::Unsigned { name: name() })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| line.fmt(f))
    }
}

#[cfg(test)]
mod tests {
    use super::super::LogKey;
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
            signatures: vec![key.sign(text, at).unwrap()],
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
