//! Which of a header's dependencies reach `primary.xml`, and how a version is taken apart.
//!
//! The rules are createrepo_c's (`src/parsehdr.c`, `src/misc.c`), which readers have come to rely
//! on; where they come from is told beside each.

use repo_model::rpm::vercmp::vercmp;
use repo_model::rpm::{Dependency, DependencyFlags, Package};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// Whether a path belongs in primary: the subset that file dependencies may use without filelists.
///
/// `bin/` counts anywhere, so `/usr/share/man/bin/man0p` is in and `/foo/bindir` is not; yum and
/// its heirs expect it so.
pub(crate) fn is_primary_path(path: &str) -> bool {
    path.starts_with("/etc/") || path == "/usr/lib/sendmail" || path.contains("bin/")
}

/// `LT`, `GT`, `EQ`, `LE`, `GE`.
pub(crate) fn flags_text(flags: DependencyFlags) -> &'static str {
    match flags {
        DependencyFlags::Lt => "LT",
        DependencyFlags::Gt => "GT",
        DependencyFlags::Eq => "EQ",
        DependencyFlags::Le => "LE",
        DependencyFlags::Ge => "GE",
    }
}

/// The parts of `[epoch:]version[-release]`; empty parts are not written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EvrText<'a> {
    /// `0` when a version has none; empty only when all is empty.
    pub epoch: &'a str,
    pub version: &'a str,
    pub release: &'a str,
}

impl<'a> EvrText<'a> {
    /// Epoch up to the first `:`, release from the first `-` after it; `None` when the epoch is
    /// not a number.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self {
                epoch: "",
                version: "",
                release: "",
            });
        }
        let (epoch, rest) = match text.split_once(':') {
            Some(("", rest)) => ("0", rest),
            Some((epoch, rest)) if epoch.bytes().all(|b| b.is_ascii_digit()) => (epoch, rest),
            Some(_) => return None,
            None => ("0", text),
        };
        let (version, release) = rest.split_once('-').unwrap_or((rest, ""));
        Some(Self {
            epoch,
            version,
            release,
        })
    }
}

/// A package's requirements as they are written.
pub(crate) struct Requires<'a> {
    /// `<rpm:requires>`, each with its `pre` mark.
    pub hard: Vec<(&'a Dependency, bool)>,
    /// `<rpm:recommends>`: requirements that may be missing come first, and are left out as true ones are.
    pub recommends: Vec<&'a Dependency>,
}

impl<'a> Requires<'a> {
    /// Leaves out what a client need not look for: rpmlib features, primary files and provides of
    /// the package itself, repetitions, and all but the highest `libc.so.6(...)`.
    pub fn of(package: &'a Package) -> Self {
        let own_files = required_own_files(package);
        let provides: HashSet<_> = package.provides.iter().map(capability).collect();
        let mut last_seen = HashMap::new();
        let mut highest_libc: Option<(&Dependency, bool)> = None;
        let is_had = |dependency: &Dependency| {
            let name = dependency.name.as_str();
            name.starts_with("rpmlib(")
                || own_files.contains(name)
                || provides.contains(&capability(dependency))
        };
        let recommends = package.recommends.iter();
        let is_wanted = |wish: &&Dependency| !(wish.is_missing_ok() && is_had(wish));
        let mut requires = Self {
            hard: Vec::with_capacity(package.requires.len()),
            recommends: recommends.filter(is_wanted).collect(),
        };
        for dependency in &package.requires {
            let name = dependency.name.as_str();
            let pre = dependency.is_pre();
            let seen = (&dependency.version, pre);
            if is_had(dependency) || last_seen.get(name) == Some(&seen) {
                continue;
            }
            if name.starts_with("libc.so.6") {
                if highest_libc
                    .is_none_or(|(highest, _)| libc_order(&highest.name, name) == Ordering::Less)
                {
                    highest_libc = Some((dependency, pre));
                }
            } else {
                requires.hard.push((dependency, pre));
                last_seen.insert(name, seen);
            }
        }
        requires.hard.extend(highest_libc);
        requires
    }
}

fn capability(dependency: &Dependency) -> (&str, &Option<(DependencyFlags, String)>) {
    (&dependency.name, &dependency.version)
}

