//! `hallmark rebuild`: make a published package again on this machine and compare.

use super::status;
use crate::api::{Client, ServerArgs};
use crate::config_file;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::progress::Progress;
use crate::until_signal;
use hallmark_rebuilder::buildroot::{LayerError, Store};
use hallmark_rebuilder::compare::Comparer;
use hallmark_rebuilder::profile::{self, Profile};
use hallmark_rebuilder::replay::ReplayError;
use hallmark_rebuilder::sandbox::{self, Cancel, Limits};
use hallmark_rebuilder::verify::{self, CheckError, CheckRequest, Verified, VerifiedPackage};
use repo_model::FileDigest;
use repo_model::config::RebuilderConfig;
use repo_model::rpm::{Head, HeadLimits, Package};
use repo_model::wire::status::BuildStatus;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Arguments of `hallmark rebuild`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Builds the source package again as the buildinfo says, in a sandbox without network, and compares. A signed
package is confirmed when its own signatures before the rebuilt header and payload give the same file.
The server, where it is asked, only hands out files; nothing it says is believed.

EXAMPLES:
  # A package that was downloaded, with its source package and its buildinfo
  hallmark rebuild hello-2.12-1.x86_64.rpm --srpm hello-2.12-1.src.rpm --buildinfo hello.buildinfo.json

  # The same, source package and buildinfo from the server
  hallmark rebuild --server https://packages.example hello-2.12-1.x86_64.rpm

EXIT CODES:
  0  every package was confirmed bit for bit
  1  one was not, or the build failed
  2  wrong usage, or the files do not belong together
  3  the server cannot be reached: try again later
  4  this machine cannot tell: it lacks what the build needs, or a limit stopped it")]
pub struct Args {
    /// Packages of one build
    #[arg(required = true, value_name = "RPM")]
    packages: Vec<PathBuf>,
    /// The source package they were built from; none: the server is asked
    #[arg(long, value_name = "FILE", requires = "buildinfo")]
    srpm: Option<PathBuf>,
    /// The record of their build
    #[arg(long, value_name = "FILE", requires = "srpm")]
    buildinfo: Option<PathBuf>,
    /// Vary something on purpose that must not matter: plain, one-cpu, other-kernel, fixed-addresses,
    /// reversed-directories, later-day
    #[arg(long, value_name = "NAME", default_value = "plain")]
    profile: String,
    /// Keep the build log here
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Take limits, scratch space and layers from [rebuilder] in this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// The files of one build, on this machine.
struct Inputs {
    files: Vec<PathBuf>,
    srpm: PathBuf,
    buildinfo: PathBuf,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let profile = chosen_profile(&args.profile)?;
    let config = match &args.config {
        Some(path) => config_file::read(path)?.rebuilder,
        // Anybody may make a directory of their own there.
        None => RebuilderConfig {
            work_dir: "/var/tmp".into(),
            ..RebuilderConfig::default()
        },
    };
    sandbox::choose(&config).map_err(Failure::usage)?;
    let temporary = tempdir(&config)?;
    let files = args.packages.clone();
    let inputs = match (&args.srpm, &args.buildinfo) {
        (Some(srpm), Some(buildinfo)) => Inputs {
            files,
            srpm: srpm.clone(),
            buildinfo: buildinfo.clone(),
        },
        _ => fetch(&args.server.client()?, files, temporary.dir())?,
    };
    let log = args
        .log
        .clone()
        .unwrap_or_else(|| temporary.dir().join("build.log"));
    let verified = check_until_signal(request(inputs, profile, config, log)?)?;
    if args.json {
        output::json(&verified)?;
    } else {
        output::raw(report(&verified).as_bytes())?;
    }
    if verified.confirmed {
        return Ok(());
    }
    let failure = Failure::failed("not every package was confirmed bit for bit");
    Err(match (&args.log, verified.exit_code) {
        (Some(log), 1..) => {
            failure.with_hint(format!("the build failed; {} tells why", log.display()))
        }
        (None, 1..) => failure.with_hint("the build failed; --log FILE keeps its log"),
        _ => failure.with_hint("`hallmark-rebuilder bisect SRPM` finds what it depends on"),
    })
}

fn chosen_profile(name: &str) -> Result<&'static Profile, Failure> {
    profile::profile(name).ok_or_else(|| {
        let known: Vec<&str> = profile::PROFILES.iter().map(|row| row.name).collect();
        Failure::usage(format!("there is no profile `{name}`"))
            .with_hint(format!("profiles are {}", known.join(", ")))
    })
}

