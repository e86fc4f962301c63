//! Files that hold files: what of a difference is in the container, and what in its members.

use super::payload::decompressor;
use std::io::Read;

/// Unpacked, a compressed file may have this many bytes.
const MAX_UNPACKED: u64 = 64 << 20;

/// Unpacks a gzip, xz, zstd or bzip2 file; `None` when it is none, damaged or too large.
pub fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let packed: [&[u8]; 4] = [
        &[0x1f, 0x8b],
        &[0xfd, b'7', b'z'],
        &[0x28, 0xb5, 0x2f, 0xfd],
        b"BZh",
    ];
    if !packed.iter().any(|magic| bytes.starts_with(magic)) {
        return None;
    }
    let mut out = Vec::new();
    let read = decompressor(bytes)
        .ok()?
        .take(MAX_UNPACKED + 1)
        .read_to_end(&mut out);
    (read.is_ok() && out.len() as u64 <= MAX_UNPACKED).then_some(out)
}

/// What of two containers differs when their members do not: a sentence, or `None` when they are no
/// containers or their members differ.
pub fn only_metadata_differs(a: &[u8], b: &[u8]) -> Option<String> {
    gzip(a, b)
        .or_else(|| pyc(a, b))
        .or_else(|| ar(a, b))
        .or_else(|| zip(a, b))
        .or_else(|| tar(a, b))
}

fn gzip(a: &[u8], b: &[u8]) -> Option<String> {
    let time = |bytes: &[u8]| {
        let field: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
        Some(u32::from_le_bytes(field))
    };
    if !(a.starts_with(&[0x1f, 0x8b])
        && b.starts_with(&[0x1f, 0x8b])
        && unpacked(a)? == unpacked(b)?)
    {
        return None;
    }
    let (before, after) = (time(a)?, time(b)?);
    Some(if before == after {
        "gzip: equal content, other name or compression level in the header".to_owned()
    } else {
        format!("gzip: equal content, time in the header built {before}, rebuilt {after}")
    })
}

/// CPython writes magic, flags, and then source time and size, or a hash of the source.
fn pyc(a: &[u8], b: &[u8]) -> Option<String> {
    let is_pyc = |bytes: &[u8]| bytes.len() > 16 && bytes[2..4] == *b"\r\n";
    let same_code = is_pyc(a) && is_pyc(b) && a[..4] == b[..4] && a[16..] == b[16..];
    same_code.then(|| "python bytecode: equal code, other source time in the header".to_owned())
}

/// `ar` members: 60 bytes of name 16, time 12, uid 6, gid 6, mode 8, size 10, end 2.
fn ar(a: &[u8], b: &[u8]) -> Option<String> {
    let plain = |bytes: &[u8]| -> Option<Vec<u8>> {
        let mut bytes = bytes.strip_prefix(b"!<arch>\n")?.to_vec();
        let mut at = 0;
        while at + 60 <= bytes.len() {
            let size: usize = std::str::from_utf8(&bytes[at + 48..at + 58])
                .ok()?
                .trim()
                .parse()
                .ok()?;
            bytes[at + 16..at + 48].fill(b' ');
            at = at
                .checked_add(60)?
                .checked_add(size)?
                .checked_next_multiple_of(2)?;
        }
        Some(bytes)
    };
    (plain(a)? == plain(b)?).then(|| "ar: equal members, other times or owners".to_owned())
}

/// `tar` members: 512 bytes with mode, uid, gid at 100..124, size at 124, time at 136, checksum at
/// 148, owner names at 265..329.
fn tar(a: &[u8], b: &[u8]) -> Option<String> {
    let plain = |bytes: &[u8]| -> Option<Vec<u8>> {
        (bytes.get(257..262)? == b"ustar").then_some(())?;
        let mut bytes = bytes.to_vec();
        let mut at = 0;
        while at + 512 <= bytes.len() && bytes[at] != 0 {
            let field = std::str::from_utf8(&bytes[at + 124..at + 136]).ok()?;
            let size = usize::from_str_radix(field.trim_matches(['\0', ' ']), 8).ok()?;
            bytes[at + 108..at + 124].fill(0);
            bytes[at + 136..at + 156].fill(0);
            bytes[at + 265..at + 329].fill(0);
            at = at
                .checked_add(512)?
                .checked_add(size.checked_next_multiple_of(512)?)?;
        }
        Some(bytes)
    };
    (plain(a)? == plain(b)?).then(|| "tar: equal members, other times or owners".to_owned())
}

