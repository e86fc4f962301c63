//! A directory of packages becomes a repository: `createrepo_c`'s job, and `modifyrepo_c`'s.
//!
//! The steps of a run: lock, scan, read what is not known, refuse bad and duplicate packages, build
//! the metadata into a directory of its own, carry over what is not made from packages, switch,
//! remember. Until the switch nothing that a client reads has changed; a run that fails or is killed
//! leaves the old metadata as it was.

mod database;
mod duplicates;
mod error;
mod finish;
mod frames;
mod merge;
mod modify;
mod old;
mod read;
mod repomd_edit;
mod scan;
mod shares;
mod state;
mod state_form;
mod switch;
mod write;

pub use database::DatabaseError;
pub use duplicates::Duplicates;
pub use error::{BadPackage, CreaterepoError, Duplicate, PackageError};
pub use merge::{Conflicts, MergeError, MergeInput, MergeRequest, MergeSummary, Method, mergerepo};
pub use modify::{Addition, Change, ModifyRequest, Removal, modifyrepo, read_addition};
pub use old::Retain;
pub use scan::{Selection, read_package_list};
pub use state::{Reuse, state_file};
pub use write::FileNames;

use crate::repodata::{
    ChecksumType, Codec, Entry, ExtraRecord, GroupForm, Inputs, Manifest, Options, Sha512Digest,
    build_into, sort,
};
use duplicates::Resolved;
use finish::{Ending, is_additional, leads_away};
use frames::{MadeAhead, OldFrames};
use mirrors::reading::{RecordClaim, read_primary};
use old::Old;
use read::{Headers, Outcome, Reading};
use repo_model::Timestamp;
use scan::Scanned;
use shares::in_shares;
use state::{Known, KnownFiles, State};
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use write::Stage;

/// What to do about packages that cannot be part of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPackages {
    /// Change nothing.
    Refuse,
    /// Make the repository of the others; the summary names them.
    Skip,
}

/// Where the packages are, as clients see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Location {
    /// Goes in front of each location: `Packages` or `https://…` is written as given.
    pub prefix: String,
    /// So many directories at the start of each path are left out.
    pub cut_dirs: usize,
}

/// A group file (comps) to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFile {
    /// Where it is.
    pub path: PathBuf,
    /// How to compress it, when it is offered compressed.
    pub codec: Codec,
    /// In which forms it is offered.
    pub form: GroupForm,
}

/// What to make of which directory.
#[derive(Debug, Clone)]
pub struct Request {
    /// The directory with the packages.
    pub directory: PathBuf,
    /// Where `repodata` goes; made when absent. Usually `directory`.
    pub output: PathBuf,
    /// Which packages.
    pub selection: Selection,
    /// Take the list of packages from the metadata that is there (`--recycle-pkglist`).
    pub recycle_list: bool,
    /// What of an earlier run is believed.
    pub reuse: Reuse,
    /// Where a run leaves for the next one what it has read; without, the next run reads everything.
    pub state: Option<PathBuf>,
    /// Carry over records that are not made from packages: groups, updateinfo, modules, ...
    pub keep_additional: bool,
    /// Which packages of one NEVRA are listed.
    pub duplicates: Duplicates,
    /// What to do about bad packages.
    pub bad_packages: BadPackages,
    /// Locations.
    pub location: Location,
    /// Codec, changelog limit, revision, tags.
    pub metadata: Options,
    /// Also write sqlite databases, for clients of yum's age.
    pub database: bool,
    /// Group file; replaces a carried one.
    pub group_file: Option<GroupFile>,
    /// Names of the metadata files.
    pub names: FileNames,
    /// How long superseded files stay.
    pub retain: Retain,
    /// Timestamp of the records, and revision unless one is set.
    pub at: Timestamp,
    /// No package is written as newer than this; reproducible builds give it.
    pub latest_file_time: Option<Timestamp>,
    /// Set the mtime of the metadata files to `at`.
    pub stamp_files: bool,
    /// The clock's time: decides what is young and what may still change unnoticed.
    pub now: Timestamp,
    /// Threads.
    pub workers: NonZeroUsize,
}

