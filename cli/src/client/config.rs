//! `/etc/hallmark/client.toml`: which repositories are verified, by whose keys, and what happens when a
//! package lacks evidence. `cli/client/client.toml` is a file with every setting.

use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where it is, unless `HALLMARK_CLIENT_CONFIG` or `--config` says otherwise.
pub const CONFIG_FILE: &str = "/etc/hallmark/client.toml";

/// What happens to a transaction with a package that lacks evidence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It is refused.
    #[default]
    Enforce,
    /// It goes on, and the reader is told.
    Warn,
}

/// What happens to packages of repositories that the file does not name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Others {
    /// They are not looked at; the log says so, by name.
    #[default]
    Pass,
    /// They are treated as packages that lack evidence.
    Refuse,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// `enforce` (default) or `warn`.
    #[serde(default)]
    pub mode: Mode,
    /// `pass` (default) or `refuse`.
    #[serde(default)]
    pub others: Others,
    /// Where evidence is kept for a time without network.
    #[serde(default = "default_cache_dir")]
    pub cache_dir: PathBuf,
    /// The repositories that are verified.
    #[serde(default, rename = "repository")]
    pub repositories: Vec<VerifiedRepository>,
}

/// One installation of Hallmark, whose packages are verified.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifiedRepository {
    /// Its server. What the package manager takes from URLs that begin with it is verified.
    pub server_url: String,
    /// Mirrors: what is taken from URLs that begin with one of these is verified too, and where one is the root of a
    /// repository, it is asked for evidence when the server does not answer.
    #[serde(default)]
    pub mirror_urls: Vec<String>,
    /// Names of the package manager's repositories that are verified whatever their URLs; `*` stands for
    /// any characters.
    #[serde(default)]
    pub repo_ids: Vec<String>,
    /// The folder with the keys and the policy that count.
    #[serde(default = "default_trust_dir")]
    pub trust_dir: PathBuf,
    /// The newest release must not be older than this; none: no limit.
    #[serde(default)]
    pub max_age_days: Option<u32>,
    /// An evidence pack that has the evidence; the server is not asked then.
    #[serde(default)]
    pub pack: Option<PathBuf>,
    /// `true`: the server is never asked, and what was kept must do.
    #[serde(default)]
    pub offline: bool,
}

fn default_cache_dir() -> PathBuf {
    "/var/cache/hallmark/client".into()
}

fn default_trust_dir() -> PathBuf {
    "/etc/hallmark/trust".into()
}

/// The file cannot be used. The administrator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum ClientConfigError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line or a setting is wrong.
    #[error("{} is wrong", path.display())]
    Shape {
        /// Which.
        path: PathBuf,
        /// Where, and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A setting says nothing that can be done.
    #[error("{}: {why}", path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// Reads the file.
pub fn read(path: &Path) -> Result<ClientConfig, ClientConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ClientConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    let config = parse(&text).map_err(|source| ClientConfigError::Shape {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    match config.problem() {
        None => Ok(config),
        Some(why) => Err(ClientConfigError::Value {
            path: path.to_owned(),
            why,
        }),
    }
}

/// Reads the text of such a file.
pub fn parse(text: &str) -> Result<ClientConfig, toml::de::Error> {
    toml::from_str(text)
}

impl ClientConfig {
    /// The repository that vouches for what comes from here, if the file names one.
    ///
    /// * `repo_id`: the package manager's name for it; `urls`: where it takes packages from.
    pub fn repository(&self, repo_id: &str, urls: &[String]) -> Option<&VerifiedRepository> {
        let mut all = self.repositories.iter();
        all.find(|repository| repository.has(repo_id, urls))
    }

    fn problem(&self) -> Option<String> {
        for repository in &self.repositories {
            let mut urls = repository.urls();
            if let Some(url) = urls.find(|url| !is_url(url)) {
                return Some(format!("`{url}` is no http or https URL"));
            }
            if repository.pack.is_some() && repository.offline {
                let url = &repository.server_url;
                return Some(format!("`pack` and `offline` are both set for {url}"));
            }
        }
        None
    }
}

impl VerifiedRepository {
    fn urls(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.server_url).chain(&self.mirror_urls)
    }

    /// Whether what has this URL comes from the server itself.
    pub fn is_server(&self, url: &str) -> bool {
        begins(url, &self.server_url)
    }

    fn has(&self, repo_id: &str, urls: &[String]) -> bool {
        let by_id = self.repo_ids.iter().any(|pattern| fits(pattern, repo_id));
        by_id
            || urls
                .iter()
                .any(|url| self.urls().any(|start| begins(url, start)))
    }
}

fn is_url(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty())
}

