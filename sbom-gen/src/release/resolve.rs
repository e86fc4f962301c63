//! Which package of the release meets which requirement.
//!
//! The rules, in the order in which several candidates are told apart, are those of
//! [`Resolver::choose`]: a document must not depend on a solver's mood, so the choice is fixed and the
//! other candidates are named. What nothing meets is named as well, never dropped.

use super::capability::{Name, Names, Range, StoredDependency, meets};
use super::rich::{self, Rich};
use super::{Kept, path_hash};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// How much one package needs another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strength {
    /// To run.
    Run,
    /// While it is installed or removed.
    Install,
    /// To be built.
    Build,
    /// Better with it.
    Optional,
}

/// What one package needs.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// (index of the package that meets it, how much), sorted.
    pub(crate) edges: Vec<(u32, Strength)>,
    /// Requirements that nothing in the release meets, sorted.
    pub(crate) unresolved: Vec<String>,
    /// Wishes that nothing in the release meets, sorted.
    pub(crate) unmet_wishes: Vec<String>,
    /// Requirements that several packages meet, with them, sorted.
    pub(crate) candidates: Vec<String>,
}

/// Candidates named for one requirement; more are counted.
const NAMED: usize = 8;

/// Resolves what each package needs.
///
/// * `kept`: sorted.
/// * `files`: (hash of a path, index in `kept`), sorted.
pub(super) fn resolve(names: &Names, kept: &[Kept], files: &[(u64, u32)]) -> Vec<Needs> {
    let resolver = Resolver::new(names, kept, files);
    (0..kept.len()).map(|at| resolver.needs(at)).collect()
}

struct Resolver<'a> {
    names: &'a Names,
    kept: &'a [Kept],
    files: &'a [(u64, u32)],
    /// Who provides a name, in the order of `kept`.
    providers: HashMap<Name, Vec<(u32, StoredDependency)>>,
    /// How many packages each architecture has.
    arches: HashMap<&'a str, usize>,
}

/// A requirement, or a piece of a rich one, and who meets it.
struct Met {
    capability: String,
    by: Vec<u32>,
    is_optional: bool,
}

impl<'a> Resolver<'a> {
    fn new(names: &'a Names, kept: &'a [Kept], files: &'a [(u64, u32)]) -> Self {
        let mut providers: HashMap<Name, Vec<(u32, StoredDependency)>> = HashMap::new();
        let mut arches: HashMap<&str, usize> = HashMap::new();
        for (at, package) in kept.iter().enumerate().filter(|(_, kept)| !kept.is_source) {
            *arches.entry(&package.nevra.arch).or_default() += 1;
            for provide in &package.provides {
                let known = providers.entry(provide.name).or_default();
                known.push((at as u32, *provide));
            }
        }
        Self {
            names,
            kept,
            files,
            providers,
            arches,
        }
    }

    fn needs(&self, at: usize) -> Needs {
        let mut edges: BTreeMap<u32, Strength> = BTreeMap::new();
        let mut needs = Needs::default();
        for (strength, need) in &self.kept[at].needs {
            let text = self.names.text(need.name);
            // About rpm's own features, and about the package itself.
            if text.starts_with("rpmlib(") || text.starts_with("config(") {
                continue;
            }
            let mut met = Vec::new();
            let is_met = match text.starts_with('(') {
                true => rich::read(text).is_some_and(|tree| self.rich(&tree, false, &mut met)),
                false => self.plain(text, self.range(*need), false, &mut met),
            };
            if !is_met {
                let named = match strength {
                    Strength::Optional => &mut needs.unmet_wishes,
                    _ => &mut needs.unresolved,
                };
                named.push(self.names.spelled(*need));
            }
            for one in met {
                let Some(chosen) = self.choose(at, &one) else {
                    continue;
                };
                let strength = match one.is_optional {
                    true => Strength::Optional,
                    false => *strength,
                };
                let known = edges.entry(chosen).or_insert(strength);
                *known = strength.min(*known);
                if one.by.len() > 1 && strength != Strength::Optional {
                    needs.candidates.push(self.named(&one));
                }
            }
        }
        for list in [
            &mut needs.unresolved,
            &mut needs.unmet_wishes,
            &mut needs.candidates,
        ] {
            list.sort();
            list.dedup();
        }
        needs.edges = edges.into_iter().collect();
        needs
    }

