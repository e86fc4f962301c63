//! Frames: equal bytes whatever the history, the cache and the threads; files that every
//! decompressor reads to the end; and a cost that grows with the change.

mod repodata_support;

use repo_model::rpm::Package;
use repo_model::{FileDigest, Timestamp};
use repo_server::repodata::{
    ChecksumType, Codec, DirectoryFrameCache, Entry, Frame, FrameCache, MemoryFrameCache,
    NoFrameCache, Options, PROFILES, PackageSource, Repodata, SourceError, build, sort,
};
use repodata_support::*;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

fn at() -> Timestamp {
    Timestamp::from_unix_secs(PUBLISHED)
}

/// Every codec, checksum and kind of file, and every profile.
fn every_kind_of_options() -> Vec<Options> {
    let mut all: Vec<Options> = [Codec::ZSTD, Codec::Gzip, Codec::Xz, Codec::None]
        .map(options)
        .into();
    for codec in [Codec::ZSTD, Codec::Gzip, Codec::Xz] {
        all.push(Options {
            checksum: ChecksumType::Sha512,
            filelists_ext: true,
            zchunk: true,
            ..options(codec)
        });
    }
    for codec in [Codec::ZSTD, Codec::Gzip, Codec::Xz, Codec::None] {
        all.push(Options {
            open_checksums: true,
            zchunk: true,
            ..options(codec)
        });
    }
    all.extend(PROFILES.iter().map(repo_server::repodata::Profile::options));
    all
}

#[test]
fn any_history_any_cache_and_any_number_of_workers_give_the_same_bytes() {
    let (all, packages) = listed((0..700).map(numbered));
    let directory = tempfile::tempdir().unwrap();
    for (options, seed) in every_kind_of_options().into_iter().zip(1..) {
        let mut choices = Choices(0x9E37_79B9_7F4A_7C15 ^ seed);
        // Small enough to forget, and shared by all options.
        let cache = DirectoryFrameCache::open(directory.path(), 1 << 20).unwrap();
        let mut now: Vec<Entry> = Vec::new();
        for step in 0..8 {
            for _ in 0..choices.below(200) {
                now.push(all[choices.below(all.len())].clone());
            }
            for _ in 0..choices.below(40).min(now.len()) {
                now.swap_remove(choices.below(now.len()));
            }
            choices.shuffle(&mut now);
            sort(&mut now);
            now.dedup();
            let fresh = build(&inputs(&now, &packages, &NoFrameCache, 1), &options, at()).unwrap();
            let workers = 1 + choices.below(4);
            let grown = build(&inputs(&now, &packages, &cache, workers), &options, at()).unwrap();
            assert!(
                fresh == grown,
                "{options:?}, step {step}, {} packages",
                now.len()
            );
        }
    }
}

/// Counts how often a header is loaded.
struct Counting<'a> {
    packages: &'a Packages,
    loads: AtomicUsize,
}

impl PackageSource for Counting<'_> {
    fn load(&self, entry: &Entry) -> Result<Cow<'_, Package>, SourceError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.packages.load(entry)
    }
}

#[test]
fn one_more_package_loads_the_packages_of_its_group_and_no_change_loads_none() {
    let (all, packages) = listed((0..3_000).map(numbered));
    let source = Counting {
        packages: &packages,
        loads: AtomicUsize::new(0),
    };
    let cache = MemoryFrameCache::new(1 << 30);
    let loads_for = |entries: &[Entry]| {
        source.loads.store(0, Ordering::Relaxed);
        let inputs = repo_server::repodata::Inputs {
            entries,
            packages: &source,
            extras: &[],
            cache: &cache,
            workers: NonZeroUsize::new(2).unwrap(),
        };
        build(&inputs, &options(Codec::Zstd { level: 1 }), at()).unwrap();
        source.loads.load(Ordering::Relaxed)
    };
    let mut fewer = all.clone();
    fewer.remove(1_234);
    assert_eq!(
        loads_for(&fewer),
        2_999,
        "each header is loaded once for three files"
    );
    assert_eq!(loads_for(&fewer), 0);
    let loads = loads_for(&all);
    assert!(
        (1..=600).contains(&loads),
        "{loads} headers loaded for one more package"
    );
}

