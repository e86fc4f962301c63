//! Rust executables built with `cargo auditable`: the section `.dep-v0` holds the crate list as
//! zlib-compressed JSON, and survives `strip`.

use super::{COMPONENTS_PER_FILE, Findings, Look, Reader, is_elf};
use crate::component::{Component, Role, Scope, Technique};
use auditable_info::Error;
use serde::Deserialize;

/// Decompressed crate list; the largest known are well below.
const JSON_BYTES: usize = 8 << 20;

pub(super) const AUDITABLE: Reader = Reader {
    name: "cargo-auditable",
    technique: Technique::BinaryAnalysis,
    confidence_percent: 100,
    wants: is_elf,
    read,
};

/// As `cargo auditable` writes it (its PARSING.md).
#[derive(Deserialize)]
struct Crates {
    packages: Vec<Crate>,
}

#[derive(Deserialize)]
struct Crate {
    name: String,
    version: String,
    /// `crates.io`, `git`, `local`, `registry`.
    source: String,
    /// `build` for what only took part in the build.
    kind: Option<String>,
    #[serde(default)]
    root: bool,
}

fn read(reader: &Reader, look: &Look<'_>, findings: &mut Findings) -> Result<(), String> {
    let json = match auditable_info::json_from_slice(look.content, JSON_BYTES) {
        Ok(json) => json,
        Err(Error::NoAuditData) => return Ok(()),
        // Not the error's own text: it may panic on how the decompression ended.
        Err(Error::Decompression(_)) => return Err("the crate list is damaged".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let crates: Crates = serde_json::from_str(&json).map_err(|error| error.to_string())?;
    if crates.packages.len() > COMPONENTS_PER_FILE {
        return Err(format!("more than {COMPONENTS_PER_FILE} crates"));
    }
    for found in crates.packages {
        let evidence = look.evidence(reader);
        let version = Some(found.version.as_str());
        let Some(mut component) = Component::new("cargo", None, &found.name, version, evidence)
        else {
            continue;
        };
        if found.kind.as_deref() == Some("build") {
            component.scope = Scope::Excluded;
        }
        if found.root {
            component.role = Role::Main;
        }
        if found.source != "crates.io" {
            component.property("cargo:source", found.source);
        }
        findings.components.push(component);
    }
    Ok(())
}