/// `https://packages.example` begins `https://packages.example/stable`, and not `https://packages.example.org`.
fn begins(url: &str, start: &str) -> bool {
    let start = start.trim_end_matches('/');
    let scheme_and_host = start.split('/').take(3).map(str::len).sum::<usize>() + 2;
    let (Some(host), Some(path)) = (start.get(..scheme_and_host), start.get(scheme_and_host..))
    else {
        return false;
    };
    // Schemes and hosts are the same in upper case.
    let Some((its_host, rest)) = url.split_at_checked(scheme_and_host) else {
        return false;
    };
    let same_host = its_host.eq_ignore_ascii_case(host);
    let rest = rest.strip_prefix(path).filter(|_| same_host);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a name fits a pattern in which `*` stands for any characters.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((start, mut pattern)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut rest) = name.strip_prefix(start) else {
        return false;
    };
    while let Some((part, more)) = pattern.split_once('*') {
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        (rest, pattern) = (after, more);
    }
    rest.ends_with(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_is_read_and_names_every_setting() {
        let text = include_str!("../../client/client.toml");
        let config = parse(text).unwrap();
        assert_eq!(config.problem(), None);
        assert_eq!((config.mode, config.others), (Mode::Enforce, Others::Pass));
        assert_eq!(config.cache_dir, default_cache_dir());
        assert_eq!(config.repositories[0].trust_dir, default_trust_dir());
        for setting in [
            "mode",
            "others",
            "cache_dir",
            "server_url",
            "mirror_urls",
            "repo_ids",
            "trust_dir",
            "max_age_days",
            "pack",
            "offline",
        ] {
            let named = text.lines().any(|line| {
                let line = line.trim_start_matches(['#', ' ']);
                line.strip_prefix(setting)
                    .is_some_and(|rest| rest.trim_start().starts_with('='))
            });
            assert!(named, "{setting}");
        }
    }

    #[test]
    fn a_repository_is_known_by_its_url_or_its_name() {
        let config = parse(
            "[[repository]]\nserver_url = \"https://packages.example/a/\"\n\
             mirror_urls = [\"http://mirror.example\"]\nrepo_ids = [\"acme-*-x\", \"exact\"]\n",
        )
        .unwrap();
        let known = |id: &str, url: &str| config.repository(id, &[url.to_owned()]).is_some();
        for (id, url) in [
            ("any", "https://packages.example/a"),
            ("any", "https://PACKAGES.example/a/stable/x86_64"),
            ("any", "http://mirror.example/b"),
            ("acme-1-x", ""),
            ("acme--x", ""),
            ("exact", "https://elsewhere.example"),
        ] {
            assert!(known(id, url), "{id} {url}");
        }
        for (id, url) in [
            ("any", "https://packages.example/ab"),
            ("any", "https://packages.example/A"),
            ("any", "https://packages.example"),
            ("any", "http://mirror.example.org/b"),
            ("any", "ftp://x/http://mirror.example"),
            ("acme-x", ""),
            ("xacme-1-x", ""),
            ("exactly", "é"),
        ] {
            assert!(!known(id, url), "{id} {url}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client.toml");
        for (text, says) in [
            ("mode = \"hope\"", "mode"),
            ("modes = \"warn\"", "modes"),
            (
                "[[repository]]\nserver_url = \"packages.example\"",
                "is no http or https URL",
            ),
            (
                "[[repository]]\nserver_url = \"http://a\"\noffline = true\npack = \"a\"",
                "are both set for http://a",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = crate::failure::chain(&read(&path).unwrap_err());
            assert!(
                error.contains("client.toml") && error.contains(says),
                "{error}"
            );
        }
    }
}
