//! `hallmark mirror sync` beside `dnf5 reposync` and `dnf reposync`: the same repository, from the same nginx on the
//! loopback, one after the other.
//!
//! ```text
//! cargo bench -p repo-server --bench mirror -- 5000
//! ```
//!
//! Makes that many packages (the distribution of the metadata bench) in `$HALLMARK_BENCH_DIR` or a temporary folder
//! and has each program copy them three times: all, again without a change, again with one package more. dnf5 is
//! that of the client root (`scripts/make-forky.sh`), dnf this machine's with `dnf-plugins-core`; what is missing is
//! left out by name. Ours is the binary in HALLMARK_BIN_DIR, or the one of this bench's profile. Each number is the
//! best of three.

#[path = "../repodata/distribution.rs"]
mod distribution;
#[path = "../repodata/measure.rs"]
mod measure;
#[path = "../repodata/words.rs"]
mod words;

use distribution::Distribution;
use measure::{Cost, run};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The goal of the design for the first copy.
const FIRST_GOAL: f64 = 3.0;
/// What a sync may take of memory.
const PEAK_GOAL_MB: f64 = 150.0;
const REPETITIONS: usize = 3;

fn main() {
    // cargo adds --bench.
    let counts: Vec<usize> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .filter_map(|argument| argument.parse().ok())
        .collect();
    for count in if counts.is_empty() {
        vec![5_000]
    } else {
        counts
    } {
        compare(count);
    }
}

fn compare(count: usize) {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let root = match std::env::var_os("HALLMARK_BENCH_DIR") {
        Some(held) => PathBuf::from(held).join(format!("mirror-{count}")),
        None => temporary.path().to_owned(),
    };
    let bench = Bench::prepare(root, count);
    let server = Server::start(&bench.root);
    say(&format!(
        "\nCopying {count} packages ({} MB) from nginx on the loopback; wall and CPU in seconds, peak memory in MB",
        bench.bytes() >> 20
    ));
    say(&format!(
        "{:<16}{:<22}{:>9}{:>9}{:>9}{:>12}",
        "", "", "wall", "CPU", "peak", "requests"
    ));
    let mut first: Option<f64> = None;
    for copier in copiers(&bench, &server) {
        let costs = bench.measure(&copier, &server);
        for (job, (cost, requests)) in ["all", "no change", "one package more"].iter().zip(&costs) {
            say(&format!(
                "{:<16}{job:<22}{:>9.2}{:>9.2}{:>9.0}{requests:>12}",
                copier.name, cost.wall, cost.cpu, cost.peak_mb
            ));
        }
        let (all, _) = costs[0];
        match (copier.name, first) {
            ("dnf5 reposync", _) => {
                let entering = bench.entering();
                say(&format!(
                    "  {entering:.2} s of each is entering its root, and does not count below"
                ));
                first = Some(all.wall - entering);
            }
            ("hallmark", Some(theirs)) => {
                verdict("faster than dnf5", theirs / all.wall, FIRST_GOAL)
            }
            _ => {}
        }
        if copier.name == "hallmark" {
            verdict("of the memory allowed", PEAK_GOAL_MB / all.peak_mb, 1.0);
            let requests = costs[1].1;
            let word = if requests == 1 { "ok" } else { "MISSED" };
            say(&format!(
                "  {requests} requests when nothing changed, goal 1: {word}"
            ));
        }
    }
    let _ = fs::remove_dir_all(bench.root.join("aside"));
}

fn verdict(what: &str, factor: f64, goal: f64) {
    let word = if factor >= goal { "ok" } else { "MISSED" };
    say(&format!("  {factor:.1} x {what}, goal {goal:.1}: {word}"));
}

#[expect(clippy::print_stdout, reason = "a bench prints its table")]
fn say(line: &str) {
    println!("{line}");
}

/// A repository of `count` packages, and one package that comes later.
struct Bench {
    root: PathBuf,
    distribution: Distribution,
    count: usize,
}

impl Bench {
    fn prepare(root: PathBuf, count: usize) -> Self {
        let distribution = Distribution::new(count + 1);
        fs::create_dir_all(root.join("www")).expect("a folder");
        distribution.write(&root.join("www/Packages"));
        let bench = Self {
            root,
            distribution,
            count,
        };
        bench.publish(false);
        bench
    }

    /// With or without the last package.
    fn publish(&self, with_last: bool) {
        let last = self.distribution.file_name(self.count, 1);
        let place = self.root.join("www/Packages").join(last);
        match with_last {
            true => fs::write(place, self.distribution.package(self.count, 1)).expect("write"),
            false => {
                let _ = fs::remove_file(place);
            }
        }
        run(Command::new(binary())
            .args(["createrepo", "--quiet", "--update", "--skip-stat"])
            .arg(self.root.join("www"))
            .env("HALLMARK_CACHE", self.root.join("cache")));
    }

    fn bytes(&self) -> u64 {
        let entries = fs::read_dir(self.root.join("www/Packages")).expect("it was written");
        entries
            .flatten()
            .filter_map(|entry| Some(entry.metadata().ok()?.len()))
            .sum()
    }

    /// Seconds that it takes to run nothing in the client root; the best of three.
    fn entering(&self) -> f64 {
        let walls = (0..REPETITIONS).map(|_| run(in_forky(&self.root).arg("true")).wall);
        walls.fold(f64::INFINITY, f64::min)
    }

    /// Earlier copies are removed at the end only: ext4 passes over inodes that were freed within some seconds, one by
    /// one, which took longer than all else of a copy that began just after 5,000 files were removed.
    fn put_copy_aside(&self) {
        let copy = self.root.join("copy");
        if copy.exists() {
            let aside = self.root.join("aside");
            fs::create_dir_all(&aside).expect("a folder");
            let number = fs::read_dir(&aside).expect("it was made").count();
            fs::rename(copy, aside.join(number.to_string())).expect("the same file system");
        }
    }

