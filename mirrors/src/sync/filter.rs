//! Which packages of a repository are copied.

use crate::pattern::matches;
use crate::reading::{ModularPackages, PackageClaim};
use repo_model::Evr;
use std::collections::HashMap;
use std::fmt::Write as _;

/// Which packages. Whatever is left out by one of these is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filters {
    /// Architectures; `noarch` always comes with them. Empty: all.
    pub architectures: Vec<String>,
    /// Of each name and architecture only the highest version. Packages of modules stay, and do not
    /// count among the others: which of their versions is the newest is a question for each stream.
    pub newest_only: bool,
    /// Patterns with `*` and `?` against name, `name.arch`, NEVRA and file name. Empty: all.
    pub include: Vec<String>,
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
    /// Source packages.
    pub source: bool,
    /// `-debuginfo` and `-debugsource` packages.
    pub debug: bool,
}

impl Default for Filters {
    fn default() -> Self {
        Self {
            architectures: Vec::new(),
            newest_only: false,
            include: Vec::new(),
            exclude: Vec::new(),
            source: true,
            debug: true,
        }
    }
}

impl Filters {
    /// Whether packages may be left out.
    pub fn is_active(&self) -> bool {
        *self != Self::default()
    }

    /// A text that differs between filters; empty when nothing is left out.
    pub(super) fn id(&self) -> String {
        let mut id = String::new();
        if self.is_active() {
            // Writing into a String cannot fail.
            let _ = write!(id, "{self:?}");
            // Chosen by another rule than in earlier versions, whose copies are looked at again.
            if self.newest_only {
                id.push_str(" by modules");
            }
        }
        id
    }

    /// Whether a package is copied, as far as it alone can tell.
    pub(super) fn take(&self, claim: &PackageClaim) -> bool {
        let is_source = matches!(claim.arch.as_str(), "src" | "nosrc");
        if is_source && !self.source {
            return false;
        }
        let is_debug = claim.name.ends_with("-debuginfo") || claim.name.ends_with("-debugsource");
        if is_debug && !self.debug {
            return false;
        }
        let arch_fits = self.architectures.is_empty()
            || claim.arch == "noarch"
            || self.architectures.contains(&claim.arch);
        arch_fits
            && (self.include.is_empty() || any(&self.include, claim))
            && !any(&self.exclude, claim)
    }
}

fn any(patterns: &[String], claim: &PackageClaim) -> bool {
    if patterns.is_empty() {
        return false;
    }
    let name_arch = format!("{}.{}", claim.name, claim.arch);
    let nevra = claim.nevra();
    let file = claim.href.rsplit('/').next().unwrap_or_default();
    patterns.iter().any(|pattern| {
        [claim.name.as_str(), &name_arch, &nevra, file]
            .iter()
            .any(|text| matches(pattern, text))
    })
}

/// Finds the newest of each name and architecture.
#[derive(Default)]
pub(super) struct Newest {
    best: HashMap<(String, String), (Evr, Vec<usize>)>,
    modular: Vec<usize>,
}

impl Newest {
    /// Looks at the package that has this number; `modules` knows whether it belongs to one.
    pub fn look(&mut self, claim: &PackageClaim, number: usize, modules: &ModularPackages) {
        if modules.has(claim) {
            return self.modular.push(number);
        }
        let evr = Evr {
            epoch: claim.version.epoch.parse().unwrap_or(0),
            version: claim.version.version.clone(),
            release: claim.version.release.clone(),
        };
        let key = (claim.name.clone(), claim.arch.clone());
        match self.best.get_mut(&key) {
            None => {
                self.best.insert(key, (evr, vec![number]));
            }
            Some((best, numbers)) if evr > *best => {
                *best = evr;
                *numbers = vec![number];
            }
            Some((best, numbers)) if evr == *best => numbers.push(number),
            Some(_) => {}
        }
    }