    fn range(&self, dependency: StoredDependency) -> Range<'a> {
        let version = dependency.version;
        version.map(|(flags, version)| (flags, self.names.text(version)))
    }

    /// Who meets a capability, in the order of `kept`.
    fn packages(&self, capability: &str, range: Range<'_>) -> Vec<u32> {
        let providers = self.names.known(capability);
        let providers = providers.and_then(|name| self.providers.get(&name));
        let mut found: Vec<u32> = providers
            .into_iter()
            .flatten()
            .filter(|(_, provide)| meets(self.range(*provide), range))
            .map(|(at, _)| *at)
            .collect();
        if capability.starts_with('/') && range.is_none() {
            let hash = path_hash(capability);
            let start = self.files.partition_point(|file| file.0 < hash);
            let owners = self.files[start..].iter();
            found.extend(owners.take_while(|file| file.0 == hash).map(|file| file.1));
            found.sort_unstable();
        }
        found.dedup();
        found
    }

    fn plain(
        &self,
        capability: &str,
        range: Range<'_>,
        is_optional: bool,
        met: &mut Vec<Met>,
    ) -> bool {
        let by = self.packages(capability, range);
        let is_met = !by.is_empty();
        if is_met {
            met.push(Met {
                capability: capability.to_owned(),
                by,
                is_optional,
            });
        }
        is_met
    }

    /// Whether the release can meet it; and who meets each piece that counts.
    ///
    /// Of alternatives the first that can be met is needed and the others are options; what depends
    /// on a condition is an option, because what a machine has installed is not known here.
    fn rich(&self, tree: &Rich<'_>, is_optional: bool, met: &mut Vec<Met>) -> bool {
        match tree {
            Rich::Plain(name, range) => self.plain(name, *range, is_optional, met),
            Rich::And(all) => {
                let mut is_met = true;
                for one in all {
                    is_met &= self.rich(one, is_optional, met);
                }
                is_met
            }
            Rich::Or(all) => {
                let mut is_met = false;
                for one in all {
                    is_met |= self.rich(one, is_optional || is_met, met);
                }
                is_met
            }
            Rich::With(_) | Rich::Without(..) => {
                let by = self.set(tree);
                let is_met = !by.is_empty();
                if is_met {
                    let capability = leading_name(tree).to_owned();
                    met.push(Met {
                        capability,
                        by,
                        is_optional,
                    });
                }
                is_met
            }
            Rich::If(then, condition, otherwise) => match self.set(condition).is_empty() {
                false => {
                    let is_met = self.rich(then, true, met);
                    self.rich_or_nothing(otherwise, true, met) && is_met
                }
                true => self.rich_or_nothing(otherwise, is_optional, met),
            },
            Rich::Unless(then, condition, otherwise) => match self.set(condition).is_empty() {
                false => {
                    let is_met = self.rich(then, true, met);
                    self.rich_or_nothing(otherwise, true, met) && is_met
                }
                true => self.rich(then, is_optional, met),
            },
        }
    }

    fn rich_or_nothing(
        &self,
        tree: &Option<Box<Rich<'_>>>,
        is_optional: bool,
        met: &mut Vec<Met>,
    ) -> bool {
        tree.as_ref()
            .is_none_or(|tree| self.rich(tree, is_optional, met))
    }

    /// The packages that meet it by themselves, sorted.
    fn set(&self, tree: &Rich<'_>) -> Vec<u32> {
        let both = |mut a: Vec<u32>, b: Vec<u32>| {
            a.retain(|one| b.binary_search(one).is_ok());
            a
        };
        match tree {
            Rich::Plain(name, range) => self.packages(name, *range),
            Rich::With(all) | Rich::And(all) => {
                let mut sets = all.iter().map(|one| self.set(one));
                let first = sets.next().unwrap_or_default();
                sets.fold(first, both)
            }
            Rich::Or(all) => {
                let mut found: Vec<u32> = all.iter().flat_map(|one| self.set(one)).collect();
                found.sort_unstable();
                found.dedup();
                found
            }
            Rich::Without(first, second) => {
                let second = self.set(second);
                let mut first = self.set(first);
                first.retain(|one| second.binary_search(one).is_err());
                first
            }
            Rich::If(first, ..) | Rich::Unless(first, ..) => self.set(first),
        }
    }

    /// The package that the edge leads to; none when the package meets its own requirement.
    ///
    /// In this order: made from the same source package, of the same architecture, named like the
    /// capability, of the architecture with the most packages, first name, newest version, first key.
    fn choose(&self, at: usize, met: &Met) -> Option<u32> {
        if met.by.binary_search(&(at as u32)).is_ok() {
            return None;
        }
        let user = &self.kept[at];
        met.by.iter().copied().min_by(|a, b| {
            let rank = |other: &'a Kept| {
                let arch = &other.nevra.arch;
                let is_sibling = user.source_rpm.is_some() && other.source_rpm == user.source_rpm;
                let distance = match () {
                    () if *arch == user.nevra.arch => 0,
                    () if arch == "noarch" || user.nevra.arch == "noarch" => 1,
                    () => 2,
                };
                let peers = self.arches.get(arch.as_str()).copied().unwrap_or(0);
                (
                    !is_sibling,
                    distance,
                    other.nevra.name != met.capability,
                    Reverse(peers),
                    &other.nevra.name,
                    Reverse(&other.nevra.evr),
                    &other.key,
                )
            };
            rank(&self.kept[*a as usize]).cmp(&rank(&self.kept[*b as usize]))
        })
    }

    /// `capability: a | b | and 3 more`.
    fn named(&self, met: &Met) -> String {
        let shown = met.by.iter().take(NAMED);
        let mut names: Vec<String> = shown
            .map(|at| self.kept[*at as usize].nevra.to_string())
            .collect();
        if met.by.len() > NAMED {
            names.push(format!("and {} more", met.by.len() - NAMED));
        }
        format!("{}: {}", met.capability, names.join(" | "))
    }
}

fn leading_name<'a>(tree: &Rich<'a>) -> &'a str {
    match tree {
        Rich::Plain(name, _) => name,
        Rich::And(all) | Rich::Or(all) | Rich::With(all) => {
            all.first().map_or("", |one| leading_name(one))
        }
        Rich::Without(first, _) | Rich::If(first, ..) | Rich::Unless(first, ..) => {
            leading_name(first)
        }
    }
}
