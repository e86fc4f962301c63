//! `hallmark buildinfo`: build a source package, in the sandbox or with mock, and record how.

use crate::config_file;
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;
use crate::until_signal;
use hallmark_rebuilder::build::{self, BuildError, BuildRequest, Recorded};
use hallmark_rebuilder::buildroot::{LayerError, LockFile, Store};
use hallmark_rebuilder::mock_build::{self, MockError, MockRequest};
use hallmark_rebuilder::sandbox::{self, Limits};
use repo_model::WorkerName;
use repo_model::config::RebuilderConfig;
use repo_model::dsse::StatementKey;
use std::path::{Path, PathBuf};

/// Arguments of `hallmark buildinfo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # RPMs, buildinfo and log of one build, in a folder that `hallmark publish` takes
  hallmark buildinfo hello-2.12-1.src.rpm -o out/
  hallmark publish out/

  # In a build root made of locked packages, whatever this machine has installed
  hallmark-rebuilder buildroot lock --repo https://mirror.example/os -o root.lock.json rpm-build gcc make
  hallmark buildinfo hello-2.12-1.src.rpm -o out/ --buildroot root.lock.json

  # With mock, in the root of one of its configurations; what came out is replayed with mock or without
  hallmark buildinfo hello-2.12-1.src.rpm -o out/ --mock fedora-42-x86_64

  # With provenance signed by a builder that the policy lists
  hallmark-rebuilder keygen --builder --name builder-a --operator acme --out builder.key >>policy.toml
  hallmark buildinfo hello-2.12-1.src.rpm -o out/ --key builder.key --name builder-a")]
pub struct Args {
    /// The source package
    #[arg(value_name = "SRPM")]
    srpm: PathBuf,
    /// Where everything goes, the source package included
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Sign provenance with this key: P-256, PKCS #8 PEM
    #[arg(long, value_name = "FILE", requires = "name")]
    key: Option<PathBuf>,
    /// The builder's name in the policy
    #[arg(long, value_name = "NAME", requires = "key")]
    name: Option<WorkerName>,
    /// Build in a layer of locked packages instead of this machine's own root
    #[arg(long, value_name = "LOCK")]
    buildroot: Option<PathBuf>,
    /// Have mock build it, with this configuration of mock's: a name, or a .cfg file. Needs root.
    #[arg(long, value_name = "CONFIG", conflicts_with = "buildroot")]
    mock: Option<String>,
    /// mock itself, when it is not in the path
    #[arg(long, value_name = "FILE", env = "HALLMARK_MOCK")]
    mock_program: Option<PathBuf>,
    /// Take limits, scratch space and layers from [rebuilder] in this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON: the paths of what came out
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    // A key that is not usable should not cost a build.
    let key = args.key.as_deref().map(read_key).transpose()?;
    let (request, store) = request(args)?;
    let recorded = match &args.mock {
        None => build_until_signal(request)?,
        Some(config) => mock_until_signal(MockRequest {
            build: request,
            config: config.clone(),
            program: mock_program(args),
            store,
        })?,
    };
    let mut files = vec![copy_source(&args.srpm, &args.output)?];
    files.extend(recorded.packages.iter().cloned());
    files.push(recorded.buildinfo.clone());
    if let (Some(key), Some(name)) = (key, &args.name) {
        files.push(write_provenance(&recorded, &key, name)?);
    } else {
        output::note("note: no --key is given, so there is no provenance; a policy may demand one");
    }
    files.push(recorded.log);
    if args.json {
        return output::json(&files);
    }
    files
        .iter()
        .try_for_each(|file| output::line(file.display()))
}

fn request(args: &Args) -> Result<(BuildRequest, Store), Failure> {
    let mut request = BuildRequest::new(&args.srpm, &args.output);
    let defaults = RebuilderConfig::default();
    let mut store = Store::new(&defaults.layers_dir, defaults.layers_bytes);
    if let Some(path) = &args.config {
        let rebuilder = config_file::read(path)?.rebuilder;
        sandbox::choose(&rebuilder).map_err(Failure::usage)?;
        request.limits = Limits::from_config(&rebuilder);
        request.build_uid = rebuilder.build_uid;
        request.work_dir = rebuilder.work_dir.clone();
        store = Store::new(&rebuilder.layers_dir, rebuilder.layers_bytes);
    }
    if let Some(path) = &args.buildroot {
        let layer = LockFile::read(path).and_then(|lock| store.layer_of(&lock.buildroot()));
        request.root = Some(layer.map_err(|error| {
            Failure::failed(error).with_hint("`hallmark-rebuilder buildroot lock` makes a lock")
        })?);
    }
    Ok((request, store))
}

