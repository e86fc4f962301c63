//! zchunk with a real dnf5: after a change it fetches the chunks that it lacks and nothing else, from a plain web server and from
//! ours. Debian's dnf5 opens no such file, so it runs with two libraries that `make test-zchunk` builds first.

use crate::fronted::front;
use crate::text;
use hallmark_tests::clients::{self, Client};
use hallmark_tests::nginx::{NGINX, Nginx, Transfer};
use hallmark_tests::packages::crafted::binary;
use hallmark_tests::tools::{BUILDING, client_root};
use hallmark_tests::{process, require};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const PACKAGES: usize = 4_000;
/// Names of the libraries, in `lib` of what `tests/lab/make-zchunk-dnf.sh` makes.
const LIBRARIES: [&str; 3] = ["librepo.so.0", "libsolvext.so.1", "zchunk-cachedir.so"];
const LISTS: [&str; 3] = ["primary", "filelists", "other"];

/// Writes a package that has as much to say as most.
fn add(root: &Path, number: usize) {
    let name = format!("p{:05}", number * 7_919 % 100_000);
    let mut package = binary(&name, "1.0");
    for file in 0..6 {
        package = package.file(&format!("/opt/{name}/{}", file * 7 + number), b"x");
    }
    std::fs::write(root.join(format!("{name}.rpm")), package.bytes()).expect("the folder is ours");
}

fn createrepo(root: &Path, more: &[&str]) {
    let mut command = process::command(process::binary("hallmark"));
    let state = root.with_extension("state");
    command.args(["createrepo", "--quiet", "--zck", "--cachedir", text(&state)]);
    process::run(command.args(more).arg(root));
}

/// Sizes of the zchunk files in place, by the list that they are of.
fn sizes(root: &Path) -> BTreeMap<&'static str, u64> {
    let size = |list: &str| {
        let files = std::fs::read_dir(root.join("repodata")).expect("it was made");
        let paths = files.map(|file| file.expect("an entry").path());
        let ending = format!("-{list}.xml.zck");
        let mut found = paths.filter(|path| text(path).ends_with(&ending));
        let path = found.next().expect("there is one");
        assert_eq!(found.next(), None, "{ending} is there twice");
        path.metadata().expect("it is there").len()
    };
    LISTS.map(|list| (list, size(list))).into()
}

/// dnf5 with zchunk, and what it keeps.
struct Dnf {
    dir: PathBuf,
}

impl Dnf {
    fn new(dir: PathBuf, url: &str) -> Self {
        for folder in ["lib", "cache", "log", "root/etc/yum.repos.d"] {
            std::fs::create_dir_all(dir.join(folder)).expect("the folder is ours");
        }
        let made = client_root().with_file_name("zchunk-dnf/lib");
        for name in LIBRARIES {
            std::fs::copy(made.join(name), dir.join("lib").join(name))
                .unwrap_or_else(|error| panic!("{name} of make test-zchunk: {error}"));
        }
        let repository = format!("[world]\nname=world\nbaseurl={url}\nenabled=1\ngpgcheck=0\n");
        std::fs::write(dir.join("root/etc/yum.repos.d/world.repo"), repository)
            .expect("the folder is ours");
        std::fs::write(
            dir.join("root/etc/dnf.conf"),
            "[main]\nplugins=0\nretries=1\ntimeout=20\nzchunk=1\nskip_if_unavailable=0\n\
             optional_metadata_types=filelists,other\n",
        )
        .expect("the folder is ours");
        Self { dir }
    }

    fn run(&self, arguments: &[&str]) -> String {
        let place = "/mnt/client";
        let fixed = [
            "env".to_owned(),
            format!("LD_LIBRARY_PATH={place}/lib"),
            format!("LD_PRELOAD={place}/lib/zchunk-cachedir.so"),
            format!("HALLMARK_ZCHUNK_CACHE={place}/cache"),
            "dnf5".to_owned(),
            format!("--installroot={place}/root"),
            format!("--config={place}/root/etc/dnf.conf"),
            format!("--setopt=reposdir={place}/root/etc/yum.repos.d"),
            format!("--setopt=cachedir={place}/cache"),
            format!("--setopt=system_cachedir={place}/cache"),
            format!("--setopt=logdir={place}/log"),
            "--releasever=1".to_owned(),
        ];
        let fixed = fixed.iter().map(String::as_str);
        let all: Vec<&str> = fixed.chain(arguments.iter().copied()).collect();
        process::run(&mut clients::in_client_root(&self.dir, &all))
    }

