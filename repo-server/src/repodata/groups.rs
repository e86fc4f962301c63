//! Cutting the sorted list into groups. A border depends on the names near it alone, so a package
//! that comes or goes changes its own group, rarely the next one, and never all that follow.

use super::entry::Entry;
use sha2::{Digest, Sha256};
use std::ops::Range;

/// A group is not closed before it holds this many packages, unless the list ends.
pub const GROUP_PACKAGES_MIN: usize = 48;
/// A group is closed when it holds this many, whatever the names.
pub const GROUP_PACKAGES_MAX: usize = 256;
/// One name in this many opens a group: groups hold about 110 packages on average.
const NAMES_PER_BORDER: u64 = 64;

/// Whether a package of this name, being the first of its name, may open a group.
fn may_open(name: &str) -> bool {
    let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) < u64::MAX / NAMES_PER_BORDER
}

/// The groups of a sorted list, in order; none for an empty list.
pub(super) fn groups(entries: &[Entry]) -> Vec<Range<usize>> {
    groups_of(entries.len(), |number| &entries[number].nevra.name)
}

/// The groups of `count` packages whose names are sorted.
pub(crate) fn groups_of<'a>(count: usize, name: impl Fn(usize) -> &'a str) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut start = 0;
    for next in 1..count {
        let size = next - start;
        let full = size >= GROUP_PACKAGES_MAX;
        let border =
            size >= GROUP_PACKAGES_MIN && name(next) != name(next - 1) && may_open(name(next));
        if full || border {
            groups.push(start..next);
            start = next;
        }
    }
    if start < count {
        groups.push(start..count);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::{Evr, FileDigest, Nevra, Timestamp};
    use std::collections::HashSet;
    use std::sync::Arc;

    fn entry(name: &str, release: usize) -> Entry {
        Entry {
            nevra: Arc::new(Nevra {
                name: name.to_owned(),
                evr: Evr {
                    epoch: 0,
                    version: "1".to_owned(),
                    release: release.to_string(),
                },
                arch: "noarch".to_owned(),
            }),
            file_digest: FileDigest::of(format!("{name}-{release}").as_bytes()),
            sha512: None,
            file_size_bytes: 1,
            href: format!("{name}-{release}.rpm").parse().unwrap(),
            added_at: Timestamp::default(),
        }
    }

    fn members(entries: &[Entry]) -> HashSet<Vec<FileDigest>> {
        let digests = |group: Range<usize>| {
            entries[group]
                .iter()
                .map(|entry| entry.file_digest)
                .collect()
        };
        groups(entries).into_iter().map(digests).collect()
    }

    #[test]
    fn groups_cover_the_list_in_order_and_keep_their_bounds() {
        for count in [0, 1, 47, 48, 49, 500, 5_000] {
            let entries: Vec<Entry> = (0..count)
                .map(|n| entry(&format!("pkg{n:05}"), 1))
                .collect();
            let groups = groups(&entries);
            let mut next = 0;
            for (at, group) in groups.iter().enumerate() {
                assert_eq!(group.start, next);
                assert!(!group.is_empty() && group.len() <= GROUP_PACKAGES_MAX);
                assert!(group.len() >= GROUP_PACKAGES_MIN || at + 1 == groups.len());
                next = group.end;
            }
            assert_eq!(next, count);
        }
    }

    #[test]
    fn groups_hold_about_a_hundred_packages() {
        let entries: Vec<Entry> = (0..20_000)
            .map(|n| entry(&format!("pkg{n:05}"), 1))
            .collect();
        let mean = entries.len() / groups(&entries).len();
        assert!((80..=140).contains(&mean), "{mean}");
    }

    #[test]
    fn one_name_with_very_many_builds_is_cut_too() {
        let entries: Vec<Entry> = (0..1_000).map(|n| entry("kernel", n)).collect();
        assert_eq!(groups(&entries).len(), 4);
    }

    #[test]
    fn one_package_more_or_less_changes_few_groups() {
        let all: Vec<Entry> = (0..6_000)
            .map(|n| entry(&format!("pkg{n:05}"), 1))
            .collect();
        let before = members(&all);
        let mut changed = Vec::new();
        for gone in (0..6_000).step_by(37) {
            let mut fewer = all.clone();
            fewer.remove(gone);
            changed.push(members(&fewer).difference(&before).count());
        }
        let (most, sum) = (changed.iter().max().unwrap(), changed.iter().sum::<usize>());
        assert!(*most <= 8, "{most} groups changed");
        assert!(
            sum <= changed.len() * 2,
            "{sum} groups changed in {} removals",
            changed.len()
        );
    }
}
