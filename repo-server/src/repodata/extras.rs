//! Records beside those made of the package list: compressed here, or carried as they are.

use super::assemble::{FileInProgress, encode, encoder};
use super::build::Sink;
use super::checksum::{ChecksumType, Hasher};
use super::codec::{Codec, Frame};
use super::error::MetadataError;
use super::options::{ExtraRecord, Options};
use super::repomd::{OpenContent, Record, extra_file_name, record_name};
use super::zchunk;
use std::io::{self, Read};

/// A carried file that decompresses to more than this is refused as a bomb: the largest advisory
/// file of a distribution is some 100 MB.
const OPEN_SIZE_MAX_BYTES: u64 = 4 << 30;

/// Writes all further records behind `records`, and each as zchunk too where the options say so.
pub(super) fn write_extras(
    extras: &[ExtraRecord],
    options: &Options,
    records: &mut Vec<Record>,
    sink: &mut dyn Sink,
) -> Result<(), MetadataError> {
    for extra in extras {
        let record = write_extra(extra, options.checksum, records.len(), sink)?;
        let zchunk = options.zchunk && has_zchunk_form(extra, extras);
        let open = record.content();
        records.push(record);
        if zchunk {
            let record = write_zchunk(extra, open, options.checksum, records.len(), sink)?;
            records.push(record);
        }
    }
    Ok(())
}

/// Whether a record is worth a zchunk form: not what is a form of another record already.
fn has_zchunk_form(extra: &ExtraRecord, all: &[ExtraRecord]) -> bool {
    let is_form = is_another_form(&extra.record_type);
    let zchunk_type = format!("{}_zck", extra.record_type);
    let is_open = extra.codec != Codec::None || carried_suffix(&extra.file_name).is_none();
    is_open && !is_form && !all.iter().any(|other| other.record_type == zchunk_type)
}

/// Whether a record type names another form of the record without its suffix.
pub(crate) fn is_another_form(record_type: &str) -> bool {
    ["_zck", "_gz", "_xz", "_bz2", "_zst", "_db"]
        .iter()
        .any(|suffix| record_type.ends_with(suffix))
}

/// The suffix of a file that is compressed already.
fn carried_suffix(name: &str) -> Option<&'static str> {
    [".gz", ".zst", ".xz", ".bz2", ".zck"]
        .into_iter()
        .find(|suffix| name.ends_with(suffix))
}

/// Writes the zchunk form of a record whose content is given.
pub(crate) fn write_zchunk_of(
    extra: &ExtraRecord,
    checksum: ChecksumType,
    file: usize,
    sink: &mut dyn Sink,
) -> Result<Record, MetadataError> {
    let mut hasher = Hasher::new(checksum);
    hasher.update(&extra.bytes);
    write_zchunk(extra, OpenContent::of(hasher), checksum, file, sink)
}

fn write_zchunk(
    extra: &ExtraRecord,
    open: OpenContent,
    checksum: ChecksumType,
    file: usize,
    sink: &mut dyn Sink,
) -> Result<Record, MetadataError> {
    let stem = extra_file_name(extra)?;
    let mut progress = FileInProgress::new_zchunk(file, &extra.record_type, checksum);
    let mut encoder = encoder(Codec::ZSTD, &extra.record_type)?;
    for piece in zchunk::pieces(&extra.bytes) {
        let frame = encode(&mut encoder, piece, &extra.record_type)?;
        progress.append(&frame, piece, sink)?;
    }
    progress.finish_with(&format!("{stem}.zck"), Some(open), sink)
}

/// Writes one record as file number `file`.
fn write_extra(
    extra: &ExtraRecord,
    checksum: ChecksumType,
    file: usize,
    sink: &mut dyn Sink,
) -> Result<Record, MetadataError> {
    let stem = extra_file_name(extra)?;
    if extra.codec == Codec::None && compression(stem) != Compression::None {
        return carry(extra, stem, checksum, file, sink);
    }
    let mut progress = FileInProgress::new(file, &extra.record_type, extra.codec, checksum)?;
    let frame = match extra.codec {
        // One stream, which takes the content alone.
        Codec::Xz => Frame {
            bytes: Default::default(),
            open_size_bytes: 0,
        },
        codec => encode(
            &mut encoder(codec, &extra.record_type)?,
            &extra.bytes,
            &extra.record_type,
        )?,
    };
    progress.append(&frame, &extra.bytes, sink)?;
    progress.finish(&format!("{stem}{}", extra.codec.suffix()), sink)
}

/// What a file's name says about its compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
    Zchunk,
}

fn compression(name: &str) -> Compression {
    match name.rsplit_once('.') {
        Some((_, "gz")) => Compression::Gzip,
        Some((_, "zst")) => Compression::Zstd,
        Some((_, "xz")) => Compression::Xz,
        Some((_, "bz2")) => Compression::Bzip2,
        Some((_, "zck")) => Compression::Zchunk,
        _ => Compression::None,
    }
}

/// Writes a compressed file byte for byte, after reading it to its end: one that does not
/// decompress would be found broken by every client.
fn carry(
    extra: &ExtraRecord,
    stem: &str,
    checksum: ChecksumType,
    file: usize,
    sink: &mut dyn Sink,
) -> Result<Record, MetadataError> {
    let damaged = |source| MetadataError::Carried {
        record_type: extra.record_type.clone(),
        file_name: stem.to_owned(),
        source,
    };
    let bytes = &extra.bytes[..];
    let (mut open, mut header) = (None, None);
    match compression(stem) {
        Compression::None => {}
        Compression::Gzip => {
            open = Some(content(flate2::read::MultiGzDecoder::new(bytes), checksum));
        }
        Compression::Zstd => {
            open = Some(zstd::Decoder::new(bytes).and_then(|decoder| content(decoder, checksum)));
        }
        Compression::Xz => {
            open = Some(content(
                liblzma::read::XzDecoder::new_multi_decoder(bytes),
                checksum,
            ));
        }
        Compression::Bzip2 => {
            open = Some(content(bzip2::read::MultiBzDecoder::new(bytes), checksum));
        }
        // The content is left unsaid: librepo checks a zchunk file by its header and chunks.
        Compression::Zchunk => {
            let described = zchunk::describe(bytes);
            header = Some(described.ok_or_else(|| {
                damaged(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "its zchunk header is damaged",
                ))
            })?);
        }
    }
    let open = open.transpose().map_err(damaged)?;
    let mut hasher = Hasher::new(checksum);
    hasher.update(bytes);
    let hashed = hasher.finish();
    let record = Record {
        record_type: extra.record_type.clone(),
        name: record_name(&hashed, stem),
        digest: hashed.digest,
        sha512: hashed.sha512,
        size_bytes: hashed.size_bytes,
        open,
        header,
    };
    let sink_error = |source| MetadataError::Sink {
        record_type: extra.record_type.clone(),
        source,
    };
    sink.append(file, bytes).map_err(sink_error)?;
    sink.finish(file, &record).map_err(sink_error)?;
    Ok(record)
}

fn content(mut decoder: impl Read, checksum: ChecksumType) -> io::Result<OpenContent> {
    let mut hasher = Hasher::new(checksum);
    let mut piece = vec![0; 64 << 10];
    let mut size_bytes = 0_u64;
    loop {
        let read = match decoder.read(&mut piece) {
            Ok(0) => return Ok(OpenContent::of(hasher)),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        size_bytes += read as u64;
        if size_bytes > OPEN_SIZE_MAX_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it decompresses to more than {OPEN_SIZE_MAX_BYTES} bytes"),
            ));
        }
        hasher.update(&piece[..read]);
    }
}
