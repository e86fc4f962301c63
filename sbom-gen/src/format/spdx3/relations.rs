//! The relationships of a document.

use super::element::{Dictionary, Element};
use super::{Writer, artifact_id, expression_id};
use crate::format::{ALL_LICENCES, build_facts, local_id};
use crate::graph::{Completeness, EdgeKind, Node, SourceRole, Standing};
use crate::licence::Licence;

/// How edges between packages are written: (kind, local name, type, scope, comment).
type Need = (
    EdgeKind,
    &'static str,
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
);
static NEEDS: &[Need] = &[
    (
        EdgeKind::DependsOn,
        "Needs",
        "dependsOn",
        Some("runtime"),
        None,
    ),
    (
        EdgeKind::DependsOnToInstall,
        "NeedsToInstall",
        "dependsOn",
        Some("other"),
        Some("While it is installed or removed."),
    ),
    (
        EdgeKind::DependsOnToBuild,
        "NeedsToBuild",
        "dependsOn",
        Some("build"),
        None,
    ),
    (
        EdgeKind::DependsOptionally,
        "Wants",
        "hasOptionalDependency",
        None,
        None,
    ),
];

impl<'a> Writer<'a> {
    pub(super) fn relations(&self) -> impl Iterator<Item = Element<'_>> {
        let nodes = self.graph.nodes.iter();
        self.containment()
            .chain(self.generation())
            .chain(self.origins())
            .chain(NEEDS.iter().flat_map(|need| self.needs(need)))
            .chain(self.build())
            .chain(nodes.flat_map(|node| self.facts(node)))
    }

    fn relationship(
        &self,
        local: &str,
        from: String,
        kind: &'static str,
        to: Vec<String>,
    ) -> Element<'a> {
        Element {
            from: Some(from),
            relationship_type: Some(kind),
            to,
            ..self.element("Relationship", local)
        }
    }

    fn containment(&self) -> impl Iterator<Item = Element<'a>> {
        let parts = self.graph.groups(EdgeKind::Contains).map(|(node, parts)| {
            let local = local_id("ContainsPackages", node.name, &node.key);
            let parts = parts.into_iter().map(|node| self.node_id(node)).collect();
            Element {
                completeness: Some(match node.standing {
                    Standing::Release => "complete",
                    _ => "incomplete",
                }),
                ..self.relationship(&local, self.node_id(node), "contains", parts)
            }
        });
        let files: Vec<_> = self
            .graph
            .files
            .iter()
            .map(|file| self.file_id(file))
            .collect();
        let root = self.node_id(self.graph.root());
        let files = (!files.is_empty()).then(|| Element {
            completeness: Some("complete"),
            ..self.relationship("ContainsFiles", root, "contains", files)
        });
        parts.chain(self.nothing_but_the_index()).chain(files)
    }

    /// Of a release without packages, that it has none: it holds the file that would name them, and that
    /// is all.
    fn nothing_but_the_index(&self) -> Option<Element<'a>> {
        let root = self.graph.root();
        let is_empty = root.standing == Standing::Release && self.graph.nodes.len() == 1;
        (is_empty && root.is_file()).then(|| Element {
            completeness: Some("complete"),
            ..self.relationship(
                &local_id("ContainsPackages", root.name, &root.key),
                self.node_id(root),
                "contains",
                vec![self.id(&artifact_id(root))],
            )
        })
    }

    fn generation(&self) -> impl Iterator<Item = Element<'a>> {
        let made = self.graph.groups(EdgeKind::GeneratedFrom);
        made.flat_map(move |(node, sources)| {
            sources.into_iter().map(move |source| {
                let unique = format!("{}|{}", source.key, node.key);
                let local = local_id("Generates", node.name, &unique);
                let to = vec![self.node_id(node)];
                self.relationship(&local, self.node_id(source), "generates", to)
            })
        })
    }

    /// Where the files of a source package are from, and what changes them. Which source a patch is
    /// for is the spec's to say, so it is a patch for the package.
    fn origins(&self) -> impl Iterator<Item = Element<'a>> {
        let files = self.graph.files.iter().copied();
        let roles = files
            .filter_map(|file| Some((file, *self.graph.source_roles.get(file.path.as_str())?)));
        let (mut published, mut patches) = (Vec::new(), Vec::new());
        for (file, role) in roles {
            let to = self.file_id(file);
            match role {
                SourceRole::Patch => patches.push(to),
                SourceRole::Source(None) => {}
                SourceRole::Source(Some(origin)) => {
                    let local = local_id("Published", "", &file.path);
                    let from = self.node_id(&self.graph.nodes[origin]);
                    published.push(self.relationship(&local, from, "generates", vec![to]));
                }
            }
        }
        let patched = (!patches.is_empty()).then(|| {
            let root = self.node_id(self.graph.root());
            self.relationship("Patched", root, "patchedBy", patches)
        });
        published.into_iter().chain(patched)
    }

    fn needs(&self, need: &'static Need) -> impl Iterator<Item = Element<'a>> {
        let (kind, local, relation, scope, comment) = *need;
        self.graph.groups(kind).map(move |(node, others)| {
            let local = local_id(local, node.name, &node.key);
            let others = others.into_iter().map(|node| self.node_id(node)).collect();
            let mut relation = self.relationship(&local, self.node_id(node), relation, others);
            if scope.is_some() {
                relation.kind = "LifecycleScopedRelationship";
            }
            Element {
                scope,
                comment: comment.map(str::to_owned),
                completeness: Some(match node.needs {
                    Completeness::Complete => "complete",
                    Completeness::Incomplete => "incomplete",
                    Completeness::Unknown => "noAssertion",
                }),
                ..relation
            }
        })
    }

    /// How it was built: what went in, with which tools, what came out.
    fn build(&self) -> impl Iterator<Item = Element<'a>> {
        let built = self.graph.build_info.map(|info| {
            let facts = build_facts(info).into_iter();
            let build = Element {
                build_type: Some("https://rpm.org/rpmbuild"),
                build_id: Some(info.source.header_sha256.to_hex()),
                parameter: facts
                    .map(|(name, value)| Dictionary {
                        kind: "DictionaryEntry",
                        key: name,
                        value,
                    })
                    .collect(),
                ..self.element("build_Build", "Build")
            };
            let all = |nodes: &mut dyn Iterator<Item = &Node<'_>>| -> Vec<String> {
                nodes.map(|node| self.node_id(node)).collect()
            };
            let made = all(&mut self.graph.packages().skip(1));
            let links = [
                (
                    "BuildInput",
                    "hasInput",
                    vec![self.node_id(self.graph.root())],
                ),
                ("BuildTools", "usesTool", all(&mut self.graph.tools())),
                ("BuildOutput", "hasOutput", made),
            ];
            let links = links.into_iter().filter(|(_, _, to)| !to.is_empty());
            let links = links.map(|(local, kind, to)| Element {
                kind: "LifecycleScopedRelationship",
                scope: Some("build"),
                ..self.relationship(local, self.id("Build"), kind, to)
            });
            std::iter::once(build).chain(links.collect::<Vec<_>>())
        });
        built.into_iter().flatten()
    }

    /// Licences and file of one package.
    fn facts(&self, node: &'a Node<'a>) -> impl Iterator<Item = Element<'a>> {
        let local = |kind| local_id(kind, node.name, &node.key);
        let from = || self.node_id(node);
        let licence_id = |licence: &Licence| vec![self.id(&expression_id(&licence.expression))];
        let stated = node.licence.as_ref();
        let stated = stated.filter(|_| node.standing != Standing::Release);
        let declared = stated.map(|licence| Element {
            comment: Some(format!("As written: {}", licence.raw)),
            ..self.relationship(
                &local("Declared"),
                from(),
                "hasDeclaredLicense",
                licence_id(licence),
            )
        });
        if !node.is_file() && node.standing != Standing::Part {
            return [declared, None, None].into_iter().flatten();
        }
        // What comes inside a package is distributed under the package's licence unless it
        // states its own: a package's licence tag covers all of its content.
        let own = node.licence.as_ref();
        let concluded = own
            .or(self.graph.package_of(node).licence.as_ref())
            .map(|licence| Element {
                comment: match (node.standing, own) {
                    (Standing::Release, _) => Some(ALL_LICENCES.to_owned()),
                    (_, None) => Some("The licence of the package that holds it.".to_owned()),
                    (_, Some(_)) => None,
                },
                ..self.relationship(
                    &local("Concluded"),
                    from(),
                    "hasConcludedLicense",
                    licence_id(licence),
                )
            });
        let file = match node.held_in {
            Some(file) => self.file_id(file),
            None => self.id(&artifact_id(self.graph.package_of(node))),
        };
        let artifact = "hasDistributionArtifact";
        let artifact = self.relationship(&local("Artifact"), from(), artifact, vec![file]);
        [declared, concluded, Some(artifact)].into_iter().flatten()
    }
}
