//! ELF notes: the build id, and `.note.package`, which names the package that a file was built
//! for. A note that names another package shows foreign or statically linked code.
//!
//! The package note's content (systemd's "Package Metadata for Executable Files"):
//! `{"type":"rpm","name":"hello","version":"2.12.1-2.fc39","architecture":"x86_64","osCpe":"cpe:/o:fedoraproject:fedora:39"}`

use super::{Findings, Look, Reader, is_elf};
use crate::component::{Component, Technique};
use object::{Object, ObjectSection};
use repo_model::rpm::Package;
use serde::Deserialize;

/// Note type of package metadata, owner `FDO`.
const NT_PACKAGE: u32 = 0xcafe_1a7e;
/// A note longer than this is not looked into.
const NOTE_BYTES: usize = 64 << 10;

pub(super) const PACKAGE_NOTE: Reader = Reader {
    name: "elf-package-note",
    technique: Technique::BinaryAnalysis,
    confidence_percent: 90,
    wants: is_elf,
    read,
};

#[derive(Deserialize)]
struct Note {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    version: Option<String>,
    architecture: Option<String>,
    #[serde(rename = "osCpe")]
    os_cpe: Option<String>,
}

fn read(reader: &Reader, look: &Look<'_>, findings: &mut Findings) -> Result<(), String> {
    let elf = object::File::parse(look.content).map_err(|error| error.to_string())?;
    findings.build_id = elf
        .build_id()
        .ok()
        .flatten()
        .filter(|id| id.len() <= 64)
        .map(hex::encode);
    let Some(section) = elf.section_by_name(".note.package") else {
        return Ok(());
    };
    let data = section.data().map_err(|error| error.to_string())?;
    let text = package_text(data, elf.is_little_endian()).ok_or("a package note that is none")?;
    let note: Note = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if !is_own(&note, look.package)
        && let Some(mut component) = component(&note, look.evidence(reader))
    {
        if let Some(cpe) = note.os_cpe {
            component.property("elf:package-note:osCpe", cpe);
        }
        findings.components.push(component);
    }
    Ok(())
}

/// The JSON text of the first package note in a note section.
fn package_text(mut data: &[u8], little_endian: bool) -> Option<&[u8]> {
    let word = |bytes: &[u8], at: usize| -> Option<u32> {
        let raw: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(if little_endian {
            u32::from_le_bytes(raw)
        } else {
            u32::from_be_bytes(raw)
        })
    };
    let padded = |length: usize| length.checked_next_multiple_of(4);
    loop {
        let (owner, text) = (word(data, 0)? as usize, word(data, 4)? as usize);
        let kind = word(data, 8)?;
        let start = 12_usize.checked_add(padded(owner)?)?;
        let end = start.checked_add(text)?;
        if kind == NT_PACKAGE && text <= NOTE_BYTES {
            let text = data.get(start..end)?;
            let used = text
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1);
            return Some(&text[..used]);
        }
        data = data.get(start.checked_add(padded(text)?)?..)?;
    }
}

/// Whether the note names the package that ships the file, by its own or its source's name.
fn is_own(note: &Note, package: &Package) -> bool {
    let evr = &package.nevra.evr;
    let own_version = format!("{}-{}", evr.version, evr.release);
    let with_epoch = format!("{}:{own_version}", evr.epoch);
    let source = package.source_rpm.as_deref().unwrap_or_default();
    let named = note.name == package.nevra.name
        || source
            .strip_prefix(note.name.as_str())
            .is_some_and(|rest| rest.starts_with('-'));
    let version = note.version.as_deref();
    named && (version == Some(&own_version) || version == Some(&with_epoch))
}

fn component(note: &Note, evidence: super::Evidence) -> Option<Component> {
    // `cpe:/o:vendor:product:version`: the product is the distribution's slug.
    let distribution = note.os_cpe.as_deref().and_then(|cpe| cpe.split(':').nth(3));
    let version = note.version.as_deref();
    let mut component = match (note.kind.as_str(), distribution) {
        ("rpm", Some(distribution)) => {
            Component::new("rpm", Some(distribution), &note.name, version, evidence)?
        }
        // A package URL of type rpm needs the distribution, and the note does not give it.
        _ => Component::new("generic", None, &note.name, version, evidence)?,
    };
    if let Some(architecture) = &note.architecture {
        component.property("elf:package-note:architecture", architecture.as_str());
    }
    component.property("elf:package-note:type", note.kind.as_str());
    Some(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_note_is_found_among_others_and_lying_lengths_are_survived() {
        let mut section = Vec::new();
        let mut note = |kind: u32, text: &[u8]| {
            section.extend(4_u32.to_le_bytes());
            section.extend((text.len() as u32).to_le_bytes());
            section.extend(kind.to_le_bytes());
            section.extend(b"FDO\0");
            section.extend(text);
            section.resize(section.len().next_multiple_of(4), 0);
        };
        note(1, b"other");
        note(NT_PACKAGE, b"{\"type\":\"rpm\"}\0");
        assert_eq!(
            package_text(&section, true),
            Some(&b"{\"type\":\"rpm\"}"[..])
        );
        assert_eq!(package_text(&section, false), None);
        for cut in 0..section.len() - 4 {
            assert_eq!(package_text(&section[..cut], true), None, "{cut}");
        }
        let mut lying = section.clone();
        lying[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(package_text(&lying, true), None);
    }
}
