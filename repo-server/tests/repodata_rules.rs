//! The rules about what is written for one package, each by its case in the metadata reference:
//! which dependencies, files and changelog entries reach the XML, and how.

mod repodata_support;

use repo_model::rpm::{Dependency, DependencyFlags, FileKind, Package};
use repo_model::{Evr, Timestamp};
use repo_server::repodata::{
    Codec, MetadataError, NoFrameCache, PackageFault, build, check_package,
};
use repodata_support::*;
use std::sync::Arc;

const PREREQ: u32 = 1 << 6;
const MISSING_OK: u32 = 1 << 19;

/// The lines of a list such as `requires` in primary, without indentation.
fn list(package: Package, list: &str) -> Vec<String> {
    let xml = xml_of([package], "primary");
    let (open, close) = (
        format!("    <rpm:{list}>\n"),
        format!("    </rpm:{list}>\n"),
    );
    let Some((_, rest)) = xml.split_once(&open) else {
        return Vec::new();
    };
    let (body, _) = rest.split_once(&close).unwrap();
    body.lines().map(|line| line.trim().to_owned()).collect()
}

fn requiring(requires: Vec<Dependency>) -> Vec<String> {
    let mut package = package("p");
    package.requires = requires;
    list(package, "requires")
}

#[test]
fn case_01_an_epoch_is_always_written_for_packages_and_only_with_a_version_for_dependencies() {
    let mut package = package("p");
    package.requires = vec![
        needs("plain"),
        equal("versioned", "2-1"),
        equal("epoched", "3:2"),
    ];
    let xml = xml_of([package.clone()], "primary");
    assert!(xml.contains("<version epoch=\"0\" ver=\"1.0\" rel=\"1\"/>"));
    assert_eq!(
        list(package, "requires"),
        [
            "<rpm:entry name=\"plain\"/>",
            "<rpm:entry name=\"versioned\" flags=\"EQ\" epoch=\"0\" ver=\"2\" rel=\"1\"/>",
            "<rpm:entry name=\"epoched\" flags=\"EQ\" epoch=\"3\" ver=\"2\"/>",
        ]
    );
}

#[test]
fn case_02_a_dependency_with_an_epoch_that_is_no_number_is_refused_not_dropped() {
    let mut bad = package("p");
    bad.conflicts = vec![equal("other", "foo:bar")];
    let fault = check_package(&bad).unwrap_err();
    let expected = PackageFault::DependencyEpoch {
        list: "conflicts",
        name: "other".to_owned(),
        version: "foo:bar".to_owned(),
    };
    assert_eq!(fault, expected);
    let (entries, source) = listed([package("a"), bad]);
    let error = build(
        &inputs(&entries, &source, &NoFrameCache, 1),
        &options(Codec::None),
        Timestamp::default(),
    )
    .unwrap_err();
    assert!(matches!(error, MetadataError::Package { nevra, .. } if nevra.name == "p"));
}

#[test]
fn case_04_each_comparison_has_its_two_letters_and_an_empty_version_is_left_out() {
    let compared = |flags| Dependency {
        name: "x".to_owned(),
        version: Some((flags, "1".to_owned())),
        sense: 0,
    };
    use DependencyFlags::{Eq, Ge, Gt, Le, Lt};
    for (flags, text) in [(Lt, "LT"), (Gt, "GT"), (Eq, "EQ"), (Le, "LE"), (Ge, "GE")] {
        let expected = format!("<rpm:entry name=\"x\" flags=\"{text}\" epoch=\"0\" ver=\"1\"/>");
        assert_eq!(requiring(vec![compared(flags)]), [expected]);
    }
    assert_eq!(
        requiring(vec![equal("x", "")]),
        ["<rpm:entry name=\"x\" flags=\"EQ\"/>"]
    );
}

#[test]
fn case_05_pre_marks_what_must_be_there_before_the_scripts_run_not_removal_scripts() {
    for (bit, pre) in [
        (5, true),   // %posttrans
        (6, true),   // PreReq
        (7, true),   // %pretrans
        (8, false),  // interpreter
        (9, true),   // %pre
        (10, true),  // %post
        (11, false), // %preun
        (12, false), // %postun
    ] {
        let expected = if pre {
            "<rpm:entry name=\"x\" pre=\"1\"/>"
        } else {
            "<rpm:entry name=\"x\"/>"
        };
        assert_eq!(
            requiring(vec![needs_with("x", 1 << bit)]),
            [expected],
            "bit {bit}"
        );
    }
}

