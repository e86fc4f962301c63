//! What the copy must hold: the files that `repomd.xml` names, and the packages that primary lists.

use super::claim::Claim;
use super::filter::{Filters, Newest};
use super::{OWN_DIRECTORY, SyncError};
use crate::reading::{
    Href, ModularPackages, PackageClaim, REPOMD, RecordClaim, Repomd, read_primary,
};
use std::io::BufRead;

/// Longest path that is written; the kernel takes 4,096 bytes with the copy's own directory.
const PATH_MAX_BYTES: usize = 2_048;
/// Memory for the list of packages, bytes; some 600,000 packages.
const LIST_MAX_BYTES: usize = 96 << 20;
/// What an item costs beside its path.
const ITEM_BYTES: usize = 160;
/// What looking for the newest costs for a package, beside its name and version.
const NEWEST_BYTES: usize = 160;

/// Whether a file may change under its name, and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Metadata,
    Package,
}

/// A file that the copy must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Below the copy's directory and below the upstream's URL.
    pub path: Box<str>,
    pub claim: Claim,
    pub size_bytes: Option<u64>,
    pub kind: Kind,
}

/// A package that its metadata places on another site: it stays there, and stays listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    /// For people.
    pub path: Box<str>,
    /// None: it is of no known kind, and nobody could check it.
    pub claim: Option<Claim>,
}

/// The packages of a repository, as far as they are wanted.
#[derive(Debug, Default)]
pub(crate) struct Packages {
    pub items: Vec<Item>,
    /// Places of packages that another item has under another name: same content, number of the item.
    pub twins: Vec<(Box<str>, usize)>,
    /// Places that two different packages claim; the first has it.
    pub contested: Vec<Box<str>>,
    /// Packages that primary lists.
    pub listed: u64,
    /// Packages on other sites.
    pub elsewhere: Vec<Elsewhere>,
    /// Packages whose checksum can be forged.
    pub weak: u64,
}

/// The files that `repomd.xml` names; `wanted` leaves out types of records.
pub(crate) fn metadata(
    repomd: &Repomd,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Item>, SyncError> {
    let mut items: Vec<Item> = Vec::new();
    for record in &repomd.records {
        if record.base.is_some() || !wanted(&record.record_type) {
            continue;
        }
        let wrong = |why: String| SyncError::Metadata {
            file: REPOMD.to_owned(),
            why: format!("the record `{}` {why}", shown(&record.record_type)),
        };
        let path = place(&record.href).map_err(&wrong)?;
        let claim = record.checksum.as_ref().and_then(Claim::new);
        let claim = claim.ok_or_else(|| wrong("has no checksum of a known kind".to_owned()))?;
        match items.iter().find(|item| item.path == path) {
            Some(item) if item.claim == claim => {}
            Some(_) => return Err(wrong("has the place of another one".to_owned())),
            None => items.push(Item {
                path,
                claim,
                size_bytes: record.size_bytes,
                kind: Kind::Metadata,
            }),
        }
    }
    Ok(items)
}

/// The record of primary.
pub(crate) fn primary(repomd: &Repomd) -> Result<&RecordClaim, SyncError> {
    let wrong = |why: &str| SyncError::Metadata {
        file: REPOMD.to_owned(),
        why: why.to_owned(),
    };
    let record = repomd.of_type("primary").next();
    let record = record.ok_or_else(|| wrong("it names no `primary`"))?;
    match record.base {
        None => Ok(record),
        Some(_) => Err(wrong("its `primary` is on another site")),
    }
}

/// The record that tells which packages belong to modules, where the filters must know and the repository has it.
pub(crate) fn modules<'a>(repomd: &'a Repomd, filters: &Filters) -> Option<&'a RecordClaim> {
    let mut records = repomd.of_type("modules");
    let here = records.find(|record| record.base.is_none());
    here.filter(|_| filters.newest_only)
}

/// Reads it.
pub(crate) fn modular_packages(
    modules: impl BufRead,
    href: &str,
) -> Result<ModularPackages, SyncError> {
    let mut found = ModularPackages::default();
    found.read(modules).map_err(|error| SyncError::Metadata {
        file: href.to_owned(),
        why: error.to_string(),
    })?;
    Ok(found)
}

/// Reads primary. `taken`: places of metadata, which packages cannot have.
pub(crate) fn packages(
    primary: impl BufRead,
    href: &str,
    (filters, modules): (&Filters, &ModularPackages),
    taken: &[Item],
) -> Result<Packages, SyncError> {
    let wrong = |why: String| SyncError::Metadata {
        file: href.to_owned(),
        why,
    };
    let mut list = List {
        newest: filters.newest_only.then(Newest::default),
        ..List::default()
    };
    read_primary(primary, |claim| {
        list.found.listed += 1;
        if !filters.take(&claim) || list.fault.is_some() {
            return;
        }
        list.add(&claim, modules, taken);
    })
    .map_err(|error| wrong(error.to_string()))?;
    if let Some(why) = list.fault {
        return Err(wrong(why));
    }
    Ok(list.finish())
}

