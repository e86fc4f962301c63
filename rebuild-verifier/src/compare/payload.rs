//! Payloads: decompressed and walked as a cpio archive, with a limit on everything. A hostile payload
//! is an error, never a panic, and never more memory than the limits say.
//!
//! An entry is `070701` + 13 fields of 8 hex digits + name, padded to 4, + data, padded to 4; packages
//! with files over 4 GiB and rpm 6 write `07070X` + the file's index in the header instead.

use repo_model::FileDigest;
use repo_model::rpm::{FileEntry, FileKind};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};

/// Largest payload that is unpacked, bytes before compression.
const MAX_BYTES: u64 = 64 << 30;
/// Most entries.
const MAX_ENTRIES: usize = 2_000_000;
/// Longest file name, bytes.
const MAX_NAME: usize = 64 << 10;
/// Memory that an xz payload may ask for, bytes.
const XZ_MEMORY: u64 = 512 << 20;
/// Name of the last entry.
const TRAILER: &str = "TRAILER!!!";
/// Bits of the mode that tell the type of a file.
pub const FILE_TYPE: u64 = 0o170_000;
/// Type of a regular file.
const REGULAR: u64 = 0o100_000;
/// Type of a symbolic link; its data is its target.
pub const SYMLINK: u64 = 0o120_000;

/// A payload cannot be read. The package's fault; do not retry.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Damaged, truncated, or not readable.
    #[error("the payload cannot be unpacked after {at} bytes")]
    Read {
        /// Bytes unpacked so far.
        at: u64,
        /// What the decompressor or the system said.
        #[source]
        source: io::Error,
    },
    /// Not a cpio archive as rpm writes it.
    #[error("the payload is no cpio archive at byte {at}: {why}")]
    Cpio {
        /// Place in the unpacked payload.
        at: u64,
        /// What is wrong there.
        why: &'static str,
    },
    /// More than the limits allow.
    #[error("the payload has more than {limit} {unit}")]
    TooLarge {
        /// The limit.
        limit: u64,
        /// `bytes`, `entries`, ...
        unit: &'static str,
    },
}

/// One entry, before its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Absolute path.
    pub path: String,
    /// `st_mode`.
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: u64,
    /// Bytes of data that follow.
    pub size_bytes: u64,
    /// Inode, for a regular file with more than one name: only the last of them has data.
    pub linked: Option<u64>,
}

/// What a payload holds: entries with the digests of their data, in order, and the digest of it all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Entries and SHA-256 of their data.
    pub entries: Vec<(Entry, FileDigest)>,
    /// SHA-256 of the unpacked payload, as in tag PAYLOADSHA256ALT.
    pub unpacked: FileDigest,
}

impl Contents {
    /// Reads a compressed payload to its end. `files`: the header's list, for the short form.
    pub fn read(compressed: impl Read, files: &[FileEntry]) -> Result<Self, PayloadError> {
        let mut entries = Vec::new();
        let mut archive = Archive::open(compressed, files)?;
        while let Some(entry) = archive.next_entry()? {
            let digest = archive.hash_data(entry.size_bytes)?;
            if entries.len() >= MAX_ENTRIES {
                return Err(PayloadError::TooLarge {
                    limit: MAX_ENTRIES as u64,
                    unit: "entries",
                });
            }
            entries.push((entry, digest));
        }
        archive.skip_to_end()?;
        share_linked_digests(&mut entries);
        Ok(Self {
            entries,
            unpacked: FileDigest::from_bytes(archive.hasher.finalize().into()),
        })
    }

    /// Entries by path.
    pub fn by_path(&self) -> HashMap<&str, &(Entry, FileDigest)> {
        self.entries
            .iter()
            .map(|row| (row.0.path.as_str(), row))
            .collect()
    }
}

/// Gives every name of a file the digest of its data, which stands with one of the names only.
fn share_linked_digests(entries: &mut [(Entry, FileDigest)]) {
    let with_data: HashMap<u64, FileDigest> = entries
        .iter()
        .filter(|(entry, _)| entry.size_bytes > 0)
        .filter_map(|(entry, digest)| Some((entry.linked?, *digest)))
        .collect();
    for (entry, digest) in entries {
        if let Some(shared) = entry.linked.and_then(|inode| with_data.get(&inode)) {
            *digest = *shared;
        }
    }
}

