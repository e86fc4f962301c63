//! A small distribution to draw pages of: once with ordinary words, once with words from an enemy.

use repo_model::bisection::{Bisection, Difference, Trial, TriedFactor};
use repo_model::policy::Reason;
use repo_model::rpm::testkit::Rpm;
use repo_model::rpm::{ChangelogEntry, Dependency, DependencyFlags, Head, Package};
use repo_model::stage::Stage;
use repo_model::verdict::{Cause, Verdict};
use repo_model::wire::status::{
    BuildStatus, EvidenceLink, JobStatus, PackageStatus, RebuildStatus, ReleaseRepoStatus,
    ReleaseStatus,
};
use repo_model::{Evr, FileDigest, HeaderDigest, Nevra, ReleaseId, Timestamp};
use web::{Agreement, BuildLine, PackageVerdict, Site, StageCounts};

mod draw;
mod more;
mod operator;

pub use draw::every_page;
pub use more::feeds;

/// Markup, quotes, a direction override, a control character.
pub const ENEMY: &str = "\"><script>alert(1)</script>' onload='x' \u{202e}gpj.\0&lt;";

/// Whose words the pages show.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Words {
    Ordinary,
    Enemy,
}

impl Words {
    /// `text`, or what an enemy makes of it: hostile and very long.
    pub fn of(self, text: &str) -> String {
        match self {
            Self::Ordinary => text.to_owned(),
            Self::Enemy => format!("{ENEMY}{text}{}", "x".repeat(300)),
        }
    }
}

const T0: i64 = 1_795_168_800;

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_unix_secs(T0 + minutes * 60)
}

fn nevra(words: Words, name: &str, version: &str, release: &str, arch: &str) -> Nevra {
    let evr = Evr {
        epoch: 0,
        version: words.of(version),
        release: release.to_owned(),
    };
    Nevra {
        name: words.of(name),
        evr,
        arch: arch.to_owned(),
    }
}

fn package(
    words: Words,
    name: &str,
    version: &str,
    arch: &str,
    summary: &str,
    done: bool,
) -> PackageStatus {
    let nevra = nevra(words, name, version, "1.hm1", arch);
    let digest = |what: &str| FileDigest::of(format!("{nevra}{what}").as_bytes());
    let link = |kind: &str, label: &str| EvidenceLink {
        kind: kind.to_owned(),
        label: words.of(label),
        digest: digest(&format!("{kind}{label}")),
    };
    let mut evidence = vec![link("sbom", "cyclonedx-1.6"), link("sbom", "spdx-2.3")];
    if done {
        for rebuilder in ["aster", "briar"] {
            evidence.push(EvidenceLink {
                label: rebuilder.to_owned(),
                ..link("rebuild", rebuilder)
            });
        }
        evidence.push(link("verification-summary", "signer"));
        evidence.push(link("detached-signature", "openpgp"));
    }
    PackageStatus {
        header: HeaderDigest::of(nevra.to_string().as_bytes()),
        unsigned_file: digest("unsigned"),
        signed_file: done.then(|| digest("signed")),
        href: format!("Packages/{}/{}", &name[..1], words.of(&nevra.file_name())),
        size_bytes: 48_213 * (name.len() as u64) + 917,
        summary: words.of(summary),
        evidence,
        nevra,
    }
}

fn rebuild(who: &str, operator: &str, state: &str, verdict: Option<Verdict>) -> RebuildStatus {
    RebuildStatus {
        rebuilder: who.parse().unwrap(),
        operator: operator.parse().unwrap(),
        state: state.to_owned(),
        attempt: 1,
        profile: None,
        verdict,
        causes: Vec::new(),
        last_error: None,
        log: verdict.map(|_| FileDigest::of(who.as_bytes())),
    }
}

fn agreed() -> Vec<RebuildStatus> {
    vec![
        rebuild("aster", "north-lab", "done", Some(Verdict::Identical)),
        rebuild(
            "briar",
            "university-of-x",
            "done",
            Some(Verdict::IdenticalUnsigned),
        ),
    ]
}

