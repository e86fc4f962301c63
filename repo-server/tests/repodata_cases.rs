//! The numbered cases of metadata that concern files, sizes, times and text; with `repodata_rules.rs`
//! (dependencies, changelogs), `repodata_cases_repomd.rs` (repomd.xml and records) and
//! `repodata_cases_reading.rs` (what readers must take, bombs, signatures) every case from 1 to 44 has a test of its name.

mod repodata_support;

use repo_model::rpm::testkit::{Field, Rpm};
use repo_model::rpm::{FileEntry, FileKind, Head, HeadLimits, HeaderError, Package, lint, tag};
use repo_model::{FileDigest, Timestamp};
use repo_server::repodata::{
    Codec, Entry, MemoryFrameCache, MetadataError, NoFrameCache, Options, build,
};
use repodata_support::*;
use std::collections::BTreeSet;

#[test]
fn every_case_from_1_to_44_has_a_test_of_its_name() {
    let sources = [
        include_str!("repodata_cases.rs"),
        include_str!("repodata_cases_repomd.rs"),
        include_str!("repodata_cases_reading.rs"),
        include_str!("repodata_rules.rs"),
    ];
    let mut named = BTreeSet::new();
    for source in sources {
        let lines: Vec<&str> = source.lines().collect();
        for pair in lines.windows(2) {
            let Some(name) = pair[1].strip_prefix("fn case_") else {
                continue;
            };
            assert_eq!(pair[0], "#[test]", "case {name}");
            let (number, _) = name.split_once('_').unwrap();
            let number = number.parse::<u32>().unwrap();
            named.insert(number);
        }
    }
    assert!((1..=44).eq(named.iter().copied()), "{named:?}");
}

fn read(rpm: &Rpm) -> Package {
    Package::from_head(&Head::parse(&rpm.bytes()).unwrap()).unwrap()
}

fn files_in(package: Package, kind: &str) -> Vec<String> {
    let xml = xml_of([package], kind);
    xml.lines()
        .map(str::trim)
        .filter(|line| line.starts_with("<file>") || line.starts_with("<file "))
        .map(str::to_owned)
        .collect()
}

fn plain(path: &str) -> FileEntry {
    file(path, FileKind::Regular, 0)
}

#[test]
fn case_03_odd_versions_are_cut_at_the_first_colon_and_the_first_dash() {
    for (version, attributes) in [
        ("1.0", "epoch=\"0\" ver=\"1.0\""),
        ("1.0-2", "epoch=\"0\" ver=\"1.0\" rel=\"2\""),
        ("5:1.0-2", "epoch=\"5\" ver=\"1.0\" rel=\"2\""),
        (":", "epoch=\"0\""),
        ("5:", "epoch=\"5\""),
        (":1", "epoch=\"0\" ver=\"1\""),
        ("-", "epoch=\"0\""),
        ("-2", "epoch=\"0\" rel=\"2\""),
        ("1-", "epoch=\"0\" ver=\"1\""),
        ("1-2-3", "epoch=\"0\" ver=\"1\" rel=\"2-3\""),
        ("1:2:3", "epoch=\"1\" ver=\"2:3\""),
    ] {
        let mut package = package("p");
        package.conflicts = vec![equal("x", version)];
        let expected = format!("<rpm:entry name=\"x\" flags=\"EQ\" {attributes}/>");
        let xml = xml_of([package], "primary");
        assert!(xml.contains(&expected), "{version}: {xml}");
    }
}

#[test]
fn case_12_a_source_package_is_known_by_its_tag_and_nosrc_stays_nosrc() {
    let built_on_arm = Rpm::source("p").set(tag::ARCH, Field::str("aarch64"));
    let named_so = Rpm::binary("p.src").set(tag::ARCH, Field::str("x86_64"));
    let without_source = Rpm::source("p")
        .set(tag::ARCH, Field::str("ppc"))
        .set(tag::NOSOURCE, Field::Int32(vec![0]));
    for (rpm, arch) in [
        (built_on_arm, "src"),
        (named_so, "x86_64"),
        (without_source, "nosrc"),
    ] {
        for kind in ["primary", "filelists", "other"] {
            let xml = xml_of([read(&rpm)], kind);
            let in_primary = xml.contains(&format!("<arch>{arch}</arch>"));
            assert!(
                in_primary || xml.contains(&format!(" arch=\"{arch}\">")),
                "{arch}: {xml}"
            );
        }
    }
}

