//! The graph of a whole build: the source package, every package made from it, what is inside
//! those, and the environment that it was built in.

use super::package::{part, read_package};
use super::{EdgeKind, Graph, Node, Standing};
use crate::format::web_url;
use crate::{Algorithm, BuildInventory, Inventory, Options, SbomError, purl};
use repo_model::buildinfo::{BuildInfo, LockedPackage};
use repo_model::rpm::Package;
use repo_model::sbom_facts::HEADER_PROPERTY;
use std::collections::{BTreeMap, BTreeSet};

impl<'a> Graph<'a> {
    /// Builds the graph of a whole build: the source package is the root, the packages made from
    /// it are nodes of their own, and a part that several of them hold is one node.
    ///
    /// [`SbomError::Build`] when the source is no source package, a package names another one, or
    /// the buildinfo is about another one.
    pub(crate) fn build_of(
        build: &BuildInventory<'a>,
        options: &'a Options,
    ) -> Result<Self, SbomError> {
        require_one_build(build)?;
        let mut graph = Self::build(build.source, options)?;
        let mut made = BTreeMap::new();
        for inventory in build.packages {
            let node = read_package(inventory, options)?;
            made.insert(node.key.clone(), (node, inventory));
        }
        let latest = made.values().map(|(_, made)| made.package.build_time).max();
        let at_source = build.source.package.build_time;
        graph.created = options
            .created
            .unwrap_or(latest.map_or(at_source, |latest| latest.max(at_source)));
        let mut parts = Parts::default();
        for (mut node, inventory) in made.into_values() {
            let at = graph.nodes.len();
            node.package = at;
            graph.edges.push((at, EdgeKind::GeneratedFrom, 0));
            parts.add(at, inventory);
            graph.nodes.push(node);
        }
        parts.join(&mut graph);
        if let Some(info) = build.build_info {
            graph.add_tools(info, options);
        }
        Ok(graph.finished())
    }

    /// The toolchain of the build environment; every package of the build was built with it.
    fn add_tools(&mut self, info: &'a BuildInfo, options: &Options) {
        self.build_info = Some(info);
        let built: Vec<usize> = (1..self.nodes.len())
            .filter(|at| self.nodes[*at].standing == Standing::Package)
            .collect();
        let root = &info.buildroot;
        let locked: BTreeMap<String, &LockedPackage> = root
            .locked
            .iter()
            .map(|one| {
                let nevra = &one.nevra;
                (format!("{} {} {}", nevra.name, nevra.evr, nevra.arch), one)
            })
            .collect();
        let mut tools: Vec<Node<'_>> = root
            .toolchain
            .iter()
            .filter_map(|line| {
                let mut tool = tool(line, &root.installer, options)?;
                if let Some(package) = locked.get(line) {
                    is_locked(&mut tool, package);
                }
                Some(tool)
            })
            .collect();
        tools.sort_by(|a, b| a.key.cmp(&b.key));
        tools.dedup_by(|a, b| a.key == b.key);
        for mut tool in tools {
            let at = self.nodes.len();
            tool.package = at;
            let edges = built.iter().map(|from| (*from, EdgeKind::BuiltWith, at));
            self.edges.extend(edges);
            self.nodes.push(tool);
        }
    }
}

/// What is inside the packages of a build or release: one node for each component, however many
/// packages hold it.
#[derive(Default)]
pub(super) struct Parts<'a> {
    known: BTreeMap<&'a str, (Node<'a>, Vec<usize>)>,
}

impl<'a> Parts<'a> {
    fn add(&mut self, package: usize, inventory: &'a Inventory) {
        let name = inventory.package.nevra.to_string();
        self.add_components(package, &name, &inventory.components);
    }

