//! Fuzzing for a bounded time, and hostile input by name: the readers of packages, `repomd.xml`, the
//! three lists and further records answer or refuse, with file and place, in bounded memory and time.
//!
//! The mutations are drawn from a seed, so that every run makes the same ones and a failure can be run
//! again: the message names the seed. `HALLMARK_FUZZ_SECS` goes on with further seeds for so long.

#[path = "../createrepo_support/mod.rs"]
mod createrepo_support;
mod further;
#[allow(clippy::duplicate_mod)] // both supports use the real packages
#[path = "../repodata_support/mod.rs"]
mod repodata_support;

use createrepo_support::*;
use repo_model::FileDigest;
use repo_model::rpm::testkit::Rpm;
use repo_model::rpm::{Head, HeadLimits, Package, tag};
use repo_server::createrepo::{Conflicts, FileNames, MergeInput, MergeRequest, Method, mergerepo};
use repo_server::repocheck::{
    self, CheckOptions, Packages, Repomd, Report, Severity, Source, SourceError, Stream, Unwatched,
};
use repo_server::repodata::{Codec, Options, check_package};
use repodata_support::Choices;
use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// A repository in memory.
#[derive(Clone, Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Source for Files {
    fn open(&self, path: &str) -> Result<Stream<'_>, SourceError> {
        let bytes = self.0.get(path).ok_or(SourceError::Missing)?;
        Ok(Stream {
            reader: Box::new(&bytes[..]),
            size_bytes: Some(bytes.len() as u64),
        })
    }
    fn size_bytes(&self, path: &str) -> Result<Option<u64>, SourceError> {
        let bytes = self.0.get(path).ok_or(SourceError::Missing)?;
        Ok(Some(bytes.len() as u64))
    }
    fn tells_sizes_cheaply(&self) -> bool {
        true
    }
}

impl Files {
    /// A repository of these files by type, whose repomd.xml is true of every one of them.
    fn of(files: &[(String, Vec<u8>)]) -> Self {
        let mut all = BTreeMap::new();
        let mut text =
            "<?xml version=\"1.0\"?><repomd xmlns=\"http://linux.duke.edu/metadata/repo\">"
                .to_owned();
        for (name, bytes) in files {
            let href = format!("repodata/{name}");
            let kind = name.split('.').next().unwrap();
            text.push_str(&format!(
                "<data type=\"{kind}\"><checksum type=\"sha256\">{}</checksum><location href=\"{href}\"/>\
                 <size>{}</size></data>",
                FileDigest::of(bytes).to_hex(),
                bytes.len(),
            ));
            all.insert(href, bytes.clone());
        }
        text.push_str("</repomd>");
        all.insert("repodata/repomd.xml".to_owned(), text.into_bytes());
        Self(all)
    }
}

/// Metadata of a few packages in these codecs, by file name.
fn seeds() -> Vec<Vec<(String, Vec<u8>)>> {
    let updateinfo = b"<?xml version=\"1.0\"?><updates><update><id>X</id></update></updates>";
    let comps = b"<!DOCTYPE comps PUBLIC \"x\" \"y\"><comps><group><id>g</id></group></comps>";
    [Codec::None, Codec::ZSTD, Codec::Gzip, Codec::Xz]
        .into_iter()
        .map(|codec| {
            let root = tempfile::tempdir().unwrap();
            fill(root.path(), 3);
            run(&with_codec(root.path(), codec)).unwrap();
            let mut files = Vec::new();
            for list in ["primary", "filelists", "other"] {
                let end = format!("-{list}.xml{}", codec.suffix());
                files.push((
                    end[1..].to_owned(),
                    fs::read(file(root.path(), &end)).unwrap(),
                ));
            }
            files.push(("updateinfo.xml".to_owned(), updateinfo.to_vec()));
            files.push(("group.xml".to_owned(), comps.to_vec()));
            files
        })
        .collect()
}

