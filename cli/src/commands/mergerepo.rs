//! `hallmark mergerepo`: several repositories become one.

use super::createrepo::{failure, now, source_date_epoch};
use super::repo_check::source;
use super::upstream::{NO_DICTIONARIES, codec, refuse};
use crate::failure::Failure;
use crate::output;
use repo_server::createrepo::{
    Conflicts, FileNames, MergeInput, MergeRequest, MergeSummary, Method, mergerepo,
};
use repo_server::repodata::{Codec, Options};
use std::path::PathBuf;

/// Arguments of `hallmark mergerepo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # What is in both, packages of the first where both have them; packages stay where they are
  hallmark mergerepo --repo /srv/os --repo https://mirror.example/updates -o /srv/all

  # The highest version of each package
  hallmark mergerepo --method nvr --repo /srv/os --repo /srv/updates -o /srv/all

  # Every version, and no merge at all when two packages claim one NEVRA
  hallmark mergerepo --all --conflicts refuse --repo /srv/a --repo /srv/b -o /srv/all

The options are mergerepo_c's, with the same meaning. The metadata of each repository is checked
against its repomd.xml, and goes over word for word; the result takes its place in one step.")]
pub struct Args {
    /// A repository to merge, a directory or URL; the first counts most
    #[arg(short, long, value_name = "DIR|URL", required = true)]
    repo: Vec<String>,
    /// Where repodata goes
    #[arg(short, long, value_name = "DIR", default_value = "merged_repo")]
    outputdir: PathBuf,
    /// Of packages with one name and architecture: repo (the first repository's), ts (the youngest
    /// file) or nvr (the highest version); packages of modules all stay
    #[arg(long, value_name = "METHOD", default_value = "repo", value_parser = method)]
    method: Method,
    /// Take all packages of one name and architecture whose version or release differs
    #[arg(long)]
    all: bool,
    /// What to do about different packages of one NEVRA: first, refuse or all (with --all)
    #[arg(long, value_name = "RULE", default_value = "first", value_parser = conflicts)]
    conflicts: Conflicts,
    /// Take only these architectures, with commas between
    #[arg(short, long, value_name = "LIST", value_delimiter = ',')]
    archlist: Vec<String>,
    /// Do not merge groups
    #[arg(long)]
    nogroups: bool,
    /// Do not merge advisories
    #[arg(long)]
    noupdateinfo: bool,
    /// Do not write where the packages are, for a result that is served beside them
    #[arg(long)]
    omit_baseurl: bool,
    /// In the places that are written, replace this start ...
    #[arg(long, value_name = "PREFIX", requires = "repo_prefix_replace")]
    repo_prefix_search: Option<String>,
    /// ... with this one
    #[arg(long, value_name = "PREFIX", requires = "repo_prefix_search")]
    repo_prefix_replace: Option<String>,
    /// Compress everything with gz, zstd, xz or none
    #[arg(long, value_name = "CODEC", default_value = "zstd", value_parser = codec)]
    compress_type: Codec,
    /// Also write zchunk files, which dnf fetches in parts
    #[arg(long)]
    zck: bool,
    /// Also write sqlite databases
    #[arg(short, long, conflicts_with = "no_database")]
    database: bool,
    /// Do not write them (default)
    #[arg(long)]
    no_database: bool,
    /// Do not put the checksum into the names of metadata files
    #[arg(long)]
    simple_md_filenames: bool,
    /// Put the checksum into the names of metadata files (default)
    #[arg(long, conflicts_with = "simple_md_filenames")]
    unique_md_filenames: bool,
    /// Say nothing that is not wrong
    #[arg(short, long)]
    quiet: bool,
    /// Name the packages that are left out for another of the same NEVRA
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,
    #[command(flatten)]
    upstream: Upstream,
}

/// Options of mergerepo_c that we do not have.
#[derive(Debug, clap::Args)]
struct Upstream {
    #[arg(long, hide = true)]
    filelists_ext: bool,
    #[arg(long, hide = true)]
    zck_dict_dir: Option<PathBuf>,
    #[arg(long, hide = true)]
    noarch_repo: Option<String>,
    #[arg(short, long, hide = true)]
    koji: bool,
    #[arg(long, hide = true)]
    simple: bool,
    #[arg(long, hide = true)]
    pkgorigins: bool,
    #[arg(long, hide = true)]
    arch_expand: bool,
    #[arg(short, long, hide = true)]
    groupfile: Option<PathBuf>,
    #[arg(short, long, hide = true)]
    blocked: Option<PathBuf>,
}

