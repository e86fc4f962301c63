//! The little of POSIX ustar that packs and bundles need: plain files with short names, in a fixed order, without
//! dates or owners, so that equal content makes equal archives.

use std::io::{self, Read, Write};

const BLOCK: usize = 512;
/// Longest name.
const MAX_NAME: usize = 100;
/// Most files of one archive.
const MAX_FILES: usize = 4_000_000;

/// Largest file that [`read_files`] takes into memory, bytes.
const MAX_READ: u64 = 256 << 20;

/// Largest file that the format can hold, bytes.
const MAX_SIZE: u64 = (8 << 30) - 1;

/// Writes one file.
pub fn write_file(out: &mut impl Write, name: &str, content: &[u8]) -> io::Result<()> {
    write_header(out, name, content.len() as u64)?;
    out.write_all(content)?;
    write_padding(out, content.len() as u64)
}

/// Writes what stands before a file's content.
pub fn write_header(out: &mut impl Write, name: &str, size_bytes: u64) -> io::Result<()> {
    if name.len() > MAX_NAME {
        return Err(io::Error::other(format!("the name {name} is too long")));
    }
    if size_bytes > MAX_SIZE {
        return Err(io::Error::other(format!(
            "{name} has {size_bytes} bytes; an archive holds files of at most {MAX_SIZE}"
        )));
    }
    let mut header = [0; BLOCK];
    let size = format!("{size_bytes:011o}");
    for (at, field) in [
        (0, name.as_bytes()),
        (100, b"0000644"),
        (108, b"0000000"),
        (116, b"0000000"),
        (124, size.as_bytes()),
        (136, b"00000000000"),
        (148, b"        "),
        (156, b"0"),
        (257, b"ustar\x0000"),
    ] {
        header[at..at + field.len()].copy_from_slice(field);
    }
    let sum = format!("{:06o}\0 ", checksum(&header));
    header[148..156].copy_from_slice(sum.as_bytes());
    out.write_all(&header)
}

/// Writes what stands behind a file's content.
pub fn write_padding(out: &mut impl Write, size_bytes: u64) -> io::Result<()> {
    io::copy(&mut io::repeat(0).take(padding(size_bytes)), out).map(|_| ())
}

fn padding(size_bytes: u64) -> u64 {
    // In the last block of a file.
    (BLOCK as u64 - size_bytes % BLOCK as u64) % BLOCK as u64
}

/// Ends the archive.
pub fn finish(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

/// Sum of the header's bytes with spaces in place of the sum itself.
fn checksum(header: &[u8; BLOCK]) -> u32 {
    let bytes = header.iter().enumerate();
    let counted = bytes.map(|(at, byte)| match at {
        148..156 => u32::from(b' '),
        _ => u32::from(*byte),
    });
    counted.sum()
}

/// Reads all files of an archive that [`write_file`] wrote, each whole: one of more than 256 MiB is refused before a
/// byte of it is read.
///
/// * `limit_bytes`: of all contents together.
/// * `take`: is given each file.
pub fn read_files(
    archive: &mut impl Read,
    limit_bytes: u64,
    mut take: impl FnMut(String, Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    let mut left = limit_bytes;
    for _ in 0..MAX_FILES {
        let Some((name, size)) = next_file(archive)? else {
            return Ok(());
        };
        if size > MAX_READ {
            return Err(bad("it holds a file that is too large"));
        }
        left = left
            .checked_sub(size)
            .ok_or_else(|| bad("it holds more than the limit"))?;
        let mut content = Vec::new();
        archive.take(size).read_to_end(&mut content)?;
        if content.len() as u64 != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        skip_padding(archive, size)?;
        take(name, content)?;
    }
    Err(bad("it has too many files"))
}

/// Name and bytes of the next file, whose content follows; `None` at the archive's end.
pub fn next_file(archive: &mut impl Read) -> io::Result<Option<(String, u64)>> {
    let mut header = [0; BLOCK];
    archive.read_exact(&mut header)?;
    match header.iter().all(|byte| *byte == 0) {
        true => Ok(None),
        false => read_header(&header).map(Some),
    }
}

/// Goes on from the end of a file's content to the next header.
pub fn skip_padding(archive: &mut impl Read, size_bytes: u64) -> io::Result<()> {
    let wanted = padding(size_bytes);
    match io::copy(&mut archive.take(wanted), &mut io::sink())? {
        skipped if skipped == wanted => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn read_header(header: &[u8; BLOCK]) -> io::Result<(String, u64)> {
    if checksum(header) != u32::try_from(octal(&header[148..156])?).unwrap_or(0) {
        return Err(bad("a header's checksum is wrong"));
    }
    if header[156] != b'0' {
        return Err(bad("it holds something else than plain files"));
    }
    let name = header[..MAX_NAME].split(|byte| *byte == 0).next();
    let name = std::str::from_utf8(name.unwrap_or_default());
    let name = name.map_err(|_| bad("a name is not text"))?;
    Ok((name.to_owned(), octal(&header[124..136])?))
}

fn octal(field: &[u8]) -> io::Result<u64> {
    let text = std::str::from_utf8(field).unwrap_or_default();
    let digits = text.trim_matches(['\0', ' ']);
    u64::from_str_radix(digits, 8).map_err(|_| bad("a number is not octal"))
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(archive: &[u8], limit: u64) -> io::Result<Vec<(String, Vec<u8>)>> {
        let mut files = Vec::new();
        read_files(&mut &*archive, limit, |name, content| {
            files.push((name, content));
            Ok(())
        })?;
        Ok(files)
    }

    #[test]
    fn archives_read_back_and_tar_reads_them_too() {
        let files = [
            ("a", vec![1; 3]),
            ("dir/b", Vec::new()),
            ("c", vec![7; 1024]),
        ];
        let mut archive = Vec::new();
        for (name, content) in &files {
            write_file(&mut archive, name, content).unwrap();
        }
        finish(&mut archive).unwrap();
        let back = read(&archive, 2_000).unwrap();
        let same = back
            .iter()
            .zip(&files)
            .all(|(a, b)| a.0 == b.0 && a.1 == b.1);
        assert!(same && back.len() == 3, "{back:?}");
        assert!(read(&archive, 1_000).is_err(), "over the limit");
        for cut in [0, 100, 513, archive.len() - 1_024] {
            assert!(read(&archive[..cut], 2_000).is_err(), "cut at {cut}");
        }
        for at in [0, 124, 156] {
            let mut changed = archive.clone();
            changed[at] ^= 0x11;
            assert!(read(&changed, 2_000).is_err(), "changed at {at}");
        }
        assert!(write_file(&mut Vec::new(), &"x".repeat(101), b"").is_err());
        let mut large = Vec::new();
        write_header(&mut large, "large", MAX_READ + 1).unwrap();
        let refused = read(&large, u64::MAX).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        std::fs::write(&path, &archive).unwrap();
        let listed = std::process::Command::new("tar")
            .arg("-tf")
            .arg(&path)
            .output();
        let listed = listed.expect("tar runs").stdout;
        assert_eq!(String::from_utf8(listed).unwrap(), "a\ndir/b\nc\n");
    }
}
