//! The main job: built packages go in; what two rebuilders made again bit for bit comes out signed, and
//! stock clients install it with every check switched on.

use hallmark_tests::clients::{Client, Installation, Outcome, in_client_root};
use hallmark_tests::packages;
use hallmark_tests::process;
use hallmark_tests::repository::{Repository, gpgv};
use hallmark_tests::tools::{BUILDING, Need};
use hallmark_tests::{Options, World, require};
use repo_model::policy::Reason;
use repo_model::rpm::Head;
use repo_model::wire::status::BuildStatus;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

const BASE: &str = "/preview/base/x86_64";

/// A world that was given every bundled project in one go.
struct Story {
    world: World,
    exit_code: Option<i32>,
    builds: BTreeMap<String, BuildStatus>,
    folders: BTreeMap<String, PathBuf>,
}

static STORY: LazyLock<Story> = LazyLock::new(|| {
    let world = World::start(&Options::two_rebuilders());
    let watch = world.watch();
    let folders: BTreeMap<_, _> = packages::bundled().into_iter().collect();
    let mut arguments = vec!["publish", "--wait", "--wait-secs", "300", "--json"];
    arguments.extend(
        folders
            .values()
            .map(|folder| folder.to_str().expect("paths here are UTF-8")),
    );
    let output = world.hallmark(&arguments);
    let json = String::from_utf8_lossy(&output.stdout).into_owned();
    let builds: Vec<BuildStatus> = serde_json::from_str(&json).unwrap_or_else(|error| {
        panic!("{error}: {json}{}", String::from_utf8_lossy(&output.stderr))
    });
    let builds = builds
        .into_iter()
        .map(|build| (build.source.name.clone(), build))
        .collect();
    drop(watch);
    Story {
        world,
        exit_code: output.status.code(),
        builds,
        folders,
    }
});

#[test]
fn what_two_rebuilders_made_again_is_published_and_the_rest_is_held_with_its_cause() {
    require!(BUILDING);
    let story = &*STORY;
    let world = story.world.watch();
    assert_eq!(
        story.builds.len(),
        story.folders.len(),
        "every build is settled"
    );
    assert_eq!(story.exit_code, Some(1), "one of them was not published");
    for (name, build) in &story.builds {
        let wanted = if name == packages::CLOCKWORK {
            "held"
        } else {
            "published"
        };
        assert_eq!(build.stage.name(), wanted, "{name}: {:?}", build.stage);
    }
    let causes: Vec<_> = story.builds[packages::CLOCKWORK]
        .stage
        .reasons()
        .iter()
        .filter_map(|reason| match reason {
            Reason::RebuildDiffers {
                rebuilder, causes, ..
            } => Some((rebuilder.as_str(), causes)),
            _ => None,
        })
        .collect();
    assert_eq!(
        causes.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["rebuilder-a", "rebuilder-b"]
    );
    for (name, causes) in causes {
        assert!(
            causes.iter().any(|cause| cause.code == "embedded-clock"),
            "{name}: {causes:?}"
        );
    }
    let words = world.hallmark_ok(&["status", packages::CLOCKWORK]);
    assert!(
        words.contains("held") && words.contains("embedded-clock") && words.contains("hint:"),
        "{words}"
    );
    let listed = world.hallmark_ok(&["status", "--stage", "held"]);
    assert!(
        listed.contains("clockwork-3.1.0-1.src") && !listed.contains("tallyplot"),
        "{listed}"
    );
}

#[test]
fn the_signer_found_what_it_judged_by_in_the_log() {
    require!(BUILDING);
    let world = STORY.world.watch();
    let journal = std::fs::read_to_string(world.dir().join("signer-state/journal.jsonl"));
    let journal = journal.expect("it is kept");
    let events = journal.lines().map(|line| {
        let record: serde_json::Value = serde_json::from_str(line).expect("a record");
        record["event"].clone()
    });
    let (mut signed, mut head) = (0, 0);
    for event in events {
        match event["kind"].as_str() {
            Some("checkpoint-signed") => head = event["size"].as_u64().expect("a size"),
            Some("package-signed") => {
                let under = event["log_size"].as_u64().expect("under a head");
                // Two statements, commitments and reveals at least.
                assert!(under >= 6 && under <= head, "{under} of {head}: {event}");
                signed += 1;
            }
            _ => {}
        }
    }
    assert!(signed > 0);
}

