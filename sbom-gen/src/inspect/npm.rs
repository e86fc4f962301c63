//! `node_modules/<name>/package.json`, nested ones included, and `node_modules/.package-lock.json`, where npm notes
//! what it has installed there. A `package-lock.json` elsewhere lists what may be installed, and is not read.

use super::{COMPONENTS_PER_FILE, Evidence, Findings, Look, Reader};
use crate::component::{Component, Technique};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A manifest longer than this is not one.
const READ_BYTES: usize = 4 << 20;

pub(super) const PACKAGE_JSON: Reader = Reader {
    name: "npm-package-json",
    technique: Technique::ManifestAnalysis,
    confidence_percent: 90,
    wants: |path, _| is_installed_manifest(path),
    read,
};

/// Less sure than a manifest: whoever takes a module away afterwards leaves the list as it is.
pub(super) const INSTALLED: Reader = Reader {
    name: "npm-installed-list",
    technique: Technique::ManifestAnalysis,
    confidence_percent: 70,
    wants: |path, _| path.ends_with("/node_modules/.package-lock.json"),
    read: read_installed,
};

/// `lockfileVersion` 2 and 3, which alone is written there.
#[derive(Deserialize)]
struct InstalledList {
    /// By folder, such as `node_modules/a/node_modules/@b/c`.
    packages: BTreeMap<String, Listed>,
}

#[derive(Deserialize)]
struct Listed {
    /// Where it is not that of the folder.
    name: Option<String>,
    version: Option<String>,
    /// Needed by nothing but the development of what is packaged.
    #[serde(default)]
    dev: bool,
}

/// The fields that matter; whatever else has an unexpected type does no harm.
#[derive(Deserialize)]
struct Manifest {
    name: String,
    version: Option<String>,
    license: Option<serde_json::Value>,
}

/// `.../node_modules/name/package.json` or `.../node_modules/@scope/name/package.json`: not the
/// many `package.json` deeper in a module that only say `{"type":"module"}`.
fn is_installed_manifest(path: &str) -> bool {
    let Some(dir) = path.strip_suffix("/package.json") else {
        return false;
    };
    let Some((_, name)) = dir.rsplit_once("/node_modules/") else {
        return false;
    };
    match name.split_once('/') {
        None => true,
        Some((scope, name)) => scope.starts_with('@') && !name.contains('/'),
    }
}

fn read(reader: &Reader, look: &Look<'_>, findings: &mut Findings) -> Result<(), String> {
    if look.content.len() > READ_BYTES {
        return Err(format!("longer than {READ_BYTES} bytes"));
    }
    let manifest: Manifest = look.json()?;
    let evidence = look.evidence(reader);
    let mut component = component(&manifest.name, manifest.version.as_deref(), evidence)
        .ok_or("a name that is none")?;
    component.state_licence(
        manifest
            .license
            .as_ref()
            .and_then(serde_json::Value::as_str),
    );
    findings.components.push(component);
    Ok(())
}

fn read_installed(reader: &Reader, look: &Look<'_>, findings: &mut Findings) -> Result<(), String> {
    let list: InstalledList = look.json()?;
    if list.packages.len() > COMPONENTS_PER_FILE {
        return Err(format!("more than {COMPONENTS_PER_FILE} modules"));
    }
    for (folder, listed) in &list.packages {
        let name = folder.rsplit_once("node_modules/").map(|(_, name)| name);
        // A link to a folder elsewhere has no version.
        let (Some(name), Some(version), false) = (name, &listed.version, listed.dev) else {
            continue;
        };
        let name = listed.name.as_deref().unwrap_or(name);
        let component = component(name, Some(version), look.evidence(reader));
        findings.components.extend(component);
    }
    Ok(())
}

/// A component from an npm name, `@scope/name` or `name`.
pub(super) fn component(
    name: &str,
    version: Option<&str>,
    evidence: Evidence,
) -> Option<Component> {
    match name.split_once('/') {
        Some((scope, name)) => Component::new("npm", Some(scope), name, version, evidence),
        None => Component::new("npm", None, name, version, evidence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_manifest_of_an_installed_module_is_wanted() {
        assert!(is_installed_manifest(
            "/usr/lib/node_modules/npm/package.json"
        ));
        assert!(is_installed_manifest(
            "/usr/lib/node_modules/npm/node_modules/@a/b/package.json"
        ));
        assert!(!is_installed_manifest(
            "/usr/lib/node_modules/npm/lib/package.json"
        ));
        assert!(!is_installed_manifest("/usr/share/doc/package.json"));
    }
}
