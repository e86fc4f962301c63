//! Whom to trust, as files in one folder that came another way than the evidence:
//!
//! | file | holds |
//! |---|---|
//! | `RPM-GPG-KEY-packages` | OpenPGP certificates that sign packages |
//! | `statement.pub` | the signer's statement keys, PEM, one after the other |
//! | `log.pub` | the log's key, `NAME+HASH+KEY`, one a line; without the file no log is asked for |
//! | `log-pqc.pub` | the log's post-quantum key; with it, heads must carry its signature too |
//! | `witnesses` | a C2SP `tlog-policy`: the reader's own witnesses and quorum, in place of the policy's |
//! | `policy.toml` | the policy, with the rebuilders' keys |
//! | `N.root.json`, `targets.json` | who vouches for the policy; without a root the file counts as it is |

use crate::api::{ApiError, Client};
use repo_model::dsse::StatementPublicKey;
use repo_model::log::{VerifierKey, WitnessPolicy};
use repo_model::policy::Policy;
use repo_model::trust::{TARGETS_FILE, TrustedRoot, root_file};
use repo_model::verify::{Memo, Signature, Trust};
use repo_model::wire::signer::{KeyRole, PublishedKey};
use repo_model::{FileDigest, Timestamp, rpm::Head};
use repo_server::repocheck::{Certificate, verify_header_signature};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const PACKAGES: &str = "RPM-GPG-KEY-packages";
const STATEMENTS: &str = "statement.pub";
const LOGS: &str = "log.pub";
const LOG_COSIGNERS: &str = "log-pqc.pub";
const WITNESSES: &str = "witnesses";
const POLICY: &str = "policy.toml";
/// Most root documents that are followed.
const MAX_ROOTS: u64 = 1_000;
const PEM_END: &str = "-----END PUBLIC KEY-----";

