//! One file under way: hashing what goes into it, and what kind of file the groups become.

use super::build::{Inputs, Sink};
use super::checksum::{ChecksumType, Hasher};
use super::codec::{Codec, Encoder, Frame, XzStream};
use super::error::MetadataError;
use super::frames::{Made, for_each_group};
use super::kinds::{Kind, kinds};
use super::options::Options;
use super::repomd::{OpenContent, Record, record_name};
use super::zchunk::{Draft, ZchunkHeader};
use std::io;

/// A file on its way into the sink.
pub(super) struct FileInProgress {
    file: usize,
    record_type: String,
    body: Body,
    hasher: Hasher,
    open: Open,
}

/// What is found out about a file's content.
enum Open {
    /// Nothing: the file is not compressed, or the caller knows it.
    Nothing,
    Size(u64),
    Sums(Box<Hasher>),
}

impl Open {
    fn add(&mut self, frame: &Frame, open: &[u8]) {
        match self {
            Self::Nothing => {}
            Self::Size(bytes) => *bytes += frame.open_size_bytes,
            Self::Sums(hasher) => hasher.update(open),
        }
    }

    fn finish(self) -> Option<OpenContent> {
        match self {
            Self::Nothing => None,
            Self::Size(bytes) => Some(OpenContent::of_size(bytes)),
            Self::Sums(hasher) => Some(OpenContent::of(*hasher)),
        }
    }
}

enum Body {
    /// The frames, one after the other.
    Frames,
    /// The content of all frames in one stream.
    Xz(XzStream),
    /// An index, then the frames.
    Zchunk(Draft),
}

impl FileInProgress {
    /// A file of this codec.
    pub fn new(
        file: usize,
        record_type: &str,
        codec: Codec,
        checksum: ChecksumType,
    ) -> Result<Self, MetadataError> {
        let body = match codec {
            Codec::Xz => {
                Body::Xz(XzStream::new().map_err(|source| compress_error(record_type, source))?)
            }
            Codec::Zstd { .. } | Codec::Gzip | Codec::None => Body::Frames,
        };
        Ok(Self {
            file,
            record_type: record_type.to_owned(),
            body,
            hasher: Hasher::new(checksum),
            open: match codec {
                Codec::None => Open::Nothing,
                Codec::Zstd { .. } | Codec::Gzip | Codec::Xz => {
                    Open::Sums(Box::new(Hasher::new(checksum)))
                }
            },
        })
    }

    /// The same, but its content is hashed only where the options want it.
    fn of_packages(file: usize, kind: &Kind, options: &Options) -> Result<Self, MetadataError> {
        let mut new = Self::new(file, kind.record_type, options.codec, options.checksum)?;
        if !options.open_checksums && matches!(new.open, Open::Sums(_)) {
            new.open = Open::Size(0);
        }
        Ok(new)
    }

    /// A zchunk file, made of zstd frames.
    pub fn new_zchunk(file: usize, record_type: &str, checksum: ChecksumType) -> Self {
        Self {
            file,
            record_type: format!("{record_type}_zck"),
            body: Body::Zchunk(Draft::default()),
            hasher: Hasher::new(checksum),
            open: Open::Nothing,
        }
    }

    /// Adds a frame. `open` is its content; it may be empty when the frame is not compressed.
    pub fn append(
        &mut self,
        frame: &Frame,
        open: &[u8],
        sink: &mut dyn Sink,
    ) -> Result<(), MetadataError> {
        self.append_keyed(frame, None, open, sink)
    }

    /// Adds a group's frame, and tells the sink whose it is.
    fn append_group(&mut self, made: &Made, sink: &mut dyn Sink) -> Result<(), MetadataError> {
        self.append_keyed(&made.frame, Some(&made.key), &made.open, sink)
    }

    fn append_keyed(
        &mut self,
        frame: &Frame,
        key: Option<&[u8; 32]>,
        open: &[u8],
        sink: &mut dyn Sink,
    ) -> Result<(), MetadataError> {
        self.open.add(frame, open);
        match &mut self.body {
            Body::Frames => self.emit(&frame.bytes, key, sink),
            Body::Xz(stream) => {
                let made = stream
                    .write(open)
                    .map_err(|source| compress_error(&self.record_type, source))?;
                self.emit(&made, None, sink)
            }
            Body::Zchunk(draft) => {
                draft.push(frame, key);
                Ok(())
            }
        }
    }

    /// Completes the file; `stem` is its name without the digest.
    pub fn finish(self, stem: &str, sink: &mut dyn Sink) -> Result<Record, MetadataError> {
        self.finish_with(stem, None, sink)
    }

    /// Completes the file; `open` is its content where it is known already.
    pub fn finish_with(
        mut self,
        stem: &str,
        open: Option<OpenContent>,
        sink: &mut dyn Sink,
    ) -> Result<Record, MetadataError> {
        let header = self.finish_body(sink)?;
        let open = open.or(std::mem::replace(&mut self.open, Open::Nothing).finish());
        let file = self.hasher.clone().finish();
        let record = Record {
            name: record_name(&file, stem),
            record_type: self.record_type.clone(),
            digest: file.digest,
            sha512: file.sha512,
            size_bytes: file.size_bytes,
            open,
            header,
        };
        sink.finish(self.file, &record)
            .map_err(|source| self.sink_error(source))?;
        Ok(record)
    }

