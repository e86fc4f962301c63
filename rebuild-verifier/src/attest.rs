//! Signed statements about a rebuild, one for each package that the build made, and the report that
//! is stored beside them.

use crate::compare::Comparison;
use repo_model::buildinfo::BuildInfo;
use repo_model::dsse::{Envelope, StatementKey};
use repo_model::in_toto;
use repo_model::statement::{
    REBUILD, Rebuild, Rebuilder, Resource, Statement, StatementError, Subject,
};
use repo_model::verdict::{Cause, Verdict};
use repo_model::wire::worker::{ExpectedPackage, MAX_CAUSE_CHARS, MAX_CAUSES, RebuildJob};
use repo_model::{FileDigest, Timestamp};
use serde::Serialize;

/// The variation profile of builds that vary nothing on purpose.
pub const PLAIN: &str = "plain";

/// What all statements of one rebuild share.
#[derive(Debug, Clone)]
pub struct RebuildFacts {
    /// Who rebuilt.
    pub rebuilder: Rebuilder,
    /// Lock of the root it ran in.
    pub lock: FileDigest,
    /// rpm's version in it.
    pub rpm_version: String,
    /// Name of the variation profile.
    pub profile: &'static str,
    /// `cgroup` or `weak`.
    pub limits: &'static str,
    /// Log and report.
    pub attachments: Vec<Resource>,
    /// Start of rpmbuild.
    pub started: Timestamp,
    /// End of rpmbuild.
    pub finished: Timestamp,
}

/// Signs the statement about one package.
///
/// * `runs`: verdicts of all runs, in order; `comparison` is of the worst.
pub fn sign_rebuild(
    key: &StatementKey,
    job: &RebuildJob,
    info: &BuildInfo,
    package: &ExpectedPackage,
    comparison: &Comparison,
    runs: &[Verdict],
    facts: &RebuildFacts,
) -> Result<Envelope, StatementError> {
    let subject = Subject::unsigned_rpm(&package.nevra.file_name(), package.file, package.header);
    let predicate = Rebuild {
        rebuilder: facts.rebuilder.clone(),
        verdict: comparison.verdict,
        source: Resource::file(&job.source_name, job.source),
        buildinfo: Resource::file("buildinfo.json", job.buildinfo),
        buildroot: Resource::file("buildroot", facts.lock),
        rpm_version: facts.rpm_version.clone(),
        source_date_epoch: info.time.source_date_epoch,
        profile: facts.profile.to_owned(),
        limits: facts.limits.to_owned(),
        runs: match runs {
            [_] => Vec::new(),
            more => more.to_vec(),
        },
        causes: told(&comparison.causes),
        attachments: facts.attachments.clone(),
        started_on: facts.started,
        finished_on: facts.finished,
    };
    Statement::new(REBUILD, vec![subject], predicate).sign(key)
}

/// The in-toto link of a build that came out the same in all its packages: source package and buildinfo
/// in, unsigned packages out.
pub fn sign_link(key: &StatementKey, job: &RebuildJob) -> Vec<u8> {
    let materials = in_toto::Artifacts::from([
        (job.source_name.clone(), job.source),
        (in_toto::BUILDINFO.to_owned(), job.buildinfo),
    ]);
    let products = job
        .packages
        .iter()
        .map(|package| (package.nevra.file_name(), package.file))
        .collect();
    in_toto::link(&materials, &products, key)
}

/// Causes as a statement may tell them: so many, and so long. The comparison report has them all.
fn told(causes: &[Cause]) -> Vec<Cause> {
    let short = |text: &String| match text.char_indices().nth(MAX_CAUSE_CHARS - 1) {
        Some((end, _)) if text[end..].chars().nth(1).is_some() => format!("{}…", &text[..end]),
        _ => text.clone(),
    };
    let each = causes.iter().take(MAX_CAUSES).map(|cause| Cause {
        detail: short(&cause.detail),
        hint: short(&cause.hint),
        ..cause.clone()
    });
    each.collect()
}

/// The comparison report: what the statements say, in one document for people and tools.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    /// `hallmark-rebuild-report/1`.
    pub schema: &'static str,
    /// Who rebuilt.
    pub rebuilder: &'a Rebuilder,
    /// Digest of the source package.
    pub source: FileDigest,
    /// Digest of the buildinfo.
    pub buildinfo: FileDigest,
    /// Name of the variation profile.
    pub profile: &'static str,
    /// rpmbuild's exit status.
    pub exit_code: i32,
    /// Start of rpmbuild.
    pub started: Timestamp,
    /// End of rpmbuild.
    pub finished: Timestamp,
    /// In the job's order.
    pub packages: Vec<PackageReport<'a>>,
}

/// One package of a [`Report`].
#[derive(Debug, Serialize)]
pub struct PackageReport<'a> {
    /// What the build made.
    #[serde(flatten)]
    pub expected: &'a ExpectedPackage,
    /// Digest of what the rebuild made of it, if it made it.
    pub rebuilt: Option<FileDigest>,
    /// Verdict and causes.
    #[serde(flatten)]
    pub comparison: &'a Comparison,
}

/// Schema of [`Report`].
pub const REPORT_SCHEMA: &str = "hallmark-rebuild-report/1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_tells_no_more_causes_and_no_longer_ones_than_a_server_takes() {
        let cause = |detail: String| Cause {
            code: "x".to_owned(),
            file: None,
            tag: None,
            detail,
            hint: String::new(),
        };
        let long = "é".repeat(MAX_CAUSE_CHARS + 1);
        let just = "é".repeat(MAX_CAUSE_CHARS);
        let all: Vec<_> = (0..200)
            .map(|_| cause(long.clone()))
            .chain([cause(just.clone())])
            .collect();
        let told_of = told(&all);
        assert_eq!(told_of.len(), MAX_CAUSES);
        assert_eq!(told_of[0].detail.chars().count(), MAX_CAUSE_CHARS);
        assert!(told_of[0].detail.ends_with('…'));
        assert_eq!(told(&[cause(just.clone())])[0].detail, just);
    }
}
