//! Small 64-bit little-endian ELF files with the sections that readers look for.

use std::io::Write;

/// Where the whole file is mapped.
const BASE: u64 = 0x40_0000;
const HEADER: usize = 64;
const SEGMENT: usize = 56;
const SECTION: usize = 64;

/// A file with these sections, mapped as one writable segment at [`BASE`].
pub fn with_sections(sections: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut file = vec![0; HEADER + SEGMENT];
    let mut names = vec![0];
    let mut headers = vec![0; SECTION];
    let strings = (".shstrtab", Vec::new());
    for (i, (name, content)) in sections.iter().chain([&strings]).enumerate() {
        let name_at = names.len() as u32;
        names.extend(name.as_bytes());
        names.push(0);
        file.resize(file.len().next_multiple_of(16), 0);
        let at = file.len() as u64;
        let content = if i == sections.len() {
            &names.clone()
        } else {
            content
        };
        file.extend(content);
        let kind = match *name {
            ".shstrtab" => 3_u32,
            name if name.starts_with(".note") => 7,
            _ => 1,
        };
        headers.extend(name_at.to_le_bytes());
        headers.extend(kind.to_le_bytes());
        for word in [3, BASE + at, at, content.len() as u64] {
            headers.extend(word.to_le_bytes());
        }
        headers.extend([0; 8]); // link, info
        headers.extend(4_u64.to_le_bytes());
        headers.extend(0_u64.to_le_bytes());
    }
    file.resize(file.len().next_multiple_of(8), 0);
    let sections_at = file.len() as u64;
    file.extend(headers);
    let count = sections.len() as u16 + 2;
    let length = file.len() as u64;
    fill_header(&mut file, sections_at, count);
    fill_segment(&mut file, length);
    file
}

fn fill_header(file: &mut [u8], sections_at: u64, count: u16) {
    file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    file[16..18].copy_from_slice(&2_u16.to_le_bytes()); // executable
    file[18..20].copy_from_slice(&62_u16.to_le_bytes()); // x86-64
    file[20..24].copy_from_slice(&1_u32.to_le_bytes());
    file[32..40].copy_from_slice(&(HEADER as u64).to_le_bytes());
    file[40..48].copy_from_slice(&sections_at.to_le_bytes());
    let sizes = [
        HEADER as u16,
        SEGMENT as u16,
        1,
        SECTION as u16,
        count,
        count - 1,
    ];
    for (i, size) in sizes.iter().enumerate() {
        file[52 + 2 * i..54 + 2 * i].copy_from_slice(&size.to_le_bytes());
    }
}

fn fill_segment(file: &mut [u8], length: u64) {
    let segment = &mut file[HEADER..HEADER + SEGMENT];
    segment[..4].copy_from_slice(&1_u32.to_le_bytes());
    segment[4..8].copy_from_slice(&6_u32.to_le_bytes());
    for (i, word) in [0, BASE, BASE, length, length, 16].iter().enumerate() {
        segment[8 + 8 * i..16 + 8 * i].copy_from_slice(&word.to_le_bytes());
    }
}

/// The module text between the sentinels that the Go linker puts around it.
fn sentinels(modules: &str) -> Vec<u8> {
    [
        &b"0w\xaf\x0c\x92t\x08\x02A\xe1\xc1\x07\xe6\xd6\x18\xe6"[..],
        modules.as_bytes(),
        &[0xf9; 16],
    ]
    .concat()
}

/// Build information as Go has written it since 1.18, in its own section.
pub fn go_since_1_18(modules: &str) -> Vec<u8> {
    let mut blob = b"\xff Go buildinf:\x08\x02".to_vec();
    blob.resize(32, 0);
    for text in [b"go1.23.4".to_vec(), sentinels(modules)] {
        let mut length = text.len();
        while length >= 0x80 {
            blob.push(length as u8 | 0x80);
            length >>= 7;
        }
        blob.push(length as u8);
        blob.extend(text);
    }
    with_sections(&[(".go.buildinfo", blob)])
}

/// Build information of earlier Go: pointers to strings, found without a section of its own.
pub fn go_before_1_18(modules: &str) -> Vec<u8> {
    let version = b"go1.15.15".to_vec();
    let modules = sentinels(modules);
    // The first section starts at the first multiple of 16 after the headers.
    let data_at = BASE + ((HEADER + SEGMENT) as u64).next_multiple_of(16);
    let mut data = b"\xff Go buildinf:\x08\x00".to_vec();
    let (strings_at, texts_at) = (data_at + 32, data_at + 64);
    for pointer in [strings_at, strings_at + 16] {
        data.extend(pointer.to_le_bytes());
    }
    let second = texts_at + version.len() as u64;
    for (at, text) in [(texts_at, &version), (second, &modules)] {
        data.extend(at.to_le_bytes());
        data.extend((text.len() as u64).to_le_bytes());
    }
    data.extend(version);
    data.extend(modules);
    with_sections(&[(".data", data)])
}

/// A package note and a build id.
pub fn noted(package: &str, build_id: &[u8]) -> Vec<u8> {
    let package = note(0xcafe_1a7e, b"FDO\0", package.as_bytes());
    let build_id = note(3, b"GNU\0", build_id);
    with_sections(&[(".note.package", package), (".note.gnu.build-id", build_id)])
}

fn note(kind: u32, owner: &[u8], content: &[u8]) -> Vec<u8> {
    let mut note = Vec::new();
    for word in [owner.len() as u32, content.len() as u32, kind] {
        note.extend(word.to_le_bytes());
    }
    note.extend(owner);
    note.extend(content);
    note.resize(note.len().next_multiple_of(4), 0);
    note
}

pub fn zlib(text: &str) -> Vec<u8> {
    let mut sink = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    sink.write_all(text.as_bytes()).unwrap();
    sink.finish().unwrap()
}

/// A zip archive with these entries, deflated.
pub fn jar(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let mut sink =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        sink.write_all(content).unwrap();
        let packed = sink.finish().unwrap();
        let at = file.len() as u32;
        // version, flags, method 8, time, date, CRC (not looked at), sizes, length of the name
        let mut common = vec![20, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        common.extend((packed.len() as u32).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend(name.as_bytes());
        file.extend(packed);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(common);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let at = file.len() as u32;
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    for _ in 0..2 {
        file.extend((entries.len() as u16).to_le_bytes());
    }
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(at.to_le_bytes());
    file.extend([0, 0]);
    file
}
