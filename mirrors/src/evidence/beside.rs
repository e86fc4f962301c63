//! Evidence in a repository itself, as static files, so that a copy of it, behind any web server, answers for the
//! server that is away:
//!
//! ```text
//! Packages/h/hello-2.12-1.x86_64.rpm
//! Packages/h/hello-2.12-1.x86_64.rpm.evidence.tar.zst   all that is said about this package alone, as the signer judged it
//! evidence.tar.zst                                      what is the same for all: the releases, the newest one with
//!                                                       its lists of this repository, the newest head of the log
//! ```
//!
//! Both are packs ([`super::pack`]), and trusted no more than a server is. A package's never changes; the repository's
//! moves with each release and with the log.

use super::gather::{Common, gather};
use super::pack::{FORM, FORM_FILE, PackError, archive, ended, unpack, written};
use super::source::{Item, Source, SourceError};
use crate::tar;
use repo_model::bundle::Bundle;
use repo_model::statement::{PACKAGE_RELEASE, PackageRelease, Statement};
use repo_model::wire::status::{BuildStatus, PackageStatus};
use repo_model::{FileDigest, RepoName};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read};

/// What follows the name of a package.
pub const SUFFIX: &str = ".evidence.tar.zst";
/// What is the same for all packages of a repository, at its root.
pub const COMMON: &str = "evidence.tar.zst";
/// Media type of both.
pub const MEDIA_TYPE: &str = "application/zstd";
/// Largest of a package, packed and unpacked, bytes: SBOMs are most of it.
pub const MAX_PACKAGE_BYTES: u64 = 32 << 20;
const MAX_PACKAGE_UNPACKED: u64 = 160 << 20;
/// Largest of a repository, packed and unpacked, bytes: lists of some hundred thousand packages.
pub const MAX_COMMON_BYTES: u64 = 128 << 20;
const MAX_COMMON_UNPACKED: u64 = 256 << 20;
/// What whoever hands packs on gives up for one in memory, as a power of two in bytes. Ours take a quarter of it.
const MAX_WINDOW_LOG: u32 = 23;
/// What a file counts beside its content: a pack of empty ones without end is refused, too.
const MIN_FILE_BYTES: u64 = 512;
/// Larger files are no statements.
const MAX_SMALL_BYTES: u64 = 1 << 20;
/// zstd's level: a few kilobytes each, a release has many of them.
const LEVEL: i32 = 6;
/// Folders of what may be said about one package.
const OF_PACKAGE: [&str; 3] = ["builds/", "bundles/", "documents/"];

/// Files of a pack, by [`Item::name`].
pub type Files = BTreeMap<String, Vec<u8>>;

/// Packs what is said about one package.
///
/// * `build`: what is known of its build. It is not asked for again, as a build of many packages has many packs; its lists
///   are left out, so they may be missing.
pub fn write_package(
    source: &dyn Source,
    build: &BuildStatus,
    package: &PackageStatus,
) -> Result<Vec<u8>, PackError> {
    let alone = BuildStatus {
        build: build.build,
        repo: build.repo.clone(),
        source: build.source.clone(),
        source_file: build.source_file,
        buildinfo: build.buildinfo,
        provenance: build.provenance,
        stage: build.stage.clone(),
        received_at: build.received_at,
        changed_at: build.changed_at,
        packages: vec![package.clone()],
        rebuilds: Vec::new(),
        waits_for: Vec::new(),
        jobs: Vec::new(),
        documents: Vec::new(),
    };
    let keeping = Keeping::new(source);
    gather(&keeping, &Common::default(), &alone, package)?;
    let mut files = keeping.files.into_inner();
    files.retain(|name, _| is_of_package(name));
    let item = Item::Builds(package.nevra.clone());
    let builds = written(&item, &[alone])?;
    files.insert(item.name(), builds);
    packed(files).map_err(PackError::Out)
}

/// Packs what is the same for all packages of a repository; never more than who copies it would take.
pub fn write_common(source: &dyn Source, repo: &RepoName) -> Result<Vec<u8>, PackError> {
    let keeping = Keeping::new(source);
    let common = Common::ask(&keeping)?;
    let newest = common.newest();
    let newest = newest.ok_or_else(|| PackError::Missing("there is no release".to_owned()))?;
    for row in newest.repos.iter().filter(|row| row.repo == *repo) {
        keeping.keep(&Item::Document(row.package_list))?;
    }
    // Last: it must not be older than the place of the release.
    keeping.keep(&Item::Checkpoint)?;
    let files = keeping.files.into_inner();
    let unpacked = files.values().map(|content| content.len() as u64).sum();
    is_within(unpacked, MAX_COMMON_UNPACKED)?;
    let packed = packed(files).map_err(PackError::Out)?;
    is_within(packed.len() as u64, MAX_COMMON_BYTES)?;
    Ok(packed)
}

