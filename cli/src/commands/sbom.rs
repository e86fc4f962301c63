//! `hallmark sbom`: software bills of materials of local packages, as the server makes them.

use crate::config_file;
use crate::failure::{Failure, chain};
use crate::output;
use crate::progress::Progress;
use repo_model::config::Config;
use sbom_gen::{
    Inventory, Options, SBOM_FORMATS, SbomError, SbomFormat, Supplier, format_named, inventory,
};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Arguments of `hallmark sbom`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # CycloneDX of one package, on stdout
  hallmark sbom hello-2.12-1.x86_64.rpm

  # All formats for many packages, as files in a folder
  hallmark sbom --format cyclonedx-1.6,cyclonedx-1.7,spdx-2.3,spdx-3.0.1 -o sboms/ *.rpm

  # One document about a source package and all that was built from it
  hallmark sbom --build hello-2.12-1.src.rpm hello-2.12-1.x86_64.rpm hello-doc-2.12-1.noarch.rpm

  # A package that is not on disk
  curl -s https://repo.example/hello-2.12-1.x86_64.rpm | hallmark sbom --format spdx-3.0.1 -

  # The very document that the server publishes: with its [sbom] settings and public URL
  hallmark sbom --config /etc/hallmark/hallmark.toml --format spdx-2.3 hello-2.12-1.x86_64.rpm")]
pub struct Args {
    /// RPM packages, binary or source; - reads one from stdin
    #[arg(required = true, value_name = "FILE.rpm")]
    files: Vec<PathBuf>,
    /// cyclonedx-1.6, cyclonedx-1.7, spdx-2.3 or spdx-3.0.1; several with commas
    #[arg(long, value_delimiter = ',', default_value = "cyclonedx-1.6", value_parser = known_format)]
    format: Vec<String>,
    /// Write into this folder; without it one document goes to stdout, several beside the packages
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Take supplier, namespace and document addresses from this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One document a format about the whole build: one source package and what was made from it
    #[arg(long)]
    build: bool,
    /// Do not list the packages' files
    #[arg(long)]
    no_files: bool,
    /// Add the hashes of the packages themselves, which signing would change (BSI TR-03183-2 asks
    /// for them)
    #[arg(long)]
    package_hashes: bool,
}