/// The folder cannot be used. The reader's to mend.
#[derive(Debug, thiserror::Error)]
pub enum TrustDirError {
    /// A file is missing or cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} cannot be used", path.display())]
    Shape {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server did not give it.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// Whom to trust, read.
#[derive(Debug)]
pub struct TrustDir {
    /// Keys and policy.
    pub trust: Trust,
    certificates: Vec<Certificate>,
}

impl TrustDir {
    /// Reads the folder. A policy that a root must vouch for is refused when it does not at `now`.
    pub fn read(
        dir: &Path,
        max_age_days: Option<u32>,
        now: Timestamp,
    ) -> Result<Self, TrustDirError> {
        let policy_path = dir.join(POLICY);
        let policy = read(&policy_path)?;
        vouched(dir, &policy, now)?;
        let text = std::str::from_utf8(&policy).map_err(shape(&policy_path))?;
        let witnesses = dir.join(WITNESSES);
        let witnesses: Option<WitnessPolicy> = match if_there(&witnesses)? {
            None => None,
            Some(bytes) => {
                let text = std::str::from_utf8(&bytes).map_err(shape(&witnesses))?;
                Some(text.parse().map_err(shape(&witnesses))?)
            }
        };
        let packages = dir.join(PACKAGES);
        Ok(Self {
            certificates: Certificate::all_from_bytes(&read(&packages)?)
                .map_err(shape(&packages))?,
            trust: Trust {
                statement_keys: statement_keys(&dir.join(STATEMENTS))?,
                log_keys: logs(&dir.join(LOGS))?,
                log_cosigners: logs(&dir.join(LOG_COSIGNERS))?,
                witnesses,
                policy: Policy::from_toml(text).map_err(shape(&policy_path))?,
                policy_digest: FileDigest::of(&policy),
                max_age_days,
                memo: Memo::default(),
            },
        })
    }

    /// Checks the OpenPGP signatures of a header.
    pub fn signature(&self, head: &Head) -> Signature {
        match verify_header_signature(head, &self.certificates) {
            Ok(signatures) => Signature::Good { signatures },
            Err(error) => Signature::Bad {
                why: crate::failure::chain(&error),
            },
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TrustDirError> {
    fs::read(path).map_err(|source| TrustDirError::Read {
        path: path.to_owned(),
        source,
    })
}

fn shape<E: std::error::Error + Send + Sync + 'static>(
    path: &Path,
) -> impl FnOnce(E) -> TrustDirError + '_ {
    move |source| TrustDirError::Shape {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

fn statement_keys(path: &Path) -> Result<Vec<StatementPublicKey>, TrustDirError> {
    let bytes = read(path)?;
    let text = std::str::from_utf8(&bytes).map_err(shape(path))?;
    let mut keys = Vec::new();
    for block in text.split_inclusive(PEM_END) {
        if block.contains(PEM_END) {
            keys.push(block.trim().parse().map_err(shape(path))?);
        }
    }
    Ok(keys)
}

/// The bytes of a file that may be missing.
fn if_there(path: &Path) -> Result<Option<Vec<u8>>, TrustDirError> {
    match read(path) {
        Err(TrustDirError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        bytes => bytes.map(Some),
    }
}

/// The keys in a file, one a line; none without the file.
fn logs(path: &Path) -> Result<Vec<VerifierKey>, TrustDirError> {
    let text = if_there(path)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().map(str::trim);
    let keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    keys.map(|line| line.parse().map_err(shape(path))).collect()
}

/// The policy is the one that the newest root's people vouch for, when there is a root in the folder: the
/// lowest is the one that somebody compared.
fn vouched(dir: &Path, policy: &[u8], now: Timestamp) -> Result<(), TrustDirError> {
    let present = |version: &u64| dir.join(root_file(*version)).exists();
    let Some(first) = (1..=MAX_ROOTS).find(present) else {
        return Ok(());
    };
    let path = dir.join(root_file(first));
    let mut root = TrustedRoot::pinned(&read(&path)?).map_err(shape(&path))?;
    for version in (first + 1..=first + MAX_ROOTS).take_while(present) {
        let path = dir.join(root_file(version));
        root = root.followed_by(&read(&path)?).map_err(shape(&path))?;
    }
    let targets = dir.join(TARGETS_FILE);
    root.vouch(&read(&targets)?, POLICY, policy, now)
        .map_err(shape(&targets))?;
    Ok(())
}

/// Fetches what the server says is to be trusted into a folder, and returns the names with their digests:
/// for people to compare with what they were told another way. Roots that are there already stay.
pub fn fetch_trust(
    client: &Client,
    dir: &Path,
) -> Result<Vec<(String, FileDigest)>, TrustDirError> {
    let keys: Vec<PublishedKey> = client.get_json("/keys/keys.json")?;
    let listed = keys
        .iter()
        .filter(|key| key.role == KeyRole::Statement && key.state.is_trusted())
        .map(|key| key.public.clone());
    let current = client.get_text("/keys/statement.pub")?;
    let mut statements = vec![current];
    for pem in listed {
        if !statements.contains(&pem) {
            statements.push(pem);
        }
    }
    let mut files = vec![
        (STATEMENTS.to_owned(), statements.concat()),
        (
            POLICY.to_owned(),
            client.get_text("/keys/trust/policy.toml")?,
        ),
    ];
    for name in [PACKAGES, LOGS] {
        files.push((name.to_owned(), client.get_text(&format!("/keys/{name}"))?));
    }
    match client.get_text(&format!("/keys/{LOG_COSIGNERS}")) {
        // Post-quantum signatures are off there.
        Err(error) if error.refused_with() == Some(404) => {}
        text => files.push((LOG_COSIGNERS.to_owned(), text?)),
    }
    files.extend(signed_policy(client)?);
    write_all(dir, &files)
}

/// The root documents and what they vouch for, if the server's policy is signed.
fn signed_policy(client: &Client) -> Result<Vec<(String, String)>, TrustDirError> {
    let mut files = Vec::new();
    let names = (1..=MAX_ROOTS).map(root_file);
    for name in names {
        match client.get_text(&format!("/keys/trust/{name}")) {
            Err(error) if error.refused_with() == Some(404) => break,
            text => files.push((name, text?)),
        }
    }
    if !files.is_empty() {
        let targets = client.get_text(&format!("/keys/trust/{TARGETS_FILE}"))?;
        files.push((TARGETS_FILE.to_owned(), targets));
    }
    Ok(files)
}

fn write_all(
    dir: &Path,
    files: &[(String, String)],
) -> Result<Vec<(String, FileDigest)>, TrustDirError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TrustDirError::Write { path, source }
    };
    fs::create_dir_all(dir).map_err(failed(dir))?;
    let mut written = Vec::new();
    for (name, text) in files {
        let path = dir.join(name);
        // Whoever compared a root must not find another in its place.
        let kept = name.ends_with(".root.json") && path.exists();
        if !kept {
            fs::write(&path, text).map_err(failed(&path))?;
        }
        let content = fs::read(&path).map_err(failed(&path))?;
        written.push((name.clone(), FileDigest::of(&content)));
    }
    Ok(written)
}