    /// The numbers of those that stay, sorted.
    pub fn stay(self) -> Vec<usize> {
        let mut numbers = self.modular;
        numbers.extend(self.best.into_values().flat_map(|(_, numbers)| numbers));
        numbers.sort_unstable();
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Version;

    fn package(name: &str, evr: &str, arch: &str) -> PackageClaim {
        let (epoch, rest) = evr.split_once(':').unwrap_or(("0", evr));
        let (version, release) = rest.split_once('-').unwrap();
        PackageClaim {
            name: name.to_owned(),
            arch: arch.to_owned(),
            version: Version {
                epoch: epoch.to_owned(),
                version: version.to_owned(),
                release: release.to_owned(),
            },
            href: format!("Packages/{name}-{version}-{release}.{arch}.rpm"),
            ..PackageClaim::default()
        }
    }

    #[test]
    fn each_filter_leaves_out_what_it_says() {
        let all = Filters::default;
        let list = |text: &str| vec![text.to_owned()];
        for (filters, name, arch, taken) in [
            (all(), "a", "src", true),
            (
                Filters {
                    source: false,
                    ..all()
                },
                "a",
                "src",
                false,
            ),
            (
                Filters {
                    source: false,
                    ..all()
                },
                "a",
                "nosrc",
                false,
            ),
            (
                Filters {
                    debug: false,
                    ..all()
                },
                "a-debuginfo",
                "x86_64",
                false,
            ),
            (
                Filters {
                    debug: false,
                    ..all()
                },
                "debuginfo-tools",
                "x86_64",
                true,
            ),
            (
                Filters {
                    architectures: list("x86_64"),
                    ..all()
                },
                "a",
                "noarch",
                true,
            ),
            (
                Filters {
                    architectures: list("x86_64"),
                    ..all()
                },
                "a",
                "i686",
                false,
            ),
            (
                Filters {
                    include: list("a*"),
                    ..all()
                },
                "abc",
                "noarch",
                true,
            ),
            (
                Filters {
                    include: list("abc.noarch"),
                    ..all()
                },
                "abc",
                "noarch",
                true,
            ),
            (
                Filters {
                    include: list("abc-1-1.*"),
                    ..all()
                },
                "abc",
                "noarch",
                true,
            ),
            (
                Filters {
                    include: list("*.noarch.rpm"),
                    ..all()
                },
                "abc",
                "noarch",
                true,
            ),
            (
                Filters {
                    include: list("b"),
                    ..all()
                },
                "abc",
                "noarch",
                false,
            ),
            (
                Filters {
                    exclude: list("a?c"),
                    ..all()
                },
                "abc",
                "noarch",
                false,
            ),
        ] {
            let package = package(name, "1-1", arch);
            assert_eq!(filters.take(&package), taken, "{filters:?} {name}.{arch}");
            assert_eq!(filters.id().is_empty(), !filters.is_active());
        }
    }

    #[test]
    fn the_newest_stay_and_case_41_modules_stay_whole() {
        let mut newest = Newest::default();
        let mut modules = ModularPackages::default();
        modules
            .read(&b"artifacts:\n  rpms: [s-0:1-1.noarch, s-0:2-1.noarch, t-0:9-1.noarch]\n"[..])
            .unwrap();
        for (number, package) in [
            package("a", "1-1", "x86_64"),
            package("a", "1.10-1", "x86_64"),
            package("a", "1.9-1", "x86_64"),
            package("a", "1-1", "noarch"),
            package("b", "1:1-1", "noarch"),
            package("b", "2-1", "noarch"),
            package("m", "1-1.module_el8", "noarch"),
            package("m", "2-1.module_el8", "noarch"),
            // Listed by the module, whatever their release is called: two streams.
            package("s", "1-1", "noarch"),
            package("s", "2-1", "noarch"),
            // That of a module, and two that are not: the higher one of the two is not pushed out.
            package("t", "9-1", "noarch"),
            package("t", "1-1", "noarch"),
            package("t", "2-1", "noarch"),
        ]
        .iter()
        .enumerate()
        {
            newest.look(package, number, &modules);
        }
        assert_eq!(newest.stay(), [1, 3, 4, 6, 7, 8, 9, 10, 12]);
    }
}
