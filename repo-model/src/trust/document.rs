//! The four documents of a TUF repository (specification 1.0, section 4), as far as we use them:
//!
//! ```json
//! {"signatures":[{"keyid":"4e…","sig":"9b…"}],
//!  "signed":{"_type":"root","spec_version":"1.0.31","version":1,"expires":"2027-11-20T10:06:00Z",
//!   "consistent_snapshot":false,
//!   "keys":{"4e…":{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"77…"}}},
//!   "roles":{"root":{"keyids":["4e…"],"threshold":1},"targets":{…},"snapshot":{…},"timestamp":{…}}}}
//! ```
//!
//! What is signed is the canonical form of `signed`, members that we do not know included.

use super::canonical::{NotCanonical, canonical};
use crate::{FileDigest, Timestamp};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The version of the specification that our documents follow.
pub const SPEC_VERSION: &str = "1.0.31";
/// Largest document, bytes.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;
/// The roles that a root document must name. The same people hold all four.
pub const ROLES: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

/// A document cannot be used. Whoever made it is at fault; reading it again fails again.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Larger than anything we make.
    #[error("{bytes} bytes are more than the limit of {MAX_DOCUMENT_BYTES}")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// Not JSON of the wanted shape.
    #[error("not a TUF document of the wanted shape")]
    Json(#[source] serde_json::Error),
    /// Another role's document.
    #[error("the document is a `{found}`, not a `{wanted}`")]
    Type {
        /// `_type` as found.
        found: String,
        /// As asked for.
        wanted: &'static str,
    },
    /// Written for rules that we do not know.
    #[error("the document follows version {found} of TUF; we know 1")]
    Spec {
        /// As found.
        found: String,
    },
    /// There is no one form to check a signature over.
    #[error(transparent)]
    NotCanonical(#[from] NotCanonical),
    /// A role asks for what its keys cannot give.
    #[error("the role {role} wants {threshold} of {keys} keys")]
    Threshold {
        /// Its name.
        role: String,
        /// Signatures wanted.
        threshold: u32,
        /// Distinct keys that it has.
        keys: usize,
    },
    /// A key that is none of ours, is named twice, or is not there.
    #[error("the key {key_id} {problem}")]
    Key {
        /// Its id in the document.
        key_id: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// `ed25519`.
    pub keytype: String,
    /// `ed25519`.
    pub scheme: String,
    /// The key itself.
    pub keyval: KeyValue,
}

/// The value of a [`Key`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    /// 64 hex digits.
    pub public: String,
}

impl Key {
    /// The key as TUF writes it.
    pub fn of(key: &VerifyingKey) -> Self {
        Self {
            keytype: "ed25519".to_owned(),
            scheme: "ed25519".to_owned(),
            keyval: KeyValue {
                public: hex::encode(key.as_bytes()),
            },
        }
    }

    /// SHA-256 of its canonical form, in hex.
    pub fn id(&self) -> String {
        let value = serde_json::json!({"keytype": self.keytype, "scheme": self.scheme,
            "keyval": {"public": self.keyval.public}});
        // There is no number in it.
        FileDigest::of(&canonical(&value).unwrap_or_default()).to_hex()
    }

    fn verifying(&self) -> Option<VerifyingKey> {
        if self.keytype != "ed25519" || self.scheme != "ed25519" {
            return None;
        }
        let mut raw = [0; 32];
        hex::decode_to_slice(&self.keyval.public, &mut raw).ok()?;
        VerifyingKey::from_bytes(&raw).ok()
    }
}

/// Who speaks for a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Ids of its keys.
    pub keyids: Vec<String>,
    /// How many of them must sign.
    pub threshold: u32,
}

/// The document that says which keys speak for which role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// `root`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// [`SPEC_VERSION`].
    pub spec_version: String,
    /// Whether names of other documents carry their version; ours do not.
    pub consistent_snapshot: bool,
    /// 1, 2, 3, ...
    pub version: u64,
    /// From then on it is of no more use.
    pub expires: Timestamp,
    /// Keys by id.
    pub keys: BTreeMap<String, Key>,
    /// Roles by name.
    pub roles: BTreeMap<String, Role>,
}

