//! Questions about what is inside the packages of a release, for the HTTP API and the CLI alike.
//! `docs/src/protocol.md` describes each question.

use crate::{Arch, FileDigest, HeaderDigest, Nevra, ReleaseId, RepoName, Timestamp};
use serde::{Deserialize, Serialize};

/// One page of answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The release that was asked about.
    pub release: ReleaseId,
    /// Answers, in a fixed order.
    pub items: Vec<T>,
    /// What to send as `after` for the next page; none on the last one.
    pub next: Option<String>,
    /// Advisories that were looked through; only where vulnerabilities are asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advisories: Option<Advisories>,
}

/// The advisories of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advisories {
    /// How many there are; 0: none were ever imported, so that no finding means nothing.
    pub records: u64,
    /// When they were imported; none: never, or before that was written down.
    pub imported_at: Option<Timestamp>,
}

/// A package of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRef {
    /// Identity.
    pub nevra: Nevra,
    /// Repository.
    pub repo: RepoName,
    /// Main header.
    pub header: HeaderDigest,
    /// Path below the repository's base.
    pub href: String,
    /// The build that it came from.
    pub build: u64,
    /// Its source package.
    pub source: Nevra,
}

/// One way in which a component is known to be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Method {
    /// The reader: `go-buildinfo`, `bundled-provide`, ...
    pub source: String,
    /// `binary-analysis`, `manifest-analysis`.
    pub technique: String,
    /// 0 to 100.
    pub confidence_percent: u8,
}

/// `GET /api/v1/sbom/components`: one component in one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipped {
    /// The package.
    pub package: PackageRef,
    /// Package URL of the component.
    pub component: String,
    /// Its version; none when none is known. Of an RPM `[epoch:]version-release`.
    pub version: Option<String>,
    /// `self`: the package is the component; `upstream`: it packages the component; `source`: it was
    /// made from it; `part`: it holds it.
    pub relation: String,
    /// Whether it took part in the build only.
    pub build_only: bool,
    /// How that is known.
    pub evidence: Vec<Method>,
    /// Files in the package that show it; at most 20.
    pub places: Vec<String>,
    /// How many there are.
    pub places_total: u64,
}

/// `GET /api/v1/sbom/why`: how a component came into a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The component in the package.
    #[serde(flatten)]
    pub shipped: Shipped,
    /// `self`, `upstream`, `source`, `bundled`, `static`, `vendored` or `shipped`.
    pub how: String,
    /// From the build down to the component; or from the package that was asked about, where another
    /// one holds it that is needed by that.
    pub path: Vec<Step>,
}

/// `GET /api/v1/sbom/needs`: a package that needs the one that is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needing {
    /// The package.
    pub package: PackageRef,
    /// Steps to the one that is asked about; 1: it needs that itself.
    pub steps: u32,
    /// A shortest way: the package, what it requires, and so on to the one that is asked about.
    pub path: Vec<Step>,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// `build`, `package`, `requires` (a package that the one before needs), `file`, `component`.
    pub kind: String,
    /// Source NEVRA, NEVRA, path, package URL.
    pub name: String,
}

/// `GET /api/v1/releases/{release}/sboms`: a document about one repository of a release as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseSbom {
    /// Repository.
    pub repo: RepoName,
    /// Architecture.
    pub arch: Arch,
    /// `cyclonedx-1.6`, ...
    pub format: String,
    /// The document.
    pub sha256: FileDigest,
    /// Its bytes.
    pub size_bytes: u64,
    /// Where it is on this server; with `.zst` behind, compressed.
    pub path: String,
    /// The compressed document, which is also at `/evidence/sha256/{digest}`.
    pub zst_sha256: FileDigest,
    /// Its bytes.
    pub zst_size_bytes: u64,
}

/// `GET /api/v1/sbom/built-with`: a package that was built where a tool was installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltWith {
    /// The package.
    pub package: PackageRef,
    /// The tool's package in the build root.
    pub tool: String,
    /// Its version there.
    pub version: String,
    /// Its architecture there.
    pub arch: String,
    /// The buildinfo that says so.
    pub buildinfo: FileDigest,
}

