//! `/builds/{build}`: all about one build; why it is stuck comes first.

use super::report::REPORT_SUFFIX;
use super::{Command, Frame, Here, Site};
use crate::bisection::{Picture, picture};
use crate::checks::{beside_steps, checks, download_path};
use crate::marks::Step;
use crate::rebuilt::attachment_of;
use crate::text::{self, Chip, When, counted, shell_word, stage_chip, verdict_chip};
use crate::timeline::steps;
use crate::why::{Why, explain};
use crate::{RenderError, url};
use askama::Template;
use repo_model::bisection::Bisection;
use repo_model::stage::Stage;
use repo_model::verdict::{Cause, Verdict};
use repo_model::wire::status::{BuildStatus, JobStatus, PackageStatus};
use repo_model::{Arch, FileDigest, Nevra, WorkerName};

/// One build.
#[derive(Debug, Clone, Copy)]
pub struct BuildView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// The build.
    pub build: &'a BuildStatus,
    /// Architectures of its repository; noarch packages are downloaded from the first.
    pub arches: &'a [Arch],
    /// What each rebuilder found of each package, as its statements say; empty where nobody objects.
    pub verdicts: &'a [PackageVerdict],
    /// Which factor changes which file, when somebody found out, and the document that says so.
    pub bisection: Option<(&'a Bisection, FileDigest)>,
}

/// One rebuilder's finding about one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageVerdict {
    /// The package.
    pub package: Nevra,
    /// Who.
    pub rebuilder: WorkerName,
    /// Where on the ladder.
    pub verdict: Verdict,
    /// Challenge profile.
    pub profile: String,
    /// Verdict of each run, when there was more than one.
    pub runs: Vec<Verdict>,
    /// Why it is not higher.
    pub causes: Vec<Cause>,
}

#[derive(Template)]
#[template(path = "build.html")]
struct Page<'a> {
    frame: Frame<'a>,
    build: &'a BuildStatus,
    stage: Chip,
    opening: &'static str,
    changed: When,
    received: When,
    /// Rebuilders that have not begun, and until when each is waited for.
    waits_for: Vec<String>,
    why: Vec<Why>,
    steps: Vec<Step>,
    packages: Vec<PackageRow<'a>>,
    packages_counted: String,
    jobs: Vec<JobRow<'a>>,
    checks: Vec<Command>,
    matrix: Option<Matrix<'a>>,
    reports: Vec<Report>,
    bisection: Option<Picture>,
    bisection_href: String,
    bisect: Option<Command>,
}

/// Packages down, rebuilders across.
struct Matrix<'a> {
    rebuilders: Vec<&'a str>,
    rows: Vec<MatrixRow<'a>>,
}

struct MatrixRow<'a> {
    package: String,
    cells: Vec<Cell<'a>>,
}

/// One finding; none when there is no statement.
struct Cell<'a> {
    rebuilder: &'a str,
    chip: Option<Chip>,
    /// Of how many runs how many came out the same, and the profile.
    runs: String,
    /// Code and place.
    places: Vec<(&'a str, &'a str)>,
    more_places: usize,
}

/// A report on differences that a rebuilder attached.
struct Report {
    rebuilder: String,
    name: String,
    href: String,
}

struct PackageRow<'a> {
    nevra: String,
    page: String,
    download: Option<String>,
    summary: &'a str,
    size: String,
    size_bytes: u64,
    header: String,
    file_words: &'static str,
    file: String,
}

struct JobRow<'a> {
    job: &'a JobStatus,
    run_at: When,
    chip: Chip,
}

/// Renders the page of one build.
pub fn build(view: &BuildView<'_>) -> Result<String, RenderError> {
    let build = view.build;
    let mut steps = steps(build);
    beside_steps(view.site, build, view.arches, &mut steps);
    Page {
        frame: Frame::new(
            view.site,
            format!("{} ({})", build.source, build.stage),
            Here::Builds,
        ),
        build,
        stage: stage_chip(&build.stage),
        opening: opening(&build.stage),
        changed: build.changed_at.into(),
        received: build.received_at.into(),
        waits_for: build.waits_for.iter().map(ToString::to_string).collect(),
        why: explain(build.stage.reasons()),
        steps,
        packages: build
            .packages
            .iter()
            .map(|package| package_row(view, package))
            .collect(),
        packages_counted: counted(build.packages.len() as u64, "package", "packages"),
        jobs: build.jobs.iter().map(job_row).collect(),
        checks: checks(view.site, build, view.arches),
        matrix: matrix(view.verdicts),
        reports: reports(build),
        bisection: view.bisection.map(|(bisection, _)| picture(bisection)),
        bisection_href: view
            .bisection
            .map_or_else(String::new, |(_, digest)| url::evidence(digest)),
        bisect: (!view.verdicts.is_empty() && view.bisection.is_none()).then(|| bisect(build)),
    }
    .render()
}

