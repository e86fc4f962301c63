//! Which version is newer, and ranges of them.
//!
//! Each ecosystem has an order of its own: RPMs rpm's, Cargo, Go and npm semantic versioning, Python
//! PEP 440. For all others numbers between dots are compared, and answers say so.
//!
//! A range is written as people write it, `>= 1.2, < 2` (all must hold), or as `vers:` does it,
//! `vers:golang/>=1.2|<2|>=3.0|<3.1` (intervals side by side;
//! <https://github.com/package-url/purl-spec>, VERSION-RANGE-SPEC).

use repo_model::rpm::vercmp::vercmp;
use std::cmp::Ordering;
use std::str::FromStr;

/// Longest range that is read, bytes.
const MAX_RANGE_BYTES: usize = 8192;
/// Most comparators in one range.
const MAX_COMPARATORS: usize = 200;

/// How versions of one ecosystem are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `[epoch:]version[-release]`; releases count only when both sides have one.
    Rpm,
    /// <https://semver.org>, with or without `v` in front and with missing parts read as 0.
    Semver,
    /// PEP 440.
    Python,
    /// Runs of digits and letters, as rpm compares versions. Only an approximation.
    Dotted,
}

impl Order {
    /// The order of a package URL's type.
    pub fn of(ecosystem: &str) -> Self {
        match ecosystem {
            "rpm" => Self::Rpm,
            "cargo" | "golang" | "npm" => Self::Semver,
            "pypi" => Self::Python,
            _ => Self::Dotted,
        }
    }

    /// Whether the order is the ecosystem's own.
    pub fn is_exact(self) -> bool {
        self != Self::Dotted
    }

    /// Compares two versions; one that the ecosystem would not accept is compared as [`Order::Dotted`].
    pub fn compare(self, a: &str, b: &str) -> Ordering {
        let exact = match self {
            Self::Rpm => Some(compare_evr(a, b)),
            Self::Semver => semver(a).zip(semver(b)).map(|(a, b)| a.cmp_precedence(&b)),
            Self::Python => pep440_rs::Version::from_str(a)
                .ok()
                .zip(pep440_rs::Version::from_str(b).ok())
                .map(|(a, b)| a.cmp(&b)),
            Self::Dotted => None,
        };
        exact.unwrap_or_else(|| vercmp(a, b))
    }
}

fn compare_evr(a: &str, b: &str) -> Ordering {
    let split = |text: &str| -> (u64, String, Option<String>) {
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
            None => (0, text),
        };
        match rest.split_once('-') {
            Some((version, release)) => (epoch, version.to_owned(), Some(release.to_owned())),
            None => (epoch, rest.to_owned(), None),
        }
    };
    let (a, b) = (split(a), split(b));
    let releases = || match (&a.2, &b.2) {
        (Some(a), Some(b)) => vercmp(a, b),
        _ => Ordering::Equal,
    };
    a.0.cmp(&b.0)
        .then_with(|| vercmp(&a.1, &b.1))
        .then_with(releases)
}

/// `v1.2` and `1.2` are 1.2.0; Go's toolchain writes `go1.21.3`.
fn semver(text: &str) -> Option<semver::Version> {
    let text = text.trim_start_matches("go").trim_start_matches('v');
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let missing = 2_usize.checked_sub(numbers.matches('.').count())?;
    semver::Version::parse(&format!("{numbers}{}{rest}", ".0".repeat(missing))).ok()
}

/// One comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparator {
    Less,
    LessEqual,
    Equal,
    NotEqual,
    GreaterEqual,
    Greater,
}

impl Comparator {
    /// Takes the comparator off the front; none means equal.
    fn take(text: &str) -> (Self, &str) {
        for (sign, comparator) in [
            ("<=", Self::LessEqual),
            (">=", Self::GreaterEqual),
            ("!=", Self::NotEqual),
            ("==", Self::Equal),
            ("<", Self::Less),
            (">", Self::Greater),
            ("=", Self::Equal),
        ] {
            if let Some(rest) = text.strip_prefix(sign) {
                return (comparator, rest.trim_start());
            }
        }
        (Self::Equal, text)
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::GreaterEqual => order.is_ge(),
            Self::Greater => order.is_gt(),
        }
    }
}

