//! How well the classifier names causes: packages with defects that were put there on purpose, at
//! least two for each row of the table that two packages can show, and what it said of them.
//!
//! Contents are made by what makes them in life (clock, hash seed, address space, temporary names,
//! host name, ...); each file lies in a directory that is named after its cause. Other rows are one
//! pair of packages each.

mod common;

use common::{Lab, PINNED, plain_build, plain_build_below};
use hallmark_rebuilder::compare::{CAUSES, Comparison, Context, Facts, compare, set_cause};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// File name (after its cause) and the shell line that makes it at `$f`. `$SIDE` is `one` or `another`.
const CONTENTS: &[(&str, &str)] = &[
    (
        "build-id/program",
        "prog 'int main(void) { return 0; }' -Wl,--build-id=0x$(hex)",
    ),
    (
        "build-id/library",
        "prog 'int f(void) { return 1; }' -shared -fPIC -Wl,--build-id=0x$(hex)",
    ),
    ("archive-metadata/gzip", "echo text >x; gzip -c x >$f"),
    ("archive-metadata/tar", "echo text >x; tar cf $f x"),
    ("archive-metadata/ar", "echo text >x; ar rcU $f x"),
    (
        "archive-metadata/tar.gz",
        "echo text >x; tar cf - x | gzip -n >$f",
    ),
    (
        "order/hash-lines",
        "perl -e '%h = map { $_ => 1 } 1..40; print \"$_\\n\" for keys %%h' >$f",
    ),
    (
        "order/hash-words",
        "perl -e '%h = map { $_ => 1 } 1..40; print \"{\", join(\", \", keys %%h), \"}\"' >$f",
    ),
    (
        "order/jobs",
        "for i in 1 2 3 4 5 6 7 8 9; do (perl -e 'select undef, undef, undef, rand() / 3'; echo job $i) & done >$f; wait",
    ),
    ("build-path/text", "echo built in $(pwd) >$f"),
    (
        "build-path/program",
        "prog \"const char *where = \\\"$(pwd)/c.c\\\"; int main(void) { return *where; }\"",
    ),
    ("host-name/text", "uname -n >$f"),
    (
        "host-name/packed",
        "echo \"made by build@$(uname -n)\" | gzip -n >$f",
    ),
    ("kernel-version/text", "uname -r >$f"),
    (
        "kernel-version/program",
        "prog \"const char *on = \\\"Linux $(uname -r) kernel\\\"; int main(void) { return *on; }\"",
    ),
    ("embedded-clock/text", "date >$f"),
    ("embedded-clock/epoch", "echo \"time=$(date +%%s)\" >$f"),
    (
        "embedded-clock/program",
        "prog \"const char *at = \\\"built at $(date +%%T)\\\"; int main(void) { return *at; }\"",
    ),
    (
        "embedded-clock/binary",
        "perl -e 'print pack(\"NNN\", 0, time, 0)' >$f",
    ),
    ("embedded-clock/packed", "date -u +%%FT%%TZ | xz >$f"),
    ("temporary-name/text", "echo log: $(mktemp -u) >$f"),
    (
        "temporary-name/program",
        "prog \"const char *name = \\\"$(mktemp -u -p /var/tmp)\\\"; int main(void) { return *name; }\"",
    ),
    (
        "address/perl",
        "perl -e 'my @list; print \"at \", \\@list, \"\\n\"' >$f",
    ),
    (
        "address/program",
        "prog '#include <stdio.h>\nint main(void) { printf(\"main=%%p\\n\", (void *)main); return 0; }'; $f >x; mv x $f",
    ),
    ("cpu-count/text", "nproc >$f"),
    ("cpu-count/flags", "echo \"make -j$(nproc) all\" >$f"),
    ("random/uuid", "cat /proc/sys/kernel/random/uuid >$f"),
    ("random/bytes", "head -c 48 /dev/urandom >$f"),
    (
        "random/hash",
        "echo \"key: $(head -c 64 /dev/urandom | sha256sum)\" >$f",
    ),
    ("random/base64", "head -c 66 /dev/urandom | base64 -w 0 >$f"),
    ("unknown-content/text", "echo $SIDE thing >$f"),
    (
        "unknown-content/program",
        "prog \"const char *name = \\\"$SIDE way of doing it\\\"; int main(void) { return *name; }\"",
    ),
];

