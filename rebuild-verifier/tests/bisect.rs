//! Finding what a file depends on by building again with one factor changed.

mod common;

use common::{Lab, spec};
use hallmark_rebuilder::bisect::bisect;
use repo_model::bisection::Bisection;
use std::process::Command;

fn report(lab: &Lab, name: &str, install: &str) -> Bisection {
    let srpm = lab.srpm(name, &spec(name, install));
    bisect(&lab.request(&srpm, "unused")).unwrap()
}

/// Factors of a file, and whether it differs in two plain builds.
fn of<'r>(report: &'r Bisection, file: &str) -> (bool, Vec<&'r str>, Vec<&'r str>) {
    let found = report
        .differences
        .iter()
        .find(|row| row.place.ends_with(file))
        .unwrap_or_else(|| panic!("{file}: {:?}", report.differences));
    (
        found.differs_anyway,
        found.depends_on.iter().map(String::as_str).collect(),
        found.still_under.iter().map(String::as_str).collect(),
    )
}

#[test]
fn every_file_is_told_by_the_factors_that_change_it() {
    if !common::tools("every_file_is_told_by_the_factors_that_change_it") {
        return;
    }
    let lab = Lab::new();
    let install = "uname -n >host; id -un >user; pwd >path; date -d @0 >zone; uname -r >kernel; nproc >cpus; date -u +%%F >today\n\
                   perl -e '%h = map { $_ => 1 } 1..40; print \"$_\\n\" for keys %%h' >hash\n\
                   echo '#include <stdio.h>' >/tmp/p.c; echo 'int main(void) { printf(\"%%p\", (void *)main); return 0; }' >>/tmp/p.c\n\
                   gcc -o /tmp/p /tmp/p.c && /tmp/p >place\n\
                   cat /proc/sys/kernel/random/uuid >random; date +%%s%%N >clock; echo same >same\n\
                   mkdir d; touch d/a d/b d/c; ls -U d >listed; rm -r d";
    let report = report(&lab, "factors", install);
    assert!(!report.repeatable);
    let no: Vec<&str> = Vec::new();
    for (file, factor) in [
        ("/host", "host-name"),
        ("/user", "user"),
        ("/path", "build-path"),
        ("/zone", "time-zone"),
        ("/kernel", "kernel"),
    ] {
        assert_eq!(
            of(&report, file),
            (false, vec![factor], no.clone()),
            "{file}"
        );
    }
    let tried = |name: &str| {
        report
            .factors
            .iter()
            .any(|factor| factor.name == name && factor.not_tried.is_none())
    };
    if tried("cpu-count") {
        assert_eq!(of(&report, "/cpus"), (false, vec!["cpu-count"], no.clone()));
    }
    if tried("directory-order") {
        assert_eq!(
            of(&report, "/listed"),
            (false, vec!["directory-order"], no.clone())
        );
    } else {
        eprintln!("SKIPPED the factor directory-order: no disorderfs, or nobody may mount FUSE");
    }
    assert_eq!(of(&report, "/hash"), (true, no.clone(), vec!["hash-seed"]));
    assert_eq!(of(&report, "/place"), (true, no.clone(), vec!["addresses"]));
    assert_eq!(of(&report, "/random"), (true, no.clone(), no.clone()));
    if tried("date") {
        assert_eq!(of(&report, "/today"), (false, vec!["date"], no.clone()));
    } else {
        assert!(
            std::env::var_os("CI").is_none(),
            "libfaketime is missing in CI"
        );
        eprintln!("SKIPPED the factor date: libfaketime is missing");
    }
    if tried("clock") {
        assert_eq!(of(&report, "/clock"), (true, no.clone(), vec!["clock"]));
    } else {
        assert!(
            std::env::var_os("CI").is_none(),
            "faketime is missing in CI"
        );
        eprintln!("SKIPPED the factor clock: faketime is missing");
    }
    assert!(
        !report
            .differences
            .iter()
            .any(|row| row.place.ends_with("/same"))
    );
    // What the machine lacks is said by name.
    for factor in &report.factors {
        assert!(
            factor
                .not_tried
                .as_deref()
                .is_none_or(|why| !why.is_empty())
        );
    }
    assert_eq!(std::fs::read_dir(lab.path("work")).unwrap().count(), 0);
}

#[test]
fn the_command_prints_a_report_and_says_that_a_good_package_is_repeatable() {
    if !common::tools("the_command_prints_a_report_and_says_that_a_good_package_is_repeatable") {
        return;
    }
    let lab = Lab::new();
    let srpm = lab.srpm("good", &spec("good", "echo data >data"));
    let output = Command::new(env!("CARGO_BIN_EXE_hallmark-rebuilder"))
        .arg("bisect")
        .arg(&srpm)
        .env("HALLMARK_REBUILDER__WORK_DIR", lab.path("work"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["schema"], "hallmark-bisection/1");
    assert_eq!(report["repeatable"], true);
    assert_eq!(report["differences"], serde_json::json!([]));

    let broken = lab.srpm("broken", &spec("broken", "echo the reason; exit 7"));
    let output = Command::new(env!("CARGO_BIN_EXE_hallmark-rebuilder"))
        .arg("bisect")
        .arg(&broken)
        .env("HALLMARK_REBUILDER__WORK_DIR", lab.path("work"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the reason"), "{said}");
}
