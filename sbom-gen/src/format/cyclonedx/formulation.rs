//! How a build was made: the toolchain, what went in and what came out.

use super::Edition;
use super::component::tool;
use super::fields::{Formula, Input, Output, Property, ResourceRef, Workflow};
use crate::format::build_facts;
use crate::graph::Graph;

/// One formula for a build whose buildinfo is known; none otherwise.
pub(super) fn formulation<'a>(graph: &'a Graph<'a>, edition: &Edition) -> Vec<Formula<'a>> {
    let Some(info) = graph.build_info else {
        return Vec::new();
    };
    let tools = graph.tools().map(|node| tool(edition, node));
    let to = |key| ResourceRef { to: key };
    let made = graph.packages().skip(1);
    let facts = build_facts(info).into_iter();
    vec![Formula {
        bom_ref: "formulation:build",
        components: tools.collect(),
        workflows: [Workflow {
            bom_ref: "workflow:build",
            uid: format!("rpmbuild:{}", info.source.header_sha256.to_hex()),
            name: "rpmbuild",
            task_types: ["build"],
            inputs: vec![Input {
                resource: to(graph.root().key.as_str()),
            }],
            outputs: made
                .map(|node| Output {
                    kind: "artifact",
                    resource: to(node.key.as_str()),
                })
                .collect(),
            properties: facts
                .map(|(name, value)| Property {
                    name,
                    value: value.into(),
                })
                .collect(),
        }],
    }]
}
