//! A metadata file as it is read: its bytes counted and hashed, decompressed, and its content
//! counted and hashed as well.

use super::repomd::RecordClaim;
use super::sums::{Meter, Tap, drain};
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use std::io::{self, BufRead, BufReader, Read};

/// A file that claims no size is not read beyond this; the largest filelists have one gigabyte.
const UNCLAIMED_MAX_BYTES: u64 = 16 << 30;
/// Memory that a decompressor may use.
const XZ_MEMORY_MAX_BYTES: u64 = 256 << 20;

type Input<'a> = BufReader<Tap<Box<dyn Read + 'a>>>;

/// Decompresses whatever form a file has; all members and frames.
enum Decoder<'a> {
    Gzip(Box<MultiGzDecoder<Input<'a>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Input<'a>>>),
    Xz(Box<XzDecoder<Input<'a>>>),
    Bzip2(Box<bzip2::bufread::MultiBzDecoder<Input<'a>>>),
    Plain(Input<'a>),
}

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
            Self::Xz(decoder) => decoder.read(buffer),
            Self::Bzip2(decoder) => decoder.read(buffer),
            Self::Plain(input) => input.read(buffer),
        }
    }
}

impl<'a> Decoder<'a> {
    /// Told by the first bytes, since names lie.
    fn new(mut input: Input<'a>) -> io::Result<Self> {
        let start = input.fill_buf()?;
        Ok(if start.starts_with(&[0x1F, 0x8B]) {
            Self::Gzip(Box::new(MultiGzDecoder::new(input)))
        } else if start.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) {
            Self::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(input)?))
        } else if start.starts_with(b"\xFD7zXZ\0") {
            let stream = Stream::new_stream_decoder(XZ_MEMORY_MAX_BYTES, CONCATENATED)?;
            Self::Xz(Box::new(XzDecoder::new_stream(input, stream)))
        } else if start.starts_with(b"BZh") {
            Self::Bzip2(Box::new(bzip2::bufread::MultiBzDecoder::new(input)))
        } else {
            Self::Plain(input)
        })
    }

    fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    fn input(&mut self) -> &mut Input<'a> {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
            Self::Xz(decoder) => decoder.get_mut(),
            Self::Bzip2(decoder) => decoder.get_mut(),
            Self::Plain(input) => input,
        }
    }
}

/// Sizes and checksums as they turned out. The checksums are those asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Its checksum, of the kind that was claimed.
    pub hex: Option<String>,
    /// Bytes before compression.
    pub open_size_bytes: u64,
    /// Checksum before compression, of the kind that was claimed.
    pub open_hex: Option<String>,
    /// Whether it was compressed at all.
    pub is_compressed: bool,
}

/// A file of metadata under way; read it, then ask for its sums.
pub struct Packed<'a> {
    open: BufReader<Tap<Decoder<'a>>>,
    meter: Meter,
    open_meter: Meter,
    is_compressed: bool,
}

impl<'a> Packed<'a> {
    /// Reads no more than the record claims plus a little, so that a bomb does no harm.
    pub fn new(source: Box<dyn Read + 'a>, claim: &RecordClaim) -> io::Result<Self> {
        let limit = |claimed: Option<u64>| claimed.unwrap_or(UNCLAIMED_MAX_BYTES);
        let algorithm = claim.checksum.as_ref().map(|sum| sum.algorithm);
        let (tap, meter) = Tap::new(source, algorithm, limit(claim.size_bytes));
        let mut input = BufReader::with_capacity(64 << 10, tap);
        // Its inside is not opened, so what is claimed of its content says nothing of what is read.
        let is_zchunk = input.fill_buf()?.starts_with(b"\0ZCK1");
        let decoder = Decoder::new(input)?;
        let is_compressed = !decoder.is_plain();
        let (open_sum, open_size) = match is_zchunk {
            true => (None, claim.size_bytes),
            false => (claim.open_checksum.as_ref(), claim.open_size_bytes),
        };
        let open_algorithm = open_sum.map(|sum| sum.algorithm);
        let (open, open_meter) = Tap::new(decoder, open_algorithm, limit(open_size));
        Ok(Self {
            open: BufReader::with_capacity(64 << 10, open),
            meter,
            open_meter,
            is_compressed,
        })
    }

    /// Counts the bytes of the content as they are read, to its end or to where it breaks off.
    pub fn open_meter(&self) -> Meter {
        self.open_meter.clone()
    }

    /// Reads what is left, compressed and open, and gives the sums.
    pub fn finish(mut self) -> io::Result<Sums> {
        drain(&mut self.open)?;
        let mut decoder = self.open.into_inner().into_inner();
        drain(decoder.input())?;
        Ok(Sums {
            size_bytes: self.meter.size_bytes(),
            hex: self.meter.take_hex(),
            open_size_bytes: self.open_meter.size_bytes(),
            open_hex: self.open_meter.take_hex(),
            is_compressed: self.is_compressed,
        })
    }
}

impl Read for Packed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.open.read(buffer)
    }
}

impl BufRead for Packed<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.open.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.open.consume(count);
    }
}
