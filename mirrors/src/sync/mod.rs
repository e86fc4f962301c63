//! Copies a repository, ours or anybody's, so that its copy is whole at every moment and can be served by any
//! static web server; in a directory or in a bucket (`destination`).
//!
//! Content comes first, names last: packages go to their places, then new metadata is put together aside
//! and takes the old one's place in one step (`tree`). Everything is checked by digest from `repomd.xml`
//! down, and that by its signature, so upstreams need no trust and several can be mixed: each file comes
//! from whoever has it (`peer`, `fetch`). A sync that was cut off, at whatever moment, is finished by running
//! it again: whole files are in a store by digest, parts go on where they stopped (`store`, `journal`).
//!
//! What the metadata says is not trusted: places are checked before anything is written (`plan`), sizes
//! are limits, and slow, endless or circling answers are given up (`http`, `pace`).

mod beside;
mod bucket;
pub(crate) mod claim;
mod destination;
mod directory;
mod evidence;
pub(crate) mod fetch;
mod filter;
mod finish;
mod freshness;
pub(crate) mod journal;
#[cfg(test)]
mod memory;
pub(crate) mod pace;
pub(crate) mod peer;
pub(crate) mod plan;
pub(crate) mod pointer;
mod proofs;
mod ranges;
mod request;
mod round;
pub(crate) mod site;
pub(crate) mod state;
pub(crate) mod store;
mod survey;
pub(crate) mod tree;
pub(crate) mod workers;

pub use filter::Filters;
pub use request::{
    Action, BoxError, FileReport, FilteredMetadata, Patience, Request, Rewrite, Signatures,
    Unwatched, Upstream, Verify, Watch,
};
pub use survey::{Survey, survey, survey_bucket};

use crate::bucket::{Bucket, BucketError};
use bucket::InBucket;
use destination::Destination;
use directory::Directory;
use peer::Peer;
use pointer::{Pointer, Said};
use repo_model::FileDigest;
use round::{Ended, Job};
use site::{Known, Site};
use std::io;
use std::path::PathBuf;

/// The directory inside a copy for what the sync remembers.
pub const OWN_DIRECTORY: &str = ".hallmark";

/// Times that upstream may publish anew during one sync.
const ROUNDS_MAX: usize = 8;

/// What one upstream did wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamProblem {
    /// Its URL.
    pub upstream: String,
    /// Whether trying again later may help.
    pub is_unreachable: bool,
    /// What it was.
    pub why: String,
}

/// A copy could not be made or brought up to date. What was served before is served still.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The caller's fault: two syncs of one copy at once. Retry when the other one has ended.
    #[error("another sync of {} is under way", directory.display())]
    Busy {
        /// The copy.
        directory: PathBuf,
    },
    /// This machine's fault, or its disk's.
    #[error("cannot use {}", path.display())]
    Local {
        /// What could not be read or written.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is not enough space; nothing was fetched.
    #[error("{needed_bytes} bytes are to be fetched and {free_bytes} bytes are free")]
    Space {
        /// Bytes to fetch.
        needed_bytes: u64,
        /// Bytes that are free where the copy is.
        free_bytes: u64,
    },
    /// No upstream has a usable and well signed `repomd.xml`. Theirs, or the network's fault.
    #[error("no upstream has a repomd.xml that can be used{}", listed(problems))]
    NoMetadata {
        /// What each did wrong.
        problems: Vec<UpstreamProblem>,
    },
    /// The newest that is offered is older than what is here: a stale mirror, somebody who holds back
    /// news, or a release that was taken back.
    #[error(
        "upstream's metadata is of {theirs}, older than the copy's of {ours} (seconds since 1970)"
    )]
    Older {
        /// The newest timestamp upstream.
        theirs: i64,
        /// The newest timestamp here.
        ours: i64,
    },
    /// The repository's fault: its metadata cannot be used.
    #[error("cannot use {file}: {why}")]
    Metadata {
        /// Which file.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// Upstream lacks files that its metadata names, or has others in their place.
    #[error("{count} files cannot be had, among them {first}: {why}")]
    Files {
        /// How many.
        count: usize,
        /// One of them.
        first: String,
        /// What the last upstream said of it.
        why: String,
    },
    /// The network's fault: all upstreams went away. Running again goes on from here.
    #[error("no upstream can be reached any more: {why}")]
    Lost {
        /// What the last one said.
        why: String,
    },
    /// Upstream published anew again and again. Retry later.
    #[error("upstream changed {ROUNDS_MAX} times during the sync")]
    Restless,
    /// The metadata could not be written anew.
    #[error("cannot write the metadata for the chosen packages: {why}")]
    Rewrite {
        /// Why.
        why: String,
    },
    /// The bucket that the copy is in: see there.
    #[error("the copy in the bucket cannot be brought up to date")]
    Bucket(#[from] BucketError),
    /// A bug: a thread of ours died.
    #[error("a worker died")]
    Worker,
}

impl SyncError {
    pub(crate) fn local(path: PathBuf) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Local { path, source }
    }

    /// Whether trying again later may help without anybody doing anything.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::NoMetadata { problems } => problems.iter().all(|problem| problem.is_unreachable),
            Self::Lost { .. } | Self::Restless => true,
            Self::Bucket(error) => error.is_unreachable(),
            _ => false,
        }
    }
}

fn listed(problems: &[UpstreamProblem]) -> String {
    let one = |problem: &UpstreamProblem| format!("; {}: {}", problem.upstream, problem.why);
    problems.iter().map(one).collect()
}

