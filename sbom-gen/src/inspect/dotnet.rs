//! Programs for .NET: `NAME.deps.json`, by which the runtime finds their libraries.
//! `{"libraries": {"Newtonsoft.Json/13.0.3": {"type": "package", "sha512": "sha512-…"}, "App/1.0.0": {"type": "project"}}}`

use super::{COMPONENTS_PER_FILE, Findings, Look, Reader};
use crate::component::{Component, Technique};
use serde::Deserialize;
use std::collections::BTreeMap;

pub(super) const DEPS: Reader = Reader {
    name: "dotnet-deps",
    technique: Technique::ManifestAnalysis,
    confidence_percent: 90,
    wants: |path, _| path.ends_with(".deps.json"),
    read,
};

#[derive(Deserialize)]
struct Deps {
    #[serde(default)]
    libraries: BTreeMap<String, Library>,
}

#[derive(Deserialize)]
struct Library {
    /// `package` for what comes from NuGet, `runtimepack` for the runtime that a program carries with it; the program
    /// itself is a `project`.
    #[serde(rename = "type")]
    kind: Option<String>,
}

fn read(reader: &Reader, look: &Look<'_>, findings: &mut Findings) -> Result<(), String> {
    let deps: Deps = look.json()?;
    if deps.libraries.len() > COMPONENTS_PER_FILE {
        return Err(format!("more than {COMPONENTS_PER_FILE} libraries"));
    }
    for (library, Library { kind }) in &deps.libraries {
        let Some((name, version)) = library.split_once('/') else {
            continue;
        };
        let name = match kind.as_deref() {
            Some("package") => Some(name),
            Some("runtimepack") => name.strip_prefix("runtimepack."),
            _ => None,
        };
        if let Some(name) = name {
            let evidence = look.evidence(reader);
            let component = Component::new("nuget", None, name, Some(version), evidence);
            findings.components.extend(component);
        }
    }
    Ok(())
}
