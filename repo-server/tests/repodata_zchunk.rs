//! zchunk: accepted by zchunk's own tools, and small deltas after small changes.

mod repodata_support;

use repo_server::repodata::{ChecksumType, Codec, Options, Repodata};
use repodata_support::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

const KINDS: [&str; 4] = ["primary", "filelists", "other", "filelists-ext"];

fn zchunk(codec: Codec) -> Options {
    Options {
        zchunk: true,
        filelists_ext: true,
        ..options(codec)
    }
}

#[test]
fn unzck_gives_back_the_xml_of_every_zchunk_file() {
    if !has_tool("unzck") {
        return;
    }
    let (entries, packages) = listed((0..700).map(numbered));
    let plain = built(&entries, &packages, &zchunk(Codec::None));
    for options in [
        zchunk(Codec::ZSTD),
        zchunk(Codec::Gzip),
        zchunk(Codec::Xz),
        Options {
            checksum: ChecksumType::Sha512,
            ..zchunk(Codec::ZSTD)
        },
    ] {
        let repodata = built(&entries, &packages, &options);
        for kind in KINDS {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("file.xml.zck");
            fs::write(&path, file_of(&repodata, &format!("{kind}_zck"))).unwrap();
            let xml = Command::new("unzck").arg("-c").arg(&path).output().unwrap();
            assert!(xml.status.success(), "{kind}");
            if options.checksum == ChecksumType::Sha256 {
                assert!(xml.stdout == file_of(&plain, kind), "{kind}");
            }
        }
    }
}

/// What zck_read_header says of a file: header size, header checksum, chunk checksums with sizes.
fn read_header(file: &[u8]) -> (u64, String, Vec<(String, u64)>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file.zck");
    fs::write(&path, file).unwrap();
    let text = output_of(Command::new("zck_read_header").arg("-cv").arg(&path));
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}: {text}"))
            .trim()
            .to_owned()
    };
    let chunks = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [number, checksum, _start, size, _open] if number.parse::<u32>().is_ok() => {
                Some((checksum.to_owned(), size.parse().unwrap()))
            }
            _ => None,
        }
    });
    (
        field("Header size:").parse().unwrap(),
        field("Header checksum:"),
        chunks.collect(),
    )
}

#[test]
fn repomd_describes_the_header_as_zck_read_header_does() {
    if !has_tool("zck_read_header") {
        return;
    }
    let (entries, packages) = listed((0..700).map(numbered));
    let repodata = built(&entries, &packages, &zchunk(Codec::ZSTD));
    let repomd = String::from_utf8(repodata.repomd.clone()).unwrap();
    for kind in KINDS {
        let record_type = format!("{kind}_zck");
        let file = repodata
            .files
            .iter()
            .find(|f| f.record.record_type == record_type)
            .unwrap();
        let (size_bytes, checksum, chunks) = read_header(&file.bytes);
        let header = file.record.header.as_ref().unwrap();
        assert_eq!(
            (header.size_bytes, &header.checksum),
            (size_bytes, &checksum)
        );
        // No dictionary, the root element, groups, and the end.
        assert!(
            chunks.len() >= 3 + 700 / 256,
            "{kind}: {} chunks",
            chunks.len()
        );
        let sum: u64 = chunks.iter().map(|(_, size)| size).sum();
        assert_eq!(size_bytes + sum, file.bytes.len() as u64);
        assert!(repomd.contains(&format!("<header-size>{size_bytes}</header-size>")));
        let element = format!("<header-checksum type=\"sha256\">{checksum}</header-checksum>");
        assert!(repomd.contains(&element));
        assert!(file.record.name.ends_with(&format!("-{kind}.xml.zck")));
        let plain = repodata
            .files
            .iter()
            .find(|f| f.record.record_type == kind)
            .unwrap();
        assert_eq!(file.record.open, plain.record.open);
    }
}

/// Bytes of `new` that a client with `old` has to fetch: the header and the chunks it lacks.
fn delta_bytes(old: &[u8], new: &[u8]) -> (u64, usize) {
    let known: BTreeSet<(String, u64)> = read_header(old).2.into_iter().collect();
    let (header_bytes, _, chunks) = read_header(new);
    let lacking: Vec<u64> = chunks
        .into_iter()
        .filter(|chunk| !known.contains(chunk))
        .map(|(_, size)| size)
        .collect();
    (header_bytes + lacking.iter().sum::<u64>(), lacking.len())
}

