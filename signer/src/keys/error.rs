//! Why keys cannot be made, read or changed.

use super::openpgp::OpenPgpError;
use repo_model::Timestamp;
use repo_model::config::KeyBackendName;
use repo_model::dsse::DsseError;
use std::io;
use std::path::PathBuf;

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
    /// This OpenPGP key cannot be used.
    #[error("the OpenPGP key {label} cannot be used")]
    OpenPgp {
        /// Its label.
        label: String,
        /// Why.
        #[source]
        source: OpenPgpError,
    },
    /// The statement key cannot be used.
    #[error("the statement key cannot be used")]
    Statement(#[source] DsseError),
    /// The log's key, or `signer.log_origin`, cannot be used.
    #[error("the log key cannot be used")]
    Log(#[source] repo_model::log::NoteError),
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
    /// The token asks for a PIN. Set one, or have whatever stands before the token unlock it (siguldry's client proxy
    /// does for the keys in its configuration).
    #[error(
        "the token {name} wants a PIN and has no way of its own to take one: set `signer.pkcs11.pin_file`, or have \
         the module's service unlock it"
    )]
    NoPin {
        /// The token's label.
        name: String,
    },
    /// The token does not make such keys, or none for others. Make one with its own tools, or choose another
    /// `signer.key_algorithm`; then do it again.
    #[error(
        "the token {name} makes no {kind} key: {why}; make one called `{label}` with the token's own tools, or set \
         another `signer.key_algorithm`, and run this again"
    )]
    TokenMakesNone {
        /// The token's label.
        name: String,
        /// What the key must be called.
        label: String,
        /// `P-256`, `Ed25519`, `RSA-4096`.
        kind: String,
        /// What it makes, or lacks.
        why: String,
    },
    /// No such key, or several of which we would have to choose one.
    #[error("the token {name} holds {found} keys `{label}`: want one")]
    TokenKeys {
        /// The token's label.
        name: String,
        /// The keys' label.
        label: String,
        /// How many.
        found: usize,
    },
    /// Of another kind than its role asks for.
    #[error("the key `{label}` of the token is not {wanted}")]
    TokenKeyKind {
        /// The key's label.
        label: String,
        /// `RSA or Ed25519`, `P-256`.
        wanted: &'static str,
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
    /// `signer.key_backend` wants a passphrase, but nothing says where it is.
    #[error("`signer.key_backend` is encrypted-file, but there is no `signer.passphrase_file`")]
    NoPassphraseFile,
    /// Too short to protect anything.
    #[error("the passphrase in {} is shorter than {MIN_PASSPHRASE_BYTES} bytes", path.display())]
    WeakPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// Another passphrase than it was locked with, or a damaged file.
    #[error("{} cannot be opened with the passphrase", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// The library's words.
        #[source]
        source: OpenPgpError,
    },
    /// The service manager gave no credentials.
    #[error(
        "`signer.key_backend` is credential, but {file} is not in $CREDENTIALS_DIRECTORY: start the \
         signer as a service with LoadCredentialEncrypted="
    )]
    NoCredential {
        /// The credential.
        file: String,
    },
    /// A key that some client would refuse. Nothing signs with it.
    #[error("the key {label} is not fit for clients: {findings}")]
    Unfit {
        /// Its label.
        label: String,
        /// What is wrong.
        findings: String,
    },
    /// Made later than now, so that no signature of it would count. The clock's fault: correct it.
    #[error(
        "the key {label} was made at {made}, but the clock says {now}: it is behind, or was ahead then"
    )]
    FromTheFuture {
        /// Its label.
        label: String,
        /// When it was made.
        made: Timestamp,
        /// The clock.
        now: Timestamp,
    },
    /// The list of keys was written by somebody else.
    #[error("{} cannot be used: {problem}", path.display())]
    Ring {
        /// The list.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A step of a key's life that cannot be taken now.
    #[error("{0}")]
    Life(String),
    /// The journal cannot record it: a signer is running, or it is broken.
    #[error("the change cannot be recorded")]
    Journal(#[source] crate::journal::JournalError),
}

/// Shortest passphrase, bytes.
pub(in crate::keys) const MIN_PASSPHRASE_BYTES: usize = 16;
