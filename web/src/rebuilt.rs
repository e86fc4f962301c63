//! The step in which rebuilders speak: how far it is, and a card for each of them with what it found and
//! attached.

use crate::marks::{Document, Documents, RebuildRow, State, Step};
use crate::pages::Agreement;
use crate::text::{Chip, Tone, agreement, counted, verdict_chip, verdict_sentence};
use crate::timeline::{by_package, gate_passed};
use repo_model::policy::Reason;
use repo_model::stage::Stage;
use repo_model::wire::status::{BuildStatus, EvidenceLink, RebuildStatus};

/// How far rebuilding is, from what a line about a build tells.
fn rebuilt_state(stage: &Stage, agreement: Agreement) -> State {
    let short_of_rebuilds = stage.reasons().iter().any(Reason::is_about_rebuilds);
    if gate_passed(stage) || agreement.is_unanimous() {
        State::Struck
    } else if agreement.objecting > 0 || short_of_rebuilds {
        State::Stopped
    } else if matches!(stage, Stage::Received) {
        State::Now
    } else {
        State::Blank
    }
}

/// The step.
pub(crate) fn rebuilt(build: &BuildStatus) -> Step {
    let agreement = agreement(build);
    let state = rebuilt_state(&build.stage, agreement);
    let Agreement {
        confirmed,
        rebuilders: all,
        ..
    } = agreement;
    let short = agreement.short();
    let note = if all == 0 {
        "No rebuilder has taken the job yet.".to_owned()
    } else {
        format!(
            "{confirmed} of {} made the same bytes from the same source.",
            counted(all, "rebuilder", "rebuilders")
        )
    };
    let known = |label: &str| {
        build
            .rebuilds
            .iter()
            .any(|rebuild| rebuild.rebuilder.as_str() == label)
    };
    Step {
        id: "rebuilt",
        label: "Rebuilt",
        state,
        short,
        note,
        documents: by_package(build, |link| {
            (link.kind == "rebuild" && !known(&link.label))
                .then(|| format!("statement of {}", link.label))
        }),
        rebuilds: build
            .rebuilds
            .iter()
            .map(|rebuild| rebuild_row(build, rebuild))
            .collect(),
        ..Step::default()
    }
}

fn rebuild_row(build: &BuildStatus, rebuild: &RebuildStatus) -> RebuildRow {
    let (chip, note) = match rebuild.verdict {
        Some(verdict) => (verdict_chip(verdict), verdict_sentence(verdict).to_owned()),
        None => {
            let tone = match rebuild.state.as_str() {
                "leased" | "revealing" => Tone::Busy,
                "failed" => Tone::Warn,
                _ => Tone::Idle,
            };
            let note = match rebuild.state.as_str() {
                "leased" => "It is being rebuilt now.",
                "committed" => "It has an answer, which is told when the others have theirs.",
                "revealing" => "It is telling its answer.",
                "waiting" => "Waiting for this rebuilder.",
                "failed" => "This rebuilder gave up.",
                _ => "No verdict.",
            };
            (
                Chip {
                    tone,
                    words: rebuild.state.clone(),
                },
                note.to_owned(),
            )
        }
    };
    let tries = if rebuild.attempt > 1 {
        format!(" {} tries.", rebuild.attempt)
    } else {
        String::new()
    };
    let mut documents = by_package(build, |link| {
        (link.kind == "rebuild" && link.label == rebuild.rebuilder.as_str())
            .then(|| "signed statement".to_owned())
    });
    documents.extend(sealed(build, rebuild));
    documents.extend(attached(build, rebuild));
    // Held and rejected builds tell the causes in full at the top of the page.
    let told = build.stage.reasons().iter().any(|reason| {
        matches!(reason, Reason::RebuildDiffers { rebuilder, .. } if *rebuilder == rebuild.rebuilder)
    });
    let mut causes = Vec::new();
    if !told {
        for cause in &rebuild.causes {
            let place = cause
                .file
                .as_ref()
                .or(cause.tag.as_ref())
                .map(|place| format!(" in {place}"));
            let line = format!(
                "{}{}: {}",
                cause.code,
                place.unwrap_or_default(),
                cause.detail
            );
            if !causes.contains(&line) {
                causes.push(line);
            }
        }
    }
    RebuildRow {
        rebuilder: rebuild.rebuilder.to_string(),
        operator: rebuild.operator.to_string(),
        chip,
        note: note + &tries,
        profile: rebuild.profile.clone(),
        causes,
        last_error: rebuild.last_error.clone(),
        documents,
    }
}

/// A rebuilder's commitments and reveals: of the whole build, so every package has the same.
fn sealed(build: &BuildStatus, rebuild: &RebuildStatus) -> Option<Documents> {
    let mine = |link: &&EvidenceLink| {
        matches!(link.kind.as_str(), "commitment" | "reveal")
            && link.label == rebuild.rebuilder.as_str()
    };
    let links: Vec<_> = build
        .packages
        .first()?
        .evidence
        .iter()
        .filter(mine)
        .map(|link| Document::new(link.kind.clone(), link.digest))
        .collect();
    (!links.is_empty()).then_some(Documents {
        package: None,
        links,
    })
}

/// What a rebuilder attached: its log, its comparison, reports on differences.
fn attached(build: &BuildStatus, rebuild: &RebuildStatus) -> Option<Documents> {
    let mut links = Vec::new();
    links.extend(rebuild.log.map(|log| Document::new("build log", log)));
    for document in &build.documents {
        let Some(name) = attachment_of(document, rebuild.rebuilder.as_str()) else {
            continue;
        };
        if rebuild.log != Some(document.digest) {
            links.push(Document::new(name, document.digest));
        }
    }
    (!links.is_empty()).then_some(Documents {
        package: None,
        links,
    })
}

/// File name of what this rebuilder attached.
pub(crate) fn attachment_of<'a>(link: &'a EvidenceLink, rebuilder: &str) -> Option<&'a str> {
    let name = link.label.strip_prefix(rebuilder)?.strip_prefix(": ")?;
    (link.kind == "attachment").then_some(name)
}

/// The chip of a build's agreement: `2 of 2`.
pub(crate) fn agreement_chip(stage: &Stage, agreement: Agreement) -> Chip {
    let tone = match agreement.is_unanimous() {
        true => Tone::Good,
        false => rebuilt_state(stage, agreement).tone(),
    };
    Chip {
        tone,
        words: agreement.short(),
    }
}