#[test]
fn case_06_rpmlib_features_and_primary_files_of_the_package_itself_are_not_required() {
    let mut package = package("p");
    package.files = vec![
        file("/usr/bin/own", FileKind::Regular, 0),
        file("/usr/share/own", FileKind::Regular, 0),
    ];
    package.requires = vec![
        needs("rpmlib(CompressedFileNames)"),
        needs("/usr/bin/own"),
        needs("/usr/share/own"),
        needs("/usr/bin/foreign"),
    ];
    assert_eq!(
        list(package, "requires"),
        [
            "<rpm:entry name=\"/usr/share/own\"/>",
            "<rpm:entry name=\"/usr/bin/foreign\"/>"
        ]
    );
}

#[test]
fn case_07_a_requirement_equal_to_an_own_provide_is_dropped_one_of_another_version_is_not() {
    let mut package = package("p");
    package.requires = vec![equal("p", "1.0-1"), equal("p", "1.0-2"), needs("p")];
    assert_eq!(
        list(package, "requires"),
        [
            "<rpm:entry name=\"p\" flags=\"EQ\" epoch=\"0\" ver=\"1.0\" rel=\"2\"/>",
            "<rpm:entry name=\"p\"/>",
        ]
    );
}

#[test]
fn case_08_repetitions_are_dropped_only_when_equal_to_the_last_of_that_name() {
    let names = |requires| requiring(requires).len();
    assert_eq!(names(vec![needs("a"), needs("b"), needs("a")]), 2);
    assert_eq!(names(vec![needs("a"), needs_with("a", PREREQ)]), 2);
    assert_eq!(
        names(vec![equal("a", "1"), equal("a", "2"), equal("a", "1")]),
        3
    );
    assert_eq!(
        names(vec![equal("a", "1"), equal("a", "2"), equal("a", "2")]),
        2
    );
}

#[test]
fn case_09_of_all_libc_versions_the_highest_stays_at_the_end() {
    assert_eq!(
        requiring(vec![
            needs("libc.so.6()(64bit)"),
            needs("libc.so.6(GLIBC_2.34)(64bit)"),
            needs("libm.so.6"),
            needs("libc.so.6(GLIBC_2.4)(64bit)"),
        ]),
        [
            "<rpm:entry name=\"libm.so.6\"/>",
            "<rpm:entry name=\"libc.so.6(GLIBC_2.34)(64bit)\"/>"
        ]
    );
}

#[test]
fn case_10_a_rich_dependency_is_one_name_escaped_once() {
    assert_eq!(
        requiring(vec![needs("(a >= 1 if b < 2)"), needs("x&y")]),
        [
            "<rpm:entry name=\"(a &gt;= 1 if b &lt; 2)\"/>",
            "<rpm:entry name=\"x&amp;y\"/>"
        ]
    );
}

#[test]
fn case_11_all_eight_lists_are_written_in_order_and_missingok_is_a_recommendation() {
    let mut package = package("p");
    package.requires = vec![needs("hard")];
    package.conflicts = vec![needs("c")];
    package.obsoletes = vec![needs("o")];
    package.suggests = vec![needs("s")];
    package.enhances = vec![needs("e")];
    package.recommends = vec![needs_with("soft", MISSING_OK), needs("r")];
    package.supplements = vec![needs("u")];
    assert_eq!(
        list(package.clone(), "recommends"),
        ["<rpm:entry name=\"soft\"/>", "<rpm:entry name=\"r\"/>"]
    );
    let xml = xml_of([package], "primary");
    let places: Vec<usize> = [
        "provides",
        "requires",
        "conflicts",
        "obsoletes",
        "suggests",
        "enhances",
        "recommends",
        "supplements",
    ]
    .iter()
    .map(|list| {
        xml.find(&format!("<rpm:{list}>"))
            .unwrap_or_else(|| panic!("no {list}"))
    })
    .collect();
    assert!(places.is_sorted(), "{places:?}");
}

/// (author, date) of the changelog entries as written.
fn changes(package: Package, limit: Option<usize>) -> Vec<(String, i64)> {
    let (entries, source) = listed([package]);
    let options = repo_server::repodata::Options {
        changelog_limit: limit,
        ..options(Codec::None)
    };
    let repodata = built(&entries, &source, &options);
    let xml = String::from_utf8(file_of(&repodata, "other").to_vec()).unwrap();
    xml.lines()
        .filter_map(|line| line.trim().strip_prefix("<changelog author=\""))
        .map(|line| {
            let (author, rest) = line.split_once("\" date=\"").unwrap();
            (
                author.to_owned(),
                rest.split_once('"').unwrap().0.parse().unwrap(),
            )
        })
        .collect()
}

