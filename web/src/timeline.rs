//! The six steps from upload to release of one build, with the documents of each: the row of marks
//! at the top of a build's page and its evidence timeline are both made from these.

use crate::marks::{Document, Documents, State, Step};
use crate::rebuilt::rebuilt;
use crate::text::{counted, format_name};
use crate::url;
use repo_model::policy::Reason;
use repo_model::stage::Stage;
use repo_model::wire::status::{BuildStatus, EvidenceLink, PackageStatus};

/// The steps of `build`, in order.
pub(crate) fn steps(build: &BuildStatus) -> Vec<Step> {
    vec![
        received(build),
        sboms(build),
        rebuilt(build),
        judged(build),
        signed(build),
        published(build),
    ]
}

fn received(build: &BuildStatus) -> Step {
    let mut own = vec![Document::new("buildinfo", build.buildinfo)];
    own.extend(
        build
            .provenance
            .map(|digest| Document::new("provenance", digest)),
    );
    let mut documents = vec![Documents {
        package: None,
        links: own,
    }];
    documents.extend(by_package(build, |link| {
        (link.kind == "provenance" && build.provenance != Some(link.digest))
            .then(|| format!("provenance {}", link.label))
    }));
    // Kinds this version does not know are shown, not hidden.
    const KNOWN: [&str; 13] = [
        "sbom",
        "sbom-statement",
        "release-statement",
        "sigstore-bundle",
        "log-proof",
        "evidence-pack",
        "provenance",
        "commitment",
        "reveal",
        "rebuild",
        "verification-summary",
        "detached-signature",
        "waiver",
    ];
    documents.extend(by_package(build, |link| {
        (!KNOWN.contains(&link.kind.as_str())).then(|| format!("{} {}", link.kind, link.label))
    }));
    let packages = counted(build.packages.len() as u64, "package", "packages");
    Step {
        id: "received",
        label: "Received",
        state: State::Struck,
        short: packages.clone(),
        note: format!(
            "{packages} built from {}. The buildinfo names all it takes to build them again.",
            build.source
        ),
        at: Some(build.received_at.into()),
        documents,
        ..Step::default()
    }
}

fn sboms(build: &BuildStatus) -> Step {
    let mut documents = by_package(build, |link| {
        (link.kind == "sbom").then(|| format_name(&link.label))
    });
    let made: usize = documents.iter().map(|group| group.links.len()).sum();
    let packages = documents.len();
    if !matches!(build.stage, Stage::Published { .. }) {
        // What is in them is not public yet.
        documents.clear();
    }
    let vouched = by_package(build, |link| {
        (link.kind == "sbom-statement").then(|| "signed statement about them".to_owned())
    });
    let documents: Vec<_> = documents.into_iter().chain(vouched).collect();
    let missing = build
        .stage
        .reasons()
        .iter()
        .any(|reason| matches!(reason, Reason::SbomMissing { .. }));
    let (state, short) = if missing {
        (State::Stopped, "missing".to_owned())
    } else if made > 0 && packages == build.packages.len() {
        (State::Struck, counted(made as u64, "document", "documents"))
    } else if gate_passed(&build.stage) {
        (State::Blank, "none".to_owned())
    } else if matches!(build.stage, Stage::Received) {
        (State::Now, "being made".to_owned())
    } else {
        (State::Blank, "not complete".to_owned())
    };
    let note =
        "What each package is made of: files, sources, licences and bundled parts.".to_owned();
    Step {
        id: "sboms",
        label: "SBOMs",
        state,
        short,
        note,
        documents,
        ..Step::default()
    }
}

const WAIVED: &str = "The evidence does not satisfy the policy. Two people let it go out all the same; their waiver says what they set aside, why, and until when.";

