//! CycloneDX 1.5, 1.6 and 1.7 as JSON (schemas `bom-1.X.schema.json`, strict).
//!
//! [`fields`] has the structs, [`component`] makes components of nodes, [`links`] says how they hang
//! together, [`formulation`] how they were built. 1.7 differs where it can say more: a declared and a
//! concluded licence side by side, and the text behind each `LicenseRef-…`. 1.5 is for consumers that
//! stopped there: it cannot say who stated a licence, nor what a source package provides.

mod component;
mod fields;
mod formulation;
mod links;

use super::SbomFormat;
use super::stream::{self, Each};
use crate::SbomError;
use crate::graph::{Graph, TOOL};
use fields::{Bom, Lifecycle, Metadata, Tool, Tools};
use serde::Serialize;
use std::io::Write;
use uuid::Uuid;

pub(super) const V1_6: SbomFormat = format(&Edition::V1_6, |graph, out| {
    write(graph, out, &Edition::V1_6)
});
pub(super) const V1_7: SbomFormat = format(&Edition::V1_7, |graph, out| {
    write(graph, out, &Edition::V1_7)
});
pub(super) const V1_5: SbomFormat = format(&Edition::V1_5, |graph, out| {
    write(graph, out, &Edition::V1_5)
});

type WriteFormat = fn(&Graph<'_>, &mut dyn Write) -> Result<(), SbomError>;

const fn format(edition: &'static Edition, write: WriteFormat) -> SbomFormat {
    SbomFormat {
        name: edition.name,
        media_type: edition.media_type,
        file_suffix: edition.file_suffix,
        predicate_type: "https://cyclonedx.org/bom",
        write,
    }
}

/// What depends on the version of the specification.
struct Edition {
    version: &'static str,
    schema: &'static str,
    name: &'static str,
    media_type: &'static str,
    file_suffix: &'static str,
    /// Several expressions with details may stand in one list.
    has_many_expressions: bool,
    /// Who stated a licence, who made a component, and what a component provides.
    has_origins: bool,
}

impl Edition {
    const V1_5: Self = Self {
        version: "1.5",
        schema: "http://cyclonedx.org/schema/bom-1.5.schema.json",
        name: "cyclonedx-1.5",
        media_type: "application/vnd.cyclonedx+json; version=1.5",
        file_suffix: ".cdx15.json",
        has_many_expressions: false,
        has_origins: false,
    };
    const V1_6: Self = Self {
        version: "1.6",
        schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
        name: "cyclonedx-1.6",
        media_type: "application/vnd.cyclonedx+json; version=1.6",
        file_suffix: ".cdx.json",
        has_origins: true,
        ..Self::V1_5
    };
    const V1_7: Self = Self {
        version: "1.7",
        schema: "http://cyclonedx.org/schema/bom-1.7.schema.json",
        name: "cyclonedx-1.7",
        media_type: "application/vnd.cyclonedx+json; version=1.7",
        file_suffix: ".cdx17.json",
        has_many_expressions: true,
        ..Self::V1_6
    };
}

/// Namespace of our serial numbers: UUIDv5 of `hallmark sbom serial numbers` under the OID space.
const SERIALS: Uuid = Uuid::from_u128(0x6828_2593_c1bb_5614_87bc_ad06_5609_98f7);

/// The specification wants serial numbers to differ even between equal documents; ours are equal
/// then, because reproducing the document is worth more (as other reproducible tools decided).
fn write(graph: &Graph<'_>, out: &mut dyn Write, edition: &Edition) -> Result<(), SbomError> {
    let digest = stream::digest(&shape(graph, edition, ""))?;
    let version = edition.version;
    let name = format!("cyclonedx|{version}|{}|{digest}", graph.profile());
    let serial = format!("urn:uuid:{}", Uuid::new_v5(&SERIALS, name.as_bytes()));
    stream::write(&shape(graph, edition, &serial), out)
}

fn shape<'a>(graph: &'a Graph<'a>, edition: &'a Edition, serial: &'a str) -> impl Serialize {
    Bom {
        schema: edition.schema,
        bom_format: "CycloneDX",
        spec_version: edition.version,
        serial_number: serial,
        version: 1,
        metadata: metadata(graph, edition),
        components: Each(move || {
            let parts = graph.parts();
            let parts = parts.map(move |(at, node)| component::part(graph, edition, at, node));
            let files = graph.files.iter();
            parts.chain(files.map(move |record| component::file(graph, record)))
        }),
        dependencies: Each(move || links::dependencies(graph, edition)),
        compositions: links::compositions(graph),
        formulation: formulation::formulation(graph, edition),
    }
}

fn metadata<'a>(graph: &'a Graph<'a>, edition: &Edition) -> Metadata<'a> {
    let organization = || component::organization(graph);
    Metadata {
        timestamp: graph.created.to_string(),
        lifecycles: [Lifecycle {
            phase: match graph.build_info {
                Some(_) => "build",
                None => "post-build",
            },
        }],
        tools: Tools {
            components: [Tool {
                kind: "application",
                name: TOOL.0,
                version: TOOL.1,
            }],
        },
        manufacture: (!edition.has_origins).then(organization),
        manufacturer: edition.has_origins.then(organization),
        component: component::subject(graph, edition),
        supplier: organization(),
    }
}
