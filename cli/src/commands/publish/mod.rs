//! `hallmark publish`: finished builds go to the server.

mod group;
mod inputs;
mod wait;

use crate::api::blobs::{self, Blob, UploadError, Watcher};
use crate::api::retry::{Patience, with_patience};
use crate::api::{ApiError, Client, ServerArgs};
use crate::failure::{Exit, Failure, chain};
use crate::output;
use crate::progress::Progress;
use group::Build;
use inputs::name_of;
use repo_model::RepoName;
use repo_model::wire::intake::BuildReceipt;
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `hallmark publish`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # One build: source package, binary packages, buildinfo and provenance
  hallmark publish hello-2.12-1.src.rpm hello-2.12-1.x86_64.rpm hello.buildinfo.json hello.provenance.json

  # Everything that `hallmark buildinfo` put into a folder, and wait until each build is out or held
  hallmark publish --wait out/

  # To another server and repository, for a script
  hallmark publish --server https://packages.example --token-file token --repo extras --json out/*")]
pub struct Args {
    /// RPMs, SRPMs, *.buildinfo.json and *.provenance.json, or folders that hold them
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    /// The repository that the builds go to
    #[arg(long, default_value = "base", value_name = "NAME")]
    repo: RepoName,
    /// A provenance (DSSE JSON) whose name does not end in .provenance.json; may be repeated
    #[arg(long, value_name = "FILE")]
    provenance: Vec<PathBuf>,
    /// Wait until each build is published, held or rejected; held or rejected is exit code 1
    #[arg(long)]
    wait: bool,
    /// Give up waiting after this many seconds
    #[arg(long, value_name = "SECS", default_value_t = 3_600, requires = "wait")]
    wait_secs: u64,
    /// Print JSON: the receipts, or with --wait the builds as they ended
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// A build did not reach the server.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error("the server did not take the build")]
    Post(#[source] ApiError),
}

impl PublishError {
    fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Upload(UploadError::Api { source, .. }) | Self::Post(source) => Some(source),
            Self::Upload(UploadError::Read { .. }) => None,
        }
    }
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let client = args.server.client()?;
    let (files, mut bad) = inputs::list(&args.files, &args.provenance);
    let sizes = files.iter().filter_map(|(path, _)| path.metadata().ok());
    let progress = Progress::bytes(sizes.map(|meta| meta.len()).sum());
    let (inputs, unreadable) = inputs::read(&files, &progress);
    drop(progress);
    bad.extend(unreadable);
    for error in &bad {
        output::note(format!("error: {}", chain(error)));
    }
    let grouping = group::group(&inputs);
    let mut failed = bad.len();
    let mut builds = Vec::new();
    for build in grouping.builds {
        match build {
            Ok(build) => builds.push(build),
            Err(error) => {
                output::note(format!("error: {error}\nhint: {}", error.hint()));
                failed += 1;
            }
        }
    }
    for file in grouping.unused {
        output::note(format!(
            "note: {} belongs to none of these builds",
            file.path.display()
        ));
    }
    let (receipts, refused) = send_all(&client, &args.repo, &builds)?;
    failed += refused;
    finish(args, &client, &receipts, failed)
}

/// Sends builds one after the other: one that is refused does not stop the rest, a server that
/// stays away does.
fn send_all(
    client: &Client,
    repo: &RepoName,
    builds: &[Build<'_>],
) -> Result<(Vec<BuildReceipt>, usize), Failure> {
    let progress = Progress::bytes(builds.iter().map(Build::size_bytes).sum());
    let mut receipts = Vec::new();
    let mut refused = 0;
    for build in builds {
        let name = build.source.nevra.to_string();
        match send(client, repo, build, &progress) {
            Ok(receipt) => {
                let count = receipt.packages.len();
                progress.note(format!(
                    "{name}: build {} with {count} packages is {}",
                    receipt.build, receipt.stage
                ));
                for warning in &receipt.warnings {
                    progress.note(format!("warning: {name}: {warning}"));
                }
                receipts.push(receipt);
            }
            Err(error) => {
                let hint = error.api().and_then(ApiError::hint);
                if error.api().is_some_and(ApiError::is_transient) {
                    drop(progress);
                    let failure = Failure::new(Exit::Unreachable, error);
                    return Err(failure.with_hint(
                        "publish the same files again later: what has arrived is not sent again",
                    ));
                }
                progress.note(format!("error: {name}: {}", chain(&error)));
                if let Some(hint) = hint {
                    progress.note(format!("hint: {hint}"));
                }
                refused += 1;
            }
        }
    }
    Ok((receipts, refused))
}

fn send(
    client: &Client,
    repo: &RepoName,
    build: &Build<'_>,
    progress: &Progress,
) -> Result<BuildReceipt, PublishError> {
    if build.provenance.is_none() {
        progress.note(format!(
            "note: {}: no provenance is given; a policy may demand one",
            build.source.nevra
        ));
    }
    for file in build.files() {
        let name = name_of(&file.path);
        progress.message(&name);
        let blob = Blob {
            path: &file.path,
            digest: file.digest,
            size_bytes: file.size_bytes,
        };
        let watcher = Shown {
            name: &name,
            progress,
        };
        let sent = blobs::upload(client, blob, Patience::UPLOADING, &watcher)?;
        let what = if sent { "uploaded" } else { "already there" };
        progress.plain(format!(
            "{name}: {what} ({})",
            output::bytes(file.size_bytes)
        ));
    }
    progress.message(format!("{}: handing over", build.source.nevra));
    // Sending the same manifest again gives the same receipt, so trying again is safe.
    let manifest = build.manifest(repo);
    with_patience(Patience::UPLOADING, || {
        client.post_json("/api/v1/builds", &manifest)
    })
    .map_err(PublishError::Post)
}

struct Shown<'a> {
    name: &'a str,
    progress: &'a Progress,
}

impl Watcher for Shown<'_> {
    fn sent(&self, bytes: u64) {
        self.progress.add(bytes);
    }

    fn lost(&self, bytes: u64) {
        self.progress.take_back(bytes);
    }

    fn waits(&self, error: &ApiError, wait: Duration) {
        let secs = wait.as_secs_f64();
        self.progress.note(format!(
            "{}: {}; trying again in {secs:.1} s",
            self.name,
            chain(error)
        ));
    }
}

fn finish(
    args: &Args,
    client: &Client,
    receipts: &[BuildReceipt],
    mut failed: usize,
) -> Result<(), Failure> {
    let total = receipts.len() + failed;
    if args.wait && !receipts.is_empty() {
        failed += wait::until_settled(
            client,
            receipts,
            Duration::from_secs(args.wait_secs),
            args.json,
        )?;
    } else if args.json {
        output::json(&receipts)?;
    } else {
        for receipt in receipts {
            output::line(format!(
                "{}\t{}\t{}",
                receipt.build, receipt.source, receipt.stage
            ))?;
        }
    }
    if failed == 0 {
        return Ok(());
    }
    let noun = if args.wait {
        "were not published"
    } else {
        "were not taken"
    };
    Err(Failure::failed(format!(
        "{failed} of {total} builds or files {noun}; see above"
    )))
}
