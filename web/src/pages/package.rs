//! `/packages/{name}` and `/packages/{name}/{version}`: all about a package, in one version of it.

use super::dependencies::{DependentLine, NeedGroup, NeedLine, dependent_rows, need_groups};
use super::files::{FileRow, file_rows};
use super::{BuildLine, Command, Frame, Here, Site};
use crate::checks::{beside_steps, checks, download_path};
use crate::marks::Step;
use crate::rebuilt::agreement_chip;
use crate::text::{self, Chip, When, counted, format_name, shell_word, stage_chip};
use crate::timeline::steps;
use crate::{RenderError, url};
use askama::Template;
use repo_model::rpm::{ChangelogEntry, Package};
use repo_model::stage::Stage;
use repo_model::wire::status::{BuildStatus, EvidenceLink, PackageStatus};
use repo_model::{Arch, ChannelName, Nevra};
use std::cmp::Reverse;

/// Files that the page itself shows; a page of their own has all.
const FILES: usize = 30;
/// Changes that are shown at once, and those behind them that one can open.
const CHANGES: (usize, usize) = (3, 40);

/// A package name, and one version of it.
#[derive(Debug, Clone, Copy)]
pub struct PackageView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// Every version of the name, in any order.
    pub versions: &'a [VersionLine],
    /// The version that is shown.
    pub shown: Shown<'a>,
    /// Whether the visitor asked for the newest one, whatever it is.
    pub newest: bool,
}

/// A version in one line.
#[derive(Debug, Clone)]
pub struct VersionLine {
    /// Identity.
    pub nevra: Nevra,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Its build.
    pub build: BuildLine,
    /// Channels whose release has it.
    pub channels: Vec<ChannelName>,
}

/// The version that a page shows.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Its build.
    pub build: &'a BuildStatus,
    /// Which package of the build.
    pub package: &'a PackageStatus,
    /// Architectures of its repository; noarch packages are downloaded from the first.
    pub arches: &'a [Arch],
    /// What its header says; none before it is released: it may be under embargo.
    pub header: Option<&'a Package>,
    /// What it needs.
    pub needs: &'a [NeedLine],
    /// Packages that need it, the first of them.
    pub dependents: &'a [DependentLine],
    /// Whether there are more.
    pub more_dependents: bool,
}

#[derive(Template)]
#[template(path = "package.html")]
struct Page<'a> {
    frame: Frame<'a>,
    name: &'a str,
    nevra: &'a Nevra,
    summary: &'a str,
    stage: Chip,
    build_href: String,
    permalink: String,
    newest: bool,
    is_out: bool,
    install: Vec<Command>,
    facts: Vec<Fact>,
    description: &'a str,
    downloads: Vec<Download>,
    needs: Vec<NeedGroup<'a>>,
    /// What it provides, conflicts with, obsoletes.
    capabilities: Vec<(&'static str, Vec<String>)>,
    dependents: Vec<super::dependencies::DependentRow<'a>>,
    all_dependents: Option<String>,
    files: Vec<FileRow<'a>>,
    files_counted: String,
    all_files: Option<String>,
    has_header: bool,
    inside: String,
    changes: Vec<Change<'a>>,
    older_changes: Vec<Change<'a>>,
    changes_left_out: usize,
    versions: Vec<VersionRow>,
    steps: Vec<Step>,
    checks: Vec<Command>,
    badge: String,
    badge_markdown: Command,
}

struct Fact {
    name: &'static str,
    value: String,
    href: Option<String>,
    code: bool,
}

struct Download {
    words: String,
    href: String,
    about: String,
}

struct Change<'a> {
    at: When,
    author: &'a str,
    text: &'a str,
}

struct VersionRow {
    href: String,
    version: String,
    current: bool,
    channels: Vec<String>,
    stage: Chip,
    agreement: Chip,
    size: String,
    size_bytes: u64,
    repo: String,
    build_href: String,
    build: u64,
    changed: When,
}