/// `GET /api/v1/sbom/licences`: how many packages have a licence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenceUse {
    /// The tag as written.
    pub raw: String,
    /// SPDX expression.
    pub expression: String,
    /// Whether all of it is of the SPDX list; otherwise a part only refers to its own text.
    pub mapped: bool,
    /// Whether it asks that what is made of it be under it too, as the SPDX list says; of several to choose from
    /// the mildest counts. None where it hangs on a text that is not of the list.
    #[serde(default)]
    pub copyleft: Option<bool>,
    /// `package`: their own licence; `part`: that of something inside.
    pub of: String,
    /// Packages.
    pub packages: u64,
}

/// `GET /api/v1/sbom/files`: a file with a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHit {
    /// The package.
    pub package: PackageRef,
    /// Path in the package.
    pub path: String,
    /// Lowercase hex.
    pub sha1: String,
    /// Lowercase hex.
    pub sha256: String,
    /// Lowercase hex.
    pub sha512: String,
}

/// `GET /api/v1/sbom/diff`: what one release has and another has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `added`, `removed`, `upgraded`, `downgraded`, `rebuilt` (the same version, another release or
    /// other bytes).
    pub change: String,
    /// `package` or `component`.
    pub of: String,
    /// Name of the package, or ecosystem and name of the component.
    pub name: String,
    /// Repository and arch of a package.
    pub place: Option<String>,
    /// EVRs or versions before, in order.
    pub from: Vec<String>,
    /// EVRs or versions now, in order.
    pub to: Vec<String>,
    /// Of a package that there was and is: `licence`, `contents` (what is inside), `signer`, where these differ
    /// between the newest before and the newest now. One that was `rebuilt` with nothing here is rebuilt only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<String>,
}

/// What is known about a vulnerability in a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VulnerabilityStatus {
    /// It is there.
    Affected,
    /// The component is there and the vulnerability does not matter.
    NotAffected,
    /// It was there and is mended.
    Fixed,
    /// Not known yet.
    UnderInvestigation,
}

impl VulnerabilityStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [
        Self::Affected,
        Self::NotAffected,
        Self::Fixed,
        Self::UnderInvestigation,
    ];

    /// As in JSON: `not_affected`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Affected => "affected",
            Self::NotAffected => "not_affected",
            Self::Fixed => "fixed",
            Self::UnderInvestigation => "under_investigation",
        }
    }

    /// The status of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// `GET /api/v1/vulnerabilities`: one vulnerability in one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The advisory: `GHSA-…`, `CVE-…`, `ALSA-…`.
    pub vulnerability: String,
    /// Other names of it.
    pub aliases: Vec<String>,
    /// What it is, in one line.
    pub summary: String,
    /// CVSS vector or word, as the advisory has it; empty when it has none.
    pub severity: String,
    /// The package.
    pub package: PackageRef,
    /// Package URL of the component.
    pub component: String,
    /// How the component is in the package, as in [`Shipped::relation`].
    pub relation: String,
    /// What is known.
    pub status: VulnerabilityStatus,
    /// The first version that is not affected, where the advisory names one.
    pub fixed_in: Option<String>,
    /// Who says so: `osv`, or `vex` with the document's digest in `vex`.
    pub said_by: String,
    /// VEX justification, such as `vulnerable_code_not_in_execute_path`.
    pub justification: Option<String>,
    /// Why, in words.
    pub remark: Option<String>,
    /// The VEX document: `/evidence/sha256/{digest}`.
    pub vex: Option<FileDigest>,
}

/// `POST /api/v1/vex` and `GET /api/v1/vex`: one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VexDocument {
    /// The bytes: `/evidence/sha256/{digest}`.
    pub digest: FileDigest,
    /// `openvex` or `csaf`.
    pub format: String,
    /// The document's own identifier.
    pub name: String,
    /// Who wrote it.
    pub author: String,
    /// When, as it says.
    pub issued: String,
    /// Statements taken from it: one for each vulnerability and product.
    pub statements: u64,
    /// The token that uploaded it.
    pub uploaded_by: String,
    /// When.
    pub uploaded_at: Timestamp,
    /// When it was withdrawn, if it was.
    pub withdrawn_at: Option<Timestamp>,
}
