//! Shell lines in a sandbox of their own.

use super::Lab;
use hallmark_rebuilder::plan::{Plan, SourcePackage};
use hallmark_rebuilder::sandbox::{
    Cancel, Ended, Extras, Job, Limits, RebuildBackend, SandboxError,
};
use hallmark_rebuilder::scratch::Scratch;
use repo_model::HeaderDigest;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a line is run by and within.
pub struct Attempt<'a> {
    pub backend: &'a RebuildBackend,
    pub backend_command: &'a [String],
    pub root: &'a Path,
    pub inputs: &'a [(PathBuf, String)],
    pub extras: Extras,
    pub limits: Limits,
    pub cancel: &'a Cancel,
}

/// How it went.
pub struct Ran {
    pub ended: Result<Ended, SandboxError>,
    pub log: String,
    /// What came out, by path, sorted.
    pub files: Vec<String>,
    /// Its scratch directory, which is gone.
    pub dir: PathBuf,
}

impl<'a> Attempt<'a> {
    /// In the machine's own root.
    pub fn new(backend: &'a RebuildBackend, limits: Limits, cancel: &'a Cancel) -> Self {
        Self {
            backend,
            backend_command: &[],
            root: Path::new("/"),
            inputs: &[],
            extras: Extras::default(),
            limits,
            cancel,
        }
    }

    pub fn run(&self, line: &str) -> Ran {
        let lab = Lab::new();
        let scratch = Scratch::create(&lab.path("work")).unwrap();
        let out = scratch.dir_of("out", 65_534).unwrap();
        let log = scratch.dir().join("log");
        let source = SourcePackage {
            nevra: "a-1-1.src".parse().unwrap(),
            header: HeaderDigest::of(b""),
            cookie: None,
            changelog_epoch: Some(0),
            build_time: 0,
        };
        let plan = Plan::new(&source, "4.18.0");
        let ended = (self.backend.run)(&Job {
            dir: scratch.dir(),
            root: self.root,
            inputs: self.inputs,
            out: &out,
            backend_command: self.backend_command,
            command: &["sh", "-c", line].map(str::to_owned),
            env: &plan.env,
            identity: &plan.identity,
            extras: self.extras,
            limits: &self.limits,
            build_uid: 65_534,
            log: &log,
            cancel: self.cancel,
        });
        Ran {
            ended,
            log: String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned(),
            files: files_below(&out, ""),
            dir: scratch.dir().to_owned(),
        }
    }
}

fn files_below(dir: &Path, before: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let name = format!("{before}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            names.extend(files_below(&entry.path(), &format!("{name}/")));
        } else {
            names.push(name);
        }
    }
    names.sort();
    names
}

/// Processes on this machine with `mark` in their command line.
pub fn survivors(mark: &str) -> usize {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(mark))
        .count()
}

/// Whether they all end within two seconds: without control groups nothing waits for the last.
pub fn are_gone(mark: &str) -> bool {
    let deadline = Instant::now() + Duration::from_secs(2);
    while survivors(mark) > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    survivors(mark) == 0
}