fn status(words: Words, number: u64, name: &str, version: &str, stage: Stage) -> BuildStatus {
    let done = matches!(stage, Stage::Signed | Stage::Published { .. });
    BuildStatus {
        build: number,
        repo: "base".parse().unwrap(),
        source: nevra(words, name, version, "1.hm1", "src"),
        source_file: FileDigest::of(name.as_bytes()),
        buildinfo: FileDigest::of(version.as_bytes()),
        provenance: Some(FileDigest::of(b"provenance")),
        stage,
        received_at: at(number.cast_signed() * 7),
        changed_at: at(number.cast_signed() * 7 + 3),
        packages: vec![package(
            words,
            name,
            version,
            "x86_64",
            "Prints a familiar, friendly greeting",
            done,
        )],
        rebuilds: agreed(),
        waits_for: Vec::new(),
        jobs: Vec::new(),
        documents: Vec::new(),
    }
}

fn cause(
    words: Words,
    code: &str,
    file: Option<&str>,
    tag: Option<&str>,
    detail: &str,
    hint: &str,
) -> Cause {
    Cause {
        code: words.of(code),
        file: file.map(|file| words.of(file)),
        tag: tag.map(|tag| words.of(tag)),
        detail: words.of(detail),
        hint: words.of(hint),
    }
}

fn held(words: Words) -> BuildStatus {
    let causes = |clock: &str| {
        vec![
            cause(
                words,
                "embedded-clock",
                Some("/usr/bin/clockwork"),
                None,
                clock,
                "do not compile __DATE__ and __TIME__ in; if a date is needed, take SOURCE_DATE_EPOCH",
            ),
            cause(
                words,
                "build-host",
                None,
                Some("BUILDHOST"),
                "built on \"kiln-07\", rebuilt on \"localhost\"",
                "set %_buildhost in the build system",
            ),
        ]
    };
    let differs = |who: &str, clock: &str| Reason::RebuildDiffers {
        rebuilder: who.parse().unwrap(),
        verdict: Verdict::Differs,
        causes: causes(clock),
    };
    let (first, second) = (
        "built \"Nov 20 10:00:01\", rebuilt \"Nov 20 10:03:11\"",
        "built \"Nov 20 10:00:01\", rebuilt \"Nov 20 10:04:57\"",
    );
    let stage = Stage::Held {
        reasons: vec![
            differs("aster", first),
            differs("briar", second),
            Reason::RebuildsMissing { have: 0, want: 2 },
            Reason::OperatorsMissing { have: 0, want: 2 },
            Reason::SbomMissing {
                format: words.of("spdx-2.3"),
            },
        ],
    };
    let mut build = status(words, 4, "clockwork", "1.0", stage);
    build.rebuilds = vec![
        rebuild("aster", "north-lab", "done", Some(Verdict::Differs)),
        rebuild("briar", "university-of-x", "done", Some(Verdict::Differs)),
    ];
    build.rebuilds[0].causes = causes(first);
    build.documents = ["aster", "briar"]
        .map(|who| EvidenceLink {
            kind: "attachment".to_owned(),
            label: format!("{who}: {}.diffoscope.txt", build.packages[0].nevra),
            digest: FileDigest::of(format!("{who} report").as_bytes()),
        })
        .to_vec();
    build
}

/// What each rebuilder found of the held build, as pages show it.
pub fn verdicts(build: &BuildStatus) -> Vec<PackageVerdict> {
    let verdict = |rebuild: &RebuildStatus| PackageVerdict {
        package: build.packages[0].nevra.clone(),
        rebuilder: rebuild.rebuilder.clone(),
        verdict: rebuild.verdict.unwrap(),
        profile: "plain".to_owned(),
        runs: vec![Verdict::Differs, Verdict::Identical],
        causes: rebuild.causes.clone(),
    };
    build.rebuilds.iter().map(verdict).collect()
}

