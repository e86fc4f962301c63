//! The six steps from upload to release of one build, with the documents of each: the row of marks
//! at the top of a build's page and its evidence timeline are both made from these.

use crate::text::{self, Chip, Tone, When, agreement, counted, format_name, verdict_chip, verdict_sentence};
use crate::url;
use repo_model::FileDigest;
use repo_model::policy::Reason;
use repo_model::stage::Stage;
use repo_model::verdict::Verdict;
use repo_model::wire::status::{BuildStatus, EvidenceLink, PackageStatus, RebuildStatus};

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Done and good.
    Struck,
    /// Being done.
    Now,
    /// Its turn has not come.
    Blank,
    /// It keeps the build from going on.
    Stopped,
    /// It ended the build.
    Refused,
}

impl State {
    /// Class name.
    pub fn class(self) -> &'static str {
        match self {
            Self::Struck => "struck",
            Self::Now => "now",
            Self::Blank => "blank",
            Self::Stopped => "stopped",
            Self::Refused => "refused",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Self::Struck => Tone::Good,
            Self::Now => Tone::Busy,
            Self::Blank => Tone::Idle,
            Self::Stopped => Tone::Warn,
            Self::Refused => Tone::Bad,
        }
    }
}

/// One step.
pub(crate) struct Step {
    /// Anchor on the page.
    pub id: &'static str,
    /// One word.
    pub label: &'static str,
    pub state: State,
    /// A few words under the mark: `2 of 2`, `release 12`.
    pub short: String,
    /// What happened, as sentences.
    pub note: String,
    pub at: Option<When>,
    /// Link of the note: text and address.
    pub link: Option<(String, String)>,
    pub documents: Vec<Documents>,
    pub rebuilds: Vec<RebuildRow>,
}

impl Step {
    /// The state as a chip.
    pub fn chip(&self) -> Chip {
        Chip { tone: self.state.tone(), words: self.short.clone() }
    }

    /// Outline of its mark in a 48 x 48 box; each step has a shape of its own.
    pub fn outline(&self) -> &'static str {
        shape(self.id).0
    }

    /// What is struck inside the outline.
    pub fn device(&self) -> &'static str {
        shape(self.id).1
    }
}

fn shape(id: &str) -> (&'static str, &'static str) {
    match id {
        "received" => ("M15 4h18l11 11v18L33 44H15L4 33V15z", "M24 14v14m-6-5.5 6 6 6-6M16 34h16"),
        "sboms" => (
            "M12 4h24a7 7 0 0 1 7 7v26a7 7 0 0 1-7 7H12a7 7 0 0 1-7-7V11a7 7 0 0 1 7-7z",
            "M16 16h16M16 24h16M16 32h10",
        ),
        "rebuilt" => ("M24 3.5a20.5 20.5 0 1 0 .01 0z", "M15 20h18M15 28h18"),
        "judged" => ("M24 2.5 44.5 24 24 45.5 3.5 24z", "M16.5 24.5l5 5.5 10-11"),
        "signed" => ("M24 3.5l18 5V23c0 10-7.5 17-18 21.5C13.5 40 6 33 6 23V8.5z", "M18 15v17M30 15v17M18 23.5h12"),
        _ => ("M7 44V20.5a17 17 0 0 1 34 0V44z", "M24 35V19m-6.5 6.5 6.5-6.5 6.5 6.5"),
    }
}

/// Documents about one package, or about the whole build when `package` is none.
pub(crate) struct Documents {
    pub package: Option<String>,
    pub links: Vec<Document>,
}

/// One document.
pub(crate) struct Document {
    pub label: String,
    pub href: String,
    pub digest: String,
}

impl Document {
    fn new(label: impl Into<String>, digest: FileDigest) -> Self {
        Self { label: label.into(), href: url::evidence(digest), digest: digest.to_hex() }
    }
}

/// One rebuilder in the timeline.
pub(crate) struct RebuildRow {
    pub rebuilder: String,
    pub operator: String,
    pub chip: Chip,
    pub note: String,
    pub causes: Vec<String>,
    pub last_error: Option<String>,
    pub documents: Vec<Documents>,
}

/// The steps of `build`, in order.
pub(crate) fn steps(build: &BuildStatus) -> Vec<Step> {
    vec![received(build), sboms(build), rebuilt(build), judged(build), signed(build), published(build)]
}