/// Reads the data of the files that `wanted` names, each up to `each_bytes`.
pub fn extract(
    compressed: impl Read,
    files: &[FileEntry],
    wanted: &[&str],
    each_bytes: u64,
) -> Result<HashMap<String, Vec<u8>>, PayloadError> {
    let mut found: HashMap<String, Vec<u8>> = HashMap::new();
    // Wanted names whose data comes with a later name of the same file.
    let mut waiting: Vec<(String, u64)> = Vec::new();
    let mut archive = Archive::open(compressed, files)?;
    while let Some(entry) = archive.next_entry()? {
        let is_wanted = wanted.contains(&entry.path.as_str());
        let is_waited_for = entry.size_bytes > 0
            && waiting
                .iter()
                .any(|(_, inode)| Some(*inode) == entry.linked);
        let keep = if is_wanted || is_waited_for {
            entry.size_bytes.min(each_bytes)
        } else {
            0
        };
        let data = archive.read_data(keep, entry.size_bytes)?;
        if is_waited_for {
            let (ready, rest) = waiting
                .into_iter()
                .partition(|(_, inode)| Some(*inode) == entry.linked);
            waiting = rest;
            let ready: Vec<(String, u64)> = ready;
            found.extend(ready.into_iter().map(|(path, _)| (path, data.clone())));
        }
        match entry.linked {
            Some(inode) if is_wanted && data.is_empty() => waiting.push((entry.path, inode)),
            _ if is_wanted => drop(found.insert(entry.path, data)),
            _ => {}
        }
        if found.len() == wanted.len() {
            break;
        }
    }
    found.extend(waiting.into_iter().map(|(path, _)| (path, Vec::new())));
    Ok(found)
}

/// Opens a decompressor for what the first bytes say. Nothing at all is an empty stream.
pub fn decompressor<'a>(mut compressed: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let start = compressed.fill_buf()?;
    let starts = |magic: &[u8]| start.starts_with(magic);
    Ok(if starts(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(compressed))
    } else if starts(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::stream::read::Decoder::with_buffer(compressed)?)
    } else if starts(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        let stream =
            liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)
                .map_err(io::Error::other)?;
        Box::new(liblzma::bufread::XzDecoder::new_stream(compressed, stream))
    } else if starts(b"BZh") {
        Box::new(bzip2::bufread::MultiBzDecoder::new(compressed))
    } else if starts(&[0x5d, 0, 0]) {
        let stream =
            liblzma::stream::Stream::new_lzma_decoder(XZ_MEMORY).map_err(io::Error::other)?;
        Box::new(liblzma::bufread::XzDecoder::new_stream(compressed, stream))
    } else {
        Box::new(compressed)
    })
}

/// A cpio archive being read; every byte that passes is hashed and counted.
struct Archive<'a> {
    reader: Box<dyn Read + 'a>,
    files: &'a [FileEntry],
    links: Links,
    hasher: Sha256,
    at: u64,
    padding: u64,
}

impl<'a> Archive<'a> {
    fn open(compressed: impl Read + 'a, files: &'a [FileEntry]) -> Result<Self, PayloadError> {
        let reader = decompressor(BufReader::with_capacity(64 << 10, compressed))
            .map_err(|source| PayloadError::Read { at: 0, source })?;
        Ok(Self {
            reader,
            files,
            links: links(files),
            hasher: Sha256::new(),
            at: 0,
            padding: 0,
        })
    }

    /// The next entry's head, `None` after the last; the data of the one before must have been read.
    fn next_entry(&mut self) -> Result<Option<Entry>, PayloadError> {
        self.skip_padding()?;
        let start = self.at;
        let refuse = |why| PayloadError::Cpio { at: start, why };
        let mut magic = [0; 6];
        self.fill(&mut magic)?;
        let entry = match &magic {
            b"070701" | b"070702" => self
                .full_entry()
                .map_err(|error| error.unwrap_or_else(|| refuse("bad entry")))?,
            b"07070X" => {
                let index = self.number()?.ok_or_else(|| refuse("bad index"))?;
                self.padding = padding_of(14);
                short_entry(self.files, &self.links, index)
                    .ok_or_else(|| refuse("no such file in the header"))?
            }
            _ => return Err(refuse("no entry starts here")),
        };
        self.skip_padding()?;
        self.padding = padding_of(entry.size_bytes);
        Ok((entry.path != TRAILER).then(|| Entry {
            path: absolute(&entry.path),
            ..entry
        }))
    }

