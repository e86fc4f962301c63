//! HTTP as the tests speak it: any method, any header, every status an answer, and raw TCP for what no
//! decent client would send.

use serde::de::DeserializeOwned;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{HeaderMap, Request};

/// Longest that an answer may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Largest answer that is read, bytes.
const MAX_BODY_BYTES: u64 = 1 << 30;

/// A client of one server.
#[derive(Debug, Clone)]
pub struct Http {
    agent: Agent,
    base: String,
    token: Option<String>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the answer {}: {}", self.status, self.text()))
    }

    /// A header; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Http {
    /// `base`: `http://127.0.0.1:1234`.
    pub fn new(base: &str, token: Option<String>) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(LIMIT))
            .max_redirects(0)
            .proxy(None)
            .build()
            .new_agent();
        Self { agent, base: base.to_owned(), token }
    }

    /// The same server with another token, or none.
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    /// The whole URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// One request; none when no answer came.
    pub fn try_send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Answer> {
        let mut request = Request::builder().method(method).uri(self.url(path));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = match method {
            "GET" | "HEAD" => self.agent.run(request.body(()).expect("the request is well-formed")),
            _ => self.agent.run(request.body(body).expect("the request is well-formed")),
        };
        let response = sent.ok()?;
        let (parts, mut body) = response.into_parts();
        let body = body.with_config().limit(MAX_BODY_BYTES).read_to_vec().ok()?;
        Some(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// One request.
    ///
    /// # Panics
    /// When no answer came.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_send(method, path, headers, body).unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    /// `GET`.
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// `GET` that must give 200.
    ///
    /// # Panics
    /// When it gives something else.
    pub fn fetch(&self, path: &str) -> Vec<u8> {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.body
    }

    /// `GET` of JSON.
    pub fn get_json<T: DeserializeOwned>(&self, path: &str) -> T {
        serde_json::from_slice(&self.fetch(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// `PUT`.
    pub fn put(&self, path: &str, body: &[u8]) -> Answer {
        self.send("PUT", path, &[], body)
    }

    /// `POST` of JSON.
    pub fn post_json(&self, path: &str, body: &impl serde::Serialize) -> Answer {
        let json = serde_json::to_vec(body).expect("the body serialises");
        self.send("POST", path, &[("content-type", "application/json")], &json)
    }

    /// Bytes straight onto a new connection, which is then closed for writing; all that comes back.
    ///
    /// # Panics
    /// When the server cannot be reached.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may answer and close before it has read all.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A connection of one's own.
    ///
    /// # Panics
    /// When the server cannot be reached.
    pub fn connect(&self) -> TcpStream {
        let address = self.base.trim_start_matches("http://");
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_read_timeout(Some(LIMIT)).expect("a time limit is set");
        stream.set_write_timeout(Some(LIMIT)).expect("a time limit is set");
        stream
    }

    /// `Authorization: Bearer …` with its line end, for [`Http::raw`].
    pub fn authorization_line(&self) -> String {
        self.token.as_ref().map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"))
    }

    /// `host:port`.
    pub fn host(&self) -> &str {
        self.base.trim_start_matches("http://")
    }
}
