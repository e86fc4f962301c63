//! The web pages, over a small distribution that has a bit of everything: published, held, waiting, and
//! one package whose author is an enemy.

mod browser;
mod lists;
mod operator;
mod packages;
mod packs;
mod permalinks;
mod releases;
mod search;
mod why;

use hallmark_tests::packages::crafted::{Crafted, binary, source};
use hallmark_tests::worker::FakeWorker;
use hallmark_tests::{Options, World};
use repo_model::FileDigest;
use repo_model::bisection::{Bisection, Difference, Trial, TriedFactor};
use repo_model::rpm::tag;
use repo_model::rpm::testkit::{Field, Rpm};
use repo_model::statement::Resource;
use repo_model::verdict::{Cause, Verdict};
use repo_model::wire::worker::{RebuildJob, RevealJob};
use std::sync::LazyLock;

/// Markup and quotes, everywhere a package may put words.
const ENEMY: &str = "\"><script>alert(1)</script><img src=x onerror=alert(2)> ' &lt; {{7*7}}";

/// What diffoscope said.
const DIFFERENCES: &str = "--- built.rpm\n+++ rebuilt.rpm\n├── content\n│ @@ -1 +1 @@\n│ -built Nov 20 10:00:01\n│ +built Nov 20 10:03:11 <b>\n";

struct Story {
    world: World,
    /// hello 1.0, hello 2.0, greeter, enemy: published; clockwork: held; slowpoke: waiting.
    builds: [u64; 6],
}

static STORY: LazyLock<Story> = LazyLock::new(|| {
    let world = World::start(&Options {
        require_provenance: false,
        start_rebuilders: false,
        ..Options::two_rebuilders()
    });
    let watch = world.watch();
    let workers = ["rebuilder-a", "rebuilder-b"].map(|name| FakeWorker::of(&world, name));
    let publish = |name: &str, version: &str, package: Rpm| {
        let build = Crafted::of(source(name, version).bytes(), vec![package.bytes()])
            .publish(&world.http)
            .build;
        let answers = workers
            .each_ref()
            .map(|worker| worker.commits(Verdict::Identical).1);
        for (worker, answer) in workers.iter().zip(&answers) {
            worker.tells(answer);
        }
        world.until_published(build);
        build
    };
    let builds = [
        publish("hello", "1.0", hello("1.0")),
        publish("hello", "2.0", hello("2.0")),
        publish("greeter", "1.0", greeter()),
        publish("enemy", "1.0", enemy()),
        held(&world, &workers),
        Crafted::new("slowpoke", "1.0").publish(&world.http).build,
    ];
    world.until("everything is indexed", || {
        let answer = world.http.get("/api/v1/search?q=enemy").text();
        match answer.contains("\"enemy\"") {
            true => Ok(()),
            false => Err(answer),
        }
    });
    // Nobody listens there, and this world asks no address inside.
    let harbour = "mirrors add harbour http://127.0.0.1:9/tree --country NO --coordinates 59.9,10.7 --contact ops@mirror.example";
    world.hallmark_ok(&harbour.split(' ').collect::<Vec<_>>());
    world.until("the mirror is looked at", || {
        let page = world.http.get("/mirrors").text();
        match page.contains("is not a public one") {
            true => Ok(()),
            false => Err(page),
        }
    });
    drop(watch);
    Story { world, builds }
});

fn words(text: &str) -> Field {
    Field::I18n(vec![text.as_bytes().to_vec()])
}

fn hello(version: &str) -> Rpm {
    let changes: Vec<String> = (1..=6).rev().map(|n| format!("- change {n}")).collect();
    binary("hello", version)
        .set(tag::SUMMARY, words("Prints a familiar, friendly greeting"))
        .set(
            tag::DESCRIPTION,
            words("The classic example of a package.\n\nIt greets."),
        )
        .set(
            tag::PROVIDENAME,
            Field::strings(["hello", "pkgconfig(hello)"]),
        )
        .set(tag::PROVIDEFLAGS, Field::Int32(vec![8, 8]))
        .set(
            tag::PROVIDEVERSION,
            Field::strings([format!("{version}-1"), version.to_owned()]),
        )
        .set(
            tag::CHANGELOGTIME,
            Field::Int32((1..=6).rev().map(|n| 1_767_000_000 + n * 86_400).collect()),
        )
        .set(
            tag::CHANGELOGNAME,
            Field::strings(["Ada <ada@example.org>"; 6]),
        )
        .set(tag::CHANGELOGTEXT, Field::strings(changes))
        .executable("/usr/bin/hello", b"hello")
        .file("/usr/share/doc/hello/README", b"read me")
}

fn greeter() -> Rpm {
    binary("greeter", "1.0")
        .set(tag::SUMMARY, words("Greets whoever comes in"))
        .set(
            tag::REQUIRENAME,
            Field::strings([
                "hello",
                "/usr/bin/hello",
                "libnothing.so.1()(64bit)",
                "(enemy if hello)",
            ]),
        )
        .set(tag::REQUIREFLAGS, Field::Int32(vec![12, 0, 0, 0]))
        .set(tag::REQUIREVERSION, Field::strings(["1.5", "", "", ""]))
}

