//! `hallmark createrepo`: the metadata of a directory of packages.

pub use super::createrepo_args::Args;
use super::upstream::cache_directory;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::progress::PackageBar;
use repo_model::Timestamp;
use repo_server::createrepo::{
    BadPackages, CreaterepoError, Duplicates, FileNames, GroupFile, Location, MergeError, Request,
    Retain, Reuse, Selection, Summary, createrepo, read_package_list, state_file,
};
use repo_server::repocheck::SourceError;
use repo_server::repodata::{Codec, GroupForm, Options, Profile};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    args.upstream.check()?;
    let request = request(args)?;
    let bar = PackageBar::new("reading packages");
    let outcome = createrepo(&request, &bar);
    drop(bar);
    let summary = outcome.map_err(|error| {
        let is_bad = matches!(error, CreaterepoError::BadPackages(_));
        let mut failure = failure(error);
        if is_bad {
            failure.exit = if_any_is_bad(args);
        }
        failure
    })?;
    if let Some(path) = &args.read_pkgs_list {
        let mut list = summary.read.join("\n");
        if !list.is_empty() {
            list.push('\n');
        }
        std::fs::write(path, list).map_err(|error| {
            Failure::failed(format!("cannot write {}: {error}", path.display()))
        })?;
    }
    report(args, &summary);
    match summary.skipped.len() {
        0 => Ok(()),
        count => Err(Failure::new(
            if_any_is_bad(args),
            format!("{count} packages are not in the repository; see above"),
        )),
    }
}

/// The exit code when packages are bad: createrepo_c's for who asks for it.
fn if_any_is_bad(args: &Args) -> Exit {
    match args.upstream.error_exit_val {
        true => Exit::Usage,
        false => Exit::Failed,
    }
}

fn request(args: &Args) -> Result<Request, Failure> {
    let now = now();
    let epoch = source_date_epoch()?;
    let at = match (&args.revision, args.set_timestamp_to_revision) {
        (Some(revision), true) => seconds(revision).ok_or_else(|| {
            Failure::usage(format!(
                "the revision `{revision}` is no time: want seconds since 1970"
            ))
        })?,
        _ => epoch.unwrap_or(now),
    };
    if args.repomd_checksum.is_some_and(|sum| sum != args.checksum) {
        return Err(Failure::usage(
            "--repomd-checksum other than --checksum is not supported, because one checksum serves both",
        ));
    }
    let metadata = metadata(args)?;
    let directory = match &args.basedir {
        Some(base) => base.join(&args.directory),
        None => args.directory.clone(),
    };
    if !directory.is_dir() {
        return Err(Failure::usage(format!(
            "{} is no directory",
            directory.display()
        )));
    }
    let group_file = args
        .groupfile
        .as_ref()
        .map(|path| group_file(args, path, &directory, metadata.codec));
    let output = args.outputdir.clone().unwrap_or_else(|| directory.clone());
    Ok(Request {
        state: state(args, &directory, &output)?,
        output,
        directory,
        selection: selection(args)?,
        recycle_list: args.recycle_pkglist,
        reuse: match (args.update, args.skip_stat) {
            (false, _) => Reuse::Nothing,
            (true, false) => Reuse::Unchanged,
            (true, true) => Reuse::KnownPaths,
        },
        keep_additional: args.update && !args.discard_additional_metadata,
        duplicates: if args.allow_duplicate_nevra {
            Duplicates::KeepAll
        } else {
            args.duplicated_nevra
        },
        bad_packages: if args.skip_bad {
            BadPackages::Skip
        } else {
            BadPackages::Refuse
        },
        location: Location {
            prefix: args.location_prefix.clone(),
            cut_dirs: args.cut_dirs,
        },
        metadata,
        database: (args.database || args.compatibility) && !args.no_database,
        group_file,
        names: if args.simple_md_filenames {
            FileNames::Simple
        } else {
            FileNames::Unique
        },
        retain: Retain {
            copies: args.retain_old_md,
            age: args.retain_old_md_by_age,
        },
        at,
        latest_file_time: epoch,
        stamp_files: epoch.is_some() || args.set_timestamp_to_revision,
        now,
        workers: workers(args.workers),
    })
}

