//! Packages against what the metadata says of them: presence, size, checksum, identity, header range,
//! signature, and what `metadata` compares.

use super::metadata::differences;
use super::report::{Finding, Findings, Severity};
use super::telling::Listing;
use super::{CheckOptions, Packages, Watch, is_safe_href};
use hallmark_signer::verify::verify_foreign_signature;
use mirrors::reading::{Algorithm, PackageClaim, Source, SourceError, Tap, drain};
use repo_model::rpm::{Head, HeadLimits, Package};
use std::io::BufReader;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A sample holds this many packages, spread over the list, and one in fifty of those beyond.
const SAMPLE_PACKAGES: usize = 20;

/// How many were found and how many were read.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub found: u64,
    pub read: u64,
    /// The server went away; what was not looked at is not counted as missing.
    pub unreachable: Option<String>,
}

/// Looks at the packages as `options.packages` says.
pub(super) fn check_packages(
    source: &dyn Source,
    listing: &Listing,
    options: &CheckOptions,
    watch: &dyn Watch,
    findings: &mut Findings,
) -> Counts {
    let claims = &listing.claims;
    let sample_step = sample_step(claims.len());
    let is_read = |number: usize| match options.packages {
        Packages::None => false,
        Packages::Sample => number.is_multiple_of(sample_step),
        Packages::All => true,
    };
    let work: Vec<usize> = (0..claims.len())
        .filter(|number| {
            options.packages != Packages::None && (is_read(*number) || source.tells_sizes_cheaply())
        })
        .collect();
    let shared = Shared {
        source,
        listing,
        options,
        found: AtomicU64::new(0),
        read: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        unreachable: Mutex::new(None),
        findings: Mutex::new(std::mem::take(findings)),
    };
    watch.packages(work.len() as u64);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..options.workers.get().min(work.len()) {
            scope.spawn(|| {
                while let Some(number) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if shared.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    shared.check(*number, is_read(*number));
                    watch.package_done();
                }
            });
        }
    });
    *findings = shared
        .findings
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    Counts {
        found: shared.found.into_inner(),
        read: shared.read.into_inner(),
        unreachable: shared
            .unreachable
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
    }
}

fn sample_step(packages: usize) -> usize {
    let sample = SAMPLE_PACKAGES + packages / 50;
    packages.div_ceil(sample).max(1)
}

struct Shared<'a> {
    source: &'a dyn Source,
    listing: &'a Listing,
    options: &'a CheckOptions,
    found: AtomicU64,
    read: AtomicU64,
    stop: AtomicBool,
    unreachable: Mutex<Option<String>>,
    findings: Mutex<Findings>,
}