/// The text is no range of versions. The asker's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no range of versions: {why}")]
pub struct ParseRangeError {
    text: String,
    why: &'static str,
}

/// Some of all versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Set by `vers:`: only versions of this ecosystem are meant.
    ecosystem: Option<String>,
    /// Whether the comparators stand for intervals side by side.
    intervals: bool,
    comparators: Vec<(Comparator, String)>,
}

impl FromStr for Range {
    type Err = ParseRangeError;
    fn from_str(text: &str) -> Result<Self, ParseRangeError> {
        let refuse = |why| ParseRangeError {
            text: text.chars().take(80).collect(),
            why,
        };
        if text.len() > MAX_RANGE_BYTES {
            return Err(refuse("it is too long"));
        }
        let trimmed = text.trim();
        let (ecosystem, list) = match trimmed.strip_prefix("vers:") {
            Some(rest) => {
                let (ecosystem, list) = rest
                    .split_once('/')
                    .ok_or_else(|| refuse("want vers:TYPE/COMPARATORS"))?;
                (Some(ecosystem.to_lowercase()), list)
            }
            None => (None, trimmed),
        };
        let intervals = ecosystem.is_some() || list.contains('|');
        let comparators = match list.trim() {
            "*" => Vec::new(),
            "" => return Err(refuse("it is empty; `*` means every version")),
            list => comparators(list, ecosystem.is_some()).map_err(refuse)?,
        };
        Ok(Self {
            ecosystem: ecosystem.filter(|kind| kind != "generic" && kind != "semver"),
            intervals,
            comparators,
        })
    }
}

/// `>= 1, < 2`: signs may stand apart from their versions.
fn comparators(list: &str, decode: bool) -> Result<Vec<(Comparator, String)>, &'static str> {
    let mut found = Vec::new();
    for part in list.split(['|', ',']) {
        let mut rest = part.trim();
        while !rest.is_empty() {
            let (comparator, after) = Comparator::take(rest);
            let end = after
                .find(|c: char| c.is_whitespace() || "<>=!".contains(c))
                .unwrap_or(after.len());
            let (version, tail) = after.split_at(end);
            if version.is_empty() {
                return Err("a comparator has no version");
            }
            let version = match decode {
                true => percent_encoding::percent_decode_str(version)
                    .decode_utf8_lossy()
                    .into_owned(),
                false => version.to_owned(),
            };
            found.push((comparator, version));
            if found.len() > MAX_COMPARATORS {
                return Err("it has too many comparators");
            }
            rest = tail.trim_start();
        }
    }
    match found.is_empty() {
        true => Err("it has no comparator"),
        false => Ok(found),
    }
}

impl Range {
    /// Every version.
    pub fn any() -> Self {
        Self {
            ecosystem: None,
            intervals: false,
            comparators: Vec::new(),
        }
    }

    /// Whether a version of this ecosystem is meant. A component without version is in `*` only.
    pub fn contains(&self, ecosystem: &str, version: &str) -> bool {
        if self
            .ecosystem
            .as_deref()
            .is_some_and(|only| only != ecosystem)
        {
            return false;
        }
        if self.comparators.is_empty() {
            return true;
        }
        if version.is_empty() {
            return false;
        }
        let order = Order::of(ecosystem);
        if self.intervals {
            return self.in_intervals(order, version);
        }
        self.comparators
            .iter()
            .all(|(comparator, bound)| comparator.holds(order.compare(version, bound)))
    }

