//! Keys of rebuilders and builders, on disk and as the policy wants them.
//!
//! A rebuilder has two in one file of mode 0600:
//! ```toml
//! statement_key = """
//! -----BEGIN PRIVATE KEY-----
//! …
//! -----END PRIVATE KEY-----
//! """
//! request_key = "64 hex digits"
//! ```
//! A builder has only a statement key; its file is the bare PKCS #8 PEM that `hallmark buildinfo --key`
//! takes.

use repo_model::dsse::{DsseError, StatementKey, StatementPublicKey};
use repo_model::wire::worker::{RequestKey, RequestPublicKey};
use repo_model::{OperatorName, WorkerName};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A key file cannot be made or used. The operator's fault.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not there, or not readable.
    #[error("cannot {action} the key file {path}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others can read it. `chmod 600` it, and make new keys if others may have.
    #[error(
        "the key file {path} has mode {mode:04o}: nobody but its owner may read it, so 0600 or 0400 is wanted"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Not a key file of ours.
    #[error("{path} is not a key file made by `hallmark-rebuilder keygen`: {why}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// The operating system gives no random bytes.
    #[error("the system gives no random bytes: {why}")]
    Random {
        /// What it said.
        why: String,
    },
    /// A key cannot be written as PEM.
    #[error(transparent)]
    Pem(#[from] DsseError),
}

/// The two private keys of a rebuilder.
#[derive(Debug, Clone)]
pub struct RebuilderKeys {
    /// Signs statements.
    pub statement: StatementKey,
    /// Signs requests to the server.
    pub request: RequestKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    statement_key: String,
    request_key: String,
}

/// A new statement key from the system's random bytes.
pub fn new_statement_key() -> Result<StatementKey, KeyError> {
    loop {
        if let Some(key) = StatementKey::from_seed(&random()?) {
            return Ok(key);
        }
    }
}

fn random() -> Result<[u8; 32], KeyError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| KeyError::Random {
        why: error.to_string(),
    })?;
    Ok(bytes)
}

impl RebuilderKeys {
    /// New keys from the system's random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self {
            statement: new_statement_key()?,
            request: RequestKey::from_seed(&random()?),
        })
    }

    /// Writes a new file of mode 0600; a file that is there is never overwritten.
    pub fn write_new(&self, path: &Path) -> Result<(), KeyError> {
        let file = KeyFile {
            statement_key: self.statement.to_pem()?,
            request_key: hex::encode(self.request.to_seed()),
        };
        let text = format!(
            "# Private keys of a Hallmark rebuilder. Whoever reads this can speak in its name.\n\
             statement_key = \"\"\"\n{}\"\"\"\nrequest_key = \"{}\"\n",
            file.statement_key, file.request_key
        );
        write_secret(path, &text)
    }

    /// Reads a key file that only its owner can read.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let shape = |why: String| KeyError::Shape {
            path: path.to_owned(),
            why,
        };
        let text = read_secret(path)?;
        let file: KeyFile =
            toml::from_str(&text).map_err(|error| shape(error.message().to_owned()))?;
        let mut seed = [0; 32];
        hex::decode_to_slice(file.request_key.trim(), &mut seed)
            .map_err(|_| shape("request_key is not 64 hex digits".to_owned()))?;
        let statement = StatementKey::from_pem(&file.statement_key)
            .map_err(|error| shape(error.to_string()))?;
        Ok(Self {
            statement,
            request: RequestKey::from_seed(&seed),
        })
    }

    /// The table for the policy file that makes this rebuilder's word count.
    pub fn policy_snippet(&self, name: &WorkerName, operator: &OperatorName) -> String {
        rebuilder_snippet(
            name,
            operator,
            &self.statement.public(),
            &self.request.public(),
        )
    }
}

/// The table for the policy file that makes a rebuilder's word count.
pub fn rebuilder_snippet(
    name: &WorkerName,
    operator: &OperatorName,
    statement: &StatementPublicKey,
    request: &RequestPublicKey,
) -> String {
    format!(
        "{}request_key = \"{request}\"\n",
        holder("rebuilders", name, operator, statement)
    )
}

/// The table for the policy file that makes a builder's provenance count.
pub fn builder_snippet(key: &StatementKey, name: &WorkerName, operator: &OperatorName) -> String {
    holder("builders", name, operator, &key.public())
}

/// Writes a builder's key: PKCS #8 PEM, mode 0600, never over a file that is there.
pub fn write_new_builder_key(key: &StatementKey, path: &Path) -> Result<(), KeyError> {
    write_secret(path, &key.to_pem()?)
}

fn holder(
    list: &str,
    name: &WorkerName,
    operator: &OperatorName,
    key: &StatementPublicKey,
) -> String {
    let public = key.to_pem();
    format!(
        "[[{list}]]\nname = \"{name}\"\noperator = \"{operator}\"\nstatement_key = \"\"\"\n{public}\"\"\"\n"
    )
}

fn write_secret(path: &Path, text: &str) -> Result<(), KeyError> {
    let io = |source| KeyError::Io {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(io)
}

fn read_secret(path: &Path) -> Result<String, KeyError> {
    const LIMIT: u64 = 64 << 10;
    let io = |source| KeyError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Open {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    file.take(LIMIT).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::policy::Policy;
    use std::fs;

    #[test]
    fn keys_read_back_and_the_snippets_make_a_policy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let keys = RebuilderKeys::generate().unwrap();
        keys.write_new(&path).unwrap();
        let back = RebuilderKeys::read(&path).unwrap();
        assert_eq!(back.statement.public(), keys.statement.public());
        assert_eq!(back.request.public(), keys.request.public());
        assert!(
            matches!(keys.write_new(&path), Err(KeyError::Io { .. })),
            "never overwritten"
        );

        let builder = new_statement_key().unwrap();
        let (name, operator) = ("rb-a".parse().unwrap(), "op-a".parse().unwrap());
        let text = format!(
            "version = 1\nmin_rebuilders = 1\nmin_operators = 1\nsbom_formats = []\n{}{}",
            keys.policy_snippet(&name, &operator),
            builder_snippet(&builder, &"builder".parse().unwrap(), &operator),
        );
        let policy = Policy::from_toml(&text).unwrap();
        assert_eq!(
            policy.rebuilders[0].request_key,
            Some(keys.request.public())
        );
        assert_eq!(policy.builders[0].statement_key, builder.public());
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        RebuilderKeys::generate().unwrap().write_new(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = RebuilderKeys::read(&path).unwrap_err().to_string();
        assert!(error.contains("0644"), "{error}");
    }
}
