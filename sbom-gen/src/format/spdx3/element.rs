//! The fields of SPDX 3.0.1 elements that we write, under the names of its JSON-LD context.
//!
//! One struct for all classes: an element is its class's name and the fields that are filled in.

use serde::Serialize;
use std::borrow::Cow;

/// The document's only CreationInfo; blank nodes have no address of their own.
pub(super) const CREATION: &str = "_:creation";

/// What an element has not, it does not say.
trait Absent {
    fn is_absent(&self) -> bool;
}

impl<T> Absent for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T> Absent for Vec<T> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

impl Absent for &'static str {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

/// A struct whose fields are left out where they are not filled in.
macro_rules! sparse {
    ($(#[$outer:meta])* struct $name:ident<$life:lifetime> { $($(#[$inner:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$outer])*
        pub(super) struct $name<$life> {
            $(
                #[serde(skip_serializing_if = "Absent::is_absent")]
                $(#[$inner])*
                pub(super) $field: $type,
            )*
        }
    };
}

sparse! {
    #[derive(Serialize, Default)]
    #[serde(rename_all = "camelCase")]
    struct Element<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        #[serde(rename = "@id")]
        blank_id: Option<&'static str>,
        spdx_id: Option<String>,
        creation_info: Option<&'static str>,
        spec_version: Option<&'static str>,
        created: Option<String>,
        created_by: Vec<String>,
        created_using: Vec<String>,
        name: Option<Cow<'a, str>>,
        summary: Option<&'a str>,
        description: Option<&'a str>,
        comment: Option<String>,
        verified_using: Vec<Hash>,
        external_identifier: Vec<ExternalIdentifier<'a>>,
        external_ref: Vec<ExternalRef<'a>>,
        extension: Vec<Extension<'a>>,
        // SpdxDocument, software_Sbom
        data_license: Option<String>,
        root_element: Vec<String>,
        element: Vec<String>,
        profile_conformance: Vec<&'static str>,
        #[serde(rename = "software_sbomType")]
        sbom_type: Vec<&'static str>,
        // software_Package, software_File
        originated_by: Vec<String>,
        supplied_by: Option<String>,
        built_time: Option<String>,
        #[serde(rename = "software_packageVersion")]
        package_version: Option<&'a str>,
        #[serde(rename = "software_packageUrl")]
        package_url: Option<&'a str>,
        #[serde(rename = "software_downloadLocation")]
        download_location: Option<&'a str>,
        #[serde(rename = "software_homePage")]
        home_page: Option<&'a str>,
        #[serde(rename = "software_primaryPurpose")]
        primary_purpose: Option<&'static str>,
        #[serde(rename = "software_additionalPurpose")]
        additional_purpose: Vec<&'static str>,
        // licences
        #[serde(rename = "simplelicensing_licenseExpression")]
        license_expression: Option<&'a str>,
        #[serde(rename = "simplelicensing_customIdToUri")]
        custom_id_to_uri: Vec<Dictionary<'a>>,
        #[serde(rename = "simplelicensing_licenseText")]
        license_text: Option<&'a str>,
        // Relationship
        from: Option<String>,
        relationship_type: Option<&'static str>,
        to: Vec<String>,
        completeness: Option<&'static str>,
        scope: Option<&'static str>,
        // build_Build
        #[serde(rename = "build_buildType")]
        build_type: Option<&'static str>,
        #[serde(rename = "build_buildId")]
        build_id: Option<String>,
        #[serde(rename = "build_parameter")]
        parameter: Vec<Dictionary<'a>>,
    }
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
