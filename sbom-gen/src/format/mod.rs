//! The formats that documents are written in: one file and one row of [`SBOM_FORMATS`] each.

mod cyclonedx;
mod spdx23;
mod spdx3;
mod stream;

use crate::graph::{Graph, Node};
use crate::{BuildInventory, Inventory, Options, Release, SbomError};
use repo_model::buildinfo::BuildInfo;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::Write;

/// One format.
pub struct SbomFormat {
    /// Name for configuration and command lines, such as `cyclonedx-1.6`.
    pub name: &'static str,
    /// Media type to serve it with.
    pub media_type: &'static str,
    /// What follows the package's file name in the document's, such as `.cdx.json`.
    pub file_suffix: &'static str,
    /// in-toto predicate type for a statement that holds such a document.
    pub predicate_type: &'static str,
    write: fn(&Graph<'_>, &mut dyn Write) -> Result<(), SbomError>,
}

impl std::fmt::Debug for SbomFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SbomFormat").field(&self.name).finish()
    }
}

impl SbomFormat {
    /// Writes one document, with a final newline.
    ///
    /// Equal inventory (in any order) and equal options give equal bytes. The document is
    /// serialised twice, once to learn its digest; it is never held in memory.
    ///
    /// [`SbomError::Write`] is the sink's, [`SbomError::Options`] the configuration's fault.
    pub fn write(
        &self,
        inventory: &Inventory,
        options: &Options,
        out: &mut dyn Write,
    ) -> Result<(), SbomError> {
        let graph = Graph::build(inventory, options)?;
        (self.write)(&graph, out)
    }

    /// Writes one document about a whole build: the source package, the sources and patches in it,
    /// every package made from it and what is inside those.
    ///
    /// * `packages`: what came out of the build, of any arch, in any order.
    /// * The time is [`Options::created`] or else the latest BUILDTIME.
    /// * Files are those of the source package; each package's own are in its own document.
    ///
    /// Errors as [`Self::write`], and [`SbomError::Build`] when they are not of one build.
    pub fn write_build(
        &self,
        source: &Inventory,
        packages: &[Inventory],
        options: &Options,
        out: &mut dyn Write,
    ) -> Result<(), SbomError> {
        let build = BuildInventory {
            source,
            packages,
            build_info: None,
        };
        self.write_whole_build(&build, options, out)
    }

    /// The same with the build environment, where that was recorded: its toolchain are build tools
    /// of every package.
    pub fn write_whole_build(
        &self,
        build: &BuildInventory<'_>,
        options: &Options,
        out: &mut dyn Write,
    ) -> Result<(), SbomError> {
        let graph = Graph::build_of(build, options)?;
        (self.write)(&graph, out)
    }

    /// Writes one document about a whole release: its packages, which of them needs which, and what
    /// is inside them where that is known.
    ///
    /// * The time is [`Options::created`], or else the release's, or else the latest BUILDTIME.
    /// * [`Options::files`] makes no difference: files are listed in each package's own document.
    ///
    /// Errors as [`Self::write`].
    pub fn write_release(
        &self,
        release: &Release,
        options: &Options,
        out: &mut dyn Write,
    ) -> Result<(), SbomError> {
        let graph = Graph::release_of(release, options);
        (self.write)(&graph, out)
    }
}

/// Every format that repositories publish, in the order of preference.
pub static SBOM_FORMATS: &[SbomFormat] = &[
    cyclonedx::V1_6,
    spdx23::V2_3,
    cyclonedx::V1_7,
    spdx3::V3_0_1,
];

/// Formats that are made on request, for consumers that know no newer one.
pub static OLDER_FORMATS: &[SbomFormat] = &[cyclonedx::V1_5];

/// The format of that name, older ones included.
pub fn format_named(name: &str) -> Option<&'static SbomFormat> {
    let all = SBOM_FORMATS.iter().chain(OLDER_FORMATS);
    all.into_iter().find(|format| format.name == name)
}

/// What the digest of a package is of, when the document was made before the package was signed.
const CONTENT_DIGEST: &str = "Digest of the main header and the payload: of the whole file but the lead and the signature header, which signing changes.";

/// Where the licence of a release is from.
const ALL_LICENCES: &str = "The licences of all packages.";

