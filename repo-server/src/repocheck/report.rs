//! What a check found, for people and for machines.

use serde::Serialize;
use std::collections::BTreeMap;

/// More findings of one code are counted, not kept: a lost directory must not fill the memory.
const KEPT_OF_EACH_CODE: usize = 100;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A client fails, or gets something else than the metadata says.
    Error,
    /// Clients manage, but somebody should look.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// What kind, in words joined by `-`; scripts may rely on it.
    pub code: &'static str,
    /// The file that is wrong, as a path below the repository's root.
    pub file: String,
    /// Byte in that file's content, decompressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The package concerned: `name-[epoch:]version-release.arch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// What is wrong, in a sentence.
    pub message: String,
}

/// One metadata file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileRead {
    /// `primary`, `group`, ...
    #[serde(rename = "type")]
    pub record_type: String,
    /// Path below the repository's root.
    pub href: String,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Bytes of its content, decompressed.
    pub open_size_bytes: u64,
}

/// The outcome of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `<revision>` of repomd.xml.
    pub revision: String,
    /// Whether there is no error; warnings may be.
    pub passed: bool,
    /// Metadata files that could be read to the end.
    pub files: Vec<FileRead>,
    /// Packages that primary lists.
    pub packages: u64,
    /// Packages whose file was found and its size compared.
    pub packages_found: u64,
    /// Packages that were read and compared with the metadata.
    pub packages_read: u64,
    /// Whether the signature of repomd.xml was verified; `false` without a key too.
    pub signature_verified: bool,
    /// How many errors there are, those that were not kept included.
    pub errors: u64,
    /// How many warnings there are.
    pub warnings: u64,
    /// What is wrong: errors first, at most 100 of each code.
    pub findings: Vec<Finding>,
}

/// Gathers findings.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    kept: Vec<Finding>,
    of_code: BTreeMap<(Severity, &'static str), u64>,
}

impl Findings {
    pub fn add(&mut self, finding: Finding) {
        let count = self
            .of_code
            .entry((finding.severity, finding.code))
            .or_default();
        *count += 1;
        if *count <= KEPT_OF_EACH_CODE as u64 {
            self.kept.push(finding);
        }
    }

    /// Whether the newest finding is about this file: what follows from it need not be told.
    pub fn last_is_about(&self, file: &str) -> bool {
        self.kept.last().is_some_and(|finding| finding.file == file)
    }

    /// An error about a file.
    pub fn error(&mut self, code: &'static str, file: &str, message: impl Into<String>) {
        self.add(Finding {
            severity: Severity::Error,
            code,
            file: file.to_owned(),
            offset: None,
            package: None,
            message: message.into(),
        });
    }

    /// A warning about a file.
    pub fn warning(&mut self, code: &'static str, file: &str, message: impl Into<String>) {
        self.add(Finding {
            severity: Severity::Warning,
            code,
            file: file.to_owned(),
            offset: None,
            package: None,
            message: message.into(),
        });
    }

    /// Puts what was found into the report. Equal repositories give equal reports, whatever the
    /// threads did.
    pub fn into_report(mut self, report: &mut Report) {
        self.kept.sort();
        report.findings = self.kept;
        let count = |severity| {
            self.of_code
                .iter()
                .filter(|((of, _), _)| *of == severity)
                .map(|(_, count)| count)
                .sum()
        };
        report.errors = count(Severity::Error);
        report.warnings = count(Severity::Warning);
        report.passed = report.errors == 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_beyond_a_hundred_of_a_kind_are_counted_only() {
        let mut findings = Findings::default();
        for n in 0..250 {
            findings.error("package-missing", &format!("{n}.rpm"), "gone");
        }
        findings.warning("weak-checksum", "a", "md5");
        let mut report = Report::default();
        findings.into_report(&mut report);
        assert_eq!((report.errors, report.warnings), (250, 1));
        assert_eq!(report.findings.len(), 101);
        assert!(!report.passed);
        assert_eq!(report.findings[100].severity, Severity::Warning);
    }
}
