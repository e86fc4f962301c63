//! Why a build is held or rejected, in plain words. Equal reasons of several packages are told
//! once, and rebuilders that found the same difference are named together.

use crate::text::{format_name, listed, verdict_sentence};
use repo_model::WorkerName;
use repo_model::policy::Reason;
use repo_model::verdict::{Cause, Verdict};

/// One reason, explained.
pub(crate) struct Why {
    /// Stable code of the reason.
    pub code: &'static str,
    /// What is the matter, in one clause.
    pub title: String,
    /// More about it; may be empty.
    pub text: String,
    /// What to do or to wait for.
    pub next: String,
    /// Causes found by rebuilders.
    pub causes: Vec<WhyCause>,
}

/// One cause, with everybody who saw it.
pub(crate) struct WhyCause {
    pub code: String,
    pub file: Option<String>,
    pub tag: Option<String>,
    pub hint: String,
    pub details: Vec<Detail>,
}

/// What rebuilders saw.
pub(crate) struct Detail {
    pub seen: String,
    /// Who saw it: `rebuilder-a and rebuilder-b`.
    pub by: String,
    rebuilders: Vec<WorkerName>,
}

/// Explains `reasons`, in their order.
pub(crate) fn explain(reasons: &[Reason]) -> Vec<Why> {
    let mut told: Vec<&Reason> = Vec::new();
    let mut verdicts_told: Vec<Verdict> = Vec::new();
    let mut out = Vec::new();
    for reason in reasons {
        if told.contains(&reason) {
            continue;
        }
        told.push(reason);
        if let Reason::RebuildDiffers { verdict, .. } = reason {
            if !verdicts_told.contains(verdict) {
                verdicts_told.push(*verdict);
                out.push(differs(*verdict, reasons));
            }
        } else {
            out.push(plain(reason));
        }
    }
    out
}