/// A package has no document.
#[derive(Debug, thiserror::Error)]
enum DocumentError {
    #[error("cannot read the package")]
    Open(#[source] io::Error),
    #[error(transparent)]
    Sbom(#[from] SbomError),
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

fn known_format(name: &str) -> Result<String, String> {
    let names: Vec<_> = SBOM_FORMATS.iter().map(|format| format.name).collect();
    match format_named(name) {
        Some(format) => Ok(format.name.to_owned()),
        None => Err(format!("the formats are {}", names.join(", "))),
    }
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let config = match &args.config {
        Some(path) => config_file::read(path)?,
        None => Config::default(),
    };
    let options = Options {
        files: !args.no_files,
        file_hashes: args.package_hashes,
        ..options(&config)
    };
    let formats = formats(args);
    if let Some(folder) = &args.output {
        std::fs::create_dir_all(folder).map_err(|error| {
            Failure::failed(format!("cannot make {}: {error}", folder.display()))
        })?;
    }
    if args.build {
        return whole_build(args, &formats, &options);
    }
    if let ([file], [format], None) = (args.files.as_slice(), formats.as_slice(), &args.output) {
        return to_stdout(file, format, &options).map_err(|error| {
            Failure::failed(Named {
                path: file.clone(),
                source: error,
            })
        });
    }
    match args.files.iter().filter(|file| is_stdin(file)).count() {
        0 => {}
        1 if args.output.is_some() => {}
        1 => {
            return Err(Failure::usage(
                "the documents of stdin need a folder: --output DIR",
            ));
        }
        _ => return Err(Failure::usage("stdin can be read only once")),
    }
    many(args, &formats, &options)
}

/// Every format once, in the order asked for.
fn formats(args: &Args) -> Vec<&'static SbomFormat> {
    let mut formats: Vec<&SbomFormat> = Vec::new();
    for format in args.format.iter().filter_map(|name| format_named(name)) {
        if !formats.iter().any(|known| known.name == format.name) {
            formats.push(format);
        }
    }
    formats
}

/// Documents of all packages, on all processors; a package that has none stops no other.
fn many(args: &Args, formats: &[&SbomFormat], options: &Options) -> Result<(), Failure> {
    let progress = Progress::items(args.files.len() as u64);
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some(file) = args.files.get(next.fetch_add(1, Ordering::Relaxed)) {
            progress.message(file.display());
            match to_files(file, formats, options, args.output.as_deref()) {
                Ok(written) => written
                    .iter()
                    .for_each(|path| progress.plain(path.display())),
                Err(error) => {
                    progress.note(format!("error: {}: {}", file.display(), chain(&error)));
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            progress.add(1);
        }
    };
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 1..processors.min(args.files.len()) {
            scope.spawn(work);
        }
        work();
    });
    drop(progress);
    match (failed.into_inner(), args.files.len()) {
        (0, _) => Ok(()),
        (failed, total) => Err(Failure::failed(format!(
            "{failed} of {total} packages have no SBOM; see above"
        ))),
    }
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn read(file: &Path, options: &Options) -> Result<Inventory, DocumentError> {
    if is_stdin(file) {
        return Ok(inventory(io::stdin().lock(), options)?);
    }
    let package = File::open(file).map_err(DocumentError::Open)?;
    Ok(inventory(package, options)?)
}

/// Which package it was.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
struct Named {
    path: PathBuf,
    source: DocumentError,
}

fn options(config: &Config) -> Options {
    let sbom = &config.sbom;
    let supplier = Supplier::new(
        &sbom.supplier_name,
        &sbom.supplier_url,
        &sbom.supplier_email,
    );
    Options::new(&sbom.namespace, supplier, &config.server.public_url)
}

fn to_stdout(file: &Path, format: &SbomFormat, options: &Options) -> Result<(), DocumentError> {
    let found = read(file, options)?;
    streamed(|out| format.write(&found, options, out))
}

/// A reader of stdout that has seen enough is no failure.
fn streamed(
    write: impl FnOnce(&mut dyn Write) -> Result<(), SbomError>,
) -> Result<(), DocumentError> {
    let mut out = output::stream();
    let written = write(&mut out).and_then(|()| out.flush().map_err(SbomError::Write));
    match written {
        Err(SbomError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// One document a format about the source package among the files and what was made from it.
fn whole_build(args: &Args, formats: &[&SbomFormat], options: &Options) -> Result<(), Failure> {
    let progress = Progress::items(args.files.len() as u64);
    let (mut sources, mut packages) = (Vec::new(), Vec::new());
    for file in &args.files {
        progress.message(file.display());
        let found = read(file, options).map_err(|source| {
            let path = file.clone();
            Failure::failed(Named { path, source })
        })?;
        match found.package.is_source {
            true => sources.push((file, found)),
            false => packages.push(found),
        }
        progress.add(1);
    }
    drop(progress);
    let [(file, source)] = sources.as_slice() else {
        let count = sources.len();
        return Err(Failure::usage(format!(
            "--build wants one source package among the files, not {count}"
        )));
    };
    let write = |format: &SbomFormat, out: &mut dyn Write| {
        format.write_build(source, &packages, options, out)
    };
    let done = match (formats, &args.output) {
        ([format], None) => streamed(|out| write(format, out)),
        (formats, folder) => formats.iter().try_for_each(|format| {
            let name = format!(
                "{}.build{}",
                source.package.nevra.file_name(),
                format.file_suffix
            );
            let name = name.replace('/', "_");
            let path = match folder {
                Some(folder) => folder.join(name),
                None => file.with_file_name(name),
            };
            replace(&path, |out| write(format, out))?;
            output::note(path.display());
            Ok(())
        }),
    };
    done.map_err(|source| {
        let path = (*file).clone();
        Failure::failed(Named { path, source })
    })
}

/// Writes a file that is there as a whole or not at all.
fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), SbomError>,
) -> Result<(), DocumentError> {
    let fail = |source| DocumentError::Write {
        path: path.to_owned(),
        source,
    };
    let mut unfinished = path.to_owned().into_os_string();
    unfinished.push(".part");
    let mut out = io::BufWriter::new(File::create(&unfinished).map_err(fail)?);
    write(&mut out)?;
    out.flush()
        .and_then(|()| std::fs::rename(&unfinished, path))
        .map_err(fail)
}

/// Writes one file a format; a file that is there is replaced as a whole or not at all.
fn to_files(
    file: &Path,
    formats: &[&SbomFormat],
    options: &Options,
    folder: Option<&Path>,
) -> Result<Vec<PathBuf>, DocumentError> {
    let found = read(file, options)?;
    let mut written = Vec::new();
    for format in formats {
        // What comes from stdin has the name that its header gives it.
        let mut name = match file.file_name() {
            Some(name) if !is_stdin(file) => name.to_owned(),
            _ => found.package.nevra.file_name().replace('/', "_").into(),
        };
        name.push(format.file_suffix);
        let path = match folder {
            Some(folder) => folder.join(name),
            None => file.with_file_name(name),
        };
        replace(&path, |out| format.write(&found, options, out))?;
        written.push(path);
    }
    Ok(written)
}