#[test]
fn a_new_location_leaves_filelists_and_other_as_they_are() {
    let (mut entries, packages) = listed((0..200).map(numbered));
    let before = built(&entries, &packages, &options(Codec::ZSTD));
    for entry in &mut entries {
        entry.href = format!("moved/{}", entry.href).parse().unwrap();
    }
    let cache = Recording::default();
    let build = |entries: &[Entry]| {
        build(
            &inputs(entries, &packages, &cache, 1),
            &options(Codec::ZSTD),
            at(),
        )
        .unwrap()
    };
    let after = build(&entries);
    assert_ne!(file_of(&before, "primary"), file_of(&after, "primary"));
    assert_eq!(file_of(&before, "filelists"), file_of(&after, "filelists"));
    assert_eq!(file_of(&before, "other"), file_of(&after, "other"));
}

#[test]
fn what_reaches_a_frame_reaches_its_key() {
    let (entries, packages) = listed((0..10).map(numbered));
    let cache = Recording::default();
    let mut keys = 0;
    let mut grows_by =
        |change: &str, entries: &[Entry], options: &repo_server::repodata::Options, by: usize| {
            build(&inputs(entries, &packages, &cache, 1), options, at()).unwrap();
            let now = cache.frames.lock().unwrap().len();
            assert_eq!(now - keys, by, "{change}");
            keys = now;
        };
    let zstd = options(Codec::ZSTD);
    grows_by("the first build", &entries, &zstd, 3);
    grows_by("nothing", &entries, &zstd, 0);
    grows_by("codec", &entries, &options(Codec::Gzip), 3);
    grows_by("level", &entries, &options(Codec::Zstd { level: 3 }), 3);
    let mut limit = zstd.clone();
    limit.changelog_limit = None;
    grows_by("changelog limit", &entries, &limit, 1);
    let changed = |change: fn(&mut Entry)| {
        let mut entries = entries.clone();
        change(&mut entries[3]);
        entries
    };
    grows_by(
        "size",
        &changed(|entry| entry.file_size_bytes += 1),
        &zstd,
        1,
    );
    grows_by(
        "added at",
        &changed(|entry| entry.added_at = entry.added_at.plus_secs(1)),
        &zstd,
        1,
    );
    grows_by(
        "location",
        &changed(|entry| entry.href = "x.rpm".parse().unwrap()),
        &zstd,
        1,
    );
    grows_by("member", &entries[1..], &zstd, 3);
}

/// A cache that never forgets, and can be damaged.
#[derive(Default)]
struct Recording {
    frames: Mutex<HashMap<[u8; 32], Frame>>,
}

impl FrameCache for Recording {
    fn get(&self, key: &[u8; 32]) -> Option<Frame> {
        self.frames.lock().unwrap().get(key).cloned()
    }
    fn put(&self, key: &[u8; 32], frame: &Frame) {
        self.frames.lock().unwrap().insert(*key, frame.clone());
    }
}

#[test]
fn a_damaged_cache_changes_nothing() {
    let (entries, packages) = listed((0..300).map(numbered));
    for codec in [Codec::ZSTD, Codec::Gzip] {
        let cache = Recording::default();
        // Looks inside the frames; where nobody does, caches on a disk check a digest of their own.
        let options = Options {
            open_checksums: true,
            ..options(codec)
        };
        let build = || build(&inputs(&entries, &packages, &cache, 2), &options, at()).unwrap();
        let whole = build();
        for (n, frame) in cache.frames.lock().unwrap().values_mut().enumerate() {
            let mut bytes = frame.bytes.to_vec();
            let middle = bytes.len() / 2;
            match n % 3 {
                0 => bytes.truncate(middle),
                1 => bytes[middle] ^= 1,
                _ => frame.open_size_bytes += 1,
            }
            frame.bytes = bytes.into();
        }
        assert!(whole == build(), "{codec:?}");
    }
}

