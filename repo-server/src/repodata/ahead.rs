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
use std::ops::Range;

/// A package that was rendered: where it stands in the text of each file.
struct Rendered {
    entry: Entry,
    /// In the order of the kinds.
    ranges: Vec<Range<usize>>,
}

/// Makes the frames of groups for a later build with the same options.
pub(crate) struct Ahead<'a> {
    options: &'a Options,
    cache: &'a dyn FrameCache,
    encoder: Encoder,
    /// The packages of the group under way.
    group: Vec<Rendered>,
    /// Their texts by kind, in the order in which they came.
    texts: Vec<Vec<u8>>,
    /// A group's part of one file, in the order of the list.
    open: Vec<u8>,
}

impl<'a> Ahead<'a> {
    /// `cache`: where the build will look for them.
    pub fn new(options: &'a Options, cache: &'a dyn FrameCache) -> Result<Self, MetadataError> {
        Ok(Self {
            options,
            cache,
            encoder: encoder(options.frame_codec(), "a group")?,
            group: Vec::new(),
            texts: vec![Vec::new(); kinds(options).len()],
            open: Vec::new(),
        })
    }

    /// Forgets the packages of a group that was not made.
    pub fn begin_group(&mut self) {
        self.group.clear();
        self.texts.iter_mut().for_each(Vec::clear);
    }

    /// Renders a package of the group for all files; fails where a build with these options would.
    pub fn render(&mut self, entry: Entry, package: &Package) -> Result<(), PackageFault> {
        let mut ranges = Vec::with_capacity(self.texts.len());
        for (kind, text) in kinds(self.options).iter().zip(&mut self.texts) {
            let start = text.len();
            let mut xml = Xml::after(std::mem::take(text));
            let rendered = (kind.render)(&mut xml, &entry, package, self.options);
            *text = xml.into_bytes();
            rendered?;
            ranges.push(start..text.len());
        }
        self.group.push(Rendered { entry, ranges });
        Ok(())
    }

    /// Makes the frames of the packages that were rendered since [`Self::begin_group`], which are expected to be a
    /// group; their order does not matter.
    pub fn make(&mut self) -> Result<(), MetadataError> {
        self.group.sort_by(|a, b| a.entry.order(&b.entry));
        for (number, (kind, text)) in kinds(self.options).iter().zip(&self.texts).enumerate() {
            let entries = self.group.iter().map(|package| &package.entry);
            let key = kind.frame_key(entries, self.options);
            self.open.clear();
            for package in &self.group {
                self.open
                    .extend_from_slice(&text[package.ranges[number].clone()]);
            }
            let frame = encode(&mut self.encoder, &self.open, kind.record_type)?;
            self.cache.put(&key, &frame);
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
    use std::sync::Arc;

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
                nevra: Arc::new(package.nevra.clone()),
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
                ahead.begin_group();
                // Their order on the way in does not matter.
                for entry in entries[group].iter().rev() {
                    ahead
                        .render(entry.clone(), &packages[&entry.file_digest])
                        .unwrap();
                }
                ahead.make().unwrap();
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
