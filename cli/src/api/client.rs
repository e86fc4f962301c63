//! One HTTP client for one server: base URL, token, and the reading of its answers.

use super::ApiError;
use super::retry::{Patience, with_patience};
use crate::failure::Failure;
use repo_model::wire::ErrorBody;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

/// Largest JSON answer that is read: a status page of builds with thousands of packages.
const MAX_JSON_BYTES: u64 = 256 << 20;
/// Longest error answer that is read.
const MAX_ERROR_BYTES: u64 = 64 << 10;

/// Which server, and with which token.
#[derive(Debug, clap::Args)]
pub struct ServerArgs {
    /// The server's URL
    #[arg(
        long = "server",
        value_name = "URL",
        env = "HALLMARK_SERVER_URL",
        default_value = "http://127.0.0.1:8080",
        help_heading = "Server"
    )]
    pub url: String,
    /// File that holds the access token; without it the variable HALLMARK_TOKEN is used
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    pub token_file: Option<PathBuf>,
}

impl ServerArgs {
    /// The client for it; a wrong URL or token file is a wrong usage.
    pub fn client(&self) -> Result<Client, Failure> {
        let token = match &self.token_file {
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
                Failure::usage(format!(
                    "cannot read the token file {}: {error}",
                    path.display()
                ))
            })?),
            None => std::env::var("HALLMARK_TOKEN").ok(),
        };
        let token = token
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty());
        Client::new(&self.url, token)
    }
}

/// One server.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.base)
    }
}

