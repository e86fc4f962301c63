//! The fields of CycloneDX that we write, in the order in which its schema has them.

use serde::Serialize;
use std::borrow::Cow;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bom<'a, C, D> {
    #[serde(rename = "$schema")]
    pub(super) schema: &'static str,
    pub(super) bom_format: &'static str,
    pub(super) spec_version: &'static str,
    pub(super) serial_number: &'a str,
    pub(super) version: u32,
    pub(super) metadata: Metadata<'a>,
    pub(super) components: C,
    pub(super) dependencies: D,
    pub(super) compositions: Vec<Composition<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) formulation: Vec<Formula<'a>>,
}

#[derive(Serialize)]
pub(super) struct Metadata<'a> {
    pub(super) timestamp: String,
    pub(super) lifecycles: [Lifecycle; 1],
    pub(super) tools: Tools,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) manufacture: Option<Organization<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) manufacturer: Option<Organization<'a>>,
    pub(super) component: Component<'a>,
    pub(super) supplier: Organization<'a>,
}

#[derive(Serialize)]
pub(super) struct Lifecycle {
    pub(super) phase: &'static str,
}

#[derive(Serialize)]
pub(super) struct Tools {
    pub(super) components: [Tool; 1],
}

#[derive(Serialize)]
pub(super) struct Tool {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) name: &'static str,
    pub(super) version: &'static str,
}

#[derive(Serialize)]
pub(super) struct Organization<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) url: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) contact: Vec<Contact<'a>>,
}

#[derive(Serialize)]
pub(super) struct Contact<'a> {
    pub(super) email: &'a str,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Component<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(rename = "bom-ref", skip_serializing_if = "Option::is_none")]
    pub(super) bom_ref: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) supplier: Option<Organization<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) manufacturer: Option<Organization<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) publisher: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<&'a str>,
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) licenses: Vec<License<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpe: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) purl: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pedigree: Option<Pedigree<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) external_references: Vec<Reference<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) evidence: Option<Found<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) properties: Vec<Property<'a>>,
}

#[derive(Serialize)]
pub(super) struct Hash {
    pub(super) alg: &'static str,
    pub(super) content: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct License<'a> {
    pub(super) expression: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) expression_details: Vec<LicenseDetail<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acknowledgement: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LicenseDetail<'a> {
    pub(super) license_identifier: &'a str,
    pub(super) text: Text<'a>,
}

#[derive(Serialize)]
pub(super) struct Text<'a> {
    pub(super) content: &'a str,
}

#[derive(Serialize)]
pub(super) struct Pedigree<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ancestors: Vec<Component<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) patches: Vec<Patch>,
}

#[derive(Serialize)]
pub(super) struct Patch {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) diff: Diff,
}

#[derive(Serialize)]
pub(super) struct Diff {
    pub(super) url: String,
}

#[derive(Serialize)]
pub(super) struct Reference<'a> {
    pub(super) url: Cow<'a, str>,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comment: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hashes: Vec<Hash>,
}

#[derive(Serialize)]
pub(super) struct Found<'a> {
    pub(super) identity: Claims<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) occurrences: Vec<Occurrence<'a>>,
}

/// 1.5 has one claim where later versions have a list.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Claims<'a> {
    One(IdentityClaim<'a>),
    Many(Vec<IdentityClaim<'a>>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IdentityClaim<'a> {
    pub(super) field: &'static str,
    pub(super) confidence: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) concluded_value: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) methods: Vec<Method<'a>>,
}

#[derive(Serialize)]
pub(super) struct Method<'a> {
    pub(super) technique: &'static str,
    pub(super) confidence: f64,
    pub(super) value: &'a str,
}

#[derive(Serialize)]
pub(super) struct Occurrence<'a> {
    pub(super) location: &'a str,
}

#[derive(Serialize)]
pub(super) struct Property<'a> {
    pub(super) name: &'a str,
    pub(super) value: Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Edges<'a> {
    #[serde(rename = "ref")]
    pub(super) from: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) depends_on: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) provides: Vec<&'a str>,
}

#[derive(Serialize)]
pub(super) struct Composition<'a> {
    pub(super) aggregate: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) assemblies: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) dependencies: Vec<&'a str>,
}

#[derive(Serialize)]
pub(super) struct Formula<'a> {
    #[serde(rename = "bom-ref")]
    pub(super) bom_ref: &'static str,
    pub(super) components: Vec<Component<'a>>,
    pub(super) workflows: [Workflow<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Workflow<'a> {
    #[serde(rename = "bom-ref")]
    pub(super) bom_ref: &'static str,
    pub(super) uid: String,
    pub(super) name: &'static str,
    pub(super) task_types: [&'static str; 1],
    pub(super) inputs: Vec<Input<'a>>,
    pub(super) outputs: Vec<Output<'a>>,
    pub(super) properties: Vec<Property<'a>>,
}

#[derive(Serialize)]
pub(super) struct Input<'a> {
    pub(super) resource: ResourceRef<'a>,
}

#[derive(Serialize)]
pub(super) struct Output<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) resource: ResourceRef<'a>,
}

#[derive(Serialize)]
pub(super) struct ResourceRef<'a> {
    #[serde(rename = "ref")]
    pub(super) to: &'a str,
}