const TOKENS: [&[u8]; 24] = [
    b"<!DOCTYPE x [<!ENTITY a \"aaaa\">]>",
    b"&a;",
    b"&#0;",
    b"&#x1F;",
    b"&#x110000;",
    b"\xFF\xFE",
    b"\xC3",
    b"\0",
    b"\x1B[31m",
    b"]]>",
    b"<![CDATA[",
    b"<!--",
    b"<?x",
    b"<package>",
    b"</package>",
    b"<package type=\"rpm\" pkgid=\"\" name=\"\" arch=\"\">",
    b"packages=\"18446744073709551616\"",
    b"packages=\"-1\"",
    b"href=\"../../etc/passwd\"",
    b"href=\"/etc/passwd\"",
    b"href=\"http://x/y\"",
    b"epoch=\"99999999999999999999\"",
    b"xmlns:rpm=\"x\"",
    b"\x28\xB5\x2F\xFD",
];

/// Changes bytes, puts tokens in, cuts pieces out or doubles them, cuts the end off.
fn mutated(bytes: &[u8], choices: &mut Choices) -> Vec<u8> {
    let edits = 1 + choices.below(4);
    edited(bytes, edits, choices)
}

fn edited(bytes: &[u8], edits: usize, choices: &mut Choices) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..edits {
        let at = choices.below(bytes.len() + 1);
        let end = (at + choices.below(200)).min(bytes.len());
        match choices.below(7) {
            0 | 1 if at < bytes.len() => bytes[at] = choices.below(256) as u8,
            2 => {
                let token = TOKENS[choices.below(TOKENS.len())];
                bytes.splice(at..at, token.iter().copied());
            }
            3 => {
                bytes.drain(at..end);
            }
            4 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            5 if choices.below(4) == 0 => bytes.truncate(at),
            _ if at < bytes.len() => bytes[at] ^= 1 << choices.below(8),
            _ => {}
        }
    }
    bytes
}

