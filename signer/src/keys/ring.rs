//! `keys.json` in `state_dir`: which keys there are, and where each is in its life.
//!
//! ```json
//! {"keys":[{"role":"package","label":"package-key","state":"current","since":"2026-11-20T10:06:00Z"}]}
//! ```
//!
//! The public half of each lies in `public/` beside it, so that a key can be shown, and what it signed be
//! verified, when the private half is gone.

use super::KeyError;
use super::backend::Slot;
use super::files::replace;
use repo_model::Timestamp;
use repo_model::config::{PostQuantum, SignerConfig};
use repo_model::wire::signer::{KeyRole, KeyState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// File name in `state_dir`.
const FILE_NAME: &str = "keys.json";

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RingKey {
    /// What it signs.
    pub role: KeyRole,
    /// What it is kept under.
    pub label: String,
    /// Where it is in its life.
    pub state: KeyState,
    /// Since when; none for keys from before there was a list.
    #[serde(default)]
    pub since: Option<Timestamp>,
}

impl RingKey {
    /// Where the backend finds it.
    pub fn slot(&self) -> Slot {
        Slot {
            role: self.role,
            label: self.label.clone(),
        }
    }
}

/// All keys, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ring {
    /// The keys.
    pub keys: Vec<RingKey>,
    /// When each key of the log was made, by its label; not of those from before that was written down.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub log_made: BTreeMap<String, Timestamp>,
}

impl Ring {
    /// The first key of each role that must have one, before any was ever changed.
    pub fn first() -> Self {
        let must = KeyRole::ALL
            .into_iter()
            .filter(|role| !role.is_post_quantum());
        Self {
            keys: must.map(first).collect(),
            log_made: BTreeMap::new(),
        }
    }

    /// Reads the list; `None` when there is none. Post-quantum keys from before they stood in the list are
    /// put into it if there are to be any.
    pub fn read(config: &SignerConfig) -> Result<Option<Self>, KeyError> {
        let ring = Self::read_from(&config.state_dir)?;
        Ok(ring.map(|ring| ring.completed(config)))
    }

    /// With the first post-quantum keys, unless there are to be none or there are some.
    pub fn completed(mut self, config: &SignerConfig) -> Self {
        for role in KeyRole::ALL {
            let is_wanted = role.is_post_quantum() && config.post_quantum != PostQuantum::Off;
            if is_wanted && self.of(role).next().is_none() {
                self.keys.push(first(role));
            }
        }
        self
    }

    fn read_from(dir: &Path) -> Result<Option<Self>, KeyError> {
        let path = dir.join(FILE_NAME);
        let refuse = |problem: String| KeyError::Ring {
            path: path.clone(),
            problem,
        };
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(super::files::io_error("read", &path)(error)),
        };
        let ring: Self =
            serde_json::from_slice(&json).map_err(|error| refuse(error.to_string()))?;
        for role in KeyRole::ALL {
            let count = |state| ring.of(role).filter(|key| key.state == state).count();
            if role.is_post_quantum() && ring.of(role).next().is_none() {
                continue;
            }
            if count(KeyState::Current) != 1 || count(KeyState::Next) > 1 {
                return Err(refuse(format!(
                    "not one current {role} key, and at most one next"
                )));
            }
        }
        for (index, key) in ring.keys.iter().enumerate() {
            if ring.keys[..index]
                .iter()
                .any(|other| other.label == key.label)
            {
                return Err(refuse(format!("two keys called {}", key.label)));
            }
            if !is_label(&key.label) {
                return Err(refuse(format!("`{}` is no label", key.label)));
            }
        }
        Ok(Some(ring))
    }

    /// Writes the list, whole or not at all.
    pub fn write(&self, dir: &Path) -> Result<(), KeyError> {
        let json = serde_json::to_vec_pretty(self).map_err(|error| KeyError::Ring {
            path: dir.join(FILE_NAME),
            problem: error.to_string(),
        })?;
        replace(dir, FILE_NAME, &json, 0o600)
    }

    /// The keys of a role, oldest first.
    pub fn of(&self, role: KeyRole) -> impl DoubleEndedIterator<Item = &RingKey> {
        self.keys.iter().filter(move |key| key.role == role)
    }

    /// The key of a role in a state that only one can be in.
    pub fn one(&self, role: KeyRole, state: KeyState) -> Option<&RingKey> {
        self.of(role).find(|key| key.state == state)
    }

    /// Sets the state of a key.
    pub fn set(&mut self, label: &str, state: KeyState, now: Timestamp) {
        if let Some(key) = self.keys.iter_mut().find(|key| key.label == label) {
            key.state = state;
            key.since = Some(now);
        }
    }

    /// A label that no key of the role has had: revoked keys stay in the list.
    pub fn new_label(&self, role: KeyRole) -> String {
        format!("{}-{}", role.first_label(), self.of(role).count() + 1)
    }
}

/// A role's first key, made nobody knows when.
fn first(role: KeyRole) -> RingKey {
    RingKey {
        role,
        label: role.first_label().to_owned(),
        state: KeyState::Current,
        since: None,
    }
}

/// It becomes part of file names.
fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
