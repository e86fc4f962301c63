//! Paths of pages and documents, in one place: the templates link to these and the server routes
//! them.
//!
//! ```text
//! /                            home
//! /builds?stage=held&offset=50 builds        /builds/17       one build
//! /packages/hello              one package name
//! /packages/hello/2.12-1.x86_64                  one version of it; /files, /required-by
//! /search?q=hello&in=files     search
//! /inside?component=openssl    who ships it; /releases/12/licences, /packages/…/inside
//! /feeds/releases.atom         releases      /feeds/held.atom    held builds
//! /releases                    releases      /releases/12     one release; /packages, /changes?from=11, /components?from=11
//! /operator                    behind the log-in: queue; /held, /builds/17, /tokens, /keys, /audit
//! /log                         transparency log
//! /evidence/sha256/{digest}    any document  /r/12/base/x86_64/Packages/h/hello-1-1.noarch.rpm
//! ```

use repo_model::{Arch, ChannelName, FileDigest, Nevra, ReleaseId, RepoName};
use std::fmt::Write as _;

/// Page of one build.
pub fn build(build: u64) -> String {
    format!("/builds/{build}")
}

/// Page of one package name.
pub fn package(name: &str) -> String {
    format!("/packages/{}", segment(name))
}

/// Page of one release.
pub fn release(id: ReleaseId) -> String {
    format!("/releases/{id}")
}

/// Page of one version of a package: `/packages/hello/2.12-1.x86_64`.
pub fn version(nevra: &Nevra) -> String {
    let version = format!("{}.{}", nevra.evr, nevra.arch);
    format!("{}/{}", package(&nevra.name), segment(&version))
}

/// All files of one version of a package.
pub fn files(nevra: &Nevra) -> String {
    version(nevra) + "/files"
}

/// Packages that need one version of a package, by name behind `after`.
pub fn dependents(nevra: &Nevra, after: Option<&str>) -> String {
    let page = version(nevra) + "/required-by";
    match after {
        Some(after) => format!("{page}?after={}", segment(after)),
        None => page,
    }
}

/// Badge of a package name.
pub fn badge(name: &str) -> String {
    format!("/badge/{}.svg", segment(name))
}

/// A search: of one kind or of all, without the first `offset` answers.
pub fn search(query: &str, only: Option<&str>, offset: u64) -> String {
    let mut out = format!("/search?q={}", segment(query));
    if let Some(only) = only {
        // Writing into a String cannot fail.
        let _ = write!(out, "&in={}", segment(only));
    }
    if offset > 0 {
        let _ = write!(out, "&offset={offset}");
    }
    out
}

/// A rebuilder's report on the differences of a build.
pub fn report(build: u64, digest: FileDigest) -> String {
    format!("/builds/{build}/reports/{digest}")
}

/// What differs between a release and another.
pub fn changes(id: ReleaseId) -> String {
    format!("/releases/{id}/changes")
}

/// What differs between a release and another, by component.
pub fn component_changes(id: ReleaseId) -> String {
    format!("/releases/{id}/components")
}

/// Packages of one repository of a release: names that begin with `prefix`, without the first `offset`.
pub fn contents(id: ReleaseId, repo: &RepoName, arch: &Arch, prefix: &str, offset: u64) -> String {
    let mut out = format!("/releases/{id}/packages?repo={repo}&arch={arch}");
    if !prefix.is_empty() {
        // Writing into a String cannot fail.
        let _ = write!(out, "&prefix={}", segment(prefix));
    }
    if offset > 0 {
        let _ = write!(out, "&offset={offset}");
    }
    out
}

/// Licences of a release.
pub fn licences(id: ReleaseId) -> String {
    format!("/releases/{id}/licences")
}

/// Components of one version of a package.
pub fn inside_package(nevra: &Nevra) -> String {
    version(nevra) + "/inside"
}

/// Query of a question about what is inside; what is empty is left out.
pub fn inside_query(
    component: &str,
    version: &str,
    licence: &str,
    release: Option<ReleaseId>,
) -> String {
    let mut parts = Vec::new();
    for (key, value) in [
        ("component", component),
        ("version", version),
        ("licence", licence),
    ] {
        if !value.is_empty() {
            parts.push(format!("{key}={}", segment(value)));
        }
    }
    parts.extend(release.map(|id| format!("release={id}")));
    parts.join("&")
}

/// All evidence about a release in one file.
pub fn evidence_pack(id: ReleaseId) -> String {
    format!("/api/v1/releases/{id}/evidence.tar.zst")
}

/// A document by its digest.
pub fn evidence(digest: FileDigest) -> String {
    format!("/evidence/sha256/{digest}")
}

/// Base of one repository in one release, with a slash at its end; never changes.
pub fn pinned_repo(id: ReleaseId, repo: &RepoName, arch: &Arch) -> String {
    format!("/r/{id}/{repo}/{arch}/")
}

/// Base of one repository in a channel, with a slash at its end; moves with the channel.
pub fn channel_repo(channel: &ChannelName, repo: &RepoName, arch: &Arch) -> String {
    format!("/{channel}/{repo}/{arch}/")
}

/// List of builds: one stage or all, of one package (name or NEVRA) or all, without the first
/// `offset`.
pub fn builds(stage: Option<&str>, package: Option<&str>, offset: u64) -> String {
    let mut out = String::from("/builds");
    let mut add = |key: &str, value: &str| {
        let mark = if out.contains('?') { '&' } else { '?' };
        // Writing into a String cannot fail.
        let _ = write!(out, "{mark}{key}={value}");
    };
    if let Some(stage) = stage {
        add("stage", &segment(stage));
    }
    if let Some(package) = package {
        add("package", &segment(package));
    }
    if offset > 0 {
        add("offset", &offset.to_string());
    }
    out
}

/// Where an operator decides about a build.
pub fn operator_build(build: u64) -> String {
    format!("/operator/builds/{build}")
}

/// A part of the audit trail: only what people did, only what is about something, before a line.
pub fn audit(people: bool, about: &str, before: Option<u64>) -> String {
    let mut parts = Vec::new();
    if people {
        parts.push("people=true".to_owned());
    }
    if !about.is_empty() {
        parts.push(format!("about={}", segment(about)));
    }
    parts.extend(before.map(|line| format!("before={line}")));
    match parts.is_empty() {
        true => "/operator/audit".to_owned(),
        false => format!("/operator/audit?{}", parts.join("&")),
    }
}

/// One segment of a path, or a value of a query: all but letters, digits and `-._~` are
/// percent-encoded, so that neither `/` nor `?`, `:` or `+` keeps a meaning.
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A path of several segments, each encoded; the slashes stay.
pub fn path(text: &str) -> String {
    text.split('/').map(segment).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_can_change_the_shape_of_a_url() {
        assert_eq!(package("libstdc++"), "/packages/libstdc%2B%2B");
        assert_eq!(package("../\"><x>?#"), "/packages/..%2F%22%3E%3Cx%3E%3F%23");
        assert_eq!(segment("javascript:alert(1)"), "javascript%3Aalert%281%29");
        assert_eq!(
            path("Packages/g/gtk+-1-1.noarch.rpm"),
            "Packages/g/gtk%2B-1-1.noarch.rpm"
        );
    }

    #[test]
    fn the_list_of_builds_keeps_its_filters_in_its_address() {
        assert_eq!(builds(None, None, 0), "/builds");
        assert_eq!(
            builds(Some("held"), None, 50),
            "/builds?stage=held&offset=50"
        );
        assert_eq!(builds(None, Some("a&b=c"), 0), "/builds?package=a%26b%3Dc");
    }
}