/// Which factor changes which file of the held build.
pub fn bisection(words: Words) -> Bisection {
    let factor = |name: &str, title: &str, trial| TriedFactor {
        name: name.to_owned(),
        title: words.of(title),
        trial,
        not_tried: (name == "kernel").then(|| words.of("setarch is not installed")),
    };
    let difference = |place: &str, depends_on: &[&str], still_under: &[&str]| Difference {
        package: words.of("clockwork-1.0-1.hm1.x86_64"),
        place: words.of(place),
        differs_anyway: depends_on.is_empty(),
        depends_on: depends_on.iter().map(|name| (*name).to_owned()).collect(),
        still_under: still_under.iter().map(|name| (*name).to_owned()).collect(),
        cause: cause(words, "embedded-clock", None, None, "x", "y"),
    };
    Bisection {
        schema: repo_model::bisection::SCHEMA.to_owned(),
        source: nevra(words, "clockwork", "1.0", "1.hm1", "src"),
        source_sha256: FileDigest::of(b"clockwork"),
        repeatable: false,
        factors: vec![
            factor("host-name", "name of the machine", Trial::Varied),
            factor("kernel", "version of the kernel", Trial::Varied),
            factor("time-zone", "time zone", Trial::Varied),
            factor("clock", "the clock, stopped", Trial::HeldStill),
        ],
        differences: vec![
            difference("/usr/bin/clockwork", &[], &["clock"]),
            difference(
                "/usr/share/clockwork/about-this-build-and-where-it-was-made.txt",
                &["host-name", "time-zone"],
                &[],
            ),
        ],
    }
}

/// A build as lists show it.
pub fn line(build: &BuildStatus) -> BuildLine {
    let confirms = |rebuild: &&RebuildStatus| rebuild.verdict.is_some_and(Verdict::confirms);
    let objects = |rebuild: &&RebuildStatus| {
        rebuild
            .verdict
            .is_some_and(|v| !v.confirms() && v != Verdict::InfraFailed)
    };
    BuildLine {
        build: build.build,
        repo: build.repo.clone(),
        source: build.source.clone(),
        stage: build.stage.clone(),
        packages: build.packages.len() as u64,
        agreement: Agreement {
            rebuilders: build.rebuilds.len() as u64,
            confirmed: build.rebuilds.iter().filter(confirms).count() as u64,
            objecting: build.rebuilds.iter().filter(objects).count() as u64,
        },
        changed_at: build.changed_at,
    }
}

/// What a package says about itself.
pub fn header(words: Words) -> Package {
    let rpm = Rpm::binary("hello").executable("/usr/bin/hello", b"x");
    let mut header = Package::from_head(&Head::parse(&rpm.bytes()).unwrap()).unwrap();
    header.description = words.of("The classic example of a package.");
    header.license = words.of("GPL-3.0-or-later");
    header.url = Some(words.of("https://www.gnu.org/software/hello/"));
    header.files[0].path = words.of("/usr/bin/hello");
    header.conflicts = vec![Dependency {
        name: words.of("goodbye"),
        version: Some((DependencyFlags::Lt, words.of("2"))),
        sense: 2,
    }];
    header.changelog = (0..50)
        .map(|n| ChangelogEntry {
            time: at(-n),
            author: words.of("Ada <ada@example.org>"),
            text: words.of(&format!("- change {n}")),
        })
        .collect();
    header
}

fn rejected(words: Words) -> BuildStatus {
    let lint = Reason::Lint {
        finding: words.of("md5-only"),
        message: words
            .of("the header has no SHA-256 digest of the payload (tag 5092, offset 1184)"),
    };
    let revoked = Reason::Revoked {
        reason: words.of("the upstream release was withdrawn: it held a back door"),
    };
    let turned_away = Reason::RejectedByOperator {
        reason: words.of("built from the wrong branch"),
    };
    status(
        words,
        5,
        "oldtool",
        "0.9",
        Stage::Rejected {
            reasons: vec![lint, revoked, turned_away],
        },
    )
}