/// Packages under way.
#[derive(Default)]
struct List {
    found: Packages,
    /// All that the filters take; none stands where a package is on another site.
    all: Vec<Option<Item>>,
    elsewhere: Vec<(usize, Elsewhere)>,
    newest: Option<Newest>,
    bytes: usize,
    fault: Option<String>,
}

impl List {
    fn add(&mut self, claim: &PackageClaim, modules: &ModularPackages, taken: &[Item]) {
        let number = self.all.len();
        if let Some(newest) = &mut self.newest {
            let version = &claim.version;
            let texts = [&claim.name, &claim.arch, &version.version, &version.release];
            self.bytes += texts.map(String::len).iter().sum::<usize>() + NEWEST_BYTES;
            newest.look(claim, number, modules);
        }
        match item(claim, taken) {
            Ok(Some(item)) => {
                self.bytes += item.path.len() + ITEM_BYTES;
                self.all.push(Some(item));
            }
            Ok(None) => {
                let path: Box<str> = shown(&claim.href).into();
                self.bytes += path.len() + ITEM_BYTES;
                let claim = claim.checksum.as_ref().and_then(Claim::new);
                self.elsewhere.push((number, Elsewhere { path, claim }));
                self.all.push(None);
            }
            Err(why) => {
                let nevra = shown(&claim.nevra());
                self.fault = Some(format!("byte {}: {nevra} {why}", claim.offset));
            }
        }
        if self.bytes > LIST_MAX_BYTES {
            self.fault = Some(format!(
                "its list of packages takes more than {LIST_MAX_BYTES} bytes of memory"
            ));
        }
    }

    /// Leaves out what does not stay, and what is there twice.
    fn finish(self) -> Packages {
        let stay = self.newest.map(Newest::stay);
        let mut found = self.found;
        let stays = |number: &usize| {
            stay.as_ref()
                .is_none_or(|stay| stay.binary_search(number).is_ok())
        };
        let elsewhere = self.elsewhere.into_iter();
        found.elsewhere = elsewhere
            .filter(|(number, _)| stays(number))
            .map(|(_, package)| package)
            .collect();
        let here = self.all.into_iter().enumerate();
        let here = here.filter(|(number, _)| stays(number));
        let (items, contested) = one_for_each_place(here.filter_map(|(_, item)| item).collect());
        found.contested = contested;
        (found.items, found.twins) = without_twins(items);
        let weak = found.items.iter().filter(|item| item.claim.is_weak());
        found.weak = weak.count() as u64;
        found
    }
}

/// Leaves of each place the first package that wants it; places that different packages want.
fn one_for_each_place(items: Vec<Item>) -> (Vec<Item>, Vec<Box<str>>) {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_unstable_by_key(|number| (&*items[*number].path, *number));
    let (mut again, mut others) = (Vec::new(), Vec::new());
    for group in order.chunk_by(|a, b| items[*a].path == items[*b].path) {
        for number in &group[1..] {
            again.push(*number);
            if items[*number].claim != items[group[0]].claim {
                others.push(*number);
            }
        }
    }
    drop(order);
    if again.is_empty() {
        return (items, Vec::new());
    }
    again.sort_unstable();
    others.sort_unstable();
    let contested = others.iter().map(|number| items[*number].path.clone());
    let contested = contested.collect();
    let kept = items.into_iter().enumerate();
    let kept = kept.filter(|(number, _)| again.binary_search(number).is_err());
    (kept.map(|(_, item)| item).collect(), contested)
}

/// Leaves of each content the first package; the places of the others, each with the number of that one.
fn without_twins(items: Vec<Item>) -> (Vec<Item>, Vec<(Box<str>, usize)>) {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_unstable_by_key(|number| (&items[*number].claim, *number));
    let is_same = |a: &usize, b: &usize| items[*a].claim == items[*b].claim;
    if order.windows(2).all(|pair| !is_same(&pair[0], &pair[1])) {
        return (items, Vec::new());
    }
    // Of each package the number of the first one with its content; once that one is kept, its new number.
    let mut firsts = vec![0; items.len()];
    for group in order.chunk_by(is_same) {
        for number in group {
            firsts[*number] = group[0];
        }
    }
    drop(order);
    let (mut kept, mut twins) = (Vec::with_capacity(items.len()), Vec::new());
    for (number, item) in items.into_iter().enumerate() {
        let first = firsts[number];
        if first == number {
            firsts[number] = kept.len();
            kept.push(item);
        } else {
            twins.push((item.path, firsts[first]));
        }
    }
    (kept, twins)
}

/// None: the package is on another site.
fn item(claim: &PackageClaim, taken: &[Item]) -> Result<Option<Item>, String> {
    if claim.base.as_deref().is_some_and(|base| !base.is_empty()) {
        return Ok(None);
    }
    let path = place(&claim.href)?;
    if path.starts_with("repodata/") || taken.iter().any(|item| item.path == path) {
        return Err(format!("wants the place `{}`", shown(&path)));
    }
    let checksum = claim.checksum.as_ref().and_then(Claim::new);
    let checksum = checksum.ok_or("has no checksum of a known kind")?;
    Ok(Some(Item {
        path,
        claim: checksum,
        size_bytes: claim.size_bytes,
        kind: Kind::Package,
    }))
}

