//! A step of a build's way from upload to release: its state, the mark that stands for it, and what
//! there is to show about it.

use crate::pages::Command;
use crate::text::{Chip, Tone, When};
use crate::url;
use repo_model::FileDigest;

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum State {
    /// Done and good.
    Struck,
    /// Being done.
    Now,
    /// Its turn has not come.
    #[default]
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

    pub fn tone(self) -> Tone {
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
#[derive(Default)]
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
    /// What checks it.
    pub check: Option<Command>,
}

impl Step {
    /// The state as a chip.
    pub fn chip(&self) -> Chip {
        Chip {
            tone: self.state.tone(),
            words: self.short.clone(),
        }
    }

    /// Outline of its mark in a 48 x 48 box; each step has a shape of its own.
    pub fn outline(&self) -> &'static str {
        shape(self.id).0
    }

    /// What is struck inside the outline; a judgement that went wrong must not look like a tick.
    pub fn device(&self) -> &'static str {
        match (self.id, self.state) {
            ("judged", State::Stopped) => "M20 17v14M28 17v14",
            (_, State::Refused) => "M18 18l12 12M30 18l-12 12",
            _ => shape(self.id).1,
        }
    }
}

fn shape(id: &str) -> (&'static str, &'static str) {
    match id {
        "received" => (
            "M15 4h18l11 11v18L33 44H15L4 33V15z",
            "M24 14v14m-6-5.5 6 6 6-6M16 34h16",
        ),
        "sboms" => (
            "M12 4h24a7 7 0 0 1 7 7v26a7 7 0 0 1-7 7H12a7 7 0 0 1-7-7V11a7 7 0 0 1 7-7z",
            "M16 16h16M16 24h16M16 32h10",
        ),
        "rebuilt" => ("M24 3.5a20.5 20.5 0 1 0 .01 0z", "M15 20h18M15 28h18"),
        "judged" => ("M24 2.5 44.5 24 24 45.5 3.5 24z", "M16.5 24.5l5 5.5 10-11"),
        "signed" => (
            "M24 3.5l18 5V23c0 10-7.5 17-18 21.5C13.5 40 6 33 6 23V8.5z",
            "M18 15v17M30 15v17M18 23.5h12",
        ),
        _ => (
            "M7 44V20.5a17 17 0 0 1 34 0V44z",
            "M24 35V19m-6.5 6.5 6.5-6.5 6.5 6.5",
        ),
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
    pub fn new(label: impl Into<String>, digest: FileDigest) -> Self {
        Self {
            label: label.into(),
            href: url::evidence(digest),
            digest: digest.to_hex(),
        }
    }
}

/// One rebuilder in the timeline.
pub(crate) struct RebuildRow {
    pub rebuilder: String,
    pub operator: String,
    pub chip: Chip,
    pub note: String,
    /// Challenge profile, once given.
    pub profile: Option<String>,
    pub causes: Vec<String>,
    pub last_error: Option<String>,
    pub documents: Vec<Documents>,
}

/// Every mark struck: a picture of what a published build went through.
pub(crate) fn exemplar() -> Vec<Step> {
    let step = |id, label, short: &str| Step {
        id,
        label,
        state: State::Struck,
        short: short.to_owned(),
        note: String::new(),
        ..Step::default()
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
