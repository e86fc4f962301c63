//! What Composer has installed: `vendor/composer/installed.json`, an object with `packages` since
//! Composer 2, a bare list before.

use super::{COMPONENTS_PER_FILE, Findings, Look, Reader};
use crate::component::{Component, Technique};
use serde::Deserialize;

pub(super) const INSTALLED: Reader = Reader {
    name: "composer-installed",
    technique: Technique::ManifestAnalysis,
    confidence_percent: 90,
    wants: |path, _| path.ends_with("/composer/installed.json"),
    read,
};

#[derive(Deserialize)]
#[serde(untagged)]
enum Installed {
    Packages { packages: Vec<Package> },
    List(Vec<Package>),
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: Option<String>,
    #[serde(default)]
    license: Vec<String>,
}

fn read(reader: &Reader, look: &Look<'_>, findings: &mut Findings) -> Result<(), String> {
    let (Installed::Packages { packages } | Installed::List(packages)) = look.json()?;
    if packages.len() > COMPONENTS_PER_FILE {
        return Err(format!("more than {COMPONENTS_PER_FILE} packages"));
    }
    for package in packages {
        let Some((vendor, name)) = package.name.split_once('/') else {
            continue;
        };
        let version = package.version.as_deref();
        let component = Component::new(
            "composer",
            Some(vendor),
            name,
            version,
            look.evidence(reader),
        );
        findings.components.extend(component.map(|mut component| {
            // Several licences are a choice, says Composer's schema.
            let licences = package.license.join(" OR ");
            component.state_licence(Some(licences.as_str()).filter(|tag| !tag.is_empty()));
            component
        }));
    }
    Ok(())
}
