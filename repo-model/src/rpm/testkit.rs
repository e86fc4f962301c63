//! RPM files made to order, for tests: right in every digest unless told to lie.
//!
//! Deterministic, and independent of the reader and the splicer, so that it can judge them. The
//! payload is a real, uncompressed cpio archive: rpm itself reads and verifies what comes out.
//!
//! ```
//! use repo_model::rpm::{Head, Package, testkit::{Field, Rpm}, tag};
//! let bytes = Rpm::binary("probe").set(tag::EPOCH, Field::Int32(vec![7])).bytes();
//! let package = Package::from_head(&Head::parse(&bytes).unwrap()).unwrap();
//! assert_eq!(package.nevra.to_string(), "probe-7:1.0-1.noarch");
//! ```

use super::tag;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// The value of a tag; each variant is one type of the format.
#[derive(Debug, Clone)]
pub enum Field {
    /// INT8.
    Int8(Vec<u8>),
    /// INT16.
    Int16(Vec<u16>),
    /// INT32.
    Int32(Vec<u32>),
    /// INT64.
    Int64(Vec<u64>),
    /// STRING, without its NUL.
    Str(Vec<u8>),
    /// BIN.
    Bin(Vec<u8>),
    /// STRING_ARRAY, without the NULs.
    Strings(Vec<Vec<u8>>),
    /// I18NSTRING, without the NULs.
    I18n(Vec<Vec<u8>>),
    /// Anything, true or not: type, count, and data as stored.
    Raw(u32, u32, Vec<u8>),
}

impl Field {
    /// A STRING.
    pub fn str(text: impl AsRef<[u8]>) -> Self {
        Self::Str(text.as_ref().to_vec())
    }

    /// A STRING_ARRAY.
    pub fn strings<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::Strings(
            texts
                .into_iter()
                .map(|text| text.as_ref().to_vec())
                .collect(),
        )
    }

    /// Type, count and bytes as stored.
    fn stored(&self) -> (u32, u32, Vec<u8>) {
        let joined = |texts: &[Vec<u8>]| {
            texts
                .iter()
                .flat_map(|text| [text, &[0][..]].concat())
                .collect()
        };
        match self {
            Self::Int8(numbers) => (2, numbers.len() as u32, numbers.clone()),
            Self::Int16(numbers) => (3, numbers.len() as u32, be(numbers, |n| n.to_be_bytes())),
            Self::Int32(numbers) => (4, numbers.len() as u32, be(numbers, |n| n.to_be_bytes())),
            Self::Int64(numbers) => (5, numbers.len() as u32, be(numbers, |n| n.to_be_bytes())),
            Self::Str(text) => (6, 1, joined(std::slice::from_ref(text))),
            Self::Bin(bytes) => (7, bytes.len() as u32, bytes.clone()),
            Self::Strings(texts) => (8, texts.len() as u32, joined(texts)),
            Self::I18n(texts) => (9, texts.len() as u32, joined(texts)),
            Self::Raw(kind, count, data) => (*kind, *count, data.clone()),
        }
    }
}

fn be<T: Copy, const N: usize>(numbers: &[T], bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    numbers.iter().flat_map(|number| bytes(*number)).collect()
}

/// One file of a package.
#[derive(Debug, Clone)]
struct TestFile {
    path: String,
    mode: u16,
    flags: u32,
    content: Vec<u8>,
    link_target: String,
}

/// A package in the making. Later settings win over earlier ones and over what is computed.
#[derive(Debug, Clone)]
pub struct Rpm {
    is_source: bool,
    file_name: String,
    files: Vec<TestFile>,
    main: Vec<(u32, Field)>,
    signature: Vec<(u32, Field)>,
    without: Vec<u32>,
    without_in_signature: Vec<u32>,
    added: Vec<(u32, Field)>,
    payload: Option<Vec<u8>>,
}

/// The build time of everything made here: 2026-01-02T03:04:05Z.
pub const BUILD_TIME: u32 = 1_767_323_045;

impl Rpm {
    /// A sound version 4 package `name-1.0-1.noarch` with summary, licence, changelog, the provide
    /// of itself, and no files.
    pub fn binary(name: &str) -> Self {
        Self::plain(name, false).set(tag::SOURCERPM, Field::str(format!("{name}-1.0-1.src.rpm")))
    }