fn judged(build: &BuildStatus) -> Step {
    let (state, short, note) = match &build.stage {
        Stage::Received => (
            State::Blank,
            "waiting",
            "The policy looks at it when the evidence is complete.",
        ),
        Stage::Held { .. } => (
            State::Stopped,
            "held",
            "The policy does not let it go out as things are; everything is kept.",
        ),
        Stage::Rejected { .. } => (
            State::Refused,
            "rejected",
            "The policy will never let these bytes go out.",
        ),
        Stage::Approved => (
            State::Struck,
            "approved",
            "The policy lets it go out. Before it signs, the signer judges the raw evidence again.",
        ),
        Stage::Signed | Stage::Published { .. } => (
            State::Struck,
            "approved",
            "The server and the signer each judged the raw evidence and let it go out.",
        ),
    };
    let mut documents = by_package(build, |link| {
        (link.kind == "waiver").then(|| format!("waiver of {}", link.label))
    });
    let waived = !documents.is_empty() && state == State::Struck;
    documents.extend(by_package(build, |link| {
        match (link.kind.as_str(), link.label.as_str()) {
            ("verification-summary", _) => Some("verification summary".to_owned()),
            ("sigstore-bundle", "slsa-vsa-v1") => Some("Sigstore bundle of it".to_owned()),
            ("log-proof", "slsa-vsa-v1") => Some("proof that it is in the log".to_owned()),
            _ => None,
        }
    }));
    let (short, note) = match waived {
        true => ("waived", WAIVED),
        false => (short, note),
    };
    Step {
        id: "judged",
        label: "Judged",
        state,
        short: short.to_owned(),
        note: note.to_owned(),
        documents,
        ..Step::default()
    }
}

fn signed(build: &BuildStatus) -> Step {
    let (state, short, note) = match &build.stage {
        Stage::Signed | Stage::Published { .. } => (
            State::Struck,
            "signed",
            "The header of every package carries the repository's OpenPGP signature, which rpm and DNF check.",
        ),
        Stage::Approved => (
            State::Now,
            "being signed",
            "The signer is judging the evidence again, then signs.",
        ),
        Stage::Received | Stage::Held { .. } | Stage::Rejected { .. } => (
            State::Blank,
            "not signed",
            "Nothing is signed before the policy lets it go out.",
        ),
    };
    Step {
        id: "signed",
        label: "Signed",
        state,
        short: short.to_owned(),
        note: note.to_owned(),
        documents: by_package(build, |link| {
            match (link.kind.as_str(), link.label.as_str()) {
                ("detached-signature", "openpgp-pqc") => Some("post-quantum signature".to_owned()),
                ("detached-signature", _) => Some("detached signature".to_owned()),
                _ => None,
            }
        }),
        ..Step::default()
    }
}

fn published(build: &BuildStatus) -> Step {
    let (state, short, note, at, link) = match &build.stage {
        Stage::Published { release } => (
            State::Struck,
            format!("release {release}"),
            "First published in",
            Some(build.changed_at.into()),
            Some((format!("release {release}"), url::release(*release))),
        ),
        Stage::Signed => (
            State::Now,
            "next release".to_owned(),
            "Waiting for the next release.",
            None,
            None,
        ),
        Stage::Received | Stage::Approved | Stage::Held { .. } | Stage::Rejected { .. } => (
            State::Blank,
            "not published".to_owned(),
            "In no release; no client can install it.",
            None,
            None,
        ),
    };
    Step {
        id: "published",
        label: "Published",
        state,
        short,
        note: note.to_owned(),
        at,
        link,
        documents: by_package(build, |link| {
            match (link.kind.as_str(), link.label.as_str()) {
                ("release-statement", _) => Some("release statement".to_owned()),
                ("evidence-pack", _) => Some("all evidence in one file".to_owned()),
                ("sigstore-bundle", label) if label != "slsa-vsa-v1" => {
                    Some("Sigstore bundle of it".to_owned())
                }
                ("log-proof", label) if label != "slsa-vsa-v1" => {
                    Some("proof that it is in the log".to_owned())
                }
                _ => None,
            }
        }),
        ..Step::default()
    }
}

