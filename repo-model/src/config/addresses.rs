//! Settings that are addresses, and names of architectures: what no process could work with is refused when the file is read.

use super::{Config, ConfigError};

/// Refuses an address that nobody can listen at or ask, and an architecture that no package can have.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let server = &config.server;
    let gate = config.gate.as_ref();
    let gate_of_server = server.signer_tls.as_ref();
    let ends = [
        ("server.listen", Some(&server.listen)),
        ("gate.listen", gate.map(|gate| &gate.listen)),
        (
            "server.signer_tls.address",
            gate_of_server.map(|gate| &gate.address),
        ),
    ];
    for (setting, address) in ends {
        if let Some(address) = address.filter(|address| !has_port(address)) {
            return refuse(format!(
                "`{setting}` is `{address}`: want a host or address and a port, such as 127.0.0.1:8080 or [::1]:8080"
            ));
        }
    }
    let urls = server
        .worker_urls
        .iter()
        .map(|url| ("server.worker_urls", url));
    for (setting, url) in urls.chain([("server.public_url", &server.public_url)]) {
        if !is_web_address(url) {
            return refuse(format!(
                "`{setting}` is `{url}`: want http:// or https:// and a host, such as https://packages.example.org"
            ));
        }
    }
    for repo in &config.repo {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if let Some(arch) = repo
            .arches
            .iter()
            .find(|arch| !arch.as_str().chars().all(is_plain))
        {
            return refuse(format!(
                "`[[repo]]` {} has the architecture `{arch}`: rpm writes letters, digits and underscores, as in x86_64",
                repo.name
            ));
        }
    }
    Ok(())
}

fn refuse(why: String) -> Result<(), ConfigError> {
    Err(ConfigError::Contradiction(why))
}

/// `host:port`; an IPv6 address stands in brackets.
fn has_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
    port.parse::<u16>().is_ok() && is_host && (is_bracketed || !host.contains(':'))
}

fn is_web_address(url: &str) -> bool {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        !host.is_empty() && !rest.contains(char::is_whitespace)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Config::read(text, [])
            .map(|_| format!("taken: {text}"))
            .unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn addresses_that_cannot_work_are_refused_by_setting() {
        for (text, wanted) in [
            ("[server]\nlisten = 'foo'", "`server.listen` is `foo`"),
            ("[server]\nlisten = ':80'", "`server.listen` is `:80`"),
            ("[server]\nlisten = '::1'", "`server.listen` is `::1`"),
            (
                "[server]\nlisten = 'a:65536'",
                "`server.listen` is `a:65536`",
            ),
            (
                "[server]\npublic_url = 'packages.example'",
                "`server.public_url` is `packages.example`",
            ),
            (
                "[server]\npublic_url = 'https://:80'",
                "`server.public_url` is",
            ),
            (
                "[server]\nworker_urls = ['http://a', 'b']",
                "`server.worker_urls` is `b`",
            ),
            (
                "[[repo]]\nname = 'base'\narches = ['x86_64', 'x86-64']",
                "`[[repo]]` base has the architecture `x86-64`",
            ),
        ] {
            let said = refused(text);
            assert!(said.starts_with(wanted), "{said}");
        }
        for good in ["127.0.0.1:0", "[::1]:8080", "localhost:8080", "[::]:80"] {
            assert!(has_port(good), "{good}");
        }
        for good in ["http://a", "https://[::1]:8443", "https://a.example/b"] {
            assert!(is_web_address(good), "{good}");
        }
    }
}
