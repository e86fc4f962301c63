//! One package on its way into a release, from whichever source.

use super::Strength;
use crate::graph::{NodeKind, kind_of};
use crate::{Algorithm, Component, Inventory};
use repo_model::rpm::{Dependency, Package};
use repo_model::sbom_facts::HEADER_PROPERTY;
use repo_model::{FileDigest, HeaderDigest, Nevra, Timestamp};

/// One package of a release: what a repository's metadata says of it, or its header, or all.
///
/// Made by [`Member::of_package`], [`Member::of_inventory`] or [`Member::named`]; what is known
/// besides is then filled in.
#[derive(Debug, Clone)]
pub struct Member {
    /// Identity.
    pub nevra: Nevra,
    /// Source package.
    pub is_source: bool,
    /// SOURCERPM.
    pub source_rpm: Option<String>,
    /// MODULARITYLABEL.
    pub modularity_label: Option<String>,
    /// LICENSE as written; empty when it is not known.
    pub license: String,
    /// VENDOR.
    pub vendor: Option<String>,
    /// SUMMARY.
    pub summary: String,
    /// URL.
    pub url: Option<String>,
    /// BUILDTIME.
    pub build_time: Option<Timestamp>,
    /// Digests of the file as it is published, lowercase hex.
    pub digests: Vec<(Algorithm, String)>,
    /// Where the file is: an absolute URL, or a path below the release.
    pub location: Option<String>,
    /// Documents about this package alone: (URL or path below the release, SHA-256 or empty).
    pub documents: Vec<(String, String)>,
    /// PROVIDES.
    pub provides: Vec<Dependency>,
    /// REQUIRES.
    pub requires: Vec<Dependency>,
    /// RECOMMENDS.
    pub recommends: Vec<Dependency>,
    /// SUGGESTS.
    pub suggests: Vec<Dependency>,
    /// Absolute paths; requirements may name files.
    pub files: Vec<String>,
    /// What is inside; `None` when nobody looked.
    pub components: Option<Vec<Component>>,
    pub(crate) kind: NodeKind,
    pub(crate) digests_are_of_content: bool,
    pub(crate) properties: Vec<(&'static str, String)>,
}

impl Member {
    /// A package of which only the identity is known yet.
    pub fn named(nevra: Nevra, is_source: bool) -> Self {
        Self {
            properties: vec![("rpm:evr", nevra.evr.to_string())],
            nevra,
            is_source,
            source_rpm: None,
            modularity_label: None,
            license: String::new(),
            vendor: None,
            summary: String::new(),
            url: None,
            build_time: None,
            digests: Vec::new(),
            location: None,
            documents: Vec::new(),
            provides: Vec::new(),
            requires: Vec::new(),
            recommends: Vec::new(),
            suggests: Vec::new(),
            files: Vec::new(),
            components: None,
            kind: NodeKind::Library,
            digests_are_of_content: false,
        }
    }

    /// A package whose header was read, and nothing else of it.
    pub fn of_package(package: &Package) -> Self {
        let mut member = Self {
            source_rpm: package.source_rpm.clone(),
            modularity_label: package.modularity_label.clone(),
            license: package.license.clone(),
            vendor: package.vendor.clone(),
            summary: package.summary.clone(),
            url: package.url.clone(),
            build_time: Some(package.build_time),
            provides: package.provides.clone(),
            requires: package.requires.clone(),
            recommends: package.recommends.clone(),
            suggests: package.suggests.clone(),
            files: match package.is_source {
                true => Vec::new(),
                false => package.files.iter().map(|file| file.path.clone()).collect(),
            },
            kind: kind_of(package),
            ..Self::named(package.nevra.clone(), package.is_source)
        };
        member.has_header(&package.header_digest);
        if let Some(digest) = &package.payload_sha256 {
            let digest = digest.clone();
            member.properties.push(("rpm:payload-sha256", digest));
        }
        member
    }

    /// A package that was read as a whole.
    pub fn of_inventory(inventory: &Inventory) -> Self {
        let mut member = Self {
            components: Some(inventory.components.clone()),
            ..Self::of_package(&inventory.package)
        };
        match &inventory.rpm_hashes {
            Some(hashes) => member.digests = hashes.list().to_vec(),
            None => {
                let digest = inventory.content_sha512.clone();
                member.digests = vec![(Algorithm::Sha512, digest)];
                member.digests_are_of_content = true;
            }
        }
        for identity in &inventory.identities {
            let upstream = ("rpm:upstream", identity.purl.clone());
            member.properties.push(upstream);
        }
        for file in &inventory.not_inspected {
            let text = format!("{}: {}", file.path, file.reason);
            member.properties.push(("sbom:not-inspected", text));
        }
        member
    }

    /// Says which package it is by its main header.
    pub fn has_header(&mut self, header: &HeaderDigest) {
        let named = (HEADER_PROPERTY, header.to_hex());
        self.properties.push(named);
    }

    /// Says which file is published, by its SHA-256; replaces digests of what signing changes.
    pub fn published_as(&mut self, file: &FileDigest) {
        self.digests = vec![(Algorithm::Sha256, file.to_hex())];
        self.digests_are_of_content = false;
    }
}

/// Everything that the package needs, each with how much.
pub(super) fn needs(member: &Member) -> impl Iterator<Item = (Strength, &Dependency)> {
    let requires = member.requires.iter().map(|need| {
        let strength = match member.is_source {
            true => Strength::Build,
            false if is_for_scriptlets_only(need) => Strength::Install,
            false => Strength::Run,
        };
        (strength, need)
    });
    let optional = member.recommends.iter().chain(&member.suggests);
    requires.chain(optional.map(|need| (Strength::Optional, need)))
}

/// RPMSENSE_SCRIPT_PRE, _POST, _PREUN, _POSTUN, and the same of triggers, transactions and checks.
const SCRIPTS: u32 = 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;
/// RPMSENSE_INTERP: the interpreter of a scriptlet.
const INTERPRETER: u32 = 1 << 8;

fn is_for_scriptlets_only(need: &Dependency) -> bool {
    need.sense & (SCRIPTS | INTERPRETER) != 0
}
