//! One document about all packages of a repository, from its metadata or from the packages.

use super::files::on_all_processors;
use super::{Args, DocumentError, Named, replace, streamed, unless_failed};
use crate::commands::repo_check;
use crate::failure::{Exit, Failure, chain};
use crate::output;
use crate::progress::Progress;
use repo_model::rpm::{Head, HeadLimits, Package};
use repo_server::repocheck::{ReleaseReadError, Source, SourceError, read_release};
use sbom_gen::{
    Algorithm, Member, Options, Release, ReleaseBuilder, ReleaseInfo, SbomError, SbomFormat,
};
use sha2::{Digest, Sha256, Sha512};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is said of a release, and how much is looked at.
#[derive(Debug, clap::Args)]
pub(super) struct About {
    /// Name of the distribution or product [default: the namespace of package URLs]
    #[arg(long, value_name = "NAME", requires = "release")]
    release_name: Option<String>,
    /// Its version [default: the revision that the metadata has, if any]
    #[arg(long, value_name = "VERSION", requires = "release")]
    release_version: Option<String>,
    /// CPE name of the product
    #[arg(long, value_name = "CPE", requires = "release")]
    cpe: Option<String>,
    /// Where the repository will be, when it is not the place it is read from
    #[arg(long, value_name = "URL", requires = "release")]
    repository_url: Option<String>,
    /// Look into the packages of a folder, not only at metadata or headers
    #[arg(long, requires = "release")]
    contents: bool,
}

/// Folders within folders that are looked through.
const DEPTH: usize = 32;

/// Runs it.
pub(super) fn run(
    location: &str,
    args: &Args,
    formats: &[&SbomFormat],
    options: &Options,
) -> Result<(), Failure> {
    let folder = location.strip_prefix("file://").unwrap_or(location);
    let has_metadata = Path::new(folder).join("repodata/repomd.xml").is_file();
    let is_remote = folder.contains("://");
    if is_remote && args.about.contents {
        let hint = "download the packages and name their folder";
        let error = Failure::usage("--contents looks into local packages only");
        return Err(error.with_hint(hint));
    }
    let (release, failed, total) = if is_remote || (has_metadata && !args.about.contents) {
        let source = repo_check::source(location)?;
        let release = of_metadata(
            source.as_ref(),
            is_remote.then_some(location),
            args,
            options,
        )?;
        let total = release.len();
        (release, 0, total)
    } else {
        of_packages(Path::new(folder), args, options)?
    };
    let open = release.unresolved().count();
    let (packages, met) = (release.len(), release.resolved_count());
    write(&release, args, formats, options)?;
    output::note(format!(
        "{packages} packages, {met} needs met within the release, {open} requirements that nothing in it meets"
    ));
    unless_failed(failed, total, "are not in the document")
}

fn info(args: &Args, options: &Options, location: Option<&str>) -> ReleaseInfo {
    let about = &args.about;
    ReleaseInfo {
        name: about
            .release_name
            .clone()
            .unwrap_or_else(|| options.namespace.clone()),
        version: about.release_version.clone(),
        cpe: about.cpe.clone(),
        repository_url: about
            .repository_url
            .clone()
            .or_else(|| location.map(str::to_owned)),
        ..ReleaseInfo::default()
    }
}

fn of_metadata(
    source: &dyn Source,
    location: Option<&str>,
    args: &Args,
    options: &Options,
) -> Result<Release, Failure> {
    let progress = Progress::spinner();
    progress.message("reading metadata");
    read_release(source, info(args, options, location), options).map_err(unread)
}

fn unread(error: ReleaseReadError) -> Failure {
    let exit = match &error {
        ReleaseReadError::Open {
            source: SourceError::Unreachable(_),
            ..
        } => Exit::Unreachable,
        _ => Exit::Failed,
    };
    Failure::new(exit, error)
}

/// The release, how many packages could not be read, and how many there are.
fn of_packages(
    folder: &Path,
    args: &Args,
    options: &Options,
) -> Result<(Release, usize, usize), Failure> {
    let mut paths = Vec::new();
    packages_below(folder, DEPTH, &mut paths).map_err(|error| {
        Failure::usage(format!("cannot look through {}: {error}", folder.display()))
    })?;
    if paths.is_empty() {
        let error = format!(
            "there is neither repodata nor a package in {}",
            folder.display()
        );
        return Err(Failure::usage(error));
    }
    let progress = Progress::items(paths.len() as u64);
    let builder = Mutex::new(ReleaseBuilder::new(info(args, options, None), options));
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    on_all_processors(paths.len(), || {
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            progress.message(path.display());
            let added = member(path, args, options).and_then(|mut member| {
                member.location = relative(folder, path);
                let mut builder = builder
                    .lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner());
                Ok(builder.add(member)?)
            });
            if let Err(error) = added {
                progress.note(format!("error: {}: {}", path.display(), chain(&error)));
                failed.fetch_add(1, Ordering::Relaxed);
            }
            progress.add(1);
        }
    });
    drop(progress);
    let builder = builder
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    Ok((builder.finish(), failed.into_inner(), paths.len()))
}

/// All `*.rpm` below a folder, sorted; links to folders are not followed.
fn packages_below(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if depth > 0 {
                packages_below(&path, depth - 1, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rpm") {
            found.push(path);
        }
    }
    Ok(())
}

fn member(path: &Path, args: &Args, options: &Options) -> Result<Member, DocumentError> {
    if args.about.contents {
        return Ok(Member::of_inventory(&super::read(path, options)?));
    }
    let file = File::open(path).map_err(DocumentError::Open)?;
    let head = Head::read(BufReader::new(file), &HeadLimits::default()).map_err(SbomError::from)?;
    let package = Package::from_head(&head).map_err(SbomError::from)?;
    let mut member = Member::of_package(&package);
    if args.package_hashes {
        member.digests = digests(path).map_err(DocumentError::Open)?;
    }
    Ok(member)
}

fn digests(path: &Path) -> io::Result<Vec<(Algorithm, String)>> {
    let (mut sha256, mut sha512) = (Sha256::new(), Sha512::new());
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 128 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        sha256.update(&buffer[..read]);
        sha512.update(&buffer[..read]);
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(vec![
        (Algorithm::Sha256, hex(&sha256.finalize())),
        (Algorithm::Sha512, hex(&sha512.finalize())),
    ])
}

/// The path below the folder, as metadata writes it.
fn relative(folder: &Path, path: &Path) -> Option<String> {
    let relative = path.strip_prefix(folder).ok()?;
    Some(relative.to_string_lossy().into_owned())
}

fn write(
    release: &Release,
    args: &Args,
    formats: &[&SbomFormat],
    options: &Options,
) -> Result<(), Failure> {
    let write =
        |format: &SbomFormat, out: &mut dyn Write| format.write_release(release, options, out);
    let done = match (formats, &args.output) {
        ([format], None) => streamed(|out| write(format, out)),
        (formats, folder) => formats.iter().try_for_each(|format| {
            let name = format!("release{}", format.file_suffix);
            let path = folder.as_deref().unwrap_or(Path::new(".")).join(name);
            replace(&path, |out| write(format, out))?;
            output::note(path.display());
            Ok(())
        }),
    };
    done.map_err(|source| {
        let path = PathBuf::from("the release");
        Failure::failed(Named { path, source })
    })
}
