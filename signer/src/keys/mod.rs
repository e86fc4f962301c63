//! The signer's private keys and their files in `state_dir`.
//!
//! | file | holds | mode |
//! |---|---|---|
//! | `package-key.asc` | OpenPGP key that signs package headers and package files | 0600 |
//! | `metadata-key.asc` | OpenPGP key that signs `repomd.xml` | 0600 |
//! | `package-key.certificate.asc`, `metadata-key.certificate.asc` | instead of those two when the keys are in a token | 0600 |
//! | `package-key-pqc.asc`, `metadata-key-pqc.asc` | post-quantum OpenPGP keys for the same, unless `signer.post_quantum` is off | 0600 |
//! | `statement-key.pem` | P-256 key that signs statements, PKCS #8 | 0600 |
//! | `RPM-GPG-KEY-packages.asc`, `RPM-GPG-KEY-metadata.asc`, the same with `-pqc`, `statement.pub` | public halves | 0644 |
//!
//! A key file is created, never overwritten. The public files are made from the private ones and
//! can be made again.

pub mod backend;
mod file;
pub mod openpgp;
mod pkcs11;
pub mod pqc;

use self::openpgp::{OpenPgpError, SigningKey};
use self::pqc::PqcKey;
use repo_model::Timestamp;
use repo_model::config::{KeyBackendName, PostQuantum, SignerConfig};
use repo_model::dsse::{DsseError, StatementKey};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// File name of the package key.
pub const PACKAGE_KEY: &str = "package-key.asc";
/// File name of the metadata key.
pub const METADATA_KEY: &str = "metadata-key.asc";
/// File name of the post-quantum package key.
pub const PACKAGE_PQC_KEY: &str = "package-key-pqc.asc";
/// File name of the post-quantum metadata key.
pub const METADATA_PQC_KEY: &str = "metadata-key-pqc.asc";
/// File name of the post-quantum package certificate.
pub const PACKAGE_PQC_CERTIFICATE: &str = "RPM-GPG-KEY-packages-pqc.asc";
/// File name of the post-quantum metadata certificate.
pub const METADATA_PQC_CERTIFICATE: &str = "RPM-GPG-KEY-metadata-pqc.asc";
/// File name of the statement key.
pub const STATEMENT_KEY: &str = "statement-key.pem";
/// File name of the package certificate.
pub const PACKAGE_CERTIFICATE: &str = "RPM-GPG-KEY-packages.asc";
/// File name of the metadata certificate.
pub const METADATA_CERTIFICATE: &str = "RPM-GPG-KEY-metadata.asc";
/// File name of the statement public key.
pub const STATEMENT_PUBLIC: &str = "statement.pub";

/// Largest key file that is read, bytes.
const MAX_KEY_BYTES: u64 = 1 << 20;

