//! Repository metadata beside createrepo_c, on the same packages in one run: a table of wall time,
//! CPU time, ratios, and our peak memory.
//!
//! ```text
//! cargo bench -p repo-server --bench repodata -- 20000
//! ```
//!
//! Makes that many RPM files below `$HALLMARK_BENCH_DIR` (or a temporary folder). Every step of
//! ours runs in a process of its own, as createrepo_c does. What the server knows from its
//! database (identity, digest, size, location of each package) is read from a list here; createrepo_c
//! `--update` reads the old metadata instead. CREATEREPO_C names another createrepo_c.

use repo_model::rpm::testkit::{Field, Rpm};
use repo_model::rpm::{Head, HeadLimits, Package, tag};
use repo_model::{Evr, FileDigest, Nevra, Timestamp};
use repo_server::repodata::{
    Codec, DirectoryFrameCache, Entry, FrameCache, Inputs, NoFrameCache, Options, PackageSource,
    Record, Sink, SourceError, build_into, sort,
};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

fn main() {
    // cargo adds --bench.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    match &arguments[..] {
        [step, directory] if step.starts_with("step-") => run_step(step, Path::new(directory)),
        [count] => compare(count.parse().expect("a number of packages")),
        _ => compare(2_000),
    }
}

/// What createrepo_c took, in seconds.
struct Theirs {
    wall: f64,
    cpu: f64,
}

/// What a step of ours took, in seconds and MB.
struct Ours {
    wall: f64,
    cpu: f64,
    peak_mb: f64,
}

fn compare(count: usize) {
    let held = std::env::var_os("HALLMARK_BENCH_DIR").map(PathBuf::from);
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let root = held
        .unwrap_or_else(|| temporary.path().to_owned())
        .join(format!("repodata-{count}"));
    let directory = root.join("packages");
    make_packages(&directory, count + 1);
    // The one that comes later.
    let last = directory.join(file_name(count));
    let aside = root.join("aside.rpm");
    let takes_part = |there: bool| match there {
        true => fs::rename(&aside, &last).expect("rename"),
        false => fs::rename(&last, &aside).expect("rename"),
    };
    if last.exists() {
        takes_part(false);
    }
    let mut table = String::new();
    let _ = writeln!(
        table,
        "{count} packages; seconds and MB\n{:<26}{:>9}{:>9}   {:>9}{:>9}{:>9}   {:>7}{:>7}",
        "", "c wall", "c cpu", "our wall", "our cpu", "our peak", "wall x", "cpu x"
    );
    let mut line = |name: &str, theirs: Option<Theirs>, ours: Ours| {
        let _ = match theirs {
            Some(theirs) => writeln!(
                table,
                "{name:<26}{:>9.2}{:>9.2}   {:>9.3}{:>9.3}{:>9.0}   {:>7.1}{:>7.1}",
                theirs.wall,
                theirs.cpu,
                ours.wall,
                ours.cpu,
                ours.peak_mb,
                theirs.wall / ours.wall,
                theirs.cpu / ours.cpu,
            ),
            None => writeln!(
                table,
                "{name:<26}{:>18}   {:>9.3}{:>9.3}{:>9.0}",
                "-", ours.wall, ours.cpu, ours.peak_mb
            ),
        };
    };
    let (ours, theirs) = (
        |step: &str| ours(step, &root),
        |more: &[&str]| theirs(&directory, more),
    );
    line("everything, zstd", theirs(&[]), ours("step-full"));
    line(
        "everything, zstd + zchunk",
        theirs(&["--zck"]),
        ours("step-full-zck"),
    );
    line(
        "everything, gzip",
        theirs(&["--compress-type=gz"]),
        ours("step-full-gzip"),
    );
    // The state that an update starts from.
    theirs(&[]);
    ours("step-warm");
    line("no change", theirs(&["--update"]), ours("step-again"));
    takes_part(true);
    line(
        "one more package",
        theirs(&["--update"]),
        ours("step-one-more"),
    );
    print(&table);
}

/// The table is what this program is for.
#[allow(clippy::print_stdout)]
fn print(text: &str) {
    println!("{text}");
}

fn file_name(n: usize) -> String {
    format!("{}-1.0-1.noarch.rpm", name(n))
}

fn name(n: usize) -> String {
    let prefixes = [
        "lib", "python3-", "perl-", "golang-", "rust-", "texlive-", "ghc-", "",
    ];
    // A multiplicative hash spreads the names over the alphabet.
    format!(
        "{}{:05x}",
        prefixes[n % 8],
        n.wrapping_mul(2_654_435_761) & 0xF_FFFF
    )
}

fn make_packages(directory: &Path, count: usize) {
    fs::create_dir_all(directory).expect("a folder");
    for n in 0..count {
        let path = directory.join(file_name(n));
        if !path.exists() {
            fs::write(path, package(n)).expect("write");
        }
    }
}

