//! The one configuration file, `hallmark.toml`, shared by all processes: each reads its own section.
//!
//! Unknown keys are refused. Every setting can also come from the environment, which wins over the
//! file: `HALLMARK_SERVER__LISTEN=0.0.0.0:80` sets `listen` in `[server]` (two underscores between
//! section and key). A value is read as TOML when it is TOML and as text otherwise, so
//! `HALLMARK_REPO='[{name="base",arches=["x86_64"]}]'` works too.
//! `docs/hallmark.example.toml` documents every key and is parsed by a test.

mod addresses;
mod mirrors;
mod upstream;

pub use mirrors::MirrorsConfig;
pub use upstream::UpstreamConfig;

use crate::{Arch, ChannelName, FileDigest, OperatorName, RepoName, WorkerName};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// Where the file is when nobody names another.
pub const DEFAULT_FILE: &str = "/etc/hallmark/hallmark.toml";
/// Prefix of environment variables.
pub const ENV_PREFIX: &str = "HALLMARK_";
/// Variables with our prefix that are not settings.
pub const ENV_OTHER: &[&str] = &[
    "HALLMARK_CONFIG",
    "HALLMARK_LOG",
    "HALLMARK_LOG_FORMAT",
    "HALLMARK_SERVER_URL",
    "HALLMARK_TOKEN",
    "HALLMARK_CACHE",
    "HALLMARK_MOCK",
    "HALLMARK_PROFILE",
    "HALLMARK_VENV",
    "HALLMARK_FORKY",
    "HALLMARK_BIN_DIR",
    "HALLMARK_DEMO_DIR",
    "HALLMARK_NO_INSTALL",
    "HALLMARK_TEST_FULL",
    "HALLMARK_TEST_RPMS",
    "HALLMARK_TEST_SOURCES",
];

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

/// `[signer]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignerConfig {
    /// Socket to listen on.
    pub socket: PathBuf,
    /// Keys and journal; readable by the signer's user only.
    pub state_dir: PathBuf,
    /// The policy. Its signatures lie in the same directory: see [`crate::trust`].
    pub policy_file: PathBuf,
    /// Takes the policy as it is, signed by nobody. For development only: whoever can write the
    /// file decides what is signed.
    pub unsigned_policy: bool,
    /// URI that names this signer in its summaries.
    pub verifier_id: String,
    /// Name of the transparency log: a host name of yours, without scheme or path. It is part of the log's
    /// key: changing it begins another log.
    pub log_origin: String,
    /// Name in the OpenPGP certificates made by `hallmark-signer init`.
    pub user_id: String,
    /// Algorithm of the OpenPGP keys made by `hallmark-signer init`.
    pub key_algorithm: KeyAlgorithm,
    /// Whether post-quantum signatures are made, and where they stand.
    pub post_quantum: PostQuantum,
    /// Where the private keys live.
    pub key_backend: KeyBackendName,
    /// File whose first line unlocks the keys, when `key_backend` is `encrypted-file`; readable by the
    /// signer's user only.
    pub passphrase_file: Option<PathBuf>,
    /// The token, when `key_backend` is `pkcs11`.
    pub pkcs11: Option<Pkcs11Config>,
    /// User ids that may connect; empty: the signer's own and root.
    pub allowed_uids: Vec<u32>,
    /// Requests a minute for the package key, as many at once after a pause; 0: no limit.
    pub package_requests_per_minute: u32,
    /// Requests a minute for the metadata key; 0: no limit.
    pub release_requests_per_minute: u32,
    /// Longest life of a statement that says where a channel points, seconds.
    pub freshness_max_secs: u64,
    /// Whether to confine itself with Landlock and seccomp where the kernel has them.
    pub sandbox: bool,
}

impl Default for SignerConfig {
    fn default() -> Self {
        Self {
            socket: "/run/hallmark/signer.sock".into(),
            state_dir: "/var/lib/hallmark-signer".into(),
            policy_file: "/etc/hallmark/policy/policy.toml".into(),
            unsigned_policy: false,
            verifier_id: "https://hallmark.example/signer".to_owned(),
            log_origin: "log.hallmark.example".to_owned(),
            user_id: "Hallmark repository <packages@hallmark.example>".to_owned(),
            key_algorithm: KeyAlgorithm::default(),
            post_quantum: PostQuantum::default(),
            key_backend: KeyBackendName::default(),
            passphrase_file: None,
            pkcs11: None,
            allowed_uids: Vec::new(),
            package_requests_per_minute: 12_000,
            release_requests_per_minute: 300,
            freshness_max_secs: 604_800,
            sandbox: true,
        }
    }
}

/// Algorithm of OpenPGP v4 keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyAlgorithm {
    /// Small and fast; rpm 4.16 and later.
    #[default]
    Ed25519,
    /// For every client, and the longest that TPMs have, if they have it.
    Rsa3072,
    /// For every client.
    Rsa4096,
}

/// Post-quantum signatures: OpenPGP v6, ML-DSA-65+Ed25519.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PostQuantum {
    /// None.
    Off,
    /// Beside packages and `repomd.xml`, as files that no client asks for by itself.
    #[default]
    Detached,
    /// Those, and one in the header of each package. Only for repositories all of whose clients have
    /// the post-quantum certificate: rpm 6 refuses a package with a signature that it could check
    /// and has no key for.
    Embedded,
}

