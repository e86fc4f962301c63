//! Asking the signer: blocking calls over its socket, for the server to run off its runtime.

use crate::frame::{self, FrameError};
use repo_model::announcement::{ChannelMove, RebuilderDecision};
use repo_model::dsse::Envelope;
use repo_model::policy::Reason;
use repo_model::policy::logged::LogProofs;
use repo_model::wire::signer::{
    Base64, CheckpointRequest, FreshnessRequest, Identity, LastRelease, ReleaseFiles, Request,
    Response, ShownSignatures, SightingsRequest, SignedManifest,
};
use repo_model::{HeaderDigest, RepoName};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of a file sent at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// The signer did not do it. After anything but [`ClientError::Refused`], `BadRequest` and
/// `Failed`, drop the client: the connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It does not run, or went away before it answered. Retry.
    #[error("the signer at {} cannot be reached", socket.display())]
    Unreachable {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The policy says no; the same evidence gets the same answer.
    #[error("the signer's policy {}: {}", if *held { "holds the package" } else { "rejects it" }, in_words(reasons))]
    Refused {
        /// Whether more evidence could change that.
        held: bool,
        /// Why.
        reasons: Vec<Reason>,
    },
    /// We asked for what cannot be. Do not retry.
    #[error("the signer refuses the request: {message}")]
    BadRequest {
        /// The signer's words.
        message: String,
    },
    /// The signer is in trouble. Retry later.
    #[error("the signer failed: {message}")]
    Failed {
        /// The signer's words.
        message: String,
    },
    /// It speaks another language than we do. Do not retry.
    #[error("the signer's answer makes no sense: {what}")]
    Protocol {
        /// What is wrong with it.
        what: String,
    },
    /// The file to be signed cannot be read, or is shorter or longer than was said. Ours.
    #[error("cannot read the file to be signed")]
    Source(#[source] io::Error),
}

impl ClientError {
    /// Whether asking again later, with the same request, makes sense.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Failed { .. } | Self::Source(_) => true,
            Self::Refused { .. } | Self::BadRequest { .. } | Self::Protocol { .. } => false,
        }
    }
}

fn in_words(reasons: &[Reason]) -> String {
    let words: Vec<_> = reasons.iter().map(ToString::to_string).collect();
    words.join("; ")
}

/// A package that may go out.
#[derive(Debug, Clone, PartialEq)]
pub struct SignedPackage {
    /// Stands between lead and main header, padding included.
    pub signature_header: Vec<u8>,
    /// Verification summary.
    pub summary: Envelope,
    /// Reference to the SBOMs.
    pub sbom_statement: Envelope,
}

/// What the signer made for a whole package file.
#[derive(Debug, Clone, PartialEq)]
pub struct SignedFile {
    /// Armoured signature over the file.
    pub armored: String,
    /// The same, post-quantum, unless that is off.
    pub post_quantum: Option<String>,
    /// Release statement.
    pub statement: Envelope,
}

/// A release that may go out.
#[derive(Debug, Clone, PartialEq)]
pub struct SignedRelease {
    /// Armoured signature over each `repomd.xml`, in the document's order.
    pub repomd_signatures: Vec<String>,
    /// The same, post-quantum; empty when that is off.
    pub repomd_post_quantum: Vec<String>,
    /// The release document as a signed statement.
    pub envelope: Envelope,
    /// The manifest of each repository, in the document's order.
    pub manifests: Vec<SignedManifest>,
}

/// What a connection to the signer runs over.
pub trait Wire: Read + Write + std::fmt::Debug + Send {}

impl<T: Read + Write + std::fmt::Debug + Send> Wire for T {}

/// One connection to the signer. Requests go one after the other.
#[derive(Debug)]
pub struct Client {
    stream: Box<dyn Wire>,
    socket: PathBuf,
}

impl Client {
    /// How long the signer may take to accept bytes.
    pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
    /// How long the signer may take to answer.
    pub const REPLY_TIMEOUT: Duration = Duration::from_secs(300);

    /// Speaks over a connection that somebody else made, with these two time limits.
    ///
    /// * `at`: where it leads to, for errors.
    pub fn over(stream: Box<dyn Wire>, at: PathBuf) -> Self {
        Self { stream, socket: at }
    }

    /// Connects. The signer closes connections that are silent for ten minutes.
    pub fn connect(socket: &Path) -> Result<Self, ClientError> {
        let connect = || {
            let stream = UnixStream::connect(socket)?;
            stream.set_write_timeout(Some(Self::WRITE_TIMEOUT))?;
            stream.set_read_timeout(Some(Self::REPLY_TIMEOUT))?;
            Ok(stream)
        };
        let stream = connect().map_err(|source| ClientError::Unreachable {
            socket: socket.to_owned(),
            source,
        })?;
        Ok(Self::over(Box::new(stream), socket.to_owned()))
    }

