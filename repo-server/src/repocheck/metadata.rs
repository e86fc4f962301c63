//! What the metadata says of a package against what its header says, field by field.
//!
//! The header is told to the same [`Telling`] as the metadata, by the writer's own rules. Where that gives another hash,
//! the deliberate differences of `docs/decisions/0005` are tried: what createrepo_c, in any version and over any librpm,
//! writes for the same header is no fault of a repository.

use super::facts::{Changes, Entry, FIELDS, Facts, FileTelling, Files, Telling, change, field};
use super::telling::Told;
use crate::repodata::{EvrText, Requires, flags_text};
use repo_model::rpm::{Dependency, DependencyFlags, FileEntry, FileKind, Package, RpmFormat};
use std::collections::HashSet;
use std::hash::RandomState;

/// Sense bits of %pretrans and %posttrans: createrepo_c before 1.0 does not mark them.
const PRE_OF_TRANSACTION: u32 = 1 << 7 | 1 << 5;

/// One thing in which metadata and header differ.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// The list that says something else: `primary`, `filelists`, `other`, `filelists-ext`.
    pub list: &'static str,
    /// Where its element of the package starts; none in primary, whose claim knows it.
    pub offset: Option<u64>,
    /// The element.
    pub field: &'static str,
    /// What the header says, in a few words.
    pub header: String,
}

/// Compares all that was told of a package with its header.
pub(super) fn differences(told: &Told, package: &Package, hash: &RandomState) -> Vec<Difference> {
    let mut found = Vec::new();
    if let Some(primary) = &told.primary {
        let fields = differing_fields(primary, package, hash);
        found.extend(fields.into_iter().map(|number| Difference {
            list: "primary",
            offset: None,
            field: FIELDS[number],
            header: in_words(package, FIELDS[number]),
        }));
    }
    if let Some(place) = &told.filelists
        && !GHOSTS
            .iter()
            .any(|ghost| files(package, *ghost, false, hash).agrees(&place.said))
    {
        found.push(Difference {
            list: "filelists",
            offset: Some(place.offset),
            field: "file",
            header: in_words(package, "file"),
        });
    }
    if let Some(place) = &told.filelists_ext
        && differs_with_digests(package, &place.said, hash)
    {
        found.push(Difference {
            list: "filelists-ext",
            offset: Some(place.offset),
            field: "file",
            header: in_words(package, "file"),
        });
    }
    if let Some(place) = &told.other
        && !are_changes_of(&place.said, package, hash)
    {
        found.push(Difference {
            list: "other",
            offset: Some(place.offset),
            field: "changelog",
            header: in_words(package, "changelog"),
        });
    }
    found
}

/// The fields of primary that no writer would have made of this header, by their numbers.
fn differing_fields(primary: &Facts, package: &Package, hash: &RandomState) -> Vec<usize> {
    let mut wrong = differing(primary, &header_facts(package, Ghost::Directory, hash));
    if !wrong.is_empty() {
        for (variant, ghost) in variants(package) {
            let facts = differing(primary, &header_facts(&variant, ghost, hash));
            wrong.retain(|number| facts.contains(number));
        }
    }
    wrong
}

fn differing(one: &Facts, other: &Facts) -> Vec<usize> {
    let pairs = one.0.iter().zip(&other.0).enumerate();
    pairs
        .filter(|(_, (one, other))| one != other)
        .map(|(number, _)| number)
        .collect()
}

/// What a directory that is a ghost is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ghost {
    /// `dir`, as createrepo_c has it.
    Directory,
    /// `ghost`, as yum's createrepo had it.
    Ghost,
}

const GHOSTS: [Ghost; 2] = [Ghost::Directory, Ghost::Ghost];

/// The header as other writers read it.
fn variants(package: &Package) -> Vec<(Package, Ghost)> {
    let mut old = package.clone();
    for dependency in &mut old.requires {
        dependency.sense &= !PRE_OF_TRANSACTION;
    }
    let mut all = vec![(old, Ghost::Ghost)];
    if package.format == RpmFormat::V6 {
        // There is no tag for it that createrepo_c reads.
        let mut unknown = package.clone();
        unknown.archive_size_bytes = 0;
        all.push((unknown, Ghost::Directory));
    }
    if package.format == RpmFormat::V3 {
        // librpm 4 adds the package's own provide; librpm 6 loses provides without a version.
        let mut own = package.clone();
        own.provides.push(own_provide(package));
        let mut versioned = package.clone();
        versioned
            .provides
            .retain(|provide| provide.version.is_some());
        let mut both = versioned.clone();
        both.provides.push(own_provide(package));
        all.extend([own, versioned, both].map(|variant| (variant, Ghost::Directory)));
    }
    all
}

fn own_provide(package: &Package) -> Dependency {
    Dependency {
        name: package.nevra.name.clone(),
        version: Some((DependencyFlags::Eq, package.nevra.evr.to_string())),
        sense: 8,
    }
}

