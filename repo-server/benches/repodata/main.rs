//! Repository metadata beside createrepo_c: the same directory of packages, the same jobs, one run.
//!
//! ```text
//! cargo bench -p repo-server --bench repodata -- 5000 20000
//! ```
//!
//! Makes that many packages ([`distribution`]) in `$HALLMARK_BENCH_DIR` or a temporary folder, has both
//! programs make metadata of them and prints what each job cost. Ours is what `hallmark createrepo` calls, in
//! a process of its own. createrepo_c is that of the client root (`scripts/make-forky.sh`), else this machine's;
//! CREATEREPO_C names another. Exit code 1 says that a goal was missed. Without numbers: 5,000 and 20,000, and 60,000 when HALLMARK_BENCH_FULL is set.

mod distribution;
mod measure;
mod peer;
mod words;

use distribution::Distribution;
use measure::{Cost, run};
use peer::Peer;
use repo_model::Timestamp;
use repo_server::createrepo::{
    BadPackages, Duplicates, FileNames, Location, Request, Retain, Reuse, Selection, Unwatched,
    createrepo,
};
use repo_server::repodata::{Codec, Options};
use std::ffi::OsString;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Goals of the design: full runs by CPU, one more package by wall clock, peak memory at any size.
const FULL_CPU_GOAL: f64 = 3.0;
const ONE_MORE_WALL_GOAL: f64 = 50.0;
const PEAK_GOAL_MB: f64 = 200.0;

/// A form of the metadata: its name, createrepo_c's options for it, and ours.
struct Form {
    name: &'static str,
    theirs: &'static [&'static str],
    codec: Codec,
    zchunk: bool,
    open_checksums: bool,
}

const ZSTD: Form = Form {
    name: "zstd",
    theirs: &["--general-compress-type=zstd"],
    codec: Codec::ZSTD,
    zchunk: false,
    open_checksums: false,
};

const FORMS: &[Form] = &[
    ZSTD,
    Form {
        name: "zstd, open-checksum",
        open_checksums: true,
        ..ZSTD
    },
    Form {
        name: "gzip",
        theirs: &["--general-compress-type=gz"],
        codec: Codec::Gzip,
        ..ZSTD
    },
    Form {
        name: "zstd and zchunk",
        theirs: &["--general-compress-type=zstd", "--zck"],
        zchunk: true,
        ..ZSTD
    },
];

fn main() {
    // cargo adds --bench.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    if let [step, root, form, reuse] = &arguments[..]
        && step == "step"
    {
        return make_ours(Path::new(root), form, reuse == "update");
    }
    let mut counts: Vec<usize> = arguments
        .iter()
        .map(|count| count.parse().expect("a number of packages"))
        .collect();
    if counts.is_empty() {
        counts = vec![5_000, 20_000];
        if std::env::var_os("HALLMARK_BENCH_FULL").is_some() {
            counts.push(60_000);
        }
    }
    for count in counts {
        compare(count);
    }
    let missed = MISSED.load(Ordering::Relaxed);
    if missed > 0 {
        say(&format!("\n{missed} goals are MISSED: see the lines above"));
        std::process::exit(1);
    }
}

/// Goals that were missed so far.
static MISSED: AtomicUsize = AtomicUsize::new(0);

/// All jobs in all forms over `count` packages.
fn compare(count: usize) {
    let held = std::env::var_os("HALLMARK_BENCH_DIR").map(PathBuf::from);
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let root = held
        .unwrap_or_else(|| temporary.path().to_owned())
        .join(format!("repodata-{count}"));
    let bench = Bench {
        distribution: Distribution::new(count + 1),
        count,
        peer: Peer::find(),
        root,
    };
    bench.distribution.write(&bench.packages());
    bench.prepare();
    say(&format!(
        "\nRepository metadata of {count} packages, beside {}; wall and CPU in seconds, peak memory in MB",
        bench
            .peer
            .as_ref()
            .map_or("no createrepo_c: none is here", |peer| &peer.version),
    ));
    say(&format!(
        "{:<46}{:>9}{:>9}{:>7}  {:>9}{:>9}{:>7}  {:>8}{:>8}",
        "", "c wall", "c CPU", "c peak", "our wall", "our CPU", "peak", "wall x", "CPU x"
    ));
    for form in FORMS {
        bench.jobs(form);
    }
}

struct Bench {
    distribution: Distribution,
    count: usize,
    peer: Option<Peer>,
    root: PathBuf,
}

impl Bench {
    fn packages(&self) -> PathBuf {
        self.root.join("packages")
    }

    /// Where what is not in the repository now waits.
    fn aside(&self) -> PathBuf {
        self.root.join("aside")
    }

    /// The directory as the jobs find it: without the package that comes later, without output.
    fn prepare(&self) {
        fs::create_dir_all(self.aside()).expect("a folder");
        for side in ["theirs", "ours"] {
            let output = self.root.join(side);
            if output.exists() {
                fs::remove_dir_all(&output).expect("old output");
            }
            fs::create_dir(&output).expect("a folder");
        }
        self.show(self.count, 1, false);
        for number in self.replaced() {
            self.show(number, 2, false);
            self.show(number, 1, true);
        }
    }

    /// Ten packages all over the repository.
    fn replaced(&self) -> impl Iterator<Item = usize> {
        let apart = self.count / 10;
        (0..10).map(move |tenth| tenth * apart + apart / 2)
    }