#[test]
fn anyone_can_make_a_published_package_again_and_let_in_toto_count_the_rebuilders() {
    require!(BUILDING);
    let story = &*STORY;
    let world = story.world.watch();
    let published = |build: &&BuildStatus| build.stage.name() == "published";
    let build = story.builds.values().find(published).expect("one is out");
    let package = &build.packages[0];
    let dir = world.new_dir("checked");
    let rpm = dir.join(package.nevra.file_name());
    let bytes = world.http.fetch(&format!("{BASE}/{}", package.href));
    std::fs::write(&rpm, bytes).expect("the package is kept");
    let rpm = rpm.to_str().expect("paths here are UTF-8");
    let said = world.hallmark_ok(&["rebuild", rpm]);
    assert!(
        said.starts_with("identical-unsigned  ") && said.contains("1 of 1 confirmed"),
        "{said}"
    );

    let place = |name: &str| dir.join(name).to_str().expect("UTF-8").to_owned();
    let (key, evidence) = (place("owner.key"), place("evidence"));
    world.hallmark_ok(&["in-toto", "keygen", "--out", &key]);
    let policy = world.dir().join("policy.toml");
    let policy = policy.to_str().expect("paths here are UTF-8");
    world.hallmark_ok(&[
        "in-toto",
        "export",
        rpm,
        "--policy",
        policy,
        "--owner-key",
        &key,
        "-o",
        &evidence,
    ]);
    let files = std::fs::read_dir(&evidence).expect("a folder").flatten();
    let links = files
        .filter(|file| {
            file.path()
                .extension()
                .is_some_and(|extension| extension == "link")
        })
        .count();
    assert_eq!(links, 2, "one of each rebuilder");
    let unsigned = std::fs::read(Path::new(&evidence).join(package.nevra.file_name()));
    let digest = repo_model::FileDigest::of(&unsigned.expect("the package is there"));
    assert_eq!(
        digest, package.unsigned_file,
        "without its signatures, exactly"
    );
}

#[test]
fn the_repository_holds_exactly_what_was_published() {
    require!(BUILDING);
    let story = &*STORY;
    let world = story.world.watch();
    let mut expected: Vec<_> = story
        .builds
        .values()
        .filter(|build| build.stage.name() == "published")
        .flat_map(|build| build.packages.iter().map(|package| package.href.clone()))
        .collect();
    expected.sort();
    let listed = Repository::new(&world.http, BASE).check_everything();
    assert_eq!(
        listed
            .iter()
            .map(|package| package.href.clone())
            .collect::<Vec<_>>(),
        expected
    );
    for wanted in [
        "tally-2.0.1-1.x86_64",
        "tally-stopwords-2.0.1-1.noarch",
        "libtally-1.2.0-1.x86_64",
        "libtally-devel-1.2.0-1.x86_64",
    ] {
        assert!(
            expected
                .iter()
                .any(|href| href.ends_with(&format!("/{wanted}.rpm"))),
            "{wanted} is not in {expected:?}"
        );
    }
    let held = &story.builds[packages::CLOCKWORK].packages[0];
    assert_eq!(world.http.get(&format!("{BASE}/{}", held.href)).status, 404);
}

#[test]
fn signing_changes_the_signature_header_and_nothing_else() {
    require!(BUILDING);
    let story = &*STORY;
    let world = story.world.watch();
    for (name, build) in story
        .builds
        .iter()
        .filter(|(_, build)| build.stage.name() == "published")
    {
        for package in &build.packages {
            let unsigned = std::fs::read(story.folders[name].join(package.nevra.file_name()))
                .expect("it was built");
            let signed = world.http.fetch(&format!("{BASE}/{}", package.href));
            let (before, after) = (
                Head::parse(&unsigned).expect("an RPM"),
                Head::parse(&signed).expect("an RPM"),
            );
            assert_eq!(
                before.header_digest(),
                after.header_digest(),
                "{}",
                package.nevra
            );
            assert_eq!(before.lead(), after.lead());
            let payload =
                |head: &Head| usize::try_from(head.payload_offset()).expect("it is small");
            assert!(
                unsigned[payload(&before)..] == signed[payload(&after)..],
                "payload of {}",
                package.nevra
            );
            assert_ne!(unsigned, signed);
        }
    }
}

/// Installs `tally`: its library comes with it, and so does its weak dependency.
fn installs_tally(client: Client) {
    let story = &*STORY;
    let world = story.world.watch();
    let keys = String::from_utf8(world.http.fetch("/keys/RPM-GPG-KEY")).expect("text");
    let wanted = Installation {
        base_url: &world.http.url(BASE),
        key: &keys,
        key_url: Some(&world.http.url("/keys/RPM-GPG-KEY")),
        check_metadata: true,
        package: "tally",
    };
    let expected = [
        "libtally-1.2.0-1.x86_64",
        "tally-2.0.1-1.x86_64",
        "tally-stopwords-2.0.1-1.noarch",
    ];
    let outcome = client.install(&world, &wanted);
    assert_eq!(
        outcome,
        Outcome::Installed(expected.map(str::to_owned).to_vec()),
        "{client:?}"
    );
    eprintln!(
        "{client:?} ({}) installed {}",
        client.version(&world),
        expected.join(", ")
    );
}

#[test]
fn dnf5_installs_tally_with_its_library_and_its_weak_dependency() {
    require!(BUILDING, Client::Dnf5.needs());
    installs_tally(Client::Dnf5);
}

#[test]
fn dnf4_installs_tally_with_its_library_and_its_weak_dependency() {
    require!(BUILDING, Client::Dnf4.needs());
    installs_tally(Client::Dnf4);
}