fn read_key(path: &Path) -> Result<StatementKey, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!("cannot read the key {}: {error}", path.display()))
    })?;
    StatementKey::from_pem(&text).map_err(|error| {
        Failure::usage(format!("{}: {error}", path.display()))
            .with_hint("`hallmark-rebuilder keygen --builder` makes one")
    })
}

/// Builds; a signal stops the build and lets it clean up behind itself.
fn build_until_signal(request: BuildRequest) -> Result<Recorded, Failure> {
    let progress = Progress::spinner();
    let words = format!("building {}", request.srpm.display());
    progress.message(&words);
    progress.plain(&words);
    let cancel = request.cancel.clone();
    until_signal::run(&cancel, move || build::record(&request), build_failure)
}

/// The words that start mock: given, or those of the configured backend; none: what is in the path.
fn mock_program(args: &Args) -> Vec<String> {
    match &args.mock_program {
        Some(path) => vec![path.to_string_lossy().into_owned()],
        None if sandbox::chosen_backend().name == "mock" => sandbox::backend_command().to_vec(),
        None => Vec::new(),
    }
}

/// The same with mock.
fn mock_until_signal(request: MockRequest) -> Result<Recorded, Failure> {
    let progress = Progress::spinner();
    let words = format!("building {} with mock", request.build.srpm.display());
    progress.message(&words);
    progress.plain(&words);
    let cancel = request.build.cancel.clone();
    until_signal::run(&cancel, move || mock_build::record(&request), mock_failure)
}

fn mock_failure(error: MockError) -> Failure {
    let hint = match error {
        MockError::Build(error) => return build_failure(error),
        MockError::Mock { .. } => "the .root.log beside the build's tells what mock did",
        MockError::Lock(_) => {
            "mock lists where its packages came from; they have to be there still"
        }
        MockError::Layer(LayerError::NeedsRoot { .. }) => "run it as root",
        MockError::Layer(_) => "what mock installed must be a build root with rpm in it",
        MockError::NotReplayed { .. } => "leave that to the source package, or build with rpmbuild",
    };
    Failure::failed(error).with_hint(hint)
}

fn build_failure(error: BuildError) -> Failure {
    let hint = match &error {
        BuildError::Failed { .. } => {
            Some("is every BuildRequires installed on this machine? the sandbox sees its root")
        }
        BuildError::Root(_) | BuildError::Sandbox(_) | BuildError::NarrowRoot { .. } => {
            Some("`hallmark-rebuilder doctor` tells what this machine lacks")
        }
        BuildError::Source(_)
        | BuildError::Future { .. }
        | BuildError::RootChanged { .. }
        | BuildError::Output { .. }
        | BuildError::Io { .. } => None,
    };
    let failure = Failure::failed(error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// `hallmark publish DIR` wants the source package beside its binaries.
fn copy_source(srpm: &Path, folder: &Path) -> Result<PathBuf, Failure> {
    let target = folder.join(srpm.file_name().unwrap_or_default());
    let same = matches!((srpm.canonicalize(), target.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if !same {
        std::fs::copy(srpm, &target).map_err(|error| {
            Failure::failed(format!("cannot write {}: {error}", target.display()))
        })?;
    }
    Ok(target)
}

/// Writes `….provenance.json` beside `….buildinfo.json`.
fn write_provenance(
    recorded: &Recorded,
    key: &StatementKey,
    name: &WorkerName,
) -> Result<PathBuf, Failure> {
    let envelope = build::provenance(
        &recorded.info,
        key,
        name,
        recorded.started,
        recorded.finished,
    )
    .map_err(Failure::failed)?;
    let file_name = recorded
        .buildinfo
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let stem = file_name
        .strip_suffix(".buildinfo.json")
        .unwrap_or(&file_name);
    let path = recorded
        .buildinfo
        .with_file_name(format!("{stem}.provenance.json"));
    std::fs::write(&path, envelope.to_json())
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
    Ok(path)
}
