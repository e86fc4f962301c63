//! Two headers under one name: repositories of one signer may each have a package of a name, and one
//! repository may not have two. Summaries do not say of which repository a package is; the lists of a release do.

use super::{Finding, Memory};
use crate::release::ListedPackage;
use crate::{HeaderDigest, RepoName, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

impl Memory {
    /// Clears up, by what a release lists, which names are of two packages in two repositories; the others are
    /// alarms: at once when one repository lists both, else when a release should have listed them by now. Each is
    /// told once. Names that were cleared up go on being looked at: a package that comes into the repository of another
    /// one of its name is an alarm at once.
    ///
    /// * `listed`: every repository's packages. A repository may stand there once for each architecture.
    pub fn doubts(
        &mut self,
        listed: &[(RepoName, Vec<ListedPackage>)],
        now: Timestamp,
    ) -> Vec<Finding> {
        let mut told = std::mem::take(&mut self.told);
        let mut findings = self.in_one_repository(&mut told, listed);
        self.told = told;
        let mut doubtful = std::mem::take(&mut self.doubtful);
        findings.extend(self.in_one_repository(&mut doubtful, listed));
        for (name, places) in doubtful {
            let headers = self.names.get(&name).cloned().unwrap_or_default();
            let is_clear = headers.iter().all(|header| places.contains_key(header));
            let waits_since = format!("name {name}");
            if is_clear {
                self.unlogged.remove(&waits_since);
                findings.push(Finding::OneName {
                    name: name.clone(),
                    repos: places.values().cloned().collect(),
                });
                self.told.insert(name, places);
            } else if self.is_overdue_here(waits_since.clone(), now) {
                self.unlogged.remove(&waits_since);
                findings.push(two_packages(name, &headers));
            } else {
                self.doubtful.insert(name, places);
            }
        }
        findings
    }

    /// Notes where the packages of these names are listed; names of which one repository has two are taken out and
    /// told.
    fn in_one_repository(
        &mut self,
        names: &mut BTreeMap<String, BTreeMap<HeaderDigest, RepoName>>,
        listed: &[(RepoName, Vec<ListedPackage>)],
    ) -> Vec<Finding> {
        let mut twice = BTreeSet::new();
        if names.is_empty() {
            return Vec::new();
        }
        for (repo, packages) in listed {
            for package in packages {
                let name = package.nevra.file_name();
                let Some(places) = names.get_mut(&name) else {
                    continue;
                };
                let mut others = places
                    .iter()
                    .filter(|(header, _)| **header != package.header);
                if others.any(|(_, known)| known == repo) {
                    twice.insert(name);
                    continue;
                }
                places.entry(package.header).or_insert_with(|| repo.clone());
            }
        }
        let mut findings = Vec::new();
        for name in twice {
            names.remove(&name);
            self.unlogged.remove(&format!("name {name}"));
            let headers = self.names.get(&name).cloned().unwrap_or_default();
            findings.push(two_packages(name, &headers));
        }
        findings
    }
}

fn two_packages(name: String, headers: &BTreeSet<HeaderDigest>) -> Finding {
    Finding::TwoPackages {
        name,
        headers: headers.iter().copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileDigest;

    const NAME: &str = "a-1-1.noarch.rpm";

    fn memory(headers: &[&[u8]]) -> Memory {
        let headers = headers.iter().map(|header| HeaderDigest::of(header));
        Memory {
            names: BTreeMap::from([(NAME.to_owned(), headers.collect())]),
            doubtful: BTreeMap::from([(NAME.to_owned(), BTreeMap::new())]),
            ..Memory::default()
        }
    }

    fn list(repo: &str, header: &[u8]) -> (RepoName, Vec<ListedPackage>) {
        let package = ListedPackage {
            header: HeaderDigest::of(header),
            signed_file: FileDigest::of(b"signed"),
            summary: FileDigest::of(b"summary"),
            nevra: "a-1-1.noarch".parse().unwrap(),
        };
        (repo.parse().unwrap(), vec![package])
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_unix_secs(secs)
    }

    #[test]
    fn one_name_in_two_repositories_is_told_once_and_is_no_alarm() {
        let mut memory = memory(&[b"one", b"two"]);
        let lists = [
            list("base", b"one"),
            list("extra", b"two"),
            list("base", b"one"),
        ];
        let found = memory.doubts(&lists, at(0));
        let [Finding::OneName { repos, .. }] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(repos.len(), 2);
        assert!(!found[0].is_alarm());
        assert_eq!(memory.doubts(&lists, at(10_000)), []);
    }

    #[test]
    fn a_package_that_comes_later_into_the_repository_of_the_other_is_an_alarm() {
        let mut memory = memory(&[b"one", b"two"]);
        let found = memory.doubts(&[list("base", b"one"), list("extra", b"two")], at(0));
        assert!(matches!(&found[..], [Finding::OneName { .. }]), "{found:?}");
        // It is remembered across runs of the command.
        let json = serde_json::to_string(&memory).unwrap();
        let mut memory: Memory = serde_json::from_str(&json).unwrap();
        let swapped = [list("base", b"two"), list("extra", b"two")];
        let found = memory.doubts(&swapped, at(10_000));
        assert!(
            matches!(&found[..], [Finding::TwoPackages { headers, .. }] if headers.len() == 2),
            "{found:?}"
        );
        assert_eq!(memory.doubts(&swapped, at(10_001)), [], "once");
    }

    #[test]
    fn one_repository_with_both_is_an_alarm_also_when_it_lists_them_one_after_the_other() {
        let both = [list("base", b"one"), list("base", b"two")];
        for looks in [vec![&both[..]], vec![&both[..1], &both[1..]]] {
            let mut memory = memory(&[b"one", b"two"]);
            let found: Vec<_> = looks
                .into_iter()
                .flat_map(|lists| memory.doubts(lists, at(0)))
                .collect();
            assert!(
                matches!(&found[..], [Finding::TwoPackages { headers, .. }] if headers.len() == 2),
                "{found:?}"
            );
            assert!(found[0].is_alarm());
        }
    }

    #[test]
    fn what_no_release_lists_is_an_alarm_when_its_time_is_over() {
        let mut memory = memory(&[b"one", b"two"]);
        let lists = [list("base", b"one")];
        assert_eq!(memory.doubts(&lists, at(0)), []);
        // It waits across runs of the command.
        let json = serde_json::to_string(&memory).unwrap();
        let mut memory: Memory = serde_json::from_str(&json).unwrap();
        assert_eq!(memory.doubts(&lists, at(600)), []);
        let found = memory.doubts(&lists, at(601));
        assert!(
            matches!(&found[..], [Finding::TwoPackages { .. }]),
            "{found:?}"
        );
        assert_eq!(memory.doubts(&lists, at(5_000)), [], "once");
        assert!(memory.unlogged.is_empty());
    }
}