/// The group file and its forms. createrepo_c looks for it below the directory.
fn group_file(args: &Args, path: &Path, directory: &Path, codec: Codec) -> GroupFile {
    let below = directory.join(path);
    GroupFile {
        path: if below.is_file() {
            below
        } else {
            path.to_owned()
        },
        codec: match args.xz {
            true => Codec::Xz,
            false => args.compress_type.unwrap_or(codec),
        },
        form: profile(args).map_or(GroupForm::Compressed, |profile| profile.groups),
    }
}

/// Where the run leaves what the next one can use. The directories are made first, since their real
/// names are part of it.
fn state(args: &Args, directory: &Path, output: &Path) -> Result<Option<PathBuf>, Failure> {
    if let Err(error) = std::fs::create_dir_all(output) {
        let output = output.display();
        return Err(Failure::failed(format!("cannot make {output}: {error}")));
    }
    let cache = args.cachedir.clone().or_else(cache_directory);
    Ok(cache.map(|cache| state_file(&cache, directory, output)))
}

fn profile(args: &Args) -> Option<&'static Profile> {
    if args.compatibility {
        return Profile::named("el7").ok();
    }
    args.profile
}

fn metadata(args: &Args) -> Result<Options, Failure> {
    let base = profile(args).map_or_else(Options::default, Profile::options);
    let options = Options {
        codec: args.general_compress_type.unwrap_or(base.codec),
        checksum: args.checksum,
        filelists_ext: args.filelists_ext,
        zchunk: args.zck,
        open_checksums: args.open_checksum || (base.open_checksums && !args.no_open_checksum),
        changelog_limit: usize::try_from(args.changelog_limit).ok(),
        revision: args.revision.clone(),
        content_tags: args.content.clone(),
        repo_tags: args.repo.clone(),
        distro_tags: args.distro.clone(),
    };
    let clash = profile(args).and_then(|profile| profile.clashes(&options, &[]).into_iter().next());
    match clash {
        Some(clash) => Err(Failure::usage(clash.to_string())),
        None => Ok(options),
    }
}

fn selection(args: &Args) -> Result<Selection, Failure> {
    let listed = args
        .pkglist
        .as_deref()
        .map(read_package_list)
        .transpose()
        .map_err(failure)?;
    if let Some(url) = args.includepkg.iter().find(|path| path.contains("://")) {
        return Err(Failure::usage(format!(
            "--includepkg {url} is not supported, because packages must be below the directory: fetch it first"
        )));
    }
    let only = match (listed, args.includepkg.is_empty()) {
        (None, true) => None,
        (listed, _) => Some(
            listed
                .into_iter()
                .flatten()
                .chain(args.includepkg.iter().cloned())
                .collect(),
        ),
    };
    Ok(Selection {
        excludes: args.excludes.clone(),
        only,
        skip_symlinks: args.skip_symlinks,
    })
}

/// What was made, for people.
fn report(args: &Args, summary: &Summary) {
    for bad in &summary.skipped {
        output::note(format!("error: {}: {}", bad.path, bad.error));
    }
    if args.verbose {
        summary
            .read
            .iter()
            .for_each(|path| output::note(format!("read {path}")));
    }
    for (path, first) in &summary.same_files {
        output::note(format!(
            "note: {path} is the same file as {first}, which is listed"
        ));
    }
    let keeps_last = args.duplicated_nevra == Duplicates::KeepLast;
    for duplicate in &summary.duplicates {
        let (first, second, nevra) = (&duplicate.first, &duplicate.second, &duplicate.nevra);
        match keeps_last {
            true => output::note(format!(
                "note: {second} is left out: {first} is called {nevra} too and was built later, or is the last by path"
            )),
            false if args.quiet => {}
            false => output::note(format!(
                "note: {first} and {second} are different packages called {nevra}"
            )),
        }
    }
    if args.quiet {
        return;
    }
    if !summary.dropped_records.is_empty() {
        let why = match args.update && !args.discard_additional_metadata {
            true => "they lead to delta packages or to files that are not here",
            false => "--update carries",
        };
        output::note(format!(
            "note: not carried over from the old metadata: {} ({why})",
            summary.dropped_records.join(", ")
        ));
    }
    if summary.signature_dropped {
        output::note("note: the signature of the old repomd.xml was removed: sign the new one");
    }
    output::note(format!(
        "{} packages, {}",
        summary.packages,
        read_of_them(summary.packages, summary.read.len())
    ));
}

