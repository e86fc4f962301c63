//! `META-INF/maven/*/*/pom.properties` in jars, and in jars within jars.
//!
//! A zip archive (PKWARE APPNOTE 6.3) is read by its central directory, without ZIP64: no jar that
//! is looked into is that large. Nothing is trusted: every offset is checked, every entry bounded.

use super::{Findings, Look, Reader};
use crate::component::{Component, Technique};
use flate2::read::DeflateDecoder;
use std::io::Read;

pub(super) const POM_PROPERTIES: Reader = Reader {
    name: "maven-pom-properties",
    technique: Technique::ManifestAnalysis,
    confidence_percent: 90,
    wants: |path, start| {
        let is_archive = [".jar", ".war", ".ear"]
            .iter()
            .any(|end| path.ends_with(end));
        is_archive && start.starts_with(b"PK\x03\x04")
    },
    read,
};

/// Entries of one archive; the largest known have some tens of thousands.
const ENTRIES: usize = 200_000;
/// Bytes of a `pom.properties`; real ones have some hundred.
const PROPERTIES_BYTES: u64 = 64 << 10;
/// Bytes inflated for one file of the package, all archives within it together.
const INFLATED_BYTES: u64 = 256 << 20;

fn read(reader: &Reader, look: &Look<'_>, findings: &mut Findings) -> Result<(), String> {
    let mut budget = INFLATED_BYTES;
    archive(reader, look, look.content, "", &mut budget, findings)
}

/// * `within`: name of this archive inside the file that is looked at; empty for the file itself.
fn archive(
    reader: &Reader,
    look: &Look<'_>,
    zip: &[u8],
    within: &str,
    budget: &mut u64,
    findings: &mut Findings,
) -> Result<(), String> {
    let mut outcome = Ok(());
    for entry in entries(zip).ok_or_else(|| format!("{within}: not a whole zip archive"))? {
        let name = entry.name;
        if name.starts_with("META-INF/maven/") && name.ends_with("/pom.properties") {
            let text = content(zip, &entry, PROPERTIES_BYTES, budget).ok_or("a damaged entry")?;
            let component = maven(&String::from_utf8_lossy(&text), reader, look);
            findings.components.extend(component.map(|mut component| {
                if !within.is_empty() {
                    component.property("java:within", within);
                }
                component
            }));
        } else if name.ends_with(".jar") && within.is_empty() {
            let limit = *budget;
            let inner = content(zip, &entry, limit, budget).ok_or("a damaged or too long entry")?;
            // One that cannot be read hides itself, not its neighbours.
            outcome = outcome.and(archive(reader, look, &inner, name, budget, findings));
        }
    }
    outcome
}

fn maven(text: &str, reader: &Reader, look: &Look<'_>) -> Option<Component> {
    let value = |key: &str| {
        text.lines().find_map(|line| {
            let (found, value) = line.trim().split_once(['=', ':'])?;
            (found.trim() == key).then(|| value.trim())
        })
    };
    let (group, artifact) = (value("groupId")?, value("artifactId")?);
    Component::new(
        "maven",
        Some(group),
        artifact,
        value("version"),
        look.evidence(reader),
    )
}

struct Entry<'a> {
    name: &'a str,
    is_deflated: bool,
    compressed_bytes: usize,
    header_at: usize,
}

/// The central directory; entries with other methods or names that are not UTF-8 are left out.
fn entries(zip: &[u8]) -> Option<Vec<Entry<'_>>> {
    // The end record is 22 bytes and a comment of up to 65,535.
    let first = zip.len().saturating_sub(22 + 0xffff);
    let end_at = (first..=zip.len().checked_sub(22)?)
        .rev()
        .find(|at| zip[*at..].starts_with(b"PK\x05\x06"))?;
    let count = usize::from(u16_at(zip, end_at + 10)?);
    let mut at = u32_at(zip, end_at + 16)?;
    let mut found = Vec::new();
    for _ in 0..count.min(ENTRIES) {
        if !zip.get(at..)?.starts_with(b"PK\x01\x02") {
            return None;
        }
        let method = u16_at(zip, at + 10)?;
        let lengths = [28, 30, 32].map(|offset| u16_at(zip, at + offset).map(usize::from));
        let (name_bytes, extra, comment) = (lengths[0]?, lengths[1]?, lengths[2]?);
        let name = zip.get(at + 46..at + 46 + name_bytes)?;
        if let (Ok(name), 0 | 8) = (std::str::from_utf8(name), method) {
            found.push(Entry {
                name,
                is_deflated: method == 8,
                compressed_bytes: u32_at(zip, at + 20)?,
                header_at: u32_at(zip, at + 42)?,
            });
        }
        at += 46 + name_bytes + extra + comment;
    }
    Some(found)
}

/// An entry's content; `None` when it is damaged or longer than `limit` or the budget.
fn content(zip: &[u8], entry: &Entry<'_>, limit: u64, budget: &mut u64) -> Option<Vec<u8>> {
    let header = zip.get(entry.header_at..)?;
    if !header.starts_with(b"PK\x03\x04") {
        return None;
    }
    let skipped = 30 + usize::from(u16_at(header, 26)?) + usize::from(u16_at(header, 28)?);
    let stored = header.get(skipped..skipped.checked_add(entry.compressed_bytes)?)?;
    let limit = limit.min(*budget);
    let mut content = Vec::new();
    if entry.is_deflated {
        let inflater = DeflateDecoder::new(stored);
        inflater.take(limit + 1).read_to_end(&mut content).ok()?;
    } else {
        stored.take(limit + 1).read_to_end(&mut content).ok()?;
    }
    let length = content.len() as u64;
    *budget = budget.saturating_sub(length);
    (length <= limit).then_some(content)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let raw = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(raw.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let raw = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(raw.try_into().ok()?)).ok()
}
