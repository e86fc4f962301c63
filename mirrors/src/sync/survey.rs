//! What a sync would do, without writing anything.

use super::beside::belongs_to_repomd;
use super::filter::Filters;
use super::pace::Paced;
use super::peer::Peer;
use super::plan::{self, Item, Kind, Packages};
use super::pointer::{self, Pointer, Said};
use super::request::{Action, FileReport, Request, Verify, Watch};
use super::site::Known;
use super::state::{Row, State};
use super::tree::below_repodata;
use super::{OWN_DIRECTORY, SyncError};
use crate::bucket::Bucket;
use crate::reading::{ModularPackages, Packed, RecordClaim};
use std::collections::HashSet;
use std::fs;
use std::io::BufRead;
use std::path::Path;

/// What a sync would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Survey {
    /// Whether upstream has the metadata that the copy is made of.
    pub same_metadata: bool,
    /// Packages that upstream lists.
    pub listed: u64,
    /// Packages that the copy would have.
    pub taken: u64,
    /// Files to fetch, metadata among them.
    pub files: u64,
    /// Their bytes, as far as the metadata tells.
    pub bytes: u64,
    /// Files whose place holds something that nobody has checked: they may turn out to be the right ones.
    pub unchecked: u64,
    /// Files that upstream has dropped.
    pub dropped: u64,
}

/// The same for a copy in a bucket. What the bucket remembers of it comes to the request's directory.
pub fn survey_bucket(
    request: &Request,
    bucket: &Bucket,
    verify: Verify<'_>,
    watch: &dyn Watch,
) -> Result<Survey, SyncError> {
    let own = request.directory.join(OWN_DIRECTORY);
    let (state, listed) = super::bucket::recalled(bucket, &own)?;
    let there = |path: &str, row: Option<&Row>| match (listed.get(path), row) {
        (None, _) => There::Nothing,
        (Some(listed), Some(row)) if listed.is_that_of(row.look()) => There::Whole,
        (Some(_), _) => There::Something,
    };
    ask(request, verify, watch, (&own, &state), &there)
}

/// Asks what a sync would do. Fetches `repomd.xml` and primary, modules too where the newest are chosen, and writes nothing.
pub fn survey(
    request: &Request,
    verify: Verify<'_>,
    watch: &dyn Watch,
) -> Result<Survey, SyncError> {
    let own = request.directory.join(OWN_DIRECTORY);
    let path = own.join("state");
    let state = State::load_copy(&path).map_err(SyncError::local(path))?;
    let there = |path: &str, row: Option<&Row>| {
        let data = fs::symlink_metadata(request.directory.join(path));
        match (data, row) {
            (Err(_), _) => There::Nothing,
            (Ok(data), Some(row)) if row.is_untouched(&data) => There::Whole,
            (Ok(_), _) => There::Something,
        }
    };
    ask(request, verify, watch, (&own, &state), &there)
}

/// What is at a file's place in the copy.
enum There {
    /// What the state tells of.
    Whole,
    Something,
    Nothing,
}

/// Looks at a file's place; the row is that of a file that is wanted still.
type LookAt<'a> = &'a dyn Fn(&str, Option<&Row>) -> There;

fn ask(
    request: &Request,
    verify: Verify<'_>,
    watch: &dyn Watch,
    (own, state): (&Path, &State),
    there: LookAt<'_>,
) -> Result<Survey, SyncError> {
    let Known {
        pointer: known,
        newest,
    } = Known::load(own, state, verify);
    let peers = Peer::all(request);
    let said = pointer::ask(request, &peers, verify, known.as_ref(), newest, watch)?;
    let (pointer, same_metadata) = match (said, known) {
        (Said::New(pointer), _) => (*pointer, false),
        (Said::Same, Some(known)) => (known, true),
        (Said::Same, None) => {
            return Err(SyncError::NoMetadata {
                problems: Vec::new(),
            });
        }
    };
    let metadata = plan::metadata(&pointer.repomd, |_| true)?;
    let packages = packages(&peers, &pointer, &request.filters, &metadata, watch)?;
    let mut survey = Survey {
        same_metadata,
        listed: packages.listed,
        taken: (packages.items.len() + packages.twins.len()) as u64,
        ..Survey::default()
    };
    for item in metadata.iter().chain(&packages.items) {
        survey.add(state, item, there, watch);
    }
    let items = metadata.iter().chain(&packages.items);
    let twins = packages.twins.iter().map(|(path, _)| &**path);
    survey.dropped = dropped(state, &items.map(|item| &*item.path).chain(twins).collect());
    Ok(survey)
}

