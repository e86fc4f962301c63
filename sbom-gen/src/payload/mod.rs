//! One pass over a payload: every file is hashed, compared with the header and handed on.
//!
//! Each step has its file: [`source`] the compressed bytes, [`codec`] the decompression, [`plain`]
//! the decompressed stream, [`cpio`] the archive, [`table`] which file of the header an entry is,
//! [`beside`] the threads that hash.

mod beside;
mod codec;
mod cpio;
mod plain;
mod source;
mod table;

pub(crate) use source::Source;

use crate::hashes::Hashes;
use crate::{Limits, SbomError};
use beside::{Digests, Feed, Wanted};
use cpio::{Archive, Entry};
use plain::Plain;
use repo_model::rpm::{FileEntry, FileKind, Head, Package};
use source::Compressed;
use std::io::Read;
use table::FileTable;

/// Room for a file's content that is kept for the next one.
const COLLECTED_KEPT_BYTES: usize = 16 << 20;

/// PAYLOADFORMAT, `cpio` when absent.
const TAG_PAYLOAD_FORMAT: u32 = 1124;
/// SIGMD5, in the signature header: MD5 of main header and payload.
const TAG_SIG_MD5: u32 = 1004;
/// Hex digits of a SHA-256 digest.
const SHA256_DIGITS: usize = 64;
/// Longest link target: PATH_MAX.
const LINK_BYTES: u64 = 4096;

/// What happens to the content of files that are worth a look.
pub(crate) trait Visitor {
    /// Whether to collect the content of this file; `start` is up to 128 KiB of it.
    fn wants(&self, path: &str, start: &[u8]) -> bool;
    /// The whole content of a wanted file.
    fn content(&mut self, file: usize, content: &[u8]) -> Result<(), SbomError>;
    /// A wanted file was longer than the limit and is not looked into.
    fn too_long(&mut self, file: usize, size_bytes: u64);
}

/// One per file of the header, in its order; `None` for all but regular files in the payload.
pub(crate) type FileHashes = Vec<Option<Hashes>>;

/// What the pass found out about the payload.
pub(crate) struct Walked {
    pub(crate) hashes: FileHashes,
    /// SHA-256 of the compressed payload, lowercase hex.
    pub(crate) payload_sha256: String,
    /// SHA-512 of main header and compressed payload, lowercase hex.
    pub(crate) content_sha512: String,
}

/// Reads the payload to its end.
///
/// * `reader`: stands at the first byte of the payload.
/// * Errors as [`SbomError`] says; a digest that differs names the file. The payload's own digest
///   is compared last, so that a changed file is named where that is possible.
pub(crate) fn walk(
    reader: &mut dyn Read,
    head: &Head,
    package: &Package,
    limits: &Limits,
    visitor: &mut dyn Visitor,
) -> Result<Walked, SbomError> {
    require_cpio(head)?;
    let signed_md5 = head
        .signature()
        .bin(TAG_SIG_MD5)
        .filter(|md5| md5.len() == 16);
    // Where the payload as it is has a digest that is compared here, nothing else has to guard it: equal bytes
    // unpack to equal bytes.
    let is_guarded = package
        .payload_sha256
        .as_ref()
        .is_some_and(|digest| digest.len() == SHA256_DIGITS);
    let feed = Feed::start(&Wanted {
        main_header: head.main_bytes(),
        file_algorithm: package.file_digest_algorithm,
        md5: signed_md5.is_some() && !is_guarded,
        plain_sha256: package.payload_sha256_alt.is_some() && !is_guarded,
    })?;
    let mut walk = Walk::new(package, limits, visitor, &feed);
    let read = walk.read(reader);
    let Walk { table, .. } = walk;
    let digests = feed.finish()?;
    // A file that is not what it should be stands before whatever ended the reading.
    let hashes = compared(package, &table, &digests)?;
    read?;
    require_all(package, &hashes)?;
    compare(
        "SHA-256",
        package.payload_sha256.as_deref(),
        Some(&digests.sha256),
    )?;
    compare(
        "MD5",
        signed_md5.map(hex::encode).as_deref(),
        digests.md5.as_deref(),
    )?;
    compare(
        "uncompressed SHA-256",
        package.payload_sha256_alt.as_deref(),
        digests.plain_sha256.as_deref(),
    )?;
    Ok(Walked {
        hashes,
        payload_sha256: digests.sha256,
        content_sha512: digests.content_sha512,
    })
}