#[test]
fn zypper_installs_tally_with_its_library_and_its_weak_dependency() {
    require!(BUILDING, Client::Zypper.needs());
    installs_tally(Client::Zypper);
}

#[test]
fn this_machines_dnf4_installs_tally_with_its_library_and_its_weak_dependency() {
    require!(BUILDING, Client::HostDnf4.needs());
    installs_tally(Client::HostDnf4);
}

#[test]
fn this_machines_zypper_installs_tally_with_its_library_and_its_weak_dependency() {
    require!(BUILDING, Client::HostZypper.needs());
    installs_tally(Client::HostZypper);
}

/// Fetches all published packages and the keys into a new folder; the names of the packages.
fn download(world: &World, folder: &Path) -> Vec<String> {
    let repository = Repository::new(&world.http, BASE);
    std::fs::write(
        folder.join("keys.asc"),
        world.http.fetch("/keys/RPM-GPG-KEY"),
    )
    .expect("it is ours");
    let names = repository.packages().into_iter().map(|package| {
        let name = package
            .href
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        std::fs::write(
            folder.join(&name),
            world.http.fetch(&repository.path(&package.href)),
        )
        .expect("it is ours");
        name
    });
    names.collect()
}

/// rpmkeys with all checks demanded accepts every package and, without our key, none.
fn rpm_verifies(
    folder: &Path,
    place: &str,
    names: &[String],
    run: impl Fn(&[&str]) -> (bool, String),
) {
    let database = format!("{place}/rpmdb");
    std::fs::create_dir(folder.join("rpmdb")).expect("it is ours");
    let level = ["--define", "_pkgverify_level all"];
    let files: Vec<_> = names.iter().map(|name| format!("{place}/{name}")).collect();
    let verify: Vec<&str> = ["rpmkeys", "--dbpath", &database]
        .into_iter()
        .chain(level)
        .chain(["-K", "-v"])
        .chain(files.iter().map(String::as_str))
        .collect();
    let (good, words) = run(&verify);
    assert!(!good, "accepted without the key: {words}");
    let (imported, words) = run(&[
        "rpmkeys",
        "--dbpath",
        &database,
        "--import",
        &format!("{place}/keys.asc"),
    ]);
    assert!(imported, "{words}");
    let (good, words) = run(&verify);
    assert!(good, "{words}");
    let signed = words
        .lines()
        .filter(|line| line.contains("ignature") && line.ends_with(": OK"))
        .count();
    assert!(signed >= names.len(), "{words}");
    assert!(
        !words.contains("NOTFOUND") && !words.contains("BAD"),
        "{words}"
    );
}

fn outcome(command: &mut std::process::Command) -> (bool, String) {
    let output = command.output().expect("it runs");
    let words = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&words).into_owned(),
    )
}

#[test]
fn rpm_4_verifies_every_signature_with_all_checks_on() {
    require!(BUILDING, [Need::Program("rpmkeys")]);
    let world = STORY.world.watch();
    let folder = world.new_dir("rpm4");
    let names = download(&world, &folder);
    rpm_verifies(
        &folder,
        folder.to_str().expect("UTF-8"),
        &names,
        |arguments| outcome(process::command(arguments[0]).args(&arguments[1..])),
    );
}

#[test]
fn rpm_6_verifies_every_signature_with_all_checks_on() {
    require!(BUILDING, [Need::InClientRoot("rpmkeys"), Need::Root]);
    let world = STORY.world.watch();
    let folder = world.new_dir("rpm6");
    let names = download(&world, &folder);
    rpm_verifies(&folder, "/mnt/client", &names, |arguments| {
        outcome(&mut in_client_root(&folder, arguments))
    });
}

#[test]
fn gnupg_verifies_the_detached_signatures_of_packages_and_metadata() {
    require!(BUILDING, [Need::Program("gpg"), Need::Program("gpgv")]);
    let world = STORY.world.watch();
    let scratch = world.new_dir("gnupg");
    let key =
        |name: &str| String::from_utf8(world.http.fetch(&format!("/keys/{name}"))).expect("text");
    let (for_packages, for_metadata) = (key("RPM-GPG-KEY-packages"), key("RPM-GPG-KEY-metadata"));
    let repository = Repository::new(&world.http, BASE);
    for package in repository.packages() {
        let path = repository.path(&package.href);
        let (data, signature) = (
            world.http.fetch(&path),
            world.http.fetch(&format!("{path}.asc")),
        );
        gpgv(&scratch, &for_packages, &signature, &data).expect("a good signature");
        let mut changed = data;
        changed[200] ^= 1;
        gpgv(&scratch, &for_packages, &signature, &changed).expect_err("a changed package");
    }
    let repomd = repository.repomd();
    let signature = world
        .http
        .fetch(&repository.path("repodata/repomd.xml.asc"));
    gpgv(&scratch, &for_metadata, &signature, &repomd).expect("a good signature");
    gpgv(&scratch, &for_packages, &signature, &repomd)
        .expect_err("the package key does not sign metadata");
}
