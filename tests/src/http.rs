//! HTTP as the tests speak it: any method, any header, every status an answer, and raw TCP for what no
//! decent client would send.

use serde::de::DeserializeOwned;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;
use ureq::Agent;
use ureq::http::{HeaderMap, HeaderName, Request};

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
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{error} in the answer {}: {}", self.status, self.text())
        })
    }

    /// A header; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
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
        Self {
            agent,
            base: base.to_owned(),
            token,
        }
    }

    /// The same server with another token, or none.
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self {
            token: token.map(str::to_owned),
            ..self.clone()
        }
    }

    /// The whole URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// One request; none when no answer came.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        let mut request = Request::builder().method(method).uri(self.url(path));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = match method {
            "GET" | "HEAD" => self
                .agent
                .run(request.body(()).expect("the request is well-formed")),
            _ => self
                .agent
                .run(request.body(body).expect("the request is well-formed")),
        };
        let response = sent.ok()?;
        let (parts, mut body) = response.into_parts();
        let body = body
            .with_config()
            .limit(MAX_BODY_BYTES)
            .read_to_vec()
            .ok()?;
        Some(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        })
    }

    /// One request.
    ///
    /// # Panics
    /// When no answer came.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_send(method, path, headers, body)
            .unwrap_or_else(|| panic!("no answer to {method} {path}"))
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

    /// The answer to a request whose body of `size_bytes` is announced and never sent.
    ///
    /// # Panics
    /// When no answer comes.
    pub fn announce(&self, method: &str, path: &str, size_bytes: u64) -> Answer {
        let mut stream = self.connect();
        let head = format!(
            "{}connection: close\r\n\r\n",
            self.head(method, path, size_bytes)
        );
        stream.write_all(head.as_bytes()).expect("the server reads");
        read_answer(&mut stream)
    }

    /// Start of a request, without the empty line: for connections of one's own.
    pub fn head(&self, method: &str, path: &str, size_bytes: u64) -> String {
        let token = self.token.as_ref().map_or_else(String::new, |token| {
            format!("authorization: Bearer {token}\r\n")
        });
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{token}content-type: application/json\r\n\
             content-length: {size_bytes}\r\n",
            self.host()
        )
    }

    /// `GET` from another address of this machine: to the server, another client.
    ///
    /// * `source`: in 127.0.0.0/8.
    ///
    /// # Panics
    /// When the server cannot be reached or does not answer.
    pub fn get_from(&self, source: Ipv4Addr, path: &str) -> Answer {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let server: SocketAddr = self.host().parse().expect("the server's address");
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&socket, &SocketAddr::from((source, 0))).expect("an address of this machine");
        connect(&socket, &server).unwrap_or_else(|error| panic!("{server}: {error}"));
        let mut stream = TcpStream::from(socket);
        stream
            .set_read_timeout(Some(LIMIT))
            .expect("a time limit is set");
        let head = format!("GET {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("the server reads");
        read_answer(&mut stream)
    }

    /// A connection of one's own.
    ///
    /// # Panics
    /// When the server cannot be reached.
    pub fn connect(&self) -> TcpStream {
        let address = self.base.trim_start_matches("http://");
        let stream =
            TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        stream
            .set_read_timeout(Some(LIMIT))
            .expect("a time limit is set");
        stream
            .set_write_timeout(Some(LIMIT))
            .expect("a time limit is set");
        stream
    }

    fn host(&self) -> &str {
        self.base.trim_start_matches("http://")
    }
}

/// Reads one answer, to the end that its head announces or to that of the connection.
///
/// # Panics
/// When none comes.
pub fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = reader.read_line(&mut head).expect("an answer");
        assert!(read > 0, "the connection ended within the head: {head}");
    }
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .expect("a status");
    let mut headers = HeaderMap::new();
    for (name, value) in head
        .trim_end()
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
    {
        let name: HeaderName = name.parse().expect("a header's name");
        headers.append(name, value.parse().expect("a header's value"));
    }
    let length = headers
        .get("content-length")
        .and_then(|length| length.to_str().ok()?.parse().ok());
    let mut body = Vec::new();
    reader
        .take(length.unwrap_or(MAX_BODY_BYTES))
        .read_to_end(&mut body)
        .expect("a body");
    Answer {
        status,
        headers,
        body,
    }
}
