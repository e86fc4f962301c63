//! Adding and removing single records of a repository's metadata, `modifyrepo_c`'s job. Any number of
//! changes is one step: `repomd.xml` is replaced once.

use super::error::CreaterepoError;
use super::old::{self, Old};
use super::repomd_edit::{NewRecord, edit};
use super::switch::{live_directory, lock, sync_directory};
use super::write::{FileNames, without_digest};
use crate::repodata::{
    ChecksumType, Codec, ExtraRecord, Inputs, NoFrameCache, Options, Repodata, build,
};
use mirrors::reading::{Packed, RecordClaim, Repomd};
use repo_model::rpm::Package;
use repo_model::{FileDigest, Timestamp};
use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// A record to add; replaces one of the same type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// `type`: `updateinfo`, `modules`, `productid`, ... Not one that is made from packages.
    pub record_type: String,
    /// Name without compression suffix and digest, such as `updateinfo.xml`.
    pub file_name: String,
    /// The content, not compressed.
    pub bytes: Vec<u8>,
    /// How to compress it.
    pub codec: Codec,
    /// The checksum of the new record.
    pub checksum: ChecksumType,
    /// Name of the new file.
    pub names: FileNames,
    /// Also add a zchunk form.
    pub zchunk: bool,
}

/// One change of the list of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds a record, or puts it in the place of those of its type.
    Add(Addition),
    /// Removes the records of this type; `Err(NoRecord)` when there are none.
    Remove(String),
}

/// Largest file that is added.
const ADDITION_MAX_BYTES: u64 = 2 << 30;

/// Reads a file to add: its name without compression suffix, and its content, decompressed.
pub fn read_addition(path: &Path) -> Result<(String, Vec<u8>), CreaterepoError> {
    let input = |source| CreaterepoError::Input {
        path: path.to_owned(),
        source,
    };
    let unclaimed = RecordClaim {
        open_size_bytes: Some(ADDITION_MAX_BYTES),
        ..RecordClaim::unclaimed("")
    };
    let file = File::open(path).map_err(input)?;
    let mut bytes = Vec::new();
    Packed::new(Box::new(file), &unclaimed)
        .and_then(|mut packed| packed.read_to_end(&mut bytes))
        .map_err(input)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = [".gz", ".zst", ".xz", ".bz2"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(&name);
    Ok((plain.to_owned(), bytes))
}

/// Which repository to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModifyRequest {
    /// The directory that holds `repodata`.
    pub repository: PathBuf,
    /// Timestamp of new records.
    pub at: Timestamp,
}

/// What a change took away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removal {
    /// Names of files in `repodata` that were removed.
    pub files: Vec<String>,
    /// The signature of repomd.xml does not fit any more: sign it again.
    pub signature_stale: bool,
}

/// Makes the changes, in order, all at once or not at all.
///
/// New files are in place before `repomd.xml` names them, and old ones go after that.
pub fn modifyrepo(
    request: &ModifyRequest,
    changes: Vec<Change>,
) -> Result<Removal, CreaterepoError> {
    let mut steps = Vec::with_capacity(changes.len());
    for change in changes {
        steps.push(match change {
            Change::Add(addition) => Step::Add(rendered(request, addition)?),
            Change::Remove(record_type) => Step::Remove(record_type),
        });
    }
    let _lock = lock(&request.repository)?;
    let live = live_directory(&request.repository);
    let before = read(request, &live)?;
    let text = edited(&before, &live, &steps)?;
    put_all(&live, &steps, &text)?;
    let after = read(request, &live)?;
    Ok(removed(&live, &before, &after))
}

/// A change with its bytes.
enum Step {
    /// Files by name, and the records over them.
    Add(Vec<(String, Vec<u8>, NewRecord)>),
    Remove(String),
}

/// The files and `<data>` elements of an addition.
fn rendered(
    request: &ModifyRequest,
    addition: Addition,
) -> Result<Vec<(String, Vec<u8>, NewRecord)>, CreaterepoError> {
    let names = addition.names;
    let record_type = addition.record_type.clone();
    let made = metadata_of(request, addition)?;
    let text = String::from_utf8_lossy(&made.repomd).into_owned();
    let unusable = |source| CreaterepoError::OldRepomd {
        path: request.repository.join("repodata/repomd.xml"),
        source,
    };
    let repomd = Repomd::parse(&made.repomd).map_err(unusable)?;
    let zchunk_type = format!("{record_type}_zck");
    let mut parts = Vec::new();
    for file in made.files {
        let kind = file.record.record_type;
        if kind != record_type && kind != zchunk_type {
            continue;
        }
        let Some(claim) = repomd.of_type(&kind).next() else {
            continue;
        };
        let unique = claim.href.trim_start_matches("repodata/");
        let name = match names {
            FileNames::Unique => unique,
            FileNames::Simple => without_digest(unique),
        };
        let element = text[claim.span.clone()].replacen(unique, name, 1);
        let record = NewRecord {
            record_type: kind,
            element,
        };
        parts.push((name.to_owned(), file.bytes, record));
    }
    Ok(parts)
}

