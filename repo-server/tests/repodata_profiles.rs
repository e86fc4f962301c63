//! One contract for every client profile, and what clashes with which.

mod repodata_support;

use repo_model::Timestamp;
use repo_server::repodata::{
    Clash, Codec, ExtraRecord, GroupForm, Inputs, NoFrameCache, Options, PROFILES, Profile, build,
};
use repodata_support::*;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;

#[test]
fn every_profile_is_found_by_its_name_and_agrees_with_itself() {
    let names: BTreeSet<&str> = PROFILES.iter().map(|profile| profile.name).collect();
    assert_eq!(names.len(), PROFILES.len());
    for name in ["el7", "el8", "modern"] {
        assert!(names.contains(name));
    }
    let error = Profile::named("el5").unwrap_err().to_string();
    for profile in PROFILES {
        assert_eq!(Profile::named(profile.name).unwrap().name, profile.name);
        assert!(
            error.contains(profile.name),
            "the error lists {}",
            profile.name
        );
        assert!(!profile.clients.is_empty());
        let groups = profile.group_records("comps.xml", b"<comps/>");
        assert_eq!(profile.clashes(&profile.options(), &groups), []);
    }
}

#[test]
fn every_profile_builds_a_repository_of_its_own_form() {
    let (entries, packages) = listed((0..60).map(numbered));
    for profile in PROFILES {
        let extras = profile.group_records("comps.xml", b"<comps/>\n");
        let inputs = Inputs {
            entries: &entries,
            packages: &packages,
            extras: &extras,
            cache: &NoFrameCache,
            workers: NonZeroUsize::MIN,
        };
        let repodata = build(&inputs, &profile.options(), Timestamp::default()).unwrap();
        for kind in ["primary", "filelists", "other"] {
            let file = repodata
                .files
                .iter()
                .find(|f| f.record.record_type == kind)
                .unwrap();
            assert!(
                file.record
                    .name
                    .ends_with(&format!("-{kind}.xml{}", profile.codec.suffix()))
            );
        }
        let groups: Vec<(&str, bool)> = repodata
            .files
            .iter()
            .filter(|file| file.record.record_type.starts_with("group"))
            .map(|file| (file.record.record_type.as_str(), file.record.open.is_some()))
            .collect();
        match profile.groups {
            GroupForm::PlainAndGzip => assert_eq!(groups, [("group", false), ("group_gz", true)]),
            GroupForm::Compressed => assert_eq!(groups, [("group", true)]),
        }
    }
}

#[test]
fn options_that_clients_of_a_profile_cannot_use_are_named() {
    let group = |file_name: &str, codec| ExtraRecord {
        record_type: "group".to_owned(),
        file_name: file_name.to_owned(),
        bytes: Vec::new(),
        codec,
    };
    let codes = |profile: &str, options: &Options, extras: &[ExtraRecord]| -> Vec<&str> {
        let clashes = Profile::named(profile).unwrap().clashes(options, extras);
        clashes.iter().map(Clash::code).collect()
    };
    for (profile, codec, expected) in [
        ("el7", Codec::ZSTD, &["codec"][..]),
        ("el7", Codec::Xz, &["codec"]),
        ("el7", Codec::Gzip, &[]),
        ("el7", Codec::None, &[]),
        ("el8", Codec::ZSTD, &["codec"]),
        ("el8", Codec::Xz, &[]),
        ("modern", Codec::Zstd { level: 19 }, &[]),
        ("modern", Codec::Xz, &[]),
    ] {
        assert_eq!(
            codes(profile, &options(codec), &[]),
            expected,
            "{profile} {codec:?}"
        );
    }
    let gzip = options(Codec::Gzip);
    for (profile, extra, expected) in [
        ("el7", group("comps.xml", Codec::None), &[][..]),
        (
            "el7",
            group("comps.xml", Codec::Gzip),
            &["compressed-groups"],
        ),
        (
            "el7",
            group("comps.xml.gz", Codec::None),
            &["compressed-groups"],
        ),
        (
            "el7",
            group("comps.xml", Codec::ZSTD),
            &["codec", "compressed-groups"],
        ),
        ("modern", group("comps.xml", Codec::ZSTD), &[]),
        ("modern", group("comps.xml.bz2", Codec::None), &["codec"]),
    ] {
        let name = extra.file_name.clone();
        assert_eq!(
            codes(profile, &gzip, &[extra]),
            expected,
            "{profile} {name}"
        );
    }
    let clash = Profile::named("el7")
        .unwrap()
        .clashes(&options(Codec::ZSTD), &[]);
    assert_eq!(
        clash[0].to_string(),
        "clients of profile el7 cannot read metadata as `.zst`"
    );
}
