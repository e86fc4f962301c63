//! The one configuration file, `hallmark.toml`, shared by all processes: each reads its own section.
//!
//! Unknown keys are refused. Every setting can also come from the environment, which wins over the
//! file: see [`environment`].
//! `docs/hallmark.example.toml` documents every key and is parsed by a test.

mod addresses;
mod environment;
mod mirrors;
mod rebuilder;
mod signer;
mod upstream;

pub use mirrors::MirrorsConfig;
pub use rebuilder::RebuilderConfig;
pub use signer::{KeyAlgorithm, KeyBackendName, Pkcs11Config, PostQuantum, SignerConfig};
pub use upstream::UpstreamConfig;

use crate::{Arch, ChannelName, FileDigest, RepoName};
use serde::Deserialize;
use std::net::IpAddr;
use std::path::PathBuf;

/// Where the file is when nobody names another.
pub const DEFAULT_FILE: &str = "/etc/hallmark/hallmark.toml";
/// First parts of the server's own paths, which no channel can be called.
const RESERVED: &[&str] = &[
    "api",
    "assets",
    "badge",
    "builds",
    "evidence",
    "feeds",
    "healthz",
    "inside",
    "keys",
    "log",
    "metrics",
    "mirrors",
    "operator",
    "packages",
    "r",
    "readyz",
    "rebuilders",
    "releases",
    "sbom",
    "search",
    "upstream",
];

/// The configuration cannot be used. The operator's fault; correct it and start again.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not TOML, a key that does not exist, or a value of the wrong kind.
    #[error("the configuration does not parse")]
    Toml(#[source] toml::de::Error),
    /// An environment variable that sets nothing.
    #[error("environment variable {name} names no setting: {why}")]
    Environment {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Values that contradict each other.
    #[error("{0}")]
    Contradiction(String),
}

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `hallmark serve`.
    pub server: ServerConfig,
    /// Repositories that the server publishes.
    pub repo: Vec<RepoConfig>,
    /// Repositories of others that the server fronts.
    pub upstream: Vec<UpstreamConfig>,
    /// What SBOMs say about the publisher.
    pub sbom: SbomConfig,
    /// Registered mirrors.
    pub mirrors: MirrorsConfig,
    /// `hallmark-signer`.
    pub signer: SignerConfig,
    /// `hallmark signer-gate`, on the host of a signer that is not the server's.
    pub gate: Option<GateConfig>,
    /// `hallmark-rebuilder`.
    pub rebuilder: RebuilderConfig,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Address and port to listen on.
    pub listen: String,
    /// How clients reach the server; in `.repo` files and metalinks. No trailing slash.
    pub public_url: String,
    /// Name of the distribution in `.repo` files and page titles.
    pub title: String,
    /// Database, spool and, by default, objects.
    pub data_dir: PathBuf,
    /// The signer's socket.
    pub signer_socket: PathBuf,
    /// The gate of a signer on another host; then `signer_socket` is not used.
    pub signer_tls: Option<SignerTlsConfig>,
    /// The policy, the same file that the signer has.
    pub policy_file: PathBuf,
    /// Channels; the first is moved to each new release, the others by promotion.
    pub channels: Vec<ChannelName>,
    /// Proxies in front of the server: for requests from these addresses the client is the one
    /// that `X-Forwarded-For` names last.
    pub trusted_proxies: Vec<IpAddr>,
    /// Connections at once; further clients wait. Each may need a file descriptor or two.
    pub max_connections: usize,
    /// Largest blob, bytes.
    pub max_blob_bytes: u64,
    /// A half-uploaded blob is removed after this many seconds without progress.
    pub upload_expiry_secs: u64,
    /// Other addresses by which rebuilders reach the server: their requests are signed for the one
    /// they use, `public_url` or one of these.
    pub worker_urls: Vec<String>,
    /// A rebuild lease ends this many seconds after the last heartbeat.
    pub lease_secs: u32,
    /// After the first commitment to an answer, the others are waited for this long, seconds; and as
    /// long everybody has to reveal.
    pub reveal_wait_secs: u64,
    /// A build that lacks rebuilds is held this many seconds after it came or was tried again.
    pub rebuild_wait_secs: u64,
    /// Infrastructure failures of one rebuild before an operator has to retry it.
    pub max_rebuild_attempts: u32,
    /// How long finished builds are gathered into one release, milliseconds.
    pub publish_delay_millis: u64,
    /// Changelog entries in `other.xml`; the newest so many.
    pub changelog_limit: u32,
    /// The policy's witnesses are asked for a new word about the head of the log when theirs is older than
    /// this, seconds: it says that nothing newer is held back.
    pub witness_renewal_secs: u32,
    /// Running requests are given this long at shutdown, seconds.
    pub shutdown_secs: u64,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            public_url: "http://127.0.0.1:8080".to_owned(),
            title: "Hallmark".to_owned(),
            data_dir: "/var/lib/hallmark".into(),
            signer_socket: "/run/hallmark/signer.sock".into(),
            signer_tls: None,
            policy_file: "/etc/hallmark/policy/policy.toml".into(),
            channels: ["preview", "stable"]
                .iter()
                .filter_map(|c| c.parse().ok())
                .collect(),
            trusted_proxies: Vec::new(),
            max_connections: 4_096,
            max_blob_bytes: 16 << 30,
            upload_expiry_secs: 86_400,
            worker_urls: Vec::new(),
            lease_secs: 60,
            reveal_wait_secs: 7_200,
            rebuild_wait_secs: 86_400,
            max_rebuild_attempts: 5,
            publish_delay_millis: 500,
            changelog_limit: 10,
            witness_renewal_secs: 3_600,
            shutdown_secs: 10,
        }
    }
}