    /// The signer's public keys and policy.
    pub fn identity(&mut self) -> Result<Identity, ClientError> {
        match self.ask(&Request::Identity)? {
            Response::Identity(identity) => Ok(identity),
            other => Err(unexpected(&other)),
        }
    }

    /// The release that was signed last.
    pub fn last_release(&mut self) -> Result<Option<LastRelease>, ClientError> {
        match self.ask(&Request::LastRelease)? {
            Response::LastRelease { last } => Ok(last),
            other => Err(unexpected(&other)),
        }
    }

    /// Has a package judged and its header signed.
    ///
    /// * `repo`: the repository that it is for; a release may list it there only.
    /// * `head`: lead + signature header + main header of the unsigned file.
    /// * `envelopes`, `sboms`: the evidence, raw. Asking again with the same is safe.
    /// * `log`: that the envelopes are in the log, under a head that this signer signed; `None` when the policy
    ///   does not demand it. A signer from before there were proofs does not understand a request with some.
    pub fn sign_package(
        &mut self,
        repo: &RepoName,
        head: &[u8],
        envelopes: &[Envelope],
        sboms: &[Vec<u8>],
        log: Option<LogProofs>,
    ) -> Result<SignedPackage, ClientError> {
        let request = Request::SignPackage {
            repo: Some(repo.clone()),
            head: Base64(head.to_vec()),
            envelopes: envelopes.to_vec(),
            sboms: sboms.iter().cloned().map(Base64).collect(),
            log,
        };
        match self.ask(&request).map_err(or_outdated)? {
            Response::PackageSigned {
                signature_header,
                summary,
                sbom_statement,
            } => Ok(SignedPackage {
                signature_header: signature_header.0,
                summary,
                sbom_statement,
            }),
            other => Err(unexpected(&other)),
        }
    }

    /// Has a whole signed package file signed once more, detached.
    ///
    /// * `header`: the package; its header must have been signed by [`Client::sign_package`].
    /// * `file`: yields exactly `size_bytes` bytes.
    pub fn sign_file(
        &mut self,
        header: HeaderDigest,
        size_bytes: u64,
        file: impl Read,
    ) -> Result<SignedFile, ClientError> {
        self.send(&Request::SignFile { header, size_bytes })?;
        match self.stream_file(size_bytes, file) {
            // It may have refused and closed before it had heard all.
            Err(ClientError::Unreachable { source, .. }) if is_closed(&source) => {}
            other => other?,
        }
        match self.reply()? {
            Response::FileSigned {
                armored,
                post_quantum,
                statement,
            } => Ok(SignedFile {
                armored,
                post_quantum,
                statement,
            }),
            other => Err(unexpected(&other)),
        }
    }

