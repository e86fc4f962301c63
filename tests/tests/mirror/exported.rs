//! `hallmark export`: the server's tree as files, behind nginx and copied by rsync, checked with stock tools; and
//! exports that are killed while channels move.

use crate::{BASE, PACKAGE, STORY, clients, text};
use hallmark_tests::clients::Client;
use hallmark_tests::nginx::{NGINX, Nginx};
use hallmark_tests::packages::crafted::Crafted;
use hallmark_tests::repository::metadata_files;
use hallmark_tests::tools::{BUILDING, Need};
use hallmark_tests::{Options, Repository, World, process, require};
use repo_model::FileDigest;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

const KILLS: u32 = 50;
const RSYNC: &[Need] = &[Need::Program("rsync")];
const STOCK: &[Need] = &[
    Need::Program("sha256sum"),
    Need::Program("gpgv"),
    Need::Program("gpg"),
];

/// Copies as mirror operators do: packages first, then metadata.
fn rsync(from: &Path, to: &Path) {
    let from = format!("{}/", from.display());
    for more in [&["--exclude", "repodata"][..], &["--delete-after"]] {
        let mut rsync = process::command("rsync");
        rsync.args(["-aH", "--exclude", ".hallmark"]).args(more);
        process::run(rsync.arg(&from).arg(to));
    }
}

fn verify(world: &World, keys: &Path, tree: &Path) -> (Option<i32>, String) {
    let output = world.hallmark(&["mirror", "verify", "--key", text(keys), text(tree)]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), said)
}

/// Files below a directory, ours left out.
fn files(root: &Path) -> BTreeSet<PathBuf> {
    let mut open = vec![root.to_owned()];
    let mut found = BTreeSet::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("it is readable") {
            let path = entry.expect("it is readable").path();
            if path.file_name().is_some_and(|name| name == ".hallmark") {
                continue;
            }
            match path.is_dir() {
                true => open.push(path),
                false => {
                    found.insert(path);
                }
            }
        }
    }
    found
}

#[test]
fn an_export_is_served_by_nginx_and_every_name_is_what_the_server_serves() {
    require!(BUILDING, NGINX, Client::Dnf5.needs(), Client::Dnf4.needs());
    let story = &*STORY;
    let world = &story.world;
    let _watch = world.watch();
    let tree = world.dir().join("exported");
    let said = world.hallmark_ok(&["export", text(&tree)]);
    assert!(said.contains(" placed, "), "{said}");
    let exported = files(&tree);
    for path in &exported {
        let below = path.strip_prefix(&tree).expect("it is below");
        let bytes = std::fs::read(path).expect("it is readable");
        if below.ends_with("metalink.xml") {
            // The server's also names mirrors and earlier releases; this one leads to what lies beside it.
            let repomd = path.with_file_name("repodata").join("repomd.xml");
            let digest = FileDigest::of(&std::fs::read(repomd).expect("it is beside")).to_hex();
            assert!(String::from_utf8_lossy(&bytes).contains(&digest));
            continue;
        }
        let served = world.http.fetch(&format!("/{}", below.display()));
        if below.ends_with("evidence.tar.zst") {
            // The log goes on.
            continue;
        }
        assert!(bytes == served, "{} is not what is served", below.display());
    }
    let package = Repository::new(&world.http, BASE)
        .package(PACKAGE)
        .expect("it is published");
    let name = format!("{}{}", tree.display(), BASE);
    for ending in [
        ".asc",
        ".vsa.json",
        ".cdx.json",
        ".sigstore.json",
        ".tlog-proof",
    ] {
        let beside = PathBuf::from(format!("{name}/{}{ending}", package.href));
        assert!(exported.contains(&beside), "{}", beside.display());
    }
    assert_lists_what_is_there(Path::new(&name));
    let links = std::fs::metadata(Path::new(&name).join(&package.href)).expect("it is there");
    assert!(
        links.nlink() >= 3,
        "object, channel and release are one file"
    );

    // SBOMs of the whole release may come minutes after it.
    world.until("there is nothing new", || {
        let again = world.hallmark_ok(&["export", text(&tree)]);
        match again.starts_with("nothing new") {
            true => Ok(()),
            false => Err(again),
        }
    });

    let nginx = Nginx::serve(&tree);
    for client in clients() {
        story.installs(client, &format!("{}{BASE}", nginx.url()), true);
    }
}