    /// Puts a package into the directory or takes it out.
    fn show(&self, number: usize, release: u32, shown: bool) {
        let name = self.distribution.file_name(number, release);
        let (here, aside) = (self.packages().join(&name), self.aside().join(&name));
        if shown && !here.exists() {
            match aside.exists() {
                true => fs::rename(aside, here).expect("rename"),
                false => {
                    fs::write(here, self.distribution.package(number, release)).expect("write")
                }
            }
        } else if !shown && here.exists() {
            fs::rename(here, aside).expect("rename");
        }
    }

    fn jobs(&self, form: &Form) {
        // A file that changes in the second of a run is read again by the next one.
        let settle = || std::thread::sleep(Duration::from_millis(1_100));
        self.prepare();
        settle();
        self.job(form, "everything", false, Goal::FullCpu);
        self.sizes(form);
        self.job(form, "no change", true, Goal::None);
        self.show(self.count, 1, true);
        settle();
        self.job(form, "one more package", true, Goal::OneMoreWall);
        for number in self.replaced() {
            self.show(number, 1, false);
            self.show(number, 2, true);
        }
        settle();
        self.job(form, "ten packages replaced", true, Goal::None);
        self.prepare();
    }

    fn job(&self, form: &Form, name: &str, update: bool, goal: Goal) {
        let theirs = self.peer.as_ref().map(|peer| {
            let mut options = form.theirs.to_vec();
            options.extend(update.then_some("--update"));
            run(&mut peer.command(&self.root, &options))
        });
        let program = std::env::current_exe().expect("own path");
        let ours = run(Command::new(program)
            .args([OsString::from("step"), self.root.clone().into()])
            .args([form.name, if update { "update" } else { "anew" }]));
        print_job(&format!("{name}, {}", form.name), theirs, ours, goal);
    }

    /// Bytes of the metadata that both have made.
    fn sizes(&self, form: &Form) {
        let size = |side: &str| -> u64 {
            let files = fs::read_dir(self.root.join(side).join("repodata"))
                .into_iter()
                .flatten();
            files
                .map(|file| file.and_then(|file| file.metadata()).expect("a file").len())
                .sum()
        };
        let (theirs, ours) = (size("theirs") as f64 / 1e6, size("ours") as f64 / 1e6);
        say(&format!(
            "  size of it, MB: createrepo_c {theirs:.2}, ours {ours:.2} ({}: {:.2}x)",
            form.name,
            ours / theirs
        ));
    }
}

/// What a job is held to.
#[derive(Clone, Copy)]
enum Goal {
    None,
    FullCpu,
    OneMoreWall,
}

fn print_job(name: &str, theirs: Option<Cost>, ours: Cost, goal: Goal) {
    let own = format!("{:>9.3}{:>9.2}{:>7.0}", ours.wall, ours.cpu, ours.peak_mb);
    let peak_missed = if ours.peak_mb > PEAK_GOAL_MB {
        MISSED.fetch_add(1, Ordering::Relaxed);
        "  MISSED: peak <= 200 MB"
    } else {
        ""
    };
    let Some(theirs) = theirs else {
        return say(&format!("{name:<46}{:>25}  {own}{peak_missed}", "-"));
    };
    let (wall, cpu) = (theirs.wall / ours.wall, theirs.cpu / ours.cpu);
    let (held_to, ratio, text) = match goal {
        Goal::None => (0.0, 1.0, String::new()),
        Goal::FullCpu => (FULL_CPU_GOAL, cpu, format!("CPU >= {FULL_CPU_GOAL}x")),
        Goal::OneMoreWall => (
            ONE_MORE_WALL_GOAL,
            wall,
            format!("wall >= {ONE_MORE_WALL_GOAL}x"),
        ),
    };
    let mark = match (text.is_empty(), ratio >= held_to) {
        (true, _) => String::new(),
        (_, true) => format!("  met: {text}"),
        (_, false) => {
            MISSED.fetch_add(1, Ordering::Relaxed);
            format!("  MISSED: {text}")
        }
    };
    say(&format!(
        "{name:<46}{:>9.2}{:>9.2}{:>7.0}  {own}  {wall:>8.1}{cpu:>8.1}{mark}{peak_missed}",
        theirs.wall, theirs.cpu, theirs.peak_mb
    ));
}

/// The table is what this program is for.
#[allow(clippy::print_stdout)]
fn say(text: &str) {
    println!("{text}");
}

/// One job of ours, in the process that is measured.
fn make_ours(root: &Path, form: &str, update: bool) {
    let form = FORMS
        .iter()
        .find(|known| known.name == form)
        .expect("a form");
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock");
    let now = Timestamp::from_unix_secs(since.as_secs() as i64);
    let request = Request {
        directory: root.join("packages"),
        output: root.join("ours"),
        selection: Selection::default(),
        recycle_list: false,
        reuse: if update {
            Reuse::Unchanged
        } else {
            Reuse::Nothing
        },
        state: Some(root.join("state")),
        keep_additional: false,
        duplicates: Duplicates::Refuse,
        bad_packages: BadPackages::Refuse,
        location: Location::default(),
        metadata: Options {
            codec: form.codec,
            zchunk: form.zchunk,
            open_checksums: form.open_checksums,
            ..Options::default()
        },
        database: false,
        group_file: None,
        names: FileNames::Unique,
        retain: Retain::default(),
        at: now,
        latest_file_time: None,
        stamp_files: false,
        now,
        workers: NonZeroUsize::new(2).expect("two"),
    };
    createrepo(&request, &Unwatched).expect("metadata");
}
