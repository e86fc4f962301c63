//! Every kind of damage is found and called by its name; nothing hostile is followed or fills the
//! memory.

mod createrepo_support;

use createrepo_support::*;
use repo_server::repocheck::{
    self, CheckError, CheckOptions, Directory, Packages, Source, SourceError, Stream, Unwatched,
};
use repo_server::repodata::Codec;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

/// Four packages, metadata not compressed, so that it can be edited.
fn plain() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 4);
    run(&with_codec(root.path(), Codec::None)).unwrap();
    assert!(checked(root.path()).findings.is_empty());
    root
}

/// One kind of damage, what it does, and the codes that must be found; no others may be.
type Damage = (&'static str, fn(&Path), &'static [&'static str]);

const DAMAGES: &[Damage] = &[
    (
        "no repomd.xml",
        |r| fs::remove_file(r.join("repodata/repomd.xml")).unwrap(),
        &["repomd-missing"],
    ),
    (
        "a cut repomd.xml",
        |r| edit_repomd(r, |t| t[..t.len() / 2].to_owned()),
        &["repomd-malformed"],
    ),
    (
        "an entity bomb in repomd.xml",
        |r| {
            edit_repomd(r, |t| {
                t.replace("<repomd", "<!DOCTYPE x [<!ENTITY a \"b\">]><repomd")
            })
        },
        &["repomd-malformed"],
    ),
    (
        "no record of primary",
        |r| edit_repomd(r, |t| t.replace("type=\"primary\"", "type=\"odd\"")),
        &["record-missing"],
    ),
    (
        "two records of other",
        |r| edit_repomd(r, |t| t.replace("type=\"filelists\"", "type=\"other\"")),
        &["record-duplicate", "file-malformed"],
    ),
    (
        "a record that leaves the repository",
        |r| {
            edit_repomd(r, |t| {
                t.replacen("href=\"repodata/", "href=\"../../etc/", 1)
            })
        },
        &["record-location"],
    ),
    (
        "a lost file",
        |r| fs::remove_file(file(r, "-other.xml")).unwrap(),
        &["file-missing"],
    ),
    (
        "a file with another byte",
        |r| {
            let path = file(r, "-other.xml");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, text.replacen("p00", "p09", 1)).unwrap();
        },
        &["file-checksum", "package-disagrees"],
    ),
    (
        "a file that is longer",
        |r| {
            let path = file(r, "-other.xml");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, text + "\n").unwrap();
        },
        &["file-size"],
    ),
    (
        "a promise of no checksum",
        |r| {
            edit_repomd(r, |t| {
                t.replacen("<checksum type=\"sha256\">", "<checksum type=\"crc\">", 1)
            });
        },
        &["checksum-absent"],
    ),
    (
        "a record of the year 2100",
        |r| {
            edit_repomd(r, |t| {
                let (start, rest) = t.split_once("<timestamp>").unwrap();
                let (_, end) = rest.split_once('<').unwrap();
                format!("{start}<timestamp>4102444800<{end}")
            });
        },
        &["timestamp-future"],
    ),
    (
        "a wrong count",
        |r| {
            edit(r, "filelists", |t| {
                t.replace("packages=\"4\"", "packages=\"5\"")
            })
        },
        &["package-count"],
    ),
    (
        "a package that other lacks",
        |r| edit(r, "other", |t| without_package(&t)),
        &["package-count", "package-unlisted"],
    ),
    (
        "a package that primary lacks",
        |r| edit(r, "primary", |t| without_package(&t)),
        &["package-count", "package-unknown"],
    ),
    (
        "a package twice",
        |r| {
            edit(r, "primary", |t| {
                let start = t.find("<package ").unwrap();
                let end = t.find("</package>").unwrap() + 10;
                format!("{}{}{}", &t[..end], &t[start..end], &t[end..])
            });
        },
        &["package-count", "package-duplicate-id"],
    ),
    (
        "another version in filelists",
        |r| edit(r, "filelists", |t| t.replacen("rel=\"1\"", "rel=\"2\"", 1)),
        &["package-disagrees"],
    ),
    (
        "a control character",
        |r| {
            edit(r, "primary", |t| {
                t.replacen("<summary>", "<summary>\u{1b}", 1)
            })
        },
        &["file-malformed"],
    ),
    (
        "a package without name",
        |r| edit(r, "primary", |t| t.replacen("<name>p00</name>", "", 1)),
        &["file-malformed"],
    ),
    (
        "a location that leaves the repository",
        |r| {
            edit(r, "primary", |t| {
                t.replacen("<location href=\"", "<location href=\"../", 1)
            })
        },
        &["package-location"],
    ),
    (
        "a location at another server",
        |r| {
            edit(r, "primary", |t| {
                t.replacen(
                    "<location ",
                    "<location xml:base=\"http://else.example/\" ",
                    1,
                )
            });
        },
        &["package-elsewhere"],
    ),
    (
        "two packages in one place",
        |r| {
            edit(r, "primary", |t| {
                t.replace("p02-1.noarch.rpm", "p00-1.noarch.rpm")
            });
        },
        &[
            "package-duplicate-location",
            "package-checksum",
            "package-identity",
        ],
    ),
    (
        "a lost package",
        |r| fs::remove_file(r.join("p00-1.noarch.rpm")).unwrap(),
        &["package-missing"],
    ),
    (
        "a package cut short",
        |r| {
            let path = r.join("p00-1.noarch.rpm");
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        },
        &["package-size", "package-checksum"],
    ),
    (
        "a package with another payload",
        |r| {
            let path = r.join("p00-1.noarch.rpm");
            let mut bytes = fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(path, bytes).unwrap();
        },
        &["package-checksum"],
    ),
    (
        "a package that is none",
        |r| fs::write(r.join("p00-1.noarch.rpm"), "<html>").unwrap(),
        &["package-size", "package-checksum", "package-malformed"],
    ),
    (
        "a header range that is wrong",
        |r| {
            edit(r, "primary", |t| {
                t.replacen(
                    "<rpm:header-range start=\"",
                    "<rpm:header-range start=\"1",
                    1,
                )
            })
        },
        &["package-header-range"],
    ),
    (
        "files that are listed twice",
        |r| {
            edit(r, "filelists", |t| {
                t.replacen(
                    "<file>/usr/bin/p00</file>",
                    "<file>/usr/bin/p00</file><file>/usr/bin/p00</file>",
                    1,
                )
            })
        },
        &["package-repeated-file"],
    ),
    (
        "a directory in a package's place",
        |r| {
            fs::remove_file(r.join("p00-1.noarch.rpm")).unwrap();
            fs::create_dir(r.join("p00-1.noarch.rpm")).unwrap();
        },
        &["package-unreadable"],
    ),
];

