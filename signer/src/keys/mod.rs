//! The signer's private keys and their files in `state_dir`.
//!
//! | file | holds | mode |
//! |---|---|---|
//! | `keys.json` | which keys there are, and where each is in its life: [`ring`] | 0600 |
//! | `package-key.asc` | OpenPGP key that signs package headers and package files | 0600 |
//! | `metadata-key.asc` | OpenPGP key that signs `repomd.xml` | 0600 |
//! | `statement-key.pem` | P-256 key that signs statements, PKCS #8 | 0600 |
//! | `log-key.pem` | Ed25519 key that signs the heads of the log, PKCS #8 | 0600 |
//! | `package-key-pqc.asc`, `metadata-key-pqc.asc` | post-quantum OpenPGP keys for the same, unless `signer.post_quantum` is off | 0600 |
//! | `package-key-2.asc`, `package-key-pqc-2.asc`, ... | later keys of the same role | 0600 |
//! | `….pgp` | the same, locked with a passphrase | 0600 |
//! | `….certificate.asc` | instead of those when the keys are in a token | 0600 |
//! | `public/` | the public half of every key | 0644 |
//! | `RPM-GPG-KEY-packages.asc`, `RPM-GPG-KEY-metadata.asc`, the same with `-pqc`, `statement.pub`, `log.pub` | those of the current keys | 0644 |
//!
//! A key file is created, never overwritten. The public files are made from the private ones and
//! can be made again. Where the private keys are kept is a row of [`backend::KEY_BACKENDS`].

pub mod backend;
mod credential;
mod encrypted;
mod error;
mod file;
mod files;
pub mod life;
pub mod lint;
mod log;
pub mod openpgp;
mod pkcs11;
pub mod pqc;
mod public;
mod quick;
mod revocation;
pub mod ring;
mod seal;
mod vault;

pub use self::error::KeyError;
pub(crate) use self::files::{create, make_state_dir, read_private};
pub use self::log::{LOG_KEY, LOG_PQC_KEY, LOG_PQC_PUBLIC, LOG_PUBLIC};
use self::openpgp::SigningKey;
use self::pqc::PqcKey;
use self::ring::{Ring, RingKey};
use repo_model::Timestamp;
use repo_model::config::{PostQuantum, SignerConfig};
use repo_model::dsse::StatementSigner;
use repo_model::log::LogKey;
use repo_model::wire::signer::{KeyRole, KeyState, PublishedKey, PublishedLogKey};
use std::sync::Arc;

/// File name of the first package key.
pub const PACKAGE_KEY: &str = "package-key.asc";
/// File name of the first metadata key.
pub const METADATA_KEY: &str = "metadata-key.asc";
/// File name of the post-quantum package key.
pub const PACKAGE_PQC_KEY: &str = "package-key-pqc.asc";
/// File name of the post-quantum metadata key.
pub const METADATA_PQC_KEY: &str = "metadata-key-pqc.asc";
/// File name of the post-quantum package certificate.
pub const PACKAGE_PQC_CERTIFICATE: &str = "RPM-GPG-KEY-packages-pqc.asc";
/// File name of the post-quantum metadata certificate.
pub const METADATA_PQC_CERTIFICATE: &str = "RPM-GPG-KEY-metadata-pqc.asc";
/// File name of the first statement key.
pub const STATEMENT_KEY: &str = "statement-key.pem";
/// File name of the current package certificate.
pub const PACKAGE_CERTIFICATE: &str = "RPM-GPG-KEY-packages.asc";
/// File name of the current metadata certificate.
pub const METADATA_CERTIFICATE: &str = "RPM-GPG-KEY-metadata.asc";
/// File name of the current statement public key.
pub const STATEMENT_PUBLIC: &str = "statement.pub";

/// So long after it was retired a metadata key signs beside the current one: for clients that missed the
/// time in which the new one was staged.
const OVERLAP_DAYS: i64 = 90;

