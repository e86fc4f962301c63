//! The file list: directory index x base name (rpm 4), or whole paths (rpm 3), with a dozen lists
//! beside it that must all be equally long.

use super::error::HeaderError;
use super::fields::{Typed, saturate, timestamp};
use super::{FileEntry, FileKind, tag};

/// Bytes of all paths together; bounds what a long directory name times many files can ask for.
/// The longest real list (a kernel's debug sources) takes about 10 MB.
const PATHS_LIMIT_BYTES: usize = 256 << 20;

/// The files in header order; empty when the package has none.
pub(super) fn files(main: &Typed<'_>) -> Result<Vec<FileEntry>, HeaderError> {
    let (names_tag, paths) = paths(main)?;
    let columns = Columns::read(main, (names_tag, paths.len()))?;
    Ok(paths
        .into_iter()
        .enumerate()
        .map(|(number, path)| columns.file(number, path))
        .collect())
}

/// Directory with its slash, and base name.
type PathParts = (String, String);

fn paths(main: &Typed<'_>) -> Result<(u32, Vec<PathParts>), HeaderError> {
    if main.0.has(tag::BASENAMES) {
        return Ok((tag::BASENAMES, joined_paths(main)?));
    }
    let whole = main.texts(tag::OLDFILENAMES)?;
    let split = |path: String| match path.rfind('/') {
        Some(slash) => (path[..=slash].to_owned(), path[slash + 1..].to_owned()),
        None => (String::new(), path),
    };
    Ok((tag::OLDFILENAMES, whole.into_iter().map(split).collect()))
}

fn joined_paths(main: &Typed<'_>) -> Result<Vec<PathParts>, HeaderError> {
    let bases = main.texts(tag::BASENAMES)?;
    let dirs = main.texts(tag::DIRNAMES)?;
    let indexes = main.numbers(tag::DIRINDEXES)?;
    main.same_length(
        (tag::DIRINDEXES, indexes.len()),
        (tag::BASENAMES, bases.len()),
    )?;
    let mut bytes_left = PATHS_LIMIT_BYTES;
    let mut paths = Vec::with_capacity(bases.len());
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
        paths.push((dir.clone(), base));
    }
    Ok(paths)
}

/// The lists beside the names. An absent one reads as zeros or empty texts, but for sizes and
/// modes, without which a file list means nothing.
struct Columns {
    sizes: Vec<u64>,
    modes: Vec<u64>,
    flags: Vec<u64>,
    mtimes: Vec<u64>,
    inodes: Vec<u64>,
    digests: Vec<String>,
    links: Vec<String>,
    users: Vec<String>,
    groups: Vec<String>,
}

impl Columns {
    fn read(main: &Typed<'_>, names: (u32, usize)) -> Result<Self, HeaderError> {
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
        let texts = |tag: u32| {
            let column = main.texts(tag)?;
            if main.0.has(tag) {
                main.same_length((tag, column.len()), names)?;
            }
            Ok(column)
        };
        Ok(Self {
            sizes: numbers(sizes_tag, true)?,
            modes: numbers(tag::FILEMODES, true)?,
            flags: numbers(tag::FILEFLAGS, false)?,
            mtimes: numbers(tag::FILEMTIMES, false)?,
            inodes: numbers(tag::FILEINODES, false)?,
            digests: texts(tag::FILEDIGESTS)?,
            links: texts(tag::FILELINKTOS)?,
            users: texts(tag::FILEUSERNAME)?,
            groups: texts(tag::FILEGROUPNAME)?,
        })
    }

    fn file(&self, number: usize, (dir, base): PathParts) -> FileEntry {
        let int = |column: &[u64]| column.get(number).copied().unwrap_or(0);
        let text = |column: &[String]| column.get(number).cloned().unwrap_or_default();
        // rpm stores the mode as 16 bits; some writers use a 32-bit tag.
        let mode = (int(&self.modes) & 0xffff) as u16;
        FileEntry {
            path: format!("{dir}{base}"),
            dir,
            base,
            size_bytes: int(&self.sizes),
            mode,
            kind: kind(mode),
            flags: saturate(int(&self.flags)),
            mtime: timestamp(int(&self.mtimes)),
            digest: text(&self.digests).to_ascii_lowercase(),
            link_target: text(&self.links),
            user: text(&self.users),
            group: text(&self.groups),
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