    fn full_entry(&mut self) -> Result<Entry, Option<PayloadError>> {
        let mut fields = [0_u64; 13];
        for field in &mut fields {
            *field = self.number().map_err(Some)?.ok_or(None)?;
        }
        let [
            inode,
            mode,
            _uid,
            _gid,
            names,
            mtime,
            size_bytes,
            _,
            _,
            _,
            _,
            name_bytes,
            _check,
        ] = fields;
        let name_bytes = usize::try_from(name_bytes)
            .ok()
            .filter(|n| (1..=MAX_NAME).contains(n))
            .ok_or(None)?;
        let mut name = vec![0; name_bytes];
        self.fill(&mut name).map_err(Some)?;
        if name.pop() != Some(0) {
            return Err(None);
        }
        self.padding = padding_of(110 + name_bytes as u64);
        let path = String::from_utf8_lossy(&name).into_owned();
        let is_linked = mode & FILE_TYPE == REGULAR && names > 1;
        Ok(Entry {
            path,
            mode: u32::try_from(mode).unwrap_or(0),
            mtime,
            size_bytes,
            linked: is_linked.then_some(inode),
        })
    }

    /// Eight hex digits; `None` when they are none.
    fn number(&mut self) -> Result<Option<u64>, PayloadError> {
        let mut digits = [0; 8];
        self.fill(&mut digits)?;
        let text = std::str::from_utf8(&digits)
            .ok()
            .filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        Ok(text.and_then(|text| u64::from_str_radix(text, 16).ok()))
    }

    fn hash_data(&mut self, size_bytes: u64) -> Result<FileDigest, PayloadError> {
        let mut hasher = Sha256::new();
        self.pass(size_bytes, |piece| hasher.update(piece))?;
        Ok(FileDigest::from_bytes(hasher.finalize().into()))
    }

    /// Reads `size_bytes` and keeps the first `keep_bytes` of them.
    fn read_data(&mut self, keep_bytes: u64, size_bytes: u64) -> Result<Vec<u8>, PayloadError> {
        let mut kept = Vec::new();
        let limit = usize::try_from(keep_bytes).unwrap_or(usize::MAX);
        self.pass(size_bytes, |piece| {
            kept.extend_from_slice(&piece[..piece.len().min(limit - kept.len())])
        })?;
        Ok(kept)
    }

    fn skip_padding(&mut self) -> Result<(), PayloadError> {
        let bytes = std::mem::take(&mut self.padding);
        self.pass(bytes, |_| {})
    }

    /// Reads what follows the last entry, so that the digest covers it.
    fn skip_to_end(&mut self) -> Result<(), PayloadError> {
        let mut chunk = [0; 16 << 10];
        loop {
            let count = self.read(&mut chunk)?;
            if count == 0 {
                return Ok(());
            }
        }
    }

    fn pass(&mut self, mut bytes: u64, mut take: impl FnMut(&[u8])) -> Result<(), PayloadError> {
        let mut chunk = [0; 16 << 10];
        while bytes > 0 {
            let want = chunk
                .len()
                .min(usize::try_from(bytes).unwrap_or(usize::MAX));
            let count = self.read(&mut chunk[..want])?;
            if count == 0 {
                return Err(PayloadError::Cpio {
                    at: self.at,
                    why: "it ends in the middle of an entry",
                });
            }
            take(&chunk[..count]);
            bytes -= count as u64;
        }
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), PayloadError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let count = self.read(&mut buffer[filled..])?;
            if count == 0 {
                return Err(PayloadError::Cpio {
                    at: self.at,
                    why: "it ends in the middle of an entry",
                });
            }
            filled += count;
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PayloadError> {
        let count = loop {
            match self.reader.read(buffer) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(PayloadError::Read {
                        at: self.at,
                        source,
                    });
                }
            }
        };
        self.at += count as u64;
        if self.at > MAX_BYTES {
            return Err(PayloadError::TooLarge {
                limit: MAX_BYTES,
                unit: "bytes",
            });
        }
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