    /// A sound source package `name-1.0-1.src` with a spec file.
    pub fn source(name: &str) -> Self {
        Self::plain(name, true)
            .set(tag::SOURCEPACKAGE, Field::Int32(vec![1]))
            .file(
                &format!("{name}.spec"),
                format!("Name: {name}\n").as_bytes(),
            )
    }

    fn plain(name: &str, is_source: bool) -> Self {
        let rpm = Self {
            is_source,
            file_name: format!("{name}-1.0-1"),
            files: Vec::new(),
            main: Vec::new(),
            signature: Vec::new(),
            without: Vec::new(),
            without_in_signature: Vec::new(),
            added: Vec::new(),
            payload: None,
        };
        let translated = |text: &str| Field::I18n(vec![text.as_bytes().to_vec()]);
        rpm.set(tag::HEADERI18NTABLE, Field::strings(["C"]))
            .set(tag::NAME, Field::str(name))
            .set(tag::VERSION, Field::str("1.0"))
            .set(tag::RELEASE, Field::str("1"))
            .set(tag::SUMMARY, translated("A probe"))
            .set(tag::DESCRIPTION, translated("Made for a test."))
            .set(tag::BUILDTIME, Field::Int32(vec![BUILD_TIME]))
            .set(tag::BUILDHOST, Field::str("build.example"))
            .set(tag::LICENSE, Field::str("MIT"))
            .set(tag::GROUP, translated("Unspecified"))
            .set(tag::OS, Field::str("linux"))
            .set(tag::ARCH, Field::str("noarch"))
            .set(tag::RPMVERSION, Field::str("4.18.0"))
            .set(tag::PAYLOADFORMAT, Field::str("cpio"))
            .set(tag::PROVIDENAME, Field::strings([name]))
            .set(tag::PROVIDEFLAGS, Field::Int32(vec![8]))
            .set(tag::PROVIDEVERSION, Field::strings(["1.0-1"]))
            .set(tag::CHANGELOGTIME, Field::Int32(vec![BUILD_TIME]))
            .set(
                tag::CHANGELOGNAME,
                Field::strings(["Probe <probe@example.org> - 1.0-1"]),
            )
            .set(tag::CHANGELOGTEXT, Field::strings(["- first"]))
    }

    /// Sets a tag of the main header, in place of what was or would be there.
    pub fn set(mut self, tag: u32, field: Field) -> Self {
        self.without.retain(|other| *other != tag);
        put(&mut self.main, tag, field);
        self
    }

    /// Adds a tag to the main header behind what is there, even a second time.
    pub fn add(mut self, tag: u32, field: Field) -> Self {
        self.added.push((tag, field));
        self
    }

    /// Leaves a tag out of the main header.
    pub fn without(mut self, tag: u32) -> Self {
        self.main.retain(|(other, _)| *other != tag);
        self.without.push(tag);
        self
    }

    /// Sets a tag of the signature header, in place of the right value.
    pub fn set_signature(mut self, tag: u32, field: Field) -> Self {
        put(&mut self.signature, tag, field);
        self
    }

    /// Leaves a tag out of the signature header.
    pub fn without_signature(mut self, tag: u32) -> Self {
        self.without_in_signature.push(tag);
        self
    }

    /// Adds a regular file, mode 0644.
    pub fn file(self, path: &str, content: &[u8]) -> Self {
        self.entry(path, 0o100_644, content, "")
    }

    /// Adds an executable, mode 0755.
    pub fn executable(self, path: &str, content: &[u8]) -> Self {
        self.entry(path, 0o100_755, content, "")
    }

    /// Adds a directory, mode 0755.
    pub fn dir(self, path: &str) -> Self {
        self.entry(path, 0o040_755, b"", "")
    }

