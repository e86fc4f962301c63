//! Verdicts and causes on packages that rpmbuild made.

mod common;

use common::{Lab, PINNED, plain_build, spec};
use hallmark_rebuilder::build;
use hallmark_rebuilder::compare::{Comparison, Context, Facts, compare, set_cause};
use repo_model::rpm::Head;
use repo_model::rpm::signature::{self, OpenPgpSignature};
use repo_model::verdict::Verdict;
use std::fs;
use std::path::Path;

fn judged(a: &Path, b: &Path) -> Comparison {
    compare(a, b, &Context::default()).unwrap()
}

fn codes(comparison: &Comparison) -> Vec<&str> {
    comparison
        .causes
        .iter()
        .map(|cause| cause.code.as_str())
        .collect()
}

/// Builds one spec twice with different options, or two specs with the same.
fn pair(lab: &Lab, a: (&str, &[&str]), b: (&str, &[&str])) -> Comparison {
    let first = plain_build(lab, "a", a.0, &[&PINNED[..], a.1].concat());
    let second = plain_build(lab, "b", b.0, &[&PINNED[..], b.1].concat());
    judged(&first, &second)
}

#[test]
fn equal_packages_are_identical_signed_or_not() {
    if !common::tools("equal_packages_are_identical_signed_or_not") {
        return;
    }
    let lab = Lab::new();
    let text = spec("same", "echo data >data");
    let first = plain_build(&lab, "a", &text, &PINNED);
    let second = plain_build(&lab, "b", &text, &PINNED);
    assert_eq!(
        judged(&first, &second),
        Comparison {
            verdict: Verdict::Identical,
            causes: Vec::new()
        }
    );

    let bytes = fs::read(&first).unwrap();
    let head = Head::parse(&bytes).unwrap();
    let signed_header = signature::with_openpgp(&head, &[fake_signature()]).unwrap();
    let write = |name: &str, signature: &[u8]| {
        let path = lab.path(name);
        let rest = &bytes[usize::try_from(head.header_range().start).unwrap()..];
        fs::write(&path, [head.lead(), signature, rest].concat()).unwrap();
        path
    };
    let signed = write("signed.rpm", &signed_header);
    assert_ne!(fs::read(&signed).unwrap(), bytes);
    assert_eq!(
        judged(&signed, &second),
        Comparison {
            verdict: Verdict::IdenticalUnsigned,
            causes: Vec::new()
        }
    );
    assert_eq!(judged(&second, &signed).verdict, Verdict::IdenticalUnsigned);
}

/// Bytes in the place of a signature; nothing here verifies signatures.
fn fake_signature() -> OpenPgpSignature {
    OpenPgpSignature {
        packet: vec![0xc2; 120],
        legacy: Some(signature::LegacySlot::Rsa),
    }
}

#[test]
fn a_header_that_lies_about_its_payload_never_confirms() {
    if !common::tools("a_header_that_lies_about_its_payload_never_confirms") {
        return;
    }
    let lab = Lab::new();
    let good = plain_build(&lab, "a", &spec("same", "echo data >data"), &PINNED);
    let mut bytes = fs::read(&good).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    let bad = lab.path("bad.rpm");
    fs::write(&bad, &bytes).unwrap();
    let comparison = judged(&good, &bad);
    assert_eq!(
        (comparison.verdict, codes(&comparison)),
        (Verdict::Differs, vec!["payload-digest"])
    );

    // Something in the signature header that no signer writes: the reserved space is used.
    let mut bytes = fs::read(&good).unwrap();
    let head = Head::parse(&bytes).unwrap();
    let at = 96 + head.signature_bytes().len() - 1_000;
    bytes[at] = 1;
    fs::write(&bad, &bytes).unwrap();
    let comparison = judged(&good, &bad);
    assert_eq!(
        (comparison.verdict, codes(&comparison)),
        (Verdict::SameContent, vec!["signature-header"])
    );
}

