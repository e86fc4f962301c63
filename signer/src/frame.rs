//! Messages on the socket: four bytes of length, big-endian, and that many bytes of JSON.

use repo_model::wire::signer::MAX_MESSAGE_BYTES;
use serde::Serialize;
use std::io::{self, Read, Write};

/// A message cannot be sent or received; the connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side is gone or too slow. Retry on a new connection.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// Longer than [`MAX_MESSAGE_BYTES`]. The sender's fault; do not retry.
    #[error("a message of {bytes} bytes; the limit is {MAX_MESSAGE_BYTES}")]
    TooLong {
        /// Its length.
        bytes: u64,
    },
    /// The JSON cannot be written. Ours.
    #[error("a message that cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}

/// Sends one message.
pub fn send<T: Serialize>(to: &mut impl Write, message: &T) -> Result<(), FrameError> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message).map_err(FrameError::Json)?;
    let length = bytes.len() - 4;
    let prefix = u32::try_from(length)
        .ok()
        .filter(|length| *length <= MAX_MESSAGE_BYTES)
        .ok_or(FrameError::TooLong {
            bytes: length as u64,
        })?;
    bytes[..4].copy_from_slice(&prefix.to_be_bytes());
    to.write_all(&bytes)?;
    Ok(to.flush()?)
}

/// Receives the JSON of one message; `None` when the other side closed between messages.
///
/// Memory grows with what really arrives, not with what the length promises.
pub fn receive(from: &mut impl Read) -> Result<Option<Vec<u8>>, FrameError> {
    let mut prefix = [0; 4];
    if !begins(from, &mut prefix[..1])? {
        return Ok(None);
    }
    from.read_exact(&mut prefix[1..])?;
    let length = u32::from_be_bytes(prefix);
    if length > MAX_MESSAGE_BYTES {
        return Err(FrameError::TooLong {
            bytes: length.into(),
        });
    }
    let mut bytes = Vec::new();
    from.take(length.into()).read_to_end(&mut bytes)?;
    if bytes.len() != length as usize {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(Some(bytes))
}

fn begins(from: &mut impl Read, first: &mut [u8]) -> io::Result<bool> {
    loop {
        match from.read(first) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|read| read > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::wire::signer::Request;

    #[test]
    fn a_message_arrives_as_it_was_sent_and_the_end_is_told_from_a_cut() {
        let mut wire = Vec::new();
        send(&mut wire, &Request::Identity).unwrap();
        let mut reader = wire.as_slice();
        let json = receive(&mut reader).unwrap().unwrap();
        assert_eq!(json, br#"{"request":"identity"}"#);
        assert!(receive(&mut reader).unwrap().is_none());
        for cut in 1..wire.len() {
            let error = receive(&mut &wire[..cut]).unwrap_err();
            assert!(matches!(error, FrameError::Io(_)), "{cut}: {error}");
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_anything_is_read() {
        let wire = (MAX_MESSAGE_BYTES + 1).to_be_bytes();
        assert!(matches!(
            receive(&mut wire.as_slice()),
            Err(FrameError::TooLong { .. })
        ));
    }
}