impl Upstream {
    fn check(&self) -> Result<(), Failure> {
        const NO_KOJI: &str = "it only serves Koji's build roots; Koji has mergerepo_c";
        refuse(&[
            (
                self.filelists_ext,
                "--filelists-ext",
                "the lists of the repositories do not hold the files' digests",
            ),
            (
                self.zck_dict_dir.is_some(),
                "--zck-dict-dir",
                NO_DICTIONARIES,
            ),
            (
                self.noarch_repo.is_some(),
                "--noarch-repo",
                "the order of --repo already says whose packages count",
            ),
            (self.koji, "--koji", NO_KOJI),
            (self.simple, "--simple", NO_KOJI),
            (self.pkgorigins, "--pkgorigins", NO_KOJI),
            (
                self.arch_expand,
                "--arch-expand",
                "--archlist takes every architecture by name",
            ),
            (
                self.groupfile.is_some(),
                "--groupfile",
                "groups come from the repositories; `hallmark modifyrepo --mdtype group` replaces them",
            ),
            (self.blocked.is_some(), "--blocked", NO_KOJI),
        ])
    }
}

fn method(name: &str) -> Result<Method, String> {
    match name {
        "repo" => Ok(Method::First),
        "ts" => Ok(Method::Youngest),
        "nvr" => Ok(Method::Highest),
        _ => Err("the methods are repo, ts and nvr".to_owned()),
    }
}

fn conflicts(rule: &str) -> Result<Conflicts, String> {
    match rule {
        "first" => Ok(Conflicts::First),
        "refuse" => Ok(Conflicts::Refuse),
        "all" => Ok(Conflicts::All),
        _ => Err("the rules are first, refuse and all".to_owned()),
    }
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    args.upstream.check()?;
    if args.conflicts == Conflicts::All && !args.all {
        return Err(Failure::usage("--conflicts all needs --all"));
    }
    let request = MergeRequest {
        inputs: args
            .repo
            .iter()
            .map(|location| input(args, location))
            .collect::<Result<_, _>>()?,
        output: args.outputdir.clone(),
        method: if args.all { Method::All } else { args.method },
        conflicts: args.conflicts,
        architectures: (!args.archlist.is_empty()).then(|| args.archlist.clone()),
        packages: None,
        groups: !args.nogroups,
        advisories: !args.noupdateinfo,
        metadata: Options {
            codec: args.compress_type,
            zchunk: args.zck,
            ..Options::default()
        },
        database: args.database,
        names: if args.simple_md_filenames {
            FileNames::Simple
        } else {
            FileNames::Unique
        },
        at: source_date_epoch()?.unwrap_or_else(now),
    };
    let summary = mergerepo(&request).map_err(|error| match error {
        repo_server::createrepo::CreaterepoError::Duplicates(_) => conflict_failure(error),
        other => failure(other),
    })?;
    report(args, &summary);
    Ok(())
}

fn conflict_failure(error: repo_server::createrepo::CreaterepoError) -> Failure {
    if let repo_server::createrepo::CreaterepoError::Duplicates(all) = &error {
        for pair in all {
            output::note(format!(
                "error: {} and {} are different packages called {}",
                pair.first, pair.second, pair.nevra
            ));
        }
    }
    Failure::failed(error).with_hint(
        "nothing was changed; --conflicts first takes those of the repository named first",
    )
}

fn input(args: &Args, location: &str) -> Result<MergeInput, Failure> {
    if location.chars().any(char::is_control) {
        return Err(Failure::usage(
            "a repository's name holds a control character",
        ));
    }
    Ok(MergeInput {
        label: location.to_owned(),
        base: if args.omit_baseurl {
            None
        } else {
            Some(base(args, location)?)
        },
        source: source(location)?,
    })
}

/// What is written as `xml:base`: the URL, or the directory's.
fn base(args: &Args, location: &str) -> Result<String, Failure> {
    let url = if location.contains("://") {
        location.to_owned()
    } else {
        let whole = std::path::absolute(location)
            .map_err(|error| Failure::usage(format!("cannot use {location}: {error}")))?;
        let Some(path) = whole.to_str() else {
            return Err(Failure::usage(format!("{location} is not UTF-8")));
        };
        format!("file://{path}")
    };
    let (Some(search), Some(replace)) = (&args.repo_prefix_search, &args.repo_prefix_replace)
    else {
        return Ok(url);
    };
    // As a path or as a URL: both spellings are in use.
    let found = url
        .strip_prefix(search.as_str())
        .or_else(|| url.strip_prefix("file://")?.strip_prefix(search.as_str()));
    Ok(found.map_or(url.clone(), |rest| format!("{replace}{rest}")))
}

fn report(args: &Args, summary: &MergeSummary) {
    if args.quiet {
        return;
    }
    if args.verbose {
        for pair in &summary.conflicts {
            output::note(format!(
                "note: {} and {} are different packages called {}",
                pair.first, pair.second, pair.nevra
            ));
        }
    } else if !summary.conflicts.is_empty() {
        output::note(format!(
            "note: {} packages differ from another of the same NEVRA (--verbose names them)",
            summary.conflicts.len()
        ));
    }
    for (repository, kind) in &summary.left_out {
        output::note(format!(
            "note: the record `{kind}` of {repository} is not merged"
        ));
    }
    for (location, (has, taken)) in args.repo.iter().zip(&summary.taken) {
        output::note(format!("{location}: {taken} of {has} packages taken"));
    }
    output::note(format!("{} packages", summary.packages));
}
