//! Packages made by numbers: those of the benchmark, which are like a distribution's, and such as nobody would build, with
//! everything that a header may say in any combination. The same ones each time; a difference names its package.

#[allow(dead_code)] // the benchmark uses more of it
#[path = "../../benches/repodata/distribution.rs"]
mod distribution;
#[path = "../../benches/repodata/words.rs"]
mod words;

use super::{compare, copy_rpms, createrepo_c, differing_packages, ours};
use crate::repodata_support::Choices;
use crate::repodata_support::reference::{Reference, characters};
use distribution::Distribution;
use repo_model::rpm::tag;
use repo_model::rpm::testkit::{Field, Rpm};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Packages of each sort.
const COUNT: usize = 250;

const NAMES: [&str; 16] = [
    "a",
    "b",
    "odd",
    "libx.so.1()(64bit)",
    "libc.so.6()(64bit)",
    "libc.so.6(GLIBC_2.4)(64bit)",
    "libc.so.6(GLIBC_2.34)(64bit)",
    "/bin/sh",
    "/usr/bin/odd0",
    "/usr/share/odd/1",
    "/etc/odd/2",
    "(a if b)",
    "(c >= 1:2-3 with d < 4)",
    "config(odd) & <co>",
    "perl(X::Y)",
    "\u{e9}t\u{e9}",
];
const VERSIONS: [&str; 6] = ["1", "1.0-1", "2:3-4", "0:1-1", "1.0~rc1-2^git", "20240101"];
/// LT, GT, EQ, LE, GE.
const COMPARISONS: [u32; 5] = [2, 4, 8, 10, 12];
/// PREREQ, INTERP, SCRIPT_PRE, SCRIPT_POST, SCRIPT_PREUN, SCRIPT_POSTUN, POSTTRANS, PRETRANS, FIND_REQUIRES, MISSINGOK.
const SENSES: [u32; 11] = [
    0,
    1 << 6,
    1 << 8,
    1 << 9,
    1 << 10,
    1 << 11,
    1 << 12,
    1 << 5,
    1 << 7,
    1 << 14,
    1 << 19,
];
/// Names, versions and flags of the eight lists.
const LISTS: [[u32; 3]; 8] = [
    [tag::PROVIDENAME, tag::PROVIDEVERSION, tag::PROVIDEFLAGS],
    [tag::REQUIRENAME, tag::REQUIREVERSION, tag::REQUIREFLAGS],
    [tag::CONFLICTNAME, tag::CONFLICTVERSION, tag::CONFLICTFLAGS],
    [tag::OBSOLETENAME, tag::OBSOLETEVERSION, tag::OBSOLETEFLAGS],
    [tag::SUGGESTNAME, tag::SUGGESTVERSION, tag::SUGGESTFLAGS],
    [tag::ENHANCENAME, tag::ENHANCEVERSION, tag::ENHANCEFLAGS],
    [
        tag::RECOMMENDNAME,
        tag::RECOMMENDVERSION,
        tag::RECOMMENDFLAGS,
    ],
    [
        tag::SUPPLEMENTNAME,
        tag::SUPPLEMENTVERSION,
        tag::SUPPLEMENTFLAGS,
    ],
];

fn one<'a>(choices: &mut Choices, of: &[&'a str]) -> &'a str {
    of[choices.below(of.len())]
}

