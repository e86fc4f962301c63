//! C2SP `tlog-witness`: what a log asks a witness, and what a witness answers. Pure: who keeps the last
//! checkpoint of each log, and makes it durable before it answers, is the witness's process.

use super::{
    Checkpoint, CheckpointError, NodeHash, Note, NoteError, VerifierKey, verify_consistency,
};
use std::fmt;

/// Most hashes in a request.
const MAX_HASHES: usize = 63;
/// Longest request, bytes: the hashes and a note.
pub const MAX_REQUEST_BYTES: usize = (64 << 10) + 64 * 64;
/// Media type of the size in the answer to a request that starts from another size.
pub const SIZE_MEDIA_TYPE: &str = "text/x.tlog.size";

/// Body of `POST …/add-checkpoint`.
///
/// ```text
/// old 5
/// PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
///
/// log.example
/// 9
/// CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
///
/// — log.example …
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Entries of the head that the witness cosigned last.
    pub old: u64,
    /// Consistency proof from there.
    pub proof: Vec<NodeHash>,
    /// The new head, signed by the log.
    pub checkpoint: Note,
}

/// Why a witness does not cosign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a request. The sender's fault.
    #[error("not a request to add a checkpoint: {0}")]
    Malformed(&'static str),
    /// What should be a checkpoint is none.
    #[error("the checkpoint does not read")]
    Checkpoint(#[from] CheckpointError),
    /// A tree does not shrink.
    #[error("old size {old} is larger than the checkpoint's {size}")]
    OldAhead {
        /// From.
        old: u64,
        /// To.
        size: u64,
    },
    /// The witness does not watch this log.
    #[error("this witness does not know the log {origin}")]
    UnknownLog {
        /// Its name.
        origin: String,
    },
    /// No key that the witness has of this log signed it.
    #[error("no key of {origin} that this witness knows signed the checkpoint")]
    Unsigned {
        /// The log.
        origin: String,
    },
    /// The proof starts from another size than was cosigned last; to be tried again from there.
    #[error("the last checkpoint cosigned here has {size} entries")]
    OtherSize {
        /// The size.
        size: u64,
    },
    /// A head of the size cosigned last, with another root: the log has forked.
    #[error("another checkpoint of {size} entries was cosigned here: the log has forked")]
    OtherRoot {
        /// The size.
        size: u64,
    },
    /// The proof does not lead from the head cosigned last to the new one. Anybody can send a proof that is wrong,
    /// so this tells nothing about the log; a log that sees it in the answer to its own proof has forked.
    #[error("the proof does not lead from {old} to {size} entries")]
    Inconsistent {
        /// From.
        old: u64,
        /// To.
        size: u64,
    },
}

impl Refusal {
    /// HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Checkpoint(_) | Self::OldAhead { .. } => 400,
            Self::Unsigned { .. } => 403,
            Self::UnknownLog { .. } => 404,
            Self::OtherSize { .. } | Self::OtherRoot { .. } => 409,
            Self::Inconsistent { .. } => 422,
        }
    }

    /// The size that the answer tells, when it is one of [`SIZE_MEDIA_TYPE`].
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::OtherSize { size } | Self::OtherRoot { size } => Some(*size),
            Self::Malformed(_)
            | Self::Checkpoint(_)
            | Self::OldAhead { .. }
            | Self::Unsigned { .. }
            | Self::UnknownLog { .. }
            | Self::Inconsistent { .. } => None,
        }
    }

    /// Whether it is certain that the log has signed what cannot be: something that people must look at.
    pub fn is_alarm(&self) -> bool {
        match self {
            Self::OtherRoot { .. } => true,
            Self::Malformed(_)
            | Self::Checkpoint(_)
            | Self::OldAhead { .. }
            | Self::Unsigned { .. }
            | Self::UnknownLog { .. }
            | Self::OtherSize { .. }
            | Self::Inconsistent { .. } => false,
        }
    }
}