/// The primary paths among the requirements that the package owns itself.
fn required_own_files(package: &Package) -> HashSet<&str> {
    let wishes = package.recommends.iter();
    let wishes = wishes.filter(|dependency| dependency.is_missing_ok());
    let required: HashSet<&str> = package
        .requires
        .iter()
        .chain(wishes)
        .map(|dependency| dependency.name.as_str())
        .filter(|name| name.starts_with('/') && is_primary_path(name))
        .collect();
    if required.is_empty() {
        return required;
    }
    let paths = package.files.iter().map(|file| file.path.as_str());
    paths.filter(|path| required.contains(path)).collect()
}

/// Order of `libc.so.6(GLIBC_2.4)(64bit)` names: by the version between the first parentheses;
/// none, empty and unnumbered come below any version. `Equal` also when they cannot be compared.
pub(crate) fn libc_order(first: &str, second: &str) -> Ordering {
    match (LibcVersion::of(first), LibcVersion::of(second)) {
        (LibcVersion::Numbered(first), LibcVersion::Numbered(second)) => vercmp(first, second),
        (LibcVersion::Unclosed, LibcVersion::Unclosed) => Ordering::Equal,
        (first, second) => first.rank().cmp(&second.rank()),
    }
}

enum LibcVersion<'a> {
    /// No parenthesis.
    Absent,
    /// An opening parenthesis only.
    Unclosed,
    /// `()`.
    Empty,
    /// `(PRIVATE)`.
    Unnumbered,
    /// `(GLIBC_2.4)`, from its first digit on.
    Numbered(&'a str),
}

impl<'a> LibcVersion<'a> {
    fn of(name: &'a str) -> Self {
        let Some((_, rest)) = name.split_once('(') else {
            return Self::Absent;
        };
        let Some((inner, _)) = rest.split_once(')') else {
            return Self::Unclosed;
        };
        if inner.is_empty() {
            return Self::Empty;
        }
        match inner.find(|c: char| c.is_ascii_digit()) {
            Some(digit) => Self::Numbered(&inner[digit..]),
            None => Self::Unnumbered,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::Unclosed => 1,
            Self::Empty => 2,
            Self::Unnumbered => 3,
            Self::Numbered(_) => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primary_subset_is_etc_sendmail_and_bin_anywhere() {
        for (path, primary) in [
            ("/etc/passwd", true),
            ("/etc", false),
            ("/usr/etc/x", false),
            ("/usr/bin/ls", true),
            ("/opt/blah/sbin/x", true),
            ("/usr/share/man/bin/man0p", true),
            ("/foo/bindir", false),
            ("/usr/lib/sendmail", true),
            ("/usr/lib/sendmail.x", false),
            ("/usr/bin", false),
        ] {
            assert_eq!(is_primary_path(path), primary, "{path}");
        }
    }

    #[test]
    fn a_dependency_version_is_cut_at_the_first_colon_and_dash() {
        for (text, parts) in [
            ("", Some(("", "", ""))),
            ("1.0", Some(("0", "1.0", ""))),
            ("1.0-2", Some(("0", "1.0", "2"))),
            ("5:1.0-2", Some(("5", "1.0", "2"))),
            ("0:1.0", Some(("0", "1.0", ""))),
            (":", Some(("0", "", ""))),
            (":1-2", Some(("0", "1", "2"))),
            ("5:", Some(("5", "", ""))),
            ("-", Some(("0", "", ""))),
            ("-2", Some(("0", "", "2"))),
            ("1-", Some(("0", "1", ""))),
            ("1-2-3", Some(("0", "1", "2-3"))),
            ("1:2:3", Some(("1", "2:3", ""))),
            ("foo:bar", None),
            ("1x:2", None),
        ] {
            let expected = parts.map(|(epoch, version, release)| EvrText {
                epoch,
                version,
                release,
            });
            assert_eq!(EvrText::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn libc_versions_are_ordered_as_numbers() {
        let ordered = [
            "libc.so.6",
            "libc.so.6()(64bit)",
            "libc.so.6(PRIVATE)",
            "libc.so.6(GLIBC_2.3.4)(64bit)",
            "libc.so.6(GLIBC_2.4)",
            "libc.so.6(GLIBC_2.34)(64bit)",
        ];
        for (first, a) in ordered.iter().enumerate() {
            for (second, b) in ordered.iter().enumerate() {
                assert_eq!(libc_order(a, b), first.cmp(&second), "{a} {b}");
            }
        }
    }
}
