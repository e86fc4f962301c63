//! What primary, filelists and other say of one package, in a form in which two writers of the same thing agree: each
//! field is one keyed hash, so that a package costs some three hundred bytes whatever it holds.
//!
//! The same [`Telling`] is fed from a repository's XML (`telling`) and from the package's header (`header_facts`).
//! What writers of metadata do differently without being wrong falls away here:
//!
//! * the order of lists, and repetitions in them;
//! * requirements that a client need not look for, which some leave out: `rpmlib(...)`, what the package itself provides
//!   or owns, all but the highest `libc.so.6(...)`; and files of primary that need not be there;
//! * text that was not UTF-8: createrepo_c loses U+0080 to U+00BF; control characters; blanks at both ends;
//! * an absent element and an empty one; `(none)`, which rpm prints for an absent tag.

use crate::repodata::{is_primary_path, libc_order};
use std::cmp::Ordering;
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// Most entries of all lists of a package that are read; the largest packages have some hundred thousand files.
const ENTRIES_MAX: usize = 4_000_000;

/// The fields of primary that are compared, as primary calls them: texts, numbers, lists.
pub(super) const FIELDS: [&str; FIELD_COUNT] = [
    "summary",
    "description",
    "packager",
    "url",
    "license",
    "vendor",
    "group",
    "buildhost",
    "sourcerpm",
    "time build",
    "size installed",
    "size archive",
    "provides",
    "requires",
    "conflicts",
    "obsoletes",
    "suggests",
    "enhances",
    "recommends",
    "supplements",
    "file",
];
const FIELD_COUNT: usize = 21;
const FIRST_NUMBER: usize = 9;
const FIRST_LIST: usize = 12;
const FILE: usize = FIELD_COUNT - 1;

/// Where a field of primary is in [`FIELDS`].
pub(super) fn field(name: &str) -> Option<usize> {
    FIELDS.iter().position(|field| *field == name)
}

/// Where a list of dependencies is in [`FIELDS`].
pub(super) fn dependency_list(name: &str) -> Option<usize> {
    field(name).filter(|field| (FIRST_LIST..FILE).contains(field))
}

/// Where a text is in [`FIELDS`].
pub(super) fn text_field(name: &str) -> Option<usize> {
    field(name).filter(|field| *field < FIRST_NUMBER)
}

/// The hash of each field of primary, in the order of [`FIELDS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts(pub [u64; FIELD_COUNT]);

/// A dependency as it is written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry<'a> {
    pub name: &'a str,
    pub flags: &'a str,
    pub epoch: &'a str,
    pub version: &'a str,
    pub release: &'a str,
    /// Wanted before the package's scripts run.
    pub pre: bool,
}

/// A package has more entries than any real one. The metadata's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a package has more than {ENTRIES_MAX} entries")]
pub(super) struct TooMany;

/// A requirement: its hash without and with `pre`, and that of its name when it is a path of primary.
#[derive(Clone, Copy)]
struct Requirement {
    capability: u64,
    whole: u64,
    path: Option<u64>,
}

/// One package of primary as it is told, field by field, in any order.
pub(super) struct Telling<'a> {
    hash: &'a RandomState,
    fields: [u64; FIELD_COUNT],
    lists: [Vec<u64>; FILE - FIRST_LIST],
    requires: Vec<Requirement>,
    libc: Option<(String, Requirement)>,
    /// The hash of each file, and that of its path alone.
    files: Vec<u64>,
    paths: HashSet<u64>,
    entries: usize,
}

impl<'a> Telling<'a> {
    pub fn new(hash: &'a RandomState) -> Self {
        Self {
            hash,
            fields: [hash.hash_one(""); FIELD_COUNT],
            lists: Default::default(),
            requires: Vec::new(),
            libc: None,
            files: Vec::new(),
            paths: HashSet::new(),
            entries: 0,
        }
    }

    /// A text or a number.
    pub fn value(&mut self, field: usize, value: &str) {
        let value = text(value);
        let value = if value == "(none)" { "" } else { &value };
        self.fields[field] = self.hash.hash_one(value);
    }

