//! `hallmark mirror verify`: are the copies below a directory what was signed? Without any network.

use super::super::createrepo::{now, workers};
use super::super::repo_check::text;
use super::bucket;
use super::fresh::PlaceArgs;
use super::keys::KeyArgs;
use super::manifest::{self, ManifestCheck};
use crate::failure::{Exit, Failure, chain};
use crate::output;
use crate::progress::PackageBar;
use mirrors::bucket::Bucket;
use mirrors::compare::{Away, ReadOnce, each_file};
use mirrors::reading::{Source, SourceError};
use repo_model::Timestamp;
use repo_model::dsse::StatementPublicKey;
use repo_server::repocheck::{CheckError, CheckOptions, Directory, Packages, Report, check};
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Arguments of `hallmark mirror verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # Every byte of every repository below /srv/mirror, against signed metadata
  hallmark mirror verify --key RPM-GPG-KEY-example /srv/mirror

  # And is it what is current? With the keys of the signer's statements, of which one must have said so
  hallmark mirror verify --key RPM-GPG-KEY-example --fresh statement.pub /srv/mirror

  # The same where the directory does not end in CHANNEL/REPO/ARCH
  hallmark mirror verify --key KEY --fresh statement.pub --channel stable --repo base --arch x86_64 /srv/copy

  # In a bucket, from there
  hallmark mirror verify --key KEY s3://mirror/stable/base/x86_64

  # What was copied by rsync, for a script
  hallmark mirror verify --key KEY --json /srv/mirror | jq '.[] | select(.passed | not)'

Each repository is checked from the signature of its repomd.xml down to the last package, and by its signed manifest
(repodata/SHA256SUMS) where it has one; files that the manifest does not list are named and do no harm. Exit code 0: all are
whole; 1: not all; 3: the bucket cannot be reached, so try again.")]
pub struct Args {
    /// A directory with one repository or many below it, or a place in a bucket: s3://BUCKET/PREFIX
    #[arg(value_name = "DIR|s3://…")]
    directory: PathBuf,
    #[command(flatten)]
    keys: KeyArgs,
    /// Each repository must be what its channel points to now, by a statement that one of these keys (PEM) signed
    /// and that has not ended; may be repeated
    #[arg(long, value_name = "FILE")]
    fresh: Vec<PathBuf>,
    #[command(flatten)]
    place: PlaceArgs,
    /// Write the reports as JSON, by path below DIR
    #[arg(long)]
    json: bool,
    /// Threads that read packages [default: as many as there are processors]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
}

/// What was found out about one repository.
#[derive(Debug, serde::Serialize)]
struct Checked {
    #[serde(flatten)]
    report: Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<ManifestCheck>,
}

/// Directories deeper than this hold no repositories.
const DEPTH_MAX: usize = 24;

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let options = CheckOptions {
        packages: Packages::All,
        keys: args.keys.read()?,
        package_signatures: args.keys.verify_packages,
        now: now(),
        workers: workers(args.workers),
    };
    let statement_keys = super::fresh::keys(&args.fresh)?;
    let mut stale = Stale::default();
    let place = args.directory.to_string_lossy();
    let is_bucket = Bucket::is_named_by(&place);
    let Search {
        found, unreadable, ..
    } = match is_bucket {
        true => Search::in_bucket(&place)?,
        false => Search::below(&args.directory)?,
    };
    for (path, error) in &unreadable {
        output::note(format!(
            "cannot look through {}: {}",
            path.display(),
            chain(error)
        ));
    }
    if found.is_empty() && unreadable.is_empty() {
        let directory = args.directory.display();
        return Err(Failure::failed(format!(
            "there is no repository below {directory}: nothing was checked"
        )));
    }
    let mut reports: BTreeMap<String, Checked> = BTreeMap::new();
    for root in &found {
        let name = root.strip_prefix(&args.directory).unwrap_or(root);
        let name = match name.as_os_str().is_empty() {
            true => ".".to_owned(),
            false => name.display().to_string(),
        };
        let copy = Copied::open(root, is_bucket)?;
        let source = ReadOnce::new(copy.source());
        let bar = PackageBar::new("looking at packages");
        let report = check(&source, &options, &bar);
        let mut report = report.map_err(|CheckError::Unreachable(why)| away(Away(why)))?;
        let manifest = manifest::check(&source, &options.keys, |see| copy.each_file(root, see));
        let manifest = manifest.map_err(away)?;
        report.passed &= manifest.as_ref().is_none_or(ManifestCheck::passed);
        if !args.json {
            let by_manifest = manifest.as_ref().map(manifest::text);
            let by_manifest = by_manifest.unwrap_or_default();
            output::raw(format!("{name}: {}{by_manifest}", text(&report)).as_bytes())?;
        }
        if !statement_keys.is_empty() {
            let copy = (&source as &dyn Source, root.as_path());
            stale.check(&name, copy, args, &statement_keys, options.now);
        }
        reports.insert(name, Checked { report, manifest });
    }
    if args.json {
        output::json(&reports)?;
    }
    let failed = reports.values().filter(|checked| !checked.report.passed);
    match failed.count() {
        0 if stale.count > 0 => Err(stale.failure(reports.len())),
        0 if unreadable.is_empty() => Ok(()),
        0 => Err(Failure::failed(format!(
            "{} directories could not be looked through: what is below them was not checked",
            unreadable.len()
        ))),
        bad => Err(Failure::failed(format!(
            "{bad} of {} repositories are not what was signed",
            reports.len()
        ))),
    }
}

/// How the command ends when a copy cannot be reached: nothing can be said of it.
pub fn away(error: Away) -> Failure {
    Failure::new(Exit::Unreachable, error).with_hint(
        "AWS_ENDPOINT_URL names the server, and AWS_REGION its region; the same command begins anew",
    )
}

/// One repository, wherever it is.
enum Copied {
    InDirectory(Directory),
    InBucket(Bucket),
}

impl Copied {
    fn open(root: &Path, is_bucket: bool) -> Result<Self, Failure> {
        Ok(match is_bucket {
            true => Self::InBucket(bucket::open(&root.to_string_lossy())?),
            false => Self::InDirectory(Directory::new(root)),
        })
    }

    fn source(&self) -> &dyn Source {
        match self {
            Self::InDirectory(directory) => directory,
            Self::InBucket(bucket) => bucket,
        }
    }

    fn each_file(&self, root: &Path, see: &mut dyn FnMut(&str)) -> Result<(), SourceError> {
        match self {
            Self::InDirectory(_) => each_file(root, see).map_err(SourceError::Read),
            Self::InBucket(bucket) => Ok(bucket.each_file(see)?),
        }
    }
}

/// Repositories that are not known to be fresh.
#[derive(Default)]
struct Stale {
    count: usize,
    /// One of them may only be at another place than its directory says.
    misplaced: bool,
}

impl Stale {
    fn check(
        &mut self,
        name: &str,
        (source, root): (&dyn Source, &Path),
        args: &Args,
        keys: &[StatementPublicKey],
        now: Timestamp,
    ) {
        match super::fresh::check(source, root, &args.place, keys, now) {
            Ok(said) => output::note(format!("{name}: {said}")),
            Err(error) => {
                self.count += 1;
                self.misplaced |= error.is_about_place();
                output::note(format!("{name}: not fresh: {}", chain(&error)));
            }
        }
    }

    fn failure(&self, of: usize) -> Failure {
        let failure = Failure::failed(format!(
            "{} of {of} repositories are not known to be fresh",
            self.count
        ));
        match self.misplaced {
            true => failure.with_hint(
                "which one a repository is, its directory tells by ending in CHANNEL/REPO/ARCH; where it does not, \
                 --channel, --repo and --arch do",
            ),
            false => failure,
        }
    }
}

/// A search for directories that hold a `repodata/repomd.xml`.
#[derive(Default)]
struct Search {
    /// In the order of their paths.
    found: Vec<PathBuf>,
    unreadable: Vec<(PathBuf, io::Error)>,
    /// Device and inode of the directories above, so that links in a circle come to an end.
    above: HashSet<(u64, u64)>,
}

impl Search {
    fn below(directory: &Path) -> Result<Self, Failure> {
        let mut search = Self::default();
        let looked = search.look(directory, 0);
        looked.map_err(|error| {
            let directory = directory.display();
            Failure::usage(format!(
                "cannot look through {directory}: {}",
                chain(&error)
            ))
        })?;
        Ok(search)
    }

    fn in_bucket(url: &str) -> Result<Self, Failure> {
        let found = bucket::open(url)?.repositories().map_err(bucket::failure)?;
        Ok(Self {
            found: found.into_iter().map(PathBuf::from).collect(),
            ..Self::default()
        })
    }

    /// Fails only for this directory itself; those below it that cannot be read are passed over.
    fn look(&mut self, directory: &Path, depth: usize) -> io::Result<()> {
        let data = std::fs::metadata(directory)?;
        let identity = (data.dev(), data.ino());
        if !self.above.insert(identity) {
            return Ok(());
        }
        let outcome = self.look_below(directory, depth);
        self.above.remove(&identity);
        outcome
    }

    fn look_below(&mut self, directory: &Path, depth: usize) -> io::Result<()> {
        let mut below = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let own = path.file_name() == Some(OsStr::new(mirrors::sync::OWN_DIRECTORY));
            if path.is_dir() && !own && depth < DEPTH_MAX {
                below.push(path);
            }
        }
        if directory.join("repodata/repomd.xml").exists() {
            self.found.push(directory.to_owned());
        }
        below.sort();
        for path in below {
            if let Err(error) = self.look(&path, depth + 1) {
                self.unreadable.push((path, error));
            }
        }
        Ok(())
    }
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
        let mut search = Search::default();
        search.look(root.path(), 0).unwrap();
        let wanted: Vec<_> = ["a", "a/b/c"].map(|place| root.path().join(place)).into();
        assert_eq!(search.found, wanted);
    }

    #[test]
    fn links_in_a_circle_end_and_what_cannot_be_read_is_told_and_passed_over() {
        let root = tempfile::tempdir().unwrap();
        for place in ["a", "b"] {
            let repodata = root.path().join(place).join("repodata");
            std::fs::create_dir_all(&repodata).unwrap();
            std::fs::write(repodata.join("repomd.xml"), b"").unwrap();
        }
        // Two ways round at each step: 2^24 without an end to circles.
        for link in ["one", "two"] {
            std::os::unix::fs::symlink(root.path(), root.path().join("a").join(link)).unwrap();
        }
        let mut search = Search::default();
        search.look(root.path(), 0).unwrap();
        let wanted: Vec<_> = ["a", "b"].map(|place| root.path().join(place)).into();
        assert_eq!(search.found, wanted);
        assert!(search.unreadable.is_empty());
        assert!(search.look(&root.path().join("gone"), 0).is_err());
    }
}
