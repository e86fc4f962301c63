//! The desk: keys, policy and memory behind one door. A request comes in as plain data, an answer
//! goes out; nothing is signed that is not in the journal first.
//!
//! Nothing here knows sockets or reads the clock.

mod file;
mod limits;
mod package;
mod release;
pub mod summary;

use self::limits::{Key, Limits};
use crate::index::Index;
use crate::journal::{Event, Journal, JournalError, Written};
use crate::keys::openpgp::OpenPgpError;
use crate::keys::{self, KeyError, Keys, METADATA_KEY, PACKAGE_KEY};
use crate::verify::{Certificate, VerifyError, can_sign};
use repo_model::config::SignerConfig;
use repo_model::policy::{Policy, PolicyError};
use repo_model::statement::StatementError;
use repo_model::wire::signer::{Identity, Request, Response};
use repo_model::{FileDigest, HeaderDigest, Timestamp};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

/// The signer cannot start. The operator's fault unless the source says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Keys missing or unusable.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The journal is broken, busy or unreadable.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The policy file cannot be read.
    #[error("cannot read the policy {}", path.display())]
    PolicyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The policy contradicts itself or is no policy.
    #[error("the policy {} cannot be used", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: PolicyError,
    },
    /// An older policy than was used before.
    #[error("the policy {} has version {found}, but version {used} was used before: a policy may not go back", path.display())]
    PolicyRollback {
        /// The file.
        path: PathBuf,
        /// In the file.
        found: u64,
        /// In the journal.
        used: u64,
    },
    /// Armour of our own keys could not be made.
    #[error(transparent)]
    OpenPgp(#[from] OpenPgpError),
    /// Expired, revoked, not for signing, or from the future.
    #[error("{name} holds a key that may not sign now")]
    NotASigningKey {
        /// The key file.
        name: &'static str,
    },
}

