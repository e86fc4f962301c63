//! Adding and removing single records of a repository's metadata, `modifyrepo_c`'s job.

use super::error::CreaterepoError;
use super::old::{self, Old};
use super::repomd_edit::{NewRecord, edit};
use super::switch::{live_directory, lock, sync_directory};
use super::write::{FileNames, without_digest};
use crate::repocheck::{Packed, RecordClaim};
use crate::repodata::{
    ChecksumType, Codec, Entry, ExtraRecord, Inputs, NoFrameCache, Options, build,
};
use repo_model::rpm::Package;
use repo_model::{FileDigest, Timestamp};
use std::collections::HashMap;
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
        record_type: String::new(),
        checksum: None,
        open_checksum: None,
        href: String::new(),
        base: None,
        timestamp: None,
        size_bytes: None,
        open_size_bytes: Some(ADDITION_MAX_BYTES),
        span: 0..0,
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
    /// Name of the new file.
    pub names: FileNames,
    /// The checksum of the new record.
    pub checksum: ChecksumType,
    /// Timestamp of the new record.
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

/// Adds a record, or puts it in the place of those of its type.
///
/// The new file is in place before `repomd.xml` names it, and old ones go after that.
pub fn modifyrepo(request: &ModifyRequest, addition: Addition) -> Result<Removal, CreaterepoError> {
    let (name, bytes, element) = render(request, &addition)?;
    let record_type = addition.record_type;
    change(request, Some((&name, &bytes)), |old| {
        let record = NewRecord {
            record_type: record_type.clone(),
            element,
        };
        let keep = |claim: &RecordClaim| claim.record_type != record_type;
        Ok(edit(old.text(), &old.repomd, keep, vec![record]))
    })
}

/// Removes the records of a type; `Err(NoRecord)` when there are none.
pub fn remove_record(
    request: &ModifyRequest,
    record_type: &str,
) -> Result<Removal, CreaterepoError> {
    change(request, None, |old| {
        if old.repomd.of_type(record_type).next().is_none() {
            return Err(CreaterepoError::NoRecord {
                record_type: record_type.to_owned(),
            });
        }
        let keep = |claim: &RecordClaim| claim.record_type != record_type;
        Ok(edit(old.text(), &old.repomd, keep, Vec::new()))
    })
}

/// The name in `repodata`, the bytes and the `<data>` element of a new record.
fn render(
    request: &ModifyRequest,
    addition: &Addition,
) -> Result<(String, Vec<u8>, String), CreaterepoError> {
    let extra = ExtraRecord {
        record_type: addition.record_type.clone(),
        file_name: addition.file_name.clone(),
        bytes: addition.bytes.clone(),
        codec: addition.codec,
    };
    let none: [Entry; 0] = [];
    let packages: HashMap<FileDigest, Package> = HashMap::new();
    let inputs = Inputs {
        entries: &none,
        packages: &packages,
        extras: &[extra],
        cache: &NoFrameCache,
        workers: NonZeroUsize::MIN,
    };
    // An empty repository with this record: its repomd.xml holds the element as we write it.
    let options = Options {
        checksum: request.checksum,
        ..Options::default()
    };
    let made = build(&inputs, &options, request.at)?;
    let text = String::from_utf8_lossy(&made.repomd).into_owned();
    let unusable = |why: &str| CreaterepoError::OldMetadata {
        path: request.repository.join(&addition.file_name),
        why: why.to_owned(),
    };
    let repomd = crate::repocheck::Repomd::parse(&made.repomd)
        .map_err(|error| unusable(&error.to_string()))?;
    let claim = repomd
        .of_type(&addition.record_type)
        .next()
        .ok_or_else(|| unusable("it was not written"))?;
    let file = made
        .files
        .into_iter()
        .find(|file| file.record.name == claim.href)
        .ok_or_else(|| unusable("it was not written"))?;
    let unique = claim.href.trim_start_matches("repodata/");
    let name = match request.names {
        FileNames::Unique => unique,
        FileNames::Simple => without_digest(unique),
    };
    let element = text[claim.span.clone()].replacen(unique, name, 1);
    Ok((name.to_owned(), file.bytes, element))
}

fn change(
    request: &ModifyRequest,
    file: Option<(&str, &[u8])>,
    edited: impl FnOnce(&Old) -> Result<String, CreaterepoError>,
) -> Result<Removal, CreaterepoError> {
    let _lock = lock(&request.repository)?;
    let live = live_directory(&request.repository);
    let Some(before) = old::read(&live)? else {
        return Err(CreaterepoError::NoRepository {
            path: request.repository.clone(),
        });
    };
    let text = edited(&before)?;
    let write = |name: &str, bytes: &[u8]| {
        put(&live, name, bytes).map_err(|source| CreaterepoError::Write {
            path: live.join(name),
            source,
        })
    };
    if let Some((name, bytes)) = file {
        write(name, bytes)?;
    }
    write("repomd.xml", text.as_bytes())?;
    let Some(after) = old::read(&live)? else {
        return Err(CreaterepoError::NoRepository {
            path: request.repository.clone(),
        });
    };
    let mut removal = Removal {
        signature_stale: live.join("repomd.xml.asc").exists(),
        ..Removal::default()
    };
    let named: Vec<&str> = names(&after).collect();
    for name in names(&before).filter(|name| !named.contains(name)) {
        match fs::remove_file(live.join(name)) {
            Ok(()) => removal.files.push(name.to_owned()),
            Err(error) => tracing::warn!("cannot remove {name}: {error}"),
        }
    }
    Ok(removal)
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