impl Root {
    /// A root in which `threshold` of `keys` speak for every role.
    pub fn new(keys: &[VerifyingKey], threshold: u32, version: u64, expires: Timestamp) -> Self {
        let keys: BTreeMap<_, _> = keys
            .iter()
            .map(Key::of)
            .map(|key| (key.id(), key))
            .collect();
        let role = Role {
            keyids: keys.keys().cloned().collect(),
            threshold,
        };
        let roles = ROLES.map(|name| (name.to_owned(), role.clone()));
        Self {
            kind: "root".to_owned(),
            spec_version: SPEC_VERSION.to_owned(),
            consistent_snapshot: false,
            version,
            expires,
            keys,
            roles: BTreeMap::from(roles),
        }
    }

    /// Refuses a root that contradicts itself: one key must not have two voices.
    pub fn check(&self) -> Result<(), DocumentError> {
        let bad = |key_id: &str, problem| DocumentError::Key {
            key_id: key_id.chars().take(80).collect(),
            problem,
        };
        for (id, key) in &self.keys {
            if key.verifying().is_none() {
                return Err(bad(id, "is no ed25519 key"));
            }
            if key.id() != *id {
                return Err(bad(id, "is not named by its digest"));
            }
        }
        for name in ROLES {
            let Some(role) = self.roles.get(name) else {
                return Err(DocumentError::Threshold {
                    role: name.to_owned(),
                    threshold: 0,
                    keys: 0,
                });
            };
            let distinct: BTreeSet<_> = role.keyids.iter().collect();
            if let Some(id) = role.keyids.iter().find(|id| !self.keys.contains_key(*id)) {
                return Err(bad(id, "is in a role but not in the document"));
            }
            if role.threshold == 0 || role.threshold as usize > distinct.len() {
                return Err(DocumentError::Threshold {
                    role: name.to_owned(),
                    threshold: role.threshold,
                    keys: distinct.len(),
                });
            }
        }
        Ok(())
    }

    /// Whose signatures count for `role`, and how many it takes.
    pub fn voices(&self, role: &str) -> Voices<'_> {
        let role = self.roles.get(role);
        let keys = role.into_iter().flat_map(|role| &role.keyids);
        Voices {
            keys: keys
                .filter_map(|id| Some((id.as_str(), self.keys.get(id)?.verifying()?)))
                .collect(),
            threshold: role.map_or(u32::MAX, |role| role.threshold),
        }
    }
}

/// The keys of one role.
#[derive(Debug, Clone)]
pub struct Voices<'a> {
    /// Keys by id.
    pub keys: BTreeMap<&'a str, VerifyingKey>,
    /// How many of them must sign.
    pub threshold: u32,
}

/// A file that the targets document vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its size, bytes.
    pub length: u64,
    /// Digests by algorithm: `sha256`.
    pub hashes: BTreeMap<String, String>,
}

/// The document that says what the files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// `targets`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// [`SPEC_VERSION`].
    pub spec_version: String,
    /// Grows with each change.
    pub version: u64,
    /// From then on it is of no more use.
    pub expires: Timestamp,
    /// Files by name.
    pub targets: BTreeMap<String, Target>,
}

impl Targets {
    /// Vouches for one file.
    pub fn of_one(name: &str, bytes: &[u8], version: u64, expires: Timestamp) -> Self {
        let target = Target {
            length: bytes.len() as u64,
            hashes: BTreeMap::from([("sha256".to_owned(), FileDigest::of(bytes).to_hex())]),
        };
        Self {
            kind: "targets".to_owned(),
            spec_version: SPEC_VERSION.to_owned(),
            version,
            expires,
            targets: BTreeMap::from([(name.to_owned(), target)]),
        }
    }
}