fn plain(reason: &Reason) -> Why {
    let (code, title, text, next) = match reason {
        Reason::Lint { finding, message } => (
            "lint",
            "The package header is not fit for publication".to_owned(),
            format!("{message} ({finding})"),
            "Correct the spec file or the build system, build again and upload the new build.".to_owned(),
        ),
        Reason::Revoked { reason } => (
            "revoked",
            "The policy revokes this package".to_owned(),
            reason.clone(),
            "These bytes will never be signed. Publish a build that mends what they got wrong.".to_owned(),
        ),
        Reason::OutOfScope { .. } => (
            "out-of-scope",
            "The policy does not sign such packages".to_owned(),
            reason.to_string(),
            "Publish it in a repository whose policy covers its name and architecture.".to_owned(),
        ),
        Reason::OlderVersion { signed, .. } => (
            "older-version",
            format!("Version {signed} was signed before"),
            reason.to_string(),
            "Build it with a higher epoch or version, or set `older_versions = \"allow\"` in the policy."
                .to_owned(),
        ),
        Reason::NevraTaken { .. } => (
            "nevra-taken",
            "Other bytes carry this name and version already".to_owned(),
            reason.to_string(),
            "Build it with a higher release, or revoke the other package in the policy.".to_owned(),
        ),
        Reason::SbomMissing { format } => (
            "sbom-missing",
            format!("The {} SBOM is missing", format_name(format)),
            "The policy wants one about exactly this package.".to_owned(),
            "The server makes it; if its job stands below with an error, mend that and try the build again."
                .to_owned(),
        ),
        Reason::ProvenanceMissing => (
            "provenance-missing",
            "Nobody vouches for where it was built".to_owned(),
            "The policy wants provenance signed by a builder it lists.".to_owned(),
            "Have the build system send its signed provenance, or add its key to the policy.".to_owned(),
        ),
        Reason::RebuildsMissing { have, want } => (
            "rebuilds-missing",
            format!("Confirmed by {have} of the {want} rebuilders the policy demands"),
            "A rebuilder confirms a package when it made the same bytes from the same source.".to_owned(),
            "More rebuilders may still report; what each one said is in the evidence below.".to_owned(),
        ),
        Reason::OperatorsMissing { have, want } => (
            "operators-missing",
            format!("Confirmed by {have} of the {want} independent operators the policy demands"),
            "Rebuilders run by one operator count as one voice.".to_owned(),
            "A rebuilder of another operator has to confirm it.".to_owned(),
        ),
        Reason::BuildFailed { rebuilder } => (
            "build-failed",
            format!("{rebuilder} could not build it"),
            "The same source and the same buildroot did not build there.".to_owned(),
            "Its build log is in the evidence below.".to_owned(),
        ),
        Reason::OwnRebuild { operator, .. } => (
            "own-rebuild",
            format!("{operator} built it and rebuilt it"),
            reason.to_string(),
            "A rebuilder of another operator has to confirm it.".to_owned(),
        ),
        Reason::NotBlind { rebuilder } => (
            "not-blind",
            format!("{rebuilder} could have copied"),
            "Only rebuilders count that committed themselves to their answers before any of them was told."
                .to_owned(),
            "Try the build again: then all commit themselves anew.".to_owned(),
        ),
        Reason::PlainMissing => (
            "plain-missing",
            "Nobody rebuilt it plainly".to_owned(),
            "One of the rebuilds that count must vary nothing on purpose.".to_owned(),
            "Let a rebuilder offer the profile `plain`, and try the build again.".to_owned(),
        ),
        Reason::Flaky { rebuilder, have, want } => (
            "flaky",
            "It does not come out the same each time".to_owned(),
            format!("{rebuilder} confirmed it in {have} of {want} runs."),
            "Each rebuilder is asked to make it so often, without a miss. Better: find what varies, with \
             `hallmark-rebuilder bisect`."
                .to_owned(),
        ),
        Reason::LogProofsMissing => (
            "log-proofs-missing",
            "The signer was not shown that the evidence is in the log".to_owned(),
            "The policy wants every statement that counts in the transparency log.".to_owned(),
            "Update the server to the signer's version, and try the build again.".to_owned(),
        ),
        Reason::NotInLog { .. } => (
            "not-in-log",
            "A statement that counts is not in the log".to_owned(),
            reason.to_string(),
            "Try the build again: the server adds what is missing first. If it stays, compare the server's policy \
             with the signer's."
                .to_owned(),
        ),
        Reason::LogHeadUnknown { .. } => (
            "log-head-unknown",
            "The signer has not signed the head of the log that was shown to it".to_owned(),
            reason.to_string(),
            "Try the build again. If it stays, server and signer have different logs: one was put back from an \
             older copy."
                .to_owned(),
        ),
        Reason::LogNotWitnessed { .. } => (
            "log-not-witnessed",
            "Too few witnesses have seen the head of the log".to_owned(),
            reason.to_string(),
            "See which witnesses do not answer on the page of the log, and try the build again.".to_owned(),
        ),
        Reason::SignaturesUnlogged { .. } => (
            "signatures-unlogged",
            "The signer waits to see its own signatures in the log".to_owned(),
            reason.to_string(),
            "The server shows them every minute; the build goes on by itself. If it stays, see whether the log \
             advances and its witnesses answer, and whether the server is older than the signer."
                .to_owned(),
        ),
        Reason::RejectedByOperator { reason } => (
            "rejected-by-operator",
            "An operator turned it away".to_owned(),
            reason.clone(),
            "Publish another build with a higher release.".to_owned(),
        ),
        Reason::RebuildDiffers { rebuilder, verdict, causes } => {
            return differing(*verdict, &[(rebuilder, causes)]);
        }
    };
    Why {
        code,
        title,
        text,
        next,
        causes: Vec::new(),
    }
}

/// One explanation for all rebuilds in `reasons` that ended with `verdict`.
fn differs(verdict: Verdict, reasons: &[Reason]) -> Why {
    let found: Vec<_> = reasons
        .iter()
        .filter_map(|reason| match reason {
            Reason::RebuildDiffers {
                rebuilder,
                verdict: other,
                causes,
            } if *other == verdict => Some((rebuilder, causes)),
            _ => None,
        })
        .collect();
    differing(verdict, &found)
}