fn padding_of(bytes: u64) -> u64 {
    bytes.wrapping_neg() % 4
}

/// `./usr/bin/x` and `usr/bin/x` as `/usr/bin/x`.
fn absolute(name: &str) -> String {
    let name = name
        .strip_prefix('.')
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(name);
    if name.starts_with('/') {
        name.to_owned()
    } else {
        format!("/{name}")
    }
}

/// Regular files of the header by inode: the last one's index, and how many.
type Links = HashMap<u32, (usize, usize)>;

fn links(files: &[FileEntry]) -> Links {
    let mut links = Links::new();
    for (index, file) in files.iter().enumerate() {
        if file.kind == FileKind::Regular && !file.is_ghost() {
            let (last, count) = links.entry(file.inode).or_default();
            (*last, *count) = (index, *count + 1);
        }
    }
    links
}

/// What the header says of file `index`. Of hard links only the last one carries data.
fn short_entry(files: &[FileEntry], links: &Links, index: u64) -> Option<Entry> {
    let index = usize::try_from(index).ok()?;
    let file = files.get(index)?;
    let (last, names) = links.get(&file.inode).copied().unwrap_or((index, 1));
    let size_bytes = match file.kind {
        FileKind::Symlink => file.size_bytes,
        FileKind::Regular if index < last => 0,
        FileKind::Regular => file.size_bytes,
        FileKind::Dir | FileKind::Other => 0,
    };
    let is_linked = file.kind == FileKind::Regular && names > 1;
    Some(Entry {
        path: file.path.clone(),
        mode: u32::from(file.mode),
        mtime: u64::try_from(file.mtime.unix_secs()).unwrap_or(0),
        size_bytes,
        linked: is_linked.then(|| u64::from(file.inode)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, mtime: u32, data: &[u8]) -> Vec<u8> {
        let mut out = b"070701".to_vec();
        let fields = [
            1,
            0o100_644,
            0,
            0,
            1,
            mtime,
            data.len() as u32,
            0,
            0,
            0,
            0,
            name.len() as u32 + 1,
            0,
        ];
        for field in fields {
            out.extend(format!("{field:08x}").bytes());
        }
        out.extend(name.bytes().chain([0]));
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(data);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn archive() -> Vec<u8> {
        [
            entry("./usr/a", 7, b"hello"),
            entry("./usr/b", 8, b""),
            entry(TRAILER, 0, b""),
        ]
        .concat()
    }

    #[test]
    fn entries_come_back_with_names_times_and_digests() {
        let contents = Contents::read(&archive()[..], &[]).unwrap();
        let paths: Vec<_> = contents
            .entries
            .iter()
            .map(|(entry, _)| entry.path.as_str())
            .collect();
        assert_eq!(paths, ["/usr/a", "/usr/b"]);
        assert_eq!(contents.entries[0].0.mtime, 7);
        assert_eq!(contents.entries[0].1, FileDigest::of(b"hello"));
        assert_eq!(contents.unpacked, FileDigest::of(&archive()));
        let found = extract(&archive()[..], &[], &["/usr/a"], 4).unwrap();
        assert_eq!(found["/usr/a"], b"hell");
    }

    #[test]
    fn every_compression_unpacks_to_the_same() {
        use std::io::Write as _;
        let plain = archive();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
        gzip.write_all(&plain).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
        bzip2.write_all(&plain).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
        xz.write_all(&plain).unwrap();
        let zstd = zstd::encode_all(&plain[..], 3).unwrap();
        for packed in [
            gzip.finish().unwrap(),
            bzip2.finish().unwrap(),
            xz.finish().unwrap(),
            zstd,
        ] {
            let contents = Contents::read(&packed[..], &[]).unwrap();
            assert_eq!(contents.unpacked, FileDigest::of(&plain));
            assert!(Contents::read(&packed[..packed.len() - 9], &[]).is_err());
        }
    }

    #[test]
    fn damage_anywhere_is_an_error_or_another_content_and_never_a_panic() {
        let good = archive();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] = 0xff;
            let _ = Contents::read(&bad[..], &[]);
            assert!(Contents::read(&good[..at], &[]).is_err(), "cut at {at}");
        }
    }
}
