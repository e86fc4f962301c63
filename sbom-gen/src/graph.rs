//! The one model that every document is written from: the package, what it was made from, what is
//! inside it, its files, and how they hang together. Everything is sorted here, so that no format
//! can depend on the order in which facts were found.

use crate::component::{Component, Evidence, Scope, Technique};
use crate::hashes::Hashes;
use crate::inventory::{FileRecord, Inventory};
use crate::licence::Licence;
use crate::merge::Identity;
use crate::{Options, SbomError, purl};
use repo_model::Timestamp;
use repo_model::rpm::{Dependency, DependencyFlags, Package};
use std::collections::{BTreeMap, BTreeSet};

/// Name and version of the tool, as documents give them.
pub(crate) const TOOL: (&str, &str) = ("hallmark-sbom-gen", env!("CARGO_PKG_VERSION"));

/// What a node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeKind {
    /// A program to run.
    Application,
    /// Code that others link or load.
    Library,
    /// Code for a device.
    Firmware,
}

/// How one node relates to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EdgeKind {
    /// The second is inside the first.
    Contains,
    /// The first was made from the second.
    GeneratedFrom,
}

/// One package-like thing.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    /// Unique within the document; the package URL where there is one.
    pub(crate) key: String,
    pub(crate) purl: Option<String>,
    pub(crate) kind: NodeKind,
    pub(crate) group: Option<&'a str>,
    pub(crate) name: &'a str,
    pub(crate) version: Option<String>,
    pub(crate) file_name: Option<String>,
    pub(crate) licence: Option<Licence>,
    pub(crate) scope: Scope,
    /// Sorted (name, value).
    pub(crate) properties: BTreeSet<(String, String)>,
    pub(crate) evidence: Option<&'a BTreeSet<Evidence>>,
    /// The compiled file that a part was linked into; the package's own file otherwise.
    pub(crate) held_in: Option<&'a FileRecord>,
    /// Index of the package that one gets it with: its own, or the first one that holds it.
    pub(crate) package: usize,
    /// Digests of the package's own file, where they were asked for.
    pub(crate) hashes: Option<&'a Hashes>,
}

impl Node<'_> {
    /// `group/name`, or the name alone.
    pub(crate) fn full_name(&self) -> String {
        match self.group {
            Some(group) => format!("{group}/{}", self.name),
            None => self.name.to_owned(),
        }
    }

    /// Whether this is the source package of the one that the document is about.
    pub(crate) fn is_source_package(&self) -> bool {
        self.file_name
            .as_deref()
            .is_some_and(|name| name.ends_with(".src.rpm") || name.ends_with(".nosrc.rpm"))
    }
}

/// A package with all that is known of it.
pub(crate) struct Graph<'a> {
    pub(crate) options: &'a Options,
    pub(crate) inventory: &'a Inventory,
    pub(crate) package: &'a Package,
    pub(crate) created: Timestamp,
    /// `name-[epoch:]version-release.arch`.
    pub(crate) name: String,
    /// The package first, then what it came from, then what is inside, sorted by key.
    pub(crate) nodes: Vec<Node<'a>>,
    /// (from, kind, to), indexes into `nodes`, sorted.
    pub(crate) edges: Vec<(usize, EdgeKind, usize)>,
    /// Regular files and links, sorted by path; empty unless the options ask for them.
    pub(crate) files: Vec<&'a FileRecord>,
    /// The package under its upstream's names, sorted.
    pub(crate) identities: Vec<&'a Identity>,
    /// Every `LicenseRef-…` in use with its text.
    pub(crate) licence_texts: BTreeMap<String, String>,
}

