//! Another day: libfaketime, loaded into the programs of a build, moves the clock that they read.
//!
//! The kernel cannot give a build a date of its own. So this reaches programs that ask the C library for the time and
//! load libraries at their start: shells, `date`, compilers, Python, Perl. It does not reach programs that are linked
//! statically or ask the kernel themselves (Go), programs for another architecture, and times of files: those that the build
//! makes carry the machine's day. A build that records its whole environment differs for it.

use crate::buildroot::Root;
use crate::plan::{self, Plan};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// How far the clock is moved, seconds: another year, month, day and day of the week.
pub const SHIFT_SECS: i64 = DAYS * 86_400;
const DAYS: i64 = 500;
/// The library inside.
const INSIDE: &str = "/builddir/.clock.so";
/// Its file.
const LIBRARY: &str = "libfaketimeMT.so.1";

/// The library of this machine's distribution, when it is installed.
pub fn library() -> Option<PathBuf> {
    let arch = std::env::consts::ARCH;
    let places = [
        format!("/usr/lib/{arch}-linux-gnu/faketime"),
        "/usr/lib64/faketime".to_owned(),
        "/usr/lib/faketime".to_owned(),
    ];
    let files = places.iter().map(|dir| Path::new(dir).join(LIBRARY));
    files.map(std::fs::canonicalize).find_map(Result::ok)
}

/// The program with its options that starts what is to live on another day.
///
/// Times of files stay as they are: files of the source package are older than the build, and moving them would
/// change packages that do not ask for the time. Neither do clocks move that only measure.
pub(crate) fn words() -> Vec<String> {
    let mut words = vec!["env".to_owned(), format!("LD_PRELOAD={INSIDE}")];
    words.push(format!("FAKETIME=+{DAYS}d"));
    let settings = [
        "NO_FAKE_STAT=1",
        "DONT_FAKE_MONOTONIC=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
    ];
    words.extend(settings.map(str::to_owned));
    words
}

/// What a sandbox has to show besides, where the plan's clock is moved.
pub(crate) fn input(plan: &Plan) -> Option<(PathBuf, String)> {
    let library = plan.clock.as_ref()?;
    Some((library.clone(), INSIDE.to_owned()))
}

/// Has `plan` build on another day; `false` when the library is not installed.
pub(crate) fn put_into(plan: &mut Plan) -> bool {
    plan.clock = library();
    if plan.clock.is_some() {
        plan.before.extend(words());
    }
    plan.clock.is_some()
}

/// Whether programs of `root` load the library, tried once: where its C library is too old they do not, and go on with
/// the machine's clock.
///
/// * `plan`: one that [`put_into`] has changed.
pub fn works(plan: &Plan, root: &Root, work_dir: &Path, build_uid: u32) -> Result<(), String> {
    let mut command = words();
    command.extend(["date", "+%s"].map(str::to_owned));
    let (status, said) =
        plan::ask(plan, root, work_dir, build_uid, &command).map_err(|error| error.to_string())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let wanted = i64::try_from(now.unwrap_or_default().as_secs()).unwrap_or(i64::MAX) + SHIFT_SECS;
    let read = said
        .lines()
        .next_back()
        .and_then(|line| line.trim().parse::<i64>().ok());
    match read {
        Some(secs) if status == 0 && wanted.abs_diff(secs) < 86_400 => Ok(()),
        _ => Err(said
            .lines()
            .next_back()
            .unwrap_or("it says nothing")
            .to_owned()),
    }
}
