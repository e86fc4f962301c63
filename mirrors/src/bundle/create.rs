//! Making a bundle of a tree.

use super::survey::{own_directories, survey_steady};
use super::{
    BUNDLE, BundleError, BundlePredicate, FILES, HEAD, Listed, is_tree_name, object_name,
    write_files,
};
use crate::sync::claim::{Claim, Sum};
use crate::sync::site::lock;
use crate::tar;
use repo_model::dsse::StatementSigner;
use repo_model::statement::{Statement, Subject};
use repo_model::{FileDigest, Timestamp};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

/// Packages are compressed already; metadata gains little from more.
const LEVEL: i32 = 3;

/// What to make a bundle of.
#[derive(Debug)]
pub struct Create<'a> {
    /// A tree: an export, copies of repositories.
    pub directory: &'a Path,
    /// The tree's name: a side that applied a bundle of one tree refuses those of another.
    pub tree: &'a str,
    /// What the other side has.
    pub have: &'a HashSet<FileDigest>,
    /// Now.
    pub created: Timestamp,
    /// From when on the bundle is refused.
    pub expires: Timestamp,
    /// Signs it.
    pub key: &'a dyn StatementSigner,
}

/// What went into a bundle.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Created {
    /// Files of the tree.
    pub files: u64,
    /// Objects in the bundle.
    pub objects: u64,
    /// Their bytes, before compression.
    pub object_bytes: u64,
}

/// Writes a bundle. Equal trees and lists make equal bytes but for the signature.
pub fn create(request: &Create<'_>, out: impl Write) -> Result<Created, BundleError> {
    if !is_tree_name(request.tree) {
        return Err(BundleError::Name {
            name: request.tree.chars().take(80).collect(),
        });
    }
    let _locks = locks(request.directory)?;
    let files = survey_steady(request.directory)?;
    let list = write_files(&files);
    super::read_files(&list)?;
    let envelope = Statement::new(
        BUNDLE,
        vec![Subject::file(FILES, FileDigest::of(list.as_bytes()))],
        BundlePredicate {
            created: request.created,
            expires: request.expires,
            files: files.len() as u64,
            tree: request.tree.to_owned(),
        },
    )
    .sign(request.key)?;
    let mut created = Created {
        files: files.len() as u64,
        objects: 0,
        object_bytes: 0,
    };
    let fail = |source| BundleError::Local {
        path: "the bundle".into(),
        source,
    };
    let mut out = zstd::Encoder::new(out, LEVEL).map_err(fail)?;
    tar::write_file(&mut out, HEAD, &envelope.to_json()).map_err(fail)?;
    tar::write_file(&mut out, FILES, list.as_bytes()).map_err(fail)?;
    let mut done = HashSet::new();
    for file in &files {
        if !request.have.contains(&file.digest) && done.insert(file.digest) {
            write_object(request.directory, file, &mut out)?;
            created.objects += 1;
            created.object_bytes += file.size_bytes;
        }
    }
    tar::finish(&mut out).map_err(fail)?;
    out.finish().and_then(|mut out| out.flush()).map_err(fail)?;
    Ok(created)
}

/// Holds off every sync, export and bundle that would work on the directory or below it.
fn locks(directory: &Path) -> Result<Vec<File>, BundleError> {
    let own = own_directories(directory).map_err(BundleError::local(directory))?;
    let one = |own: &PathBuf| {
        let held = lock(own).map_err(BundleError::local(own))?;
        held.ok_or_else(|| BundleError::Busy {
            directory: own.parent().unwrap_or(directory).to_owned(),
        })
    };
    own.iter().map(one).collect()
}

/// Writes one object, and makes sure of its bytes on the way.
fn write_object(directory: &Path, file: &Listed, out: &mut impl Write) -> Result<(), BundleError> {
    let path = directory.join(&file.path);
    let claim = Claim::of(file.digest);
    let mut sum = Sum::new(&claim);
    let mut copy = || -> io::Result<bool> {
        tar::write_header(out, &object_name(file.digest), file.size_bytes)?;
        let mut from = File::open(&path)?.take(file.size_bytes);
        let mut buffer = vec![0; 1 << 16];
        let mut written = 0;
        loop {
            let count = from.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            sum.update(&buffer[..count]);
            out.write_all(&buffer[..count])?;
            written += count as u64;
        }
        tar::write_padding(out, file.size_bytes)?;
        Ok(written == file.size_bytes)
    };
    let is_whole = copy().map_err(BundleError::local(&path))?;
    match is_whole && sum.finish(&claim).is_ok() {
        true => Ok(()),
        false => Err(BundleError::Changed {
            path: file.path.clone(),
        }),
    }
}