/// An empty repository with this record: its repomd.xml holds the elements as they are to be.
fn metadata_of(request: &ModifyRequest, addition: Addition) -> Result<Repodata, CreaterepoError> {
    let options = Options {
        checksum: addition.checksum,
        zchunk: addition.zchunk,
        ..Options::default()
    };
    let extra = ExtraRecord {
        record_type: addition.record_type,
        file_name: addition.file_name,
        bytes: addition.bytes,
        codec: addition.codec,
    };
    let packages: HashMap<FileDigest, Package> = HashMap::new();
    let inputs = Inputs {
        entries: &[],
        packages: &packages,
        extras: &[extra],
        cache: &NoFrameCache,
        workers: NonZeroUsize::MIN,
    };
    Ok(build(&inputs, &options, request.at)?)
}

fn read(request: &ModifyRequest, live: &Path) -> Result<Old, CreaterepoError> {
    old::read(live)?.ok_or_else(|| CreaterepoError::NoRepository {
        path: request.repository.clone(),
    })
}

/// The text of `repomd.xml` after all steps.
fn edited(before: &Old, live: &Path, steps: &[Step]) -> Result<String, CreaterepoError> {
    let mut text = before.text().to_owned();
    for step in steps {
        let repomd =
            Repomd::parse(text.as_bytes()).map_err(|source| CreaterepoError::OldRepomd {
                path: live.join("repomd.xml"),
                source,
            })?;
        let (gone, added) = match step {
            Step::Add(parts) => {
                let gone: BTreeSet<&str> = parts.iter().map(|p| p.2.record_type.as_str()).collect();
                let added = parts.iter().map(|(_, _, record)| record.clone()).collect();
                (gone, added)
            }
            Step::Remove(record_type) => {
                if repomd.of_type(record_type).next().is_none() {
                    return Err(CreaterepoError::NoRecord {
                        record_type: record_type.clone(),
                    });
                }
                (BTreeSet::from([record_type.as_str()]), Vec::new())
            }
        };
        // A zchunk form of what goes would be of another content.
        let goes = |kind: &str| {
            gone.contains(kind)
                || kind
                    .strip_suffix("_zck")
                    .is_some_and(|plain| gone.contains(plain))
        };
        text = edit(&text, &repomd, |claim| !goes(&claim.record_type), added);
    }
    Ok(text)
}

/// Puts the files of all steps in place, then `repomd.xml`.
fn put_all(live: &Path, steps: &[Step], text: &str) -> Result<(), CreaterepoError> {
    let write = |name: &str, bytes: &[u8]| {
        put(live, name, bytes).map_err(|source| CreaterepoError::Write {
            path: live.join(name),
            source,
        })
    };
    let mut written = BTreeSet::new();
    for step in steps {
        let Step::Add(parts) = step else { continue };
        for (name, bytes, _) in parts {
            // What a later step removes again never comes to the disk.
            if !text.contains(&format!("\"repodata/{name}\"")) {
                continue;
            }
            if !written.insert(name) {
                return Err(CreaterepoError::NameTaken { name: name.clone() });
            }
            write(name, bytes)?;
        }
    }
    write("repomd.xml", text.as_bytes())
}

/// Removes the files that only the old `repomd.xml` names.
fn removed(live: &Path, before: &Old, after: &Old) -> Removal {
    let mut removal = Removal {
        signature_stale: live.join("repomd.xml.asc").exists(),
        ..Removal::default()
    };
    let named: Vec<&str> = names(after).collect();
    for name in names(before).filter(|name| !named.contains(name)) {
        match fs::remove_file(live.join(name)) {
            Ok(()) => removal.files.push(name.to_owned()),
            Err(error) => tracing::warn!("cannot remove {name}: {error}"),
        }
    }
    removal
}

fn names(old: &Old) -> impl Iterator<Item = &str> {
    old.repomd
        .records
        .iter()
        .filter_map(|record| old.file_name(record))
}

/// Replaces a file as a whole, durably.
fn put(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unfinished = directory.join(format!(".{name}.new"));
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, directory.join(name))?;
    sync_directory(directory)
}