/// Builds everything of [`CONTENTS`] twice: on this machine as it is, and on one CPU, with another
/// host name and another kernel version.
fn contents(seen: &mut Vec<Sighted>) {
    let lab = Lab::new();
    let helpers = "hex() { head -c 20 /dev/urandom | od -An -tx1 | tr -d ' \\n'; }\n\
                   prog() { code=$1; shift; printf '%%s\\n' \"$code\" >c.c; gcc -O1 -o $f \"$@\" c.c; }\n";
    let lines: Vec<String> = CONTENTS
        .iter()
        .map(|(name, line)| format!("f=$PWD/{name}; mkdir -p $(dirname $f); {line}"))
        .collect();
    let install = format!("{helpers}{}\nrm -f x c.c", lines.join("\n"));
    let text = spec("", &install, FILES);
    let here = ["env", "SIDE=one", "rpmbuild", "-bb"];
    let there = [
        "env",
        "SIDE=another",
        "unshare",
        "--uts",
        "taskset",
        "-c",
        "0",
        "setarch",
        "--uname-2.6",
        "sh",
        "-c",
        "hostname elsewhere.example; exec rpmbuild -bb \"$@\"",
        "sh",
    ];
    let first = plain_build_below(&lab, "a", &here, &text, &PINNED);
    std::thread::sleep(Duration::from_millis(1_100));
    let start = now();
    let second = plain_build_below(&lab, "b", &there, &text, &PINNED);
    let context = Context {
        expected: Facts {
            host: Some(said(&["uname", "-n"])),
            kernel: Some(said(&["uname", "-r"])),
            ncpu: said(&["nproc"]).parse().ok(),
            ..Facts::default()
        },
        rebuilt: Facts {
            window: Some((start, now())),
            host: Some("elsewhere.example".to_owned()),
            kernel: Some(said(&["setarch", "--uname-2.6", "uname", "-r"])),
            ncpu: Some(1),
            ..Facts::default()
        },
    };
    let comparison = compare(&first, &second, &context).unwrap();
    for (name, _) in CONTENTS {
        let path = format!("/usr/share/seeds/{name}");
        let of_it = comparison
            .causes
            .iter()
            .filter(|cause| cause.file.as_deref() == Some(&path));
        let causes: Vec<_> = of_it.cloned().collect();
        seen.push(sighted(
            name.split('/').next().unwrap(),
            name,
            &Comparison {
                verdict: comparison.verdict,
                causes,
            },
        ));
    }
}

