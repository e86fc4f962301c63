//! The numbered cases of metadata that concern `repomd.xml` and the records beside the package
//! lists.

mod repodata_support;

use repo_model::{FileDigest, Timestamp};
use repo_server::repodata::{
    ChecksumType, Codec, DistroTag, ExtraRecord, Href, Inputs, MetadataError, NoFrameCache,
    Options, Repodata, build,
};
use repodata_support::*;
use std::num::NonZeroUsize;

fn made(extras: &[ExtraRecord], options: &Options, at: i64) -> Result<Repodata, MetadataError> {
    let (entries, packages) = listed((0..5).map(numbered));
    let inputs = Inputs {
        entries: &entries,
        packages: &packages,
        extras,
        cache: &NoFrameCache,
        workers: NonZeroUsize::MIN,
    };
    build(&inputs, options, Timestamp::from_unix_secs(at))
}

fn repomd(extras: &[ExtraRecord], options: &Options) -> String {
    String::from_utf8(made(extras, options, PUBLISHED).unwrap().repomd).unwrap()
}

fn extra(record_type: &str, file_name: &str, bytes: &[u8]) -> ExtraRecord {
    ExtraRecord {
        record_type: record_type.to_owned(),
        file_name: file_name.to_owned(),
        bytes: bytes.to_vec(),
        codec: Codec::ZSTD,
    }
}

/// Carries `bytes` and hands back what a client would decompress.
fn carried(record_type: &str, file_name: &str, bytes: &[u8]) -> Vec<u8> {
    let repodata = made(
        &[extra(record_type, file_name, bytes)],
        &Options::default(),
        0,
    )
    .unwrap();
    let file = repodata
        .files
        .iter()
        .find(|f| f.record.record_type == record_type)
        .unwrap();
    decompressed(&file.record.name, &file.bytes)
}

/// The values of an element, in order.
fn values<'a>(xml: &'a str, element: &str) -> Vec<&'a str> {
    let start = format!("<{element}>");
    xml.split(&start)
        .skip(1)
        .map(|rest| rest.split_once('<').unwrap().0)
        .collect()
}

fn types(xml: &str) -> Vec<&str> {
    let starts = xml.split("<data type=\"").skip(1);
    starts.map(|rest| rest.split_once('"').unwrap().0).collect()
}

#[test]
fn case_13_empty_references_groups_without_packages_and_empty_repositories_are_valid() {
    let advisory =
        b"<updates><update><references><reference href=\"\" id=\"\" title=\"\" type=\"\"/>\
        </references></update></updates>";
    let comps = b"<comps><group><id>empty</id><packagelist/></group></comps>";
    assert_eq!(carried("updateinfo", "updateinfo.xml", advisory), advisory);
    assert_eq!(carried("group", "comps.xml", comps), comps);
    let (entries, packages) = listed([]);
    let empty = built(&entries, &packages, &options(Codec::ZSTD));
    for file in &empty.files {
        let xml = decompressed(&file.record.name, &file.bytes);
        assert!(String::from_utf8(xml).unwrap().contains(" packages=\"0\">"));
    }
}

#[test]
fn case_27_the_revision_is_free_text() {
    for (revision, written) in [
        (None, PUBLISHED.to_string()),
        (Some("0"), "0".to_owned()),
        (Some("1.2.3"), "1.2.3".to_owned()),
        (
            Some("2026-01-02 & later"),
            "2026-01-02 &amp; later".to_owned(),
        ),
    ] {
        let options = Options {
            revision: revision.map(str::to_owned),
            ..Options::default()
        };
        assert_eq!(values(&repomd(&[], &options), "revision"), [written]);
    }
    let bad = Options {
        revision: Some("\u{1b}".to_owned()),
        ..Options::default()
    };
    assert!(matches!(
        made(&[], &bad, 0),
        Err(MetadataError::Option { .. })
    ));
}

#[test]
fn case_28_every_timestamp_is_the_publish_instant_so_a_later_publish_never_goes_back() {
    let extras = [extra("updateinfo", "updateinfo.xml", b"<updates/>")];
    let at = |at| made(&extras, &Options::default(), at).unwrap();
    let (first, second) = (at(PUBLISHED), at(PUBLISHED + 1));
    for (repodata, at) in [(&first, PUBLISHED), (&second, PUBLISHED + 1)] {
        let xml = std::str::from_utf8(&repodata.repomd).unwrap();
        assert_eq!(values(xml, "timestamp"), vec![at.to_string(); 4]);
    }
    assert_eq!(first.files, second.files, "the content did not change");
}