/// A package that says all sorts of things.
fn odd(number: usize) -> Vec<u8> {
    let mut choices = Choices((number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let choices = &mut choices;
    let name = format!("odd{number}");
    let version = one(choices, &["1", "1.0~rc1", "2^git", "0"]);
    let release = one(choices, &["1", "2.fc43", "0.1"]);
    let text = |text: String| Field::I18n(vec![text.into_bytes()]);
    let words = [
        "a <b>",
        "c & d",
        "\"quoted\"",
        "it's",
        "\u{e9}\u{4e2d}",
        "  two  ",
        "x\ty",
        "\n\nline",
        "",
    ];
    let mut prose = |least: usize| -> String {
        let count = least + choices.below(6);
        (0..count)
            .map(|_| one(choices, &words))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let (summary, description) = (format!("s{}", prose(1)), format!("d{}", prose(2)));
    let mut rpm = Rpm::binary(&name)
        .set(tag::VERSION, Field::str(version))
        .set(tag::RELEASE, Field::str(release))
        .set(tag::SUMMARY, text(summary))
        .set(tag::DESCRIPTION, text(description));
    if choices.below(2) == 0 {
        rpm = rpm.set(tag::EPOCH, Field::Int32(vec![choices.below(3) as u32]));
    }
    for (tag, value) in [
        (tag::VENDOR, "V & <v>"),
        (tag::PACKAGER, "P <p@example.org>"),
        (tag::URL, "https://example.org/?a=1&b=2"),
    ] {
        if choices.below(2) == 0 {
            rpm = rpm.set(tag, Field::str(value));
        }
    }
    rpm = with_lists(rpm, &name, &format!("{version}-{release}"), choices);
    with_files(with_changes(rpm, choices), &name, choices).bytes()
}

fn with_lists(mut rpm: Rpm, name: &str, evr: &str, choices: &mut Choices) -> Rpm {
    for (number, [names, versions, flags]) in LISTS.into_iter().enumerate() {
        let mut list: Vec<(&str, &str, u32)> = Vec::new();
        if number == 0 {
            list.push((name, evr, 8));
        }
        for _ in 0..choices.below(12) {
            let (version, comparison) = match choices.below(2) {
                0 => ("", 0),
                _ => (
                    one(choices, &VERSIONS),
                    COMPARISONS[choices.below(COMPARISONS.len())],
                ),
            };
            let sense = match number {
                1 => SENSES[choices.below(SENSES.len())],
                _ => 0,
            };
            list.push((one(choices, &NAMES), version, comparison | sense));
        }
        if list.is_empty() {
            continue;
        }
        rpm = rpm
            .set(names, Field::strings(list.iter().map(|entry| entry.0)))
            .set(versions, Field::strings(list.iter().map(|entry| entry.1)))
            .set(
                flags,
                Field::Int32(list.iter().map(|entry| entry.2).collect()),
            );
    }
    rpm
}

fn with_changes(rpm: Rpm, choices: &mut Choices) -> Rpm {
    let (mut time, mut times) = (1_760_000_000_u32, Vec::new());
    let (mut authors, mut texts) = (Vec::new(), Vec::new());
    for _ in 0..choices.below(16) {
        times.push(time);
        // Some of one day.
        time -= 86_400 * choices.below(3) as u32;
        authors.push(one(
            choices,
            &["A <a@example.org> - 1-1", "B & C  ", "D <d@example.org>"],
        ));
        texts.push(one(
            choices,
            &["- x", "- <y> & z\n  more", "- \u{e9}", "-  "],
        ));
    }
    if times.is_empty() {
        return rpm
            .without(tag::CHANGELOGTIME)
            .without(tag::CHANGELOGNAME)
            .without(tag::CHANGELOGTEXT);
    }
    rpm.set(tag::CHANGELOGTIME, Field::Int32(times))
        .set(tag::CHANGELOGNAME, Field::strings(authors))
        .set(tag::CHANGELOGTEXT, Field::strings(texts))
}

fn with_files(mut rpm: Rpm, name: &str, choices: &mut Choices) -> Rpm {
    let mut paths = BTreeSet::new();
    for file in 0..choices.below(12) {
        let below = one(
            choices,
            &[
                "/usr/bin/",
                "/etc/odd/",
                "/usr/share/odd/",
                "/usr/lib/x & <y>/",
                "/opt/sbin/",
                "/",
            ],
        );
        paths.insert(format!("{below}{}{file}", one(choices, &["", name, "f g"])));
    }
    for path in paths {
        rpm = match choices.below(4) {
            0 => rpm.dir(&path),
            1 => rpm.symlink(&path, "../x"),
            _ => rpm.file(&path, path.as_bytes()),
        };
        // None, CONFIG, DOC, GHOST, LICENSE.
        rpm = rpm.flags([0, 1, 2, 1 << 6, 1 << 7][choices.below(5)]);
    }
    rpm
}

#[test]
fn made_up_packages_by_the_hundred_get_the_bytes_that_createrepo_c_gives_them() {
    let made = tempfile::tempdir().unwrap();
    let distribution = Distribution::new(COUNT);
    for number in 0..COUNT {
        let place = made.path().join(distribution.file_name(number, 1));
        fs::write(place, distribution.package(number, 1)).unwrap();
        fs::write(made.path().join(format!("odd{number}.rpm")), odd(number)).unwrap();
    }
    let tools = Reference::all().into_iter();
    for tool in tools.filter(Reference::writes_as_1_2) {
        compare_made_up(&tool, made.path());
    }
}

fn compare_made_up(tool: &Reference, made: &Path) {
    let directory = tempfile::tempdir().unwrap();
    copy_rpms(made, directory.path());
    let theirs = createrepo_c(tool, directory.path());
    let ours = ours(directory.path(), &theirs[0]);
    assert_eq!(ours[0].matches("<package ").count(), 2 * COUNT);
    let deliberate = compare(&theirs, &ours, |_, _| false, |_, _| false);
    assert_eq!(deliberate, []);
    let theirs = theirs.each_ref().map(|text| characters(text));
    assert_eq!(differing_packages(&theirs, &ours), 0, "{}", tool.label);
}