    fn stream_file(&mut self, size_bytes: u64, file: impl Read) -> Result<(), ClientError> {
        let mut file = file.take(size_bytes);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = match file.read(&mut chunk) {
                Ok(0) if file.limit() > 0 => {
                    return Err(ClientError::Source(ErrorKind::UnexpectedEof.into()));
                }
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(ClientError::Source(error)),
            };
            self.stream
                .write_all(&chunk[..read])
                .map_err(|error| self.unreachable(error))?;
        }
    }

    /// Has a release signed.
    ///
    /// * `document`: JSON of the release document. Keep these bytes: after a lost answer only the
    ///   same bytes are signed again under the same number.
    /// * `repos`: each repository's files, in the document's order.
    pub fn sign_release(
        &mut self,
        document: &[u8],
        repos: &[ReleaseFiles],
    ) -> Result<SignedRelease, ClientError> {
        let request = Request::SignRelease {
            document: Base64(document.to_vec()),
            repos: repos.to_vec(),
        };
        match self.ask(&request)? {
            Response::ReleaseSigned {
                repomd_signatures,
                repomd_post_quantum,
                envelope,
                manifests,
            } => Ok(SignedRelease {
                repomd_signatures,
                repomd_post_quantum,
                envelope,
                manifests,
            }),
            other => Err(unexpected(&other)),
        }
    }

    /// Entries of the last checkpoint that the signer signed; 0 when there was none.
    pub fn last_checkpoint(&mut self) -> Result<u64, ClientError> {
        match self.ask(&Request::LastCheckpoint)? {
            Response::LastCheckpoint { size } => Ok(size),
            other => Err(unexpected(&other)),
        }
    }

    /// Has the head of the log signed; returns the signed note. Asking again for the same is safe.
    pub fn sign_checkpoint(&mut self, request: CheckpointRequest) -> Result<String, ClientError> {
        match self.ask(&Request::SignCheckpoint(request))? {
            Response::CheckpointSigned { note } => Ok(note),
            other => Err(unexpected(&other)),
        }
    }

    /// Has it said that a channel was moved; returns the statement. Asking again is safe.
    pub fn announce_move(&mut self, moved: ChannelMove) -> Result<Envelope, ClientError> {
        self.announced(&Request::AnnounceMove(moved))
    }

    /// Has it said which keys and policy are in force; returns the statement. Asking again is safe.
    pub fn announce_keys(&mut self) -> Result<Envelope, ClientError> {
        self.announced(&Request::AnnounceKeys)
    }

    /// Has it said that a rebuilder was let in or turned away; returns the statement. Asking again is safe.
    pub fn announce_rebuilder(
        &mut self,
        decision: RebuilderDecision,
    ) -> Result<Envelope, ClientError> {
        self.announced(&Request::AnnounceRebuilder(Box::new(decision)))
    }

    fn announced(&mut self, request: &Request) -> Result<Envelope, ClientError> {
        match self.ask(request)? {
            Response::Announced { envelope } => Ok(envelope),
            other => Err(unexpected(&other)),
        }
    }

    /// Has it said what it signed that was not shown to be in the log yet; `None`: there is nothing.
    pub fn say_signatures(&mut self) -> Result<Option<Envelope>, ClientError> {
        match self.ask(&Request::SaySignatures)? {
            Response::SignaturesSaid { envelope } => Ok(envelope),
            other => Err(unexpected(&other)),
        }
    }

    /// Shows it that such a statement is in the log; returns how many signatures wait still.
    pub fn show_signatures(&mut self, shown: ShownSignatures) -> Result<u64, ClientError> {
        match self.ask(&Request::ShowSignatures(Box::new(shown)))? {
            Response::SignaturesShown { left } => Ok(left),
            other => Err(unexpected(&other)),
        }
    }

    /// Has it said that a channel is at a release.
    pub fn sign_freshness(&mut self, request: FreshnessRequest) -> Result<Envelope, ClientError> {
        match self.ask(&Request::SignFreshness(request))? {
            Response::FreshnessSigned { envelope } => Ok(envelope),
            other => Err(unexpected(&other)),
        }
    }

    /// Has it said what was seen of mirrors.
    pub fn sign_sightings(&mut self, request: SightingsRequest) -> Result<Envelope, ClientError> {
        match self.ask(&Request::SignSightings(request))? {
            Response::SightingsSigned { envelope } => Ok(envelope),
            other => Err(unexpected(&other)),
        }
    }

    fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        self.send(request)?;
        self.reply()
    }

    fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        match frame::send(&mut self.stream, request) {
            Ok(()) => Ok(()),
            // It may have refused the connection and said why.
            Err(FrameError::Io(error)) if is_closed(&error) => match self.reply() {
                Ok(response) => Err(unexpected(&response)),
                Err(ClientError::Unreachable { .. }) => Err(self.unreachable(error)),
                Err(said) => Err(said),
            },
            Err(error) => Err(self.broken(error)),
        }
    }

    /// The answer, with the three kinds of "no" as errors.
    fn reply(&mut self) -> Result<Response, ClientError> {
        let json = match frame::receive(&mut self.stream) {
            Ok(Some(json)) => json,
            Ok(None) => return Err(self.unreachable(ErrorKind::UnexpectedEof.into())),
            Err(error) => return Err(self.broken(error)),
        };
        let response = serde_json::from_slice(&json).map_err(|error| ClientError::Protocol {
            what: error.to_string(),
        })?;
        match response {
            Response::Refused { held, reasons } => Err(ClientError::Refused { held, reasons }),
            Response::BadRequest { message } => Err(ClientError::BadRequest { message }),
            Response::Failed { message } => Err(ClientError::Failed { message }),
            answer => Ok(answer),
        }
    }

    fn broken(&self, error: FrameError) -> ClientError {
        match error {
            FrameError::Io(source) => self.unreachable(source),
            FrameError::TooLong { .. } | FrameError::Json(_) => ClientError::Protocol {
                what: error.to_string(),
            },
        }
    }

    fn unreachable(&self, source: io::Error) -> ClientError {
        ClientError::Unreachable {
            socket: self.socket.clone(),
            source,
        }
    }
}

/// Says in clear words what a signer means that does not know proofs.
fn or_outdated(error: ClientError) -> ClientError {
    match error {
        ClientError::BadRequest { message } if message.contains("unknown field `log`") => {
            ClientError::Protocol {
                what:
                    "it is older than this server and understands no proofs of the log: update the \
                       signer, then try again"
                        .to_owned(),
            }
        }
        error => error,
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
    )
}

fn unexpected(response: &Response) -> ClientError {
    let text = format!("{response:?}");
    ClientError::Protocol {
        what: text.chars().take(40).collect(),
    }
}
