//! Files below one URL, as a careful client asks for them: bounded waiting, no content coding, a
//! bounded number of redirects.

use crate::probing::is_public;
use std::io::Read;
use std::net::IpAddr;
use std::time::Duration;
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::http::{HeaderMap, Response, Uri, header};
use ureq::typestate::AgentScope;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// How long a server may take to be found, and to begin its answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest follow-up of redirects; mirror redirectors need one or two.
const REDIRECTS_MAX: u32 = 8;
/// Connections that are kept open for the next request.
const IDLE_CONNECTIONS: usize = 64;

/// The text is not a URL that can be used here. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` is not a repository's URL: want http://HOST/PATH or https://HOST/PATH")]
pub struct BadUrlError {
    url: String,
}

/// A file cannot be had from a server.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// 404 or 410. The server does not have it.
    #[error("it does not exist")]
    Missing,
    /// The server refuses it; asking again does not help.
    #[error("the server answers {status}")]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// The answer makes no sense, or leads nowhere; asking again does not help.
    #[error("the server's answer cannot be used: {0}")]
    Unusable(String),
    /// The server cannot be reached or is overloaded; retry later.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
}

/// What identifies a version of a file to its server.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Validators {
    /// `ETag`, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `Last-Modified`, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

/// A file under way.
pub struct Answer {
    /// Where `body` starts in the file: as asked, or 0 when the server does not do ranges.
    pub from: u64,
    /// Bytes of the whole file, as far as the server says.
    pub size_bytes: Option<u64>,
    /// What to ask with next time.
    pub validators: Validators,
    /// Its bytes, as they come; a stalled server ends them with an error.
    pub body: Box<dyn Read + Send>,
}

/// The files below one URL. Used from several threads; keeps connections.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    base: String,
}

impl Client {
    /// * `url`: `http://` or `https://`, the directory that holds `repodata`.
    /// * `stall`: longest wait for the start of an answer, and for each next piece of it.
    pub fn new(url: &str, stall: Duration) -> Result<Self, BadUrlError> {
        let (base, host, tls) = split(url)?;
        let mut config = careful(stall, tls).max_redirects(REDIRECTS_MAX);
        let local = ["localhost", "127.", "[::1]"];
        if local.iter().any(|name| host.starts_with(name)) {
            // A proxy from the environment cannot reach this machine's own loopback.
            config = config.proxy(None);
        }
        Ok(Self {
            agent: config.build().new_agent(),
            base,
        })
    }

    /// Files of a server that somebody else named: asked directly, at addresses that `may` lets pass, and
    /// never anywhere that it leads to.
    pub fn guarded(
        url: &str,
        stall: Duration,
        may: fn(IpAddr) -> bool,
    ) -> Result<Self, BadUrlError> {
        let (base, _, tls) = split(url)?;
        // Through a proxy the guard would see the proxy's address alone.
        let config = careful(stall, tls).max_redirects(0).proxy(None).build();
        let guard = Guard {
            may,
            resolver: DefaultResolver::default(),
        };
        Ok(Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), guard),
            base,
        })
    }

    /// The same files, asked for on behalf of others: redirects lead to the servers of `all`, wherever those are, and
    /// else to public addresses alone. Through a proxy it is the proxy's business where they may lead.
    #[must_use]
    pub fn led_within(&self, all: &[&Self]) -> Self {
        let led = Led {
            origins: all
                .iter()
                .filter_map(|one| origin(&one.base.parse::<Uri>().ok()?))
                .collect(),
            resolver: DefaultResolver::default(),
        };
        let config = self.agent.config().clone();
        Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), led),
            base: self.base.clone(),
        }
    }

    /// The URL of a file.
    pub fn url(&self, path: &str) -> String {
        format!("{}/{}", self.base, encoded(path))
    }

    /// Asks for a file from byte `from` on; servers without ranges give all of it.
    pub fn get(&self, path: &str, from: u64) -> Result<Answer, HttpError> {
        let mut request = self.agent.get(self.url(path));
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let answer = request.call().map_err(problem)?;
        match answer.status().as_u16() {
            200 => Ok(whole(answer)),
            206 if from > 0 => part(answer, from),
            status => Err(refusal(status)),
        }
    }

    /// Asks for the bytes of a file from `from` up to `to`; none: the server gives no ranges.
    pub fn get_range(&self, path: &str, from: u64, to: u64) -> Result<Option<Answer>, HttpError> {
        let last = to.saturating_sub(1);
        let request = self.agent.get(self.url(path));
        let request = request.header(header::RANGE, format!("bytes={from}-{last}"));
        let answer = request.call().map_err(problem)?;
        match answer.status().as_u16() {
            200 => Ok(None),
            206 => part(answer, from).map(Some),
            status => Err(refusal(status)),
        }
    }

    /// Asks for a file; none when it is still the one that `known` names.
    pub fn get_changed(&self, path: &str, known: &Validators) -> Result<Option<Answer>, HttpError> {
        let mut request = self.agent.get(self.url(path));
        if let Some(etag) = &known.etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        if let Some(modified) = &known.last_modified {
            request = request.header(header::IF_MODIFIED_SINCE, modified);
        }
        let answer = request.call().map_err(problem)?;
        let conditional = known.etag.is_some() || known.last_modified.is_some();
        match answer.status().as_u16() {
            200 => Ok(Some(whole(answer))),
            304 if conditional => Ok(None),
            status => Err(refusal(status)),
        }
    }

    /// Bytes of a file, by a HEAD request; none when the server does not tell.
    pub fn size_bytes(&self, path: &str) -> Result<Option<u64>, HttpError> {
        let answer = self.agent.head(self.url(path)).call().map_err(problem)?;
        match answer.status().as_u16() {
            200 => Ok(number(answer.headers(), header::CONTENT_LENGTH.as_str())),
            status => Err(refusal(status)),
        }
    }
}

