//! From claims to components: one for each package URL, without the packaged project itself.
//!
//! * Self rule: what the package provides under its ecosystem's name (`python3dist(x)`, `npm(x)`,
//!   `crate(x)`), and the main module of a binary in the package's own version, is the packaged
//!   project under its upstream's name; counting it again as a component would report its
//!   vulnerabilities twice, and against the wrong version where fixes were backported.
//! * Merge rule: claims with one package URL are one component with much evidence.
//! * Conflict: `bundled()` declares one version and the payload shows another. Both stay.

use crate::component::{Component, Evidence, Role};
use crate::inspect::{BUNDLED, normalised_python};
use repo_model::rpm::Package;
use std::collections::{BTreeMap, BTreeSet};

/// The packaged project under the name of its upstream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Package URL.
    pub purl: String,
    /// Why it is the packaged project.
    pub evidence: BTreeSet<Evidence>,
}

/// A declared component that was seen in another version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// Package URL that `bundled()` declares.
    pub declared: String,
    /// Package URL that the payload shows.
    pub observed: String,
}

/// What the claims come to.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub(crate) components: Vec<Component>,
    pub(crate) identities: Vec<Identity>,
    pub(crate) conflicts: Vec<Conflict>,
}

/// Applies the three rules; the order of `claims` does not matter.
pub(crate) fn merge(claims: Vec<Component>, package: &Package) -> Merged {
    let mut components: BTreeMap<String, Component> = BTreeMap::new();
    let mut identities: BTreeMap<String, BTreeSet<Evidence>> = BTreeMap::new();
    let own = OwnNames::of(package);
    for claim in claims {
        if own.include(&claim) {
            identities
                .entry(claim.purl)
                .or_default()
                .extend(claim.evidence);
            continue;
        }
        match components.get_mut(&claim.purl) {
            Some(component) => absorb(component, claim),
            None => {
                components.insert(claim.purl.clone(), claim);
            }
        }
    }
    let conflicts = conflicts(&components);
    for Conflict { declared, observed } in &conflicts {
        let text = format!("bundled() declares {declared}, the payload holds {observed}");
        for purl in [declared, observed] {
            if let Some(component) = components.get_mut(purl) {
                component.property("sbom:conflict", text.clone());
            }
        }
    }
    let identities = identities
        .into_iter()
        .map(|(purl, evidence)| Identity { purl, evidence })
        .collect();
    Merged {
        components: components.into_values().collect(),
        identities,
        conflicts,
    }
}

/// One more claim about the same component: the stronger of each fact, whichever came first.
fn absorb(component: &mut Component, claim: Component) {
    component.evidence.extend(claim.evidence);
    component.properties.extend(claim.properties);
    component.licence = match (component.licence.take(), claim.licence) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    // Required anywhere is required; a part anywhere is a part.
    component.scope = component.scope.min(claim.scope);
    component.role = component.role.min(claim.role);
    // Spellings may differ where the package URL ignores case.
    if (&claim.group, &claim.name) < (&component.group, &component.name) {
        (component.group, component.name) = (claim.group, claim.name);
    }
}

/// The names by which the package is known in its own ecosystem.
struct OwnNames<'a> {
    version: &'a str,
    /// (ecosystem, normalised name)
    provided: BTreeSet<(&'static str, String)>,
}

impl<'a> OwnNames<'a> {
    fn of(package: &'a Package) -> Self {
        let provided = package.provides.iter().filter_map(|provide| {
            let (kind, name) = provide.name.strip_suffix(')')?.split_once('(')?;
            let name = name.split('[').next().unwrap_or(name);
            match kind {
                "npm" => Some(("npm", name.to_owned())),
                "crate" => Some(("cargo", name.split('/').next().unwrap_or(name).to_owned())),
                "golang" => Some(("golang", name.to_owned())),
                "rubygem" => Some(("gem", name.to_owned())),
                "php-composer" => Some(("composer", name.to_owned())),
                "mvn" => {
                    // mvn(group:artifact), mvn(group:artifact:version)
                    let mut parts = name.split(':');
                    let (group, artifact) = (parts.next()?, parts.next()?);
                    Some(("maven", format!("{group}/{artifact}")))
                }
                _ if kind.starts_with("python") && kind.ends_with("dist") => {
                    Some(("pypi", normalised_python(name)))
                }
                _ => None,
            }
        });
        Self {
            version: &package.nevra.evr.version,
            provided: provided.collect(),
        }
    }

    fn include(&self, claim: &Component) -> bool {
        if claim
            .evidence
            .iter()
            .all(|evidence| evidence.source == BUNDLED)
        {
            return false;
        }
        let main_of_own_version = claim.role == Role::Main
            && claim
                .version
                .as_deref()
                .is_none_or(|version| version.trim_start_matches('v') == self.version);
        main_of_own_version
            || self
                .provided
                .contains(&(claim.ecosystem, claim.full_name()))
    }
}

/// Observed versions named in conflict with one declared: enough to see what is wrong.
const OBSERVED: usize = 8;

fn conflicts(components: &BTreeMap<String, Component>) -> Vec<Conflict> {
    let key = |component: &Component| (component.ecosystem, component.full_name().to_lowercase());
    let is_declared = |component: &&Component| {
        component
            .evidence
            .iter()
            .any(|evidence| evidence.source == BUNDLED)
    };
    let is_observed = |component: &&Component| {
        component
            .evidence
            .iter()
            .any(|evidence| evidence.source != BUNDLED)
    };
    let mut observed: BTreeMap<_, Vec<&Component>> = BTreeMap::new();
    for component in components.values().filter(is_observed) {
        observed.entry(key(component)).or_default().push(component);
    }
    let mut conflicts = Vec::new();
    for declared in components.values().filter(is_declared) {
        let seen = observed.get(&key(declared)).map_or(&[][..], Vec::as_slice);
        let agrees = declared.version.is_none() || is_observed(&declared);
        if !agrees {
            conflicts.extend(seen.iter().take(OBSERVED).map(|seen| Conflict {
                declared: declared.purl.clone(),
                observed: seen.purl.clone(),
            }));
        }
    }
    conflicts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{Scope, Technique};

    fn claim(version: &str, source: &'static str) -> Component {
        let technique = Technique::ManifestAnalysis;
        let evidence = Evidence {
            source,
            path: None,
            technique,
            confidence_percent: 80,
        };
        Component::new("generic", None, "zlib", Some(version), evidence).unwrap()
    }

    #[test]
    fn a_part_that_runs_anywhere_is_required_whichever_claim_came_first() {
        let (mut build, mut run) = (claim("1", "a"), claim("1", "b"));
        (build.scope, build.role) = (Scope::Excluded, Role::Main);
        build.state_licence(Some("Zlib"));
        run.property("x", "y");
        let (mut one, mut other) = (build.clone(), run.clone());
        absorb(&mut one, run);
        absorb(&mut other, build);
        assert_eq!(one, other);
        assert_eq!((one.scope, one.role), (Scope::Required, Role::Part));
        assert_eq!(
            (one.evidence.len(), one.licence.as_deref()),
            (2, Some("Zlib"))
        );
    }

    #[test]
    fn conflicts_do_not_multiply_without_bound() {
        let declared = (0..300).map(|i| claim(&format!("1.{i}"), BUNDLED));
        let observed = (0..300).map(|i| claim(&format!("2.{i}"), "reader"));
        let all: BTreeMap<_, _> = declared
            .chain(observed)
            .map(|claim| (claim.purl.clone(), claim))
            .collect();
        assert_eq!(conflicts(&all).len(), 300 * OBSERVED);
    }
}