impl<'a> Graph<'a> {
    /// Builds the graph.
    ///
    /// [`SbomError::Options`] when namespace and package make no package URL.
    pub(crate) fn build(inventory: &'a Inventory, options: &'a Options) -> Result<Self, SbomError> {
        let package = &inventory.package;
        let mut nodes = vec![root(inventory, options)?];
        let mut edges = Vec::new();
        if let Some(source) = package.source_rpm.as_deref() {
            edges.push((0, EdgeKind::GeneratedFrom, nodes.len()));
            nodes.push(source_package(source, package, options));
        }
        let by_path: BTreeMap<&str, &FileRecord> = inventory
            .files
            .iter()
            .map(|record| (record.path.as_str(), record))
            .collect();
        let mut inside: Vec<&Component> = inventory.components.iter().collect();
        inside.sort_by(|a, b| a.purl.cmp(&b.purl));
        inside.dedup_by(|a, b| a.purl == b.purl);
        // A package URL of the package itself is no part of it, whoever claims so.
        let taken: BTreeSet<String> = nodes.iter().map(|node| node.key.clone()).collect();
        for component in inside
            .into_iter()
            .filter(|inside| !taken.contains(&inside.purl))
        {
            edges.push((0, EdgeKind::Contains, nodes.len()));
            nodes.push(part(component, &by_path));
        }
        edges.sort_unstable();

        let mut files: Vec<&FileRecord> = Vec::new();
        if options.files {
            files.extend(&inventory.files);
            files.sort_by(|a, b| a.path.cmp(&b.path));
            files.dedup_by(|a, b| a.path == b.path);
        }
        let mut identities: Vec<&Identity> = inventory.identities.iter().collect();
        identities.sort();
        let references = nodes.iter().filter_map(|node| node.licence.as_ref());
        let licence_texts = references
            .flat_map(|licence| licence.references.clone())
            .collect();
        Ok(Self {
            options,
            inventory,
            package,
            created: options.created.unwrap_or(package.build_time),
            name: package.nevra.to_string(),
            nodes,
            edges,
            files,
            identities,
            licence_texts,
        })
    }

    /// Builds the graph of a whole build: the source package is the root, the packages made from
    /// it are nodes of their own, and a part that several of them hold is one node.
    ///
    /// * `packages`: in any order; one that is there twice counts once.
    /// * [`SbomError::Build`] when `source` is no source package or a package names another one.
    pub(crate) fn build_of(
        source: &'a Inventory,
        packages: &'a [Inventory],
        options: &'a Options,
    ) -> Result<Self, SbomError> {
        let file_name = source.package.nevra.file_name();
        let refuse = |package: &Package, why| SbomError::Build {
            package: package.nevra.to_string(),
            why,
        };
        if !source.package.is_source {
            return Err(refuse(&source.package, "is not a source package"));
        }
        let mut graph = Self::build(source, options)?;
        let mut made = BTreeMap::new();
        for inventory in packages {
            let names = inventory.package.source_rpm.as_deref();
            if names != Some(file_name.as_str()) {
                return Err(refuse(
                    &inventory.package,
                    "was made from another source package",
                ));
            }
            let node = root(inventory, options)?;
            made.insert(node.key.clone(), (node, inventory));
        }
        let mut parts: BTreeMap<&str, (Node<'a>, Vec<usize>)> = BTreeMap::new();
        let mut built = vec![source.package.build_time];
        for (mut node, inventory) in made.into_values() {
            let at = graph.nodes.len();
            node.package = at;
            graph.edges.push((at, EdgeKind::GeneratedFrom, 0));
            for component in &inventory.components {
                let known = parts.entry(component.purl.as_str());
                let (part, holders) =
                    known.or_insert_with(|| (part(component, &BTreeMap::new()), Vec::new()));
                holders.push(at);
                for one in &component.evidence {
                    let place = one.path.as_deref().unwrap_or("header");
                    let found = format!("{}: {place}", inventory.package.nevra);
                    part.properties.insert(("sbom:found-in".to_owned(), found));
                }
            }
            graph.nodes.push(node);
            built.push(inventory.package.build_time);
        }
        // A package URL of a package of the build is no part of it, whoever claims so.
        let taken: BTreeSet<String> = graph.nodes.iter().map(|node| node.key.clone()).collect();
        for (mut part, holders) in parts
            .into_values()
            .filter(|(part, _)| !taken.contains(&part.key))
        {
            part.package = holders.first().copied().unwrap_or(0);
            let at = graph.nodes.len();
            graph.edges.extend(
                holders
                    .into_iter()
                    .map(|from| (from, EdgeKind::Contains, at)),
            );
            graph.nodes.push(part);
        }
        graph.edges.sort_unstable();
        graph.edges.dedup();
        let references = graph.nodes.iter().filter_map(|node| node.licence.as_ref());
        graph.licence_texts = references
            .flat_map(|licence| licence.references.clone())
            .collect();
        let latest = built.into_iter().max();
        graph.created = options.created.or(latest).unwrap_or(graph.created);
        Ok(graph)
    }

    /// The package itself.
    pub(crate) fn root(&self) -> &Node<'a> {
        &self.nodes[0]
    }