/// Told how a run gets on; from several threads.
pub trait Watch: Sync {
    /// So many packages were found.
    fn packages(&self, _count: u64) {}
    /// One of them was read, or was known.
    fn package_done(&self) {}
    /// All were; the metadata is being written.
    fn writing(&self) {}
}

/// Not interested.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watch for Unwatched {}

/// What was made.
#[derive(Debug)]
pub struct Summary {
    /// Packages listed.
    pub packages: usize,
    /// Paths below the directory of the packages that were read; the others were known.
    pub read: Vec<String>,
    /// Packages left out because they are bad; never without `BadPackages::Skip`.
    pub skipped: Vec<BadPackage>,
    /// Paths of files that are the same as another, with that other's path, which is listed.
    pub same_files: Vec<(String, String)>,
    /// Packages of a NEVRA that another file has too and that are listed or left out as asked.
    pub duplicates: Vec<Duplicate>,
    /// Types of old records that were not carried over: all further ones unless they were to be kept; always those that
    /// lead away, to delta packages or to files at another place.
    pub dropped_records: Vec<String>,
    /// A signature of the old repomd.xml was left out: sign the new one.
    pub signature_dropped: bool,
    /// Superseded metadata files that stay for now.
    pub superseded_kept: usize,
}

/// Makes the metadata of a directory and puts it in place in one step.
///
/// On an error nothing that clients read has changed.
pub fn createrepo(request: &Request, watch: &dyn Watch) -> Result<Summary, CreaterepoError> {
    fs::create_dir_all(&request.output).map_err(|source| CreaterepoError::Write {
        path: request.output.clone(),
        source,
    })?;
    if let Some(group) = &request.group_file {
        // Before thousands of packages are read for nothing.
        fs::File::open(&group.path).map_err(|source| CreaterepoError::Input {
            path: group.path.clone(),
            source,
        })?;
    }
    let _lock = switch::lock(&request.output)?;
    let live = switch::live_directory(&request.output);
    let old = old_metadata(request, &live)?;
    let (mut state, scanned) = look_around(request, old.as_ref())?;
    let saved = std::mem::take(&mut state.frames);
    let frames = OldFrames::open(&live, &state.files, saved, &request.output);
    let (outcome, resolved) = packages(request, scanned, state, &frames, watch)?;
    let listed = resolved.listed.iter().map(|number| &outcome.files[*number]);
    let entries = entries(request, listed.collect())?;

    watch.writing();
    let stamp = request.stamp_files.then_some(request.at);
    let mut stage = Stage::new(switch::stage_path(&live)?, request.names, stamp)?;
    let headers = Headers::new(
        &request.directory,
        request.metadata.filelists_ext,
        &outcome.files,
    );
    let manifest = build(request, &entries, &headers, &frames, &mut stage)?;
    let dropped_records = finish(request, manifest, old.as_ref(), &mut stage)?;
    let kept = old::keep_files(
        &live,
        old.as_ref(),
        request.retain,
        system_time(request.now),
        &mut stage,
    )?;

    let mut next = State::new(request.now.unix_secs());
    next.files = stage.file_names();
    next.frames = frames.into_saved(&stage.placed);
    next.packages = outcome.files;
    let packages = entries.len();
    put_in_place(stage, &live, request.state.as_deref(), next, entries)?;
    Ok(Summary {
        packages,
        read: outcome.read,
        skipped: outcome.bad,
        same_files: resolved.same_files,
        duplicates: resolved.duplicates,
        dropped_records,
        signature_dropped: kept.signature_dropped,
        superseded_kept: kept.superseded,
    })
}

/// Puts the metadata in place, and the state of this run after it. While the disk is waited for, the state is encoded,
/// and what is not needed any more is freed, which takes as long for tens of thousands of packages.
fn put_in_place(
    mut stage: Stage,
    live: &Path,
    state_path: Option<&Path>,
    state: State,
    entries: Vec<Entry>,
) -> Result<(), CreaterepoError> {
    std::thread::scope(|scope| {
        let written = scope.spawn(move || {
            let written = state_path.map(|path| state.write(path));
            drop((state, entries));
            written
        });
        stage.put_in_place(live)?;
        // What is left of the old metadata goes meanwhile.
        scope.spawn(|| drop(stage));
        // A panic is a fault of ours and goes on as one.
        let written = written
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if let Some(Err(error)) = written.map(|written| written?.put_in_place()) {
            tracing::warn!(
                "the next run will read all packages again: the state cannot be written: {error}"
            );
        }
        Ok(())
    })
}

