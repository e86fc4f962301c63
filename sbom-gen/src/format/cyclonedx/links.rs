//! How components hang together: dependencies, and what is known to be complete.

use super::Edition;
use super::fields::{Composition, Edges};
use crate::graph::{Completeness, EdgeKind, Graph, NEEDS, Node, Standing};
use std::collections::{BTreeMap, BTreeSet};

/// What is inside counts as depended on: that is where consumers look. A source package `provides`
/// what was made from it, which is how consumers of CycloneDX read that link.
pub(super) fn dependencies<'a>(
    graph: &'a Graph<'a>,
    edition: &Edition,
) -> impl Iterator<Item = Edges<'a>> {
    let mut provided: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    if edition.has_origins {
        for (made, sources) in graph.groups(EdgeKind::GeneratedFrom) {
            for source in sources {
                provided.entry(&source.key).or_default().push(&made.key);
            }
        }
    }
    let root = std::iter::once((0, graph.root()));
    root.chain(graph.parts()).map(move |(at, node)| {
        let needed = NEEDS.iter().flat_map(|kind| graph.targets(at, *kind));
        let all = needed.chain(graph.targets(at, EdgeKind::Contains));
        let keys: BTreeSet<&str> = all.map(|node| node.key.as_str()).collect();
        Edges {
            from: &node.key,
            depends_on: keys.into_iter().collect(),
            provides: provided.remove(node.key.as_str()).unwrap_or_default(),
        }
    })
}

/// What is complete: a release lists all of its packages, and what each needs as far as that was
/// found; more may be inside any package than was found there.
pub(super) fn compositions<'a>(graph: &'a Graph<'a>) -> Vec<Composition<'a>> {
    let root = graph.root().key.as_str();
    if !graph.is_release() {
        return vec![Composition {
            aggregate: "incomplete",
            assemblies: vec![root],
            dependencies: vec![root],
        }];
    }
    let packages = |wanted: &dyn Fn(&Node<'_>) -> bool| -> Vec<&'a str> {
        let packages = graph.packages().filter(|node| wanted(node));
        packages.map(|node| node.key.as_str()).collect()
    };
    let is_open = |node: &Node<'_>| {
        let names = node.properties.iter().map(|(name, _)| name.as_str());
        names.into_iter().any(|name| name == "sbom:contents")
    };
    let sources: Vec<_> = graph
        .parts()
        .filter(|(_, node)| node.standing == Standing::NamedSource)
        .map(|(_, node)| node.key.as_str())
        .collect();
    let all = [
        Composition {
            aggregate: "complete",
            assemblies: vec![root],
            dependencies: packages(&|node| node.needs == Completeness::Complete),
        },
        Composition {
            aggregate: "incomplete",
            assemblies: packages(&|node| !is_open(node)),
            dependencies: packages(&|node| node.needs == Completeness::Incomplete),
        },
        Composition {
            aggregate: "unknown",
            assemblies: packages(&is_open),
            dependencies: sources,
        },
    ];
    let has_any =
        |one: &Composition<'_>| !one.assemblies.is_empty() || !one.dependencies.is_empty();
    all.into_iter().filter(has_any).collect()
}
