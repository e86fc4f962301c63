//! HTTP for `object_store` by the client that everything else here uses: one TLS, one list of trusted roots, one way
//! to wait. Calls block their thread, which is a worker's own.

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use std::io;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{Method, Request, Response, Uri};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for an answer, and for each piece of it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time for a request as a whole: a part on a slow line.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Longest wait for the services inside a machine that give it credentials; most machines have none.
const INSIDE_TIMEOUT: Duration = Duration::from_secs(2);
/// Largest answer, bytes: what is asked for is asked for in pieces.
const ANSWER_MAX_BYTES: u64 = 32 << 20;

/// Makes the client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Service {
            outside: agent(true),
            inside: agent(false),
        }))
    }
}

/// * `through_proxy`: whether a proxy from the environment counts.
fn agent(through_proxy: bool) -> Agent {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("hallmark/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        // A redirected request would carry a signature made for another place.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(ANSWER_TIMEOUT))
        .timeout_recv_body(Some(ANSWER_TIMEOUT))
        .timeout_global(Some(WHOLE_TIMEOUT));
    if !through_proxy {
        config = config.proxy(None);
    }
    config.build().new_agent()
}

#[derive(Debug)]
struct Service {
    outside: Agent,
    inside: Agent,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let agent = match is_inside(&parts.uri) {
            true => &self.inside,
            false => &self.outside,
        };
        let limit = is_link_local(&parts.uri).then_some(INSIDE_TIMEOUT);
        let answer = if [Method::PUT, Method::POST].contains(&parts.method) {
            agent.run(limited(Request::from_parts(parts, &body[..]), agent, limit))
        } else {
            agent.run(limited(Request::from_parts(parts, ()), agent, limit))
        };
        let answer = answer.map_err(failed)?;
        let (parts, mut body) = answer.into_parts();
        let bytes = body
            .with_config()
            .limit(ANSWER_MAX_BYTES)
            .read_to_vec()
            .map_err(failed)?;
        let body = HttpResponseBody::from(Bytes::from(bytes));
        Ok(Response::from_parts(parts, body))
    }
}

fn limited<B: ureq::AsSendBody>(
    request: Request<B>,
    agent: &Agent,
    limit: Option<Duration>,
) -> Request<B> {
    match limit {
        None => request,
        Some(limit) => agent
            .configure_request(request)
            .timeout_global(Some(limit))
            .build(),
    }
}

/// Whether a proxy cannot lead there: this machine's own loopback, and addresses of its own line.
fn is_inside(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    host == "localhost" || host == "[::1]" || host.starts_with("127.") || is_link_local(uri)
}

fn is_link_local(uri: &Uri) -> bool {
    uri.host().is_some_and(|host| host.starts_with("169.254."))
}

fn failed(error: ureq::Error) -> HttpError {
    let kind = match &error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => HttpErrorKind::Connect,
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::Io(source) => match source.kind() {
            io::ErrorKind::ConnectionRefused => HttpErrorKind::Connect,
            io::ErrorKind::TimedOut => HttpErrorKind::Timeout,
            _ => HttpErrorKind::Interrupted,
        },
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_stands_before_addresses_inside_the_machine() {
        for (uri, inside) in [
            ("http://127.0.0.1:5000/b/k", true),
            ("http://localhost/b", true),
            ("http://169.254.169.254/latest/meta-data", true),
            ("https://s3.eu-central-1.amazonaws.com/b/k", false),
        ] {
            assert_eq!(is_inside(&uri.parse().unwrap()), inside, "{uri}");
        }
    }
}