/// `[server.signer_tls]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignerTlsConfig {
    /// Host and port of the gate.
    pub address: String,
    /// The server's certificate, PEM; its chain may follow.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub private_key: PathBuf,
    /// Certificates of whoever vouches for the gate, PEM.
    pub authority: PathBuf,
    /// SHA-256 of the gate's certificate (DER); empty: any that the authority vouches for.
    #[serde(default)]
    pub peer_sha256: Vec<FileDigest>,
}

impl SignerTlsConfig {
    /// The host that the gate's certificate must be made out to.
    pub fn host_name(&self) -> &str {
        let host = self
            .address
            .rsplit_once(':')
            .map_or(self.address.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// `[gate]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateConfig {
    /// Address and port to listen on.
    pub listen: String,
    /// The gate's certificate, PEM; its chain may follow.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub private_key: PathBuf,
    /// Certificates of whoever vouches for the servers, PEM.
    pub authority: PathBuf,
    /// SHA-256 of the certificate (DER) of each server that may ask.
    pub peer_sha256: Vec<FileDigest>,
}

/// `[[repo]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepoConfig {
    /// Name in URLs.
    pub name: RepoName,
    /// Architectures; `noarch` packages are in each.
    pub arches: Vec<Arch>,
    /// Clients to write metadata for; without it, `modern`.
    #[serde(default)]
    pub profile: ClientProfile,
    /// Codec of the metadata; none is the profile's.
    pub metadata_codec: Option<MetadataCodec>,
    /// Also write zchunk files, which dnf fetches in parts.
    #[serde(default)]
    pub zchunk: bool,
    /// comps file to list, read when a release is made.
    pub groups: Option<PathBuf>,
    /// Advisories (`updateinfo.xml`) to list, read when a release is made.
    pub updateinfo: Option<PathBuf>,
    /// Module documents (`modules.yaml`) to list, read when a release is made.
    pub modules: Option<PathBuf>,
}

impl RepoConfig {
    /// Codec of the metadata.
    pub fn codec(&self) -> MetadataCodec {
        self.metadata_codec.unwrap_or(match self.profile {
            ClientProfile::El7 | ClientProfile::El8 => MetadataCodec::Gzip,
            ClientProfile::Modern => MetadataCodec::Zstd,
        })
    }
}

/// A family of clients, by which codec, checksums and the form of groups are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientProfile {
    /// yum 3 and old zypper.
    El7,
    /// dnf 4 of EL 8 and its like.
    El8,
    /// dnf5, dnf 4.14 and later, zypper 1.14.101 and later.
    #[default]
    Modern,
}

impl ClientProfile {
    /// As written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::El7 => "el7",
            Self::El8 => "el8",
            Self::Modern => "modern",
        }
    }
}

/// Compression of metadata files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetadataCodec {
    /// For dnf 4.3+, dnf5, zypper 1.14+.
    Zstd,
    /// For every client.
    Gzip,
}

/// `[sbom]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SbomConfig {
    /// Namespace in package URLs: `pkg:rpm/<namespace>/…`.
    pub namespace: String,
    /// Organisation that supplies the packages.
    pub supplier_name: String,
    /// Its web address.
    pub supplier_url: String,
    /// Its contact.
    pub supplier_email: String,
}

impl Default for SbomConfig {
    fn default() -> Self {
        Self {
            namespace: "hallmark".to_owned(),
            supplier_name: "Hallmark repository operator".to_owned(),
            supplier_url: "https://hallmark.example".to_owned(),
            supplier_email: "packages@hallmark.example".to_owned(),
        }
    }
}