    /// An entry of a list of dependencies.
    pub fn dependency(&mut self, list: usize, entry: Entry<'_>) -> Result<(), TooMany> {
        self.count()?;
        let name = attribute(entry.name);
        if name.is_empty() {
            return Ok(());
        }
        let epoch = if entry.epoch.is_empty() {
            "0"
        } else {
            entry.epoch
        };
        let version = match entry.flags {
            "" => None,
            flags => Some((
                flags,
                epoch,
                attribute(entry.version),
                attribute(entry.release),
            )),
        };
        let capability = self.hash.hash_one((&name, version));
        if FIELDS[list] == "requires" {
            self.requirement(name, capability, entry.pre);
        } else {
            self.lists[list - FIRST_LIST].push(capability);
        }
        Ok(())
    }

    fn requirement(&mut self, name: String, capability: u64, pre: bool) {
        let is_path = name.starts_with('/') && is_primary_path(&name);
        let requirement = Requirement {
            capability,
            whole: self.hash.hash_one((capability, pre)),
            path: is_path.then(|| self.hash.hash_one(&name)),
        };
        if name.starts_with("libc.so.6") {
            let is_higher = self
                .libc
                .as_ref()
                .is_none_or(|(highest, _)| libc_order(highest, &name) == Ordering::Less);
            if is_higher {
                self.libc = Some((name, requirement));
            }
        } else if !name.starts_with("rpmlib(") {
            self.requires.push(requirement);
        }
    }

    /// A file; `kind` is empty, `dir` or `ghost`.
    pub fn file(&mut self, path: &str, kind: &str) -> Result<(), TooMany> {
        self.count()?;
        let path = text(path);
        if is_primary_path(&path) {
            let hash = self.hash.hash_one(&path);
            if self.paths.insert(hash) {
                self.files.push(self.hash.hash_one((hash, kind)));
            }
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), TooMany> {
        self.entries += 1;
        match self.entries > ENTRIES_MAX {
            true => Err(TooMany),
            false => Ok(()),
        }
    }

    /// All was told.
    pub fn finish(mut self) -> Facts {
        let provides: HashSet<u64> = self.lists[0].iter().copied().collect();
        let paths = &self.paths;
        let own = |requirement: &Requirement| {
            provides.contains(&requirement.capability)
                || requirement.path.is_some_and(|path| paths.contains(&path))
        };
        let requires = self
            .requires
            .iter()
            .chain(self.libc.as_ref().map(|(_, libc)| libc));
        let requires = requires
            .filter(|requirement| !own(requirement))
            .map(|one| one.whole)
            .collect();
        for (number, list) in self.lists.iter_mut().enumerate() {
            self.fields[FIRST_LIST + number] = set(self.hash, std::mem::take(list));
        }
        if let Some(list) = field("requires") {
            self.fields[list] = set(self.hash, requires);
        }
        self.fields[FILE] = set(self.hash, self.files);
        Facts(self.fields)
    }
}

/// What filelists or filelists-ext say of the files of one package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Files {
    /// The paths as they are written.
    raw: u64,
    /// The paths without what some writers lose.
    folded: u64,
    /// How many entries there are, repetitions too.
    entries: u64,
}

impl Files {
    /// Whether one is the other, or what a writer that loses characters makes of it: paths that it makes alike are
    /// still as many.
    pub fn agrees(&self, other: &Self) -> bool {
        self.raw == other.raw || (self.folded == other.folded && self.entries == other.entries)
    }
}

/// One package of filelists or filelists-ext as it is told.
pub(super) struct FileTelling<'a> {
    hash: &'a RandomState,
    files: Vec<u64>,
    /// Of the files that some writers write otherwise: the place in `files`, and the hash of what they write.
    folded: Vec<(usize, u64)>,
    paths: HashSet<u64>,
    /// How many entries repeat a path.
    pub repeated: u64,
}