    /// Adds a symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, 0o120_777, target.as_bytes(), target)
    }

    fn entry(mut self, path: &str, mode: u16, content: &[u8], link_target: &str) -> Self {
        self.files.push(TestFile {
            path: path.to_owned(),
            mode,
            flags: 0,
            content: content.to_vec(),
            link_target: link_target.to_owned(),
        });
        self
    }

    /// Sets the flags (RPMFILE_*) of the file added last.
    pub fn flags(mut self, flags: u32) -> Self {
        if let Some(file) = self.files.last_mut() {
            file.flags = flags;
        }
        self
    }

    /// Takes these bytes as payload instead of an archive of the files.
    pub fn payload(mut self, bytes: &[u8]) -> Self {
        self.payload = Some(bytes.to_vec());
        self
    }

    /// The whole file.
    pub fn bytes(&self) -> Vec<u8> {
        let archive = self.archive();
        let payload = self.payload.clone().unwrap_or_else(|| archive.clone());
        let main = self.main_header(&payload);
        let signature = self.signature_header(&main, &payload, archive.len());
        [self.lead(), signature, main, payload].concat()
    }

    fn main_header(&self, payload: &[u8]) -> Vec<u8> {
        let mut fields = self.file_fields();
        let installed: usize = self.files.iter().map(|file| file.content.len()).sum();
        let digest = hex::encode(Sha256::digest(payload));
        fields.push((tag::SIZE, Field::Int32(vec![installed as u32])));
        fields.push((tag::PAYLOADSHA256, Field::strings([digest])));
        fields.push((tag::PAYLOADSHA256ALGO, Field::Int32(vec![8])));
        for (tag, field) in &self.main {
            put(&mut fields, *tag, field.clone());
        }
        fields.retain(|(tag, _)| !self.without.contains(tag));
        fields.extend(self.added.iter().cloned());
        header(Some(tag::HEADERIMMUTABLE), fields)
    }

    fn signature_header(&self, main: &[u8], payload: &[u8], archive_bytes: usize) -> Vec<u8> {
        let both = [main, payload].concat();
        let mut fields = vec![
            (
                tag::SIG_SHA1HEADER,
                Field::str(hex::encode(Sha1::digest(main))),
            ),
            (
                tag::SIG_SHA256HEADER,
                Field::str(hex::encode(Sha256::digest(main))),
            ),
            (tag::SIG_SIZE, Field::Int32(vec![both.len() as u32])),
            (tag::SIG_MD5, Field::Bin(Md5::digest(&both).to_vec())),
            (
                tag::SIG_PAYLOADSIZE,
                Field::Int32(vec![archive_bytes as u32]),
            ),
            (tag::SIG_RESERVEDSPACE, Field::Bin(vec![0; 4128])),
        ];
        for (tag, field) in &self.signature {
            put(&mut fields, *tag, field.clone());
        }
        fields.retain(|(tag, _)| !self.without_in_signature.contains(tag));
        let mut bytes = header(Some(tag::SIG_HEADERSIGNATURES), fields);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn file_fields(&self) -> Vec<(u32, Field)> {
        if self.files.is_empty() {
            return Vec::new();
        }
        let mut dirs: Vec<&str> = Vec::new();
        let mut indexes = Vec::new();
        let mut bases = Vec::new();
        for file in &self.files {
            let (dir, base) = file
                .path
                .split_at(file.path.rfind('/').map_or(0, |slash| slash + 1));
            let known = dirs.iter().position(|other| *other == dir);
            indexes.push(known.unwrap_or(dirs.len()) as u32);
            if known.is_none() {
                dirs.push(dir);
            }
            bases.push(base);
        }
        let digest = |file: &TestFile| match file.mode & 0o170_000 {
            0o100_000 => hex::encode(Sha256::digest(&file.content)),
            _ => String::new(),
        };
        let numbers = |number: fn(&TestFile) -> u32| self.files.iter().map(number).collect();
        let count = self.files.len();
        vec![
            (
                tag::FILESIZES,
                Field::Int32(numbers(|file| file.content.len() as u32)),
            ),
            (
                tag::FILEMODES,
                Field::Int16(self.files.iter().map(|file| file.mode).collect()),
            ),
            (tag::FILERDEVS, Field::Int16(vec![0; count])),
            (tag::FILEMTIMES, Field::Int32(vec![BUILD_TIME; count])),
            (
                tag::FILEDIGESTS,
                Field::strings(self.files.iter().map(digest)),
            ),
            (
                tag::FILELINKTOS,
                Field::strings(self.files.iter().map(|file| &file.link_target)),
            ),
            (tag::FILEFLAGS, Field::Int32(numbers(|file| file.flags))),
            (tag::FILEUSERNAME, Field::strings(vec!["root"; count])),
            (tag::FILEGROUPNAME, Field::strings(vec!["root"; count])),
            (tag::FILEVERIFYFLAGS, Field::Int32(vec![u32::MAX; count])),
            (tag::FILEDEVICES, Field::Int32(vec![1; count])),
            (tag::FILEINODES, Field::Int32((1..=count as u32).collect())),
            (tag::FILELANGS, Field::strings(vec![""; count])),
            (tag::DIRINDEXES, Field::Int32(indexes)),
            (tag::BASENAMES, Field::strings(bases)),
            (tag::DIRNAMES, Field::strings(dirs)),
            (tag::FILEDIGESTALGO, Field::Int32(vec![8])),
        ]
    }

    /// A cpio archive of format `newc`, as rpm writes it; ghosts are not in it.
    fn archive(&self) -> Vec<u8> {
        let mut archive = Vec::new();
        let is_ghost = |file: &&TestFile| file.flags & super::FileEntry::GHOST != 0;
        for (number, file) in self
            .files
            .iter()
            .enumerate()
            .filter(|(_, file)| !is_ghost(file))
        {
            let prefix = if self.is_source { "" } else { "." };
            let name = format!("{prefix}{}", file.path);
            cpio_entry(
                &mut archive,
                number as u32 + 1,
                file.mode,
                &name,
                &file.content,
            );
        }
        cpio_entry(&mut archive, 0, 0, "TRAILER!!!", b"");
        archive
    }

    fn lead(&self) -> Vec<u8> {
        let mut lead = vec![0; 96];
        lead[..6].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0]);
        lead[7] = u8::from(self.is_source);
        lead[9] = 255;
        let name = &self.file_name.as_bytes()[..self.file_name.len().min(65)];
        lead[10..10 + name.len()].copy_from_slice(name);
        lead[77] = 1;
        lead[79] = 5;
        lead
    }
}

