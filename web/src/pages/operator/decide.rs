//! `/operator/builds/{build}`: what an operator can do about one build.

use super::{At, Desk, Nav, TrailRow, age, tabs};
use crate::pages::{Command, Frame};
use crate::text::{Chip, When, listed, shell_word, stage_chip};
use crate::why::{Why, explain};
use crate::{RenderError, url};
use askama::Template;
use repo_model::OperatorName;
use repo_model::policy::waivers::WAIVABLE;
use repo_model::stage::Stage;
use repo_model::wire::operator::AuditLine;
use repo_model::wire::status::{BuildStatus, MAX_REASON_CHARS};

/// One build, to be decided about.
#[derive(Debug, Clone, Copy)]
pub struct DecideView<'a> {
    /// Who looks.
    pub desk: Desk<'a>,
    /// The build.
    pub build: &'a BuildStatus,
    /// Who may sign a waiver, as the policy says; two of them have to.
    pub people: &'a [OperatorName],
    /// Longest life of a waiver, days.
    pub max_waiver_days: u32,
    /// What happened to it, newest first.
    pub trail: &'a [AuditLine],
}

#[derive(Template)]
#[template(path = "operator/decide.html")]
struct Page<'a> {
    frame: Frame<'a>,
    desk: Desk<'a>,
    tabs: Vec<Nav>,
    build: &'a BuildStatus,
    href: String,
    here: String,
    stage: Chip,
    changed: When,
    age: String,
    why: Vec<Why>,
    may_retry: bool,
    may_reject: bool,
    max_reason_chars: usize,
    waiver: Option<Waiver>,
    trail: Vec<TrailRow<'a>>,
}

/// What can be waived.
struct Waiver {
    findings: Vec<String>,
    /// Findings that no waiver sets aside.
    others: String,
    people: String,
    enough_people: bool,
    max_days: u32,
    days: u32,
    sign: Command,
}

/// Renders one build, to be decided about.
pub fn decide(view: &DecideView<'_>) -> Result<String, RenderError> {
    let build = view.build;
    let (may_retry, may_reject) = match build.stage {
        Stage::Received | Stage::Held { .. } => (true, true),
        Stage::Approved => (false, true),
        Stage::Signed | Stage::Published { .. } | Stage::Rejected { .. } => (false, false),
    };
    Page {
        frame: view.desk.frame(format!("Decide about {}", build.source)),
        desk: view.desk,
        tabs: tabs(At::Elsewhere),
        build,
        href: url::build(build.build),
        here: url::operator_build(build.build),
        stage: stage_chip(&build.stage),
        changed: build.changed_at.into(),
        age: age(build.changed_at, view.desk.now),
        why: explain(build.stage.reasons()),
        may_retry,
        may_reject,
        max_reason_chars: MAX_REASON_CHARS,
        waiver: matches!(build.stage, Stage::Held { .. }).then(|| waiver(view)),
        trail: view.trail.iter().map(TrailRow::from).collect(),
    }
    .render()
}

fn waiver(view: &DecideView<'_>) -> Waiver {
    let mut codes: Vec<&str> = view
        .build
        .stage
        .reasons()
        .iter()
        .map(|r| r.code())
        .collect();
    codes.sort_unstable();
    codes.dedup();
    let (can, cannot): (Vec<_>, Vec<_>) = codes.into_iter().partition(|c| WAIVABLE.contains(c));
    let people: Vec<_> = view.people.iter().map(OperatorName::as_str).collect();
    let file = shell_word(&format!("waiver-{}.json", view.build.build));
    Waiver {
        findings: can.into_iter().map(str::to_owned).collect(),
        others: listed(&cannot),
        people: listed(&people),
        enough_people: view.people.len() >= repo_model::policy::waivers::PEOPLE,
        max_days: view.max_waiver_days,
        days: view.max_waiver_days.min(7),
        sign: Command {
            label: "Each of the two looks at it and signs, on a machine of their own".to_owned(),
            text: format!(
                "hallmark waiver sign {file} --key alice.key\nhallmark waiver sign {file} --key bob.key"
            ),
        },
    }
}