/// Runs `once` with each seed from 1 on: `count` of them, and more as long as `HALLMARK_FUZZ_SECS` says.
fn with_seeds(what: &str, count: u64, once: impl Fn(&mut Choices, u64)) {
    let more = std::env::var("HALLMARK_FUZZ_SECS")
        .ok()
        .and_then(|secs| secs.parse().ok());
    let until = Instant::now() + Duration::from_secs(more.unwrap_or(0));
    let mut seed = 1;
    while seed <= count || Instant::now() < until {
        let start = Instant::now();
        let mut choices = Choices(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let outcome = catch_unwind(AssertUnwindSafe(|| once(&mut choices, seed)));
        assert!(
            outcome.is_ok(),
            "{what}: seed {seed} failed; see the panic above"
        );
        let took = start.elapsed();
        assert!(
            took < Duration::from_secs(20),
            "{what}: seed {seed} took {took:?}"
        );
        seed += 1;
    }
    eprintln!("{what}: {} mutations", seed - 1);
}

fn check(source: &dyn Source) -> Report {
    let options = CheckOptions {
        packages: Packages::None,
        keys: Vec::new(),
        package_signatures: false,
        now: now(),
        workers: NonZeroUsize::MIN,
    };
    repocheck::check(source, &options, &Unwatched).unwrap()
}

fn assert_findings_say_where(report: &Report) {
    for finding in &report.findings {
        assert!(
            !finding.file.is_empty() && !finding.message.is_empty(),
            "{finding:?}"
        );
        let needs_place = [
            "file-malformed",
            "file-unreadable",
            "repomd-malformed",
            "package-location",
        ];
        if needs_place.contains(&finding.code) {
            assert!(finding.offset.is_some(), "{finding:?}");
        }
    }
    let errors = report
        .findings
        .iter()
        .filter(|f| f.severity == Severity::Error);
    assert_eq!(report.passed, errors.count() == 0);
}

#[test]
fn no_mutation_of_metadata_stops_the_check_or_goes_unplaced() {
    let seeds = seeds();
    let refused = std::sync::atomic::AtomicU64::new(0);
    with_seeds("metadata", 3_000, |choices, _| {
        let mut files = seeds[choices.below(seeds.len())].clone();
        let which = choices.below(files.len());
        files[which].1 = mutated(&files[which].1, choices);
        let report = check(&Files::of(&files));
        assert_findings_say_where(&report);
        if !report.passed {
            refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let refused = refused.into_inner();
    assert!(refused > 1_500, "only {refused} mutations were refused");
}

#[test]
fn no_mutation_of_repomd_makes_its_reader_panic_or_its_places_wrong() {
    let seeds = seeds();
    with_seeds("repomd.xml", 6_000, |choices, seed| {
        let mut files = Files::of(&seeds[0]);
        let text = mutated(&files.0["repodata/repomd.xml"], choices);
        if let Ok(repomd) = Repomd::parse(&text) {
            assert!(repomd.end <= text.len());
            for record in &repomd.records {
                assert!(text[record.span.clone()].starts_with(b"<"), "{record:?}");
            }
        }
        if seed % 4 == 0 {
            files.0.insert("repodata/repomd.xml".to_owned(), text);
            assert_findings_say_where(&check(&files));
        }
    });
}

#[test]
fn no_mutation_of_a_repository_makes_a_merge_panic_or_write_what_the_check_refuses() {
    let seeds = seeds();
    let output = tempfile::tempdir().unwrap();
    let merged = std::sync::atomic::AtomicU64::new(0);
    with_seeds("merge", 250, |choices, seed| {
        // Few edits of plain text: what is refused at once says little about what is merged.
        let mut files = seeds[if seed % 4 == 0 { 1 } else { 0 }].clone();
        let which = choices.below(3);
        files[which].1 = edited(&files[which].1, 1, choices);
        let request = MergeRequest {
            inputs: vec![MergeInput {
                label: "hostile".to_owned(),
                base: None,
                source: Box::new(Files::of(&files)),
            }],
            output: output.path().join(seed.to_string()),
            method: Method::All,
            conflicts: Conflicts::All,
            architectures: None,
            packages: None,
            groups: true,
            advisories: true,
            metadata: Options::default(),
            database: seed % 5 == 0,
            names: FileNames::Unique,
            at: now(),
        };
        if mergerepo(&request).is_ok() {
            merged.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let report = check(&repocheck::Directory::new(&request.output));
            assert!(report.passed, "{:#?}", report.findings);
        }
        fs::remove_dir_all(&request.output).unwrap();
    });
    assert!(merged.into_inner() > 10, "hardly anything was merged");
}

#[test]
fn no_mutation_of_a_package_makes_the_reader_or_the_renderer_panic() {
    let seeds: Vec<Vec<u8>> = vec![
        rpm("p", "1"),
        Rpm::source("s").bytes(),
        Rpm::binary("dirs")
            .file("/etc/a", b"x")
            .dir("/srv")
            .symlink("/bin/p", "q")
            .without_signature(tag::SIG_RESERVEDSPACE)
            .bytes(),
    ];
    with_seeds("packages", 6_000, |choices, _| {
        let bytes = mutated(&seeds[choices.below(seeds.len())], choices);
        let Ok(head) = Head::read(&bytes[..], &HeadLimits::default()) else {
            return;
        };
        if let Ok(package) = Package::from_head(&head) {
            // Either fit for metadata or refused by name; both are answers.
            let _ = check_package(&package);
        }
    });
}

/// The largest resident size of this process so far, bytes.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1_024
}

#[test]
fn hostile_metadata_is_refused_by_name_with_file_and_place_in_bounded_memory() {
    let list = |text: String| ("primary.xml".to_owned(), text.into_bytes());
    let package = |href: &str, rest: &str| {
        format!(
            "<metadata packages=\"1\"><package type=\"rpm\"><name>n</name><arch>x</arch><version ver=\"1\" rel=\"1\"/>\
             <checksum type=\"sha256\">ab</checksum><location href=\"{href}\"/>{rest}</package></metadata>"
        )
    };
    let nested = format!("<metadata>{}", "<a>".repeat(100_000));
    let long = format!("<metadata><package>{}", "a".repeat(40 << 20));
    let attribute = format!("<metadata a=\"{}", "b".repeat(40 << 20));
    for (what, text, code, wanted) in [
        (
            "bomb",
            "<!DOCTYPE a [<!ENTITY a \"x\">]><metadata>&a;</metadata>".to_owned(),
            "file-malformed",
            "document type",
        ),
        (
            "entity",
            package("a.rpm", "<summary>&boom;</summary>"),
            "file-malformed",
            "unknown entity `boom`",
        ),
        (
            "control",
            package("a.rpm", "<summary>a\u{1b}[2J</summary>"),
            "file-malformed",
            "U+001B",
        ),
        (
            "reference",
            package("a.rpm", "<summary>&#8;</summary>"),
            "file-malformed",
            "U+0008",
        ),
        (
            "noncharacter",
            package("a.rpm", "<summary>\u{ffff}</summary>"),
            "file-malformed",
            "U+FFFF",
        ),
        ("nesting", nested, "file-malformed", "nest deeper"),
        ("text", long, "file-malformed", "longer than"),
        ("attribute", attribute, "file-malformed", "longer than"),
        (
            "count",
            package("a.rpm", "").replace("\"1\">", "\"18446744073709551616\">"),
            "file-malformed",
            "want a number",
        ),
        (
            "fewer",
            package("a.rpm", "").replacen("packages=\"1\"", "packages=\"7\"", 1),
            "package-count",
            "announces 7",
        ),
        (
            "size",
            package("a.rpm", "<size package=\"-1\"/>"),
            "file-malformed",
            "want a number",
        ),
        (
            "above",
            package("../../a.rpm", ""),
            "package-location",
            "does not stay below",
        ),
        (
            "absolute",
            package("/etc/passwd", ""),
            "package-location",
            "does not stay below",
        ),
        (
            "scheme",
            package("file:///etc/passwd", ""),
            "package-location",
            "does not stay below",
        ),
        (
            "nul",
            package("a&#9;b.rpm", ""),
            "package-location",
            "does not stay below",
        ),
        (
            "cut",
            package("a.rpm", "")[..90].to_owned(),
            "file-malformed",
            "primary",
        ),
        (
            "root",
            "<html/>".to_owned(),
            "file-malformed",
            "want `metadata`",
        ),
        (
            "nameless",
            package("a.rpm", "").replace("<name>n</name>", ""),
            "file-malformed",
            "no name",
        ),
    ] {
        let report = check(&Files::of(&[list(text)]));
        assert_findings_say_where(&report);
        let found = report.findings.iter().find(|finding| finding.code == code);
        let found = found.unwrap_or_else(|| panic!("{what}: {:?}", report.findings));
        assert_eq!(found.file, "repodata/primary.xml", "{what}");
        assert!(
            found.message.contains(wanted) || what == "cut",
            "{what}: {found:?}"
        );
        assert!(!report.passed);
    }
    let not_utf8 = [
        &b"<metadata><package><name>"[..],
        b"\xC0\xAF",
        b"</name></package></metadata>",
    ]
    .concat();
    let report = check(&Files::of(&[("primary.xml".to_owned(), not_utf8)]));
    assert!(
        report
            .findings
            .iter()
            .any(|f| f.code == "file-malformed" && f.offset == Some(25)),
        "{report:?}"
    );
    assert!(peak_bytes() < 600 << 20, "{} bytes", peak_bytes());
}

#[test]
fn hostile_locations_in_repomd_are_refused() {
    for href in [
        "../x",
        "/etc/passwd",
        "repodata/../../x",
        "file:///etc/passwd",
        "a&#10;b",
        "http://x/y",
    ] {
        let mut files = Files::of(&[]);
        let text = format!(
            "<repomd><data type=\"primary\"><checksum type=\"sha256\">ab</checksum><location href=\"{href}\"/></data></repomd>"
        );
        files
            .0
            .insert("repodata/repomd.xml".to_owned(), text.into_bytes());
        let report = check(&files);
        let found = report
            .findings
            .iter()
            .find(|f| f.code == "record-location")
            .unwrap();
        assert_eq!(found.severity, Severity::Error, "{href}");
    }
}

#[test]
fn frames_cut_anywhere_are_refused_with_file_and_place() {
    for files in seeds().into_iter().skip(1) {
        let (name, whole) = files[0].clone();
        for at in 0..whole.len() {
            let mut cut = files.clone();
            cut[0].1 = whole[..at].to_vec();
            let report = check(&Files::of(&cut));
            assert!(!report.passed, "{name} cut at {at}");
            let file = format!("repodata/{name}");
            let found = report.findings.iter().find(|finding| finding.file == file);
            let found = found.unwrap_or_else(|| panic!("{name} cut at {at}: {report:?}"));
            assert!(found.offset.is_some(), "{name} cut at {at}: {found:?}");
        }
    }
}