fn put(fields: &mut Vec<(u32, Field)>, tag: u32, field: Field) {
    fields.retain(|(other, _)| *other != tag);
    fields.push((tag, field));
}

fn cpio_entry(archive: &mut Vec<u8>, inode: u32, mode: u16, name: &str, content: &[u8]) {
    let (time, links) = if inode == 0 { (0, 1) } else { (BUILD_TIME, 1) };
    let numbers = [
        inode,
        u32::from(mode),
        0,
        0,
        links,
        time,
        content.len() as u32,
        0,
        0,
        0,
        0,
        name.len() as u32 + 1,
        0,
    ];
    archive.extend(b"070701");
    archive.extend(
        numbers
            .iter()
            .flat_map(|number| format!("{number:08x}").into_bytes()),
    );
    archive.extend(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

/// A header structure with these tags, sorted; sealed by a region when one is named. No padding.
pub fn header(region: Option<u32>, mut fields: Vec<(u32, Field)>) -> Vec<u8> {
    fields.sort_by_key(|(tag, _)| *tag);
    let count = fields.len() as u32 + u32::from(region.is_some());
    let (mut index, mut store) = (Vec::new(), Vec::new());
    for (tag, field) in fields {
        let (kind, count, data) = field.stored();
        let alignment = match kind {
            3 => 2,
            4 => 4,
            5 => 8,
            _ => 1,
        };
        store.resize(store.len().next_multiple_of(alignment), 0);
        index.push([tag, kind, store.len() as u32, count]);
        store.extend(data);
    }
    if let Some(region) = region {
        index.insert(0, [region, 7, store.len() as u32, 16]);
        store.extend(be(
            &[region, 7, (count * 16).wrapping_neg(), 16],
            u32::to_be_bytes,
        ));
    }
    let mut bytes = vec![0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
    bytes.extend(be(&[count, store.len() as u32], u32::to_be_bytes));
    bytes.extend(index.iter().flat_map(|entry| be(entry, u32::to_be_bytes)));
    bytes.extend(store);
    bytes
}