fn said(command: &[&str]) -> String {
    let output = Command::new(command[0])
        .args(&command[1..])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn now() -> i64 {
    i64::try_from(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    )
    .unwrap()
}

/// Rows of header tags that a macro sets: cause, first macro, second macro.
const MACROS: &[(&str, &str, &str)] = &[
    ("build-host", "_buildhost a.example", "_buildhost b.example"),
    (
        "build-host",
        "_buildhost reproducible",
        "_buildhost localhost",
    ),
    (
        "compression",
        "_binary_payload w9.gzdio",
        "_binary_payload w1.gzdio",
    ),
    (
        "compression",
        "_binary_payload w9.gzdio",
        "_binary_payload w2.xzdio",
    ),
    ("optflags", "optflags -O2", "optflags -O3"),
    (
        "optflags",
        "optflags -O2",
        "optflags -O2 -ffile-prefix-map=/home/a=.",
    ),
    (
        "platform",
        "_target_platform one-linux",
        "_target_platform two-linux",
    ),
    ("platform", "_vendor one", "_vendor two"),
    ("vendor", "vendor One", "vendor Two"),
    ("vendor", "nothing 1", "vendor Two"),
    ("packager", "packager One", "packager Two"),
    ("packager", "nothing 1", "packager Two"),
    ("distribution", "distribution One", "distribution Two"),
    (
        "distribution",
        "bugurl https://one.example",
        "bugurl https://two.example",
    ),
    ("dependencies", "dep one", "dep two"),
    ("dependencies", "dep same = 1", "dep same = 2"),
    (
        "build-time",
        "nothing 1",
        "use_source_date_epoch_as_buildtime 0",
    ),
    ("header-tag", "word one", "word two"),
    (
        "header-tag",
        "url https://one.example",
        "url https://two.example",
    ),
];

fn macros(seen: &mut Vec<Sighted>) {
    let tags = "BuildArch: noarch\nRequires: %{?dep}%{!?dep:none}\nGroup: %{?word}%{!?word:none}\n\
                URL: %{?url}%{!?url:https://none.example}";
    let text = spec(tags, "echo data >data", FILES);
    for (cause, first, second) in MACROS {
        let lab = Lab::new();
        let build = |name: &str, value: &str| {
            plain_build(
                &lab,
                name,
                &text,
                &[&PINNED[..], &["--define", value]].concat(),
            )
        };
        let comparison = judged(&build("a", first), &build("b", second));
        seen.push(sighted(cause, second, &comparison));
    }
}

fn judged(a: &Path, b: &Path) -> Comparison {
    compare(a, b, &Context::default()).unwrap()
}

/// Rows that two specs show: cause, then `install` and `sections` of both.
const SPECS: &[(&str, [&str; 2], [&str; 2])] = &[
    (
        "scriptlets",
        ["echo x >x", FILES],
        [
            "echo x >x",
            "%post\necho made %(date +%%N)\n%files\n/usr/share/seeds",
        ],
    ),
    (
        "scriptlets",
        ["echo x >x", "%preun\necho one\n%files\n/usr/share/seeds"],
        ["echo x >x", "%preun\necho two\n%files\n/usr/share/seeds"],
    ),
    (
        "file-owner",
        ["echo x >x", FILES],
        [
            "echo x >x",
            "%files\n%defattr(-,games,root)\n/usr/share/seeds",
        ],
    ),
    (
        "file-owner",
        ["echo x >x", FILES],
        [
            "echo x >x",
            "%files\n%defattr(-,root,mail)\n/usr/share/seeds",
        ],
    ),
    (
        "file-mode",
        ["umask 022; echo x >x", FILES],
        ["umask 077; echo x >x", FILES],
    ),
    ("file-mode", ["mkdir d", FILES], ["mkdir -m 700 d", FILES]),
    (
        "file-links",
        ["ln -s one link", FILES],
        ["ln -s another link", FILES],
    ),
    (
        "file-links",
        ["ln -s $(mktemp -u) link", FILES],
        ["ln -s $(mktemp -u) link", FILES],
    ),
    (
        "hard-links",
        ["echo x >a; ln a b", FILES],
        ["echo x >a; cp a b", FILES],
    ),
    (
        "hard-links",
        ["echo x >a; ln a b; cp a c; ln c d", FILES],
        ["echo x >a; ln a d; cp a b; ln b c", FILES],
    ),
    (
        "file-list",
        ["echo x >x; echo y >y-$(date +%%N)", FILES],
        ["echo x >x; echo y >y-$(date +%%N)", FILES],
    ),
    (
        "file-list",
        ["echo x >x", FILES],
        ["echo x >x; mkdir more", FILES],
    ),
    (
        "file-mtime",
        ["echo x >x; touch -d 2001-01-01 x", FILES],
        ["echo x >x; touch -d 2002-02-02 x", FILES],
    ),
    (
        "file-mtime",
        ["mkdir d; touch -d 2001-01-01 d", FILES],
        ["mkdir d", FILES],
    ),
];

fn specs(seen: &mut Vec<Sighted>) {
    for (cause, first, second) in SPECS {
        let lab = Lab::new();
        let build = |name: &str, [install, sections]: [&str; 2]| {
            plain_build(
                &lab,
                name,
                &spec("BuildArch: noarch", install, sections),
                &PINNED,
            )
        };
        let comparison = judged(&build("a", *first), &build("b", *second));
        seen.push(sighted(cause, &second.join("; "), &comparison));
    }
}

/// Builds of one spec in other modes and from other source packages.
fn modes(seen: &mut Vec<Sighted>) {
    let text = spec("BuildArch: noarch", "echo data >data", FILES);
    let lab = Lab::new();
    let build = |name: &str, mode: &str, options: &[&str]| {
        plain_build_below(
            &lab,
            name,
            &["rpmbuild", mode],
            &text,
            &[&PINNED[..], options].concat(),
        )
    };
    let without = build("bb", "-bb", &[]);
    let with = build("ba", "-ba", &[]);
    seen.push(sighted(
        "source-package",
        "-bb and -ba",
        &judged(&without, &with),
    ));

    let unpinned = ["--define", "use_source_date_epoch_as_buildtime 0"];
    let srpm = |name: &str| {
        build(name, "-ba", &unpinned);
        common::the_rpm(&lab.path(&format!("plain-{name}/SRPMS")))
    };
    let rebuild = |srpm: &Path, name: &str| {
        let top = lab.path(&format!("plain-{name}"));
        let output = Command::new("rpmbuild")
            .args([
                "--rebuild",
                "--define",
                &format!("_topdir {}", top.display()),
            ])
            .args(PINNED)
            .arg(srpm)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        common::the_rpm(&top.join("RPMS"))
    };
    let first = rebuild(&srpm("s1"), "r1");
    std::thread::sleep(Duration::from_millis(1_100));
    let second = rebuild(&srpm("s2"), "r2");
    seen.push(sighted(
        "source-package",
        "two source packages",
        &judged(&first, &second),
    ));

    let times = [build("t1", "-bb", &unpinned), {
        std::thread::sleep(Duration::from_millis(1_100));
        build("t2", "-bb", &unpinned)
    }];
    seen.push(sighted(
        "build-time",
        "no build time pinned",
        &judged(&times[0], &times[1]),
    ));
}

/// Damage and forgery that rpmbuild does not make.
fn forged(seen: &mut Vec<Sighted>) {
    let lab = Lab::new();
    let good = plain_build(
        &lab,
        "a",
        &spec("BuildArch: noarch", "seq 99 >data", FILES),
        &PINNED,
    );
    let bytes = fs::read(&good).unwrap();
    let head = repo_model::rpm::Head::parse(&bytes).unwrap();
    let payload = usize::try_from(head.payload_offset()).unwrap();
    let main = usize::try_from(head.header_range().start).unwrap();
    let version = |bytes: &[u8]| {
        let wanted = head
            .main()
            .string(repo_model::rpm::tag::RPMVERSION)
            .unwrap()
            .to_vec();
        main + bytes[main..]
            .windows(wanted.len())
            .position(|w| w == wanted)
            .unwrap()
    };
    let at = version(&bytes);
    let rows: [(&str, usize, u8); 8] = [
        ("payload-digest", payload + 30, 0xff),
        ("payload-digest", bytes.len() - 12, 0x01),
        ("lead", 9, 0x01),
        ("lead", 12, 0x20),
        ("signature-header", main - 1_000, 0x01),
        ("signature-header", main - 400, 0xff),
        ("rpm-version", at, 0x02),
        ("rpm-version", at + 2, 0x01),
    ];
    for (cause, at, flip) in rows {
        let mut changed = bytes.clone();
        changed[at] ^= flip;
        let bad = lab.path("forged.rpm");
        fs::write(&bad, changed).unwrap();
        seen.push(sighted(cause, &format!("byte {at}"), &judged(&good, &bad)));
    }
}

fn sets(seen: &mut Vec<Sighted>) {
    let list = |names: &[&str]| {
        names
            .iter()
            .map(|name| name.parse().unwrap())
            .collect::<Vec<_>>()
    };
    let both = list(&["a-1-1.noarch", "a-doc-1-1.noarch"]);
    for other in [
        list(&["a-1-1.noarch"]),
        list(&["a-1-1.noarch", "a-doc-1-2.noarch"]),
    ] {
        let found = set_cause(&both, &other)
            .map(|cause| cause.code)
            .into_iter()
            .collect();
        seen.push(Sighted {
            fixture: format!("{other:?}"),
            cause: "set-differs".to_owned(),
            found,
        });
    }
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
    contents(&mut seen);
    macros(&mut seen);
    specs(&mut seen);
    modes(&mut seen);
    forged(&mut seen);
    sets(&mut seen);

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
