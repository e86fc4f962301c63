//! What is wrong with a package, told from its head alone: the intake lint.
//!
//! The profile is rpm 6's: SHA-256 everywhere, nothing outside the sealed region, no text that the
//! repository's XML could not carry, no name or path that means something else to a shell, a URL
//! or a directory. A finding names the tag, its place in the file, and what to do.
//!
//! One file for each kind of check; every code is a row of [`CODES`].

mod contents;
mod digests;
mod identity;
mod layout;
#[cfg(test)]
mod tests;

use super::{Head, Package, Section, TagIn};
use std::collections::BTreeMap;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Accepted, shown.
    Warning,
    /// Refused at intake.
    Error,
}

/// One thing that is wrong with a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable kebab-case name, a row of [`CODES`].
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Tag number, when it is about one.
    pub tag: Option<u32>,
    /// Bytes from the start of the file: of the wrong byte where there is one, else of the tag's
    /// data.
    pub offset: Option<u64>,
    /// Plain words: what is wrong and what to do.
    pub message: String,
}

impl Finding {
    /// Whether the package must be refused.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// One kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Stable kebab-case name.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// One sentence for the reference page.
    pub what: &'static str,
}

macro_rules! codes {
    ($($constant:ident $severity:ident $name:literal $what:literal)+) => {
        $(const $constant: Code =
            Code { name: $name, severity: Severity::$severity, what: $what };)+
        /// Every kind of finding there is, errors first.
        pub static CODES: &[Code] = &[$($constant),+];
    };
}

codes! {
    DUPLICATE_TAG Error "duplicate-tag" "a header holds a tag twice, so two readers may see two packages"
    OUTSIDE_REGION Error "outside-region" "a header has entries or data outside the region that rpm seals"
    SIGNATURE_LAYOUT Error "signature-layout" "the signature header is not laid out as rpm does it, so signing could not be undone"
    TAG_IN_BOTH_HEADERS Error "tag-in-both-headers" "the main header holds a tag that rpm merges in from the signature header"
    RESERVED_SPACE Error "reserved-space" "the reserved space or the padding of the signature header holds something"
    UNKNOWN_FORMAT Error "unknown-format" "RPMFORMAT is neither 4 nor 6"
    LEAD_DISAGREES Error "lead-disagrees" "lead and header disagree on whether this is a source package"
    UNKNOWN_PAYLOAD Error "unknown-payload" "the payload's format or compression is not one that rpm knows"
    ABSURD_SIZE Error "absurd-size" "a size is larger than any package's"
    NO_HEADER_SHA256 Error "no-header-sha256" "the signature header has no SHA-256 of the main header"
    WRONG_HEADER_DIGEST Error "wrong-header-digest" "a digest in the signature header is not that of the main header"
    NO_PAYLOAD_SHA256 Error "no-payload-sha256" "the main header has no SHA-256 of the payload"
    WEAK_FILE_DIGESTS Error "weak-file-digests" "file digests are MD5, SHA-1 or RIPEMD-160"
    UNKNOWN_FILE_DIGEST Error "unknown-file-digest" "FILEDIGESTALGO is a number that rpm does not know"
    BAD_FILE_DIGEST Error "bad-file-digest" "a file has no digest, or one of the wrong form"
    CONTROL_CHARACTER Error "control-character" "a text holds a character that XML 1.0 cannot carry"
    BAD_NAME Error "bad-name" "the name has a character that rpm does not allow, or is too long"
    BAD_VERSION Error "bad-version" "version or release has a character that rpm does not allow"
    BAD_ARCH Error "bad-arch" "the architecture is not letters, digits and _"
    BAD_SOURCE_RPM Error "bad-source-rpm" "SOURCERPM is missing in a binary package, or is no file name of a source package"
    BAD_PATH Error "bad-path" "a file's path is relative, too long, or has empty, . or .. parts"
    BAD_DEPENDENCY_EPOCH Error "bad-dependency-epoch" "a dependency's epoch is not a number"
    EMPTY_DEPENDENCY Error "empty-dependency" "a dependency has no name"
    NOT_UTF8 Warning "not-utf8" "a text is not UTF-8; it is read as Latin-1"
    DUPLICATE_PATH Warning "duplicate-path" "a file is listed twice; it appears once in the metadata"
    OLD_BUILD_TIME Warning "old-build-time" "BUILDTIME is missing or before 1990"
    NO_LICENSE Warning "no-license" "there is no licence"
    NO_SUMMARY Warning "no-summary" "there is no summary"
    NO_CHANGELOG Warning "no-changelog" "there is no changelog"
    ALREADY_SIGNED Warning "already-signed" "the package carries signatures, which ours will replace"
    UNREADABLE_SIGNATURE Warning "unreadable-signature" "an entry of tag 278 is no base64"
    UNKNOWN_SIGNATURE_TAG Warning "unknown-signature-tag" "the signature header, which nothing signs, holds a tag that rpm does not know"
}

/// Everything that is wrong with a package as its head shows it, errors first.
///
/// A code is reported at most ten times; the last message says how many more there are.
pub fn lint(head: &Head, package: &Package) -> Vec<Finding> {
    let mut report = Report {
        head,
        findings: Vec::new(),
        dropped: BTreeMap::new(),
    };
    for check in CHECKS {
        check(head, package, &mut report);
    }
    report.finished()
}

type Check = fn(&Head, &Package, &mut Report<'_>);

static CHECKS: &[Check] = &[
    layout::check_tags,
    layout::check_signature_header,
    layout::check_merged_tags,
    layout::check_format,
    layout::check_sizes,
    digests::check_header_digests,
    digests::check_payload_digest,
    digests::check_file_digests,
    identity::check_nevra,
    identity::check_source_rpm,
    contents::check_texts,
    contents::check_paths,
    contents::check_dependencies,
    contents::check_courtesies,
];

/// Findings of one code that are reported one by one.
const REPORTED_OF_A_CODE: usize = 10;

/// Collects findings.
struct Report<'a> {
    head: &'a Head,
    findings: Vec<Finding>,
    dropped: BTreeMap<&'static str, usize>,
}

impl Report<'_> {
    /// About a tag as a whole: the place is that of its data.
    fn tag(&mut self, code: Code, tag: TagIn, message: impl Into<String>) {
        let header = match tag.section {
            Section::Signature => self.head.signature(),
            Section::Main | Section::Lead => self.head.main(),
        };
        self.push(
            code,
            Some(tag.tag),
            header.offset_of(tag.tag),
            message.into(),
        );
    }

    /// About a place in the file.
    fn push(&mut self, code: Code, tag: Option<u32>, offset: Option<u64>, message: String) {
        let Code { name, severity, .. } = code;
        if self
            .findings
            .iter()
            .filter(|finding| finding.code == name)
            .count()
            == REPORTED_OF_A_CODE
        {
            *self.dropped.entry(name).or_default() += 1;
            return;
        }
        self.findings.push(Finding {
            code: name,
            severity,
            tag,
            offset,
            message,
        });
    }

    fn finished(mut self) -> Vec<Finding> {
        for (code, more) in self.dropped {
            if let Some(last) = self
                .findings
                .iter_mut()
                .rfind(|finding| finding.code == code)
            {
                last.message
                    .push_str(&format!(" (and {more} more of this kind)"));
            }
        }
        self.findings
            .sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        self.findings
    }
}