/// The old repomd.xml. One that cannot be read stops only a run that needs it.
fn old_metadata(request: &Request, live: &Path) -> Result<Option<Old>, CreaterepoError> {
    match old::read(live) {
        Err(error) if !request.keep_additional && !request.recycle_list => {
            tracing::warn!("the old metadata is not looked at: {error}");
            Ok(None)
        }
        other => other,
    }
}

/// What the last run has left, and, at the same time, which packages there are.
fn look_around(request: &Request, old: Option<&Old>) -> Result<(State, Scanned), CreaterepoError> {
    let mut selection = request.selection.clone();
    if request.recycle_list {
        selection.only = Some(recycled_list(request, old)?);
    }
    std::thread::scope(|scope| {
        let state = scope.spawn(|| match (request.reuse, &request.state) {
            (Reuse::Nothing, _) | (_, None) => State::default(),
            (Reuse::Unchanged | Reuse::KnownPaths, Some(path)) => State::read(path),
        });
        let scanned = scan::scan(&request.directory, &selection, request.workers)?;
        // A panic is a fault of ours and goes on as one.
        let state = state.join();
        let state = state.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((state, scanned))
    })
}

/// Reads and judges the packages.
fn packages(
    request: &Request,
    (found, mut bad): Scanned,
    state: State,
    frames: &OldFrames,
    watch: &dyn Watch,
) -> Result<(Outcome, Resolved), CreaterepoError> {
    let known = KnownFiles::new(
        request.reuse,
        request.metadata.checksum == ChecksumType::Sha512,
        state.scanned_at,
        state.packages,
    );
    let reading = Reading {
        root: &request.directory,
        found: &found,
        options: &request.metadata,
        entry: &|known| entry(request, known),
        frames: &MadeAhead(frames),
        workers: request.workers,
    };
    let mut outcome = read::read_all(&reading, known, watch)?;
    bad.append(&mut outcome.bad);
    bad.sort_by(|a, b| a.path.cmp(&b.path));
    if !bad.is_empty() && request.bad_packages == BadPackages::Refuse {
        return Err(CreaterepoError::BadPackages(bad));
    }
    outcome.bad = bad;
    let resolved = duplicates::resolve(&outcome.files, request.duplicates)?;
    Ok((outcome, resolved))
}

/// The locations that the metadata in place lists.
fn recycled_list(request: &Request, old: Option<&Old>) -> Result<Vec<String>, CreaterepoError> {
    let nothing = || CreaterepoError::NoRepository {
        path: request.output.clone(),
    };
    let old = old.ok_or_else(nothing)?;
    let primary = old.repomd.of_type("primary").next().ok_or_else(nothing)?;
    let path = request.output.join(&primary.href);
    let unusable = |why: String| CreaterepoError::OldMetadata {
        path: path.clone(),
        why,
    };
    let file = fs::File::open(&path).map_err(|error| unusable(error.to_string()))?;
    let mut packed = mirrors::reading::Packed::new(Box::new(file), primary)
        .map_err(|error| unusable(error.to_string()))?;
    let mut list = Vec::new();
    read_primary(&mut packed, |claim| list.push(claim.href))
        .map_err(|error| unusable(error.to_string()))?;
    Ok(list)
}

