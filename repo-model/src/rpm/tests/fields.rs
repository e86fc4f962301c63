//! From tags to fields; numbers are those of the edge cases in the metadata reference.

use crate::rpm::testkit::{Field, Rpm};
use crate::rpm::{
    Dependency, DependencyFlags, FileEntry, FileKind, Head, HeaderError, Package, RpmFormat, tag,
};

fn read(rpm: &Rpm) -> Result<Package, HeaderError> {
    Package::from_head(&Head::parse(&rpm.bytes()).unwrap())
}

fn package(rpm: &Rpm) -> Package {
    read(rpm).unwrap()
}

fn refusal(rpm: &Rpm) -> String {
    read(rpm).unwrap_err().to_string()
}

fn probe() -> Rpm {
    Rpm::binary("probe")
        .file("/etc/probe.conf", b"x = 1\n")
        .dir("/srv")
        .symlink("/bin/p", "q")
}

fn int32(number: u32) -> Field {
    Field::Int32(vec![number])
}

#[test]
fn every_field_comes_from_its_tag() {
    let texts = [
        (tag::VENDOR, "vendor"),
        (tag::PACKAGER, "packager"),
        (tag::URL, "url"),
        (tag::BUGURL, "bugs"),
        (tag::VCS, "vcs"),
        (tag::DISTRIBUTION, "dist"),
        (tag::COOKIE, "cookie"),
        (tag::OPTFLAGS, "-O2"),
        (tag::PLATFORM, "noarch-linux"),
        (tag::MODULARITYLABEL, "m:s:1:c"),
        (tag::PAYLOADCOMPRESSOR, "zstd"),
        (tag::PAYLOADFLAGS, "19"),
    ];
    let rpm = texts
        .iter()
        .fold(probe(), |rpm, (tag, text)| rpm.set(*tag, Field::str(text)));
    let rpm = rpm
        .set(tag::EPOCH, int32(3))
        .set(tag::SOURCE, Field::strings(["a.tar", "b.tar"]))
        .set(tag::PATCH, Field::strings(["a.patch"]))
        .set(tag::PAYLOADSHA256ALT, Field::strings(["AB".repeat(32)]));
    let read = package(&rpm);
    let fields = [
        &read.vendor,
        &read.packager,
        &read.url,
        &read.bug_url,
        &read.vcs,
        &read.distribution,
        &read.cookie,
        &read.optflags,
        &read.platform,
        &read.modularity_label,
    ];
    for (field, (tag, text)) in fields.into_iter().zip(texts) {
        assert_eq!(field.as_deref(), Some(text), "{tag}");
    }
    assert_eq!(
        (
            read.payload_compressor.as_str(),
            read.payload_flags.as_deref()
        ),
        ("zstd", Some("19"))
    );
    assert_eq!(read.payload_sha256_alt, Some("ab".repeat(32)));
    assert_eq!((read.sources.len(), read.patches.len()), (2, 1));
    assert_eq!(read.nevra.to_string(), "probe-3:1.0-1.noarch");
    assert_eq!(
        (read.format, read.is_source, read.has_epoch_tag),
        (RpmFormat::V4, false, true)
    );
    assert_eq!(read.source_rpm.as_deref(), Some("probe-1.0-1.src.rpm"));
    assert_eq!(
        (read.summary.as_str(), read.group.as_str()),
        ("A probe", "Unspecified")
    );
    assert_eq!(read.changelog[0].text, "- first");
    assert_eq!(read.build_time.to_string(), "2026-01-02T03:04:05Z");
}

#[test]
fn case_1_and_4_dependencies_have_a_version_only_with_a_comparison() {
    let rpm = probe()
        .set(
            tag::REQUIRENAME,
            Field::strings(["a", "b", "c", "d", "e", "f", "g", "h"]),
        )
        .set(
            tag::REQUIREFLAGS,
            Field::Int32(vec![0, 2, 4, 8, 10, 12 | 1 << 9, 6, 8]),
        )
        .set(
            tag::REQUIREVERSION,
            Field::strings(["", "1", "1", "0:1-2", "1", "1", "1", ""]),
        );
    let flags: Vec<_> = package(&rpm)
        .requires
        .into_iter()
        .map(|entry| entry.version)
        .collect();
    use DependencyFlags::{Eq, Ge, Gt, Le, Lt};
    let version = |flags, text: &str| Some((flags, text.to_owned()));
    assert_eq!(
        flags,
        [
            None,
            version(Lt, "1"),
            version(Gt, "1"),
            version(Eq, "0:1-2"),
            version(Le, "1"),
            version(Ge, "1"),
            None,
            None
        ]
    );
}

#[test]
fn case_10_a_rich_dependency_is_one_name() {
    let rpm = probe()
        .set(tag::RECOMMENDNAME, Field::strings(["(a if b)"]))
        .set(tag::RECOMMENDFLAGS, int32(0))
        .set(tag::RECOMMENDVERSION, Field::strings([""]));
    let expected = Dependency {
        name: "(a if b)".to_owned(),
        version: None,
        sense: 0,
    };
    assert_eq!(package(&rpm).recommends, [expected]);
}