/// Every mark struck: a picture of what a published build went through.
pub(crate) fn exemplar() -> Vec<Step> {
    let step = |id, label, short: &str| Step {
        id,
        label,
        state: State::Struck,
        short: short.to_owned(),
        note: String::new(),
        at: None,
        link: None,
        documents: Vec::new(),
        rebuilds: Vec::new(),
    };
    vec![
        step("received", "Received", "source and build recipe"),
        step("sboms", "SBOMs", "what is inside"),
        step("rebuilt", "Rebuilt", "by others, same bytes"),
        step("judged", "Judged", "by a public policy"),
        step("signed", "Signed", "only after that"),
        step("published", "Published", "with its evidence"),
    ]
}

fn received(build: &BuildStatus) -> Step {
    let mut own = vec![Document::new("buildinfo", build.buildinfo)];
    own.extend(build.provenance.map(|digest| Document::new("provenance", digest)));
    let mut documents = vec![Documents { package: None, links: own }];
    documents.extend(by_package(build, |link| {
        (link.kind == "provenance" && build.provenance != Some(link.digest))
            .then(|| format!("provenance {}", link.label))
    }));
    // Kinds this version does not know are shown, not hidden.
    const KNOWN: [&str; 5] = ["sbom", "provenance", "rebuild", "verification-summary", "detached-signature"];
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
        link: None,
        documents,
        rebuilds: Vec::new(),
    }
}

fn sboms(build: &BuildStatus) -> Step {
    let documents = by_package(build, |link| (link.kind == "sbom").then(|| format_name(&link.label)));
    let made: usize = documents.iter().map(|group| group.links.len()).sum();
    let missing = build.stage.reasons().iter().any(|reason| matches!(reason, Reason::SbomMissing { .. }));
    let (state, short) = if missing {
        (stop(build), "missing".to_owned())
    } else if made > 0 && documents.len() == build.packages.len() {
        (State::Struck, counted(made as u64, "document", "documents"))
    } else if gate_passed(build) {
        (State::Blank, "none".to_owned())
    } else if matches!(build.stage, Stage::Received) {
        (State::Now, "being made".to_owned())
    } else {
        (State::Blank, "not complete".to_owned())
    };
    let note = "What each package is made of: files, sources, licences and bundled parts.".to_owned();
    Step { id: "sboms", label: "SBOMs", state, short, note, at: None, link: None, documents, rebuilds: Vec::new() }
}

fn rebuilt(build: &BuildStatus) -> Step {
    let (confirmed, all) = agreement(build);
    let objects = |rebuild: &RebuildStatus| {
        rebuild.verdict.is_some_and(|verdict| !verdict.confirms() && verdict != Verdict::InfraFailed)
    };
    let state = if gate_passed(build) || (all > 0 && confirmed == all) {
        State::Struck
    } else if build.rebuilds.iter().any(objects) || !build.stage.reasons().is_empty() {
        stop(build)
    } else {
        State::Now
    };
    let short = if all == 0 { "not yet".to_owned() } else { format!("{confirmed} of {all}") };
    let note = if all == 0 {
        "No rebuilder has taken the job yet.".to_owned()
    } else {
        format!("{confirmed} of {} made the same bytes from the same source.", counted(all as u64, "rebuilder", "rebuilders"))
    };
    let known = |label: &str| build.rebuilds.iter().any(|rebuild| rebuild.rebuilder.as_str() == label);
    Step {
        id: "rebuilt",
        label: "Rebuilt",
        state,
        short,
        note,
        at: None,
        link: None,
        documents: by_package(build, |link| {
            (link.kind == "rebuild" && !known(&link.label)).then(|| format!("statement of {}", link.label))
        }),
        rebuilds: build.rebuilds.iter().map(|rebuild| rebuild_row(build, rebuild)).collect(),
    }
}