    /// The containment rule of VERSION-RANGE-SPEC.
    fn in_intervals(&self, order: Order, version: &str) -> bool {
        let mut bounds: Vec<_> = self.comparators.iter().collect();
        bounds.sort_by(|a, b| order.compare(&a.1, &b.1));
        for (comparator, bound) in &bounds {
            if order.compare(version, bound).is_eq() {
                return comparator.holds(Ordering::Equal);
            }
        }
        let is_bound = |comparator: &Comparator| {
            !matches!(comparator, Comparator::Equal | Comparator::NotEqual)
        };
        let only_exclusions = bounds.iter().all(|(c, _)| *c == Comparator::NotEqual);
        bounds.retain(|(comparator, _)| is_bound(comparator));
        let is_upper =
            |comparator: Comparator| matches!(comparator, Comparator::Less | Comparator::LessEqual);
        let below = |bound: &str| order.compare(version, bound).is_lt();
        let (Some(first), Some(last)) = (bounds.first(), bounds.last()) else {
            return only_exclusions;
        };
        if is_upper(first.0) && below(&first.1) || !is_upper(last.0) && !below(&last.1) {
            return true;
        }
        bounds.windows(2).any(|pair| {
            !is_upper(pair[0].0) && is_upper(pair[1].0) && !below(&pair[0].1) && below(&pair[1].1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ecosystem_has_its_order() {
        for (ecosystem, older, newer) in [
            ("rpm", "1.0~rc1-1", "1.0-1"),
            ("rpm", "9.9-9", "1:0.1-1"),
            ("rpm", "1.0-9", "1.0-10"),
            ("cargo", "1.0.0-rc.1", "1.0.0"),
            ("cargo", "1.9.0", "1.10.0"),
            ("golang", "v0.0.0-20210101000000-abcdef", "v0.1.0"),
            ("golang", "1.21", "1.21.3"),
            ("npm", "1.0.0-alpha", "1.0.0-beta"),
            ("pypi", "1.0rc1", "1.0"),
            ("pypi", "1.0", "1.0.post1"),
            ("pypi", "2.0", "1!1.0"),
            ("pypi", "1.0.dev1", "1.0a1"),
            ("maven", "1.9", "1.10"),
        ] {
            let order = Order::of(ecosystem);
            assert_eq!(
                order.compare(older, newer),
                Ordering::Less,
                "{ecosystem} {older} {newer}"
            );
            assert_eq!(order.compare(newer, older), Ordering::Greater);
        }
        for (ecosystem, a, b) in [
            ("rpm", "1.0", "1.0-7"),
            ("golang", "v1.2.3+incompatible", "1.2.3"),
            ("pypi", "1.0", "1.0.0"),
        ] {
            assert_eq!(
                Order::of(ecosystem).compare(a, b),
                Ordering::Equal,
                "{a} {b}"
            );
        }
    }

    #[test]
    fn ranges_mean_what_they_say() {
        for (range, ecosystem, version, within) in [
            ("< 0.38", "golang", "v0.37.9", true),
            ("<0.38", "golang", "v0.38.0", false),
            (">= 1.2, < 2", "cargo", "1.2.0", true),
            (">=1.2 <2", "cargo", "2.0.0", false),
            (">= 1.2 , != 1.5.0", "cargo", "1.5.0", false),
            ("1.2.3", "npm", "1.2.3", true),
            ("= 1.3", "rpm", "1.3-7", true),
            ("< 1:0", "rpm", "9-1", true),
            ("*", "generic", "", true),
            ("< 1", "generic", "", false),
            (
                "vers:npm/>=1.0.0|<2.0.0|>=3.0.0|<3.1.0",
                "npm",
                "3.0.5",
                true,
            ),
            (
                "vers:npm/>=1.0.0|<2.0.0|>=3.0.0|<3.1.0",
                "npm",
                "2.5.0",
                false,
            ),
            ("vers:npm/>=1.0.0|<2.0.0", "cargo", "1.5.0", false),
            ("vers:pypi/<1.0|!=0.5", "pypi", "0.5", false),
            ("vers:pypi/!=0.5", "pypi", "0.6", true),
            ("vers:pypi/0.5|>1.0", "pypi", "0.5", true),
            ("vers:rpm/<1.0%7Erc2", "rpm", "1.0~rc1-1", true),
            ("vers:golang/*", "golang", "v1.0.0", true),
        ] {
            let parsed: Range = range.parse().unwrap();
            assert_eq!(
                parsed.contains(ecosystem, version),
                within,
                "{range} {version}"
            );
        }
        for bad in ["", "<", "vers:npm", "vers:npm/", ">= , < 2", " , "] {
            assert!(bad.parse::<Range>().is_err(), "{bad:?}");
        }
        assert!("1|".repeat(MAX_RANGE_BYTES).parse::<Range>().is_err());
    }
}