/// What a sync did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Whether there was anything to do, but for proofs that came late.
    pub changed: bool,
    /// `<revision>` of `repomd.xml`.
    pub revision: String,
    /// SHA-256 of upstream's `repomd.xml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repomd_sha256: Option<FileDigest>,
    /// Packages that upstream lists.
    pub listed: u64,
    /// Packages that the copy has, by place.
    pub taken: u64,
    /// Files that were here.
    pub had: u64,
    /// Files that were here in another place, or from before.
    pub linked: u64,
    /// Files that were fetched.
    pub fetched: u64,
    /// Bytes that were fetched.
    pub fetched_bytes: u64,
    /// Proofs beside packages that were fetched.
    pub proofs: u64,
    /// Whether proofs are still to be asked for, since upstream failed; the next sync does.
    pub proofs_incomplete: bool,
    /// Files that were removed.
    pub deleted: u64,
    /// Packages on other sites, where clients fetch them.
    pub elsewhere: u64,
    /// Packages whose checksum in the metadata can be forged.
    pub weak: u64,
    /// Whether the copy does without files that no upstream has.
    pub incomplete: bool,
}

impl Summary {
    fn of(pointer: &Pointer) -> Self {
        Self {
            changed: true,
            revision: pointer.repomd.revision.clone(),
            repomd_sha256: Some(pointer.digest),
            ..Self::default()
        }
    }
}

/// Brings a copy in a directory up to date.
///
/// * `rewrite`: writes metadata for a part of the packages; needed where filters are active and the
///   request wants it so.
///
/// An error leaves what was served before in its place.
pub fn sync(
    request: &Request,
    verify: Verify<'_>,
    rewrite: Option<&dyn Rewrite>,
    watch: &dyn Watch,
) -> Result<Summary, SyncError> {
    sync_to(&mut Directory, request, verify, rewrite, watch)
}

/// Brings a copy in a bucket up to date. The request's directory is where files lie on their way; all else is as for
/// [`sync`].
pub fn sync_to_bucket(
    request: &Request,
    bucket: &Bucket,
    verify: Verify<'_>,
    rewrite: Option<&dyn Rewrite>,
    watch: &dyn Watch,
) -> Result<Summary, SyncError> {
    let mut to = InBucket::new(bucket);
    sync_to(&mut to, request, verify, rewrite, watch)
}

fn sync_to(
    to: &mut dyn Destination,
    request: &Request,
    verify: Verify<'_>,
    rewrite: Option<&dyn Rewrite>,
    watch: &dyn Watch,
) -> Result<Summary, SyncError> {
    let mut site = Site::open(request)?;
    let peers = Peer::all(request);
    let job = Job {
        request,
        peers: &peers,
        verify,
        rewrite,
        watch,
    };
    to.recall(&mut site)?;
    watch.step("asking upstream");
    let Known {
        pointer: known,
        newest,
    } = site.known(verify);
    let said = pointer::ask(request, &peers, verify, known.as_ref(), newest, watch)?;
    let pointer = match (said, known) {
        (Said::New(pointer), _) => *pointer,
        (Said::Same, Some(known)) => {
            if is_whole(&job, to, &site) {
                let summary = unchanged(&job, to, &mut site, &known)?;
                return ended(to, site, summary);
            }
            known
        }
        // Nothing was known, so nothing can be the same.
        (Said::Same, None) => {
            return Err(SyncError::NoMetadata {
                problems: Vec::new(),
            });
        }
    };
    let summary = rounds(&job, to, &mut site, pointer)?;
    ended(to, site, summary)
}

fn is_whole(job: &Job<'_>, to: &dyn Destination, site: &Site) -> bool {
    let head = &site.state.head;
    let verified = job
        .verify
        .packages()
        .is_none_or(|signatures| head.verified_by.as_deref() == Some(signatures.id()));
    let mut files = site.state.files.iter();
    verified
        && !head.incomplete
        && head.scope == job.scope()
        && to.has_pointer(site)
        && files
            .all(|(path, row)| row.dropped_at.is_some() || to.is_untouched(site, path, row.look()))
        && proofs::are_untouched(to, site)
}

/// Rounds until upstream stays as it is for one.
fn rounds(
    job: &Job<'_>,
    to: &mut dyn Destination,
    site: &mut Site,
    mut pointer: Pointer,
) -> Result<Summary, SyncError> {
    for _ in 0..ROUNDS_MAX {
        match job.round(to, site, pointer)? {
            Ended::Done(summary) => return Ok(*summary),
            Ended::Republished(newer) => {
                job.watch
                    .note("upstream has published anew; going on with what it has now");
                to.look_anew(site)?;
                pointer = *newer;
            }
        }
    }
    Err(SyncError::Restless)
}

/// The end of a sync that found nothing new; what the sync before was cut off from is made up for.
fn unchanged(
    job: &Job<'_>,
    to: &mut dyn Destination,
    site: &mut Site,
    known: &Pointer,
) -> Result<Summary, SyncError> {
    let (request, watch) = (job.request, job.watch);
    let proofs_due = site.state.head.proofs_due;
    job.renew_freshness(to, site, known.digest, proofs_due)?;
    if finish::drop_strays(to, site, request)? {
        to.save(site)?;
    }
    let deleted = finish::delete(to, site, request, watch)?;
    let mut summary = Summary {
        changed: deleted > 0,
        deleted,
        ..Summary::of(known)
    };
    let late = proofs_due || proofs::lacks_evidence(job.peers, site)?;
    if late {
        proofs::fetch_late(to, site, job)?.add_to(&mut summary);
    }
    evidence::renew(to, site, job, late)?;
    Ok(summary)
}

fn ended(to: &dyn Destination, site: Site, summary: Summary) -> Result<Summary, SyncError> {
    to.tidy(&site, summary.deleted)?;
    let path = site.own.join("journal");
    site.journal.finish().map_err(SyncError::local(path))?;
    Ok(summary)
}