fn rebuild_row(build: &BuildStatus, rebuild: &RebuildStatus) -> RebuildRow {
    let (chip, note) = match rebuild.verdict {
        Some(verdict) => (verdict_chip(verdict), verdict_sentence(verdict).to_owned()),
        None => {
            let tone = match rebuild.state.as_str() {
                "leased" => Tone::Busy,
                "failed" => Tone::Warn,
                _ => Tone::Idle,
            };
            let note = match rebuild.state.as_str() {
                "leased" => "It is being rebuilt now.",
                "waiting" => "Waiting for this rebuilder.",
                "failed" => "This rebuilder gave up.",
                _ => "No verdict.",
            };
            (Chip { tone, words: rebuild.state.clone() }, note.to_owned())
        }
    };
    let tries = if rebuild.attempt > 1 { format!(" {} tries.", rebuild.attempt) } else { String::new() };
    let mut documents = by_package(build, |link| {
        (link.kind == "rebuild" && link.label == rebuild.rebuilder.as_str()).then(|| "signed statement".to_owned())
    });
    if let Some(log) = rebuild.log {
        documents.push(Documents { package: None, links: vec![Document::new("build log", log)] });
    }
    // Held and rejected builds tell the causes in full at the top of the page.
    let told = build.stage.reasons().iter().any(|reason| {
        matches!(reason, Reason::RebuildDiffers { rebuilder, .. } if *rebuilder == rebuild.rebuilder)
    });
    let mut causes = Vec::new();
    if !told {
        for cause in &rebuild.causes {
            let place = cause.file.as_ref().or(cause.tag.as_ref()).map(|place| format!(" in {place}"));
            let line = format!("{}{}: {}", cause.code, place.unwrap_or_default(), cause.detail);
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
        causes,
        last_error: rebuild.last_error.clone(),
        documents,
    }
}

fn judged(build: &BuildStatus) -> Step {
    let (state, short, note) = match &build.stage {
        Stage::Received => (State::Blank, "waiting", "The policy looks at it when the evidence is complete."),
        Stage::Held { .. } => (State::Stopped, "held", "The policy does not let it go out as things are; everything is kept."),
        Stage::Rejected { .. } => (State::Refused, "rejected", "The policy will never let these bytes go out."),
        Stage::Approved | Stage::Signed | Stage::Published { .. } => {
            (State::Struck, "approved", "The server and the signer each judged the raw evidence and let it go out.")
        }
    };
    Step {
        id: "judged",
        label: "Judged",
        state,
        short: short.to_owned(),
        note: note.to_owned(),
        at: None,
        link: None,
        documents: by_package(build, |link| {
            (link.kind == "verification-summary").then(|| "verification summary".to_owned())
        }),
        rebuilds: Vec::new(),
    }
}

fn signed(build: &BuildStatus) -> Step {
    let (state, short, note) = match &build.stage {
        Stage::Signed | Stage::Published { .. } => (
            State::Struck,
            "signed",
            "The header of every package carries the repository's OpenPGP signature, which rpm and DNF check.",
        ),
        Stage::Approved => (State::Now, "being signed", "The signer is judging the evidence again, then signs."),
        Stage::Received | Stage::Held { .. } | Stage::Rejected { .. } => {
            (State::Blank, "not signed", "Nothing is signed before the policy lets it go out.")
        }
    };
    Step {
        id: "signed",
        label: "Signed",
        state,
        short: short.to_owned(),
        note: note.to_owned(),
        at: None,
        link: None,
        documents: by_package(build, |link| {
            (link.kind == "detached-signature").then(|| "detached signature".to_owned())
        }),
        rebuilds: Vec::new(),
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
        Stage::Signed => (State::Now, "next release".to_owned(), "Waiting for the next release.", None, None),
        Stage::Received | Stage::Approved | Stage::Held { .. } | Stage::Rejected { .. } => {
            (State::Blank, "not published".to_owned(), "In no release; no client can install it.", None, None)
        }
    };
    Step {
        id: "published",
        label: "Published",
        state,
        short,
        note: note.to_owned(),
        at,
        link,
        documents: Vec::new(),
        rebuilds: Vec::new(),
    }
}

fn gate_passed(build: &BuildStatus) -> bool {
    matches!(build.stage, Stage::Approved | Stage::Signed | Stage::Published { .. })
}

/// The state of the step that is to blame.
fn stop(build: &BuildStatus) -> State {
    if matches!(build.stage, Stage::Rejected { .. }) { State::Refused } else { State::Stopped }
}

/// The documents that `label` has a name for, package by package.
fn by_package(build: &BuildStatus, label: impl Fn(&EvidenceLink) -> Option<String>) -> Vec<Documents> {
    let of = |package: &PackageStatus| -> Vec<Document> {
        package.evidence.iter().filter_map(|link| Some(Document::new(label(link)?, link.digest))).collect()
    };
    build
        .packages
        .iter()
        .map(|package| Documents { package: Some(package.nevra.to_string()), links: of(package) })
        .filter(|group| !group.links.is_empty())
        .collect()
}

/// The chip of a build's agreement: `2 of 2`.
pub(crate) fn agreement_chip(build: &BuildStatus) -> Chip {
    let step = rebuilt(build);
    let (confirmed, all) = text::agreement(build);
    let tone = if all > 0 && confirmed == all { Tone::Good } else { step.state.tone() };
    Chip { tone, words: step.short }
}
