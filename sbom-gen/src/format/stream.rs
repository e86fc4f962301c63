//! Writing JSON as a stream, and naming a document by its own digest.

use crate::SbomError;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::io::{self, BufWriter, Write};

/// A JSON array whose elements are made one after the other while it is written.
pub(super) struct Each<F>(pub(super) F);

impl<F, I> Serialize for Each<F>
where
    F: Fn() -> I,
    I: Iterator,
    I::Item: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

/// Writes one document: two spaces of indent, LF, final newline.
pub(super) fn write(document: &impl Serialize, out: &mut dyn Write) -> Result<(), SbomError> {
    let mut out = BufWriter::with_capacity(64 << 10, out);
    serde_json::to_writer_pretty(&mut out, document)
        .map_err(io::Error::from)
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
        .map_err(SbomError::Write)
}

/// SHA-256 of the document as [`write`] would write it, lowercase hex.
pub(super) fn digest(document: &impl Serialize) -> Result<String, SbomError> {
    struct Hashing(Sha256);
    impl Write for Hashing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut sink = Hashing(Sha256::new());
    write(document, &mut sink)?;
    Ok(hex::encode(sink.0.finalize()))
}