#[test]
fn case_11_old_weak_dependencies_are_mapped() {
    let list = |rpm: Rpm, [name, flags, version]: [u32; 3], rows: &[(&str, u32)]| {
        rpm.set(name, Field::strings(rows.iter().map(|row| row.0)))
            .set(flags, Field::Int32(rows.iter().map(|row| row.1).collect()))
            .set(version, Field::strings(vec![""; rows.len()]))
    };
    let rpm = list(
        probe(),
        [1156, 1158, 1157],
        &[("soft", 0), ("hard", 1 << 27)],
    );
    let rpm = list(rpm, [1159, 1161, 1160], &[("late", 0), ("early", 1 << 27)]);
    let rpm = list(rpm, [1049, 1048, 1050], &[("must", 0), ("may", 1 << 19)]);
    let rpm = list(rpm, [5046, 5048, 5047], &[("new", 0)]);
    let read = package(&rpm);
    let names = |list: &[Dependency]| {
        list.iter()
            .map(|entry| entry.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&read.recommends), ["may", "new", "hard"]);
    assert_eq!(names(&read.suggests), ["soft"]);
    assert_eq!(names(&read.supplements), ["early"]);
    assert_eq!(names(&read.enhances), ["late"]);
    assert_eq!(names(&read.requires), ["must"]);
}

#[test]
fn case_12_source_packages_are_src_or_nosrc_whatever_arch_says() {
    let source = Rpm::source("probe").set(tag::ARCH, Field::str("ppc64le"));
    assert_eq!(package(&source).nevra.arch, "src");
    assert_eq!(package(&source).source_rpm, None);
    for missing in [tag::NOSOURCE, tag::NOPATCH] {
        assert_eq!(
            package(&source.clone().set(missing, int32(0))).nevra.arch,
            "nosrc"
        );
    }
    // Before the tag there was only the lead.
    let old = package(&source.without(tag::SOURCEPACKAGE));
    assert!(old.is_source);
    assert!(!package(&probe().without(tag::SOURCERPM)).is_source);
}

#[test]
fn case_16_directory_indexes_are_checked_and_a_file_may_have_no_base_name() {
    let rpm = probe().set(tag::DIRINDEXES, Field::Int32(vec![0, 3, 1]));
    let error = refusal(&rpm);
    assert!(
        error.contains("file 1 is in directory 3, but there are 3"),
        "{error}"
    );
    assert!(
        error.contains("tag 1116 (DIRINDEXES) of the main header at offset"),
        "{error}"
    );
    let root = Rpm::binary("probe").dir("/");
    let file = &package(&root).files[0];
    assert_eq!(
        (file.path.as_str(), file.base.as_str(), file.kind),
        ("/", "", FileKind::Dir)
    );
}

#[test]
fn case_20_sizes_come_from_the_64_bit_tags_first() {
    let rpm = probe()
        .set(tag::LONGSIZE, Field::Int64(vec![5 << 32]))
        .set(tag::SIZE, int32(7));
    let rpm = rpm.set(tag::SIG_LONGARCHIVESIZE, Field::Int64(vec![6 << 32]));
    let rpm = rpm.set(tag::LONGFILESIZES, Field::Int64(vec![7 << 32, 0, 1]));
    let read = package(&rpm);
    assert_eq!(
        (read.installed_size_bytes, read.archive_size_bytes),
        (5 << 32, 6 << 32)
    );
    assert_eq!(read.files[0].size_bytes, 7 << 32);
    let in_signature = probe().set_signature(1007, int32(99));
    assert_eq!(package(&in_signature).archive_size_bytes, 99);
}

#[test]
fn case_29_text_that_is_not_utf8_is_latin_1_and_nothing_is_lost() {
    let all: Vec<u8> = (1..=255).collect();
    let read = package(&probe().set(tag::DESCRIPTION, Field::str(&all)));
    let back: Vec<u8> = read
        .description
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    assert_eq!(back, all);
    assert_eq!(
        package(&probe().set(tag::SUMMARY, Field::str("Balíček"))).summary,
        "Balíček"
    );
}

#[test]
fn none_in_brackets_is_nothing() {
    let rpm = probe()
        .set(tag::URL, Field::str("(none)"))
        .set(tag::VENDOR, Field::str(""));
    assert_eq!((package(&rpm).url, package(&rpm).vendor), (None, None));
    let error = refusal(&probe().set(tag::NAME, Field::str("(none)")));
    assert_eq!(
        error,
        "tag 1000 (NAME) of the main header is missing or empty"
    );
}

#[test]
fn a_package_without_identity_is_refused_by_tag() {
    for number in [tag::NAME, tag::VERSION, tag::RELEASE, tag::ARCH] {
        let error = refusal(&probe().without(number));
        assert!(
            error.contains(&format!("tag {number} (")) && error.contains("missing"),
            "{error}"
        );
    }
}