fn in_progress(words: Words) -> BuildStatus {
    let mut build = status(words, 7, "libmirror", "3.4.1", Stage::Received);
    build.packages.push(package(
        words,
        "libmirror-devel",
        "3.4.1",
        "x86_64",
        "Headers for programs that use libmirror",
        false,
    ));
    build.rebuilds = vec![
        rebuild("aster", "north-lab", "leased", None),
        rebuild(
            "briar",
            "university-of-x",
            "waiting",
            Some(Verdict::InfraFailed),
        ),
    ];
    build.rebuilds[1].attempt = 3;
    build.rebuilds[1].last_error =
        Some(words.of("cannot fetch buildroot package glibc-2.41-3.x86_64.rpm: connection reset"));
    build.jobs = vec![
        JobStatus { name: words.of("make-sbom"), state: "failed".to_owned(), attempt: 4, run_at: at(90),
            last_error: Some(words.of("payload of libmirror-3.4.1-1.hm1.x86_64.rpm ends after 1,204,224 of 1,310,720 bytes")) },
        JobStatus { name: "judge".to_owned(), state: "waiting".to_owned(), attempt: 0, run_at: at(91), last_error: None },
    ];
    build
}

/// A build in every stage, newest change first.
pub fn builds(words: Words) -> Vec<BuildStatus> {
    let mut published = status(
        words,
        2,
        "hello",
        "2.12",
        Stage::Published {
            release: ReleaseId(12),
        },
    );
    published.packages.push(package(
        words,
        "hello-doc",
        "2.12",
        "noarch",
        "Manual of hello, as HTML and Info pages",
        true,
    ));
    let mut many = status(
        words,
        3,
        "texlive-collection",
        "2026",
        Stage::Published {
            release: ReleaseId(12),
        },
    );
    for part in [
        "basic",
        "latex",
        "latexextra",
        "mathscience",
        "fontsrecommended",
        "langeuropean",
        "bibtexextra-and-a-long-name",
    ] {
        many.packages.push(package(
            words,
            &format!("texlive-collection-{part}"),
            "2026",
            "noarch",
            "A part of the TeX typesetting system",
            true,
        ));
    }
    let mut out = vec![
        status(
            words,
            1,
            "hello",
            "2.10",
            Stage::Published {
                release: ReleaseId(9),
            },
        ),
        published,
        many,
        held(words),
        rejected(words),
        status(words, 6, "sealed", "1.1", Stage::Signed),
        in_progress(words),
        status(words, 8, "approved-tool", "4.0~rc2", Stage::Approved),
    ];
    out.reverse();
    out
}

fn repos(packages: u64) -> Vec<ReleaseRepoStatus> {
    ["x86_64", "aarch64"]
        .map(|arch| ReleaseRepoStatus {
            repo: "base".parse().unwrap(),
            arch: arch.parse().unwrap(),
            packages,
            repomd: FileDigest::of(arch.as_bytes()),
        })
        .to_vec()
}

/// Three releases, newest first.
pub fn releases() -> Vec<ReleaseStatus> {
    let release = |id: u64, channels: &[&str]| ReleaseStatus {
        id: ReleaseId(id),
        issued: at(id.cast_signed() * 10),
        envelope: FileDigest::of(&id.to_le_bytes()),
        repos: repos(20_000 + id),
        channels: channels.iter().map(|name| name.parse().unwrap()).collect(),
    };
    vec![
        release(12, &["preview"]),
        release(11, &["stable"]),
        release(10, &[]),
    ]
}

pub fn site(title: &str) -> Site<'_> {
    Site {
        title,
        public_url: "https://packages.hallmark.example",
    }
}

pub const COUNTS: StageCounts = StageCounts {
    received: 3,
    approved: 1,
    held: 2,
    rejected: 1,
    signed: 1,
    published: 20_431,
};