#[test]
fn one_more_package_costs_a_client_a_few_chunks() {
    if !has_tool("zck_read_header") {
        return;
    }
    let (all, packages) = listed((0..5_000).map(numbered));
    let options = |codec| Options {
        zchunk: true,
        ..options(codec)
    };
    let make = |entries: &[_]| built(entries, &packages, &options(Codec::ZSTD));
    let after: Repodata = make(&all);
    for gone in [0, 1_234, 4_999] {
        let mut fewer = all.clone();
        fewer.remove(gone);
        let before = make(&fewer);
        for kind in ["primary_zck", "filelists_zck", "other_zck"] {
            let new = file_of(&after, kind);
            let (delta, chunks) = delta_bytes(file_of(&before, kind), new);
            // The first chunk, which counts the packages, and one or two groups.
            assert!(
                (2..=4).contains(&chunks),
                "{kind}, package {gone}: {chunks} chunks"
            );
            assert!(
                delta * 5 < new.len() as u64,
                "{kind}, package {gone}: {delta} of {} bytes",
                new.len()
            );
        }
    }
    let same = make(&all);
    let (_, chunks) = delta_bytes(
        file_of(&after, "primary_zck"),
        file_of(&same, "primary_zck"),
    );
    assert_eq!(chunks, 0);
}

/// Bytes that Debian's `zck_delta_size` says a client with `old` has to fetch for `new`.
fn measured_delta(old: &[u8], new: &[u8]) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let paths = ["old.zck", "new.zck"].map(|name| directory.path().join(name));
    fs::write(&paths[0], old).unwrap();
    fs::write(&paths[1], new).unwrap();
    let output = output_of(Command::new("zck_delta_size").args(&paths));
    // "Would download 3456 of 78901 bytes", then how many chunks.
    let line = output
        .lines()
        .find(|line| line.starts_with("Would download"));
    let line = line.unwrap_or_else(|| panic!("{output}"));
    line.split_whitespace().nth(2).unwrap().parse().unwrap()
}

#[test]
fn zck_delta_size_measures_a_small_delta_after_a_change_of_one_package_or_advisory() {
    if !has_tool("zck_delta_size") {
        return;
    }
    let advisories = |count: usize| -> Vec<u8> {
        let one = |n: usize| {
            let mix = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            format!(
                "<update><id>X-{n}</id><title>{mix:x} {:x}</title></update>\n",
                mix.rotate_left(17)
            )
        };
        let all: String = (0..count).map(one).collect();
        format!("<updates>\n{all}</updates>\n").into_bytes()
    };
    let make = |entries: &[_], packages: &_, count: usize| {
        let extras = [repo_server::repodata::ExtraRecord {
            record_type: "updateinfo".to_owned(),
            file_name: "updateinfo.xml".to_owned(),
            bytes: advisories(count),
            codec: Codec::ZSTD,
        }];
        let inputs = repo_server::repodata::Inputs {
            extras: &extras,
            ..inputs(entries, packages, &repo_server::repodata::NoFrameCache, 2)
        };
        let at = repo_model::Timestamp::from_unix_secs(PUBLISHED);
        repo_server::repodata::build(&inputs, &zchunk(Codec::ZSTD), at).unwrap()
    };
    let (all, packages) = listed((0..5_000).map(numbered));
    let mut fewer = all.clone();
    fewer.remove(2_500);
    let (before, after) = (
        make(&fewer, &packages, 20_000),
        make(&all, &packages, 20_001),
    );
    for kind in [
        "primary_zck",
        "filelists_zck",
        "other_zck",
        "updateinfo_zck",
    ] {
        let new = file_of(&after, kind);
        let delta = measured_delta(file_of(&before, kind), new);
        eprintln!("{kind}: {delta} of {} bytes", new.len());
        assert!(
            delta * 5 < new.len() as u64,
            "{kind}: {delta} of {}",
            new.len()
        );
        assert_eq!(
            delta,
            delta_bytes(file_of(&before, kind), new).0,
            "{kind}: both ways of counting"
        );
    }
}