impl AddCheckpoint {
    /// Reads a body of at most [`MAX_REQUEST_BYTES`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let malformed = Refusal::Malformed;
        if bytes.len() > MAX_REQUEST_BYTES {
            return Err(malformed("it is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8"))?;
        let (head, note) = text
            .split_once("\n\n")
            .ok_or(malformed("no empty line sets the checkpoint apart"))?;
        let mut lines = head.split('\n');
        let old = lines
            .next()
            .and_then(|line| line.strip_prefix("old "))
            .ok_or(malformed("its first line is not `old SIZE`"))?;
        let old = size(old).ok_or(malformed("its old size is no number"))?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == MAX_HASHES {
                return Err(malformed("it has more than 63 hashes"));
            }
            let hash =
                NodeHash::from_base64(line).ok_or(malformed("a hash is not base64 of 32 bytes"))?;
            proof.push(hash);
        }
        let checkpoint = Note::parse(note.as_bytes()).map_err(CheckpointError::from)?;
        Ok(Self {
            old,
            proof,
            checkpoint,
        })
    }

    /// Whether a witness may cosign.
    ///
    /// * `keys`: of all logs that it watches; a key's name is the log's.
    /// * `known`: gives the head of a log that it cosigned last; none when it never did.
    ///
    /// Returns the head. The caller remembers it for ever, then cosigns, and does both before it looks at
    /// another request for the same log.
    pub fn judge(
        &self,
        keys: &[VerifierKey],
        known: impl FnOnce(&str) -> Option<(u64, NodeHash)>,
    ) -> Result<Checkpoint, Refusal> {
        let claimed: Checkpoint = self.checkpoint.text.parse()?;
        let origin = || claimed.origin.clone();
        let is_of_log = |key: &&VerifierKey| key.name() == claimed.origin;
        let of_log: Vec<_> = keys.iter().filter(is_of_log).collect();
        if of_log.is_empty() {
            return Err(Refusal::UnknownLog { origin: origin() });
        }
        let checkpoint = of_log
            .into_iter()
            .find_map(|key| Checkpoint::open(&self.checkpoint, key).ok())
            .ok_or_else(|| Refusal::Unsigned { origin: origin() })?;
        let (old, size) = (self.old, checkpoint.size);
        if old > size {
            return Err(Refusal::OldAhead { old, size });
        }
        let (known_size, known_root) =
            known(&checkpoint.origin).unwrap_or((0, super::empty_root()));
        if old != known_size {
            return Err(Refusal::OtherSize { size: known_size });
        }
        if size == known_size && known_size > 0 && checkpoint.root != known_root {
            return Err(Refusal::OtherRoot { size });
        }
        verify_consistency(old, known_root, size, checkpoint.root, &self.proof)
            .map_err(|_| Refusal::Inconsistent { old, size })?;
        Ok(checkpoint)
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{}", hash.to_base64())?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

/// The size in an answer of [`SIZE_MEDIA_TYPE`]: decimal with its newline.
pub fn read_size(body: &str) -> Option<u64> {
    size(body.strip_suffix('\n').unwrap_or(body))
}

/// The one spelling of a number.
fn size(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The signature lines of an answer, of which the caller takes those that [`Note::verified_by`] holds for.
pub fn read_cosignatures(body: &str) -> Result<Vec<super::NoteSignature>, NoteError> {
    let lines = body
        .strip_suffix('\n')
        .ok_or(NoteError::Shape("its last line has no end"))?;
    lines.split('\n').take(16).map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testkit::{Leaves, signed};
    use super::super::{LogKey, SignatureKind, consistency_proof, empty_root, root};
    use super::*;
    use crate::Timestamp;

    fn log() -> LogKey {
        LogKey::from_seed("log.example", SignatureKind::Log, &[1; 32]).unwrap()
    }

    fn request(old: u64, size: u64, salt: &str) -> AddCheckpoint {
        let mut leaves = Leaves::salted(size, salt);
        let Ok(proof) = consistency_proof(old, size, &mut leaves);
        AddCheckpoint {
            old,
            proof,
            checkpoint: signed(&log(), size, leaves.root()),
        }
    }

    fn head(size: u64, salt: &str) -> (u64, NodeHash) {
        (size, Leaves::salted(size, salt).root())
    }

    fn ask(request: &AddCheckpoint, known: Option<(u64, NodeHash)>) -> Result<u64, u16> {
        let request = AddCheckpoint::parse(request.to_string().as_bytes()).unwrap();
        let judged = request.judge(&[log().public()], |origin| {
            assert_eq!(origin, "log.example");
            known
        });
        judged
            .map(|checkpoint| checkpoint.size)
            .map_err(|refusal| refusal.status())
    }

    #[test]
    fn a_witness_follows_a_log_that_grows_and_answers_everything_else_by_the_specification() {
        let at = |size| Some(head(size, "a"));
        type Row<'a> = (u64, u64, &'a str, Option<(u64, NodeHash)>, Result<u64, u16>);
        let table: &[Row<'_>] = &[
            (0, 5, "a", None, Ok(5)),
            (0, 0, "a", None, Ok(0)),
            (5, 9, "a", at(5), Ok(9)),
            (8, 9, "a", at(8), Ok(9)),
            // The answer was lost: the same head again.
            (9, 9, "a", at(9), Ok(9)),
            // From another size than it knows.
            (0, 9, "a", at(5), Err(409)),
            (7, 9, "a", at(5), Err(409)),
            (5, 9, "a", None, Err(409)),
            // Rollback: it never goes back.
            (5, 7, "a", at(9), Err(409)),
            (9, 7, "a", at(9), Err(400)),
            // Forks.
            (9, 9, "b", at(9), Err(409)),
            (5, 9, "b", at(5), Err(422)),
        ];
        for (old, size, salt, known, wanted) in table {
            let answer = ask(&request(*old, *size, salt), *known);
            assert_eq!(
                answer, *wanted,
                "{old} to {size} of {salt}, knows {known:?}"
            );
        }
        let mut wrong = request(5, 9, "a");
        wrong.proof.push(empty_root());
        assert_eq!(ask(&wrong, at(5)), Err(422));
        let mut wrong = request(0, 9, "a");
        wrong.proof.push(empty_root());
        assert_eq!(ask(&wrong, None), Err(422), "a proof from nothing is empty");
    }

    #[test]
    fn only_two_heads_of_one_size_that_the_log_signed_are_an_alarm() {
        let refusal = |request: &AddCheckpoint, known| {
            let judged = request.judge(&[log().public()], |_| Some(known));
            judged.unwrap_err()
        };
        assert!(refusal(&request(9, 9, "b"), head(9, "a")).is_alarm());
        let mut wrong = request(5, 9, "a");
        wrong.proof.clear();
        for (request, known) in [
            (&wrong, head(5, "a")),
            (&request(5, 9, "b"), head(5, "a")),
            (&request(5, 9, "a"), head(7, "a")),
        ] {
            assert!(!refusal(request, known).is_alarm());
        }
        // The same root beside another one, signed by somebody else.
        let thief = LogKey::from_seed("log.example", SignatureKind::Log, &[9; 32]).unwrap();
        let mut stolen = request(9, 9, "b");
        stolen.checkpoint = signed(&thief, 9, head(9, "b").1);
        assert!(!refusal(&stolen, head(9, "a")).is_alarm());
    }

    #[test]
    fn only_logs_and_keys_that_are_known_are_cosigned() {
        let other = LogKey::from_seed("log.other", SignatureKind::Log, &[1; 32]).unwrap();
        let thief = LogKey::from_seed("log.example", SignatureKind::Log, &[9; 32]).unwrap();
        let (size, root) = head(3, "a");
        for (key, status) in [(&other, 404), (&thief, 403)] {
            let request = AddCheckpoint {
                old: 0,
                proof: Vec::new(),
                checkpoint: signed(key, size, root),
            };
            let refusal = request.judge(&[log().public()], |_| None).unwrap_err();
            assert_eq!(refusal.status(), status, "{refusal}");
        }
        // Lines of strangers beside the log's own are passed over.
        let mut request = request(0, 3, "a");
        let line = thief
            .sign(&request.checkpoint.text, Timestamp::from_unix_secs(0))
            .unwrap();
        request.checkpoint.signatures.insert(0, line);
        let two = [thief.public(), log().public()];
        assert!(request.judge(&two[1..], |_| None).is_ok());
        assert!(request.judge(&two, |_| None).is_ok());
    }

    #[test]
    fn what_is_no_request_is_refused_in_words() {
        let good = request(5, 9, "a").to_string();
        let hash = empty_root().to_base64();
        for bad in [
            String::new(),
            good.replace("old 5", "old 05"),
            good.replace("old 5", "old -1"),
            good.replace("old 5\n", ""),
            good.replace("old 5\n", "old 5\nnot a hash\n"),
            good.replace(
                "old 5\n",
                &format!("old 5\n{}", format!("{hash}\n").repeat(64)),
            ),
            good.replace("\n\n", "\n"),
            good.trim_end().to_owned(),
            format!("{good}{}", "x".repeat(MAX_REQUEST_BYTES)),
        ] {
            let refusal = AddCheckpoint::parse(bad.as_bytes()).unwrap_err();
            assert_eq!(refusal.status(), 400, "{:?}", &bad[..bad.len().min(60)]);
        }
        assert!(AddCheckpoint::parse(&[0xff]).is_err());
        assert_eq!(read_size("7\n"), Some(7));
        for bad in ["", "\n", "07\n", "+7", "7\n\n", "99999999999999999999"] {
            assert_eq!(read_size(bad), None, "{bad:?}");
        }
        assert!(read_cosignatures("no line\n").is_err());
        assert!(read_cosignatures("").is_err());
    }

    #[test]
    fn roots_of_the_test_kit_are_those_of_the_tree() {
        let mut leaves = Leaves::salted(5, "a");
        let Ok(found) = root(5, &mut leaves);
        assert_eq!(found, leaves.root());
    }
}
