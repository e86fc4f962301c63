//! Evidence from a server, over its API.

use super::source::{Item, Source, SourceError};
use crate::api::{ApiError, Client};
use crate::failure::Failure;
use std::error::Error;
use std::io::Read;

/// A server.
#[derive(Debug)]
pub struct Server(pub Client);

impl Source for Server {
    fn open(&self, item: &Item) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        match self.0.get(&item.path()) {
            Ok(answer) => {
                // The reader stops at the limit of what was asked for; a package's head is cut off sooner.
                let body = answer.into_body().into_with_config().limit(u64::MAX);
                Ok(Some(Box::new(body.reader())))
            }
            Err(error) if error.refused_with() == Some(404) => Ok(None),
            Err(error) => Err(SourceError::Asked(Box::new(error))),
        }
    }
}

/// Whether the server could not be asked, so that asking again may help.
pub fn is_transient(error: &SourceError) -> bool {
    match error {
        SourceError::Asked(error) => error
            .downcast_ref::<ApiError>()
            .is_some_and(ApiError::is_transient),
        _ => false,
    }
}

/// Why the server did not answer, as the end of a command.
pub fn failure(error: Box<dyn Error + Send + Sync>) -> Failure {
    match error.downcast::<ApiError>() {
        Ok(error) => Failure::from(*error),
        Err(error) => Failure::failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Answer};
    use mirrors::evidence::gather::Common;
    use mirrors::evidence::source::MAX_CHECKPOINT_BYTES;
    use repo_model::{FileDigest, bundle};

    #[test]
    fn endless_answers_and_nested_bombs_are_refused_by_name() {
        let server = testing::Server::start(|request| match request.path.as_str() {
            "/log/checkpoint" => Answer::json(200, &"x".repeat(MAX_CHECKPOINT_BYTES as usize + 1)),
            path if path.contains("sigstore") => {
                Answer::json(200, &"[".repeat(bundle::MAX_BYTES + 1))
            }
            _ => Answer::json(200, &"[{\"id\":".repeat(1 << 17)),
        });
        let server = Server(Client::new(&server.url(), None).unwrap());
        let digest = FileDigest::of(b"");
        for (item, says) in [
            (Item::Checkpoint, "it has more than 65536 bytes"),
            (Item::Bundle(digest), "it has more than 33554432 bytes"),
            (Item::Document(digest), "is sha256 "),
        ] {
            let error = server.fetch(&item).unwrap_err().to_string();
            assert!(error.contains(says), "{item:?}: {error}");
        }
        let error = Common::ask(&server).unwrap_err().to_string();
        assert!(
            error.starts_with("/api/v1/releases does not read: "),
            "{error}"
        );
    }
}
