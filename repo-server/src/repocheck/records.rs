//! The files of metadata against what repomd.xml says of them.

use super::agreement::{Comparison, check_primary};
use super::report::{FileRead, Finding, Findings, Report, Severity};
use super::telling::{self, Listing, Told};
use super::{CheckError, CheckOptions, Packages, Watch, is_safe_href};
use mirrors::reading::{
    Announced, Packed, REPOMD, RecordClaim, Repomd, Source, SourceError, Sums, XmlError,
    XmlProblem, XmlReader,
};
use std::io;

/// Clocks may differ by this much before a record counts as from the future.
const CLOCK_TOLERANCE_SECS: i64 = 24 * 3600;

/// Files with a list of packages beside primary: record type, root element.
const LISTED: [(&str, &str); 3] = [
    ("filelists", "filelists"),
    ("other", "otherdata"),
    ("filelists-ext", "filelists-ext"),
];

/// Checks every record; returns the packages of primary and what is said of them.
pub(super) fn check_records(
    source: &dyn Source,
    repomd: &Repomd,
    options: &CheckOptions,
    watch: &dyn Watch,
    findings: &mut Findings,
    report: &mut Report,
) -> Result<Listing, CheckError> {
    let mut reader = RecordReader {
        source,
        watch,
        findings,
        report,
    };
    for wanted in ["primary", "filelists", "other"] {
        match repomd.of_type(wanted).count() {
            0 if wanted == "primary" => {
                reader
                    .findings
                    .error("record-missing", REPOMD, "there is no `primary`");
            }
            0 | 1 => {}
            count => reader.findings.error(
                "record-duplicate",
                REPOMD,
                format!("there are {count} records `{wanted}`"),
            ),
        }
    }
    for record in &repomd.records {
        promises(record, options, reader.findings);
    }
    let mut listing = Listing::default();
    let mut have_primary = false;
    if let Some(primary) = repomd.of_type("primary").next() {
        listing.hrefs.insert("primary", primary.href.clone());
        have_primary = reader.primary(primary, &mut listing, options.packages)?;
        check_primary(&listing.claims, &primary.href, reader.findings);
    }
    for record in &repomd.records {
        let listed = LISTED.iter().find(|(kind, _)| *kind == record.record_type);
        match listed {
            Some((kind, root)) => {
                listing.hrefs.insert(kind, record.href.clone());
                reader.listed(record, root, &mut listing, have_primary)?;
            }
            None if record.record_type == "primary" => {}
            None => reader.other(record)?,
        }
    }
    Ok(listing)
}

/// What repomd.xml should say of a file and does not.
fn promises(record: &RecordClaim, options: &CheckOptions, findings: &mut Findings) {
    let kind = &record.record_type;
    match &record.checksum {
        None => findings.error(
            "checksum-absent",
            REPOMD,
            format!("`{kind}` has no checksum of a known kind"),
        ),
        Some(sum) if sum.algorithm.is_weak() => findings.warning(
            "checksum-weak",
            REPOMD,
            format!(
                "the checksum of `{kind}` can be forged: {:?}",
                sum.algorithm
            ),
        ),
        Some(_) => {}
    }
    let latest = options.now.unix_secs() + CLOCK_TOLERANCE_SECS;
    if let Some(at) = record.timestamp.filter(|at| *at > latest) {
        findings.warning(
            "timestamp-future",
            REPOMD,
            format!("`{kind}` is of {at}, clients will take later ones for old"),
        );
    }
}

struct RecordReader<'a> {
    source: &'a dyn Source,
    watch: &'a dyn Watch,
    findings: &'a mut Findings,
    report: &'a mut Report,
}

