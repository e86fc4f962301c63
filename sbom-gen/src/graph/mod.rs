//! The one model that every document is written from: what the document is about, what that was
//! made from, what is inside it, its files, and how they hang together. Everything is sorted here,
//! so that no format can depend on the order in which facts were found.
//!
//! Three scopes become a graph: one package ([`package`]), a build ([`build`]), a release
//! ([`release`]).

mod build;
mod package;
mod release;

pub(crate) use package::{kind_of, spelled};

use crate::Options;
use crate::component::{Evidence, Scope};
use crate::hashes::Algorithm;
use crate::inventory::FileRecord;
use crate::licence::Licence;
use crate::merge::Identity;
use repo_model::Timestamp;
use repo_model::buildinfo::BuildInfo;
use std::collections::{BTreeMap, BTreeSet};

/// Name and version of the tool, as documents give them.
pub(crate) const TOOL: (&str, &str) = ("hallmark-sbom-gen", env!("CARGO_PKG_VERSION"));

/// What a node is to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeKind {
    /// A program to run.
    Application,
    /// Code that others link or load.
    Library,
    /// Code for a device.
    Firmware,
    /// A whole distribution.
    OperatingSystem,
}

/// What a node is to the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A package that the document was made from.
    Package,
    /// A source package of which only the file name is known.
    NamedSource,
    /// Something inside packages.
    Part,
    /// What an upstream published, from which a source package was made.
    Upstream,
    /// A package of the build environment.
    Tool,
    /// A repository's release.
    Release,
}

/// How one node relates to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EdgeKind {
    /// The second is inside the first.
    Contains,
    /// The first was made from the second.
    GeneratedFrom,
    /// The first needs the second to run.
    DependsOn,
    /// The first needs the second while it is installed or removed.
    DependsOnToInstall,
    /// Building the first takes the second.
    DependsOnToBuild,
    /// The first is better with the second.
    DependsOptionally,
    /// The first was built with the second.
    BuiltWith,
}

/// The edges that say that one package needs another.
pub(crate) const NEEDS: [EdgeKind; 3] = [
    EdgeKind::DependsOn,
    EdgeKind::DependsOnToInstall,
    EdgeKind::DependsOnToBuild,
];

/// What a package's header says for people to read; empty for all that has no header.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Details<'a> {
    pub(crate) vendor: Option<&'a str>,
    pub(crate) summary: Option<&'a str>,
    pub(crate) description: Option<&'a str>,
    pub(crate) url: Option<&'a str>,
    pub(crate) bug_url: Option<&'a str>,
    pub(crate) vcs: Option<&'a str>,
    pub(crate) built: Option<Timestamp>,
}

/// Digests of what one gets when one gets a package.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    /// Sorted (algorithm, lowercase hex).
    pub(crate) list: Vec<(Algorithm, String)>,
    /// Of main header and payload: all of the file that signing does not change.
    pub(crate) of_content: bool,
}

/// Whether all that a node needs is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Completeness {
    /// Nothing was looked at.
    Unknown,
    /// Something is named that was not found, or was not looked into.
    Incomplete,
    /// Everything that it names was found.
    Complete,
}

/// One package-like thing.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    /// Unique within the document; the package URL where there is one.
    pub(crate) key: String,
    pub(crate) purl: Option<String>,
    pub(crate) standing: Standing,
    pub(crate) is_source: bool,
    pub(crate) kind: NodeKind,
    pub(crate) group: Option<&'a str>,
    pub(crate) name: &'a str,
    pub(crate) version: Option<String>,
    pub(crate) file_name: Option<String>,
    /// Where to get it: an absolute URL, or one relative to the document.
    pub(crate) location: Option<String>,
    /// Of a release: where the file is that names all others.
    pub(crate) index_location: Option<String>,
    /// As it states it; of a release, what follows from its packages'.
    pub(crate) licence: Option<Licence>,
    pub(crate) scope: Scope,
    /// Sorted (name, value).
    pub(crate) properties: BTreeSet<(String, String)>,
    /// The same package under other package URLs, each with the reasons; sorted.
    pub(crate) identities: Vec<Identity>,
    pub(crate) evidence: Option<&'a BTreeSet<Evidence>>,
    /// The compiled file that a part was linked into; the package's own file otherwise.
    pub(crate) held_in: Option<&'a FileRecord>,
    /// Index of the package that one gets it with: its own, or the first one that holds it.
    pub(crate) package: usize,
    pub(crate) digests: Digests,
    pub(crate) details: Details<'a>,
    /// Whether all that it needs is known.
    pub(crate) needs: Completeness,
    /// Documents about this package alone: (URL, SHA-256 or empty), sorted.
    pub(crate) documents: &'a [(String, String)],
}

impl<'a> Node<'a> {
    /// A node with a name and nothing else.
    fn new(key: String, standing: Standing, name: &'a str) -> Self {
        Self {
            key,
            purl: None,
            standing,
            is_source: false,
            kind: NodeKind::Library,
            group: None,
            name,
            version: None,
            file_name: None,
            location: None,
            index_location: None,
            licence: None,
            scope: Scope::Required,
            properties: BTreeSet::new(),
            identities: Vec::new(),
            evidence: None,
            held_in: None,
            package: 0,
            digests: Digests::default(),
            details: Details::default(),
            needs: Completeness::Unknown,
            documents: &[],
        }
    }