/// A snapshot or timestamp document. Stock TUF clients ask for them; the signer, which remembers
/// what it has seen, does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// `snapshot` or `timestamp`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// [`SPEC_VERSION`].
    pub spec_version: String,
    /// Grows with each change.
    pub version: u64,
    /// From then on it is of no more use.
    pub expires: Timestamp,
    /// The document that it points to, by file name.
    pub meta: BTreeMap<String, PointedTo>,
}

/// See [`Pointer`]. Without digest: that of a document changes with each signature added to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointedTo {
    /// The document's version.
    pub version: u64,
}

impl Pointer {
    /// A `kind` that points to `file`, both of this version.
    pub fn to(kind: &str, file: &str, version: u64, expires: Timestamp) -> Self {
        Self {
            kind: kind.to_owned(),
            spec_version: SPEC_VERSION.to_owned(),
            version,
            expires,
            meta: BTreeMap::from([(file.to_owned(), PointedTo { version })]),
        }
    }
}

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureEntry {
    /// The key's id.
    pub keyid: String,
    /// 128 hex digits.
    pub sig: String,
}

/// A document with its signatures. Nothing in it is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// Signatures over the canonical form of `signed`.
    pub signatures: Vec<SignatureEntry>,
    /// The document.
    pub signed: Value,
}

/// The members that every document has.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "_type")]
    kind: String,
    spec_version: String,
}

impl Signed {
    /// A document that nobody has signed yet.
    pub fn unsigned<T: Serialize>(document: &T) -> Result<Self, DocumentError> {
        Ok(Self {
            signatures: Vec::new(),
            signed: serde_json::to_value(document).map_err(DocumentError::Json)?,
        })
    }

    /// Reads the JSON.
    pub fn read(bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(DocumentError::TooLong { bytes: bytes.len() });
        }
        serde_json::from_slice(bytes).map_err(DocumentError::Json)
    }

    /// Writes the JSON, for people too.
    pub fn to_json(&self) -> Result<Vec<u8>, DocumentError> {
        let mut json = serde_json::to_vec_pretty(self).map_err(DocumentError::Json)?;
        json.push(b'\n');
        Ok(json)
    }

    /// The document, which must be a `wanted`. Not verified.
    pub fn document<T: DeserializeOwned>(&self, wanted: &'static str) -> Result<T, DocumentError> {
        let kind = Kind::deserialize(&self.signed).map_err(DocumentError::Json)?;
        if kind.kind != wanted {
            return Err(DocumentError::Type {
                found: kind.kind.chars().take(80).collect(),
                wanted,
            });
        }
        if kind.spec_version.split('.').next() != Some("1") {
            return Err(DocumentError::Spec {
                found: kind.spec_version.chars().take(80).collect(),
            });
        }
        T::deserialize(&self.signed).map_err(DocumentError::Json)
    }

    /// Ids of the keys among `voices` whose signature holds; each key once.
    pub fn signed_by<'v>(&self, voices: &Voices<'v>) -> Result<BTreeSet<&'v str>, DocumentError> {
        let message = canonical(&self.signed)?;
        let mut found = BTreeSet::new();
        for entry in &self.signatures {
            let Some((id, key)) = voices.keys.get_key_value(entry.keyid.as_str()) else {
                continue;
            };
            let mut raw = [0; 64];
            let holds = hex::decode_to_slice(&entry.sig, &mut raw).is_ok()
                && key
                    .verify_strict(&message, &Signature::from_bytes(&raw))
                    .is_ok();
            if holds {
                found.insert(*id);
            }
        }
        Ok(found)
    }

    /// Adds `key`'s signature, in place of an older one of the same key.
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), DocumentError> {
        let keyid = Key::of(&key.verifying_key()).id();
        let signature = key.sign(&canonical(&self.signed)?);
        self.signatures.retain(|entry| entry.keyid != keyid);
        self.signatures.push(SignatureEntry {
            keyid,
            sig: hex::encode(signature.to_bytes()),
        });
        Ok(())
    }
}
