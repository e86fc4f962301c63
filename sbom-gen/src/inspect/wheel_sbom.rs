//! SBOMs inside Python wheels (PEP 770): `*.dist-info/sboms/*.json`, CycloneDX or SPDX 2. They name
//! the libraries that were copied into the wheel; what has a package URL is taken over.

use super::{COMPONENTS_PER_FILE, Findings, Look, Reader};
use crate::component::{Component, Technique};
use packageurl::PackageUrl;
use serde::Deserialize;
use std::str::FromStr;

pub(super) const WHEEL_SBOM: Reader = Reader {
    name: "wheel-sbom",
    technique: Technique::ManifestAnalysis,
    confidence_percent: 90,
    wants: |path, _| path.contains(".dist-info/sboms/") && path.ends_with(".json"),
    read,
};

/// Types of package URLs that components may have.
static TYPES: &[&str] = &[
    "apk", "cargo", "composer", "conan", "deb", "gem", "generic", "github", "golang", "maven",
    "npm", "nuget", "pypi", "rpm",
];

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    components: Vec<Listed>,
    #[serde(default)]
    packages: Vec<SpdxPackage>,
}

#[derive(Deserialize)]
struct Listed {
    purl: Option<String>,
    #[serde(default)]
    components: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpdxPackage {
    #[serde(default)]
    external_refs: Vec<ExternalRef>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_type: String,
    reference_locator: String,
}

fn read(reader: &Reader, look: &Look<'_>, findings: &mut Findings) -> Result<(), String> {
    let document: Document = look.json()?;
    let mut purls = Vec::new();
    let mut listed = document.components;
    while let Some(one) = listed.pop() {
        purls.extend(one.purl);
        listed.extend(one.components);
    }
    let references = document
        .packages
        .into_iter()
        .flat_map(|package| package.external_refs);
    let references = references.filter(|reference| reference.reference_type == "purl");
    purls.extend(references.map(|reference| reference.reference_locator));
    if purls.len() > COMPONENTS_PER_FILE {
        return Err(format!("more than {COMPONENTS_PER_FILE} components"));
    }
    for purl in purls {
        let Ok(purl) = PackageUrl::from_str(&purl) else {
            continue;
        };
        let Some(kind) = TYPES.iter().find(|kind| **kind == purl.ty()) else {
            continue;
        };
        let (group, version) = (purl.namespace(), purl.version());
        let component = Component::new(kind, group, purl.name(), version, look.evidence(reader));
        findings.components.extend(component);
    }
    Ok(())
}