/// The signed list of SBOMs of a copied repository, read as whoever has nothing but the copy reads it: every document
/// that it names about a package or a build lies there, and has the digest that it names.
fn assert_lists_what_is_there(repository: &Path) {
    let read = |path: &str| std::fs::read(repository.join(path)).expect("it was copied");
    let repomd = String::from_utf8(read("repodata/repomd.xml")).expect("XML");
    let mut records = metadata_files(&repomd).into_iter();
    let record = records.find(|file| file.kind == "sbom").expect("a list");
    let packed = read(&record.href);
    assert_eq!(FileDigest::of(&packed), record.digest);
    let list = zstd::decode_all(packed.as_slice()).expect("zstd");
    let list: serde_json::Value = serde_json::from_slice(&list).expect("JSON");
    for (part, least) in [("entry", 2), ("build", 2)] {
        let listed = list["feed"][part].as_array().expect("a list");
        assert!(listed.len() >= least, "{part}: {listed:?}");
        for link in listed
            .iter()
            .flat_map(|one| one["link"].as_array().expect("links"))
        {
            let href = link["href"].as_str().expect("a path");
            // Relative to the folder of the list, where a server shows it unpacked.
            let path = match href.strip_prefix("../") {
                Some(path) => path.to_owned(),
                None => format!("sbom/{href}"),
            };
            let document = read(&path);
            assert_eq!(
                link["sha256"],
                FileDigest::of(&document).to_string(),
                "{path}"
            );
        }
    }
}

#[test]
fn a_copy_by_rsync_is_checked_offline_by_us_and_by_stock_tools() {
    require!(BUILDING, RSYNC, STOCK);
    let story = &*STORY;
    let world = &story.world;
    let _watch = world.watch();
    let (tree, copy) = (world.dir().join("for-rsync"), world.dir().join("rsynced"));
    world.hallmark_ok(&["export", "--channel", "preview", text(&tree)]);
    rsync(&tree, &copy);
    let (code, said) = verify(world, &story.keys, &copy);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("manifest: ") && said.contains("signature good, release "),
        "{said}"
    );

    let repository = copy.join(&BASE[1..]);
    assert_lists_what_is_there(&repository);
    let sums = repository.join("repodata/SHA256SUMS");
    let ring = world.dir().join("rsync-keys.gpg");
    process::run(process::command("gpg").args([
        "--batch",
        "--yes",
        "--homedir",
        text(&world.new_dir("rsync-gnupg")),
        "--output",
        text(&ring),
        "--dearmor",
        text(&story.keys),
    ]));
    let signature = repository.join("repodata/SHA256SUMS.asc");
    process::run(process::command("gpgv").args([
        "--keyring",
        text(&ring),
        text(&signature),
        text(&sums),
    ]));
    let check = || {
        let mut check = process::command("sha256sum");
        check.current_dir(&repository);
        check.args(["--check", "--strict", "repodata/SHA256SUMS"]);
        check
    };
    let said = process::run(&mut check());
    assert!(said.contains("repodata/repomd.xml.asc: OK"), "{said}");

    let package = Repository::new(&world.http, BASE)
        .package(PACKAGE)
        .expect("it is published");
    let place = repository.join(&package.href);
    let bytes = std::fs::read(&place).expect("it was copied");
    std::fs::remove_file(&place).expect("the folder is ours");
    std::fs::write(repository.join("Packages/stranger.rpm"), "x").expect("likewise");
    let (code, said) = verify(world, &story.keys, &copy);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(&format!("missing: {}", package.href)),
        "{said}"
    );
    assert!(said.contains("extra: Packages/stranger.rpm"), "{said}");
    let mut changed = bytes.clone();
    changed[200] ^= 1;
    std::fs::write(&place, changed).expect("the folder is ours");
    let (code, said) = verify(world, &story.keys, &copy);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(&format!("differs: {}", package.href)),
        "{said}"
    );
    assert!(!check().output().expect("it runs").status.success());
    std::fs::write(&place, bytes).expect("the folder is ours");
    // A manifest that somebody wrote himself.
    let forged = std::fs::read_to_string(&sums)
        .expect("text")
        .replace("base", "core");
    std::fs::write(&sums, forged).expect("the folder is ours");
    let (code, said) = verify(world, &story.keys, &copy);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("manifest: repodata/SHA256SUMS: "), "{said}");
}