#[test]
fn header_tags_and_compression_name_their_causes() {
    if !common::tools("header_tags_and_compression_name_their_causes") {
        return;
    }
    let text = spec("tags", "echo data >data");
    let rows: [(&[&str], &str); 7] = [
        (
            &["--define", "use_source_date_epoch_as_buildtime 0"],
            "build-time",
        ),
        (&["--define", "_buildhost elsewhere"], "build-host"),
        (&["--define", "vendor Acme"], "vendor"),
        (&["--define", "distribution Acme 1"], "distribution"),
        (&["--define", "packager Somebody"], "packager"),
        (&["--define", "optflags -O3"], "optflags"),
        (&["--define", "_binary_payload w1.gzdio"], "compression"),
    ];
    for (options, code) in rows {
        let lab = Lab::new();
        let comparison = pair(&lab, (&text, &[]), (&text, options));
        assert_eq!(
            (comparison.verdict, codes(&comparison)),
            (Verdict::SameContent, vec![code]),
            "{comparison:?}"
        );
        assert!(!comparison.causes[0].hint.is_empty() && comparison.causes[0].tag.is_some());
        assert!(
            comparison.causes[0].detail.contains("rebuilt"),
            "{comparison:?}"
        );
    }
}

#[test]
fn file_times_and_modes_are_told_from_contents() {
    if !common::tools("file_times_and_modes_are_told_from_contents") {
        return;
    }
    let lab = Lab::new();
    let touched = |when: &str| spec("times", &format!("echo data >data; touch -d {when} data"));
    let comparison = pair(
        &lab,
        (&touched("2001-01-01"), &[]),
        (&touched("2002-02-02"), &[]),
    );
    assert_eq!(
        (comparison.verdict, codes(&comparison)),
        (Verdict::SameFiles, vec!["file-mtime"]),
        "{comparison:?}"
    );

    let lab = Lab::new();
    let unclamped = ["--define", "clamp_mtime_to_source_date_epoch 0"];
    let fresh = spec("times", "echo data >data; sleep 1.1");
    let comparison = pair(&lab, (&fresh, &unclamped), (&fresh, &unclamped));
    assert_eq!(
        (comparison.verdict, codes(&comparison)),
        (Verdict::SameFiles, vec!["file-mtime"]),
        "{comparison:?}"
    );

    let lab = Lab::new();
    let mode = |mode: &str| spec("modes", &format!("echo data >data; chmod {mode} data"));
    let comparison = pair(&lab, (&mode("644"), &[]), (&mode("600"), &[]));
    assert_eq!(comparison.verdict, Verdict::Differs);
    assert!(
        codes(&comparison).iter().all(|code| *code == "file-mode"),
        "{comparison:?}"
    );
}

#[test]
fn contents_name_their_causes() {
    if !common::tools("contents_name_their_causes") {
        return;
    }
    let rows: [(&str, &str, &str); 12] = [
        (
            "echo 'built 2026-11-20 10:00:01' >f",
            "echo 'built 2026-11-20 10:03:11' >f",
            "embedded-clock",
        ),
        ("echo 1763632801 >f", "echo 1763632999 >f", "embedded-clock"),
        (
            "printf 'b\\na\\nc\\n' >f",
            "printf 'a\\nb\\nc\\n' >f",
            "order",
        ),
        (
            "echo \"{'b': 1, 'a': 2}\" >f",
            "echo \"{'a': 2, 'b': 1}\" >f",
            "order",
        ),
        (
            "echo id=5f2b8e0c-93d1-4a7e-b0c6-2d4f6a8c1e3b >f",
            "echo id=c81d4e2e-bcf2-41e6-869b-7df92533d2db >f",
            "random",
        ),
        (
            "echo x >f; TZ=UTC gzip -c <f >f.gz; rm f",
            "echo x >f; touch -d 2001-01-01 f; gzip f; touch f.gz",
            "archive-metadata",
        ),
        (
            "echo 'at 10:00:01' >f; gzip -n f",
            "echo 'at 10:00:09' >f; gzip -n f",
            "embedded-clock",
        ),
        (
            "touch -d 2001-01-01 f; tar cf t.tar f; rm f",
            "touch -d 2002-02-02 f; tar cf t.tar f; rm f",
            "archive-metadata",
        ),
        (
            "echo p=0x7f12a4b5c6d0 >f",
            "echo p=0x7fe98a7b6c50 >f",
            "address",
        ),
        (
            "echo log=/tmp/tmp.AbCdEf >f",
            "echo log=/tmp/tmp.XyZwVu >f",
            "temporary-name",
        ),
        (
            "echo from /home/a/BUILD/x >f",
            "echo from /srv/b/BUILD/x >f",
            "build-path",
        ),
        ("echo one thing >f", "echo another >f", "unknown-content"),
    ];
    for (a, b, code) in rows {
        let lab = Lab::new();
        let comparison = pair(&lab, (&spec("what", a), &[]), (&spec("what", b), &[]));
        assert_eq!(comparison.verdict, Verdict::Differs, "{a}: {comparison:?}");
        assert_eq!(codes(&comparison), [code], "{a}: {comparison:?}");
        assert!(
            comparison.causes[0]
                .file
                .as_deref()
                .is_some_and(|file| file.starts_with("/usr/share/what/"))
        );
    }
}

