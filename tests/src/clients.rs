//! Package managers as users have them, each into an empty install root, with every check switched on.

use crate::process;
use crate::tools::{Need, client_root};
use crate::world::World;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Longest that one client may take, seconds.
const LIMIT_SECS: &str = "120";
/// Where the folder with install root and keys is inside the client root.
const PLACE: &str = "/mnt/client";

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// dnf5 of the client root.
    Dnf5,
    /// dnf 4 of the client root, with rpm 6.
    Dnf4,
    /// zypper of the client root.
    Zypper,
    /// This machine's dnf 4.
    HostDnf4,
    /// This machine's zypper.
    HostZypper,
}

/// What became of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that is installed now, `name-version-release.arch`, sorted.
    Installed(Vec<String>),
    /// Refused because it could not be trusted: the client's words.
    Refused(String),
    /// Failed for another reason: everything the client said.
    Broken(String),
}

/// What is to be installed, and what is trusted.
#[derive(Debug, Clone)]
pub struct Installation<'a> {
    /// The repository: where it is, or where its metalink (`…/metalink.xml`) or list of mirrors (`…/mirrorlist`) is.
    pub base_url: &'a str,
    /// Armoured certificates.
    pub key: &'a str,
    /// Where dnf takes the key from by itself; else it is given `key` as a file.
    pub key_url: Option<&'a str>,
    /// Whether the metadata's signature is asked for.
    pub check_metadata: bool,
    /// The package.
    pub package: &'a str,
}

/// A refusal for trust's sake says one of these, in lower case; a 404 or a missing dependency does not.
const REFUSALS: &[&str] = &[
    "checksum doesn't match",
    "wrong checksum",
    "downloading successful, but checksum",
    "seems to be corrupted",
    "inconsistent server data",
    "digest verification",
    "expected size",
    "signature verification failed",
    "signature verification for",
    "bad gpg signature",
    "bad pgp signature",
    "gpg signature is not available",
    "gpg check failed",
    "gpg verification",
    "openpgp check",
    "signing key not found",
    "is not signed",
    "public key is not installed",
    "public key is not available",
    "the gpg keys listed for",
    "unknown key",
    "untrusted public key",
];

