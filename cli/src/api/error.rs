//! What can go wrong between this command and the server.

use crate::failure::{Exit, Failure};
use repo_model::wire::ErrorBody;

/// A request that brought no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody's fault: the server or the way to it is down. Retry is safe.
    #[error("cannot reach {url}")]
    Unreachable {
        /// The request's URL.
        url: String,
        /// What the network said.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The server's fault; its log has the details. Retry is safe.
    #[error("{url} answered {status}: {message}")]
    Broken {
        /// The request's URL.
        url: String,
        /// 5xx.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// The request's fault: the same request is refused again.
    #[error("{}", body.error)]
    Refused {
        /// 4xx.
        status: u16,
        /// The server's sentence, code and hint.
        body: Box<ErrorBody>,
    },
    /// Another version of the server, or not a Hallmark server at all. Do not retry.
    #[error("{url} did not answer as a Hallmark server does")]
    NotOurs {
        /// The request's URL.
        url: String,
        /// What is wrong with the answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The request cannot be made: wrong server URL or token. The user's fault.
    #[error("cannot ask {url}")]
    Request {
        /// The request's URL.
        url: String,
        /// What is wrong with it.
        #[source]
        source: Box<ureq::Error>,
    },
}

impl ApiError {
    /// Sorts what the HTTP client reports.
    pub fn from_transport(url: &str, source: ureq::Error) -> Self {
        let url = url.to_owned();
        let source = Box::new(source);
        match *source {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::InvalidProxyUrl => {
                Self::Request { url, source }
            }
            _ => Self::Unreachable { url, source },
        }
    }

    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => true,
            // `busy`: another request uploads the same blob.
            Self::Refused { status, body } => *status == 429 || body.code == "busy",
            Self::NotOurs { .. } | Self::Request { .. } => false,
        }
    }

    /// The 4xx status, when it is one.
    pub fn refused_with(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::NotOurs { .. }
            | Self::Request { .. } => None,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::Broken { status, .. } if *status > 500 => Exit::Unreachable,
            Self::Broken { .. } | Self::Refused { .. } => Exit::Failed,
            Self::NotOurs { .. } | Self::Request { .. } => Exit::Usage,
        }
    }

    /// What to do next, when that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable { .. } => {
                Some("is the server running? set --server or HALLMARK_SERVER_URL".to_owned())
            }
            Self::Broken { .. } => Some("the server's log tells why; try again later".to_owned()),
            Self::Refused { status, body } => body.hint.clone().or_else(|| token_hint(*status)),
            Self::NotOurs { .. } | Self::Request { .. } => {
                Some("check --server or HALLMARK_SERVER_URL".to_owned())
            }
        }
    }
}

fn token_hint(status: u16) -> Option<String> {
    let text = match status {
        401 => {
            "set HALLMARK_TOKEN or --token-file; `hallmark token create` on the server makes one"
        }
        403 => {
            "the token lacks the scope for this; `hallmark token create --help` lists the scopes"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let hint = error.hint();
        let failure = Failure::new(error.exit(), error);
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}