/// A URL without its last slash, the host where it goes on, and whether it is asked over TLS.
fn split(url: &str) -> Result<(String, String, bool), BadUrlError> {
    let base = url.trim_end_matches('/').to_owned();
    let https = base.strip_prefix("https://");
    let host = https.or_else(|| base.strip_prefix("http://"));
    let host = host.filter(|host| !host.is_empty() && !host.starts_with('/'));
    match host {
        Some(host) => Ok((base.clone(), host.to_owned(), https.is_some())),
        None => Err(BadUrlError {
            url: without_password(url),
        }),
    }
}

fn careful(stall: Duration, tls: bool) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("hallmark/", env!("CARGO_PKG_VERSION")))
        // A body must come as the file is: its checksum is looked at.
        .accept_encoding("identity")
        // Whoever asks over TLS is not sent elsewhere in the clear.
        .https_only(tls)
        .max_idle_connections(IDLE_CONNECTIONS)
        .max_idle_connections_per_host(IDLE_CONNECTIONS)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(stall))
        .timeout_per_read(Some(stall))
}

/// Looks names up, and lets nobody connect to an address that does not pass. What is checked is what is
/// connected to: a name that changes its meaning in between changes nothing.
#[derive(Debug)]
struct Guard {
    may: fn(IpAddr) -> bool,
    resolver: DefaultResolver,
}

impl Resolver for Guard {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.resolver.resolve(uri, config, timeout)?;
        match found.iter().find(|address| !(self.may)(address.ip())) {
            None => Ok(found),
            Some(address) => Err(ureq::Error::Other(
                format!("its address {} is not a public one", address.ip()).into(),
            )),
        }
    }
}

/// Looks names up, and lets nobody be led inside but to servers that were named.
#[derive(Debug)]
struct Led {
    origins: Vec<Origin>,
    resolver: DefaultResolver,
}

impl Resolver for Led {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.resolver.resolve(uri, config, timeout)?;
        let named = origin(uri).is_some_and(|to| self.origins.iter().any(|one| one.is_of(&to)));
        // With a proxy it is the proxy's own name that is looked up.
        if named || config.proxy().is_some() {
            return Ok(found);
        }
        match found.iter().find(|address| !is_public(address.ip())) {
            None => Ok(found),
            Some(address) => Err(ureq::Error::Other(
                format!(
                    "it leads to {}, whose address {} is not a public one: name that server as an upstream, too, if that is meant",
                    uri.host().unwrap_or_default(),
                    address.ip()
                )
                .into(),
            )),
        }
    }
}

/// A server, as URLs name it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    host: String,
    port: u16,
}

impl Origin {
    /// Whether the two are one server; one at the usual port may go over to TLS.
    fn is_of(&self, other: &Self) -> bool {
        let usual = |port| port == 80 || port == 443;
        let one_port = self.port == other.port || (usual(self.port) && usual(other.port));
        self.host == other.host && one_port
    }
}

fn origin(uri: &Uri) -> Option<Origin> {
    let usual = match uri.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    Some(Origin {
        host: uri.host()?.to_ascii_lowercase(),
        port: uri.port_u16().unwrap_or(usual),
    })
}

fn whole(answer: Response<ureq::Body>) -> Answer {
    let validators = validators(answer.headers());
    let body = answer.into_body();
    Answer {
        from: 0,
        size_bytes: body.content_length(),
        validators,
        body: Box::new(body.into_with_config().limit(u64::MAX).reader()),
    }
}