/// How many files of the copy nothing upstream names. Proofs are as their packages.
fn dropped(state: &State, wanted: &HashSet<&str>) -> u64 {
    let files = state.files.iter();
    let served = files.filter(|(path, row)| row.dropped_at.is_none() && !is_beside(path));
    let dropped = served.filter(|(path, _)| !wanted.contains(&***path));
    let counted = dropped.map(|(path, _)| {
        let proofs = state
            .proofs
            .get(path)
            .map_or(0, |proofs| proofs.iter().flatten().count());
        1 + proofs as u64
    });
    counted.sum()
}

impl Survey {
    fn add(&mut self, state: &State, item: &Item, there: LookAt<'_>, watch: &dyn Watch) {
        let row = state.files.get(&item.path);
        let row = row.filter(|row| row.fulfils(&item.claim));
        match there(&item.path, row) {
            There::Whole => return,
            There::Something if row.is_none() && item.kind == Kind::Package => self.unchecked += 1,
            There::Something | There::Nothing => {}
        }
        self.files += 1;
        self.bytes = self.bytes.saturating_add(item.size_bytes.unwrap_or(0));
        watch.file(&FileReport {
            path: &item.path,
            action: Action::WouldFetch,
            size_bytes: item.size_bytes,
            sha256: item.claim.sha256().map(|digest| digest.to_hex()),
            upstream: None,
            fetched_bytes: None,
            problems: &[],
        });
    }
}

/// Whether a file belongs to `repomd.xml`, which does not name it.
fn is_beside(path: &str) -> bool {
    below_repodata(path).is_some_and(belongs_to_repomd)
}

/// Reads primary, and what it takes to choose among its packages.
fn packages(
    peers: &[Peer],
    pointer: &Pointer,
    filters: &Filters,
    metadata: &[Item],
    watch: &dyn Watch,
) -> Result<Packages, SyncError> {
    let modules = match plan::modules(&pointer.repomd, filters) {
        Some(record) => read_first(peers, record, watch, |packed| {
            plan::modular_packages(packed, &record.href)
        })?,
        None => ModularPackages::default(),
    };
    let record = plan::primary(&pointer.repomd)?;
    read_first(peers, record, watch, |packed| {
        plan::packages(packed, &record.href, (filters, &modules), metadata)
    })
}

/// Reads a metadata file from the first upstream that has it as it should be.
fn read_first<T>(
    peers: &[Peer],
    record: &RecordClaim,
    watch: &dyn Watch,
    read: impl Fn(&mut dyn BufRead) -> Result<T, SyncError>,
) -> Result<T, SyncError> {
    let mut last = SyncError::NoMetadata {
        problems: Vec::new(),
    };
    for peer in peers {
        match read_of(peer, record, &read) {
            Ok(read) => return Ok(read),
            Err(error) => {
                watch.note(&format!("{}: {error}", peer.label()));
                last = error;
            }
        }
    }
    Err(last)
}

fn read_of<T>(
    peer: &Peer,
    record: &RecordClaim,
    read: impl Fn(&mut dyn BufRead) -> Result<T, SyncError>,
) -> Result<T, SyncError> {
    let wrong = |why: String| SyncError::Metadata {
        file: record.href.clone(),
        why,
    };
    let path = record.href.trim_start_matches("./");
    let answer = peer
        .open(path, 0)
        .map_err(|problem| wrong(problem.to_string()))?;
    let body = Paced::new(answer.body, peer.patience, None);
    let packed = Packed::new(Box::new(body), record);
    let mut packed = packed.map_err(|error| wrong(error.to_string()))?;
    let found = read(&mut packed)?;
    let sums = packed.finish().map_err(|error| wrong(error.to_string()))?;
    let claimed = record.checksum.as_ref().map(|sum| sum.hex.as_str());
    match claimed == sums.hex.as_deref() {
        true => Ok(found),
        false => Err(wrong(
            "its checksum is not the one in repomd.xml".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::{Proof, Proofs};
    use super::*;
    use repo_model::FileDigest;

    #[test]
    fn proofs_of_packages_that_stay_are_not_dropped_nor_are_twins() {
        let row = Row {
            size_bytes: 0,
            sha256: FileDigest::of(b""),
            claim: None,
            modified_ns: 0,
            etag: None,
            dropped_at: None,
        };
        let mut state = State::default();
        for path in ["a.rpm", "twin.rpm", "gone.rpm", "repodata/repomd.xml"] {
            state.files.insert(path.into(), row.clone());
        }
        for package in ["a.rpm", "gone.rpm"] {
            let mut came = Proofs::default();
            came[3] = Some(Proof {
                size_bytes: 0,
                modified_ns: 0,
                etag: None,
            });
            assert_eq!(state.add_proofs(package, came), 1);
        }
        let wanted = HashSet::from(["a.rpm", "twin.rpm"]);
        assert_eq!(dropped(&state, &wanted), 2);
    }
}
