//! Key files of people: they sign waivers and bundles, and no server ever has them.

use crate::failure::Failure;
use repo_model::dsse::StatementKey;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Makes a key and writes it to a new file that only its owner can read.
pub fn create(file: &Path) -> Result<StatementKey, Failure> {
    let key = loop {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|error| Failure::failed(format!("no random bytes: {error}")))?;
        if let Some(key) = StatementKey::from_seed(&seed) {
            break key;
        }
    };
    let pem = key.to_pem().map_err(Failure::failed)?;
    write_new(file, pem.as_bytes(), 0o600)?;
    Ok(key)
}

/// Reads a key; refuses one that others can read.
pub fn read(file: &Path) -> Result<StatementKey, Failure> {
    let mode = fs::metadata(file).map_err(|error| failed("read", file, &error))?;
    if mode.permissions().mode() & 0o077 != 0 {
        return Err(Failure::failed(format!(
            "{} can be read by others: a private key must be readable by its owner only (chmod 600)",
            file.display()
        )));
    }
    let pem = fs::read_to_string(file).map_err(|error| failed("read", file, &error))?;
    StatementKey::from_pem(&pem).map_err(Failure::failed)
}

/// Writes a file that must not exist.
pub fn write_new(file: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(file)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|error| failed("write", file, &error))
}

/// What could not be done with a file.
pub fn failed(task: &str, file: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot {task} {}: {error}", file.display()))
}