/// A part must start where it was asked to start: a server's word for it, since nothing else tells.
fn part(answer: Response<ureq::Body>, from: u64) -> Result<Answer, HttpError> {
    let range = answer.headers().get(header::CONTENT_RANGE);
    let range = range.and_then(|value| value.to_str().ok()).unwrap_or("");
    let Some((start, size_bytes)) = content_range(range).filter(|(start, _)| *start == from) else {
        let shown: String = range.chars().take(80).collect();
        return Err(HttpError::Unusable(format!(
            "bytes from {from} on were asked for, and `{shown}` came"
        )));
    };
    Ok(Answer {
        from: start,
        size_bytes,
        ..whole(answer)
    })
}

/// `bytes 5-9/10`: start and, unless it is `*`, the size of the whole.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()))
}

fn validators(headers: &HeaderMap) -> Validators {
    let text = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
    Validators {
        etag: text(header::ETAG),
        last_modified: text(header::LAST_MODIFIED),
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

fn refusal(status: u16) -> HttpError {
    match status {
        404 | 410 => HttpError::Missing,
        408 | 425 | 429 | 500..=599 => {
            HttpError::Unreachable(format!("it answers with status {status}"))
        }
        status => HttpError::Refused { status },
    }
}

fn problem(error: ureq::Error) -> HttpError {
    match error {
        ureq::Error::BadUri(_)
        | ureq::Error::Http(_)
        | ureq::Error::RedirectFailed
        | ureq::Error::TooManyRedirects
        | ureq::Error::RequireHttpsOnly(_)
        | ureq::Error::LargeResponseHeader(..) => HttpError::Unusable(error.to_string()),
        // Words of our own: the library says `other: ` before them.
        ureq::Error::Other(ours) => HttpError::Unreachable(ours.to_string()),
        other => HttpError::Unreachable(other.to_string()),
    }
}

/// Escapes what a URL's path cannot hold; `+` too, which some stores take for a space.
pub fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A URL for messages and reports: user name and password left out.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_locations_become_paths_of_urls() {
        assert_eq!(
            encoded("Packages/g/gtk+-1.0~rc1^git x%.rpm"),
            "Packages/g/gtk%2B-1.0~rc1%5Egit%20x%25.rpm"
        );
        let stall = Duration::from_secs(1);
        for bad in ["ftp://x", "https://", "http:///x", "/srv", ""] {
            assert!(Client::new(bad, stall).is_err(), "{bad}");
        }
    }

    /// A server on a free port that says this to whoever comes.
    fn says(answer: String) -> String {
        use std::io::{BufRead as _, BufReader, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let _ = lines.map_while(Result::ok).find(|line| line.is_empty());
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        url
    }

    #[test]
    fn nobody_is_led_inside_but_to_servers_that_were_named() {
        let rest = "content-length: 2\r\nconnection: close\r\n\r\nok";
        let inside = says(format!("HTTP/1.1 200 OK\r\n{rest}"));
        let leads = says(format!(
            "HTTP/1.1 302 Found\r\nlocation: {inside}/x\r\n{rest}"
        ));
        let stall = Duration::from_secs(5);
        let [leads, inside] = [leads, inside].map(|url| Client::new(&url, stall).unwrap());
        let error = leads.led_within(&[&leads]).get("x", 0).err().unwrap();
        let said = error.to_string();
        assert!(said.contains("127.0.0.1 is not a public one"), "{said}");
        assert!(leads.led_within(&[&leads, &inside]).get("x", 0).is_ok());
        assert!(inside.led_within(&[&inside]).get("x", 0).is_ok());
    }

    #[test]
    fn a_server_is_known_by_host_and_port() {
        let origin = |text: &str| origin(&text.parse::<Uri>().unwrap()).unwrap();
        let one = origin("http://u:p@A.example/x");
        assert!(one.is_of(&origin("https://a.example/y")));
        for other in ["http://a.example:8080/", "http://b.example/"] {
            assert!(!one.is_of(&origin(other)), "{other}");
        }
    }

    #[test]
    fn messages_hold_no_passwords() {
        for (url, shown) in [
            ("https://u:p@x.example/a@b", "https://x.example/a@b"),
            ("http://x.example", "http://x.example"),
            ("/srv/u:p@x", "/srv/u:p@x"),
        ] {
            assert_eq!(without_password(url), shown);
        }
        let error = Client::new("ftp://u:secret@x/", Duration::from_secs(1)).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn only_what_says_where_it_starts_is_a_part() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for bad in ["", "bytes */10", "lines 1-2/3", "bytes 5", "bytes -5-9/10"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