#[test]
fn case_14_primary_files_are_etc_bin_and_sendmail() {
    let mut package = package("p");
    let paths = [
        "/etc/p.conf",
        "/foo/bindir",
        "/opt/x/sbin/tool",
        "/usr/bin/p",
        "/usr/etc/p",
        "/usr/lib/sendmail",
        "/usr/lib/sendmail.postfix",
        "/usr/share/man/bin/man0p",
        "/usr/share/p",
    ];
    package.files = paths.map(plain).into();
    assert_eq!(
        files_in(package.clone(), "primary"),
        [
            "<file>/etc/p.conf</file>",
            "<file>/opt/x/sbin/tool</file>",
            "<file>/usr/bin/p</file>",
            "<file>/usr/lib/sendmail</file>",
            "<file>/usr/share/man/bin/man0p</file>",
        ]
    );
    assert_eq!(
        files_in(package, "filelists"),
        paths.map(|path| format!("<file>{path}</file>"))
    );
}

#[test]
fn case_15_dir_wins_over_ghost_and_ghosts_stay_in_filelists() {
    const GHOST: u32 = 64;
    let mut package = package("p");
    package.files = vec![
        file("/etc/p", FileKind::Dir, GHOST),
        file("/etc/p/p.conf", FileKind::Regular, 1),
        file("/usr/bin/p", FileKind::Symlink, 0),
        file("/var/log/p.log", FileKind::Regular, GHOST),
    ];
    let all = [
        "<file type=\"dir\">/etc/p</file>",
        "<file>/etc/p/p.conf</file>",
        "<file>/usr/bin/p</file>",
        "<file type=\"ghost\">/var/log/p.log</file>",
    ];
    assert_eq!(files_in(package.clone(), "primary"), all[..3]);
    assert_eq!(files_in(package, "filelists"), all);
}

#[test]
fn case_16_a_directory_index_out_of_range_is_an_error_and_an_empty_base_name_is_its_directory() {
    let rpm = Rpm::binary("p").file("/usr/share/p", b"x");
    let out_of_range = rpm.clone().set(tag::DIRINDEXES, Field::Int32(vec![1]));
    let error = Package::from_head(&Head::parse(&out_of_range.bytes()).unwrap()).unwrap_err();
    assert!(
        matches!(
            error,
            HeaderError::DirIndex {
                index: 1,
                directories: 1,
                ..
            }
        ),
        "{error}"
    );
    let root = Rpm::binary("p")
        .dir("/")
        .set(tag::BASENAMES, Field::strings([""]))
        .set(tag::DIRNAMES, Field::strings(["/"]));
    assert_eq!(
        files_in(read(&root), "filelists"),
        ["<file type=\"dir\">/</file>"]
    );
}

#[test]
fn case_17_filelists_ext_has_each_digest_and_never_guesses_the_algorithm() {
    let rpm = Rpm::binary("p")
        .file("/usr/bin/p", b"abc")
        .dir("/usr/share/p");
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let with = |number| {
        rpm.clone()
            .set(tag::FILEDIGESTALGO, Field::Int32(vec![number]))
    };
    for (rpm, name) in [
        (rpm.clone(), "sha256"),
        (rpm.clone().without(tag::FILEDIGESTALGO), "md5"),
        (with(1), "md5"),
        (with(2), "sha1"),
        (with(9), "sha384"),
        (with(10), "sha512"),
        (with(99), "unknown"),
    ] {
        let (entries, packages) = listed([read(&rpm)]);
        let options = Options {
            filelists_ext: true,
            ..options(Codec::None)
        };
        let repodata = built(&entries, &packages, &options);
        let xml = String::from_utf8(file_of(&repodata, "filelists-ext").to_vec()).unwrap();
        assert!(
            xml.contains(&format!("\n  <checksum type=\"{name}\"/>\n")),
            "{name}: {xml}"
        );
        assert!(xml.contains(&format!("  <file hash=\"{sha256}\">/usr/bin/p</file>\n")));
        assert!(xml.contains("  <file type=\"dir\">/usr/share/p</file>\n"));
    }
}

