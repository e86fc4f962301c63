//! `hallmark bundle`: a tree for machines without a network, on whatever carries files.

use super::createrepo::now;
use super::mirror::report::Telling;
use crate::failure::{Failure, chain};
use crate::output;
use crate::person_key;
use mirrors::bundle::{
    Applied, Apply, BundleError, Create, apply, create, have, read_have, write_have,
};
use repo_model::dsse::StatementPublicKey;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments of `hallmark bundle`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # Once: a key for bundles; its public part goes to the machines without a network, by a way that is trusted
  hallmark bundle keygen bundle.key > bundle.pub

  # There: what is here already
  hallmark bundle have /srv/www > have.txt

  # Here: what they lack of the export, good for two weeks
  hallmark export /srv/www
  hallmark bundle create --key bundle.key --have have.txt --days 14 /srv/www -o update.bundle

  # There: refused unless it is signed, in time, whole and newer than the last one
  hallmark bundle apply --trust bundle.pub update.bundle /srv/www
  hallmark mirror verify --key RPM-GPG-KEY /srv/www")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key that signs bundles, and print its public part
    #[command(after_help = "EXAMPLES:\n  hallmark bundle keygen bundle.key > bundle.pub")]
    Keygen {
        /// Where the private key goes; must not exist
        file: PathBuf,
    },
    /// Print the digests of all files below a directory
    #[command(after_help = "EXAMPLES:\n  hallmark bundle have /srv/www > have.txt")]
    Have {
        /// The directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Write what the other side lacks of a tree to a file
    Create(CreateArgs),
    /// Put the tree of a bundle in place
    Apply(ApplyArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  hallmark bundle create --key bundle.key --have have.txt /srv/www -o update.bundle")]
struct CreateArgs {
    /// The tree: an export, or copies of repositories
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Where the bundle goes; must not exist
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The private key that signs it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The tree's name, by which the other side knows what belongs there [default: the directory's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What `hallmark bundle have` printed on the other side [default: nothing is there]
    #[arg(long, value_name = "FILE")]
    have: Option<PathBuf>,
    /// How long it may be applied, days
    #[arg(long, value_name = "N", default_value = "30", value_parser = clap::value_parser!(u16).range(1..))]
    days: u16,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  hallmark bundle apply --trust bundle.pub update.bundle /srv/www

Nothing of a bundle is visible before its signature, its times and every file in it were found right; then packages are put in
place, and each repodata changes in one step. A bundle that was cut short can be followed by the whole one: what came stays.")]
struct ApplyArgs {
    /// The bundle; `-` for standard input
    #[arg(value_name = "FILE")]
    bundle: PathBuf,
    /// Where the tree goes
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Public key of whoever may sign bundles; may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    trust: Vec<PathBuf>,
    /// Remove what the tree has no longer this many hours after it was dropped
    #[arg(long, value_name = "HOURS", default_value = "24")]
    delete_after: u32,
    /// Take a bundle that was made before the last one applied
    #[arg(long)]
    allow_older: bool,
    /// Take a bundle of another tree than the one that is there
    #[arg(long)]
    other_tree: bool,
    /// Write what became of each file as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Keygen { file } => {
            let key = person_key::create(file)?;
            output::raw(key.public().to_pem().as_bytes())
        }
        Command::Have { directory } => {
            if !directory.is_dir() {
                output::note(format!(
                    "{} is not there: it has nothing",
                    directory.display()
                ));
            }
            let digests = have(directory).map_err(failure)?;
            output::raw(write_have(&digests).as_bytes())
        }
        Command::Create(args) => run_create(args),
        Command::Apply(args) => run_apply(args),
    }
}

fn run_create(args: &CreateArgs) -> Result<(), Failure> {
    if !args.directory.is_dir() {
        let directory = args.directory.display();
        return Err(Failure::usage(format!("{directory} is no directory")));
    }
    let key = person_key::read(&args.key)?;
    let have = match &args.have {
        None => HashSet::new(),
        Some(path) => {
            let text = read(path)?;
            read_have(&text).map_err(|line| {
                Failure::usage(format!("line {line} of {} is no digest", path.display()))
                    .with_hint("it is what `hallmark bundle have` prints")
            })?
        }
    };
    let tree = tree_name(args)?;
    let created = now();
    let request = Create {
        directory: &args.directory,
        tree: &tree,
        have: &have,
        created,
        expires: created.plus_secs(i64::from(args.days) * 86_400),
        key: &key,
    };
    if args.output.exists() {
        let output = args.output.display();
        return Err(Failure::usage(format!("{output} exists")));
    }
    // Whole or not at all: nobody carries half a bundle away.
    let fresh = args.output.with_extension("new");
    let write = |error| person_key::failed("write", &fresh, &error);
    let file = File::create(&fresh).map_err(write)?;
    let made = create(&request, BufWriter::new(&file)).map_err(failure);
    let made = made.and_then(|made| {
        file.sync_all().map_err(write)?;
        fs::rename(&fresh, &args.output).map_err(write)?;
        Ok(made)
    });
    if made.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    let made = made?;
    output::note(format!(
        "{}: {} of {} files ({}), good until {}",
        args.output.display(),
        made.objects,
        made.files,
        output::bytes(made.object_bytes),
        request.expires
    ));
    Ok(())
}

/// What was said, else the directory's own name.
fn tree_name(args: &CreateArgs) -> Result<String, Failure> {
    if let Some(name) = &args.name {
        return Ok(name.clone());
    }
    // The name of `.` is the name of the directory that it is.
    let path = std::path::absolute(&args.directory).ok();
    let name = path.as_deref().and_then(Path::file_name);
    let name = name.map(|name| name.to_string_lossy().into_owned());
    name.ok_or_else(|| {
        let directory = args.directory.display();
        Failure::usage(format!("{directory} does not tell the tree's name"))
            .with_hint("--name does")
    })
}

fn run_apply(args: &ApplyArgs) -> Result<(), Failure> {
    let mut trusted: Vec<StatementPublicKey> = Vec::new();
    for path in &args.trust {
        let key = read(path)?.parse().map_err(|error| {
            Failure::usage(format!("{}: {}", path.display(), chain(&error)))
                .with_hint("it is what `hallmark bundle keygen` prints")
        })?;
        trusted.push(key);
    }
    let request = Apply {
        directory: &args.directory,
        trusted: &trusted,
        grace: Duration::from_secs(u64::from(args.delete_after) * 3600),
        now: now(),
        allow_older: args.allow_older,
        allow_other_tree: args.other_tree,
    };
    let telling = Telling::new(args.report.as_deref())?;
    let outcome = match args.bundle.as_os_str() == "-" {
        true => apply(&request, std::io::stdin().lock(), &telling),
        false => {
            let file = File::open(&args.bundle)
                .map_err(|error| person_key::failed("read", &args.bundle, &error))?;
            apply(&request, file, &telling)
        }
    };
    match &outcome {
        Ok(applied) => telling.finish(applied),
        Err(error) => telling.finish(&serde_json::json!({ "error": chain(error) })),
    }?;
    let applied = outcome.map_err(failure)?;
    output::raw(told(&applied).as_bytes())
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| person_key::failed("read", path, &error))
}

