//! Reading one uploaded RPM: head, lint, payload digest. Streams; memory is the size of the head.

use super::IntakeError;
use repo_model::rpm::{Finding, Head, HeadLimits, Package, lint};
use repo_model::{FileDigest, HeaderDigest, Nevra};
use sha2::{Digest as _, Sha256};
use std::io::Read;

/// What intake keeps of an RPM.
#[derive(Debug, Clone)]
pub struct CheckedRpm {
    /// The file.
    pub file: FileDigest,
    /// Its size.
    pub size_bytes: u64,
    /// Main header.
    pub header: HeaderDigest,
    /// Identity.
    pub nevra: Nevra,
    /// Whether it is a source package.
    pub is_source: bool,
    /// SOURCERPM.
    pub source_rpm: Option<String>,
    /// SUMMARY.
    pub summary: String,
    /// Findings that do not stop it.
    pub warnings: Vec<Finding>,
}

/// Reads and judges one RPM.
///
/// * `reader`: the whole file from its first byte.
/// * `role`: for errors.
pub fn check(
    mut reader: impl Read,
    file: FileDigest,
    role: &'static str,
) -> Result<CheckedRpm, IntakeError> {
    let refuse = |source| IntakeError::Rpm {
        role,
        digest: file,
        source,
    };
    let head = Head::read(&mut reader, &HeadLimits::default()).map_err(refuse)?;
    let package = Package::from_head(&head).map_err(refuse)?;
    let findings = lint(&head, &package);
    // A source package is rebuilt from, never served: it need not be fit for publication.
    if !package.is_source && findings.iter().any(Finding::is_error) {
        return Err(IntakeError::Lint {
            nevra: package.nevra,
            findings,
        });
    }
    if !package.is_source {
        crate::repodata::check_package(&package).map_err(|source| IntakeError::Metadata {
            nevra: package.nevra.clone(),
            source,
        })?;
    }
    let (payload_bytes, actual) = payload_digest(&mut reader)?;
    if let Some(wanted) = &package.payload_sha256
        && *wanted != actual
    {
        return Err(IntakeError::Payload {
            nevra: package.nevra,
            wanted: wanted.clone(),
            actual,
        });
    }
    Ok(CheckedRpm {
        file,
        size_bytes: head.payload_offset() + payload_bytes,
        header: head.header_digest(),
        nevra: package.nevra,
        is_source: package.is_source,
        source_rpm: package.source_rpm,
        summary: package.summary,
        warnings: findings,
    })
}

fn payload_digest(reader: &mut impl Read) -> Result<(u64, String), IntakeError> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok((total, hex::encode(hasher.finalize()))),
            read => {
                hasher.update(&buffer[..read]);
                total += read as u64;
            }
        }
    }
}
