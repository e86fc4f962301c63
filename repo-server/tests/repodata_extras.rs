//! Records beside primary, filelists and other: made, or carried as they came.

mod repodata_support;

use repo_model::{FileDigest, Timestamp};
use repo_server::repodata::{
    ChecksumType, Codec, ExtraRecord, Inputs, MetadataError, NoFrameCache, Options, Repodata,
    Sha512Digest, build,
};
use repodata_support::*;
use std::io::Write;
use std::num::NonZeroUsize;

const UPDATEINFO: &[u8] = b"<?xml version=\"1.0\"?>\n<updates><update type=\"security\">\n\
    <id>E-1</id><references><reference href=\"\" id=\"\" title=\"\"/></references></update></updates>";
const MODULES: &[u8] =
    b"---\ndocument: modulemd\nversion: 2\ndata:\n  stream: 2.10\n  # kept\n...\n\
    ---\ndocument: modulemd-defaults\nversion: 1\n...\n---\ndocument: modulemd-obsoletes\n...\n";

fn extra(record_type: &str, file_name: &str, bytes: &[u8], codec: Codec) -> ExtraRecord {
    ExtraRecord {
        record_type: record_type.to_owned(),
        file_name: file_name.to_owned(),
        bytes: bytes.to_vec(),
        codec,
    }
}

fn with(extras: &[ExtraRecord], checksum: ChecksumType) -> Result<Repodata, MetadataError> {
    let (entries, packages) = listed([package("p")]);
    let inputs = Inputs {
        entries: &entries,
        packages: &packages,
        extras,
        cache: &NoFrameCache,
        workers: NonZeroUsize::MIN,
    };
    let options = Options {
        checksum,
        open_checksums: true,
        ..Options::default()
    };
    build(&inputs, &options, Timestamp::from_unix_secs(PUBLISHED))
}

fn written(extra: ExtraRecord) -> repo_server::repodata::RepodataFile {
    let record_type = extra.record_type.clone();
    let repodata = with(&[extra], ChecksumType::Sha256).unwrap();
    let mut files = repodata.files.into_iter();
    files
        .find(|file| file.record.record_type == record_type)
        .unwrap()
}

#[test]
fn advisories_groups_modules_and_unknown_types_are_kept_to_the_byte_in_every_codec() {
    for (record_type, file_name, bytes) in [
        ("updateinfo", "updateinfo.xml", UPDATEINFO),
        ("group", "comps.xml", b"<comps/>\n"),
        ("group_gz", "comps.xml", b"<comps/>\n"),
        ("modules", "modules.yaml", MODULES),
        ("productid", "productid", b"-----BEGIN CERTIFICATE-----"),
        ("appdata-icons", "appdata-icons.tar", &[0, 1, 2, 255]),
        ("susedata.de", "susedata.de.xml", b""),
    ] {
        for codec in [Codec::None, Codec::Gzip, Codec::ZSTD, Codec::Xz] {
            let file = written(extra(record_type, file_name, bytes, codec));
            let name = &file.record.name;
            assert!(
                name.ends_with(&format!("-{file_name}{}", codec.suffix())),
                "{name}"
            );
            assert_eq!(decompressed(name, &file.bytes), bytes);
            let open = file
                .record
                .open
                .map(|open| (open.digest.unwrap(), open.size_bytes));
            let expected =
                (codec != Codec::None).then(|| (FileDigest::of(bytes), bytes.len() as u64));
            assert_eq!(open, expected);
        }
    }
}

/// The text, compressed as an upstream may have done, by name suffix.
fn upstream(suffix: &str, open: &[u8]) -> Vec<u8> {
    match suffix {
        ".gz" => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(open).unwrap();
            encoder.finish().unwrap()
        }
        ".zst" => zstd::encode_all(open, 3).unwrap(),
        ".xz" => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
            encoder.write_all(open).unwrap();
            encoder.finish().unwrap()
        }
        _ => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
            encoder.write_all(open).unwrap();
            encoder.finish().unwrap()
        }
    }
}

#[test]
fn a_file_that_is_already_compressed_is_carried_to_the_byte_and_described() {
    for suffix in [".gz", ".zst", ".xz", ".bz2"] {
        let bytes = upstream(suffix, UPDATEINFO);
        let name = format!("{}-updateinfo.xml{suffix}", "a".repeat(64));
        let file = written(extra("updateinfo", &name, &bytes, Codec::None));
        assert_eq!(file.bytes, bytes);
        let digest = FileDigest::of(&bytes);
        assert_eq!(
            file.record.name,
            format!("repodata/{digest}-updateinfo.xml{suffix}")
        );
        let open = file.record.open.unwrap();
        assert_eq!(open.digest, Some(FileDigest::of(UPDATEINFO)));
        assert_eq!(open.size_bytes, UPDATEINFO.len() as u64);
        for damaged in [&bytes[..bytes.len() - 9], b"not compressed"] {
            let error = with(
                &[extra("updateinfo", &name, damaged, Codec::None)],
                ChecksumType::Sha256,
            );
            assert!(
                matches!(error, Err(MetadataError::Carried { .. })),
                "{suffix}"
            );
        }
    }
}