fn differing(verdict: Verdict, found: &[(&WorkerName, &Vec<Cause>)]) -> Why {
    let mut names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut causes: Vec<WhyCause> = Vec::new();
    for (rebuilder, list) in found {
        for cause in *list {
            merge(&mut causes, rebuilder, cause);
        }
    }
    for detail in causes.iter_mut().flat_map(|cause| &mut cause.details) {
        let seen_by: Vec<_> = detail.rebuilders.iter().map(WorkerName::as_str).collect();
        detail.by = listed(&seen_by);
    }
    let next = if causes.is_empty() {
        "No known cause fits. Compare the rebuilt files with the uploaded ones; the statements and logs are in the evidence below."
    } else {
        "Cure the causes in the package or the build, then upload a build with a higher release."
    };
    Why {
        code: "rebuild-differs",
        title: format!("Rebuilt by {}, it came out different", listed(&names)),
        text: verdict_sentence(verdict).to_owned(),
        next: next.to_owned(),
        causes,
    }
}

fn merge(causes: &mut Vec<WhyCause>, rebuilder: &WorkerName, cause: &Cause) {
    let same = |c: &WhyCause| {
        c.code == cause.code && c.file == cause.file && c.tag == cause.tag && c.hint == cause.hint
    };
    let at = causes.iter().position(same).unwrap_or_else(|| {
        causes.push(WhyCause {
            code: cause.code.clone(),
            file: cause.file.clone(),
            tag: cause.tag.clone(),
            hint: cause.hint.clone(),
            details: Vec::new(),
        });
        causes.len() - 1
    });
    let details = &mut causes[at].details;
    match details
        .iter_mut()
        .find(|detail| detail.seen == cause.detail)
    {
        Some(detail) if detail.rebuilders.contains(rebuilder) => {}
        Some(detail) => detail.rebuilders.push(rebuilder.clone()),
        None => details.push(Detail {
            seen: cause.detail.clone(),
            by: String::new(),
            rebuilders: vec![rebuilder.clone()],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(code: &str, detail: &str) -> Cause {
        Cause {
            code: code.to_owned(),
            file: Some("/usr/bin/x".to_owned()),
            tag: None,
            detail: detail.to_owned(),
            hint: "use SOURCE_DATE_EPOCH".to_owned(),
        }
    }

    fn differs(who: &str, causes: Vec<Cause>) -> Reason {
        Reason::RebuildDiffers {
            rebuilder: who.parse().unwrap(),
            verdict: Verdict::Differs,
            causes,
        }
    }

    #[test]
    fn rebuilders_that_saw_the_same_cause_are_named_together() {
        let reasons = [
            differs("a", vec![cause("clock", "10:01"), cause("host", "x")]),
            differs("b", vec![cause("clock", "10:02"), cause("host", "x")]),
            differs("a", vec![cause("clock", "10:01")]),
            Reason::RebuildsMissing { have: 0, want: 2 },
            Reason::RebuildsMissing { have: 0, want: 2 },
        ];
        let why = explain(&reasons);
        assert_eq!(why.len(), 2);
        assert_eq!(why[0].title, "Rebuilt by a and b, it came out different");
        let seen: Vec<_> = why[0]
            .causes
            .iter()
            .flat_map(|c| {
                c.details
                    .iter()
                    .map(|d| (c.code.as_str(), d.seen.as_str(), d.by.as_str()))
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("clock", "10:01", "a"),
                ("clock", "10:02", "b"),
                ("host", "x", "a and b")
            ]
        );
        assert_eq!(why[1].code, "rebuilds-missing");
    }

    #[test]
    fn every_reason_says_what_is_the_matter_and_what_comes_next() {
        let rebuilder: WorkerName = "a".parse().unwrap();
        let reasons = [
            Reason::Lint {
                finding: "no-digest".into(),
                message: "only MD5".into(),
            },
            Reason::Revoked {
                reason: "stolen key".into(),
            },
            Reason::SbomMissing {
                format: "spdx-2.3".into(),
            },
            Reason::ProvenanceMissing,
            Reason::RebuildsMissing { have: 1, want: 2 },
            Reason::OperatorsMissing { have: 1, want: 2 },
            Reason::BuildFailed { rebuilder },
            differs("a", vec![]),
        ];
        let why = explain(&reasons);
        assert_eq!(why.len(), reasons.len());
        for one in &why {
            assert!(
                !one.title.is_empty() && !one.next.is_empty(),
                "{}",
                one.code
            );
        }
        assert_eq!(why[2].title, "The SPDX 2.3 SBOM is missing");
        assert!(why[0].text.contains("only MD5") && why[1].text.contains("stolen key"));
        assert!(why[7].next.starts_with("No known cause"));
    }
}