/// Where private keys live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyBackendName {
    /// Files in `signer.state_dir`.
    #[default]
    File,
    /// Such files, locked with the passphrase in `signer.passphrase_file`.
    EncryptedFile,
    /// Credentials that the service manager gives to the service.
    Credential,
    /// A PKCS #11 token: see [`Pkcs11Config`].
    Pkcs11,
}

/// `[signer.pkcs11]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11Config {
    /// The token's module, a shared library that is loaded into the signer.
    pub module: PathBuf,
    /// Label of the token that holds all keys. None: each key is a token of its own, called like the key, as
    /// siguldry's module shows them.
    #[serde(default)]
    pub token: Option<String>,
    /// File with the user PIN; readable by the signer's user only. None: the token has a way of its own, as a keypad
    /// or a proxy that unlocks it.
    #[serde(default)]
    pub pin_file: Option<PathBuf>,
    /// What keys are called in the token, by the label that they have here, where that is another name.
    #[serde(default)]
    pub names: BTreeMap<String, String>,
    /// Directories in which the module keeps its state: the sandbox leaves them open to it.
    #[serde(default)]
    pub paths: Vec<PathBuf>,
}

/// `[rebuilder]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RebuilderConfig {
    /// The server it works for.
    pub server_url: String,
    /// Its name in the policy.
    pub name: Option<WorkerName>,
    /// Who runs it.
    pub operator: Option<OperatorName>,
    /// Its two private keys.
    pub key_file: PathBuf,
    /// Scratch space; emptied after each job.
    pub work_dir: PathBuf,
    /// Longest build, seconds.
    pub build_secs: u64,
    /// Memory for one build, bytes.
    pub memory_bytes: u64,
    /// Scratch space for one build, bytes.
    pub disk_bytes: u64,
    /// Processes in one build.
    pub max_processes: u64,
    /// Longest build log that is kept, bytes; the end is kept when it is longer.
    pub log_bytes: u64,
    /// User id that builds run as when the rebuilder is root.
    pub build_uid: u32,
    /// Challenge profiles that it offers; the server chooses one for each rebuild. Empty: all that this
    /// machine can do.
    pub profiles: Vec<String>,
    /// What runs builds: `bwrap`, `mock` (only builds in layers of locked packages), or `exec` for a program of
    /// your own.
    pub backend: String,
    /// With `mock`: mock with its options, when it is not `mock` in the path. With `exec`: that program with its
    /// options; it gets the job's directory as its last argument.
    pub backend_command: Vec<String>,
    /// Build roots that are made of locked packages, and these packages.
    pub layers_dir: PathBuf,
    /// Those used longest ago are removed when all are larger than this, bytes.
    pub layers_bytes: u64,
}

impl Default for RebuilderConfig {
    fn default() -> Self {
        Self {
            server_url: "http://127.0.0.1:8080".to_owned(),
            name: None,
            operator: None,
            key_file: "/etc/hallmark/rebuilder.key".into(),
            work_dir: "/var/tmp/hallmark-rebuilder".into(),
            build_secs: 3_600,
            memory_bytes: 4 << 30,
            disk_bytes: 8 << 30,
            max_processes: 4_096,
            log_bytes: 16 << 20,
            build_uid: 65_534,
            profiles: Vec::new(),
            backend: "bwrap".to_owned(),
            backend_command: Vec::new(),
            layers_dir: "/var/cache/hallmark-rebuilder".into(),
            layers_bytes: 20 << 30,
        }
    }
}

impl Config {
    /// Reads a configuration from the text of the file (empty: all defaults) and the environment.
    ///
    /// * `environment`: all variables; those without our prefix are passed over.
    pub fn read(
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut table: toml::Table = toml::from_str(text).map_err(ConfigError::Toml)?;
        for (name, value) in environment {
            let Some(path) = name.strip_prefix(ENV_PREFIX) else {
                continue;
            };
            if ENV_OTHER.contains(&name.as_str()) {
                continue;
            }
            set(&mut table, &path.to_lowercase(), &value).map_err(|why| {
                ConfigError::Environment {
                    name: name.clone(),
                    why,
                }
            })?;
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

/// Sets `section__key` (lowercase) to `value`.
fn set(table: &mut toml::Table, path: &str, value: &str) -> Result<(), String> {
    let parsed: toml::Value = toml::from_str::<toml::Table>(&format!("v = {value}"))
        .ok()
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    match path.split_once("__") {
        None => {
            table.insert(path.to_owned(), parsed);
        }
        Some((section, key)) => {
            let section = table
                .entry(section)
                .or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let toml::Value::Table(section) = section else {
                return Err("its section is a list; set the whole list in one variable".to_owned());
            };
            section.insert(key.to_owned(), parsed);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

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
    fn the_environment_wins_over_the_file() {
        let config = Config::read(
            "[server]\nlisten = \"a:1\"\n",
            env(&[
                ("HALLMARK_SERVER__LISTEN", "b:2"),
                ("HALLMARK_SERVER__LEASE_SECS", "7"),
                ("HALLMARK_REPO", r#"[{name="base",arches=["x86_64"]}]"#),
                ("HALLMARK_LOG", "debug"),
                ("PATH", "/bin"),
            ]),
        )
        .unwrap();
        assert_eq!(config.server.listen, "b:2");
        assert_eq!(config.server.lease_secs, 7);
        assert_eq!(config.repo[0].name.as_str(), "base");
        assert!(Config::read("", env(&[("HALLMARK_SERVER__LISTN", "x")])).is_err());
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