fn without_package(text: &str) -> String {
    let start = text.find("<package ").unwrap();
    let end = text.find("</package>").unwrap() + "</package>".len();
    format!("{}{}", &text[..start], &text[end..])
}

#[test]
fn each_damage_is_found_and_called_by_its_name() {
    for (name, damage, wanted) in DAMAGES {
        let root = plain();
        damage(root.path());
        let report = checked(root.path());
        let wanted: std::collections::BTreeSet<&str> = wanted.iter().copied().collect();
        assert_eq!(codes(&report), wanted, "{name}: {:#?}", report.findings);
        let only_warnings = [
            "timestamp-future",
            "package-elsewhere",
            "package-repeated-file",
        ];
        let passes = wanted.iter().all(|code| only_warnings.contains(code));
        assert_eq!(report.passed, passes, "{name}");
    }
}

#[test]
fn damage_to_compressed_files_is_found_in_every_codec() {
    for (codec, end) in [
        (Codec::ZSTD, "-filelists.xml.zst"),
        (Codec::Gzip, "-filelists.xml.gz"),
        (Codec::Xz, "-filelists.xml.xz"),
    ] {
        let root = tempfile::tempdir().unwrap();
        fill(root.path(), 4);
        run(&with_codec(root.path(), codec)).unwrap();
        let path = file(root.path(), end);
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 0x10;
        fs::write(&path, &flipped).unwrap();
        let report = checked(root.path());
        assert!(!report.passed, "{codec:?}");
        assert!(
            report
                .findings
                .iter()
                .all(|found| found.file.ends_with(end)),
            "{codec:?}: {:#?}",
            report.findings
        );
        fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        assert_eq!(codes(&checked(root.path())), ["file-size"].into());
    }
}

