//! C2SP `tlog-checkpoint`: what a log says about itself, in three lines.

use super::{NodeHash, Note, NoteError, VerifierKey};
use std::fmt;
use std::str::FromStr;

/// A log's name, size and root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// Root over them.
    pub root: NodeHash,
}

/// Why a checkpoint cannot be used. The log's fault, or that of whoever passed it on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The text is not of the shape.
    #[error("not a checkpoint: {0}")]
    Shape(&'static str),
    /// The note is not, or not rightly signed.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// It is of another log.
    #[error("the checkpoint is of {found}, not of {wanted}")]
    Origin {
        /// Its origin.
        found: String,
        /// The key's name.
        wanted: String,
    },
}

impl Checkpoint {
    /// Reads a note that the log's key has signed; the key's name is the origin.
    pub fn open(note: &Note, key: &VerifierKey) -> Result<Self, CheckpointError> {
        note.verified_by(key)?;
        Self::read_verified(note, key)
    }

    /// Reads a note whose signature by `key` was verified before.
    pub(crate) fn read_verified(note: &Note, key: &VerifierKey) -> Result<Self, CheckpointError> {
        let checkpoint: Self = note.text.parse()?;
        if checkpoint.origin != key.name() {
            return Err(CheckpointError::Origin {
                found: checkpoint.origin,
                wanted: key.name().to_owned(),
            });
        }
        Ok(checkpoint)
    }
}

impl fmt::Display for Checkpoint {
    /// The note's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}\n{}\n{}",
            self.origin,
            self.size,
            self.root.to_base64()
        )
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    /// Reads the note's text; extension lines are passed over.
    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.split_terminator('\n');
        let mut line = |what| {
            lines
                .next()
                .filter(|line| !line.is_empty())
                .ok_or(CheckpointError::Shape(what))
        };
        let origin = line("it has no origin")?.to_owned();
        let size = line("it has no size")?;
        let root = line("it has no root")?;
        let number: u64 = size
            .parse()
            .map_err(|_| CheckpointError::Shape("its size is no number"))?;
        if number.to_string() != size {
            return Err(CheckpointError::Shape("its size is spelt oddly"));
        }
        let root = NodeHash::from_base64(root)
            .ok_or(CheckpointError::Shape("its root is not base64 of 32 bytes"))?;
        Ok(Self {
            origin,
            size: number,
            root,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::log::{LogKey, SignatureKind};

    #[test]
    fn a_checkpoint_is_read_only_from_its_own_log() {
        let key = LogKey::from_seed("log.example", SignatureKind::Log, &[1; 32]).unwrap();
        let signed = |text: &str| Note {
            text: text.to_owned(),
            signatures: vec![key.sign(text, Timestamp::from_unix_secs(0)).unwrap()],
        };
        let root = super::super::leaf_hash(b"x");
        let checkpoint = Checkpoint {
            origin: "log.example".to_owned(),
            size: 20,
            root,
        };
        let text = checkpoint.to_string();
        assert_eq!(
            Checkpoint::open(&signed(&text), &key.public()),
            Ok(checkpoint)
        );
        let other = text.replace("log.example", "log.other");
        assert!(matches!(
            Checkpoint::open(&signed(&other), &key.public()),
            Err(CheckpointError::Origin { .. })
        ));
        for bad in [
            "",
            "log.example\n",
            "log.example\n020\nAAAA\n",
            "log.example\n20\nAAAA\n",
            "log.example\n+1\nAAAA\n",
        ] {
            assert!(
                Checkpoint::open(&signed(bad), &key.public()).is_err(),
                "{bad:?}"
            );
        }
    }
}
