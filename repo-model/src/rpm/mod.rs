//! Reading RPM files, versions 3, 4 and 6, without trusting a byte of them.
//!
//! A file is lead (96 bytes) + signature header (padded to 8) + main header + payload. What is here
//! looks at everything but the payload.

mod error;
mod fields;
mod files;
mod head;
mod header;
mod lint;
mod package;
pub mod signature;
pub mod tag;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
#[cfg(test)]
mod tests;
mod text;
pub mod vercmp;

pub use error::{EntryProblem, HeaderError, Section, TagIn};
pub use head::{Head, HeadLimits};
pub use header::{Header, Region, Value};
pub use lint::{CODES, Code, Finding, Severity, lint};
pub use package::{
    ChangelogEntry, Dependency, DependencyFlags, FileEntry, FileKind, Package, RpmFormat,
};