/// The digests of each file, which are those that the header has.
fn compared(
    package: &Package,
    table: &FileTable<'_>,
    digests: &Digests,
) -> Result<FileHashes, SbomError> {
    let mut hashes = vec![None; package.files.len()];
    for one in &digests.files {
        let entry = &package.files[one.file];
        if let Some((what, found)) = &one.named
            && !entry.digest.is_empty()
            && *found != entry.digest
        {
            return Err(mismatch(entry, what, entry.digest.clone(), found.clone()));
        }
        for &link in table.links_of(one.file) {
            hashes[link] = Some(one.hashes);
        }
    }
    Ok(hashes)
}

fn mismatch(entry: &FileEntry, what: &'static str, expected: String, found: String) -> SbomError {
    SbomError::FileMismatch {
        path: entry.path.clone(),
        what,
        expected,
        found,
    }
}

fn require_all(package: &Package, hashes: &FileHashes) -> Result<(), SbomError> {
    let missing = package.files.iter().zip(hashes).find(|(entry, hashes)| {
        entry.kind == FileKind::Regular && !entry.is_ghost() && hashes.is_none()
    });
    match missing {
        Some((entry, _)) => Err(SbomError::MissingFile {
            path: entry.path.clone(),
        }),
        None => Ok(()),
    }
}

fn require_cpio(head: &Head) -> Result<(), SbomError> {
    match head.main().string(TAG_PAYLOAD_FORMAT) {
        None | Some(b"cpio") => Ok(()),
        Some(other) => Err(SbomError::Unsupported {
            what: "format",
            name: String::from_utf8_lossy(other).chars().take(40).collect(),
        }),
    }
}

/// Equal, or one side has nothing to compare.
fn compare(
    what: &'static str,
    expected: Option<&str>,
    found: Option<&str>,
) -> Result<(), SbomError> {
    match (expected, found) {
        // PAYLOADSHA256 holds another digest when PAYLOADDIGESTALGO says so: its length tells.
        (Some(expected), Some(found)) if expected.len() == found.len() && expected != found => {
            let (expected, found) = (expected.to_owned(), found.to_owned());
            Err(SbomError::PayloadMismatch {
                what,
                expected,
                found,
            })
        }
        _ => Ok(()),
    }
}

struct Walk<'a, 'f> {
    package: &'a Package,
    limits: &'a Limits,
    visitor: &'a mut dyn Visitor,
    table: FileTable<'a>,
    feed: &'f Feed,
    /// Content of the file that is looked into. Kept from one to the next, so that memory is asked for once.
    collected: Vec<u8>,
}

impl<'a, 'f> Walk<'a, 'f> {
    fn new(
        package: &'a Package,
        limits: &'a Limits,
        visitor: &'a mut dyn Visitor,
        feed: &'f Feed,
    ) -> Self {
        Self {
            package,
            limits,
            visitor,
            table: FileTable::new(&package.files),
            feed,
            collected: Vec::new(),
        }
    }

    fn read(&mut self, reader: &mut dyn Read) -> Result<(), SbomError> {
        let mut compressed = Compressed::new(reader, self.feed);
        let codec = codec::named(&self.package.payload_compressor)?;
        let opened =
            codec
                .open(&mut compressed, self.limits)
                .map_err(|source| SbomError::Codec {
                    codec: codec.name,
                    plain_bytes: 0,
                    source,
                })?;
        let limit = self.limits.payload_bytes;
        self.entries(Plain::new(opened, codec.name, limit, self.feed))?;
        compressed.drain().map_err(SbomError::Read)
    }

