//! Which packages of which repository are listed.

use super::source::{Package, Repository, digits};
use super::{MergeError, MergeRequest};
use crate::createrepo::error::{CreaterepoError, Duplicate};
use mirrors::reading::ModularPackages;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Which package is taken of those with one name and architecture. Packages of modules are all taken, the first of each
/// NEVRA: every stream of a module has its own, and `modules.yaml` goes on naming them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The one that comes first: in the first repository that has any.
    First,
    /// The one whose file is youngest.
    Youngest,
    /// The one with the highest version.
    Highest,
    /// All whose version or release differs.
    All,
}

/// What to do about different packages of one NEVRA in several repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflicts {
    /// List the first repository's; the summary names the others.
    First,
    /// Change nothing.
    Refuse,
    /// List them all, where `Method::All` lists several of one name.
    All,
}

/// What is listed: number of the repository and of the package in it, sorted by NEVRA and pkgid.
pub(super) struct Chosen {
    pub packages: Vec<(usize, usize)>,
    pub conflicts: Vec<Duplicate>,
}

/// Chooses by `request.method`; what is left out because of another repository's package of the
/// same NEVRA and different content is in `conflicts`.
pub(super) fn choose(
    request: &MergeRequest,
    repositories: &[Repository],
) -> Result<Chosen, CreaterepoError> {
    let package = |place: &(usize, usize)| &repositories[place.0].packages[place.1];
    let wanted = wanted(request, repositories);
    let conflicts = conflicts(repositories, &wanted);
    if request.conflicts == Conflicts::Refuse && !conflicts.is_empty() {
        return Err(CreaterepoError::Duplicates(conflicts));
    }
    let mut packages = match request.method {
        Method::All if request.conflicts == Conflicts::All => wanted,
        Method::All => first_of_each_nevra(repositories, wanted),
        Method::First | Method::Youngest | Method::Highest => {
            // Without a list of modules no client takes any package for one of a module.
            let modules = modules(repositories)?;
            let (modular, others): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|place| {
                let modules = modules.as_ref();
                modules.is_some_and(|modules| modules.has_nevra(&package(place).nevra))
            });
            let mut chosen = best_of_each(request.method, repositories, &others);
            chosen.extend(first_of_each_nevra(repositories, modular));
            chosen
        }
    };
    packages.sort_by(|a, b| {
        let (first, second) = (package(a), package(b));
        (&first.nevra, &first.pkgid, a).cmp(&(&second.nevra, &second.pkgid, b))
    });
    one_place_each(repositories, &packages)?;
    Ok(Chosen {
        packages,
        conflicts,
    })
}

/// All packages of the architectures, each file once.
fn wanted(request: &MergeRequest, repositories: &[Repository]) -> Vec<(usize, usize)> {
    let mut seen = HashSet::new();
    let mut wanted = Vec::new();
    for (number, repository) in repositories.iter().enumerate() {
        for (place, package) in repository.packages.iter().enumerate() {
            let architectures = request.architectures.as_ref();
            let is_wanted = architectures.is_none_or(|list| list.contains(&package.nevra.arch))
                && request
                    .packages
                    .as_ref()
                    .is_none_or(|chosen| chosen.contains(digits(&package.pkgid)));
            if is_wanted && seen.insert(package.pkgid.as_str()) {
                wanted.push((number, place));
            }
        }
    }
    wanted
}

/// Which packages belong to modules, by what any of the repositories says; none when none says anything.
fn modules(repositories: &[Repository]) -> Result<Option<ModularPackages>, CreaterepoError> {
    let mut all = None;
    for repository in repositories {
        let extras = repository.extras.iter();
        for extra in extras.filter(|extra| extra.record_type == "modules") {
            all.get_or_insert_with(ModularPackages::default)
                .read(&extra.bytes[..])
                .map_err(|source| CreaterepoError::Merge {
                    repository: repository.label.clone(),
                    source: MergeError::Read {
                        file: extra.href.clone(),
                        source,
                    },
                })?;
        }
    }
    Ok(all)
}

fn first_of_each_nevra(
    repositories: &[Repository],
    mut places: Vec<(usize, usize)>,
) -> Vec<(usize, usize)> {
    let mut seen = BTreeSet::new();
    places.retain(|place| seen.insert(&repositories[place.0].packages[place.1].nevra));
    places
}

fn best_of_each(
    method: Method,
    repositories: &[Repository],
    wanted: &[(usize, usize)],
) -> Vec<(usize, usize)> {
    let package = |place: &(usize, usize)| &repositories[place.0].packages[place.1];
    let beats = |new: &Package, old: &Package| match method {
        Method::Youngest => new.file_time > old.file_time,
        Method::Highest => new.nevra.evr > old.nevra.evr,
        Method::First | Method::All => false,
    };
    let mut best: HashMap<(&str, &str), (usize, usize)> = HashMap::new();
    for place in wanted {
        let new = package(place);
        let key = (new.nevra.name.as_str(), new.nevra.arch.as_str());
        let kept = best.entry(key).or_insert(*place);
        if beats(new, package(kept)) {
            *kept = *place;
        }
    }
    best.into_values().collect()
}

fn conflicts(repositories: &[Repository], wanted: &[(usize, usize)]) -> Vec<Duplicate> {
    let mut first: BTreeMap<_, &(usize, usize)> = BTreeMap::new();
    let mut conflicts = Vec::new();
    let shown = |place: &(usize, usize)| {
        let repository = &repositories[place.0];
        format!(
            "{}/{}",
            repository.label.trim_end_matches('/'),
            repository.packages[place.1].href
        )
    };
    for place in wanted {
        let nevra = &repositories[place.0].packages[place.1].nevra;
        match first.get(nevra) {
            Some(other) => conflicts.push(Duplicate {
                nevra: nevra.clone(),
                first: shown(other),
                second: shown(place),
            }),
            None => {
                first.insert(nevra, place);
            }
        }
    }
    conflicts
}

/// Two packages cannot be fetched from one place.
fn one_place_each(
    repositories: &[Repository],
    packages: &[(usize, usize)],
) -> Result<(), CreaterepoError> {
    let mut places = HashSet::with_capacity(packages.len());
    for (repository, number) in packages {
        let package = &repositories[*repository].packages[*number];
        if !places.insert((package.base.as_deref(), package.href.as_str())) {
            let href = package.href.clone();
            return Err(crate::repodata::MetadataError::DuplicateHref { href }.into());
        }
    }
    Ok(())
}
