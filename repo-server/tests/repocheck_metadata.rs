//! What the metadata says of a package is compared with its header, field by field; what other writers do differently
//! without being wrong is no finding.

mod createrepo_support;

use createrepo_support::*;
use repo_model::rpm::tag;
use repo_model::rpm::testkit::{Field, Rpm};
use repo_server::repodata::Codec;
use std::fs;
use std::path::Path;

/// One package with something in each list, its metadata not compressed.
fn rich() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let texts = |texts: &[&str]| Field::strings(texts.iter().copied());
    let bytes = Rpm::binary("rich")
        .set(tag::URL, Field::str("https://rich.example/"))
        .set(tag::VENDOR, Field::str("Rich"))
        .set(
            tag::REQUIRENAME,
            texts(&["needed", "/bin/sh", "needed-first"]),
        )
        .set(tag::REQUIREVERSION, texts(&["1:2-3", "", ""]))
        .set(tag::REQUIREFLAGS, Field::Int32(vec![8 | 4, 0, 1 << 9]))
        .set(tag::PROVIDENAME, texts(&["rich", "cap(rich)"]))
        .set(tag::PROVIDEVERSION, texts(&["1.0-1", ""]))
        .set(tag::PROVIDEFLAGS, Field::Int32(vec![8, 0]))
        .set(tag::RECOMMENDNAME, texts(&["helper"]))
        .set(tag::RECOMMENDVERSION, texts(&[""]))
        .set(tag::RECOMMENDFLAGS, Field::Int32(vec![0]))
        .set(
            tag::CHANGELOGTIME,
            Field::Int32(vec![1_700_000_000, 1_600_000_000]),
        )
        .set(
            tag::CHANGELOGNAME,
            texts(&["Jane <j@example.org> - 2", "Jane <j@example.org> - 1"]),
        )
        .set(tag::CHANGELOGTEXT, texts(&["- newer", "- older"]))
        .file("/usr/bin/rich", b"x")
        .file("/usr/share/rich/data", b"y")
        .bytes();
    fs::write(root.path().join("rich.rpm"), bytes).unwrap();
    let mut request = with_codec(root.path(), Codec::None);
    request.metadata.filelists_ext = true;
    run(&request).unwrap();
    let report = checked(root.path());
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    root
}

fn remove_list(text: &str, list: &str) -> String {
    let (start, end) = (format!("    <rpm:{list}>"), format!("</rpm:{list}>\n"));
    let from = text.find(&start).unwrap();
    let to = text.find(&end).unwrap() + end.len();
    format!("{}{}", &text[..from], &text[to..])
}

fn without_lines(text: &str, start: &str) -> String {
    let kept = text
        .lines()
        .filter(|line| !line.trim_start().starts_with(start));
    kept.map(|line| format!("{line}\n")).collect()
}