/// What a header says, by the rules of our writer. What no entry of a list can hold (`foo:bar` as a version) has none.
fn header_facts(package: &Package, ghost: Ghost, hash: &RandomState) -> Facts {
    let mut telling = Telling::new(hash);
    for name in FIELDS {
        if let (Some(number), Some(value)) = (field(name), value(package, name)) {
            telling.value(number, &value);
        }
    }
    let requires = Requires::of(package);
    let mut tell = |list: &str, dependency: &Dependency, pre: bool| {
        let version = match &dependency.version {
            Some((flags, version)) => match EvrText::parse(version) {
                Some(evr) => Some((flags_text(*flags), evr)),
                None => return,
            },
            None => None,
        };
        let (flags, evr) = version.unwrap_or_default();
        let entry = Entry {
            name: &dependency.name,
            flags,
            epoch: evr.epoch,
            version: evr.version,
            release: evr.release,
            pre,
        };
        if let Some(list) = field(list) {
            // A header cannot hold as many entries as are too many.
            let _ = telling.dependency(list, entry);
        }
    };
    for (dependency, pre) in &requires.hard {
        tell("requires", dependency, *pre);
    }
    for dependency in &requires.recommends {
        tell("recommends", dependency, false);
    }
    for (list, dependencies) in lists(package) {
        for dependency in dependencies
            .iter()
            .filter(|_| !matches!(list, "requires" | "recommends"))
        {
            tell(list, dependency, false);
        }
    }
    for file in &package.files {
        let _ = telling.file(&file.path, kind(file, ghost));
    }
    telling.finish()
}

fn lists(package: &Package) -> [(&'static str, &[Dependency]); 8] {
    [
        ("provides", &package.provides),
        ("requires", &package.requires),
        ("conflicts", &package.conflicts),
        ("obsoletes", &package.obsoletes),
        ("suggests", &package.suggests),
        ("enhances", &package.enhances),
        ("recommends", &package.recommends),
        ("supplements", &package.supplements),
    ]
}

/// A text or number of the header by its name in primary; none for lists.
fn value(package: &Package, field: &str) -> Option<String> {
    let optional = |text: &Option<String>| Some(text.clone().unwrap_or_default());
    match field {
        "summary" => Some(package.summary.clone()),
        "description" => Some(package.description.clone()),
        "packager" => optional(&package.packager),
        "url" => optional(&package.url),
        "license" => Some(package.license.clone()),
        "vendor" => optional(&package.vendor),
        "group" => Some(package.group.clone()),
        "buildhost" => Some(package.build_host.clone()),
        "sourcerpm" => optional(&package.source_rpm),
        "time build" => Some(package.build_time.unix_secs().to_string()),
        "size installed" => Some(package.installed_size_bytes.to_string()),
        "size archive" => Some(package.archive_size_bytes.to_string()),
        _ => None,
    }
}

/// What the header says of a field, for a message.
fn in_words(package: &Package, field: &str) -> String {
    if let Some(value) = value(package, field) {
        let start: String = value.chars().take(80).collect();
        let more = if start.len() < value.len() { "..." } else { "" };
        return format!("`{start}{more}`");
    }
    let count = match field {
        "file" => package.files.len(),
        "changelog" => package.changelog.len(),
        _ => lists(package)
            .iter()
            .find(|(list, _)| *list == field)
            .map_or(0, |(_, list)| list.len()),
    };
    format!("a list of {count}")
}

fn kind(file: &FileEntry, ghost: Ghost) -> &'static str {
    match (file.kind, file.is_ghost(), ghost) {
        (FileKind::Dir, true, Ghost::Directory) | (FileKind::Dir, false, _) => "dir",
        (_, true, _) => "ghost",
        (_, false, _) => "",
    }
}

fn files(package: &Package, ghost: Ghost, with_digests: bool, hash: &RandomState) -> Files {
    let mut telling = FileTelling::new(hash);
    for file in &package.files {
        let digest = if with_digests { &file.digest } else { "" };
        let _ = telling.file(&file.path, kind(file, ghost), digest);
    }
    telling.finish()
}

fn differs_with_digests(
    package: &Package,
    (name, said): &(String, Files),
    hash: &RandomState,
) -> bool {
    let named = crate::repodata::algorithm_name(package.file_digest_algorithm);
    // createrepo_c writes `unknown` for an absent tag.
    let is_named = name == named || name == "unknown";
    !is_named || !files(package, Ghost::Directory, true, hash).agrees(said)
}

/// Whether what `other` lists are changes of the header, and which may be listed: the newest among them, or the first of
/// the header, which createrepo_c takes for the newest. How many is the writer's choice, none included.
fn are_changes_of(said: &Changes, package: &Package, hash: &RandomState) -> bool {
    let Some(newest) = said.newest_day else {
        return true;
    };
    let known = package.changelog.iter().map(|one| {
        let day = one.time.unix_secs().div_euclid(86_400);
        (day, change(hash, &one.author, day, &one.text))
    });
    let known: Vec<(i64, u64)> = known.collect();
    let have = |changes: &[(i64, u64)]| {
        let hashes: HashSet<u64> = changes.iter().map(|(_, hash)| *hash).collect();
        let newest_known = changes.iter().map(|(day, _)| *day).max();
        newest_known == Some(newest) && said.hashes.iter().all(|one| hashes.contains(one))
    };
    let first = usize::try_from(said.count).ok();
    let first = first.and_then(|count| known.get(..count));
    have(&known) || first.is_some_and(|first| have(first) && listed_all(first, said))
}

/// Whether each of these changes is listed; nothing is known of more than those whose hashes were kept.
fn listed_all(changes: &[(i64, u64)], said: &Changes) -> bool {
    let listed: HashSet<u64> = said.hashes.iter().copied().collect();
    changes.len() > said.hashes.len() || changes.iter().all(|(_, hash)| listed.contains(hash))
}
