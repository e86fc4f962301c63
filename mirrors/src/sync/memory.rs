//! What a sync of a large repository of ours takes of memory: packages with all their proofs and evidence, read from files so that
//! no server's memory counts. `make bench-mirror` runs it; `HALLMARK_BENCH_MIRROR` is the number of packages.

use super::filter::Filters;
use super::proofs::SUFFIXES;
use super::request::{FilteredMetadata, Patience, Request, Unwatched, Upstream, Verify};
use super::{Summary, sync};
use crate::evidence::beside::COMMON;
use repo_model::bundle;
use repo_model::dsse::StatementKey;
use repo_model::statement::{PACKAGE_RELEASE, PackageRelease, Statement, Subject};
use repo_model::{FileDigest, Timestamp};
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};

/// What a sync may take, whatever the repository has.
const LIMIT_KB: u64 = 150_000;
const PACKAGES: usize = 60_000;
/// Packages whose proofs are about all of them: links to the same files.
const GROUP: usize = 50;

const LOG_PROOF: &str = "c2sp.org/tlog-proof@v1\nindex 0\n\nlog.example\n1\n\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\u{2014} log.example AAAAAAA=\n";

fn path_of(number: usize) -> String {
    let fan = number % 26;
    let letter = char::from(b'a' + u8::try_from(fan).unwrap());
    format!("Packages/{letter}/{letter}ackage-of-usual-length-{number:06}-1.24.3-7.x86_64.rpm")
}

fn content_of(number: usize) -> Vec<u8> {
    format!("package {number}\n").into_bytes()
}

/// Packages and what lies beside them.
struct Origin<'a> {
    root: &'a Path,
    key: StatementKey,
}

impl Origin<'_> {
    fn write(&self, numbers: std::ops::Range<usize>) {
        let all: Vec<usize> = numbers.collect();
        for group in all.chunks(GROUP) {
            let digests = group.iter().map(|n| FileDigest::of(&content_of(*n)));
            let bundle = self.bundle_about(digests);
            let pack = pack_of(&bundle);
            let first = self.root.join(path_of(group[0]));
            for number in group {
                let package = self.root.join(path_of(*number));
                fs::create_dir_all(package.parent().unwrap()).unwrap();
                fs::write(&package, content_of(*number)).unwrap();
                for suffix in SUFFIXES {
                    let beside = |package: &Path| format!("{}{suffix}", package.display());
                    let content = match suffix {
                        suffix if suffix.ends_with(".tlog-proof") => LOG_PROOF.as_bytes(),
                        suffix if suffix.ends_with(".json") => &bundle,
                        _ => &pack,
                    };
                    let written = match *number == group[0] {
                        true => fs::write(beside(&package), content),
                        false => fs::hard_link(beside(&first), beside(&package)),
                    };
                    written.unwrap();
                }
            }
        }
        fs::write(self.root.join(COMMON), pack_of(b"{}")).unwrap();
    }

    fn bundle_about(&self, files: impl Iterator<Item = FileDigest>) -> Vec<u8> {
        let said = PackageRelease {
            purl: "pkg:rpm/p".to_owned(),
        };
        let subjects = files.map(|file| Subject::file("p.rpm", file)).collect();
        let signed = Statement::new(PACKAGE_RELEASE, subjects, said).sign(&self.key);
        bundle::of(&signed.unwrap())
    }

    /// Writes primary and `repomd.xml` for the first `count` packages, a line at a time.
    fn publish(&self, count: usize, at: i64) {
        let fresh = self.root.join("primary.xml");
        let mut out = BufWriter::new(File::create(&fresh).unwrap());
        writeln!(out, "<metadata packages=\"{count}\">").unwrap();
        for number in 0..count {
            let content = content_of(number);
            let (digest, size) = (FileDigest::of(&content), content.len());
            writeln!(
                out,
                "<package type=\"rpm\"><name>p{number}</name><arch>x86_64</arch>\
                 <version epoch=\"0\" ver=\"1.24.3\" rel=\"7\"/>\
                 <checksum type=\"sha256\" pkgid=\"YES\">{digest}</checksum><size package=\"{size}\"/>\
                 <location href=\"{}\"/></package>",
                path_of(number)
            )
            .unwrap();
        }
        writeln!(out, "</metadata>").unwrap();
        out.into_inner().unwrap();
        let mut sum = super::claim::Sum::new(&super::claim::Claim::of(FileDigest::of(b"")));
        let size = super::claim::hash_rest(&mut File::open(&fresh).unwrap(), &mut sum).unwrap();
        let digest = sum.sha256();
        let href = format!("repodata/{digest}-primary.xml");
        fs::create_dir_all(self.root.join("repodata")).unwrap();
        fs::rename(fresh, self.root.join(&href)).unwrap();
        let repomd = format!(
            "<?xml version=\"1.0\"?>\n<repomd><revision>{at}</revision><data type=\"primary\">\
             <checksum type=\"sha256\">{digest}</checksum><location href=\"{href}\"/>\
             <timestamp>{at}</timestamp><size>{size}</size></data></repomd>\n"
        );
        fs::write(self.root.join("repodata/repomd.xml"), repomd).unwrap();
    }
}

