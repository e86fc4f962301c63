//! `/builds/{build}`: all about one build; why it is stuck comes first.

use super::{Command, Frame, Here, Site};
use crate::marks::Step;
use crate::text::{self, Chip, When, counted, shell_word, stage_chip};
use crate::timeline::steps;
use crate::why::{Why, explain};
use crate::{RenderError, url};
use askama::Template;
use repo_model::Arch;
use repo_model::stage::Stage;
use repo_model::wire::status::{BuildStatus, JobStatus, PackageStatus};

/// One build.
#[derive(Debug, Clone, Copy)]
pub struct BuildView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// The build.
    pub build: &'a BuildStatus,
    /// Architectures of its repository; noarch packages are downloaded from the first.
    pub arches: &'a [Arch],
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
    why: Vec<Why>,
    steps: Vec<Step>,
    packages: Vec<PackageRow<'a>>,
    packages_counted: String,
    jobs: Vec<JobRow<'a>>,
    checks: Vec<Command>,
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
        why: explain(build.stage.reasons()),
        steps: steps(build),
        packages: build
            .packages
            .iter()
            .map(|package| package_row(view, package))
            .collect(),
        packages_counted: counted(build.packages.len() as u64, "package", "packages"),
        jobs: build.jobs.iter().map(job_row).collect(),
        checks: checks(view),
    }
    .render()
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
        download: download_path(view, package),
        summary: &package.summary,
        size: text::size(package.size_bytes),
        size_bytes: package.size_bytes,
        header: package.header.to_hex(),
        file_words,
        file: file.to_hex(),
    }
}

/// Where a published package is for good.
fn download_path(view: &BuildView<'_>, package: &PackageStatus) -> Option<String> {
    let Stage::Published { release } = view.build.stage else {
        return None;
    };
    package.signed_file?;
    let own = view
        .arches
        .iter()
        .find(|arch| arch.as_str() == package.nevra.arch);
    let arch = own.or_else(|| view.arches.first())?;
    Some(url::pinned_repo(release, &view.build.repo, arch) + &url::path(&package.href))
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

/// Commands that check what the page says.
fn checks(view: &BuildView<'_>) -> Vec<Command> {
    let mut out = vec![Command {
        label: "Where it is, and why".to_owned(),
        text: format!(
            "hallmark status {}",
            shell_word(&view.build.source.to_string())
        ),
    }];
    let package = view.build.packages.first();
    let download = package.and_then(|package| Some((package, download_path(view, package)?)));
    if let Some((package, path)) = download {
        let file = package.href.rsplit('/').next().unwrap_or(&package.href);
        let address = shell_word(&format!("{}{path}", view.site.public_url));
        out.push(Command {
            label: "The signature, with the repository's key imported into rpm".to_owned(),
            text: format!(
                "curl -fL -o {file} {address}\nrpmkeys -K {file}",
                file = shell_word(file)
            ),
        });
        if let Some(digest) = package.signed_file {
            out.push(Command {
                label: "The bytes".to_owned(),
                text: format!(
                    "echo {} | sha256sum -c",
                    shell_word(&format!("{digest}  {file}"))
                ),
            });
        }
    }
    out
}
