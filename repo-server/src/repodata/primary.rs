//! One package in `primary.xml`: what a client needs for solving.
//!
//! Sample, and the order of elements (createrepo_c `src/xml_dump_primary.c`):
//!
//! ```text
//! <package type="rpm">
//!   <name>hello</name>
//!   <arch>x86_64</arch>
//!   <version epoch="0" ver="2.12" rel="1"/>
//!   <checksum type="sha256" pkgid="YES">6f1b...</checksum>
//!   <summary>..</summary> <description>..</description> <packager>..</packager> <url>..</url>
//!   <time file="1763632800" build="1763629200"/>
//!   <size package="27104" installed="65536" archive="66012"/>
//!   <location href="Packages/h/hello-2.12-1.x86_64.rpm"/>
//!   <format>
//!     <rpm:license>..</rpm:license> <rpm:vendor>..</rpm:vendor> <rpm:group>..</rpm:group>
//!     <rpm:buildhost>..</rpm:buildhost> <rpm:sourcerpm>..</rpm:sourcerpm>
//!     <rpm:header-range start="4504" end="9120"/>
//!     <rpm:provides> <rpm:entry name="hello" flags="EQ" epoch="0" ver="2.12" rel="1"/> </rpm:provides>
//!     <rpm:requires>..</rpm:requires> and the six other lists
//!     <file>/usr/bin/hello</file>
//!   </format>
//! </package>
//! ```

use super::dependencies::{EvrText, Requires, flags_text, is_primary_path};
use super::entry::Entry;
use super::error::PackageFault;
use super::filelists::{distinct, render_file};
use super::kinds::Kind;
use super::options::Options;
use super::xml::Xml;
use repo_model::rpm::{Dependency, Package};
use sha2::{Digest, Sha256};

pub(super) const KIND: Kind = Kind {
    record_type: "primary",
    opening: "<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
              xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\"",
    closing: "</metadata>",
    render,
    option_identity: |_, _| {},
    entry_identity: |hash: &mut Sha256, entry| {
        hash.update(entry.file_size_bytes.to_be_bytes());
        hash.update(entry.added_at.unix_secs().to_be_bytes());
        hash.update((entry.href.as_str().len() as u64).to_be_bytes());
        hash.update(entry.href.as_str());
    },
};

fn render(
    xml: &mut Xml,
    entry: &Entry,
    package: &Package,
    options: &Options,
) -> Result<(), PackageFault> {
    xml.raw("<package type=\"rpm\">\n");
    xml.element("  ", "name", &package.nevra.name)?;
    xml.element("  ", "arch", &package.nevra.arch)?;
    render_version(xml, package)?;
    xml.raw("  <checksum type=\"");
    xml.raw(options.checksum.as_str());
    xml.raw("\" pkgid=\"YES\">");
    xml.raw(&entry.pkgid(options.checksum));
    xml.raw("</checksum>\n");
    xml.element("  ", "summary", &package.summary)?;
    xml.element("  ", "description", &package.description)?;
    xml.element(
        "  ",
        "packager",
        package.packager.as_deref().unwrap_or_default(),
    )?;
    xml.element("  ", "url", package.url.as_deref().unwrap_or_default())?;
    xml.raw("  <time file=\"");
    xml.signed(entry.added_at.unix_secs());
    xml.raw("\" build=\"");
    xml.signed(package.build_time.unix_secs());
    xml.raw("\"/>\n  <size");
    xml.number_attribute("package", entry.file_size_bytes);
    xml.number_attribute("installed", package.installed_size_bytes);
    xml.number_attribute("archive", package.archive_size_bytes);
    xml.raw("/>\n  <location");
    xml.attribute("href", entry.href.as_str())?;
    xml.raw("/>\n  <format>\n");
    render_format(xml, package)?;
    xml.raw("  </format>\n</package>\n");
    Ok(())
}