#[test]
fn groups_advisories_and_modules_have_a_zchunk_form_that_unzck_gives_back() {
    if !has_tool("unzck") {
        return;
    }
    let (entries, packages) = listed([package("p")]);
    let text = "<x>group & co</x>\n".repeat(30_000).into_bytes();
    let extra = |record_type: &str, file_name: &str, bytes: &[u8], codec| {
        repo_server::repodata::ExtraRecord {
            record_type: record_type.to_owned(),
            file_name: file_name.to_owned(),
            bytes: bytes.to_vec(),
            codec,
        }
    };
    let extras = [
        extra("group", "comps.xml", &text, Codec::None),
        extra("group_gz", "comps.xml", &text, Codec::Gzip),
        extra("modules", "modules.yaml", b"---\n...\n", Codec::Xz),
        extra("updateinfo", "updateinfo.xml", b"", Codec::ZSTD),
    ];
    let inputs = repo_server::repodata::Inputs {
        extras: &extras,
        ..inputs(&entries, &packages, &repo_server::repodata::NoFrameCache, 1)
    };
    let at = repo_model::Timestamp::from_unix_secs(PUBLISHED);
    let repodata = repo_server::repodata::build(&inputs, &zchunk(Codec::ZSTD), at).unwrap();
    let repomd = String::from_utf8(repodata.repomd.clone()).unwrap();
    assert!(!repomd.contains("group_gz_zck"));
    for extra in [&extras[0], &extras[2], &extras[3]] {
        let kind = format!("{}_zck", extra.record_type);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file.zck");
        fs::write(&path, file_of(&repodata, &kind)).unwrap();
        let open = Command::new("unzck").arg("-c").arg(&path).output().unwrap();
        assert!(
            open.status.success() && open.stdout == extra.bytes,
            "{kind}"
        );
        let record = &repodata
            .files
            .iter()
            .find(|f| f.record.record_type == kind)
            .unwrap()
            .record;
        assert_eq!(
            record.open.unwrap().digest,
            Some(repo_model::FileDigest::of(&extra.bytes))
        );
        assert!(record.header.is_some() && repomd.contains(&record.name));
    }
}

#[test]
fn chunks_are_the_frames_of_the_zstd_file() {
    let (entries, packages) = listed((0..700).map(numbered));
    let repodata = built(&entries, &packages, &zchunk(Codec::ZSTD));
    for kind in KINDS {
        let record_type = format!("{kind}_zck");
        let file = repodata
            .files
            .iter()
            .find(|f| f.record.record_type == record_type)
            .unwrap();
        let header_bytes =
            usize::try_from(file.record.header.as_ref().unwrap().size_bytes).unwrap();
        assert!(
            file.bytes[header_bytes..] == *file_of(&repodata, kind),
            "{kind}"
        );
    }
}

#[test]
fn createrepo_c_reads_a_repository_with_zchunk() {
    let (entries, packages) = listed((0..700).map(numbered));
    let root = tempfile::tempdir().unwrap();
    let repodata = built(&entries, &packages, &zchunk(Codec::ZSTD));
    write_repository(&root.path().join("a"), &repodata);
    fs::create_dir(root.path().join("merged")).unwrap();
    let merge = [
        "mergerepo_c",
        "--no-database",
        "--all",
        "--omit-baseurl",
        "--repo=/mnt/t/a",
        "--outputdir=/mnt/t/merged",
    ];
    let Some(mut command) = in_client_root(root.path(), &merge) else {
        return;
    };
    output_of(&mut command);
    assert_eq!(
        packages_in(&root.path().join("merged/repodata"), "primary"),
        700
    );
}

fn packages_in(repodata: &Path, kind: &str) -> usize {
    let name = format!("{kind}.xml");
    let path = fs::read_dir(repodata)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_str().is_some_and(|path| path.contains(&name)))
        .unwrap();
    let xml = decompressed(path.to_str().unwrap(), &fs::read(&path).unwrap());
    String::from_utf8(xml).unwrap().matches("<package ").count()
}
