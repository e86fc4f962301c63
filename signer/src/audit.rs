//! Looking into the journal: one record, or one decision made again.

use crate::output;
use anyhow::{Context as _, bail, ensure};
use hallmark_signer::index::Index;
use hallmark_signer::journal::{self, Event, Record};
use repo_model::dsse::Envelope;
use repo_model::log::NodeHash;
use repo_model::policy::logged::{self, Counted, Heads, LogProofs};
use repo_model::policy::{Decision, Evidence, Judgement, Policy, Reason, judge};
use repo_model::rpm::{Head, Package};
use repo_model::wire::signer::Request;
use repo_model::{FileDigest, RepoName};
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
        | Event::SightingsSigned { .. }
        | Event::SightingsRefused { .. }
        | Event::CheckpointRefused { .. }
        | Event::Announced { .. }
        | Event::SignaturesSaid { .. }
        | Event::SignaturesShown { .. }
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
            let outcome = asked.judged(&parsed, &index, record);
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
        if parsed.require_log && !asked.is_about_log(&record.event) {
            output::note("whether the evidence was in the log was not asked then, and is not now");
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
    log: Option<LogProofs>,
}

/// The signer's memory of the log. Whose log it was, the journal does not say: the root tells it apart from
/// every other.
struct Remembered<'a>(&'a Index);

impl Heads for Remembered<'_> {
    fn root(&self, size: u64) -> Option<NodeHash> {
        self.0.head(size)
    }

    fn newest(&self) -> u64 {
        self.0.last_checkpoint().map_or(0, |(size, _)| size)
    }

    fn is_origin(&self, _origin: &str) -> bool {
        true
    }
}

impl Asked {
    fn read(json: &[u8]) -> anyhow::Result<Self> {
        let Request::SignPackage {
            repo,
            head,
            envelopes,
            sboms,
            log,
        } = serde_json::from_slice(json).context("not a request")?
        else {
            bail!("not a request to sign a package");
        };
        Ok(Self {
            repo,
            head: Head::parse(&head.0).context("the package's head")?,
            envelopes,
            sboms: sboms.into_iter().map(|sbom| sbom.0).collect(),
            log,
        })
    }

    /// Whether the signer of that record looked into the log: those from before requests brought proofs did
    /// not.
    fn is_about_log(&self, event: &Event) -> bool {
        match event {
            Event::PackageSigned { log_size, .. } => log_size.is_some(),
            Event::PackageRefused { reasons, .. } => {
                self.log.is_some() || reasons.contains(&Reason::LogProofsMissing)
            }
            _ => false,
        }
    }

    /// The decision at the time of `record` by a signer that remembers what `index` does.
    fn judged(&self, policy: &Policy, index: &Index, record: &Record) -> Outcome {
        let evidence = Evidence {
            head: &self.head,
            envelopes: &self.envelopes,
            sboms: &self.sboms,
        };
        let time = record.time;
        let mut judgement = judge(policy, &evidence, time);
        if judgement.decision == Decision::Release
            && let Ok(package) = Package::from_head(&self.head)
        {
            let (repo, header) = (self.repo.as_ref(), package.header_digest);
            let objection = index.objection(policy, repo, &package.nevra, header);
            let mut hold: Vec<_> = objection.into_iter().collect();
            judgement.set_aside(policy, &self.envelopes, header, time, &mut hold);
            if self.is_about_log(&record.event) {
                let counted = Counted {
                    envelopes: &self.envelopes,
                    inputs: &judgement.inputs,
                    proofs: self.log.as_ref(),
                };
                hold.extend(logged::objections(
                    policy,
                    counted,
                    &Remembered(index),
                    time,
                ));
            }
            hold.extend(index.unlogged().overdue(policy, time));
            if !hold.is_empty() {
                judgement.decision = Decision::Hold(hold);
            }
        }
        Outcome::of(&judgement)
    }
}