fn tempdir(config: &RebuilderConfig) -> Result<hallmark_rebuilder::scratch::Scratch, Failure> {
    let dir = &config.work_dir;
    hallmark_rebuilder::scratch::Scratch::create(dir).map_err(|error| {
        cannot_tell(format!(
            "cannot make a directory below {}: {error}",
            dir.display()
        ))
    })
}

fn cannot_tell(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(Exit::CannotTell, error)
}

fn request(
    inputs: Inputs,
    profile: &'static Profile,
    config: RebuilderConfig,
    log: PathBuf,
) -> Result<CheckRequest, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| cannot_tell(format!("cannot find this program's file: {error}")))?;
    Ok(CheckRequest {
        files: inputs.files,
        srpm: inputs.srpm,
        buildinfo: inputs.buildinfo,
        log,
        profile,
        limits: Limits::from_config(&config),
        comparer: Comparer {
            program,
            work_dir: config.work_dir.clone(),
            build_uid: config.build_uid,
        },
        store: Store::new(&config.layers_dir, config.layers_bytes),
        work_dir: config.work_dir,
        build_uid: config.build_uid,
        cancel: Cancel::default(),
    })
}

/// The server's build of a local package, found by its header: signing does not change that.
pub fn build_of(client: &Client, file: &Path) -> Result<BuildStatus, Failure> {
    let unusable = |error: String| Failure::usage(format!("{}: {error}", file.display()));
    let open = File::open(file).map_err(|error| unusable(error.to_string()))?;
    let head = Head::read(BufReader::new(open), &HeadLimits::default())
        .map_err(|error| unusable(error.to_string()))?;
    let package = Package::from_head(&head).map_err(|error| unusable(error.to_string()))?;
    let builds = status::find(client, &package.nevra.to_string(), None, 100)?;
    let is_it = |build: &BuildStatus| {
        let mut headers = build.packages.iter().map(|package| package.header);
        headers.any(|header| header == package.header_digest)
    };
    builds.into_iter().find(is_it).ok_or_else(|| {
        Failure::failed(format!(
            "the server has no build that made {} with header {}",
            package.nevra, package.header_digest
        ))
        .with_hint("is it a package of another repository?")
    })
}

/// Downloads source package and buildinfo of the build that made the files. Nothing is believed but
/// digests: the check that follows looks at both.
fn fetch(client: &Client, files: Vec<PathBuf>, folder: &Path) -> Result<Inputs, Failure> {
    let Some(first) = files.first() else {
        return Err(Failure::usage("no package is given"));
    };
    let build = build_of(client, first)?;
    let progress = Progress::spinner();
    progress.message(format!("fetching {}", build.source));
    let (srpm, buildinfo) = (folder.join("source.src.rpm"), folder.join("buildinfo.json"));
    download(client, build.source_file, &srpm)?;
    download(client, build.buildinfo, &buildinfo)?;
    Ok(Inputs {
        files,
        srpm,
        buildinfo,
    })
}

/// Downloads a public document and checks its digest.
pub fn download(client: &Client, digest: FileDigest, path: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Unreachable, format!("cannot fetch {digest}: {error}"))
    };
    let mut answer = client.get(&format!("/evidence/sha256/{digest}"))?;
    let file = File::create(path).map_err(failed)?;
    let reader = answer.body_mut().with_config().limit(u64::MAX).reader();
    let (found, _) =
        hallmark_rebuilder::scratch::copy_hashed(reader, file, u64::MAX).map_err(failed)?;
    if found == digest {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "the server sent {found} for {digest}"
    )))
}

