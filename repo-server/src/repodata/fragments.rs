//! Metadata made of packages as other repositories describe them: the text of each `<package>`
//! element goes over as it is, in frames of groups like all other metadata.

use super::assemble::{FileInProgress, encode, encoder};
use super::build::{Manifest, Sink};
use super::codec::{Codec, Encoder, Frame};
use super::error::MetadataError;
use super::extras::write_extras;
use super::groups::groups_of;
use super::kinds::{Kind, kinds};
use super::options::{ExtraRecord, Options};
use super::repomd::{self, sort_records};
use repo_model::Timestamp;
use std::io;
use std::ops::Range;

/// Packages whose elements exist already, in the order in which they are to be written.
pub(crate) trait Fragments {
    /// How many packages there are.
    fn count(&self) -> usize;

    /// The name of package `number`: groups are cut by names.
    fn name(&self, number: usize) -> &str;

    /// Appends the element of package `number` in `primary`, `filelists` or `other`, with a line feed.
    fn append(&self, record_type: &str, number: usize, out: &mut Vec<u8>) -> io::Result<()>;
}

/// Makes a repository's metadata of existing elements; the counterpart of
/// [`build_into`](super::build_into), with the same order of files.
///
/// `options.filelists_ext` has no effect: digests of files are not in the lists. The changelog
/// limit has none either.
pub(crate) fn build_fragments_into(
    fragments: &dyn Fragments,
    extras: &[ExtraRecord],
    options: &Options,
    at: Timestamp,
    sink: &mut dyn Sink,
) -> Result<Manifest, MetadataError> {
    let options = &Options {
        filelists_ext: false,
        ..options.clone()
    };
    let groups = groups_of(fragments.count(), |number| fragments.name(number));
    let mut records = Vec::new();
    for (number, kind) in kinds(options).iter().enumerate() {
        let lists = if options.zchunk { 2 } else { 1 };
        let mut writer = KindWriter::new(kind, options, number * lists)?;
        writer.write(&kind.header(fragments.count()), sink)?;
        for group in &groups {
            let open = group_text(fragments, kind, group.clone())?;
            writer.write(&open, sink)?;
        }
        writer.write(kind.closing.as_bytes(), sink)?;
        records.extend(writer.finish(kind, options, sink)?);
    }
    write_extras(extras, options, &mut records, sink)?;
    sort_records(&mut records);
    Ok(Manifest {
        repomd: repomd::render(&records, options, at)?,
        records,
    })
}

fn group_text(
    fragments: &dyn Fragments,
    kind: &Kind,
    group: Range<usize>,
) -> Result<Vec<u8>, MetadataError> {
    let mut open = Vec::new();
    for number in group {
        fragments
            .append(kind.record_type, number, &mut open)
            .map_err(|source| MetadataError::Fragment {
                record_type: kind.record_type.to_owned(),
                name: fragments.name(number).to_owned(),
                source,
            })?;
    }
    Ok(open)
}

/// One list, and the same as zchunk when that is wanted.
struct KindWriter {
    record_type: &'static str,
    /// None for xz, which takes the open bytes in one stream.
    encoder: Option<Encoder>,
    list: FileInProgress,
    zchunk: Option<(FileInProgress, Encoder)>,
}

impl KindWriter {
    /// `file`: number of the list; the zchunk file has the next.
    fn new(kind: &Kind, options: &Options, file: usize) -> Result<Self, MetadataError> {
        let record_type = kind.record_type;
        let zchunk = match options.zchunk {
            true => Some((
                FileInProgress::new_zchunk(file + 1, record_type, options.checksum),
                encoder(Codec::ZSTD, record_type)?,
            )),
            false => None,
        };
        Ok(Self {
            record_type,
            encoder: match options.codec {
                Codec::Xz => None,
                codec => Some(encoder(codec, record_type)?),
            },
            list: FileInProgress::new(file, record_type, options.codec, options.checksum)?,
            zchunk,
        })
    }

    fn write(&mut self, open: &[u8], sink: &mut dyn Sink) -> Result<(), MetadataError> {
        let frame = match &mut self.encoder {
            Some(encoder) => encode(encoder, open, self.record_type)?,
            None => Frame {
                bytes: Default::default(),
                open_size_bytes: open.len() as u64,
            },
        };
        self.list.append(&frame, open, sink)?;
        if let Some((file, encoder)) = &mut self.zchunk {
            file.append(&encode(encoder, open, self.record_type)?, open, sink)?;
        }
        Ok(())
    }

    fn finish(
        self,
        kind: &Kind,
        options: &Options,
        sink: &mut dyn Sink,
    ) -> Result<Vec<repomd::Record>, MetadataError> {
        let stem = format!("{}.xml", kind.record_type);
        let list = self
            .list
            .finish(&format!("{stem}{}", options.codec.suffix()), sink)?;
        let mut records = vec![list];
        if let Some((file, _)) = self.zchunk {
            let open = records[0].content();
            records.push(file.finish_with(&format!("{stem}.zck"), Some(open), sink)?);
        }
        Ok(records)
    }
}