#[test]
fn version_3_packages_list_whole_paths() {
    let rpm = [tag::BASENAMES, tag::DIRNAMES, tag::DIRINDEXES]
        .into_iter()
        .fold(probe(), Rpm::without);
    let rpm = rpm.set(
        tag::OLDFILENAMES,
        Field::strings(["/etc/probe.conf", "/srv", "name"]),
    );
    let files = package(&rpm).files;
    let parts: Vec<_> = files
        .iter()
        .map(|file| (file.dir.as_str(), file.base.as_str()))
        .collect();
    assert_eq!(parts, [("/etc/", "probe.conf"), ("/", "srv"), ("", "name")]);
}

#[test]
fn lists_of_other_lengths_are_refused_by_both_names() {
    let short: [(u32, Field, &str); 9] = [
        (tag::FILEMODES, Field::Int16(vec![1]), "BASENAMES"),
        (tag::FILESIZES, Field::Int32(vec![1; 4]), "BASENAMES"),
        (tag::DIRINDEXES, Field::Int32(vec![0]), "BASENAMES"),
        (tag::FILEDIGESTS, Field::strings(["x"]), "BASENAMES"),
        (tag::FILEUSERNAME, Field::strings(["x"]), "BASENAMES"),
        (tag::FILEFLAGS, Field::Int32(vec![]), "BASENAMES"),
        (tag::PROVIDEFLAGS, Field::Int32(vec![0, 0]), "PROVIDENAME"),
        (
            tag::PROVIDEVERSION,
            Field::strings(["", "", ""]),
            "PROVIDENAME",
        ),
        (
            tag::CHANGELOGTEXT,
            Field::strings(["", ""]),
            "CHANGELOGTIME",
        ),
    ];
    for (number, field, other) in short {
        let error = refusal(&probe().set(number, field));
        assert!(
            error.starts_with(&format!("tag {number} (")) && error.contains(other),
            "{error}"
        );
    }
    for needed in [tag::FILEMODES, tag::FILESIZES] {
        assert!(refusal(&probe().without(needed)).contains("0 values"));
    }
}

#[test]
fn a_tag_of_another_type_is_refused() {
    for (number, field) in [
        (tag::NAME, int32(1)),
        (tag::EPOCH, Field::str("1")),
        (tag::REQUIRENAME, int32(1)),
        (tag::FILEMODES, Field::strings(["1", "2", "3"])),
        (tag::LONGSIZE, Field::Bin(vec![1])),
    ] {
        let error = refusal(&probe().set(number, field));
        assert!(
            error.contains(&format!("tag {number} (")) && error.contains(", want "),
            "{error}"
        );
    }
}

#[test]
fn long_directories_times_many_files_do_not_fill_the_memory() {
    let count = 3000;
    let rpm = Rpm::binary("probe")
        .set(tag::BASENAMES, Field::strings(vec!["x"; count]))
        .set(tag::DIRINDEXES, Field::Int32(vec![0; count]))
        .set(tag::DIRNAMES, Field::strings(["d".repeat(100_000)]))
        .set(tag::FILEMODES, Field::Int16(vec![0; count]))
        .set(tag::FILESIZES, Field::Int32(vec![0; count]));
    assert!(refusal(&rpm).contains("paths of all files take more than 268435456 bytes"));
}

#[test]
fn a_listing_has_the_same_files_without_the_texts_that_no_list_shows() {
    let rpm = Rpm::binary("probe")
        .dir("/usr/share/probe")
        .executable("/usr/bin/probe", b"x")
        .symlink("/usr/bin/p", "probe")
        .file("/var/log/probe", b"")
        .flags(FileEntry::GHOST)
        .bytes();
    let head = Head::parse(&rpm).unwrap();
    let whole = Package::from_head(&head).unwrap();
    for digests in [false, true] {
        let mut listed = Package::for_listing(&head, digests).unwrap();
        for (listed, file) in listed.files.iter_mut().zip(&whole.files) {
            assert_eq!(listed.digest, if digests { &*file.digest } else { "" });
            let texts = [&listed.dir, &listed.base, &listed.user, &listed.link_target];
            assert!(texts.into_iter().all(String::is_empty));
            *listed = FileEntry {
                path: listed.path.clone(),
                kind: listed.kind,
                flags: listed.flags,
                ..file.clone()
            };
        }
        assert_eq!(listed, whole);
    }
}

#[test]
fn a_listing_refuses_the_file_lists_that_a_whole_package_is_refused_for() {
    for tag in [
        tag::FILEUSERNAME,
        tag::FILELINKTOS,
        tag::FILEDIGESTS,
        tag::FILEMODES,
        tag::DIRINDEXES,
    ] {
        for lie in [Field::strings(["one", "two"]), Field::Int32(vec![1, 2])] {
            let rpm = Rpm::binary("probe").file("/a", b"x").set(tag, lie);
            let head = Head::parse(&rpm.bytes()).unwrap();
            let refusal = Package::from_head(&head).unwrap_err().to_string();
            let listed = Package::for_listing(&head, false).unwrap_err();
            assert_eq!(listed.to_string(), refusal);
        }
    }
}
