//! `hallmark verify`: the chain behind packages, checked with nobody's help but the evidence's.

mod found;
mod source;
mod targets;

use self::found::{Found, partly, report};
use self::source::{copy_at, source};
use self::targets::{Target, is_pack, of_one_source, subjects, targets, unknown};
use super::createrepo::now;
use crate::api::ServerArgs;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::verify::{
    Common, RememberError, SourceError, Subject, SubjectError, TrustDir, TrustDirError, Verifier,
    failure, remember,
};
use std::path::PathBuf;

/// Arguments of `hallmark verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Looks at the package's signature, at who made the same bytes from the same source, SBOMs, the policy, the
release, the transparency log and freshness, and judges the raw evidence anew. What counts are the keys and the
policy in the trust folder (`hallmark trust fetch`); the server only hands out evidence, and nothing it says is
believed.

EXAMPLES:
  # A file that was downloaded
  hallmark verify --server https://packages.example hello-2.12-1.x86_64.rpm

  # A package of the repository, by name, version, release and architecture
  hallmark verify --server https://packages.example hello-2.12-1.x86_64

  # Everything that is installed and comes from there
  hallmark verify --server https://packages.example installed

  # On a machine without network, from an evidence pack (`hallmark evidence 4 -o pack.tar.zst`)
  hallmark verify --trust trust/ --offline pack.tar.zst hello-2.12-1.x86_64.rpm

  # Refuse a repository whose log does not go on from what this machine saw the last time
  hallmark verify --server https://packages.example --remember /var/lib/hallmark/log-head installed

  # Every package of a repository that lies here
  hallmark verify --server https://packages.example /srv/mirror/stable/base/x86_64

  # The server is down: a mirror alone has the evidence, too, or the copy that lies here
  hallmark verify --from https://mirror.example/stable/base/x86_64 hello-2.12-1.x86_64.rpm

  # Many packages at once
  ls *.rpm | hallmark verify --server https://packages.example --json -

  # The pack itself: every package of the release
  hallmark verify --trust trust/ pack.tar.zst

EXIT CODES:
  0  the policy holds for every package
  1  it does not for one: the first broken link is explained
  2  wrong usage, or the trust folder cannot be used
  3  the server cannot be reached: try again later")]
pub struct Args {
    /// Files, directories of packages, NEVRAs, URLs of packages, evidence packs, the word `installed`; `-`: lines of stdin
    #[arg(required = true, value_name = "PACKAGE")]
    targets: Vec<String>,
    /// The folder with the keys and the policy that count
    #[arg(long, value_name = "DIR", default_value = "/etc/hallmark/trust")]
    trust: PathBuf,
    /// Take the evidence from this pack; no server is asked
    #[arg(long, value_name = "PACK")]
    offline: Option<PathBuf>,
    /// Take the evidence from this copy of a repository, a URL or a directory; no server is asked
    #[arg(long, value_name = "COPY", conflicts_with = "offline")]
    from: Option<String>,
    /// Keep the evidence in this folder, and take from it what was kept when nobody can be asked
    #[arg(long, value_name = "DIR", conflicts_with_all = ["offline", "from"])]
    cache: Option<PathBuf>,
    /// The newest release must not be older than this
    #[arg(long, value_name = "DAYS")]
    max_age: Option<u32>,
    /// Keep the newest head of the log in this file, and refuse a log that does not go on from the one in it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["offline", "from"])]
    remember: Option<PathBuf>,
    /// With `installed`: packages that the repository does not know are an error
    #[arg(long)]
    strict: bool,
    /// With `installed`: the system below this folder, not this one
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Print the chains as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let trust = TrustDir::read(&args.trust, args.max_age, now()).map_err(|error| {
        let hint = match error {
            TrustDirError::Read { .. } => {
                "`hallmark trust fetch --server URL -o DIR` makes such a folder"
            }
            _ => "`hallmark trust fetch --server URL -o DIR` fetches what is newer; roots that are there stay",
        };
        Failure::usage(error).with_hint(hint)
    })?;
    let targets = targets(args)?;
    if args.remember.is_some() && targets.iter().any(|target| is_pack(target)) {
        return Err(Failure::usage(
            "--remember follows the log of a server, and a pack is of the past",
        )
        .with_hint("verify the pack without --remember"));
    }
    let mut found = Found::default();
    for together in of_one_source(args, &targets) {
        if let Err(failure) = look(args, &trust, together, &mut found) {
            found.fail(failure);
        }
    }
    if let Some(failure) = found.failure.take() {
        return Err(partly(args, &found, failure));
    }
    let Err(failure) = remembered(args, &trust) else {
        return report(args, &found);
    };
    // First, so that a broken chain, which ends the command, too, does not keep it from being said.
    output::note(failure.message());
    report(args, &found)?;
    Err(Failure::new(
        failure.exit,
        "the head of the log was not remembered",
    ))
}