#[test]
fn facts_of_the_machines_explain_what_they_match() {
    if !common::tools("facts_of_the_machines_explain_what_they_match") {
        return;
    }
    let lab = Lab::new();
    let text = |line: &str| spec("facts", line);
    let lines = |host: &str, kernel: &str, cpus: &str| {
        format!("echo on {host} >host; echo Linux {kernel} >kernel; echo 'jobs: {cpus}' >cpus")
    };
    let first = plain_build(&lab, "a", &text(&lines("alpha", "6.1.0-9", "2")), &PINNED);
    let second = plain_build(&lab, "b", &text(&lines("omega", "6.18.1", "8")), &PINNED);
    let facts = |host: &str, kernel: &str, ncpu| Facts {
        host: Some(host.to_owned()),
        kernel: Some(kernel.to_owned()),
        ncpu: Some(ncpu),
        ..Facts::default()
    };
    let context = Context {
        expected: facts("alpha", "6.1.0-9", 2),
        rebuilt: facts("omega", "6.18.1", 8),
    };
    let comparison = compare(&first, &second, &context).unwrap();
    let mut found = codes(&comparison);
    found.sort_unstable();
    assert_eq!(
        found,
        ["cpu-count", "host-name", "kernel-version"],
        "{comparison:?}"
    );
}

