//! The desk: keys, policy and memory behind one door. A request comes in as plain data, an answer
//! goes out; nothing is signed that is not in the journal first.
//!
//! Nothing here knows sockets or reads the clock.

mod announce;
mod checkpoint;
mod file;
mod freshness;
mod limits;
mod logged;
mod package;
mod release;
mod sightings;
mod signatures;
pub mod summary;

use self::limits::{Key, Limits};
use crate::index::Index;
use crate::journal::{Event, Journal, JournalError, Written};
use crate::keys::openpgp::OpenPgpError;
use crate::keys::pqc::PqcKey;
use crate::keys::{self, KeyError, Keys, METADATA_KEY, PACKAGE_KEY};
use crate::rules::{Rules, RulesError};
use crate::verify::{Certificate, VerifyError, can_sign};
use repo_model::config::{PostQuantum, SignerConfig};
use repo_model::log::NoteError;
use repo_model::statement::StatementError;
use repo_model::wire::signer::{Identity, KeyRole, MAX_ENVELOPES, MAX_SBOMS, Request, Response};
use repo_model::{FileDigest, HeaderDigest, Timestamp};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// The signer cannot start. The operator's fault unless the source says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Keys missing or unusable.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The journal is broken, busy or unreadable.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The policy, or what vouches for it.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The clock was set back, or it was ahead when the journal was written: evidence could look fresh
    /// that is not. Correct the clock; when the journal's time is the wrong one, start once with
    /// `--trust-clock`.
    #[error(
        "the clock says {now}, but the journal goes to {latest}: correct the clock, or start once with --trust-clock"
    )]
    ClockBack {
        /// The clock.
        now: Timestamp,
        /// The journal.
        latest: Timestamp,
    },
    /// Armour of our own keys could not be made.
    #[error(transparent)]
    OpenPgp(#[from] OpenPgpError),
    /// A public half does not read back.
    #[error(transparent)]
    Certificate(#[from] VerifyError),
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
    /// A key of the log did not sign.
    #[error("cannot sign the head of the log")]
    Log(#[from] NoteError),
    /// Another request died while it held the journal.
    #[error("the journal is in an unknown state: restart the signer")]
    Poisoned,
    /// The file that follows a request stopped coming. The connection is of no more use.
    #[error("the file stopped coming")]
    Body(#[source] io::Error),
    /// No policy is in force: the last one could not be read again, or has expired.
    #[error("no policy is in force: {why}")]
    NoPolicy {
        /// Why.
        why: String,
    },
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

/// The policy in force and what the outside sees of it.
#[derive(Debug, Clone)]
struct InForce {
    rules: Arc<Rules>,
    identity: Identity,
    /// Why the rules may not be used although they once could.
    closed: Option<String>,
}

/// See the module's page. Shared by all connections.
#[derive(Debug)]
pub struct Desk {
    keys: Keys,
    /// Those that signatures in a header may be by.
    package_certificates: Vec<Certificate>,
    /// The same and those of retired keys: what they signed is still good.
    trusted_certificates: Vec<Certificate>,
    config: SignerConfig,
    in_force: RwLock<InForce>,
    ledger: Mutex<Ledger>,
    limits: Limits,
    witnessed: logged::LastWitnessed,
}

impl Desk {
    /// Loads keys, policy and journal, and records the start. Refuses a clock that is behind the journal.
    pub fn open(config: &SignerConfig, now: Timestamp) -> Result<Self, OpenError> {
        Self::open_unless(config, now, |latest| {
            is_behind(now, latest).then_some(OpenError::ClockBack { now, latest })
        })
    }

    /// The same when an operator says that the clock is right and the journal's last time is not.
    pub fn open_trusting_clock(config: &SignerConfig, now: Timestamp) -> Result<Self, OpenError> {
        Self::open_unless(config, now, |_| None)
    }

    fn open_unless(
        config: &SignerConfig,
        now: Timestamp,
        objection: impl Fn(Timestamp) -> Option<OpenError>,
    ) -> Result<Self, OpenError> {
        let keys = keys::load_at(config, now)?;
        for (name, key) in [(PACKAGE_KEY, &keys.package), (METADATA_KEY, &keys.metadata)] {
            if !can_sign(&Certificate::of(key.certificate()), now) {
                return Err(OpenError::NotASigningKey { name });
            }
        }
        let mut index = Index::default();
        let journal = Journal::open(&config.state_dir, |record| index.note(record))?;
        let rules = Rules::read(config, &index, now)?;
        rules.announce(now);
        let identity = identity(config, &keys, &rules)?;
        if let Some(error) = index.latest().and_then(objection) {
            return Err(error);
        }
        let mut ledger = Ledger { journal, index };
        let started = Event::Started {
            policy: rules.in_use(),
            package_key: keys.package.fingerprint(),
            metadata_key: keys.metadata.fingerprint(),
            statement_key: keys.statement.public().key_id(),
            asks_for_log: true,
        };
        ledger.record(now, started)?.durable()?;
        let mut package_certificates = vec![Certificate::of(keys.package.certificate())];
        if let (PostQuantum::Embedded, Some(more)) = (config.post_quantum, &keys.post_quantum) {
            package_certificates.push(Certificate::of(more.package.certificate()));
        }
        let trusted_certificates = trusted_certificates(&identity, &package_certificates)?;
        for key in &identity.keys {
            for warning in key.warnings(now) {
                tracing::warn!(signer.key = key.label, "key {}: {warning}", key.label);
            }
        }
        let ledger = Mutex::new(ledger);
        Ok(Self {
            keys,
            package_certificates,
            trusted_certificates,
            config: config.clone(),
            in_force: RwLock::new(InForce {
                rules: Arc::new(rules),
                identity,
                closed: None,
            }),
            ledger,
            limits: Limits::new(config, now),
            witnessed: logged::LastWitnessed::default(),
        })
    }

    /// Reads the policy again. When it cannot be used, nothing is signed until one can: the
    /// operator wanted another one, so the old one must not go on.
    pub fn reread_policy(&self, now: Timestamp) -> Result<(), OpenError> {
        let outcome = self.next_rules(now);
        let mut in_force = self
            .in_force
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(next) => *in_force = next,
            Err(error) => {
                in_force.closed = Some("it could not be read again, the log says why".to_owned());
                return Err(error);
            }
        }
        Ok(())
    }

    fn next_rules(&self, now: Timestamp) -> Result<InForce, OpenError> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let rules = Rules::read(&self.config, &ledger.index, now)?;
        let policy = rules.in_use();
        let written = ledger.record(now, Event::PolicyRead { policy })?;
        drop(ledger);
        written.durable()?;
        rules.announce(now);
        Ok(InForce {
            identity: identity(&self.config, &self.keys, &rules)?,
            rules: Arc::new(rules),
            closed: None,
        })
    }

    /// The policy to judge by at `now`.
    fn rules(&self, now: Timestamp) -> Result<Arc<Rules>, DeskError> {
        let in_force = self.in_force.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = in_force.closed.clone() {
            return Err(DeskError::NoPolicy { why });
        }
        match in_force.rules.expires() {
            Some(end) if end <= now => Err(DeskError::NoPolicy {
                why: format!("it expired at {end}"),
            }),
            _ => Ok(Arc::clone(&in_force.rules)),
        }
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
        if let Some(refusal) = self.clock_refusal(&request, body, now)? {
            return Ok(refusal);
        }
        if let Some(refusal) = self.too_many(&request, body, now)? {
            return Ok(refusal);
        }
        if let Some(answer) = checkpoint::answer(self, &request, digest, now)? {
            return Ok(answer);
        }
        let rules = match self.rules(now) {
            Err(_) if matches!(request, Request::Identity) => {
                return Ok(Response::Identity(self.identity()));
            }
            Err(error) => {
                skip(body, bytes_after(&request))?;
                return Err(error);
            }
            Ok(rules) => rules,
        };
        match request {
            Request::Identity => Ok(Response::Identity(self.identity())),
            Request::LastRelease => Ok(Response::LastRelease {
                last: self.ledger()?.index.last_release(),
            }),
            Request::SignPackage {
                repo,
                head,
                envelopes,
                sboms,
                log,
            } => {
                if envelopes.len() > MAX_ENVELOPES || sboms.len() > MAX_SBOMS {
                    return Ok(bad_request(format!(
                        "{} envelopes and {} SBOMs; the limits are {MAX_ENVELOPES} and {MAX_SBOMS}",
                        envelopes.len(),
                        sboms.len()
                    )));
                }
                let asked = package::Asked {
                    request: digest,
                    repo,
                    envelopes,
                    sboms: sboms.into_iter().map(|sbom| sbom.0).collect(),
                    log,
                };
                package::sign(self, &rules, &asked, &head.0, now)
            }
            Request::SignFile { header, size_bytes } => {
                self.sign_file(header, size_bytes, body, now)
            }
            Request::AnnounceMove(moved) => announce::channel_move(self, digest, &moved, now),
            Request::AnnounceKeys => announce::keys(self, digest, now),
            Request::AnnounceRebuilder(decision) => {
                announce::rebuilder(self, digest, &decision, now)
            }
            Request::SignRelease { document, repos } => {
                release::sign(self, &rules, digest, &document.0, &repos, now)
            }
            Request::SignFreshness(wanted) => freshness::sign(self, digest, &wanted, now),
            Request::SignSightings(wanted) => sightings::sign(self, digest, wanted, now),
            Request::SaySignatures => signatures::say(self, &rules, digest, now),
            Request::ShowSignatures(shown) => signatures::show(self, &rules, digest, &shown, now),
            // Answered before the policy was asked for.
            Request::LastCheckpoint | Request::SignCheckpoint(_) => {
                Ok(bad_request("the log has its own desk"))
            }
        }
    }

    /// The answer while the clock is behind the journal: the age of evidence could not be told.
    fn clock_refusal(
        &self,
        request: &Request,
        body: &mut dyn Read,
        now: Timestamp,
    ) -> Result<Option<Response>, DeskError> {
        if key_of(request).is_none() {
            return Ok(None);
        }
        let latest = self.ledger()?.index.latest();
        let Some(latest) = latest.filter(|latest| is_behind(now, *latest)) else {
            return Ok(None);
        };
        skip(body, bytes_after(request))?;
        tracing::error!(
            alarm = "clock-back",
            "ALARM: the clock says {now}, the journal goes to {latest}: nothing is signed"
        );
        Ok(Some(Response::Failed {
            message: format!("the signer's clock says {now}, its journal goes to {latest}"),
        }))
    }

    /// The answer to a request over its key's limit.
    fn too_many(
        &self,
        request: &Request,
        body: &mut dyn Read,
        now: Timestamp,
    ) -> Result<Option<Response>, DeskError> {
        let Some(key) = key_of(request) else {
            return Ok(None);
        };
        let Err(no) = self.limits.take(key, now) else {
            return Ok(None);
        };
        skip(body, bytes_after(request))?;
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
    pub fn identity(&self) -> Identity {
        let in_force = self.in_force.read().unwrap_or_else(PoisonError::into_inner);
        in_force.identity.clone()
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

fn identity(config: &SignerConfig, keys: &Keys, rules: &Rules) -> Result<Identity, OpenPgpError> {
    let post_quantum = keys.post_quantum.as_ref();
    let armor = |key: &PqcKey| key.certificate_armor();
    Ok(Identity {
        package_pqc_certificate: post_quantum.map(|keys| armor(&keys.package)).transpose()?,
        metadata_pqc_certificate: post_quantum.map(|keys| armor(&keys.metadata)).transpose()?,
        package_certificate: keys.package.certificate_armor()?,
        metadata_certificate: keys.metadata.certificate_armor()?,
        statement_key: keys.statement.public().to_pem(),
        log_key: log_key(keys, 0).unwrap_or_default(),
        log_cosigner_key: log_key(keys, 1),
        verifier_id: config.verifier_id.clone(),
        policy: rules.digest,
        policy_version: rules.policy.version,
        keys: keys.published.clone(),
        log_keys: keys.published_log.clone(),
    })
}

fn log_key(keys: &Keys, place: usize) -> Option<String> {
    let key = keys.log.get(place)?;
    Some(key.public().to_string())
}

/// The identity as the files say it, without opening the journal: for a signer that does not run.
pub fn identity_from_files(config: &SignerConfig, now: Timestamp) -> Result<Identity, OpenError> {
    let keys = keys::load_at(config, now)?;
    let rules = Rules::read(config, &Index::default(), now)?;
    Ok(identity(config, &keys, &rules)?)
}

/// Bytes of the file that follows a request.
fn bytes_after(request: &Request) -> u64 {
    match request {
        Request::SignFile { size_bytes, .. } => *size_bytes,
        Request::Identity
        | Request::LastRelease
        | Request::LastCheckpoint
        | Request::SignCheckpoint(_)
        | Request::AnnounceMove(_)
        | Request::AnnounceKeys
        | Request::AnnounceRebuilder(_)
        | Request::SignFreshness(_)
        | Request::SignSightings(_)
        | Request::SaySignatures
        | Request::ShowSignatures(_)
        | Request::SignPackage { .. }
        | Request::SignRelease { .. } => 0,
    }
}

/// The key that a request asks for.
fn key_of(request: &Request) -> Option<Key> {
    match request {
        Request::Identity | Request::LastRelease | Request::LastCheckpoint => None,
        Request::SignPackage { .. } | Request::SignFile { .. } => Some(Key::Package),
        Request::SignRelease { .. }
        | Request::SignCheckpoint(_)
        | Request::SignFreshness(_)
        | Request::SignSightings(_)
        | Request::SaySignatures
        | Request::ShowSignatures(_)
        | Request::AnnounceMove(_)
        | Request::AnnounceKeys
        | Request::AnnounceRebuilder(_) => Some(Key::Metadata),
    }
}

/// The next request comes after the file.
fn skip(body: &mut dyn Read, bytes: u64) -> Result<(), DeskError> {
    io::copy(&mut body.take(bytes), &mut io::sink())
        .map(|_| ())
        .map_err(DeskError::Body)
}

/// A clock may be corrected by so much, backwards, while the signer runs.
const MAX_BACK_SECS: i64 = 600;

fn is_behind(now: Timestamp, latest: Timestamp) -> bool {
    now.plus_secs(MAX_BACK_SECS) < latest
}

fn trusted_certificates(
    identity: &Identity,
    signing: &[Certificate],
) -> Result<Vec<Certificate>, OpenError> {
    let mut all = signing.to_vec();
    for role in [KeyRole::Package, KeyRole::PackagePqc] {
        for armored in identity.certificates(role) {
            all.push(Certificate::from_bytes(armored.as_bytes())?);
        }
    }
    Ok(all)
}

/// A request that asks for what cannot be.
fn bad_request(message: impl Into<String>) -> Response {
    Response::BadRequest {
        message: message.into(),
    }
}
