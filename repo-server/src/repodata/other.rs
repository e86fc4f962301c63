//! One package in `other.xml`: the newest changelog entries, oldest first.
//!
//! ```text
//! <package pkgid="6f1b..." name="hello" arch="x86_64">
//!   <version epoch="0" ver="2.12" rel="1"/>
//!   <changelog author="Jane Doe &lt;jane@example.org&gt; - 2.12-1" date="1763553600">- update</changelog>
//! </package>
//! ```

use super::entry::Entry;
use super::error::PackageFault;
use super::filelists::open_package;
use super::kinds::Kind;
use super::options::Options;
use super::xml::Xml;
use repo_model::rpm::{ChangelogEntry, Package};
use sha2::{Digest, Sha256};
use std::cmp::Reverse;

pub(super) const KIND: Kind = Kind {
    record_type: "other",
    opening: "<otherdata xmlns=\"http://linux.duke.edu/metadata/other\"",
    closing: "</otherdata>",
    render,
    option_identity: |hash: &mut Sha256, options| {
        let limit = options
            .changelog_limit
            .map_or(u64::MAX, |limit| limit as u64);
        hash.update(limit.to_be_bytes());
    },
    entry_identity: |_, _| {},
};

fn render(
    xml: &mut Xml,
    entry: &Entry,
    package: &Package,
    options: &Options,
) -> Result<(), PackageFault> {
    open_package(xml, entry, package, options)?;
    let mut previous: Option<i64> = None;
    for change in newest(&package.changelog, options.changelog_limit)
        .into_iter()
        .rev()
    {
        // Entries of one day get a second each, the newer the later, so that a reader which sorts
        // by date keeps their order.
        let date = match previous {
            Some(previous) if change.time.unix_secs() <= previous => previous + 1,
            _ => change.time.unix_secs(),
        };
        previous = Some(date);
        xml.raw("  <changelog");
        xml.attribute("author", without_trailing_spaces(&change.author))?;
        xml.raw(" date=\"");
        xml.signed(date);
        xml.raw("\">");
        xml.text("changelog", &change.text)?;
        xml.raw("</changelog>\n");
    }
    xml.raw("</package>\n");
    Ok(())
}

/// The newest entries, newest first. rpmbuild writes the newest first; some vendors the oldest, so
/// the limit must not simply take the first ones.
fn newest(changelog: &[ChangelogEntry], limit: Option<usize>) -> Vec<&ChangelogEntry> {
    let mut entries: Vec<&ChangelogEntry> = changelog.iter().collect();
    if let (Some(first), Some(last)) = (entries.first(), entries.last())
        && first.time < last.time
    {
        entries.reverse();
    }
    entries.sort_by_key(|entry| Reverse(entry.time));
    entries.truncate(limit.unwrap_or(usize::MAX));
    entries
}

/// createrepo_c keeps the first character even when it is a space.
fn without_trailing_spaces(author: &str) -> &str {
    let trimmed = author.trim_end_matches(' ');
    if trimmed.is_empty() && !author.is_empty() {
        return " ";
    }
    trimmed
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::Timestamp;

    fn changes(dates: &[i64]) -> Vec<ChangelogEntry> {
        let entry = |(n, secs): (usize, &i64)| ChangelogEntry {
            time: Timestamp::from_unix_secs(*secs),
            author: format!("a{n}"),
            text: String::new(),
        };
        dates.iter().enumerate().map(entry).collect()
    }

    #[test]
    fn the_limit_keeps_the_newest_whichever_way_round_they_are_stored() {
        for (dates, kept) in [
            (vec![30, 20, 10], vec!["a0", "a1"]),
            (vec![10, 20, 30], vec!["a2", "a1"]),
            (vec![20, 30, 10], vec!["a1", "a0"]),
            (vec![20, 20, 20], vec!["a0", "a1"]),
            (vec![10, 20, 20], vec!["a2", "a1"]),
        ] {
            let stored = changes(&dates);
            let authors: Vec<&str> = newest(&stored, Some(2))
                .iter()
                .map(|c| c.author.as_str())
                .collect();
            assert_eq!(authors, kept, "{dates:?}");
        }
    }

    #[test]
    fn authors_lose_trailing_spaces_only() {
        for (author, written) in [
            ("a b  ", "a b"),
            (" a", " a"),
            ("   ", " "),
            ("", ""),
            ("a\t ", "a\t"),
        ] {
            assert_eq!(without_trailing_spaces(author), written);
        }
    }
}
