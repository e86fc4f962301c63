//! The graph of a release: the release, its packages, their sources, what is inside them where that
//! is known, and which package needs which.

use super::build::Parts;
use super::package::named_source_of;
use super::{Completeness, Details, Digests, EdgeKind, Graph, Node, NodeKind, Standing};
use crate::licence::Licence;
use crate::merge::Identity;
use crate::release::{Kept, Needs, Release, ReleaseInfo, Strength};
use crate::{Options, purl};
use repo_model::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

impl<'a> Graph<'a> {
    /// Builds the graph of a release.
    pub(crate) fn release_of(release: &'a Release, options: &'a Options) -> Self {
        let built = release.kept.iter().filter_map(|kept| kept.built).max();
        let created = options.created.or(release.info.created).or(built);
        let root = root(&release.info);
        let mut graph = Self {
            options,
            created: created.unwrap_or(Timestamp::from_unix_secs(0)),
            name: match &root.version {
                Some(version) => format!("{} {version}", root.name),
                None => root.name.to_owned(),
            },
            nodes: vec![root],
            edges: Vec::new(),
            files: Vec::new(),
            source_roles: BTreeMap::new(),
            build_info: None,
            licence_texts: BTreeMap::new(),
        };
        let mut parts = Parts::default();
        for (kept, needs) in release.kept.iter().zip(&release.needs) {
            let at = graph.nodes.len();
            let mut node = package(kept, needs, &release.info, options);
            node.package = at;
            graph.nodes.push(node);
            graph.edges.push((0, EdgeKind::Contains, at));
            graph.add_needs(at, needs);
            if let Some(components) = &kept.components {
                parts.add_components(at, &kept.nevra.to_string(), components);
            }
        }
        let packages = graph.packages().map(|node| node.licence.as_ref());
        let all = Licence::of_all(packages);
        graph.nodes[0].licence = all;
        graph.add_sources(release);
        parts.join(&mut graph);
        graph.finished()
    }

    /// Edges to packages, whose nodes follow the root in the order of the release.
    fn add_needs(&mut self, from: usize, needs: &Needs) {
        let edges = needs.edges.iter().map(|(to, strength)| {
            let kind = match strength {
                Strength::Run => EdgeKind::DependsOn,
                Strength::Install => EdgeKind::DependsOnToInstall,
                Strength::Build => EdgeKind::DependsOnToBuild,
                Strength::Optional => EdgeKind::DependsOptionally,
            };
            (from, kind, *to as usize + 1)
        });
        self.edges.extend(edges);
    }

    /// Leads packages to the source packages that they name: those of the release, or else nodes of
    /// which only the file name is known.
    fn add_sources(&mut self, release: &'a Release) {
        let at = |number: usize| number + 1;
        let in_hand: BTreeMap<String, usize> = release
            .kept
            .iter()
            .enumerate()
            .filter(|(_, kept)| kept.is_source)
            .map(|(number, kept)| (kept.nevra.file_name(), at(number)))
            .collect();
        let mut named: BTreeMap<&str, (u32, Vec<usize>)> = BTreeMap::new();
        for (number, kept) in release.kept.iter().enumerate() {
            let Some(source) = kept.source_rpm.as_deref() else {
                continue;
            };
            match in_hand.get(source) {
                Some(to) => self.edges.push((at(number), EdgeKind::GeneratedFrom, *to)),
                None => {
                    let (epoch, users) = named.entry(source).or_default();
                    *epoch = (*epoch).max(kept.nevra.evr.epoch);
                    users.push(at(number));
                }
            }
        }
        let taken: BTreeMap<String, usize> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(at, node)| (node.key.clone(), at))
            .collect();
        for (source, (epoch, users)) in named {
            let node = named_source_of(source, epoch, self.options);
            let to = match taken.get(&node.key) {
                Some(to) => *to,
                None => {
                    self.nodes.push(node);
                    self.nodes.len() - 1
                }
            };
            let edges = users.into_iter();
            self.edges
                .extend(edges.map(|from| (from, EdgeKind::GeneratedFrom, to)));
        }
    }
}

fn root(info: &ReleaseInfo) -> Node<'_> {
    let version = info.version.clone().filter(|version| !version.is_empty());
    let key = format!("release:{}@{}", info.name, version.as_deref().unwrap_or(""));
    let mut node = Node::new(key, Standing::Release, &info.name);
    node.kind = NodeKind::OperatingSystem;
    node.version = version;
    node.location = info.repository_url.clone();
    node.needs = Completeness::Complete;
    if let Some(index) = &info.index {
        let name = index.path.rsplit('/').next();
        node.file_name = name.map(str::to_owned);
        node.digests.list = index.digests.clone();
        node.index_location = Some(purl::located(info.repository_url.as_deref(), &index.path));
    }
    if let Some(cpe) = &info.cpe {
        node.property("release:cpe", cpe.as_str());
    }
    node
}

fn package<'a>(
    kept: &'a Kept,
    needs: &Needs,
    info: &'a ReleaseInfo,
    options: &Options,
) -> Node<'a> {
    let evr = &kept.nevra.evr;
    let mut node = Node {
        purl: Some(kept.purl.clone()),
        is_source: kept.is_source,
        kind: kept.kind,
        version: Some(format!("{}-{}", evr.version, evr.release)),
        file_name: Some(kept.nevra.file_name()),
        location: kept
            .location
            .as_deref()
            .map(|location| purl::located(info.repository_url.as_deref(), location)),
        licence: Licence::read(&kept.license),
        identities: identity(kept, info, options).into_iter().collect(),
        digests: Digests {
            list: kept.digests.clone(),
            of_content: kept.digests_are_of_content,
        },
        details: Details {
            vendor: kept.vendor.as_deref(),
            summary: Some(&*kept.summary).filter(|summary| !summary.trim().is_empty()),
            url: kept.url.as_deref(),
            built: kept.built,
            ..Details::default()
        },
        needs: match needs.unresolved.is_empty() {
            true => Completeness::Complete,
            false => Completeness::Incomplete,
        },
        documents: &kept.documents,
        ..Node::new(kept.key.clone(), Standing::Package, &kept.nevra.name)
    };
    for (name, value) in &kept.properties {
        node.property(name, value.as_str());
    }
    for (name, list) in [
        ("rpm:requires-unresolved", &needs.unresolved),
        ("rpm:requires-candidates", &needs.candidates),
        ("rpm:recommends-unresolved", &needs.unmet_wishes),
    ] {
        for text in list {
            node.property(name, text.as_str());
        }
    }
    if kept.components.is_none() {
        node.property("sbom:contents", "not looked into for this document");
    }
    node
}

/// The package under the name that says which repository it is of.
fn identity(kept: &Kept, info: &ReleaseInfo, options: &Options) -> Option<Identity> {
    let repository = info.repository_url.as_deref()?;
    let (namespace, nevra) = (&options.namespace, &kept.nevra);
    let module = kept.module.as_deref();
    let purl = purl::of_nevra(namespace, nevra, kept.is_source, module, Some(repository))?;
    Some(Identity {
        purl,
        evidence: BTreeSet::new(),
    })
}
