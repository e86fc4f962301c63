//! Advisories in the OSV format (<https://ossf.github.io/osv-schema/>): what is kept of a record, and
//! what it says about one version.
//!
//! ```json
//! {"id": "GHSA-x", "modified": "2025-01-01T00:00:00Z", "aliases": ["CVE-2025-1"], "summary": "...",
//!  "affected": [{"package": {"ecosystem": "Go", "name": "golang.org/x/net"},
//!                "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "0.38.0"}]}]}]}
//! ```

use super::purl::{Purl, canonical_name};
use super::versions::Order;
use crate::db::DbError;
use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};

/// Ecosystems of OSV that are not a distribution's, and the type of their package URLs.
const ECOSYSTEMS: &[(&str, &str)] = &[
    ("Go", "golang"),
    ("crates.io", "cargo"),
    ("npm", "npm"),
    ("PyPI", "pypi"),
    ("Maven", "maven"),
    ("RubyGems", "gem"),
    ("Packagist", "composer"),
    ("NuGet", "nuget"),
];
/// Most packages, events and versions that are read of one record.
const MAX_AFFECTED: usize = 20_000;
const MAX_EVENTS: usize = 2_000;
const MAX_VERSIONS: usize = 50_000;
/// Longest texts that are kept, characters.
const TEXT: usize = 400;

/// The record cannot be used. Whoever made it is at fault.
#[derive(Debug, thiserror::Error)]
pub enum OsvError {
    /// Not JSON of this shape.
    #[error("not an OSV record")]
    Json(#[from] serde_json::Error),
    /// More of something than any real record has.
    #[error("the record has more than {limit} {what}")]
    TooMany {
        /// What.
        what: &'static str,
        /// How many are read.
        limit: usize,
    },
}

#[derive(Debug, Deserialize)]
struct Raw {
    id: String,
    #[serde(default)]
    modified: String,
    withdrawn: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    upstream: Vec<String>,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    details: String,
    #[serde(default)]
    severity: Vec<Severity>,
    #[serde(default)]
    affected: Vec<RawAffected>,
}

#[derive(Debug, Deserialize)]
struct Severity {
    #[serde(default)]
    score: String,
}

#[derive(Debug, Deserialize)]
struct RawAffected {
    package: Option<RawPackage>,
    #[serde(default)]
    ranges: Vec<RawRange>,
    #[serde(default)]
    versions: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct RawPackage {
    #[serde(default)]
    ecosystem: String,
    #[serde(default)]
    name: String,
    purl: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RawRange {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    events: Vec<RawEvent>,
}

#[derive(Debug, Deserialize)]
struct RawEvent {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
}

/// A record as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advisory {
    /// `GHSA-…`
    pub id: String,
    /// Other names, sorted.
    pub aliases: Vec<String>,
    /// One line.
    pub summary: String,
    /// CVSS vector.
    pub severity: String,
    /// RFC 3339, as written.
    pub modified: String,
    /// Packages of known ecosystems.
    pub affected: Vec<(Target, Affected)>,
    /// Distributions whose packages were left out because the operator did not name them, sorted.
    pub other_distributions: Vec<String>,
}

/// A package as the index names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Type of the package URL.
    pub ecosystem: String,
    /// Canonical name.
    pub name: String,
}

/// Which versions are affected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    /// One after the other.
    pub ranges: Vec<Vec<Event>>,
    /// Besides the ranges.
    pub versions: Vec<String>,
}

/// Something that happens at a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// From here on it is affected; `0` is before every version.
    Introduced(String),
    /// From here on it is not.
    Fixed(String),
    /// After this one it is not.
    LastAffected(String),
}

/// What a record says about one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is affected; the version that mends it, if there is one.
    Affected(Option<String>),
    /// It was mended in this version or an earlier one.
    Fixed(String),
    /// It is not spoken of.
    Outside,
}

impl Advisory {
    /// Reads a record; `None` when it was withdrawn or is about nothing that is known here.
    ///
    /// * `distributions`: OSV ecosystems whose packages are ours, such as `AlmaLinux:9`; others are about
    ///   other builds with versions of their own.
    pub fn read(json: &[u8], distributions: &[String]) -> Result<Option<Self>, OsvError> {
        let raw: Raw = serde_json::from_slice(json)?;
        if raw.withdrawn.is_some() {
            return Ok(None);
        }
        limit(raw.affected.len(), MAX_AFFECTED, "affected packages")?;
        let mut affected = Vec::new();
        let mut others = Vec::new();
        for entry in raw.affected {
            let Some(package) = &entry.package else {
                continue;
            };
            match target(package, distributions) {
                Ok(target) => affected.push((target, entry.read()?)),
                Err(other) => others.push(other),
            }
        }
        others.sort();
        others.dedup();
        let clip = |text: &str| text.chars().take(TEXT).collect::<String>();
        let mut aliases: Vec<String> = raw.aliases.into_iter().chain(raw.upstream).collect();
        aliases.truncate(100);
        aliases.iter_mut().for_each(|alias| *alias = clip(alias));
        aliases.sort();
        aliases.dedup();
        let summary = match raw.summary.is_empty() {
            true => raw.details.lines().next().unwrap_or_default(),
            false => &raw.summary,
        };
        Ok(Some(Self {
            id: clip(&raw.id),
            aliases,
            summary: clip(summary),
            severity: raw
                .severity
                .first()
                .map(|severity| clip(&severity.score))
                .unwrap_or_default(),
            modified: clip(&raw.modified),
            affected,
            other_distributions: others,
        }))
    }
}

