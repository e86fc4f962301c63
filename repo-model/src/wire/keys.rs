//! The signer's keys as the world sees them: what each is for, where it is in its life, and what is to be
//! said about it.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyRole {
    /// Package headers and package files (OpenPGP).
    Package,
    /// `repomd.xml` (OpenPGP).
    Metadata,
    /// Statements (ECDSA P-256).
    Statement,
    /// What `Package` signs, post-quantum (OpenPGP v6); there is none when that is off.
    PackagePqc,
    /// What `Metadata` signs, post-quantum (OpenPGP v6); there is none when that is off.
    MetadataPqc,
}

impl KeyRole {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::Package,
        Self::Metadata,
        Self::Statement,
        Self::PackagePqc,
        Self::MetadataPqc,
    ];

    /// `package`, `metadata`, `statement`, `package-pqc`, `metadata-pqc`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Package => "package",
            Self::Metadata => "metadata",
            Self::Statement => "statement",
            Self::PackagePqc => "package-pqc",
            Self::MetadataPqc => "metadata-pqc",
        }
    }

    /// What the first key of this role is called; later ones have a number after it.
    pub fn first_label(self) -> &'static str {
        match self {
            Self::Package => "package-key",
            Self::Metadata => "metadata-key",
            Self::Statement => "statement-key",
            Self::PackagePqc => "package-key-pqc",
            Self::MetadataPqc => "metadata-key-pqc",
        }
    }

    /// Whether its certificates are of OpenPGP version 6, which go into key files of their own: gpg and
    /// rpm 4 refuse a whole file that has one.
    pub fn is_post_quantum(self) -> bool {
        match self {
            Self::Package | Self::Metadata | Self::Statement => false,
            Self::PackagePqc | Self::MetadataPqc => true,
        }
    }

    /// After so many days it is time for the next key.
    pub fn max_age_days(self) -> i64 {
        match self {
            // Each change costs a re-signing or old keys on clients.
            Self::Package | Self::PackagePqc => 730,
            Self::Metadata | Self::Statement | Self::MetadataPqc => 365,
        }
    }
}

impl fmt::Display for KeyRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not a role.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no role of a key: want package, metadata, statement, package-pqc or metadata-pqc"
)]
pub struct ParseKeyRoleError(String);

impl FromStr for KeyRole {
    type Err = ParseKeyRoleError;
    fn from_str(text: &str) -> Result<Self, ParseKeyRoleError> {
        let mut all = Self::ALL.into_iter();
        all.find(|role| role.name() == text)
            .ok_or_else(|| ParseKeyRoleError(text.chars().take(40).collect()))
    }
}

/// Where a key is in its life. One of each role that has keys is current, at most one is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// Shown to clients so that they have it before it signs.
    Next,
    /// Signs.
    Current,
    /// Signed before; what it signed is still good.
    Retired,
    /// Not to be trusted any more.
    Revoked,
}

impl KeyState {
    /// `next`, `current`, ...
    pub fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Current => "current",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
        }
    }

    /// Whether what it signs, or signed, is to be accepted.
    pub fn is_trusted(self) -> bool {
        self != Self::Revoked
    }
}

/// The public side of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedKey {
    /// What it signs.
    pub role: KeyRole,
    /// Where it is in its life.
    pub state: KeyState,
    /// `package-key`, `package-key-2`, ...
    pub label: String,
    /// OpenPGP fingerprint, or the key id of a statement key.
    pub fingerprint: String,
    /// `EdDSA (Ed25519)`, ...
    pub algorithm: String,
    /// 4 or 6; none for statement keys. Version 6 goes into a key file of its own: gpg and rpm 4 refuse a
    /// file that has one.
    pub openpgp_version: Option<u8>,
    /// When it was made, if that is known.
    pub made: Option<Timestamp>,
    /// When it ends; none: never.
    pub expires: Option<Timestamp>,
    /// Since when it is in this state.
    pub since: Option<Timestamp>,
    /// The certificate in armour, or the statement key as SPKI PEM.
    pub public: String,
    /// What is wrong with it for clients that we know.
    pub findings: Vec<String>,
}

/// What a key of the log signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogKeyRole {
    /// The heads of the log.
    Log,
    /// The same, post-quantum, beside it; there is none when that is off.
    LogPqc,
}

impl LogKeyRole {
    /// `log`, `log-pqc`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::LogPqc => "log-pqc",
        }
    }
}