fn failure(error: BundleError) -> Failure {
    let hint = match &error {
        BundleError::CutShort { .. } => Some("copy the bundle once more; what came is kept"),
        BundleError::Untrusted => Some("--trust names the public key of who makes the bundles"),
        BundleError::Expired { .. } | BundleError::FromFuture { .. } => {
            Some("if this machine's clock is right, ask for a new bundle")
        }
        BundleError::Older { .. } => {
            Some("if a release was taken back, --allow-older follows it; else somebody replays it")
        }
        BundleError::OtherTree { .. } => Some(
            "look at the bundle and the directory once more; if that tree is to be there from now on, --other-tree",
        ),
        BundleError::Lacking { .. } => {
            Some("run `hallmark bundle have` here, and have a bundle made with its list")
        }
        BundleError::Busy { .. }
        | BundleError::Local { .. }
        | BundleError::Changed { .. }
        | BundleError::Malformed { .. }
        | BundleError::Name { .. }
        | BundleError::Sign(_)
        | BundleError::Export(_) => None,
    };
    let failure = Failure::failed(error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// The end of an application, for people.
fn told(applied: &Applied) -> String {
    let tree = &applied.tree;
    format!(
        "bundle of {}: {} objects taken; {} files: {} placed, {} repodata exchanged, {} removed\n",
        applied.created, applied.objects, tree.files, tree.placed, tree.switched, tree.deleted
    )
}