    /// The three jobs; of each the best run, and how many requests it made.
    fn measure(&self, copier: &Copier, server: &Server) -> Vec<(Cost, usize)> {
        let mut best: Vec<(Cost, usize)> = Vec::new();
        for _ in 0..REPETITIONS {
            self.publish(false);
            self.put_copy_aside();
            fs::create_dir(self.root.join("copy")).expect("a folder");
            // What was written before is not to be written back during the run.
            rustix::fs::sync();
            let mut costs = Vec::new();
            for job in 0..3 {
                if job == 2 {
                    self.publish(true);
                }
                server.forget_requests();
                let cost = run(&mut (copier.command)());
                costs.push((cost, server.requests()));
            }
            if best.is_empty() {
                best = costs;
            } else {
                for (best, new) in best.iter_mut().zip(costs) {
                    if new.0.wall < best.0.wall {
                        *best = new;
                    }
                }
            }
        }
        best
    }
}

/// A program that copies.
struct Copier {
    name: &'static str,
    command: Box<dyn Fn() -> Command>,
}

fn copiers(bench: &Bench, server: &Server) -> Vec<Copier> {
    let (root, url) = (bench.root.clone(), server.url.clone());
    let mut copiers = Vec::new();
    if forky().join("usr/bin/dnf5").exists() {
        let (root, url) = (root.clone(), url.clone());
        copiers.push(Copier {
            name: "dnf5 reposync",
            command: Box::new(move || {
                let mut command = in_forky(&root);
                reposync(&mut command, "dnf5", &url, "/mnt/t/copy");
                command
            }),
        });
    } else {
        say("no dnf5: scripts/make-forky.sh makes its root");
    }
    if Path::new("/usr/lib/python3/dist-packages/dnf-plugins/reposync.py").exists() {
        let (root, url) = (root.clone(), url.clone());
        copiers.push(Copier {
            name: "dnf reposync",
            command: Box::new(move || {
                let mut command = Command::new("env");
                command.arg("no_proxy=*");
                reposync(
                    &mut command,
                    "dnf",
                    &url,
                    &root.join("copy").display().to_string(),
                );
                command
            }),
        });
    } else {
        say("no dnf reposync: scripts/install-deps.sh bench installs it");
    }
    copiers.push(Copier {
        name: "hallmark",
        command: Box::new(move || {
            let mut command = Command::new(binary());
            command.args(["mirror", "sync", "--no-verify-signature", &url]);
            command.arg(root.join("copy"));
            command
        }),
    });
    copiers
}

fn forky() -> PathBuf {
    let cache = std::env::var_os("HALLMARK_CACHE");
    cache
        .map_or_else(|| "/var/cache/hallmark".into(), PathBuf::from)
        .join("forky")
}

/// A command in the client root, where `root` is /mnt/t; what it is comes next.
fn in_forky(root: &Path) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/lab/in-forky.sh");
    let mut command = Command::new(script);
    command.arg("--bind").arg(root).arg("/mnt/t").arg(forky());
    command
}

/// The options that both have; caches in the copy, so that a new copy begins with nothing.
fn reposync(command: &mut Command, program: &str, url: &str, copy: &str) {
    command
        .arg(program)
        .arg(format!("--repofrompath=bench,{url}"))
        .args([
            "--repo=bench",
            "--setopt=reposdir=/nonexistent",
            "--setopt=plugins=1",
        ])
        .arg(format!("--setopt=cachedir={copy}/.cache"))
        .arg("--setopt=max_parallel_downloads=8")
        .args(["--setopt=metadata_expire=0", "--setopt=bench.gpgcheck=0"]);
    if program == "dnf5" {
        command.arg(format!("--setopt=system_cachedir={copy}/.cache"));
    }
    command
        .args(["reposync", "--download-metadata", "--norepopath"])
        .arg(format!("--download-path={copy}"));
}

fn binary() -> PathBuf {
    let directory = match std::env::var_os("HALLMARK_BIN_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => {
            let executable = std::env::current_exe().expect("it has a path");
            executable
                .ancestors()
                .nth(2)
                .expect("two folders deep")
                .to_owned()
        }
    };
    let path = directory.join("hallmark");
    assert!(path.is_file(), "{} is not built", path.display());
    path
}

/// nginx over the repository; ended when dropped.
struct Server {
    child: Child,
    url: String,
    log: PathBuf,
}

impl Server {
    fn start(root: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("it is bound").to_string();
        drop(free);
        let place = root.display();
        let log = root.join("access.log");
        let text = format!(
            "daemon off; master_process off; pid {place}/pid; error_log {place}/error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ log_format short '$status $uri'; access_log {place}/access.log short;\n\
             client_body_temp_path {place}/t1; proxy_temp_path {place}/t2; fastcgi_temp_path {place}/t3;\n\
             uwsgi_temp_path {place}/t4; scgi_temp_path {place}/t5; sendfile on; tcp_nopush on;\n\
             keepalive_requests 100000; server {{ listen {address}; root {place}/www; }} }}\n"
        );
        let config = root.join("nginx.conf");
        fs::write(&config, text).expect("write");
        let child = Command::new("nginx")
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed (scripts/install-deps.sh bench)");
        for _ in 0..200 {
            if TcpStream::connect(&address).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Self {
            child,
            url: format!("http://{address}"),
            log,
        }
    }

    fn forget_requests(&self) {
        let _ = fs::write(&self.log, "");
    }

    fn requests(&self) -> usize {
        fs::read_to_string(&self.log)
            .unwrap_or_default()
            .lines()
            .count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