    /// The nodes that stand in this relation to `from`, in order.
    pub(crate) fn targets(&self, from: usize, kind: EdgeKind) -> impl Iterator<Item = &Node<'a>> {
        let edges = self
            .edges
            .iter()
            .filter(move |edge| (edge.0, edge.1) == (from, kind));
        edges.map(|edge| &self.nodes[edge.2])
    }

    /// Every node that is in relation to others, with them, in order.
    pub(crate) fn groups(
        &self,
        kind: EdgeKind,
    ) -> impl Iterator<Item = (&Node<'a>, Vec<&Node<'a>>)> {
        let froms: BTreeSet<usize> = self
            .edges
            .iter()
            .filter(|edge| edge.1 == kind)
            .map(|edge| edge.0)
            .collect();
        froms
            .into_iter()
            .map(move |from| (&self.nodes[from], self.targets(from, kind).collect()))
    }

    /// What is a component of its own: all but the package itself and its source.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Node<'a>> {
        let sources: BTreeSet<usize> = self
            .edges
            .iter()
            .filter(|edge| (edge.0, edge.1) == (0, EdgeKind::GeneratedFrom))
            .map(|edge| edge.2)
            .collect();
        let nodes = self.nodes.iter().enumerate().skip(1);
        nodes
            .filter(move |(at, _)| !sources.contains(at))
            .map(|(_, node)| node)
    }

    /// The package that one gets a node with: itself, or the one that holds it.
    pub(crate) fn package_of(&self, node: &Node<'_>) -> &Node<'a> {
        &self.nodes[node.package]
    }

    /// `files` or `package`: how much the document goes into.
    pub(crate) fn profile(&self) -> &'static str {
        if self.options.files {
            "files"
        } else {
            "package"
        }
    }
}

fn root<'a>(inventory: &'a Inventory, options: &Options) -> Result<Node<'a>, SbomError> {
    let package = &inventory.package;
    let purl = purl::of_rpm(&options.namespace, package).ok_or_else(|| SbomError::Options {
        what: "a namespace of package URLs",
        value: options.namespace.clone(),
    })?;
    let evr = &package.nevra.evr;
    Ok(Node {
        key: purl.clone(),
        purl: Some(purl),
        kind: kind_of(package),
        group: None,
        name: &package.nevra.name,
        version: Some(format!("{}-{}", evr.version, evr.release)),
        file_name: Some(package.nevra.file_name()),
        licence: Licence::read(&package.license),
        scope: Scope::Required,
        properties: root_properties(inventory, options),
        evidence: None,
        held_in: None,
        package: 0,
        hashes: inventory.rpm_hashes.as_ref(),
    })
}

fn root_properties(inventory: &Inventory, options: &Options) -> BTreeSet<(String, String)> {
    let package = &inventory.package;
    let mut properties = BTreeSet::new();
    let mut add = |name: &str, value: String| properties.insert((name.to_owned(), value));
    add("package:rpm:sha256header", package.header_digest.to_hex());
    add("rpm:payload-sha256", inventory.payload_sha256.clone());
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

fn spelled(dependency: &Dependency) -> String {
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
fn kind_of(package: &Package) -> NodeKind {
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
fn source_package<'a>(file_name: &'a str, package: &Package, options: &Options) -> Node<'a> {
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
        Some(version) if package.nevra.evr.epoch == 0 => {
            let namespace = Some(options.namespace.as_str());
            purl::purl("rpm", namespace, name, Some(version), &[("arch", "src")])
        }
        _ => None,
    };
    Node {
        key: purl.clone().unwrap_or_else(|| format!("srpm:{file_name}")),
        purl,
        kind: NodeKind::Library,
        group: None,
        name,
        version,
        file_name: Some(file_name.to_owned()),
        licence: None,
        scope: Scope::Required,
        properties: BTreeSet::new(),
        evidence: None,
        held_in: None,
        package: 0,
        hashes: None,
    }
}

fn part<'a>(component: &'a Component, by_path: &BTreeMap<&str, &'a FileRecord>) -> Node<'a> {
    let compiled = component
        .evidence
        .iter()
        .filter(|one| one.technique == Technique::BinaryAnalysis)
        .filter_map(|one| by_path.get(one.path.as_deref()?).copied());
    Node {
        key: component.purl.clone(),
        purl: Some(component.purl.clone()),
        kind: NodeKind::Library,
        group: component.group.as_deref(),
        name: &component.name,
        version: component.version.clone(),
        file_name: None,
        licence: component.licence.as_deref().and_then(Licence::read),
        scope: component.scope,
        properties: component.properties.clone(),
        evidence: Some(&component.evidence),
        held_in: compiled.min_by(|a, b| a.path.cmp(&b.path)),
        package: 0,
        hashes: None,
    }
}
