//! Records beside those made of the package list: compressed here, or carried as they are.

use super::assemble::{FileInProgress, encode, encoder};
use super::build::Sink;
use super::checksum::{ChecksumType, Hasher};
use super::codec::{Codec, Frame};
use super::error::MetadataError;
use super::options::ExtraRecord;
use super::repomd::{OpenContent, Record, extra_file_name, record_name};
use super::zchunk;
use std::io::{self, Read};

/// A carried file that decompresses to more than this is refused as a bomb: the largest advisory
/// file of a distribution is some 100 MB.
const OPEN_SIZE_MAX_BYTES: u64 = 4 << 30;

/// Writes one record as file number `file`.
pub(super) fn write_extra(
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
            bytes: [].into(),
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