    /// `group/name`, or the name alone.
    pub(crate) fn full_name(&self) -> String {
        match self.group {
            Some(group) => format!("{group}/{}", self.name),
            None => self.name.to_owned(),
        }
    }

    /// Whether one gets it as a file of its own: a package, a tool of which it is known, or a release by the
    /// file that names all others.
    pub(crate) fn is_file(&self) -> bool {
        match self.standing {
            Standing::Package => true,
            Standing::Release | Standing::Tool => self.file_name.is_some(),
            _ => false,
        }
    }

    fn property(&mut self, name: &str, value: impl Into<String>) {
        self.properties.insert((name.to_owned(), value.into()));
    }
}

/// What a file of a source package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceRole {
    /// An archive or another input; with the node of what it was taken from, where that is known.
    Source(Option<usize>),
    /// A change to the sources.
    Patch,
}

/// All that a document says.
pub(crate) struct Graph<'a> {
    pub(crate) options: &'a Options,
    pub(crate) created: Timestamp,
    /// `name-[epoch:]version-release.arch`, or the release's name and version.
    pub(crate) name: String,
    /// What the document is about first, then what it came from, then what is inside, sorted by key.
    pub(crate) nodes: Vec<Node<'a>>,
    /// (from, kind, to), indexes into `nodes`, sorted.
    pub(crate) edges: Vec<(usize, EdgeKind, usize)>,
    /// Regular files and links of the root, sorted by path; empty unless the options ask for them.
    pub(crate) files: Vec<&'a FileRecord>,
    /// What the files of a source package are for, by path.
    pub(crate) source_roles: BTreeMap<&'a str, SourceRole>,
    /// How it was built, where that was recorded.
    pub(crate) build_info: Option<&'a BuildInfo>,
    /// Every `LicenseRef-…` in use with its text.
    pub(crate) licence_texts: BTreeMap<String, String>,
}

impl<'a> Graph<'a> {
    /// What the document is about.
    pub(crate) fn root(&self) -> &Node<'a> {
        &self.nodes[0]
    }

    /// Whether it is about a whole release.
    pub(crate) fn is_release(&self) -> bool {
        self.root().standing == Standing::Release
    }

    /// The edges of one kind that start at `from`, in order.
    fn edges_of(&self, from: usize, kind: EdgeKind) -> &[(usize, EdgeKind, usize)] {
        let at = (from, kind);
        let start = self.edges.partition_point(|edge| (edge.0, edge.1) < at);
        let count = self.edges[start..].partition_point(|edge| (edge.0, edge.1) == at);
        &self.edges[start..start + count]
    }

    /// The nodes that stand in this relation to `from`, in order.
    pub(crate) fn targets(&self, from: usize, kind: EdgeKind) -> impl Iterator<Item = &Node<'a>> {
        let edges = self.edges_of(from, kind).iter();
        edges.map(|edge| &self.nodes[edge.2])
    }

    /// Every node that is in relation to others, with them, in order.
    pub(crate) fn groups(
        &self,
        kind: EdgeKind,
    ) -> impl Iterator<Item = (&Node<'a>, Vec<&Node<'a>>)> {
        (0..self.nodes.len()).filter_map(move |from| {
            let targets: Vec<_> = self.targets(from, kind).collect();
            (!targets.is_empty()).then(|| (&self.nodes[from], targets))
        })
    }

    /// All nodes of the given standings but the root, with their index.
    fn standing(&self, among: &'static [Standing]) -> impl Iterator<Item = (usize, &Node<'a>)> {
        let nodes = self.nodes.iter().enumerate().skip(1);
        nodes.filter(move |(_, node)| among.contains(&node.standing))
    }

    /// What is a component of its own: packages and what is inside them; in a release, source
    /// packages that are only named as well, because many packages come from one.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (usize, &Node<'a>)> {
        self.standing(match self.is_release() {
            true => &[Standing::Package, Standing::Part, Standing::NamedSource],
            false => &[Standing::Package, Standing::Part],
        })
    }

    /// The build environment.
    pub(crate) fn tools(&self) -> impl Iterator<Item = &Node<'a>> {
        self.standing(&[Standing::Tool]).map(|(_, node)| node)
    }

    /// The packages whose `.rpm` the document was made from, root included.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &Node<'a>> {
        let nodes = self.nodes.iter();
        nodes.filter(|node| node.standing == Standing::Package)
    }

    /// The package that one gets a node with: itself, or the one that holds it.
    pub(crate) fn package_of(&self, node: &Node<'_>) -> &Node<'a> {
        &self.nodes[node.package]
    }

    /// `files` or `package`: how much the document goes into.
    pub(crate) fn profile(&self) -> &'static str {
        match self.root().standing {
            Standing::Release => "release",
            _ if self.options.files => "files",
            _ => "package",
        }
    }

    /// Sorts what was put together and gathers the licences.
    fn finished(mut self) -> Self {
        self.edges.sort_unstable();
        self.edges.dedup();
        let references = self.nodes.iter().filter_map(|node| node.licence.as_ref());
        self.licence_texts = references
            .flat_map(|licence| licence.references.clone())
            .collect();
        self
    }
}
