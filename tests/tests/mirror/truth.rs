//! The truth about mirrors: a dead, a stale, a lying and a slow one beside a good one. Whatever they do, clients that
//! come by the metalink end with the right package; the server finds out what is wrong with each, tells its
//! operator, and sends clients elsewhere. And a frozen mirror cannot call itself fresh.

use super::{clients, text};
use hallmark_tests::clients::{Client, Installation, Outcome};
use hallmark_tests::nginx::{NGINX, Nginx};
use hallmark_tests::packages::crafted::Crafted;
use hallmark_tests::tools::Need;
use hallmark_tests::{Options, World, process, require};
use repo_model::dsse::Envelope;
use repo_model::wire::mirrors::{Health, MirrorReport, MirrorStatus, Trouble};
use std::path::{Path, PathBuf};
use std::process::Output;

pub const PLACE: &str = "preview/base/x86_64";
const PACKAGE: &str = "sought";

/// Mirrors are looked at only when the story says so.
pub const SETTINGS: &str = "\n[mirrors]\nprobe_secs = 86400\nallow_private_addresses = true\nslowest_bytes_per_sec = 0\nfreshness_secs = 3600\n";

pub fn start() -> (World, PathBuf) {
    let world = World::start(&Options {
        server_settings: SETTINGS,
        ..Options::no_rebuilds()
    });
    publish(&world, "1.0");
    let keys = world.new_dir("keys").join("RPM-GPG-KEY");
    std::fs::write(&keys, world.http.fetch("/keys/RPM-GPG-KEY")).expect("the folder is ours");
    std::fs::write(
        keys.with_file_name("statement.pub"),
        world.http.fetch("/keys/statement.pub"),
    )
    .expect("the folder is ours");
    (world, keys)
}

pub fn publish(world: &World, version: &str) {
    let build = Crafted::new(PACKAGE, version).publish(&world.http).build;
    world.until_published(build);
}

/// Copies the channel's repository into a tree of the server's shape.
pub fn copy(world: &World, keys: &Path, tree: &Path) {
    let (from, to) = (format!("{}/{PLACE}", world.url()), tree.join(PLACE));
    world.hallmark_ok(&["mirror", "sync", "--key", text(keys), &from, text(&to)]);
}

pub fn register(world: &World, name: &str, url: &str, more: &[&str]) -> String {
    let mut arguments = vec![
        "mirrors",
        "add",
        name,
        url,
        "--contact",
        "ops@mirror.example",
    ];
    arguments.extend(more);
    world.hallmark_ok(&arguments).trim().to_owned()
}

fn status(world: &World, name: &str) -> MirrorStatus {
    let all: Vec<MirrorStatus> = world.http.get_json("/api/v1/mirrors");
    let found = all.into_iter().find(|mirror| mirror.name.as_str() == name);
    found.unwrap_or_else(|| panic!("no mirror {name}"))
}

/// Has a mirror looked at, and waits for what comes out.
pub fn look(world: &World, name: &str) -> MirrorStatus {
    let path = format!("/api/v1/mirrors/{name}");
    let looks = || world.http.get_json::<MirrorReport>(&path).probes.len();
    let before = looks();
    world.hallmark_ok(&["mirrors", "probe", name]);
    world.until(&format!("{name} is looked at"), || match looks() {
        now if now > before => Ok(()),
        now => Err(format!("{now} looks")),
    });
    status(world, name)
}

fn metalink(world: &World) -> String {
    world.http.get(&format!("/{PLACE}/metalink.xml")).text()
}

/// One flipped byte in each package of a copy.
fn lie(tree: &Path) {
    let packages = tree.join(PLACE).join("Packages");
    let mut changed = 0;
    let mut open = vec![packages];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let mut bytes = std::fs::read(&path).expect("a file");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            // Another file: the one that is there may be shared.
            std::fs::remove_file(&path).expect("the folder is ours");
            std::fs::write(&path, bytes).expect("the folder is ours");
            changed += 1;
        }
    }
    assert!(changed > 0, "there is something to lie about");
}

fn installs(world: &World, keys: &Path, client: Client, url: &str, want: &str) {
    let key = std::fs::read_to_string(keys).expect("it was written");
    let wanted = Installation {
        base_url: url,
        key: &key,
        key_url: None,
        check_metadata: true,
        package: PACKAGE,
    };
    let outcome = client.install(world, &wanted);
    let right = |outcome: &Outcome| match outcome {
        Outcome::Installed(all) => all.iter().any(|nevra| nevra.starts_with(want)),
        Outcome::Refused(_) | Outcome::Broken(_) => false,
    };
    assert!(right(&outcome), "{client:?} by {url}: {outcome:?}");
}

