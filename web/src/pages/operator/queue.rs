//! `/operator`: what is under way, how far it is, what is stuck and why.

use super::{At, Desk, Nav, age, tabs};
use crate::pages::{BuildLine, Frame, StageCounts};
use crate::text::{self, Chip, Tone, When, counted, stage_chip, stage_tone};
use crate::{RenderError, url};
use askama::Template;
use repo_model::Timestamp;
use repo_model::stage::Stage;
use repo_model::wire::operator::JobLine;

/// What is under way.
#[derive(Debug, Clone, Copy)]
pub struct QueueView<'a> {
    /// Who looks.
    pub desk: Desk<'a>,
    /// Builds by stage.
    pub counts: StageCounts,
    /// Builds on their way, oldest first; not more than [`QueueView::limit`].
    pub builds: &'a [UnderWayLine],
    /// Jobs that are not done, what fails first; not more than [`QueueView::limit`].
    pub jobs: &'a [JobLine],
    /// Most lines of each list.
    pub limit: usize,
}

/// A build that is on its way.
#[derive(Debug, Clone)]
pub struct UnderWayLine {
    /// The build.
    pub build: BuildLine,
    /// Rebuilders that have not begun.
    pub waiting: u64,
    /// Rebuilders that are at it.
    pub at_work: u64,
    /// Rebuilders that have an answer, told or not.
    pub answered: u64,
    /// Rebuilders that gave up.
    pub gave_up: u64,
    /// SBOMs that are not made yet.
    pub sboms_to_do: u64,
    /// What went wrong last.
    pub error: Option<String>,
}

/// A build that does not move for so long is shown as slow, seconds.
const SLOW_SECS: i64 = 86_400;

#[derive(Template)]
#[template(path = "operator/queue.html")]
struct Page<'a> {
    frame: Frame<'a>,
    desk: Desk<'a>,
    tabs: Vec<Nav>,
    tiles: Vec<Tile>,
    builds: Vec<BuildRow<'a>>,
    more_builds: bool,
    jobs: Vec<JobRow<'a>>,
    more_jobs: bool,
}

struct Tile {
    href: String,
    name: &'static str,
    count: String,
    tone: Tone,
}

struct BuildRow<'a> {
    href: String,
    number: u64,
    source: String,
    stage: Chip,
    health: Chip,
    age: String,
    changed: When,
    /// Answers of rebuilders, and of how many.
    progress: Option<(u64, u64)>,
    words: String,
    error: Option<&'a str>,
}

struct JobRow<'a> {
    job: &'a JobLine,
    /// Words and address of what it is for.
    on: Option<(String, String)>,
    chip: Chip,
    age: Option<String>,
    run_at: When,
}

/// Renders the queue.
pub fn queue(view: &QueueView<'_>) -> Result<String, RenderError> {
    let now = view.desk.now;
    let tile = |(name, count): (&'static str, u64)| Tile {
        href: match name {
            "held" => "/operator/held".to_owned(),
            _ => url::builds(Some(name), None, 0),
        },
        name,
        count: text::count(count),
        tone: if count == 0 {
            Tone::Idle
        } else {
            stage_tone(name)
        },
    };
    Page {
        frame: view.desk.frame("Queue"),
        desk: view.desk,
        tabs: tabs(At::Queue),
        tiles: view.counts.rows().into_iter().map(tile).collect(),
        builds: view.builds.iter().map(|one| build_row(one, now)).collect(),
        more_builds: view.builds.len() >= view.limit,
        jobs: view.jobs.iter().map(|job| job_row(job, now)).collect(),
        more_jobs: view.jobs.len() >= view.limit,
    }
    .render()
}

fn build_row(one: &UnderWayLine, now: Timestamp) -> BuildRow<'_> {
    let build = &one.build;
    let asked = build.agreement.rebuilders;
    let is_received = build.stage == Stage::Received;
    BuildRow {
        href: url::operator_build(build.build),
        number: build.build,
        source: build.source.to_string(),
        stage: stage_chip(&build.stage),
        health: health(one, now),
        age: age(build.changed_at, now),
        changed: build.changed_at.into(),
        progress: (is_received && asked > 0).then_some((one.answered, asked)),
        words: words(one),
        error: one.error.as_deref(),
    }
}

fn health(one: &UnderWayLine, now: Timestamp) -> Chip {
    let slow = now.unix_secs() - one.build.changed_at.unix_secs() >= SLOW_SECS;
    let (tone, words) = match one.error.is_some() || one.gave_up > 0 {
        true => (Tone::Bad, "stuck"),
        false if slow => (Tone::Warn, "slow"),
        false => (Tone::Busy, "on its way"),
    };
    Chip {
        tone,
        words: words.to_owned(),
    }
}

/// What it waits for.
fn words(one: &UnderWayLine) -> String {
    match one.build.stage {
        Stage::Approved => return "waits for its signature".to_owned(),
        Stage::Signed => return "waits for a release".to_owned(),
        Stage::Received | Stage::Held { .. } | Stage::Rejected { .. } | Stage::Published { .. } => {
        }
    }
    let mut parts = Vec::new();
    if one.sboms_to_do > 0 {
        let packages = counted(one.sboms_to_do, "package", "packages");
        parts.push(format!("SBOMs of {packages} to be made"));
    }
    let asked = one.build.agreement.rebuilders;
    if asked > 0 {
        let asked = counted(asked, "rebuilder", "rebuilders");
        parts.push(format!("{} of {asked} answered", one.answered));
    }
    for (count, what) in [
        (one.at_work, "at work"),
        (one.waiting, "not begun"),
        (one.gave_up, "gave up"),
    ] {
        if count > 0 {
            parts.push(format!("{} {what}", text::count(count)));
        }
    }
    match parts.is_empty() {
        true => "is about to be judged".to_owned(),
        false => parts.join(", "),
    }
}

fn job_row(job: &JobLine, now: Timestamp) -> JobRow<'_> {
    let (tone, words) = match (job.state.as_str(), &job.last_error) {
        ("running", _) => (Tone::Busy, "running"),
        (_, Some(_)) => (Tone::Bad, "failing"),
        _ => (Tone::Idle, "waiting"),
    };
    let on = job.build.map(|build| {
        let words = match &job.source {
            Some(source) => source.to_string(),
            None => format!("build {build}"),
        };
        (words, url::operator_build(build))
    });
    JobRow {
        job,
        on,
        chip: Chip {
            tone,
            words: words.to_owned(),
        },
        age: job.since.map(|since| age(since, now)),
        run_at: job.run_at.into(),
    }
}