/// Keys cannot be made or read. The operator's fault unless said otherwise.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// `init` was never run here.
    #[error("{} does not exist: run `hallmark-signer init` first", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Others can read the private key.
    #[error("{} has mode {mode:o}: a private key must be readable by its owner only (chmod 600)", path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Disk trouble; retry after it is mended.
    #[error("cannot {task} {}", path.display())]
    Io {
        /// `read`, `write`, ...
        task: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The OpenPGP key in this file cannot be used.
    #[error("the OpenPGP key {name} cannot be used")]
    OpenPgp {
        /// File name.
        name: &'static str,
        /// Why.
        #[source]
        source: OpenPgpError,
    },
    /// The statement key cannot be used.
    #[error("the statement key cannot be used")]
    Statement(#[source] DsseError),
    /// `signer.key_backend` wants a token, but nothing says which.
    #[error("`signer.key_backend` is pkcs11, but there is no [signer.pkcs11]")]
    NoTokenSettings,
    /// A backend that this build does not have.
    #[error("no key backend {name:?}")]
    NoBackend {
        /// Its name.
        name: KeyBackendName,
    },
    /// The module knows no initialised token of this label.
    #[error("no token {name}: initialise it, or correct `signer.pkcs11.token`")]
    NoToken {
        /// Its label.
        name: String,
    },
    /// The token or its module refused. A token that was taken out may come back: retry later.
    #[error("cannot {task} the token {name}")]
    Token {
        /// What was tried.
        task: &'static str,
        /// The token's label.
        name: String,
        /// The module's words.
        #[source]
        source: cryptoki::error::Error,
    },
    /// No such key, or several of which we would have to choose one.
    #[error("the token {name} holds {found} keys `{label}`: want one")]
    TokenKeys {
        /// The token's label.
        name: String,
        /// The keys' label.
        label: &'static str,
        /// How many.
        found: usize,
    },
    /// Neither RSA nor Ed25519.
    #[error("the key `{label}` of the token is neither RSA nor Ed25519")]
    TokenKeyKind {
        /// The key's label.
        label: &'static str,
    },
    /// Another token, or another certificate, than at `init`.
    #[error("{} is not the certificate of the token's key", path.display())]
    TokenMismatch {
        /// The certificate's file.
        path: PathBuf,
    },
    /// A thread died while it used the token; restart the signer.
    #[error("the token is in an unknown state: restart the signer")]
    TokenPoisoned,
    /// The operating system gave no random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

fn io_error<'p>(task: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> KeyError + 'p {
    move |source| KeyError::Io {
        task,
        path: path.to_owned(),
        source,
    }
}

/// The keys. `Debug` shows fingerprints only.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Signs package headers and package files.
    pub package: SigningKey,
    /// Signs `repomd.xml`.
    pub metadata: SigningKey,
    /// Signs statements.
    pub statement: StatementKey,
    /// Signs the same as the first two; `None` when `signer.post_quantum` is off.
    pub post_quantum: Option<PostQuantumKeys>,
}

/// The two post-quantum keys.
#[derive(Debug, Clone)]
pub struct PostQuantumKeys {
    /// Signs package headers and package files.
    pub package: PqcKey,
    /// Signs `repomd.xml`.
    pub metadata: PqcKey,
}

/// What [`init`] found or made.
#[derive(Debug)]
pub struct InitOutcome {
    /// The keys.
    pub keys: Keys,
    /// Names of the private key files made now; empty when all were there.
    pub made: Vec<&'static str>,
}

/// Makes whatever key is missing in `config.state_dir`, and the public files.
///
/// Never overwrites a private key: running it again, or after it was cut short, only adds what is
/// missing. `now` becomes the keys' creation time.
pub fn init(config: &SignerConfig, now: Timestamp) -> Result<InitOutcome, KeyError> {
    let dir = &config.state_dir;
    make_state_dir(dir)?;
    let mut made = Vec::new();
    let store = backend::open(config)?;
    for name in [PACKAGE_KEY, METADATA_KEY] {
        if store.make(name, config, now)? {
            made.push(name);
        }
    }
    if make_statement_key(dir)? {
        made.push(STATEMENT_KEY);
    }
    if config.post_quantum != PostQuantum::Off {
        for name in [PACKAGE_PQC_KEY, METADATA_PQC_KEY] {
            if make_post_quantum_key(dir, name, &config.user_id, now)? {
                made.push(name);
            }
        }
    }
    let keys = load_from(&*store, config)?;
    write_public_files(dir, &keys)?;
    Ok(InitOutcome { keys, made })
}

/// Makes the state directory, for its owner only.
pub(crate) fn make_state_dir(dir: &Path) -> Result<(), KeyError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(io_error("create", dir))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(io_error("restrict", dir))
}

fn make_statement_key(dir: &Path) -> Result<bool, KeyError> {
    if exists(&dir.join(STATEMENT_KEY))? {
        return Ok(false);
    }
    let key = loop {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(KeyError::Random)?;
        if let Some(key) = StatementKey::from_seed(&seed) {
            break key;
        }
    };
    let pem = Zeroizing::new(key.to_pem().map_err(KeyError::Statement)?);
    create(dir, STATEMENT_KEY, pem.as_bytes(), 0o600)
}

fn make_post_quantum_key(
    dir: &Path,
    name: &'static str,
    user_id: &str,
    now: Timestamp,
) -> Result<bool, KeyError> {
    if exists(&dir.join(name))? {
        return Ok(false);
    }
    let open_pgp = |source| KeyError::OpenPgp { name, source };
    let key = PqcKey::generate(user_id, now).map_err(open_pgp)?;
    create(dir, name, &key.to_secret_armor().map_err(open_pgp)?, 0o600)
}

fn write_public_files(dir: &Path, keys: &Keys) -> Result<(), KeyError> {
    let armor = |name, key: &SigningKey| {
        key.certificate_armor()
            .map_err(|source| KeyError::OpenPgp { name, source })
    };
    let mut files = vec![
        (PACKAGE_CERTIFICATE, armor(PACKAGE_KEY, &keys.package)?),
        (METADATA_CERTIFICATE, armor(METADATA_KEY, &keys.metadata)?),
        (STATEMENT_PUBLIC, keys.statement.public().to_pem()),
    ];
    if let Some(post_quantum) = &keys.post_quantum {
        for (name, file, key) in [
            (
                PACKAGE_PQC_KEY,
                PACKAGE_PQC_CERTIFICATE,
                &post_quantum.package,
            ),
            (
                METADATA_PQC_KEY,
                METADATA_PQC_CERTIFICATE,
                &post_quantum.metadata,
            ),
        ] {
            let armored = key.certificate_armor();
            files.push((
                file,
                armored.map_err(|source| KeyError::OpenPgp { name, source })?,
            ));
        }
    }
    for (name, text) in files {
        let path = dir.join(name);
        if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            continue;
        }
        let temporary = dir.join(format!(".{name}.new"));
        write_new(&temporary, text.as_bytes(), 0o644)?;
        fs::rename(&temporary, &path).map_err(io_error("write", &path))?;
        sync_dir(dir)?;
    }
    Ok(())
}

