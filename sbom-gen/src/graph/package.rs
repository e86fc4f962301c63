//! The graph of one package: the package, its source, what is inside.

use super::{
    Completeness, Details, Digests, EdgeKind, Graph, Node, NodeKind, SourceRole, Standing,
};
use crate::component::{Component, Technique};
use crate::inventory::{FileRecord, Inventory};
use crate::licence::Licence;
use crate::{Options, SbomError, purl};
use repo_model::rpm::{Dependency, DependencyFlags, Package};
use std::collections::{BTreeMap, BTreeSet};

impl<'a> Graph<'a> {
    /// Builds the graph.
    ///
    /// [`SbomError::Options`] when namespace and package make no package URL.
    pub(crate) fn build(inventory: &'a Inventory, options: &'a Options) -> Result<Self, SbomError> {
        let package = &inventory.package;
        let mut graph = Self {
            options,
            created: options.created.unwrap_or(package.build_time),
            name: package.nevra.to_string(),
            nodes: vec![read_package(inventory, options)?],
            edges: Vec::new(),
            files: listed_files(inventory, options),
            source_roles: BTreeMap::new(),
            build_info: None,
            licence_texts: BTreeMap::new(),
        };
        if let Some(source) = package.source_rpm.as_deref() {
            graph.link(
                EdgeKind::GeneratedFrom,
                named_source(source, package, options),
            );
        }
        graph.add_origins(inventory);
        let by_path: BTreeMap<&str, &FileRecord> = inventory
            .files
            .iter()
            .map(|record| (record.path.as_str(), record))
            .collect();
        let mut inside: Vec<&Component> = inventory.components.iter().collect();
        inside.sort_by(|a, b| a.purl.cmp(&b.purl));
        inside.dedup_by(|a, b| a.purl == b.purl);
        // A package URL of the package itself is no part of it, whoever claims so.
        let taken: BTreeSet<String> = graph.nodes.iter().map(|node| node.key.clone()).collect();
        for component in inside {
            if !taken.contains(&component.purl) {
                graph.link(EdgeKind::Contains, part(component, &by_path));
            }
        }
        Ok(graph.finished())
    }

    /// Adds a node and the edge from the root to it.
    fn link(&mut self, kind: EdgeKind, node: Node<'a>) -> usize {
        let at = self.nodes.len();
        self.edges.push((0, kind, at));
        self.nodes.push(node);
        at
    }

    /// What the files of a source package are for, and what upstream published of them.
    fn add_origins(&mut self, inventory: &'a Inventory) {
        let package = &inventory.package;
        if !package.is_source {
            return;
        }
        for record in &self.files.clone() {
            let base = record.path.trim_start_matches('/');
            if package.patches.iter().any(|patch| patch == base) {
                self.source_roles.insert(&record.path, SourceRole::Patch);
            } else if package.sources.iter().any(|source| source == base) {
                let origin = upstream(inventory, record).map(|node| {
                    let known = self.nodes.iter().position(|known| known.key == node.key);
                    known.unwrap_or_else(|| self.link(EdgeKind::GeneratedFrom, node))
                });
                self.source_roles
                    .insert(&record.path, SourceRole::Source(origin));
            }
        }
    }
}

/// Files that the document lists; those of a source package always: they are what it is made of.
fn listed_files<'a>(inventory: &'a Inventory, options: &Options) -> Vec<&'a FileRecord> {
    let mut files: Vec<&FileRecord> = Vec::new();
    if options.files || inventory.package.is_source {
        files.extend(&inventory.files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
    }
    files
}

