//! Evidence from a server, over its API.

use super::source::{Item, Source, SourceError};
use super::subject::each;
use crate::api::{ApiError, Client};
use crate::failure::Failure;
use mirrors::tar;
use repo_model::wire::evidence::{self, AskDocuments, AskPackages};
use repo_model::wire::status::BuildStatus;
use repo_model::{FileDigest, HeaderDigest, Nevra};
use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

/// Most bytes of files that one request brings; a server has no reason to send more.
const MAX_TOGETHER_BYTES: u64 = 64 << 20;
/// Most bytes of files that all requests for many bring; what is beyond is asked for one by one.
pub(super) const MAX_MANY_BYTES: u64 = 512 << 20;
/// What a file counts beside its content: a server that sends empty ones without end is left, too.
const FILE_BYTES: u64 = 512;
/// Longest answer about the builds of packages, bytes.
const MAX_BUILDS_BYTES: u64 = 256 << 20;
/// Files of one request: few enough that some requests are under way side by side.
const AT_ONCE: usize = 400;

/// A server.
#[derive(Debug)]
pub struct Server(pub Client);

impl Server {
    /// Those of the files that can be had together, as far as they fit into what is left.
    pub(super) fn many_within(
        &self,
        items: &[Item],
        left: &AtomicU64,
    ) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        let requests: Vec<&[Item]> = items.chunks(AT_ONCE).collect();
        let answers = each(&requests, |items| self.some(items, left));
        let mut files = Vec::new();
        for answer in answers {
            files.extend(answer?);
        }
        Ok(files)
    }

    /// Files of one request, as far as they fit into what is held in memory.
    ///
    /// * `left`: for all requests.
    fn some(
        &self,
        items: &[Item],
        left: &AtomicU64,
    ) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        const PATH: &str = "/api/v1/evidence/documents";
        if left.load(Ordering::Relaxed) == 0 {
            return Ok(Vec::new());
        }
        let answer = match self.0.post(PATH, &asked(items)) {
            Ok(answer) => answer,
            Err(error) if answers_one_by_one(&error) => return Ok(Vec::new()),
            Err(error) => return Err(refused(error)),
        };
        let mut body = answer
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader();
        let failed = |source| SourceError::Read {
            path: PATH.to_owned(),
            source,
        };
        let by_name: HashMap<String, &Item> =
            items.iter().map(|item| (item.name(), item)).collect();
        let (mut files, mut here) = (Vec::new(), MAX_TOGETHER_BYTES);
        while let Some((name, size)) = tar::next_file(&mut body).map_err(failed)? {
            let is_small = size <= evidence::MAX_FILE_BYTES;
            let counted = size.saturating_add(FILE_BYTES);
            let rest = here.checked_sub(counted).filter(|_| is_small);
            let Some(rest) = rest.filter(|_| take(left, counted)) else {
                // The others are asked for one by one.
                break;
            };
            here = rest;
            // No more than it needs: that is what is counted.
            let mut content = Vec::with_capacity(size as usize);
            let read = (&mut body).take(size).read_to_end(&mut content);
            if read.map_err(failed)? as u64 != size {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
            tar::skip_padding(&mut body, size).map_err(failed)?;
            let is_right = match by_name.get(&name) {
                Some(Item::Document(digest)) => FileDigest::of(&content) == *digest,
                // What they are is found out by whoever reads them.
                Some(_) => true,
                None => false,
            };
            if is_right {
                files.push((name, content));
            }
        }
        Ok(files)
    }
}

/// Takes so many bytes of what is left; once some do not fit, nothing is left.
pub(super) fn take(left: &AtomicU64, bytes: u64) -> bool {
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        left.checked_sub(bytes)
    });
    if taken.is_err() {
        left.store(0, Ordering::Relaxed);
    }
    taken.is_ok()
}

fn asked(items: &[Item]) -> AskDocuments {
    let mut asked = AskDocuments::default();
    for item in items {
        match item {
            Item::Document(digest) => asked.documents.push(*digest),
            Item::Bundle(digest) => asked.bundles.push(*digest),
            Item::Head { header, .. } => asked.heads.push(*header),
            Item::Builds(_) | Item::Releases | Item::Checkpoint | Item::Tile(_) => {}
        }
    }
    asked
}

/// Whether a server has no such questions: an older one, or files alone.
fn answers_one_by_one(error: &ApiError) -> bool {
    error.refused_with().is_some() || matches!(error, ApiError::Broken { status: 501, .. })
}

impl Source for Server {
    fn packages(
        &self,
        asked: &[(Nevra, HeaderDigest)],
    ) -> Result<Option<Vec<BuildStatus>>, SourceError> {
        const PATH: &str = "/api/v1/evidence/packages";
        let mut all = Vec::new();
        for some in asked.chunks(evidence::MAX_ASKED) {
            let headers = some.iter().map(|(_, header)| *header).collect();
            let ask = AskPackages { headers };
            let mut answer = match self.0.post(PATH, &ask) {
                Ok(answer) => answer,
                Err(error) if answers_one_by_one(&error) => return Ok(None),
                Err(error) => return Err(refused(error)),
            };
            // Read here: an answer that breaks off is not the same as that nobody answers.
            let body = answer.body_mut().with_config().limit(MAX_BUILDS_BYTES);
            let json = body.read_to_vec().map_err(|error| SourceError::Read {
                path: PATH.to_owned(),
                source: io::Error::other(error),
            })?;
            let builds: Vec<BuildStatus> =
                serde_json::from_slice(&json).map_err(|error| SourceError::Shape {
                    path: PATH.to_owned(),
                    why: error.to_string(),
                })?;
            all.extend(builds);
        }
        Ok(Some(all))
    }

    fn many(&self, items: &[Item]) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        self.many_within(items, &AtomicU64::new(MAX_MANY_BYTES))
    }

    fn open(&self, item: &Item) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        match self.0.get(&item.path()) {
            Ok(answer) => {
                // The reader stops at the limit of what was asked for; a package's head is cut off sooner.
                let body = answer.into_body().into_with_config().limit(u64::MAX);
                Ok(Some(Box::new(body.reader())))
            }
            Err(error) if error.refused_with() == Some(404) => Ok(None),
            Err(error) => Err(refused(error)),
        }
    }
}

fn refused(error: ApiError) -> SourceError {
    SourceError::Asked(Box::new(error))
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

/// Whether nobody answered at all.
pub fn is_unreachable(error: &SourceError) -> bool {
    match error {
        SourceError::Asked(error) => matches!(
            error.downcast_ref::<ApiError>(),
            Some(ApiError::Unreachable { .. })
        ),
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
