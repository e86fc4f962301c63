//! Atom feeds (RFC 4287): releases, and builds that are held.

use crate::escape::write_visible;
use crate::pages::{BuildLine, Site};
use crate::text::{counted, listed};
use crate::url;
use repo_model::Timestamp;
use repo_model::wire::status::ReleaseStatus;
use std::fmt::Write as _;

/// `Content-Type` of a feed.
pub const FEED_TYPE: &str = "application/atom+xml; charset=utf-8";

/// Feed of releases, newest first.
pub fn releases_feed(site: &Site<'_>, releases: &[ReleaseStatus]) -> String {
    let entries = releases.iter().map(|release| {
        let packages = release
            .repos
            .iter()
            .fold(0_u64, |sum, repo| sum.saturating_add(repo.packages));
        let channels: Vec<_> = release.channels.iter().map(ToString::to_string).collect();
        let pointed = match channels.is_empty() {
            true => String::new(),
            false => format!(" {} points to it.", listed(&channels)),
        };
        Entry {
            path: url::release(release.id),
            title: format!("Release {}", release.id),
            at: release.issued,
            summary: format!("{}.{pointed}", counted(packages, "package", "packages")),
        }
    });
    feed(site, "/feeds/releases.atom", "releases", entries.collect())
}

/// Feed of builds that are held, newest first, with the reasons.
pub fn held_feed(site: &Site<'_>, builds: &[BuildLine]) -> String {
    let entries = builds.iter().map(|build| {
        let reasons: Vec<_> = build
            .stage
            .reasons()
            .iter()
            .map(ToString::to_string)
            .collect();
        Entry {
            path: url::build(build.build),
            title: format!("{} is held", build.source),
            at: build.changed_at,
            summary: reasons.join("; "),
        }
    });
    feed(site, "/feeds/held.atom", "held builds", entries.collect())
}

struct Entry {
    path: String,
    title: String,
    at: Timestamp,
    summary: String,
}

fn feed(site: &Site<'_>, path: &str, what: &str, entries: Vec<Entry>) -> String {
    let base = site.public_url;
    let updated = entries
        .iter()
        .map(|entry| entry.at)
        .max()
        .unwrap_or_default();
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\">",
    );
    element(&mut out, "title", &format!("{}: {what}", site.title));
    element(&mut out, "id", &format!("{base}{path}"));
    element(&mut out, "updated", &updated.to_string());
    link(&mut out, "self", &format!("{base}{path}"));
    out.push_str("<author>");
    element(&mut out, "name", site.title);
    out.push_str("</author>\n");
    for entry in entries {
        out.push_str("<entry>");
        let address = format!("{base}{}", entry.path);
        element(&mut out, "title", &entry.title);
        element(&mut out, "id", &address);
        element(&mut out, "updated", &entry.at.to_string());
        link(&mut out, "alternate", &address);
        element(&mut out, "summary", &entry.summary);
        out.push_str("</entry>\n");
    }
    out.push_str("</feed>\n");
    out
}

fn element(out: &mut String, name: &str, text: &str) {
    // Writing into a String cannot fail.
    let _ = write!(out, "<{name}>");
    let _ = write_visible(out, text);
    let _ = write!(out, "</{name}>");
}

fn link(out: &mut String, relation: &str, address: &str) {
    // Writing into a String cannot fail.
    let _ = write!(out, "<link rel=\"{relation}\" href=\"");
    let _ = write_visible(out, address);
    out.push_str("\"/>");
}