/// Looks at targets of one source. A target that cannot be looked at is kept in `found`, and the others are looked
/// at; an error is that none can be.
fn look(
    args: &Args,
    trust: &TrustDir,
    targets: &[String],
    found: &mut Found,
) -> Result<(), Failure> {
    let Some(first) = targets.first() else {
        return Ok(());
    };
    let mut source = source(args, first)?;
    let mut common = Common::ask(&*source).map_err(unanswered)?;
    if common.newest().is_none()
        && let Some(copy) = copy_at(args, first)?
    {
        common = Common::ask(&copy).map_err(unanswered)?;
        source = Box::new(copy);
    }
    let verifier = Verifier {
        trust,
        source: &*source,
        common: &common,
        now: now(),
    };
    let mut packages = Vec::new();
    for target in targets {
        match subjects(args, target) {
            Ok(subjects) => packages.extend(subjects),
            Err(failure) => found.fail(failure),
        }
    }
    let read = |target: &Target| match target {
        Target::File(path) | Target::Below(path) => Subject::of_file(path),
        Target::Subject(subject) => Ok(subject.clone()),
    };
    verifier.chains(&packages, read, |target, chain| {
        let is_installed = matches!(target, Target::Subject(Subject::Installed { .. }));
        match chain {
            Ok(Some(chain)) => found.add(args, chain),
            Ok(None) if is_installed && !args.strict => found.strangers += 1,
            Ok(None) => found.fail(unknown(target)),
            Err(SubjectError::SourcePackage(_)) if matches!(target, Target::Below(_)) => {
                found.sources += 1;
            }
            Err(error) => found.fail(unjudged(error)),
        }
    });
    Ok(())
}

/// After the packages: a head that is older than their proofs would look as if the log had shrunk.
fn remembered(args: &Args, trust: &TrustDir) -> Result<(), Failure> {
    let (Some(path), Some(target)) = (&args.remember, args.targets.first()) else {
        return Ok(());
    };
    let source = source(args, target)?;
    let seen = remember(
        &*source,
        &trust.trust.log_keys,
        &trust.trust.log_cosigners,
        path,
    );
    seen.map_err(|error| match error {
        RememberError::Source(error) => unanswered(error),
        RememberError::File { .. } | RememberError::NoHead { .. } => Failure::usage(error),
        RememberError::Untrusted(_)
        | RememberError::Shrunk { .. }
        | RememberError::Forked { .. } => Failure::failed(error).with_hint(
            "keep the file: it is the proof of what was shown before; tell the operator and a monitor",
        ),
    })?;
    Ok(())
}

fn unanswered(error: SourceError) -> Failure {
    match error {
        SourceError::Asked(error) => failure(error),
        SourceError::Read { .. } | SourceError::Away { .. } => {
            Failure::new(Exit::Unreachable, error)
        }
        SourceError::Digest { .. } | SourceError::Shape { .. } | SourceError::Write { .. } => {
            Failure::failed(error)
        }
    }
}

fn unjudged(error: SubjectError) -> Failure {
    match error {
        SubjectError::Source(error) => unanswered(error),
        SubjectError::Read { .. } | SubjectError::NoPackage { .. } => Failure::usage(error),
        SubjectError::SourcePackage(_) => Failure::usage(error).with_hint(
            "verify what was built from it: its provenance names the source package by digest \
             (`hallmark evidence NAME`)",
        ),
        SubjectError::NotServed(_) | SubjectError::OtherHeader { .. } => Failure::failed(error),
    }
}
