//! Checking a repository, ours or anybody's: every file that is named exists and is what it is said
//! to be, the files agree with each other, and the packages agree with them.
//!
//! Everything is streamed; in memory stays where each package is and a hash of each field that is said of it (see
//! `facts`; some hundred bytes).
//! What is read is not trusted: see `xml` for documents, `packed` for compression.
//!
//! | code | meaning |
//! |---|---|
//! | `repomd-missing`, `repomd-malformed` | there is no usable `repodata/repomd.xml` |
//! | `signature-missing`, `signature-bad` | a key is given and does not vouch for repomd.xml |
//! | `record-missing`, `record-duplicate`, `record-location` | primary is not there; twice; hostile |
//! | `file-missing`, `file-unreadable`, `file-malformed` | a file of metadata |
//! | `file-size`, `file-checksum`, `file-open-size`, `file-open-checksum` | it is not what repomd says |
//! | `checksum-absent`, `checksum-weak`, `timestamp-future` | repomd promises too little |
//! | `package-count` | `packages="N"` is not the number of packages |
//! | `package-unlisted`, `package-unknown`, `package-disagrees` | primary, filelists, other differ |
//! | `package-duplicate-id`, `package-duplicate-nevra`, `package-duplicate-location` | twice in primary |
//! | `package-location`, `package-elsewhere` | hostile path; `xml:base` |
//! | `package-missing`, `package-unreadable`, `package-malformed` | the RPM itself |
//! | `package-size`, `package-checksum`, `package-identity`, `package-header-range` | it is not what primary says |
//! | `package-metadata` | its header does not say what primary, filelists or other say of it |
//! | `package-repeated-file` | filelists name a file of it twice |
//! | `package-signature` | the key does not vouch for the package |

mod agreement;
mod facts;
mod metadata;
mod packages;
mod published;
mod records;
mod release;
mod report;
mod telling;

pub use mirrors::reading::{
    Algorithm, Checksum, Directory, REPOMD, REPOMD_MAX_BYTES, RecordClaim, Repomd, Source,
    SourceError, Stream, XmlError, XmlProblem,
};
pub use release::{ReleaseReadError, read_release};
pub use report::{FileRead, Finding, Report, Severity};

pub use hallmark_signer::verify::{
    Certificate, VerifyError, verify_any_detached, verify_foreign_signature,
    verify_header_signature,
};

use hallmark_signer::verify::verify_detached_by_any;
use mirrors::reading::{Href, SIGNATURE_MAX_BYTES, read_small};
use repo_model::Timestamp;
use report::Findings;
use std::num::NonZeroUsize;

/// Which packages are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packages {
    /// None: metadata alone.
    None,
    /// A spread sample is read; where asking is cheap, all are looked for and their sizes compared.
    Sample,
    /// All are read.
    All,
}

/// How to check.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// Which packages to look at.
    pub packages: Packages,
    /// The keys, of which one must have signed repomd.xml; none: its signature is not looked at.
    pub keys: Vec<Certificate>,
    /// Whether `keys` must have made every signature of each package that is read.
    pub package_signatures: bool,
    /// Now: records must not be from the future.
    pub now: Timestamp,
    /// Threads that read packages.
    pub workers: NonZeroUsize,
}

/// Told how a check gets on; from several threads.
pub trait Watch: Sync {
    /// A metadata file is being read.
    fn file(&self, _href: &str) {}
    /// So many packages will be looked at.
    fn packages(&self, _count: u64) {}
    /// One package was looked at.
    fn package_done(&self) {}
}

/// Not interested.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watch for Unwatched {}

/// The check could not be made; what is wrong with a repository is in its report instead.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The server's or the network's fault; retry later.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
}

/// Checks a repository.
///
/// Everything that is wrong is a finding of the report, a missing or unreadable `repomd.xml` too.
pub fn check(
    source: &dyn Source,
    options: &CheckOptions,
    watch: &dyn Watch,
) -> Result<Report, CheckError> {
    let mut findings = Findings::default();
    let mut report = Report::default();
    check_into(source, options, watch, &mut findings, &mut report)?;
    findings.into_report(&mut report);
    Ok(report)
}

fn check_into(
    source: &dyn Source,
    options: &CheckOptions,
    watch: &dyn Watch,
    findings: &mut Findings,
    report: &mut Report,
) -> Result<(), CheckError> {
    watch.file(REPOMD);
    let text = match read_small(source, REPOMD, REPOMD_MAX_BYTES) {
        Ok(text) => text,
        Err(SourceError::Unreachable(why)) => return Err(CheckError::Unreachable(why)),
        Err(error) => {
            findings.error("repomd-missing", REPOMD, error.to_string());
            return Ok(());
        }
    };
    if !options.keys.is_empty() {
        report.signature_verified = check_signature(source, &text, &options.keys, findings)?;
    }
    let repomd = match Repomd::parse(&text) {
        Ok(repomd) => repomd,
        Err(error) => {
            findings.add(Finding {
                severity: Severity::Error,
                code: "repomd-malformed",
                file: REPOMD.to_owned(),
                offset: Some(error.offset),
                package: None,
                message: error.problem.to_string(),
            });
            return Ok(());
        }
    };
    report.revision.clone_from(&repomd.revision);
    let listing = records::check_records(source, &repomd, options, watch, findings, report)?;
    report.packages = listing.claims.len() as u64;
    let counts = packages::check_packages(source, &listing, options, watch, findings);
    if let Some(why) = counts.unreachable {
        return Err(CheckError::Unreachable(why));
    }
    report.packages_found = counts.found;
    report.packages_read = counts.read;
    Ok(())
}

fn check_signature(
    source: &dyn Source,
    repomd: &[u8],
    keys: &[Certificate],
    findings: &mut Findings,
) -> Result<bool, CheckError> {
    let path = format!("{REPOMD}.asc");
    let signature = match read_small(source, &path, SIGNATURE_MAX_BYTES) {
        Ok(signature) => signature,
        Err(SourceError::Unreachable(why)) => return Err(CheckError::Unreachable(why)),
        Err(error) => {
            findings.error("signature-missing", &path, error.to_string());
            return Ok(false);
        }
    };
    match verify_detached_by_any(repomd, &signature, keys) {
        Ok(()) => Ok(true),
        Err(error) => {
            findings.error("signature-bad", &path, error.to_string());
            Ok(false)
        }
    }
}

/// Whether a location stays below the repository's root. A leading `./` is harmless.
fn is_safe_href(href: &str) -> bool {
    href.parse::<Href>().is_ok()
}