impl Shared<'_> {
    fn error(&self, claim: &PackageClaim, code: &'static str, message: String) {
        self.findings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(Finding {
                severity: Severity::Error,
                code,
                file: claim.href.clone(),
                offset: None,
                package: Some(claim.nevra()),
                message,
            });
    }

    fn source_error(&self, claim: &PackageClaim, error: &SourceError) {
        match error {
            SourceError::Unreachable(why) => {
                self.stop.store(true, Ordering::Relaxed);
                *self
                    .unreachable
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = Some(why.clone());
            }
            SourceError::Missing => {
                self.error(
                    claim,
                    "package-missing",
                    "it is listed and does not exist".to_owned(),
                );
            }
            SourceError::Refused { .. } | SourceError::Read(_) => {
                self.error(claim, "package-unreadable", error.to_string());
            }
        }
    }

    fn check(&self, number: usize, read: bool) {
        let claim = &self.listing.claims[number];
        // Both were reported when primary was read.
        if claim.base.is_some() || !is_safe_href(&claim.href) {
            return;
        }
        let outcome = if read {
            self.read(number)
        } else {
            self.source.size_bytes(&claim.href).map(|size| {
                if let Some(size) = size {
                    self.compare_size(claim, size);
                }
            })
        };
        match outcome {
            Ok(()) => {
                self.found.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self.source_error(claim, &error),
        }
    }

    fn compare_size(&self, claim: &PackageClaim, size: u64) {
        if let Some(claimed) = claim.size_bytes.filter(|claimed| *claimed != size) {
            self.error(
                claim,
                "package-size",
                format!("it has {size} bytes, primary says {claimed}"),
            );
        }
    }

    fn read(&self, number: usize) -> Result<(), SourceError> {
        let claim = &self.listing.claims[number];
        let stream = self.source.open(&claim.href)?;
        let algorithm = claim
            .checksum
            .as_ref()
            .map_or(Algorithm::Sha256, |sum| sum.algorithm);
        let (tap, meter) = Tap::new(stream.reader, Some(algorithm), u64::MAX);
        let mut reader = BufReader::with_capacity(64 << 10, tap);
        let head = Head::read(&mut reader, &HeadLimits::default());
        drain(&mut reader).map_err(SourceError::Read)?;
        self.read.fetch_add(1, Ordering::Relaxed);
        self.compare_size(claim, meter.size_bytes());
        let found = meter.take_hex().unwrap_or_default();
        let is_another = claim.checksum.as_ref().is_some_and(|sum| sum.hex != found);
        if let (Some(claimed), true) = (&claim.checksum, is_another) {
            self.error(
                claim,
                "package-checksum",
                format!("its checksum is {found}, primary says {claimed}"),
            );
        }
        match head {
            Ok(head) => {
                if let Some(package) = self.compare_head(claim, &head)
                    && !is_another
                {
                    self.compare_metadata(number, &package);
                }
            }
            Err(error) => self.error(claim, "package-malformed", error.to_string()),
        }
        Ok(())
    }

    /// Compares what primary says of the file; returns the package when it is the one that is meant.
    fn compare_head(&self, claim: &PackageClaim, head: &Head) -> Option<Package> {
        let package = match Package::from_head(head) {
            Ok(package) => package,
            Err(error) => {
                self.error(claim, "package-malformed", error.to_string());
                return None;
            }
        };
        let is_meant = same_identity(claim, &package);
        if !is_meant {
            let found = &package.nevra;
            self.error(
                claim,
                "package-identity",
                format!("its header says {found}, primary says {}", claim.nevra()),
            );
        }
        let range = head.header_range();
        match claim.header_range {
            Some((start, end)) if (start, end) != (range.start, range.end) => self.error(
                claim,
                "package-header-range",
                format!(
                    "its header is at {}-{}, primary says {start}-{end}",
                    range.start, range.end
                ),
            ),
            _ => {}
        }
        if self.options.package_signatures
            && let Err(error) = verify_foreign_signature(head, &self.options.keys)
        {
            self.error(claim, "package-signature", error.to_string());
        }
        is_meant.then_some(package)
    }

    fn compare_metadata(&self, number: usize, package: &Package) {
        let (claim, told) = (&self.listing.claims[number], self.listing.told.get(number));
        let Some(told) = told else { return };
        for difference in differences(told, package, &self.listing.hash) {
            let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
            let file = self.listing.hrefs.get(difference.list);
            findings.add(Finding {
                severity: Severity::Error,
                code: "package-metadata",
                file: file.unwrap_or(&claim.href).clone(),
                offset: Some(difference.offset.unwrap_or(claim.offset)),
                package: Some(claim.nevra()),
                message: format!(
                    "its `{}` is not what the header of `{}` says: {}",
                    difference.field, claim.href, difference.header
                ),
            });
        }
    }
}

/// createrepo_c writes `src` for nosrc packages too.
fn same_identity(claim: &PackageClaim, package: &Package) -> bool {
    let evr = &package.nevra.evr;
    let arch =
        claim.arch == package.nevra.arch || (claim.arch == "src" && package.nevra.arch == "nosrc");
    claim.name == package.nevra.name
        && arch
        && claim.version.version == evr.version
        && claim.version.release == evr.release
        && claim.version.epoch.parse() == Ok(evr.epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_and_grows_slowly() {
        for (packages, read) in [(1, 1), (20, 20), (100, 20), (60_000, 1_200)] {
            let step = sample_step(packages);
            let sampled = packages.div_ceil(step);
            assert!(
                sampled <= read + 20 && sampled * 2 >= read,
                "{packages}: {sampled}"
            );
        }
    }
}