/// Of two files of one name, one may be listed and both are read.
fn read_of_them(listed: usize, read: usize) -> String {
    match read > listed {
        true => format!("listed of {read} files that were read"),
        false => format!("{read} of them read"),
    }
}

/// Names every bad package on a line of its own.
pub(super) fn failure(error: CreaterepoError) -> Failure {
    match &error {
        CreaterepoError::BadPackages(bad) => {
            for bad in bad {
                output::note(format!("error: {}: {}", bad.path, bad.error));
            }
            Failure::failed(error).with_hint(
                "nothing was changed; --skip-bad makes the repository of the other packages",
            )
        }
        CreaterepoError::Duplicates(duplicates) => {
            for duplicate in duplicates {
                output::note(format!(
                    "error: {} and {} are different packages called {}",
                    duplicate.first, duplicate.second, duplicate.nevra
                ));
            }
            Failure::failed(error).with_hint(
                "nothing was changed; --duplicated-nevra keep lists them all, keep-last the newest build",
            )
        }
        CreaterepoError::Busy { .. } => {
            Failure::failed(error).with_hint("wait for it to end, and try again")
        }
        CreaterepoError::Directory { .. }
        | CreaterepoError::Input { .. }
        | CreaterepoError::NoRepository { .. }
        | CreaterepoError::NameTaken { .. }
        | CreaterepoError::NoRecord { .. } => Failure::usage(error),
        CreaterepoError::OldMetadata { .. } | CreaterepoError::OldRepomd { .. } => {
            Failure::failed(error).with_hint("a run without --update makes the metadata anew")
        }
        CreaterepoError::Merge {
            source:
                MergeError::Source {
                    source: SourceError::Unreachable(_),
                    ..
                },
            ..
        } => Failure::new(Exit::Unreachable, error),
        CreaterepoError::Merge { .. }
        | CreaterepoError::Database { .. }
        | CreaterepoError::Metadata(_)
        | CreaterepoError::Write { .. } => Failure::failed(error),
    }
}

/// Threads: as many as asked for, or as there are processors.
pub(super) fn workers(asked: Option<u16>) -> NonZeroUsize {
    asked
        .and_then(|count| NonZeroUsize::new(usize::from(count)))
        .or_else(|| std::thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN)
}

/// The clock's time.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let secs = since.map_or(0, |since| since.as_secs());
    Timestamp::from_unix_secs(i64::try_from(secs).unwrap_or(i64::MAX))
}

/// The time that reproducible builds give for everything that is written.
pub(super) fn source_date_epoch() -> Result<Option<Timestamp>, Failure> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else {
        return Ok(None);
    };
    match seconds(&text) {
        Some(at) => Ok(Some(at)),
        None => Err(Failure::usage(format!(
            "SOURCE_DATE_EPOCH is `{text}`, want seconds since 1970"
        ))),
    }
}

fn seconds(text: &str) -> Option<Timestamp> {
    text.trim().parse().ok().map(Timestamp::from_unix_secs)
}

#[cfg(test)]
mod tests {
    use super::read_of_them;

    #[test]
    fn more_files_than_packages_are_not_called_some_of_them() {
        assert_eq!(read_of_them(3, 2), "2 of them read");
        assert_eq!(read_of_them(38, 43), "listed of 43 files that were read");
    }
}
