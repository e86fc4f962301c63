//! Capabilities as they are kept: each name once, and what it means that one meets another.

use repo_model::rpm::vercmp::vercmp;
use repo_model::rpm::{Dependency, DependencyFlags};
use std::cmp::Ordering;
use std::collections::HashMap;

/// Texts, each stored once and known by number.
#[derive(Default)]
pub(super) struct Names {
    numbers: HashMap<Box<str>, u32>,
    texts: Vec<Box<str>>,
}

/// A text that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Name(u32);

/// A dependency with its texts stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoredDependency {
    pub(super) name: Name,
    pub(super) version: Option<(DependencyFlags, Name)>,
}

impl Names {
    pub(super) fn store(&mut self, dependency: &Dependency) -> StoredDependency {
        let version = dependency.version.as_ref();
        StoredDependency {
            name: self.number(&dependency.name),
            version: version.map(|(flags, version)| (*flags, self.number(version))),
        }
    }

    fn number(&mut self, text: &str) -> Name {
        if let Some(number) = self.numbers.get(text) {
            return Name(*number);
        }
        // A release has a million packages at most, and a header's lists have bounds as well.
        let number = self.texts.len() as u32;
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        Name(number)
    }

    /// The text of a number that this table gave.
    pub(super) fn text(&self, name: Name) -> &str {
        &self.texts[name.0 as usize]
    }

    /// The number of a text, if any package has it.
    pub(super) fn known(&self, text: &str) -> Option<Name> {
        self.numbers.get(text).copied().map(Name)
    }

    /// `name`, or `name >= version`.
    pub(super) fn spelled(&self, dependency: StoredDependency) -> String {
        let version = dependency.version;
        crate::graph::spelled(&Dependency {
            name: self.text(dependency.name).to_owned(),
            version: version.map(|(flags, version)| (flags, self.text(version).to_owned())),
            sense: 0,
        })
    }
}

/// A comparison and what it compares with.
pub(super) type Range<'a> = Option<(DependencyFlags, &'a str)>;

/// Whether a provide meets a requirement of the same name, as libsolv (DNF, zypper) decides: a
/// provide without version meets no requirement that has one; ranges meet when they overlap.
pub(super) fn meets(provided: Range<'_>, required: Range<'_>) -> bool {
    let Some((wanted, version)) = required else {
        return true;
    };
    let Some((given, provided)) = provided else {
        return false;
    };
    let has = |flags, sign: char| match flags {
        DependencyFlags::Lt => sign == '<',
        DependencyFlags::Gt => sign == '>',
        DependencyFlags::Eq => sign == '=',
        DependencyFlags::Le => sign == '<' || sign == '=',
        DependencyFlags::Ge => sign == '>' || sign == '=',
    };
    match compare(provided, version) {
        Ordering::Less => has(given, '>') || has(wanted, '<'),
        Ordering::Greater => has(given, '<') || has(wanted, '>'),
        Ordering::Equal => ['<', '=', '>']
            .iter()
            .any(|sign| has(given, *sign) && has(wanted, *sign)),
    }
}

/// `[epoch:]version[-release]`; releases count only where both have one.
fn compare(a: &str, b: &str) -> Ordering {
    fn parts(text: &str) -> (u64, &str, Option<&str>) {
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
            None => (0, text),
        };
        match rest.split_once('-') {
            Some((version, release)) => (epoch, version, Some(release)),
            None => (epoch, rest, None),
        }
    }
    let (a, b) = (parts(a), parts(b));
    let order = a.0.cmp(&b.0).then_with(|| vercmp(a.1, b.1));
    match (a.2, b.2) {
        (Some(a), Some(b)) => order.then_with(|| vercmp(a, b)),
        _ => order,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DependencyFlags::{Eq, Ge, Gt, Le, Lt};

    #[test]
    fn provides_meet_requirements_as_the_clients_decide() {
        let table = [
            (Some((Eq, "1.2-3")), None, true),
            (None, None, true),
            (None, Some((Ge, "1")), false),
            (Some((Eq, "1.2-3")), Some((Ge, "1.2")), true),
            (Some((Eq, "1.2-3")), Some((Gt, "1.2")), false),
            (Some((Eq, "1.2-3")), Some((Gt, "1.2-2")), true),
            (Some((Eq, "1.2-3")), Some((Eq, "1.2")), true),
            (Some((Eq, "1.2-3")), Some((Eq, "1.2-4")), false),
            (Some((Eq, "1:1.0-1")), Some((Ge, "2.0")), true),
            (Some((Eq, "2.0-1")), Some((Ge, "1:1.0")), false),
            (Some((Eq, "1.0~rc1-1")), Some((Ge, "1.0")), false),
            (Some((Ge, "3")), Some((Lt, "2")), false),
            (Some((Ge, "3")), Some((Le, "3")), true),
            (Some((Lt, "3")), Some((Lt, "1")), true),
            (Some((Lt, "3")), Some((Ge, "3")), false),
        ];
        for (provided, required, wanted) in table {
            assert_eq!(
                meets(provided, required),
                wanted,
                "{provided:?} {required:?}"
            );
        }
    }
}