    fn finish_body(&mut self, sink: &mut dyn Sink) -> Result<Option<ZchunkHeader>, MetadataError> {
        match std::mem::replace(&mut self.body, Body::Frames) {
            Body::Frames => Ok(None),
            Body::Xz(stream) => {
                let made = stream
                    .finish()
                    .map_err(|source| compress_error(&self.record_type, source))?;
                self.emit(&made, None, sink)?;
                Ok(None)
            }
            Body::Zchunk(draft) => {
                let (header, described, chunks) = draft.finish();
                self.emit(&header, None, sink)?;
                for (chunk, key) in &chunks {
                    self.emit(&chunk.bytes, key.as_ref(), sink)?;
                }
                Ok(Some(described))
            }
        }
    }

    fn emit(
        &mut self,
        bytes: &[u8],
        key: Option<&[u8; 32]>,
        sink: &mut dyn Sink,
    ) -> Result<(), MetadataError> {
        self.hasher.update(bytes);
        match key {
            Some(key) => sink.append_frame(self.file, key, bytes),
            None => sink.append(self.file, bytes),
        }
        .map_err(|source| self.sink_error(source))
    }

    fn sink_error(&self, source: io::Error) -> MetadataError {
        MetadataError::Sink {
            record_type: self.record_type.clone(),
            source,
        }
    }
}

/// Writes primary, filelists and other, then what else the options want of the package list.
pub(super) fn write_package_files(
    inputs: &Inputs<'_>,
    options: &Options,
    sink: &mut dyn Sink,
) -> Result<Vec<Record>, MetadataError> {
    let kinds = kinds(options);
    let mut files = Vec::with_capacity(kinds.len());
    for (file, kind) in kinds.iter().enumerate() {
        files.push(FileInProgress::of_packages(file, kind, options)?);
    }
    let zchunk_files: Vec<FileInProgress> = match options.zchunk {
        false => Vec::new(),
        true => kinds
            .iter()
            .zip(kinds.len()..)
            .map(|(kind, file)| {
                FileInProgress::new_zchunk(file, kind.record_type, options.checksum)
            })
            .collect(),
    };

    let zchunk_files = if matches!(options.frame_codec(), Codec::Zstd { .. }) {
        let both = files.into_iter().chain(zchunk_files).collect();
        let mut both = fill(inputs, options, kinds, both, sink)?;
        let zchunk_files = both.split_off(kinds.len());
        files = both;
        zchunk_files
    } else {
        files = fill(inputs, options, kinds, files, sink)?;
        let as_zstd = Options {
            codec: Codec::ZSTD,
            // Of the same content as the other files.
            open_checksums: false,
            ..options.clone()
        };
        fill(inputs, &as_zstd, kinds, zchunk_files, sink)?
    };

    let mut records = Vec::with_capacity(2 * kinds.len());
    for (file, kind) in files.into_iter().zip(kinds) {
        let stem = format!("{}.xml{}", kind.record_type, options.codec.suffix());
        records.push(file.finish(&stem, sink)?);
    }
    for (number, (file, kind)) in zchunk_files.into_iter().zip(kinds).enumerate() {
        let open = records[number].content();
        let stem = format!("{}.xml.zck", kind.record_type);
        records.push(file.finish_with(&stem, Some(open), sink)?);
    }
    Ok(records)
}

/// Feeds header frame, group frames and trailer frame into `files`, which are those of `kinds`,
/// once or several times over.
fn fill(
    inputs: &Inputs<'_>,
    options: &Options,
    kinds: &[Kind],
    mut files: Vec<FileInProgress>,
    sink: &mut dyn Sink,
) -> Result<Vec<FileInProgress>, MetadataError> {
    if files.is_empty() {
        return Ok(files);
    }
    let edge =
        |files: &mut [FileInProgress], sink: &mut dyn Sink, text: &dyn Fn(&Kind) -> Vec<u8>| {
            for (file, kind) in files.iter_mut().zip(kinds.iter().cycle()) {
                let open = text(kind);
                let mut encoder = encoder(options.frame_codec(), kind.record_type)?;
                let frame = encode(&mut encoder, &open, kind.record_type)?;
                file.append(&frame, &open, sink)?;
            }
            Ok(())
        };
    edge(&mut files, sink, &|kind| kind.header(inputs.entries.len()))?;
    for_each_group(inputs, options, |frames| {
        for (file, made) in files.iter_mut().zip(frames.iter().cycle()) {
            file.append_group(made, sink)?;
        }
        Ok(())
    })?;
    edge(&mut files, sink, &|kind| kind.closing.as_bytes().to_vec())?;
    Ok(files)
}

pub(super) fn encoder(codec: Codec, record_type: &str) -> Result<Encoder, MetadataError> {
    Encoder::new(codec).map_err(|source| compress_error(record_type, source))
}

pub(super) fn encode(
    encoder: &mut Encoder,
    open: &[u8],
    record_type: &str,
) -> Result<Frame, MetadataError> {
    encoder
        .encode(open)
        .map_err(|source| compress_error(record_type, source))
}

pub(super) fn compress_error(record_type: &str, source: io::Error) -> MetadataError {
    MetadataError::Compress {
        record_type: record_type.to_owned(),
        source,
    }
}