#[test]
fn clients_end_with_the_right_package_whatever_mirrors_do_and_each_is_told_why() {
    require!(NGINX, Client::Dnf5.needs(), Client::Dnf4.needs());
    let (world, keys) = start();
    let _watch = world.watch();
    let tree = |name: &str| world.dir().join(name);
    copy(&world, &keys, &tree("stale"));
    publish(&world, "2.0");
    for name in ["good", "dead", "lying", "slow"] {
        copy(&world, &keys, &tree(name));
    }
    let good = Nginx::serve(&tree("good"));
    let stale = Nginx::serve(&tree("stale"));
    let dead = Nginx::serve(&tree("dead"));
    let lying = Nginx::serve(&tree("lying"));
    let slow = Nginx::serve_slowly(&tree("slow"), 2_000);
    register(&world, "good", &good.url(), &[]);
    let token = register(&world, "lying", &lying.url(), &["--preferred"]);
    for (name, mirror) in [("stale", &stale), ("dead", &dead), ("slow", &slow)] {
        register(
            &world,
            name,
            &mirror.url(),
            &["--preferred", "--country", "NO"],
        );
    }
    for name in ["good", "dead", "lying", "slow", "stale"] {
        world.until(&format!("{name} is listed"), || {
            match status(&world, name) {
                mirror if mirror.health == Health::Listed => Ok(()),
                mirror => Err(format!("{mirror:?}")),
            }
        });
    }
    let behind = status(&world, "stale");
    assert_eq!(behind.places[0].releases_behind, 1, "{behind:?}");
    let report: MirrorReport = world.http.get_json("/api/v1/mirrors/good");
    let arrived: Vec<u64> = report.arrivals.iter().map(|one| one.release.0).collect();
    assert_eq!(arrived, [world.channel("preview")]);
    let all = metalink(&world);
    for mirror in [&good, &stale, &dead, &lying, &slow] {
        assert!(all.contains(&mirror.url()), "{all}");
    }
    assert!(
        all.contains("<mm0:alternate>") && !all.contains("\"md5\""),
        "{all}"
    );
    let repo_file = world.http.get("/preview.repo").text();
    assert!(repo_file.contains("metalink="), "{repo_file}");

    // From now on two of them are what they are called.
    drop(dead);
    lie(&tree("lying"));
    let url = format!("{}/{PLACE}/metalink.xml", world.url());
    for client in clients() {
        installs(&world, &keys, client, &url, "sought-2.0-1");
    }

    let found = look(&world, "lying");
    assert_eq!(found.health, Health::Dropped, "at once: {found:?}");
    assert!(
        matches!(found.trouble, Some(Trouble::WrongContent { .. })),
        "{found:?}"
    );
    assert_eq!(
        look(&world, "dead").health,
        Health::Listed,
        "one failure is none"
    );
    let found = look(&world, "dead");
    assert_eq!(found.health, Health::Dropped, "{found:?}");
    assert!(
        matches!(found.trouble, Some(Trouble::Unreachable { .. })),
        "{found:?}"
    );
    let left = metalink(&world);
    assert!(
        !left.contains(&lying.url()) && left.contains(&good.url()),
        "{left}"
    );

    // Its operator is told, with the token of its registration, and nobody else hears whom to write to.
    let own = world
        .http
        .with_token(Some(&token))
        .get_json::<MirrorReport>("/api/v1/mirrors/lying");
    assert!(own.registration.is_some() && own.status.why.is_some());
    let strange = world
        .http
        .with_token(None)
        .get_json::<MirrorReport>("/api/v1/mirrors/lying");
    assert!(strange.registration.is_none() && strange.status.why == own.status.why);
    let page = world.http.get("/mirrors").text();
    assert!(
        page.contains("dropped: wrong content") && page.contains("1 release behind"),
        "{page}"
    );
    assert!(page.contains("How fast releases reach them"), "{page}");
    for client in clients() {
        installs(&world, &keys, client, &url, "sought-2.0-1");
    }

    // What lied and was put right comes back by itself, but not at once.
    copy(&world, &keys, &tree("lying"));
    let looks: Vec<Health> = (0..6).map(|_| look(&world, "lying").health).collect();
    assert_eq!(looks.first(), Some(&Health::Dropped), "{looks:?}");
    assert_eq!(looks.last(), Some(&Health::Listed), "{looks:?}");
    assert!(metalink(&world).contains(&lying.url()));
}

