//! A repository behind HTTP, as `hallmark repo check` reads it.

use crate::failure::Failure;
use repo_server::repocheck::{Source, SourceError, Stream};
use std::io;
use std::time::Duration;
use ureq::Agent;
use ureq::http::Response;

/// The files below one URL.
pub struct HttpSource {
    agent: Agent,
    base: String,
}

impl HttpSource {
    /// `url`: `http://` or `https://`, the directory that holds `repodata`.
    pub fn new(url: &str) -> Result<Self, Failure> {
        let base = url.trim_end_matches('/').to_owned();
        let host = base
            .strip_prefix("https://")
            .or_else(|| base.strip_prefix("http://"));
        let Some(host) = host.filter(|host| !host.is_empty()) else {
            return Err(Failure::usage(format!("`{url}` is not a repository's URL")));
        };
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("hallmark/", env!("CARGO_PKG_VERSION")))
            // A body must come as the file is: its checksum is looked at.
            .accept_encoding("identity")
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)));
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

    fn url(&self, path: &str) -> String {
        format!("{}/{}", self.base, encoded(path))
    }
}

/// Escapes what a URL's path cannot hold; `+` too, which some stores take for a space.
fn encoded(path: &str) -> String {
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

fn answered<B>(outcome: Result<Response<B>, ureq::Error>) -> Result<Response<B>, SourceError> {
    let answer = outcome.map_err(|error| match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            SourceError::Read(io::Error::other(error.to_string()))
        }
        other => SourceError::Unreachable(other.to_string()),
    })?;
    match answer.status().as_u16() {
        200 => Ok(answer),
        404 | 410 => Err(SourceError::Missing),
        status @ (429 | 500..=599) => Err(SourceError::Unreachable(format!(
            "it answers with status {status}"
        ))),
        status => Err(SourceError::Refused { status }),
    }
}

impl Source for HttpSource {
    fn open(&self, path: &str) -> Result<Stream<'_>, SourceError> {
        let answer = answered(self.agent.get(self.url(path)).call())?;
        let body = answer.into_body();
        Ok(Stream {
            size_bytes: body.content_length(),
            reader: Box::new(body.into_with_config().limit(u64::MAX).reader()),
        })
    }

    fn size_bytes(&self, path: &str) -> Result<Option<u64>, SourceError> {
        let answer = answered(self.agent.head(self.url(path)).call())?;
        let length = answer.headers().get("content-length");
        Ok(length.and_then(|text| text.to_str().ok()?.parse().ok()))
    }

    fn tells_sizes_cheaply(&self) -> bool {
        false
    }
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
        assert!(HttpSource::new("ftp://x").is_err() && HttpSource::new("https://").is_err());
    }
}