fn limit(count: usize, limit: usize, what: &'static str) -> Result<(), OsvError> {
    match count > limit {
        true => Err(OsvError::TooMany { what, limit }),
        false => Ok(()),
    }
}

/// The package as the index names it, or else the ecosystem that is not ours.
fn target(package: &RawPackage, distributions: &[String]) -> Result<Target, String> {
    let known = ECOSYSTEMS
        .iter()
        .find(|(name, _)| *name == package.ecosystem);
    if let Some((_, ecosystem)) = known {
        // Maven writes group:artifact.
        let name = match *ecosystem {
            "maven" => package.name.replacen(':', "/", 1),
            _ => package.name.clone(),
        };
        return Ok(Target {
            ecosystem: (*ecosystem).to_owned(),
            name: canonical_name(ecosystem, &name),
        });
    }
    let ours = |wanted: &String| {
        *wanted == package.ecosystem
            || package
                .ecosystem
                .strip_prefix(wanted.as_str())
                .is_some_and(|rest| rest.starts_with(':'))
    };
    if !distributions.iter().any(ours) {
        return Err(package.ecosystem.chars().take(80).collect());
    }
    let by_purl = package.purl.as_deref().and_then(Purl::parse);
    let by_purl = by_purl.filter(|purl| purl.ecosystem == "rpm");
    Ok(Target {
        ecosystem: "rpm".to_owned(),
        name: by_purl.map_or_else(|| package.name.clone(), |purl| purl.name),
    })
}

impl RawAffected {
    fn read(self) -> Result<Affected, OsvError> {
        limit(self.versions.len(), MAX_VERSIONS, "versions")?;
        let mut ranges = Vec::new();
        for range in self.ranges {
            // Commits name no versions.
            if range.kind == "GIT" {
                continue;
            }
            limit(range.events.len(), MAX_EVENTS, "events")?;
            let events = range.events.into_iter().filter_map(|event| {
                let RawEvent {
                    introduced,
                    fixed,
                    last_affected,
                } = event;
                introduced
                    .map(Event::Introduced)
                    .or(fixed.map(Event::Fixed))
                    .or(last_affected.map(Event::LastAffected))
            });
            ranges.push(events.collect());
        }
        limit(ranges.len(), MAX_EVENTS, "ranges")?;
        Ok(Affected {
            ranges,
            versions: self.versions,
        })
    }
}

impl Event {
    fn version(&self) -> &str {
        match self {
            Self::Introduced(version) | Self::Fixed(version) | Self::LastAffected(version) => {
                version
            }
        }
    }
}

impl Affected {
    /// What is said about a version.
    pub fn judge(&self, order: Order, version: &str) -> Verdict {
        let equal = |listed: &String| order.compare(listed, version).is_eq();
        let mut verdict = match self.versions.iter().any(equal) {
            true => Verdict::Affected(None),
            false => Verdict::Outside,
        };
        for range in &self.ranges {
            match (judge_range(range, order, version), &verdict) {
                // Affected by any is affected; what mends it may be known from a range only.
                (Verdict::Affected(fixed), Verdict::Affected(None)) => {
                    verdict = Verdict::Affected(fixed);
                }
                (found @ Verdict::Affected(_), Verdict::Outside | Verdict::Fixed(_)) => {
                    verdict = found;
                }
                (found @ Verdict::Fixed(_), Verdict::Outside) => verdict = found,
                _ => {}
            }
        }
        verdict
    }
}

fn judge_range(events: &[Event], order: Order, version: &str) -> Verdict {
    let compare = |a: &str, b: &str| match (a, b) {
        ("0", "0") => std::cmp::Ordering::Equal,
        ("0", _) => std::cmp::Ordering::Less,
        (_, "0") => std::cmp::Ordering::Greater,
        (a, b) => order.compare(a, b),
    };
    let mut sorted: Vec<&Event> = events.iter().collect();
    sorted.sort_by(|a, b| compare(a.version(), b.version()));
    let mut verdict = Verdict::Outside;
    for event in sorted {
        let at = compare(version, event.version());
        match event {
            Event::Introduced(_) if at.is_ge() => verdict = Verdict::Affected(None),
            Event::Fixed(fixed) if at.is_ge() && verdict == Verdict::Affected(None) => {
                verdict = Verdict::Fixed(fixed.clone());
            }
            Event::Fixed(fixed) if verdict == Verdict::Affected(None) => {
                return Verdict::Affected(Some(fixed.clone()));
            }
            Event::LastAffected(_) if at.is_gt() => verdict = Verdict::Outside,
            _ => {}
        }
    }
    verdict
}