/// Name, checksum and size.
type ZipMember = (Vec<u8>, [u8; 4], [u8; 4]);

/// Central directory entries: name, checksum and size, without times and attributes.
fn zip(a: &[u8], b: &[u8]) -> Option<String> {
    let members = |bytes: &[u8]| -> Option<Vec<ZipMember>> {
        bytes.starts_with(b"PK\x03\x04").then_some(())?;
        let number = |at: usize| {
            Some(usize::from(u16::from_le_bytes(
                bytes.get(at..at + 2)?.try_into().ok()?,
            )))
        };
        let end = bytes
            .windows(4)
            .rposition(|window| window == b"PK\x05\x06")?;
        let field: [u8; 4] = bytes.get(end + 16..end + 20)?.try_into().ok()?;
        let mut at = usize::try_from(u32::from_le_bytes(field)).ok()?;
        let mut found = Vec::new();
        while bytes.get(at..at.checked_add(4)?)? == b"PK\x01\x02" {
            let name_bytes = number(at + 28)?;
            let name = bytes.get(at + 46..at + 46 + name_bytes)?.to_vec();
            let checksum = bytes.get(at + 16..at + 20)?.try_into().ok()?;
            let size = bytes.get(at + 24..at + 28)?.try_into().ok()?;
            found.push((name, checksum, size));
            at += 46 + name_bytes + number(at + 30)? + number(at + 32)?;
        }
        Some(found)
    };
    (members(a)? == members(b)?).then(|| "zip: equal members, other times or attributes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn gz(mtime: u32, text: &[u8]) -> Vec<u8> {
        let mut writer = flate2::GzBuilder::new()
            .mtime(mtime)
            .write(Vec::new(), flate2::Compression::default());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    fn ar_of(time: u32, data: &[u8]) -> Vec<u8> {
        let head = format!(
            "{:<16}{time:<12}{:<6}{:<6}{:<8}{:<10}`\n",
            "a.o/",
            0,
            0,
            "644",
            data.len()
        );
        [b"!<arch>\n", head.as_bytes(), data].concat()
    }

    fn tar_of(time: u32, data: &[u8]) -> Vec<u8> {
        let mut block = vec![0; 512];
        block[..1].copy_from_slice(b"a");
        block[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
        block[136..147].copy_from_slice(format!("{time:011o}").as_bytes());
        block[257..262].copy_from_slice(b"ustar");
        block.extend(data);
        block.resize(2_048, 0);
        block
    }

    #[test]
    fn containers_with_equal_members_differ_only_in_metadata() {
        for (a, b, kind) in [
            (gz(1, b"same"), gz(2, b"same"), "gzip"),
            (ar_of(1, b"same"), ar_of(2, b"same"), "ar"),
            (tar_of(1, b"same"), tar_of(2, b"same"), "tar"),
        ] {
            let said = only_metadata_differs(&a, &b).unwrap();
            assert!(said.starts_with(kind), "{said}");
        }
        for (a, b) in [
            (gz(1, b"one"), gz(1, b"two")),
            (ar_of(1, b"one"), ar_of(1, b"two")),
            (tar_of(1, b"one"), tar_of(1, b"two")),
        ] {
            assert_eq!(only_metadata_differs(&a, &b), None);
        }
    }

    #[test]
    fn damaged_containers_are_not_explained_and_never_panic() {
        for good in [
            gz(1, b"same"),
            ar_of(1, b"same"),
            tar_of(1, b"same"),
            b"PK\x03\x04PK\x05\x06".to_vec(),
        ] {
            for at in 0..good.len().min(600) {
                let mut bad = good.clone();
                bad[at] ^= 0xff;
                let _ = only_metadata_differs(&good, &bad);
                let _ = only_metadata_differs(&good, &good[..at]);
                let _ = unpacked(&bad);
            }
        }
    }
}