#[test]
fn case_34_open_pair_header_pair_and_database_version_stand_only_where_they_belong() {
    let extras = [
        ExtraRecord {
            codec: Codec::None,
            ..extra("group", "comps.xml", b"<comps/>")
        },
        extra("primary_db", "primary.sqlite", b"x"),
    ];
    let options = Options {
        zchunk: true,
        open_checksums: true,
        ..Options::default()
    };
    let xml = repomd(&extras, &options);
    for record in xml.split("<data type=\"").skip(1) {
        let (record_type, rest) = record.split_once('"').unwrap();
        let body = rest.split_once("</data>").unwrap().0;
        let has = |element: &str| body.contains(&format!("<{element}"));
        assert!(has("checksum") && has("size>") && has("timestamp>") && has("location href="));
        let is_compressed = record_type != "group";
        assert_eq!(has("open-checksum"), is_compressed, "{record_type}");
        assert_eq!(has("open-size"), is_compressed, "{record_type}");
        let is_zchunk = record_type.ends_with("_zck");
        assert_eq!(has("header-checksum"), is_zchunk, "{record_type}");
        assert_eq!(has("header-size"), is_zchunk, "{record_type}");
        assert_eq!(
            has("database_version>10<"),
            record_type.ends_with("_db"),
            "{record_type}"
        );
    }
}

#[test]
fn case_35_records_and_tags_stand_in_a_fixed_order() {
    let extras = [
        extra("updateinfo", "updateinfo.xml", b""),
        extra("group_zck", "comps.xml", b""),
        extra("other_db", "other.sqlite", b""),
        extra("group", "comps.xml", b""),
        extra("filelists_db", "filelists.sqlite", b""),
        extra("appstream", "appstream.xml", b""),
    ];
    let options = Options {
        content_tags: vec!["c1".to_owned(), "c0".to_owned()],
        repo_tags: vec!["r".to_owned()],
        distro_tags: vec![DistroTag {
            text: "d".to_owned(),
            cpe_id: Some("cpe:/o:d".to_owned()),
        }],
        zchunk: true,
        filelists_ext: true,
        ..Options::default()
    };
    let xml = repomd(&extras, &options);
    assert_eq!(
        types(&xml),
        [
            "primary",
            "filelists",
            "other",
            "filelists_db",
            "other_db",
            "primary_zck",
            "filelists_zck",
            "other_zck",
            "appstream",
            "appstream_zck",
            "filelists-ext",
            "filelists-ext_zck",
            "group",
            "group_zck",
            "updateinfo",
            "updateinfo_zck",
        ]
    );
    let tags = "  <tags>\n    <content>c1</content>\n    <content>c0</content>\n    <repo>r</repo>\n    \
        <distro cpeid=\"cpe:/o:d\">d</distro>\n  </tags>\n";
    assert!(xml.contains(tags), "{xml}");
    let mut reversed = extras.clone();
    reversed.reverse();
    assert_eq!(repomd(&reversed, &options), xml);
}

#[test]
fn case_36_weak_checksums_are_never_written_and_each_pkgid_is_our_own() {
    for weak in ["sha", "sha1", "md5"] {
        assert!(weak.parse::<ChecksumType>().is_err());
    }
    for (checksum, name) in [
        (ChecksumType::Sha256, "sha256"),
        (ChecksumType::Sha512, "sha512"),
    ] {
        let options = Options {
            checksum,
            codec: Codec::None,
            ..Options::default()
        };
        let repodata = made(&[], &options, 0).unwrap();
        let primary = std::str::from_utf8(file_of(&repodata, "primary")).unwrap();
        assert_eq!(primary.matches("<checksum type=").count(), 5);
        let ours = format!("<checksum type=\"{name}\" pkgid=\"YES\">");
        assert_eq!(primary.matches(&ours).count(), 5);
    }
}

#[test]
fn case_37_a_file_name_has_one_checksum_in_front_and_it_is_the_right_one() {
    for stem in ["updateinfo.xml", "comps-Base-x86_64.xml", "a-b-c.xml"] {
        for digits in [32, 40, 64, 96, 128] {
            let upstream = format!("{}-{stem}", "0123456789abcdef".repeat(8).split_at(digits).0);
            for name in [stem, &upstream] {
                let repodata = made(&[extra("x", name, b"y")], &Options::default(), 0).unwrap();
                let file = repodata
                    .files
                    .iter()
                    .find(|f| f.record.record_type == "x")
                    .unwrap();
                let digest = FileDigest::of(&file.bytes);
                assert_eq!(file.record.name, format!("repodata/{digest}-{stem}.zst"));
            }
        }
    }
    let bare = "ab".repeat(32);
    let repodata = made(&[extra("x", &bare, b"y")], &Options::default(), 0).unwrap();
    assert!(
        repodata.files[3]
            .record
            .name
            .ends_with(&format!("-{bare}.zst")),
        "a bare checksum"
    );
}

