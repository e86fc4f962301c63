//! Where a question looks, and what all answers share.

use super::AskError;
use crate::db::parsed;
use repo_model::wire::sbom::{PackageRef, Page};
use repo_model::{Arch, ReleaseId, RepoName};
use rusqlite::Row;
use std::fmt;
use std::str::FromStr;

/// A release, or a part of it.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The release.
    pub release: ReleaseId,
    /// Only this repository.
    pub repo: Option<RepoName>,
    /// Only what this architecture gets.
    pub arch: Option<Arch>,
    /// Only packages of this name, NEVRA or header digest.
    pub package: Option<String>,
}

impl Scope {
    /// Values for [`IN_SCOPE`].
    pub(super) fn repo(&self) -> Option<&str> {
        self.repo.as_ref().map(RepoName::as_str)
    }

    /// Values for [`IN_SCOPE`].
    pub(super) fn arch(&self) -> Option<&str> {
        self.arch.as_ref().map(Arch::as_str)
    }
}

/// Condition on `p`, a row of `server.packages`; wants `:release`, `:repo`, `:arch` and `:package`.
pub(super) const IN_SCOPE: &str = "(:package IS NULL OR p.nevra = :package OR p.name = :package OR p.header_digest = :package)
    AND EXISTS (SELECT 1 FROM server.members m WHERE m.package_id = p.package_id AND m.added_release <= :release
        AND (m.removed_release IS NULL OR m.removed_release > :release)
        AND (:repo IS NULL OR m.repo = :repo) AND (:arch IS NULL OR m.arch = :arch))";

/// Joins a document `d` with its packages and their builds, in this order.
pub(super) const PACKAGES_OF_DOCUMENT: &str = "CROSS JOIN server.packages p ON p.header_digest = d.header CROSS JOIN server.builds b ON b.build_id = p.build_id";

/// Columns of [`package`].
pub(super) const PACKAGE: &str =
    "p.nevra, p.repo, p.header_digest, p.href, p.build_id, b.source_nevra";

/// Reads [`PACKAGE`].
pub(super) fn package(row: &Row<'_>) -> rusqlite::Result<PackageRef> {
    Ok(PackageRef {
        nevra: parsed(row, "nevra")?,
        repo: parsed(row, "repo")?,
        header: parsed(row, "header_digest")?,
        href: row.get("href")?,
        build: row.get("build_id")?,
        source: parsed(row, "source_nevra")?,
    })
}

/// The place of an item in the order of an answer; what the numbers are is each question's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct After(pub [i64; 4]);

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a}.{b}.{c}.{d}")
    }
}

impl FromStr for After {
    type Err = AskError;
    fn from_str(text: &str) -> Result<Self, AskError> {
        let refuse = || AskError::parameter("after", text, "is not what `next` of an answer said");
        let mut parts = text.split('.');
        let mut numbers = [0; 4];
        for number in &mut numbers {
            let part = parts.next().ok_or_else(refuse)?;
            let is_number = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            *number = part.parse().ok().filter(|_| is_number).ok_or_else(refuse)?;
        }
        match parts.next() {
            None => Ok(Self(numbers)),
            Some(_) => Err(refuse()),
        }
    }
}

/// Which page of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging {
    /// The last item that the asker has seen.
    pub after: After,
    /// Most items in one answer.
    pub limit: u32,
}

impl Paging {
    /// Of a list whose items are numbered: how many the asker has seen.
    pub(super) fn seen(self) -> usize {
        usize::try_from(self.after.0[0]).unwrap_or(usize::MAX)
    }

    /// A page of a list that is there as a whole; its items are numbered.
    pub fn cut<T>(self, release: ReleaseId, all: impl Iterator<Item = T>) -> Page<T> {
        let mut items = Items::new(self);
        for (number, item) in (1..).zip(all).skip(self.seen()) {
            if !items.add(After([number, 0, 0, 0]), item) {
                break;
            }
        }
        items.page(release)
    }
}

/// A page in the making.
pub(super) struct Items<T> {
    limit: usize,
    items: Vec<T>,
    last: After,
    more: bool,
}

impl<T> Items<T> {
    pub(super) fn new(paging: Paging) -> Self {
        Self {
            limit: paging.limit as usize,
            items: Vec::new(),
            last: paging.after,
            more: false,
        }
    }

    /// Adds the next item; `false` when the page is full, and there is more.
    pub(super) fn add(&mut self, at: After, item: T) -> bool {
        if self.items.len() >= self.limit {
            self.more = true;
            return false;
        }
        self.items.push(item);
        self.last = at;
        true
    }

    /// Whether nothing more fits.
    pub(super) fn is_full(&self) -> bool {
        self.more
    }

    pub(super) fn page(self, release: ReleaseId) -> Page<T> {
        Page {
            release,
            items: self.items,
            next: self.more.then(|| self.last.to_string()),
            advisories: None,
        }
    }
}