/// Some 30 files, 12 dependencies and 10 changes, about what a distribution has on average.
fn package(n: usize) -> Vec<u8> {
    let name = name(n);
    let requires: Vec<String> = (1..12)
        .map(|k| {
            format!(
                "lib{:05x}.so.{k}()(64bit)",
                n.wrapping_mul(k * 7_919) & 0xFFFF
            )
        })
        .collect();
    let count = requires.len();
    let changes = 10_u32;
    let mut rpm = Rpm::binary(&name)
        .set(tag::REQUIRENAME, Field::strings(&requires))
        .set(tag::REQUIREFLAGS, Field::Int32(vec![0; count]))
        .set(tag::REQUIREVERSION, Field::strings(vec![""; count]))
        .set(
            tag::DESCRIPTION,
            Field::I18n(vec![
                format!("{name} does what {name} does. ").repeat(9).into(),
            ]),
        )
        .set(
            tag::CHANGELOGTIME,
            Field::Int32(
                (0..changes)
                    .rev()
                    .map(|d| 1_700_000_000 + d * 86_400)
                    .collect(),
            ),
        )
        .set(
            tag::CHANGELOGNAME,
            Field::strings((0..changes).map(|d| format!("Pat <pat{n}@example.org> - 1.0-{d}"))),
        )
        .set(
            tag::CHANGELOGTEXT,
            Field::strings((0..changes).map(|d| format!("- rebuilt for {n} and {d}"))),
        )
        .executable(&format!("/usr/bin/{name}"), name.as_bytes());
    for k in 0..n % 60 {
        rpm = rpm.file(
            &format!("/usr/share/{name}/part{k:02}/data-{}.bin", n * k),
            b"",
        );
    }
    rpm.bytes()
}

fn ours(step: &str, root: &Path) -> Ours {
    let program = std::env::current_exe().expect("own path");
    let output = Command::new(program)
        .arg(step)
        .arg(root)
        .output()
        .expect("own program runs");
    assert!(
        output.status.success(),
        "{step}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("text");
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map(|n| n.parse().expect("a number"))
        .collect();
    Ours {
        wall: numbers[0],
        cpu: numbers[1],
        peak_mb: numbers[2],
    }
}

fn theirs(directory: &Path, more: &[&str]) -> Option<Theirs> {
    let tool = std::env::var("CREATEREPO_C").unwrap_or_else(|_| "createrepo_c".to_owned());
    // createrepo_c 1.2.1 leaves its folder behind when nothing changed, and then refuses to start.
    for folder in fs::read_dir(directory).ok()? {
        let path = folder.ok()?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name == ".repodata" || name.starts_with("repodata.old") {
            fs::remove_dir_all(path).ok()?;
        }
    }
    // Not there: said in the table.
    Command::new(&tool).arg("--version").output().ok()?;
    let script = "TIMEFORMAT='%R %U %S'; time \"$@\"";
    let mut command = Command::new("bash");
    command.args([
        "-c",
        script,
        "bash",
        &tool,
        "--quiet",
        "--no-database",
        "--workers=2",
    ]);
    let output = command.args(more).arg(directory).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool}: {text}");
    let times = text.lines().last()?;
    let numbers: Vec<f64> = times
        .split_whitespace()
        .filter_map(|n| n.parse().ok())
        .collect();
    let [wall, user, system] = numbers[..] else {
        return None;
    };
    Some(Theirs {
        wall,
        cpu: user + system,
    })
}

fn run_step(step: &str, root: &Path) {
    let begun = Instant::now();
    let directory = root.join("packages");
    let list = root.join("list");
    let cache = DirectoryFrameCache::open(&root.join("frames"), 4 << 30).expect("a cache");
    let (mut entries, codec, zchunk, cached) = match step {
        "step-full" => (scan(&directory), Codec::ZSTD, false, false),
        "step-full-zck" => (scan(&directory), Codec::ZSTD, true, false),
        "step-full-gzip" => (scan(&directory), Codec::Gzip, false, false),
        "step-warm" => (scan(&directory), Codec::ZSTD, false, true),
        "step-again" => (read_list(&list), Codec::ZSTD, false, true),
        "step-one-more" => {
            let mut entries = read_list(&list);
            let known: std::collections::HashSet<String> =
                entries.iter().map(|entry| entry.href.to_string()).collect();
            for file in fs::read_dir(&directory).expect("packages") {
                let name = file
                    .expect("a file")
                    .file_name()
                    .into_string()
                    .expect("UTF-8");
                if name.ends_with(".rpm") && !known.contains(&name) {
                    entries.push(read_entry(&directory, &name));
                }
            }
            (entries, Codec::ZSTD, false, true)
        }
        other => panic!("no step {other}"),
    };
    sort(&mut entries);
    let options = Options {
        codec,
        zchunk,
        ..Options::default()
    };
    let cache: &dyn FrameCache = if cached { &cache } else { &NoFrameCache };
    let inputs = Inputs {
        entries: &entries,
        packages: &Headers(directory),
        extras: &[],
        cache,
        workers: NonZeroUsize::new(2).expect("two"),
    };
    let out = root.join("out");
    fs::create_dir_all(out.join("repodata")).expect("a folder");
    let mut sink = Files {
        out: out.clone(),
        open: Vec::new(),
    };
    let manifest = build_into(
        &inputs,
        &options,
        Timestamp::from_unix_secs(1_795_000_000),
        &mut sink,
    )
    .expect("metadata");
    fs::write(out.join("repodata/repomd.xml"), manifest.repomd).expect("repomd");
    if step == "step-warm" {
        write_list(&list, &entries);
    }
    let (cpu, peak_mb) = own_cost();
    print(&format!(
        "{} {cpu} {peak_mb}",
        begun.elapsed().as_secs_f64()
    ));
}

