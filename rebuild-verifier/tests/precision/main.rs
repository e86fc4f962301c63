//! How well the classifier names causes: packages with defects that were put there on purpose, at
//! least two for each row of the table that two packages can show, and what it said of them.
//!
//! Contents are made by what makes them in life (clock, hash seed, address space, temporary names,
//! host name, ...); each file lies in a directory that is named after its cause. Other rows are one
//! pair of packages each.

#[path = "../common/mod.rs"]
mod common;
mod contents;
mod packages;
mod specs;

use common::{Lab, PINNED, plain_build};
use hallmark_rebuilder::compare::{CAUSES, Comparison, Context, compare};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Rows that no pair of packages shows: the verdict of a failed build is tested with the worker.
const NOT_SEEDED: &[&str] = &["build-failed"];
/// Fixtures for every other row.
const AT_LEAST: usize = 2;

/// One defect and what the classifier made of it.
struct Sighted {
    fixture: String,
    cause: String,
    found: BTreeSet<String>,
}

fn sighted(cause: &str, fixture: &str, comparison: &Comparison) -> Sighted {
    Sighted {
        fixture: format!("{cause}: {fixture}: {:?}", comparison.causes),
        cause: cause.to_owned(),
        found: comparison.causes.iter().map(|c| c.code.clone()).collect(),
    }
}

/// A package of one directory that `install` (shell) fills; `tags` go into its preamble and
/// `sections` behind `%install`.
fn spec(tags: &str, install: &str, sections: &str) -> String {
    format!(
        "Name: seeds\nVersion: 1.0\nRelease: 1\nSummary: Test\nLicense: Apache-2.0\n{tags}\n\
         %global debug_package %{{nil}}\n%global _build_id_links none\n%global __os_install_post %{{nil}}\n%description\nTest.\n\
         %install\nmkdir -p %{{buildroot}}/usr/share/seeds\ncd %{{buildroot}}/usr/share/seeds\n{install}\n\
         {sections}\n%changelog\n* Fri Jan 10 2025 Tester <t@example.invalid> - 1\n- First\n"
    )
}

const FILES: &str = "%files\n/usr/share/seeds";

fn said(command: &[&str]) -> String {
    let output = Command::new(command[0])
        .args(&command[1..])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn judged(a: &Path, b: &Path) -> Comparison {
    compare(a, b, &Context::default()).unwrap()
}

/// What a row of the printed table counts.
#[derive(Default)]
struct Count {
    seeded: usize,
    named: usize,
    wrongly_named: usize,
}

#[test]
fn seeded_defects_are_named_and_nothing_else_is() {
    let test = "seeded_defects_are_named_and_nothing_else_is";
    if !common::tools(test) {
        return;
    }
    let uts = Command::new("unshare").args(["--uts", "true"]).status();
    if !uts.is_ok_and(|status| status.success()) || said(&["nproc"]) == "1" {
        eprintln!("SKIPPED {test}: a second host name and CPU are needed");
        return;
    }
    let mut seen = Vec::new();
    contents::contents(&mut seen);
    specs::macros(&mut seen);
    specs::specs(&mut seen);
    packages::modes(&mut seen);
    packages::forged(&mut seen);
    packages::sets(&mut seen);

    let mut counts: BTreeMap<&str, Count> = CAUSES
        .iter()
        .map(|row| (row.code, Count::default()))
        .collect();
    let mut wrong = Vec::new();
    for one in &seen {
        let count = counts.get_mut(one.cause.as_str()).unwrap();
        count.seeded += 1;
        count.named += usize::from(one.found.contains(&one.cause));
        for other in one.found.iter().filter(|code| **code != one.cause) {
            counts.get_mut(other.as_str()).unwrap().wrongly_named += 1;
        }
        if one.found != BTreeSet::from([one.cause.clone()]) {
            wrong.push(format!("{}\n   found {:?}", one.fixture, one.found));
        }
    }
    eprintln!(
        "{:<18} {:>6} {:>6} {:>6}  precision recall",
        "cause", "seeded", "named", "wrong"
    );
    for (code, count) in &counts {
        let share = |part: usize, whole: usize| match whole {
            0 => "-".to_owned(),
            _ => format!("{:.2}", part as f64 / whole as f64),
        };
        let precision = share(count.named, count.named + count.wrongly_named);
        let recall = share(count.named, count.seeded);
        let Count {
            seeded,
            named,
            wrongly_named,
        } = count;
        eprintln!(
            "{code:<18} {seeded:>6} {named:>6} {wrongly_named:>6}  {precision:>9} {recall:>6}"
        );
    }
    assert!(
        wrong.is_empty(),
        "{} of {} are not as seeded:\n{}",
        wrong.len(),
        seen.len(),
        wrong.join("\n")
    );
    for (code, count) in counts {
        assert!(
            NOT_SEEDED.contains(&code) || count.seeded >= AT_LEAST,
            "{code} has {} fixtures",
            count.seeded
        );
    }
}

/// A difference that is not there is not named: the same spec, built at two times.
#[test]
fn a_package_without_defects_has_no_causes() {
    if !common::tools("a_package_without_defects_has_no_causes") {
        return;
    }
    let lab = Lab::new();
    let text = spec(
        "",
        "echo data >data; printf 'int main(void){return 0;}' >c.c; gcc -o prog c.c; rm c.c",
        FILES,
    );
    let build = |name: &str| -> PathBuf { plain_build(&lab, name, &text, &PINNED) };
    let first = build("a");
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(judged(&first, &build("b")).causes, []);
}