/// What is changed: file, change, and the elements that the findings name.
type Change = (&'static str, fn(String) -> String, &'static [&'static str]);

const DAMAGES: &[Change] = &[
    ("primary", |t| remove_list(&t, "requires"), &["requires"]),
    ("primary", |t| t.replace("A probe", "Another"), &["summary"]),
    (
        "primary",
        |t| t.replace("Made for a test.", "Made for a test"),
        &["description"],
    ),
    ("primary", |t| t.replace(">MIT<", ">GPL<"), &["license"]),
    (
        "primary",
        |t| t.replace("rich.example", "poor.example"),
        &["url"],
    ),
    ("primary", |t| t.replace(">Rich<", ">Poor<"), &["vendor"]),
    (
        "primary",
        |t| t.replace("build.example", "other.example"),
        &["buildhost"],
    ),
    (
        "primary",
        |t| t.replace("rich-1.0-1.src.rpm", "poor-1.0-1.src.rpm"),
        &["sourcerpm"],
    ),
    (
        "primary",
        |t| t.replace(" build=\"", " build=\"1"),
        &["time build"],
    ),
    (
        "primary",
        |t| t.replace(" installed=\"", " installed=\"1"),
        &["size installed"],
    ),
    (
        "primary",
        |t| t.replace(" archive=\"", " archive=\"1"),
        &["size archive"],
    ),
    (
        "primary",
        |t| t.replace("epoch=\"1\" ver=\"2\"", "epoch=\"1\" ver=\"1\""),
        &["requires"],
    ),
    ("primary", |t| t.replace(" pre=\"1\"", ""), &["requires"]),
    (
        "primary",
        |t| t.replace("cap(rich)", "cap(poor)"),
        &["provides"],
    ),
    (
        "primary",
        |t| remove_list(&t, "recommends"),
        &["recommends"],
    ),
    (
        "primary",
        |t| remove_list(&t, "recommends").replace("requires>", "conflicts>"),
        &["requires", "conflicts", "recommends"],
    ),
    ("primary", |t| without_lines(&t, "<file>"), &["file"]),
    ("filelists", |t| without_lines(&t, "<file>"), &["file"]),
    (
        "filelists",
        |t| t.replace("/usr/share/rich/data", "/usr/share/rich/date"),
        &["file"],
    ),
    (
        "filelists",
        |t| t.replace("<file>/usr/share", "<file type=\"ghost\">/usr/share"),
        &["file"],
    ),
    (
        "filelists-ext",
        |t| t.replace("hash=\"", "hash=\"0"),
        &["file"],
    ),
    ("other", |t| t.replace("- newer", "- never"), &["changelog"]),
    ("other", |t| t.replace("Jane", "Joan"), &["changelog"]),
    // The newest is missing.
    (
        "other",
        |t| without_lines(&t, "<changelog author=\"Jane &lt;j@example.org&gt; - 2"),
        &["changelog"],
    ),
];

/// Makes a change to a file of metadata, so that all checksums are right.
fn changed(kind: &str, change: fn(String) -> String) -> tempfile::TempDir {
    let root = rich();
    edit(root.path(), kind, change);
    root
}

fn named(root: &Path) -> Vec<String> {
    let report = checked(root);
    let findings = report.findings.into_iter();
    findings
        .map(|found| {
            assert_eq!(found.code, "package-metadata", "{found:#?}");
            assert!(found.offset.is_some_and(|offset| offset > 0), "{found:#?}");
            assert_eq!(found.package.as_deref(), Some("rich-1.0-1.noarch"));
            assert!(found.message.contains("`rich.rpm`"), "{found:#?}");
            let field = found.message.split('`').nth(1).unwrap();
            format!("{}: {field}", found.file.rsplit('-').next().unwrap())
        })
        .collect()
}

#[test]
fn each_field_that_is_not_the_headers_is_named_with_its_file() {
    for (kind, change, fields) in DAMAGES {
        let root = changed(kind, *change);
        let mut wanted: Vec<String> = fields
            .iter()
            .map(|field| format!("{}.xml: {field}", kind.rsplit('-').next().unwrap()))
            .collect();
        wanted.sort();
        let mut found = named(root.path());
        found.sort();
        assert_eq!(found, wanted, "{kind} {fields:?}");
    }
}

/// Its name, the list it is about, and how that becomes.
type Liberty = (&'static str, &'static str, fn(String) -> String);

/// What another writer may do.
const LIBERTIES: &[Liberty] = &[
    ("order of entries", "primary", |t| {
        let lines: Vec<&str> = t.lines().collect();
        let at = lines
            .iter()
            .position(|line| line.contains("\"needed\""))
            .unwrap();
        let mut lines = lines.clone();
        lines.swap(at, at + 1);
        lines.join("\n")
    }),
    ("order of lists", "primary", |t| {
        let from = t.find("    <rpm:recommends>").unwrap();
        let end = "</rpm:recommends>\n";
        let to = t.find(end).unwrap() + end.len();
        let list = t[from..to].to_owned();
        remove_list(&t, "recommends").replacen(
            "    <rpm:provides>",
            &format!("{list}    <rpm:provides>"),
            1,
        )
    }),
    ("requirements that need not be looked for", "primary", |t| {
        t.replacen(
            "    <rpm:requires>\n",
            "    <rpm:requires>\n      <rpm:entry name=\"rpmlib(CompressedFileNames)\" flags=\"LE\" epoch=\"0\" ver=\"3.0.4\" rel=\"1\"/>\n\
             <rpm:entry name=\"cap(rich)\"/><rpm:entry name=\"/usr/bin/rich\"/><rpm:entry name=\"needed\" flags=\"GE\" epoch=\"1\" ver=\"2\" rel=\"3\"/>\n",
            1,
        )
    }),
    ("every file in primary", "primary", |t| {
        t.replacen(
            "    <file>",
            "    <file>/usr/share/rich/data</file>\n    <file>",
            1,
        )
    }),
    ("absent instead of empty", "primary", |t| {
        t.replace("  <packager></packager>\n", "")
    }),
    (
        "the text that rpm prints for an absent tag",
        "primary",
        |t| t.replace("<packager></packager>", "<packager>(none)</packager>"),
    ),
    ("a revision of the location", "primary", |t| {
        t.replace("<location ", "<location note=\"x\" ")
    }),
    ("no changes at all", "other", |t| {
        without_lines(&t, "<changelog ")
    }),
    ("fewer changes", "other", |t| {
        without_lines(&t, "<changelog author=\"Jane &lt;j@example.org&gt; - 1")
    }),
    ("other seconds of a day", "other", |t| {
        t.replace("1700000000", "1700000003")
    }),
    ("files in another order", "filelists", |t| {
        let mut lines: Vec<&str> = t.lines().collect();
        let at = lines
            .iter()
            .position(|line| line.contains("/usr/bin/rich"))
            .unwrap();
        lines.swap(at, at + 1);
        lines.join("\n")
    }),
    ("digests of an unknown kind", "filelists-ext", |t| {
        t.replace(
            "<checksum type=\"sha256\"/>",
            "<checksum type=\"unknown\"/>",
        )
    }),
];

#[test]
fn what_other_writers_do_differently_is_no_finding() {
    for (liberty, kind, change) in LIBERTIES {
        let root = changed(kind, *change);
        assert_eq!(named(root.path()), [""; 0], "{liberty}");
    }
}

/// A package with a change on each of these days, in this order in its header; all are listed, the oldest first.
fn with_changes(days: impl Iterator<Item = u32> + Clone) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let texts = |make: fn(u32) -> String| {
        let texts: Vec<String> = days.clone().map(make).collect();
        Field::strings(texts.iter().map(String::as_str))
    };
    let times = days.clone().map(|day| 1_600_000_000 + day * 86_400);
    let bytes = Rpm::binary("rich")
        .set(tag::CHANGELOGTIME, Field::Int32(times.collect()))
        .set(tag::CHANGELOGNAME, texts(|day| format!("J - {day}")))
        .set(tag::CHANGELOGTEXT, texts(|day| format!("- day {day}.")))
        .bytes();
    fs::write(root.path().join("rich.rpm"), bytes).unwrap();
    let mut request = with_codec(root.path(), Codec::None);
    request.metadata.changelog_limit = None;
    run(&request).unwrap();
    assert_eq!(checked(root.path()).findings, []);
    root
}

/// Leaves these changes of `other` only.
fn keep_changes(root: &Path, kept: impl Fn(u32) -> bool) {
    edit(root, "other", |text| {
        let day = |line: &str| line.split_once("J - ")?.1.split_once('"')?.0.parse().ok();
        let lines = text.lines().filter(|line| day(line).is_none_or(&kept));
        lines.map(|line| format!("{line}\n")).collect()
    });
}

#[test]
fn of_a_header_with_the_oldest_change_first_the_first_may_be_listed() {
    let listed = |kept: fn(u32) -> bool| {
        let root = with_changes(1..=15);
        keep_changes(root.path(), kept);
        named(root.path())
    };
    // As createrepo_c takes them, and the newest.
    assert_eq!(listed(|day| day <= 10), [""; 0]);
    assert_eq!(listed(|day| day > 5), [""; 0]);
    // No writer takes these.
    for kept in [|day| (3..=12).contains(&day), |day| day <= 11 && day != 4] {
        assert_eq!(listed(kept), ["other.xml: changelog"]);
    }
    // The first of a header with the newest first are the newest.
    let root = with_changes((1..=15).rev());
    keep_changes(root.path(), |day| day <= 10);
    assert_eq!(named(root.path()), ["other.xml: changelog"]);
}

#[test]
fn the_newest_of_very_many_changes_is_compared() {
    let root = with_changes((1..=150).rev());
    edit(root.path(), "other", |text| {
        text.replace("- day 150.", "- day 15O.")
    });
    assert_eq!(named(root.path()), ["other.xml: changelog"]);
}

#[test]
fn paths_that_differ_in_characters_that_some_writers_lose_are_two_files() {
    let root = tempfile::tempdir().unwrap();
    let bytes = Rpm::binary("rich")
        .file("/usr/share/rich/a\u{a9}", b"x")
        .file("/usr/share/rich/a\u{ae}", b"y")
        .bytes();
    fs::write(root.path().join("rich.rpm"), bytes).unwrap();
    run(&with_codec(root.path(), Codec::None)).unwrap();
    assert_eq!(checked(root.path()).findings, []);
    edit(root.path(), "filelists", |text| {
        without_lines(&text, "<file>/usr/share/rich/a\u{ae}")
    });
    assert_eq!(named(root.path()), ["filelists.xml: file"]);
}

#[test]
fn an_own_provide_of_an_old_package_may_be_there_or_not() {
    let Some(from) = real_packages() else { return };
    let root = tempfile::tempdir().unwrap();
    let name = "popt-1.5-4x.i386.rpm";
    fs::copy(from.join("v3").join(name), root.path().join(name)).unwrap();
    run(&with_codec(root.path(), Codec::None)).unwrap();
    assert_eq!(checked(root.path()).findings, []);
    // librpm 4 below createrepo_c adds it, librpm 6 loses the other.
    let own = "<rpm:entry name=\"popt\" flags=\"EQ\" epoch=\"0\" ver=\"1.5\" rel=\"4x\"/>\n    </rpm:provides>";
    edit(root.path(), "primary", |text| {
        text.replace("</rpm:provides>", own)
    });
    assert_eq!(checked(root.path()).findings, []);
    edit(root.path(), "primary", |text| {
        remove_list(&text, "provides")
    });
    assert_eq!(checked(root.path()).findings, []);
}