/// The keys that sign. `Debug` shows fingerprints only.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Signs package headers and package files.
    pub package: SigningKey,
    /// Signs `repomd.xml`.
    pub metadata: SigningKey,
    /// Sign `repomd.xml` too: keys that were current not long ago. Their signatures stand before the current
    /// key's: zypper looks at one signature only, older ones at the first and newer ones at the last; dnf
    /// takes any that it knows.
    pub metadata_beside: Vec<SigningKey>,
    /// Signs statements, the same one always the same where the key is in memory.
    pub statement: Arc<dyn StatementSigner>,
    /// The same key for statements about packages, quicker.
    pub quick_statement: Arc<dyn StatementSigner>,
    /// Sign the heads of the log: its own key, then the post-quantum one unless that is off.
    pub log: Vec<LogKey>,
    /// Signs the same as the first two; `None` when `signer.post_quantum` is off.
    pub post_quantum: Option<PostQuantumKeys>,
    /// The public side of every key, oldest first.
    pub published: Vec<PublishedKey>,
    /// The public side of the log's keys, its own first.
    pub published_log: Vec<PublishedLogKey>,
}

/// The post-quantum keys.
#[derive(Debug, Clone)]
pub struct PostQuantumKeys {
    /// Signs package headers and package files.
    pub package: PqcKey,
    /// Signs `repomd.xml`.
    pub metadata: PqcKey,
    /// Sign `repomd.xml` too, see [`Keys::metadata_beside`].
    pub metadata_beside: Vec<PqcKey>,
}

/// What [`init`] found or made.
#[derive(Debug)]
pub struct InitOutcome {
    /// The keys.
    pub keys: Keys,
    /// Labels of the keys made now; empty when all were there.
    pub made: Vec<String>,
}

/// Makes whatever key is missing in `config.state_dir`, and the public files.
///
/// Never overwrites a private key: running it again, or after it was cut short, only adds what is
/// missing. `now` becomes the keys' creation time.
pub fn init(config: &SignerConfig, now: Timestamp) -> Result<InitOutcome, KeyError> {
    let dir = &config.state_dir;
    make_state_dir(dir)?;
    let store = backend::open(config)?;
    let mut ring = ring_or_first(config)?;
    let mut made = Vec::new();
    for key in &mut ring.keys {
        if signs(config, key) {
            if store.make(&key.slot(), config, now)? {
                made.push(key.label.clone());
                key.since = Some(now);
            }
            public::write(&*store, dir, key, now)?;
        }
    }
    ring.write(dir)?;
    let made_log = store.make_log(config)?;
    if !made_log.is_empty() {
        for label in made_log.into_iter().map(log::label) {
            ring.log_made.insert(label.clone(), now);
            made.push(label);
        }
        ring.write(dir)?;
    }
    let keys = load_from(&*store, config, &ring, now)?;
    log::write_public(dir, &keys.log)?;
    Ok(InitOutcome { keys, made })
}

/// The list of keys; from before there was one, the keys have the first names.
fn ring_or_first(config: &SignerConfig) -> Result<Ring, KeyError> {
    let ring = Ring::read(config)?;
    Ok(ring.unwrap_or_else(|| Ring::first().completed(config)))
}

/// Whether this key signs with this configuration.
fn signs(config: &SignerConfig, key: &RingKey) -> bool {
    let is_on = config.post_quantum != PostQuantum::Off || !key.role.is_post_quantum();
    key.state == KeyState::Current && is_on
}

/// Opens all keys that sign at `now`, wherever the configuration says they are. Makes the public files again
/// that are not as they should be.
pub fn load_at(config: &SignerConfig, now: Timestamp) -> Result<Keys, KeyError> {
    load_with(config, &ring_or_first(config)?, now)
}

/// The same by a list that is not in force yet.
fn load_with(config: &SignerConfig, ring: &Ring, now: Timestamp) -> Result<Keys, KeyError> {
    load_from(&*backend::open(config)?, config, ring, now)
}

