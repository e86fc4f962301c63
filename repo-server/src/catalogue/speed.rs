//! How long pages take over HTTP, on the loopback, with 20,000 released packages, 50 held builds, 40 mirrors and a log of
//! 40,000 entries. Slow to set up, so only on request: `make bench-web`.

use super::write;
use crate::app::App;
use crate::db::{self, DbError};
use crate::http::{listen, router};
use crate::measured::Goal;
use repo_model::config::Config;
use repo_model::manifest::package_path;
use repo_model::rpm::testkit::{Field, Rpm};
use repo_model::rpm::{Head, Package, tag};
use repo_model::{FileDigest, HeaderDigest};
use rusqlite::{Connection, Transaction, params};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const PACKAGES: usize = 20_000;
/// Builds that are kept back.
const HELD: usize = 50;
const MIRRORS: usize = 40;
/// Packages that come with one release.
const OF_RELEASE: usize = 100;
/// One package in so many is really stored: pages of those are asked for.
const STORED: usize = 100;
/// Of one page; see DESIGN.
const GOAL: Goal = Goal {
    rounds: 200,
    limit: Duration::from_millis(20),
};

/// A package as it came in, with all that its row needs.
struct Made {
    package: Package,
    bytes: Vec<u8>,
    header: HeaderDigest,
    head_bytes: usize,
}

fn make(n: usize) -> Made {
    let name = format!("package-{n}-{}", ["libs", "devel", "doc", "tools"][n % 4]);
    let mut rpm = Rpm::binary(&name)
        .set(
            tag::SUMMARY,
            Field::I18n(vec![format!("Library number {n}").into_bytes()]),
        )
        .set(
            tag::REQUIRENAME,
            Field::strings([
                "libc.so.6()(64bit)".to_owned(),
                format!("capability-{}", n / 7),
            ]),
        )
        .set(tag::REQUIREFLAGS, Field::Int32(vec![0, 0]))
        .set(tag::REQUIREVERSION, Field::strings(["", ""]))
        .set(
            tag::PROVIDENAME,
            Field::strings([name.clone(), format!("capability-{n}")]),
        )
        .set(tag::PROVIDEFLAGS, Field::Int32(vec![8, 8]))
        .set(tag::PROVIDEVERSION, Field::strings(["1.0-1", "1.0"]));
    for file in 0..20 {
        rpm = rpm.file(&format!("/usr/share/p{n}/file-{file}"), b"");
    }
    let bytes = rpm.bytes();
    let head = Head::parse(&bytes).expect("a package");
    Made {
        package: Package::for_listing(&head, false).expect("a package"),
        header: head.header_digest(),
        head_bytes: head.to_bytes().len(),
        bytes,
    }
}