impl<'a> FileTelling<'a> {
    pub fn new(hash: &'a RandomState) -> Self {
        Self {
            hash,
            files: Vec::new(),
            folded: Vec::new(),
            paths: HashSet::new(),
            repeated: 0,
        }
    }

    /// A file; `digest` is empty in filelists.
    pub fn file(&mut self, path: &str, kind: &str, digest: &str) -> Result<(), TooMany> {
        if !self.paths.insert(self.hash.hash_one(path)) {
            self.repeated += 1;
            return Ok(());
        }
        let folded = text(path);
        if folded != path {
            let hash = self.hash.hash_one((folded.as_str(), kind, digest));
            self.folded.push((self.files.len(), hash));
        }
        self.files.push(self.hash.hash_one((path, kind, digest)));
        match self.files.len() > ENTRIES_MAX {
            true => Err(TooMany),
            false => Ok(()),
        }
    }

    pub fn finish(self) -> Files {
        let entries = self.files.len() as u64 + self.repeated;
        let mut folded = match self.folded.is_empty() {
            true => Vec::new(),
            false => self.files.clone(),
        };
        for (number, hash) in &self.folded {
            folded[*number] = *hash;
        }
        let raw = set(self.hash, self.files);
        let folded = match self.folded.is_empty() {
            true => raw,
            false => set(self.hash, folded),
        };
        Files {
            raw,
            folded,
            entries,
        }
    }
}

/// Most changes of a package whose hashes are kept.
const CHANGES_KEPT: usize = 100;

/// The changelog of a package as `other` tells it. How many changes are listed is the writer's choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// The day of the newest, since 1970; none when there are none.
    pub newest_day: Option<i64>,
    /// How many are listed.
    pub count: u64,
    /// The hashes of the last hundred: the oldest stand first in `other`.
    pub hashes: VecDeque<u64>,
}

impl Changes {
    /// Takes a change in. Times of one day may differ: writers tell changes of one day apart by seconds.
    pub fn tell(&mut self, hash: &RandomState, author: &str, date_secs: i64, body: &str) {
        let day = date_secs.div_euclid(86_400);
        self.newest_day = self.newest_day.max(Some(day));
        self.count += 1;
        if self.hashes.len() == CHANGES_KEPT {
            self.hashes.pop_front();
        }
        self.hashes.push_back(change(hash, author, day, body));
    }
}

/// The hash of one change.
pub(super) fn change(hash: &RandomState, author: &str, day: i64, body: &str) -> u64 {
    hash.hash_one((attribute(author), day, text(body)))
}

/// The hash of a list in which order and repetitions do not count.
fn set(hash: &RandomState, mut entries: Vec<u64>) -> u64 {
    if entries.is_empty() {
        return hash.hash_one("");
    }
    entries.sort_unstable();
    entries.dedup();
    hash.hash_one(entries)
}