impl<'a> RecordReader<'a> {
    /// Opens a record's file; none, with a finding, when that cannot be done.
    fn open(&mut self, record: &RecordClaim) -> Result<Option<Packed<'a>>, CheckError> {
        let href = &record.href;
        if let Some(base) = &record.base {
            self.findings.warning(
                "record-location",
                REPOMD,
                format!("`{href}` is at `{base}`, which is not looked at"),
            );
            return Ok(None);
        }
        if !is_safe_href(href) {
            self.findings.error(
                "record-location",
                REPOMD,
                format!("`{}` does not stay below the root", href.escape_debug()),
            );
            return Ok(None);
        }
        self.watch.file(href);
        let source = self.source;
        let stream = match source.open(href) {
            Ok(stream) => stream,
            Err(SourceError::Unreachable(why)) => return Err(CheckError::Unreachable(why)),
            Err(SourceError::Missing) => {
                self.findings.error(
                    "file-missing",
                    href,
                    format!("`{}` names it and it does not exist", record.record_type),
                );
                return Ok(None);
            }
            Err(error @ (SourceError::Refused { .. } | SourceError::Read(_))) => {
                self.findings
                    .error("file-unreadable", href, error.to_string());
                return Ok(None);
            }
        };
        if let (Some(size), Some(claimed)) = (stream.size_bytes, record.size_bytes)
            && size != claimed
        {
            self.wrong_size(record, size, claimed);
            return Ok(None);
        }
        match Packed::new(stream.reader, record) {
            Ok(packed) => Ok(Some(packed)),
            Err(error) => {
                self.unreadable(record, 0, &error);
                Ok(None)
            }
        }
    }

    fn wrong_size(&mut self, record: &RecordClaim, size: u64, claimed: u64) {
        self.findings.error(
            "file-size",
            &record.href,
            format!("it has {size} bytes, repomd.xml says {claimed}"),
        );
    }

    /// `offset`: how much of the content could be read.
    fn unreadable(&mut self, record: &RecordClaim, offset: u64, error: &io::Error) {
        let code = match error.kind() {
            io::ErrorKind::FileTooLarge => "file-open-size",
            _ => "file-unreadable",
        };
        self.findings.add(Finding {
            severity: Severity::Error,
            code,
            file: record.href.clone(),
            offset: Some(offset),
            package: None,
            message: error.to_string(),
        });
    }

    fn malformed(&mut self, record: &RecordClaim, error: &XmlError) {
        if let XmlProblem::Read(source) = &error.problem {
            return self.unreadable(record, error.offset, source);
        }
        self.findings.add(Finding {
            severity: Severity::Error,
            code: "file-malformed",
            file: record.href.clone(),
            offset: Some(error.offset),
            package: None,
            message: error.problem.to_string(),
        });
    }

    /// Reads primary into `listing`; whether it could be read to its end.
    fn primary(
        &mut self,
        record: &RecordClaim,
        listing: &mut Listing,
        packages: Packages,
    ) -> Result<bool, CheckError> {
        let Some(mut packed) = self.open(record)? else {
            return Ok(false);
        };
        let Listing {
            claims, told, hash, ..
        } = listing;
        let outcome = telling::read_primary(&mut packed, hash, |claim, facts| {
            claims.push(claim);
            if packages != Packages::None {
                let primary = Some(facts);
                told.push(Told {
                    primary,
                    ..Told::default()
                });
            }
        });
        let complete = outcome.is_ok();
        self.count(record, outcome, claims.len() as u64);
        self.finish(record, packed);
        Ok(complete)
    }

    /// Reads a file with a list of packages; compares it with primary when that could be read.
    fn listed(
        &mut self,
        record: &RecordClaim,
        root: &str,
        listing: &mut Listing,
        have_primary: bool,
    ) -> Result<(), CheckError> {
        let Some(mut packed) = self.open(record)? else {
            return Ok(());
        };
        let Listing {
            claims, told, hash, ..
        } = listing;
        let mut comparison = have_primary.then(|| Comparison::new(claims, &record.href));
        let mut count = 0;
        let outcome = telling::read_listed(&mut packed, root, hash, |listed| {
            count += 1;
            if let Some(comparison) = &mut comparison {
                let number = comparison.take(&listed, self.findings);
                if let Some(told) = number.and_then(|number| told.get_mut(number)) {
                    told.take(listed.package.offset, listed.said);
                }
            }
        });
        if let (Some(comparison), Ok(_)) = (comparison, &outcome) {
            comparison.finish(self.findings);
        }
        self.count(record, outcome, count);
        self.finish(record, packed);
        Ok(())
    }

    /// Reads any other file; XML for its well-formedness.
    fn other(&mut self, record: &RecordClaim) -> Result<(), CheckError> {
        let Some(mut packed) = self.open(record)? else {
            return Ok(());
        };
        if record.href.contains(".xml") && !record.href.ends_with(".zck") {
            let outcome = XmlReader::new(&mut packed).finish();
            if let Err(error) = outcome {
                self.malformed(record, &error);
            }
        }
        self.finish(record, packed);
        Ok(())
    }

    fn count(&mut self, record: &RecordClaim, outcome: Result<Announced, XmlError>, count: u64) {
        match outcome {
            Ok(Announced(Some(announced))) if announced != count => self.findings.error(
                "package-count",
                &record.href,
                format!("it announces {announced} packages and holds {count}"),
            ),
            Ok(_) => {}
            Err(error) => self.malformed(record, &error),
        }
    }

    /// Reads the rest of a file and compares its sums.
    fn finish(&mut self, record: &RecordClaim, packed: Packed<'_>) {
        let meter = packed.open_meter();
        let sums = match packed.finish() {
            Ok(sums) => sums,
            Err(error) => {
                let known = self.findings.last_is_about(&record.href);
                if !known {
                    self.unreadable(record, meter.size_bytes(), &error);
                }
                return;
            }
        };
        self.compare(record, &sums);
        self.report.files.push(FileRead {
            record_type: record.record_type.clone(),
            href: record.href.clone(),
            size_bytes: sums.size_bytes,
            open_size_bytes: sums.open_size_bytes,
        });
    }

    fn compare(&mut self, record: &RecordClaim, sums: &Sums) {
        if let Some(claimed) = record.size_bytes.filter(|size| *size != sums.size_bytes) {
            self.wrong_size(record, sums.size_bytes, claimed);
        }
        if let (Some(claimed), Some(found)) = (&record.checksum, &sums.hex)
            && claimed.hex != *found
        {
            self.findings.error(
                "file-checksum",
                &record.href,
                format!("its checksum is {found}, repomd.xml says {claimed}"),
            );
        }
        // The inside of zchunk is not opened: its parts have checksums of their own.
        if record.href.ends_with(".zck") {
            return;
        }
        if let Some(claimed) = record
            .open_size_bytes
            .filter(|size| *size != sums.open_size_bytes)
        {
            self.findings.error(
                "file-open-size",
                &record.href,
                format!(
                    "its content has {} bytes, repomd.xml says {claimed}",
                    sums.open_size_bytes
                ),
            );
        }
        if let (Some(claimed), Some(found)) = (&record.open_checksum, &sums.open_hex)
            && claimed.hex != *found
        {
            self.findings.error(
                "file-open-checksum",
                &record.href,
                format!("the checksum of its content is {found}, repomd.xml says {claimed}"),
            );
        }
    }
}