fn entries(request: &Request, listed: Vec<&Known>) -> Result<Vec<Entry>, CreaterepoError> {
    let (mut bad, mut entries) = (Vec::new(), Vec::new());
    let shares = in_shares(listed, request.workers, |share| {
        let (mut entries, mut bad) = (Vec::with_capacity(share.len()), Vec::new());
        for known in share {
            match entry(request, known) {
                Ok(entry) => entries.push(entry),
                Err(error) => bad.push(BadPackage {
                    path: known.path.clone(),
                    error,
                }),
            }
        }
        sort(&mut entries);
        (entries, bad)
    });
    for (mut sorted, mut more_bad) in shares {
        match entries.is_empty() {
            // Its memory is taken over: a second list of all would be megabytes.
            true => entries = sorted,
            false => entries.append(&mut sorted),
        }
        bad.append(&mut more_bad);
    }
    if !bad.is_empty() {
        return Err(CreaterepoError::BadPackages(bad));
    }
    sort(&mut entries);
    Ok(entries)
}

/// How a package is listed.
fn entry(request: &Request, known: &Known) -> Result<Entry, PackageError> {
    let added_at = Timestamp::from_unix_secs(known.look.mtime.0);
    Ok(Entry {
        nevra: known.nevra.clone(),
        file_digest: known.file_digest,
        sha512: known.sha512.as_deref().and_then(sha512).map(Box::new),
        file_size_bytes: known.look.size_bytes,
        href: located(&request.location, &known.path).parse()?,
        added_at: request
            .latest_file_time
            .map_or(added_at, |latest| added_at.min(latest)),
    })
}

/// A digest that this program wrote as hex.
fn sha512(digits: &str) -> Option<Sha512Digest> {
    let mut bytes = [0; 64];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(Sha512Digest::from_bytes(bytes))
}

fn located(location: &Location, path: &str) -> String {
    let mut rest = path;
    for _ in 0..location.cut_dirs {
        rest = rest.split_once('/').map_or(rest, |(_, rest)| rest);
    }
    match location.prefix.trim_end_matches('/') {
        "" => rest.to_owned(),
        prefix => format!("{prefix}/{rest}"),
    }
}

fn build(
    request: &Request,
    entries: &[Entry],
    headers: &Headers<'_>,
    frames: &OldFrames,
    stage: &mut Stage,
) -> Result<Manifest, CreaterepoError> {
    let mut extras = Vec::new();
    if let Some(group) = &request.group_file {
        let bytes = fs::read(&group.path).map_err(|source| CreaterepoError::Input {
            path: group.path.clone(),
            source,
        })?;
        let name = group.path.file_name().unwrap_or_default().to_string_lossy();
        let forms: &[(&str, Codec)] = match group.form {
            GroupForm::PlainAndGzip => &[("group", Codec::None), ("group_gz", Codec::Gzip)],
            GroupForm::Compressed => &[("group", group.codec)],
        };
        for (record_type, codec) in forms {
            extras.push(ExtraRecord {
                record_type: (*record_type).to_owned(),
                file_name: name.clone().into_owned(),
                bytes: bytes.clone(),
                codec: *codec,
            });
        }
    }
    let inputs = Inputs {
        entries,
        packages: headers,
        extras: &extras,
        cache: frames,
        workers: request.workers,
    };
    Ok(build_into(&inputs, &request.metadata, request.at, stage)?)
}

/// Writes repomd.xml with the carried records; returns the types of those left behind.
fn finish(
    request: &Request,
    manifest: Manifest,
    old: Option<&Old>,
    stage: &mut Stage,
) -> Result<Vec<String>, CreaterepoError> {
    let ending = Ending {
        options: &request.metadata,
        at: request.at,
        database: request.database,
    };
    let mut records = manifest.records;
    let (mut carried, mut dropped) = (Vec::new(), Vec::new());
    if let Some(old) = old {
        let is_additional =
            |record: &RecordClaim| is_additional(record, request.group_file.is_some());
        let is_carried = |record: &RecordClaim| {
            request.keep_additional && is_additional(record) && !leads_away(record)
        };
        carried = ending.carry(old, is_carried, &mut records, stage)?;
        let rest = old.repomd.records.iter();
        let rest = rest.filter(|record| is_additional(record) && !is_carried(record));
        dropped.extend(rest.map(|record| record.record_type.clone()));
    }
    ending.write(records, carried, stage)?;
    Ok(dropped)
}

fn system_time(at: Timestamp) -> SystemTime {
    let secs = u64::try_from(at.unix_secs()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(secs)
}
