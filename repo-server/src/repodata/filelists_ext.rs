//! One package in `filelists-ext.xml`: filelists with the digest of each file, so that a client can
//! find out which package has a file of these bytes.
//!
//! ```text
//! <package pkgid="6f1b..." name="hello" arch="x86_64">
//!   <version epoch="0" ver="2.12" rel="1"/>
//!   <checksum type="sha256"/>
//!   <file hash="89c4...">/usr/bin/hello</file>
//!   <file type="dir">/usr/share/doc/hello</file>
//! </package>
//! ```
//!
//! `checksum` says what the digests are. rpm takes an absent FILEDIGESTALGO for MD5, and so do we;
//! createrepo_c writes `unknown` there. A number that rpm does not know is `unknown` here too: it
//! is never guessed from the length of the digests.

use super::entry::Entry;
use super::error::PackageFault;
use super::filelists::{distinct, file_start, open_package};
use super::kinds::Kind;
use super::options::Options;
use super::xml::Xml;
use repo_model::rpm::Package;

pub(super) const KIND: Kind = Kind {
    record_type: "filelists-ext",
    opening: "<filelists-ext xmlns=\"http://linux.duke.edu/metadata/filelists-ext\"",
    closing: "</filelists-ext>",
    render,
    option_identity: |_, _| {},
    entry_identity: |_, _| {},
};

fn render(
    xml: &mut Xml,
    entry: &Entry,
    package: &Package,
    options: &Options,
) -> Result<(), PackageFault> {
    open_package(xml, entry, package, options)?;
    xml.raw("  <checksum type=\"");
    xml.raw(algorithm_name(package.file_digest_algorithm));
    xml.raw("\"/>\n");
    for file in distinct(&package.files) {
        xml.raw("  ");
        xml.raw(file_start(file));
        if !file.digest.is_empty() {
            xml.attribute("hash", &file.digest)?;
        }
        xml.raw(">");
        xml.text("file", &file.path)?;
        xml.raw("</file>\n");
    }
    xml.raw("</package>\n");
    Ok(())
}

/// OpenPGP's hash numbers (RFC 9580 §9.5), named as createrepo_c does.
pub(crate) fn algorithm_name(number: u32) -> &'static str {
    match number {
        1 => "md5",
        2 => "sha1",
        8 => "sha256",
        9 => "sha384",
        10 => "sha512",
        11 => "sha224",
        _ => "unknown",
    }
}