pub(crate) fn gate_passed(stage: &Stage) -> bool {
    matches!(
        stage,
        Stage::Approved | Stage::Signed | Stage::Published { .. }
    )
}

/// The documents that `label` has a name for, package by package.
pub(crate) fn by_package(
    build: &BuildStatus,
    label: impl Fn(&EvidenceLink) -> Option<String>,
) -> Vec<Documents> {
    let of = |package: &PackageStatus| -> Vec<Document> {
        package
            .evidence
            .iter()
            .filter_map(|link| Some(Document::new(label(link)?, link.digest)))
            .collect()
    };
    build
        .packages
        .iter()
        .map(|package| Documents {
            package: Some(package.nevra.to_string()),
            links: of(package),
        })
        .filter(|group| !group.links.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marks::State::{Blank, Now, Refused, Stopped, Struck};
    use repo_model::verdict::Verdict;
    use repo_model::wire::status::RebuildStatus;
    use repo_model::{FileDigest, ReleaseId, Timestamp};

    fn build(stage: Stage, verdicts: [Option<Verdict>; 2]) -> BuildStatus {
        let rebuild = |verdict| RebuildStatus {
            rebuilder: "a".parse().unwrap(),
            operator: "b".parse().unwrap(),
            state: "done".to_owned(),
            attempt: 1,
            profile: None,
            verdict,
            causes: Vec::new(),
            last_error: None,
            log: None,
        };
        BuildStatus {
            build: 1,
            repo: "base".parse().unwrap(),
            source: "a-1-1.src".parse().unwrap(),
            source_file: FileDigest::of(b"source"),
            buildinfo: FileDigest::of(b"buildinfo"),
            provenance: None,
            stage,
            received_at: Timestamp::default(),
            changed_at: Timestamp::default(),
            packages: Vec::new(),
            rebuilds: verdicts.map(rebuild).to_vec(),
            waits_for: Vec::new(),
            jobs: Vec::new(),
            documents: Vec::new(),
        }
    }

    #[test]
    fn the_marks_tell_how_far_a_build_is_and_what_stopped_it() {
        let missing = || vec![Reason::RebuildsMissing { have: 1, want: 2 }];
        let no_sbom = || {
            vec![Reason::SbomMissing {
                format: "spdx-2.3".to_owned(),
            }]
        };
        let revoked = || {
            vec![Reason::Revoked {
                reason: "withdrawn".to_owned(),
            }]
        };
        let (same, other) = (Some(Verdict::Identical), Some(Verdict::Differs));
        let table = [
            (
                Stage::Received,
                [None, same],
                [Struck, Now, Now, Blank, Blank, Blank],
            ),
            (
                Stage::Received,
                [other, same],
                [Struck, Now, Stopped, Blank, Blank, Blank],
            ),
            (
                Stage::Received,
                [same, same],
                [Struck, Now, Struck, Blank, Blank, Blank],
            ),
            (
                Stage::Approved,
                [same, same],
                [Struck, Blank, Struck, Struck, Now, Blank],
            ),
            (
                Stage::Signed,
                [same, same],
                [Struck, Blank, Struck, Struck, Struck, Now],
            ),
            (
                Stage::Published {
                    release: ReleaseId(3),
                },
                [same, other],
                [Struck, Blank, Struck, Struck, Struck, Struck],
            ),
            (
                Stage::Held { reasons: missing() },
                [same, other],
                [Struck, Blank, Stopped, Stopped, Blank, Blank],
            ),
            (
                Stage::Held { reasons: no_sbom() },
                [same, same],
                [Struck, Stopped, Struck, Stopped, Blank, Blank],
            ),
            (
                Stage::Rejected { reasons: revoked() },
                [same, None],
                [Struck, Blank, Blank, Refused, Blank, Blank],
            ),
        ];
        for (stage, verdicts, want) in table {
            let build = build(stage, verdicts);
            let states: Vec<_> = steps(&build).iter().map(|step| step.state).collect();
            assert_eq!(states, want, "{:?} {verdicts:?}", build.stage);
        }
    }
}