/// A text without what some writers lose.
fn text(text: &str) -> String {
    let kept = |c: &char| !matches!(c, '\0'..='\x08' | '\x0b'..='\x1f' | '\x7f'..='\u{bf}' | '\u{fffe}' | '\u{ffff}');
    text.trim()
        .chars()
        .filter(kept)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// The same for an attribute, in which readers may take any blank for a space.
fn attribute(value: &str) -> String {
    text(value).replace(['\t', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(tell: impl FnOnce(&mut Telling<'_>), hash: &RandomState) -> Facts {
        let mut telling = Telling::new(hash);
        tell(&mut telling);
        telling.finish()
    }

    fn plain(name: &str) -> Entry<'_> {
        Entry {
            name,
            ..Entry::default()
        }
    }

    #[test]
    fn order_repetition_and_what_a_client_need_not_look_for_make_no_difference() {
        let hash = RandomState::new();
        let (provides, requires) = (field("provides").unwrap(), field("requires").unwrap());
        let first = facts(
            |telling| {
                telling.value(0, " a\u{1}\u{80}b ");
                telling.dependency(provides, plain("own")).unwrap();
                for name in ["b", "a", "rpmlib(X)", "own", "/usr/bin/x", "a"] {
                    telling.dependency(requires, plain(name)).unwrap();
                }
                for name in ["libc.so.6()(64bit)", "libc.so.6(GLIBC_2.34)(64bit)"] {
                    telling.dependency(requires, plain(name)).unwrap();
                }
                telling.file("/usr/bin/x", "").unwrap();
                telling.file("/usr/share/doc", "dir").unwrap();
            },
            &hash,
        );
        let second = facts(
            |telling| {
                telling.file("/usr/bin/x", "").unwrap();
                for name in ["a", "libc.so.6(GLIBC_2.34)(64bit)", "b"] {
                    telling.dependency(requires, plain(name)).unwrap();
                }
                telling.dependency(provides, plain("own")).unwrap();
                telling.value(0, "ab");
                telling.value(1, "(none)");
            },
            &hash,
        );
        assert_eq!(first, second);
    }

    #[test]
    fn each_part_of_an_entry_makes_a_difference() {
        let hash = RandomState::new();
        let requires = field("requires").unwrap();
        let entry = Entry {
            name: "a",
            flags: "GE",
            epoch: "",
            version: "1",
            release: "2",
            pre: false,
        };
        let told = |entry: Entry<'_>| {
            facts(
                |telling| telling.dependency(requires, entry).unwrap(),
                &hash,
            )
        };
        assert_eq!(
            told(entry),
            told(Entry {
                epoch: "0",
                ..entry
            })
        );
        for other in [
            Entry { name: "b", ..entry },
            Entry {
                flags: "EQ",
                ..entry
            },
            Entry {
                epoch: "1",
                ..entry
            },
            Entry {
                version: "2",
                ..entry
            },
            Entry {
                release: "",
                ..entry
            },
            Entry { pre: true, ..entry },
        ] {
            assert_ne!(told(entry), told(other), "{other:?}");
        }
        let mut listed = FileTelling::new(&hash);
        listed.file("/a", "", "").unwrap();
        listed.file("/a", "", "").unwrap();
        assert_eq!(listed.repeated, 1);
        let mut ghost = FileTelling::new(&hash);
        ghost.file("/a", "ghost", "").unwrap();
        assert!(!listed.finish().agrees(&ghost.finish()));
    }

    fn told_files(hash: &RandomState, paths: &[&str]) -> (Files, u64) {
        let mut telling = FileTelling::new(hash);
        for path in paths {
            telling.file(path, "", "").unwrap();
        }
        let repeated = telling.repeated;
        (telling.finish(), repeated)
    }

    #[test]
    fn paths_that_only_some_writers_make_alike_are_different_files() {
        let hash = RandomState::new();
        let (header, repeated) = told_files(&hash, &["/x/a\u{a9}", "/x/a\u{ae}"]);
        assert_eq!(repeated, 0);
        for same in [
            &["/x/a\u{ae}", "/x/a\u{a9}"][..],
            &["/x/a\u{a9}", "/x/a\u{ae}", "/x/a\u{ae}"],
            // What is left of them where the characters are lost.
            &["/x/a", "/x/a"],
        ] {
            assert!(told_files(&hash, same).0.agrees(&header), "{same:?}");
        }
        for other in [
            &["/x/a\u{a9}"][..],
            &["/x/a\u{ae}"],
            &["/x/a"],
            &["/x/b", "/x/b"],
        ] {
            assert!(!told_files(&hash, other).0.agrees(&header), "{other:?}");
        }
    }

    #[test]
    fn of_many_changes_the_last_are_kept() {
        let hash = RandomState::new();
        let mut changes = Changes::default();
        for day in 0..150 {
            changes.tell(&hash, "a", day * 86_400, "- x");
        }
        let last = |day| change(&hash, "a", day, "- x");
        assert_eq!((changes.count, changes.newest_day), (150, Some(149)));
        assert_eq!(changes.hashes, (50..150).map(last).collect::<Vec<_>>());
    }
}
