//! `hallmark mirror verify`: are the copies below a directory what was signed? Without any network.

use super::super::createrepo::{now, workers};
use super::super::repo_check::{keys, text};
use crate::failure::{Failure, chain};
use crate::output;
use crate::progress::PackageBar;
use repo_server::repocheck::{CheckOptions, Directory, Packages, Report, check};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// Arguments of `hallmark mirror verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # Every byte of every repository below /srv/mirror, against signed metadata
  hallmark mirror verify --key RPM-GPG-KEY-example /srv/mirror

  # What was copied by rsync, for a script
  hallmark mirror verify --key KEY --json /srv/mirror | jq '.[] | select(.passed | not)'

Each repository is checked from the signature of its repomd.xml down to the last package. Exit code 0: all are whole; 1: not all.")]
pub struct Args {
    /// A directory with one repository or many below it
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// OpenPGP keys, of which one must have signed each repomd.xml; may be repeated
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "no_verify_signature"
    )]
    key: Vec<PathBuf>,
    /// Believe each repomd.xml as it is
    #[arg(long, conflicts_with = "key")]
    no_verify_signature: bool,
    /// The keys must have made every signature of each package, too
    #[arg(long, requires = "key")]
    verify_packages: bool,
    /// Write the reports as JSON, by path below DIR
    #[arg(long)]
    json: bool,
    /// Threads that read packages [default: as many as there are processors]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
}

/// Directories deeper than this hold no repositories; links in a circle end here.
const DEPTH_MAX: usize = 24;

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let options = CheckOptions {
        packages: Packages::All,
        keys: keys(&args.key)?,
        package_signatures: args.verify_packages,
        now: now(),
        workers: workers(args.workers),
    };
    if args.no_verify_signature {
        output::note("warning: the signatures of repomd.xml are not verified, as you asked");
    }
    let mut found = Vec::new();
    find(&args.directory, 0, &mut found).map_err(|error| {
        let directory = args.directory.display();
        Failure::usage(format!(
            "cannot look through {directory}: {}",
            chain(&error)
        ))
    })?;
    if found.is_empty() {
        let directory = args.directory.display();
        return Err(Failure::failed(format!(
            "there is no repository below {directory}: nothing was checked"
        )));
    }
    let mut reports: BTreeMap<String, Report> = BTreeMap::new();
    for root in &found {
        let name = root.strip_prefix(&args.directory).unwrap_or(root);
        let name = match name.as_os_str().is_empty() {
            true => ".".to_owned(),
            false => name.display().to_string(),
        };
        let report = check(
            &Directory::new(root),
            &options,
            &PackageBar::new("looking at packages"),
        );
        let report = report.map_err(Failure::failed)?;
        if !args.json {
            output::raw(format!("{name}: {}", text(&report)).as_bytes())?;
        }
        reports.insert(name, report);
    }
    if args.json {
        output::json(&reports)?;
    }
    match reports.values().filter(|report| !report.passed).count() {
        0 => Ok(()),
        bad => Err(Failure::failed(format!(
            "{bad} of {} repositories are not what was signed",
            reports.len()
        ))),
    }
}

/// Directories that hold a `repodata/repomd.xml`, in the order of their paths.
fn find(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    if directory.join("repodata/repomd.xml").exists() {
        found.push(directory.to_owned());
    }
    let mut below = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let own = path.file_name() == Some(OsStr::new(mirrors::sync::OWN_DIRECTORY));
        if path.is_dir() && !own && depth < DEPTH_MAX {
            below.push(path);
        }
    }
    below.sort();
    below
        .iter()
        .try_for_each(|path| find(path, depth + 1, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_found_at_any_depth_but_not_in_what_the_sync_keeps() {
        let root = tempfile::tempdir().unwrap();
        for place in ["a", "a/b/c", ".hallmark/upstream", "x/.hallmark/work"] {
            let repodata = root.path().join(place).join("repodata");
            std::fs::create_dir_all(&repodata).unwrap();
            std::fs::write(repodata.join("repomd.xml"), b"").unwrap();
        }
        let mut found = Vec::new();
        find(root.path(), 0, &mut found).unwrap();
        let wanted: Vec<_> = ["a", "a/b/c"].map(|place| root.path().join(place)).into();
        assert_eq!(found, wanted);
    }
}