impl Client {
    /// `url`: `http://` or `https://`, with or without a final slash.
    pub fn new(url: &str, token: Option<String>) -> Result<Self, Failure> {
        let base = url.trim_end_matches('/').to_owned();
        let host = base
            .strip_prefix("https://")
            .or_else(|| base.strip_prefix("http://"));
        let Some(host) = host.filter(|host| !host.is_empty()) else {
            return Err(Failure::usage(format!("`{url}` is not a server URL"))
                .with_hint("a server URL looks like https://packages.example"));
        };
        if token
            .as_deref()
            .is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic()))
        {
            return Err(
                Failure::usage("the token holds characters that no token has")
                    .with_hint("a token is one line, as `hallmark token create` printed it"),
            );
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("hallmark/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(10)))
            // A POST of a large build is linted and committed before it is answered.
            .timeout_recv_response(Some(Duration::from_secs(120)));
        let local = ["localhost", "127.", "[::1]"];
        if local.iter().any(|name| host.starts_with(name)) {
            // A proxy from the environment cannot reach this machine's own loopback.
            config = config.proxy(None);
        }
        Ok(Self {
            agent: config.build().new_agent(),
            base,
            token,
        })
    }

    /// The whole URL of a path that starts with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// `GET` of JSON, with a few tries.
    pub fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        with_patience(Patience::READING, || self.read_json(path, self.get(path)?))
    }

    /// `GET` of JSON, once; none when the server answers 404.
    pub fn find_json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ApiError> {
        match self
            .get(path)
            .and_then(|answer| self.read_json(path, answer))
        {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.refused_with() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `GET` of a small text, with a few tries.
    pub fn get_text(&self, path: &str) -> Result<String, ApiError> {
        with_patience(Patience::READING, || {
            let mut answer = self.get(path)?;
            let text = answer
                .body_mut()
                .with_config()
                .limit(MAX_JSON_BYTES)
                .read_to_string();
            text.map_err(|source| ApiError::from_transport(&self.url(path), source))
        })
    }

    /// `GET` of a body of any length; 4xx and 5xx are errors.
    pub fn get(&self, path: &str) -> Result<Response<Body>, ApiError> {
        self.get_within(path, None)
    }

    /// `GET`, once, of what is not read any more when its content has not come after so long.
    pub fn get_within(
        &self,
        path: &str,
        most: Option<Duration>,
    ) -> Result<Response<Body>, ApiError> {
        let url = self.url(path);
        let request = self.agent.get(&url).config();
        let mut request = request.timeout_recv_body(most).build();
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = request
            .call()
            .map_err(|source| ApiError::from_transport(&url, source))?;
        accept(&url, answer)
    }

    /// Whether `HEAD` finds it.
    pub fn exists(&self, path: &str) -> Result<bool, ApiError> {
        let url = self.url(path);
        let mut request = self.agent.head(&url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = request
            .call()
            .map_err(|source| ApiError::from_transport(&url, source))?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        accept(&url, answer).map(|_| true)
    }

    /// `POST` of JSON that is answered with JSON, once.
    pub fn post_json<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ApiError> {
        let answer = self.post(path, body)?;
        self.read_json(path, answer)
    }

    /// `POST` of JSON whose answer says nothing, once.
    pub fn post<B: Serialize>(&self, path: &str, body: &B) -> Result<Response<Body>, ApiError> {
        let json = serde_json::to_vec(body).map_err(|error| ApiError::Request {
            url: self.url(path),
            source: Box::new(ureq::Error::Json(error)),
        })?;
        self.send_json(path, &json)
    }

    fn send_json(&self, path: &str, json: &[u8]) -> Result<Response<Body>, ApiError> {
        let url = self.url(path);
        let mut request = self.agent.post(&url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = request
            .header("content-type", "application/json")
            .send(json)
            .map_err(|source| ApiError::from_transport(&url, source))?;
        accept(&url, answer)
    }

    /// `POST` of a JSON document as it is, answered with JSON, once.
    pub fn post_raw<T: DeserializeOwned>(&self, path: &str, json: &[u8]) -> Result<T, ApiError> {
        let answer = self.send_json(path, json)?;
        self.read_json(path, answer)
    }

    /// `DELETE`, once.
    pub fn delete(&self, path: &str) -> Result<(), ApiError> {
        let url = self.url(path);
        let mut request = self.agent.delete(&url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = request
            .call()
            .map_err(|source| ApiError::from_transport(&url, source))?;
        accept(&url, answer).map(|_| ())
    }

    /// `PUT` of `size_bytes` from `body`, once. The body is sent only after the server agreed to
    /// take it (`Expect: 100-continue`), so a refusal is read and not lost in a broken pipe.
    ///
    /// * `range`: value of `Content-Range`; none: the whole thing.
    pub fn put(
        &self,
        path: &str,
        range: Option<String>,
        size_bytes: u64,
        body: &mut dyn Read,
    ) -> Result<(), ApiError> {
        let url = self.url(path);
        let mut request = self
            .agent
            .put(&url)
            .header("content-type", "application/octet-stream")
            .header("content-length", size_bytes)
            .header("expect", "100-continue");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(range) = range {
            request = request.header("content-range", range);
        }
        let answer = request
            .send(ureq::SendBody::from_reader(body))
            .map_err(|source| ApiError::from_transport(&url, source))?;
        accept(&url, answer).map(|_| ())
    }

    fn read_json<T: DeserializeOwned>(
        &self,
        path: &str,
        mut answer: Response<Body>,
    ) -> Result<T, ApiError> {
        let url = self.url(path);
        let body = answer
            .body_mut()
            .with_config()
            .limit(MAX_JSON_BYTES)
            .read_to_vec();
        let body = body.map_err(|source| ApiError::from_transport(&url, source))?;
        serde_json::from_slice(&body).map_err(|source| ApiError::NotOurs {
            url,
            source: source.into(),
        })
    }
}

/// Sorts an answer by its status.
fn accept(url: &str, mut answer: Response<Body>) -> Result<Response<Body>, ApiError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let text = answer
        .body_mut()
        .with_config()
        .limit(MAX_ERROR_BYTES)
        .read_to_vec()
        .unwrap_or_default();
    let url = url.to_owned();
    if status.is_server_error() {
        return Err(ApiError::Broken {
            url,
            status: status.as_u16(),
            message: server_words(&text, status),
        });
    }
    if !status.is_client_error() {
        return Err(ApiError::NotOurs {
            url,
            source: format!("unexpected answer {status}").into(),
        });
    }
    let body = serde_json::from_slice(&text).unwrap_or_else(|_| ErrorBody {
        error: format!("{url} answered {status}"),
        code: "http".to_owned(),
        hint: None,
    });
    Err(ApiError::Refused {
        status: status.as_u16(),
        body: Box::new(body),
    })
}

/// The `error` of a 5xx body, or the status in words.
fn server_words(body: &[u8], status: StatusCode) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let words = json.as_ref().and_then(|json| json.get("error")?.as_str());
    words
        .unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason given"))
        .to_owned()
}

/// Percent-encodes a value for a query string or a path segment.
pub fn query_value(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_cannot_add_parameters() {
        assert_eq!(
            query_value("gtk+-1~rc1^2&stage=held é"),
            "gtk%2B-1~rc1%5E2%26stage%3Dheld%20%C3%A9"
        );
    }

    #[test]
    fn wrong_servers_and_tokens_are_refused_before_anything_is_sent() {
        for bad in ["", "localhost:8080", "ftp://x", "http://"] {
            assert_eq!(
                Client::new(bad, None).unwrap_err().exit,
                crate::failure::Exit::Usage,
                "{bad}"
            );
        }
        assert!(Client::new("http://x", Some("a b".to_owned())).is_err());
        assert_eq!(
            Client::new("http://x///", None).unwrap().url("/a"),
            "http://x/a"
        );
        assert!(
            !format!(
                "{:?}",
                Client::new("http://x", Some("secret".to_owned())).unwrap()
            )
            .contains("secret")
        );
    }
}