/// The public side of a key that signs the heads of the log. It has no life as others have, and is always current: it
/// is part of what the log is, and another key is another log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedLogKey {
    /// What it signs.
    pub role: LogKeyRole,
    /// [`KeyState::Current`].
    pub state: KeyState,
    /// `log-key`, `log-key-pqc`.
    pub label: String,
    /// SHA-256 of name, kind and key, in hex: what Sigstore calls the log's id.
    pub fingerprint: String,
    /// `Ed25519`, `ML-DSA-44`.
    pub algorithm: String,
    /// When it was made, if that is known.
    pub made: Option<Timestamp>,
    /// `NAME+HASH+KEY` (C2SP `signed-note`).
    pub public: String,
}

/// A key of either kind, as it is listed.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum ListedKey<'a> {
    /// One with a life.
    Key(&'a PublishedKey),
    /// One of the log's.
    Log(&'a PublishedLogKey),
}

/// All keys in one list, the log's last.
pub fn listed<'a>(keys: &'a [PublishedKey], log: &'a [PublishedLogKey]) -> Vec<ListedKey<'a>> {
    let log = log.iter().map(ListedKey::Log);
    keys.iter().map(ListedKey::Key).chain(log).collect()
}

/// A key whose end is nearer than this is spoken of.
const EXPIRY_WARNING_DAYS: i64 = 60;
/// A staged key may take over after so many days: clients look for keys less often than for metadata.
pub const MIN_STAGED_DAYS: i64 = 14;

impl PublishedKey {
    /// What an operator has to know about this key at `now`; empty when all is well.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.state == KeyState::Revoked {
            return warnings;
        }
        let days = self.role.max_age_days();
        let old = |made: Timestamp| made.plus_secs(days * 86_400) <= now;
        if self.state == KeyState::Current && self.made.is_some_and(old) {
            warnings.push(format!(
                "older than {days} days: stage the next one (`hallmark-signer key stage {}`)",
                self.role
            ));
        }
        if let Some(end) = self.expires {
            if end <= now {
                warnings.push(format!("expired on {end}"));
            } else if end <= now.plus_secs(EXPIRY_WARNING_DAYS * 86_400) {
                warnings.push(format!("expires on {end}: stage the next one"));
            }
        }
        warnings.extend(self.findings.iter().cloned());
        warnings
    }

    /// From when on a staged key may take over.
    pub fn may_rotate_at(&self) -> Option<Timestamp> {
        let staged = self.since.filter(|_| self.state == KeyState::Next)?;
        Some(staged.plus_secs(MIN_STAGED_DAYS * 86_400))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_expiry_and_algorithm_are_spoken_of_in_time() {
        let made = Timestamp::from_unix_secs(1_763_600_000);
        let day = |days: i64| made.plus_secs(days * 86_400);
        let key = PublishedKey {
            role: KeyRole::Metadata,
            state: KeyState::Current,
            label: "metadata-key".to_owned(),
            fingerprint: "AB".to_owned(),
            algorithm: "EdDSA".to_owned(),
            openpgp_version: Some(4),
            made: Some(made),
            expires: None,
            since: Some(made),
            public: String::new(),
            findings: Vec::new(),
        };
        assert!(key.warnings(day(364)).is_empty());
        assert!(key.warnings(day(365))[0].contains("older than 365 days"));
        let ends = PublishedKey {
            expires: Some(day(100)),
            ..key.clone()
        };
        assert!(ends.warnings(day(39)).is_empty());
        assert!(ends.warnings(day(41))[0].contains("expires on"));
        assert!(ends.warnings(day(100))[0].contains("expired on"));
        let weak = PublishedKey {
            findings: vec!["RSA of 1024 bits".to_owned()],
            ..key.clone()
        };
        assert_eq!(weak.warnings(day(1)), ["RSA of 1024 bits"]);
        let next = PublishedKey {
            state: KeyState::Next,
            ..key
        };
        assert!(next.warnings(day(400)).is_empty());
        assert_eq!(next.may_rotate_at(), Some(day(MIN_STAGED_DAYS)));
        let log = PublishedLogKey {
            role: LogKeyRole::LogPqc,
            state: KeyState::Current,
            label: "log-key-pqc".to_owned(),
            fingerprint: "cd".to_owned(),
            algorithm: "ML-DSA-44".to_owned(),
            made: None,
            public: "log.example+00+AA".to_owned(),
        };
        let all = serde_json::to_value(listed(&[next], &[log])).unwrap();
        assert_eq!(
            (&all[0]["role"], &all[1]["role"]),
            (&"metadata".into(), &"log-pqc".into())
        );
        assert_eq!(all[1]["role"], LogKeyRole::LogPqc.name());
        assert!("packages".parse::<KeyRole>().is_err());
        for role in KeyRole::ALL {
            assert_eq!(role.name().parse::<KeyRole>().unwrap(), role);
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
        }
    }
}