/// Seconds of CPU time and peak memory in MB of this process.
fn own_cost() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: f64 = after_name
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse::<f64>().ok())
        .sum();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or_default();
    let peak_kb: f64 = peak
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap_or(f64::NAN);
    (ticks / 100.0, peak_kb / 1_024.0)
}

/// All packages of a folder, hashed whole and their headers read, by two threads.
fn scan(directory: &Path) -> Vec<Entry> {
    let names: Vec<String> = fs::read_dir(directory)
        .expect("packages")
        .map(|file| {
            file.expect("a file")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .filter(|name| name.ends_with(".rpm"))
        .collect();
    std::thread::scope(|scope| {
        let (first, second) = names.split_at(names.len() / 2);
        let read = |names: &[String]| {
            names
                .iter()
                .map(|name| read_entry(directory, name))
                .collect::<Vec<_>>()
        };
        let other = scope.spawn(move || read(second));
        let mut entries = read(first);
        entries.extend(other.join().expect("a thread"));
        entries
    })
}

fn read_entry(directory: &Path, name: &str) -> Entry {
    let bytes = fs::read(directory.join(name)).expect("a package");
    let package = Package::from_head(&Head::parse(&bytes).expect("a head")).expect("a package");
    Entry {
        nevra: package.nevra,
        file_digest: FileDigest::from_bytes(Sha256::digest(&bytes).into()),
        sha512: None,
        file_size_bytes: bytes.len() as u64,
        href: name.parse().expect("a location"),
        added_at: Timestamp::from_unix_secs(1_795_000_000),
    }
}

fn write_list(list: &Path, entries: &[Entry]) {
    let mut text = String::new();
    for entry in entries {
        let Nevra { name, evr, arch } = &entry.nevra;
        let (digest, size, href) = (&entry.file_digest, entry.file_size_bytes, &entry.href);
        let _ = writeln!(
            text,
            "{digest}\t{size}\t{href}\t{name}\t{}\t{}\t{arch}",
            evr.version, evr.release
        );
    }
    fs::write(list, text).expect("a list");
}

fn read_list(list: &Path) -> Vec<Entry> {
    let text = fs::read_to_string(list).expect("a list");
    let entry = |line: &str| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().expect("a field").to_owned();
        Entry {
            file_digest: next().parse().expect("a digest"),
            sha512: None,
            file_size_bytes: next().parse().expect("a size"),
            href: next().parse().expect("a location"),
            nevra: Nevra {
                name: next(),
                evr: Evr {
                    epoch: 0,
                    version: next(),
                    release: next(),
                },
                arch: next(),
            },
            added_at: Timestamp::from_unix_secs(1_795_000_000),
        }
    };
    text.lines().map(entry).collect()
}

struct Headers(PathBuf);

impl PackageSource for Headers {
    fn load(&self, entry: &Entry) -> Result<Cow<'_, Package>, SourceError> {
        let file = File::open(self.0.join(entry.href.as_str()))?;
        let head = Head::read(BufReader::new(file), &HeadLimits::default())?;
        Ok(Cow::Owned(Package::from_head(&head)?))
    }
}

struct Files {
    out: PathBuf,
    open: Vec<Option<(PathBuf, io::BufWriter<File>)>>,
}

impl Sink for Files {
    fn append(&mut self, file: usize, bytes: &[u8]) -> io::Result<()> {
        while self.open.len() <= file {
            let path = self.out.join(format!("part-{}", self.open.len()));
            self.open.push(Some((
                path.clone(),
                io::BufWriter::new(File::create(path)?),
            )));
        }
        match &mut self.open[file] {
            Some((_, writer)) => writer.write_all(bytes),
            None => Err(io::Error::other("finished already")),
        }
    }

    fn finish(&mut self, file: usize, record: &Record) -> io::Result<()> {
        let Some((path, mut writer)) = self.open[file].take() else {
            return Err(io::Error::other("finished already"));
        };
        writer.flush()?;
        fs::rename(path, self.out.join(&record.name))
    }
}