fn is_within(bytes: u64, limit_bytes: u64) -> Result<(), PackError> {
    match bytes <= limit_bytes {
        true => Ok(()),
        false => Err(PackError::TooLarge { bytes, limit_bytes }),
    }
}

/// Unpacks what lies beside a package. Files that belong elsewhere are left out.
///
/// * `take`: is given each file; an error of its ends it.
pub fn each_of_package(
    packed: impl Read,
    mut take: impl FnMut(String, Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    unpack(
        packed,
        MAX_PACKAGE_UNPACKED,
        |name, content| match is_of_package(&name) {
            true => take(name, content),
            false => Ok(()),
        },
    )
}

/// Unpacks what is the same for all packages of a repository.
pub fn read_common(packed: impl Read) -> io::Result<Files> {
    let mut files = Files::new();
    unpack(packed, MAX_COMMON_UNPACKED, |name, content| {
        files.insert(name, content);
        Ok(())
    })?;
    Ok(files)
}

/// Whether a pack has a statement that this very file was let out. Nothing is verified, and little is held in memory: it
/// is for who hands it on.
pub fn is_about(packed: impl Read, package: FileDigest) -> bool {
    let hex = package.to_hex();
    let mut is_said = false;
    let read = each_small(packed, MAX_PACKAGE_UNPACKED, |name, content| {
        is_said |= name.starts_with("bundles/") && lets_out(content, &hex);
    });
    read.is_ok() && is_said
}

/// Whether it is what the packages of a repository share, as far as that can be told without holding it in memory.
pub fn is_common(packed: impl Read) -> io::Result<()> {
    each_small(packed, MAX_COMMON_UNPACKED, |_, _| ())
}

fn lets_out(bundle: &[u8], file: &str) -> bool {
    let said = Bundle::from_json(bundle).ok().and_then(|bundle| {
        Statement::<PackageRelease>::open_unverified(&bundle.envelope, PACKAGE_RELEASE).ok()
    });
    said.is_some_and(|said| {
        let mut subjects = said.subject.iter();
        subjects.any(|subject| subject.digest.get("sha256").is_some_and(|hex| hex == file))
    })
}

/// Goes through a pack to its end; shows the small files of it.
fn each_small(
    packed: impl Read,
    limit_bytes: u64,
    mut show: impl FnMut(&str, &[u8]),
) -> io::Result<()> {
    let mut archive = archive(packed)?;
    archive.window_log_max(MAX_WINDOW_LOG)?;
    let (mut left, mut is_ours) = (limit_bytes, false);
    while let Some((name, size)) = tar::next_file(&mut archive)? {
        let counted = size.saturating_add(MIN_FILE_BYTES);
        left = left
            .checked_sub(counted)
            .ok_or_else(|| io::Error::other("it holds more than the limit"))?;
        let mut content = Vec::new();
        let mut file = (&mut archive).take(size);
        let read = match size <= MAX_SMALL_BYTES {
            true => file.read_to_end(&mut content)? as u64,
            false => io::copy(&mut file, &mut io::sink())?,
        };
        if read != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        tar::skip_padding(&mut archive, size)?;
        is_ours |= name == FORM_FILE && content == FORM;
        show(&name, &content);
    }
    ended(archive, is_ours)
}

fn is_of_package(name: &str) -> bool {
    OF_PACKAGE.iter().any(|folder| name.starts_with(folder))
}

/// Equal files make equal packs. Each is let go when it is in.
fn packed(files: Files) -> io::Result<Vec<u8>> {
    let mut out = zstd::Encoder::new(Vec::new(), LEVEL)?;
    out.include_checksum(true)?;
    tar::write_file(&mut out, FORM_FILE, FORM)?;
    for (name, content) in files {
        tar::write_file(&mut out, &name, &content)?;
    }
    tar::finish(&mut out)?;
    out.finish()
}

/// Asks another source, and keeps every answer.
struct Keeping<'s> {
    source: &'s dyn Source,
    files: RefCell<Files>,
}

impl<'s> Keeping<'s> {
    fn new(source: &'s dyn Source) -> Self {
        Self {
            source,
            files: RefCell::default(),
        }
    }

    /// Keeps an answer that nobody reads here.
    fn keep(&self, item: &Item) -> Result<(), SourceError> {
        if let Some(bytes) = self.source.fetch(item)? {
            self.files.borrow_mut().insert(item.name(), bytes);
        }
        Ok(())
    }
}