/// What upstream published, for a source that the spec names with a URL: the URL and the digest of
/// what lies in the package are its identity.
fn upstream<'a>(inventory: &'a Inventory, record: &'a FileRecord) -> Option<Node<'a>> {
    let base = record.path.trim_start_matches('/');
    let url = inventory.source_urls.get(base)?;
    let checksum = format!("sha256:{}", record.hashes?.sha256_hex());
    let evr = &inventory.package.nevra.evr;
    let name = &inventory.package.nevra.name;
    let purl = purl::purl(
        "generic",
        None,
        name,
        Some(&evr.version),
        &[("checksum", &checksum), ("download_url", url)],
    )?;
    let mut node = Node::new(purl.clone(), Standing::Upstream, name);
    node.purl = Some(purl);
    node.version = Some(evr.version.clone());
    node.location = Some(url.clone());
    node.file_name = Some(base.to_owned());
    node.digests.list = record.hashes?.list().to_vec();
    Some(node)
}

/// The node of a package that was read.
pub(super) fn read_package<'a>(
    inventory: &'a Inventory,
    options: &Options,
) -> Result<Node<'a>, SbomError> {
    let package = &inventory.package;
    let purl = purl::of_rpm(&options.namespace, package).ok_or_else(|| SbomError::Options {
        what: "a namespace of package URLs",
        value: options.namespace.clone(),
    })?;
    let evr = &package.nevra.evr;
    let mut identities = inventory.identities.clone();
    identities.sort();
    let file_name = package.nevra.file_name();
    Ok(Node {
        purl: Some(purl.clone()),
        is_source: package.is_source,
        kind: kind_of(package),
        version: Some(format!("{}-{}", evr.version, evr.release)),
        location: Some(crate::purl::relative_url(&file_name)),
        file_name: Some(file_name),
        licence: Licence::read(&package.license),
        properties: package_properties(inventory, options),
        identities,
        digests: digests(inventory),
        details: details(package),
        needs: Completeness::Incomplete,
        ..Node::new(purl, Standing::Package, &package.nevra.name)
    })
}

fn digests(inventory: &Inventory) -> Digests {
    match &inventory.rpm_hashes {
        Some(hashes) => Digests {
            list: hashes.list().to_vec(),
            of_content: false,
        },
        None => Digests {
            list: vec![(
                crate::hashes::Algorithm::Sha512,
                inventory.content_sha512.clone(),
            )],
            of_content: true,
        },
    }
}

fn details(package: &Package) -> Details<'_> {
    fn some(text: &str) -> Option<&str> {
        Some(text).filter(|text| !text.trim().is_empty())
    }
    Details {
        vendor: package.vendor.as_deref().and_then(some),
        summary: some(&package.summary),
        description: some(&package.description),
        url: package.url.as_deref(),
        bug_url: package.bug_url.as_deref(),
        vcs: package.vcs.as_deref(),
        built: Some(package.build_time),
    }
}

fn package_properties(inventory: &Inventory, options: &Options) -> BTreeSet<(String, String)> {
    let package = &inventory.package;
    let mut properties = BTreeSet::new();
    let mut add = |name: &str, value: String| properties.insert((name.to_owned(), value));
    add("package:rpm:sha256header", package.header_digest.to_hex());
    add("rpm:payload-sha256", inventory.payload_sha256.clone());
    add("rpm:content-sha512", inventory.content_sha512.clone());
    if let Some(digest) = &package.payload_sha256_alt {
        add("rpm:payload-sha256-alt", digest.clone());
    }
    add("rpm:evr", package.nevra.evr.to_string());
    add("rpm:buildtime", package.build_time.to_string());
    if !package.license.is_empty() {
        add("package:rpm:license", package.license.clone());
    }
    // Which package will meet a requirement is known where the repository is known; here they are
    // named, as unknowns.
    for require in package
        .requires
        .iter()
        .filter(|require| is_on_others(require))
    {
        add("rpm:requires", spelled(require));
    }
    for file in &inventory.not_inspected {
        add(
            "sbom:not-inspected",
            format!("{}: {}", file.path, file.reason),
        );
    }
    if !options.files {
        for file in &inventory.files {
            if let Some(build_id) = &file.build_id {
                add("elf:build-id", format!("{build_id} {}", file.path));
            }
        }
    }
    properties
}