/// Places that a cell of the matrix names.
const PLACES: usize = 8;

fn matrix(verdicts: &[PackageVerdict]) -> Option<Matrix<'_>> {
    let mut rebuilders: Vec<&str> = verdicts.iter().map(|one| one.rebuilder.as_str()).collect();
    rebuilders.sort_unstable();
    rebuilders.dedup();
    let mut packages: Vec<&Nevra> = verdicts.iter().map(|one| &one.package).collect();
    packages.sort();
    packages.dedup();
    let row = |package: &Nevra| MatrixRow {
        package: package.to_string(),
        cells: rebuilders
            .iter()
            .map(|name| {
                let of = |one: &&PackageVerdict| {
                    one.package == *package && one.rebuilder.as_str() == *name
                };
                cell(name, verdicts.iter().find(of))
            })
            .collect(),
    };
    (!rebuilders.is_empty()).then(|| Matrix {
        rows: packages.into_iter().map(row).collect(),
        rebuilders: rebuilders.clone(),
    })
}

fn cell<'a>(rebuilder: &'a str, found: Option<&'a PackageVerdict>) -> Cell<'a> {
    let Some(found) = found else {
        return Cell {
            rebuilder,
            chip: None,
            runs: String::new(),
            places: Vec::new(),
            more_places: 0,
        };
    };
    let confirmed = found
        .runs
        .iter()
        .filter(|verdict| verdict.confirms())
        .count();
    let place = |cause: &'a Cause| {
        let place = cause.file.as_deref().or(cause.tag.as_deref());
        (cause.code.as_str(), place.unwrap_or("the package"))
    };
    Cell {
        rebuilder,
        chip: Some(verdict_chip(found.verdict)),
        runs: match found.runs.len() {
            0 => format!("profile {}", found.profile),
            runs => format!(
                "profile {}, the same in {confirmed} of {runs} runs",
                found.profile
            ),
        },
        places: found.causes.iter().take(PLACES).map(place).collect(),
        more_places: found.causes.len().saturating_sub(PLACES),
    }
}

fn reports(build: &BuildStatus) -> Vec<Report> {
    let mut out = Vec::new();
    for rebuild in &build.rebuilds {
        let rebuilder = rebuild.rebuilder.as_str();
        for link in &build.documents {
            let name = attachment_of(link, rebuilder);
            if let Some(name) = name.filter(|name| name.ends_with(REPORT_SUFFIX)) {
                out.push(Report {
                    rebuilder: rebuilder.to_owned(),
                    name: name.trim_end_matches(REPORT_SUFFIX).to_owned(),
                    href: url::report(build.build, link.digest),
                });
            }
        }
    }
    out
}

/// What to run to find the factor that makes a build differ.
fn bisect(build: &BuildStatus) -> Command {
    let file = build.source.file_name();
    Command {
        label: "Build it again with one factor changed at a time, then show the picture here"
            .to_owned(),
        text: format!(
            "hallmark-rebuilder bisect {} >bisection.json\nhallmark bisection {} bisection.json",
            shell_word(&file),
            build.build
        ),
    }
}

/// What the stage means, in one sentence.
fn opening(stage: &Stage) -> &'static str {
    match stage {
        Stage::Received => "Stored. SBOMs and independent rebuilds are being made.",
        Stage::Approved => "The evidence satisfies the policy. Waiting for the signature.",
        Stage::Held { .. } => {
            "It is not signed and no client can install it. Everything is kept, and it can be tried again."
        }
        Stage::Rejected { .. } => "It will never be signed with these bytes.",
        Stage::Signed => "Signed. Waiting for the next release.",
        Stage::Published { .. } => {
            "Rebuilt independently, signed, and in a release that clients can install from."
        }
    }
}

fn package_row<'a>(view: &BuildView<'_>, package: &'a PackageStatus) -> PackageRow<'a> {
    let (file_words, file) = match package.signed_file {
        Some(signed) => ("signed file", signed),
        None => ("unsigned file", package.unsigned_file),
    };
    PackageRow {
        nevra: package.nevra.to_string(),
        page: url::package(&package.nevra.name),
        download: download_path(view.build, package, view.arches),
        summary: &package.summary,
        size: text::size(package.size_bytes),
        size_bytes: package.size_bytes,
        header: package.header.to_hex(),
        file_words,
        file: file.to_hex(),
    }
}

fn job_row(job: &JobStatus) -> JobRow<'_> {
    let tone = match job.state.as_str() {
        "running" => text::Tone::Busy,
        "failed" => text::Tone::Bad,
        _ => text::Tone::Idle,
    };
    JobRow {
        job,
        run_at: job.run_at.into(),
        chip: Chip {
            tone,
            words: job.state.clone(),
        },
    }
}
