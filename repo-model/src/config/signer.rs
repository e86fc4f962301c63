//! `[signer]`: its state, its keys and how it treats evidence.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

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
