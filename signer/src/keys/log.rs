//! The keys that sign the heads of the transparency log: Ed25519, and beside it ML-DSA-44 unless post-quantum
//! signatures are off. With every backend they are files (PKCS #8), since their name, `signer.log_origin`, is part
//! of them. They sign nothing else, and no other key signs heads.

use super::KeyError;
use super::files::replace;
use super::ring::Ring;
use super::vault::Vault;
use repo_model::config::{PostQuantum, SignerConfig};
use repo_model::log::{LogKey, NoteError, SignatureKind};
use repo_model::wire::signer::{KeyState, LogKeyRole, PublishedLogKey};
use std::path::Path;
use zeroize::Zeroizing;

/// File name of the log's key.
pub const LOG_KEY: &str = "log-key.pem";
/// File name of the log's post-quantum key.
pub const LOG_PQC_KEY: &str = "log-key-pqc.pem";
/// File name of the log's public key, `NAME+HASH+KEY` (C2SP `signed-note`).
pub const LOG_PUBLIC: &str = "log.pub";
/// File name of the log's post-quantum public key, in the same form.
pub const LOG_PQC_PUBLIC: &str = "log-pqc.pub";

/// The files of the keys that this configuration asks for.
fn files(config: &SignerConfig) -> &'static [(&'static str, SignatureKind)] {
    const BOTH: &[(&str, SignatureKind)] = &[
        (LOG_KEY, SignatureKind::Log),
        (LOG_PQC_KEY, SignatureKind::MlDsa44),
    ];
    match config.post_quantum {
        PostQuantum::Off => &BOTH[..1],
        PostQuantum::Detached | PostQuantum::Embedded => BOTH,
    }
}

/// What a key is called beside others: its file's name without the ending.
pub(super) fn label(file: &str) -> String {
    file.trim_end_matches(".pem").to_owned()
}

/// Makes the keys that there are not; gives the files of those that were made now.
pub(super) fn make(
    vault: &impl Vault,
    config: &SignerConfig,
) -> Result<Vec<&'static str>, KeyError> {
    let mut made = Vec::new();
    for (file, kind) in files(config) {
        if vault.has(file)? {
            continue;
        }
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(KeyError::Random)?;
        let key = LogKey::from_seed(&config.log_origin, *kind, &seed).map_err(KeyError::Log)?;
        let pem = Zeroizing::new(key.to_pem().map_err(KeyError::Log)?);
        if vault.put(file, pem.as_bytes())? {
            made.push(*file);
        }
    }
    Ok(made)
}

/// Opens the keys under the configured name, the log's own first.
pub(super) fn load(vault: &impl Vault, config: &SignerConfig) -> Result<Vec<LogKey>, KeyError> {
    let open = |(file, kind): &(&str, SignatureKind)| {
        let pem = vault.get(file)?;
        std::str::from_utf8(&pem)
            .map_err(|_| NoteError::Key)
            .and_then(|pem| LogKey::from_pem(&config.log_origin, *kind, pem))
            .map_err(KeyError::Log)
    };
    files(config).iter().map(open).collect()
}

/// What is told about each key.
///
/// * `keys`: as [`load`] gives them.
pub(super) fn published(keys: &[LogKey], ring: &Ring) -> Vec<PublishedLogKey> {
    const ROLES: [(LogKeyRole, &str); 2] = [
        (LogKeyRole::Log, LOG_KEY),
        (LogKeyRole::LogPqc, LOG_PQC_KEY),
    ];
    let told = |(key, (role, file)): (&LogKey, (LogKeyRole, &str))| {
        let (public, label) = (key.public(), label(file));
        PublishedLogKey {
            role,
            state: KeyState::Current,
            fingerprint: public.fingerprint(),
            algorithm: public.kind().name().to_owned(),
            made: ring.log_made.get(&label).copied(),
            public: public.to_string(),
            label,
        }
    };
    keys.iter().zip(ROLES).map(told).collect()
}

/// Writes the public halves beside the others.
pub(super) fn write_public(dir: &Path, keys: &[LogKey]) -> Result<(), KeyError> {
    for (key, file) in keys.iter().zip([LOG_PUBLIC, LOG_PQC_PUBLIC]) {
        let line = format!("{}\n", key.public());
        replace(dir, file, line.as_bytes(), 0o644)?;
    }
    Ok(())
}