impl Client {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Dnf5,
        Self::Dnf4,
        Self::Zypper,
        Self::HostDnf4,
        Self::HostZypper,
    ];

    /// What a test with this client needs.
    pub fn needs(self) -> [Need; 2] {
        let program = match self {
            Self::Dnf5 => Need::InClientRoot("dnf5"),
            Self::Dnf4 => Need::InClientRoot("dnf"),
            Self::Zypper => Need::InClientRoot("zypper"),
            Self::HostDnf4 => Need::Program("dnf"),
            Self::HostZypper => Need::Program("zypper"),
        };
        [program, Need::Root]
    }

    fn in_client_root(self) -> bool {
        match self {
            Self::Dnf5 | Self::Dnf4 | Self::Zypper => true,
            Self::HostDnf4 | Self::HostZypper => false,
        }
    }

    fn is_zypper(self) -> bool {
        matches!(self, Self::Zypper | Self::HostZypper)
    }

    /// Whether it checks each package's own signature. libzypp 17.38 looks for `Signature, key` where
    /// rpm 6 says `signature, key`, and so calls every package unsigned; there the signed metadata's
    /// digests alone guard the packages.
    pub fn checks_packages(self) -> bool {
        self != Self::Zypper
    }

    /// The client's version.
    pub fn version(self, world: &World) -> String {
        let program = match self {
            Self::Dnf5 => "dnf5",
            Self::Dnf4 | Self::HostDnf4 => "dnf",
            Self::Zypper | Self::HostZypper => "zypper",
        };
        let root = Root::new(self, world);
        let output = root.run(&[program, "--version"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().next().unwrap_or_default().to_owned();
        format!("{program} {}", line.rsplit(' ').next().unwrap_or_default())
    }

    /// Installs into an empty install root.
    ///
    /// # Panics
    /// When the client cannot be run at all.
    pub fn install(self, world: &World, wanted: &Installation<'_>) -> Outcome {
        let root = Root::new(self, world);
        std::fs::write(root.outside.join("key.asc"), wanted.key).expect("the folder is ours");
        let output = match self.is_zypper() {
            true => root.zypper(self, wanted),
            false => root.dnf(self, wanted),
        };
        let installed = root.installed(self);
        let said = [output.stdout.as_slice(), &output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let has = |name: &str| {
            installed
                .iter()
                .any(|nevra| nevra.starts_with(&format!("{name}-")))
        };
        if output.status.success() && has(wanted.package) {
            return Outcome::Installed(installed);
        }
        // Others, sound ones, may have gone in.
        if !has(wanted.package)
            && let Some(line) = refusal(&said)
        {
            return Outcome::Refused(line);
        }
        Outcome::Broken(format!(
            "{}\n{said}\ninstalled: {installed:?}",
            output.status
        ))
    }
}

/// The line of a `.repo` file that names the repository.
fn source_line(url: &str) -> String {
    let option = match url {
        _ if url.ends_with("/metalink.xml") => "metalink",
        _ if url.ends_with("/mirrorlist") => "mirrorlist",
        _ => "baseurl",
    };
    format!("{option}={url}")
}

fn refusal(said: &str) -> Option<String> {
    let line = said.lines().find(|line| {
        let line = line.to_lowercase();
        REFUSALS.iter().any(|words| line.contains(words))
    });
    line.map(|line| line.trim().to_owned())
}

/// Runs a command in the client root with a folder of this machine at `/mnt/client`.
pub fn in_client_root(dir: &Path, arguments: &[&str]) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/in-forky.sh");
    let mut command = process::command("timeout");
    command
        .args(["-k", "5", LIMIT_SECS])
        .arg(script)
        .arg("--bind")
        .arg(dir)
        .arg(PLACE);
    command.arg(client_root()).args(arguments);
    command
}

/// A folder with an empty install root, and how the client sees it.
struct Root {
    client: Client,
    outside: PathBuf,
    inside: String,
}

impl Root {
    fn new(client: Client, world: &World) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let outside = world.new_dir(&format!("client-{}", COUNT.fetch_add(1, Ordering::SeqCst)));
        for dir in [
            "etc/yum.repos.d",
            "etc/zypp/repos.d",
            "var/cache/zypp",
            "var/lib/rpm",
            "var/log",
            "tmp",
            "dev",
        ] {
            std::fs::create_dir_all(outside.join("root").join(dir)).expect("the folder is ours");
        }
        let inside = match client.in_client_root() {
            true => PLACE.to_owned(),
            false => outside.display().to_string(),
        };
        Self {
            client,
            outside,
            inside,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        if self.client.in_client_root() {
            return in_client_root(&self.outside, arguments);
        }
        let mut command = process::command("timeout");
        command.args(["-k", "5", LIMIT_SECS]).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("timeout runs")
    }

    fn write(&self, path: &str, content: &str) {
        std::fs::write(self.outside.join("root").join(path), content).expect("the folder is ours");
    }

    fn dnf(&self, client: Client, wanted: &Installation<'_>) -> Output {
        let inside = &self.inside;
        let key = wanted
            .key_url
            .map_or_else(|| format!("file://{inside}/key.asc"), str::to_owned);
        self.write(
            "etc/dnf.conf",
            "[main]\ngpgcheck=1\nlocalpkg_gpgcheck=1\nretries=1\ntimeout=20\nbest=1\nplugins=0\n\
             skip_if_unavailable=0\ninstall_weak_deps=1\n",
        );
        self.write(
            "etc/yum.repos.d/world.repo",
            &format!(
                "[world]\nname=world\n{}\nenabled=1\ngpgcheck=1\nrepo_gpgcheck={}\ngpgkey={key}\n",
                source_line(wanted.base_url),
                u8::from(wanted.check_metadata)
            ),
        );
        let root = format!("{inside}/root");
        let mut arguments = vec![
            match client {
                Client::Dnf5 => "dnf5".to_owned(),
                _ => "dnf".to_owned(),
            },
            format!("--installroot={root}"),
            format!("--config={root}/etc/dnf.conf"),
            format!("--setopt=reposdir={root}/etc/yum.repos.d"),
            format!("--setopt=cachedir={inside}/cache"),
            format!("--setopt=logdir={root}/var/log"),
            "--releasever=1".to_owned(),
        ];
        if client == Client::Dnf5 {
            arguments.push(format!("--setopt=system_cachedir={inside}/cache"));
        }
        arguments.extend(["-y", "install", wanted.package].map(str::to_owned));
        self.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The key goes in by hand: with `--gpg-auto-import-keys` zypper would also trust whatever key the
    /// server puts beside `repomd.xml`.
    fn zypper(&self, client: Client, wanted: &Installation<'_>) -> Output {
        let root = format!("{}/root", self.inside);
        self.write(
            "etc/zypp/repos.d/world.repo",
            &format!(
                "[world]\nname=world\n{}\nenabled=1\nautorefresh=1\ntype=rpm-md\n\
                 gpgcheck={metadata}\nrepo_gpgcheck={metadata}\npkg_gpgcheck={packages}\nkeeppackages=0\n",
                source_line(wanted.base_url),
                metadata = u8::from(wanted.check_metadata),
                packages = u8::from(client.checks_packages())
            ),
        );
        let import = self.run(&[
            "rpmkeys",
            "--root",
            &root,
            "--dbpath",
            "/var/lib/rpm",
            "--import",
            &format!("{}/key.asc", self.inside),
        ]);
        if !import.status.success() {
            return import;
        }
        self.run(&[
            "zypper",
            "--non-interactive",
            "--root",
            &root,
            "install",
            "--download",
            "in-advance",
            "--no-confirm",
            "--recommends",
            wanted.package,
        ])
    }

    fn installed(&self, client: Client) -> Vec<String> {
        let root = format!("{}/root", self.inside);
        let mut arguments = vec!["rpm", "--root", &root];
        if client.is_zypper() {
            // Where Debian's rpm has its database otherwise.
            arguments.extend(["--dbpath", "/var/lib/rpm"]);
        }
        arguments.push("-qa");
        let output = self.run(&arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut packages: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with("gpg-pubkey-"))
            .map(str::to_owned)
            .collect();
        packages.sort();
        packages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_about_trust_are_a_refusal() {
        let refused = "Error: GPG check FAILED\n";
        assert_eq!(refusal(refused).as_deref(), Some("Error: GPG check FAILED"));
        assert_eq!(
            refusal("Status code: 404 for http://x/repodata/repomd.xml\nnothing provides libtally"),
            None
        );
    }
}