fn enemy() -> Rpm {
    binary("enemy", "1.0")
        .set(tag::SUMMARY, words(ENEMY))
        .set(tag::DESCRIPTION, words(&format!("{ENEMY}\n{ENEMY}")))
        .set(tag::LICENSE, Field::str(ENEMY))
        .set(tag::VENDOR, Field::str(ENEMY))
        .set(tag::URL, Field::str("javascript:alert(3)"))
        .set(tag::CHANGELOGNAME, Field::strings([ENEMY]))
        .set(tag::CHANGELOGTEXT, Field::strings([ENEMY]))
}

fn cause(code: &str, file: Option<&str>, tag: Option<&str>, detail: &str, hint: &str) -> Cause {
    Cause {
        code: code.to_owned(),
        file: file.map(str::to_owned),
        tag: tag.map(str::to_owned),
        detail: detail.to_owned(),
        hint: hint.to_owned(),
    }
}

fn causes(clock: &str) -> Vec<Cause> {
    vec![
        cause(
            "embedded-clock",
            Some("/usr/bin/clockwork"),
            None,
            clock,
            "take the date from SOURCE_DATE_EPOCH",
        ),
        cause(
            "build-host",
            None,
            Some("BUILDHOST"),
            "kiln-07, localhost",
            "set %_buildhost",
        ),
        cause(
            "unknown",
            Some("/usr/share/<script>alert(4)</script>"),
            None,
            ENEMY,
            ENEMY,
        ),
    ]
}

/// A build that both rebuilders made differently, with all that rebuilders attach.
fn held(world: &World, workers: &[FakeWorker; 2]) -> u64 {
    let package = binary("clockwork", "1.0").set(tag::DESCRIPTION, words("A secret fix."));
    let build = Crafted::of(source("clockwork", "1.0").bytes(), vec![package.bytes()])
        .publish(&world.http)
        .build;
    let mut answers = Vec::new();
    for (worker, clock) in workers.iter().zip(["10:03:11", "10:04:57"]) {
        let job = worker.lease_rebuild();
        let answer = worker.answer(&job, Verdict::Differs, |rebuild, _| {
            rebuild.causes = causes(&format!("built 10:00:01, rebuilt {clock}"));
        });
        let taken = worker.commit(job.job, job.lease_epoch, &answer);
        assert_eq!(taken.status, 204, "{}", taken.text());
        answers.push((job, answer));
    }
    for (worker, (job, answer)) in workers.iter().zip(&answers) {
        let task: RevealJob = worker.lease_reveal();
        let mut attachments = Vec::new();
        for (name, bytes) in attached(job) {
            assert!(matches!(worker.put(&bytes).status, 200 | 201));
            attachments.push(Resource::file(&name, FileDigest::of(&bytes)));
        }
        for statement in &answer.statements {
            assert!(matches!(worker.put(&statement.to_json()).status, 200 | 201));
        }
        let told = worker.report(&task, worker.reveal_of(&task, answer), &attachments);
        assert_eq!(told.status, 204, "{}", told.text());
    }
    world.until_build(build, "is held", |status| status.stage.name() == "held");
    let file = world.dir().join("bisection.json");
    std::fs::write(&file, serde_json::to_vec(&bisection()).expect("it is JSON")).expect("ours");
    let path = file.to_str().expect("paths here are UTF-8");
    world.hallmark_ok(&["bisection", &build.to_string(), path]);
    build
}

/// What `hallmark-rebuilder bisect` found of clockwork.
fn bisection() -> Bisection {
    let factor = |name: &str, title: &str, trial| TriedFactor {
        name: name.to_owned(),
        title: title.to_owned(),
        trial,
        not_tried: None,
    };
    Bisection {
        schema: repo_model::bisection::SCHEMA.to_owned(),
        source: "clockwork-1.0-1.src".parse().expect("a NEVRA"),
        source_sha256: FileDigest::of(&source("clockwork", "1.0").bytes()),
        repeatable: false,
        factors: vec![
            factor("host-name", "name of the machine", Trial::Varied),
            factor("clock", "the clock, stopped", Trial::HeldStill),
        ],
        differences: vec![Difference {
            package: "clockwork-1.0-1.noarch".to_owned(),
            place: "/usr/bin/<i>clockwork".to_owned(),
            differs_anyway: true,
            depends_on: Vec::new(),
            still_under: vec!["clock".to_owned()],
            cause: causes("10:00:01").remove(0),
        }],
    }
}

fn attached(job: &RebuildJob) -> Vec<(String, Vec<u8>)> {
    let package = &job.packages[0];
    let report = format!("{}.diffoscope.txt", package.nevra);
    vec![
        ("build.log".to_owned(), b"+ make\n".to_vec()),
        (report, DIFFERENCES.as_bytes().to_vec()),
    ]
}

fn page(path: &str) -> String {
    let answer = STORY.world.http.with_token(None).get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

#[track_caller]
fn assert_in_order(html: &str, parts: &[&str]) {
    let mut rest = html;
    for part in parts {
        let at = rest
            .find(part)
            .unwrap_or_else(|| panic!("`{part}` is not where it should be in {html}"));
        rest = &rest[at + part.len()..];
    }
}