/// What a buildinfo says of a build besides its toolchain, as (name, value), sorted.
///
/// Left out: the machine and the user, which the build could not see or which do not last.
fn build_facts(info: &BuildInfo) -> Vec<(&'static str, String)> {
    let (rpmbuild, root, sandbox) = (&info.rpmbuild, &info.buildroot, &info.sandbox);
    let epoch = info.time.source_date_epoch;
    let mut facts = vec![
        ("buildroot:kind", root.kind.clone()),
        ("buildroot:lock-sha256", root.lock_sha256.to_hex()),
        ("buildroot:packages", root.packages.to_string()),
        ("rpmbuild:arguments", rpmbuild.argv.join(" ")),
        ("rpmbuild:macros-sha256", info.macros.file_sha256.to_hex()),
        ("rpmbuild:mode", rpmbuild.mode.clone()),
        ("rpmbuild:target", rpmbuild.target.clone()),
        ("rpmbuild:version", rpmbuild.version.clone()),
        (
            "sandbox:kind",
            format!("{} {}", sandbox.kind, sandbox.version),
        ),
        ("sandbox:network", sandbox.network.clone()),
    ];
    let epoch = epoch.map(|epoch| ("source-date-epoch", epoch.to_string()));
    facts.extend(epoch);
    facts.retain(|(_, value)| !value.trim().is_empty());
    facts
}

/// Why the component is believed to be there, one line for each reason.
fn evidence_text(node: &Node<'_>) -> Option<String> {
    let mut text = String::new();
    for one in node.evidence?.iter() {
        let separator = if text.is_empty() { "" } else { "\n" };
        let (how, percent) = (one.technique.as_str(), one.confidence_percent);
        let place = one.path.as_deref().unwrap_or("the package's header");
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{separator}{how} ({}, {percent} %): {place}",
            one.source
        );
    }
    Some(text)
}

/// `<kind>-<readable name>-<16 digits>`: the digits are of the SHA-256 of what is unique, because
/// names made fit for an identifier collide.
fn local_id(kind: &str, name: &str, unique: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let name: String = name
        .chars()
        .take(80)
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    let digits = hex::encode(&Sha256::digest(unique)[..8]);
    format!("{kind}-{name}-{digits}")
}

/// Where the documents of these options are addressed, without a trailing slash.
fn document_base(options: &Options) -> Result<&str, SbomError> {
    let base = options.document_base_url.trim_end_matches('/');
    web_url(base)
        .filter(|url| !url.contains('#'))
        .ok_or_else(|| SbomError::Options {
            what: "the base URL of documents",
            value: options.document_base_url.clone(),
        })
}

/// An absolute `http`, `https` or `ftp` URL that either format can hold; others are left out of
/// documents, because one bad URL tag would make the whole document invalid.
pub(crate) fn web_url(url: &str) -> Option<&str> {
    let rest = ["https://", "http://", "ftp://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme))?;
    let host = rest.split(['/', '?', '#']).next()?;
    let (name, port) = match host.strip_prefix('[') {
        Some(address) => address.split_once(']')?,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let has_host = match host.starts_with('[') {
        true => name.parse::<std::net::Ipv6Addr>().is_ok(),
        false => {
            name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
                && !name.contains("..")
        }
    };
    let has_port = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok());
    let path = &rest[host.len()..];
    let bytes = path.as_bytes();
    let is_clean = path.bytes().enumerate().all(|(i, byte)| match byte {
        b'%' => bytes
            .get(i + 1..i + 3)
            .is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)),
        b'#' => i == path.find('#').unwrap_or(i),
        b'<' | b'>' | b'"' | b'{' | b'}' | b'|' | b'\\' | b'^' | b'`' | b'[' | b']' => false,
        _ => byte.is_ascii_graphic(),
    });
    (has_host && has_port && is_clean).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clean_web_addresses_pass() {
        for good in [
            "https://a.example",
            "http://a.example:80/x?y=%20#z",
            "ftp://a/b~c",
            "http://[::1]:80/",
        ] {
            assert_eq!(web_url(good), Some(good));
        }
        for bad in [
            "",
            "a.example",
            "https://",
            "http://a b/",
            "http://a/%2",
            "http://a/#b#c",
            "javascript:alert(1)",
            "http://a:x/",
            "http://[::x]/",
            "http://a/[",
            "https://ä.example",
            "http://a..b",
        ] {
            assert_eq!(web_url(bad), None, "{bad}");
        }
    }
}
