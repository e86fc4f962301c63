//! The file list: directory index x base name (rpm 4), or whole paths (rpm 3), with a dozen lists
//! beside it that must all be equally long.

use super::error::HeaderError;
use super::fields::{Typed, saturate, timestamp};
use super::text::{push_text, text};
use super::{FileEntry, FileKind, tag};
use std::vec::IntoIter;

/// Bytes of all paths together; bounds what a long directory name times many files can ask for.
/// The longest real list (a kernel's debug sources) takes about 10 MB.
const PATHS_LIMIT_BYTES: usize = 256 << 20;

/// How much of each file is read: a list of files is most of a header, and each text of it a piece of
/// memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileDetail {
    All,
    /// Path, kind and flags, the digest if it is wanted; other texts are empty.
    Listing {
        digests: bool,
    },
}

/// The files in header order; empty when the package has none. What is wrong with a list is an error
/// whatever the detail.
pub(super) fn files(main: &Typed<'_>, detail: FileDetail) -> Result<Vec<FileEntry>, HeaderError> {
    let (names_tag, names) = names(main, detail)?;
    let mut columns = Columns::read(main, (names_tag, names.len()), detail)?;
    Ok(names
        .into_iter()
        .enumerate()
        .map(|(number, name)| columns.file(number, name))
        .collect())
}

/// Of one file.
struct Name {
    path: String,
    /// Directory with its slash, and base name; both empty where only the path is wanted.
    dir: String,
    base: String,
}

impl Name {
    fn new(dir: &str, base: &[u8], detail: FileDetail) -> Self {
        let mut path = String::with_capacity(dir.len() + base.len());
        path.push_str(dir);
        push_text(&mut path, base);
        match detail {
            FileDetail::All => Self {
                dir: dir.to_owned(),
                base: path[dir.len()..].to_owned(),
                path,
            },
            FileDetail::Listing { .. } => Self {
                path,
                dir: String::new(),
                base: String::new(),
            },
        }
    }
}

fn names(main: &Typed<'_>, detail: FileDetail) -> Result<(u32, Vec<Name>), HeaderError> {
    if main.0.has(tag::BASENAMES) {
        return Ok((tag::BASENAMES, joined_names(main, detail)?));
    }
    let whole = main.texts(tag::OLDFILENAMES)?;
    let split = |path: String| {
        let parts = path.rfind('/').map(|slash| path.split_at(slash + 1));
        let (dir, base) = parts.unwrap_or(("", &path));
        Name::new(dir, base.as_bytes(), detail)
    };
    Ok((tag::OLDFILENAMES, whole.into_iter().map(split).collect()))
}

fn joined_names(main: &Typed<'_>, detail: FileDetail) -> Result<Vec<Name>, HeaderError> {
    let bases = main.raw_texts(tag::BASENAMES)?;
    let dirs = main.texts(tag::DIRNAMES)?;
    let indexes = main.numbers(tag::DIRINDEXES)?;
    main.same_length(
        (tag::DIRINDEXES, indexes.len()),
        (tag::BASENAMES, bases.len()),
    )?;
    let mut bytes_left = PATHS_LIMIT_BYTES;
    let mut names = Vec::with_capacity(bases.len());
    for (file, (base, index)) in bases.into_iter().zip(indexes).enumerate() {
        let dir = usize::try_from(index)
            .ok()
            .and_then(|index| dirs.get(index))
            .ok_or_else(|| HeaderError::DirIndex {
                tag: main.tag_in(tag::DIRINDEXES),
                offset: main.offset(tag::DIRINDEXES),
                file,
                index: saturate(index),
                directories: dirs.len(),
            })?;
        // The path and the directory are both kept.
        bytes_left = bytes_left
            .checked_sub(2 * dir.len() + 2 * base.len())
            .ok_or(HeaderError::PathsTooLong {
                limit_bytes: PATHS_LIMIT_BYTES,
            })?;
        names.push(Name::new(dir, base, detail));
    }
    Ok(names)
}

/// The lists beside the names. An absent one reads as zeros or empty texts, but for sizes and
/// modes, without which a file list means nothing.
struct Columns {
    sizes: Vec<u64>,
    modes: Vec<u64>,
    flags: Vec<u64>,
    mtimes: Vec<u64>,
    inodes: Vec<u64>,
    digests: IntoIter<String>,
    links: IntoIter<String>,
    users: IntoIter<String>,
    groups: IntoIter<String>,
}

impl Columns {
    fn read(
        main: &Typed<'_>,
        names: (u32, usize),
        detail: FileDetail,
    ) -> Result<Self, HeaderError> {
        let sizes_tag = if main.0.has(tag::LONGFILESIZES) {
            tag::LONGFILESIZES
        } else {
            tag::FILESIZES
        };
        let numbers = |tag: u32, is_needed: bool| {
            let column = main.numbers(tag)?;
            if is_needed || main.0.has(tag) {
                main.same_length((tag, column.len()), names)?;
            }
            Ok(column)
        };
        let texts = |tag: u32, is_wanted: bool| {
            let raw = main.raw_texts(tag)?;
            if main.0.has(tag) {
                main.same_length((tag, raw.len()), names)?;
            }
            let wanted = raw.into_iter().filter(|_| is_wanted).map(text);
            Ok(wanted.collect::<Vec<_>>().into_iter())
        };
        let all = detail == FileDetail::All;
        Ok(Self {
            sizes: numbers(sizes_tag, true)?,
            modes: numbers(tag::FILEMODES, true)?,
            flags: numbers(tag::FILEFLAGS, false)?,
            mtimes: numbers(tag::FILEMTIMES, false)?,
            inodes: numbers(tag::FILEINODES, false)?,
            digests: texts(
                tag::FILEDIGESTS,
                detail != FileDetail::Listing { digests: false },
            )?,
            links: texts(tag::FILELINKTOS, all)?,
            users: texts(tag::FILEUSERNAME, all)?,
            groups: texts(tag::FILEGROUPNAME, all)?,
        })
    }

    /// The next file; called in their order.
    fn file(&mut self, number: usize, Name { path, dir, base }: Name) -> FileEntry {
        let int = |column: &[u64]| column.get(number).copied().unwrap_or(0);
        let text = |column: &mut IntoIter<String>| column.next().unwrap_or_default();
        // rpm stores the mode as 16 bits; some writers use a 32-bit tag.
        let mode = (int(&self.modes) & 0xffff) as u16;
        let mut digest = text(&mut self.digests);
        digest.make_ascii_lowercase();
        FileEntry {
            path,
            dir,
            base,
            size_bytes: int(&self.sizes),
            mode,
            kind: kind(mode),
            flags: saturate(int(&self.flags)),
            mtime: timestamp(int(&self.mtimes)),
            digest,
            link_target: text(&mut self.links),
            user: text(&mut self.users),
            group: text(&mut self.groups),
            inode: saturate(int(&self.inodes)),
        }
    }
}

/// File type from the top four bits of `st_mode`.
fn kind(mode: u16) -> FileKind {
    match mode & 0o170_000 {
        0o040_000 => FileKind::Dir,
        0o120_000 => FileKind::Symlink,
        0o100_000 => FileKind::Regular,
        _ => FileKind::Other,
    }
}