#[test]
fn case_25_the_ten_newest_changes_are_written_oldest_first() {
    let mut newest_first = package("p");
    newest_first.changelog = (0..30)
        .rev()
        .map(|day| change(day * 86_400, &format!("a{day}  "), "- x"))
        .collect();
    let mut oldest_first = newest_first.clone();
    oldest_first.changelog.reverse();
    let expected: Vec<(String, i64)> = (20..30)
        .map(|day| (format!("a{day}"), day * 86_400))
        .collect();
    assert_eq!(changes(newest_first.clone(), Some(10)), expected);
    assert_eq!(changes(oldest_first, Some(10)), expected);
    assert_eq!(changes(newest_first.clone(), None).len(), 30);
    assert_eq!(changes(newest_first, Some(0)), []);
}

#[test]
fn case_26_changes_of_one_day_are_a_second_apart_beyond_2038_too() {
    for day in [1_535_025_600, i64::from(i32::MAX) - 1, 4_102_444_800] {
        let mut package = package("p");
        package.changelog = vec![
            change(day + 86_400, "e", ""),
            change(day + 1, "d", ""),
            change(day, "c", ""),
            change(day, "b", ""),
            change(day - 86_400, "a", ""),
        ];
        let dates: Vec<(String, i64)> = [
            ("a", day - 86_400),
            ("b", day),
            ("c", day + 1),
            ("d", day + 2),
            ("e", day + 86_400),
        ]
        .map(|(author, date)| (author.to_owned(), date))
        .into();
        assert_eq!(changes(package, Some(10)), dates);
    }
}

#[test]
fn case_30_control_characters_are_refused_with_field_and_place() {
    let mut bad = package("p");
    bad.description = "a\u{1b}[31mred".to_owned();
    let expected = PackageFault::Character {
        field: "description",
        offset: 1,
        code_point: 0x1b,
    };
    assert_eq!(check_package(&bad), Err(expected));
    let mut in_changelog = package("p");
    in_changelog.changelog = (0..20)
        .rev()
        .map(|n| change(n, "a", if n == 0 { "\u{1}" } else { "" }))
        .collect();
    assert!(
        check_package(&in_changelog).is_err(),
        "even an entry beyond the limit"
    );
    let mut in_file = package("p");
    in_file.files = vec![file("/usr/share/\u{ffff}", FileKind::Regular, 0)];
    assert!(check_package(&in_file).is_err());
    assert_eq!(check_package(&package("p")), Ok(()));
}

#[test]
fn case_31_leading_and_trailing_space_in_texts_is_kept() {
    let mut package = package("p");
    package.description = "  indented\n\n  more\n".to_owned();
    let xml = xml_of([package], "primary");
    assert!(xml.contains("<description>  indented\n\n  more\n</description>"));
}

#[test]
fn case_32_a_location_is_written_raw() {
    let (mut entries, source) = listed([package("p")]);
    entries[0].href = "./Packages/gtk+-1.0~rc1^git+1-3&x.rpm".parse().unwrap();
    let repodata = built(&entries, &source, &options(Codec::None));
    let xml = String::from_utf8(file_of(&repodata, "primary").to_vec()).unwrap();
    assert!(xml.contains("<location href=\"Packages/gtk+-1.0~rc1^git+1-3&amp;x.rpm\"/>"));
}

#[test]
fn a_list_that_cannot_be_published_is_refused() {
    let (entries, source) = listed([package("a"), package("b")]);
    let error_of = |entries: &[repo_server::repodata::Entry]| {
        build(
            &inputs(entries, &source, &NoFrameCache, 1),
            &options(Codec::Gzip),
            Timestamp::default(),
        )
        .unwrap_err()
    };
    let mut swapped = entries.clone();
    swapped.swap(0, 1);
    assert!(matches!(error_of(&swapped), MetadataError::Unsorted { .. }));
    let twice = [entries[0].clone(), entries[0].clone()];
    assert!(matches!(
        error_of(&twice),
        MetadataError::DuplicateFile { .. }
    ));
    let mut one_place = entries.clone();
    one_place[1].href = one_place[0].href.clone();
    assert!(matches!(
        error_of(&one_place),
        MetadataError::DuplicateHref { .. }
    ));
    let mut other = entries.clone();
    Arc::make_mut(&mut other[1].nevra).evr = Evr {
        epoch: 0,
        version: "2.0".to_owned(),
        release: "1".to_owned(),
    };
    assert!(matches!(
        error_of(&other),
        MetadataError::WrongPackage { .. }
    ));
    let mut absent = entries.clone();
    absent[1].file_digest = repo_model::FileDigest::of(b"absent");
    assert!(matches!(error_of(&absent), MetadataError::Load { .. }));
}