/// A build with its one package, rebuilt by two, signed and released.
fn publish(tx: &Transaction<'_>, n: usize, made: &Made) -> Result<(u64, String), DbError> {
    let release = n / OF_RELEASE + 1;
    let package = &made.package;
    let nevra = package.nevra.to_string();
    let source = format!("package-{n}-1.0-1.src");
    let stage = format!("{{\"stage\":\"published\",\"release\":{release}}}");
    let file = FileDigest::of(&made.bytes).to_hex();
    let any = |what: &str| FileDigest::of(format!("{n} {what}").as_bytes()).to_hex();
    tx.execute(
        "INSERT INTO builds VALUES (?1, ?2, 'base', ?3, ?4, ?5, ?5, NULL, 'bench', ?1, ?1, 'published', ?6)",
        params![n + 1, any("manifest"), source, format!("{source}.rpm"), any("source"), stage],
    )?;
    tx.execute(
        "INSERT INTO packages VALUES (?1, ?1, 'base', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?7, ?8, ?10, ?6, ?6, ?1, 0)",
        params![
            n + 1,
            nevra,
            package.nevra.name,
            package.nevra.arch,
            package.summary,
            made.header.to_hex(),
            file,
            made.bytes.len(),
            package_path(&package.nevra),
            made.head_bytes,
        ],
    )?;
    for (kind, label) in [
        ("sbom", "cyclonedx-1.6"),
        ("sbom", "spdx-2.3"),
        ("rebuild", "rebuilder-a"),
        ("rebuild", "rebuilder-b"),
        ("verification-summary", "slsa-vsa-v1"),
        ("detached-signature", "openpgp"),
    ] {
        tx.execute(
            "INSERT INTO evidence (build_id, package_id, kind, label, digest, media_type, made_at) VALUES (?1, ?1, ?2, ?3, ?4, 'x', ?1)",
            params![n + 1, kind, label, any(label)],
        )?;
    }
    for (nth, rebuilder) in ["rebuilder-a", "rebuilder-b"].into_iter().enumerate() {
        tx.execute(
            "INSERT INTO rebuilds (build_id, rebuilder, operator, arch, state, run_at, verdict) VALUES (?1, ?2, 'op', 'x86_64', 'done', 0, 'identical')",
            params![n + 1, rebuilder],
        )?;
        let statement = FileDigest::of(format!("{n} {rebuilder}").as_bytes());
        tx.execute(
            "INSERT INTO log_entries VALUES (?1, ?2)",
            params![n * 2 + nth, statement.as_bytes()],
        )?;
    }
    tx.execute(
        "INSERT INTO members VALUES ('base', 'x86_64', ?1, ?2, NULL)",
        params![n + 1, release],
    )?;
    Ok(((n + 1) as u64, package.nevra.name.clone()))
}

fn release(tx: &Transaction<'_>, number: usize) -> Result<(), DbError> {
    let digest = FileDigest::of(&number.to_le_bytes()).to_hex();
    tx.execute(
        "INSERT INTO releases VALUES (?1, ?1, ?2)",
        params![number, digest],
    )?;
    tx.execute(
        "INSERT INTO release_repos VALUES (?1, 'base', 'x86_64', ?2, ?2, NULL, ?2, ?3)",
        params![number, digest, number * OF_RELEASE],
    )?;
    tx.execute(
        "INSERT INTO channel_moves (channel, from_release, to_release, moved_at, actor) SELECT channel, release_id, ?1, ?1, 'server' FROM channels",
        [number],
    )?;
    tx.execute(
        "UPDATE channels SET release_id = ?1, moved_at = ?1",
        [number],
    )?;
    Ok(())
}

/// Held builds, mirrors of which one in four is behind, and the log's head.
fn surroundings(tx: &Transaction<'_>) -> Result<(), DbError> {
    let releases = PACKAGES / OF_RELEASE;
    for n in 0..HELD {
        let stage = "{\"stage\":\"held\",\"reasons\":[]}";
        tx.execute(
            "INSERT INTO builds VALUES (?1, ?2, 'base', ?3, ?3, ?2, ?2, NULL, 'bench', ?1, ?1, 'held', ?4)",
            params![
                PACKAGES + 1 + n,
                FileDigest::of(format!("held {n}").as_bytes()).to_hex(),
                format!("held-{n}-1.0-1.src"),
                stage
            ],
        )?;
    }
    for n in 0..MIRRORS {
        let name = format!("mirror-{n}");
        let registration = format!(
            "{{\"name\":\"{name}\",\"urls\":[\"https://{name}.example/tree\"],\"contact\":\"x\",\"country\":\"NO\",\"coordinates\":[59.9,10.7]}}"
        );
        tx.execute(
            "INSERT INTO mirrors (name, registration, standing, registered_at, health, health_since, next_probe_at) VALUES (?1, ?2, 'approved', 0, 'listed', 0, 99999999999)",
            params![name, registration],
        )?;
        let has = releases - usize::from(n % 4 == 0);
        tx.execute(
            "INSERT INTO mirror_places SELECT ?1, channel, 'base', 'x86_64', ?2, NULL, ?2, NULL FROM channels",
            params![name, has],
        )?;
        tx.execute(
            "INSERT INTO mirror_probes (mirror, at, releases_behind, latency_millis) VALUES (?1, ?2, 0, 12)",
            params![name, has],
        )?;
        for release in 1..=has {
            tx.execute(
                "INSERT INTO mirror_arrivals SELECT ?1, channel, ?2, ?2, ?2 + ?3 FROM channels",
                params![name, release, n * 60],
            )?;
        }
    }
    let root = "A".repeat(43) + "=";
    let note = format!(
        "log.example\n{}\n{root}\n\n\u{2014} log.example AAAAAAAA\n",
        PACKAGES * 2
    );
    tx.execute(
        "INSERT INTO log_checkpoints VALUES (?1, ?2, 1)",
        params![PACKAGES * 2, note],
    )?;
    Ok(())
}

