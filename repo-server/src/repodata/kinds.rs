//! The files made of a package list, one row each: primary, filelists, other, and filelists-ext on
//! request.

use super::checksum::ChecksumType;
use super::entry::Entry;
use super::error::PackageFault;
use super::options::Options;
use super::xml::Xml;
use super::{filelists, filelists_ext, other, primary};
use repo_model::rpm::Package;
use repo_model::{FileDigest, Timestamp};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Counts up when what a renderer or a compressor writes changes, so that frames cached by an older program are
/// not used.
const RENDERING: u32 = 5;

/// One file that lists all packages.
pub(super) struct Kind {
    /// `type` in `repomd.xml`, and the file's name before `.xml`.
    pub record_type: &'static str,
    /// The root element's start up to the number of packages.
    pub opening: &'static str,
    /// The root element's end.
    pub closing: &'static str,
    /// Appends one package.
    pub render: fn(&mut Xml, &Entry, &Package, &Options) -> Result<(), PackageFault>,
    /// Feeds a cache key with what of the options and of an entry, beside its file digest, reaches
    /// the rendering.
    pub option_identity: fn(&mut Sha256, &Options),
    pub entry_identity: fn(&mut Sha256, &Entry),
}

pub(super) static KINDS: &[Kind] = &[
    primary::KIND,
    filelists::KIND,
    other::KIND,
    filelists_ext::KIND,
];

/// The rows that these options ask for, in the order of `KINDS`.
pub(super) fn kinds(options: &Options) -> &'static [Kind] {
    match options.filelists_ext {
        true => KINDS,
        false => &KINDS[..KINDS.len() - 1],
    }
}

impl Kind {
    /// The file's beginning: XML declaration and root element.
    pub fn header(&self, packages: usize) -> Vec<u8> {
        let mut xml = Xml::default();
        xml.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        xml.raw(self.opening);
        xml.number_attribute("packages", packages as u64);
        xml.raw(">\n");
        xml.into_bytes()
    }

    /// The cache key of a group: SHA-256 over everything that its frame depends on.
    pub fn frame_key<'a>(
        &self,
        group: impl IntoIterator<Item = &'a Entry>,
        options: &Options,
    ) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"hallmark repodata frame\0");
        hash.update(RENDERING.to_be_bytes());
        hash.update(self.record_type);
        hash.update([0]);
        hash.update(options.frame_codec().cache_tag());
        hash.update(options.checksum.as_str());
        (self.option_identity)(&mut hash, options);
        for entry in group {
            hash.update(entry.file_digest.as_bytes());
            if let (ChecksumType::Sha512, Some(sha512)) = (options.checksum, &entry.sha512) {
                hash.update(sha512.as_bytes());
            }
            (self.entry_identity)(&mut hash, entry);
        }
        hash.finalize().into()
    }
}

/// Whether a package can be written as metadata at all. For intake: what fails here must be
/// refused when it is uploaded, since it would stop every later publish.
pub fn check_package(package: &Package) -> Result<(), PackageFault> {
    let entry = Entry {
        nevra: Arc::new(package.nevra.clone()),
        file_digest: FileDigest::from_bytes([0; 32]),
        sha512: None,
        file_size_bytes: 0,
        href: super::Href::placeholder(),
        added_at: Timestamp::default(),
    };
    let options = Options {
        changelog_limit: None,
        ..Options::default()
    };
    let mut xml = Xml::default();
    for kind in kinds(&options) {
        (kind.render)(&mut xml, &entry, package, &options)?;
    }
    Ok(())
}