#[test]
fn case_18_a_path_listed_twice_is_written_once_and_a_package_listed_twice_is_refused() {
    let mut twice = package("p");
    twice.files = ["/usr/bin/b", "/usr/bin/a", "/usr/bin/b"].map(plain).into();
    for kind in ["primary", "filelists"] {
        assert_eq!(
            files_in(twice.clone(), kind),
            ["<file>/usr/bin/b</file>", "<file>/usr/bin/a</file>"]
        );
    }
    let (mut entries, packages) = listed([package("p")]);
    entries.push(Entry {
        href: "elsewhere.rpm".parse().unwrap(),
        ..entries[0].clone()
    });
    let error = build(
        &inputs(&entries, &packages, &NoFrameCache, 1),
        &options(Codec::None),
        Timestamp::default(),
    );
    assert!(matches!(error, Err(MetadataError::DuplicateFile { .. })));
}

#[test]
fn case_19_all_files_are_always_there_and_list_the_same_packages_in_one_order() {
    for count in [0, 1, 300] {
        let (entries, packages) = listed((0..count).map(numbered));
        let repodata = built(&entries, &packages, &options(Codec::None));
        let expected: Vec<String> = entries
            .iter()
            .map(|entry| entry.file_digest.to_hex())
            .collect();
        for kind in ["primary", "filelists", "other"] {
            let xml = String::from_utf8(file_of(&repodata, kind).to_vec()).unwrap();
            let start = if kind == "primary" {
                "pkgid=\"YES\">"
            } else {
                "<package pkgid=\""
            };
            let ids: Vec<&str> = xml.split(start).skip(1).map(|rest| &rest[..64]).collect();
            assert_eq!(ids, expected, "{kind}");
        }
    }
}

#[test]
fn case_20_the_three_sizes_are_those_on_disk_installed_and_of_the_archive_in_64_bits() {
    let rpm = Rpm::binary("p")
        .set(tag::SIZE, Field::Int32(vec![7]))
        .set(tag::LONGSIZE, Field::Int64(vec![1 << 40]))
        .set_signature(tag::SIG_LONGARCHIVESIZE, Field::Int64(vec![(1 << 40) + 1]));
    let xml = xml_of([read(&rpm)], "primary");
    assert!(xml.contains(
        "<size package=\"27104\" installed=\"1099511627776\" archive=\"1099511627777\"/>"
    ));
    let small = Rpm::binary("p")
        .set(tag::SIZE, Field::Int32(vec![7]))
        .set_signature(tag::SIG_PAYLOADSIZE, Field::Int32(vec![8]));
    let xml = xml_of([read(&small)], "primary");
    assert!(xml.contains("<size package=\"27104\" installed=\"7\" archive=\"8\"/>"));
}

#[test]
fn case_21_the_header_range_is_that_of_the_main_header_and_hostile_sizes_are_refused() {
    let bytes = Rpm::binary("p").bytes();
    let count = |at: usize| u64::from(u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()));
    // Lead 96, then magic 8, count of entries 4, bytes of data 4.
    let start = (96 + 16 + 16 * count(104) + count(108)).next_multiple_of(8);
    let at = usize::try_from(start).unwrap();
    let end = start + 16 + 16 * count(at + 8) + count(at + 12);
    let package = Package::from_head(&Head::parse(&bytes).unwrap()).unwrap();
    let xml = xml_of([package], "primary");
    assert!(
        xml.contains(&format!(
            "<rpm:header-range start=\"{start}\" end=\"{end}\"/>"
        )),
        "{xml}"
    );
    for offset in [104, 108, at + 8, at + 12] {
        let mut hostile = bytes.clone();
        hostile[offset..offset + 4].fill(0xFF);
        assert!(
            Head::read(&hostile[..], &HeadLimits::default()).is_err(),
            "byte {offset}"
        );
    }
}