#[test]
fn a_carried_zchunk_file_keeps_its_header_description() {
    let (entries, packages) = listed((0..100).map(numbered));
    let options = Options {
        zchunk: true,
        ..Options::default()
    };
    let upstream = built(&entries, &packages, &options);
    let made = upstream
        .files
        .iter()
        .find(|f| f.record.record_type == "other_zck")
        .unwrap();
    let file = written(extra(
        "updateinfo_zck",
        "updateinfo.xml.zck",
        &made.bytes,
        Codec::None,
    ));
    assert_eq!(file.record.header, made.record.header);
    assert_eq!(file.bytes, made.bytes);
    let damaged = extra(
        "updateinfo_zck",
        "updateinfo.xml.zck",
        &made.bytes[..60],
        Codec::None,
    );
    assert!(with(&[damaged], ChecksumType::Sha256).is_err());
}

#[test]
fn a_database_record_has_its_version_and_others_have_none() {
    let extras = [
        extra(
            "primary_db",
            "primary.sqlite.bz2",
            &upstream(".bz2", b"x"),
            Codec::None,
        ),
        extra("updateinfo", "updateinfo.xml", UPDATEINFO, Codec::ZSTD),
    ];
    let repodata = with(&extras, ChecksumType::Sha256).unwrap();
    let repomd = String::from_utf8(repodata.repomd).unwrap();
    assert_eq!(
        repomd
            .matches("<database_version>10</database_version>")
            .count(),
        1
    );
    let (_, database) = repomd.split_once("<data type=\"primary_db\">").unwrap();
    let (database, _) = database.split_once("</data>").unwrap();
    assert!(database.contains("database_version"));
}

#[test]
fn sha512_stands_in_records_names_and_pkgids_alike() {
    let extras = [extra(
        "updateinfo",
        "updateinfo.xml",
        UPDATEINFO,
        Codec::Gzip,
    )];
    let repodata = with(&extras, ChecksumType::Sha512).unwrap();
    let repomd = String::from_utf8(repodata.repomd.clone()).unwrap();
    assert!(!repomd.contains("type=\"sha256\""));
    for file in &repodata.files {
        let digits = Sha512Digest::of(&file.bytes).to_hex();
        assert!(file.record.name.starts_with(&format!("repodata/{digits}-")));
        assert!(repomd.contains(&format!("<checksum type=\"sha512\">{digits}</checksum>")));
        let open = Sha512Digest::of(&decompressed(&file.record.name, &file.bytes)).to_hex();
        assert!(repomd.contains(&format!(
            "<open-checksum type=\"sha512\">{open}</open-checksum>"
        )));
        assert_eq!(
            file.record.digest,
            FileDigest::of(&file.bytes),
            "known by SHA-256 all the same"
        );
    }
    let (entries, packages) = listed([package("p")]);
    let pkgid = entries[0].sha512.as_ref().unwrap().to_hex();
    let options = Options {
        codec: Codec::None,
        checksum: ChecksumType::Sha512,
        filelists_ext: true,
        ..Options::default()
    };
    let repodata = built(&entries, &packages, &options);
    let primary = String::from_utf8(file_of(&repodata, "primary").to_vec()).unwrap();
    assert!(primary.contains(&format!(
        "<checksum type=\"sha512\" pkgid=\"YES\">{pkgid}</checksum>"
    )));
    for kind in ["filelists", "other", "filelists-ext"] {
        let xml = String::from_utf8(file_of(&repodata, kind).to_vec()).unwrap();
        assert!(
            xml.contains(&format!("<package pkgid=\"{pkgid}\" ")),
            "{kind}"
        );
    }
}

#[test]
fn sha512_without_the_package_digests_is_refused() {
    let (mut entries, packages) = listed([package("p")]);
    entries[0].sha512 = None;
    let options = Options {
        checksum: ChecksumType::Sha512,
        ..Options::default()
    };
    let error = build(
        &inputs(&entries, &packages, &NoFrameCache, 1),
        &options,
        Timestamp::default(),
    );
    assert!(matches!(error, Err(MetadataError::NoPkgid { .. })));
}