/// Checks; a signal stops the build and lets it clean up behind itself.
fn check_until_signal(request: CheckRequest) -> Result<Verified, Failure> {
    let progress = Progress::spinner();
    progress.message(format!("rebuilding {}", request.srpm.display()));
    let cancel = request.cancel.clone();
    until_signal::run(&cancel, move || verify::check(&request), check_failure)
}

fn check_failure(error: CheckError) -> Failure {
    let (exit, hint) = match &error {
        CheckError::BuildInfo { .. }
        | CheckError::Package(_)
        | CheckError::Io { .. }
        | CheckError::Replay(
            ReplayError::OtherSource { .. }
            | ReplayError::OtherSourceHeader { .. }
            | ReplayError::MacroDigest { .. }
            | ReplayError::Source(_)
            | ReplayError::Io { .. },
        ) => (Exit::Usage, None),
        CheckError::OtherBuild { .. } => (
            Exit::Usage,
            Some("is it the buildinfo of this very build? packages signed anew keep their header"),
        ),
        CheckError::Replay(ReplayError::OtherRoot { .. }) => (
            Exit::CannotTell,
            Some("install the build's versions, or check on a machine or container that has them"),
        ),
        CheckError::Replay(ReplayError::Layer(LayerError::NeedsRoot { .. })) => (
            Exit::CannotTell,
            Some("as root: hallmark-rebuilder buildroot make BUILDINFO; then run this again"),
        ),
        CheckError::Replay(
            ReplayError::OtherPlan { .. } | ReplayError::Root(_) | ReplayError::Layer(_),
        )
        | CheckError::Build(_)
        | CheckError::Compare(_)
        | CheckError::Profile { .. } => (
            Exit::CannotTell,
            Some("`hallmark-rebuilder doctor` tells what this machine lacks"),
        ),
    };
    let failure = Failure::new(exit, error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// One line a package with its causes below, then a summary.
fn report(verified: &Verified) -> String {
    let rows: Vec<_> = verified
        .packages
        .iter()
        .map(|package| {
            let name = package
                .file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy();
            vec![
                package.comparison.verdict.to_string(),
                name.into_owned(),
                meaning(package),
            ]
        })
        .collect();
    let table = output::table(&rows);
    let mut text = String::new();
    for (line, package) in table.lines().zip(&verified.packages) {
        text.push_str(line);
        text.push('\n');
        for cause in &package.comparison.causes {
            let place = cause.file.as_ref().or(cause.tag.as_ref());
            let place = place.map_or_else(String::new, |place| format!(" in {place}"));
            text.push_str(&format!("  {}{place}: {}\n", cause.code, cause.detail));
            text.push_str(&format!("    hint: {}\n", cause.hint));
        }
    }
    let confirmed = verified
        .packages
        .iter()
        .filter(|p| p.comparison.verdict.confirms())
        .count();
    text.push_str(&format!(
        "{confirmed} of {} confirmed; {} was built again in {} s (profile {}, limits {})\n",
        verified.packages.len(),
        verified.source,
        verified.finished.unix_secs() - verified.started.unix_secs(),
        verified.profile,
        verified.limits
    ));
    text
}

fn meaning(package: &VerifiedPackage) -> String {
    let digest = package.header_sha256.to_hex();
    let short = digest.get(..16).unwrap_or_default();
    if !package.comparison.verdict.confirms() {
        return format!("header {short}…");
    }
    let how = if package.rebuilt_sha256 == Some(package.file_sha256) {
        "the rebuilt file is this file"
    } else {
        "its signatures + the rebuilt header and payload = this file"
    };
    format!("header {short}…  {how}")
}
