//! Frames made ahead of a build, while packages are read for another reason: who has to hash a whole
//! directory of packages need not open each of them a second time.
//!
//! Nothing depends on it. A group is made from the packages that are expected to be one; when the
//! list turns out otherwise, nobody asks for that frame, and the build makes the right one.

use super::assemble::{encode, encoder};
use super::cache::FrameCache;
use super::codec::Encoder;
use super::entry::Entry;
use super::error::{MetadataError, PackageFault};
use super::kinds::kinds;
use super::options::Options;
use super::xml::Xml;
use repo_model::rpm::Package;

/// A package as it stands in each file.
pub(crate) struct Rendered {
    entry: Entry,
    /// In the order of the kinds.
    parts: Vec<Vec<u8>>,
}

/// Makes the frames of groups for a later build with the same options.
pub(crate) struct Ahead<'a> {
    options: &'a Options,
    cache: &'a dyn FrameCache,
    encoder: Encoder,
    /// A group's part of one file.
    open: Vec<u8>,
    /// Memory of packages whose group is made, for the next ones.
    spare: Vec<Vec<u8>>,
}

/// More memory than this is given back to the system.
const SPARE_MAX_BYTES: usize = 256 << 10;

impl<'a> Ahead<'a> {
    /// `cache`: where the build will look for them.
    pub fn new(options: &'a Options, cache: &'a dyn FrameCache) -> Result<Self, MetadataError> {
        Ok(Self {
            options,
            cache,
            encoder: encoder(options.frame_codec(), "a group")?,
            open: Vec::new(),
            spare: Vec::new(),
        })
    }

    /// Renders a package for all files; fails where a build with these options would.
    pub fn render(&mut self, entry: Entry, package: &Package) -> Result<Rendered, PackageFault> {
        let kinds = kinds(self.options);
        let mut parts = Vec::with_capacity(kinds.len());
        for kind in kinds {
            let mut xml = Xml::after(self.spare.pop().unwrap_or_default());
            (kind.render)(&mut xml, &entry, package, self.options)?;
            parts.push(xml.into_bytes());
        }
        Ok(Rendered { entry, parts })
    }

    /// Makes the frames of packages that are expected to be a group, in any order.
    pub fn make(&mut self, mut group: Vec<Rendered>) -> Result<(), MetadataError> {
        group.sort_by(|a, b| a.entry.order(&b.entry));
        for (number, kind) in kinds(self.options).iter().enumerate() {
            let key = kind.frame_key(group.iter().map(|package| &package.entry), self.options);
            self.open.clear();
            for package in &group {
                self.open.extend_from_slice(&package.parts[number]);
            }
            let frame = encode(&mut self.encoder, &self.open, kind.record_type)?;
            self.cache.put(&key, &frame);
        }
        for mut part in group.into_iter().flat_map(|package| package.parts) {
            if part.capacity() <= SPARE_MAX_BYTES {
                part.clear();
                self.spare.push(part);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repodata::groups::groups;
    use crate::repodata::{
        Codec, Inputs, MemoryFrameCache, NoFrameCache, PackageSource, SourceError, build, sort,
    };
    use repo_model::rpm::Head;
    use repo_model::rpm::testkit::Rpm;
    use repo_model::{FileDigest, Timestamp};
    use std::borrow::Cow;
    use std::collections::HashMap;
    use std::num::NonZeroUsize;

    /// Of which nothing may be asked.
    struct Untouched;

    impl PackageSource for Untouched {
        fn load(&self, entry: &Entry) -> Result<Cow<'_, Package>, SourceError> {
            Err(format!("{} was loaded", entry.nevra).into())
        }
    }

    fn listed(count: usize) -> (Vec<Entry>, HashMap<FileDigest, Package>) {
        let (mut entries, mut packages) = (Vec::new(), HashMap::new());
        for number in 0..count {
            let bytes = Rpm::binary(&format!("p{number:03}"))
                .file(&format!("/usr/bin/p{number}"), b"x")
                .bytes();
            let package = Package::from_head(&Head::parse(&bytes).unwrap()).unwrap();
            entries.push(Entry {
                nevra: package.nevra.clone(),
                file_digest: FileDigest::of(&bytes),
                sha512: None,
                file_size_bytes: bytes.len() as u64,
                href: format!("p{number}.rpm").parse().unwrap(),
                added_at: Timestamp::default(),
            });
            packages.insert(FileDigest::of(&bytes), package);
        }
        sort(&mut entries);
        (entries, packages)
    }

    #[test]
    fn a_build_after_it_loads_no_package_and_writes_the_same() {
        let (entries, packages) = listed(300);
        for codec in [Codec::ZSTD, Codec::Gzip, Codec::Xz, Codec::None] {
            let options = Options {
                codec,
                ..Options::default()
            };
            let cache = MemoryFrameCache::new(1 << 30);
            let mut ahead = Ahead::new(&options, &cache).unwrap();
            for group in groups(&entries) {
                let mut rendered: Vec<Rendered> = entries[group]
                    .iter()
                    .map(|entry| {
                        ahead
                            .render(entry.clone(), &packages[&entry.file_digest])
                            .unwrap()
                    })
                    .collect();
                // Their order on the way in does not matter.
                rendered.reverse();
                ahead.make(rendered).unwrap();
            }
            let inputs = |packages, cache| Inputs {
                entries: &entries,
                packages,
                extras: &[],
                cache,
                workers: NonZeroUsize::MIN,
            };
            let at = Timestamp::default();
            let made = build(&inputs(&Untouched, &cache), &options, at).unwrap();
            let plain = build(&inputs(&packages, &NoFrameCache), &options, at).unwrap();
            assert!(made == plain, "{codec:?}");
        }
    }
}