impl Source for Keeping<'_> {
    fn open(&self, item: &Item) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        self.source.open(item)
    }

    fn fetch(&self, item: &Item) -> Result<Option<Vec<u8>>, SourceError> {
        let bytes = self.source.fetch(item)?;
        if let Some(bytes) = &bytes {
            self.files.borrow_mut().insert(item.name(), bytes.clone());
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::gather::find;
    use super::super::pack::Pack;
    use super::super::source::in_memory;
    use super::*;
    use repo_model::bundle;
    use repo_model::dsse::StatementKey;
    use repo_model::hostile::changed::mutated;
    use repo_model::statement::Subject;
    use repo_model::{HeaderDigest, Nevra};
    use std::time::{Duration, Instant};

    /// Answers from files by their names.
    struct Answers(Files);

    impl Source for Answers {
        fn open(&self, item: &Item) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
            Ok(self.0.get(&item.name()).map(|bytes| in_memory(bytes)))
        }
    }

    fn read_package(packed: &[u8]) -> io::Result<Files> {
        let mut files = Files::new();
        each_of_package(packed, |name, content| {
            files.insert(name, content);
            Ok(())
        })?;
        Ok(files)
    }

    fn nevra(name: &str) -> Nevra {
        format!("{name}-1-1.noarch").parse().unwrap()
    }

    fn header(name: &str) -> HeaderDigest {
        HeaderDigest::of(name.as_bytes())
    }

    /// One build of two packages that share an SBOM, and the file that `p` is.
    fn answers(file: FileDigest) -> Answers {
        let said = PackageRelease {
            purl: "pkg:rpm/p".to_owned(),
        };
        let key = StatementKey::from_seed(&[1; 32]).unwrap();
        let subject = vec![Subject::file("p.rpm", file)];
        let signed = Statement::new(PACKAGE_RELEASE, subject, said).sign(&key);
        let signed = signed.unwrap();
        let statement = FileDigest::of(&signed.to_json());
        let sbom = FileDigest::of(b"{}");
        let package = |name: &str| {
            serde_json::json!({
                "nevra": nevra(name).to_string(), "header": header(name), "unsigned_file": sbom, "signed_file": file,
                "href": "p.rpm", "size_bytes": 1, "summary": "", "evidence": [
                    {"kind": "sbom", "label": "a", "digest": sbom},
                    {"kind": "release-statement", "label": "", "digest": statement},
                    {"kind": "attachment", "label": "log", "digest": FileDigest::of(b"log")},
                ]
            })
        };
        let builds = serde_json::json!([{
            "build": 1, "repo": "base", "source": "p-1-1.src", "source_file": sbom, "buildinfo": sbom,
            "provenance": null, "stage": "received", "received_at": "2026-11-20T10:06:00Z",
            "changed_at": "2026-11-20T10:06:00Z", "packages": [package("p"), package("q")],
            "rebuilds": [], "jobs": []
        }]);
        let files = [
            (Item::Builds(nevra("p")), builds.to_string().into_bytes()),
            (Item::Document(sbom), b"{}".to_vec()),
            (Item::Document(FileDigest::of(b"log")), b"log".to_vec()),
            (Item::Bundle(statement), bundle::of(&signed)),
            (Item::Checkpoint, b"head".to_vec()),
        ];
        Answers(
            files
                .map(|(item, bytes)| (item.name(), bytes))
                .into_iter()
                .collect(),
        )
    }

    fn pack_of_p(source: &Answers) -> Vec<u8> {
        let found = find(source, &nevra("p"), Some(header("p")));
        let (build, package) = found.unwrap().unwrap();
        write_package(source, &build, &package).unwrap()
    }

    #[test]
    fn a_build_s_status_is_not_asked_for_again_for_each_of_its_packages() {
        let mut source = answers(FileDigest::of(b"file"));
        let packed = pack_of_p(&source);
        let found = find(&source, &nevra("p"), Some(header("p")));
        let (mut build, package) = found.unwrap().unwrap();
        build.packages.clear();
        source.0.remove(&Item::Builds(nevra("p")).name());
        assert_eq!(write_package(&source, &build, &package).unwrap(), packed);
    }

    #[test]
    fn a_pack_that_no_copy_would_take_is_not_made() {
        assert!(is_within(MAX_COMMON_BYTES, MAX_COMMON_BYTES).is_ok());
        let refused = is_within(MAX_COMMON_BYTES + 1, MAX_COMMON_BYTES).unwrap_err();
        assert!(matches!(refused, PackError::TooLarge { .. }), "{refused}");
    }

    #[test]
    fn a_package_s_pack_has_what_is_judged_about_it_and_nothing_about_others() {
        let file = FileDigest::of(b"file");
        let source = answers(file);
        let packed = pack_of_p(&source);
        assert_eq!(pack_of_p(&source), packed, "the same bytes");
        let files = read_package(&packed[..]).unwrap();
        let names: Vec<&str> = files
            .keys()
            .map(|name| name.split('/').next().unwrap())
            .collect();
        assert_eq!(names, ["builds", "bundles", "documents"]);
        let builds = &files[&Item::Builds(nevra("p")).name()];
        let builds: Vec<BuildStatus> = serde_json::from_slice(builds).unwrap();
        assert_eq!(builds[0].packages.len(), 1);
        assert_eq!(builds[0].packages[0].header, header("p"));
        // Asked again of the pack, everything is there.
        let alone = Answers(files);
        let (build, package) = find(&alone, &nevra("p"), Some(header("p")))
            .unwrap()
            .unwrap();
        gather(&alone, &Common::default(), &build, &package).unwrap();

        assert!(is_about(&packed[..], file));
        assert!(!is_about(&packed[..], FileDigest::of(b"other")));
        assert!(!is_about(&packed[..packed.len() / 2], file));
    }

    #[test]
    fn a_package_s_pack_brings_nothing_that_belongs_to_all() {
        let files = [
            ("checkpoint", "x"),
            ("releases.json", "[]"),
            ("documents/a", "d"),
        ]
        .map(|(name, content)| (name.to_owned(), content.as_bytes().to_vec()))
        .into_iter()
        .collect();
        let packed = packed(files).unwrap();
        let of_package: Vec<String> = read_package(&packed[..]).unwrap().into_keys().collect();
        assert_eq!(of_package, ["documents/a"]);
        assert_eq!(read_common(&packed[..]).unwrap().len(), 4, "and its form");
    }

    /// Changed in its packed and in its unpacked bytes, cut short and longer than it may be: a pack reads or is
    /// refused, soon, in little memory and without a panic. `HALLMARK_FUZZ_SECS` goes on for so long.
    #[test]
    fn packs_with_something_wrong_in_them_are_read_or_refused_soon() {
        let good = pack_of_p(&answers(FileDigest::of(b"f")));
        let unpacked = zstd::decode_all(&good[..]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pack.tar.zst");
        let seconds = std::env::var("HALLMARK_FUZZ_SECS").ok();
        let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(0);
        let (start, mut seed) = (Instant::now(), 0_u64);
        while seed < 400 || start.elapsed() < Duration::from_secs(seconds) {
            seed += 1;
            let inside = zstd::encode_all(&mutated(&unpacked, seed)[..], 1).unwrap();
            let outside = mutated(&good, seed);
            let begun = Instant::now();
            for packed in [&inside, &outside] {
                std::fs::write(&path, packed).unwrap();
                let read = std::panic::catch_unwind(|| {
                    let _ = (read_common(&packed[..]), is_common(&packed[..]));
                    if let Ok(pack) = Pack::read(&path) {
                        pack.heads().for_each(drop);
                        drop(Common::ask(&pack));
                    }
                    is_about(&packed[..], FileDigest::of(b"f"))
                });
                assert!(read.is_ok(), "seed {seed}");
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "seed {seed}");
        }
    }

    #[test]
    fn small_packs_that_would_fill_memory_are_refused() {
        // A file that says it has 8 GiB, and one of zeros that is longer than a pack may be.
        let mut claims = Vec::new();
        tar::write_header(&mut claims, "documents/a", (8 << 30) - 1).unwrap();
        let claims = zstd::encode_all(&claims[..], 1).unwrap();
        assert!(read_package(&claims[..]).is_err());
        let mut bomb = zstd::Encoder::new(Vec::new(), 1).unwrap();
        tar::write_file(&mut bomb, FORM_FILE, FORM).unwrap();
        for number in 0..4 {
            let name = format!("documents/{number}");
            tar::write_header(&mut bomb, &name, 50 << 20).unwrap();
            io::copy(&mut io::repeat(0).take(50 << 20), &mut bomb).unwrap();
        }
        tar::finish(&mut bomb).unwrap();
        let bomb = bomb.finish().unwrap();
        assert!(bomb.len() < 1 << 20, "small to send");
        for refused in [
            read_package(&bomb[..]).map(drop),
            each_small(&bomb[..], 160 << 20, |_, _| ()),
        ] {
            let refused = refused.unwrap_err();
            assert!(refused.to_string().contains("limit"), "{refused}");
        }
    }
}