#[test]
fn case_38_the_number_of_packages_is_the_number_of_entries() {
    for count in [0, 1, 47, 300] {
        let (entries, packages) = listed((0..count).map(numbered));
        let all = Options {
            filelists_ext: true,
            ..options(Codec::None)
        };
        let repodata = built(&entries, &packages, &all);
        for kind in ["primary", "filelists", "other", "filelists-ext"] {
            let xml = std::str::from_utf8(file_of(&repodata, kind)).unwrap();
            assert!(xml.contains(&format!(" packages=\"{count}\">\n")), "{kind}");
            assert_eq!(xml.matches("<package ").count(), count, "{kind}");
        }
    }
}

#[test]
fn case_39_groups_in_both_forms_and_record_types_nobody_knows_survive() {
    let bytes = b"\x00\xffnot xml at all";
    let kinds = [
        "group",
        "group_gz",
        "productid",
        "deltainfo",
        "appdata",
        "susedata",
        "x-y.z+1",
    ];
    for kind in kinds {
        assert_eq!(carried(kind, "file.bin", bytes), bytes);
    }
    let extras = kinds.map(|kind| extra(kind, &format!("{kind}.bin"), bytes));
    let xml = repomd(&extras, &Options::default());
    for kind in kinds {
        assert!(types(&xml).contains(&kind), "{kind}");
    }
}

#[test]
fn case_40_nothing_points_outside_the_repository() {
    let options = Options {
        codec: Codec::None,
        zchunk: true,
        filelists_ext: true,
        ..Options::default()
    };
    let repodata = made(&[], &options, 0).unwrap();
    let mut texts = vec![repodata.repomd.clone()];
    texts.extend(repodata.files.iter().map(|file| file.bytes.clone()));
    for text in &texts {
        assert!(!String::from_utf8_lossy(text).contains("xml:base"));
    }
    let xml = std::str::from_utf8(&repodata.repomd).unwrap();
    assert!(
        !xml.contains("prestodelta") && !xml.contains("deltainfo"),
        "none unless given"
    );
    for foreign in [
        "https://example.org/a.rpm",
        "/srv/a.rpm",
        "../a.rpm",
        "file:///a.rpm",
    ] {
        assert!(foreign.parse::<Href>().is_err(), "{foreign}");
    }
}

#[test]
fn case_41_module_documents_are_kept_to_the_byte_malformed_ones_too() {
    for text in [
        "---\ndocument: modulemd\nversion: 2\ndata:\n  name: go\n  stream: 2.10\n  version: \"20260101\"\n...\n",
        "---\na: 1\n---\na: 1\n---\na: 2 # same NSVCA, other content\n",
        "---\ndata: [unclosed\n\t- tab",
        "",
    ] {
        assert_eq!(
            carried("modules", "modules.yaml", text.as_bytes()),
            text.as_bytes()
        );
    }
}

#[test]
fn case_42_advisory_dates_severities_and_flags_are_kept_in_every_form() {
    for update in [
        "<issued date=\"2026-01-02 03:04:05\"/>",
        "<issued date=\"2026-01-02 03:04:05 UTC\"/>",
        "<issued date=\"1767323045\"/>",
        "<issued>2026-01-02</issued>",
        "<severity>Very bad indeed</severity><reboot_suggested/>",
        "<reboot_suggested>False</reboot_suggested>",
    ] {
        for kind in ["security", "recommended", "optional", "feature"] {
            let xml = format!(
                "<updates><update type=\"{kind}\" status=\"retracted\">{update}</update></updates>"
            );
            assert_eq!(
                carried("updateinfo", "updateinfo.xml", xml.as_bytes()),
                xml.as_bytes()
            );
        }
    }
}

#[test]
fn case_43_advisories_of_one_id_stay_separate() {
    let xml = b"<updates><update type=\"security\"><id>E-1</id><pkglist><collection short=\"a\"/></pkglist>\
        </update><update type=\"bugfix\"><id>E-1</id></update></updates>";
    assert_eq!(carried("updateinfo", "updateinfo.xml", xml), xml);
    // Also when two upstreams' files stand side by side.
    let extras = [
        extra("updateinfo", "one-updateinfo.xml", xml),
        extra("updateinfo", "two-updateinfo.xml", b"<updates/>"),
    ];
    let xml = repomd(&extras, &Options::default());
    assert_eq!(
        types(&xml)
            .iter()
            .filter(|kind| **kind == "updateinfo")
            .count(),
        2
    );
}