#[test]
fn case_22_signing_again_refreshes_everything_that_it_changes() {
    let unsigned = Rpm::binary("p");
    let signed = unsigned
        .clone()
        .set_signature(tag::SIG_RESERVEDSPACE, Field::Bin(vec![0; 8000]));
    let cache = MemoryFrameCache::new(1 << 20);
    let xml_of_file = |rpm: &Rpm| {
        let bytes = rpm.bytes();
        let package = Package::from_head(&Head::parse(&bytes).unwrap()).unwrap();
        let (mut entries, mut packages) = listed([package.clone()]);
        entries[0].file_digest = FileDigest::of(&bytes);
        entries[0].file_size_bytes = bytes.len() as u64;
        packages.insert(FileDigest::of(&bytes), package.clone());
        let repodata = build(
            &inputs(&entries, &packages, &cache, 1),
            &options(Codec::None),
            Timestamp::default(),
        );
        let repodata = repodata.unwrap();
        let xml = String::from_utf8(file_of(&repodata, "primary").to_vec()).unwrap();
        for expected in [
            FileDigest::of(&bytes).to_hex(),
            format!("package=\"{}\"", bytes.len()),
            format!(
                "start=\"{}\" end=\"{}\"",
                package.header_range.start, package.header_range.end
            ),
        ] {
            assert!(xml.contains(&expected), "{expected}");
        }
        (package.header_digest, package.header_range)
    };
    let (before, after) = (xml_of_file(&unsigned), xml_of_file(&signed));
    assert_eq!(before.0, after.0, "the same package");
    assert_ne!(before.1, after.1, "at another place in its file");
}

#[test]
fn case_23_the_file_time_is_when_a_release_first_held_the_file() {
    let (entries, packages) = listed([package("p")]);
    let later = Timestamp::from_unix_secs(PUBLISHED + 86_400);
    let repodata = build(
        &inputs(&entries, &packages, &NoFrameCache, 1),
        &options(Codec::None),
        later,
    )
    .unwrap();
    let xml = String::from_utf8(file_of(&repodata, "primary").to_vec()).unwrap();
    assert!(xml.contains(&format!(
        "<time file=\"{PUBLISHED}\" build=\"1763629200\"/>"
    )));
}

#[test]
fn case_24_a_build_time_of_zero_is_written_and_duplicates_do_not_depend_on_it() {
    let rpm = Rpm::binary("p").set(tag::BUILDTIME, Field::Int32(vec![0]));
    let package = read(&rpm);
    assert!(
        xml_of([package.clone()], "primary")
            .contains(&format!("<time file=\"{PUBLISHED}\" build=\"0\"/>"))
    );
    let (mut entries, mut packages) = listed([package.clone()]);
    let other = FileDigest::of(b"the same package, signed by another");
    entries.push(Entry {
        file_digest: other,
        href: "other/p.rpm".parse().unwrap(),
        ..entries[0].clone()
    });
    packages.insert(other, package);
    repo_server::repodata::sort(&mut entries);
    let repodata = built(&entries, &packages, &options(Codec::None));
    let xml = String::from_utf8(file_of(&repodata, "primary").to_vec()).unwrap();
    let first = xml.find(&entries[0].file_digest.to_hex()).unwrap();
    assert!(
        first < xml.find(&entries[1].file_digest.to_hex()).unwrap(),
        "ordered by digest"
    );
}

#[test]
fn case_29_text_that_is_not_utf8_is_read_as_latin1_and_nothing_is_lost() {
    let text = |bytes: &[u8]| Field::I18n(vec![bytes.to_vec()]);
    for (bytes, written) in [
        (&b"caf\xc3\xa9"[..], "café"),
        (b"caf\xe9", "café"),
        (b"\x80\xe0\xbf", "\u{80}à¿"),
        (b"caf\xc3\xa9 caf\xe9", "cafÃ© café"),
    ] {
        let rpm = Rpm::binary("p").set(tag::SUMMARY, text(bytes));
        let xml = xml_of([read(&rpm)], "primary");
        assert!(
            xml.contains(&format!("<summary>{written}</summary>")),
            "{xml}"
        );
    }
    let rpm = Rpm::binary("p").set(tag::SUMMARY, text(b"caf\xe9"));
    let findings = lint(&Head::parse(&rpm.bytes()).unwrap(), &read(&rpm));
    assert!(findings.iter().any(|finding| finding.code == "not-utf8"));
}
