//! `/packages/{name}`: the versions of one package name.

use super::{Command, Frame, Here, Site};
use crate::text::{self, Chip, When, format_name, shell_word, stage_chip};
use crate::timeline::agreement_chip;
use crate::{RenderError, url};
use askama::Template;
use repo_model::stage::Stage;
use repo_model::wire::status::{BuildStatus, PackageStatus};
use std::cmp::Reverse;

/// One package name.
#[derive(Debug, Clone, Copy)]
pub struct PackageView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// The package name.
    pub name: &'a str,
    /// Builds that have a package of this name, in any order; their other packages are passed over.
    pub builds: &'a [BuildStatus],
}

#[derive(Template)]
#[template(path = "package.html")]
struct Page<'a> {
    frame: Frame<'a>,
    name: &'a str,
    summary: Option<&'a str>,
    newest: Option<Version>,
    install: Vec<Command>,
    versions: Vec<Version>,
    search: String,
}

struct Version {
    nevra: String,
    build_href: String,
    build: u64,
    source: String,
    repo: String,
    stage: Chip,
    agreement: Chip,
    size: String,
    size_bytes: u64,
    changed: When,
    sboms: Vec<(String, String)>,
}

/// Renders the page of one package name; versions come newest first.
pub fn package(view: &PackageView<'_>) -> Result<String, RenderError> {
    let mut found: Vec<(&BuildStatus, &PackageStatus)> = Vec::new();
    for build in view.builds {
        found.extend(
            build
                .packages
                .iter()
                .filter(|p| p.nevra.name == view.name)
                .map(|p| (build, p)),
        );
    }
    found.sort_by_key(|(build, package)| {
        Reverse((&package.nevra.evr, build.build, &package.nevra.arch))
    });
    let published = found
        .iter()
        .find(|(build, _)| matches!(build.stage, Stage::Published { .. }));
    let summary = published
        .or(found.first())
        .map(|(_, package)| package.summary.as_str());
    Page {
        frame: Frame::new(view.site, view.name, Here::Elsewhere),
        name: view.name,
        summary,
        newest: published.map(|(build, package)| version(build, package)),
        install: if published.is_some() {
            install(view.name)
        } else {
            Vec::new()
        },
        versions: found
            .iter()
            .map(|(build, package)| version(build, package))
            .collect(),
        search: url::builds(None, Some(view.name), 0),
    }
    .render()
}

fn version(build: &BuildStatus, package: &PackageStatus) -> Version {
    let sboms = package.evidence.iter().filter(|link| link.kind == "sbom");
    Version {
        nevra: package.nevra.to_string(),
        build_href: url::build(build.build),
        build: build.build,
        source: build.source.to_string(),
        repo: build.repo.to_string(),
        stage: stage_chip(&build.stage),
        agreement: agreement_chip(build),
        size: text::size(package.size_bytes),
        size_bytes: package.size_bytes,
        changed: build.changed_at.into(),
        sboms: sboms
            .map(|link| (format_name(&link.label), url::evidence(link.digest)))
            .collect(),
    }
}

fn install(name: &str) -> Vec<Command> {
    let command = |label: &str, tool: &str| Command {
        label: label.to_owned(),
        text: format!("sudo {tool} install {}", shell_word(name)),
    };
    vec![command("dnf", "dnf"), command("zypper", "zypper")]
}
