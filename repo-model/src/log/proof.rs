//! C2SP `tlog-proof@v1`: that an entry is in a log, in one file that is checked offline.

use super::{
    Checkpoint, CheckpointError, NodeHash, Note, ProofError, VerifierKey, leaf_hash,
    verify_inclusion,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::fmt;
use std::str::FromStr;

const HEAD: &str = "c2sp.org/tlog-proof@v1";
/// Longest proof, bytes: extra data, 64 hashes and a checkpoint.
const MAX_BYTES: usize = 1 << 20;
/// A tree of 2^64 leaves needs no more.
const MAX_HASHES: usize = 64;

/// A proof of inclusion with the checkpoint that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogProof {
    /// Unauthenticated data that helps to find the entry.
    pub extra: Option<Vec<u8>>,
    /// The entry's index.
    pub index: u64,
    /// Siblings from the leaf up.
    pub hashes: Vec<NodeHash>,
    /// The signed checkpoint.
    pub checkpoint: Note,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogProofError {
    /// Not of the shape.
    #[error("not a tlog-proof: {0}")]
    Shape(&'static str),
    /// The checkpoint is not the log's.
    #[error("the proof's checkpoint cannot be used")]
    Checkpoint(#[from] CheckpointError),
    /// The entry is not shown to be in the log.
    #[error("the entry is not in the log")]
    Inclusion(#[from] ProofError),
}

impl LogProof {
    /// Checks that the log of `key` has `entry`; gives the checkpoint, whose witnesses are the caller's to
    /// count.
    pub fn verify(&self, entry: &[u8], key: &VerifierKey) -> Result<Checkpoint, LogProofError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, key)?;
        self.leads_to(entry, &checkpoint)?;
        Ok(checkpoint)
    }

    /// Checks that the hashes lead from `entry` to a head that was verified before: that of the proof.
    pub fn leads_to(&self, entry: &[u8], head: &Checkpoint) -> Result<(), LogProofError> {
        let leaf = leaf_hash(entry);
        Ok(verify_inclusion(
            self.index,
            head.size,
            leaf,
            &self.hashes,
            head.root,
        )?)
    }
}

impl fmt::Display for LogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", hash.to_base64())?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for LogProof {
    type Err = LogProofError;

    fn from_str(text: &str) -> Result<Self, LogProofError> {
        let shape = LogProofError::Shape;
        if text.len() > MAX_BYTES {
            return Err(shape("it is longer than 1 MiB"));
        }
        let (proof, checkpoint) = text
            .split_once("\n\n")
            .ok_or(shape("no empty line sets the checkpoint apart"))?;
        let mut lines = proof.split('\n').peekable();
        if lines.next() != Some(HEAD) {
            return Err(shape("its first line is not c2sp.org/tlog-proof@v1"));
        }
        let extra = match lines.next_if(|line| line.starts_with("extra ")) {
            None => None,
            Some(line) => Some(
                STANDARD
                    .decode(&line["extra ".len()..])
                    .map_err(|_| shape("its extra data is not base64"))?,
            ),
        };
        let number = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .ok_or(shape("it has no index"))?;
        let index: u64 = number
            .parse()
            .map_err(|_| shape("its index is no number"))?;
        if index.to_string() != number {
            return Err(shape("its index is spelt oddly"));
        }
        let mut hashes = Vec::new();
        for line in lines {
            if hashes.len() == MAX_HASHES {
                return Err(shape("it has more than 64 hashes"));
            }
            let hash =
                NodeHash::from_base64(line).ok_or(shape("a hash is not base64 of 32 bytes"))?;
            hashes.push(hash);
        }
        let checkpoint = Note::parse(checkpoint.as_bytes()).map_err(CheckpointError::from)?;
        Ok(Self {
            extra,
            index,
            hashes,
            checkpoint,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::log::{LogKey, SignatureKind};

    #[test]
    fn a_proof_reads_back_and_verifies_for_its_entry_alone() {
        let key = LogKey::from_seed("log.example", SignatureKind::Log, &[1; 32]).unwrap();
        let checkpoint = Checkpoint {
            origin: "log.example".to_owned(),
            size: 1,
            root: leaf_hash(b"entry"),
        };
        let text = checkpoint.to_string();
        let signature = key.sign(&text, Timestamp::from_unix_secs(0)).unwrap();
        for extra in [None, Some(b"more".to_vec())] {
            let proof = LogProof {
                extra,
                index: 0,
                hashes: Vec::new(),
                checkpoint: Note {
                    text: text.clone(),
                    signatures: vec![signature.clone()],
                },
            };
            let back: LogProof = proof.to_string().parse().unwrap();
            assert_eq!(back, proof);
            assert_eq!(back.verify(b"entry", &key.public()).unwrap(), checkpoint);
            assert_eq!(
                back.verify(b"other", &key.public()),
                Err(LogProofError::Inclusion(ProofError::Root))
            );
            let stranger = LogKey::from_seed("log.example", SignatureKind::Log, &[2; 32]).unwrap();
            assert!(matches!(
                back.verify(b"entry", &stranger.public()),
                Err(LogProofError::Checkpoint(_))
            ));
        }
    }

    #[test]
    fn what_is_no_proof_is_refused_in_words() {
        let many = format!(
            "{HEAD}\nindex 0\n{}\nx\n\n\u{2014} a AAAAAAA=\n",
            format!("{}\n", leaf_hash(b"").to_base64()).repeat(65)
        );
        for bad in [
            "",
            "x",
            "wrong\nindex 0\n\nx\n",
            "c2sp.org/tlog-proof@v1\n",
            "c2sp.org/tlog-proof@v1\nindex one\n\nx\n",
            "c2sp.org/tlog-proof@v1\nindex 01\n\nx\n",
            "c2sp.org/tlog-proof@v1\nextra !\nindex 0\n\nx\n",
            "c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\nx\n",
            "c2sp.org/tlog-proof@v1\nindex 0\n\nx\n",
            &many,
        ] {
            assert!(
                bad.parse::<LogProof>().is_err(),
                "{:?}",
                &bad[..bad.len().min(60)]
            );
        }
    }
}