/// What a client that begins now would meet: signed metadata, and all that it names.
fn check_whole(world: &World, keys: &Path, tree: &Path) {
    let (code, said) = verify(world, keys, tree);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn exports_that_are_killed_fifty_times_while_channels_move_end_whole() {
    let world = World::start(&Options::no_rebuilds());
    let world_watch = world.watch();
    let mut releases = Vec::new();
    for version in ["1.0", "2.0", "3.0"] {
        let build = Crafted::new("moving", version).publish(&world.http).build;
        world.until_published(build);
        releases.push(world.channel("preview").to_string());
    }
    let keys = world.new_dir("keys").join("RPM-GPG-KEY");
    std::fs::write(&keys, world.http.fetch("/keys/RPM-GPG-KEY")).expect("the folder is ours");
    let tree = world.dir().join("killed");
    let promote = |release: &str| {
        let output = world.hallmark(&["promote", "--to", "stable", "--release", release]);
        if !output.status.success() {
            world.hallmark_ok(&["rollback", "stable", "--to", release]);
        }
    };
    let mut cut_off = 0;
    // How long an export takes on this machine, learnt from those that ended before they were killed.
    let mut reach = Duration::from_millis(180);
    for kill in 0..KILLS {
        promote(&releases[(kill % 3) as usize]);
        let mut command = process::command(process::binary("hallmark"));
        command.args(["export", "--delete-after", "0", "--config"]);
        command.arg(world.config_file()).arg(&tree);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = child.expect("hallmark starts");
        // From its start to a little after its end, in steps that fall elsewhere each time.
        std::thread::sleep(reach * ((kill * 37) % 100) / 100);
        let ended = child.try_wait().expect("it is our child").is_some();
        reach = if ended {
            reach * 4 / 5
        } else {
            reach * 21 / 20
        };
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
        cut_off += u32::from(!ended);
        if tree.join("preview/base/x86_64/repodata").exists() {
            check_whole(&world, &keys, &tree);
        }
    }
    assert!(
        cut_off * 4 > KILLS,
        "only {cut_off} of {KILLS} exports were cut off"
    );
    let clean = world.dir().join("clean");
    let below = |root: &Path| -> BTreeSet<PathBuf> {
        let all = files(root);
        let below = all
            .iter()
            .map(|path| path.strip_prefix(root).expect("below").to_owned());
        below.collect()
    };
    // SBOMs of the whole release may come minutes after it.
    world.until("both have the same files", || {
        world.hallmark_ok(&["export", "--delete-after", "0", text(&tree)]);
        world.hallmark_ok(&["export", text(&clean)]);
        let (ours, wanted) = (below(&tree), below(&clean));
        let differ: Vec<_> = ours.symmetric_difference(&wanted).collect();
        match differ.is_empty() {
            true => Ok(()),
            false => Err(format!("{differ:?}")),
        }
    });
    check_whole(&world, &keys, &tree);
    drop(world_watch);
}
