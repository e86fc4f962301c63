//! `hallmark mirror sync`: a repository as files, from whoever has it.

use super::super::createrepo::now;
use super::keys::KeyArgs;
use super::report::Telling;
use crate::failure::{Exit, Failure, chain};
use crate::output;
use mirrors::bucket::Bucket;
use mirrors::sync::{
    FilteredMetadata, Filters, Patience, Request, Rewrite, Summary, Survey, SyncError, Upstream,
    Verify, survey, survey_bucket, sync, sync_to_bucket,
};
use repo_model::FileDigest;
use repo_server::mirroring::{MetadataWriter, PinnedKeys};
use serde::Serialize;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `hallmark mirror sync`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # Copy a repository; run it again, from a timer, to follow upstream
  hallmark mirror sync --key RPM-GPG-KEY-example https://packages.example/stable/base/x86_64 /srv/mirror/base

  # Two upstreams: each file comes from whoever has it; packages that upstream dropped go a day later
  hallmark mirror sync --key KEY --delete-after https://a.example/repo https://b.example/repo /srv/mirror/repo

  # What would be fetched, and how much is it?
  hallmark mirror sync --key KEY --dry-run https://packages.example/repo /srv/mirror/repo

  # The newest packages of one architecture, at most 5 MB a second, with a report for each file
  hallmark mirror sync --key KEY --arch x86_64 --newest-only --no-source --no-debug \\
    --limit-rate 5M --report sync.json https://packages.example/repo /srv/mirror/repo

  # Into a bucket, to be served from there; credentials as AWS tools read them from the environment
  AWS_ENDPOINT_URL=https://s3.example hallmark mirror sync --key KEY https://packages.example/repo s3://mirror/repo

A sync that was cut off, at whatever moment, goes on when it is run again; what was served before is served until the new
metadata takes its place in one step. Have the web server pass over `.hallmark`.

Exit code 0: the copy is what upstream has; 1: it is not, and why; 3: no upstream can be reached.")]
pub struct Args {
    /// Where the repository is: http, https or file URLs of directories that hold repodata, the preferred one first
    #[arg(value_name = "URL", required = true, num_args = 1..)]
    url: Vec<String>,
    /// The copy's directory, or its place in a bucket: s3://BUCKET/PREFIX
    #[arg(value_name = "DIR|s3://…")]
    directory: PathBuf,
    /// Where files lie on their way into a bucket, so that a sync that was cut off goes on
    /// [default: one for each place below $XDG_CACHE_HOME/hallmark or ~/.cache/hallmark]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyArgs,
    /// Files fetched at the same time
    #[arg(long, short, value_name = "COUNT", default_value = "8", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// Bytes a second at most, all together: 500K, 5M, 1G
    #[arg(long, value_name = "RATE", value_parser = bytes)]
    limit_rate: Option<u64>,
    /// Give a server up for a file when it sends fewer bytes a second, over half a minute
    #[arg(long, value_name = "RATE", default_value = "1K", value_parser = bytes)]
    slowest: u64,
    /// Seconds to wait for a server that says nothing
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u16).range(1..))]
    timeout: u16,
    /// Remove packages this many hours after upstream dropped them [when no number is given: 24]
    #[arg(long, value_name = "HOURS", num_args = 0..=1, require_equals = true, default_missing_value = "24")]
    delete_after: Option<u32>,
    /// A directory for files by digest that several copies on one file system share
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Say what would be fetched, and how many bytes, and write nothing but the report
    #[arg(long)]
    dry_run: bool,
    /// Write what became of each file as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Take metadata that is older than the copy's, as after a release was taken back
    #[arg(long)]
    allow_older: bool,
    /// Go on without packages that upstream lists and does not have
    #[arg(long)]
    skip_missing: bool,
    #[command(flatten)]
    filters: FilterArgs,
}

/// Which packages.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which packages")]
struct FilterArgs {
    /// Only this architecture, and noarch; may be repeated
    #[arg(long, value_name = "ARCH")]
    arch: Vec<String>,
    /// Of each name and architecture only the highest version; packages of modules all stay
    #[arg(long)]
    newest_only: bool,
    /// Only packages whose name, name.arch, NEVRA or file name matches this pattern; may be repeated
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// No packages that match this pattern; may be repeated
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// No source packages
    #[arg(long)]
    no_source: bool,
    /// No debuginfo and debugsource packages
    #[arg(long)]
    no_debug: bool,
    /// Keep upstream's signed metadata although it then lists packages that the copy lacks
    /// [without it: metadata is written for the chosen packages, and is not signed]
    #[arg(long)]
    keep_metadata: bool,
}