#[test]
fn a_clock_compiled_into_a_program_is_found_in_two_sandboxed_builds() {
    if !common::tools("a_clock_compiled_into_a_program_is_found_in_two_sandboxed_builds") {
        return;
    }
    let lab = Lab::new();
    let install = "echo '#include <stdio.h>' >c.c\necho 'int main(void) { puts(BUILT); return 0; }' >>c.c\n\
                   gcc %{optflags} -DBUILT=\"\\\"made $(date +%%Y-%%m-%%dT%%H:%%M:%%S.%%N)\\\"\" -o prog c.c && rm c.c\n\
                   date >info";
    let text = spec("clocky", install).replace("BuildArch: noarch", "%global debug_package %{nil}");
    let srpm = lab.srpm("clocky", &text);
    let first = build::record(&lab.request(&srpm, "one")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let second = build::record(&lab.request(&srpm, "two")).unwrap();
    let window = Some((
        second.started.unix_secs() - 5,
        second.finished.unix_secs() + 5,
    ));
    let context = Context {
        rebuilt: Facts {
            window,
            ..Facts::default()
        },
        ..Context::default()
    };
    let comparison = compare(&first.packages[0], &second.packages[0], &context).unwrap();
    assert_eq!(comparison.verdict, Verdict::Differs);
    let clocks: Vec<_> = comparison
        .causes
        .iter()
        .filter(|cause| cause.code == "embedded-clock")
        .collect();
    let files: Vec<_> = clocks
        .iter()
        .filter_map(|cause| cause.file.as_deref())
        .collect();
    assert_eq!(
        files,
        ["/usr/share/clocky/info", "/usr/share/clocky/prog"],
        "{comparison:?}"
    );
    assert!(
        comparison
            .causes
            .iter()
            .all(|cause| ["embedded-clock", "build-id"].contains(&cause.code.as_str()))
    );
}

#[test]
fn files_that_only_one_package_has_are_named() {
    if !common::tools("files_that_only_one_package_has_are_named") {
        return;
    }
    let lab = Lab::new();
    let comparison = pair(
        &lab,
        (&spec("list", "echo x >common; echo x >old"), &[]),
        (&spec("list", "echo x >common; echo x >new"), &[]),
    );
    assert_eq!(
        (comparison.verdict, codes(&comparison)),
        (Verdict::Differs, vec!["file-list"])
    );
    assert!(
        comparison.causes[0].detail.contains("/usr/share/list/old"),
        "{comparison:?}"
    );
}

#[test]
fn other_subpackages_are_a_difference_of_the_set() {
    let list = |names: &[&str]| {
        names
            .iter()
            .map(|name| name.parse().unwrap())
            .collect::<Vec<_>>()
    };
    let both = list(&["a-1-1.x86_64", "a-doc-1-1.noarch"]);
    assert_eq!(set_cause(&both, &both), None);
    let cause = set_cause(&both, &list(&["a-1-1.x86_64", "a-extra-1-1.noarch"])).unwrap();
    assert_eq!(cause.code, "set-differs");
    assert_eq!(
        cause.detail,
        "only built: a-doc-1-1.noarch; only rebuilt: a-extra-1-1.noarch"
    );
}

#[test]
fn damaged_packages_are_errors_and_never_panics() {
    if !common::tools("damaged_packages_are_errors_and_never_panics") {
        return;
    }
    let lab = Lab::new();
    let good = plain_build(
        &lab,
        "a",
        &spec("hurt", "seq 200 >data; ln -s data link; ln data hard"),
        &PINNED,
    );
    let other = plain_build(
        &lab,
        "b",
        &spec("hurt", "seq 201 >data; ln -s data link; ln data hard"),
        &PINNED,
    );
    let bytes = fs::read(&other).unwrap();
    let bad = lab.path("bad.rpm");
    let mut outcomes = [0, 0];
    for round in 0..600 {
        // A walk over the whole file, cut short now and then.
        let mut damaged = bytes.clone();
        let at = (round * 7_919) % damaged.len();
        damaged[at] = damaged[at].wrapping_add(1 + u8::try_from(round % 255).unwrap());
        if round % 5 == 0 {
            damaged.truncate(at);
        }
        fs::write(&bad, &damaged).unwrap();
        let outcome = compare(&good, &bad, &Context::default());
        outcomes[usize::from(outcome.is_ok())] += 1;
        if let Ok(comparison) = outcome {
            assert!(!comparison.verdict.confirms());
        }
    }
    assert!(outcomes.iter().all(|count| *count > 0), "{outcomes:?}");
}

#[test]
fn packages_of_all_ages_compare_with_themselves() {
    let test = "packages_of_all_ages_compare_with_themselves";
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/rpms");
    if !shared.is_dir() {
        eprintln!("SKIPPED {test}: no sample packages");
        return;
    }
    let packages = common::rpms(&shared);
    let mut readable = 0;
    for path in &packages {
        if let Ok(comparison) = compare(path, path, &Context::default()) {
            assert_eq!(comparison.verdict, Verdict::Identical, "{}", path.display());
            readable += 1;
        }
    }
    assert!(
        readable * 10 > packages.len() * 7,
        "{readable} of {}",
        packages.len()
    );
    // Two that have nothing in common, to walk every payload format.
    for pair in packages.windows(2) {
        if let Ok(comparison) = compare(&pair[0], &pair[1], &Context::default()) {
            let header = |path: &Path| {
                Head::parse(&fs::read(path).unwrap())
                    .unwrap()
                    .header_digest()
            };
            assert_eq!(
                comparison.verdict.confirms(),
                header(&pair[0]) == header(&pair[1]),
                "{pair:?}"
            );
        }
    }
}