    /// Fetches what is new, and counts the packages that libsolv reads in it; of a path that only filelists have, too.
    fn sees(&self) -> usize {
        self.run(&["--refresh", "makecache"]);
        let names = self.run(&["-C", "repoquery", "--queryformat=%{name}\n"]);
        let file = [
            "-C",
            "repoquery",
            "--queryformat=%{name}\n",
            "--file=/usr/share/p0*",
        ];
        assert!(self.run(&file).lines().any(|line| line.starts_with("p0")));
        names.lines().filter(|line| line.starts_with('p')).count()
    }
}

/// What came of each list; whatever else was fetched is a fault.
fn came(transfers: &[Transfer]) -> BTreeMap<&'static str, u64> {
    let mut came = BTreeMap::new();
    for transfer in transfers {
        let path = &transfer.path;
        if path.ends_with("/repomd.xml") {
            continue;
        }
        let list = LISTS
            .into_iter()
            .find(|list| path.ends_with(&format!("-{list}.xml.zck")));
        let list = list.unwrap_or_else(|| panic!("{path} was fetched: {transfers:#?}"));
        assert_eq!(transfer.status, 206, "{transfer:?}");
        assert!(transfer.range.is_some(), "{transfer:?}");
        *came.entry(list).or_default() += transfer.sent_bytes;
    }
    came
}

/// Follows the repository through one more package; `log` is nginx between dnf and whoever serves.
fn follow(root: &Path, dnf: &Dnf, log: &Nginx, more: usize, before: usize) {
    log.take_transfers();
    assert_eq!(dnf.sees(), before);
    let first = came(&log.take_transfers());
    for (list, size) in sizes(root) {
        // Header and chunks: all of it, once.
        assert!(
            first[list] >= size && first[list] < size + 2_000,
            "{list}: {first:?}, {size}"
        );
    }
    add(root, more);
    createrepo(root, &["--update"]);
    assert_eq!(dnf.sees(), before + 1);
    let transfers = log.take_transfers();
    let second = came(&transfers);
    for (list, size) in sizes(root) {
        let bytes = second[list];
        eprintln!("{list}: {bytes} of {size} bytes came after one package more");
        assert!(
            bytes * 5 < size,
            "{list}: {bytes} of {size} bytes: {transfers:#?}"
        );
    }
    // Chunks that do not stand side by side come in one answer.
    let is_several = |one: &Transfer| {
        one.range
            .as_deref()
            .is_some_and(|range| range.contains(','))
    };
    assert!(transfers.iter().any(is_several), "{transfers:#?}");
    // Nothing changed: nothing but the pointer is asked for.
    dnf.sees();
    assert_eq!(came(&log.take_transfers()), BTreeMap::new());
}

#[test]
#[ignore = "wants librepo and libsolv with zchunk: make test-zchunk builds them and runs this"]
fn dnf5_fetches_the_chunks_that_changed_from_nginx_and_from_our_server() {
    require!(BUILDING, NGINX, Client::Dnf5.needs());
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let root = temporary.path().join("repository");
    std::fs::create_dir(&root).expect("the folder is ours");
    for number in 0..PACKAGES {
        add(&root, number);
    }
    createrepo(&root, &[]);

    let nginx = Nginx::serve(&root);
    let dnf = Dnf::new(temporary.path().join("dnf-nginx"), &nginx.url());
    follow(&root, &dnf, &nginx, PACKAGES, PACKAGES);

    // Our server, which hands on what nginx has; nginx once more, before it, writes the log.
    let front = front(&[("chunked", &nginx.url(), "verify_signature = false")]);
    let _watch = front.watch();
    let before = Nginx::before(&front.url());
    let url = format!("{}/upstream/chunked", before.url());
    let dnf = Dnf::new(temporary.path().join("dnf-ours"), &url);
    follow(&root, &dnf, &before, PACKAGES + 1, PACKAGES + 1);
}