    /// * `package`: index of the node of the package that holds them; `name` for people.
    pub(super) fn add_components(
        &mut self,
        package: usize,
        name: &str,
        components: &'a [crate::Component],
    ) {
        for component in components {
            let known = self.known.entry(component.purl.as_str());
            let (part, holders) =
                known.or_insert_with(|| (part(component, &BTreeMap::new()), Vec::new()));
            holders.push(package);
            part.scope = part.scope.min(component.scope);
            part.properties.extend(component.properties.iter().cloned());
            for one in &component.evidence {
                let place = one.path.as_deref().unwrap_or("header");
                part.property("sbom:found-in", format!("{name}: {place}"));
            }
        }
    }

    /// Adds nodes and edges to the graph.
    pub(super) fn join(self, graph: &mut Graph<'a>) {
        // A package URL of a package of the build is no part of it, whoever claims so.
        let taken: BTreeSet<String> = graph.nodes.iter().map(|node| node.key.clone()).collect();
        for (mut part, holders) in self.known.into_values() {
            if taken.contains(&part.key) {
                continue;
            }
            part.package = holders.first().copied().unwrap_or(0);
            let at = graph.nodes.len();
            let edges = holders.into_iter();
            graph
                .edges
                .extend(edges.map(|from| (from, EdgeKind::Contains, at)));
            graph.nodes.push(part);
        }
    }
}

fn require_one_build(build: &BuildInventory<'_>) -> Result<(), SbomError> {
    let source = &build.source.package;
    let refuse = |package: &Package, why| SbomError::Build {
        package: package.nevra.to_string(),
        why,
    };
    if !source.is_source {
        return Err(refuse(source, "is not a source package"));
    }
    let file_name = source.nevra.file_name();
    for inventory in build.packages {
        if inventory.package.source_rpm.as_deref() != Some(file_name.as_str()) {
            let why = "was made from another source package";
            return Err(refuse(&inventory.package, why));
        }
    }
    match build.build_info {
        Some(info) if info.source.header_sha256 != source.header_digest => Err(refuse(
            source,
            "is not the source package that the buildinfo is about",
        )),
        _ => Ok(()),
    }
}

/// One line of the toolchain, `name version arch`. A package URL of type `deb` would need the name
/// of the distribution, which a buildinfo does not have.
fn tool<'a>(line: &'a str, installer: &str, options: &Options) -> Option<Node<'a>> {
    let mut words = line.split_whitespace();
    let (name, version) = (words.next()?, words.next());
    let arch = words.next();
    let purl = match installer {
        "dpkg" => purl::purl("generic", None, name, version, &[]),
        _ => {
            let (epoch, version) = match version.and_then(|version| version.split_once(':')) {
                Some((epoch, version)) => (Some(epoch), Some(version)),
                None => (None, version),
            };
            let arch = arch.map(|arch| ("arch", arch));
            let epoch = epoch
                .filter(|epoch| *epoch != "0")
                .map(|epoch| ("epoch", epoch));
            let qualifiers: Vec<_> = arch.into_iter().chain(epoch).collect();
            purl::purl("rpm", Some(&options.namespace), name, version, &qualifiers)
        }
    }?;
    let mut node = Node::new(purl.clone(), Standing::Tool, name);
    node.purl = Some(purl);
    node.version = version.map(str::to_owned);
    node.property("buildroot:installer", installer);
    if let Some(arch) = arch {
        node.property("buildroot:arch", arch);
    }
    Some(node)
}

/// What is known of a tool that came as a locked package: its file. Who supplies it and under which licence,
/// a lock does not know.
fn is_locked<'a>(tool: &mut Node<'a>, package: &'a LockedPackage) {
    tool.file_name = Some(package.nevra.file_name());
    let mut urls = package.urls.iter();
    tool.location = urls.find(|url| web_url(url).is_some()).cloned();
    tool.digests.list = vec![(Algorithm::Sha256, package.sha256.to_hex())];
    tool.property(HEADER_PROPERTY, package.header_sha256.to_hex());
    if let Some(signer) = &package.signer {
        tool.property("rpm:signer", signer);
    }
}
