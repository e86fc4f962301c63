//! Which file of the header an archive entry is, and which files share one content.

use crate::SbomError;
use repo_model::rpm::{FileEntry, FileKind};
use std::collections::HashMap;

/// The header's files, found by path or index, each at most once.
pub(super) struct FileTable<'a> {
    files: &'a [FileEntry],
    by_path: HashMap<&'a str, usize>,
    /// Files with the same inode, in header order; single files are not in here.
    link_sets: Vec<Vec<usize>>,
    /// Position in `link_sets`.
    link_set_of: HashMap<usize, usize>,
    /// `[i]` as a slice, for files that are no hard links.
    alone: Vec<usize>,
    seen: Vec<bool>,
}

impl<'a> FileTable<'a> {
    pub(super) fn new(files: &'a [FileEntry]) -> Self {
        let by_path = files
            .iter()
            .enumerate()
            .map(|(i, file)| (relative(&file.path), i))
            .collect();
        // Inode numbers alone may repeat across devices in old packages; equal content in both
        // size and digest makes sharing hashes right in any case.
        let mut sets: HashMap<(u32, u64, &str), Vec<usize>> = HashMap::new();
        for (i, file) in files.iter().enumerate() {
            if file.kind == FileKind::Regular && !file.is_ghost() {
                sets.entry((file.inode, file.size_bytes, &file.digest))
                    .or_default()
                    .push(i);
            }
        }
        let link_sets: Vec<_> = sets.into_values().filter(|set| set.len() > 1).collect();
        let link_set_of = link_sets
            .iter()
            .enumerate()
            .flat_map(|(set, files)| files.iter().map(move |file| (*file, set)))
            .collect();
        let alone = (0..files.len()).collect();
        Self {
            files,
            by_path,
            link_sets,
            link_set_of,
            alone,
            seen: vec![false; files.len()],
        }
    }

    /// The file with the name that a `newc` entry gives.
    pub(super) fn named(&mut self, name: &[u8]) -> Result<usize, SbomError> {
        // The header holds directory and base name apart, and reads each as text by itself.
        let split = name
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |slash| slash + 1);
        let path = text(&name[..split]) + &text(&name[split..]);
        match self.by_path.get(relative(&path)) {
            Some(&file) => self.once(file),
            None => Err(SbomError::StrayFile {
                path,
                why: "which the header does not list",
            }),
        }
    }

    /// The file that a stripped entry's index means.
    pub(super) fn indexed(&mut self, index: usize) -> Result<usize, SbomError> {
        if index < self.files.len() {
            return self.once(index);
        }
        Err(SbomError::StrayFile {
            path: format!("#{index}"),
            why: "an index beyond the header's list",
        })
    }

    fn once(&mut self, file: usize) -> Result<usize, SbomError> {
        if std::mem::replace(&mut self.seen[file], true) {
            let path = self.files[file].path.clone();
            return Err(SbomError::StrayFile {
                path,
                why: "for the second time",
            });
        }
        Ok(file)
    }

    /// The content's size of a stripped entry: the header's, except that of a set of hard links
    /// only the last has content (rpm `lib/rpmfi.cc`, `iterReadArchiveNext`).
    pub(super) fn stripped_size_bytes(&self, file: usize) -> u64 {
        let entry = &self.files[file];
        match entry.kind {
            FileKind::Regular if self.links_of(file).last() != Some(&file) => 0,
            FileKind::Regular | FileKind::Symlink => entry.size_bytes,
            FileKind::Dir | FileKind::Other => 0,
        }
    }

    /// Whether the entry only announces a hard link whose content comes with another entry.
    pub(super) fn is_link_without_content(&self, file: usize, size_bytes: u64) -> bool {
        size_bytes == 0 && self.files[file].size_bytes > 0 && self.links_of(file).len() > 1
    }

    /// All files that share this one's content, itself included.
    pub(super) fn links_of(&self, file: usize) -> &[usize] {
        match self.link_set_of.get(&file) {
            Some(&set) => &self.link_sets[set],
            None => &self.alone[file..=file],
        }
    }
}

/// The path without what payloads put before it: `./usr/bin/x`, `/usr/bin/x`, `x.spec`.
fn relative(path: &str) -> &str {
    let path = path
        .strip_prefix('.')
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path);
    path.strip_prefix('/').unwrap_or(path)
}

/// Bytes as the header's reader turns them into text: UTF-8, else Latin-1.
pub(super) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}