    fn entries(&mut self, mut plain: Plain<'_>) -> Result<(), SbomError> {
        // Some packages without files have no archive at all, not even its trailer.
        if self.package.files.is_empty() && plain.at_end()? {
            return plain.drain();
        }
        let mut archive = Archive::new(plain);
        while let Some(entry) = archive.next()? {
            self.entry(&mut archive, entry)?;
        }
        archive.into_plain().drain()
    }

    fn entry(&mut self, archive: &mut Archive<'_>, entry: Entry) -> Result<(), SbomError> {
        let (file, size_bytes) = match entry {
            Entry::Named { name, size_bytes } => (self.table.named(&name)?, size_bytes),
            Entry::Indexed(index) => {
                let file = self.table.indexed(index)?;
                (file, self.table.stripped_size_bytes(file))
            }
        };
        match self.package.files[file].kind {
            FileKind::Regular if self.table.is_link_without_content(file, size_bytes) => Ok(()),
            FileKind::Regular => self.regular(archive, file, size_bytes),
            FileKind::Symlink => self.symlink(archive, file, size_bytes),
            FileKind::Dir | FileKind::Other => archive.content(size_bytes, |_| ()),
        }
    }

    fn regular(
        &mut self,
        archive: &mut Archive<'_>,
        file: usize,
        size_bytes: u64,
    ) -> Result<(), SbomError> {
        let entry = &self.package.files[file];
        if size_bytes != entry.size_bytes {
            let (expected, found) = (entry.size_bytes.to_string(), size_bytes.to_string());
            return Err(mismatch(entry, "size", expected, found));
        }
        let (mut started, mut is_wanted, mut too_long) = (false, false, false);
        let (visitor, limit) = (&*self.visitor, self.limits.inspected_file_bytes);
        let collected = &mut self.collected;
        self.feed.begin();
        archive.content(size_bytes, |piece| {
            if !started {
                started = true;
                is_wanted = visitor.wants(&entry.path, piece);
                too_long = is_wanted && size_bytes > limit;
                if is_wanted && !too_long {
                    make_room(collected, size_bytes as usize);
                }
            }
            if is_wanted && !too_long {
                collected.extend_from_slice(piece);
            }
        })?;
        self.feed.end(file);
        match (is_wanted, too_long) {
            (false, _) => Ok(()),
            (true, false) => {
                let looked = self.visitor.content(file, &self.collected);
                // Used again for the next file, unless it is one of the few large ones.
                if self.collected.capacity() > COLLECTED_KEPT_BYTES {
                    self.collected = Vec::new();
                }
                looked
            }
            (true, true) => {
                self.visitor.too_long(file, size_bytes);
                Ok(())
            }
        }
    }

    fn symlink(
        &mut self,
        archive: &mut Archive<'_>,
        file: usize,
        size_bytes: u64,
    ) -> Result<(), SbomError> {
        if size_bytes > LINK_BYTES {
            return Err(SbomError::Limit {
                what: "a link's target in bytes",
                limit: LINK_BYTES,
            });
        }
        let mut target = Vec::new();
        archive.content(size_bytes, |piece| target.extend_from_slice(piece))?;
        let found = table::text(&target);
        let entry = &self.package.files[file];
        if found != entry.link_target {
            return Err(mismatch(
                entry,
                "link target",
                entry.link_target.clone(),
                found,
            ));
        }
        Ok(())
    }
}

/// Empties the buffer and makes it hold so many bytes, at most the limit of what is looked into; the system gives
/// what is written to.
fn make_room(buffer: &mut Vec<u8>, size_bytes: usize) {
    buffer.clear();
    if buffer.capacity() < size_bytes {
        // Never both at once.
        *buffer = Vec::new();
        buffer.reserve_exact(size_bytes);
    }
}
