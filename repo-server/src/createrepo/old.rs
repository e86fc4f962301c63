//! What of the old metadata goes over into the new: records that are not made from packages,
//! superseded files for clients that still read the old repomd.xml, and files that others put there.

use super::error::CreaterepoError;
use super::repomd_edit::NewRecord;
use super::write::{Stage, is_digest, without_digest};
use mirrors::reading::{Packed, REPOMD_MAX_BYTES, RecordClaim, Repomd};
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long superseded files stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retain {
    /// So many superseded files of each kind, the newest.
    pub copies: usize,
    /// And all that are younger than this.
    pub age: Option<Duration>,
}

/// The metadata that is there.
pub(super) struct Old {
    directory: PathBuf,
    text: String,
    pub repomd: Repomd,
}

/// Reads the old `repomd.xml`; none when there is none.
pub(super) fn read(directory: &Path) -> Result<Option<Old>, CreaterepoError> {
    let path = directory.join("repomd.xml");
    let text = match fs::metadata(&path).map(|data| data.len()) {
        Ok(size) if size > REPOMD_MAX_BYTES => {
            return Err(CreaterepoError::OldMetadata {
                path,
                why: format!("it is larger than {REPOMD_MAX_BYTES} bytes"),
            });
        }
        Ok(_) => fs::read_to_string(&path),
        Err(error) => Err(error),
    };
    let text = match text {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CreaterepoError::Input { path, source }),
    };
    match Repomd::parse(text.as_bytes()) {
        Ok(repomd) => Ok(Some(Old {
            directory: directory.to_owned(),
            text,
            repomd,
        })),
        Err(source) => Err(CreaterepoError::OldRepomd { path, source }),
    }
}

/// Whether a record is made from the packages, so that an old one must never be carried over.
pub(super) fn is_made_from_packages(record_type: &str) -> bool {
    let base = record_type
        .strip_suffix("_db")
        .or_else(|| record_type.strip_suffix("_zck"))
        .unwrap_or(record_type);
    ["primary", "filelists", "other", "filelists-ext"].contains(&base)
}

/// Whether a record is a group file, in any of its forms.
pub(super) fn is_group(record_type: &str) -> bool {
    record_type == "group" || record_type.starts_with("group_")
}

impl Old {
    /// The text of `repomd.xml`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name in `repodata` of a record's file; none when it is elsewhere.
    pub fn file_name<'a>(&self, record: &'a RecordClaim) -> Option<&'a str> {
        let href = record.href.trim_start_matches("./");
        let name = href.strip_prefix("repodata/")?;
        let is_here = record.base.is_none() && !name.contains('/') && !name.starts_with('.');
        is_here.then_some(name)
    }

    /// Where a record's file is; none when it is elsewhere.
    pub fn path_of(&self, record: &RecordClaim) -> Option<PathBuf> {
        self.file_name(record).map(|name| self.directory.join(name))
    }

    /// Brings a record and its file into the new metadata, after a check of its checksum.
    pub fn carry(
        &self,
        record: &RecordClaim,
        stage: &mut Stage,
    ) -> Result<NewRecord, CreaterepoError> {
        if let Some(name) = self.file_name(record) {
            let path = self.directory.join(name);
            self.verify(record, &path)?;
            if !stage.has(name) {
                stage.keep(&path, name)?;
            }
        }
        Ok(NewRecord {
            record_type: record.record_type.clone(),
            element: self.text[record.span.clone()].to_owned(),
        })
    }

    fn verify(&self, record: &RecordClaim, path: &Path) -> Result<(), CreaterepoError> {
        let input = |source| CreaterepoError::Input {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(input)?;
        let sums = Packed::new(Box::new(file), record)
            .and_then(Packed::finish)
            .map_err(input)?;
        let claimed = record.checksum.as_ref().map(|sum| &sum.hex);
        if claimed.is_some() && claimed != sums.hex.as_ref() {
            return Err(CreaterepoError::OldMetadata {
                path: path.to_owned(),
                why: "its checksum is not the one in repomd.xml".to_owned(),
            });
        }
        Ok(())
    }
}

/// Signatures of the old `repomd.xml`; they do not fit the new one.
const SIGNATURES: [&str; 3] = ["repomd.xml.asc", "repomd.xml.sig", "repomd.xml.gpg"];

/// What became of the old directory's other files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// Superseded files that stay for now.
    pub superseded: usize,
    /// Whether a signature of the old repomd.xml was left out.
    pub signature_dropped: bool,
}

/// Brings superseded files within `retain`, and files that no repomd.xml ever named, into `stage`.
pub(super) fn keep_files(
    directory: &Path,
    old: Option<&Old>,
    retain: Retain,
    now: SystemTime,
    stage: &mut Stage,
) -> Result<Kept, CreaterepoError> {
    let mut kept = Kept::default();
    let fail = |source| CreaterepoError::Directory {
        path: directory.to_owned(),
        source,
    };
    let named: HashSet<&str> = old
        .iter()
        .flat_map(|old| old.repomd.records.iter().filter_map(|r| old.file_name(r)))
        .collect();
    // By kind (`primary.xml.zst`): mtime and name.
    let mut superseded: BTreeMap<String, Vec<(SystemTime, OsString)>> = BTreeMap::new();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(kept),
        Err(error) => return Err(fail(error)),
    };
    for entry in entries {
        let entry = entry.map_err(fail)?;
        let file_name = entry.file_name();
        let Some(name) = file_name.to_str().map(str::to_owned) else {
            continue;
        };
        let data = entry.metadata().map_err(fail)?;
        if !data.is_file() || name == "repomd.xml" || stage.has(&name) {
            continue;
        }
        if SIGNATURES.contains(&name.as_str()) {
            kept.signature_dropped = true;
        } else if named.contains(name.as_str()) || has_digest(&name) {
            let modified = data.modified().map_err(fail)?;
            let kind = without_digest(&name).to_owned();
            superseded
                .entry(kind)
                .or_default()
                .push((modified, file_name));
        } else {
            stage.keep(&entry.path(), &name)?;
        }
    }
    for files in superseded.values_mut() {
        files.sort_by(|a, b| b.cmp(a));
        for (number, (modified, name)) in files.iter().enumerate() {
            let is_young = retain.age.is_some_and(|age| {
                now.duration_since(*modified)
                    .map_or(true, |since| since <= age)
            });
            if number < retain.copies || is_young {
                stage.keep(&directory.join(name), &name.to_string_lossy())?;
                kept.superseded += 1;
            }
        }
    }
    Ok(kept)
}

fn has_digest(name: &str) -> bool {
    name.split_once('-')
        .is_some_and(|(start, _)| is_digest(start))
}
