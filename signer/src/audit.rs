//! Looking into the journal: one record, or one decision made again.

use crate::output;
use anyhow::{Context as _, bail, ensure};
use hallmark_signer::index::Index;
use hallmark_signer::journal::{self, Event, Record};
use repo_model::dsse::Envelope;
use repo_model::policy::{Decision, Evidence, Judgement, Policy, judge};
use repo_model::rpm::{Head, Package};
use repo_model::wire::signer::Request;
use repo_model::{FileDigest, RepoName, Timestamp};
use std::path::Path;

/// Prints the record `seq`.
pub fn show(journal: &Path, seq: u64) -> anyhow::Result<()> {
    let mut found = None;
    journal::read(journal, |record| {
        if record.seq == seq {
            found = Some(record.clone());
        }
    })?;
    let record = found.with_context(|| format!("{} has no record {seq}", journal.display()))?;
    output::line(&serde_json::to_string_pretty(&record)?)
}

/// What was decided about a package, in a form that can be compared.
fn decided(event: &Event) -> Option<(FileDigest, FileDigest, Outcome)> {
    match event {
        Event::PackageSigned {
            request,
            policy,
            inputs,
            confirmed_by,
            ..
        } => {
            let confirmed_by = confirmed_by.iter().map(|(name, _)| name.to_string());
            let outcome = Outcome {
                decision: "release",
                details: confirmed_by.collect(),
                inputs: Some(inputs.clone()),
            };
            Some((*request, *policy, outcome))
        }
        Event::PackageRefused {
            request,
            policy,
            held,
            reasons,
            ..
        } => {
            let outcome = Outcome {
                decision: if *held { "hold" } else { "reject" },
                details: reasons.iter().map(ToString::to_string).collect(),
                inputs: None,
            };
            Some((*request, *policy, outcome))
        }
        Event::Started { .. }
        | Event::PolicyRead { .. }
        | Event::KeyChanged { .. }
        | Event::LimitReached { .. }
        | Event::FileSigned { .. }
        | Event::FileRefused { .. }
        | Event::CheckpointSigned { .. }
        | Event::FreshnessSigned { .. }
        | Event::FreshnessRefused { .. }
        | Event::CheckpointRefused { .. }
        | Event::Announced { .. }
        | Event::ReleaseSigned { .. }
        | Event::ReleaseRefused { .. } => None,
    }
}

#[derive(Debug)]
struct Outcome {
    decision: &'static str,
    /// Who confirmed it, or why not.
    details: Vec<String>,
    /// What counted; a refusal does not record it.
    inputs: Option<Vec<FileDigest>>,
}

impl Outcome {
    fn of(judgement: &Judgement) -> Self {
        let words = |reasons: &[repo_model::policy::Reason]| {
            let reasons = journal::recorded(reasons);
            reasons.iter().map(ToString::to_string).collect()
        };
        let (decision, details) = match &judgement.decision {
            Decision::Release => {
                let confirmed_by = judgement.confirmed_by.iter();
                (
                    "release",
                    confirmed_by.map(|(name, _)| name.to_string()).collect(),
                )
            }
            Decision::Hold(reasons) => ("hold", words(reasons)),
            Decision::Reject(reasons) => ("reject", words(reasons)),
        };
        Self {
            decision,
            details,
            inputs: Some(judgement.inputs.clone()),
        }
    }

    fn agrees_with(&self, other: &Self) -> bool {
        let same_inputs = match (&self.inputs, &other.inputs) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        same_inputs && self.decision == other.decision && self.details == other.details
    }

    fn in_words(&self) -> String {
        format!("{}: {}", self.decision, self.details.join("; "))
    }
}

/// Judges the request in `request` again and compares with every record of it.
pub fn replay(journal: &Path, policy: &Path, request: &Path) -> anyhow::Result<()> {
    let read = |path: &Path| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (json, policy_bytes) = (read(request)?, read(policy)?);
    let digest = FileDigest::of(&json);
    let policy_text = std::str::from_utf8(&policy_bytes).context("the policy is not UTF-8")?;
    let parsed = Policy::from_toml(policy_text)?;
    let policy_digest = FileDigest::of(&policy_bytes);

    let asked = Asked::read(&json)?;
    let mut index = Index::default();
    let mut records: Vec<(Record, Outcome)> = Vec::new();
    journal::read(journal, |record| {
        if decided(&record.event).is_some_and(|(request, ..)| request == digest) {
            let outcome = asked.judged(&parsed, &index, record.time);
            records.push((record.clone(), outcome));
        }
        index.note(record);
    })?;
    ensure!(
        !records.is_empty(),
        "no record of a package request {digest}"
    );
    let mut same = true;
    for (record, now) in records {
        let Some((_, policy_then, then)) = decided(&record.event) else {
            continue;
        };
        output::line(&format!("record   {} of {}", record.seq, record.time))?;
        output::line(&format!("then     {}", then.in_words()))?;
        output::line(&format!("again    {}", now.in_words()))?;
        if policy_then != policy_digest {
            output::note(&format!("that was under another policy, {policy_then}"));
        }
        same &= then.agrees_with(&now);
    }
    ensure!(same, "the decisions differ");
    Ok(())
}

/// A request to sign a package, read.
struct Asked {
    repo: Option<RepoName>,
    head: Head,
    envelopes: Vec<Envelope>,
    sboms: Vec<Vec<u8>>,
}

impl Asked {
    fn read(json: &[u8]) -> anyhow::Result<Self> {
        let Request::SignPackage {
            repo,
            head,
            envelopes,
            sboms,
        } = serde_json::from_slice(json).context("not a request")?
        else {
            bail!("not a request to sign a package");
        };
        Ok(Self {
            repo,
            head: Head::parse(&head.0).context("the package's head")?,
            envelopes,
            sboms: sboms.into_iter().map(|sbom| sbom.0).collect(),
        })
    }

    /// The decision at `time` by a signer that remembers what `index` does.
    fn judged(&self, policy: &Policy, index: &Index, time: Timestamp) -> Outcome {
        let evidence = Evidence {
            head: &self.head,
            envelopes: &self.envelopes,
            sboms: &self.sboms,
        };
        let mut judgement = judge(policy, &evidence, time);
        if judgement.decision == Decision::Release
            && let Ok(package) = Package::from_head(&self.head)
            && let Some(reason) = {
                let (repo, header) = (self.repo.as_ref(), package.header_digest);
                index.objection(policy, repo, &package.nevra, header)
            }
        {
            let mut hold = vec![reason];
            let header = package.header_digest;
            judgement.set_aside(policy, &self.envelopes, header, time, &mut hold);
            if !hold.is_empty() {
                judgement.decision = Decision::Hold(hold);
            }
        }
        Outcome::of(&judgement)
    }
}