fn config(dir: &std::path::Path, address: SocketAddr) -> Config {
    let policy = dir.join("policy.toml");
    let rules = "version = 1\nmin_rebuilders = 0\nmin_operators = 0\nrequire_provenance = false\nsbom_formats = []\n";
    std::fs::write(&policy, rules).expect("the folder is ours");
    let text = format!(
        "[server]\npublic_url = \"http://{address}\"\ndata_dir = \"{}\"\npolicy_file = \"{}\"\n\n[[repo]]\nname = \"base\"\narches = [\"x86_64\"]\n",
        dir.join("data").display(),
        policy.display()
    );
    Config::read(&text, []).expect("the configuration is right")
}

async fn fill(app: &App) {
    let started = Instant::now();
    for from in (0..PACKAGES).step_by(OF_RELEASE) {
        let made: Vec<Made> = (from..from + OF_RELEASE).map(make).collect();
        for one in made.iter().step_by(STORED) {
            app.store.put(one.bytes.clone()).await.expect("stored");
        }
        let (packages, names) = app
            .db
            .write(move |tx| {
                let mut ids = Vec::new();
                for (n, one) in (from..).zip(&made) {
                    ids.push(publish(tx, n, one)?);
                }
                release(tx, from / OF_RELEASE + 1)?;
                let (ids, names): (Vec<u64>, Vec<String>) = ids.into_iter().unzip();
                let packages = made.into_iter().map(|one| one.package);
                let rows: Vec<(u64, Package)> = ids.into_iter().zip(packages).collect();
                Ok::<_, DbError>((rows, names))
            })
            .await
            .expect("published");
        let newest = app
            .db
            .read(move |connection: &Connection| {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                db::overview::newest_of_names(connection, &names)
            })
            .await
            .expect("read");
        let index = app.catalogue.db.write(move |tx| {
            for (id, package) in &packages {
                write::package(tx, *id, package)?;
            }
            newest.iter().try_for_each(|name| write::name(tx, name))
        });
        index.await.expect("indexed");
    }
    app.db.write(surroundings).await.expect("written");
    eprintln!("{PACKAGES} packages in {:?}", started.elapsed());
}

/// A client that keeps its connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        Self(BufReader::new(stream))
    }

    /// Status and size of an answer.
    fn get(&mut self, path: &str) -> (u16, usize) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\naccept: text/html\r\n\r\n");
        let stream = self.0.get_mut();
        stream.write_all(request.as_bytes()).expect("sent");
        let (mut status, mut length) = (0, 0);
        for number in 0.. {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("an answer");
            let line = line.trim_end().to_ascii_lowercase();
            if number == 0 {
                let word = line.split(' ').nth(1).and_then(|word| word.parse().ok());
                status = word.expect("a status");
            }
            if let Some(bytes) = line.strip_prefix("content-length: ") {
                length = bytes.parse().expect("a number");
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body");
        (status, length)
    }
}

