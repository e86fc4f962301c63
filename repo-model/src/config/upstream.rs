//! Repositories of others that the server fronts.

use super::ConfigError;
use crate::RepoName;
use serde::Deserialize;
use std::path::PathBuf;

/// `[[upstream]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Name in URLs: the repository is at `/upstream/NAME/`.
    pub name: RepoName,
    /// Places that have it, the preferred one first: http, https or file URLs of directories that hold `repodata`.
    pub urls: Vec<String>,
    /// OpenPGP keys, of which one must have signed `repomd.xml`.
    #[serde(default)]
    pub keys: Vec<PathBuf>,
    /// `false`: whoever answers at the URL is believed, and there must be no `keys`.
    #[serde(default = "yes")]
    pub verify_signature: bool,
    /// What was not asked for the longest is removed when more than so many bytes are kept.
    #[serde(default = "keep_bytes")]
    pub keep_bytes: u64,
    /// What was not asked for in so many days is removed.
    #[serde(default = "keep_days")]
    pub keep_days: u32,
    /// Upstream's `repomd.xml` is asked for again after so many seconds.
    #[serde(default = "fresh_secs")]
    pub fresh_secs: u32,
}

fn yes() -> bool {
    true
}

fn keep_bytes() -> u64 {
    50 << 30
}

fn keep_days() -> u32 {
    90
}

fn fresh_secs() -> u32 {
    60
}

/// Refuses what cannot work.
pub(super) fn check(upstreams: &[UpstreamConfig]) -> Result<(), ConfigError> {
    let refuse = |why: String| Err(ConfigError::Contradiction(why));
    for (number, upstream) in upstreams.iter().enumerate() {
        let name = &upstream.name;
        if upstreams[..number].iter().any(|other| other.name == *name) {
            return refuse(format!("two [[upstream]] are called {name}"));
        }
        if upstream.urls.is_empty() {
            return refuse(format!("`upstream.urls` of {name} is empty"));
        }
        match (upstream.verify_signature, upstream.keys.is_empty()) {
            (true, true) => {
                return refuse(format!(
                    "`upstream.keys` of {name} is empty: name the key that signs it, or say verify_signature = false"
                ));
            }
            (false, false) => {
                return refuse(format!(
                    "`upstream.keys` of {name} are not used with verify_signature = false"
                ));
            }
            (true, false) | (false, true) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn an_upstream_has_a_key_or_says_that_it_has_none() {
        let read = |rest: &str| {
            Config::read(
                &format!("[[upstream]]\nname = 'f'\nurls = ['https://f.example/']\n{rest}"),
                [],
            )
        };
        let config = read("keys = ['KEY']").unwrap();
        assert_eq!(config.upstream[0].fresh_secs, 60);
        read("verify_signature = false").unwrap();
        for (bad, why) in [
            ("", "name the key"),
            ("verify_signature = false\nkeys = ['KEY']", "not used"),
            (
                "keys = ['KEY']\n[[upstream]]\nname = 'f'\nurls = ['https://g.example/']\nkeys = ['KEY']",
                "two [[upstream]] are called f",
            ),
        ] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