fn load_from(
    store: &dyn backend::KeyStore,
    config: &SignerConfig,
    ring: &Ring,
    now: Timestamp,
) -> Result<Keys, KeyError> {
    let dir = &config.state_dir;
    let current = |role: KeyRole| {
        let found = ring.one(role, KeyState::Current);
        found
            .map(RingKey::slot)
            .ok_or_else(|| KeyError::Life(format!("there is no current {role} key")))
    };
    let retired_lately = |role| {
        let all = ring.of(role).filter(|key| beside(key, now));
        all.map(RingKey::slot)
    };
    let keys = Keys {
        package: store.open_pgp(&current(KeyRole::Package)?)?,
        metadata: store.open_pgp(&current(KeyRole::Metadata)?)?,
        metadata_beside: retired_lately(KeyRole::Metadata)
            .map(|slot| store.open_pgp(&slot))
            .collect::<Result<_, _>>()?,
        statement: store.statement(&current(KeyRole::Statement)?)?,
        quick_statement: store.quick_statement(&current(KeyRole::Statement)?)?,
        log: store.log(config)?,
        post_quantum: match config.post_quantum {
            PostQuantum::Off => None,
            PostQuantum::Detached | PostQuantum::Embedded => Some(PostQuantumKeys {
                package: store.post_quantum(&current(KeyRole::PackagePqc)?)?,
                metadata: store.post_quantum(&current(KeyRole::MetadataPqc)?)?,
                metadata_beside: retired_lately(KeyRole::MetadataPqc)
                    .map(|slot| store.post_quantum(&slot))
                    .collect::<Result<_, _>>()?,
            }),
        },
        published: Vec::new(),
        published_log: Vec::new(),
    };
    for key in ring.keys.iter().filter(|key| signs(config, key)) {
        public::write(store, dir, key, now)?;
    }
    public::write_current(dir, &keys)?;
    let published = ring.keys.iter().map(|key| public::published(dir, key, now));
    Ok(Keys {
        published: published.collect::<Result<_, _>>()?,
        published_log: log::published(&keys.log, ring),
        ..keys
    })
}

fn beside(key: &RingKey, now: Timestamp) -> bool {
    match key.state {
        KeyState::Retired => key
            .since
            .is_some_and(|since| since.plus_secs(OVERLAP_DAYS * 86_400) > now),
        // Clients that lack the next key would stumble: zypper looks at one signature only.
        KeyState::Next | KeyState::Current | KeyState::Revoked => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    fn config(dir: &Path) -> SignerConfig {
        SignerConfig {
            state_dir: dir.join("state"),
            ..SignerConfig::default()
        }
    }

    const NOW: i64 = 1_763_600_000;

    #[test]
    fn a_second_init_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let first = init(&config, Timestamp::from_unix_secs(NOW)).unwrap();
        assert_eq!(
            first.made,
            [
                "package-key",
                "metadata-key",
                "statement-key",
                "package-key-pqc",
                "metadata-key-pqc",
                "log-key",
                "log-key-pqc"
            ]
        );
        assert_ne!(
            first.keys.package.fingerprint(),
            first.keys.metadata.fingerprint()
        );
        let listing = || {
            let mut files: Vec<_> = fs::read_dir(&config.state_dir)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_file())
                .map(|path| (path.clone(), fs::read(&path).unwrap()))
                .collect();
            files.sort();
            files
        };
        let before = listing();
        assert_eq!(before.len(), 15);
        let second = init(&config, Timestamp::from_unix_secs(NOW + 1)).unwrap();
        assert!(second.made.is_empty());
        assert_eq!(listing(), before);
        let log = second.keys.published_log.iter();
        let told: Vec<_> = log
            .map(|key| (&*key.label, &*key.algorithm, key.made))
            .collect();
        let made = Some(Timestamp::from_unix_secs(NOW));
        let all = [
            ("log-key", "Ed25519", made),
            ("log-key-pqc", "ML-DSA-44", made),
        ];
        assert_eq!(told, all);
    }

    #[test]
    fn an_init_that_was_cut_short_is_completed_without_touching_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let first = init(&config, Timestamp::from_unix_secs(NOW)).unwrap();
        fs::remove_file(config.state_dir.join(STATEMENT_KEY)).unwrap();
        fs::write(
            config.state_dir.join(format!(".{STATEMENT_KEY}.new")),
            b"half",
        )
        .unwrap();
        let second = init(&config, Timestamp::from_unix_secs(NOW)).unwrap();
        assert_eq!(second.made, ["statement-key"]);
        assert_eq!(
            second.keys.package.fingerprint(),
            first.keys.package.fingerprint()
        );
        let public = fs::read_to_string(config.state_dir.join(STATEMENT_PUBLIC)).unwrap();
        assert_eq!(public, second.keys.statement.public().to_pem());
    }

    #[test]
    fn a_private_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        init(&config, Timestamp::from_unix_secs(NOW)).unwrap();
        let path = config.state_dir.join(PACKAGE_KEY);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            load_at(&config, Timestamp::from_unix_secs(NOW)),
            Err(KeyError::TooOpen { mode: 0o640, .. })
        ));
        fs::remove_file(&path).unwrap();
        let error = load_at(&config, Timestamp::from_unix_secs(NOW))
            .unwrap_err()
            .to_string();
        assert!(error.contains("hallmark-signer init"), "{error}");
    }
}
