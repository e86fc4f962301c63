//! Clients are sent to the mirrors that are near: by netblock, autonomous system, country and continent, as MaxMind DB files
//! and the operators of mirrors tell; private mirrors are for their own; preferred ones come first, and weight shares
//! clients out. Asked for over HTTP, from many addresses of this machine.

use super::truth::{PLACE, SETTINGS, copy, publish, register};
use hallmark_tests::nginx::{NGINX, Nginx};
use hallmark_tests::tools::Need;
use hallmark_tests::{Options, World, process, require};
use repo_model::wire::mirrors::{Health, MirrorStatus};
use std::net::Ipv4Addr;
use std::path::Path;

/// Mirrors, and what their operators say of them.
const MIRRORS: [(&str, &[&str]); 8] = [
    ("norway", &["--country", "NO"]),
    ("preferred", &["--country", "NO", "--preferred"]),
    ("sweden", &["--country", "SE"]),
    ("system", &["--country", "JP", "--asn", "64500"]),
    ("block", &["--country", "JP", "--netblock", "127.0.0.9/32"]),
    (
        "campus",
        &[
            "--country",
            "NO",
            "--netblock",
            "127.0.0.10/32",
            "--private",
        ],
    ),
    ("heavy", &["--country", "BR", "--weight", "900"]),
    ("light", &["--country", "BR", "--weight", "100"]),
];

fn world(dir: &Path) -> World {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/make-mmdb.py");
    let make = |kind: &str, blocks: &[&str]| {
        let file = dir.join(format!("{kind}.mmdb"));
        process::run(process::command(&script).arg(kind).arg(&file).args(blocks));
        file.display().to_string()
    };
    let countries = make("country", &["127.0.0.3/32=NO", "127.0.0.4/32=NO"]);
    let systems = make("asn", &["127.0.0.4/32=64500"]);
    let settings = format!("{SETTINGS}country_db = \"{countries}\"\nasn_db = \"{systems}\"\n");
    let world = World::start(&Options {
        // Settings are those of a whole test.
        server_settings: settings.leak(),
        ..Options::no_rebuilds()
    });
    publish(&world, "1.0");
    world
}

/// Names of the mirrors in an answer, in its order; the server itself is left out.
fn names(answer: &str, nginx: &Nginx) -> Vec<String> {
    let lines = answer.lines();
    let ours = lines.filter_map(|line| line.strip_prefix(&format!("{}/", nginx.url())));
    let names = ours.filter_map(|rest| rest.strip_suffix(&format!("/{PLACE}/")));
    names.map(str::to_owned).collect()
}

#[test]
fn clients_are_sent_to_what_is_near_by_address_files_and_wish() {
    require!(NGINX, [Need::Program("python3")]);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let world = world(dir.path());
    let _watch = world.watch();
    let keys = world.new_dir("keys").join("RPM-GPG-KEY");
    std::fs::write(&keys, world.http.fetch("/keys/RPM-GPG-KEY")).expect("the folder is ours");
    let root = world.new_dir("mirrors");
    copy(&world, &keys, &root.join("norway"));
    let nginx = Nginx::serve(&root);
    for (name, more) in MIRRORS {
        if name != "norway" {
            std::os::unix::fs::symlink("norway", root.join(name)).expect("the folder is ours");
        }
        register(&world, name, &format!("{}/{name}", nginx.url()), more);
    }
    world.until("all mirrors are listed", || {
        let all: Vec<MirrorStatus> = world.http.get_json("/api/v1/mirrors");
        let listed = all.iter().filter(|one| one.health == Health::Listed);
        match listed.count() {
            count if count == MIRRORS.len() => Ok(()),
            _ => Err(format!("{all:?}")),
        }
    });

    let list = |from: [u8; 4], query: &str| {
        let path = format!("/{PLACE}/mirrorlist{query}");
        names(
            &world.http.get_from(Ipv4Addr::from(from), &path).text(),
            &nginx,
        )
    };
    // The country by the file, preferred ones first, then the continent.
    let norwegian = list([127, 0, 0, 3], "");
    assert_eq!(norwegian[..3], ["preferred", "norway", "sweden"]);
    assert_eq!(norwegian.len(), MIRRORS.len() - 1, "one is private");
    assert!(!norwegian.contains(&"campus".to_owned()));
    // The network before the country; the address before both.
    assert_eq!(
        list([127, 0, 0, 4], "")[..3],
        ["system", "preferred", "norway"]
    );
    assert_eq!(list([127, 0, 0, 9], "")[0], "block");
    // A private mirror is for its own, and for nobody else.
    let own = list([127, 0, 0, 10], "?country=NO");
    assert_eq!(own[..3], ["campus", "preferred", "norway"]);
    // Where a client says that it is, counts more than what files say.
    assert_eq!(list([127, 0, 0, 3], "?country=SE")[0], "sweden");
    assert!(list([127, 0, 0, 3], "?protocol=https").is_empty());

    // Weight shares networks out, and a network is sent to the same one each time.
    let first = |third: u8, last: u8| {
        let mut all = list([127, 1, third, last], "?country=BR");
        all.swap_remove(0)
    };
    let firsts: Vec<String> = (0..100).map(|network| first(network, 1)).collect();
    let heavy = firsts.iter().filter(|name| *name == "heavy").count();
    assert!((80..=98).contains(&heavy), "{heavy} of 100");
    for network in (0..100).step_by(9) {
        assert_eq!(first(network, 200), firsts[usize::from(network)]);
    }

    // The metalink says the same, with falling preferences and the server last.
    let path = format!("/{PLACE}/metalink.xml");
    let metalink = world
        .http
        .get_from(Ipv4Addr::new(127, 0, 0, 3), &path)
        .text();
    let at = |name: &str| {
        let url = format!("{}/{name}/{PLACE}/", nginx.url());
        metalink
            .find(&url)
            .unwrap_or_else(|| panic!("{name} is not in {metalink}"))
    };
    assert!(at("preferred") < at("norway") && at("norway") < at("sweden"));
    let origin = metalink.find(&format!("{}/r/", world.url()));
    assert!(
        origin.is_some_and(|origin| origin > at("sweden")),
        "{metalink}"
    );
    assert!(
        !metalink.contains("campus") && !metalink.contains("md5"),
        "{metalink}"
    );
}