/// `<version .../>`, alike in all three files. A package without an epoch has `epoch="0"`.
pub(super) fn render_version(xml: &mut Xml, package: &Package) -> Result<(), PackageFault> {
    xml.raw("  <version");
    xml.number_attribute("epoch", u64::from(package.nevra.evr.epoch));
    xml.attribute("ver", &package.nevra.evr.version)?;
    xml.attribute("rel", &package.nevra.evr.release)?;
    xml.raw("/>\n");
    Ok(())
}

fn render_format(xml: &mut Xml, package: &Package) -> Result<(), PackageFault> {
    xml.element("    ", "rpm:license", &package.license)?;
    xml.element(
        "    ",
        "rpm:vendor",
        package.vendor.as_deref().unwrap_or_default(),
    )?;
    xml.element("    ", "rpm:group", &package.group)?;
    xml.element("    ", "rpm:buildhost", &package.build_host)?;
    xml.element(
        "    ",
        "rpm:sourcerpm",
        package.source_rpm.as_deref().unwrap_or_default(),
    )?;
    xml.raw("    <rpm:header-range");
    xml.number_attribute("start", package.header_range.start);
    xml.number_attribute("end", package.header_range.end);
    xml.raw("/>\n");

    let requires = Requires::of(package);
    let plain =
        |list: &'static str, entries: &mut dyn Iterator<Item = &Dependency>, xml: &mut Xml| {
            render_list(
                xml,
                list,
                &mut entries.map(|dependency| (dependency, false)),
            )
        };
    plain("provides", &mut package.provides.iter(), xml)?;
    render_list(xml, "requires", &mut requires.hard.iter().copied())?;
    plain("conflicts", &mut package.conflicts.iter(), xml)?;
    plain("obsoletes", &mut package.obsoletes.iter(), xml)?;
    plain("suggests", &mut package.suggests.iter(), xml)?;
    plain("enhances", &mut package.enhances.iter(), xml)?;
    plain("recommends", &mut requires.recommends.iter().copied(), xml)?;
    plain("supplements", &mut package.supplements.iter(), xml)?;

    for file in distinct(&package.files)
        .into_iter()
        .filter(|file| is_primary_path(&file.path))
    {
        render_file(xml, "    ", file)?;
    }
    Ok(())
}

/// One list of dependencies; nothing when it is empty. Pairs: the dependency, and whether it must
/// be there before the package's scripts run.
fn render_list(
    xml: &mut Xml,
    list: &'static str,
    entries: &mut dyn Iterator<Item = (&Dependency, bool)>,
) -> Result<(), PackageFault> {
    let mut is_open = false;
    for (dependency, pre) in entries.filter(|(dependency, _)| !dependency.name.is_empty()) {
        if !is_open {
            xml.raw("    <rpm:");
            xml.raw(list);
            xml.raw(">\n");
            is_open = true;
        }
        render_dependency(xml, list, dependency, pre)?;
    }
    if is_open {
        xml.raw("    </rpm:");
        xml.raw(list);
        xml.raw(">\n");
    }
    Ok(())
}

fn render_dependency(
    xml: &mut Xml,
    list: &'static str,
    dependency: &Dependency,
    pre: bool,
) -> Result<(), PackageFault> {
    xml.raw("      <rpm:entry");
    xml.attribute("name", &dependency.name)?;
    if let Some((flags, version)) = &dependency.version {
        let evr = EvrText::parse(version).ok_or_else(|| PackageFault::DependencyEpoch {
            list,
            name: dependency.name.clone(),
            version: version.clone(),
        })?;
        xml.attribute("flags", flags_text(*flags))?;
        for (name, value) in [
            ("epoch", evr.epoch),
            ("ver", evr.version),
            ("rel", evr.release),
        ] {
            if !value.is_empty() {
                xml.attribute(name, value)?;
            }
        }
    }
    xml.raw(if pre { " pre=\"1\"/>\n" } else { "/>\n" });
    Ok(())
}