/// Renders the page of a package.
pub fn package(view: &PackageView<'_>) -> Result<String, RenderError> {
    let Shown {
        build,
        package,
        header,
        ..
    } = view.shown;
    let nevra = &package.nevra;
    let is_out = matches!(build.stage, Stage::Published { .. });
    // What the timeline tells is about this package alone.
    let own = BuildStatus {
        packages: vec![package.clone()],
        ..build.clone()
    };
    let changelog = header.map_or(&[][..], |header| header.changelog.as_slice());
    let changes: Vec<_> = changelog
        .iter()
        .take(CHANGES.0 + CHANGES.1)
        .map(change)
        .collect();
    let mut changes = changes.into_iter();
    let files = header.map_or(&[][..], |header| header.files.as_slice());
    let badge = url::badge(&nevra.name);
    let mut steps = steps(&own);
    beside_steps(view.site, &own, view.shown.arches, &mut steps);
    Page {
        frame: Frame::new(view.site, nevra.name.as_str(), Here::Packages),
        name: &nevra.name,
        nevra,
        summary: &package.summary,
        stage: stage_chip(&build.stage),
        build_href: url::build(build.build),
        permalink: url::version(nevra),
        newest: view.newest,
        is_out,
        install: match is_out {
            true => install(&nevra.name),
            false => Vec::new(),
        },
        facts: facts(view),
        description: header.map_or("", |header| header.description.as_str()),
        downloads: downloads(view),
        needs: need_groups(view.shown.needs),
        capabilities: header.map_or_else(Vec::new, capabilities),
        dependents: dependent_rows(view.shown.dependents),
        all_dependents: view
            .shown
            .more_dependents
            .then(|| url::dependents(nevra, None)),
        files: file_rows(&files[..files.len().min(FILES)]),
        files_counted: counted(files.len() as u64, "file", "files"),
        all_files: (files.len() > FILES).then(|| url::files(nevra)),
        has_header: header.is_some(),
        inside: url::inside_package(nevra),
        changes: changes.by_ref().take(CHANGES.0).collect(),
        older_changes: changes.collect(),
        changes_left_out: changelog.len().saturating_sub(CHANGES.0 + CHANGES.1),
        versions: versions(view),
        steps,
        checks: checks(view.site, &own, view.shown.arches),
        badge_markdown: Command {
            label: "For a README".to_owned(),
            text: format!(
                "[![rebuilt independently]({url}{badge})]({url}{page})",
                url = view.site.public_url,
                page = url::package(&nevra.name)
            ),
        },
        badge,
    }
    .render()
}

fn change(entry: &ChangelogEntry) -> Change<'_> {
    Change {
        at: entry.time.into(),
        author: &entry.author,
        text: entry.text.trim_end(),
    }
}

fn capabilities(header: &Package) -> Vec<(&'static str, Vec<String>)> {
    let lists = [
        ("Provides", &header.provides),
        ("Conflicts with", &header.conflicts),
        ("Obsoletes", &header.obsoletes),
    ];
    lists
        .into_iter()
        .map(|(title, list)| (title, shown_all(list)))
        .filter(|(_, list)| !list.is_empty())
        .collect()
}

fn shown_all(list: &[repo_model::rpm::Dependency]) -> Vec<String> {
    let mut out: Vec<String> = list.iter().map(super::dependencies::shown).collect();
    out.dedup();
    out
}