/// `5M`: bytes, with K, M, G for powers of 1024.
fn bytes(text: &str) -> Result<u64, String> {
    let refuse = || format!("`{text}` is not a number of bytes: want 500K, 5M or 1G");
    let (digits, shift) = match text.to_ascii_uppercase() {
        upper if upper.ends_with('K') => (&text[..text.len() - 1], 10),
        upper if upper.ends_with('M') => (&text[..text.len() - 1], 20),
        upper if upper.ends_with('G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| refuse())?;
    match number.checked_mul(1 << shift) {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => Err(refuse()),
    }
}

/// Largest file whose size no metadata tells.
const UNCLAIMED_MAX_BYTES: u64 = 16 << 30;

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    output::raw(told_of(args)?.as_bytes())
}

/// The bucket that the copy is in, when it is in one.
fn bucket(args: &Args) -> Result<Option<Bucket>, Failure> {
    let place = args.directory.to_string_lossy();
    match Bucket::is_named_by(&place) {
        true => Ok(Some(super::bucket::open(&place)?)),
        false if args.work.is_some() => Err(Failure::usage(
            "--work is about copies in a bucket, and this one is in a directory",
        )),
        false => Ok(None),
    }
}

/// Where files lie on their way into a bucket.
fn work(args: &Args, bucket: &Bucket) -> Result<PathBuf, Failure> {
    if let Some(work) = &args.work {
        return Ok(work.clone());
    }
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = || set("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = set("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    let cache = cache.ok_or_else(|| {
        Failure::usage("neither XDG_CACHE_HOME nor HOME is set")
            .with_hint("--work DIR says where files lie on their way into the bucket")
    })?;
    // Two servers may have buckets of one name.
    let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    let endpoint = endpoint.unwrap_or_default();
    let place = FileDigest::of(format!("{endpoint} {}", bucket.url()).as_bytes());
    Ok(cache.join("hallmark").join(&place.to_hex()[..16]))
}

/// Runs it; what came of it, for people.
pub(super) fn told_of(args: &Args) -> Result<String, Failure> {
    let bucket = bucket(args)?;
    let mut request = request(args)?;
    // A dry run leaves nothing behind.
    let mut aside = None;
    if let Some(bucket) = &bucket {
        request.directory = match args.dry_run {
            true => {
                let fresh = tempfile::tempdir().map_err(Failure::failed)?;
                aside.insert(fresh).path().to_owned()
            }
            false => work(args, bucket)?,
        };
    }
    let certificates = args.keys.read()?;
    let keys = (!args.keys.no_verify_signature).then(|| PinnedKeys::new(certificates));
    let verify = match &keys {
        None => Verify::Nothing,
        Some(keys) if args.keys.verify_packages => Verify::RepomdAndPackages(keys),
        Some(keys) => Verify::Repomd(keys),
    };
    let telling = Telling::new(args.report.as_deref())?;
    if args.dry_run {
        let outcome = match &bucket {
            Some(bucket) => survey_bucket(&request, bucket, verify, &telling),
            None => survey(&request, verify, &telling),
        };
        finish(telling, &outcome)?;
        return Ok(foretold(&outcome.map_err(failure)?));
    }
    let writer = MetadataWriter;
    let rewrite = Some(&writer as &dyn Rewrite);
    let outcome = match &bucket {
        Some(bucket) => sync_to_bucket(&request, bucket, verify, rewrite, &telling),
        None => sync(&request, verify, rewrite, &telling),
    };
    finish(telling, &outcome)?;
    let summary = outcome.map_err(failure)?;
    Ok(told(&request, &summary))
}

fn finish<T: Serialize>(telling: Telling, outcome: &Result<T, SyncError>) -> Result<(), Failure> {
    match outcome {
        Ok(done) => telling.finish(done),
        Err(error) => telling.finish(&serde_json::json!({ "error": chain(error) })),
    }
}

fn request(args: &Args) -> Result<Request, Failure> {
    let stall = Duration::from_secs(u64::from(args.timeout));
    let upstreams = args.url.iter().map(|url| Upstream::new(url, stall));
    let hours = |hours: u32| Duration::from_secs(u64::from(hours) * 3600);
    let filters = &args.filters;
    let request = Request {
        upstreams: upstreams
            .collect::<Result<_, _>>()
            .map_err(Failure::usage)?,
        directory: args.directory.clone(),
        store: args.store.clone(),
        filters: Filters {
            architectures: filters.arch.clone(),
            newest_only: filters.newest_only,
            include: filters.include.clone(),
            exclude: filters.exclude.clone(),
            source: !filters.no_source,
            debug: !filters.no_debug,
        },
        filtered_metadata: match filters.keep_metadata {
            true => FilteredMetadata::Keep,
            false => FilteredMetadata::Rewrite,
        },
        workers: NonZeroUsize::new(usize::from(args.jobs)).unwrap_or(NonZeroUsize::MIN),
        bytes_per_sec: args.limit_rate,
        patience: Patience {
            slowest_bytes_per_sec: args.slowest,
            ..Patience::default()
        },
        delete_after: args.delete_after.map(hours),
        allow_older: args.allow_older,
        skip_missing: args.skip_missing,
        unclaimed_max_bytes: UNCLAIMED_MAX_BYTES,
        now: now(),
    };
    if filters.keep_metadata && !request.filters.is_active() {
        return Err(Failure::usage(
            "--keep-metadata is about packages that are left out, and none are",
        ));
    }
    Ok(request)
}

fn failure(error: SyncError) -> Failure {
    let exit = match error.is_unreachable() {
        true => Exit::Unreachable,
        false => Exit::Failed,
    };
    let hint = match &error {
        SyncError::Older { .. } => Some(
            "if upstream took a release back, --allow-older follows it; else ask another upstream",
        ),
        SyncError::Files { .. } => Some(
            "name a further upstream, or go on without them by --skip-missing; the copy is as it was",
        ),
        SyncError::Space { .. } => Some("free some, or leave packages out (see --help)"),
        SyncError::Bucket(error) => super::bucket::hint(error),
        SyncError::Lost { .. } => Some("run the same command again: it goes on from here"),
        _ => None,
    };
    let failure = Failure::new(exit, error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// The end of a dry run, for people.
fn foretold(survey: &Survey) -> String {
    let packages = match survey.taken == survey.listed {
        true => format!("{} packages", survey.listed),
        false => format!("{} of {} packages", survey.taken, survey.listed),
    };
    let mut out = format!(
        "{packages}; to fetch: {} files, {} ({} bytes)\n",
        survey.files,
        output::bytes(survey.bytes),
        survey.bytes
    );
    if survey.unchecked > 0 {
        out.push_str(&format!(
            "{} of them lie there already, and count if their checksums are right\n",
            survey.unchecked
        ));
    }
    if survey.dropped > 0 {
        out.push_str(&format!(
            "{} files are no longer upstream\n",
            survey.dropped
        ));
    }
    out
}

/// The end of a sync, for people.
fn told(request: &Request, summary: &Summary) -> String {
    if !summary.changed {
        let late = match summary.proofs {
            0 => String::new(),
            count => format!("; {count} proofs fetched that were lacking"),
        };
        return format!("nothing new: revision {}{late}\n", summary.revision);
    }
    let mut out = format!(
        "revision {}: {} packages; {} files fetched ({}), {} linked, {} here before, {} removed\n",
        summary.revision,
        summary.taken,
        summary.fetched,
        output::bytes(summary.fetched_bytes),
        summary.linked,
        summary.had,
        summary.deleted,
    );
    let mut note = |condition: bool, text: String| {
        if condition {
            out.push_str("note: ");
            out.push_str(&text);
            out.push('\n');
        }
    };
    let left_out = summary
        .listed
        .saturating_sub(summary.taken + summary.elsewhere);
    let is_filtered = request.filters.is_active();
    note(
        is_filtered && request.filtered_metadata == FilteredMetadata::Rewrite,
        format!(
            "{left_out} packages were left out; the metadata was written for the others, and is not signed"
        ),
    );
    note(
        is_filtered && request.filtered_metadata == FilteredMetadata::Keep,
        format!("{left_out} packages are listed that the copy lacks: clients get 404 for them"),
    );
    note(
        summary.elsewhere > 0,
        format!(
            "{} packages are on other sites, and stay there",
            summary.elsewhere
        ),
    );
    note(
        summary.weak > 0,
        format!(
            "{} packages have checksums that can be forged (MD5, SHA-1)",
            summary.weak
        ),
    );
    note(
        summary.incomplete,
        "upstream lists files that it does not have; the copy lacks them too".to_owned(),
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_with_their_units() {
        for (text, wanted) in [
            ("500", 500),
            ("5k", 5 << 10),
            ("5M", 5 << 20),
            ("1G", 1 << 30),
        ] {
            assert_eq!(bytes(text), Ok(wanted));
        }
        for bad in ["", "M", "5T", "-1", "0", "99999999999999999999G", "é"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
