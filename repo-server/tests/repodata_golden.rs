//! The exact bytes of a tiny repository: two packages, an advisory file, tags.

mod repodata_support;

use repo_model::Timestamp;
use repo_model::rpm::FileKind;
use repo_server::repodata::{
    Codec, DistroTag, ExtraRecord, Inputs, MetadataError, NoFrameCache, Options, Repodata, build,
};
use repodata_support::*;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

fn tiny() -> Result<Repodata, MetadataError> {
    tiny_with(vec![
        ExtraRecord {
            record_type: "updateinfo".to_owned(),
            file_name: format!("{}-updateinfo.xml", "0".repeat(64)),
            bytes: b"<updates/>\n".to_vec(),
            codec: Codec::Gzip,
        },
        ExtraRecord {
            record_type: "group".to_owned(),
            file_name: "comps.xml".to_owned(),
            bytes: b"<comps/>\n".to_vec(),
            codec: Codec::None,
        },
    ])
}

fn tiny_with(extras: Vec<ExtraRecord>) -> Result<Repodata, MetadataError> {
    let mut hello = package("hello");
    hello.nevra.arch = "x86_64".to_owned();
    hello.nevra.evr.epoch = 2;
    hello.vendor = Some("Example & Sons".to_owned());
    hello.url = Some("https://example.org/?a=1&b=2".to_owned());
    hello.requires = vec![needs_with("/bin/sh", 1 << 10), equal("libhello", "1:1.0-1")];
    hello.files = vec![
        file("/usr/bin/hello", FileKind::Regular, 0),
        file("/usr/share/doc/hello", FileKind::Dir, 2),
    ];
    hello.changelog = vec![
        change(
            1_763_553_600,
            "Jane <j@example.org> - 1.0-1",
            "- \"new\" & <shiny>\n- second line",
        ),
        change(1_763_553_600, "Jane <j@example.org> - 0.9-1", "- first"),
    ];
    let mut source_package = package("hello");
    source_package.nevra.arch = "src".to_owned();
    source_package.is_source = true;
    source_package.source_rpm = None;
    source_package.provides = Vec::new();
    let (entries, packages) = listed([hello, source_package]);
    let options = Options {
        codec: Codec::None,
        revision: Some("7".to_owned()),
        content_tags: vec!["binary".to_owned()],
        repo_tags: vec!["preview".to_owned()],
        distro_tags: vec![DistroTag {
            text: "Example 1".to_owned(),
            cpe_id: Some("cpe:/o:example:1".to_owned()),
        }],
        ..Options::default()
    };
    let inputs = Inputs {
        entries: &entries,
        packages: &packages,
        extras: &extras,
        cache: &NoFrameCache,
        workers: NonZeroUsize::MIN,
    };
    build(&inputs, &options, Timestamp::from_unix_secs(PUBLISHED))
}

/// Compares with the stored file. `BLESS=1` stores instead: then read the difference before
/// committing it.
fn golden(name: &str, bytes: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/repodata_golden")
        .join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, bytes).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    let text = std::str::from_utf8(bytes).unwrap();
    for (number, (is, should_be)) in text.lines().zip(expected.lines()).enumerate() {
        assert_eq!(is, should_be, "{name}, line {}", number + 1);
    }
    assert_eq!(text, expected);
}

#[test]
fn primary_filelists_and_other_are_these_bytes() {
    let repodata = tiny().unwrap();
    for record_type in ["primary", "filelists", "other"] {
        golden(
            &format!("{record_type}.xml"),
            file_of(&repodata, record_type),
        );
    }
}

#[test]
fn repomd_is_these_bytes() {
    golden("repomd.xml", &tiny().unwrap().repomd);
}

#[test]
fn every_file_is_named_by_its_digest_and_described_truly() {
    use repo_model::FileDigest;
    for codec in [Codec::ZSTD, Codec::Gzip, Codec::Xz, Codec::None] {
        let (entries, packages) = listed((0..60).map(numbered));
        let options = Options {
            open_checksums: true,
            ..options(codec)
        };
        for file in built(&entries, &packages, &options).files {
            let (record, bytes) = (&file.record, &file.bytes);
            assert_eq!(record.digest, FileDigest::of(bytes));
            assert_eq!(record.size_bytes, bytes.len() as u64);
            let name = format!(
                "repodata/{}-{}.xml{}",
                record.digest,
                record.record_type,
                codec.suffix()
            );
            assert_eq!(record.name, name);
            let open = decompressed(&record.name, bytes);
            match record.open {
                Some(described) => {
                    assert_eq!(described.digest, Some(FileDigest::of(&open)));
                    assert_eq!(described.size_bytes, open.len() as u64);
                }
                None => assert_eq!(codec, Codec::None),
            }
        }
    }
}

#[test]
fn the_order_of_extra_records_is_not_the_callers() {
    let record = |record_type: &str| ExtraRecord {
        record_type: record_type.to_owned(),
        file_name: format!("{record_type}.xml"),
        bytes: Vec::new(),
        codec: Codec::ZSTD,
    };
    let one = tiny_with(vec![record("modules"), record("appdata"), record("group")]).unwrap();
    let other = tiny_with(vec![record("group"), record("modules"), record("appdata")]).unwrap();
    assert_eq!(one, other);
}

#[test]
fn extra_records_cannot_pose_as_primary_or_leave_the_directory() {
    for (record_type, file_name) in [
        ("primary", "x.xml"),
        ("", "x.xml"),
        ("up\"date", "x.xml"),
        ("updateinfo", "../x.xml"),
        ("updateinfo", ".x.xml"),
        ("updateinfo", ""),
    ] {
        let extra = ExtraRecord {
            record_type: record_type.to_owned(),
            file_name: file_name.to_owned(),
            bytes: Vec::new(),
            codec: Codec::None,
        };
        let error = tiny_with(vec![extra]).unwrap_err();
        assert!(
            matches!(error, MetadataError::Option { .. }),
            "{record_type} {file_name}"
        );
    }
}

#[test]
fn an_empty_repository_is_a_valid_one() {
    let (entries, packages) = listed([]);
    let repodata = built(&entries, &packages, &options(Codec::None));
    assert_eq!(
        std::str::from_utf8(file_of(&repodata, "other")).unwrap(),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <otherdata xmlns=\"http://linux.duke.edu/metadata/other\" packages=\"0\">\n</otherdata>",
    );
}