fn facts(view: &PackageView<'_>) -> Vec<Fact> {
    let Shown {
        build,
        package,
        header,
        ..
    } = view.shown;
    let fact = |name, value: String| Fact {
        name,
        value,
        href: None,
        code: false,
    };
    let mut out = vec![
        Fact {
            href: Some(url::build(build.build)),
            ..fact("Source package", build.source.to_string())
        },
        fact("Repository", build.repo.to_string()),
        fact("Architecture", package.nevra.arch.clone()),
    ];
    if let Some(header) = header {
        out.push(fact("Licence", header.license.clone()));
        // Shown and not linked: a package can write any address there.
        out.extend(header.url.clone().map(|url| fact("Upstream", url)));
        out.extend(header.vendor.clone().map(|vendor| fact("Vendor", vendor)));
        out.push(fact("Built", When::from(header.build_time).shown));
        out.push(fact(
            "Installed size",
            text::size(header.installed_size_bytes),
        ));
    }
    out.push(Fact {
        code: true,
        ..fact("SHA-256 of the header", package.header.to_hex())
    });
    out
}

fn downloads(view: &PackageView<'_>) -> Vec<Download> {
    let Shown {
        build,
        package,
        arches,
        ..
    } = view.shown;
    let mut out = Vec::new();
    if let Some(href) = download_path(build, package, arches) {
        out.push(Download {
            words: package.nevra.file_name(),
            href,
            about: text::size(package.size_bytes),
        });
    }
    let document = |words: String, link: &EvidenceLink, about: &str| Download {
        words,
        href: url::evidence(link.digest),
        about: about.to_owned(),
    };
    for link in &package.evidence {
        match link.kind.as_str() {
            "sbom" if matches!(build.stage, Stage::Published { .. }) => {
                out.push(document(format_name(&link.label), link, "SBOM"))
            }
            "detached-signature" => {
                let about = match link.label.as_str() {
                    "openpgp-pqc" => "OpenPGP, post-quantum",
                    _ => "OpenPGP",
                };
                out.push(document("Detached signature".to_owned(), link, about));
            }
            _ => {}
        }
    }
    let is_public = matches!(build.stage, Stage::Published { .. });
    for link in &build.documents {
        if link.kind == "source" && is_public {
            out.push(document(link.label.clone(), link, "source package"));
        }
        if link.kind == "build-sbom" && is_public {
            out.push(document(
                format_name(&link.label),
                link,
                "SBOM of the whole build",
            ));
        }
    }
    out.push(Download {
        words: "buildinfo.json".to_owned(),
        href: url::evidence(build.buildinfo),
        about: "all it takes to build it again".to_owned(),
    });
    out
}

/// By rpm's order, newest first. A channel stands at the newest version that it has of each architecture.
fn versions(view: &PackageView<'_>) -> Vec<VersionRow> {
    let mut sorted: Vec<&VersionLine> = view.versions.iter().collect();
    sorted.sort_by_key(|line| Reverse((&line.nevra.evr, line.build.build, &line.nevra.arch)));
    let mut placed: Vec<(&ChannelName, &str)> = Vec::new();
    let mut rows = Vec::with_capacity(sorted.len());
    for line in sorted {
        let mut channels = Vec::new();
        for channel in &line.channels {
            let place = (channel, line.nevra.arch.as_str());
            if !placed.contains(&place) {
                placed.push(place);
                channels.push(channel.to_string());
            }
        }
        let build = &line.build;
        rows.push(VersionRow {
            href: url::version(&line.nevra),
            version: format!("{}.{}", line.nevra.evr, line.nevra.arch),
            current: line.nevra == view.shown.package.nevra
                && build.build == view.shown.build.build,
            channels,
            stage: stage_chip(&build.stage),
            agreement: agreement_chip(&build.stage, build.agreement),
            size: text::size(line.size_bytes),
            size_bytes: line.size_bytes,
            repo: build.repo.to_string(),
            build_href: url::build(build.build),
            build: build.build,
            changed: build.changed_at.into(),
        });
    }
    rows
}

fn install(name: &str) -> Vec<Command> {
    let command = |label: &str, tool: &str| Command {
        label: label.to_owned(),
        text: format!("sudo {tool} install {}", shell_word(name)),
    };
    vec![command("dnf", "dnf"), command("zypper", "zypper")]
}
