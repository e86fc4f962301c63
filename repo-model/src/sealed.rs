//! Commit, then reveal: a rebuilder says that it has an answer before it hears anybody else's.
//!
//! 1. Each rebuilder signs a [`Commitment`]: a digest of its statements and a random salt, which
//!    tells nobody what they say.
//! 2. The server gathers commitments into a *round* and shows their digests to all of its members.
//! 3. Each member signs one [`Reveal`]: the salt, its statements, and the round it was shown.
//!
//! Whoever revealed for a round had seen the commitments of all its members before. So when the
//! reveals of two rebuilders name the same round, neither can have copied the other, and that needs
//! no trust in the server's clock or word: [`judge`](crate::policy::judge) checks it from the
//! envelopes alone.

use crate::dsse::{Envelope, StatementPublicKey};
use crate::statement::{Rebuilder, Resource, Statement};
use crate::{FileDigest, Timestamp};
use serde::{Deserialize, Serialize};

/// Predicate type of [`Commitment`].
pub const COMMITMENT: &str = "https://hallmark.example/attestation/rebuild-commitment/v0.1";
/// Predicate type of [`Reveal`].
pub const REVEAL: &str = "https://hallmark.example/attestation/rebuild-reveal/v0.1";
/// Largest envelope of a commitment, bytes.
pub const MAX_COMMITMENT_BYTES: usize = 16 << 10;
/// Most members of a round.
pub const MAX_ROUND: usize = 256;

/// "I have an answer about this build, and it cannot change any more."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Commitment {
    /// Who.
    pub rebuilder: Rebuilder,
    /// The source package that was rebuilt.
    pub source: Resource,
    /// The buildinfo that was replayed.
    pub buildinfo: Resource,
    /// [`seal`] of the salt and the statements.
    pub sealed: FileDigest,
    /// When.
    pub committed_on: Timestamp,
}

/// "This was my answer, and these are the commitments that I had seen when I told it."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reveal {
    /// Who.
    pub rebuilder: Rebuilder,
    /// Digest of the commitment's envelope.
    pub commitment: FileDigest,
    /// 64 lowercase hex digits.
    pub salt: String,
    /// Digests of the rebuild statements' envelopes, in the job's order.
    pub statements: Vec<FileDigest>,
    /// Digests of the envelopes of all commitments of the round, sorted; one's own is among them.
    pub round: Vec<FileDigest>,
    /// When.
    pub revealed_on: Timestamp,
}

/// What a commitment commits to: SHA-256 over a fixed text of the salt and the statements' digests.
///
/// * `salt`: 64 hex digits of 32 random bytes; without it, few possible answers could be tried out.
pub fn seal(salt: &str, statements: &[FileDigest]) -> FileDigest {
    let mut text = format!("hallmark-seal-v1\n{salt}\n");
    for statement in statements {
        text.push_str(&statement.to_hex());
        text.push('\n');
    }
    FileDigest::of(text.as_bytes())
}

/// A reveal that fits its commitment, both verified with one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The commitment.
    pub commitment: Commitment,
    /// What was revealed.
    pub reveal: Reveal,
}

/// Why a reveal does not open a commitment. The rebuilder's fault; the same pair never fits.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// One of the two is not a statement of this key.
    #[error(transparent)]
    Statement(#[from] crate::statement::StatementError),
    /// The reveal is of another commitment.
    #[error("the reveal opens commitment {named}, not {wanted}")]
    OtherCommitment {
        /// Named by the reveal.
        named: FileDigest,
        /// That was to be opened.
        wanted: FileDigest,
    },
    /// Salt and statements are not what was committed to.
    #[error("salt and statements give the seal {found}, but {committed} was committed to")]
    OtherAnswer {
        /// Computed.
        found: FileDigest,
        /// Committed.
        committed: FileDigest,
    },
    /// The round is not one that the commitment is part of.
    #[error("the round of the reveal {why}")]
    Round {
        /// What is wrong.
        why: &'static str,
    },
    /// The salt is not 32 bytes in hex.
    #[error("the salt is not 64 lowercase hex digits")]
    Salt,
}

/// Verifies that `reveal` opens `commitment`, both signed by `key`.
pub fn open(
    commitment: &Envelope,
    reveal: &Envelope,
    key: &StatementPublicKey,
) -> Result<Opened, SealError> {
    let wanted = FileDigest::of(&commitment.to_json());
    let committed = Statement::<Commitment>::open(commitment, key, COMMITMENT)?.predicate;
    let revealed = Statement::<Reveal>::open(reveal, key, REVEAL)?.predicate;
    if revealed.commitment != wanted {
        return Err(SealError::OtherCommitment {
            named: revealed.commitment,
            wanted,
        });
    }
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if revealed.salt.len() != 64 || !revealed.salt.bytes().all(hex) {
        return Err(SealError::Salt);
    }
    let found = seal(&revealed.salt, &revealed.statements);
    if found != committed.sealed {
        return Err(SealError::OtherAnswer {
            found,
            committed: committed.sealed,
        });
    }
    check_round(&revealed.round, wanted)?;
    Ok(Opened {
        commitment: committed,
        reveal: revealed,
    })
}