#[test]
fn a_decompression_bomb_is_read_no_further_than_it_claims() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 1);
    run(&with_codec(root.path(), Codec::ZSTD)).unwrap();
    let path = file(root.path(), "-other.xml.zst");
    let bomb = zstd::encode_all(std::io::repeat(b' ').take_bytes(1 << 30), 1).unwrap();
    let before = fs::read(&path).unwrap();
    fs::write(&path, &bomb).unwrap();
    edit_repomd(root.path(), |text| {
        text.replace(
            &format!("<size>{}<", before.len()),
            &format!("<size>{}<", bomb.len()),
        )
    });
    let report = checked(root.path());
    assert!(codes(&report).contains("file-open-size"), "{report:#?}");
    assert!(
        report
            .findings
            .iter()
            .any(|found| found.message.contains("larger than"))
    );
}

trait TakeBytes: Sized {
    fn take_bytes(self, count: u64) -> std::io::Take<Self>;
}
impl<R: std::io::Read> TakeBytes for R {
    fn take_bytes(self, count: u64) -> std::io::Take<Self> {
        self.take(count)
    }
}

fn options(packages: Packages) -> CheckOptions {
    CheckOptions {
        packages,
        keys: Vec::new(),
        package_signatures: false,
        now: now(),
        workers: NonZeroUsize::new(2).unwrap(),
    }
}

#[test]
fn a_sample_reads_few_packages_and_misses_no_lost_one() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 60);
    run(&request(root.path())).unwrap();
    fs::remove_file(root.path().join("p58-1.noarch.rpm")).unwrap();
    let source = Directory::new(root.path());
    let check = |packages| repocheck::check(&source, &options(packages), &Unwatched).unwrap();
    let sampled = check(Packages::Sample);
    assert_eq!(codes(&sampled), ["package-missing"].into());
    assert!((10..=30).contains(&sampled.packages_read), "{sampled:?}");
    let none = check(Packages::None);
    assert!(none.passed && none.packages_read == 0 && none.packages == 60);
}

/// A server that goes away after some answers.
struct Flaky {
    inner: Directory,
    answers: std::sync::atomic::AtomicI64,
}

impl Source for Flaky {
    fn open(&self, path: &str) -> Result<Stream<'_>, SourceError> {
        if self
            .answers
            .fetch_sub(1, std::sync::atomic::Ordering::Relaxed)
            <= 0
        {
            return Err(SourceError::Unreachable("refused".to_owned()));
        }
        self.inner.open(path)
    }
    fn size_bytes(&self, path: &str) -> Result<Option<u64>, SourceError> {
        self.inner.size_bytes(path)
    }
    fn tells_sizes_cheaply(&self) -> bool {
        false
    }
}

#[test]
fn a_server_that_goes_away_is_not_a_broken_repository() {
    let root = plain();
    for answers in 0..8 {
        let source = Flaky {
            inner: Directory::new(root.path()),
            answers: answers.into(),
        };
        let outcome = repocheck::check(&source, &options(Packages::All), &Unwatched);
        assert!(
            matches!(outcome, Err(CheckError::Unreachable(_))),
            "{answers}"
        );
    }
}

#[test]
fn the_report_is_the_same_each_time_and_says_where() {
    let root = plain();
    for number in ["00", "02"] {
        fs::remove_file(root.path().join(format!("p{number}-1.noarch.rpm"))).unwrap();
    }
    edit(root.path(), "other", |text| {
        text.replacen("rel=\"1\"", "rel=\"2\"", 1)
    });
    let first = checked(root.path());
    assert_eq!(first, checked(root.path()));
    let json = serde_json::to_value(&first).unwrap();
    assert_eq!(json["passed"], false);
    assert_eq!(json["errors"], 3);
    assert_eq!(json["findings"][0]["code"], "package-disagrees");
    assert_eq!(json["findings"][0]["severity"], "error");
    assert!(json["findings"][0]["offset"].as_u64().unwrap() > 0);
    assert_eq!(json["findings"][1]["package"], "p00-1.0-1.noarch");
}
