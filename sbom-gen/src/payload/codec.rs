//! The payload's codecs, by the names that PAYLOADCOMPRESSOR uses.

use crate::{Limits, SbomError};
use liblzma::stream::Stream as Lzma;
use std::io::{self, Read};

/// Bytes going into a codec or coming out.
pub(super) type Stream<'a> = Box<dyn Read + 'a>;

/// One codec.
pub(super) struct Codec {
    /// As PAYLOADCOMPRESSOR spells it.
    pub(super) name: &'static str,
    open: for<'a> fn(Stream<'a>, &Limits) -> io::Result<Stream<'a>>,
}

impl Codec {
    /// Wraps `compressed`, whose content then comes out of the reader returned.
    pub(super) fn open<'a>(
        &self,
        compressed: impl Read + 'a,
        limits: &Limits,
    ) -> io::Result<Stream<'a>> {
        (self.open)(Box::new(compressed), limits)
    }
}

static CODECS: &[Codec] = &[
    Codec {
        name: "gzip",
        open: open_gzip,
    },
    Codec {
        name: "bzip2",
        open: |input, _| Ok(Box::new(bzip2::read::MultiBzDecoder::new(input))),
    },
    Codec {
        name: "zstd",
        open: open_zstd,
    },
    Codec {
        name: "xz",
        open: |input, limits| {
            let stream = Lzma::new_stream_decoder(limits.codec_memory_bytes, 0)?;
            Ok(Box::new(liblzma::read::XzDecoder::new_stream(
                input, stream,
            )))
        },
    },
    Codec {
        name: "lzma",
        open: |input, limits| {
            let stream = Lzma::new_lzma_decoder(limits.codec_memory_bytes)?;
            Ok(Box::new(liblzma::read::XzDecoder::new_stream(
                input, stream,
            )))
        },
    },
    Codec {
        name: "none",
        open: |input, _| Ok(input),
    },
    Codec {
        name: "identity",
        open: |input, _| Ok(input),
    },
];

/// Packages without compression mostly lack PAYLOADCOMPRESSOR, which means gzip; rpm reads them all
/// the same, because zlib hands through what does not start with gzip's magic.
fn open_gzip<'a>(mut input: Stream<'a>, _: &Limits) -> io::Result<Stream<'a>> {
    let mut magic = Vec::new();
    input.by_ref().take(2).read_to_end(&mut magic)?;
    let is_gzip = magic == [0x1f, 0x8b];
    let whole = io::Cursor::new(magic).chain(input);
    Ok(match is_gzip {
        true => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        false => Box::new(whole),
    })
}

fn open_zstd<'a>(input: Stream<'a>, limits: &Limits) -> io::Result<Stream<'a>> {
    let mut decoder = zstd::stream::read::Decoder::new(input)?;
    // zstd takes the window as a power of two, 10 to 31.
    decoder.window_log_max(limits.codec_memory_bytes.max(1).ilog2().clamp(10, 31))?;
    Ok(Box::new(decoder))
}

/// The codec that a header names.
pub(super) fn named(name: &str) -> Result<&'static Codec, SbomError> {
    CODECS
        .iter()
        .find(|codec| codec.name == name)
        .ok_or_else(|| SbomError::Unsupported {
            what: "compressor",
            name: name.chars().take(40).collect(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const TEXT: &[u8] = b"the quick brown fox jumps over the lazy dog, again and again and again";

    fn compressed(name: &str) -> Vec<u8> {
        match name {
            "gzip" => {
                let mut sink =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                sink.write_all(TEXT).unwrap();
                sink.finish().unwrap()
            }
            "bzip2" => {
                let mut sink = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                sink.write_all(TEXT).unwrap();
                sink.finish().unwrap()
            }
            "zstd" => zstd::encode_all(TEXT, 3).unwrap(),
            "xz" => {
                let mut sink = liblzma::write::XzEncoder::new(Vec::new(), 1);
                sink.write_all(TEXT).unwrap();
                sink.finish().unwrap()
            }
            "lzma" => {
                let options = liblzma::stream::LzmaOptions::new_preset(1).unwrap();
                let stream = Lzma::new_lzma_encoder(&options).unwrap();
                let mut sink = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
                sink.write_all(TEXT).unwrap();
                sink.finish().unwrap()
            }
            "none" | "identity" => TEXT.to_vec(),
            other => panic!("the contract test does not know how to compress with {other}"),
        }
    }

    #[test]
    fn every_codec_gives_back_what_went_in_and_refuses_half_of_it() {
        let limits = Limits::default();
        for codec in CODECS {
            let bytes = compressed(codec.name);
            let mut found = Vec::new();
            codec
                .open(&bytes[..], &limits)
                .unwrap()
                .read_to_end(&mut found)
                .unwrap();
            assert_eq!(found, TEXT, "{}", codec.name);

            let half = &bytes[..bytes.len() / 2];
            let mut found = Vec::new();
            let outcome = codec
                .open(half, &limits)
                .and_then(|mut r| r.read_to_end(&mut found));
            assert!(
                outcome.is_err() || found.len() < TEXT.len(),
                "{}",
                codec.name
            );
        }
        assert!(named("rot13").is_err());
    }

    #[test]
    fn gzip_hands_through_what_is_not_compressed() {
        for plain in [TEXT, b"", b"0"] {
            let mut found = Vec::new();
            let mut reader = named("gzip")
                .unwrap()
                .open(plain, &Limits::default())
                .unwrap();
            reader.read_to_end(&mut found).unwrap();
            assert_eq!(found, plain);
        }
    }

    #[test]
    fn a_window_larger_than_the_limit_is_refused() {
        let limits = Limits {
            codec_memory_bytes: 1 << 20,
            ..Limits::default()
        };
        let mut sink = liblzma::write::XzEncoder::new(Vec::new(), 9); // 64 MiB dictionary
        sink.write_all(TEXT).unwrap();
        let xz = sink.finish().unwrap();
        let mut found = Vec::new();
        assert!(
            named("xz")
                .unwrap()
                .open(&xz[..], &limits)
                .unwrap()
                .read_to_end(&mut found)
                .is_err()
        );

        let mut sink = zstd::Encoder::new(Vec::new(), 1).unwrap();
        sink.window_log(27).unwrap();
        sink.write_all(TEXT).unwrap();
        let zstd = sink.finish().unwrap();
        let mut found = Vec::new();
        let outcome = named("zstd")
            .unwrap()
            .open(&zstd[..], &limits)
            .unwrap()
            .read_to_end(&mut found);
        assert!(outcome.is_err());
    }
}