/// A path that stays below the copy's directory and does not touch what is ours there.
fn place(href: &str) -> Result<Box<str>, String> {
    let path: Href = href
        .parse()
        .map_err(|error| format!("is refused: {error}"))?;
    let path = path.as_str();
    let refuse = |why: &str| Err(format!("wants the place `{}`, which {why}", shown(path)));
    if path.len() > PATH_MAX_BYTES {
        return refuse("is too long");
    }
    if path.split('/').any(|part| part.is_empty() || part == ".") {
        return refuse("is written in an odd way");
    }
    if path.split('/').any(|part| part.starts_with(OWN_DIRECTORY)) {
        return refuse("is where the copy keeps its own files");
    }
    if path == "repodata" || path == REPOMD || path.starts_with(&format!("{REPOMD}.")) {
        return refuse("belongs to repomd.xml");
    }
    Ok(path.into())
}

fn shown(text: &str) -> String {
    text.escape_debug().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn primary_of(packages: &[(&str, &str, &str)]) -> String {
        let mut text = "<metadata>".to_owned();
        for (name, sum, location) in packages {
            text.push_str(&format!(
                "<package type=\"rpm\"><name>{name}</name><arch>noarch</arch><version ver=\"1\" rel=\"1\"/>\
                 <checksum type=\"sha256\">{sum}</checksum><size package=\"5\"/><location {location}/></package>"
            ));
        }
        text + "</metadata>"
    }

    fn read(packages_of: &[(&str, &str, &str)]) -> Result<Packages, SyncError> {
        let text = primary_of(packages_of);
        let all = (&Filters::default(), &ModularPackages::default());
        packages(text.as_bytes(), "p.xml", all, &[])
    }

    #[test]
    fn a_package_listed_twice_is_fetched_once_and_the_first_has_its_place() {
        let (a, b) = ("aa".repeat(32), "bb".repeat(32));
        let found = read(&[
            ("a", &a, "href=\"x/a.rpm\""),
            ("a", &a, "href=\"x/a.rpm\""),
            ("a", &a, "href=\"y/a.rpm\""),
            ("a", &b, "href=\"x/a.rpm\""),
            ("c", &b, "xml:base=\"http://other/\" href=\"c.rpm\""),
        ])
        .unwrap();
        assert_eq!(found.listed, 5);
        assert_eq!(found.items.len(), 1);
        assert_eq!(found.items[0].path.as_ref(), "x/a.rpm");
        assert_eq!(found.twins, [("y/a.rpm".into(), 0)]);
        assert_eq!(found.contested, ["x/a.rpm".into()]);
        let [other] = &found.elsewhere[..] else {
            panic!("{:?}", found.elsewhere);
        };
        assert_eq!(other.path.as_ref(), "c.rpm");
        assert_eq!(other.claim.as_ref().map(Claim::hex), Some(b));
    }

    #[test]
    fn what_looking_for_the_newest_remembers_counts_as_memory_of_the_list() {
        for (newest, wanted) in [(Some(Newest::default()), true), (None, false)] {
            let mut list = List {
                newest,
                ..List::default()
            };
            for n in 0..100 {
                let claim = PackageClaim {
                    name: format!("{n}{}", "x".repeat(1 << 20)),
                    href: format!("{n}.rpm"),
                    checksum: Some(crate::reading::Checksum {
                        algorithm: crate::reading::Algorithm::Sha256,
                        hex: "aa".repeat(32),
                    }),
                    ..PackageClaim::default()
                };
                list.add(&claim, &ModularPackages::default(), &[]);
            }
            let fault = list.fault.as_deref().unwrap_or_default();
            assert_eq!(fault.contains("bytes of memory"), wanted, "{fault}");
        }
    }

    #[test]
    fn no_package_gets_out_of_the_copy_or_into_what_is_ours() {
        let sum = "aa".repeat(32);
        for href in [
            "../a.rpm",
            "a/../../b.rpm",
            "/etc/passwd",
            ".hallmark/state",
            "x/.hallmark-1",
            "repodata/repomd.xml",
            "repodata/a.rpm",
            "a//b.rpm",
            "a/./b.rpm",
            "a/",
            "http://x/a.rpm",
        ] {
            let outcome = read(&[("a", &sum, &format!("href=\"{href}\""))]);
            assert!(outcome.is_err(), "{href}");
        }
        let long = format!("href=\"{}\"", "a".repeat(PATH_MAX_BYTES + 1));
        assert!(read(&[("a", &sum, &long)]).is_err());
        let error = read(&[("a", "abcd", "href=\"a.rpm\"")]).unwrap_err();
        assert!(error.to_string().contains("no checksum"), "{error}");
    }
}
