//! Commands that check what the pages say: of a whole build, and of each step of its timeline. They need
//! nothing that this server says beyond the files it serves.

use crate::marks::Step;
use crate::pages::{Command, Site};
use crate::text::shell_word;
use crate::url;
use repo_model::stage::Stage;
use repo_model::statement::{REBUILD, VSA};
use repo_model::wire::status::{BuildStatus, EvidenceLink, PackageStatus};
use repo_model::{Arch, FileDigest, bundle};

/// Where a published package is for good.
pub(crate) fn download_path(
    build: &BuildStatus,
    package: &PackageStatus,
    arches: &[Arch],
) -> Option<String> {
    let Stage::Published { release } = build.stage else {
        return None;
    };
    package.signed_file?;
    let own = arches
        .iter()
        .find(|arch| arch.as_str() == package.nevra.arch);
    let arch = own.or_else(|| arches.first())?;
    Some(url::pinned_repo(release, &build.repo, arch) + &url::path(&package.href))
}

/// The first package of the build that can be downloaded, its file name and its address, quoted for a shell.
fn downloadable<'a>(
    site: &Site<'_>,
    build: &'a BuildStatus,
    arches: &[Arch],
) -> Option<(&'a PackageStatus, String, String)> {
    let package = build.packages.first()?;
    let path = download_path(build, package, arches)?;
    let address = shell_word(&format!("{}{path}", site.public_url));
    Some((package, shell_word(file_name(package)), address))
}

fn file_name(package: &PackageStatus) -> &str {
    package.href.rsplit('/').next().unwrap_or(&package.href)
}

/// Commands for the whole build.
pub(crate) fn checks(site: &Site<'_>, build: &BuildStatus, arches: &[Arch]) -> Vec<Command> {
    let command = |label: &str, text: String| Command {
        label: label.to_owned(),
        text,
    };
    let source = shell_word(&build.source.to_string());
    let mut out = vec![
        command("Where it is, and why", format!("hallmark status {source}")),
        command(
            "All documents as files, each against its digest",
            format!("hallmark evidence {} -o evidence/", build.build),
        ),
    ];
    let Some((package, file, address)) = downloadable(site, build, arches) else {
        return out;
    };
    out.push(command(
        "The signature, with the repository's key imported into rpm",
        format!("curl -fL -o {file} {address}\nrpmkeys -K {file}"),
    ));
    if let Some(digest) = package.signed_file {
        let line = shell_word(&format!("{digest}  {}", file_name(package)));
        out.push(command("The bytes", format!("echo {line} | sha256sum -c")));
    }
    out.push(command(
        "The rebuild itself, on a machine of your own",
        format!("hallmark rebuild --server {} {file}", site.public_url),
    ));
    out
}

/// Puts the command that checks it beside each step that has one.
pub(crate) fn beside_steps(
    site: &Site<'_>,
    build: &BuildStatus,
    arches: &[Arch],
    steps: &mut [Step],
) {
    for step in steps {
        step.check = match step.id {
            "received" => Some(received(site, build)),
            "sboms" => sbom(site, build, arches),
            "rebuilt" => statement(site, build, "rebuild", REBUILD),
            "judged" => statement(site, build, "verification-summary", VSA),
            "signed" => signature(site, build, arches),
            "published" => published(site, build, arches),
            _ => None,
        };
    }
}

/// What the build was made of, by its digest: provenance where there is some, buildinfo otherwise.
fn received(site: &Site<'_>, build: &BuildStatus) -> Command {
    let (what, digest) = match build.provenance {
        Some(digest) => ("provenance", digest),
        None => ("buildinfo", build.buildinfo),
    };
    let address = format!("{}{}", site.public_url, url::evidence(digest));
    Command {
        label: format!("That the {what} is the one that is named here"),
        text: format!(
            "curl -fL -o {what}.json {}\necho '{digest}  {what}.json' | sha256sum -c",
            shell_word(&address)
        ),
    }
}

/// The whole chain, to the log.
fn published(site: &Site<'_>, build: &BuildStatus, arches: &[Arch]) -> Option<Command> {
    let (_, file, address) = downloadable(site, build, arches)?;
    let server = shell_word(site.public_url);
    Some(Command {
        label: "Everything behind it, to the release and the log, by keys and a policy that you keep in trust/"
            .to_owned(),
        text: format!(
            "hallmark trust fetch --server {server} -o trust/\ncurl -fL -o {file} {address}\nhallmark verify --server {server} --trust trust/ {file}"
        ),
    })
}

fn sbom(site: &Site<'_>, build: &BuildStatus, arches: &[Arch]) -> Option<Command> {
    let (package, file, _) = downloadable(site, build, arches)?;
    let link = newest(package, "sbom")?;
    Some(Command {
        label: format!(
            "Make it yourself with the operator's [sbom] settings: the digest is {}",
            link.digest
        ),
        text: format!(
            "hallmark sbom --config hallmark.toml --format {} {file} | sha256sum",
            shell_word(&link.label)
        ),
    })
}

fn newest<'a>(package: &'a PackageStatus, kind: &str) -> Option<&'a EvidenceLink> {
    package.evidence.iter().rev().find(|link| link.kind == kind)
}

/// Stock cosign on a statement, offline. Whose key it is, people take from its owner and not from here.
fn statement(site: &Site<'_>, build: &BuildStatus, kind: &str, predicate: &str) -> Option<Command> {
    let package = build.packages.first()?;
    let link = newest(package, kind)?;
    let (key, whose) = match kind {
        "rebuild" => (format!("{}.pub", link.label), "from its operator"),
        _ => (
            "statement.pub".to_owned(),
            "compared with what the operator published elsewhere",
        ),
    };
    let name = bundle_name(link.digest);
    let address = format!("{}/evidence/sha256/{name}", site.public_url);
    Some(Command {
        label: format!("The statement, with the key in {key}, {whose}"),
        text: format!(
            "curl -fLO {}\ncosign verify-blob-attestation --key {} --insecure-ignore-tlog=true \\\n  --bundle {name} --type {predicate} \\\n  --digestAlg rpmHeaderSha256 --digest {}",
            shell_word(&address),
            shell_word(&key),
            package.header
        ),
    })
}

fn bundle_name(digest: FileDigest) -> String {
    format!("{digest}{}", bundle::FILE_SUFFIX)
}

fn signature(site: &Site<'_>, build: &BuildStatus, arches: &[Arch]) -> Option<Command> {
    let (_, file, address) = downloadable(site, build, arches)?;
    Some(Command {
        label: "The signature, by the keys of the repository alone".to_owned(),
        text: format!(
            "curl -fLO {}\nmkdir -p trusted && rpmkeys --dbpath \"$PWD/trusted\" --import RPM-GPG-KEY-packages\n\
             curl -fL -o {file} {address}\nrpmkeys --dbpath \"$PWD/trusted\" -K {file}",
            shell_word(&format!("{}/keys/RPM-GPG-KEY-packages", site.public_url))
        ),
    })
}
