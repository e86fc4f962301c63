//! What one package is and holds: the facts that every document is written from.

use crate::hashes::Hashes;
use crate::inspect::{self, Findings};
use crate::merge::{self, Conflict, Identity};
use crate::payload::{self, Source, Visitor};
use crate::{Component, Limits, Options, SbomError};
use repo_model::buildinfo::BuildInfo;
use repo_model::rpm::{FileKind, Head, HeadLimits, Package};
use std::collections::BTreeMap;
use std::io::Read;

/// A file of the package that is not a directory, device or ghost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// Path as in the header: absolute, or a bare name in a source package.
    pub path: String,
    /// Digests of the content; `None` for a symbolic link.
    pub hashes: Option<Hashes>,
    /// Where a symbolic link points.
    pub link_target: Option<String>,
    /// RPMFILE_* flags.
    pub flags: u32,
    /// GNU build id, lowercase hex.
    pub build_id: Option<String>,
}

/// A file that was not looked into, so that components may hide there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotInspected {
    /// Path as in the header.
    pub path: String,
    /// Why not.
    pub reason: String,
}

/// The facts about one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// The header.
    pub package: Package,
    /// SHA-256 of the compressed payload, lowercase hex; computed, whether or not the header has it.
    pub payload_sha256: String,
    /// SHA-512 of main header and compressed payload, lowercase hex: of all that signing leaves as
    /// it is.
    pub content_sha512: String,
    /// Digests of the whole `.rpm`, when [`Options::file_hashes`] asked for them.
    pub rpm_hashes: Option<Hashes>,
    /// Regular files and links, sorted by path.
    pub files: Vec<FileRecord>,
    /// What is inside besides the packaged project itself, sorted by package URL.
    pub components: Vec<Component>,
    /// The packaged project under its upstream's names, sorted.
    pub identities: Vec<Identity>,
    /// Declared and observed versions that differ.
    pub conflicts: Vec<Conflict>,
    /// Files that were not looked into, sorted.
    pub not_inspected: Vec<NotInspected>,
    /// Of a source package: where its spec says that sources and patches come from, by file name.
    pub source_urls: BTreeMap<String, String>,
}

/// A whole build: what one document of [`crate::SbomFormat::write_whole_build`] is about.
#[derive(Debug, Clone, Copy)]
pub struct BuildInventory<'a> {
    /// The source package.
    pub source: &'a Inventory,
    /// What came out of the build, of any arch, in any order; one that is there twice counts once.
    pub packages: &'a [Inventory],
    /// How it was built, where that was recorded.
    pub build_info: Option<&'a BuildInfo>,
}

/// Reads a package to its end in one pass.
///
/// * `reader`: the package's bytes from the first; read in pieces, never held as a whole.
/// * Header digests are not checked here; file digests and payload digests are.
/// * Memory stays below the sum of [`Limits::codec_memory_bytes`] and twice [`Limits::inspected_file_bytes`] (a file, and
///   an archive within it), plus the header and what is found.
///
/// Errors are the package's fault, except [`SbomError::Read`].
pub fn inventory(reader: impl Read, options: &Options) -> Result<Inventory, SbomError> {
    let mut source = Source::new(reader, options.file_hashes);
    match read(&mut source, options) {
        Ok(inventory) => Ok(Inventory {
            rpm_hashes: source.finish(),
            ..inventory
        }),
        // Whatever a parser made of it, the source's own failure is the reason.
        Err(error) => Err(source.take_failure().map_or(error, SbomError::Read)),
    }
}

fn read<R: Read>(source: &mut Source<R>, options: &Options) -> Result<Inventory, SbomError> {
    let head = Head::read(&mut *source, &HeadLimits::default())?;
    let package = Package::from_head(&head)?;
    let mut look = Look::new(&package, &options.limits);
    let walked = payload::walk(source, &head, &package, &options.limits, &mut look)?;
    let Look {
        mut findings,
        build_ids,
        mut not_inspected,
        ..
    } = look;
    inspect::header(&package, &mut findings);
    require_count(&findings, &options.limits)?;

    let merged = merge::merge(findings.components, &package);
    not_inspected.append(&mut findings.not_inspected);
    not_inspected.sort();
    let files = file_records(&package, &walked.hashes, &build_ids);
    Ok(Inventory {
        payload_sha256: walked.payload_sha256,
        content_sha512: walked.content_sha512,
        rpm_hashes: None,
        files,
        components: merged.components,
        identities: merged.identities,
        conflicts: merged.conflicts,
        not_inspected,
        source_urls: findings.source_urls,
        package,
    })
}

fn require_count(findings: &Findings, limits: &Limits) -> Result<(), SbomError> {
    if findings.components.len() > limits.components {
        let limit = limits.components as u64;
        return Err(SbomError::Limit {
            what: "the number of components",
            limit,
        });
    }
    Ok(())
}

fn file_records(
    package: &Package,
    hashes: &[Option<Hashes>],
    build_ids: &BTreeMap<usize, String>,
) -> Vec<FileRecord> {
    let listed = package
        .files
        .iter()
        .zip(hashes)
        .enumerate()
        .filter(|(_, (entry, _))| {
            matches!(entry.kind, FileKind::Regular | FileKind::Symlink) && !entry.is_ghost()
        });
    let mut records: Vec<FileRecord> = listed
        .map(|(file, (entry, hashes))| FileRecord {
            path: entry.path.clone(),
            hashes: *hashes,
            link_target: (entry.kind == FileKind::Symlink).then(|| entry.link_target.clone()),
            flags: entry.flags,
            build_id: build_ids.get(&file).cloned(),
        })
        .collect();
    records.sort_by(|a, b| a.path.cmp(&b.path));
    records
}

/// Hands wanted files to the readers of [`inspect`] and gathers what they find.
struct Look<'a> {
    package: &'a Package,
    limits: &'a Limits,
    findings: Findings,
    build_ids: BTreeMap<usize, String>,
    not_inspected: Vec<NotInspected>,
}

impl<'a> Look<'a> {
    fn new(package: &'a Package, limits: &'a Limits) -> Self {
        Self {
            package,
            limits,
            findings: Findings::default(),
            build_ids: BTreeMap::new(),
            not_inspected: Vec::new(),
        }
    }
}

impl Visitor for Look<'_> {
    fn wants(&self, path: &str, start: &[u8]) -> bool {
        inspect::wants(path, start)
    }

    fn content(&mut self, file: usize, content: &[u8]) -> Result<(), SbomError> {
        let path = &self.package.files[file].path;
        inspect::file(self.package, path, content, &mut self.findings);
        if let Some(build_id) = self.findings.build_id.take() {
            self.build_ids.insert(file, build_id);
        }
        require_count(&self.findings, self.limits)
    }

    fn too_long(&mut self, file: usize, size_bytes: u64) {
        let path = self.package.files[file].path.clone();
        let limit = self.limits.inspected_file_bytes;
        let reason = format!("{size_bytes} bytes, over the limit of {limit}");
        self.not_inspected.push(NotInspected { path, reason });
    }
}