#[test]
fn a_mirror_is_asked_for_let_in_seen_and_taken_off() {
    require!(NGINX);
    let (world, keys) = start();
    let _watch = world.watch();
    let tree = world.dir().join("tree");
    copy(&world, &keys, &tree);
    let nginx = Nginx::serve(&tree);
    // A stranger asks: nothing is looked at before somebody has decided.
    let stranger = world.http.with_token(None);
    let registration = serde_json::json!({
        "name": "campus", "urls": [nginx.url()], "contact": "noc@campus.example",
        "netblocks": ["127.0.0.2/32"], "private": true
    });
    let answer = stranger.post_json("/api/v1/mirrors", &registration);
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(
        stranger.post_json("/api/v1/mirrors", &registration).status,
        409
    );
    let token = answer.json::<serde_json::Value>()["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let own = world.http.with_token(Some(&token));
    let path = "/api/v1/mirrors/campus";
    assert_eq!(stranger.get(path).status, 404, "nobody hears of it");
    let report: MirrorReport = own.get_json(path);
    assert!(report.probes.is_empty() && report.registration.is_some());
    assert_eq!(
        own.post_json(&format!("{path}/approve"), &serde_json::json!({}))
            .status,
        403
    );
    assert!(nginx.take_requests().is_empty());
    world.hallmark_ok(&["mirrors", "approve", "campus"]);
    world.until("it is listed", || match status(&world, "campus").health {
        Health::Listed => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert!(
        !metalink(&world).contains(&nginx.url()),
        "not for everybody"
    );
    let neighbour = world.http.get_from(
        std::net::Ipv4Addr::new(127, 0, 0, 2),
        &format!("/{PLACE}/mirrorlist"),
    );
    let list = neighbour.text();
    assert!(
        list.starts_with(&format!("{}/{PLACE}/\n", nginx.url())),
        "{list}"
    );
    // What is done with it afterwards.
    world.hallmark_ok(&["mirrors", "reject", "campus", "--reason", "closes in March"]);
    let report: MirrorReport = own.get_json(path);
    assert_eq!(report.rejected_because.as_deref(), Some("closes in March"));
    assert_eq!(own.send("DELETE", path, &[], b"").status, 204);
    assert_eq!(own.get(path).status, 401, "its token ended with it");
}

#[test]
fn a_frozen_mirror_cannot_call_itself_fresh() {
    require!(
        NGINX,
        [
            Need::Program("jq"),
            Need::Program("openssl"),
            Need::Program("curl")
        ]
    );
    let (world, keys) = start();
    let _watch = world.watch();
    let statement_key = keys.with_file_name("statement.pub");
    let said = |release: u64| {
        world.until(&format!("release {release} is called current"), || {
            let text = world.http.get("/preview/freshness.json").text();
            let envelope = Envelope::from_json(text.as_bytes()).ok();
            let payload = envelope.and_then(|envelope| envelope.unverified_payload().ok());
            let payload = payload.and_then(|payload| String::from_utf8(payload).ok());
            let wanted = format!("\"release\":{release},");
            match payload.is_some_and(|payload| payload.contains(&wanted)) {
                true => Ok(()),
                false => Err(text),
            }
        });
    };
    let newest = || world.channel("preview");
    said(newest());
    let tree = world.dir().join("tree");
    copy(&world, &keys, &tree);
    let nginx = Nginx::serve(&tree);
    let verify_as = |more: &[&str]| {
        let copy = tree.join(PLACE);
        let fixed = [
            "mirror",
            "verify",
            "--key",
            text(&keys),
            "--fresh",
            text(&statement_key),
            text(&copy),
        ];
        world.hallmark(&[&fixed, more].concat())
    };
    let verify = || verify_as(&[]);
    let stock = |url: &str| -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/check-fresh.sh");
        let mut command = process::command(script);
        command
            .args([url, PLACE, text(&statement_key)])
            .output()
            .expect("a shell")
    };
    let says = |output: &Output| {
        let both = [output.stdout.as_slice(), &output.stderr].concat();
        String::from_utf8_lossy(&both).into_owned()
    };
    let output = verify();
    assert!(output.status.success(), "{}", says(&output));
    for url in [nginx.url(), world.url()] {
        let output = stock(&url);
        assert!(output.status.success(), "{url}: {}", says(&output));
    }
    // The statement of another channel says nothing about this one.
    let output = verify_as(&["--channel", "stable"]);
    assert!(!output.status.success(), "{}", says(&output));
    let wanted = "about the channel preview, not stable";
    assert!(says(&output).contains(wanted), "{}", says(&output));

    // The world goes on; the mirror does not, and somebody gives it the newest statement.
    publish(&world, "2.0");
    said(newest());
    let current = world.http.fetch("/preview/freshness.json");
    std::fs::write(tree.join(PLACE).join("freshness.json"), current).expect("the folder is ours");
    let output = stock(&nginx.url());
    assert!(!output.status.success(), "{}", says(&output));
    assert!(
        says(&output).contains("not fresh: repomd.xml is"),
        "{}",
        says(&output)
    );
    let output = verify();
    assert!(!output.status.success(), "{}", says(&output));
    assert!(says(&output).contains("not fresh"), "{}", says(&output));
    // Up to date it is fresh again, and its statement came with it.
    copy(&world, &keys, &tree);
    let output = stock(&nginx.url());
    assert!(output.status.success(), "{}", says(&output));
}
