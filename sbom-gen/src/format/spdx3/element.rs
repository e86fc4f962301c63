//! The fields of SPDX 3.0.1 elements that we write, under the names of its JSON-LD context.
//!
//! One struct for all classes: an element is its class's name and the fields that are filled in.

use serde::Serialize;
use std::borrow::Cow;

/// The document's only CreationInfo; blank nodes have no address of their own.
pub(super) const CREATION: &str = "_:creation";

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Element<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(rename = "@id", skip_serializing_if = "Option::is_none")]
    pub(super) blank_id: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) spdx_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) creation_info: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) spec_version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) created_by: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) created_using: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) summary: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comment: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) verified_using: Vec<Hash>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) external_identifier: Vec<ExternalIdentifier<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) external_ref: Vec<ExternalRef<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) extension: Vec<Extension<'a>>,
    // SpdxDocument, software_Sbom
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data_license: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) root_element: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) element: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) profile_conformance: Vec<&'static str>,
    #[serde(rename = "software_sbomType", skip_serializing_if = "Vec::is_empty")]
    pub(super) sbom_type: Vec<&'static str>,
    // software_Package, software_File
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) originated_by: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) supplied_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) built_time: Option<String>,
    #[serde(
        rename = "software_packageVersion",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) package_version: Option<&'a str>,
    #[serde(
        rename = "software_packageUrl",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) package_url: Option<&'a str>,
    #[serde(
        rename = "software_downloadLocation",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) download_location: Option<&'a str>,
    #[serde(rename = "software_homePage", skip_serializing_if = "Option::is_none")]
    pub(super) home_page: Option<&'a str>,
    #[serde(
        rename = "software_primaryPurpose",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) primary_purpose: Option<&'static str>,
    #[serde(
        rename = "software_additionalPurpose",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) additional_purpose: Vec<&'static str>,
    // licences
    #[serde(
        rename = "simplelicensing_licenseExpression",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) license_expression: Option<&'a str>,
    #[serde(
        rename = "simplelicensing_customIdToUri",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) custom_id_to_uri: Vec<Dictionary<'a>>,
    #[serde(
        rename = "simplelicensing_licenseText",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) license_text: Option<&'a str>,
    // Relationship
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) relationship_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) to: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) completeness: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<&'static str>,
    // build_Build
    #[serde(rename = "build_buildType", skip_serializing_if = "Option::is_none")]
    pub(super) build_type: Option<&'static str>,
    #[serde(rename = "build_buildId", skip_serializing_if = "Option::is_none")]
    pub(super) build_id: Option<String>,
    #[serde(rename = "build_parameter", skip_serializing_if = "Vec::is_empty")]
    pub(super) parameter: Vec<Dictionary<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hash {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comment: Option<&'static str>,
    pub(super) algorithm: &'static str,
    pub(super) hash_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExternalIdentifier<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    external_identifier_type: &'static str,
    identifier: &'a str,
}

impl<'a> ExternalIdentifier<'a> {
    /// * `kind`: a value of ExternalIdentifierType, such as `packageUrl`.
    pub(super) fn new(kind: &'static str, identifier: &'a str) -> Self {
        Self {
            kind: "ExternalIdentifier",
            external_identifier_type: kind,
            identifier,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExternalRef<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) external_ref_type: &'static str,
    pub(super) locator: [&'a str; 1],
}

#[derive(Serialize)]
pub(super) struct Dictionary<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) key: &'a str,
    pub(super) value: String,
}

#[derive(Serialize)]
pub(super) struct Extension<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "extension_cdxProperty")]
    properties: Vec<PropertyEntry<'a>>,
}

impl<'a> Extension<'a> {
    /// The extension that holds these properties; none for none.
    pub(super) fn of(properties: impl Iterator<Item = PropertyEntry<'a>>) -> Vec<Self> {
        let properties: Vec<_> = properties.collect();
        let extension = (!properties.is_empty()).then_some(Self {
            kind: "extension_CdxPropertiesExtension",
            properties,
        });
        extension.into_iter().collect()
    }
}

#[derive(Serialize)]
pub(super) struct PropertyEntry<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(rename = "extension_cdxPropName")]
    pub(super) name: &'a str,
    #[serde(rename = "extension_cdxPropValue")]
    pub(super) value: &'a str,
}
