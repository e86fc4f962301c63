//! A record made of a stream: compressed and hashed while it is read, never as a whole in memory.

use super::assemble::compress_error;
use super::build::Sink;
use super::checksum::{ChecksumType, Hasher};
use super::codec::{Codec, XzStream};
use super::error::MetadataError;
use super::repomd::{OpenContent, Record, record_name};
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use std::io::{self, Read, Write};

/// Pieces in which a stream is read.
const PIECE_BYTES: usize = 256 << 10;

/// Compresses a whole file; what is ready is taken out after each piece.
enum Stream {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Xz(XzStream),
    None,
}

impl Stream {
    fn new(codec: Codec) -> io::Result<Self> {
        Ok(match codec {
            Codec::Gzip => Self::Gzip(
                GzBuilder::new()
                    .mtime(0)
                    .operating_system(255)
                    .write(Vec::new(), Compression::best()),
            ),
            Codec::Zstd { level } => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
                encoder.include_contentsize(false)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
            Codec::Xz => Self::Xz(XzStream::new()?),
            Codec::None => Self::None,
        })
    }

    fn write(&mut self, open: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => {
                encoder.write_all(open)?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Self::Zstd(encoder) => {
                encoder.write_all(open)?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Self::Xz(stream) => stream.write(open),
            Self::None => Ok(open.to_vec()),
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
            Self::Xz(stream) => stream.finish(),
            Self::None => Ok(Vec::new()),
        }
    }
}

/// What a streamed record is called and how it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamedRecord<'a> {
    /// `type` in `repomd.xml`.
    pub record_type: &'a str,
    /// File name without digest and without the codec's suffix.
    pub stem: &'a str,
    /// How to compress it.
    pub codec: Codec,
    /// The checksum of the record.
    pub checksum: ChecksumType,
}

/// Writes `input` as file number `file` of the sink.
pub(crate) fn write_stream(
    wanted: StreamedRecord<'_>,
    mut input: impl Read,
    file: usize,
    sink: &mut dyn Sink,
) -> Result<Record, MetadataError> {
    let failed = |source| compress_error(wanted.record_type, source);
    let sink_failed = |source| MetadataError::Sink {
        record_type: wanted.record_type.to_owned(),
        source,
    };
    let mut stream = Stream::new(wanted.codec).map_err(failed)?;
    let (mut hasher, mut open) = (Hasher::new(wanted.checksum), Hasher::new(wanted.checksum));
    let mut emit = |bytes: &[u8], hasher: &mut Hasher| {
        hasher.update(bytes);
        sink.append(file, bytes).map_err(sink_failed)
    };
    emit(&[], &mut hasher)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = match input.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        open.update(&piece[..read]);
        emit(&stream.write(&piece[..read]).map_err(failed)?, &mut hasher)?;
    }
    emit(&stream.finish().map_err(failed)?, &mut hasher)?;
    let hashed = hasher.finish();
    let stem = format!("{}{}", wanted.stem, wanted.codec.suffix());
    let record = Record {
        record_type: wanted.record_type.to_owned(),
        name: record_name(&hashed, &stem),
        digest: hashed.digest,
        sha512: hashed.sha512,
        size_bytes: hashed.size_bytes,
        open: (wanted.codec != Codec::None).then(|| OpenContent::of(open)),
        header: None,
    };
    sink.finish(file, &record).map_err(sink_failed)?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::FileDigest;

    #[derive(Default)]
    struct Kept(Vec<u8>, Vec<String>);

    impl Sink for Kept {
        fn append(&mut self, _file: usize, bytes: &[u8]) -> io::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
        fn finish(&mut self, _file: usize, record: &Record) -> io::Result<()> {
            self.1.push(record.name.clone());
            Ok(())
        }
    }

    #[test]
    fn a_stream_is_described_as_it_was_written_in_every_codec() {
        let content = b"0123456789".repeat(100_000);
        for codec in [Codec::Gzip, Codec::ZSTD, Codec::Xz, Codec::None] {
            let mut sink = Kept::default();
            let wanted = StreamedRecord {
                record_type: "primary_db",
                stem: "primary.sqlite",
                codec,
                checksum: ChecksumType::Sha256,
            };
            let record = write_stream(wanted, &content[..], 0, &mut sink).unwrap();
            assert_eq!(record.digest, FileDigest::of(&sink.0));
            assert_eq!(record.size_bytes, sink.0.len() as u64);
            assert_eq!(record.content().digest, Some(FileDigest::of(&content)));
            assert_eq!(record.content().size_bytes, content.len() as u64);
            assert_eq!(sink.1.concat(), record.name);
            assert!(
                record
                    .name
                    .ends_with(&format!("-primary.sqlite{}", codec.suffix()))
            );
            let mut open = Vec::new();
            match codec {
                Codec::Gzip => flate2::read::GzDecoder::new(&sink.0[..]).read_to_end(&mut open),
                Codec::Zstd { .. } => zstd::Decoder::new(&sink.0[..])
                    .unwrap()
                    .read_to_end(&mut open),
                Codec::Xz => liblzma::read::XzDecoder::new(&sink.0[..]).read_to_end(&mut open),
                Codec::None => (&sink.0[..]).read_to_end(&mut open),
            }
            .unwrap();
            assert!(open == content, "{codec:?}");
        }
    }
}