fn check_round(round: &[FileDigest], own: FileDigest) -> Result<(), SealError> {
    let refuse = |why| Err(SealError::Round { why });
    if round.len() > MAX_ROUND {
        return refuse("has too many members");
    }
    if !round.windows(2).all(|pair| pair[0] < pair[1]) {
        return refuse("is not sorted or names a commitment twice");
    }
    if !round.contains(&own) {
        return refuse("lacks the commitment that it opens");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsse::StatementKey;

    struct Party {
        key: StatementKey,
        rebuilder: Rebuilder,
    }

    fn party(seed: u8) -> Party {
        Party {
            key: StatementKey::from_seed(&[seed; 32]).unwrap(),
            rebuilder: Rebuilder {
                id: format!("rb-{seed}").parse().unwrap(),
                operator: format!("op-{seed}").parse().unwrap(),
            },
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_unix_secs(1_700_000_000)
    }

    fn commitment(party: &Party, sealed: FileDigest) -> Envelope {
        let resource = |name: &str| Resource::file(name, FileDigest::of(name.as_bytes()));
        let said = Commitment {
            rebuilder: party.rebuilder.clone(),
            source: resource("source"),
            buildinfo: resource("buildinfo"),
            sealed,
            committed_on: now(),
        };
        Statement::new(COMMITMENT, Vec::new(), said)
            .sign(&party.key)
            .unwrap()
    }

    fn reveal(
        party: &Party,
        commitment: FileDigest,
        salt: &str,
        statements: &[FileDigest],
        round: &[FileDigest],
    ) -> Envelope {
        let said = Reveal {
            rebuilder: party.rebuilder.clone(),
            commitment,
            salt: salt.to_owned(),
            statements: statements.to_vec(),
            round: round.to_vec(),
            revealed_on: now(),
        };
        Statement::new(REVEAL, Vec::new(), said)
            .sign(&party.key)
            .unwrap()
    }

    #[test]
    fn only_the_answer_that_was_committed_to_opens_a_commitment() {
        let (a, b) = (party(1), party(2));
        let salt = "ab".repeat(32);
        let answer = [FileDigest::of(b"statement")];
        let committed = commitment(&a, seal(&salt, &answer));
        let digest = FileDigest::of(&committed.to_json());
        let another = FileDigest::of(b"another commitment");
        let mut round = [digest, another];
        round.sort();
        let opens = |envelope: &Envelope| open(&committed, envelope, &a.key.public());

        let good = reveal(&a, digest, &salt, &answer, &round);
        assert_eq!(opens(&good).unwrap().reveal.statements, answer);
        assert!(open(&committed, &good, &b.key.public()).is_err(), "b's key");
        let backwards = [round[1], round[0]];
        let upper = salt.to_uppercase();
        for (what, bad) in [
            (
                "another answer",
                reveal(&a, digest, &salt, &[FileDigest::of(b"changed")], &round),
            ),
            ("no answer", reveal(&a, digest, &salt, &[], &round)),
            (
                "another salt",
                reveal(&a, digest, &"cd".repeat(32), &answer, &round),
            ),
            ("a short salt", reveal(&a, digest, "ab", &answer, &round)),
            (
                "an upper-case salt",
                reveal(&a, digest, &upper, &answer, &round),
            ),
            (
                "another commitment",
                reveal(&a, another, &salt, &answer, &round),
            ),
            (
                "a round without its own",
                reveal(&a, digest, &salt, &answer, &[another]),
            ),
            (
                "an unsorted round",
                reveal(&a, digest, &salt, &answer, &backwards),
            ),
            (
                "a doubled round",
                reveal(&a, digest, &salt, &answer, &[digest, digest]),
            ),
            (
                "signed by another",
                reveal(&b, digest, &salt, &answer, &round),
            ),
        ] {
            assert!(opens(&bad).is_err(), "{what}");
        }
    }

    #[test]
    fn a_commitment_tells_nothing_that_could_be_tried_out() {
        let answer = [FileDigest::of(b"the only possible statement")];
        assert_ne!(
            seal(&"00".repeat(32), &answer),
            seal(&"01".repeat(32), &answer)
        );
        // Moving bytes between salt and answer gives another text.
        assert_ne!(seal("", &answer), seal(&answer[0].to_hex(), &[]));
    }
}
