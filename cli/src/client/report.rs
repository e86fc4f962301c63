//! What became of a transaction: for the plug-in as JSON, for people as a few lines.

use super::config::Mode;
use repo_model::verify::Chain;
use serde::Serialize;
use std::fmt::Write as _;

/// Most packages that are named one by one to people; JSON has all.
const MOST_NAMED: usize = 50;

/// What became of one package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Its chain holds.
    Holds,
    /// It lacks evidence, or the evidence says no.
    Refused,
    /// Its repository is not one that is verified.
    NotLookedAt,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageReport {
    /// As the package manager calls it.
    pub package: String,
    /// Where it comes from.
    pub repo_id: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The first broken link of its chain, when there is a chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<&'static str>,
    /// Why it is refused, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What could not be checked although it holds, one line each: told once, with the remarks.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl PackageReport {
    /// Refused for a reason outside of its chain.
    pub fn refused(package: &str, repo_id: &str, why: String, hint: &str) -> Self {
        Self {
            package: package.to_owned(),
            repo_id: repo_id.to_owned(),
            outcome: Outcome::Refused,
            link: None,
            why: Some(why),
            hint: Some(hint.to_owned()),
            warnings: Vec::new(),
        }
    }

    /// Nobody looked.
    pub fn not_looked_at(package: &str, repo_id: &str) -> Self {
        Self {
            outcome: Outcome::NotLookedAt,
            why: None,
            hint: None,
            ..Self::refused(package, repo_id, String::new(), "")
        }
    }

    /// What its chain says.
    pub fn of_chain(package: &str, repo_id: &str, chain: &Chain) -> Self {
        let Some(link) = chain.first_broken() else {
            let warnings = chain.warnings();
            return Self {
                outcome: Outcome::Holds,
                warnings: warnings.map(|link| link.says.clone()).collect(),
                ..Self::not_looked_at(package, repo_id)
            };
        };
        Self {
            link: Some(link.name),
            hint: link.hint.clone(),
            ..Self::refused(package, repo_id, link.says.clone(), "")
        }
    }
}

/// The whole transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What the configuration says.
    pub mode: Mode,
    /// Whether the package manager may go on.
    pub may_go_on: bool,
    /// Remarks: what could not be asked, and what was taken instead.
    pub remarks: Vec<String>,
    /// Each package, in the transaction's order.
    pub packages: Vec<PackageReport>,
    /// All of it for people; empty when there is nothing to tell.
    pub message: String,
}

impl Report {
    /// Draws the conclusion.
    pub fn new(mode: Mode, packages: Vec<PackageReport>, remarks: Vec<String>) -> Self {
        let refused = packages
            .iter()
            .filter(|package| package.outcome == Outcome::Refused)
            .count();
        Self {
            may_go_on: refused == 0 || mode == Mode::Warn,
            message: printable(&message(mode, &packages, &remarks, refused)),
            mode,
            remarks,
            packages,
        }
    }

    /// How many packages have this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        let packages = self.packages.iter();
        packages
            .filter(|package| package.outcome == outcome)
            .count()
    }
}

fn message(mode: Mode, packages: &[PackageReport], remarks: &[String], refused: usize) -> String {
    let mut out = String::new();
    if refused > 0 {
        let all = packages.len();
        let does = match mode {
            Mode::Enforce => "hallmark refuses this transaction",
            Mode::Warn => "hallmark warns, and lets this transaction go on (mode = \"warn\")",
        };
        // Writing into a String cannot fail.
        let _ = writeln!(out, "{does}: {refused} of {all} packages lack evidence");
    }
    let named = packages
        .iter()
        .filter(|package| package.outcome == Outcome::Refused);
    let mut last_hint = None;
    for package in named.take(MOST_NAMED) {
        let (name, repo_id) = (&package.package, &package.repo_id);
        let why = package.why.as_deref().unwrap_or_default();
        let what = match package.link {
            Some(link) => format!("{link} is broken: {why}"),
            None => why.to_owned(),
        };
        if last_hint.is_some() && last_hint != package.hint.as_ref() {
            hint(&mut out, last_hint);
        }
        let _ = writeln!(out, "  {name} ({repo_id}): {what}");
        last_hint = package.hint.as_ref();
    }
    hint(&mut out, last_hint);
    if let Some(more) = refused.checked_sub(MOST_NAMED).filter(|more| *more > 0) {
        let _ = writeln!(out, "  and {more} more");
    }
    for remark in remarks {
        let _ = writeln!(out, "  note: {remark}");
    }
    out.trim_end().to_owned()
}

/// A hint stands once below the packages that it is for.
fn hint(out: &mut String, hint: Option<&String>) {
    if let Some(hint) = hint {
        let _ = writeln!(out, "    hint: {hint}");
    }
}

/// Names come from repositories and must not steer the reader's terminal.
fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' => c,
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, hint: &str) -> PackageReport {
        PackageReport {
            link: Some("rebuilds"),
            ..PackageReport::refused(name, "acme", "nobody rebuilt it".to_owned(), hint)
        }
    }

    #[test]
    fn people_read_what_broke_for_each_package_and_each_hint_once() {
        let packages = vec![
            refused("a-1-1.noarch", "wait"),
            refused("b-1-1.noarch", "wait"),
            PackageReport::not_looked_at("c-1-1.noarch", "other"),
            refused("d\u{1b}[2J-1-1.noarch", "go"),
        ];
        let report = Report::new(
            Mode::Enforce,
            packages.clone(),
            vec!["no network".to_owned()],
        );
        assert!(!report.may_go_on);
        assert_eq!(
            report.message,
            "hallmark refuses this transaction: 3 of 4 packages lack evidence\n\
             \x20 a-1-1.noarch (acme): rebuilds is broken: nobody rebuilt it\n\
             \x20 b-1-1.noarch (acme): rebuilds is broken: nobody rebuilt it\n\
             \x20   hint: wait\n\
             \x20 d\u{fffd}[2J-1-1.noarch (acme): rebuilds is broken: nobody rebuilt it\n\
             \x20   hint: go\n\
             \x20 note: no network"
        );
        let report = Report::new(Mode::Warn, packages, Vec::new());
        assert!(report.may_go_on && report.message.starts_with("hallmark warns, and lets"));
    }

    #[test]
    fn a_transaction_without_refusals_says_nothing() {
        let packages = vec![PackageReport::not_looked_at("c-1-1.noarch", "other")];
        let report = Report::new(Mode::Enforce, packages, Vec::new());
        assert!(report.may_go_on && report.message.is_empty());
        let many: Vec<_> = (0..60)
            .map(|n| refused(&format!("p{n}-1-1.noarch"), "h"))
            .collect();
        let report = Report::new(Mode::Enforce, many, Vec::new());
        assert!(
            report.message.ends_with("  and 10 more"),
            "{}",
            report.message
        );
    }
}