#[test]
#[ignore = "publishes 20,000 packages: `-- --ignored --nocapture pages_answer`"]
fn pages_answer_in_time_with_20_000_packages() {
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder");
    let (stop, listener) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        (CancellationToken::new(), listener)
    });
    let address = listener.local_addr().expect("an address");
    let app = runtime
        .block_on(App::open(config(dir.path(), address), stop.clone()))
        .expect("it opens");
    runtime.block_on(fill(&app));
    let limits = listen::Limits::of(16);
    runtime.spawn(listen::serve(listener, router(app), limits, stop.clone()));
    let mut client = Client::connect(address);
    let missed = measure(&mut client);
    stop.cancel();
    assert!(
        missed.is_empty(),
        "slower than {:?}: {missed:?}",
        GOAL.limit
    );
}

/// One of the packages that are really stored.
fn stored(round: usize) -> String {
    let n = round * STORED % PACKAGES;
    format!("package-{n}-{}", ["libs", "devel", "doc", "tools"][n % 4])
}

type Page = (&'static str, fn(usize) -> String);

/// Every kind of page, asked for by another name each time.
const PAGES: &[Page] = &[
    ("home", |_| "/".to_owned()),
    ("search by name", |n| format!("/search?q=package-{n}")),
    ("search for a word", |_| "/search?q=library".to_owned()),
    ("search for a file", |n| {
        format!("/search?q=/usr/share/p{n}/")
    }),
    ("a package", |n| format!("/packages/{}", stored(n))),
    ("a version of it", |n| {
        format!("/packages/{}/1.0-1.noarch", stored(n))
    }),
    ("its files", |n| {
        format!("/packages/{}/1.0-1.noarch/files", stored(n))
    }),
    ("what needs it", |n| {
        format!("/packages/{}/1.0-1.noarch/required-by", stored(n))
    }),
    ("its badge", |n| format!("/badge/{}.svg", stored(n))),
    ("builds", |n| format!("/builds?offset={}", n * 50)),
    ("builds of a stage", |_| "/builds?stage=held".to_owned()),
    ("a build", |n| format!("/builds/{}", n * 97 % PACKAGES + 1)),
    ("a held build", |n| {
        format!("/builds/{}", PACKAGES + 1 + n % HELD)
    }),
    ("releases", |_| "/releases".to_owned()),
    ("a release", |n| {
        format!("/releases/{}", n % (PACKAGES / OF_RELEASE) + 1)
    }),
    ("contents of a release", |n| {
        format!(
            "/releases/200/packages?repo=base&arch=x86_64&offset={}",
            n * 99
        )
    }),
    ("what differs between two", |n| {
        format!("/releases/200/changes?from={}", 190 + n % 10)
    }),
    ("rebuilders", |_| "/rebuilders".to_owned()),
    ("mirrors", |_| "/mirrors".to_owned()),
    ("log", |n| format!("/log?before={}", n * 100 + 60)),
    ("feed of releases", |_| "/feeds/releases.atom".to_owned()),
    ("feed of held builds", |_| "/feeds/held.atom".to_owned()),
    ("what is inside", |n| {
        format!("/inside?component={}", stored(n))
    }),
    ("licences", |_| "/releases/200/licences".to_owned()),
    ("API", |_| "/api".to_owned()),
];

/// Prints the table; the pages that took too long.
#[expect(clippy::print_stdout, reason = "a bench prints its table")]
fn measure(client: &mut Client) -> Vec<&'static str> {
    println!("| page | p50 ms | p99 ms | max ms | bytes |");
    println!("|---|--:|--:|--:|--:|");
    let mut missed = Vec::new();
    for (name, path) in PAGES {
        let mut bytes = 0;
        let times = GOAL.times(|round| {
            let path = path(round);
            let (status, length) = client.get(&path);
            assert_eq!(status, 200, "{path}");
            bytes = length;
        });
        let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
        println!(
            "| {name} | {:.2} | {:.2} | {:.2} | {bytes} |",
            millis(times.p50),
            millis(times.p99),
            millis(times.most)
        );
        if times.p99 >= GOAL.limit {
            missed.push(*name);
        }
    }
    missed
}