/// The compressed sizes of a zstd file's frames, after checking each frame header.
fn zstd_frames(mut rest: &[u8]) -> Vec<usize> {
    let mut sizes = Vec::new();
    while !rest.is_empty() {
        assert_eq!(
            rest[4] & 0b1110_0000,
            0,
            "frame {} carries its content size",
            sizes.len()
        );
        let size = zstd::zstd_safe::find_frame_compressed_size(rest).unwrap();
        sizes.push(size);
        rest = &rest[size..];
    }
    sizes
}

#[test]
fn no_zstd_frame_of_any_file_carries_its_content_size() {
    let (entries, packages) = listed((0..700).map(numbered));
    let repodata = built(&entries, &packages, &options(Codec::ZSTD));
    for file in &repodata.files {
        let frames = zstd_frames(&file.bytes);
        assert!(
            frames.len() >= 2 + 700 / 256,
            "{}: {frames:?}",
            file.record.name
        );
    }
}

fn through(tool: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(tool)
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{tool}: {}", output.status);
    output.stdout
}

#[test]
fn concatenated_frames_decompress_to_the_same_xml_with_crates_and_tools() {
    let (entries, packages) = listed((0..700).map(numbered));
    let plain = built(&entries, &packages, &options(Codec::None));
    for (codec, tool) in [
        (Codec::ZSTD, "zstd"),
        (Codec::Gzip, "gzip"),
        (Codec::Xz, "xz"),
    ] {
        let compressed: Repodata = built(&entries, &packages, &options(codec));
        let has_tool = has_tool(tool);
        for file in &compressed.files {
            let expected = file_of(&plain, &file.record.record_type);
            assert!(
                decompressed(&file.record.name, &file.bytes) == expected,
                "{}",
                file.record.name
            );
            if has_tool {
                assert!(
                    through(tool, &file.bytes) == expected,
                    "{tool} {}",
                    file.record.name
                );
            }
        }
    }
}

#[test]
fn the_first_bad_package_in_list_order_is_named_whatever_the_threads_do() {
    let (entries, mut packages) = listed((0..1_500).map(numbered));
    for bad in [900, 1_400, 700] {
        let digest: FileDigest = entries[bad].file_digest;
        packages.get_mut(&digest).unwrap().summary.push('\u{7}');
    }
    for workers in [1, 2, 4] {
        let error = build(
            &inputs(&entries, &packages, &NoFrameCache, workers),
            &options(Codec::ZSTD),
            at(),
        )
        .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&entries[700].nevra.to_string()),
            "{error}"
        );
    }
}

#[test]
fn without_open_checksums_the_files_are_the_same_and_only_repomd_says_less() {
    let (entries, packages) = listed((0..300).map(numbered));
    for codec in [Codec::ZSTD, Codec::Gzip, Codec::Xz, Codec::None] {
        let with = Options {
            zchunk: true,
            open_checksums: true,
            ..options(codec)
        };
        let without = Options {
            open_checksums: false,
            ..with.clone()
        };
        let (with, without) = (
            built(&entries, &packages, &with),
            built(&entries, &packages, &without),
        );
        for (with, without) in with.files.iter().zip(&without.files) {
            assert_eq!(with.record.name, without.record.name);
            assert!(with.bytes == without.bytes, "{}", with.record.name);
        }
        let text = String::from_utf8(with.repomd).unwrap();
        let fewer: String = text
            .lines()
            .filter(|line| !line.contains("<open-checksum"))
            .map(|line| format!("{line}\n"))
            .collect();
        // The content of a file that is not compressed is the file: nothing is saved by leaving it out.
        let expected = if codec == Codec::None { &text } else { &fewer };
        assert_eq!(std::str::from_utf8(&without.repomd).unwrap(), expected);
    }
}