impl Config {
    /// Reads a configuration from the text of the file (empty: all defaults) and the environment.
    ///
    /// * `variables`: all of them; those that are no settings are passed over.
    pub fn read(
        text: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut table: toml::Table = toml::from_str(text).map_err(ConfigError::Toml)?;
        for (name, value) in variables {
            environment::apply(&mut table, &name, &value)
                .map_err(|why| ConfigError::Environment { name, why })?;
        }
        let config: Self = table.try_into().map_err(ConfigError::Toml)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |why: String| Err(ConfigError::Contradiction(why));
        if self.server.channels.is_empty() {
            return refuse("`server.channels` is empty: name at least one channel".to_owned());
        }
        if let Some(taken) = self
            .server
            .channels
            .iter()
            .find(|c| RESERVED.contains(&c.as_str()))
        {
            return refuse(format!(
                "`server.channels` has {taken}, which is a path of the server itself"
            ));
        }
        if self.server.public_url.ends_with('/') {
            return refuse("`server.public_url` ends with a slash: drop it".to_owned());
        }
        addresses::check(self)?;
        upstream::check(&self.upstream)?;
        let origin = &self.signer.log_origin;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        if origin.is_empty() || origin.len() > 255 || !origin.chars().all(plain) {
            return refuse(format!(
                "`signer.log_origin` is `{origin}`: want a plain host name such as log.example.org"
            ));
        }
        self.mirrors.check()?;
        for (index, repo) in self.repo.iter().enumerate() {
            if self.repo[..index]
                .iter()
                .any(|other| other.name == repo.name)
            {
                return refuse(format!("`[[repo]]` names {} twice", repo.name));
            }
            if repo.arches.is_empty() {
                return refuse(format!("`[[repo]]` {} has no arches", repo.name));
            }
            if repo.profile != ClientProfile::Modern && repo.codec() == MetadataCodec::Zstd {
                return refuse(format!(
                    "`[[repo]]` {} has metadata_codec `zstd`, which clients of profile {} cannot read",
                    repo.name,
                    repo.profile.name()
                ));
            }
        }
        Ok(())
    }

    /// The repository of this name.
    pub fn repo(&self, name: &RepoName) -> Option<&RepoConfig> {
        self.repo.iter().find(|repo| &repo.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused_in_every_section() {
        for bad in [
            "x = 1",
            "[server]\nx = 1",
            "[signer]\nx = 1",
            "[[repo]]\nname='a'\narches=['x86_64']\nx=1",
        ] {
            let error = Config::read(bad, []).unwrap_err();
            let ConfigError::Toml(source) = error else {
                panic!("{error}")
            };
            assert!(source.to_string().contains("unknown field `x`"), "{source}");
        }
    }

    #[test]
    fn a_profile_chooses_the_codec_and_is_not_contradicted() {
        let codec = |settings: &str| {
            let text = format!("[[repo]]\nname='a'\narches=['x86_64']\n{settings}");
            Config::read(&text, []).map(|config| config.repo[0].codec())
        };
        for (settings, wanted) in [
            ("", MetadataCodec::Zstd),
            (
                "profile='modern'\nmetadata_codec='gzip'",
                MetadataCodec::Gzip,
            ),
            ("profile='el7'", MetadataCodec::Gzip),
            ("profile='el8'\nmetadata_codec='gzip'", MetadataCodec::Gzip),
        ] {
            assert_eq!(codec(settings).unwrap(), wanted, "{settings}");
        }
        let error = codec("profile='el8'\nmetadata_codec='zstd'").unwrap_err();
        assert!(
            error.to_string().contains("profile el8 cannot read"),
            "{error}"
        );
    }

    #[test]
    fn contradictions_are_named() {
        let twice = "[[repo]]\nname='a'\narches=['x86_64']\n[[repo]]\nname='a'\narches=['x86_64']";
        assert!(
            Config::read(twice, [])
                .unwrap_err()
                .to_string()
                .contains("twice")
        );
        let taken = Config::read("[server]\nchannels = ['api']", [])
            .unwrap_err()
            .to_string();
        assert!(taken.contains("path of the server"), "{taken}");
    }

    #[test]
    fn the_shipped_example_is_what_the_defaults_say() {
        let text = include_str!("../../docs/hallmark.example.toml");
        let example = Config::read(text, []).unwrap();
        let defaults = Config::default();
        assert_eq!(
            format!("{:?}", example.server),
            format!("{:?}", defaults.server)
        );
        assert_eq!(
            format!("{:?}", example.signer),
            format!("{:?}", defaults.signer)
        );
        assert_eq!(
            format!("{:?}", example.sbom),
            format!("{:?}", defaults.sbom)
        );
        assert_eq!(
            format!("{:?}", example.mirrors),
            format!("{:?}", defaults.mirrors)
        );
    }
}