/// `rpmlib()` is about rpm's own features, `config()` about the package itself.
fn is_on_others(require: &Dependency) -> bool {
    !require.name.starts_with("rpmlib(") && !require.name.starts_with("config(")
}

pub(crate) fn spelled(dependency: &Dependency) -> String {
    let sign = |flags| match flags {
        DependencyFlags::Lt => "<",
        DependencyFlags::Gt => ">",
        DependencyFlags::Eq => "=",
        DependencyFlags::Le => "<=",
        DependencyFlags::Ge => ">=",
    };
    match &dependency.version {
        Some((flags, version)) => format!("{} {} {version}", dependency.name, sign(*flags)),
        None => dependency.name.clone(),
    }
}

/// An application ships a program, a library a soname; firmware lives where the kernel looks for it.
pub(crate) fn kind_of(package: &Package) -> NodeKind {
    let ships = |dirs: &[&str]| {
        package
            .files
            .iter()
            .any(|file| dirs.contains(&file.dir.as_str()) && !file.base.is_empty())
    };
    let is_firmware =
        |path: &str| path.starts_with("/usr/lib/firmware/") || path.starts_with("/lib/firmware/");
    if package.is_source {
        NodeKind::Library
    } else if ships(&["/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/"]) {
        NodeKind::Application
    } else if package.files.iter().any(|file| is_firmware(&file.path)) {
        NodeKind::Firmware
    } else {
        NodeKind::Library
    }
}

/// The source package, of which a binary's header gives the file name only.
pub(super) fn named_source<'a>(
    file_name: &'a str,
    package: &Package,
    options: &Options,
) -> Node<'a> {
    named_source_of(file_name, package.nevra.evr.epoch, options)
}

/// The same, of the epoch that the binary has.
pub(super) fn named_source_of<'a>(
    file_name: &'a str,
    binary_epoch: u32,
    options: &Options,
) -> Node<'a> {
    let stem = ["nosrc.rpm", "src.rpm"]
        .iter()
        .find_map(|suffix| file_name.strip_suffix(suffix)?.strip_suffix('.'))
        .unwrap_or(file_name);
    let parts = stem.rsplit_once('-').and_then(|(rest, release)| {
        let (name, version) = rest.rsplit_once('-')?;
        Some((name, format!("{version}-{release}")))
    });
    let (name, version) = match parts {
        Some((name, version)) => (name, Some(version)),
        None => (stem, None),
    };
    // A file name has no epoch. Without one in the package either, the URL is right; otherwise the
    // source's own epoch is not known from here, and a wrong identity is worse than none.
    let purl = match &version {
        Some(version) if binary_epoch == 0 => {
            let namespace = Some(options.namespace.as_str());
            purl::purl("rpm", namespace, name, Some(version), &[("arch", "src")])
        }
        _ => None,
    };
    let key = purl.clone().unwrap_or_else(|| format!("srpm:{file_name}"));
    Node {
        purl,
        is_source: true,
        version,
        file_name: Some(file_name.to_owned()),
        ..Node::new(key, Standing::NamedSource, name)
    }
}

/// The node of something inside a package.
pub(super) fn part<'a>(
    component: &'a Component,
    by_path: &BTreeMap<&str, &'a FileRecord>,
) -> Node<'a> {
    let compiled = component
        .evidence
        .iter()
        .filter(|one| one.technique == Technique::BinaryAnalysis)
        .filter_map(|one| by_path.get(one.path.as_deref()?).copied());
    Node {
        purl: Some(component.purl.clone()),
        group: component.group.as_deref(),
        version: component.version.clone(),
        licence: component.licence.as_deref().and_then(Licence::read),
        scope: component.scope,
        properties: component.properties.clone(),
        evidence: Some(&component.evidence),
        held_in: compiled.min_by(|a, b| a.path.cmp(&b.path)),
        ..Node::new(component.purl.clone(), Standing::Part, &component.name)
    }
}