/// Opens all keys, wherever the configuration says they are.
pub fn load(config: &SignerConfig) -> Result<Keys, KeyError> {
    load_from(&*backend::open(config)?, config)
}

fn load_from(store: &dyn backend::KeyStore, config: &SignerConfig) -> Result<Keys, KeyError> {
    let dir = &config.state_dir;
    let post_quantum = |name| {
        let bytes = read_private(&dir.join(name))?;
        PqcKey::from_bytes(&bytes).map_err(|source| KeyError::OpenPgp { name, source })
    };
    let post_quantum = match config.post_quantum {
        PostQuantum::Off => None,
        PostQuantum::Detached | PostQuantum::Embedded => Some(PostQuantumKeys {
            package: post_quantum(PACKAGE_PQC_KEY)?,
            metadata: post_quantum(METADATA_PQC_KEY)?,
        }),
    };
    let pem = read_private(&dir.join(STATEMENT_KEY))?;
    let pem = std::str::from_utf8(&pem)
        .map_err(|_| KeyError::Statement(DsseError::Key { kind: "private" }))?;
    Ok(Keys {
        package: store.load(PACKAGE_KEY)?,
        metadata: store.load(METADATA_KEY)?,
        statement: StatementKey::from_pem(pem).map_err(KeyError::Statement)?,
        post_quantum,
    })
}

fn read_public(path: &Path) -> Result<Vec<u8>, KeyError> {
    let mut bytes = Vec::new();
    open_file(path)?
        .take(MAX_KEY_BYTES)
        .read_to_end(&mut bytes)
        .map_err(io_error("read", path))?;
    Ok(bytes)
}

fn open_file(path: &Path) -> Result<File, KeyError> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => KeyError::Missing {
            path: path.to_owned(),
        },
        _ => io_error("read", path)(error),
    })
}

pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let file = open_file(path)?;
    let mode = file
        .metadata()
        .map_err(io_error("read", path))?
        .permissions()
        .mode()
        & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::TooOpen {
            path: path.to_owned(),
            mode,
        });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_KEY_BYTES)
        .read_to_end(&mut bytes)
        .map_err(io_error("read", path))?;
    Ok(bytes)
}

fn exists(path: &Path) -> Result<bool, KeyError> {
    path.try_exists().map_err(io_error("look for", path))
}

/// Creates a file whole or not at all; `false` when it was there already.
pub(crate) fn create(dir: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<bool, KeyError> {
    let (temporary, path) = (dir.join(format!(".{name}.new")), dir.join(name));
    write_new(&temporary, bytes, mode)?;
    // A hard link refuses to replace, where a rename would not.
    let linked = fs::hard_link(&temporary, &path);
    fs::remove_file(&temporary).map_err(io_error("remove", &temporary))?;
    match linked {
        Ok(()) => sync_dir(dir).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(source) => Err(io_error("write", &path)(source)),
    }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    let write = || -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(io_error("write", path))
}

fn sync_dir(dir: &Path) -> Result<(), KeyError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(io_error("sync", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

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
                PACKAGE_KEY,
                METADATA_KEY,
                STATEMENT_KEY,
                PACKAGE_PQC_KEY,
                METADATA_PQC_KEY
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
                .map(|path| (path.clone(), fs::read(&path).unwrap()))
                .collect();
            files.sort();
            files
        };
        let before = listing();
        assert_eq!(before.len(), 10);
        let second = init(&config, Timestamp::from_unix_secs(NOW + 1)).unwrap();
        assert!(second.made.is_empty());
        assert_eq!(listing(), before);
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
        assert_eq!(second.made, [STATEMENT_KEY]);
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
            load(&config),
            Err(KeyError::TooOpen { mode: 0o640, .. })
        ));
        fs::remove_file(&path).unwrap();
        let error = load(&config).unwrap_err().to_string();
        assert!(error.contains("hallmark-signer init"), "{error}");
    }
}
