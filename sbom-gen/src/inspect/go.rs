//! Go executables: the build information that the linker leaves in `.go.buildinfo`.
//!
//! A blob of 16-byte alignment starts with `\xff Go buildinf:`, the pointer size and a flags byte.
//! Since Go 1.18 (flag 2) version and module text follow at byte 32, each with a varint length;
//! before that, two pointers lead to Go strings elsewhere in the image, big-endian with flag 1.
//! The module text stands between two 16-byte sentinels, one line a fact, fields split by tabs:
//! `mod`, `dep` and `=>` (a replacement of the line above) with path, version and checksum.
//! Source: Go `src/debug/buildinfo/buildinfo.go`, `src/runtime/debug/mod.go`.

use super::{COMPONENTS_PER_FILE, Evidence, Findings, Look, Reader, is_elf};
use crate::component::{Component, Role, Technique};
use memchr::memmem;
use object::{Endianness, Object, ObjectSection, ObjectSegment};

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// The fixed part of the blob.
const BLOB_BYTES: usize = 32;
/// Longer module text is not one.
const TEXT_BYTES: u64 = 4 << 20;
/// How far into the data the blob is searched for when no section names it.
const SEARCH_BYTES: usize = 1 << 20;

pub(super) const BUILD_INFO: Reader = Reader {
    name: "go-buildinfo",
    technique: Technique::BinaryAnalysis,
    confidence_percent: 100,
    wants: is_elf,
    read,
};

fn read(reader: &Reader, look: &Look<'_>, findings: &mut Findings) -> Result<(), String> {
    let elf = object::File::parse(look.content).map_err(|error| error.to_string())?;
    let Some(blob) = blob(&elf) else {
        return Ok(());
    };
    let (version, modules) = texts(&elf, blob).ok_or("build information that is none")?;
    let evidence = || look.evidence(reader);
    if let Some(version) = version
        .strip_prefix("go")
        .and_then(|rest| rest.split(' ').next())
    {
        findings.components.extend(Component::new(
            "golang",
            None,
            "stdlib",
            Some(version),
            evidence(),
        ));
    }
    let found = modules_of(&modules, evidence);
    let is_whole = found.len() <= COMPONENTS_PER_FILE;
    findings.components.extend(found);
    match is_whole {
        true => Ok(()),
        false => Err(format!("more than {COMPONENTS_PER_FILE} modules")),
    }
}

/// The bytes from the magic to the end of what holds it.
fn blob<'a>(elf: &object::File<'a>) -> Option<&'a [u8]> {
    if let Some(section) = elf.section_by_name(".go.buildinfo") {
        let data = section.data().ok()?;
        return data.get(find_magic(data)?..);
    }
    // Stripped of its section table: search the writable segments, as Go's own reader does.
    elf.segments().find_map(|segment| {
        let data = segment.data().ok()?;
        data.get(find_magic(&data[..data.len().min(SEARCH_BYTES)])?..)
    })
}

fn find_magic(data: &[u8]) -> Option<usize> {
    let is_blob = |start: &usize| start.is_multiple_of(16) && data.len() - start >= BLOB_BYTES;
    memmem::find_iter(data, MAGIC).find(is_blob)
}

/// (Go version, module text).
fn texts(elf: &object::File<'_>, blob: &[u8]) -> Option<(String, String)> {
    let (pointer_bytes, flags) = (*blob.get(14)? as usize, *blob.get(15)?);
    let (version, modules) = if flags & 2 != 0 {
        let (version, rest) = counted(blob.get(32..)?)?;
        (version, counted(rest)?.0)
    } else {
        let endian = if flags & 1 != 0 {
            Endianness::Big
        } else {
            Endianness::Little
        };
        let pointer = |at: usize| number(blob.get(at..at.checked_add(pointer_bytes)?)?, endian);
        let version = string_at(elf, pointer(16)?, pointer_bytes, endian)?;
        (
            version,
            string_at(elf, pointer(16 + pointer_bytes)?, pointer_bytes, endian)?,
        )
    };
    if modules.len() as u64 > TEXT_BYTES {
        return None;
    }
    let modules = match modules.len() {
        // The sentinels are there in full, or there is no module information.
        length if length >= 33 && modules[length - 17] == b'\n' => &modules[16..length - 16],
        _ => &[],
    };
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Some((text(version), text(modules)))
}

/// A string with its length as a varint before it, and what follows it.
fn counted(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0_u64;
    for (i, byte) in data.iter().take(9).enumerate() {
        length |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let length = usize::try_from(length).ok()?;
            return data.get(i + 1..)?.split_at_checked(length);
        }
    }
    None
}

/// The Go string whose header (pointer, length) stands at `address`.
fn string_at<'a>(
    elf: &object::File<'a>,
    address: u64,
    pointer_bytes: usize,
    endian: Endianness,
) -> Option<&'a [u8]> {
    let header = at(elf, address, 2 * pointer_bytes as u64)?;
    let (start, length) = header.split_at_checked(pointer_bytes)?;
    let length = number(length, endian)?;
    if length > TEXT_BYTES {
        return None;
    }
    at(elf, number(start, endian)?, length)
}

fn at<'a>(elf: &object::File<'a>, address: u64, length: u64) -> Option<&'a [u8]> {
    elf.segments()
        .find_map(|segment| segment.data_range(address, length).ok().flatten())
}