/// Remembers in which advisories a new name is.
pub fn expose(
    tx: &Transaction<'_>,
    name_id: i64,
    ecosystem: &str,
    name: &str,
) -> Result<(), DbError> {
    tx.prepare_cached(
        "INSERT INTO exposed (affected_id, name_id) SELECT a.affected_id, ?1 FROM osv_affected a
         WHERE a.name = ?3 AND a.ecosystem = ?2 AND a.generation = (SELECT value FROM state WHERE key = 'osv_generation')
         ON CONFLICT DO NOTHING",
    )?
    .execute(params![name_id, ecosystem, name])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advisory(ecosystem: &str, events: &str, versions: &str) -> Advisory {
        let json = format!(
            r#"{{"id":"X-1","aliases":["CVE-1"],"affected":[{{"package":{{"ecosystem":"{ecosystem}","name":"a"}},
                "ranges":[{{"type":"GIT","events":[{{"introduced":"0"}}]}},{{"type":"ECOSYSTEM","events":[{events}]}}],
                "versions":[{versions}]}}]}}"#
        );
        Advisory::read(json.as_bytes(), &["AlmaLinux:9".to_owned()])
            .unwrap()
            .unwrap()
    }

    #[test]
    fn each_ecosystems_versions_are_judged_in_its_own_order() {
        let two =
            r#"{"introduced":"0"},{"fixed":"1.2.0"},{"introduced":"2.0.0-rc.1"},{"fixed":"2.1.0"}"#;
        let rpm = r#"{"introduced":"0"},{"fixed":"1:1.2-3.el9"}"#;
        let last = r#"{"introduced":"1.0"},{"last_affected":"1.5"}"#;
        let affected = |fixed: &str| Verdict::Affected(Some(fixed.to_owned()));
        let fixed = |fixed: &str| Verdict::Fixed(fixed.to_owned());
        for (ecosystem, events, version, verdict) in [
            ("Go", two, "v1.1.9", affected("1.2.0")),
            ("crates.io", two, "1.2.0", fixed("1.2.0")),
            ("npm", two, "2.0.0-rc.1", affected("2.1.0")),
            ("npm", two, "2.0.0-beta.1", fixed("1.2.0")),
            ("Go", two, "v2.1.0", fixed("2.1.0")),
            ("AlmaLinux:9", rpm, "1:1.2-2.el9", affected("1:1.2-3.el9")),
            ("AlmaLinux:9", rpm, "9.9-1", affected("1:1.2-3.el9")),
            ("AlmaLinux:9", rpm, "1:1.2-10.el9", fixed("1:1.2-3.el9")),
            ("PyPI", last, "1.0rc1", Verdict::Outside),
            ("PyPI", last, "1.5.0", Verdict::Affected(None)),
            ("PyPI", last, "1.5.post1", Verdict::Outside),
        ] {
            let advisory = advisory(ecosystem, events, "");
            let (target, affected) = &advisory.affected[0];
            let order = Order::of(&target.ecosystem);
            assert_eq!(
                affected.judge(order, version),
                verdict,
                "{ecosystem} {version}"
            );
        }
        let listed = advisory("Maven", "", r#""1.0","1.1""#);
        assert_eq!(
            listed.affected[0].1.judge(Order::Dotted, "1.1"),
            Verdict::Affected(None)
        );
    }

    #[test]
    fn other_distributions_and_withdrawn_records_are_left_out() {
        let other = advisory("Rocky Linux:9", "", "");
        assert!(other.affected.is_empty());
        assert_eq!(other.other_distributions, ["Rocky Linux:9"]);
        let withdrawn = br#"{"id":"X","withdrawn":"2025-01-01T00:00:00Z"}"#;
        assert_eq!(Advisory::read(withdrawn, &[]).unwrap(), None);
    }

    #[test]
    fn hostile_records_are_refused_and_not_unfolded() {
        let many = vec!["{}"; MAX_AFFECTED + 1].join(",");
        let deep = "[".repeat(100_000);
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"id":1}"#,
            &format!(r#"{{"id":"x","affected":[{many}]}}"#),
            &format!(r#"{{"id":"x","database_specific":{deep}"#),
        ] {
            assert!(Advisory::read(bad.as_bytes(), &[]).is_err());
        }
    }
}