fn pack_of(bundle: &[u8]) -> Vec<u8> {
    let mut out = zstd::Encoder::new(Vec::new(), 1).unwrap();
    crate::tar::write_file(&mut out, "hallmark-evidence-pack", b"1\n").unwrap();
    crate::tar::write_file(&mut out, "bundles/a", bundle).unwrap();
    crate::tar::finish(&mut out).unwrap();
    out.finish().unwrap()
}

fn request(upstream: &Path, directory: &Path) -> Request {
    let url = format!("file://{}", upstream.display());
    Request {
        upstreams: vec![Upstream::new(&url, Duration::from_secs(1)).unwrap()],
        directory: directory.to_owned(),
        store: None,
        filters: Filters::default(),
        filtered_metadata: FilteredMetadata::Keep,
        workers: NonZeroUsize::new(8).unwrap(),
        bytes_per_sec: None,
        patience: Patience::default(),
        delete_after: None,
        allow_older: false,
        skip_missing: false,
        unclaimed_max_bytes: 1 << 20,
        now: Timestamp::from_unix_secs(1_800_000_000),
    }
}

/// proc(5): `VmHWM:     5432 kB`.
fn peak_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.unwrap().trim().trim_end_matches(" kB");
    peak.parse().unwrap()
}

/// From here on the peak is counted anew, where the kernel allows it.
fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// A sync, and what it took of memory; how large that may be is the caller's.
fn measured(what: &str, request: &Request) -> (Summary, u64) {
    forget_peak();
    let begun = Instant::now();
    let summary = sync(request, Verify::Nothing, None, &Unwatched).unwrap();
    let peak = peak_kb();
    eprintln!("{what}: {:.1?}, {peak} kB at the most", begun.elapsed());
    (summary, peak)
}

/// Copies that many packages, again without a change, and again with one package more; the greatest peak.
fn peak_of(count: usize) -> u64 {
    let lab = tempfile::tempdir().unwrap();
    let (upstream, copy) = (lab.path().join("upstream"), lab.path().join("copy"));
    let origin = Origin {
        root: &upstream,
        key: StatementKey::from_seed(&[1; 32]).unwrap(),
    };
    origin.write(0..count);
    origin.publish(count, 100);
    let request = request(&upstream, &copy);
    let of_each = SUFFIXES.len() as u64;

    let (all, first) = measured("all", &request);
    assert_eq!(
        (all.taken, all.proofs),
        (count as u64, of_each * count as u64)
    );
    assert!(!all.proofs_incomplete && copy.join(COMMON).is_file());
    let (same, second) = measured("no change", &request);
    assert!(!same.changed && same.proofs == 0);
    origin.write(count..count + 1);
    origin.publish(count + 1, 200);
    let (more, third) = measured("one package more", &request);
    assert_eq!((more.taken, more.proofs), (count as u64 + 1, of_each));
    assert_eq!((more.had, more.fetched), (count as u64, 2));
    let last = copy.join(format!("{}{}", path_of(count), SUFFIXES[4]));
    assert!(last.is_file() && evidence_is_whole(&copy));
    first.max(second).max(third)
}

fn evidence_is_whole(copy: &Path) -> bool {
    let file = File::open(copy.join(COMMON)).unwrap();
    crate::evidence::beside::is_common(file).is_ok()
}

#[test]
fn more_packages_than_are_asked_for_at_once_get_all_their_proofs() {
    peak_of(2_300);
}

#[test]
#[ignore = "makes 720,000 files: make bench-mirror"]
fn a_copy_with_all_proofs_takes_less_than_150_mb() {
    let count = std::env::var("HALLMARK_BENCH_MIRROR").ok();
    let count = count.and_then(|text| text.parse().ok());
    let peak = peak_of(count.unwrap_or(PACKAGES));
    assert!(peak < LIMIT_KB, "{peak} kB; want less than {LIMIT_KB}");
}