fn number(bytes: &[u8], endian: Endianness) -> Option<u64> {
    let big = endian == Endianness::Big;
    match bytes.len() {
        4 => {
            let raw = bytes.try_into().ok()?;
            Some(u64::from(if big {
                u32::from_be_bytes(raw)
            } else {
                u32::from_le_bytes(raw)
            }))
        }
        8 => {
            let raw = bytes.try_into().ok()?;
            Some(if big {
                u64::from_be_bytes(raw)
            } else {
                u64::from_le_bytes(raw)
            })
        }
        _ => None,
    }
}

/// The components that the module text names, main module first; one too many says that there
/// were more.
fn modules_of(text: &str, evidence: impl Fn() -> Evidence) -> Vec<Component> {
    let mut found: Vec<Component> = Vec::new();
    for line in text.lines() {
        if found.len() > COMPONENTS_PER_FILE {
            break;
        }
        let mut fields = line.split('\t');
        let (kind, path) = (fields.next(), fields.next().unwrap_or_default());
        let version = fields.next().filter(|version| *version != "(devel)");
        let sum = fields.next().filter(|sum| !sum.is_empty());
        let (role, replaced) = match kind {
            Some("mod") => (Role::Main, None),
            Some("dep") => (Role::Part, None),
            // A directory instead of a module: it has no name of its own, so the old one stays.
            Some("=>") if path.starts_with(['.', '/']) => {
                if let Some(component) = found.last_mut() {
                    component.property("go:replaced-by-directory", path);
                }
                continue;
            }
            Some("=>") => match found.pop() {
                Some(replaced) => (replaced.role, Some(replaced.purl)),
                None => (Role::Part, None),
            },
            _ => continue,
        };
        let Some(mut component) = component(path, version, evidence()) else {
            continue;
        };
        component.role = role;
        if let Some(replaced) = replaced {
            component.property("go:replaces", replaced);
        }
        if let Some(sum) = sum {
            component.property("go:sum", sum);
        }
        found.push(component);
    }
    found
}

/// A component from a module path; versions get the `v` that Go writes and packagers leave out.
pub(super) fn component(
    path: &str,
    version: Option<&str>,
    evidence: Evidence,
) -> Option<Component> {
    let versioned =
        version.map(
            |version| match version.starts_with(|c: char| c.is_ascii_digit()) {
                true => format!("v{version}"),
                false => version.to_owned(),
            },
        );
    match path.rsplit_once('/') {
        Some((front, name)) => {
            Component::new("golang", Some(front), name, versioned.as_deref(), evidence)
        }
        None => Component::new("golang", None, path, versioned.as_deref(), evidence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence() -> Evidence {
        Evidence {
            source: "go-buildinfo",
            path: None,
            technique: Technique::BinaryAnalysis,
            confidence_percent: 100,
        }
    }

    #[test]
    fn module_text_gives_main_parts_and_replacements() {
        let text = "path\texample.com/cmd/x\nmod\texample.com/cmd\t(devel)\t\n\
                    dep\tgolang.org/x/net\tv0.30.0\th1:abc=\n\
                    dep\tgithub.com/Old/Thing\tv1.0.0\n=>\tgithub.com/new/thing\tv1.1.0\th1:def=\n\
                    dep\texample.com/local\tv0.0.0\n=>\t./local\t(devel)\t\nbuild\tCGO_ENABLED=0\n";
        let found = modules_of(text, evidence);
        let purls: Vec<_> = found
            .iter()
            .map(|component| component.purl.as_str())
            .collect();
        assert_eq!(
            purls,
            [
                "pkg:golang/example.com/cmd",
                "pkg:golang/golang.org/x/net@v0.30.0",
                "pkg:golang/github.com/new/thing@v1.1.0",
                "pkg:golang/example.com/local@v0.0.0",
            ]
        );
        assert_eq!(found[0].role, Role::Main);
        let replaces = (
            "go:replaces".to_owned(),
            "pkg:golang/github.com/old/thing@v1.0.0".to_owned(),
        );
        assert!(found[2].properties.contains(&replaces));
        assert!(modules_of("=>\tx\tv1\n\n\tdep\n", evidence).len() <= 1);
    }

    #[test]
    fn the_blob_is_found_where_it_is_aligned_and_whole() {
        let at = |offset: usize, length: usize| {
            let mut data = vec![0; length];
            data[offset..offset + MAGIC.len()].copy_from_slice(MAGIC);
            find_magic(&data)
        };
        assert_eq!(at(0, 32), Some(0));
        assert_eq!(at(48, 80), Some(48));
        assert_eq!((at(48, 79), at(40, 200), at(0, 31)), (None, None, None));
        let mut twice = vec![0; 100];
        for offset in [8, 64] {
            twice[offset..offset + MAGIC.len()].copy_from_slice(MAGIC);
        }
        assert_eq!(find_magic(&twice), Some(64));
    }

    #[test]
    fn a_module_list_without_end_is_cut() {
        let text = "dep\ta.b/c\tv1\n".repeat(COMPONENTS_PER_FILE * 2);
        assert_eq!(modules_of(&text, evidence).len(), COMPONENTS_PER_FILE + 1);
    }

    #[test]
    fn lengths_that_lie_are_no_strings() {
        assert_eq!(counted(b"\x03abcd"), Some((&b"abc"[..], &b"d"[..])));
        assert_eq!(counted(b"\x05abcd"), None);
        assert_eq!(counted(&[0xff; 20]), None);
        assert_eq!(counted(b""), None);
    }
}
