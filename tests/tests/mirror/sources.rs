//! Repositories of others as upstreams: laid out as Fedora's, openSUSE's and Pulp's, flat ones, and what `dnf5 reposync`
//! leaves behind. Their copies are whole, follow them by one request, and clients install from them.

use crate::{BASE, PACKAGE, STORY, Story, clients, text};
use hallmark_tests::clients::Client;
use hallmark_tests::nginx::{NGINX, Nginx};
use hallmark_tests::tools::{BUILDING, Need};
use hallmark_tests::{Repository, process, require, tools};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How somebody lays a repository out.
struct Layout {
    name: &'static str,
    /// Where a file of this name goes.
    place: fn(&str) -> String,
    createrepo: &'static [&'static str],
    /// Files that are there besides.
    besides: &'static [&'static str],
}

fn by_letter(name: &str) -> String {
    format!("Packages/{}/{name}", &name[..1])
}

fn by_architecture(name: &str) -> String {
    let arch = name.trim_end_matches(".rpm").rsplit('.').next();
    format!("{}/{name}", arch.unwrap_or("noarch"))
}

const LAYOUTS: [Layout; 4] = [
    Layout {
        name: "flat",
        place: str::to_owned,
        createrepo: &["--general-compress-type=gz"],
        besides: &[],
    },
    Layout {
        name: "fedora",
        place: by_letter,
        createrepo: &["--general-compress-type=zstd", "--zck", "--database"],
        besides: &["media.repo", "EULA"],
    },
    Layout {
        name: "opensuse",
        place: by_architecture,
        createrepo: &["--general-compress-type=gz", "--checksum=sha512"],
        besides: &["repodata/repomd.xml.key", "media.1/media"],
    },
    // Names of metadata that hold no digest mean another file after each publish.
    Layout {
        name: "pulp",
        place: by_letter,
        createrepo: &["--general-compress-type=gz", "--simple-md-filenames"],
        besides: &["config.repo"],
    },
];

/// The packages of our own repository, laid out so.
fn foreign_repository(story: &Story, layout: &Layout) -> PathBuf {
    let root = story.world.new_dir(&format!("foreign-{}", layout.name));
    let http = &story.world.http;
    let repository = Repository::new(http, BASE);
    for package in repository.packages() {
        let name = package.href.rsplit('/').next().expect("it has a name");
        let bytes = http.fetch(&repository.path(&package.href));
        put(&root.join((layout.place)(name)), &bytes);
    }
    let mut createrepo = in_client_root(&root);
    createrepo.args(["createrepo_c", "--quiet"]);
    process::run(createrepo.args(layout.createrepo).arg("/mnt/t"));
    for name in layout.besides {
        put(&root.join(name), b"something of theirs");
    }
    root
}

/// A command among the newest clients, where `root` is /mnt/t; what it is comes next.
fn in_client_root(root: &Path) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/in-forky.sh");
    let mut command = process::command(script);
    command.arg("--bind").arg(root).arg("/mnt/t");
    command.arg(tools::client_root());
    command
}

fn put(path: &Path, bytes: &[u8]) {
    let folder = path.parent().expect("it is below the root");
    std::fs::create_dir_all(folder).expect("the folder is ours");
    std::fs::write(path, bytes).expect("the folder is ours");
}

/// Copies a repository and follows it; its copy, which clients can install from.
fn copy_of(story: &Story, name: &str, upstream: &Path) -> PathBuf {
    let nginx = Nginx::serve(upstream);
    let copy = story.world.dir().join(format!("copy-{name}"));
    let sync = ["--no-verify-signature", &nginx.url(), text(&copy)];
    story.sync(&sync);
    let check = ["repo", "check", "--packages", "all", text(&copy)];
    story.world.hallmark_ok(&check);
    nginx.take_requests();
    let again = story.sync(&sync);
    assert!(again.starts_with("nothing new"), "{name}: {again}");
    let asked = nginx.take_requests();
    assert_eq!(asked, [("/repodata/repomd.xml".to_owned(), 304)], "{name}");
    copy
}

fn clients_install_from(story: &Story, copy: &Path) {
    let nginx = Nginx::serve(copy);
    // zypper asks about what nobody signed.
    let clients = clients().into_iter();
    for client in clients.filter(|client| *client != Client::Zypper) {
        story.installs(client, &nginx.url(), false);
    }
}

#[test]
fn repositories_as_others_lay_them_out_are_copied_and_installed_from() {
    require!(
        BUILDING,
        NGINX,
        [Need::InClientRoot("createrepo_c")],
        Client::Dnf5.needs(),
        Client::Dnf4.needs()
    );
    let story = &*STORY;
    let _watch = story.world.watch();
    for layout in &LAYOUTS {
        let upstream = foreign_repository(story, layout);
        let copy = copy_of(story, layout.name, &upstream);
        assert!(
            !copy.join("repodata/repomd.xml.key").exists(),
            "nobody gave that key"
        );
        clients_install_from(story, &copy);
    }
}

#[test]
fn what_dnf5_reposync_left_behind_is_an_upstream_and_becomes_a_copy_where_it_lies() {
    require!(BUILDING, NGINX, Client::Dnf5.needs());
    let story = &*STORY;
    let _watch = story.world.watch();
    let root = story.world.new_dir("reposync");
    let tree = root.join("tree");
    std::fs::create_dir(&tree).expect("the folder is ours");
    let url = format!("{}{BASE}", story.world.url());
    let mut reposync = in_client_root(&root);
    reposync.args([
        "dnf5",
        &format!("--repofrompath=theirs,{url}"),
        "--repo=theirs",
        "--setopt=reposdir=/nonexistent",
        "--setopt=cachedir=/mnt/t/.cache",
        "--setopt=system_cachedir=/mnt/t/.cache",
        "--setopt=theirs.gpgcheck=0",
        "--setopt=theirs.pkg_gpgcheck=0",
        "reposync",
        "--download-metadata",
        "--norepopath",
        "--download-path=/mnt/t/tree",
    ]);
    process::run(&mut reposync);
    let copy = copy_of(story, "reposynced", &tree);
    clients_install_from(story, &copy);

    // Going on from there with us fetches no package again, and brings what reposync left out.
    let report = root.join("report.json");
    let keys = ["--key", text(&story.keys)];
    let sync = ["--report", text(&report), &url, text(&tree)];
    story.sync(&[&keys[..], &sync].concat());
    let report = std::fs::read(report).expect("it was written");
    let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
    let files = report["files"].as_array().expect("a list");
    let is_package = |file: &&serde_json::Value| {
        let path = file["path"].as_str();
        path.is_some_and(|path| path.ends_with(".rpm"))
    };
    let actions: Vec<_> = files
        .iter()
        .filter(is_package)
        .map(|file| file["action"].as_str().expect("a word"))
        .collect();
    assert!(actions.len() > 1, "{PACKAGE} and what it needs: {files:?}");
    assert!(
        actions.iter().all(|action| *action == "adopted"),
        "{actions:?}"
    );
    story
        .world
        .hallmark_ok(&["mirror", "verify", keys[0], keys[1], text(&tree)]);
}