/// The signer could not do it now: its own fault, retry later. The request was not answered and
/// nothing was signed that left the process.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The decision could not be written down.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The key did not sign.
    #[error(transparent)]
    OpenPgp(#[from] OpenPgpError),
    /// Our own signature does not verify.
    #[error("the signature just made does not verify")]
    OwnWork(#[source] VerifyError),
    /// The statement key did not sign.
    #[error("cannot sign the statement")]
    Statement(#[from] StatementError),
    /// Another request died while it held the journal.
    #[error("the journal is in an unknown state: restart the signer")]
    Poisoned,
    /// The file that follows a request stopped coming. The connection is of no more use.
    #[error("the file stopped coming")]
    Body(#[source] io::Error),
}

/// Journal and memory, always changed together.
#[derive(Debug)]
struct Ledger {
    journal: Journal,
    index: Index,
}

impl Ledger {
    /// Writes a record down; wait for it outside the lock.
    fn record(&mut self, now: Timestamp, event: Event) -> Result<Written, JournalError> {
        let (record, written) = self.journal.write(now, event)?;
        self.index.note(&record);
        Ok(written)
    }
}

/// See the module's page. Shared by all connections.
#[derive(Debug)]
pub struct Desk {
    keys: Keys,
    package_certificate: Certificate,
    policy: Policy,
    policy_digest: FileDigest,
    identity: Identity,
    ledger: Mutex<Ledger>,
    limits: Limits,
}

impl Desk {
    /// Loads keys, policy and journal, and records the start.
    pub fn open(config: &SignerConfig, now: Timestamp) -> Result<Self, OpenError> {
        let keys = keys::load(config)?;
        for (name, key) in [(PACKAGE_KEY, &keys.package), (METADATA_KEY, &keys.metadata)] {
            if !can_sign(&Certificate::of(key.certificate()), now) {
                return Err(OpenError::NotASigningKey { name });
            }
        }
        let (policy, policy_digest) = read_policy(config)?;
        let identity = identity(config, &keys, &policy, policy_digest)?;
        let mut index = Index::default();
        let journal = Journal::open(&config.state_dir, |record| index.note(record))?;
        if policy.version < index.highest_policy() {
            return Err(OpenError::PolicyRollback {
                path: config.policy_file.clone(),
                found: policy.version,
                used: index.highest_policy(),
            });
        }
        let mut ledger = Ledger { journal, index };
        let started = Event::Started {
            policy: policy_digest,
            policy_version: policy.version,
            package_key: keys.package.fingerprint(),
            metadata_key: keys.metadata.fingerprint(),
            statement_key: keys.statement.public().key_id(),
        };
        ledger.record(now, started)?.durable()?;
        let package_certificate = Certificate::of(keys.package.certificate());
        let ledger = Mutex::new(ledger);
        Ok(Self {
            keys,
            package_certificate,
            policy,
            policy_digest,
            identity,
            ledger,
            limits: Limits::new(config, now),
        })
    }

    /// Answers a request that carries all it needs.
    ///
    /// * `digest`: SHA-256 of the request's JSON, for the journal.
    /// * `body`: what follows the message; only [`Request::SignFile`] reads it, to its end.
    pub fn answer(
        &self,
        request: Request,
        digest: FileDigest,
        body: &mut dyn Read,
        now: Timestamp,
    ) -> Result<Response, DeskError> {
        if let Some(refusal) = self.too_many(&request, body, now)? {
            return Ok(refusal);
        }
        match request {
            Request::Identity => Ok(Response::Identity(self.identity.clone())),
            Request::SignPackage {
                head,
                envelopes,
                sboms,
            } => {
                let sboms: Vec<Vec<u8>> = sboms.into_iter().map(|sbom| sbom.0).collect();
                package::sign(self, digest, &head.0, &envelopes, &sboms, now)
            }
            Request::SignFile { header, size_bytes } => {
                self.sign_file(header, size_bytes, body, now)
            }
            Request::SignRelease { document, repos } => {
                release::sign(self, digest, &document.0, &repos, now)
            }
        }
    }

    /// The answer to a request over its key's limit.
    fn too_many(
        &self,
        request: &Request,
        body: &mut dyn Read,
        now: Timestamp,
    ) -> Result<Option<Response>, DeskError> {
        let (key, follows) = match request {
            Request::Identity => return Ok(None),
            Request::SignPackage { .. } => (Key::Package, 0),
            Request::SignFile { size_bytes, .. } => (Key::Package, *size_bytes),
            Request::SignRelease { .. } => (Key::Metadata, 0),
        };
        let Err(no) = self.limits.take(key, now) else {
            return Ok(None);
        };
        // The next request comes after the file.
        io::copy(&mut body.take(follows), &mut io::sink()).map_err(DeskError::Body)?;
        let (key, per_minute) = (key.name(), no.per_minute);
        if no.alarm {
            tracing::warn!(
                alarm = "limit-reached",
                signer.key = key,
                "ALARM: more than {per_minute} requests a minute for the {key} key"
            );
            let event = Event::LimitReached {
                key: key.to_owned(),
                per_minute,
            };
            self.record(now, event)?;
        }
        Ok(Some(Response::Failed {
            message: format!("more than {per_minute} requests a minute for the {key} key"),
        }))
    }

    fn sign_file(
        &self,
        header: HeaderDigest,
        size_bytes: u64,
        body: &mut dyn Read,
        now: Timestamp,
    ) -> Result<Response, DeskError> {
        file::sign(self, header, size_bytes, body, now)
    }

    /// Public keys and policy.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Writes a record down and returns when it is on the disk.
    fn record(&self, now: Timestamp, event: Event) -> Result<(), DeskError> {
        // The lock ends with this statement: others write while we wait.
        let written = self.ledger()?.record(now, event)?;
        Ok(written.durable()?)
    }

    fn ledger(&self) -> Result<MutexGuard<'_, Ledger>, DeskError> {
        self.ledger.lock().map_err(|_| DeskError::Poisoned)
    }
}

/// Reads the policy file; its digest is over the bytes as they are.
fn read_policy(config: &SignerConfig) -> Result<(Policy, FileDigest), OpenError> {
    let path = || config.policy_file.clone();
    let text =
        std::fs::read_to_string(&config.policy_file).map_err(|source| OpenError::PolicyFile {
            path: path(),
            source,
        })?;
    let policy = Policy::from_toml(&text).map_err(|source| OpenError::Policy {
        path: path(),
        source,
    })?;
    Ok((policy, FileDigest::of(text.as_bytes())))
}

fn identity(
    config: &SignerConfig,
    keys: &Keys,
    policy: &Policy,
    policy_digest: FileDigest,
) -> Result<Identity, OpenPgpError> {
    Ok(Identity {
        package_certificate: keys.package.certificate_armor()?,
        metadata_certificate: keys.metadata.certificate_armor()?,
        statement_key: keys.statement.public().to_pem(),
        verifier_id: config.verifier_id.clone(),
        policy: policy_digest,
        policy_version: policy.version,
    })
}

/// The identity as the files say it, without opening the journal: for a signer that does not run.
pub fn identity_from_files(config: &SignerConfig) -> Result<Identity, OpenError> {
    let keys = keys::load(config)?;
    let (policy, digest) = read_policy(config)?;
    Ok(identity(config, &keys, &policy, digest)?)
}

/// A request that asks for what cannot be.
fn bad_request(message: impl Into<String>) -> Response {
    Response::BadRequest {
        message: message.into(),
    }
}
